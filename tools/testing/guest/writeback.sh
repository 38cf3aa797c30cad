#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The write-back cache: the mode switched at rest and under load, members and
# the journal failing while data is cached, a small ring, a stop with cached
# data. Disks: four members and a spare, the journal, the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
SPARE=${DISK[4]}
JOURNAL=${DISK[5]}
SIZE=24576
SEED=${SEED:-1}
LEVEL=${LEVEL:-5}
COUNTERS=/sys/kernel/debug/raid5c

mode()
{
	echo "$1" > $SYS/journal_mode || fail "$1 is refused"
	get journal_mode | grep -F "[$1]" || fail "the mode is $(get journal_mode)"
}

# build JOURNAL [chunk]: an array in write-back mode.
build()
{
	local disk
	# Parity of what another array left would not agree.
	for disk in "${DISK[@]:0:5}"; do
		dd if=/dev/zero of="$disk" bs=1M oflag=direct 2> /dev/null
	done
	must mdadm --create $MD --run --level="$LEVEL" --raid-devices=4 \
		--size=$SIZE --chunk="${2:-64}" --assume-clean \
		"${DISK[@]:0:4}" --write-journal "$1"
	mode write-back
}

assemble()
{
	must mdadm --assemble $MD "${DISK[@]:0:4}" "$@"
}

# counter NAME: one of the numbers in debugfs.
counter()
{
	awk -v name="$1" '$1 == name { print $2; found = 1 }
		END { exit !found }' "$COUNTERS/${MD#/dev/}" ||
		fail "no counter $1"
}

# The counters agree with each other; $1: whether something may be cached.
counters()
{
	local cached out used free all
	cat "$COUNTERS/${MD#/dev/}"
	cached=$(counter rows_cached) out=$(counter rows_written_out)
	[ "$cached" -gt 0 ] || fail "no row was cached"
	# A row that is on its way out is neither.
	[ "$1" = cached ] || [ "$cached" = "$out" ] ||
		fail "$cached rows were cached and $out written out"
	[ "$1" = cached ] || [ "$(counter rows_cached_now)" = 0 ] ||
		fail "$(counter rows_cached_now) rows are cached"
	used=$(counter journal_blocks_used) free=$(counter journal_blocks_free)
	all=$(counter journal_blocks)
	[ "$1" = cached ] || [ $((used + free + 1)) = "$all" ] ||
		fail "$used blocks used and $free free of $all"
	[ "$(counter member_pages_written_out)" -le \
		"$(counter member_pages_of_write_through)" ] ||
		fail "more was written than without a cache"
}

# With a volatile cache of the journal, writes do not wait for it to be flushed;
# a flush does. $1: the journal.
unflushed()
{
	local rows flushes
	rows=$(counter rows_ended_unflushed)
	if grep -q "write through" "/sys/class/block/${1#/dev/}/queue/write_cache"; then
		[ "$rows" = 0 ] || fail "$rows rows before a flush of nothing"
		return
	fi
	[ "$rows" -gt 0 ] || fail "all writes waited for a flush"
	flushes=$(counter journal_flushes_of_users)
	put --resume --seed $((SEED * 100 + 10)) --ops 100 --threads 2 --big 0 \
		--fsync 100
	[ "$(counter journal_flushes_of_users)" -gt "$flushes" ] ||
		fail "no flush waited"
	rows=$(counter rows_ended_unflushed)
	put --resume --seed $((SEED * 100 + 11)) --ops 100 --threads 2 --big 0 \
		--fua 100
	[ "$(counter rows_ended_unflushed)" = "$rows" ] ||
		fail "FUA did not wait for a flush"
}

# Data are cached that the members do not have: at this moment, or at one that
# comes while somebody writes.
dirty()
{
	local rows n
	[ "$MODULE" = raid5c ] || return 0
	for ((n = 0; n < 50; n++)); do
		rows=$(counter rows_cached_now)
		[ "$rows" -lt 20 ] || break
		sleep 0.05
	done
	echo "$rows rows are cached"
	[ "$rows" -ge 20 ] || fail "only $rows rows are cached"
}

# little SEED: write so little that no reason but its age has it written out.
little()
{
	put --seed $((SEED * 100 + $1)) --ops 80 --threads 6 --max-io 8K --big 0
}

# Read everything, again and again, until `read_well`, or until this case fails.
read_on()
{
	local enough=/tmp/enough.$BASHPID
	# shellcheck disable=SC2064
	trap "touch $enough" EXIT
	rm -f "$enough" /tmp/misread
	until [ -e "$enough" ]; do
		$ACK check --dev $MD --log "$LOG" > /tmp/reader 2>&1 ||
			mv /tmp/reader /tmp/misread
	done &
	READER=$!
	sleep 0.3
}

read_well()
{
	touch "/tmp/enough.$BASHPID"
	wait "$READER"
	[ ! -e /tmp/misread ] || fail "$1: $(head -n 1 /tmp/misread)"
}

# Small writes, read back through the cache and from the members.
cached()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 1)) --ops 2000 --threads 8 --big 5
	counters cached
	unflushed "$JOURNAL"
	verify "while cached"
	drop_caches
	verify "while cached, read again"
	mode write-through
	verify "written out"
	counters written
	no_mismatch "written out"
	mode write-back
	put --resume --seed $((SEED * 100 + 2)) --ops 1000 --threads 8 --read 20
	no_mismatch "checked while cached"
	verify "after the check"
	stop_md
	[ ! -e "$COUNTERS/${MD#/dev/}" ] || fail "counters of no array"
	dmesg -C
	assemble "$JOURNAL"
	dmesg | grep "1 units with 0 data pages" ||
		fail "not a clean start: $(dmesg | grep 'journal recovery')"
	get journal_mode | grep -F "[write-through]" || fail "the mode was kept"
	verify "after assembly"
	no_mismatch "after assembly"
	clean_up
}

# The mode is switched while writers are at work.
switched()
{
	build "$JOURNAL"
	$ACK write --dev $MD --log "$LOG" --seed $((SEED * 100 + 3)) \
		--seconds 8 --threads 8 --big 10 --read 10 > /tmp/writer 2>&1 &
	local writer=$! n=0
	while kill -0 $writer 2> /dev/null; do
		mode write-through
		sleep 0.1
		mode write-back
		sleep 0.2
		n=$((n + 1))
	done
	wait $writer || fail "the writer ended with $?: $(cat /tmp/writer)"
	echo "switched $n times"
	[ $n -ge 3 ] || [ "${LAB_KIND:-um}" = debug ] ||
		fail "switched only $n times"
	verify "after switching"
	stop_md
	assemble "$JOURNAL"
	verify "after assembly"
	no_mismatch "after assembly"
	clean_up
}

# A ring of a few MiB wraps many times.
small_ring()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 4)) --ops 4000 --threads 16
	verify "after many times round the ring"
	stop_md
	assemble "$JOURNAL"
	verify "after assembly"
	no_mismatch "after assembly"
	clean_up
}

# A member fails with cached data: what is cached is written out, the mode is
# left, and write-back is refused until the array is whole.
member_fails()
{
	build "$JOURNAL"
	put --seed $((SEED * 100 + 5)) --ops 500 --threads 4
	$ACK write --resume --dev $MD --log "$LOG" --seconds 4 \
		--threads 8 --read 10 > /tmp/writer 2>&1 &
	sleep 1
	dirty
	must mdadm $MD --fail "${DISK[$1]}"
	wait $! || fail "the writer ended with $?: $(cat /tmp/writer)"
	get journal_mode | grep -F "[write-through]" ||
		fail "write-back with a member missing"
	echo write-back > $SYS/journal_mode && fail "write-back is taken"
	dmesg | grep "write-through mode from now on" || fail "nothing was said"
	verify "degraded"
	must mdadm $MD --remove "${DISK[$1]}"
	must mdadm --zero-superblock "$SPARE"
	must mdadm $MD --add "$SPARE"
	wait_whole
	verify "rebuilt"
	no_mismatch "rebuilt"
	mode write-back
	put --resume --ops 300
	verify "write-back again"
	stop_md
	clean_up
}

# Nothing that was acknowledged is said to be lost.
all_written_out()
{
	! dmesg | grep "could not be written to the members" ||
		fail "what is on the members is said to be lost"
}

# How many threads workqueues of arrays have.
threads()
{
	grep -l "^kworker/R-raid5" /proc/[0-9]*/comm | wc -l
}

# No array is left in memory; $1 says how many threads there were before.
nothing_left()
{
	local n=0
	[ "$1" -gt 0 ] || fail "an array without threads"
	while [ "$(threads)" -gt 0 ]; do
		n=$((n + 1))
		[ $n -lt 50 ] || fail "an array is left: $(threads) threads of $1"
		sleep 0.1
	done
}

# member_fails_at_rest MEMBER WHEN: a member fails while data are cached and
# somebody reads; then the array is stopped, at once or later.
member_fails_at_rest()
{
	local rest=("${DISK[@]:0:4}")
	unset "rest[$1]"
	build "$JOURNAL"
	little 9
	dirty
	read_on
	must mdadm $MD --fail "${DISK[$1]}"
	[ "$2" = at-once ] || sleep 2
	read_well "while member $1 failed"
	[ "$2" = at-once ] || [ "$MODULE" != raid5c ] ||
		[ "$(counter rows_cached_now)" = 0 ] ||
		fail "$(counter rows_cached_now) rows are still cached"
	stop_md
	dmesg -C
	must mdadm --assemble --run $MD "${rest[@]}" "$JOURNAL"
	[ "$MODULE" != raid5c ] ||
		dmesg | grep "1 units with 0 data pages" ||
		fail "not a clean start: $(dmesg | grep 'journal recovery')"
	verify "assembled without member $1"
	must mdadm --zero-superblock "$SPARE"
	must mdadm $MD --add "$SPARE"
	wait_whole
	verify "rebuilt"
	no_mismatch "rebuilt"
	clean_up
}

# The journal fails with cached data: that goes to the members, and what is
# not acknowledged fails.
journal_fails()
{
	local sectors
	sectors=$(blockdev --getsz "$JOURNAL")
	echo "0 $sectors linear $JOURNAL 0" | dmsetup create j || fail "no table"
	build /dev/mapper/j
	put --seed $((SEED * 100 + 6)) --ops 300 --threads 6
	$ACK write --resume --dev $MD --log "$LOG" --ops 100000 \
		--threads 6 > /tmp/writer 2>&1 &
	sleep 1
	dirty
	echo "0 $sectors error" | dmsetup load j || fail "no new table"
	dmsetup suspend --nolockfs j
	dmsetup resume j
	wait $! && fail "writing went on without a journal"
	dmesg | grep "the journal device failed" || fail "nothing was said"
	verify "with the journal gone"
	no_mismatch "with the journal gone"
	stop_md
	all_written_out
	dmsetup remove_all --force
	must mdadm --assemble --force --run $MD "${DISK[@]:0:4}"
	verify "without the journal"
	clean_up
}

# journal_fails_at_rest WHEN: the journal's device fails while nothing but the
# cache is there, and somebody reads; then the array is stopped, at once or later.
journal_fails_at_rest()
{
	local sectors threads
	sectors=$(blockdev --getsz "$JOURNAL")
	echo "0 $sectors linear $JOURNAL 0" | dmsetup create j || fail "no table"
	build /dev/mapper/j
	threads=$(threads)
	little 7
	dirty
	read_on
	must mdadm $MD --fail /dev/mapper/j
	[ "$1" = at-once ] || sleep 1
	read_well "while the journal failed"
	[ "$1" = at-once ] || verify "with the journal gone"
	stop_md
	all_written_out
	[ "$MODULE" != raid5c ] || nothing_left "$threads"
	dmsetup remove_all --force
	must mdadm --assemble --force --run $MD "${DISK[@]:0:4}"
	drop_caches
	verify "without the journal"
	# It is read-only, and then md checks nothing.
	echo "resync_start is $(get resync_start)"
	mdadm --zero-superblock --quiet "$JOURNAL"
	must mdadm $MD --add-journal "$JOURNAL"
	no_mismatch "with a new journal"
	verify "with a new journal"
	clean_up
}

# Members 0 to 2, behind tables of their own, take nothing any more, and data are cached
# that they do not have. On a slow machine what was written may be too old by then, and
# on the members: so it is looked at when they have stopped, and written again.
cached_and_suspended()
{
	local i try rows words=(--seed $((SEED * 100 + $1)))
	for try in 1 2 3 4 5; do
		put "${words[@]}" --ops 80 --threads 6 --max-io 8K --big 0
		for i in 0 1 2; do
			dmsetup suspend --nolockfs "m$i" || fail "m$i goes on"
		done
		rows=$(counter rows_cached_now)
		echo "$rows rows are cached"
		[ "$rows" -lt 20 ] || return 0
		for i in 0 1 2; do
			dmsetup resume "m$i"
		done
		words=(--resume)
	done
	fail "only $rows rows are cached, at try $try"
}

# More members fail than parity makes up for while data is cached. That stays
# in the journal, and comes back when the members do; without the journal it is
# lost, and it is said what.
members_lost()
{
	local disk i names=() said threads
	i=0
	for disk in "${DISK[0]}" "${DISK[1]}" "${DISK[2]}" "$JOURNAL"; do
		echo "0 $(blockdev --getsz "$disk") linear $disk 0" |
			dmsetup create "m$i" || fail "no table"
		names+=("$disk")
		DISK[i]=/dev/mapper/m$i
		i=$((i + 1))
	done
	DISK[3]=$1 JOURNAL=/dev/mapper/m3
	build "$JOURNAL"
	threads=$(threads)
	dmesg -C
	# Together: one after the other, the last would get what is cached.
	cached_and_suspended 12
	for i in 0 1 2; do
		echo "0 $(blockdev --getsz "/dev/mapper/m$i") error" |
			dmsetup load "m$i" || fail "no new table"
	done
	[ -z "$2" ] || must mdadm $MD --fail "$JOURNAL"
	echo write-through > $SYS/journal_mode &
	sleep 0.5
	for i in 0 1 2; do
		dmsetup resume "m$i"
	done
	wait $!
	stop_md
	dmesg | grep "not on the members: sectors" || fail "no range is named"
	said="is in the journal: keep that"
	[ -z "$2" ] || said="these writes are lost"
	nothing_left "$threads"
	dmesg | grep "$said" || fail "nobody says \"$said\""
	for i in 0 1 2; do
		echo "0 $(blockdev --getsz "${names[i]}") linear ${names[i]} 0" |
			dmsetup load "m$i" || fail "no old table"
		dmsetup suspend --nolockfs "m$i"
		dmsetup resume "m$i"
	done
	if [ -z "$2" ]; then
		must mdadm --assemble --force --run $MD "${DISK[@]:0:4}" "$JOURNAL"
		[ "$(get array_state)" != readonly ] || must mdadm --readwrite $MD
		verify "when the members are back"
		no_mismatch "when the members are back"
	fi
	clean_up
}

# A flush of the array; says what came of it.
flush()
{
	python3 -c "import os; os.fsync(os.open('$MD', os.O_RDWR))"
}

# With the journal lost, a flush ends when it is recorded which member lacks what
# was acknowledged. Member 0 fails at the flush; the superblock of member 1 takes
# its time. $1: the journal was taken out before, or may be while the flush waits.
flush_recorded()
{
	local sectors disk first began
	first=${DISK[0]} disk=${DISK[1]}
	modprobe -a dm-delay dm-flakey || skip "no dm-delay, dm-flakey"
	sectors=$(blockdev --getsz "$disk")
	echo "0 $(blockdev --getsz "$first") linear $first 0" |
		dmsetup create m0 || fail "no table"
	echo "0 $sectors linear $disk 0" | dmsetup create m1 || fail "no table"
	DISK[0]=/dev/mapper/m0 DISK[1]=/dev/mapper/m1
	dmesg -C
	build "$JOURNAL"
	little 14
	dirty
	if [ "$1" = frozen ]; then
		# md takes nothing out.
		echo frozen > $SYS/sync_action
		must mdadm $MD --fail "$JOURNAL"
		sleep 2
	else
		mode write-through
	fi
	verify "before"
	# An error target would have no cache, and all flushes succeed.
	echo "0 $(blockdev --getsz /dev/mapper/m0) flakey $first 0 0 3600 1 error_writes" |
		dmsetup load m0 || fail "no new table"
	{
		echo "0 1024 delay $disk 0 0 $disk 0 1500 $disk 0 0"
		echo "1024 $((sectors - 1024)) linear $disk 1024"
	} | dmsetup load m1 || fail "no slow table"
	dmsetup suspend --nolockfs m0 && dmsetup resume m0 || fail "m0"
	dmsetup suspend --nolockfs m1 && dmsetup resume m1 || fail "m1"
	[ "$1" = frozen ] || must mdadm $MD --fail "$JOURNAL"
	began=$(date +%s%N)
	flush || fail "the flush failed"
	echo "the flush took $((($(date +%s%N) - began) / 1000000)) ms"
	mdadm --examine "$disk" | grep "Array State : \.AA" ||
		fail "not recorded: $(mdadm --examine "$disk" | grep State)"
	verify "without member 0"
	[ "$1" = frozen ] || taken_out
	flush || fail "a later flush failed"
	stop_md
	all_written_out
	dmsetup remove_all --force
	clean_up
}

# md takes a failed journal out when nothing needs it any more.
taken_out()
{
	local n=0
	while [ -n "$(get journal_mode)" ]; do
		n=$((n + 1))
		[ $n -lt 150 ] || fail "the journal is still in the array"
		sleep 0.1
	done
}

# The module's parameter chooses the mode that journals start with.
started()
{
	rmmod raid5c || fail "it does not unload"
	raid5c-load write_back=1 || fail "it does not load"
	build "$JOURNAL"
	put --seed $((SEED * 100 + 8)) --ops 100
	stop_md
	assemble "$JOURNAL"
	get journal_mode | grep -F "[write-back]" || fail "not write-back"
	verify "after assembly"
	stop_md
	must mdadm --assemble --run $MD "${DISK[@]:0:3}" "$JOURNAL"
	get journal_mode | grep -F "[write-through]" ||
		fail "write-back with a member missing"
	verify "after assembly without a member"
	# What is open keeps the module, and shows nothing once the array is gone.
	exec 3< "$COUNTERS/${MD#/dev/}"
	stop_md
	! cat <&3 || fail "counters of no array"
	! rmmod raid5c || fail "it unloads while its file is open"
	exec 3<&-
	rmmod raid5c || fail "it does not unload"
	use raid5c
	clean_up
}

use "$MODULE"
have_journal || skip "no journal"
try cached cached
try switched switched
try small-ring small_ring
try data-member-fails member_fails 1
try parity-member-fails member_fails 3
try data-member-fails-at-rest member_fails_at_rest 0 later
try member-fails-and-stop member_fails_at_rest 2 at-once
try journal-fails journal_fails
try journal-fails-at-rest journal_fails_at_rest later
try journal-fails-and-stop journal_fails_at_rest at-once
if [ "$MODULE" = raid5c ]; then
	try members-lost members_lost "${DISK[3]}" ""
	try members-and-journal-lost members_lost "${DISK[3]}" 3
	try flush-waits-for-record flush_recorded frozen
	try flush-and-removal flush_recorded removed
	try started started
fi
finish
