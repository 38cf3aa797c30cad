#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an array looks like from outside, and how its size changes: the same
# steps under raid456 and under raid5c. All that queue/ and md/ in sysfs,
# /proc/mdstat and mdadm have to say must be the same text after each step. Disk 7
# is the writer's log.

. /lab/guest/same.sh
LOG=${DISK[7]}
INITIAL=--any-initial

# ---- limits ----

# limits LEVEL DISKS CHUNK: of members that can discard, or not.
limits()
{
	create "$1" "$2" "$3" - 16384 --assume-clean
	shot limits
}

# large_requests LEVEL DISKS CHUNK: as large as the array says that it takes, and
# larger than a member takes or a row of chunks is: written and read as one.
large_requests()
{
	local largest member=/sys/block/${DISK[0]#/dev/}/queue
	create "$1" "$2" "$3" - 16384 --assume-clean
	largest=$(cat /sys/block/md0/queue/max_hw_sectors_kb)
	echo "$largest" > /sys/block/md0/queue/max_sectors_kb ||
		fail "no requests of $largest KiB"
	echo "largest request: $largest KiB, of a member $(cat "$member/max_hw_sectors_kb") KiB"
	[ "$largest" -ge 1024 ] || fail "just $largest KiB"
	dd if=/dev/urandom of=/tmp/large bs=1M count=16 2> /dev/null
	must dd if=/tmp/large of=$MD bs="${largest}k" oflag=direct
	must dd if=$MD of=/tmp/back bs="${largest}k" count=$((16384 / largest)) iflag=direct
	cmp -n $((16384 / largest * largest * 1024)) /tmp/large /tmp/back ||
		fail "what was read is not what was written"
	no_mismatch "after large requests"
	must mdadm $MD --fail "${DISK[1]}"
	must dd if=$MD of=/tmp/back bs="${largest}k" count=$((16384 / largest)) iflag=direct
	cmp -n $((16384 / largest * largest * 1024)) /tmp/large /tmp/back ||
		fail "what was read without a member is not what was written"
	clean_up
}

# Members with sectors of 4 KiB.
limits_4k()
{
	local i loops=()
	modprobe loop
	for i in 0 1 2; do
		loops+=("$(losetup --find --show --sector-size 4096 \
			"${DISK[$i]}")") || fail "no loop device"
	done
	must mdadm --create $MD --run --level=5 --raid-devices=3 --chunk=64 \
		--size=16384 --assume-clean "${loops[@]}"
	shot limits
	stop_md
	mdadm --zero-superblock "${loops[@]}"
	losetup --detach "${loops[@]}"
}

# With discards passed on to the members.
passed_on()
{
	handle_discards Y
	"$@"
	handle_discards N
}

# ---- sizes ----

# put_at LOG FROM_KIB KIB [ARGS], verify_at LOG FROM_KIB WHEN: a part of its own.
put_at()
{
	local log=$1 from=$2 size=$3
	shift 3
	must $ACK write $INITIAL --dev $MD --log "$log" --offset "${from}K" \
		--span "${size}K" --threads 4 --seed $((SEED + from)) "$@"
}

verify_at()
{
	$ACK check $INITIAL --dev $MD --log "$1" --offset "${2}K" \
		> /tmp/verify 2>&1 ||
		fail "$3: $(grep -v acknowledged.writes /tmp/verify | head -n 1)"
}

# step NAME: what is there now is right, and looks the same.
step()
{
	echo "== $1" >> /tmp/said
	shot "$1"
	verify "$1"
	no_mismatch "after $1"
}

# grow LEVEL DISKS [mdadm arguments]: from 8 MiB of each member up and down.
grow()
{
	local level=$1 n=$2 data=$(($2 - 1))
	[ "$level" != 6 ] || data=$((data - 1))
	shift 2
	junk "$n"
	create "$level" "$n" 64 - 8192 --force "$@"
	wait_idle
	put --seed "$SEED" --ops 150 --threads 4 --span $((data * 4))M
	shot made
	say mdadm --grow $MD --size=12288
	step grown
	truncate -s 4M /tmp/more
	put_at /tmp/more $((data * 8192)) 4096 --ops 100
	say mdadm --grow $MD --size=12300
	say mdadm --grow $MD --size=max
	verify "at the largest size"
	# md's bitmap does not always have all that is new synced: under both, as
	# mismatch_cnt tells.
	sync_now repair
	shot repaired
	step largest
	verify_at /tmp/more $((data * 8192)) "at the largest size"
	say mdadm --grow $MD --size=99999999
	tell component_size 99999999
	tell component_size x
	stop_md
	must mdadm --assemble $MD $(members "$n")
	verify_at /tmp/more $((data * 8192)) "assembled at the largest size"
	step assembled
	say mdadm --grow $MD --size=6144
	say mdadm --grow $MD --array-size=$((data * 6144))
	say mdadm --grow $MD --size=6144
	step smaller
	put --resume --ops 50
	say mdadm --grow $MD --array-size=max
	shot "all is shown"
	stop_md
	must mdadm --assemble $MD $(members "$n")
	step "assembled again"
}

# array_size: what is shown, and what members may be then.
shown()
{
	junk 4
	create 5 4 64 - 8192 --force
	wait_idle
	put --seed "$SEED" --ops 100 --threads 4 --span 10M
	tell array_size 30000
	tell array_size -1
	tell array_size 1k
	tell array_size 12288
	shot shown
	tell component_size 4032
	shot "does not fit"
	tell component_size 4096
	shot fits
	tell component_size 8192
	verify "larger than shown"
	say dd if=/dev/zero of=$MD bs=1M seek=12 count=1 oflag=direct
	say dd if=$MD of=/dev/null bs=1M skip=11 count=4 iflag=direct
	tell array_size default
	step all
	say dd if=/dev/zero of=$MD bs=1M seek=12 count=1 oflag=direct
}

# When it may not change, and in other states of the array.
states()
{
	junk 4
	speed 1000
	create 5 4 64 - 8192 --force "$@"
	say mdadm --grow $MD --size=12288
	speed 1000000
	wait_idle
	put --seed "$SEED" --ops 100 --threads 4 --span 10M
	say mdadm --readonly $MD
	say mdadm --grow $MD --size=12288
	say mdadm --readwrite $MD
	step written
	must mdadm $MD --fail "${DISK[1]}"
	say mdadm --grow $MD --size=12288
	verify "grown while degraded"
	shot degraded
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	step rebuilt
	speed 1000
	echo check > $SYS/sync_action
	say mdadm --grow $MD --size=16384
	speed 1000000
	step checked
}

with_journal()
{
	create 5 3 64 - 8192 --assume-clean --write-journal "${DISK[3]}"
	put --seed "$SEED" --ops 50 --threads 4 --span 10M
	say mdadm --grow $MD --size=12288
	tell component_size 12288
	verify "with a journal"
	tell array_size 8192
	shot journal
}

# Just what is new is synced: a check sees it if it is not.
just_new()
{
	local before
	junk 3
	create 5 3 64 - 16384 --force
	wait_idle
	settled
	before=$(sectors_read "${DISK[0]}")
	must mdadm --grow $MD --size=20480
	wait_idle
	before=$(($(sectors_read "${DISK[0]}") - before))
	echo "sectors read to sync 8192 more: $before"
	[ $before -ge 8192 ] || fail "just $before sectors of 8192 were read"
	[ $before -le 12288 ] ||
		fail "$before sectors were read to sync 8192 new ones"
	no_mismatch "after growing"
	must mdadm --grow $MD --size=24576 --assume-clean
	sync_now check
	[ "$MISMATCH" -gt 4096 ] ||
		fail "control: $MISMATCH sectors of 8192 differ that were not synced"
}

# resized [mdadm arguments]: under a writer, which does not notice.
resized()
{
	local size n=0
	junk 4
	create 5 4 64 - 16384 --force "$@"
	background --seed "$SEED" --span 20M --threads 6 --seconds 3 --read 20 \
		--fua 3
	while kill -0 $writer 2> /dev/null && [ $n -lt 60 ]; do
		for size in 20480 8192 12288 7168 30720; do
			wait_idle
			echo $size > $SYS/component_size ||
				fail "a size of $size is refused"
			n=$((n + 1))
		done
	done
	reap "after $n sizes"
	echo "$n sizes"
	[ $n -ge 5 ] || fail "the size changed just $n times"
	wait_idle
	# See above: md's bitmap.
	[ "$1" = --bitmap=none ] || sync_now repair
	no_mismatch "after $n sizes"
	must mdadm $MD --fail "${DISK[2]}"
	verify "degraded after $n sizes"
}

use "$MODULE"
clean_up
speed 1000000
try "limits, raid5 of 2, chunk 4K" same limits limits 5 2 4
try "limits, raid6 of 5, chunk 128K" same limits limits 6 5 128
try "limits, sectors of 4K" same limits limits_4k
try "limits of discards" same discards limits 5 3 64
try "limits of discards, passed on" same discards passed_on limits 5 3 64
try "largest request" large_requests 5 3 4
try "grow raid5, no bitmap" same grow grow 5 4 --bitmap=none
try "grow raid6, bitmap" same grow grow 6 5 --bitmap=internal \
	--bitmap-chunk=64K
try "array_size" same array_size shown
try "sizes, read-only, degraded, busy" same states states --bitmap=none
try "sizes, with a journal" same journal with_journal
use "$MODULE"
clean_up
try "just what is new is synced" just_new
clean_up
try "sizes under a writer" resized --bitmap=none
clean_up
try "sizes under a writer, bitmap" resized --bitmap=internal --bitmap-chunk=64K
clean_up
finish
