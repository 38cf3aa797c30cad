# SPDX-License-Identifier: GPL-2.0
"""Power cuts at random moments, and what is there afterwards."""

import random
import shutil
import subprocess
import time
from dataclasses import dataclass

from .base import (MachineError, Verdicts, boot, complaints, keep_logs, machine,
                   parse_cases)

# How many sets of disks are kept of rounds that failed.
KEEP = 3
# Cuts that an array lives through before another shape is taken.
PER_ARRAY = 4


# Level, members, chunk in KiB; taken in turns.
SHAPES = ((5, 4, 64), (6, 5, 16), (5, 3, 4), (4, 4, 64), (5, 4, 512),
          (6, 4, 64), (5, 5, 16), (5, 2, 64))
SIZE_KIB = 16384


def shapes_of(level):
    """Return the shapes of one level."""
    return tuple(shape for shape in SHAPES if shape[0] == level)


@dataclass
class Plan:
    """What a series of cuts is about."""

    name: str
    kind: str = "um"
    cuts: int = 30
    journal: bool = True
    missing: bool = False
    # Who writes, and who recovers: taken in turns.
    modules: tuple = ("raid5c",)
    # One in so many recoveries is cut short as well; 0: none.
    cut_recovery: int = 5
    # Whether lives end in clean stops instead.
    clean: bool = False
    # Whether a dirty array without journal may start degraded: this is the
    # write hole, there to show that the checker sees it.
    force: bool = False
    # Whether only FUA and fsync count as acknowledged.
    durable: bool = False
    # The journal's mode while writing; empty: as it comes.
    mode: str = ""
    # How much of the array is written to.
    span: str = "24M"
    slow: float = 1.0
    shapes: tuple = SHAPES


class Series:
    """One array after the other, cut again and again."""

    def __init__(self, ctx, verdicts, plan):
        self.ctx = ctx
        self.verdicts = verdicts
        self.plan = plan
        self.rng = random.Random(f"{plan.name} {ctx.seed}")
        self.guest = None
        self.kept = 0
        self.life = 0
        self.number = 0
        self.early = 0
        self.shape = None
        self.missing = None

    def fresh(self):
        """Take new disks, all zeroes, and another shape."""
        self.shape = self.plan.shapes[self.life % len(self.plan.shapes)]
        self.missing = None
        self.life += 1
        members = self.shape[1]
        sizes = [SIZE_KIB / 1024 + 8] * members
        sizes += [self.rng.choice((8, 16, 32))] if self.plan.journal else []
        cpus = 2 if self.plan.kind == "qemu" else self.rng.choice((1, 1, 2))
        self.guest = machine(self.ctx, self.plan.kind, self.plan.name,
                             [*sizes, 64], cpus=cpus)

    def settings(self, module, recover, write, stop=False):
        """Return the environment for guest/cut.sh."""
        level, members, chunk = self.shape
        # Members that are not equally fast: what is under way when the
        # power goes arrives here and not there.
        delays = " ".join(str(self.rng.choice((0, 1, 4, 15)))
                          for _ in range(members + self.plan.journal)) \
            if self.plan.force or self.rng.randrange(2) else ""
        # Who was away when a recovery was cut short, is away still: the
        # others may have noted it.
        if self.missing is None:
            self.missing = self.rng.randrange(members)
        missing = str(self.missing) if self.plan.missing and recover else "-"
        return {"MODULE": module, "LEVEL": level, "MEMBERS": members,
                "CHUNK": chunk, "SIZE": SIZE_KIB, "DELAYS": delays,
                "JOURNAL": int(self.plan.journal), "MISSING": missing,
                "FORCE": int(self.plan.force), "RECOVER": int(recover),
                "WRITE": write, "STOP": int(stop), "MODE": self.plan.mode,
                "TOGGLE": int(bool(self.plan.mode) and module == "raid5c"
                              and not self.rng.randrange(4))}

    def writing(self, ending):
        """Return options for a writer that is cut, or ends by itself."""
        rng = self.rng
        durable = self.plan.durable
        threads = (8, 16) if self.plan.force else (1, 4, 8, 16)
        return (f"--seed {rng.randrange(1, 1 << 31)} "
                f"--threads {rng.choice(threads)} "
                f"--big {rng.choice((0, 5, 90) if self.plan.mode else (0, 5, 30))} "
                f"--align {rng.choice((1, 1, 8))} "
                f"--fua {rng.choice((10, 40) if durable else (0, 5))} "
                f"--fsync {rng.choice((0, 10, 30) if durable else (0, 3))} "
                f"{'--durable ' if durable else ''}"
                f"--read {rng.choice((0, 10))} --span {self.plan.span} "
                f"--{'ops 500' if ending else 'seconds 120'}")

    def round(self, kind, module, recover):
        """One life, of a kind of:

        write: recover, write until the power goes
        early: the power goes during recovery
        stop: recover, write, stop cleanly
        end: recover, and no more

        Return whether the array lives on.
        """
        self.number += 1
        name = f"{self.plan.name}-{self.number}"
        write = "" if kind == "end" else self.writing(kind == "stop")
        wait = {"write": "ackwriter: writing:",
                "early": "RECOVERING"}.get(kind)
        delay = self.plan.slow * self.rng.uniform(
            0, 0.5 if kind == "early" else 2.0)
        env = self.settings(module, recover, write, kind == "stop")
        env["KIND"] = kind
        story = ""
        try:
            boot(self.ctx, self.guest, "cut.sh", name, env=env)
            self.cut(wait, delay)
        except MachineError as error:
            self.guest.kill()
            story = str(error).splitlines()[0]
        job, kernel = keep_logs(self.ctx, self.guest, name)
        with open(self.ctx.logs / f"{name}.log", "a",
                  encoding="utf-8") as log:
            log.write("\nsettings: " + " ".join(
                f"{k}={v!r}" for k, v in env.items()) +
                f"\n{kind}: " + (f"cut {delay:.3f} s after {wait!r}\n"
                                 if wait else "to the end\n"))
        return self.judge(name, kind, job, kernel, story)

    def cut(self, wait, delay):
        """Kill the machine some time after it says `wait`."""
        patience = 120 * self.plan.slow
        if wait is None:
            if self.guest.wait(patience * 2):
                raise MachineError("the job failed")
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            text = self.guest.job_log.read_text(errors="replace")
            if self.guest.ended or self.guest.process.poll() is not None:
                raise MachineError("ended before the cut")
            if wait in text:
                time.sleep(delay)
                self.guest.kill()
                return
            time.sleep(0.01)
        raise MachineError(f"no {wait!r} in {patience:.0f} s")

    def judge(self, name, kind, job, kernel, story):
        """Record a round; return whether the array can be used further."""
        before = self.verdicts.count("FAIL")
        parse_cases(self.verdicts, job, f"{name}: ")
        known = self.verdicts.count("FAIL") > before
        # The writer must have been alive when the power went.
        if kind == "write" and " errors in " in job:
            story = story or "the writer ended before the cut"
        if story and not known:
            self.verdicts.add("FAIL", f"{name}: life", story)
        bad = complaints(kernel)
        if bad:
            self.verdicts.add("FAIL", f"{name}: kernel log", bad[0][:200])
        if self.verdicts.count("FAIL") == before:
            return True
        self.keep(name)
        return False

    def keep(self, name):
        """Keep the disks of a round that failed."""
        if self.plan.force or self.kept >= KEEP:
            return
        self.kept += 1
        subprocess.run(["tar", "-C", str(self.guest.workdir), "--sparse",
                        "-czf", str(self.ctx.logs / f"{name}.disks.tgz"),
                        *(disk.path.name for disk in self.guest.disks)],
                       check=False)

    def run(self):
        """All cuts; a new array every few, and after every failure."""
        done, here, alive = 0, 0, False
        live = "stop" if self.plan.clean else "write"
        while done < self.plan.cuts or alive:
            module = self.plan.modules[self.number % len(self.plan.modules)]
            if alive and (here == PER_ARRAY or done == self.plan.cuts):
                self.round("end", module, True)
                alive = False
                continue
            if not alive:
                self.fresh()
                here = 0
            kind = live
            if alive and self.plan.cut_recovery and \
                    not self.rng.randrange(self.plan.cut_recovery):
                kind = "early"
                self.early += 1
            else:
                done, here = done + 1, here + 1
            alive = self.round(kind, module, alive)
            if kind != "early":
                self.missing = None
        shutil.rmtree(self.guest.workdir, ignore_errors=True)
        early = f" and {self.early} of recoveries" if self.early else ""
        print(f"    {self.plan.name}: {done} "
              f"{'clean stops' if self.plan.clean else 'cuts of the writer'}"
              f"{early}, seed {self.ctx.seed}", flush=True)


def _play(ctx, verdicts, plan):
    """Run a series under the module of this run."""
    if ctx.under != "raid5c" and plan.modules == ("raid5c",):
        plan.modules = (ctx.under,)
    Series(ctx, verdicts, plan).run()


def powercut(ctx, verdicts):
    """Cuts with a journal: nothing is lost, data and parity agree."""
    few, slow = (2, 8) if ctx.debug else (8, 1)
    _play(ctx, verdicts, Plan("powercut", cuts=ctx.pick(few, 30), slow=slow))


def powercut_missing(ctx, verdicts):
    """The same with one member missing at recovery: no write hole."""
    _play(ctx, verdicts, Plan("powercut-missing", cuts=ctx.pick(8, 30),
                              missing=True))


def powercut_resync(ctx, verdicts):
    """Cuts without a journal: the resync makes data and parity agree."""
    _play(ctx, verdicts, Plan("powercut-resync", cuts=ctx.pick(4, 30),
                              journal=False))


def hole(ctx, verdicts):
    """Control: without a journal, a missing member must show as loss."""
    control = Verdicts(quiet=True)
    Series(ctx, control, Plan("hole", cuts=ctx.pick(6, 20), journal=False,
                              missing=True, force=True,
                              cut_recovery=0)).run()
    lost = [why for verdict, _, why in control.cases
            if verdict == "FAIL" and "ackwriter: sector" in why]
    if lost:
        verdicts.add("ok", f"the checker sees the write hole: {lost[0]}")
    else:
        verdicts.add("FAIL", "the checker sees the write hole",
                     "no cut without a journal lost anything")


def powercut_stock(ctx, verdicts):
    """A few cuts of Debian's kernel in QEMU, with and without a member."""
    _play(ctx, verdicts, Plan("powercut-stock", kind="qemu",
                              cuts=ctx.pick(2, 10), slow=4, cut_recovery=0))
    _play(ctx, verdicts, Plan("powercut-stock-missing", kind="qemu",
                              cuts=ctx.pick(1, 10), slow=4, missing=True,
                              cut_recovery=0))


class Handed(Series):
    """Arrays cut under one module in write-back mode, recovered by the other."""

    def run(self):
        """Every other array with a recovery that is cut as well."""
        writer, heir = self.plan.modules
        again = heir == "raid5c"
        for nth in range(self.plan.cuts):
            self.fresh()
            if not self.round("write", writer, False):
                continue
            if again and nth % 2 and not self.round("early", heir, True):
                continue
            self.round("end", heir, True)
        shutil.rmtree(self.guest.workdir, ignore_errors=True)
        print(f"    {self.plan.name}: {self.plan.cuts} cuts of the writer, "
              f"seed {self.ctx.seed}", flush=True)


def handed(ctx, verdicts):
    """Cut under one module in write-back mode, recovered by the other.

    raid456's recovery copes with 256 stripes: what it is given is confined.
    """
    for missing in (False, True):
        name = "handed-missing" if missing else "handed"
        Handed(ctx, verdicts,
               Plan(name, cuts=ctx.pick(4, 20), missing=missing,
                    modules=("raid456", "raid5c"), mode="write-back")).run()
    Handed(ctx, verdicts,
           Plan("handed-back", cuts=ctx.pick(4, 20), span="2M",
                modules=("raid5c", "raid456"), mode="write-back")).run()


def powercut_writeback(ctx, verdicts):
    """Cuts in write-back mode; with a member missing at recovery, too."""
    for level in (5, 6):
        _play(ctx, verdicts, Plan(f"powercut-writeback-{level}",
                                  cuts=ctx.pick(4, 50), mode="write-back",
                                  shapes=shapes_of(level)))
    _play(ctx, verdicts, Plan("powercut-writeback-missing",
                              cuts=ctx.pick(4, 30), missing=True,
                              mode="write-back"))


def interop(ctx, verdicts):
    """Cut under one module, recovered by the other; clean hand-over."""
    cuts = ctx.pick(6, 20)
    for missing in (False, True):
        name = "interop-missing" if missing else "interop"
        Series(ctx, verdicts, Plan(name, cuts=cuts, missing=missing,
                                   modules=("raid5c", "raid456"),
                                   cut_recovery=0)).run()
    Series(ctx, verdicts, Plan("interop-clean", cuts=ctx.pick(4, 8),
                               modules=("raid5c", "raid456"), clean=True,
                               cut_recovery=0)).run()
