#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fio with verification. Arguments: cases JOURNAL:STATE:RW:BS:DEPTH:JOBS with
# JOURNAL none or journal, STATE healthy or degraded. The array has 4 members,
# disk 4 is the journal.

. /lab/guest/lib.sh
MEMBERS=4
# Of a job: enough blocks for the deepest queue, also of big ones.
SIZE_MIB=${SIZE_MIB:-4}
BIG_MIB=${BIG_MIB:-40}
declare -A HAVE

# The array that a case needs; kept from case to case as long as it fits.
want()
{
	local journal=$1 state=$2 opts=()
	if [ "${HAVE[journal]:-}" != "$journal" ]; then
		clean_up
		HAVE=()
		[ "$journal" = none ] || opts=(--write-journal "${DISK[4]}")
		create 5 $MEMBERS 64 - 65536 --assume-clean "${opts[@]}"
		HAVE[journal]=$journal
	fi
	if [ "$state" = degraded ] && [ "$(get degraded)" = 0 ]; then
		must mdadm $MD --fail "${DISK[1]}"
	fi
	if [ "$state" = healthy ] && [ "$(get degraded)" != 0 ]; then
		must mdadm $MD --remove "${DISK[1]}"
		must mdadm --zero-superblock "${DISK[1]}"
		must mdadm $MD --add "${DISK[1]}"
		wait_whole
	fi
}

verify_case()
{
	local rw=$1 bs=$2 depth=$3 jobs=$4 size=$SIZE_MIB block
	[ "$bs" != 1m ] || [ "$depth" = 1 ] || size=$BIG_MIB
	block=${bs%k}
	[ "$bs" != 1m ] || block=1024
	# Whole blocks: fio's last one would lie in the next job's part.
	size=$((size * 1024 / block * block))
	must fio --name=verify --filename=$MD --direct=1 --ioengine=libaio \
		--thread --rw="$rw" --bs="$bs" --iodepth="$depth" \
		--numjobs="$jobs" --size="${size}k" \
		--offset_increment="${size}k" --verify=crc32c \
		--verify_fatal=1 --do_verify=1 --verify_backlog=64 \
		--randrepeat=1 --randseed="$SEED" --group_reporting \
		--output-format=terse
}

# Data and parity agree after all that; a degraded array is rebuilt first.
closing()
{
	want "$1" healthy
	no_mismatch "after fio"
}

use "$MODULE"
clean_up
have_journal
previous=
for spec in "$@"; do
	IFS=: read -r journal state rw bs depth jobs <<< "$spec"
	name="$rw $bs, depth $depth, $jobs jobs, $state, journal $journal"
	if [ "$journal" != none ] && ! have_journal; then
		HAVE=()
		try "$name" skip "this raid5c has no journal yet"
		continue
	fi
	if [ -n "$previous" ] && [ "$previous" != "$journal" ]; then
		try "data and parity agree, journal $previous" \
			closing "$previous"
		HAVE=()
	fi
	previous=$journal
	# Not in the subshell of `try`: it must remember the array.
	want "$journal" "$state"
	try "$name" verify_case "$rw" "$bs" "$depth" "$jobs"
	[ -e $SYS/array_state ] || HAVE=()
done
[ -z "$previous" ] ||
	try "data and parity agree, journal $previous" closing "$previous"
finish
