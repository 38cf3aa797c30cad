#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Times a sync of an array that is frozen: bench-sync.py ARRAY ACTION.

ACTION is check, resync (resync_start says from where) or recover. Prints the
seconds that it took, and the CPU seconds of the whole machine meanwhile: of
all CPUs what /proc/stat has as other than idle or waiting for I/O.
"""

import os
import select
import sys
import time

# Should md not say that it is done, it is seen so many seconds later.
LOOK = 0.02
# Nothing here takes longer.
LONGEST = 100


def cpu_seconds():
    """Return the CPU seconds that the machine has used."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _wait, irq, softirq = map(
            int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def read(path):
    """Return what a file of sysfs says."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def is_over(path, action):
    """Whether the sync has come to its end, with what md does then."""
    if read(f"{path}/sync_action") != "idle":
        return False
    if action == "recover":
        return read(f"{path}/degraded") == "0"
    return action != "resync" or read(f"{path}/resync_start") == "none"


def main():
    """Start it, wait, and tell."""
    path, action = f"/sys/block/{sys.argv[1]}/md", sys.argv[2]
    with open(f"{path}/sync_action", encoding="ascii") as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI)
        file.read()
        begin, cpu = time.monotonic(), cpu_seconds()
        with open(f"{path}/sync_action", "w", encoding="ascii") as start:
            start.write("check" if action == "check" else "idle")
        while not is_over(path, action):
            if time.monotonic() - begin > LONGEST:
                sys.exit(f"{action} is not over after {LONGEST} s")
            poll.poll(LOOK * 1000)
            file.seek(0)
            file.read()
        print(f"{time.monotonic() - begin:.4f} {cpu_seconds() - cpu:.4f}")


main()
