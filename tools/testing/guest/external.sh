#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Arrays in containers, whose metadata mdmon keeps: a member fails and is rebuilt from a
# spare, bad blocks are recorded, all of it is assembled again. Disks: five members, the
# writer's log.

. /lab/guest/same.sh
LOG=${DISK[-1]}
BOX=/dev/md127
# The disks of a virtual machine have no serial numbers, and no firmware knows them.
export IMSM_NO_PLATFORM=1 IMSM_DEVNAME_AS_SERIAL=1 MDADM_NO_SYSTEMCTL=1

clean_up()
{
	local array n
	for array in /dev/md0 /dev/md126 $BOX; do
		for ((n = 0; n < 50; n++)); do
			[ -e "/sys/block/${array#/dev/}/md/array_state" ] || break
			timeout 60 mdadm --stop $array > /tmp/stop.log 2>&1 && break
			sleep 0.1
		done
	done
	dmsetup remove_all --force > /dev/null 2>&1
	for disk in "${DISK[@]}"; do
		mdadm --zero-superblock --quiet "$disk" 2> /dev/null
	done
	return 0
}

# table I [NAME FROM COUNT]: member I, of which sectors are of target NAME.
table()
{
	local disk=${DISK[$1]} end
	end=$(blockdev --getsz "$disk")
	if [ $# = 1 ]; then
		echo "0 $end linear $disk 0"
	else
		echo "0 $3 linear $disk 0"
		echo "$3 $4 $2"
		echo "$(($3 + $4)) $((end - $3 - $4)) linear $disk $(($3 + $4))"
	fi
}

# container FORMAT LEVEL DEVICES: an array of four of them, in a container; md0.
container()
{
	local meta=$1 level=$2
	shift 2
	one_is md0
	must mdadm --create $BOX --run --metadata="$meta" --raid-devices=4 "$@"
	must mdadm --create $MD --run --level="$level" --raid-devices=4 \
		--size=8192 --chunk=64 --assume-clean $BOX
	soon $((PATIENCE * 10)) "no mdmon" has_keeper
	put --seed "$SEED" --ops 200 --threads 4
	# Who keeps it, but for its name.
	get metadata_version | tee -a /tmp/said
}

has_keeper()
{
	pgrep mdmon > /dev/null
}

is_missing()
{
	[ "$(get degraded)" = "$1" ]
}

# found DEVICES: stopped, and assembled as mdadm finds it, under a name that it chooses.
found()
{
	local name
	stop_md
	must mdadm --stop $BOX
	must mdadm --assemble $BOX "$@"
	must mdadm --incremental $BOX
	for name in md0 md126; do
		[ ! -e /sys/block/$name/md/array_state ] || one_is $name
	done
	soon $((PATIENCE * 10)) "no array" [ -e "$SYS/array_state" ]
}

# one_is NAME: the array is called that.
one_is()
{
	MD=/dev/$1
	SYS=/sys/block/$1/md
}

# FORMAT LEVEL: a member fails under a writer; mdmon takes the spare.
rebuilt()
{
	junk 5 /dev/zero
	container "$1" "$2" "${DISK[@]:0:4}"
	say mdadm $MD --fail "${DISK[1]}"
	put --resume --ops 100
	soon $((PATIENCE * 10)) "nobody is missing" is_missing 1
	verify "degraded"
	must mdadm $BOX --add "${DISK[4]}"
	soon $((PATIENCE * 10)) "it is not rebuilt" is_missing 0
	wait_idle
	verify "rebuilt"
	no_mismatch "rebuilt"
	found "${DISK[0]}" "${DISK[2]}" "${DISK[3]}" "${DISK[4]}"
	verify "assembled"
	echo "$(get level) $(get raid_disks) $(get degraded) $(get layout)" |
		tee -a /tmp/said
	no_mismatch "assembled"
	put --resume --ops 50
	verify "written again"
}

# A member does not take some pages: mdmon records them, and they are there when it
# is assembled again. (DDF has no place for bad blocks.)
recorded()
{
	local i devices=()
	junk 5 /dev/zero
	for i in 0 1 2 3; do
		table $i | dmsetup create m$i || fail "no table"
		devices+=(/dev/mapper/m$i)
	done
	container imsm 5 "${devices[@]}"
	table 1 error 2000 16 | dmsetup load m1 || fail "no new table"
	dmsetup suspend --nolockfs m1
	dmsetup resume m1
	put --resume --ops 100
	must dd if=/dev/urandom of=$MD bs=64k seek=20 count=40 oflag=direct
	sync_now check
	sleep 1
	echo "bad blocks: $(cat $SYS/dev-*/bad_blocks | tr '\n' ' ')" | tee -a /tmp/said
	echo "not recorded: $(cat $SYS/dev-*/unacknowledged_bad_blocks)" | tee -a /tmp/said
	get degraded
	dd if=$MD of=/tmp/before bs=1M iflag=direct 2> /dev/null
	found "${devices[@]}"
	echo "bad blocks: $(cat $SYS/dev-*/bad_blocks | tr '\n' ' ')" | tee -a /tmp/said
	cmp /tmp/before $MD || fail "it reads otherwise"
}

for name in "$@"; do
	# shellcheck disable=SC2086
	try "$name" same "${name%% *}" $name
	use "$MODULE"
	clean_up
done
finish
