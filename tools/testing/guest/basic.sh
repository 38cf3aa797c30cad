#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Life of an array, once per argument LEVEL:DISKS:CHUNK:LAYOUT: created,
# written in all sizes during its first sync, stopped, assembled, checked,
# degraded, rebuilt. The members begin with what the last case left on them, so
# the first sync has something to do. The last disk is the writer's log.

. /lab/guest/lib.sh
LOG=${DISK[-1]}
OPS=${OPS:-300}
INITIAL=--any-initial

life()
{
	local level=$1 n=$2 chunk=$3 layout=$4 victim other
	local size=$(((12288 / chunk + 1) * chunk))
	create "$level" "$n" "$chunk" "$layout" "$size"
	put --seed $((SEED * 1000 + number)) --ops "$OPS" --threads 6 --read 10 \
		--fua 5 --fsync 2 --big 8
	verify "while syncing"
	# The first sync: of everything, or of the last member.
	[ "$n" -lt 2 ] || wait_whole
	no_mismatch "after the first sync"
	verify "after the first sync"
	stop_md
	must mdadm --assemble $MD $(members "$n")
	wait_idle
	verify "assembled again"
	victim=$((SEED % n))
	must mdadm $MD --fail "${DISK[$victim]}"
	verify "member $victim failed"
	put --resume --ops $((OPS / 2)) --read 20
	verify "written while degraded"
	stop_md
	must mdadm --assemble --run $MD $(members "$n")
	verify "assembled while degraded"
	must mdadm --zero-superblock "${DISK[$victim]}"
	must mdadm $MD --add "${DISK[$victim]}"
	put --resume --ops $((OPS / 2)) --read 10
	wait_whole
	verify "rebuilt"
	no_mismatch "after the rebuild"
	other=$(((victim + 1) % n))
	must mdadm $MD --fail "${DISK[$other]}"
	verify "member $other failed after the rebuild of $victim"
	clean_up
}

use "$MODULE"
number=0
for spec in "$@"; do
	number=$((number + 1))
	IFS=: read -r level n chunk layout <<< "$spec"
	try "raid$level of $n, chunk ${chunk}K, ${layout/#-/default}" \
		life "$level" "$n" "$chunk" "$layout"
done
finish
