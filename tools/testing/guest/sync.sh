#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Resync, check, repair, rebuild; stopped, resumed, under load. 4 members,
# disk 4 is the spare, disk 5 the writer's log; with JOURNAL=1, disk 6 is the
# array's journal.

. /lab/guest/lib.sh
LOG=${DISK[5]}
N=4
SIZE=49152
INITIAL=--any-initial
OPTS=()
SPEED=/proc/sys/dev/raid

slow()
{
	echo "${1:-4000}" > $SPEED/speed_limit_max
	echo 100 > $SPEED/speed_limit_min
}

fast()
{
	echo 1000000 > $SPEED/speed_limit_max
	echo 1000000 > $SPEED/speed_limit_min
	if [ -w $SYS/sync_speed_max ]; then
		echo system > $SYS/sync_speed_max
		echo system > $SYS/sync_speed_min
	fi
}

# Members with different contents: a sync has something to do.
dirty()
{
	local disk
	for disk in "${DISK[@]:0:$((N + 1))}"; do
		dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct \
			2> /dev/null
		dd if=/dev/urandom of="$disk" bs=1M count=4 seek=24 \
			oflag=direct 2> /dev/null
	done
}

# How far the running sync is, in sectors of a member.
progress()
{
	local text
	text=$(get sync_completed)
	case $text in
	none | delayed) echo 0 ;;
	*) echo "${text%% *}" ;;
	esac
}

wait_progress()
{
	local n=0
	while [ "$(progress)" -lt "$1" ]; do
		[ $n -lt $((PATIENCE * 20)) ] ||
			fail "sync makes no progress: $(get sync_completed)"
		sleep 0.05
		n=$((n + 1))
	done
}

# An array in use: synced, written.
ready()
{
	fast
	create 5 $N 64 - $SIZE --assume-clean "${OPTS[@]}"
	# Members may differ before; --assume-clean would keep that.
	sync_now repair
	put --seed $((SEED * 100 + $1)) --ops 300 --threads 6 --span 96M
}

initial()
{
	fast
	dirty
	create 5 $N 64 - $SIZE --force "${OPTS[@]}"
	put --seed $((SEED * 100 + 1)) --ops 300 --threads 6 --read 20
	wait_idle
	[ "$(get resync_start)" = none ] ||
		fail "resync_start is $(get resync_start) after the resync"
	no_mismatch "after the first resync"
	verify "after the first resync"
}

# A checkpoint is honoured: a row before it that is damaged meanwhile stays
# so, because it is not synced again.
resumed()
{
	local done
	dirty
	slow
	create 5 $N 64 - $SIZE --force "${OPTS[@]}"
	wait_progress 12000
	done=$(progress)
	stop_md
	[ "$done" -lt 80000 ] || fail "synced too fast for this test: $done"
	damage "${DISK[3]}" 8 8
	must mdadm --assemble $MD $(members $N) "${JOURNAL_DISK[@]}"
	echo "stopped at $done, is at $(progress)"
	[ "$(get sync_action)" = resync ] ||
		fail "no resync after a stop at $done: $(get sync_action)"
	fast
	wait_idle
	drop_caches
	sync_now check
	[ "$MISMATCH" = 8 ] ||
		fail "8 sectors before the checkpoint differ, check counts $MISMATCH: it did not go on at the checkpoint"
}

damage()
{
	local disk=$1 sector=$2 count=$3
	dd if=/dev/urandom of="$disk" bs=512 count="$count" conv=notrunc \
		seek=$(($(offset_of "$disk") + sector)) oflag=direct \
		2> /dev/null || fail "dd to $disk"
}

# check counts what was damaged, row by row; repair mends it.
mismatch()
{
	ready 3
	wait_idle
	stop_md
	# Parity of the first row of chunks is on the last member (layout 2).
	damage "${DISK[3]}" 0 8
	damage "${DISK[3]}" 17 1
	# One whole chunk of data in the middle, and the very last sector.
	damage "${DISK[1]}" 40960 128
	damage "${DISK[2]}" $((SIZE * 2 - 1)) 1
	must mdadm --assemble $MD $(members $N) "${JOURNAL_DISK[@]}"
	drop_caches
	sync_now check
	[ "$MISMATCH" = $((8 * (1 + 1 + 16 + 1))) ] ||
		fail "check counts $MISMATCH, not 152"
	sync_now check
	[ "$MISMATCH" = 152 ] || fail "check again counts $MISMATCH, not 152"
	sync_now repair
	[ "$MISMATCH" = 152 ] || fail "repair counts $MISMATCH, not 152"
	no_mismatch "after repair"
}

# What repair makes of damaged parity: data stay what they were.
repaired_data()
{
	ready 4
	stop_md
	damage "${DISK[3]}" 0 128
	damage "${DISK[2]}" 128 128
	damage "${DISK[1]}" 256 128
	damage "${DISK[0]}" 384 128
	must mdadm --assemble $MD $(members $N) "${JOURNAL_DISK[@]}"
	drop_caches
	sync_now repair
	[ "$MISMATCH" = 512 ] || fail "repair counts $MISMATCH, not 512"
	verify "after repair of parity"
	must mdadm $MD --fail "${DISK[2]}"
	verify "degraded after repair of parity"
}

# Partial checks: sync_min and sync_max are kept.
window()
{
	ready 5
	stop_md
	damage "${DISK[3]}" 0 8
	damage "${DISK[1]}" 40960 8
	damage "${DISK[1]}" 81920 8
	must mdadm --assemble $MD $(members $N) "${JOURNAL_DISK[@]}"
	drop_caches
	echo 20480 > $SYS/sync_min
	echo 61440 > $SYS/sync_max
	echo check > $SYS/sync_action
	wait_progress 61440
	sleep 0.5
	echo idle > $SYS/sync_action
	wait_idle
	[ "$(get mismatch_cnt)" = 8 ] ||
		fail "a check of a window counts $(get mismatch_cnt), not 8"
	echo 0 > $SYS/sync_min
	echo max > $SYS/sync_max
	sync_now check
	[ "$MISMATCH" = 24 ] || fail "a whole check counts $MISMATCH, not 24"
}

# load SEED SECONDS: writers, meanwhile; until `reap`.
load()
{
	background --seed $((SEED * 100 + $1)) --span 96M --seconds "$2" \
		--threads 8 --read 20 --fua 3 --fsync 2
}

check_under_load()
{
	ready 6
	load 7 4
	echo check > $SYS/sync_action
	sleep 0.1
	reap "after a check under load"
	wait_idle
	[ "$(get mismatch_cnt)" = 0 ] ||
		fail "a check under load counts $(get mismatch_cnt)"
	no_mismatch "after the load"
}

rebuild_under_load()
{
	ready 8
	must mdadm $MD --add "${DISK[4]}"
	load 9 6
	must mdadm $MD --fail "${DISK[1]}"
	reap "after a rebuild under load"
	wait_whole
	verify "rebuilt"
	no_mismatch "after a rebuild under load"
	must mdadm $MD --fail "${DISK[2]}"
	verify "served by the spare"
}

rebuild_resumed()
{
	local done
	ready 10
	slow
	must mdadm $MD --fail "${DISK[1]}"
	must mdadm $MD --add "${DISK[4]}"
	wait_progress 12000
	done=$(progress)
	stop_md
	[ "$done" -lt 80000 ] || fail "rebuilt too fast for this test: $done"
	# Parity, so no data are wrong if it stays.
	damage "${DISK[4]}" $((128 * 2 + 8)) 8
	must mdadm --assemble $MD "${DISK[0]}" "${DISK[4]}" "${DISK[2]}" \
		"${DISK[3]}" "${JOURNAL_DISK[@]}"
	echo "stopped at $done, is at $(progress)"
	verify "while the rebuild goes on"
	fast
	wait_whole
	verify "after a resumed rebuild"
	drop_caches
	sync_now check
	[ "$MISMATCH" = 8 ] ||
		fail "8 sectors before the checkpoint differ, check counts $MISMATCH: it did not go on at the checkpoint"
	sync_now repair
	must mdadm $MD --fail "${DISK[2]}"
	verify "served by the spare"
}

# journal_lost resync|recover: the journal fails while the array is synced. The sync
# begins once more, when the journal is out, and waits for a new one; nothing is called
# synced that is not.
journal_lost()
{
	local sectors n force=()
	[ "$1" = recover ] || force=(--force)
	sectors=$(blockdev --getsz "${DISK[6]}")
	echo "0 $sectors linear ${DISK[6]} 0" | dmsetup create lost ||
		fail "no device mapper"
	dirty
	slow
	must mdadm --create $MD --run --level=5 --raid-devices=$N --size=$SIZE --chunk=64 \
		"${force[@]}" --write-journal /dev/mapper/lost "${DISK[@]:0:4}"
	soon 100 "no $1" syncs "$1"
	dmesg -C
	must mdadm $MD --fail /dev/mapper/lost
	soon 200 "nothing is said of a journal" waits_for_journal
	sleep 2
	syncs "$1" || fail "the $1 has ended: $(get sync_action)"
	n=$(dmesg | grep -c "md: $1 of RAID array")
	[ "$n" -le 3 ] || fail "the $1 was begun $n times"
	unsynced || fail "it counts as synced"
	must mdadm $MD --remove /dev/mapper/lost
	must mdadm --readonly $MD
	dmsetup remove lost
	mdadm --zero-superblock --quiet "${DISK[6]}"
	must mdadm $MD --add-journal "${DISK[6]}"
	fast
	wait_idle
	! unsynced || fail "it is not synced: $(get resync_start), $(get degraded)"
	put --any-initial --seed "$SEED" --ops 100 --threads 4
	verify "with the new journal"
	no_mismatch "with the new journal"
	stop_md
}

unsynced()
{
	[ "$(get resync_start)" != none ] || [ "$(get degraded)" != 0 ]
}

syncs()
{
	[ "$(get sync_action)" = "$1" ]
}

waits_for_journal()
{
	dmesg | grep -q "the sync waits for a journal"
}

# A disk that dies: its device mapper table becomes "error" under load.
dying()
{
	local sectors
	sectors=$(blockdev --getsz "${DISK[1]}")
	modprobe dm-mod 2> /dev/null
	echo "0 $sectors linear ${DISK[1]} 0" | dmsetup create dying ||
		fail "no device mapper"
	fast
	must mdadm --create $MD --run --level=5 --raid-devices=$N \
		--size=$SIZE --chunk=64 --assume-clean "${OPTS[@]}" \
		"${DISK[0]}" /dev/mapper/dying "${DISK[2]}" "${DISK[3]}"
	sync_now repair
	load 11 5
	echo "0 $sectors error" | dmsetup load dying
	dmsetup suspend --nolockfs dying
	dmsetup resume dying
	reap "after a disk died under load"
	[ "$(get degraded)" = 1 ] || fail "the dead disk is still a member"
	must mdadm $MD --add "${DISK[4]}"
	wait_whole
	verify "rebuilt after a disk died"
	no_mismatch "rebuilt after a disk died"
	stop_md
	dmsetup remove dying
}

# Two of four: reads and writes fail, nothing hangs.
two_dead()
{
	ready 12
	load 13 4
	must mdadm $MD --fail "${DISK[1]}"
	sleep 0.5
	# mdadm would refuse to.
	echo faulty > $SYS/dev-"${DISK[2]##*/}"/state
	sleep 0.5
	timeout 60 cat /proc/mdstat
	local n=0
	while kill -0 $writer 2> /dev/null; do
		[ $n -lt $((PATIENCE * 10)) ] || fail "the writer hangs"
		sleep 0.1
		n=$((n + 1))
	done
	wait $writer
	cat /tmp/background
	grep -q "Input/output error" /tmp/background ||
		fail "no error with two members gone"
	if timeout 60 dd if=$MD of=/dev/null bs=1M count=8 iflag=direct \
		2> /dev/null; then
		fail "reads succeed with two members gone"
	fi
	stop_md
}

use "$MODULE"
clean_up
JOURNAL_DISK=()
if [ "${JOURNAL:-0}" = 1 ]; then
	JOURNAL_DISK=("${DISK[6]}")
	OPTS=(--write-journal "${DISK[6]}")
fi
for name in "$@"; do
	# Words are arguments.
	# shellcheck disable=SC2086
	try "$name" $name
	clean_up
	fast
done
finish
