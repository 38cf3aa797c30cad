#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an array starts with, and what not: dirty and degraded, with too few members,
# with what this module cannot do. By the same steps under raid456 and raid5c, where raid456
# can do it. Disks: six members, the writer's log.

. /lab/guest/same.sh
LOG=${DISK[-1]}
SIZE=8192
DIRTY=/sys/module/md_mod/parameters/start_dirty_degraded
COPY=/tmp/copy

# crash N: the first N disks are what they would be after a power cut.
crash()
{
	local i
	mkdir -p $COPY
	for ((i = 0; i < $1; i++)); do
		dd if="${DISK[i]}" of=$COPY/$i bs=1M iflag=direct 2> /dev/null
	done
	stop_md
	crash_again "$1"
}

# The same once more.
crash_again()
{
	local i
	for ((i = 0; i < $1; i++)); do
		dd if=$COPY/$i of="${DISK[i]}" bs=1M oflag=direct 2> /dev/null
	done
}

# written LEVEL N [mdadm arguments]: an array with writes in it, which is dirty.
written()
{
	local level=$1 n=$2
	shift 2
	junk "$n" /dev/zero
	create "$level" "$n" 64 - $SIZE --assume-clean "$@"
	echo 0 > $SYS/safe_mode_delay
	put --seed "$SEED" --ops 200 --threads 4
}

# started WHAT: how the array is, if it is. Whether it is clean, and how far a sync is, is luck.
started()
{
	if [ ! -e $SYS/array_state ]; then
		echo "$1: no array"
	else
		echo "$1: $(get degraded) missing, $(get array_state)" |
			sed 's/active-idle\|active\|clean$/runs/'
		cat /sys/block/md0/ro
	fi | tee -a /tmp/said
}

# assembled WHAT [ARGUMENTS]: mdadm is to assemble it so.
assembled()
{
	local what=$1
	shift
	say mdadm --assemble $MD "$@"
	started "$what"
}

# without I: all members but the Ith.
without()
{
	local i
	for ((i = 0; i < N; i++)); do
		[ "$i" = "$1" ] || echo "${DISK[i]}"
	done
}

# LEVEL N: it was written to when power went, and a member is lost. Wrong data may come of
# that, so somebody has to say that it is to start.
dirty_degraded()
{
	local level=$1 left
	N=$2
	written "$level" "$N" --bitmap=none
	crash "$N"
	mapfile -t left < <(without 1)
	assembled refused --run "${left[@]}"
	stop_md
	echo 1 > $DIRTY
	assembled "by parameter" --run "${left[@]}"
	echo 0 > $DIRTY
	wait_idle
	verify "started dirty and degraded, by parameter"
	stop_md
	crash_again $N
	assembled forced --force --run "${left[@]}"
	wait_idle
	verify "started dirty and degraded, by force"
	must mdadm --zero-superblock "${DISK[1]}"
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	no_mismatch "rebuilt"
	verify "rebuilt"
	shot rebuilt
}

sync_is()
{
	[ "$(get sync_action)" = "$1" ]
}

# LEVEL LAYOUT: nothing but parity was being rebuilt, which costs no data. raid456 overlooks that
# level 4 is such a case.
parity_only()
{
	N=4
	junk $N /dev/zero
	create "$1" $N 64 "$2" $SIZE --assume-clean --bitmap=none
	echo 0 > $SYS/safe_mode_delay
	put --seed "$SEED" --ops 200 --threads 4
	must mdadm $MD --fail "${DISK[3]}"
	must mdadm $MD --remove "${DISK[3]}"
	must mdadm --zero-superblock "${DISK[3]}"
	speed 10
	must mdadm $MD --add "${DISK[3]}"
	soon $((PATIENCE * 10)) "no rebuild" sync_is recover
	put --resume --ops 50
	crash 4
	assembled "parity is missing" --run "${DISK[@]:0:3}"
	stop_md
	crash_again $N
	assembled "parity is half there" --run "${DISK[@]:0:4}"
	[ -e $SYS/array_state ] || fail "it does not start"
	speed 1000000
	wait_whole
	no_mismatch "rebuilt"
	verify "rebuilt"
}

# LEVEL N TOO_FEW: with so many members it does not start, with one more it does.
too_few()
{
	local level=$1
	N=$2
	written "$level" "$N" --bitmap=none
	must mdadm --wait-clean $MD
	stop_md
	assembled "too few" --run "${DISK[@]:0:$3}"
	stop_md
	assembled "too few, by force" --force --run "${DISK[@]:0:$3}"
	stop_md
	assembled enough --run "${DISK[@]:0:$(($3 + 1))}"
	verify "with just enough members"
}

# No bitmap where there is a journal, nor a journal where there is a bitmap.
journal_and_bitmap()
{
	junk 5 /dev/zero
	create 5 4 64 - $SIZE --assume-clean --write-journal "${DISK[4]}"
	put --seed "$SEED" --ops 50 --threads 4
	say mdadm --grow $MD --bitmap=internal
	tell bitmap/location +8
	settled
	started "with a journal"
	verify "with a journal"
	say mdadm --readonly $MD
	stop_md
	assembled "with bitmap asked for" --update=resync "${DISK[@]:0:5}"
	wait_idle
	stop_md
	clean_up
	junk 5 /dev/zero
	create 5 4 64 - $SIZE --assume-clean --bitmap=internal
	say mdadm --readonly $MD
	say mdadm $MD --add-journal "${DISK[4]}"
	started "with a bitmap"
}

# refused TEXT [ARGUMENTS]: raid5c says so and leaves all as it is.
refused()
{
	local text=$1
	shift
	use raid5c
	dmesg -C
	! run mdadm --assemble $MD "$@" || [ ! -e $SYS/array_state ] ||
		[ "$(get array_state)" = inactive ] || fail "it starts"
	dmesg | grep "raid5c: md0: .*$text" || fail "nothing is said of $text"
	stop_md
}

# What was created with partial parity logs is left alone, and raid456 has it as it was.
ppl()
{
	use raid456
	junk 4 /dev/zero
	create 5 4 64 - $SIZE --assume-clean --consistency-policy=ppl
	put --seed "$SEED" --ops 100 --threads 4
	crash 4
	refused "ppl is not supported" "${DISK[@]:0:4}"
	use raid456
	must mdadm --assemble $MD "${DISK[@]:0:4}"
	wait_idle
	verify "back under raid456"
	stop_md
	say mdadm --assemble --update=no-ppl $MD "${DISK[@]:0:4}"
	stop_md
	use raid5c
	must mdadm --assemble $MD "${DISK[@]:0:4}"
	verify "without ppl"
	no_mismatch "without ppl"
}

# What raid456 was reshaping, too.
reshape()
{
	use raid456
	junk 5 /dev/zero
	create 5 4 64 - $SIZE --assume-clean
	put --seed "$SEED" --ops 100 --threads 4
	must mdadm $MD --add "${DISK[4]}"
	speed 10
	must mdadm --grow $MD --raid-devices=5 --backup-file=/tmp/backup
	soon $((PATIENCE * 10)) "no reshape" sync_is reshape
	sleep 1
	grep -v none $SYS/reshape_position || fail "nothing is reshaped"
	crash 5
	refused "reshape is under way" "${DISK[@]:0:5}"
	use raid456
	must mdadm --assemble $MD "${DISK[@]:0:5}"
	speed 1000000
	wait_idle
	verify "reshaped by raid456"
	# Nor does it begin one.
	stop_md
	use raid5c
	must mdadm --assemble $MD "${DISK[@]:0:5}"
	verify "reshaped"
	no_mismatch "reshaped"
	must mdadm $MD --add "${DISK[5]}"
	! run mdadm --grow $MD --raid-devices=6 || fail "a reshape has begun"
	dmesg | grep "raid5c: md0: reshape is not supported" || fail "nothing is said"
	tell sync_action reshape
	[ "$(get reshape_position)" = none ] || fail "a reshape has begun"
	verify "not reshaped"
}

# VERSION: superblocks of this format.
metadata()
{
	junk 4 /dev/zero
	must mdadm --create $MD --run --level=5 --raid-devices=4 --chunk=64 \
		--size=$SIZE --metadata="$1" --assume-clean "${DISK[@]:0:4}"
	put --seed "$SEED" --ops 100 --threads 4
	shot made
	must mdadm $MD --fail "${DISK[1]}"
	put --resume --ops 50
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	verify "rebuilt"
	no_mismatch "rebuilt"
	stop_md
	say mdadm --assemble $MD "${DISK[@]:0:4}"
	verify "assembled"
	shot assembled
}

# A member that user space has blocked is waited for, as nobody knows what its superblock
# will be; reads go on.
blocked()
{
	local writer dev=dev-${DISK[1]##*/}
	N=4
	written "$1" $N --bitmap=none
	tell "$dev/state" blocked
	# All members of a row, and its parity.
	dd if=/dev/zero of=$MD bs=1M count=1 oflag=direct 2> /dev/null &
	writer=$!
	sleep 2
	kill -0 $writer 2> /dev/null || fail "it does not wait"
	say dd if=$MD of=/dev/null bs=64k skip=40 count=20 iflag=direct status=none
	tell "$dev/state" -blocked
	wait $writer || fail "the write failed"
	cmp -n 1048576 /dev/zero $MD || fail "it was not written"
	no_mismatch "written"
	shot unblocked
}

# Flags that other levels heed are borne.
flags()
{
	local i
	N=5
	written "$1" $N --bitmap=internal
	for i in 1 2; do
		tell "dev-${DISK[i]##*/}/state" write_mostly
		tell "dev-${DISK[i]##*/}/state" failfast
	done
	put --resume --ops 100
	verify "with flags"
	shot flags
	must mdadm $MD --fail "${DISK[1]}"
	put --resume --ops 50
	verify "a member with flags failed"
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm $MD --add --write-mostly --failfast "${DISK[1]}"
	wait_whole
	verify "back"
	no_mismatch "back"
	shot back
}

# left LEVEL N NEW: another personality takes the array over, under a writer; of level 4, parity has
# to be missing for that. raid5c does not take it back.
left()
{
	local level=$1
	modprobe "$3"
	N=$2
	written "$level" "$N" --bitmap=none
	if [ "$level" = 4 ]; then
		must mdadm $MD --fail "${DISK[N - 1]}"
		must mdadm $MD --remove "${DISK[N - 1]}"
	fi
	write_rounds --fsync 2
	sleep 0.5
	tell level "$3"
	started "$3"
	written_well "while the level changes"
	verify "taken over"
	loaded raid5c || return 0
	dmesg -C
	! echo "raid$level" > $SYS/level 2> /dev/null || fail "taken back"
	dmesg | grep "md: md0: raid$level does not support personality takeover" ||
		fail "nothing is said"
	verify "not taken back"
}

echo 0 > $DIRTY
for name in "$@"; do
	# shellcheck disable=SC2086
	case $name in
	ppl | reshape | "parity_only 4 "*) try "$name" $name ;;
	*) try "$name" same "${name%% *}" $name ;;
	esac
	use "$MODULE"
	clean_up
	speed 1000000
done
finish
