#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Reads and writes that may not wait (RWF_NOWAIT), and what becomes of them.

nowait.py DEVICE MODEL SEED WORD... - each WORD is read|write:FROM:TO:SIZE:COUNT, all
in KiB: COUNT requests of SIZE at random places from FROM to TO. What is read must be
what the file MODEL has there; what is written is written to it too. Says for each
word how many were done, and how many ended with EAGAIN; none may take a second (ten
on the debug kernel).
"""

import errno
import mmap
import os
import random
import sys
import time

KIB = 1024
LIMIT = 10 if os.environ.get("LAB_KIND") == "debug" else 1


def one(device, model, what, at, size, rng):
    """One request; the name of its error, if any."""
    buffer = mmap.mmap(-1, size)
    begin = time.monotonic()
    try:
        if what == "read":
            done = os.preadv(device, [buffer], at, os.RWF_NOWAIT)
        else:
            buffer[:] = rng.randbytes(size)
            done = os.pwritev(device, [buffer], at, os.RWF_NOWAIT)
    except OSError as error:
        done = errno.errorcode[error.errno]
    took = time.monotonic() - begin
    if took > LIMIT:
        sys.exit(f"a {what} that may not wait took {took:.1f} s")
    if isinstance(done, str):
        if what == "write" and done == "EAGAIN":
            # Nothing or a part of it was written: now it is the model's again.
            buffer[:] = os.pread(model, size, at)
            return done
        return done
    if done != size:
        sys.exit(f"a {what} of {size} ended after {done}")
    if what == "write":
        os.pwrite(model, buffer, at)
    elif os.pread(model, size, at) != bytes(buffer):
        sys.exit(f"a read at {at} returned something else")
    return "done"


def main():
    """Do what the words say."""
    device = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    model = os.open(sys.argv[2], os.O_RDWR)
    rng = random.Random(int(sys.argv[3]))
    for word in sys.argv[4:]:
        what, *numbers = word.split(":")
        first, last, size, count = (int(number) for number in numbers)
        ends = {}
        for _ in range(count):
            at = rng.randrange(first // size, last // size) * size * KIB
            end = one(device, model, what, at, size * KIB, rng)
            ends[end] = ends.get(end, 0) + 1
        print(what, *(f"{end}={n}" for end, n in sorted(ends.items())),
              flush=True)


main()
