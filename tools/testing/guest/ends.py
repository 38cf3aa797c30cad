# SPDX-License-Identifier: GPL-2.0
"""Requests that begin and end beside the ends of chunks, rows and the device.

ends.py DEVICE CHUNK_KIB DATA_MEMBERS SEED write|check MODEL

A file, MODEL, has what the device must hold. `write` makes both the same at
first, then writes and reads around ends; `check` compares them.
"""

import mmap
import os
import random
import sys

SECTOR = 512
MIB = 1 << 20


class Device:
    """A block device, past the page cache."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)
        self.room = mmap.mmap(-1, 8 * MIB)

    def buffer(self, length, shift=0):
        """Return memory for a request; a shift puts it across pages."""
        return memoryview(self.room)[shift:shift + length]

    def write(self, at, data, shift=0):
        """Write; return how much went."""
        part = self.buffer(len(data), shift)
        part[:] = data
        return os.pwritev(self.fd, [part], at)

    def read(self, at, length, shift=0):
        """Read; return what came."""
        part = self.buffer(length, shift)
        got = os.preadv(self.fd, [part], at)
        return bytes(part[:got])


def same(device, model, at, length, shift=0):
    """Read a part in one request and compare it."""
    end = min(at + length, device.size)
    got = device.read(at, length, shift)
    if got != model[at:end]:
        wrong = next((i for i in range(min(len(got), end - at))
                      if got[i] != model[at + i]), len(got))
        sys.exit(f"ends: read of {length // SECTOR} sectors at "
                 f"{at // SECTOR}: wrong from sector {(at + wrong) // SECTOR}")


def fill(device, model, rng):
    """Write all of it, by requests of many sizes that go on end to end."""
    at = 0
    while at < device.size:
        length = min(rng.choice((1, 3, 7, 8, 9, 64, 127, 255, 2049, 5000))
                     * SECTOR, device.size - at)
        data = rng.randbytes(length)
        assert device.write(at, data) == length
        model[at:at + length] = data
        at += length


def around(device, model, rng, chunk, row):
    """Write and read across ends of all kinds."""
    ends = [chunk, 2 * chunk, row, 3 * row, row + chunk, 64 * 4096,
            64 * 4096 * (row // chunk), device.size - row,
            device.size - chunk, device.size - 8 * SECTOR, device.size]
    ends = sorted({end for end in ends if MIB // 64 <= end <= device.size})
    count = 0
    for end in ends:
        for before in (1, 3, 8, 13, chunk // SECTOR + 1, row // SECTOR + 3):
            for after in (0, 1, 8, chunk // SECTOR + 1, row // SECTOR,
                          2 * row // SECTOR + 5):
                at = end - before * SECTOR
                if at < 0 or (before + after) * SECTOR > 6 * MIB:
                    continue
                length = (before + after) * SECTOR
                shift = rng.choice((0, 512, 3584))
                data = rng.randbytes(length)
                went = device.write(at, data, shift)
                # No request goes beyond the end of the device.
                wanted = min(length, device.size - at)
                if went != wanted:
                    sys.exit(f"ends: {went} of {length} bytes written at "
                             f"{at}, not {wanted}")
                model[at:at + went] = data[:went]
                same(device, model, max(0, at - SECTOR),
                     length + 2 * SECTOR, rng.choice((0, 512)))
                count += 1
    try:
        device.write(device.size, bytes(SECTOR))
        sys.exit("ends: a write beyond the end went")
    except OSError as error:
        print(f"ends: beyond the end: {error.strerror}")
    if device.read(device.size, SECTOR):
        sys.exit("ends: a read beyond the end has data")
    print(f"ends: {count} writes around {len(ends)} ends")


def check(device, model):
    """Compare all, in requests that are not aligned to anything."""
    at = 0
    for length in [3 * SECTOR] + [2047 * SECTOR] * (device.size // MIB + 2):
        if at < device.size:
            same(device, model, at, length)
        at += length


def main():
    """Read the command line."""
    path, chunk, data, seed, what, name = sys.argv[1:]
    chunk = int(chunk) * 1024
    device = Device(path)
    rng = random.Random(int(seed))
    if what == "write":
        model = bytearray(device.size)
        fill(device, model, rng)
        around(device, model, rng, chunk, chunk * int(data))
        with open(name, "wb") as file:
            file.write(model)
    else:
        with open(name, "rb") as file:
            model = file.read()
    check(device, model)


main()
