#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Journals of all kinds: as small and as large as can be, with and without a
# volatile cache, with large sectors, with and without discard. The disks are
# sparse files behind loop devices, each behind a dm device, so that all can be
# frozen and copied: what is assembled from the copies is what a power cut at
# that moment would have left.

. /lab/guest/lib.sh
SEED=${SEED:-1}
COUNTERS=/sys/kernel/debug/raid5c/md0
FILES=/mnt/disks
LOG=$FILES/log
SIZE=16384
# What is placed before the data area of each disk, in KiB.
HEAD=1024
TOOL="python3 /lab/guest/journal-disk.py"

# ---- disks ----

# queue DISK FILE VALUE: set a limit of both of its devices.
queue()
{
	local dev
	for dev in "${UNDER[$1]}" "/dev/mapper/$1"; do
		dev=/sys/dev/block/$(lsblk --nodeps --noheadings --raw --output MAJ:MIN "$dev")
		echo "$3" > "$dev/queue/$2" || fail "$dev: $2 is not to be $3"
	done
}

# plug DISK: set up its devices; UNDER has the one under dm, which for a journal
# in memory is there already.
plug()
{
	local sector=$MSECTOR
	[ "$1" != j ] || sector=$JSECTOR
	[ -n "${UNDER[$1]:-}" ] ||
		UNDER[$1]=$(losetup --find --show --sector-size "$sector" \
			"$FILES/$1") || fail "no loop device"
	dmsetup create "$1" --table \
		"0 $(< "/sys/block/${UNDER[$1]#/dev/}/size") linear ${UNDER[$1]} 0" ||
		fail "no table for $1"
	[ "$1" = j ] && [ "$CACHE" != "write back" ] &&
		queue j write_cache "$CACHE"
	[ "$1" = j ] && [ "$DISCARD" = 0 ] && queue j discard_max_bytes 0
	return 0
}

plug_all()
{
	local name
	for name in "${DISKS_OF[@]}"; do
		plug "$name"
	done
}

unplug()
{
	local n
	stop_md
	dmsetup remove_all --force
	losetup --detach-all 2> /dev/null
	[ -z "$NULLB" ] || rmdir /sys/kernel/config/nullb/* 2> /dev/null
	UNDER=()
	# Devices are detached when the last user has gone.
	for ((n = 0; n < 200; n++)); do
		[ -n "$(losetup --list --noheadings)" ] || return 0
		sleep 0.05
	done
	fail "somebody uses a disk: $(losetup --list --noheadings)"
}

# fresh MEMBERS JOURNAL_SIZE: new disks, all zeroes.
fresh()
{
	local i
	unplug
	rm -rf ${FILES:?}/*
	DISKS_OF=()
	for ((i = 0; i < $1; i++)); do
		DISKS_OF+=("m$i")
		truncate -s $((SIZE + HEAD))K "$FILES/m$i"
	done
	DISKS_OF+=(j)
	[ -n "$NULLB" ] || truncate -s "$2" $FILES/j || fail "no file of $2"
	truncate -s 8M $LOG
	[ -z "$NULLB" ] || null_block
	plug_all
}

# A journal in memory with a cache of its own, which is NULLB MiB.
null_block()
{
	local dir=/sys/kernel/config/nullb/nullj
	mkdir $dir || fail "no null_blk"
	echo 16 > $dir/size
	echo "$JSECTOR" > $dir/blocksize
	echo 1 > $dir/memory_backed
	echo 1 > $dir/discard
	echo "$NULLB" > $dir/cache_size
	echo 1 > $dir/power || fail "no null_blk"
	UNDER[j]=/dev/nullj
}

# clean_up of a case that failed.
clean_up()
{
	local name
	for name in $(dmsetup ls | cut -f 1); do
		dmsetup resume "$name"
	done
	[ ! -e /tmp/writer.pid ] || kill "$(cat /tmp/writer.pid)"
	sleep 0.5
	unplug
}

members_of()
{
	echo "${DISKS_OF[@]/#//dev/mapper/}" | sed 's| /dev/mapper/j$||'
}

# ---- arrays ----

# build LEVEL MODE [mdadm arguments]
build()
{
	# shellcheck disable=SC2046
	must mdadm --create $MD --run --level="$1" \
		--raid-devices=$((${#DISKS_OF[@]} - 1)) --size=$SIZE --chunk=64 \
		--data-offset=${HEAD}K --assume-clean $(members_of) \
		--write-journal /dev/mapper/j
	limits
	[ "$2" = write-through ] || mode "$2"
}

mode()
{
	echo "$1" > $SYS/journal_mode || fail "$1 is refused"
}

# assemble [mdadm arguments]; see cut.sh about journals that are newer.
assemble()
{
	# shellcheck disable=SC2046
	run mdadm --assemble $MD "$@" /dev/mapper/j > /tmp/out 2>&1
	local rc=$?
	cat /tmp/out
	limits
	[ $rc != 0 ] || return 0
	grep -q "missing or stale journal" /tmp/out ||
		fail "assembly ended with $rc: $(tail -n 2 /tmp/out)"
	stop_md
	must mdadm --assemble --run --force $MD "$@" /dev/mapper/j
	must mdadm --readwrite $MD
}

# counter NAME: one of raid5c's numbers.
counter()
{
	awk -v name="$1" '$1 == name { print $2; found = 1 }
		END { exit !found }' $COUNTERS || fail "no counter $1"
}

# freeze: from now on no disk does anything, until thaw.
freeze()
{
	dmsetup suspend --noflush --nolockfs "${DISKS_OF[@]}" ||
		fail "the disks do not freeze"
	sleep 0.1
}

thaw()
{
	dmsetup resume "${DISKS_OF[@]}"
}

log_file()
{
	if [ -e $FILES/j ]; then
		echo $FILES/j
	else
		echo "${UNDER[j]}"
	fi
}

# Read the log of the frozen journal; `log_has NAME` is one of its numbers.
look()
{
	# A device would show what it was when it was last looked at.
	[ ! -b /dev/nullj ] || drop_caches
	$TOOL read "$(log_file)" > /tmp/log ||
		fail "the journal cannot be read"
	tr '\n' ' ' < /tmp/log
	echo
}

log_has()
{
	awk -v name="$1" '$1 == name { print $2 }' /tmp/log
}

# snatch: copy the frozen disks and the writer's log.
snatch()
{
	local name
	mkdir -p $FILES/copy
	for name in $FILES/*; do
		[ -d "$name" ] || cp --sparse=auto "$name" $FILES/copy ||
			fail "no copy of $name"
	done
	[ -e $FILES/j ] || dd if="${UNDER[j]}" of=$FILES/copy/j bs=1M 2> /dev/null ||
		fail "no copy of the journal"
}

# power_cut [crossing]: freeze the array under a writer and copy what is on its
# disks; with "crossing", at a moment at which a unit of the log lies across the
# end of the ring. Then go on with the copies.
power_cut()
{
	local writer tries=0
	$ACK write --resume --dev $MD --log $LOG --seconds 60 --threads 8 \
		"${PUT[@]}" > /tmp/writer 2>&1 &
	writer=$!
	echo $writer > /tmp/writer.pid
	sleep 0.3
	while :; do
		sleep 0.2
		kill -0 $writer || fail "the writer has ended: $(cat /tmp/writer)"
		freeze
		look
		if [ "$(log_has data_pages)" -gt 0 ]; then
			[ "${1:-}" = crossing ] && [ "$(log_has crossing)" = 0 ] || break
		fi
		tries=$((tries + 1))
		[ $tries -lt 40 ] || fail "no unit with data${1:+, and none $1 the end of the ring}"
		thaw
	done
	snatch
	thaw
	kill $writer
	rm /tmp/writer.pid
	wait $writer
	told_apart
	unplug
	mv -f $FILES/copy/* $FILES
	plug_all
}

# raid5c's counters agree with the kind of journal.
told_apart()
{
	local flushes
	[ "$MODULE" = raid5c ] || return 0
	flushes=$(counter journal_flushes)
	if [ "$CACHE" = "write back" ]; then
		[ "$flushes" -gt 0 ] || fail "a volatile cache is not flushed"
	else
		[ "$flushes" = 0 ] || fail "$flushes flushes without a cache"
	fi
}

# recover [MISSING]: assemble after a power cut, if told so without a member.
recover()
{
	[ "$(log_has data_pages)" -gt 0 ] || fail "the log is empty"
	dmesg -C
	# shellcheck disable=SC2046
	if [ $# = 0 ]; then
		assemble $(members_of)
	else
		assemble --run $(members_of | sed "s|/dev/mapper/$1 ||")
	fi
	if [ "$MODULE" = raid5c ]; then
		dmesg | grep -F ": $(log_has units) units with $(log_has data_pages) data pages" ||
			fail "$(log_has units) units and $(log_has data_pages) pages are in the log: $(dmesg | grep "journal recovery")"
	fi
	verify "recovered"
	if [ $# = 1 ]; then
		verify "recovered, read again"
		must mdadm --zero-superblock "/dev/mapper/$1"
		must mdadm $MD --add "/dev/mapper/$1"
		wait_whole
	fi
	no_mismatch "recovered"
	put --resume --ops 50 "${PUT[@]}"
	stop_md
	dmesg -C
	# shellcheck disable=SC2046
	assemble $(members_of)
	[ "$MODULE" != raid5c ] ||
		dmesg | grep -q "1 units with 0 data pages" ||
		fail "not a clean start: $(dmesg | grep "journal recovery")"
	verify "assembled again"
}

# How often the log has gone round the ring, at least.
rounds()
{
	local n
	[ "$MODULE" = raid5c ] || return 0
	n=$(($(counter journal_blocks_written) / $(counter journal_blocks)))
	echo "round the ring $n times"
	[ $n -ge "$1" ] || fail "round the ring $n times, not $1"
}

# ---- cases ----

# too_small LEVEL MEMBERS: a journal that cannot hold a unit with a row is
# refused, and the array loses nothing; the next larger one is taken.
too_small()
{
	local level=$1 least=$((4 * ($2 + 1))) blocks
	fresh "$2" 8M
	build "$level" write-through
	put --seed "$SEED" --ops 200
	stop_md
	for blocks in 2 4 $((least - 1)) $least; do
		dmsetup remove j
		losetup --detach "${UNDER[j]}"
		unset "UNDER[j]"
		rm $FILES/j
		truncate -s $((HEAD + blocks * 4))K $FILES/j
		plug j
		# shellcheck disable=SC2046
		must mdadm --assemble --force --run $MD $(members_of)
		[ "$(get array_state)" = readonly ] ||
			fail "$(get array_state) without its journal"
		dmesg -C
		[ "$blocks" != $least ] || break
		run mdadm $MD --add-journal /dev/mapper/j && fail "taken"
		dmesg | grep "a journal of $((blocks * 4)) KiB is too small for this array, which needs at least $((least * 4)) KiB" ||
			fail "no word of $blocks blocks: $(dmesg | tail -n 3)"
		[ "$(get array_state)" = readonly ] ||
			fail "$(get array_state) without a journal"
		dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct 2> /dev/null &&
			fail "written to without a journal"
		verify "with a journal of $blocks blocks"
		stop_md
	done
	must mdadm $MD --add-journal /dev/mapper/j
	put --resume --ops 200
	verify "with the smallest journal"
	no_mismatch "with the smallest journal"
	# mdadm does not know how much an array needs: it makes one that cannot
	# be written to.
	fresh "$2" $((HEAD + least * 4 - 4))K
	dmesg -C
	# shellcheck disable=SC2046
	run mdadm --create $MD --run --level="$level" --raid-devices="$2" \
		--size=$SIZE --chunk=64 --data-offset=${HEAD}K --assume-clean \
		$(members_of) --write-journal /dev/mapper/j
	dmesg | grep "is too small for this array" || fail "nothing was said"
	# mdadm also makes it read-write at once, as far as md is concerned.
	dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct 2> /dev/null &&
		fail "written to without a journal"
	unplug
}

# life LEVEL MODE MEMBERS SIZE ROUNDS [MISSING]: a small journal is written
# round many times; the power is cut when a unit lies across its end.
life()
{
	fresh "$3" "$4"
	build "$1" "$2"
	put --seed "$SEED" --ops "${OPS:-300}" "${PUT[@]}"
	rounds "$5"
	verify "after many times round the ring"
	power_cut crossing
	recover ${6:+"$6"}
	unplug
}

# far LEVEL MODE SIZE BLOCK [MISSING]: a large journal; the log is moved to just
# before BLOCK (or before the end), and the power is cut when it has passed.
far()
{
	local from
	fresh 4 "$3"
	build "$1" "$2"
	put --seed "$SEED" --ops 100
	stop_md
	look
	from=$((${4:-$(log_has blocks)} - 50))
	must $TOOL move /dev/mapper/j $from
	dmesg -C
	# shellcheck disable=SC2046
	assemble $(members_of)
	mode "$2"
	[ "$MODULE" != raid5c ] || dmesg | grep -F "ended at block $((from + 1))," ||
		fail "not from block $from: $(dmesg | grep "journal recovery")"
	put --resume --ops 100
	verify "past block ${4:-0}"
	power_cut
	[ "$(log_has tail)" = $((from + 1)) ] ||
		fail "the tail is at $(log_has tail)"
	[ "$(log_has live)" -gt 100 ] || fail "only $(log_has live) blocks"
	[ "$(log_has end)" = $((($(log_has tail) + $(log_has live)) % $(log_has blocks))) ] ||
		fail "it ends at $(log_has end)"
	recover ${5:+"$5"}
	unplug
}

# many_rows LEVEL MODE [MISSING]: a log of many more rows than raid456 can
# recover, which are 256, and some of them more than once. How many are left in
# write-back mode depends on how fast the cache is written out meanwhile: 370 to 833
# on an idle machine; so only a log that has next to none fails there.
many_rows()
{
	fresh 4 256M
	build "$1" "$2"
	put --seed "$SEED" --ops "${OPS:-3000}" --max-io 8192 --align 8 --big 0
	power_cut
	local rows=1000 again=100
	[ "$2" != write-back ] || rows=100 again=1
	[ "$(log_has rows)" -ge $rows ] && [ "$(log_has rows_again)" -ge $again ] ||
		fail "only $(log_has rows) rows, $(log_has rows_again) more than once"
	recover ${3:+"$3"}
	unplug
}

# Flushes that the journal's device has been sent, ever.
flushed()
{
	awk '{ print $16 }' "/sys/block/${UNDER[j]#/dev/}/stat"
}

# A journal with a volatile cache, which is flushed, as far
# as counters tell; and one without.
cached()
{
	local flushes
	fresh 4 8M
	flushes=$(flushed)
	build "$1" "$2"
	put --seed "$SEED" --ops 200
	told_apart
	flushes=$(($(flushed) - flushes))
	echo "$flushes flushes at the device"
	if [ "$CACHE" = "write back" ]; then
		[ "$MODULE" != raid5c ] ||
			[ "$flushes" -ge "$(counter journal_flushes)" ] ||
			fail "$flushes flushes came to the device"
	else
		[ "$flushes" = 0 ] || fail "$flushes flushes came to the device"
	fi
	power_cut
	recover
	unplug
}

# Note in LIMITS, if that is set, what the block layer and md say of an array.
limits()
{
	[ -n "$LIMITS" ] || return 0
	(cd /sys/block/md0/queue &&
		grep . logical_block_size physical_block_size \
			minimum_io_size optimal_io_size chunk_sectors \
			"$SYS/logical_block_size") | sort -u - "$LIMITS" > /tmp/limits
	cat /tmp/limits > "$LIMITS"
}

# sectors LEVEL MODE: large sectors somewhere; raid456 shows the same limits.
sectors()
{
	local LIMITS=/tmp/limits-$MODULE other=raid456
	[ "$MODULE" = raid5c ] || other=raid5c
	: > "$LIMITS"
	life "$1" "$2" 4 3M 1
	LIMITS=/tmp/limits-$other
	: > "$LIMITS"
	use $other
	fresh 4 3M
	build "$1" write-through
	stop_md
	# shellcheck disable=SC2046
	assemble $(members_of)
	unplug
	use "$MODULE"
	cat "$LIMITS"
	diff "$LIMITS" "/tmp/limits-$MODULE" ||
		fail "not as raid456: $(diff "$LIMITS" "/tmp/limits-$MODULE" | tail -n 1)"
	[ "$(grep ^logical_block_size "$LIMITS")" = logical_block_size:4096 ] ||
		fail "$(grep ^logical_block_size "$LIMITS")"
}

discards()
{
	awk '{ print $12, $14 }' "/sys/block/${UNDER[j]#/dev/}/stat"
}

# discarded LEVEL MODE: what is freed is discarded, and nothing else: at rest the
# journal's file holds exactly the log.
discarded()
{
	local before after
	fresh 4 3M
	build "$1" "$2"
	before=$(discards)
	put --seed "$SEED" --ops 800
	sleep 0.5
	freeze
	after=$(discards)
	look
	thaw
	echo "discards: $before before, $after after"
	if [ "$DISCARD" = 1 ]; then
		[ "${after% *}" -gt "${before% *}" ] ||
			fail "nothing was discarded"
		[ "$(log_has holes)" = 0 ] ||
			fail "$(log_has holes) blocks of the log are discarded"
		[ "$(log_has stored)" = "$(log_has live)" ] ||
			fail "$(log_has stored) blocks are stored, $(log_has live) are in the log"
		rounds 2
	else
		[ "$after" = "$before" ] || fail "discards: $before, then $after"
	fi
	power_cut
	[ "$(log_has holes)" = 0 ] ||
		fail "$(log_has holes) blocks of the log are discarded"
	recover
	unplug
}

# with [JSECTOR=.. MSECTOR=.. CACHE=.. DISCARD=.. NULLB=.. OPS=..] COMMAND
with()
{
	while [[ $1 = *=* ]]; do
		local "${1%%=*}=${1#*=}"
		shift
	done
	[ $JSECTOR$MSECTOR = 512512 ] || PUT=(--align 8)
	"$@"
}

# full NAME COMMAND: a case for --full.
full()
{
	[ "${FULL:-0}" = 0 ] || try "$@"
}

modprobe loop && modprobe null_blk nr_devices=0 || exit 1
mkdir -p $FILES
mount -t tmpfs -o size=90% disks $FILES || exit 1
mount -t configfs configfs /sys/kernel/config || exit 1
declare -A UNDER
DISKS_OF=() PUT=()
JSECTOR=512 MSECTOR=512 CACHE="write back" DISCARD=1 NULLB='' LIMITS=''
use "$MODULE"
if [ "$MODULE" = raid5c ]; then
	try "too small, raid5" too_small 5 4
	full "too small, raid6" too_small 6 5
fi
try "smallest, raid5 write-through" with OPS=120 life 5 write-through 4 1104K 20
full "smallest, raid5 write-back" with OPS=120 life 5 write-back 4 1104K 20 m1
full "smallest, raid6 write-through" with OPS=120 life 6 write-through 5 1120K 20 m0
try "smallest, raid6 write-back" with OPS=120 life 6 write-back 5 1120K 20 m0
try "few MiB, raid4 write-through" life 4 write-through 4 2564K 4
full "few MiB, raid5 write-back" life 5 write-back 4 3076K 3 m1
full "few MiB, raid6 write-back" life 6 write-back 5 4092K 3 m2
try "20 GiB, round the end" far 5 write-through 20G "" m1
try "3 TiB, past 2^32 sectors" far 6 write-back 3T $((1 << 29))
full "20 TiB, round the end" far 5 write-back 20T ""
full "many rows, write-through" many_rows 5 write-through
try "many rows, write-back" many_rows 5 write-back m0
try "cache, write-through" cached 5 write-through
full "cache, write-back" cached 6 write-back
try "cache in memory, write-back" with NULLB=1 cached 5 write-back
full "no cache, write-through" with CACHE="write through" cached 6 write-through
try "no cache, write-back" with CACHE="write through" cached 5 write-back
try "journal of 4-KiB sectors" with JSECTOR=4096 sectors 5 write-back
try "members of 4-KiB sectors" with MSECTOR=4096 sectors 6 write-through
full "all of 4-KiB sectors" with JSECTOR=4096 MSECTOR=4096 sectors 5 write-through
try "discard, write-through" discarded 5 write-through
full "discard, write-back" discarded 6 write-back
try "no discard" with DISCARD=0 discarded 5 write-through
finish
