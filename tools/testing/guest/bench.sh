#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the lines of /lab/plan:
#   NUMBER MODULE LEVEL MEMBERS CHUNK JOURNAL THREADS CACHE SECONDS JOB...
# MODULE - is no array at all. JOURNAL is none, write-through or write-back;
# with +flush the journal has a volatile cache, and a flush takes a millisecond
# (MODULE -: flush is that disk alone). SECONDS is count for jobs of a fixed
# size, whose writes to the disks are counted; those lines come last.
#
# The result of every job is in /lab/bench/NUMBER-JOB.json. Says on the way
#   BENCH NUMBER JOB                 the job is done
#   BENCH NUMBER stop                so is the line
#   COUNT NUMBER ARRAY MEMBERS JOURNAL   bytes that were written to each

. /lab/guest/lib.sh
FS=/mnt/bench
FLUSHED=/dev/loop0
exec 3>&1

say()
{
	echo "$*" >&3
}

job()
{
	local batch="--iodepth=256 --iodepth_batch_submit=64
		--iodepth_batch_complete_min=64 --iodepth_batch_complete_max=256"
	case $1 in
	seqwrite) echo --rw=write --bs=1M --iodepth=8 ;;
	seqread) echo --rw=read --bs=1M --iodepth=8 ;;
	randwrite1) echo --rw=randwrite --bs=4k --iodepth=1 ;;
	randwrite32) echo --rw=randwrite --bs=4k --iodepth=32 ;;
	randread1) echo --rw=randread --bs=4k --iodepth=1 ;;
	randread32) echo --rw=randread --bs=4k --iodepth=32 ;;
	# System calls are dear in user-mode Linux: 64 requests for one.
	randwrite-batch) echo --rw=randwrite --bs=4k $batch ;;
	seq4k-batch) echo --rw=write --bs=4k $batch ;;
	fsync4k) echo --rw=write --bs=4k --ioengine=psync --fsync=1 ;;
	fsyncext4) echo --rw=write --bs=4k --ioengine=psync --fsync=1 \
		--direct=0 --numjobs=4 --group_reporting --size=8M \
		--overwrite=1 ;;
	*) fail "no job $1" ;;
	esac
}

# How much a counted job writes; in commits for the database.
amount()
{
	case $1 in
	seqwrite) echo 256M ;;
	randwrite1) echo 32M ;;
	fsync4k) echo 8M ;;
	fsyncext4) echo 4M ;;
	sqlite) echo 500 ;;
	*) echo 64M ;;
	esac
}

on_fs()
{
	[ "$1" = fsyncext4 ] || [ "$1" = sqlite ]
}

fio_job()
{
	local name=$1 where=(--filename=$MD)
	shift
	on_fs "$name" && where=(--directory=$FS)
	# shellcheck disable=SC2046
	must fio --name=bench "${where[@]}" --direct=1 --ioengine=libaio \
		--thread --norandommap --randrepeat=1 $(job "$name") "$@"
}

# prepare JOB: its file system and files, if it wants any.
prepare()
{
	on_fs "$1" || return 0
	mkdir -p $FS
	must mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 $MD
	must mount $MD $FS
	[ "$1" = sqlite ] || fio_job "$1" --create_only=1
	must umount $FS
}

# perform JOB SECONDS RESULT; after its preparation.
perform()
{
	local name=$1 seconds=$2 result=$3 bounds
	on_fs "$name" && must mount $MD $FS
	case $name-$seconds in
	sqlite-count) bounds=(20 "$(amount sqlite)") ;;
	sqlite-*) bounds=("$seconds" 0) ;;
	*-count) bounds=(--runtime=20 --io_size="$(amount "$name")") ;;
	*) bounds=(--time_based --ramp_time=0.3 --runtime="$seconds") ;;
	esac
	if [ "$name" = sqlite ]; then
		must python3 /lab/guest/bench-db.py $FS/bench.db \
			"${bounds[@]}" "$result".tmp
	else
		fio_job "$name" "${bounds[@]}" --output-format=json \
			--output="$result".tmp
	fi
	on_fs "$name" && must umount $FS
	mv "$result".tmp "$result"
}

measure()
{
	local number=$1 seconds=$2 name=$3
	perform "$name" "$seconds" /lab/bench/"$number-$name".json
	say "BENCH $number $name"
}

# written DISK: bytes, since there is that disk.
written()
{
	awk '{ printf "%d\n", $7 * 512 }' \
		"/sys/dev/block/$(stat -c %Hr:%Lr "$1")/stat"
}

written_all()
{
	local disk sum=0
	for disk in "$@"; do
		sum=$((sum + $(written "$disk")))
	done
	echo $sum
}

# Ram disks count nothing: something that does is laid over them.
counting_disks()
{
	local i disk
	for ((i = 0; i < RAMDISKS; i++)); do
		disk=${DISK[$i]}
		[ -e /dev/mapper/count$i ] ||
			must dmsetup create count$i --table \
			"0 $(blockdev --getsz "$disk") linear $disk 0"
		DISK[i]=/dev/mapper/count$i
	done
}

# count NUMBER MEMBERS JOURNAL-DISK MODE JOB: what the job makes the array write,
# until it has stopped and nothing is cached any more.
count()
{
	local number=$1 n=$2 log=$3 mode=$4 name=$5 array members journal
	prepare "$name"
	echo "$mode" > $SYS/journal_mode || fail "$mode is refused"
	array=$(written $MD)
	members=$(written_all "${DISK[@]:0:$n}")
	journal=$(written "$log")
	measure "$number" count "$name"
	array=$(($(written $MD) - array))
	stop_md
	say "COUNT $number $array" \
		$(($(written_all "${DISK[@]:0:$n}") - members)) \
		$(($(written "$log") - journal))
}

line()
{
	local number=$1 module=$2 level=$3 n=$4 chunk=$5 journal=$6
	local threads=$7 cache=$8 seconds=$9 name opts=() log
	shift 9
	PATIENCE=120
	[ "$seconds" = count ] || PATIENCE=$((120 + ${seconds%.*}))
	if [ "$module" = - ]; then
		# No array: what a single disk gives.
		MD=${DISK[0]}
		[ "$journal" = none ] || MD=$FLUSHED
		for name in "$@"; do
			prepare "$name"
			measure "$number" "$seconds" "$name"
		done
		say "BENCH $number stop"
		return
	fi
	use "$module"
	[ "$seconds" != count ] || counting_disks
	log=${DISK[$n]}
	[ "$journal" = "${journal%+flush}" ] || log=$FLUSHED
	journal=${journal%+flush}
	[ "$journal" = none ] || opts=(--write-journal "$log")
	create "$level" "$n" "$chunk" - "$SIZE" --assume-clean "${opts[@]}"
	[ "$threads" = - ] || echo "$threads" > $SYS/group_thread_cnt
	[ "$cache" = - ] || echo "$cache" > $SYS/stripe_cache_size
	if [ "$seconds" = count ]; then
		count "$number" "$n" "$log" "$journal" "$1"
	else
		[ "$journal" = none ] || echo "$journal" > $SYS/journal_mode
		for name in "$@"; do
			prepare "$name"
			measure "$number" "$seconds" "$name"
		done
		stop_md
	fi
	say "BENCH $number stop"
}

# A disk with a volatile cache and slow flushes: null_blk has the cache, dm-delay
# makes its flushes slow. Neither makes FUA slow, which is a flush on many
# disks; a loop device has no FUA and asks for a flush instead.
flushed_disk()
{
	local sectors=$((RAMDISK_MIB * 2048)) null="/dev/nullb0 0"
	modprobe null_blk nr_devices=1 gb=1 memory_backed=1 cache_size=64 \
		irqmode=0 bs=4096 || return 1
	modprobe -a dm-delay loop || return 1
	dmsetup create flushed --table \
		"0 $sectors delay $null 0 $null 0 $null 1" || return 1
	losetup --direct-io=on $FLUSHED /dev/mapper/flushed || return 1
	grep -qx "write back" /sys/block/loop0/queue/write_cache || return 1
	dd if=/dev/zero of=$FLUSHED bs=1M oflag=direct \
		count="$RAMDISK_MIB" conv=fsync 2> /dev/null
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
if grep -q flush /lab/plan; then
	flushed_disk || {
		echo "there is no disk with slow flushes"
		exit 1
	}
fi
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
done < /lab/plan
exit 0
