# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Members m0, m1, ... that are device mapper tables over the disks 0 to SPARE, and can
# be made slow, or fail, as a whole or in some sectors of their data (which begin at
# OFFSET). For scripts that source lib.sh, too.

SECTORS=() KNAME=()

plain()
{
	echo "0 ${SECTORS[$1]} linear ${DISK[$1]} 0"
}

# Every request takes so many ms.
slow()
{
	echo "0 ${SECTORS[$1]} delay ${DISK[$1]} 0 $2"
}

dead()
{
	echo "0 ${SECTORS[$1]} error"
}

# failing I all|FEATURE FROM COUNT [FROM COUNT...]: in so many sectors of its data
# everything fails, or what dm-flakey calls FEATURE.
failing()
{
	local i=$1 how=$2 disk=${DISK[$1]} at=0 from
	shift 2
	while [ $# -gt 0 ]; do
		from=$(($1 + OFFSET))
		echo "$at $((from - at)) linear $disk $at"
		if [ "$how" = all ]; then
			echo "$from $2 error"
		else
			echo "$from $2 flakey $disk $from 0 3600 1 $how"
		fi
		at=$((from + $2))
		shift 2
	done
	echo "$at $((SECTORS[i] - at)) linear $disk $at"
}

# table I KIND...: the member's table is what the function KIND says.
table()
{
	local i=$1 now
	shift
	read -r now < "/tmp/table$i"
	[ "$now" != "$*" ] || return 0
	"$1" "$i" "${@:2}" | dmsetup load "m$i" || fail "no new table for m$i"
	dmsetup resume --nolockfs "m$i" || fail "m$i is not resumed"
	echo "$*" > "/tmp/table$i"
}

# KNAME has the kernel's names.
tables()
{
	local i
	[ ! -b /dev/mapper/m0 ] || return 0
	for ((i = 0; i <= SPARE; i++)); do
		SECTORS[i]=$(blockdev --getsz "${DISK[$i]}")
		plain "$i" | dmsetup create "m$i" || fail "no table for m$i"
		KNAME[i]=dm-$(dmsetup info -c --noheadings -o minor "m$i")
		echo plain > "/tmp/table$i"
	done
}

devices()
{
	printf '/dev/mapper/m%d\n' "$@"
}
