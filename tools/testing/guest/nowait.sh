#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Requests that may not wait. Each argument is a case with its arguments. Disks 0 to
# 5 are members, disk 6 a journal, disk 7 the writer's log.

. /lab/guest/lib.sh
SIZE=24576
MIB=24

# fill [mdadm arguments]: an array of 4 with a chunk of 64 KiB, and what it has.
fill()
{
	create "${LEVEL:-5}" 4 "${CHUNK:-64}" - $SIZE --assume-clean "$@"
	dd if=/dev/urandom of=/tmp/model bs=1M count=$MIB 2> /dev/null
	must dd if=/tmp/model of=$MD bs=1M oflag=direct
}

compare()
{
	dd if=$MD of=/tmp/back bs=1M count=$MIB iflag=direct 2> /dev/null
	cmp /tmp/model /tmp/back || fail "$1: what is read is wrong"
}

# try_now WORD...: what they came to, in $NOW.
try_now()
{
	must python3 /lab/guest/nowait.py $MD /tmp/model "$SEED" "$@"
	NOW=$(grep -v "^+" /tmp/out)
}

# all_are END: each line of what they came to is just that.
all_are()
{
	! echo "$NOW" | grep -Evq "^(read|write) $1=[0-9]+\$" ||
		fail "$2: $(echo "$NOW" | tr '\n' ' ')"
}

# some_are END: each line of what they came to has that.
some_are()
{
	! echo "$NOW" | grep -Evq "^(read|write) .*$1=" ||
		fail "$2: $(echo "$NOW" | tr '\n' ' ')"
}

# busy: an array that was just written is not called clean at once.
busy()
{
	echo $((30 * SLOWER)) > $SYS/safe_mode_delay || fail "no safe_mode_delay"
	must dd if=$MD of=/tmp/page bs=4k count=1 iflag=direct
	must dd if=/tmp/page of=$MD bs=4k count=1 oflag=direct
	[ "$(get array_state)" = active ] || fail "it is $(get array_state)"
}

direct()
{
	fill --bitmap=none
	try_now read:0:24576:4:500 read:0:24576:64:100
	all_are done "a whole array"
	CHUNK=512
	clean_up
	fill --bitmap=none
	# More than a member takes at once.
	try_now read:0:24576:512:50
	all_are done "as long as a chunk"
}

# writes [mdadm arguments]
writes()
{
	local mode=${1:-} i
	case $mode in
	write-*) fill --write-journal "${DISK[6]}"
		echo "$mode" > $SYS/journal_mode || fail "no $mode" ;;
	*) fill --bitmap=none ;;
	esac
	busy
	for ((i = 0; i < 5; i++)); do
		# With data cached there may be no room until somebody waits for it.
		dd if=$MD of=/tmp/page bs=1M count=2 iflag=direct 2> /dev/null
		must dd if=/tmp/page of=$MD bs=1M oflag=direct
		try_now write:0:24576:4:200 write:0:24576:64:100 \
			read:0:24576:4:200
		[ "$(echo "$NOW" | grep -c "^write.* done=")" != 2 ] || break
	done
	some_are done "an array that is being written"
	compare "written without waiting"
	no_mismatch "written without waiting"
	must mdadm $MD --fail "${DISK[1]}"
	compare "without a member"
}

# What has to be written down first is not begun.
marks()
{
	fill --bitmap=none
	echo clean > $SYS/array_state
	[ "$(get array_state)" = clean ] || fail "it is $(get array_state)"
	try_now write:0:24576:4:20
	all_are EAGAIN "a clean array"
	[ "$(get array_state)" = clean ] || fail "it is $(get array_state)"
	clean_up
	fill --bitmap=internal
	busy
	try_now read:0:24576:4:50
	all_are done "reads, with a bitmap"
	try_now write:0:24576:4:20
	all_are EAGAIN "writes, with a bitmap"
	must mdadm --readonly $MD
	try_now read:0:24576:4:50
	all_are done "reads, read-only"
}

suspended()
{
	fill --bitmap=none
	busy
	echo 0 > $SYS/suspend_lo
	echo 49152 > $SYS/suspend_hi
	try_now write:0:23000:4:20
	all_are EAGAIN "a suspended range"
	try_now read:0:23000:4:50
	all_are done "reads of a suspended range"
	echo 0 > $SYS/suspend_hi
	echo frozen > $SYS/sync_action
	try_now read:0:23000:4:50
	all_are done "reads of a frozen array"
	try_now write:0:23000:4:50
	some_are done "writes to a frozen array"
	echo idle > $SYS/sync_action
	compare "after that"
}

# Without a member, data come from the others.
recorded()
{
	! grep -q blocked $SYS/dev-*/state
}

missing()
{
	fill --bitmap=none
	must mdadm $MD --fail "${DISK[1]}"
	soon $((100 * SLOWER)) "the failure is not recorded" recorded
	try_now read:0:24576:4:300
	some_are done "a missing member"
	try_now read:0:24576:64:100
	compare "a missing member"
}

# stuck: a member that does nothing, and writers that wait for it.
stuck()
{
	local sectors i writers=() n last=6
	sectors=$(blockdev --getsz "${DISK[0]}")
	echo "0 $sectors linear ${DISK[0]} 0" | dmsetup create slow ||
		fail "no device mapper"
	must mdadm --create $MD --run --level=5 --raid-devices=4 --chunk=64 \
		--size=$SIZE --assume-clean --bitmap=none \
		/dev/mapper/slow "${DISK[@]:1:3}"
	dd if=/dev/urandom of=/tmp/model bs=1M count=$MIB 2> /dev/null
	must dd if=/tmp/model of=$MD bs=1M oflag=direct
	busy
	try_now write:0:4096:4:20
	some_are done "before it is stuck"
	must dmsetup suspend --noflush --nolockfs slow
	# What is there, and more than the cache has room for.
	[ "$1" != full ] || last=48
	for ((i = 4; i < last; i++)); do
		dd if=/dev/zero of=$MD bs=1M seek=$i count=1 oflag=direct \
			2> /dev/null &
		writers+=($!)
	done
	# Until all of them wait.
	sleep $((2 * SLOWER))
	if [ "$1" = quiesced ]; then
		echo 0 > $SYS/suspend_lo &
		writers+=($!)
		sleep $SLOWER
	fi
	python3 /lab/guest/nowait.py $MD /tmp/model "$SEED" write:0:4096:4:20 \
		read:0:4096:4:100 > /tmp/now 2>&1
	n=$?
	must dmsetup resume slow
	wait "${writers[@]}"
	NOW=$(cat /tmp/now)
	echo "$NOW"
	[ $n = 0 ] || fail "$NOW"
	if [ "$1" = quiesced ]; then
		all_are EAGAIN "while it is being quiesced"
	else
		echo "$NOW" | grep -q "^write EAGAIN=20\$" || fail "writes: $NOW"
		# A quarter of the data is on the member that does nothing.
		echo "$NOW" | grep -Eq "^read EAGAIN=[0-9]+ done=" ||
			fail "reads: $NOW"
	fi
	dd if=$MD of=/tmp/back bs=1M count=4 iflag=direct 2> /dev/null
	cmp -n $((4 << 20)) /tmp/model /tmp/back || fail "what is read is wrong"
	clean_up
}

# An array takes such requests if all members do.
without()
{
	local sectors
	sectors=$(blockdev --getsz "${DISK[1]}")
	echo "0 $sectors delay ${DISK[1]} 0 0" | dmsetup create delayed ||
		fail "no dm-delay"
	must mdadm --create $MD --run --level=5 --raid-devices=3 --chunk=64 \
		--size=$SIZE --assume-clean --bitmap=none \
		"${DISK[0]}" /dev/mapper/delayed "${DISK[2]}"
	truncate -s ${MIB}M /tmp/model
	must dd if=/tmp/model of=$MD bs=1M oflag=direct
	try_now read:0:24576:4:20
	all_are ENOTSUP "a member does not"
	clean_up
	# One that is added later: nothing is asked of it so.
	fill --bitmap=none
	must mdadm $MD --fail "${DISK[3]}"
	must mdadm $MD --remove "${DISK[3]}"
	sectors=$(blockdev --getsz "${DISK[4]}")
	echo "0 $sectors delay ${DISK[4]} 0 0" | dmsetup create delayed ||
		fail "no dm-delay"
	must mdadm $MD --add /dev/mapper/delayed
	wait_whole
	try_now read:0:24576:4:100
	echo "$NOW" | grep -Eq "^read EAGAIN=[0-9]+ done=" ||
		fail "a member that came later: $NOW"
	clean_up
}

# As io_uring does it: first so, and then by somebody who waits.
uring()
{
	fill --bitmap=none
	busy
	must fio --name=uring --filename=$MD --ioengine=io_uring --direct=1 \
		--rw=randrw --bs=4k --iodepth=16 --size=${MIB}M --verify=crc32c \
		--verify_fatal=1 --randseed="$SEED"
	no_mismatch "after io_uring"
}

use "$MODULE"
for name in "$@"; do
	clean_up
	# Words are arguments.
	# shellcheck disable=SC2086
	try "$name" $name
done
clean_up
finish
