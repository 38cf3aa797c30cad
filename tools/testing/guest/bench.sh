#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the lines of /lab/plan:
#   NUMBER MODULE LEVEL MEMBERS CHUNK JOURNAL THREADS CACHE SECONDS JOB...
# MODULE - is no array at all. JOURNAL is none, write-through or write-back. The result of every fio job is
# in /lab/bench/NUMBER-JOB.json.

. /lab/guest/lib.sh

job()
{
	case $1 in
	seqwrite) echo --rw=write --bs=1M --iodepth=8 ;;
	seqread) echo --rw=read --bs=1M --iodepth=8 ;;
	randwrite1) echo --rw=randwrite --bs=4k --iodepth=1 ;;
	randwrite32) echo --rw=randwrite --bs=4k --iodepth=32 ;;
	randread1) echo --rw=randread --bs=4k --iodepth=1 ;;
	randread32) echo --rw=randread --bs=4k --iodepth=32 ;;
	*) fail "no job $1" ;;
	esac
}

measure()
{
	local number=$1 seconds=$2 name=$3
	# shellcheck disable=SC2046
	must fio --name=bench --filename=$MD --direct=1 --ioengine=libaio \
		--thread --norandommap --randrepeat=1 --time_based \
		--ramp_time=0.3 --runtime="$seconds" --output-format=json \
		--output=/lab/bench/"$number-$name".tmp $(job "$name")
	mv /lab/bench/"$number-$name".tmp /lab/bench/"$number-$name".json
	echo "BENCH $number $name"
}

line()
{
	local number=$1 module=$2 level=$3 n=$4 chunk=$5 journal=$6
	local threads=$7 cache=$8 seconds=$9 name opts=()
	shift 9
	if [ "$module" = - ]; then
		# No array: what a single ram disk gives.
		MD=${DISK[0]}
		for name in "$@"; do
			measure "$number" "$seconds" "$name"
		done
		return
	fi
	use "$module"
	[ "$journal" = none ] ||
		opts=(--write-journal "${DISK[$n]}")
	create "$level" "$n" "$chunk" - "$SIZE" --assume-clean "${opts[@]}"
	[ "$journal" = write-back ] && echo write-back > $SYS/journal_mode
	[ "$threads" = - ] || echo "$threads" > $SYS/group_thread_cnt
	[ "$cache" = - ] || echo "$cache" > $SYS/stripe_cache_size
	for name in "$@"; do
		measure "$number" "$seconds" "$name"
	done
	stop_md
}

mkdir -p /lab/bench
modprobe brd rd_nr="$RAMDISKS" rd_size=$((RAMDISK_MIB * 1024)) max_part=0 ||
	exit 1
DISK=()
for ((i = 0; i < RAMDISKS; i++)); do
	DISK+=("/dev/ram$i")
	# Pages of a ram disk are allocated by their first write.
	dd if=/dev/zero of="/dev/ram$i" bs=1M oflag=direct \
		count="$RAMDISK_MIB" 2> /dev/null
done
SIZE=$((RAMDISK_MIB * 1024 - 4096))
while read -r -a words; do
	# shellcheck disable=SC2068
	( line ${words[@]} ) > /tmp/line.log 2>&1 || {
		cat /tmp/line.log
		dmesg | tail -n 30
		echo "BENCH failed ${words[*]}"
		clean_up
		exit 1
	}
	grep ^BENCH /tmp/line.log
done < /lab/plan
exit 0
