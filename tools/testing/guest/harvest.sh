#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes an array with a journal and writes until the power goes; for
# fuzz/harvest. Settings: MODULE, LEVEL, MEMBERS, CHUNK (KiB), MODE (of the
# journal). Disk number MEMBERS is the journal.

. /lab/guest/lib.sh
use "$MODULE"
create "$LEVEL" "$MEMBERS" "$CHUNK" - 4096 --assume-clean \
	--write-journal "${DISK[$MEMBERS]}"
if [ "$MODE" = write-back ]; then
	echo write-back > $SYS/journal_mode || fail "no write-back"
fi
echo "WRITING"
# Pages that repeat one number: they shrink well, and P and Q with them.
exec python3 - "$SEED" <<'END'
import mmap
import os
import random
import struct
import sys
import threading

def write(number):
    rng = random.Random(f"{sys.argv[1]} {number}")
    fd = os.open("/dev/md0", os.O_WRONLY | os.O_DIRECT)
    end = os.lseek(fd, 0, os.SEEK_END) // 4096
    buf = mmap.mmap(-1, 64 << 12)
    for turn in range(1 << 30):
        pages = rng.choice((1, 1, 1, 2, 8, 48))
        at = rng.randrange(end - pages)
        for page in range(pages):
            word = struct.pack("<HHI", number, page, turn)
            buf[page << 12:(page + 1) << 12] = word * 512
        os.pwrite(fd, memoryview(buf)[:pages << 12], at << 12)

for number in range(1, 5):
    threading.Thread(target=write, args=(number,)).start()
END
