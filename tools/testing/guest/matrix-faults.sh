# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The rows of the fault matrix (see matrix.sh). A fault finds an array that was
# written, of MEMBERS, and leaves one that is healed. Moments are waited for,
# and looked at again afterwards: no fault passes because it came too late.

# ---- moments ----

# Until `written_well`; some of it has been done.
write_on()
{
	write_rounds --fsync 2
	some_writes 30
}

# Statistics of a disk: requests that ended are reads and writes.
writes_of()
{
	local words
	read -ra words < "/sys/block/$1/stat"
	WRITES=${words[4]}
}

writes_are()
{
	writes_of md0
	[ "$WRITES" -ge "$1" ]
}

# So many more writes of the array end.
some_writes()
{
	writes_of md0
	soon $((PATIENCE * 10)) "no more writes end" writes_are $((WRITES + $1))
}

# Requests are on their way in the array, and on a member.
busy()
{
	local n=0 reads writes on_it
	while :; do
		read -r reads writes < "/sys/block/${KNAME[$1]}/inflight"
		on_it=$((reads + writes))
		read -r reads writes < /sys/block/md0/inflight
		[ $on_it = 0 ] || [ $((reads + writes)) = 0 ] || return 0
		[ $n -lt 10000 ] || fail "m$1 is never busy"
		n=$((n + 1))
	done
}

# Syncs are slow, and come to no end: they wait at WALL.
WALL=16384
slow_sync()
{
	echo 100 > $SYS/sync_speed_min
	echo 2000 > $SYS/sync_speed_max
	echo $WALL > $SYS/sync_max
}

fast_sync()
{
	echo max > $SYS/sync_max
	echo 1000000 > $SYS/sync_speed_max
	echo 1000000 > $SYS/sync_speed_min
}

begun()
{
	local action sectors
	read -r action < $SYS/sync_action
	read -r sectors < $SYS/sync_completed
	[ "$action" = "$1" ] && [[ $sectors = *" / "* ]] &&
		[ "${sectors%% *}" -ge 1024 ]
}

# A check or recover is under way, with requests of it or of writers on a member.
under_way()
{
	soon $((PATIENCE * 10)) "no $1 is under way: $(get sync_action), $(get sync_completed)" \
		begun "$1"
	busy "$2"
	echo "$(get sync_action): $(get sync_completed)"
	begun "$1" || fail "the $1 ended too soon"
}

at_rest()
{
	[ "$(get sync_action)" = idle ]
}

missing_now()
{
	[ "$(get degraded)" = "$1" ] || fail "degraded is $(get degraded), not $1"
}

# ---- no fault, members missing ----

healthy()
{
	write_on
	some_writes 300
	written_well "healthy"
	missing_now 0
	data "after writing"
}

# members_missing I...
members_missing()
{
	local i
	for i in "$@"; do
		write_on
		pull "$i" failed
		some_writes 100
		written_well "while m$i is missing"
	done
	missing_now $#
	data "$# missing"
	again
	missing_now $#
	data "assembled with $# missing"
	drop_caches
	data "$# missing, through the page cache" --buffered
	put --resume --ops 100 --read 20
	data "written with $# missing"
	heal
}

one_missing()
{
	members_missing 1
}

two_missing()
{
	if [ "$LEVEL" = 6 ]; then
		members_missing 1 3
	else
		too_many_missing
	fi
}

# What is on members that are gone is an error, the rest is right.
half_there()
{
	timeout "$PATIENCE" $ACK check --dev $MD --log "$LOG" > /tmp/verify 2>&1
	[ $? != 124 ] || fail "reads hang"
	cat /tmp/verify
	grep -q " 0 WRONG" /tmp/verify ||
		echo "what is left is wrong: $(grep -m 1 'sector [0-9]*:' /tmp/verify)" >> /tmp/data
	grep -q "Input/output error" /tmp/verify ||
		fail "no error for what is lost"
}

# Levels 4 and 5: m1 fails, its absence is written to, then m2 dies under other
# writers, who have rows of their own: without a journal, what they were writing
# may be lost.
too_many_missing()
{
	local writer size i
	must mdadm $MD --fail /dev/mapper/m1
	put --resume --ops 100
	table 2 slow 10
	$ACK write --dev $MD --log "$LOG_B" --seed "$SEED" --offset 24M \
		--span 8M --threads 8 --ops 1000000 > /tmp/writer_b 2>&1 &
	writer=$!
	some_writes 100
	busy 2
	table 2 dead
	soon $((PATIENCE * 10)) "writers hang with two members missing" \
		gone $writer
	grep "Input/output error" /tmp/writer_b || {
		cat /tmp/writer_b
		fail "writers get no error"
	}
	drop_caches
	half_there
	size=$(($(blockdev --getsize64 $MD) >> 20))
	! run dd if=/dev/zero of=$MD bs=1M seek=$((size - 2)) count=1 \
		oflag=direct || fail "writes succeed with two members missing"
	stop_md
	for i in "${MEMBERS[@]}"; do
		table "$i" plain
	done
	# shellcheck disable=SC2046
	must mdadm --assemble --force --run $MD $(devices "${MEMBERS[@]}") \
		$(journal_words)
	[ "$(get array_state)" != readonly ] || must mdadm --readwrite $MD
	missing_now 1
	data "assembled with --force"
	second_log "assembled with --force"
	put --resume --ops 100 --read 20
	heal
	second_log "healed"
}

# With a journal, the other writers' data are promised, too.
second_log()
{
	[ -n "$JOURNAL" ] || return 0
	( LOG=$LOG_B verify "$@" --offset 24M ) || cat /tmp/why >> /tmp/data
}

# ---- sectors that fail ----

# The table of a member is what it is meant to be; dd reads or writes there.
fails()
{
	local at=$(($2 + OFFSET)) words
	words=(if="/dev/mapper/m$1" of=/dev/null skip="$at" iflag=direct)
	[ "$3" != write ] || words=(if=/dev/zero of="/dev/mapper/m$1" seek="$at"
		oflag=direct)
	! dd "${words[@]}" bs=512 count=8 2> /dev/null ||
		fail "m$1 can $3 at $2"
}

# unreadable I FROM...: pairs of a member and where its 700 sectors begin.
unreadable()
{
	local words=("$@") i
	again
	drop_caches
	for ((i = 0; i < $#; i += 2)); do
		table "${words[i]}" failing error_reads "${words[i + 1]}" 700
		fails "${words[i]}" "${words[i + 1]}" read
	done
	data "unreadable"
	write_on
	some_writes 200
	written_well "with unreadable sectors"
	again
	data "unreadable, assembled"
	data "unreadable, through the page cache" --buffered
	heal
}

# Sectors of two members, in different rows, that can be neither read nor written:
# they are recorded as bad blocks, and both members stay.
dead_sectors_on_two()
{
	local i bad
	again
	table 1 failing all 2000 700
	table 3 failing all 9000 700
	data "with dead sectors"
	write_on
	some_writes 200
	written_well "with dead sectors"
	for i in 1 3; do
		in_sync "$i" || fail "m$i was taken out"
		mapfile -t bad < "$SYS/dev-${KNAME[$i]}/bad_blocks"
		[ ${#bad[@]} != 0 ] || fail "m$i has no bad blocks"
		echo "m$i: ${#bad[@]} ranges of bad blocks"
	done
	again
	data "with dead sectors, assembled"
	put --resume --ops 100 --read 20
	heal
}

read_errors_on_one()
{
	unreadable 1 2000
}

read_errors_on_two()
{
	unreadable 1 2000 3 9000
}

write_error()
{
	local from=4000
	write_on
	busy 1
	table 1 failing error_writes $from 4000
	fails 1 $from write
	some_writes 300
	written_well "with unwritable sectors"
	data "unwritable"
	put --resume --ops 100 --read 20
	echo "m1: $(get "dev-${KNAME[1]}/state")"
	again
	data "unwritable, assembled"
	heal
}

# ---- members that are pulled, first with mdadm, then by dying ----

# The spare takes role I, and is rebuilt.
replace()
{
	MEMBERS[$1]=$SPARE
	add $SPARE
	wait_whole
}

pulled_during_write()
{
	table 1 slow 10
	write_on
	busy 1
	pull 1 failed
	some_writes 50
	missing_now 1
	replace 1
	some_writes 50
	written_well "when m1 is failed, and rebuilt"
	data "m1 failed and replaced"
	table $SPARE slow 10
	write_on
	busy $SPARE
	pull $SPARE dead
	some_writes 50
	missing_now 1
	written_well "when m$SPARE dies"
	data "m$SPARE dead"
	heal
}

# pulled_rebuilding I HOW MISSING: the spare is being rebuilt when I is pulled.
pulled_rebuilding()
{
	slow_sync
	table "$1" slow 10
	table $SPARE slow 10
	add $SPARE
	write_on
	under_way recover "$1"
	pull "$1" "$2"
	some_writes 50
	missing_now "$3"
	written_well "when m$1 is pulled: $2"
	data "m$1 pulled from a rebuild: $2"
}

pulled_during_rebuild()
{
	pull 1 failed
	MEMBERS[1]=$SPARE
	pulled_rebuilding $SPARE failed 1
	pulled_rebuilding $SPARE dead 1
	# Another than the one that is rebuilt: only level 6 can bear that.
	[ "$LEVEL" != 6 ] || pulled_rebuilding 3 failed 2
	heal
}

# ---- a member that works is replaced ----

# The spare is to take the place of m1, which stays until it has.
begin_replace()
{
	dd if=/dev/urandom of="${DISK[$SPARE]}" bs=1M oflag=direct 2> /dev/null
	must mdadm $MD --replace /dev/mapper/m1
	must mdadm $MD --add-spare /dev/mapper/m$SPARE
}

# ... and the copying is half done, under writers.
replacing()
{
	slow_sync
	table 1 slow 10
	table $SPARE slow 10
	begin_replace
	write_on
	under_way recover $SPARE
	missing_now 0
}

# m1 has been replaced, and goes.
replaced_now()
{
	soon $((PATIENCE * 10)) "m1 is not replaced" is_faulty 1
	in_sync $SPARE || fail "m$SPARE is not in sync"
	remove 1
	MEMBERS[1]=$SPARE
	wait_whole
}

# Some of m1 cannot be read: that comes from the others.
replaced()
{
	again
	drop_caches
	table 1 failing error_reads 2000 700
	fails 1 2000 read
	write_on
	begin_replace
	replaced_now
	some_writes 50
	written_well "when m1 is replaced"
	data "m1 replaced"
	heal
}

# What was set of the array is gone with it, and while a sync runs, sync_max is not to be
# lowered: so what is left takes minutes.
assemble_replacing()
{
	local limit=/proc/sys/dev/raid/speed_limit
	stop_md
	echo 10 > ${limit}_min
	echo 10 > ${limit}_max
	# shellcheck disable=SC2046
	must mdadm --assemble --run $MD \
		$(devices "${MEMBERS[@]}" $SPARE) $(journal_words)
	echo 10 > $SYS/sync_speed_min
	echo 10 > $SYS/sync_speed_max
	echo 200000 > ${limit}_max
	echo 1000 > ${limit}_min
	set_mode
}

pulled_during_replace()
{
	replacing
	pull $SPARE dead
	some_writes 50
	missing_now 0
	written_well "when the replacement dies"
	data "the replacement is dead"
	table $SPARE plain
	replacing
	written_well "while m1 is replaced"
	assemble_replacing
	write_on
	under_way recover $SPARE
	# What was begun as a copy goes on as a rebuild.
	pull 1 dead
	some_writes 50
	written_well "when m1 dies while it is replaced"
	MEMBERS[1]=$SPARE
	data "m1 is dead, half replaced"
	heal
}

# pulled_checked I HOW: a check is under way when I is pulled.
pulled_checked()
{
	slow_sync
	table "$1" slow 10
	write_on
	echo check > $SYS/sync_action
	under_way check "$1"
	pull "$1" "$2"
	some_writes 50
	missing_now 1
	written_well "when m$1 is pulled: $2"
	soon $((PATIENCE * 10)) "the check goes on: $(get sync_action)" at_rest
	data "m$1 pulled from a check: $2"
	fast_sync
}

pulled_during_check()
{
	pulled_checked 2 failed
	replace 2
	pulled_checked $SPARE dead
	heal
}

# ---- control: what is planted beside md ----

# scribble I: random data in a place of the first 512 KiB of a member.
scribble()
{
	dd if=/dev/urandom of="${DISK[$1]}" bs=512 seek=$((OFFSET + $2)) \
		count="$3" conv=notrunc oflag=direct 2> /dev/null || fail "dd"
}

# The first row of chunks has its parity on the last member (layout 2).
planted_parity()
{
	again
	scribble 3 0 8
	again
}

# A member has something else than what was written to it.
planted_data()
{
	again
	scribble 0 0 512
	again
}

# Something else is written to the array, with its parity.
planted_write()
{
	must dd if=/dev/urandom of=$MD bs=64K count=4 oflag=direct
}

# A disk confirms writes that it does not do.
planted_drop()
{
	again
	table 1 failing drop_writes 0 $((SIZE * 2))
	put --resume --ops 100
	table 1 plain
	again
}
