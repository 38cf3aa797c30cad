#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sectors of a member that cannot be read, or not be written either: what is
# read is right all the same. The last disk is the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
SIZE=24576

# A member with a table of one's own; TABLE is read from standard input.
mapped()
{
	dmsetup create "$1" || fail "no table for $1"
}

swap()
{
	dmsetup load "$1" || fail "no new table for $1"
	dmsetup suspend --nolockfs "$1"
	dmsetup resume "$1"
}

build()
{
	create_args=(--run --level="$1" --raid-devices=4 --size=$SIZE
		--chunk=64 --assume-clean)
	shift
	must mdadm --create $MD "${create_args[@]}" "${DISK[0]}" "$1" \
		"${DISK[2]}" "${DISK[3]}"
	put --seed $((SEED * 100 + 31)) --ops 400 --threads 6
	again "$1"
}

# Stop and assemble: what was written is no longer in the stripe cache.
again()
{
	stop_md
	must mdadm --assemble --run $MD "${DISK[0]}" "$1" "${DISK[2]}" \
		"${DISK[3]}"
}

linear()
{
	echo "0 $(blockdev --getsz "${DISK[1]}") linear ${DISK[1]} 0"
}

# Bad from FROM for COUNT sectors, as the error target knows it.
hole()
{
	local from=$1 count=$2 end
	end=$(blockdev --getsz "${DISK[1]}")
	echo "0 $from linear ${DISK[1]} 0"
	echo "$from $count error"
	echo "$((from + count)) $((end - from - count)) linear ${DISK[1]} $((from + count))"
}

# The same, but writes are taken; of COUNT sectors every second page.
dumb()
{
	local from=$1 count=$2 end at
	end=$(blockdev --getsz "${DISK[1]}")
	echo "0 $from linear ${DISK[1]} 0"
	for ((at = from; at < from + count; at += 16)); do
		echo "$at 8 flakey ${DISK[1]} $at 0 3600 1 error_reads"
		echo "$((at + 8)) 8 linear ${DISK[1]} $((at + 8))"
	done
	echo "$at $((end - at)) linear ${DISK[1]} $at"
}

data_offset()
{
	mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p'
}

read_all()
{
	dd if=$MD of=/dev/null bs=1M iflag=direct 2> /dev/null ||
		fail "unreadable sectors are an error"
}

unreadable()
{
	local offset
	linear | mapped bad
	build "$1" /dev/mapper/bad
	offset=$(mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p')
	drop_caches
	hole $((offset + 1000)) 700 | swap bad
	verify "with unreadable sectors"
	verify "with unreadable sectors, read again"
	linear | swap bad
	verify "readable again"
}

# The disk heals a sector that is written: a read error is mended by the
# rewrite, and the member stays.
dust()
{
	local offset n
	modprobe dm-dust 2> /dev/null || skip "this kernel has no dm-dust"
	echo "0 $(blockdev --getsz "${DISK[1]}") dust ${DISK[1]} 0 512" |
		mapped bad
	build 5 /dev/mapper/bad
	offset=$(mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p')
	drop_caches
	for n in 0 1 7 8 200 1000 1001 1002 5000 20000 40001; do
		dmsetup message bad 0 addbadblock $((offset + n)) > /dev/null
	done
	dmsetup message bad 0 enable > /dev/null
	verify "with bad sectors"
	[ "$(get degraded)" = 0 ] ||
		fail "the member was thrown out for sectors that can be mended"
	sync_now check
	[ "$(get degraded)" = 0 ] || fail "thrown out by a check"
	[ "$MISMATCH" = 0 ] || fail "mismatch_cnt is $MISMATCH"
	dmsetup message bad 0 countbadblocks
	dmsetup message bad 0 countbadblocks 2>&1 | grep -q " 0 bad" ||
		dmesg | grep -q "countbadblocks: 0 bad" ||
		fail "bad sectors are left: $(dmsetup message bad 0 countbadblocks 2>&1)"
	verify "mended"
}

# recorded DEVICE N: so many pages of it are bad blocks, and that is in the superblocks.
recorded()
{
	[ "$(awk '{ n += $2 / 8 } END { print n + 0 }' "$SYS/$1/bad_blocks")" = "$2" ] &&
		[ -z "$(get "$1/unacknowledged_bad_blocks")" ]
}

# Sectors that take what is written and cannot be read are not mended by that: they are bad blocks.
not_mended()
{
	local state
	modprobe dm-flakey 2> /dev/null
	linear | mapped bad
	build 5 /dev/mapper/bad
	drop_caches
	state=dev-dm-$(dmsetup info -c --noheadings -o minor bad)
	dumb $(($(data_offset) + 1000)) 32 | swap bad
	dmesg -C
	read_all
	# What is parity there.
	sync_now check
	soon 100 "nothing is recorded" recorded "$state" 2
	# Both, or one if they come at once.
	dmesg | grep -qE "member sector 10(00|16) not corrected by rewriting; recorded" ||
		fail "nothing is said"
	[ "$(get "$state/errors")" = 0 ] || fail "$(get "$state/errors") sectors count as corrected"
	[ "$(get degraded)" = 0 ] || fail "the member was thrown out"
	verify "with bad blocks"
	linear | swap bad
	sync_now repair
	soon 100 "bad blocks are left" recorded "$state" 0
	sync_now check
	[ "$MISMATCH" = 0 ] || fail "mismatch_cnt is $MISMATCH"
	verify "readable again"
}

is_degraded()
{
	[ "$(get degraded)" = 1 ]
}

# What cannot be recorded costs the member: of as many sectors as the log of bad blocks does
# not take, or without such a log.
too_many()
{
	modprobe dm-flakey 2> /dev/null
	linear | mapped bad
	build 5 /dev/mapper/bad
	if [ "$1" = log ]; then
		dumb $(($(data_offset) + 1000)) 9600 | swap bad
	else
		stop_md
		must mdadm --assemble --run --update=no-bbl $MD "${DISK[0]}" \
			/dev/mapper/bad "${DISK[2]}" "${DISK[3]}"
		dumb $(($(data_offset) + 1000)) 16 | swap bad
	fi
	drop_caches
	dmesg -C
	read_all
	sync_now check
	soon 100 "the member is not taken out" is_degraded
	dmesg | grep -q "not corrected by rewriting, and bad blocks cannot be recorded" ||
		fail "nothing is said"
	verify "without the member"
}

# Writes fail: the member goes, the writer does not notice.
unwritable()
{
	local offset
	linear | mapped bad
	build 5 /dev/mapper/bad
	offset=$(mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p')
	hole $((offset + 2000)) 20000 | swap bad
	put --resume --ops 400 --read 20
	verify "with unwritable sectors"
	verify "with unwritable sectors, again"
}

# Degraded, and a sector of another member is unreadable: that sector is
# lost, an error and no garbage; all others are right.
doubly()
{
	local offset
	linear | mapped bad
	build 5 /dev/mapper/bad
	offset=$(mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p')
	must mdadm $MD --fail "${DISK[3]}"
	again /dev/mapper/bad
	drop_caches
	hole $((offset + 1000)) 8 | swap bad
	$ACK check --dev $MD --log "$LOG" > /tmp/verify 2>&1
	cat /tmp/verify
	grep -q " 0 WRONG" /tmp/verify || fail "garbage instead of errors"
	grep -q "Input/output error" /tmp/verify ||
		fail "no error for what is lost"
}

# A member is rebuilt while another has rows that cannot be read: what could not
# be rebuilt is a bad block of the new member, not data. Once the other can be
# read again, everything is there.
unrebuildable()
{
	local offset name
	linear | mapped bad
	build 5 /dev/mapper/bad
	offset=$(mdadm --examine /dev/mapper/bad |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p')
	must mdadm $MD --fail "${DISK[3]}"
	must mdadm $MD --remove "${DISK[3]}"
	must mdadm --zero-superblock "${DISK[3]}"
	dd if=/dev/urandom of="${DISK[3]}" bs=1M oflag=direct 2> /dev/null
	drop_caches
	hole $((offset + 1000)) 700 | swap bad
	must mdadm $MD --add "${DISK[3]}"
	wait_idle
	name=$(basename "${DISK[3]}")
	cat /proc/mdstat $SYS/dev-"$name"/bad_blocks
	[ "$(get degraded)" = 0 ] || fail "the rebuild did not end"
	[ -s $SYS/dev-"$name"/bad_blocks ] ||
		fail "no bad blocks recorded on the new member"
	linear | swap bad
	drop_caches
	verify "readable again, after the rebuild"
}

use "$MODULE"
clean_up
# The writer checks zeroes, so members must begin as such.
fresh()
{
	for disk in "${DISK[@]:0:4}"; do
		blkdiscard -f "$disk" 2> /dev/null ||
			dd if=/dev/zero of="$disk" bs=1M oflag=direct 2> /dev/null
	done
}
for name in "$@"; do
	fresh
	# shellcheck disable=SC2086
	try "${name/:/ raid}" ${name/:/ }
	clean_up
done
finish
