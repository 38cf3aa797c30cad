#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Requests that lie across ends, and those that have to wait or are refused:
# suspended ranges, frozen syncs, read-only arrays. Disk 7 is the writer's log.

. /lab/guest/same.sh
LOG=${DISK[7]}
INITIAL=--any-initial
SIZE=24576

ends_of()
{
	must python3 /lab/guest/ends.py "$@"
}

# ends LEVEL DISKS CHUNK: in step after it, and right without a member.
ends()
{
	local level=$1 n=$2 chunk=$3 data=$(($2 - 1))
	[ "$level" != 6 ] || data=$((data - 1))
	create "$level" "$n" "$chunk" - $((8192 + chunk)) --force
	ends_of $MD "$chunk" $data "$SEED" write /tmp/model
	wait_idle
	no_mismatch "after requests across ends"
	must mdadm $MD --fail "${DISK[1]}"
	ends_of $MD "$chunk" $data "$SEED" check /tmp/model
	ends_of $MD "$chunk" $data $((SEED + 1)) write /tmp/model
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	no_mismatch "rebuilt after requests across ends"
	ends_of $MD "$chunk" $data "$SEED" check /tmp/model
}

# The same with a device between that begins in the middle of a page.
ends_shifted()
{
	local sectors
	create 5 4 64 - 8192 --force
	sectors=$(blockdev --getsz $MD)
	echo "0 $((sectors - 7)) linear $MD 3" | dmsetup create shifted ||
		fail "no device mapper"
	ends_of /dev/mapper/shifted 64 3 "$SEED" write /tmp/model
	wait_idle
	no_mismatch "after requests across ends"
	must mdadm $MD --fail "${DISK[1]}"
	ends_of /dev/mapper/shifted 64 3 "$SEED" check /tmp/model
	dmsetup remove shifted
}

# ---- waiting ----

zeroes()
{
	# One request.
	dd if=/dev/zero of=$MD bs=$(($2 * 512)) seek=$(($1 * 512)) count=1 \
		oflag=direct,seek_bytes 2> /dev/null &
	writers+=($!)
}

# Writes into a range wait, others and reads do not.
suspended()
{
	local writers=() n
	create 5 4 64 - $SIZE --force
	wait_idle
	must dd if=/dev/urandom of=$MD bs=1M count=8 oflag=direct
	dd if=$MD of=/tmp/before bs=1M count=8 iflag=direct 2> /dev/null
	echo 2048 > $SYS/suspend_lo
	echo 4096 > $SYS/suspend_hi
	[ "$(get suspend_lo)-$(get suspend_hi)" = 2048-4096 ] || fail "range"
	zeroes 2048 1
	zeroes 4095 1
	zeroes 2040 16
	zeroes 4090 16
	zeroes 3000 64
	must dd if=/dev/zero of=$MD bs=512 seek=2000 count=40 oflag=direct
	must dd if=/dev/zero of=$MD bs=512 seek=4096 count=40 oflag=direct
	sleep 1
	for n in 0 1 2 3 4; do
		kill -0 "${writers[$n]}" 2> /dev/null ||
			fail "write $n into the range did not wait"
	done
	must dd if=$MD of=/tmp/meanwhile bs=512 skip=2048 count=2048 iflag=direct
	cmp -n $((2048 * 512)) -i $((2048 * 512)):0 /tmp/before /tmp/meanwhile ||
		fail "something was written to the range"
	echo 0 > $SYS/suspend_hi
	echo 0 > $SYS/suspend_lo
	wait "${writers[@]}"
	for n in 2000:40 2040:16 3000:64 4090:46; do
		dd if=/dev/zero of=/tmp/before bs=512 seek="${n%:*}" \
			count="${n#*:}" conv=notrunc 2> /dev/null
	done
	# And the single sectors.
	for n in 2048 4095; do
		dd if=/dev/zero of=/tmp/before bs=512 seek=$n count=1 \
			conv=notrunc 2> /dev/null
	done
	dd if=$MD of=/tmp/after bs=1M count=8 iflag=direct 2> /dev/null
	cmp /tmp/before /tmp/after || fail "what waited was written wrong"
	no_mismatch "after a suspended range"
}

# Everything that makes requests wait, again and again, under a writer.
suspended_under_load()
{
	local n=0
	create 5 4 64 - $SIZE --force
	background --seed "$SEED" --span 48M --threads 6 --seconds $((5 * SLOWER)) --read 20 \
		--fua 3
	while kill -0 $writer 2> /dev/null; do
		echo 1000 > $SYS/suspend_lo
		echo 70000 > $SYS/suspend_hi
		sleep 0.05
		echo 0 > $SYS/suspend_hi
		echo 0 > $SYS/suspend_lo
		echo $((200 + n % 7 * 100)) > $SYS/stripe_cache_size
		echo $((n % 2 * 4)) > $SYS/group_thread_cnt
		echo frozen > $SYS/sync_action
		echo idle > $SYS/sync_action
		n=$((n + 1))
	done
	echo "$n rounds"
	reap "after $n rounds"
	[ $n -ge 10 ] || fail "just $n rounds"
	wait_idle
	no_mismatch "after $n rounds"
}

# A frozen array syncs nothing, and takes writes; idle lets it go on.
frozen()
{
	junk 6
	speed $((4000 / SLOWER))
	create 5 4 64 - $SIZE --force
	sleep 1
	echo frozen > $SYS/sync_action
	[ "$(get sync_action)" = frozen ] || fail "it is $(get sync_action)"
	put --seed "$SEED" --ops 100 --threads 4 --span 48M
	[ "$(get resync_start)" != none ] || fail "the sync is over already"
	speed 1000000
	sleep 1
	[ "$(get sync_action)-$(get resync_start)" != frozen-none ] ||
		fail "it went on"
	echo idle > $SYS/sync_action
	wait_idle
	[ "$(get resync_start)" = none ] || fail "it does not go on"
	no_mismatch "after a sync that was frozen"
	echo frozen > $SYS/sync_action
	must mdadm $MD --fail "${DISK[3]}"
	must mdadm $MD --add "${DISK[4]}"
	sleep 1
	[ "$(get sync_action)-$(get degraded)" = frozen-1 ] ||
		fail "$(get sync_action), degraded $(get degraded)"
	put --resume --ops 50
	verify "frozen"
	echo idle > $SYS/sync_action
	wait_whole
	verify "not frozen any more"
	no_mismatch "after a rebuild that was frozen"
	must mdadm $MD --fail "${DISK[0]}"
	verify "another missing"
}

# A member fails before the first sync has come to what was written: that is
# not lost, as parity was made of all data of the row. `unsynced LEVEL [MODE]`:
# with a journal in that mode; or "grown", and what is written is in a part
# that is new.
unsynced()
{
	local size=$SIZE options=(--force)
	case ${2:-} in
	write-*) options+=(--write-journal "${DISK[6]}") ;;
	grown) size=$((SIZE / 4)) options+=(--assume-clean) ;;
	esac
	junk 6
	speed $((1000 / SLOWER))
	create "$1" $(($1 == 6 ? 6 : 4)) 64 - $size "${options[@]}"
	echo frozen > $SYS/sync_action
	case ${2:-} in
	write-*) echo "$2" > $SYS/journal_mode || fail "no $2" ;;
	grown)
		# What is there already agrees with its parity.
		echo repair > $SYS/sync_action
		speed 1000000
		wait_idle
		speed $((1000 / SLOWER))
		echo frozen > $SYS/sync_action
		must mdadm --grow $MD --size=$SIZE
		;;
	esac
	# Where read-modify-write would not be chosen for once.
	[ "$*" = 5 ] || echo 2 > $SYS/rmw_level || fail "no rmw_level"
	put --seed "$SEED" --ops 100 --threads 4 --span 48M
	[ "$(get resync_start)" != none ] || fail "the sync is over already"
	must mdadm $MD --fail "${DISK[3]}"
	verify "a member failed before the sync"
}

# A rebuild waits at sync_max; what is there then is right.
window()
{
	local n=0
	create 5 4 64 - $SIZE --force --bitmap=none
	wait_idle
	put --seed "$SEED" --ops 200 --threads 4 --span 60M
	must mdadm $MD --fail "${DISK[1]}"
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	echo 16384 > $SYS/sync_max
	must mdadm $MD --add "${DISK[1]}"
	until [ "$(get sync_completed)" = "16384 / $((SIZE * 2))" ]; do
		[ $n -lt $((100 * SLOWER)) ] || fail "at $(get sync_completed)"
		sleep 0.1
		n=$((n + 1))
	done
	sleep 0.5
	[ "$(get sync_completed)" = "16384 / $((SIZE * 2))" ] ||
		fail "goes on beyond sync_max: $(get sync_completed)"
	put --resume --ops 100
	verify "at sync_max"
	echo max > $SYS/sync_max
	wait_whole
	verify "beyond sync_max"
	no_mismatch "rebuilt in two parts"
	must mdadm $MD --fail "${DISK[2]}"
	verify "another missing"
}

# ---- the same as under raid456 ----

window_texts()
{
	local text
	create 5 4 64 - $SIZE --assume-clean
	for text in 100 1024 -1 x max 4096; do
		tell sync_max "$text"
	done
	for text in 8 100 1024 5000 -1 x 0; do
		tell sync_min "$text"
	done
	tell sync_min 1024
	tell sync_action check
	sleep 1
	tell sync_min 0
	tell sync_max 2048
	get sync_completed >> /tmp/said
	tell sync_action idle
	tell sync_min 0
	tell sync_max max
	for text in check repair resync recover frozen idle x; do
		tell sync_action $text
		wait_idle
		get last_sync_action >> /tmp/said
	done
	for text in suspend_lo suspend_hi; do
		tell $text x
		tell $text 100
		tell $text 0
	done
	shot texts
}

# What was begun before, goes on after.
read_only()
{
	create 5 4 64 - $SIZE --assume-clean
	must dd if=/dev/urandom of=$MD bs=1M count=8 oflag=direct
	must dd if=$MD of=/tmp/model bs=1M count=8 iflag=direct
	say mdadm --readonly $MD
	shot readonly
	say dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct
	say blockdev --getro $MD
	tell sync_action check
	say mdadm $MD --fail "${DISK[1]}"
	shot "a member failed"
	say cmp -n $((8 << 20)) /tmp/model $MD
	say mdadm $MD --remove "${DISK[1]}"
	say mdadm $MD --add "${DISK[4]}"
	say mdadm --readwrite $MD
	sleep 0.5
	wait_idle
	say mdadm $MD --add "${DISK[4]}"
	wait_whole
	shot rebuilt
	say cmp -n $((8 << 20)) /tmp/model $MD
	say dd if=/tmp/model of=$MD bs=4k count=1 oflag=direct
	tell array_state readonly
	tell array_state read-auto
	shot "read-auto"
	tell array_state clean
	tell array_state active
	tell array_state write-pending
	shot active
}

superblocks()
{
	local disk
	for disk in $(members 4); do
		dd if="$disk" bs=4k skip=1 count=1 iflag=direct 2> /dev/null
	done | md5sum
}

# auto_read_only RESYNC: until something is written, nothing is.
auto_read_only()
{
	local before option=--assume-clean
	if [ "$1" = 1 ]; then
		option=--force
		speed 1000
	fi
	create 5 4 64 - $SIZE $option
	must dd if=/dev/urandom of=$MD bs=1M count=1 oflag=direct
	must dd if=$MD of=/tmp/model bs=1M count=1 iflag=direct
	stop_md
	echo 1 > /sys/module/md_mod/parameters/start_ro
	before=$(superblocks)
	must mdadm --assemble $MD $(members 4)
	echo 0 > /sys/module/md_mod/parameters/start_ro
	shot assembled
	say cmp -n $((1 << 20)) /tmp/model $MD
	sleep 1
	[ "$(superblocks)" = "$before" ] || fail "a superblock was written"
	[ "$(get array_state)" = read-auto ] || fail "it is $(get array_state)"
	say dd if=/tmp/model of=$MD bs=1M count=1 oflag=direct
	sleep 0.2
	[ "$1" = 0 ] || tell sync_action frozen
	speed 1000000
	[ "$1" = 0 ] || tell sync_action idle
	shot written
	no_mismatch "after the first write"
	say cmp -n $((1 << 20)) /tmp/model $MD
}

use "$MODULE"
clean_up
speed 1000000
for name in "$@"; do
	# Words are arguments.
	# shellcheck disable=SC2086
	case $name in
	window_texts | read_only | auto_read_only*)
		try "$name" same requests $name ;;
	*) try "$name" $name ;;
	esac
	use "$MODULE"
	clean_up
	speed 1000000
done
finish
