# SPDX-License-Identifier: GPL-2.0
"""Power cuts with disks whose caches are lost.

A machine that is killed loses what it had not handed to its host, and
nothing else. Real disks also lose what they have confirmed but not flushed.
Here every member, and the journal, lies behind dm-log-writes, which logs a
write once a flush has made it durable (and a loop device, which turns FUA
into a flush, see guest/cut.sh). At the cut all devices are
suspended and the logs marked; then the machine is killed, and every disk is
made anew: what its log holds, and of the rest a random part of the sectors.
A flush that is missing, or in the wrong place, then costs data.
"""

import struct
import time

from .base import MIB, MachineError, machine
from .cut import SIZE_KIB, Plan, Series, shapes_of

LOG_MIB = 512
MAGIC = 0x6A736677736872
DISCARD, MARK = 4, 8
SECTOR = 512
GRAIN = 64 * 1024


def durable(base, log):
    """Apply a dm-log-writes log to a disk's bytes up to the mark `cut`."""
    with open(log, "rb") as handle:
        magic, _version, _entries, sector_size = struct.unpack(
            "<QQQI", handle.read(28))
        if magic != MAGIC or sector_size != SECTOR:
            raise MachineError(f"{log} is no log of dm-log-writes")
        at = SECTOR
        while True:
            handle.seek(at)
            entry = handle.read(SECTOR)
            sector, count, flags, length = struct.unpack("<QQQQ", entry[:32])
            at += SECTOR
            if flags & MARK:
                if entry[32:32 + length] == b"cut":
                    return
                continue
            if not (sector or count or flags):
                raise MachineError(f"{log} ends without the mark")
            if flags & DISCARD:
                base[sector * SECTOR:(sector + count) * SECTOR] = \
                    bytes(count * SECTOR)
                continue
            base[sector * SECTOR:(sector + count) * SECTOR] = handle.read(
                count * SECTOR)
            at += count * SECTOR


def mix(base, actual, chance, rng):
    """Let sectors that were not flushed survive with some chance.

    Return how many were not flushed.
    """
    volatile = 0
    for at in range(0, len(base), GRAIN):
        if base[at:at + GRAIN] == actual[at:at + GRAIN]:
            continue
        for sector in range(at, min(at + GRAIN, len(base)), SECTOR):
            end = sector + SECTOR
            if base[sector:end] == actual[sector:end]:
                continue
            volatile += 1
            if rng.random() < chance:
                base[sector:end] = actual[sector:end]
    return volatile


class Volatile(Series):
    """Cuts after which the disks have lost their caches."""

    def fresh(self):
        self.shape = self.plan.shapes[self.life % len(self.plan.shapes)]
        self.missing = None
        self.life += 1
        sizes = [SIZE_KIB / 1024 + 8] * self.shape[1] + [
            self.rng.choice((8, 16))] * self.plan.journal
        self.cached = len(sizes)
        self.guest = machine(self.ctx, self.plan.kind, self.plan.name,
                             [*sizes, *[LOG_MIB] * self.cached, 64], cpus=2)
        self.bases = [bytearray(int(size * MIB)) for size in sizes]

    def settings(self, module, recover, write, stop=False):
        env = super().settings(module, recover, write, stop)
        env["DELAYS"] = ""
        env["LOGWRITES"] = self.cached
        env["FREEZE"] = int(self.rng.uniform(20, 1500))
        return env

    def cut(self, wait, delay):
        """Wait until the guest has frozen its disks; lose their caches."""
        if wait is None:
            super().cut(wait, delay)
            return
        deadline = time.monotonic() + 120
        while b"\nFROZEN" not in self.guest.job_log.read_bytes():
            if self.guest.ended or self.guest.process.poll() is not None:
                raise MachineError("ended before the cut")
            if time.monotonic() > deadline:
                raise MachineError("the disks do not freeze")
            time.sleep(0.02)
        flushed = self.flushed(deadline)
        self.guest.kill()
        self.lose_caches(flushed)

    def flushed(self, deadline):
        """Return the disks' bytes as flushed; wait for the logs' marks."""
        while True:
            try:
                disks = [bytearray(base) for base in self.bases]
                for i, disk in enumerate(disks):
                    durable(disk, self.guest.disks[self.cached + i].path)
                return disks
            except MachineError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def lose_caches(self, flushed):
        """Make every disk what a power cut would leave of it."""
        self.bases = flushed
        chance = self.rng.choice((0, 0, 0.5, 0.9))
        lost = 0
        for i, base in enumerate(self.bases):
            disk = self.guest.disks[i].path
            log = self.guest.disks[self.cached + i].path
            lost += mix(base, disk.read_bytes(), chance, self.rng)
            disk.write_bytes(base)
            with open(log, "r+b") as handle:
                handle.truncate(0)
                handle.truncate(LOG_MIB * MIB)
        self.volatile += lost
        with open(self.guest.job_log, "a", encoding="utf-8") as log:
            log.write(f"\n{lost} sectors were not flushed; of those "
                      f"{chance:.0%} survive\n")

    def run(self):
        self.volatile = 0
        super().run()
        print(f"    {self.plan.name}: {self.volatile} sectors were volatile",
              flush=True)


def _play(ctx, verdicts, plan):
    """Run a series under the module of this run."""
    plan.modules = (ctx.under,)
    Volatile(ctx, verdicts, plan).run()


def powercut_cache(ctx, verdicts):
    """Cuts with a journal that lose the disks' caches as well."""
    _play(ctx, verdicts, Plan("powercut-cache", cuts=ctx.pick(8, 30)))


def powercut_cache_resync(ctx, verdicts):
    """The same without a journal: what FUA and fsync promised is there."""
    _play(ctx, verdicts, Plan("powercut-cache-resync", cuts=ctx.pick(5, 30),
                              journal=False, durable=True))


def powercut_cache_missing(ctx, verdicts):
    """The same with one member missing at recovery."""
    _play(ctx, verdicts, Plan("powercut-cache-missing",
                              cuts=ctx.pick(8, 30), missing=True))


def powercut_cache_writeback(ctx, verdicts):
    """The same in write-back mode, at level 5 and 6.

    There what was neither FUA nor flushed may be lost.
    """
    for level in (5, 6):
        _play(ctx, verdicts, Plan(f"powercut-cache-writeback-{level}",
                                  cuts=ctx.pick(4, 50), mode="write-back",
                                  durable=True, shapes=shapes_of(level)))
