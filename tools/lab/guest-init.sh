#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What a lab machine runs once /lab is mounted: sets the system up, runs the
# job, leaves its exit code in /lab/job.rc, and stops; /lab/job.begun is
# there from the moment that the job begins. /lab/job.env holds
# the settings, written by tools/lab/machine.py:
#
#   LAB_KIND    qemu or um
#   LAB_NDISKS  how many test disks there are
#   LAB_UDEV    1: start udev
#   LAB_SHELL   1: an interactive shell instead of the job
#   LAB_MODULES (um) host directory with the modules

PATH=/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
LANG=C.UTF-8
export PATH HOME LANG

stop()
{
	dmesg > /lab/dmesg.log 2>/dev/null
	echo "$1" > /lab/job.rc.tmp
	mv /lab/job.rc.tmp /lab/job.rc
	# The host kills the machine when it sees job.rc; if it does not:
	sleep 5
	busybox poweroff -f
	sleep 60
}

# The root is shared by all user-mode machines and read-only.
mount_all()
{
	mountpoint -q /proc || mount -t proc proc /proc
	mount -t sysfs sys /sys
	mountpoint -q /dev || mount -t devtmpfs dev /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs -o mode=1777 shm /dev/shm
	mount -t tmpfs -o mode=755 run /run
	mkdir -p /run/lock /run/mdadm
	mount -t tmpfs -o mode=1777 tmp /tmp
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
	[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
	if [ "$LAB_KIND" = um ]; then
		mount -t tmpfs -o mode=1777 vartmp /var/tmp
		mount -t tmpfs mnt /mnt
		mount -t tmpfs roothome /root
		mkdir -p /run/etc
		cp -r /etc/mdadm /run/etc/
		mount --bind /run/etc/mdadm /etc/mdadm
		mount -t hostfs -o "hostfs=$LAB_MODULES" none /usr/lib/modules
	fi
}

# User-mode Linux passes the requests of all disks through one socket, which takes
# some 270. A request that finds it full is put back until the same disk's next one
# ends: for ever, if there is none. So fewer than that are let through.
limit_requests()
{
	for file in /sys/block/ubd*/queue/nr_requests; do
		echo $((200 / (LAB_NDISKS + 1))) > "$file"
	done
}

# The test disks, in the order of the host's list: by serial in QEMU, where
# the names depend on the order of probing.
find_disks()
{
	DISKS=
	i=0
	while [ $i -lt "${LAB_NDISKS:-0}" ]; do
		found=
		if [ "$LAB_KIND" = um ]; then
			letter=$(printf "\\$(printf %o $((97 + i)))")
			[ -b "/dev/ubd$letter" ] && found=/dev/ubd$letter
		else
			for dir in /sys/block/vd*; do
				# No process: that takes a second where it is slow.
				read -r serial < "$dir/serial"
				[ "$serial" = "lab-disk-$i" ] &&
					found=/dev/${dir##*/}
			done
		fi
		[ -n "$found" ] || { echo "lab: disk $i is missing"; stop 125; }
		DISKS="$DISKS${DISKS:+ }$found"
		i=$((i + 1))
	done
	export DISKS
}

. /lab/job.env
export LAB_KIND
mount_all
hostname lab
ip link set lo up 2>/dev/null
if [ "$LAB_UDEV" = 1 ]; then
	/usr/lib/systemd/systemd-udevd --daemon
	udevadm trigger --type=subsystems --action=add
	udevadm trigger --type=devices --action=add --subsystem-match=block
	udevadm settle
fi
find_disks
[ "$LAB_KIND" != um ] || [ "$LAB_NDISKS" = 0 ] || limit_requests
cd /root || stop 125
if [ "$LAB_SHELL" = 1 ]; then
	echo "raid5c lab: DISKS=\"$DISKS\"; raid5c-load loads the module;" \
		"exit or ctrl-D ends it"
	setsid busybox cttyhack bash
	stop $?
fi
: > /lab/job.begun
setsid /lab/job < /dev/null > /lab/job.log 2>&1
stop $?
