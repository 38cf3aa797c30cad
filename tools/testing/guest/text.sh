#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What mdadm and /proc/mdstat say, under raid456 and under raid5c, must be
# the same text but for times, names of arrays and unique numbers.

. /lab/guest/lib.sh
OUT=/lab/text

normal()
{
	sed -E -e 's/[0-9a-f]{8}(:[0-9a-f]{8}){3}/UUID/g' \
		-e '/(Creation|Update) Time/s/:.*/: TIME/' \
		-e '/Checksum/s/:.*/: SUM/' \
		-e '/Events/s/:.*/: N/' \
		-e 's/(MD_UPDATE_TIME|MD_EVENTS)=.*/\1=N/' \
		-e 's/[0-9]+K\/sec/SPEED/; s/finish=[^ ]+/finish=/'
}

# Once an array that was written is called clean again.
settled()
{
	local n=0
	while [ "$(get array_state)" = active ] && [ $n -lt 100 ]; do
		sleep 0.1
		n=$((n + 1))
	done
}

shot()
{
	settled
	{
		cat /proc/mdstat
		mdadm --detail $MD
		mdadm --detail --export $MD
		mdadm --examine $(members "$2")
		mdadm --examine --export "${DISK[0]}"
		for name in level layout chunk_size raid_disks degraded \
			array_state sync_action mismatch_cnt component_size \
			array_size consistency_policy journal_mode \
			stripe_cache_size resync_start metadata_version; do
			echo "$name: $(cat $SYS/$name 2>&1)"
		done
		grep . $SYS/dev-*/{state,slot,offset,size,errors} |
			sed 's/^.*md0.md.//'
	} 2>&1 | normal > "$OUT/$1"
}

story()
{
	local module=$1 level=$2 n=$3 layout=$4 dir=$1/$2-$3-$4
	mkdir -p "$OUT/$dir"
	use "$module"
	clean_up
	create "$level" "$n" 64 "$layout" 8192 --assume-clean --name=text \
		--homehost=lab
	shot "$dir/clean" "$n"
	must dd if=/dev/zero of=$MD bs=64k count=8 oflag=direct
	must mdadm --wait-clean $MD
	shot "$dir/written" "$n"
	must mdadm $MD --fail "${DISK[1]}"
	sleep 0.3
	shot "$dir/failed" "$n"
	must mdadm $MD --remove "${DISK[1]}"
	must mdadm --zero-superblock "${DISK[1]}"
	shot "$dir/removed" "$n"
	must mdadm $MD --add "${DISK[1]}"
	wait_whole
	must mdadm --wait-clean $MD
	shot "$dir/rebuilt" "$n"
	must mdadm $MD --add "${DISK[$n]}"
	shot "$dir/spare" "$n"
	must mdadm --readonly $MD
	shot "$dir/readonly" "$n"
	clean_up
}

same()
{
	local dir=$1-$2-$3 name
	story raid456 "$@"
	story raid5c "$@"
	for name in clean written failed removed rebuilt spare readonly; do
		diff -u "$OUT/raid456/$dir/$name" "$OUT/raid5c/$dir/$name" ||
			fail "$name: the text differs from raid456's"
	done
}

journal_story()
{
	local module=$1 dir=$1/journal
	mkdir -p "$OUT/$dir"
	use "$module"
	clean_up
	create 5 3 64 - 8192 --assume-clean --name=text --homehost=lab \
		--write-journal "${DISK[3]}"
	shot "$dir/clean" 4
	must dd if=/dev/zero of=$MD bs=64k count=8 oflag=direct
	sleep 0.5
	shot "$dir/written" 4
	stop_md
	must mdadm --assemble $MD $(members 4)
	shot "$dir/assembled" 4
	must mdadm $MD --fail "${DISK[3]}"
	sleep 0.3
	shot "$dir/lost" 4
	clean_up
}

same_journal()
{
	local name
	use raid5c
	have_journal || skip "this raid5c has no journal yet"
	journal_story raid456
	journal_story raid5c
	for name in clean written assembled lost; do
		diff -u "$OUT/raid456/journal/$name" \
			"$OUT/raid5c/journal/$name" ||
			fail "$name: the text differs from raid456's"
	done
}

# What becomes of texts written to sysfs: the same errors, the same values.
answers()
{
	local text name
	mkdir -p "$OUT/$1"
	use "$1"
	clean_up
	create 5 3 64 - 8192 --assume-clean --write-journal "${DISK[3]}"
	for text in '17\n' '16\n' 32768 32769 ' 17' '17 ' '+300\n' -1 '17\n\n' \
		'18\0x' 0x20 '\n' 'abc\n' 99999999999999999999; do
		echo "stripe_cache_size $text"
		printf %b "$text" > $SYS/stripe_cache_size
		get stripe_cache_size
	done > "$OUT/$1/answers" 2>&1
	for name in rmw_level preread_bypass_threshold skip_copy \
		group_thread_cnt ppl_write_hint stripe_size \
		stripe_cache_active; do
		stat -c "%A %U $name" $SYS/$name
		get $name
		for text in 0 '1\n' 2 3 '+2\n' 256 257 300 301 8192 8193 65536 \
			4294967296 -1 ' 1' '' '\n' x; do
			echo "$name $text"
			printf %b "$text" > $SYS/$name
			get $name
		done
	done >> "$OUT/$1/answers" 2>&1
	for text in 'write-through\n' write-through 'write-through\n\n' \
		'foo\n' w '\xff\n' ' write-through'; do
		echo "journal_mode $text"
		printf %b "$text" > $SYS/journal_mode
		get journal_mode
	done >> "$OUT/$1/answers" 2>&1
	clean_up
}

same_answers()
{
	use raid5c
	have_journal || skip "this raid5c has no journal yet"
	answers raid456
	answers raid5c
	diff -u "$OUT/raid456/answers" "$OUT/raid5c/answers" ||
		fail "sysfs answers differently"
	grep -q "Invalid argument" "$OUT/raid5c/answers" ||
		fail "nothing was refused"
}

reads()
{
	awk '{ print $1 }' "/sys/block/${1#/dev/}/stat"
}

# rmw_levels MEMBERS: a page of data on member 0 is written, in rows with parity on
# the last, and that member is read if its parity is made by read-modify-write.
rmw_levels()
{
	local n=$1 level row=10 old other
	shift
	use "$MODULE"
	clean_up
	create 5 "$n" 4 - 8192 --assume-clean
	# Who opens it first has it looked at for partitions.
	must dd if=$MD of=/dev/null bs=4k count=1
	for level in 0 1 2; do
		echo $level > $SYS/rmw_level || fail "$level is refused"
		row=$((row + 1))
		old=$(reads "${DISK[0]}") other=$(reads "${DISK[1]}")
		must dd if=/dev/zero of=$MD bs=4k count=1 oflag=direct \
			seek=$((row * n * (n - 1)))
		old=$(($(reads "${DISK[0]}") - old))
		other=$(($(reads "${DISK[1]}") - other))
		[ "$old-$other" = "$1" ] ||
			fail "level $level: $old reads of the member, $other of another, not $1"
		shift
	done
	clean_up
}

clean_up
try "raid5 of 3" same 5 3 -
try "raid5 of 2, left-asymmetric" same 5 2 left-asymmetric
try "raid4 of 4" same 4 4 -
try "raid5 with journal" same_journal
try "what sysfs takes" same_answers
for MODULE in raid456 raid5c; do
	# Three pages against two, then two against two.
	try "rmw_level of 5, $MODULE" rmw_levels 5 0-1 1-0 1-0
	try "rmw_level of 4, $MODULE" rmw_levels 4 0-1 0-1 1-0
done
use raid5c
finish
