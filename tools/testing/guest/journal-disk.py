# SPDX-License-Identifier: GPL-2.0
"""Look at, and change, the journal's disk of an array that is stopped or frozen.

    newer DEVICE        make the superblock one update newer than it is, as the
                        power leaves it that goes while md writes them all
    read DEVICE         what is in the log, by Documentation/journal-format.rst
    move DEVICE BLOCK   begin the log, which must be empty, at another block

Superblocks are of version 1.2: struct mdp_superblock_1 of
include/uapi/linux/raid/md_p.h.
"""

import os
import struct
import sys

AT, MAGIC = 4096, 0xA92B4EFC
UUID, DATA_OFFSET, DATA_SIZE, TAIL = 16, 128, 136, 152
EVENTS, CSUM, MAX_DEV, ROLES = 200, 216, 220, 256
BLOCK, SECTORS = 4096, 8
UNIT = 0x6433C509
DATA, PARITY, FLUSH = 0, 1, 2
BACKWARDS = 0x82F63B78
# Units at the end of a log that may have been on their way.
UNSURE = 64


def table():
    """What crc32c makes of each 16 bits."""
    out = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ BACKWARDS * (byte & 1)
        out.append(byte)
    return [out[(out[half & 255] ^ half >> 8) & 255] ^ out[half & 255] >> 8
            for half in range(1 << 16)]


CRC = table()


def crc32c(seed, data):
    """The kernel's: nothing is inverted."""
    for (half,) in struct.iter_unpack("<H", data):
        seed = CRC[(seed ^ half) & 0xFFFF] ^ seed >> 16
    return seed


def word(data, at):
    """The 32 bits at a place."""
    return struct.unpack_from("<I", data, at)[0]


def long(data, at):
    """The 64 bits at a place."""
    return struct.unpack_from("<Q", data, at)[0]


class Journal:
    """A disk, its superblock, and the ring that this describes."""

    def __init__(self, path):
        self.device = open(path, "r+b", buffering=0)
        self.superblock = bytearray(self.at(AT))
        if word(self.superblock, 0) != MAGIC:
            raise ValueError(f"{path} has no superblock of version 1.2")
        if self.checksum() != word(self.superblock, CSUM):
            raise ValueError(f"{path}: the checksum is not understood")
        self.blocks = long(self.superblock, DATA_SIZE) // SECTORS
        self.tail = long(self.superblock, TAIL) // SECTORS
        self.seed = crc32c(0xFFFFFFFF, self.superblock[UUID:UUID + 16])

    def at(self, byte):
        """The block that begins at a byte of the disk."""
        return os.pread(self.device.fileno(), BLOCK, byte)

    def byte(self, block):
        """Where a block of the ring is, counted around its end."""
        return (long(self.superblock, DATA_OFFSET) * 512 +
                block % self.blocks * BLOCK)

    def checksum(self):
        """The sum of the superblock's words, folded, without itself."""
        size = ROLES + 2 * word(self.superblock, MAX_DEV)
        block = bytearray(self.superblock[:size])
        struct.pack_into("<I", block, CSUM, 0)
        words = size // 4
        total = sum(struct.unpack_from(f"<{words}I", block))
        if size % 4:
            total += struct.unpack_from("<H", block, words * 4)[0]
        return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF

    def change(self, field, number):
        """Write the superblock with another number in it."""
        struct.pack_into("<Q", self.superblock, field, number)
        struct.pack_into("<I", self.superblock, CSUM, self.checksum())
        os.pwrite(self.device.fileno(), self.superblock, AT)

    def unit(self, block, seq):
        """(seq, its pages) of the unit there, or None.

        A page: data or parity, sector, checksum.
        """
        meta = bytearray(self.at(self.byte(block)))
        size = word(meta, 12)
        if word(meta, 0) != UNIT or long(meta, 24) != block * SECTORS or \
                seq not in (None, long(meta, 16)) or not 32 <= size <= BLOCK:
            return None
        seq, wanted = long(meta, 16), word(meta, 4)
        struct.pack_into("<I", meta, 4, 0)
        if crc32c(self.seed, meta) != wanted:
            return None
        pages, at = [], 32
        while at < size:
            kind, _, length = struct.unpack_from("<HHI", meta, at)
            if kind == FLUSH:
                at += 8 + length
                continue
            n = length // SECTORS
            row = long(meta, at + 8)
            pages += [(kind, row, word(meta, at + 16 + 4 * i))
                      for i in range(n)]
            at += 16 + 4 * n
        return seq, pages

    def is_hole(self, block):
        """Whether nothing is stored there; in a sparse file."""
        try:
            return os.lseek(self.device.fileno(), self.byte(block),
                            os.SEEK_DATA) >= self.byte(block) + BLOCK
        except OSError:
            return True

    def stored(self):
        """How many of the ring's blocks are stored; in a sparse file."""
        at, n = self.byte(0), 0
        end = at + self.blocks * BLOCK
        while at < end:
            try:
                begin = os.lseek(self.device.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(self.device.fileno(), begin, os.SEEK_HOLE)
            n += max(0, min(at, end) - min(begin, end)) // BLOCK
        return n


def units_of(journal):
    """The log from the tail to its end: (block, seq, pages) of each unit."""
    at, seq, units = journal.tail, None, []
    while at < journal.tail + journal.blocks:
        unit = journal.unit(at % journal.blocks, seq)
        if unit is None:
            break
        units.append((at, *unit))
        at, seq = at + 1 + len(unit[1]), unit[0] + 1
    # Of what was written last, pages may be missing.
    for i in range(max(0, len(units) - UNSURE), len(units)):
        at, _, pages = units[i]
        if any(crc32c(journal.seed, journal.at(journal.byte(at + 1 + n))) != crc
               for n, (_, _, crc) in enumerate(pages)):
            return units[:i]
    return units


def read(journal):
    """Say what the log is."""
    units, found, rows = units_of(journal), {DATA: 0, PARITY: 0}, {}
    end, crossing, holes = journal.tail, 0, 0
    for at, seq, pages in units:
        end = at + 1 + len(pages)
        crossing += at < journal.blocks < end
        holes += sum(map(journal.is_hole, range(at, end)))
        for kind, sector, _ in pages:
            found[kind] += 1
            if kind == PARITY:
                rows.setdefault(sector, set()).add(seq)
    again = sum(len(seqs) > 1 for seqs in rows.values())
    print(f"blocks {journal.blocks}\ntail {journal.tail}\n"
          f"units {len(units)}\ndata_pages {found[DATA]}\n"
          f"parity_pages {found[PARITY]}\n"
          f"rows {len(rows)}\nrows_again {again}\n"
          f"end {end % journal.blocks}\nlive {end - journal.tail}\n"
          f"crossing {crossing}\nholes {holes}\nstored {journal.stored()}")


def move(journal, block):
    """Put the empty unit at the tail elsewhere, and the tail with it."""
    unit = journal.unit(journal.tail, None)
    if unit is None or unit[1]:
        raise ValueError("the log is not empty")
    meta = bytearray(journal.at(journal.byte(journal.tail)))
    struct.pack_into("<I", meta, 4, 0)
    struct.pack_into("<Q", meta, 24, block % journal.blocks * SECTORS)
    struct.pack_into("<I", meta, 4, crc32c(journal.seed, meta))
    os.pwrite(journal.device.fileno(), meta, journal.byte(block))
    journal.change(TAIL, block % journal.blocks * SECTORS)


def main(what, path, *rest):
    """Do one of them."""
    journal = Journal(path)
    if what == "newer":
        journal.change(EVENTS, long(journal.superblock, EVENTS) + 1)
    elif what == "read":
        read(journal)
    elif what == "move":
        move(journal, int(rest[0]))
    else:
        raise ValueError(f"{what}?")


main(*sys.argv[1:])
