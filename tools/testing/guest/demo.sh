#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The guest's part of the demonstration: `demo.sh write` until the power goes,
# `demo.sh check` afterwards. Lines for the audience: SAY text, OK text,
# FAILED text.

. /lab/guest/lib.sh
MEMBERS=("${DISK[@]:0:4}")
JOURNAL=("${DISK[@]:4}")
FS=/mnt/demo

say()
{
	echo "SAY $*"
}

# step TEXT COMMAND...: do it, and say how it went.
step()
{
	local text=$1
	shift
	if "$@" > /tmp/step 2>&1; then
		cat /tmp/step
		echo "OK $text"
	else
		cat /tmp/step
		dmesg | tail -n 30
		echo "FAILED $text: $(tail -n 1 /tmp/step)"
		exit 1
	fi
}

only_raid5c()
{
	lsmod | grep -E '^(raid|md|async)'
	loaded raid5c && ! loaded raid456
}

load()
{
	mkdir -p /run/modprobe.d
	echo "install raid456 /bin/false" > /run/modprobe.d/demo.conf
	step "insmod raid5c.ko into $(uname -sr), $(uname -v | sed 's/.*\(Debian [^ ]*\).*/\1/')" \
		raid5c-load
	step "lsmod: raid5c is there, raid456 is not" only_raid5c
}

create_array()
{
	local opts=()
	[ ${#JOURNAL[@]} = 0 ] || opts=(--write-journal "${JOURNAL[@]}")
	mdadm --create $MD --run --level=5 --raid-devices=4 "${MEMBERS[@]}" \
		"${opts[@]}"
}

format()
{
	mkfs.ext4 -q $MD && mkdir -p $FS && mount $MD $FS
}

unpack()
{
	mkdir $FS/tree && tar -xf /lab/tree.tar -C $FS/tree && sync
}

write_side()
{
	load
	step "mdadm --create $MD: raid5 of 4 disks${JOURNAL:+ and a journal}" \
		create_array
	step "mkfs.ext4 and mount" format
	step "a source tree is unpacked and synced" unpack
	say "a database is written, and a second copy of the tree is made, until the power goes"
	( while :; do
		rm -rf $FS/copy
		cp -r $FS/tree $FS/copy
	done ) > /dev/null 2>&1 &
	exec python3 /lab/guest/demo-db.py write $FS/demo.db /lab/acknowledged
}

recovered()
{
	dmesg | grep -E 'raid5c|md0'
	cat /proc/mdstat
	[ -b $MD ]
}

# Replays ext4's own journal, as a mount would; then looks at everything.
fsck_all()
{
	e2fsck -p $MD
	[ $? -le 1 ] && e2fsck -f -n $MD
}

mount_again()
{
	mkdir -p $FS && mount $MD $FS
}

files()
{
	cd $FS/tree && sha256sum --quiet -c /lab/tree.sha256
}

agree()
{
	cd /
	umount $FS && wait_idle && no_mismatch
}

check_side()
{
	load
	step "mdadm --assemble" mdadm --assemble $MD "${MEMBERS[@]}" \
		"${JOURNAL[@]}"
	recovered
	dmesg | sed -n 's/.*raid5c: md0: \(.*\(journal\|replay\|recover\).*\)/SAY the kernel: \1/p'
	step "the array runs" [ -b $MD ]
	step "e2fsck finds nothing wrong" fsck_all
	step "mount" mount_again
	step "sha256 of all $(wc -l < /lab/tree.sha256) synced files, as on the host" files
	step "the database is whole and has every acknowledged transaction" \
		python3 /lab/guest/demo-db.py check $FS/demo.db /lab/before
	say "$(cat /tmp/step)"
	step "data and parity agree: check leaves mismatch_cnt 0" agree
	step "lsmod: raid5c is there, raid456 is not" only_raid5c
	step "the array stops" mdadm --stop $MD
}

"$1_side"
