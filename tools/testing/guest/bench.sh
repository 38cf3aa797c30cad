#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the lines of /lab/plan:
#   NUMBER MODULE LEVEL MEMBERS CHUNK JOURNAL MISSING THREADS CACHE SECONDS JOB...
# MODULE - is no array at all. JOURNAL is none, write-through or write-back;
# with +flush the journal has a volatile cache, and a flush takes a millisecond
# (MODULE -: flush is that disk alone). MISSING is 1 if a member is to be missing.
# SECONDS is count for jobs of a fixed size, whose writes to the disks are counted;
# those lines come last.
#
# The result of every job is in /lab/bench/NUMBER-JOB.json; of resync, check and
# rebuild, SYNC MIB SECONDS CPU-SECONDS. Says on the way
#   BENCH NUMBER JOB                 the job is done
#   BENCH NUMBER stop                so is the line
#   COUNT NUMBER ARRAY MEMBERS JOURNAL   bytes that were written to each

. /lab/guest/lib.sh
FS=/mnt/bench
FLUSHED=/dev/loop0
OTHERS=/tmp/others
# The member that may be missing.
GONE=1
# A sync is repeated until it has taken so many seconds, or so often.
SYNC_SECONDS=1
SYNC_TIMES=4
exec 3>&1
# Where the host has all of user space (bench_pin.py); threads of the kernel run where they want.
[ "$PINNED" = 0 ] || taskset -pc 0 $$ > /dev/null || exit 1

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
	randread-batch) echo --rw=randread --bs=4k $batch ;;
	# The blocks of all members but the one that is, or could be, missing.
	others-batch) echo --rw=randread --bs=4k $batch --read_iolog=$OTHERS ;;
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

# freeze: no sync begins before bench-sync.py says so.
freeze()
{
	wait_idle
	echo frozen > $SYS/sync_action || fail "sync_action cannot be frozen"
}

# damage DISK: parity of nearly all rows is wrong, and not that of zeroes.
damage()
{
	must fio --name=damage --filename="$1" --direct=1 --ioengine=psync \
		--rw=write --bs=1M --offset=$(($(offset_of "$1") * 512)) \
		--size=$((SIZE * 1024)) --refill_buffers --randseed=$RANDOM
}

wipe()
{
	dd if=/dev/zero of="$1" bs=1M oflag=direct count="$RAMDISK_MIB" 2> /dev/null
}

# swap_members: the first of MEMBER go, as many as may miss, and those of SPARE
# come; OLD and NEW are they.
swap_members()
{
	local disk
	OLD=("${MEMBER[@]:0:${#SPARE[@]}}") NEW=("${SPARE[@]}")
	for disk in "${OLD[@]}"; do
		must mdadm $MD --fail "$disk"
		take_out "$disk"
	done
	freeze
	for disk in "${NEW[@]}"; do
		wipe "$disk"
		must mdadm $MD --add "$disk"
	done
	MEMBER=("${MEMBER[@]:${#OLD[@]}}" "${NEW[@]}") SPARE=("${OLD[@]}")
}

# same DISK DISK: both hold the same data.
same()
{
	cmp -s -n $((SIZE * 1024)) -i $(($(offset_of "${MEMBER[0]}") * 512)) "$1" "$2"
}

# right NAME: the sync that has ended did what it should.
right()
{
	local found
	found=$(get mismatch_cnt)
	case $1 in
	resync)
		[ "$found" -gt $((SIZE * 2 * 9 / 10)) ] ||
			fail "a resync found $found sectors, which is too little"
		;;
	check) [ "$found" = 0 ] || fail "mismatch_cnt is $found" ;;
	rebuild)
		# Nobody says who comes to whose place.
		drop_caches
		{ same "${OLD[0]}" "${NEW[0]}" &&
			same "${OLD[-1]}" "${NEW[-1]}"; } ||
			{ same "${OLD[0]}" "${NEW[-1]}" &&
				same "${OLD[-1]}" "${NEW[0]}"; } ||
			fail "what was rebuilt differs"
		;;
	esac
}

# sync_job NAME RESULT: a sync, as often as it takes to tell how fast it is.
sync_job()
{
	local name=$1 n=0 found
	[ "$name" = resync ] || {
		[ -n "$SYNCED" ] || {
			# What is rebuilt must not be what the disk held before.
			damage "${MEMBER[0]}"
			sync_now repair
		}
		# Rows that raid456 had in its cache when the disk was damaged under it.
		sync_now repair
	}
	SYNCED=1
	: > /tmp/syncs
	until [ $n = $SYNC_TIMES ] ||
		awk -v most=$SYNC_SECONDS '{ sum += $1 } END { exit sum < most }' \
			/tmp/syncs; do
		n=$((n + 1))
		case $name in
		resync)
			damage "${MEMBER[0]}"
			freeze
			echo 0 > $SYS/resync_start || fail "no resync_start"
			;;
		rebuild) swap_members ;;
		check) freeze ;;
		esac
		found=$(python3 /lab/guest/bench-sync.py ${MD#/dev/} \
			"${name/rebuild/recover}") || fail "$name"
		echo "$found" | tee -a /tmp/syncs
	done
	right "$name"
	awk -v mib=$((SIZE / 1024)) '{ all += mib; s += $1; cpu += $2 }
		END { print "SYNC", all, s, cpu }' /tmp/syncs > "$2"
}

# others LEVEL N CHUNK: random blocks of all members but GONE of an array of the
# default layout, as a log for fio to replay.
others()
{
	[ -e "$OTHERS" ] || python3 - "$@" $GONE "$SIZE" > "$OTHERS" <<-'END'
		import random, sys
		level, n, chunk, gone, size = map(int, sys.argv[1:])
		parity = 2 if level == 6 else 1
		blocks, rows = chunk // 4, size // chunk
		def member(row, data):
		    if level == 4:
		        return data
		    return (n - 1 - row % n + parity + data) % n
		print(f"fio version 2 iolog\n/dev/md0 add\n/dev/md0 open")
		left = 300000
		while left:
		    row, data = random.randrange(rows), random.randrange(n - parity)
		    if member(row, data) != gone:
		        at = (row * (n - parity) + data) * blocks + \
		            random.randrange(blocks)
		        print(f"/dev/md0 read {at * 4096} 4096")
		        left -= 1
		print("/dev/md0 close")
	END
}

measure()
{
	local number=$1 seconds=$2 name=$3 result
	result=/lab/bench/$number-$name.json
	case $name in
	resync | check | rebuild) sync_job "$name" "$result" ;;
	*) perform "$name" "$seconds" "$result" ;;
	esac
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
	local number=$1 module=$2 level=$3 n=$4 chunk=$5 journal=$6 missing=$7
	local threads=$8 cache=$9 seconds=${10} name opts=() log
	shift 10
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
	MEMBER=("${DISK[@]:0:$n}") SPARE=("${DISK[@]:$n:$((level == 6 ? 2 : 1))}")
	SYNCED=
	OTHERS=/tmp/others.$level.$n.$chunk
	others "$level" "$n" "$chunk"
	[ "$missing" = 0 ] || {
		must mdadm $MD --fail "${DISK[$GONE]}"
		take_out "${DISK[$GONE]}"
	}
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
# Nothing waits for md's limits.
echo 10000000 > /proc/sys/dev/raid/speed_limit_max
echo 10000000 > /proc/sys/dev/raid/speed_limit_min
modprobe brd rd_nr="$RAMDISKS" rd_size=$((RAMDISK_MIB * 1024)) max_part=0 ||
	exit 1
DISK=()
for ((i = 0; i < RAMDISKS; i++)); do
	DISK+=("/dev/ram$i")
	# Pages of a ram disk are allocated by their first write.
	wipe "/dev/ram$i"
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
