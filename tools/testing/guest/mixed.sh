#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything at once: writers and fio, which verify what they wrote, while an administrator
# who draws what to do from SEED takes members out and in, checks, and turns knobs.
# Arguments: cases LEVEL:JOURNAL, with JOURNAL none, write-through or write-back; each
# lasts SECONDS_LONG. Disks: six members and spares, the journal, the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL_DISK=${DISK[6]}
POOL=("${DISK[@]:0:6}")
SECONDS_LONG=${SECONDS_LONG:-40}
SIZE=28672
# The writer has the first part of the array, fio's jobs the rest; a gap between them,
# as the last block of a job goes beyond its end.
SPAN=12
JOBS=4
JOB_MIB=12
LARGEST_KIB=128
DONE=/tmp/deeds

# ---- the load ----

# fio_round N [options]: every block of each job's part once, in random order and sizes.
fio_round()
{
	local n=$1
	shift
	timeout $((SECONDS_LONG + PATIENCE * 2)) fio --name=mixed --filename=$MD --direct=1 \
		--ioengine=libaio --thread --rw=randwrite --bsrange=512-${LARGEST_KIB}k \
		--iodepth=16 --numjobs=$JOBS --offset=${SPAN}m \
		--offset_increment=$((JOB_MIB * 1024 + LARGEST_KIB))k --size=${JOB_MIB}m \
		--fsync=50 --verify=crc32c --verify_fatal=1 --do_verify=1 \
		--randrepeat=1 --randseed=$((SEED * 1000 + n)) --group_reporting \
		--output-format=terse "$@" > /tmp/fio 2>&1 || {
		cp /tmp/fio /tmp/fio_failed
		return 1
	}
	# The last one that came to its end.
	echo "$n" > /tmp/rounds
}

# Round after round, until the administrator has gone.
fio_on()
{
	local n=0
	rm -f "$ENOUGH" /tmp/rounds
	until [ -e "$ENOUGH" ]; do
		n=$((n + 1))
		fio_round $n --verify_backlog=64 || exit 1
	done &
	FIO=$!
}

# ---- the array as it is ----

# state_of DISK: in_sync, faulty, spare (also one that is being rebuilt), or out.
state_of()
{
	local state
	read -r state 2> /dev/null < "$SYS/dev-${1##*/}/state" || state=out
	case $state in
	*faulty*) STATE=faulty ;;
	*in_sync*) STATE=in_sync ;;
	*spare*) STATE=spare ;;
	out) STATE=out ;;
	*) STATE=none ;;
	esac
}

# one_of STATE...: a disk of the pool that is in one of these states, drawn; false if
# there is none.
one_of()
{
	local disk found=()
	for disk in "${POOL[@]}"; do
		state_of "$disk"
		[[ " $* " != *" $STATE "* ]] || found+=("$disk")
	done
	[ ${#found[@]} -gt 0 ] && ONE=${found[RANDOM % ${#found[@]}]}
}

# Up to so many tenths of a second.
nap()
{
	local tenths=$((RANDOM % ($1 + 1)))
	sleep $((tenths / 10)).$((tenths % 10))
}

# Until a rebuild has begun, or nobody is missing (any more), or there is nothing to rebuild on:
# a spare may have taken the place of a member that was replaced.
rebuilding()
{
	local n=0
	until [ "$(get sync_action)" = recover ] || [ "$(get degraded)" = 0 ] ||
		! (one_of spare); do
		[ $n -lt $((PATIENCE * 10)) ] || fail "no rebuild: $(get sync_action)"
		sleep 0.1
		n=$((n + 1))
	done
}

# put_in DISK: it comes (back), with what the bitmap says, or anew.
put_in()
{
	! timeout "$PATIENCE" mdadm $MD --re-add "$1" > /tmp/out 2>&1 || {
		echo "re-added $1"
		return 0
	}
	ONE=$1
	add_new
}

add_new()
{
	must mdadm --zero-superblock "$ONE"
	must mdadm $MD --add "$ONE"
}

# ---- deeds: false if there is nothing to do ----

# A member fails, leaves, and comes back.
out_and_in()
{
	[ "$(get degraded)" -lt "$REDUNDANT" ] && one_of in_sync || return 1
	must mdadm $MD --fail "$ONE"
	nap 10
	take_out "$ONE"
	nap 10
	put_in "$ONE"
	rebuilding
}

# A member fails, and another disk takes its place.
replaced()
{
	[ "$(get degraded)" -lt "$REDUNDANT" ] || return 1
	! one_of out || add_new
	nap 3
	one_of in_sync || return 1
	must mdadm $MD --fail "$ONE"
	rebuilding
	take_out "$ONE"
}

# What is being rebuilt fails, and is replaced; a member, if nothing is.
target_fails()
{
	one_of spare && [ "$(get degraded)" != 0 ] || {
		out_and_in
		return
	}
	must mdadm $MD --fail "$ONE"
	take_out "$ONE"
	put_in "$ONE"
	rebuilding
}

# A member that still works is copied to a spare.
copied()
{
	[ "$(get degraded)" = 0 ] || return 1
	! one_of out || add_new
	one_of in_sync || return 1
	must mdadm $MD --replace "$ONE"
	nap 10
}

# sync_is WORD: md refuses while it does something else.
sync_is()
{
	{ echo "$1" > $SYS/sync_action; } 2> /tmp/out || echo "$1 is refused"
}

checking()
{
	sync_is check
	nap 10
}

interrupted()
{
	sync_is frozen
	nap 3
	sync_is idle
}

readings()
{
	cat /proc/mdstat
	must mdadm --detail $MD > /dev/null
	grep -s '' $SYS/* $SYS/dev-*/* $SYS/bitmap/* /sys/kernel/debug/raid5c/* \
		> /tmp/readings 2>&1
	wc -l < /tmp/readings
}

cache_size()
{
	local n=$((17 + RANDOM % 8176))
	# The smallest is drawn more often.
	[ $((RANDOM % 3)) != 0 ] || n=17
	echo $n > $SYS/stripe_cache_size || fail "stripe_cache_size $n is refused"
	echo "stripe_cache_size is $n"
}

sync_speed()
{
	local n=$((4000 << RANDOM % 8))
	echo $n > $SYS/sync_speed_min || fail "sync_speed_min $n is refused"
	echo $n > $SYS/sync_speed_max || fail "sync_speed_max $n is refused"
	echo "sync_speed_max is $n"
}

# Write-back is for arrays that miss nobody.
journal_mode()
{
	local mode=write-back missing
	get journal_mode
	[ $((RANDOM % 3)) != 0 ] || mode=write-through
	missing=$(get degraded)
	if { echo $mode > $SYS/journal_mode; } 2> /tmp/out; then
		echo "$mode"
	else
		[ $mode = write-back ] &&
			[ "$missing$(get degraded)" != 00 ] ||
			fail "$mode is refused"
	fi
}

# ---- the case ----

# All deeds, in an order that is drawn; then all again.
administrate()
{
	local until=$((SECONDS + SECONDS_LONG)) decks=0 deck i j deed
	RANDOM=$SEED
	: > $DONE
	while [ $SECONDS -lt $until ] || [ $decks = 0 ]; do
		deck=("${DEEDS[@]}")
		for ((i = ${#deck[@]} - 1; i > 0; i--)); do
			j=$((RANDOM % (i + 1)))
			deed=${deck[i]} deck[i]=${deck[j]} deck[j]=$deed
		done
		for deed in "${deck[@]}"; do
			echo "-- $((SECONDS_LONG + SECONDS - until)) s: $deed"
			# Who failed is not taken for a spare.
			while one_of faulty; do
				take_out "$ONE"
			done
			# What cannot be done now can be when nobody is missing.
			if "$deed" || { whole_again && "$deed"; }; then
				echo "$deed" >> $DONE
			else
				fail "$deed: nothing to do"
			fi
			! gone $FIO || fail "fio: $(tail -n 3 /tmp/fio_failed)"
			! gone "$WRITER" || written_well "meanwhile"
			[ "$(get mismatch_cnt)" = 0 ] ||
				fail "mismatch_cnt is $(get mismatch_cnt)"
			nap 5
		done
		decks=$((decks + 1))
	done
	sort $DONE | uniq -c
}

# Until nobody is missing; who is out comes back for it.
whole_again()
{
	if [ "$(get degraded)" != 0 ]; then
		while one_of out; do
			put_in "$ONE"
		done
	fi
	wait_whole
}

# Everybody comes back, and what was set is as it was.
heal()
{
	echo system > $SYS/sync_speed_max
	echo system > $SYS/sync_speed_min
	while one_of faulty; do
		take_out "$ONE"
		must mdadm --zero-superblock "$ONE"
	done
	while one_of out; do
		put_in "$ONE"
	done
	wait_whole
}

# Stop, and assemble whoever is in it.
again()
{
	local disk
	MEMBERS=()
	for disk in "${POOL[@]}"; do
		state_of "$disk"
		[ $STATE = out ] || MEMBERS+=("$disk")
	done
	[ "$1" = none ] || MEMBERS+=("$JOURNAL_DISK")
	stop_md
	must mdadm --assemble $MD "${MEMBERS[@]}"
	[ "$(get degraded)" = 0 ] || fail "degraded when assembled"
}

# Every byte, as it was written last.
all_there()
{
	verify "$1"
	fio_round "$(cat /tmp/rounds)" --verify_only || {
		cat /tmp/fio_failed
		fail "$1, fio: $(grep -m 1 -i verify /tmp/fio_failed)"
	}
}

# Control: what is planted in a member's data, in fio's part of the array, is seen.
planted()
{
	local disk slot
	for disk in "${POOL[@]}"; do
		read -r slot 2> /dev/null < "$SYS/dev-${disk##*/}/slot" || continue
		[ "$slot" != 0 ] || break
	done
	stop_md
	dd if=/dev/urandom of="$disk" bs=512 count=512 conv=notrunc oflag=direct \
		seek=$(($(offset_of "$disk") + (SPAN + 12) * 2048 / DATA)) \
		2> /dev/null || fail "dd to $disk"
	drop_caches
	must mdadm --assemble $MD "${MEMBERS[@]}"
	! fio_round "$(cat /tmp/rounds)" --verify_only ||
		fail "control: fio verifies what was overwritten"
	grep -m 1 -i "verify" /tmp/fio_failed || {
		cat /tmp/fio_failed
		fail "control: fio failed for another reason"
	}
	sync_now check
	echo "control: mismatch_cnt is $MISMATCH"
	[ "$MISMATCH" != 0 ] || fail "control: a check sees nothing"
}

# mixed LEVEL JOURNAL
mixed()
{
	local level=$1 journal=$2 n=4 words=(--bitmap=internal --bitmap-chunk=1M)
	DATA=3 REDUNDANT=1
	[ "$level" != 6 ] || n=5 REDUNDANT=2
	DEEDS=(out_and_in out_and_in replaced target_fails checking checking
		interrupted readings cache_size sync_speed copied)
	[ "$journal" = none ] || {
		words=(--write-journal "$JOURNAL_DISK")
		# raid456 hangs.
		[ "$MODULE" = raid456 ] || DEEDS+=(journal_mode journal_mode)
	}
	local disk
	for disk in "${POOL[@]}"; do
		dd if=/dev/zero of="$disk" bs=1M oflag=direct 2> /dev/null
	done
	create "$level" $n 64 - $SIZE --assume-clean "${words[@]}"
	[ "$journal" = none ] || echo "$journal" > $SYS/journal_mode ||
		fail "$journal is refused"
	echo "seed $SEED"
	put --seed "$SEED" --span ${SPAN}M --threads 4 --ops 20
	write_rounds --fsync 2
	ENOUGH=/tmp/enough.$BASHPID
	fio_on
	administrate
	written_well "under mixed load"
	wait $FIO || fail "fio: $(tail -n 3 /tmp/fio_failed)"
	echo "fio's rounds: $(cat /tmp/rounds)"
	heal
	all_there "healed"
	no_mismatch "in the end"
	again "$journal"
	all_there "assembled"
	no_mismatch "assembled"
	planted
}

use "$MODULE"
clean_up
echo 1000000 > /proc/sys/dev/raid/speed_limit_max
for spec in "$@"; do
	try "level ${spec/:/, journal }" mixed "${spec%:*}" "${spec#*:}"
	clean_up
done
finish
