#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The write journal in trouble: a small ring, a device that fails under load, a
# tail that does not verify, a journal that is missing. Disks: four members,
# the journal, the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL=${DISK[4]}
SIZE=24576
SEED=${SEED:-1}
# Members are reused from case to case.
INITIAL=--any-initial

build()
{
	must mdadm --create $MD --run --level=5 --raid-devices=4 --size=$SIZE \
		--chunk=64 --assume-clean "${DISK[@]:0:4}" --write-journal "$1"
}

assemble()
{
	must mdadm --assemble $MD "${DISK[@]:0:4}" "$@"
}

# Bytes written to the members beyond those of the array's superblocks wrap a
# journal of a few MiB many times.
wraps()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 1)) --ops 3000 --threads 8
	verify "after many times round the ring"
	no_mismatch "after many times round the ring"
	stop_md
	dmesg -C
	assemble "$JOURNAL"
	dmesg | grep "1 units with 0 data pages" ||
		fail "not a clean start: $(dmesg | grep 'journal recovery')"
	verify "after assembly"
	clean_up
}

# The journal's device begins to fail while writers are at work.
fails_under_load()
{
	local sectors
	sectors=$(blockdev --getsz "$JOURNAL")
	echo "0 $sectors linear $JOURNAL 0" | dmsetup create j || fail "no table"
	build /dev/mapper/j
	put --seed $((SEED * 100 + 2)) --ops 300 --threads 6
	$ACK write $INITIAL --dev $MD --log "$LOG" --seed $((SEED * 100 + 3)) \
		--ops 100000 --threads 6 > /tmp/writer 2>&1 &
	sleep 1
	echo "0 $sectors error" | dmsetup load j || fail "no new table"
	dmsetup suspend --nolockfs j
	dmsetup resume j
	wait $! && fail "writing went on without a journal"
	grep -q "Input/output error\|EIO" /tmp/writer || cat /tmp/writer
	dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct 2> /dev/null &&
		fail "a write was taken without a journal"
	dmesg | grep "the journal device failed" || fail "nothing was said"
	mdadm --detail $MD | grep -i "faulty.*mapper/j\|faulty.*dm-" ||
		fail "md was not told"
	verify "with the journal gone"
	no_mismatch "with the journal gone"
	stop_md
}

# What recovery starts from is not there: nothing is made up.
bad_tail()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 4)) --ops 200 --threads 4
	stop_md
	local offset
	offset=$(mdadm --examine "$JOURNAL" | awk '/Data Offset/ {print $4}')
	dd if=/dev/urandom of="$JOURNAL" bs=1M seek=$((offset / 2048)) \
		oflag=direct 2> /dev/null
	dmesg -C
	assemble "$JOURNAL"
	dmesg | grep "no valid block at its tail" || fail "nothing was said"
	[ "$(get array_state)" = readonly ] ||
		fail "array_state is $(get array_state)"
	verify "read-only"
	stop_md
	mdadm --assemble $MD "${DISK[@]:0:4}" && fail "assembled without a word"
	must mdadm --assemble --force --run $MD "${DISK[@]:0:4}"
	[ "$(get array_state)" = readonly ] ||
		fail "array_state is $(get array_state) without a journal"
	dmesg | grep "journal device is missing" || fail "nothing was said"
	mdadm --zero-superblock --quiet "$JOURNAL"
	must mdadm $MD --add-journal "$JOURNAL"
	verify "with a new journal"
	put --seed $((SEED * 100 + 5)) --ops 200 --threads 4
	no_mismatch "with a new journal"
	clean_up
}

# The power went while md wrote the superblocks, and the journal's was first:
# mdadm wants --force, and then the journal is used.
newer_superblock()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 6)) --ops 300 --threads 4
	stop_md
	must python3 /lab/guest/journal-disk.py newer "$JOURNAL"
	drop_caches
	run mdadm --assemble $MD "${DISK[@]:0:4}" "$JOURNAL" > /tmp/out 2>&1 &&
		fail "mdadm has changed: the newer journal is taken"
	cat /tmp/out
	grep -q "missing or stale journal" /tmp/out || fail "another refusal"
	stop_md
	dmesg -C
	assemble --force "$JOURNAL"
	[ "$(get array_state)" = readonly ] || fail "it is $(get array_state)"
	dmesg | grep "journal recovery" || fail "the journal was not read"
	verify "while read-only"
	must mdadm --readwrite $MD
	put --resume --ops 100
	verify "written again"
	no_mismatch "written again"
	stop_md
	assemble "$JOURNAL"
	verify "assembled again"
	clean_up
}

# Members that take their time with each write: what the journal has for them is
# not written one page after the other.
slow_members()
{
	local i disk began took rows=0 disks=("${DISK[@]:0:4}")
	modprobe dm-delay || skip "no dm-delay"
	build "$JOURNAL"
	# Or superblocks would be written while disks are copied.
	echo 0 > $SYS/safe_mode_delay
	put --seed $((SEED * 100 + 7)) --ops 20
	for ((i = 0; i < 5 && rows < 100; i++)); do
		[ $i = 0 ] || {
			assemble "$JOURNAL"
			echo 0 > $SYS/safe_mode_delay
		}
		# A tail move more or less decides how much there is.
		put --resume --ops $((400 + 100 * i)) --threads 4 --big 0 --max-io 4K
		sleep 1
		mkdir -p /tmp/copy
		for disk in "${disks[@]}" "$JOURNAL"; do
			dd if="$disk" of="/tmp/copy/${disk#/dev/}" bs=1M \
				iflag=direct 2> /dev/null
		done
		stop_md
		for disk in "${disks[@]}" "$JOURNAL"; do
			dd if="/tmp/copy/${disk#/dev/}" of="$disk" bs=1M \
				oflag=direct 2> /dev/null
		done
		rm -r /tmp/copy
		for disk in "${disks[@]}"; do
			dmsetup create "slow-${disk#/dev/}" --table \
				"0 $(blockdev --getsz "$disk") delay $disk 0 0 $disk 0 15" ||
				fail "no slow disk"
		done
		dmesg -C
		began=$(date +%s%N)
		must mdadm --assemble $MD "${disks[@]/#\/dev\//\/dev\/mapper\/slow-}" "$JOURNAL"
		took=$((($(date +%s%N) - began) / 1000000))
		rows=$(dmesg | sed -n 's/.* \([0-9]*\) rows replayed.*/\1/p')
		echo "$rows rows in $took ms"
		verify "after recovery"
		no_mismatch "after recovery"
		stop_md
		dmsetup remove_all
	done
	[ "$rows" -ge 100 ] || fail "only $rows rows"
	# Two pages each, 15 ms each, one by one: 30 ms for a row.
	[ $took -lt $((rows * 12)) ] || fail "$rows rows took $took ms"
	clean_up
}

policy()
{
	echo resync > $SYS/consistency_policy
}

# The array goes on without a journal that failed, and was taken out; or was missing at assembly.
goes_on_without()
{
	local sectors
	sectors=$(blockdev --getsz "$JOURNAL")
	echo "0 $sectors linear $JOURNAL 0" | dmsetup create j || fail "no table"
	build /dev/mapper/j
	put --seed $((SEED * 100 + 7)) --ops 200 --threads 4
	! policy || fail "a journal that works is given up"
	must mdadm $MD --fail /dev/mapper/j
	! policy || fail "a journal that is there is given up"
	take_out /dev/mapper/j
	! dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct 2> /dev/null ||
		fail "a write was taken without a journal"
	policy || fail "the array does not go on without a journal"
	[ "$(get consistency_policy)" = resync ] || fail "$(get consistency_policy)"
	verify "without the journal"
	put --resume --ops 200
	wait_idle
	no_mismatch "without the journal"
	# After a power cut it would be synced.
	echo 60 > $SYS/safe_mode_delay
	put --resume --ops 10
	mdadm --examine "${DISK[0]}" | grep "State : active" ||
		fail "written to, and $(mdadm --examine "${DISK[0]}" | grep State)"
	stop_md
	dmsetup remove j
	assemble
	verify "assembled without a journal"
	stop_md
	build "$JOURNAL"
	put --seed $((SEED * 100 + 8)) --ops 200 --threads 4
	stop_md
	must mdadm --assemble --force --run $MD "${DISK[@]:0:4}"
	policy || fail "a journal that is missing is not given up"
	must mdadm --readwrite $MD
	wait_idle
	put --resume --ops 100
	verify "read-write without a journal"
	no_mismatch "read-write without a journal"
	clean_up
}

use "$MODULE"
have_journal || skip "no journal"
try wraps wraps
try fails-under-load fails_under_load
try bad-tail bad_tail
try newer-superblock newer_superblock
[ "$MODULE" != raid5c ] || try goes-on-without goes_on_without
# The debug kernel is slower than the members, and writes less.
[ "$MODULE" != raid5c ] || [ "${LAB_KIND:-um}" = debug ] ||
	try slow-members slow_members
finish
