# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For scripts that take the same steps under raid456 and under raid5c and hold
# what there is to see then against each other.

. /lab/guest/lib.sh
OUT=/lab/same

# speed KIB: how fast syncs are, at most and at least.
speed()
{
	echo "$1" > /proc/sys/dev/raid/speed_limit_max
	echo "$1" > /proc/sys/dev/raid/speed_limit_min
}

# junk N [SOURCE]: the first N disks have different contents, so that what is not
# synced is seen; or all the same.
junk()
{
	local disk
	for disk in "${DISK[@]:0:$1}"; do
		dd if="${2:-/dev/urandom}" of="$disk" bs=1M oflag=direct \
			2> /dev/null
	done
}

normal()
{
	sed -E -e 's/[0-9a-f]{8}(:[0-9a-f]{8}){3}/UUID/g' \
		-e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/g' \
		-e '/(Creation|Update) Time/s/:.*/: TIME/' \
		-e '/Checksum/s/:.*/: SUM/; /Events/s/:.*/: N/' \
		-e '/(sync_speed|last_sync_action|stripe_cache_active):/d' \
		-e '/bitmap.can_clear:/d' \
		-e 's/bitmap: [0-9]+(\/[0-9]+ pages) .[0-9]+KB./bitmap: N\1/' \
		-e 's/resync_start:[0-9]+/resync_start:N/' \
		-e 's/[0-9]+K\/sec/SPEED/; s/finish=[^ ]+/finish=/' \
		-e 's/copied, .*/copied/'
}

# Once an array that was written is called clean again.
settled()
{
	local n=0
	wait_idle
	while [ "$(get array_state)" = active ] && [ $n -lt 100 ]; do
		sleep 0.1
		n=$((n + 1))
	done
}

queue()
{
	# Some files cannot be read, and say why.
	grep -s '' /sys/block/md0/{size,ro,alignment_offset,discard_alignment} \
		/sys/block/md0/queue/* 2>&1 | sed 's/^.*md0.//; s/:/: /'
}

# shot STEP: all of it, once the array is at rest.
shot()
{
	settled
	{
		queue
		stat -c '%A %n' $SYS/* $SYS/dev-*/* $SYS/bitmap/*
		grep '' $SYS/* $SYS/dev-*/* $SYS/bitmap/* 2>&1
		cat /proc/mdstat
		mdadm --detail $MD
		mdadm --examine "${DISK[0]}"
	} 2>&1 | sed "s|$SYS/||g" | normal > "$OUT/$module/$1"
}

# say COMMAND: what it answers is part of the text, and may be an error.
say()
{
	local rc
	{
		echo "+ $*"
		timeout "$PATIENCE" "$@"
		rc=$?
		echo "= $rc"
	} 2>&1 | tee -a /tmp/said
}

# The same of a text that is written to a file of sysfs.
tell()
{
	local state
	echo "+ $2 > $1" | tee -a /tmp/said
	{ echo "$2" > "$SYS/$1"; } 2>&1 | sed 's/^.*write error/error/' |
		tee -a /tmp/said
	state=$(get "$1")
	# A sync may be over before it can be looked at.
	[ "$1 $state" = "sync_action frozen" ] || [ "$1" != sync_action ] ||
		state="not frozen"
	echo "$1 is $state" | tee -a /tmp/said
}

# same NAME FUNCTION [ARGS]: what it does must leave the same under both.
same()
{
	local name=$1 module file bad=
	shift
	for module in raid456 raid5c; do
		rm -rf "${OUT:?}/$module"
		mkdir -p "$OUT/$module"
		use $module
		clean_up
		: > /tmp/said
		"$@"
		normal < /tmp/said > "$OUT/$module/answers"
		clean_up
	done
	for file in "$OUT"/raid456/*; do
		[ -s "$file" ] || [ "${file##*/}" = answers ] ||
			fail "$file is empty"
		diff -U0 "$file" "$OUT/raid5c/${file##*/}" || bad+=" ${file##*/}"
	done
	[ -z "$bad" ] || fail "$name: differs from raid456 after:$bad"
}
