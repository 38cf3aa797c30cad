#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One life between two power cuts: recover what the last one left, check it,
# and write until the next one comes. Settings:
#
#   MODULE   raid5c or raid456
#   LEVEL, MEMBERS, CHUNK, SIZE   of the array (SIZE in KiB of a member)
#   JOURNAL  1: disk number MEMBERS is the journal
#   FORCE    1: let a dirty array without journal start degraded
#   DELAYS   milliseconds that a write to each member (and the journal) takes
#   LOGWRITES, FREEZE   see suites/cache.py: so many disks lie behind
#            dm-log-writes; they freeze FREEZE milliseconds after the start of
#            writing, or of recovery if KIND is early
#   MISSING  number of the member that is away at recovery; - for none
#   RECOVER  1: there is an array to recover; 0: make one
#   WRITE    options for the writer; empty: do not write
#   MODE     the journal's mode while writing; empty: as it comes
#   TOGGLE   1: change it all the time
#   STOP     1: stop the array cleanly at the end
#
# The last disk is the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
i=0
for delay in ${DELAYS:-}; do
	[ -e /sys/module/dm_delay ] || modprobe dm-delay || exit 1
	disk=${DISK[$i]}
	dmsetup create "d$i" --table "0 $(blockdev --getsz "$disk") delay $disk 0 0 $disk 0 $delay" ||
		exit 1
	DISK[i]=/dev/mapper/d$i
	i=$((i + 1))
done
for ((i = 0; i < ${LOGWRITES:-0}; i++)); do
	[ -e /sys/module/dm_log_writes ] || modprobe dm-log-writes || exit 1
	[ -e /sys/module/loop ] || modprobe loop || exit 1
	disk=${DISK[$i]}
	dmsetup create "w$i" --table "0 $(blockdev --getsz "$disk") log-writes $disk ${DISK[$((LOGWRITES + i))]}" ||
		exit 1
	# dm-log-writes logs FUA writes, and of two flushes the one that ends
	# first, ahead of older writes to the same sectors. A loop device has
	# no FUA, and one flush at a time.
	losetup --direct-io=on "/dev/loop$i" "/dev/mapper/w$i" || exit 1
	DISK[i]=/dev/loop$i
done

# Whether the log of a disk is half full. Status: 0 SECTORS log-writes
# ENTRIES NEXT-SECTOR.
half_full()
{
	local i status
	for ((i = 0; i < LOGWRITES; i++)); do
		read -ra status < <(dmsetup status "w$i")
		[ "${status[4]}" -lt $(($(blockdev --getsz \
			"${DISK[$((LOGWRITES + i))]}") / 2)) ] || return 0
	done
	return 1
}

# From now on no disk does anything, until the machine is killed. A machine
# that is quick fills the logs before the moment has come: then it is now.
freeze()
{
	local i end=$(($(date +%s%N) + FREEZE * 1000000))
	while [ "$(date +%s%N)" -lt "$end" ] && ! half_full; do
		sleep 0.02
	done
	for ((i = 0; i < LOGWRITES; i++)); do
		dmsetup suspend --noflush --nolockfs "w$i"
	done
	for ((i = 0; i < LOGWRITES; i++)); do
		dmsetup message "w$i" 0 mark cut
	done
	sleep 0.4
	dmsetup status
	dmsetup status | grep -q logging_disabled &&
		echo "CASE FAIL freeze: the log of a disk was too short"
	echo "FROZEN"
}

# The moment that the host or FREEZE counts from.
moment()
{
	echo "$1"
	[ "${LOGWRITES:-0}" = 0 ] || [ "$KIND" = stop ] ||
		[ "$2" != "$KIND" ] || freeze &
}

JOURNAL_DISK=()
[ "$JOURNAL" = 0 ] || JOURNAL_DISK=("${DISK[$MEMBERS]}")

how=(--run)
[ "${FORCE:-0}" = 0 ] || how+=(--force)

present()
{
	local i
	for ((i = 0; i < MEMBERS; i++)); do
		[ "$i" = "$MISSING" ] || echo "${DISK[$i]}"
	done
}

# mdadm calls a journal stale whose superblock is newer than the members', as
# it is when the power goes while md writes them all. What it asks for then is
# --force, and the array starts read-only (see the administrator's guide).
assemble()
{
	# shellcheck disable=SC2046
	run mdadm --assemble "${how[@]}" $MD $(present) \
		"${JOURNAL_DISK[@]}" > /tmp/out 2>&1
	local rc=$?
	cat /tmp/out
	[ $rc != 0 ] || return 0
	grep -q "missing or stale journal" /tmp/out ||
		fail "assembly ended with $rc: $(tail -n 2 /tmp/out)"
	echo "NEWER JOURNAL"
	stop_md
	# shellcheck disable=SC2046
	must mdadm --assemble --run --force $MD $(present) "${JOURNAL_DISK[@]}"
	[ "$(get array_state)" = readonly ] || fail "not read-only after --force"
	must mdadm --readwrite $MD
}

recover()
{
	moment "RECOVERING" early
	assemble
	echo "RECOVERED"
	verify "after recovery by $MODULE"
	if [ "$MISSING" != - ]; then
		[ "$(get degraded)" = 1 ] || fail "nobody is missing"
		verify "after recovery, read again"
		must mdadm --zero-superblock "${DISK[$MISSING]}"
		must mdadm $MD --add "${DISK[$MISSING]}"
		wait_whole
	fi
	wait_idle
	verify "once in sync"
	no_mismatch "after recovery"
}

use "$MODULE"
if [ "$RECOVER" = 1 ]; then
	try "recovery by $MODULE" recover
	# `try` has cleaned up after a failure.
	[ $failures = 0 ] || exit 1
else
	opts=()
	[ "$JOURNAL" = 0 ] || opts=(--write-journal "${JOURNAL_DISK[0]}")
	create "$LEVEL" "$MEMBERS" "$CHUNK" - "$SIZE" --assume-clean \
		"${opts[@]}"
fi
if [ -n "$WRITE" ]; then
	resume=
	[ -z "${MODE:-}" ] || echo "$MODE" > "$SYS/journal_mode" ||
		echo "CASE FAIL mode: $MODE is refused"
	[ "${TOGGLE:-0}" = 0 ] || while sleep 0.2; do
		echo write-through > "$SYS/journal_mode"
		sleep 0.1
		echo write-back > "$SYS/journal_mode"
	done &
	[ "$RECOVER" = 0 ] || resume=--resume
	moment "WRITING" write
	# shellcheck disable=SC2086
	$ACK write --dev $MD --log "$LOG" $resume $WRITE || {
		echo "CASE FAIL writer: ended with $?"
		exit 1
	}
fi
if [ "$STOP" = 1 ]; then
	must mdadm --stop $MD
	echo "STOPPED"
fi
exit 0
