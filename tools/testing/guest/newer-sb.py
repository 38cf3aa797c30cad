# SPDX-License-Identifier: GPL-2.0
"""Make a member's superblock (version 1.2) one update newer than it is.

As the power leaves it that goes while md writes all superblocks. Fields: struct
mdp_superblock_1 of include/uapi/linux/raid/md_p.h.
"""

import struct
import sys

AT, MAGIC = 4096, 0xA92B4EFC
EVENTS, CSUM, MAX_DEV, ROLES = 200, 216, 220, 256


def checksum(block):
    """The sum of its words, folded, with the checksum itself as zero."""
    block = bytearray(block)
    struct.pack_into("<I", block, CSUM, 0)
    words = len(block) // 4
    total = sum(struct.unpack_from(f"<{words}I", block))
    if len(block) % 4:
        total += struct.unpack_from("<H", block, words * 4)[0]
    return ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF


def main(path):
    """Change the superblock on the device."""
    with open(path, "r+b") as device:
        device.seek(AT)
        page = bytearray(device.read(4096))
        if struct.unpack_from("<I", page)[0] != MAGIC:
            return f"{path} has no superblock of version 1.2"
        size = ROLES + 2 * struct.unpack_from("<I", page, MAX_DEV)[0]
        if checksum(page[:size]) != struct.unpack_from("<I", page, CSUM)[0]:
            return f"{path}: the checksum is not understood"
        events = struct.unpack_from("<Q", page, EVENTS)[0]
        struct.pack_into("<Q", page, EVENTS, events + 1)
        struct.pack_into("<I", page, CSUM, checksum(page[:size]))
        device.seek(AT)
        device.write(page)
    return 0


sys.exit(main(sys.argv[1]))
