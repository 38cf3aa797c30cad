#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The fault matrix: each argument is a level, and lives through every fault. A cell
# is the life of one array: written, the fault, healed; what was acknowledged
# is there (data), and a check counts nothing (mismatch). JOURNAL is empty,
# write-through or write-back; FAULTS chooses rows of the table.
# Disks: five members, a spare, the second writer's log, the journal, the
# writer's log. Level 6 has five members, others four.

. /lab/guest/lib.sh
. /lab/guest/tables.sh
. /lab/guest/matrix-faults.sh
SPARE=5
LOG_B=${DISK[6]}
JOURNAL_DISK=${DISK[7]}
LOG=${DISK[-1]}
JOURNAL=${JOURNAL:-}
SIZE=12288
CHUNK=64
declare -A CELL
NOTES=()
number=0

few_processes

# ---- the array; MEMBERS are the disks it has ----

journal_words()
{
	[ -z "$JOURNAL" ] || echo "$@" "$JOURNAL_DISK"
}

set_mode()
{
	[ -n "$JOURNAL" ] || return 0
	echo "$JOURNAL" > $SYS/journal_mode || fail "$JOURNAL is refused"
}

# Members begin as zeroes: the writer checks that, and parity agrees.
fresh()
{
	local i
	for i in "$@"; do
		table "$i" plain
		blkdiscard -f "${DISK[$i]}" || fail "no discard"
	done
}

# build LEVEL: an array that was written.
build()
{
	local words
	MEMBERS=(0 1 2 3)
	[ "$1" != 6 ] || MEMBERS+=(4)
	fresh "${MEMBERS[@]}"
	words=$(journal_words --write-journal)
	# shellcheck disable=SC2046,SC2086
	must mdadm --create $MD --run --level="$1" --chunk=$CHUNK \
		--raid-devices=${#MEMBERS[@]} --size=$SIZE --assume-clean \
		$(devices "${MEMBERS[@]}") $words
	OFFSET=$(offset_of /dev/mapper/m0)
	set_mode
	put --seed $((SEED * 1000 + number)) --ops 300 --threads 6 --span 24M \
		--fua 3 --fsync 2
	[ "$JOURNAL $MODULE" != "write-back raid5c" ] || cached
}

# A life in write-back mode has something in the cache to begin with; on a busy
# machine the first of it may have been written out for its age.
cached()
{
	local name n try
	for try in 1 2 3; do
		while read -r name n; do
			[ "$name" != rows_cached_now ] || [ "$n" = 0 ] ||
				return 0
		done < /sys/kernel/debug/raid5c/md0
		put --resume --ops 20 --threads 6
	done
	fail "no rows are cached, not in try $try"
}

in_sync()
{
	local state
	read -r state 2> /dev/null < "$SYS/dev-${KNAME[$1]}/state" &&
		[[ $state = *in_sync* ]]
}

# Stop, and assemble what is in sync: the stripe cache is empty then.
again()
{
	local i here=()
	for i in "${MEMBERS[@]}"; do
		in_sync "$i" && here+=("$i")
	done
	stop_md
	# shellcheck disable=SC2046
	must mdadm --assemble --run $MD $(devices "${here[@]}") $(journal_words)
	[ "$(get degraded)" != 0 ] || set_mode
}

remove()
{
	echo "+ remove m$1"
	take_out "/dev/mapper/m$1"
}

is_faulty()
{
	local state
	read -r state < "$SYS/dev-${KNAME[$1]}/state" &&
		[[ $state = *faulty* ]]
}

# pull I failed|dead: a member goes, and is taken out. A sync that waits at
# sync_max does not see that; md looks again when there is more to do.
pull()
{
	if [ "$2" = dead ]; then
		table "$1" dead
		soon $((PATIENCE * 10)) "dead m$1 is still a member" \
			is_faulty "$1"
	else
		must mdadm $MD --fail "/dev/mapper/m$1"
	fi
	echo max > $SYS/sync_max
	remove "$1"
}

# add I...: rebuilt from garbage, all of them.
add()
{
	local i
	for i in "$@"; do
		dd if=/dev/urandom of="${DISK[$i]}" bs=1M oflag=direct \
			2> /dev/null
	done
	# shellcheck disable=SC2046
	must mdadm $MD --add $(devices "$@")
}

# All tables plain; whoever is out comes back, whoever is being rebuilt goes on.
heal()
{
	local i out=()
	fast_sync
	for i in "${MEMBERS[@]}"; do
		table "$i" plain
	done
	for i in "${MEMBERS[@]}"; do
		if [ ! -e "$SYS/dev-${KNAME[$i]}" ]; then
			out+=("$i")
		elif is_faulty "$i"; then
			remove "$i"
			out+=("$i")
		fi
	done
	[ ${#out[@]} = 0 ] || add "${out[@]}"
	wait_whole
	set_mode
}

# ---- the two columns ----

# data WHEN [options]: as verify, but what is wrong is told later: the other
# column is to be filled, too.
data()
{
	( verify "$@" ) || cat /tmp/why >> /tmp/data
	: > /tmp/why
}

count()
{
	drop_caches
	sync_now check
	echo "mismatch_cnt is $MISMATCH"
	echo "$MISMATCH" > /tmp/mismatch
}

# life LEVEL FAULT
life()
{
	build "$1"
	LEVEL=$1
	"${2//-/_}"
	[ "$(get degraded)" = 0 ] || fail "not healed"
	data "healed"
	again
	count
	data "assembled"
	drop_caches
	data "through the page cache" --buffered
	[ "$(get degraded)" = 0 ] || fail "degraded in the end"
	[ ! -s /tmp/data ] || fail "$(head -n 1 /tmp/data)"
}

# What the life counted.
counted()
{
	local n
	read -r n < /tmp/mismatch || fail "no check was reached"
	[ "$n" = 0 ] || fail "mismatch_cnt is $n"
}

# judged COLUMN FUNCTION...: a case; its end is the cell's.
judged()
{
	local key=$1 before=$failures
	shift
	try "$key" "$@"
	CELL[$key]=ok
	if [ "$failures" != "$before" ]; then
		CELL[$key]=FAIL
	elif [ -s /tmp/why ]; then
		CELL[$key]=n.a.
		NOTES+=("$key: $(cat /tmp/why)")
	fi
}

cell()
{
	local name="raid$1 $2"
	number=$((number + 1))
	tables
	rm -f /tmp/data /tmp/mismatch
	judged "$name data" life "$1" "$2"
	if [ "${CELL["$name data"]}" = n.a. ]; then
		judged "$name mismatch" skip "as data"
	else
		judged "$name mismatch" counted
	fi
	( stop_md )
}

# control DATA MISMATCH FAULT: a life that must end so.
control()
{
	local seen=(ok ok) n
	rm -f /tmp/data /tmp/mismatch
	( life 5 "$3" )
	read -r n < /tmp/mismatch ||
		fail "the life came to no end: $(cat /tmp/why)"
	[ ! -s /tmp/data ] || seen[0]=FAIL
	[ "$n" = 0 ] || seen[1]=FAIL
	[ "${seen[*]}" = "$1 $2" ] ||
		fail "data ${seen[0]}, mismatch ${seen[1]}; not $1, $2"
	: > /tmp/why
}

# planted DATA MISMATCH WHAT
planted()
{
	number=$((number + 1))
	tables
	try "control planted-$3" control "$1" "$2" "planted-$3"
	( stop_md )
}

# A row of words, two for each level.
line()
{
	local text
	text=$(printf '%-24s' "$1")
	shift
	while [ $# -gt 1 ]; do
		text+=$(printf '%-6s%-10s' "$1" "$2")
		shift 2
	done
	echo "TABLE $text"
}

# Rows are faults, columns level and what was compared. Also if the end is early.
show()
{
	local level fault words=() note
	for level in "${LEVELS[@]}"; do
		words+=("raid$level" "")
	done
	line "${JOURNAL:-no journal}" "${words[@]}"
	words=()
	for level in "${LEVELS[@]}"; do
		words+=(data mismatch)
	done
	line "" "${words[@]}"
	for fault in "${FAULTS[@]}"; do
		words=()
		for level in "${LEVELS[@]}"; do
			words+=("${CELL["raid$level $fault data"]:--}"
				"${CELL["raid$level $fault mismatch"]:--}")
		done
		line "$fault" "${words[@]}"
	done
	for note in "${NOTES[@]}"; do
		echo "TABLE n.a. $note"
	done
}

LEVELS=("$@")
read -r -a FAULTS <<< "${FAULTS:-healthy one-missing two-missing \
	read-errors-on-one read-errors-on-two write-error dead-sectors-on-two \
	pulled-during-write \
	pulled-during-rebuild pulled-during-check replaced \
	pulled-during-replace}"
modprobe -a dm-delay dm-flakey || fail "no dm-delay, dm-flakey"
use "$MODULE"
clean_up
trap show EXIT
if [ "${CONTROL:-0}" = 1 ]; then
	planted ok FAIL parity
	planted FAIL FAIL data
	planted FAIL ok write
	planted FAIL FAIL drop
fi
for fault in "${FAULTS[@]}"; do
	for level in "${LEVELS[@]}"; do
		cell "$level" "$fault"
	done
done
finish
