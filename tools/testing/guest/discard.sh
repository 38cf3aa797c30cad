#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Discards. Each argument is a case with its arguments. Members and disk 6, a
# journal, are null_blk's devices, as the disks here discard less than a row of
# chunks at once. Disk 7 is the writer's log.

. /lab/guest/lib.sh
modprobe null_blk nr_devices=7 gb=1 bs=512 memory_backed=1 discard=1 ||
	fail "no null_blk"
for i in 0 1 2 3 4 5 6; do
	DISK[i]=/dev/nullb$i
done
LOG=${DISK[7]}
INITIAL=--any-initial
SIZE=24576
MIB=24

# build LEVEL DISKS CHUNK_KIB [none|bitmap|lockless|write-through|write-back]: ROW is
# the length of a row of chunks in KiB.
build()
{
	local level=$1 n=$2 chunk=$3 options=(--assume-clean)
	ROW=$((chunk * (n - (level == 6 ? 2 : 1))))
	case ${4:-none} in
	bitmap) options+=(--bitmap=internal) ;;
	lockless) options+=(--bitmap=lockless) ;;
	write-*) options+=(--write-journal "${DISK[6]}") ;;
	*) options+=(--bitmap=none) ;;
	esac
	for disk in $(members "$n"); do
		must dd if=/dev/zero of="$disk" bs=1M count=40 oflag=direct
	done
	create "$level" "$n" "$chunk" - $SIZE "${options[@]}"
	case ${4:-none} in
	write-*) echo "$4" > $SYS/journal_mode || fail "no $4" ;;
	esac
}

# journal_of KIND: the device, if it has one.
journal_of()
{
	case ${1:-} in
	write-*) echo "${DISK[6]}" ;;
	esac
}

# What the array has and is to have from now on.
fill()
{
	dd if=/dev/urandom of=/tmp/model bs=1M count=$MIB 2> /dev/null
	must dd if=/tmp/model of=$MD bs=1M oflag=direct
}

compare()
{
	dd if=$MD of=/tmp/back bs=1M count=$MIB iflag=direct 2> /dev/null
	cmp /tmp/model /tmp/back || fail "$1: what is read is wrong"
}

# cut_out SECTOR SECTORS: of whole rows of chunks there are zeroes then. What does
# not begin where the queue's granularity does is first made two by the block layer.
cut_out()
{
	local unit end=$(($1 + $2)) to
	must blkdiscard -f -o $(($1 * 512)) -l $(($2 * 512)) $MD
	unit=$(($(cat /sys/block/md0/queue/discard_granularity) / 512))
	to=$((($1 + unit - 1) / unit * unit))
	[ $to -lt $end ] || to=$end
	zero_rows "$1" $to
	zero_rows $to $end
}

zero_rows()
{
	local row=$((ROW * 2)) first last
	first=$((($1 + row - 1) / row))
	last=$(($2 / row))
	[ $first -ge $last ] || dd if=/dev/zero of=/tmp/model bs=${ROW}k \
		seek=$first count=$((last - first)) conv=notrunc 2> /dev/null
}

discards_of()
{
	awk '{ print $14 }' "/sys/block/${1#/dev/}/stat"
}

# No member was taken out.
whole()
{
	[ "$(get degraded)" = 0 ] || fail "$1: a member was taken out"
	[ "$(get raid_disks)" = "$2" ] || fail "$1: $(get raid_disks) members"
}

# ranges LEVEL DISKS CHUNK [KIND]: of any place and length.
ranges()
{
	local n=$2 before disk
	build "$@"
	fill
	before=$(discards_of "${DISK[0]}")
	cut_out $((ROW * 2)) $((ROW * 2))
	compare "a row of chunks"
	cut_out $((ROW * 8 + 1)) $((ROW * 2))
	compare "nothing whole"
	cut_out $((ROW * 8 + 8)) $((ROW * 6))
	compare "more than rows"
	cut_out $((ROW * 20)) 8
	cut_out $((ROW * 20 - 8)) $((ROW * 2 + 8))
	compare "one row at the end"
	no_mismatch "after discards"
	whole "after discards" "$n"
	[ "$(discards_of "${DISK[0]}")" -gt "$before" ] ||
		fail "the members were not discarded"
	# Over what was discarded, and over what is perhaps cached.
	must dd if=/dev/urandom of=/tmp/some bs=4k count=3
	must dd if=/tmp/some of=$MD bs=4k seek=$((ROW / 4 + 1)) oflag=direct
	dd if=/tmp/some of=/tmp/model bs=4k seek=$((ROW / 4 + 1)) conv=notrunc \
		2> /dev/null
	must dd if=/tmp/some of=$MD bs=4k seek=$((ROW / 4 * 12 + 1)) count=1 \
		oflag=direct
	cut_out $((ROW * 24)) $((ROW * 2))
	compare "written again"
	must mdadm $MD --fail "${DISK[1]}"
	compare "without a member"
	cut_out $((ROW * 30)) $((ROW * 8))
	compare "discarded without a member"
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	must dd if=/dev/urandom of="${DISK[1]}" bs=1M count=32 oflag=direct
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	compare rebuilt
	[ "${4:-}" = lockless ] || no_mismatch "after a rebuild"
	must mdadm $MD --fail "${DISK[0]}"
	compare "without another"
	stop_md
	must mdadm --assemble --force --run $MD $(members "$n") \
		$(journal_of "${4:-}")
	compare "assembled"
}

# All of it, which the block layer makes few requests of.
everything()
{
	build "$@"
	fill
	must blkdiscard -f $MD
	dd if=/dev/zero of=/tmp/model bs=1M count=$MIB 2> /dev/null
	compare "all of it"
	no_mismatch "after all of it"
	whole "after all of it" "$2"
}

# neighbours LEVEL DISKS CHUNK [KIND]: what is written meanwhile is there.
neighbours()
{
	local writer n=0 span
	build "$@"
	span=$((ROW * 1024 * 9 + 8192))
	must $ACK write $INITIAL --dev $MD --log "$LOG" --seed "$SEED" \
		--span $span --threads 4 --ops 50
	$ACK write $INITIAL --resume --dev $MD --log "$LOG" \
		--span $span --threads 4 --seconds $((4 * SLOWER)) --read 20 --fua 3 \
		> /tmp/writer 2>&1 &
	writer=$!
	while kill -0 $writer 2> /dev/null; do
		# From the middle of a row that the writer has a part of.
		blkdiscard -f -o $((ROW * 1024 * 9 + 8192)) \
			-l $((ROW * 1024 * 20)) $MD || fail "discard $n"
		dd if=/dev/urandom of=$MD bs=${ROW}k seek=$((11 + n % 17)) count=2 \
			oflag=direct 2> /dev/null || fail "write $n"
		[ $((n % 5)) != 0 ] || echo check > $SYS/sync_action
		n=$((n + 1))
	done
	wait $writer || fail "the writer: $(tail -n 2 /tmp/writer)"
	echo "$n discards"
	[ $n -ge 5 ] || fail "just $n discards"
	wait_idle
	$ACK check $INITIAL --dev $MD --log "$LOG" > /tmp/verify 2>&1 ||
		fail "$(grep -v acknowledged.writes /tmp/verify | head -n 1)"
	no_mismatch "after $n discards"
	must mdadm $MD --fail "${DISK[1]}"
	$ACK check $INITIAL --dev $MD --log "$LOG" > /tmp/verify 2>&1 ||
		fail "degraded: $(grep -v acknowledged.writes /tmp/verify | head -n 1)"
}

# A member that cannot discard has zeroes written, and stays.
unable()
{
	local queue=/sys/block/${DISK[1]#/dev/}/queue/discard_max_bytes max
	max=$(cat "$queue")
	build "$@"
	fill
	echo 0 > "$queue" || fail "$queue"
	cut_out $((ROW * 2)) $((ROW * 20))
	compare "one cannot discard"
	echo "$max" > "$queue"
	no_mismatch "one cannot discard"
	whole "one cannot discard" "$2"
}

# A member that says that it can, and fails, once.
refused()
{
	local config=/sys/kernel/config/nullb/fragile device at
	modprobe configfs
	grep -q configfs /proc/mounts ||
		must mount -t configfs none /sys/kernel/config
	must mkdir $config
	for at in size=64 memory_backed=1 discard=1 blocksize=512 \
		badblocks_once=1 power=1; do
		echo "${at#*=}" > $config/"${at%=*}" || fail "no $at"
	done
	device=$(ls -d /dev/fragile /dev/nullb7 2> /dev/null | head -n 1)
	must mdadm --create $MD --run --level=5 --raid-devices=3 --chunk=64 \
		--size=$SIZE --assume-clean --bitmap=none \
		"${DISK[0]}" "$device" "${DISK[2]}"
	ROW=128
	fill
	at=$(get "dev-${device#/dev/}/offset")
	for at in $((at + 300)) $((at + 700)); do
		echo "+$at-$at" > $config/badblocks || fail "no bad block"
	done
	cut_out $((ROW * 4)) $((ROW * 20))
	[ -z "$(cat $config/badblocks)" ] || fail "it did not fail"
	compare "one fails to discard"
	no_mismatch "one fails to discard"
	whole "one fails to discard" 3
	dmesg | grep -q "discard failed at member sector" || fail "nothing is said"
	must mdadm $MD --fail "${DISK[0]}"
	compare "one fails to discard, another is missing"
	clean_up
	echo 0 > $config/power
	rmdir $config
}

# Not without the administrator's word. Who asks by ioctl is not told.
off()
{
	handle_discards N
	build 5 3 64 "$@"
	fill
	must blkdiscard -f -o 0 -l $((ROW * 2048)) $MD
	compare "not discarded"
	# It counts from the next start on.
	handle_discards Y
	must blkdiscard -f -o 0 -l $((ROW * 2048)) $MD
	compare "not discarded, though others may be"
	stop_md
	must mdadm --assemble $MD $(members 3) $(journal_of "$@")
	must blkdiscard -f -o 0 -l $((ROW * 2048)) $MD
	dd if=/dev/zero of=/tmp/model bs=${ROW}k count=2 conv=notrunc 2> /dev/null
	compare "discarded"
}

use "$MODULE"
for name in "$@"; do
	clean_up
	handle_discards Y
	# Words are arguments.
	# shellcheck disable=SC2086
	try "$name" $name
done
handle_discards N
clean_up
finish
