#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# By which names the kernel finds raid5c: installed beside raid456 in the
# module tree, the one that is not blacklisted is loaded when mdadm wants an
# array.

. /lab/guest/lib.sh
RULES=/run/modprobe.d/names.conf
TREE=/usr/lib/modules/$(uname -r)

# The tree is the host's, and for all machines: work on a copy.
own_tree()
{
	mkdir -p /run/tree
	cp -r "$TREE/." /run/tree
	mount --bind /run/tree "$TREE"
	mkdir -p "$TREE/updates" /run/modprobe.d
}

# installed yes|no: raid5c among the modules.
installed()
{
	if [ "$1" = yes ]; then
		cp /lab/raid5c.ko "$TREE/updates"
	else
		rm -f "$TREE/updates/raid5c.ko"
	fi
	depmod
}

none_loaded()
{
	local name
	for name in raid5c raid456; do
		! loaded $name || rmmod $name || fail "$name stays"
	done
}

# blacklist [MODULE]: nothing else is told to modprobe.
blacklist()
{
	none_loaded
	rm -f /run/modprobe.d/*.conf
	[ $# = 0 ] || echo "blacklist $1" > $RULES
}

# What raid456 answers to, raid5c does.
aliases()
{
	local name
	modinfo -F alias raid456 | sort > /tmp/theirs
	modinfo -F alias raid5c | sort > /tmp/ours
	cat /tmp/theirs
	grep -qx md-level-6 /tmp/theirs || fail "raid456 has no aliases"
	diff /tmp/theirs /tmp/ours || fail "the names differ"
	while read -r name; do
		blacklist raid456
		modprobe "$name" || fail "modprobe $name fails"
		loaded raid5c || fail "modprobe $name does not load raid5c"
		! loaded raid456 || fail "modprobe $name loads raid456, too"
	done < /tmp/theirs
}

# expect MODULE: that is what runs the array.
expect()
{
	local other=raid456
	[ "$1" = raid5c ] || other=raid5c
	loaded "$1" || fail "$1 was not loaded"
	! loaded $other || fail "$other was loaded"
	must dd if=/dev/urandom of=$MD bs=64k count=16 oflag=direct
}

# md LEVEL DISKS MODULE: create and assemble, each time with neither loaded.
md()
{
	local level=$1 n=$2 module=$3 other=raid456
	[ "$module" = raid5c ] || other=raid5c
	blacklist $other
	create "$level" "$n" 64 - 8192 --assume-clean
	expect "$module"
	stop_md
	none_loaded
	must mdadm --assemble $MD $(members "$n")
	expect "$module"
	stop_md
	none_loaded
	must mdadm --assemble --scan --config=partitions
	expect "$module"
}

# An array of another level asks for the module by the level's number, too.
by_level()
{
	local level
	for level in 4 5 6 raid4 raid5 raid6; do
		blacklist raid456
		must mdadm --create $MD --run --level=0 --raid-devices=2 \
			"${DISK[@]:0:2}"
		# Whether it may become that is another question.
		echo $level > $SYS/level || echo "$level is refused"
		stop_md
		loaded raid5c || fail "level $level does not load raid5c"
		clean_up
	done
}

# Nothing answers: what the other cases say is not by chance.
nobody()
{
	installed no
	blacklist raid456
	if timeout 60 mdadm --create $MD --run --level=5 --raid-devices=3 \
		--assume-clean "${DISK[@]:0:3}"; then
		fail "an array runs without a module"
	fi
	! loaded raid5c || fail "raid5c is not installed and was loaded"
}

own_tree
installed yes
clean_up
[ "$MODULE" = raid5c ] && try "aliases" aliases
clean_up
try "level 4" md 4 3 "$MODULE"
clean_up
try "level 5" md 5 3 "$MODULE"
clean_up
try "level 6" md 6 4 "$MODULE"
clean_up
try "raid456, with raid5c blacklisted" md 5 3 raid456
clean_up
[ "$MODULE" = raid5c ] && try "level in sysfs" by_level
clean_up
try "no module" nobody
clean_up
finish
