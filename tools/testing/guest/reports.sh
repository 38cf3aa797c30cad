#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Load a module that makes mistakes on purpose (tools/testing/reports), and show
# what the debug kernel has to say of it. The host judges that.

. /lab/guest/lib.sh

for name in $(modinfo -F depends /lab/raid5c.ko | tr , ' '); do
	modprobe "$name"
done
# It oopses, so insmod is killed and the module stays half loaded.
insmod /lab/raid5c.ko
sleep 6
echo scan > $LEAKS || fail "no scan"
sleep 6
echo scan > $LEAKS || fail "no scan"
head -n 100 $LEAKS
grep debug_locks /proc/lockdep_stats
( nothing_lost ) && fail "nobody noticed"
echo "CASE ok loaded"
