# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What guest scripts share. A script sources this, runs its cases with `try`,
# and ends with `finish`. What goes wrong is said by `fail`.

set -u
MD=/dev/md0
SYS=/sys/block/md0/md
ACK=/lab/ackwriter
# The module under test; raid456 shows whether a test is right.
MODULE=${MODULE:-raid5c}
# What never written sectors may hold: zeroes; or with --any-initial, anything.
INITIAL=
# The words are devices, so splitting is meant.
# shellcheck disable=SC2206
DISK=(${DISKS:-})
# What a wait may take, in seconds; emulation is slow.
case ${LAB_KIND:-um} in
um) PATIENCE=60 HUNG=20 ;;
debug) PATIENCE=600 HUNG=120 ;;
*) PATIENCE=240 HUNG=20 ;;
esac
# How many times slower than user-mode Linux: for tests that last some seconds, or must
# be through before something else is.
SLOWER=$((PATIENCE / 60))
export DM_DISABLE_UDEV=1
failures=0

# Short enough that a job which hangs leaves a trace before its host gives up.
for file in hung_task_timeout_secs hung_task_warnings; do
	[ -w /proc/sys/kernel/$file ] && echo $HUNG > /proc/sys/kernel/$file
done
# What the boot left behind is not ours.
LEAKS=/sys/kernel/debug/kmemleak
[ "${LAB_KIND:-um}" = debug ] && echo clear > $LEAKS

fail()
{
	echo "FAILED: $*"
	echo "$*" > /tmp/why
	exit 1
}

skip()
{
	echo "$*" > /tmp/why
	exit 77
}

# try NAME FUNCTION [ARGS]: run a case in a subshell; say how it ended.
try()
{
	local name=$1 rc begin=$SECONDS
	shift
	echo "=== $name"
	: > /tmp/why
	( "$@" )
	rc=$?
	case $rc in
	0) echo "CASE ok $name" ;;
	77) echo "CASE skip $name: $(cat /tmp/why)" ;;
	*)
		echo "CASE FAIL $name: $(head -c 300 /tmp/why | tr '\n' ' ')"
		failures=$((failures + 1))
		cat /proc/mdstat
		dmesg | tail -n 25
		;;
	esac
	echo "--- $((SECONDS - begin)) s"
	[ "$rc" = 0 ] || clean_up
}

# bug NAME WHY FUNCTION [ARGS]: a case that fails by a fault of raid5c's that is not
# mended yet. It is skipped, unless all are wanted (RAID5C_BUGS=1).
bug()
{
	local name=$1 why=$2
	shift 2
	if [ "${BUGS:-0}" = 1 ] || [ "$MODULE" = raid456 ]; then
		try "$name" "$@"
	else
		try "$name" skip "$why"
	fi
}

# On the debug kernel: lockdep has been at work to the end (it gives up after
# its first report, and when it runs out of memory), and no memory is lost.
nothing_lost()
{
	grep "debug_locks: *1" /proc/lockdep_stats ||
		fail "lockdep has given up"
	clean_up
	echo scan > $LEAKS || fail "kmemleak has given up"
	sleep 6
	echo scan > $LEAKS
	cat $LEAKS
	[ -z "$(cat $LEAKS)" ] ||
		fail "$(grep -c ^unreferenced $LEAKS) objects are lost"
}

finish()
{
	[ "${LAB_KIND:-um}" != debug ] || try "nothing lost" nothing_lost
	lsmod | grep -E '^raid(5c|456) '
	exit 0
}

run()
{
	echo "+ $*"
	timeout "$PATIENCE" "$@"
}

# must COMMAND: run it; failing is failing the case.
must()
{
	run "$@" > /tmp/out 2>&1
	local rc=$?
	cat /tmp/out
	[ $rc = 0 ] || fail "$* ended with $rc: $(tail -n 2 /tmp/out)"
}

# ---- modules ----

loaded()
{
	grep -q "^$1 " /proc/modules
}

# use MODULE: raid5c or raid456, the only one loaded afterwards.
use()
{
	local other=raid456 n=0
	[ "$1" = raid5c ] || other=raid5c
	mkdir -p /run/modprobe.d
	while loaded $other && ! rmmod $other && [ $n -lt 50 ]; do
		sleep 0.1
		n=$((n + 1))
	done
	if [ "$1" = raid5c ]; then
		echo "install raid456 /bin/false" > /run/modprobe.d/raid5c.conf
		loaded raid5c || raid5c-load || fail "raid5c does not load"
	else
		rm -f /run/modprobe.d/raid5c.conf
		modprobe raid456 || fail "raid456 does not load"
	fi
	loaded "$1" || fail "$1 is not loaded"
	! loaded $other || fail "$other is still loaded"
}

# handle_discards Y|N: whether arrays started from now on pass discards on.
handle_discards()
{
	local module=raid5c
	loaded $module || module=raid456
	echo "$1" > /sys/module/$module/parameters/devices_handle_discard_safely ||
		fail "no parameter"
}

# Whether the module can do journals: one try, remembered.
have_journal()
{
	if [ ! -e /tmp/journal ]; then
		if timeout 60 mdadm --create $MD --run --level=5 \
			--raid-devices=3 --size=4M --chunk=64 --assume-clean \
			--write-journal "${DISK[3]}" \
			"${DISK[@]:0:3}" > /tmp/journal.log 2>&1; then
			echo 1 > /tmp/journal
		else
			echo 0 > /tmp/journal
		fi
		clean_up
		# The journal's first block would be a member's data, with
		# parity that does not agree, to --assume-clean.
		dd if=/dev/zero of="${DISK[3]}" bs=1M count=16 oflag=direct \
			2> /dev/null
	fi
	[ "$(cat /tmp/journal)" = 1 ]
}

# ---- arrays ----

get()
{
	cat "$SYS/$1"
}

# From now on, `get` and `sleep` are no processes: one takes user-mode Linux some 50 ms, and
# the debug kernel a second.
few_processes()
{
	get()
	{
		local lines
		mapfile lines < "$SYS/$1" && printf '%s' "${lines[@]}"
	}

	sleep()
	{
		! read -rt "$1" -u 7
	}

	rm -f /tmp/nap
	mkfifo /tmp/nap
	exec 7<> /tmp/nap
}

[ "${LAB_KIND:-um}" != debug ] || few_processes

stop_md()
{
	local n=0
	while [ -e $SYS/array_state ] && [ $n -lt 100 ]; do
		timeout 60 mdadm --stop $MD > /tmp/stop.log 2>&1 && return 0
		sleep 0.1
		n=$((n + 1))
	done
	[ ! -e $SYS/array_state ] || fail "does not stop: $(cat /tmp/stop.log)"
}

# Leave no array and no superblock.
clean_up()
{
	stop_md || true
	dmsetup remove_all --force > /dev/null 2>&1
	for disk in "${DISK[@]}"; do
		mdadm --zero-superblock --quiet "$disk" 2> /dev/null
	done
	return 0
}

# Wait until nothing is synced any more and no rebuild is about to start.
wait_idle()
{
	local n=0 action quiet=0
	while [ $n -lt $((PATIENCE * 10)) ]; do
		action=$(get sync_action) || fail "the array is gone"
		if [ "$action" = idle ] || [ "$action" = frozen ]; then
			quiet=$((quiet + 1))
			[ $quiet -ge 3 ] && return 0
		else
			quiet=0
		fi
		sleep 0.1
		n=$((n + 1))
	done
	cat /proc/mdstat
	fail "still $action after $PATIENCE s"
}

# The same for a rebuild: until the array misses nobody.
wait_whole()
{
	local n=0
	while [ "$(get degraded)" != 0 ]; do
		[ $n -lt $((PATIENCE * 10)) ] || {
			cat /proc/mdstat
			fail "degraded ($(get degraded)) after $PATIENCE s, sync_action $(get sync_action)"
		}
		sleep 0.1
		n=$((n + 1))
	done
	wait_idle
}

# sync_now check|repair: run it to its end; its count of mismatched sectors is MISMATCH. What
# md does besides, such as taking in a spare, may interrupt it.
sync_now()
{
	local n mark
	for n in 1 2 3 4 5; do
		wait_idle
		mark="sync_now $1 $n $RANDOM"
		echo "$mark" > /dev/kmsg
		echo "$1" > $SYS/sync_action || fail "$1 is refused"
		sleep 0.1
		wait_idle
		MISMATCH=$(get mismatch_cnt)
		! dmesg | sed -n "/$mark/,\$p" | grep "md: ${MD##*/}: $1 done" || return 0
	done
	fail "no $1 comes to its end"
}

no_mismatch()
{
	sync_now check
	[ "$MISMATCH" = 0 ] || fail "mismatch_cnt is $MISMATCH${1:+ $1}"
}

# create LEVEL DISKS CHUNK_KIB LAYOUT SIZE_KIB [mdadm arguments]
create()
{
	local level=$1 n=$2 chunk=$3 layout=$4 size=$5
	shift 5
	local opts=(--run --level="$level" --raid-devices="$n"
		--chunk="$chunk" --size="$size")
	[ "$layout" = - ] || opts+=(--layout="$layout")
	must mdadm --create $MD "${opts[@]}" "$@" "${DISK[@]:0:$n}"
	[ -b $MD ] || fail "there is no $MD"
}

# md takes its time to let go of a member.
take_out()
{
	local n=0
	until timeout "$PATIENCE" mdadm $MD --remove "$1" > /tmp/out 2>&1; do
		[ $n -lt $((PATIENCE * 5)) ] ||
			fail "$1 is not removed: $(cat /tmp/out)"
		sleep 0.2
		n=$((n + 1))
	done
}

# Sectors that were read from and written to a disk.
sectors_read()
{
	awk '{ print $3 }' "/sys/block/${1#/dev/}/stat"
}

sectors_written()
{
	awk '{ print $7 }' "/sys/block/${1#/dev/}/stat"
}

members()
{
	local n=$1
	echo "${DISK[@]:0:$n}"
}

# Where a member's data begin, in sectors.
offset_of()
{
	mdadm --examine "$1" | sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p'
}

# ---- the writer ----

# put [options]: write under the log; LOG is the device for it. On the debug
# kernel, a tenth of the operations.
put()
{
	local words=("$@") i
	[ "${LAB_KIND:-um}" = debug ] && for ((i = 0; i < $# - 1; i++)); do
		[ "${words[i]}" != --ops ] ||
			words[i + 1]=$((words[i + 1] / 10 + 20))
	done
	must $ACK write $INITIAL --dev $MD --log "$LOG" "${words[@]}"
}

# verify WHEN [options]: every acknowledged write must be there.
verify()
{
	$ACK check $INITIAL --dev $MD --log "$LOG" "${@:2}" > /tmp/verify 2>&1
	local rc=$?
	cat /tmp/verify
	[ $rc = 0 ] || fail "$1: $(grep -v acknowledged.writes /tmp/verify | head -n 1)"
}

# background [options]: writers under the log, meanwhile. `reap WHEN`: they have ended
# without an error, and what they wrote is there.
background()
{
	$ACK write $INITIAL --dev $MD --log "$LOG" "$@" > /tmp/background 2>&1 &
	writer=$!
	sleep 0.3
}

reap()
{
	wait "$writer"
	local rc=$?
	cat /tmp/background
	[ $rc = 0 ] ||
		fail "the writer, $1: $(grep -v writing: /tmp/background | head -n 1)"
	verify "$1"
}

# soon TENTHS WHAT CONDITION...: wait until the condition holds.
soon()
{
	local n=0 most=$1 what=$2
	shift 2
	until "$@"; do
		[ $n -lt $((most * 4)) ] || fail "$what"
		sleep 0.025
		n=$((n + 1))
	done
}

# write_rounds [options]: write and read, again and again, until `written_well`, or until
# this case fails: each has a file of its own that ends its writers.
write_rounds()
{
	local enough=/tmp/enough.$BASHPID
	# shellcheck disable=SC2064
	trap "touch $enough" EXIT
	rm -f "$enough" /tmp/misled
	while [ ! -e "$enough" ]; do
		$ACK write $INITIAL --resume --dev $MD --log "$LOG" --ops 100 \
			--read 20 --fua 3 "$@" > /tmp/round 2>&1 ||
			{ cp /tmp/round /tmp/misled; exit 1; }
	done &
	WRITER=$!
}

gone()
{
	! kill -0 "$1" 2> /dev/null
}

written_well()
{
	touch "/tmp/enough.$BASHPID"
	soon $((PATIENCE * 10)) "the writer hangs, $1" gone "$WRITER"
	wait "$WRITER" ||
		fail "the writer, $1: $(grep -v writing: /tmp/misled | head -n 1)"
}

# Forget what the members' device caches hold: what a tool wrote to a member
# beside md must be seen.
drop_caches()
{
	sync
	echo 3 > /proc/sys/vm/drop_caches
}
