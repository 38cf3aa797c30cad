#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The trace events of the write journal: an array in each mode is written to,
# copied as a power cut would leave it, stopped, assembled; then the copy is
# assembled and replayed. What was traced goes to the output, for
# suites/trace.py to judge. Disks: four members, the journal, the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL=${DISK[4]}
SIZE=16384
SEED=${SEED:-1}
# Enough for the tail to move, and for the cache to be written out.
OPS=250
[ "${LAB_KIND:-um}" != debug ] || OPS=1500
TRACE=/sys/kernel/tracing
EVENTS=$TRACE/events/raid5c
COUNTERS=/sys/kernel/debug/raid5c/${MD#/dev/}
COPY=/tmp/copy

mode()
{
	echo "$1" > $SYS/journal_mode || fail "$1 is refused"
}

build()
{
	local disk
	# Parity of what another array left would not agree.
	for disk in "${DISK[@]:0:5}"; do
		dd if=/dev/zero of="$disk" bs=1M oflag=direct 2> /dev/null
	done
	must mdadm --create $MD --run --level=5 --raid-devices=4 \
		--size=$SIZE --chunk=64 --assume-clean "${DISK[@]:0:4}" \
		--write-journal "$JOURNAL"
	# Or superblocks would be written while disks are copied.
	echo 0 > $SYS/safe_mode_delay
	mode "$1"
}

assemble()
{
	must mdadm --assemble $MD "${DISK[@]:0:4}" "$JOURNAL"
}

traced()
{
	echo "$1" > $EVENTS/enable || fail "events cannot be switched"
	echo > $TRACE/trace
}

# What there is, and its counters, which must not change meanwhile.
seen()
{
	local n before=
	for ((n = 0; n < PATIENCE; n++)); do
		before=$(cat "$COUNTERS" 2> /dev/null)
		cat $TRACE/trace > /tmp/trace
		sleep 0.3
		[ "$before" = "$(cat "$COUNTERS" 2> /dev/null)" ] && break
	done
	[ $n -lt $PATIENCE ] || fail "the array does not come to rest"
	! grep -v '^overrun: 0$' <(grep -h ^overrun $TRACE/per_cpu/cpu*/stats) ||
		fail "events were lost"
	echo "SEEN $1"
	grep -v '^#' /tmp/trace
	echo "$before"
	dmesg | grep "journal recovery:" | tail -n 1
	echo "END $1"
	echo > $TRACE/trace
	dmesg -C
}

number()
{
	awk -v name="$1" '$1 == name { print $2 }' "$COUNTERS"
}

# The disks as they are, with something in the journal. That comes first: what
# is written out meanwhile, because it was cached for long enough, repeats what
# the journal has, as long as the tail stays.
copy()
{
	local n i moves
	mkdir -p $COPY
	for ((n = 0; n < 8; n++)); do
		put --resume --ops 40
		moves=$(number journal_tail_moves)
		[ "$(number journal_blocks_used)" -ge 100 ] || continue
		for i in 4 0 1 2 3; do
			dd if="${DISK[i]}" of=$COPY/$i bs=1M iflag=direct \
				2> /dev/null
		done
		[ "$moves" != "$(number journal_tail_moves)" ] || return 0
	done
	fail "the tail does not rest, or nothing stays in the journal"
}

lives()
{
	local i
	traced 1
	build "$1"
	put --seed $((SEED * 100 + 1)) --ops $OPS --threads 8 --big 3
	copy
	mode write-through
	seen "$1 live"
	stop_md
	seen "$1 stopped"
	assemble
	seen "$1 clean"
	stop_md
	for i in 0 1 2 3 4; do
		dd if=$COPY/$i of="${DISK[i]}" bs=1M oflag=direct 2> /dev/null
	done
	seen "$1 stopped again"
	assemble
	seen "$1 replay"
	verify "replayed"
	no_mismatch "replayed"
	clean_up
}

# Events that are off stay away.
off()
{
	traced 0
	build write-through
	put --seed $((SEED * 100 + 2)) --ops 50
	grep "^journal_units [1-9]" "$COUNTERS" || fail "nothing was written"
	! grep raid5c_ $TRACE/trace || fail "events that are off"
	traced 1
	put --resume --ops 10
	grep -m 1 raid5c_append $TRACE/trace || fail "events that stay off"
	clean_up
}

# The module goes with its events on.
unloads()
{
	traced 1
	rmmod raid5c || fail "it does not unload"
	[ ! -e $EVENTS ] || fail "the events stay"
	use raid5c
	[ -e $EVENTS/raid5c_append/format ] || fail "the events do not come back"
	cat $EVENTS/raid5c_append/format
}

mountpoint -q $TRACE || mount -t tracefs tracefs $TRACE
use "$MODULE"
[ -e $EVENTS ] || fail "there are no events"
echo 16384 > $TRACE/buffer_size_kb
# One order on all CPUs.
echo counter > $TRACE/trace_clock
try off off
try write-through lives write-through
try write-back lives write-back
try unloads unloads
finish
