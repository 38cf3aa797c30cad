#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One life between two power cuts: recover what the last one left, check it,
# and write until the next one comes. Settings:
#
#   MODULE   raid5c or raid456
#   LEVEL, MEMBERS, CHUNK, SIZE   of the array (SIZE in KiB of a member)
#   JOURNAL  1: disk number MEMBERS is the journal
#   MISSING  number of the member that is away at recovery; - for none
#   RECOVER  1: there is an array to recover; 0: make one
#   WRITE    options for the writer; empty: do not write
#   STOP     1: stop the array cleanly at the end
#
# The last disk is the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
JOURNAL_DISK=()
[ "$JOURNAL" = 0 ] || JOURNAL_DISK=("${DISK[$MEMBERS]}")

present()
{
	local i
	for ((i = 0; i < MEMBERS; i++)); do
		[ "$i" = "$MISSING" ] || echo "${DISK[$i]}"
	done
}

recover()
{
	echo "RECOVERING"
	# shellcheck disable=SC2046
	must mdadm --assemble --run $MD $(present) "${JOURNAL_DISK[@]}"
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
	[ $failures = 0 ] || exit 1
else
	clean_up
	opts=()
	[ "$JOURNAL" = 0 ] || opts=(--write-journal "${JOURNAL_DISK[0]}")
	create "$LEVEL" "$MEMBERS" "$CHUNK" - "$SIZE" --assume-clean \
		"${opts[@]}"
fi
if [ -n "$WRITE" ]; then
	resume=
	[ "$RECOVER" = 0 ] || resume=--resume
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
