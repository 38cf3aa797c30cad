#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# RAID-6, once per argument DISKS:CHUNK:LAYOUT: written, read and rebuilt with
# any two members missing, under $MODULE and under the other module in turns,
# which have to agree about P and Q, as has mdadm's raid6check. The last disk
# is the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
OPS=${OPS:-200}
INITIAL=--any-initial
OTHER=raid456
[ "$MODULE" = raid5c ] || OTHER=raid5c
# Stripes. raid6check suspends the array five times for each, which takes as
# many grace periods of RCU.
AT_MOST=32
echo 0 > /sys/module/rcutree/parameters/jiffies_till_first_fqs
echo 1 > /sys/module/rcutree/parameters/jiffies_till_next_fqs

# Assemble under a module the members that are not named.
assemble_without()
{
	local module=$1 i here=()
	shift
	stop_md
	use "$module"
	for ((i = 0; i < n; i++)); do
		[[ " $* " = *" $i "* ]] || here+=("${DISK[$i]}")
	done
	must mdadm --assemble --run $MD "${here[@]}"
}

# Bring the missing members back, empty.
bring_back()
{
	local i
	for i in "$@"; do
		must mdadm --zero-superblock "${DISK[$i]}"
	done
	for i in "$@"; do
		must mdadm $MD --add "${DISK[$i]}"
	done
}

# find_errors START COUNT [autorepair]: what mdadm's raid6check, which reads
# the members itself, says of so many stripes is in ERRORS. It ends with 0
# whatever it finds.
find_errors()
{
	must /lab/raid6check $MD "$@"
	ERRORS=$(grep '^Error' /tmp/out)
}

# raid6check finds nothing in the array, or in as many of its stripes as there
# is time for, of which the seed chooses the first.
no_error()
{
	local stripes=$((size / chunk)) start=0
	[ $stripes -le $AT_MOST ] ||
		start=$(((SEED + number) * 1237 % (stripes - AT_MOST + 1)))
	find_errors $start $AT_MOST
	[ -z "$ERRORS" ] ||
		fail "raid6check, $1: $(wc -l <<< "$ERRORS") errors; $ERRORS"
}

# Control: each block of a row in turn, P and Q among them, is overwritten
# while nobody uses the array. raid6check says which it was, which only a tool
# that knows the layout can, and computes what was there. It reads around
# caches, as dd writes, and the array is assembled anew afterwards.
blamed()
{
	local row=$(((SEED + number) * 1237 % (size / 4))) stripe where said i
	stripe=$((row * 4 / chunk))
	where="stripe $stripe, page $((row % (chunk / 4)))"
	said="Error detected at $where: possible failed disk slot "
	for ((i = 0; i < n; i++)); do
		damage_row "$i" "$row"
		find_errors $stripe 1 autorepair
		# One line; between, which block that is: P, Q or a number.
		[[ $ERRORS = "$said"*": $i --> ${DISK[$i]}" &&
			$ERRORS != *$'\n'* ]] ||
			fail "raid6check, $where of member $i: ${ERRORS:-no error}"
		same_row "$i"
	done
}

life()
{
	local n=$1 chunk=$2 layout=$3 a b
	local size=$(((8192 / chunk + 1) * chunk))
	a=$(((SEED + number) % n))
	b=$(((a + 1 + number % (n - 1)) % n))
	echo "members $a and $b will be missing"
	create 6 "$n" "$chunk" "$layout" "$size"
	put --seed $((SEED * 1000 + number)) --ops "$OPS" --threads 6 --read 10 \
		--fua 5 --fsync 2 --big 8
	wait_whole
	no_mismatch "after the first sync"
	no_error "after the first sync"
	blamed
	assemble_without "$OTHER"
	no_mismatch "under $OTHER"
	verify "under $OTHER"
	assemble_without "$MODULE"
	must mdadm $MD --fail "${DISK[$a]}"
	verify "member $a failed"
	put --resume --ops $((OPS / 2)) --read 20
	must mdadm $MD --fail "${DISK[$b]}"
	verify "members $a and $b failed"
	put --resume --ops $((OPS / 2)) --read 20
	verify "written with two members missing"
	assemble_without "$OTHER" "$a" "$b"
	verify "under $OTHER, with two members missing"
	put --resume --ops $((OPS / 2)) --read 20
	assemble_without "$MODULE" "$a" "$b"
	verify "written under $OTHER"
	bring_back "$a" "$b"
	put --resume --ops $((OPS / 2)) --read 10
	wait_whole
	verify "rebuilt"
	no_mismatch "after the rebuild"
	no_error "after the rebuild"
	assemble_without "$OTHER"
	no_mismatch "after the rebuild, under $OTHER"
	clean_up
}

# All pairs of members: what is computed is what was written.
pairs()
{
	local n=5 a b
	use "$MODULE"
	create 6 $n 16 - 4096 --assume-clean
	sync_now repair
	put --seed "$SEED" --ops 200 --threads 4
	for ((a = 0; a < n; a++)); do
		for ((b = a + 1; b < n; b++)); do
			assemble_without "$MODULE" "$a" "$b"
			verify "members $a and $b missing"
			put --resume --ops 40
			verify "written without members $a and $b"
			bring_back "$a" "$b"
			wait_whole
		done
	done
	no_mismatch "after all pairs"
	assemble_without "$OTHER"
	no_mismatch "after all pairs, under $OTHER"
	verify "after all pairs, under $OTHER"
	clean_up
}

# What is wrong in P, in Q, and in data is counted, and repaired.
repaired()
{
	local n=4 i
	use "$MODULE"
	create 6 $n 64 - 4096 --assume-clean
	sync_now repair
	put --seed "$SEED" --ops 100
	no_mismatch "before"
	# Row 3 of the first stripe: one strip of it is P, one is Q.
	for ((i = 0; i < n; i++)); do
		damage_row "$i" 3
		drop_caches
		sync_now check
		[ "$MISMATCH" = 8 ] ||
			fail "member $i: $MISMATCH sectors are counted, not 8"
		restore_row "$i"
		drop_caches
		no_mismatch "member $i has its data back"
	done
	# Parity that is wrong is made anew: of the first stripe, P is on the
	# last member and Q on the first.
	for i in 0 3; do
		damage_row "$i" 3
	done
	drop_caches
	sync_now repair
	[ "$MISMATCH" = 8 ] || fail "repair counts $MISMATCH, not 8"
	no_mismatch "after the repair"
	verify "after the repair"
	clean_up
}

row_of()
{
	echo $(($(mdadm --examine "${DISK[$1]}" |
		sed -n 's/.*Data Offset : \([0-9]*\) .*/\1/p') / 8 + $2))
}

damage_row()
{
	local at
	at=$(row_of "$1" "$2")
	dd if="${DISK[$1]}" of=/tmp/row bs=4k count=1 skip="$at" iflag=direct \
		2> /dev/null || fail "cannot read member $1"
	echo "$at" > /tmp/row.at
	dd if=/dev/urandom of="${DISK[$1]}" bs=4k count=1 seek="$at" \
		oflag=direct 2> /dev/null || fail "cannot write member $1"
}

restore_row()
{
	dd if=/tmp/row of="${DISK[$1]}" bs=4k count=1 seek="$(cat /tmp/row.at)" \
		oflag=direct 2> /dev/null || fail "cannot write member $1"
}

same_row()
{
	dd if="${DISK[$1]}" bs=4k count=1 skip="$(cat /tmp/row.at)" \
		iflag=direct 2> /dev/null | cmp - /tmp/row ||
		fail "member $1 does not have its data back"
}

number=0
for spec in "$@"; do
	number=$((number + 1))
	IFS=: read -r n chunk layout <<< "$spec"
	use "$MODULE"
	try "raid6 of $n, chunk ${chunk}K, ${layout/#-/default}" \
		life "$n" "$chunk" "$layout"
done
try "all pairs of members" pairs
try "check and repair" repaired
finish
