#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sectors that can be neither read nor written, of more members than may be missing, but
# in different rows: they become bad blocks, as under raid456, and the array stays whole.
# Five members at the most, a spare, the writer's log.
#
# What is bad of a member goes by its own sectors, in sysfs and in its superblock.
# raid456 7.2.13 writes no bad block again before the next assembly if a write failed there;
# not all parity that cannot be written is recorded, at levels 4 and 6; and its rebuild with a
# row that cannot be read never ends. So not every case is one of both.

. /lab/guest/same.sh
. /lab/guest/tables.sh
LOG=${DISK[-1]}
SPARE=5
SIZE=8192
CHUNK=64
# Pairs of a sector and a count; no row (of 8 sectors) is in two lists. One lies across
# two rows, one across two chunks.
BAD1=(1000 8 3004 16)
BAD3=(2048 1 5112 16)
PAGES1=(1000 3000 3008 3016)
PAGES3=(2048 5112 5120)

# build LEVEL [mdadm arguments]: written, and not cached any more.
build()
{
	local words
	MEMBERS=(0 1 2 3)
	[ "$1" != 6 ] || MEMBERS+=(4)
	junk $((SPARE + 1)) /dev/zero
	tables
	mapfile -t words < <(devices "${MEMBERS[@]}")
	must mdadm --create $MD --run --level="$1" --chunk=$CHUNK \
		--raid-devices=${#MEMBERS[@]} --size=$SIZE --assume-clean \
		--bitmap=none "${words[@]}"
	OFFSET=$(offset_of /dev/mapper/m0)
	put --seed "$SEED" --ops 200 --threads 4 --fua 3
	again
}

# again [mdadm arguments]: stopped and assembled; nothing is cached.
again()
{
	local words
	mapfile -t words < <(devices "${MEMBERS[@]}")
	stop_md
	must mdadm --assemble --run $MD "$@" "${words[@]}"
	drop_caches
}

dead_sectors()
{
	table 1 failing all "${BAD1[@]}"
	table 3 failing all "${BAD3[@]}"
}

all_plain()
{
	local i
	for i in "${MEMBERS[@]}"; do
		table "$i" plain
	done
}

# What was recorded is in the superblocks.
acknowledged()
{
	local i left
	for i in "${MEMBERS[@]}"; do
		left=$(get "dev-${KNAME[$i]}/unacknowledged_bad_blocks" 2> /dev/null)
		[ -z "$left" ] || return 1
	done
}

# pages: "FROM COUNT" or "FROM for COUNT sectors" as the pages of a member's data, each
# in a line.
pages()
{
	awk -v offset="$OFFSET" '$1 ~ /^[0-9]+$/ {
		count = $2 == "for" ? $3 : $2
		for (n = 0; n < count; n += 8)
			print $1 - offset + n
	}'
}

# seen: members, and what is bad of them.
# shellcheck disable=SC2046
seen()
{
	local i dir
	echo "degraded: $(get degraded)"
	drop_caches
	for i in "${MEMBERS[@]}"; do
		dir=dev-${KNAME[$i]}
		[ -d "$SYS/$dir" ] || {
			echo "m$i is out"
			continue
		}
		echo "m$i, role $(get "$dir/slot"): $(get "$dir/state")"
		echo "sysfs:" $(pages < "$SYS/$dir/bad_blocks")
		echo "superblock:" $(mdadm --examine-badblocks "/dev/mapper/m$i" |
			pages)
	done
}

# look STEP: that, when all is at rest, as under raid456. `show`: if it may differ.
look()
{
	wait_idle
	soon $((100 * SLOWER)) "bad blocks are not acknowledged" acknowledged
	seen 2>&1 | tee "$OUT/$module/$1"
}

show()
{
	echo "$1:"
	wait_idle
	seen 2>&1
}

# bad I PAGE...: just these pages of a member are bad, by their sector in its data.
bad()
{
	local i=$1 now
	shift
	now=$(pages < "$SYS/dev-${KNAME[$i]}/bad_blocks" | tr '\n' ' ')
	[ "$now" = "$*${*:+ }" ] || fail "m$i: bad blocks are $now"
}

# recorded_of I PAGE: it is one of them.
recorded_of()
{
	pages < "$SYS/dev-${KNAME[$1]}/bad_blocks" | grep -qx "$2" ||
		fail "m$1: $2 is not recorded"
}

whole()
{
	[ "$(get degraded)" = 0 ] || fail "$1: degraded is $(get degraded)"
}

# All of the array is read; and written, as it was.
read_all()
{
	must dd if=$MD of=/tmp/all bs=1M iflag=direct
}

rewrite_all()
{
	read_all
	must dd if=/tmp/all of=$MD bs=192K oflag=direct
}

# What is bad now is garbage on the disks, and can be read: nobody should.
garbage()
{
	local i words
	for i in 1 3; do
		words=("${BAD1[@]}")
		[ $i = 1 ] || words=("${BAD3[@]}")
		while [ ${#words[@]} -gt 0 ]; do
			dd if=/dev/urandom of="${DISK[$i]}" bs=512 \
				seek=$((OFFSET + words[0])) count="${words[1]}" \
				conv=notrunc oflag=direct 2> /dev/null || fail "dd"
			words=("${words[@]:2}")
		done
	done
}

# recorded LEVEL: found by reads and writes, kept, not read, and forgotten once written.
recorded()
{
	build "$1"
	dead_sectors
	verify "with dead sectors"
	look "after reads"
	whole "after reads"
	put --resume --ops 200
	rewrite_all
	verify "rewritten with dead sectors"
	look "after writes"
	whole "after writes"
	bad 1 "${PAGES1[@]}"
	bad 3 "${PAGES3[@]}"
	sync_now check
	echo "mismatch_cnt $MISMATCH" >> /tmp/said
	look "after a check"
	stop_md
	all_plain
	garbage
	again
	look "assembled"
	bad 1 "${PAGES1[@]}"
	bad 3 "${PAGES3[@]}"
	verify "with garbage in bad blocks"
	look "read again"
	rewrite_all
	look "written again"
	bad 1
	bad 3
	verify "written again"
	no_mismatch "written again"
	must mdadm $MD --fail /dev/mapper/m0
	verify "without another member"
}

# repaired LEVEL: a repair writes what is bad.
repaired()
{
	build "$1"
	dead_sectors
	rewrite_all
	stop_md
	all_plain
	garbage
	again
	sync_now repair
	look "repaired"
	verify "repaired"
	no_mismatch "repaired"
}

# The same in one session: what could not be written can be now.
healed()
{
	build 5
	dead_sectors
	rewrite_all
	look "bad"
	all_plain
	rewrite_all
	show "written"
	sync_now repair
	show "repaired"
	verify "healed"
	again
	show "assembled"
	rewrite_all
	look "written, after assembly"
	bad 1
	bad 3
	verify "written, after assembly"
	no_mismatch "healed"
}

# Rows with more bad members than parity makes up for: what needs them fails, no more.
too_many()
{
	build 5
	table 1 failing all 1024 16
	table 2 failing all 1032 16
	unreadable_pages
	[ "$PAGES" = " 3208 3336" ] || fail "cannot be read:$PAGES"
	look "after reads"
	whole "after reads"
	# Where both are bad, nothing could be written, so not all record that.
	recorded_of 1 1024
	recorded_of 2 1040
	# Whether that can be written is the module's affair.
	run dd if=/dev/urandom of=$MD bs=192K seek=8 count=1 oflag=direct
	whole "after a write"
	# All others are not touched by it.
	must dd if=/dev/zero of=$MD bs=192K seek=9 oflag=direct count=1
	must dd if=$MD of=/dev/null bs=192K skip=9 iflag=direct
	must dd if=$MD of=/dev/null bs=192K count=8 iflag=direct
	all_plain
	again
	run dd if=/dev/urandom of=$MD bs=192K seek=8 count=1 oflag=direct
	show "written after assembly"
	unreadable_pages
	whole "written after assembly"
}

# Those of the row of chunks at 1024 that cannot be read: the array's sectors.
unreadable_pages()
{
	local n
	PAGES=
	for ((n = 3072; n < 3456; n += 8)); do
		dd if=$MD of=/dev/null bs=512 skip=$n count=8 iflag=direct \
			2> /dev/null || PAGES+=" $n"
	done
	echo "cannot be read:$PAGES"
}

# A member is rebuilt where another has dead sectors: these rows become bad blocks of
# the new one.
rebuilt()
{
	[ "$MODULE" = raid5c ] || skip "raid456's rebuild never ends"
	build 5
	must mdadm $MD --fail /dev/mapper/m3
	must mdadm $MD --remove /dev/mapper/m3
	table 1 failing all "${BAD1[@]}"
	MEMBERS[3]=$SPARE
	must mdadm $MD --add /dev/mapper/m$SPARE
	wait_whole
	show "rebuilt"
	bad $SPARE "${PAGES1[@]}"
	table 1 plain
	again
	show "assembled"
	bad $SPARE "${PAGES1[@]}"
	verify "the sectors can be read again"
	rewrite_all
	show "written again"
	bad $SPARE
	no_mismatch "written again"
}

# Without room for bad blocks, the first member whose sector cannot be rewritten is out.
no_log()
{
	local i
	build 5
	again --update=no-bbl
	for i in "${MEMBERS[@]}"; do
		mdadm --examine "/dev/mapper/m$i" | grep -i "bad block" &&
			fail "m$i still has a log"
	done
	table 1 failing all "${BAD1[@]}"
	verify "with dead sectors"
	put --resume --ops 200
	rewrite_all
	look "after writes"
	verify "without a log"
	[ "$(get degraded)" = 1 ] || fail "degraded is $(get degraded)"
}

# ---- replacements ----

# page N: the array's page is saved in /tmp/page.N; same_page N: it is what was saved.
page()
{
	dd if=$MD of="/tmp/page.$1" bs=4k skip="$1" count=1 iflag=direct 2> /dev/null
}

same_page()
{
	cp "/tmp/page.$1" /tmp/page
	page "$1" || fail "$2: page $1 cannot be read"
	cmp -s /tmp/page "/tmp/page.$1" || fail "$2: page $1 is not what it was"
}

# replacing I SPARE: I is replaced, slowly; its spare has more than the row at 1024, and md knows.
replacing()
{
	speed 1000
	dd if=/dev/urandom of="${DISK[$2]}" bs=1M oflag=direct 2> /dev/null
	must mdadm $MD --replace "/dev/mapper/m$1"
	must mdadm $MD --add-spare "/dev/mapper/m$2"
	soon 100 "m$2 gets nothing" has_row "$2"
}

has_row()
{
	local at
	# Has md write how far it is.
	echo -failfast > "$SYS/dev-${KNAME[$1]}/state"
	at=$(cat "$SYS/dev-${KNAME[$1]}/recovery_start" 2> /dev/null) || return 1
	[ "$at" != none ] && [ "$at" -gt 1280 ]
}

# A row that a replacement could not be given is read from the member, once that can read it again.
hole()
{
	build 5
	page 400
	table 1 failing all 1024 8
	table 2 failing all 1024 8
	replacing 1 $SPARE
	bad $SPARE 1024
	table 1 plain
	drop_caches
	same_page 400 "from the old member"
	speed 1000000
}

# A row that cannot be given to one replacement is no bad block of another, which has it.
two_holes()
{
	build 5
	replacing 1 $SPARE
	bad $SPARE
	echo frozen > $SYS/sync_action
	table 2 failing all 1024 8
	table 0 failing all 1024 8
	dd if=/dev/urandom of="${DISK[4]}" bs=1M oflag=direct 2> /dev/null
	must mdadm $MD --replace /dev/mapper/m2
	must mdadm $MD --add-spare /dev/mapper/m4
	echo idle > $SYS/sync_action
	soon 100 "m4 gets nothing" has_row 4
	bad 4 1024
	bad $SPARE
	speed 1000000
}

# The superblock is slow, and nothing else.
slow_superblock()
{
	echo "0 $OFFSET delay ${DISK[$1]} 0 $2"
	echo "$OFFSET $((SECTORS[$1] - OFFSET)) linear ${DISK[$1]} $OFFSET"
}

# When a member has been replaced no write ends before the superblocks say so: in a power cut before, it
# would be a member again.
handed_over()
{
	local at=$((SIZE * 2 / 8 * 3 - 1)) state
	build 5
	replacing 1 $SPARE
	table 0 slow_superblock 4000
	speed 1000000
	soon 100 "m1 is not replaced" grep -q faulty "$SYS/dev-${KNAME[1]}/state"
	must dd if=/dev/urandom of=$MD bs=4k seek=$at count=1 oflag=direct
	drop_caches
	state=$(mdadm --examine "${DISK[0]}" | grep "Array State")
	echo "$state"
	case $state in
	*": AAAA "*) ;;
	*) fail "written, and the superblock says $state" ;;
	esac
}

# ---- external metadata ----

# unrecorded SECTOR: it is a bad block that nobody has recorded yet.
unrecorded()
{
	grep -q "^$((OFFSET + $1)) " "$SYS/dev-${KNAME[1]}/unacknowledged_bad_blocks"
}

record()
{
	echo "$((OFFSET + $1)) 8" > "$SYS/dev-${KNAME[1]}/bad_blocks"
}

# Who keeps external metadata has to say that the array is written, whenever it is to be.
keep()
{
	while :; do
		[ "$(cat $SYS/array_state)" != write-pending ] || echo active > $SYS/array_state
		sleep 0.05
	done
}

# Bad blocks are recorded by us: no write ends, nor begins, before that.
external()
{
	local i dev first second keeper
	build 5
	stop_md
	[ -b $MD ] || echo md0 > /sys/module/md_mod/parameters/new_array
	echo external:test > $SYS/metadata_version
	echo raid5 > $SYS/level
	echo 4 > $SYS/raid_disks
	echo $((CHUNK * 1024)) > $SYS/chunk_size
	echo 2 > $SYS/layout
	echo $SIZE > $SYS/component_size
	echo none > $SYS/resync_start
	for i in "${MEMBERS[@]}"; do
		cat "/sys/block/${KNAME[$i]}/dev" > $SYS/new_dev || fail "m$i"
		dev=$SYS/dev-${KNAME[$i]}
		echo "$OFFSET" > "$dev/offset"
		echo $SIZE > "$dev/size"
		echo insync > "$dev/state"
		echo external_bbl > "$dev/state"
		echo "$i" > "$dev/slot" || fail "m$i takes no slot"
	done
	echo active > $SYS/array_state || fail "the array does not start"
	keep &
	keeper=$!
	table 1 failing all 1000 8 2048 8
	dd if=/dev/zero of=$MD bs=4k seek=349 count=1 oflag=direct 2> /dev/null &
	first=$!
	soon 100 "no bad block" unrecorded 1000
	dd if=/dev/zero of=$MD bs=4k seek=784 count=1 oflag=direct 2> /dev/null &
	second=$!
	sleep 1
	kill -0 $first 2> /dev/null || fail "the first write has ended"
	! unrecorded 2048 || fail "the second write has begun"
	record 1000
	soon 100 "no second bad block" unrecorded 2048
	sleep 1
	kill -0 $second 2> /dev/null || fail "the second write has ended"
	record 2048
	soon 100 "the writes do not end" ended $first $second
	wait $first || fail "the first write failed"
	wait $second || fail "the second write failed"
	kill $keeper
	echo clear > $SYS/array_state
}

ended()
{
	! kill -0 "$@" 2> /dev/null
}

# ---- with a journal ----

# Page 384 is what was written last.
written_page()
{
	drop_caches
	dd if=$MD bs=4k skip=384 count=1 iflag=direct 2> /dev/null |
		cmp -s - /tmp/last || fail "$1: what was acknowledged is lost"
}

journaled()
{
	local words
	mapfile -t words < <(devices "${MEMBERS[@]}" $SPARE)
	must mdadm --assemble --run $MD "${words[@]}"
}

# An array that is written, and an empty journal.
build_journaled()
{
	local words
	MEMBERS=(0 1 2 3)
	junk $((SPARE + 1)) /dev/zero
	tables
	mapfile -t words < <(devices "${MEMBERS[@]}")
	must mdadm --create $MD --run --level=5 --chunk=$CHUNK --raid-devices=4 \
		--size=$SIZE --assume-clean "${words[@]}" \
		--write-journal /dev/mapper/m$SPARE
	OFFSET=$(offset_of /dev/mapper/m0)
	must dd if=/dev/urandom of=$MD bs=192K count=100 oflag=direct
	stop_md
	journaled
}

# Page 384 is in the journal and in the cache only, and its row has no parity any more, nor page 400.
cached_and_lost()
{
	build_journaled
	page 400
	echo write-back > $SYS/journal_mode || fail "no write-back"
	drop_caches
	dd if=/dev/urandom of=/tmp/last bs=4k count=1 2> /dev/null
	must dd if=/tmp/last of=$MD bs=4k seek=384 oflag=direct
	table 1 failing all 1024 8
	table 3 failing all 1024 8
}

# The array goes on, and what is lost is an error until it is written again.
goes_on()
{
	local i
	written_page "$1"
	dd if=$MD of=/dev/null bs=4k skip=400 count=1 iflag=direct 2> /dev/null &&
		fail "$1: page 400 can be read"
	dmesg | grep -q "more of the row at member sector 1024 is lost" ||
		fail "$1: nothing is said"
	# More than the journal takes.
	for _ in 1 2; do
		must dd if=/dev/urandom of=$MD bs=192K seek=20 count=80 oflag=direct
	done
	whole "$1"
	stop_md
	table 1 plain
	table 3 plain
	journaled
	written_page "$1, assembled"
	same_page 400 "$1, can be read again"
	must dd if=/dev/urandom of=$MD bs=192K seek=8 count=1 oflag=direct
	no_mismatch "$1, written again"
	for i in "${MEMBERS[@]}"; do
		bad "$i"
	done
}

# Two members lose a row that is cached: what can be written is, and the journal goes on.
forgone()
{
	cached_and_lost
	must timeout $PATIENCE sh -c "echo write-through > $SYS/journal_mode"
	goes_on "written out"
}

keep_copy()
{
	dd if="${DISK[$1]}" of="/tmp/copy$1" bs=1M iflag=direct 2> /dev/null
}

# The disks are as they were when they were copied.
use_copies()
{
	local i
	for i in "${MEMBERS[@]}" $SPARE; do
		dd if="/tmp/copy$i" of="${DISK[$i]}" bs=1M oflag=direct 2> /dev/null
		rm "/tmp/copy$i"
	done
}

# The same, found when the array is assembled after a crash.
forgone_at_start()
{
	local i
	cached_and_lost
	for i in "${MEMBERS[@]}" $SPARE; do
		dmsetup suspend --nolockfs "m$i"
		keep_copy "$i"
		dmsetup resume "m$i"
	done
	stop_md
	dmesg -C
	use_copies
	journaled
	[ "$(get array_state)" != readonly ] || fail "the array is read-only"
	goes_on "recovered"
}

# slow_and_failing I FROM COUNT SLOW: so many sectors of its data fail, and writes from sector SLOW on
# take a minute.
slow_and_failing()
{
	local disk=${DISK[$1]} from=$(($2 + OFFSET)) slow=$(($4 + OFFSET))
	echo "0 $from linear $disk 0"
	echo "$from $3 error"
	echo "$((from + $3)) $((slow - from - $3)) linear $disk $((from + $3))"
	echo "$slow $((SECTORS[$1] - slow)) delay $disk $slow 0 $disk $slow 60000 $disk $slow 0"
}

# A row of which the log has data and parity, and then data without parity, which is on its member:
# the parity that recovery finds first is not for what cannot be read.
old_parity()
{
	local i pinned
	build_journaled
	# Nothing leaves the log from here on: a write of row 2048 does not end on member 2. Its strip there
	# is page 800.
	table 2 slow_and_failing 1024 8 2048
	dd if=/dev/urandom of=$MD bs=4k seek=800 count=1 oflag=direct 2> /dev/null &
	pinned=$!
	# Data on member 0, parity on 3.
	must dd if=/dev/urandom of=$MD bs=4k seek=384 count=1 oflag=direct
	echo write-back > $SYS/journal_mode || fail "no write-back"
	drop_caches
	dd if=/dev/urandom of=/tmp/last bs=4k count=1 2> /dev/null
	must dd if=/tmp/last of=$MD bs=4k seek=400 oflag=direct
	# Page 416 is lost, and there is no new parity.
	table 3 failing all 1024 8
	(echo write-through > $SYS/journal_mode) &
	soon 200 "page 400 is not written out" on_member 1 1024 /tmp/last
	recorded_of 3 1024
	kill -0 $pinned 2> /dev/null || fail "the slow write has ended"
	for i in 0 1 3 $SPARE; do
		dmsetup suspend --nolockfs "m$i"
	done
	for i in "${MEMBERS[@]}" $SPARE; do
		keep_copy "$i"
	done
	for i in 0 1 3 $SPARE; do
		dmsetup resume "m$i"
	done
	table 2 plain
	table 3 plain
	wait
	stop_md
	use_copies
	table 2 failing all 1024 8
	journaled
	drop_caches
	dmesg | grep -q "journal recovery:" || fail "nothing was recovered"
	dd if=$MD bs=4k skip=400 count=1 iflag=direct 2> /dev/null |
		cmp -s - /tmp/last || fail "what was acknowledged is lost"
	! dd if=$MD of=/dev/null bs=4k skip=416 count=1 iflag=direct 2> /dev/null ||
		fail "page 416 can be read, from the wrong parity"
	recorded_of 3 1024
	stop_md
	table 2 plain
}

# on_member I SECTOR FILE: that page of its data is what the file has.
on_member()
{
	dd if="${DISK[$1]}" bs=512 skip=$((OFFSET + $2)) count=8 iflag=direct \
		2> /dev/null | cmp -s - "$3"
}

# alone FUNCTION [ARGS]: not held against raid456.
alone()
{
	local module=$MODULE
	mkdir -p "$OUT/$module"
	"$@"
}

use "$MODULE"
clean_up
for name in "$@"; do
	# Words are arguments.
	# shellcheck disable=SC2086
	case $name in
	rebuilt | too_many | hole | two_holes | handed_over | external | forgone* | old_parity | *[46]) try "$name" alone $name ;;
	*) try "$name" same badblocks $name ;;
	esac
	use "$MODULE"
	clean_up
done
finish
