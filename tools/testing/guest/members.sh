#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Members come and go, with a bitmap and without. 4 members of 5 or 6 disks; disk 7 is the
# writer's log.

. /lab/guest/same.sh
LOG=${DISK[7]}
INITIAL=--any-initial
SIZE=32768
# Sectors of a member, all of which a rebuild writes.
WHOLE=$((SIZE * 2))
# Sectors for a bit of the bitmap, and how many bits are set by `more` at least: it has 6, and one
# thread, as of several one may have written next to nothing of its share.
BIT=128
LEAST=4
# A log of its own for that; it must be there before.
MORE=/tmp/more
BITMAP=(--bitmap=internal --bitmap-chunk=64K)

# more [ARGS], verify_all WHEN: writes to the 1 MiB at 56 MiB; and to the first 48 MiB.
more()
{
	must $ACK write $INITIAL --dev $MD --log $MORE --offset 56M --span 1M \
		--threads 1 --seed "$SEED" "$@"
}

verify_all()
{
	verify "$1"
	$ACK check $INITIAL --dev $MD --log $MORE --offset 56M \
		> /tmp/verify 2>&1 ||
		fail "$1: of what was written last: $(grep -v acknowledged.writes /tmp/verify | head -n 1)"
}

# ready LEVEL [ARGS]: an array that has been written and is at rest.
ready()
{
	local level=$1
	shift
	create "$level" 4 64 - $SIZE --force "$@"
	wait_idle
	truncate -s 4M $MORE
	put --seed "$SEED" --ops 200 --threads 6 --span 48M
	more --ops 40
	bits_gone
}

# Until the bitmap has forgotten all writes.
bits_gone()
{
	local n=0 bits
	[ "$(get bitmap_type 2> /dev/null | grep -o '\[bitmap\]')" ] || return 0
	[ -e $SYS/bitmap/time_base ] || return 0
	echo 1 > $SYS/bitmap/time_base
	while bits=$(bits_of "${DISK[0]}"); [ "$bits" != 0 ]; do
		[ $n -lt 100 ] || fail "$bits bits of the bitmap stay set"
		sleep 0.2
		n=$((n + 1))
	done
}

bits_of()
{
	mdadm --examine-bitmap "$1" |
		sed -n 's/.*chunks), \([0-9]*\) dirty.*/\1/p'
}

bits_set()
{
	[ "$(bits_of /dev/mapper/m0)" -gt 0 ]
}

# rebuilt DISK COMMAND: how many sectors of the disk that writes is REBUILT; BITS were set.
rebuilt()
{
	local disk=$1 before
	shift
	BITS=$(bits_of "${DISK[0]}" 2> /dev/null)
	before=$(sectors_written "$disk")
	must "$@"
	wait_whole
	REBUILT=$(($(sectors_written "$disk") - before))
	echo "$* wrote $REBUILT sectors of $WHOLE, ${BITS:-no} bits were set"
}

just_changed()
{
	[ "$BITS" -ge $LEAST ] || fail "just $BITS bits were set"
	[ $REBUILT -ge $((BITS * BIT)) ] ||
		fail "$REBUILT sectors were rebuilt for $BITS bits"
	[ $REBUILT -lt $((BITS * BIT + WHOLE / 16)) ] ||
		fail "$REBUILT sectors of $WHOLE were rebuilt for $BITS bits"
}

# All data are right, in step, and there without another member (or two).
right()
{
	local disk
	verify_all "$1"
	no_mismatch "$1"
	for disk in "${@:2}"; do
		must mdadm $MD --fail "$disk"
	done
	verify_all "$1, and another missing"
}

# readd LEVEL HOW: a member was away and comes back.
readd()
{
	local level=$1 how=$2
	ready "$level" "${BITMAP[@]}"
	must mdadm $MD --fail "${DISK[1]}"
	more --resume --ops 100
	verify_all "without a member"
	case $how in
	mdadm)
		must mdadm $MD --remove "${DISK[1]}"
		rebuilt "${DISK[1]}" mdadm $MD --re-add "${DISK[1]}"
		;;
	add)
		must mdadm $MD --remove "${DISK[1]}"
		rebuilt "${DISK[1]}" mdadm $MD --add "${DISK[1]}"
		;;
	sysfs)
		rebuilt "${DISK[1]}" sh -c "echo re-add > \
			$SYS/dev-${DISK[1]##*/}/state"
		;;
	stopped)
		stop_md
		must mdadm --assemble --run $MD "${DISK[0]}" "${DISK[2]}" \
			"${DISK[3]}"
		more --resume --ops 20
		rebuilt "${DISK[1]}" mdadm $MD --re-add "${DISK[1]}"
		;;
	esac
	just_changed
	if [ "$level" = 6 ]; then
		right "back" "${DISK[0]}" "${DISK[3]}"
	else
		right "back" "${DISK[2]}"
	fi
}

# The counter counts: a disk that is new, and one that was away without a bitmap.
whole()
{
	ready 5 "$@"
	must mdadm $MD --fail "${DISK[1]}"
	more --resume --ops 100
	must mdadm $MD --remove "${DISK[1]}"
	if [ "$1" = --bitmap=none ]; then
		! run mdadm $MD --re-add "${DISK[1]}" ||
			fail "a member was added again without a bitmap"
	else
		must mdadm --zero-superblock "${DISK[1]}"
	fi
	rebuilt "${DISK[1]}" mdadm $MD --add "${DISK[1]}"
	[ $REBUILT -ge $WHOLE ] || fail "just $REBUILT sectors were rebuilt"
	right "a new member" "${DISK[2]}"
}

# Nothing was written meanwhile: nothing is rebuilt.
unchanged()
{
	ready 5 "${BITMAP[@]}"
	must mdadm $MD --fail "${DISK[1]}"
	must mdadm $MD --remove "${DISK[1]}"
	rebuilt "${DISK[1]}" mdadm $MD --re-add "${DISK[1]}"
	[ $REBUILT -lt $BIT ] || fail "$REBUILT sectors were rebuilt"
	right "back" "${DISK[2]}"
}

# load SECONDS: writers, meanwhile; until `reap`.
load()
{
	background --resume --seconds $(($1 * SLOWER)) --read 20 --fua 3
}

# Out and in again, under a writer.
readd_under_load()
{
	local n
	ready "$1" "${BITMAP[@]}"
	load 5
	for n in 1 2 0; do
		must mdadm $MD --fail "${DISK[$n]}"
		sleep 0.3
		must mdadm $MD --remove "${DISK[$n]}"
		sleep 0.2
		must mdadm $MD --re-add "${DISK[$n]}"
		wait_whole
	done
	reap "three were out under load"
	right "after three were out under load" "${DISK[3]}"
}

# The bitmap comes and goes under a writer, and works then.
bitmap_changes()
{
	local n
	ready 5 --bitmap=none
	load 4
	for n in 1 2 3; do
		must mdadm --grow $MD --bitmap=internal --bitmap-chunk=64K
		[ -d $SYS/bitmap ] || fail "there is no bitmap"
		sleep 0.2
		must mdadm --grow $MD --bitmap=none
		sleep 0.1
	done
	must mdadm --grow $MD --bitmap=internal --bitmap-chunk=64K
	reap "bitmaps came and went"
	bits_gone
	must mdadm $MD --fail "${DISK[1]}"
	more --resume --ops 100
	must mdadm $MD --remove "${DISK[1]}"
	rebuilt "${DISK[1]}" mdadm $MD --re-add "${DISK[1]}"
	just_changed
	right "with a bitmap since just now" "${DISK[2]}"
}

# The machine stops under a writer: what may be out of step is in the bitmap.
crash()
{
	local n disk sectors copies=() before
	sectors=$(blockdev --getsz "${DISK[0]}")
	for n in 0 1 2; do
		echo "0 $sectors linear ${DISK[$n]} 0" | dmsetup create "m$n" ||
			fail "no device mapper"
		copies+=("${DISK[$((n + 3))]}")
	done
	must mdadm --create $MD --run --level=5 --raid-devices=3 --chunk=64 \
		--size=$SIZE --force "${BITMAP[@]}" /dev/mapper/m{0,1,2}
	wait_idle
	put --seed "$SEED" --ops 60 --threads 8 --span 4M
	bits_gone
	load 30
	soon 200 "the writer sets no bit" bits_set
	for n in 0 2 1; do
		dmsetup suspend --nolockfs m$n
	done
	for n in 0 1 2; do
		dd if="${DISK[$n]}" of="${copies[$n]}" bs=1M oflag=direct \
			iflag=direct 2> /dev/null
	done
	kill -9 $writer
	for n in 0 1 2; do
		dmsetup resume m$n
	done
	wait $writer 2> /dev/null
	stop_md
	dmsetup remove m0 m1 m2
	before=$(sectors_read "${copies[0]}")
	must mdadm --assemble $MD "${copies[@]}"
	[ "$(bits_of "${copies[0]}")" -gt 0 ] || fail "no bit is set"
	wait_idle
	before=$(($(sectors_read "${copies[0]}") - before))
	echo "$before sectors of $WHOLE were read to sync"
	[ $before -lt $((WHOLE / 2)) ] || fail "$before sectors were synced"
	verify "after a crash"
	no_mismatch "after a crash"
	must mdadm $MD --fail "${copies[1]}"
	verify "after a crash, and a member missing"
}

# ---- spares ----

# spares LEVEL N...: a spare waits, takes over, and what it replaced is a spare later.
spares()
{
	local level=$1 lost=() disk n
	for n in "${@:2}"; do
		lost+=("${DISK[$n]}")
	done
	must mdadm --create $MD --run --level="$level" --raid-devices=4 \
		--spare-devices=2 --size=$SIZE --chunk=64 --force --bitmap=none \
		"${DISK[@]:0:6}"
	wait_whole
	truncate -s 4M $MORE
	put --seed "$SEED" --ops 200 --threads 6 --span 48M
	more --ops 40
	load 3
	for disk in "${lost[@]}"; do
		must mdadm $MD --fail "$disk"
	done
	wait_whole
	reap "spares took over"
	verify_all "spares took over"
	no_mismatch "spares took over"
	must mdadm $MD --remove "${lost[@]}"
	must mdadm --zero-superblock "${lost[@]}"
	must mdadm $MD --add "${lost[@]}"
	must mdadm $MD --fail "${DISK[2]}"
	wait_whole
	right "the third generation" "${DISK[3]}"
	must mdadm $MD --remove "${DISK[3]}"
}

# The disk that is being rebuilt fails, then the one after it; the third is good.
target_dies()
{
	local n
	ready 5 --bitmap=none
	must mdadm $MD --fail "${DISK[1]}"
	speed $((4000 / SLOWER))
	for n in 4 5; do
		must mdadm $MD --add "${DISK[$n]}"
		sleep 1
		[ "$(get sync_action)" = recover ] || fail "no rebuild"
		must mdadm $MD --fail "${DISK[$n]}"
		sleep 0.3
		[ "$(get degraded)" = 1 ] || fail "degraded is $(get degraded)"
		verify_all "the disk that was rebuilt failed"
		must mdadm $MD --remove "${DISK[$n]}"
	done
	speed 1000000
	must mdadm $MD --add "${DISK[4]}"
	wait_whole
	right "rebuilt at last" "${DISK[2]}"
}

# What mdadm and sysfs answer to what cannot be.
refusals()
{
	local text disk=${DISK[1]##*/}
	create 5 4 64 - $SIZE --assume-clean "$@"
	say mdadm $MD --remove "${DISK[1]}"
	say mdadm $MD --add "${DISK[1]}"
	say mdadm $MD --re-add "${DISK[4]}"
	say mdadm $MD --add "${DISK[6]}"
	say mdadm $MD --add "${DISK[4]}"
	shot spare
	say mdadm $MD --remove "${DISK[4]}"
	say mdadm $MD --remove "${DISK[4]}"
	say mdadm $MD --remove failed
	say mdadm $MD --remove detached
	for text in junk spare -insync remove blocked -blocked write_error \
		-write_error write_mostly -write_mostly re-add failfast \
		-failfast external_bbl insync; do
		tell "dev-$disk/state" $text
	done
	for text in none 1 7 x; do
		tell "dev-$disk/slot" $text
	done
	tell "dev-$disk/offset" 0
	tell "dev-$disk/recovery_start" 64
	shot texts
	say mdadm $MD --fail "${DISK[1]}"
	sleep 0.3
	say mdadm $MD --fail "${DISK[1]}"
	tell "dev-$disk/state" insync
	shot failed
	say mdadm $MD --fail "${DISK[2]}"
	say mdadm $MD --remove failed
	say mdadm $MD --re-add "${DISK[1]}"
	sleep 0.5
	shot back
}

# ---- without locks ----

# lockless SOURCE [ARGS]: md's other bitmap, with which nothing is synced before it is
# written; the members begin with what is read from SOURCE. Parity by read-modify-write wherever it may be.
lockless()
{
	junk 4 "$1"
	shift
	create 5 4 64 - $SIZE --bitmap=lockless "$@"
	echo 2 > $SYS/rmw_level
	truncate -s 4M $MORE
	put --seed "$SEED" --ops 200 --threads 6 --span 48M
	more --ops 40
	must mdadm $MD --fail "${DISK[1]}"
	verify_all "a member missing"
	more --resume --ops 60
	put --resume --ops 100
	verify_all "written without a member"
	must mdadm $MD --remove "${DISK[1]}"
	rebuilt "${DISK[1]}" mdadm $MD --re-add "${DISK[1]}"
	verify_all "the member is back"
	must mdadm $MD --fail "${DISK[2]}"
	verify_all "another member missing"
	stop_md
	must mdadm --assemble --run $MD "${DISK[0]}" "${DISK[1]}" "${DISK[3]}"
	verify_all "assembled without a member"
}

# A member fails before what was written is synced: parity was made of all data of the row.
lockless_unsynced()
{
	junk 4
	create 5 4 64 - $SIZE --bitmap=lockless
	echo 2 > $SYS/rmw_level
	echo frozen > $SYS/sync_action
	put --seed "$SEED" --ops 200 --threads 6 --span 48M
	must mdadm $MD --fail "${DISK[1]}"
	verify "a member missing"
}

use "$MODULE"
clean_up
speed 1000000
for name in "$@"; do
	# Words are arguments.
	# shellcheck disable=SC2086
	case $name in
	refusals*) try "$name" same members $name ;;
	*) try "$name" $name ;;
	esac
	use "$MODULE"
	clean_up
	speed 1000000
done
finish
