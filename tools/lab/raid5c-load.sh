#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In a lab machine: load what raid5c.ko needs, and then raid5c.ko.

set -eu
ko=/lab/raid5c.ko
[ -f $ko ] || { echo "raid5c-load: this machine has no $ko" >&2; exit 1; }
for name in md-mod $(modinfo -F depends $ko | tr , ' '); do
	modprobe "$name"
done
insmod $ko "$@"
