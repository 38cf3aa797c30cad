#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory is used up, and what frees it is written to the array: swap, and files
# of an ext4 beside it. Usage: pressure.sh MODE... (none, write-through, write-back)
#
# The machine should have one CPU and 96 MiB.

. /lab/guest/lib.sh

# How long memory is short, in seconds, and what may pass until all has ended.
SHORT=${SHORT:-8}
LIMIT=${LIMIT:-60}
HOG_MIB=${HOG_MIB:-110}

# Half of the array is swap, the rest has files. Sizes in MiB.
SWAP_MIB=192
cat > /tmp/parts.py << 'PYTHON'
import struct, sys
# An MBR with two partitions of the given sectors.
swap, rest = int(sys.argv[2]), int(sys.argv[3])
mbr = bytearray(512)
for i, (kind, start, n) in enumerate(((0x82, 2048, swap), (0x83, 2048 + swap, rest))):
    struct.pack_into("<B3sB3sII", mbr, 446 + 16 * i, 0, b"\0" * 3, kind, b"\0" * 3, start, n)
mbr[510:] = b"\x55\xaa"
with open(sys.argv[1], "r+b", buffering=0) as disk:
    disk.write(mbr)
PYTHON
cat > /tmp/hog.py << 'PYTHON'
import mmap, random, struct, sys, time
# Touches more memory than there is, again and again, and looks whether it is still there.
n, seconds = int(sys.argv[1]) * 256, float(sys.argv[2])
memory = mmap.mmap(-1, n * 4096)
word = struct.Struct("<QQ")
rng = random.Random(7)
turn = [0] * n
end = time.monotonic() + seconds
passes = 0
while True:
    for i in range(n):
        at = i * 4096
        if passes:
            j = rng.randrange(n)
            assert word.unpack_from(memory, j * 4096) == (j, turn[j]), f"page {j} is lost"
        turn[i] = passes
        word.pack_into(memory, at, i, passes)
        if passes and time.monotonic() > end:
            break
    passes += 1
    if time.monotonic() > end:
        break
for j in range(n):
    assert word.unpack_from(memory, j * 4096) == (j, turn[j]), f"page {j} is lost"
print("hog", passes, "passes")
PYTHON
cat > /tmp/files.py << 'PYTHON'
import hashlib, os, sys, time
# Writes files whose content follows from their names; looks at each before it is deleted,
# and at those that are left at the end.
mode, where, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
def block(name, i):
    return hashlib.sha256(f"{name} {i}".encode()).digest() * 2048
BLOCKS = 256
def write(name):
    with open(f"{where}/{name}", "wb", buffering=0) as file:
        for i in range(BLOCKS):
            left = block(name, i)
            while left:
                # Less than all may be taken where memory is short.
                n = file.write(left)
                if n < len(left):
                    print("short", name, i, n, flush=True)
                left = left[n:]
        if name.endswith("3"):
            os.fsync(file.fileno())
def tell(page):
    # Whose that is: "file7:12", zeroes, or the beginning of it.
    if not any(page):
        return "zeroes"
    for n in range(200):
        for i in range(BLOCKS):
            if page[:32] == hashlib.sha256(f"file{n} {i}".encode()).digest():
                return f"file{n}:{i}" + ("" if page == page[:32] * 32 else " in part")
    return page[:16].hex()
def check(name):
    with open(f"{where}/{name}", "rb", buffering=0) as file:
        for i in range(BLOCKS):
            wanted, found = block(name, i), b""
            # Less than was asked for may come where memory is short.
            while len(found) < 65536:
                more = file.read(65536 - len(found))
                if not more:
                    break
                found += more
            if found != wanted:
                print(name, i, len(found), "bytes, in 1-KiB pieces:",
                      [tell(found[at:at + 1024]) for at in range(0, 65536, 1024)])
                again(name, i, "from the page cache")
                os.system("echo 3 > /proc/sys/vm/drop_caches")
                again(name, i, "from the disk")
                sys.exit(f"{name}: block {i} is not what was written")
def again(name, i, what):
    with open(f"{where}/{name}", "rb", buffering=0) as file:
        file.seek(i * 65536)
        print("again", what, file.read(65536) == block(name, i), flush=True)
if mode == "write":
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        write(f"file{n}")
        if n >= 5:
            check(f"file{n - 5}")
            os.unlink(f"{where}/file{n - 5}")
        n += 1
    print("files", n)
    os.sync()
else:
    names = sorted(os.listdir(where))
    for name in names:
        if name.startswith("file"):
            check(name)
    print("checked", names)
PYTHON

# over CASE: nothing ends any more, nor would cleaning up.
hung()
{
	echo "CASE FAIL $1: hung"
	dmesg -n 8
	# Who sleeps where; if the kernel can tell.
	echo t > /proc/sysrq-trigger
	for pid in /proc/[0-9]*; do
		echo "${pid#/proc/} $(cat "$pid/comm") $(grep State: "$pid/status")"
	done 2> /dev/null
	cat /sys/kernel/debug/raid5c/md0 2> /dev/null
	free -m
	# What the members still have in hand is not ours to end; the disks of
	# user-mode Linux go on with what they were too busy for when more comes.
	grep . /sys/block/*/inflight
	for disk in "${DISK[@]}"; do
		timeout 5 dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct status=none &
	done
	sleep 2
	echo "after a read of each:"
	grep . /sys/block/*/inflight
	grep stripes_active /sys/kernel/debug/raid5c/md0
	sleep 2
	kill -9 $$
}

# within NAME SECONDS COMMAND: a command that must end.
within()
{
	local name=$1 end=$((SECONDS + $2)) pid
	shift 2
	"$@" > /tmp/within 2>&1 &
	pid=$!
	while kill -0 $pid 2> /dev/null; do
		[ $SECONDS -lt $end ] || hung "$name: $*"
		sleep 0.2
	done
	wait $pid || {
		cat /tmp/within
		fail "$* ended with $?: $(tail -n 2 /tmp/within)"
	}
	cat /tmp/within
}

# Without this, ext4 of 7.2.13 gives zeroes for whole extents when memory is short,
# under raid456 too: see Documentation/testing.rst.
MOUNT=(mount -o dioread_lock)

press()
{
	local mode=$1 name="pressure $1" pids=() end journal=() total
	[ "$mode" = none ] || journal=(--write-journal "${DISK[4]}")
	must mdadm --create $MD --run --level=5 --raid-devices=4 --chunk=64 \
		--assume-clean "${journal[@]}" "${DISK[@]:0:4}"
	[ "$mode" = none ] || echo "$mode" > $SYS/journal_mode || fail "no $mode"
	total=$(cat /sys/block/md0/size)
	must python3 /tmp/parts.py $MD $((SWAP_MIB * 2048)) \
		$((total - 2048 - SWAP_MIB * 2048))
	must blockdev --rereadpt $MD
	must mkswap ${MD}p1
	must mkfs.ext4 -q ${MD}p2
	mkdir -p /tmp/mnt
	must "${MOUNT[@]}" ${MD}p2 /tmp/mnt
	must swapon ${MD}p1
	echo 4096 > /proc/sys/vm/min_free_kbytes
	# Nearly all memory may be dirty.
	echo 80 > /proc/sys/vm/dirty_ratio
	echo 60 > /proc/sys/vm/dirty_background_ratio
	python3 /tmp/hog.py "$HOG_MIB" "$SHORT" > /tmp/hog.log 2>&1 &
	pids+=($!)
	python3 /tmp/files.py write /tmp/mnt "$SHORT" > /tmp/files.log 2>&1 &
	pids+=($!)
	end=$((SECONDS + LIMIT))
	for pid in "${pids[@]}"; do
		while kill -0 "$pid" 2> /dev/null; do
			[ $SECONDS -lt $end ] || hung "$name"
			sleep 0.5
		done
		wait "$pid" || fail "a job ended with $?: $(tail -n 3 /tmp/hog.log /tmp/files.log)"
	done
	cat /tmp/hog.log /tmp/files.log
	grep -E "pswp(in|out)" /proc/vmstat
	cat /sys/kernel/debug/raid5c/md0 2> /dev/null
	within "$name" 60 swapoff ${MD}p1
	within "$name" 60 umount /tmp/mnt
	drop_caches
	must "${MOUNT[@]}" ${MD}p2 /tmp/mnt
	within "$name" 60 python3 /tmp/files.py check /tmp/mnt 0
	within "$name" 60 umount /tmp/mnt
	[ "$mode" != write-back ] || echo write-through > $SYS/journal_mode
	no_mismatch
	within "$name" 60 mdadm --stop $MD
	clean_up
}

use "$MODULE"
for mode in "$@"; do
	try "pressure $mode" press "$mode"
done
finish
