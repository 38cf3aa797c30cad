#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Allocations of raid5c fail, by the kernel's fault injection: those, and only
# those, that are made with raid5c on the stack. Create, assemble, stop: the
# first one fails, the second one, and so on, STEPS of them (the last eight
# at growing distances). Writes, rebuild, check: some in a hundred, at most
# ODDS, as SEED chooses; by chance, as every second one would fail whatever
# takes two for ever. An error is right and a retry is right; after
# it, the array works and the data are right. Disks: four members, the journal
# (used with WITH_JOURNAL=1), the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL=${DISK[4]}
SIZE=16384
SEED=${SEED:-1}
STEPS=${STEPS:-16}
INITIAL=--any-initial
MANY=1000000000
KNOBS=()
for dir in /sys/kernel/debug/fail{slab,_page_alloc,_mempool_alloc{,_bulk}}; do
	[ ! -d "$dir" ] || KNOBS+=("$dir")
done
BIO_KNOB=/sys/kernel/debug/fail_make_request
ODDS=${ODDS:-30}

# set_all FILE VALUE: in every kind of fault that has such a file.
set_all()
{
	local dir
	for dir in "${KNOBS[@]}"; do
		[ ! -e "$dir/$1" ] || echo "$2" > "$dir/$1"
	done
}

# Only below raid5c's own code, in any context, whatever may wait.
aim()
{
	local ends
	[ ${#KNOBS[@]} -ge 2 ] || fail "no fault injection"
	ends=$(awk '$4 == "[raid5c]" && tolower($2) == "t" { print $1 }' \
		/proc/kallsyms | sort | sed -n '1p;$p')
	[ -n "$ends" ] || fail "no symbols of raid5c"
	set_all probability 0
	set_all require-start "0x${ends%%$'\n'*}"
	set_all require-end "0x${ends##*$'\n'}"
	set_all stacktrace-depth 32
	set_all ignore-gfp-wait 0
	set_all ignore-gfp-highmem 0
	set_all min-order 0
	set_all verbose 0
	set_all times $MANY
}

injected()
{
	local dir left sum=0
	for dir in "${KNOBS[@]}"; do
		read -r left < "$dir/times"
		sum=$((sum + MANY - left))
	done
	echo $sum
}

# nth N COMMAND: run it with the Nth allocation below raid5c failing.
nth()
{
	# shellcheck disable=SC2016
	timeout "$PATIENCE" bash -c \
		'n=$1; shift; echo $n > /proc/self/fail-nth; exec "$@"' - "$@" \
		> /tmp/out 2>&1
}

# each NAME FUNCTION: FUNCTION N for N = 1, 2, ... until nothing is injected.
each()
{
	local name=$1 n=1 step before errors=0 done_=0
	for ((step = 0; step < STEPS; step++)); do
		aim
		before=$(injected)
		if ! "$2" $n; then
			errors=$((errors + 1))
			tail -n 1 /tmp/out
		fi
		if [ "$(injected)" = "$before" ]; then
			done_=1
			break
		fi
		[ "$step" -lt $((STEPS - 8)) ] && n=$((n + 1)) ||
			n=$((n + n / 2 + 1 + RANDOM % 2))
	done
	echo "$name: $step allocations failed one by one, $errors errors;" \
		"the last was number $n, all: $done_"
	INJECTED=$step
}

args()
{
	echo "--run --level=5 --raid-devices=4 --size=$SIZE --chunk=64" \
		"--assume-clean ${DISK[*]:0:4} $*"
}

# Whatever went wrong: it is gone, and comes back as if nothing had been.
create_nth()
{
	local rc
	# shellcheck disable=SC2046
	nth "$1" mdadm --create $MD $(args "${EXTRA[@]}")
	rc=$?
	[ $rc != 124 ] || fail "create hangs at $1"
	stop_md
	return $rc
}

creating()
{
	each "create" create_nth
	[ "$INJECTED" -gt 0 ] || fail "nothing was injected"
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}")
	put --seed $((SEED * 100 + 1)) --ops 60 --threads 4
	verify "afterwards"
	clean_up
}

assemble_nth()
{
	local rc
	nth "$1" mdadm --assemble $MD "${DISK[@]:0:4}" "${ASSEMBLE[@]}"
	rc=$?
	[ $rc != 124 ] || fail "assemble hangs at $1"
	stop_md
	return $rc
}

assembling()
{
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}")
	put --seed $((SEED * 100 + 2)) --ops 100 --threads 4
	stop_md
	each "assemble" assemble_nth
	[ "$INJECTED" -gt 0 ] || fail "nothing was injected"
	must mdadm --assemble $MD "${DISK[@]:0:4}" "${ASSEMBLE[@]}"
	verify "assembled after all"
	no_mismatch "assembled after all"
	clean_up
}

stop_nth()
{
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}") > /dev/null
	must dd if=/dev/zero of=$MD bs=64k count=4 oflag=direct > /dev/null
	nth "$1" mdadm --stop $MD || fail "does not stop: $(cat /tmp/out)"
}

stopping()
{
	# It may well be that nothing is allocated.
	each "stop" stop_nth
	clean_up
}

# rain COMMAND: run it while allocations fail at an interval.
rain()
{
	local before after rc percent=$((RANDOM % ODDS + 1))
	aim
	before=$(injected)
	set_all probability $percent
	echo "$percent in 100 allocations are to fail"
	run "$@" > /tmp/out 2>&1
	rc=$?
	set_all probability 0
	after=$(injected)
	echo "$((after - before)) failed;" \
		"$1 $2 ended with $rc: $(tail -n 1 /tmp/out)"
	[ $rc != 124 ] || fail "$1 $2 hangs ($percent in 100, seed $SEED)"
	INJECTED=$((after - before))
}

# Writers, healthy and degraded. What was acknowledged is there.
writing()
{
	local round total=0
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}")
	put --seed $((SEED * 100 + 3)) --ops 60 --threads 4
	for round in 1 2 3 4; do
		[ $round != 3 ] || must mdadm $MD --fail "${DISK[1]}"
		rain $ACK write $INITIAL --dev $MD --log "$LOG" --resume \
			--ops 100 --read 20 --fsync 2
		total=$((total + INJECTED))
		verify "after round $round"
	done
	[ $total -gt 0 ] || fail "nothing was injected"
	put --resume --ops 60
	verify "afterwards"
	clean_up
}

# The rebuild and the check, with writers.
recovering()
{
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}")
	put --seed $((SEED * 100 + 4)) --ops 60 --threads 4
	must mdadm $MD --fail "${DISK[1]}" --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	rain mdadm $MD --add "${DISK[1]}"
	local adding=$INJECTED
	rain sleep 5
	adding=$((adding + INJECTED))
	mdadm --detail $MD | grep -q "${DISK[1]}" ||
		must mdadm $MD --add "${DISK[1]}"
	wait_whole
	verify "rebuilt"
	echo check > $SYS/sync_action || fail "no check"
	rain sleep 5
	wait_idle
	[ $((adding + INJECTED)) -gt 0 ] || fail "nothing was injected"
	no_mismatch "afterwards"
	verify "afterwards"
	clean_up
}

# Requests of one member fail at an interval: it is kept or thrown out, and
# replaced; no data are lost.
requests()
{
	local before interval=$((RANDOM % 40 + 20)) left
	# shellcheck disable=SC2046
	must mdadm --create $MD $(args "${EXTRA[@]}")
	put --seed $((SEED * 100 + 5)) --ops 60 --threads 4
	echo 1 > "/sys/block/${DISK[2]##*/}/make-it-fail"
	echo 0 > $BIO_KNOB/verbose
	echo $interval > $BIO_KNOB/interval
	echo $MANY > $BIO_KNOB/times
	echo 100 > $BIO_KNOB/probability
	run $ACK write $INITIAL --dev $MD --log "$LOG" --resume \
		--ops 150 --read 40 --fsync 2 || fail "the writer had an error"
	verify "while requests fail"
	echo 0 > $BIO_KNOB/probability
	echo 0 > "/sys/block/${DISK[2]##*/}/make-it-fail"
	read -r left < $BIO_KNOB/times
	echo "one in $interval requests: $((MANY - left)) failed"
	[ $left -lt $MANY ] || fail "nothing was injected"
	if [ "$(get degraded)" != 0 ]; then
		must mdadm $MD --remove "${DISK[2]}"
		must mdadm --zero-superblock "${DISK[2]}"
		must mdadm $MD --add "${DISK[2]}"
		wait_whole
	fi
	no_mismatch "afterwards"
	verify "afterwards"
	clean_up
}

# A subshell, as those of `try`, has random numbers of its own. And what a
# degraded array left is no good for --assume-clean. The last case may have
# failed with failures still on.
fresh()
{
	local disk
	RANDOM=$SEED
	set_all probability 0
	[ ! -d $BIO_KNOB ] || echo 0 > $BIO_KNOB/probability
	for disk in "${DISK[@]:0:4}"; do
		must blkdiscard --zeroout --force "$disk"
	done
	"$@"
}

use raid5c
EXTRA=() ASSEMBLE=()
[ "${WITH_JOURNAL:-0}" = 0 ] || EXTRA=(--write-journal "$JOURNAL") \
	ASSEMBLE=("$JOURNAL")
for name in ${CASES:-writing requests recovering assembling stopping creating}; do
	try "$name" fresh $name
	clean_up
done
set_all probability 0
try "unloads" rmmod raid5c
finish
