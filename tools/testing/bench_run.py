# SPDX-License-Identifier: GPL-2.0
"""Runs a plan of make bench in machines, and keeps what comes of it."""

import json
import os
import re
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench_pin import Pins
from bench_plan import JOBS, OURS, RAW
from suites.base import (GUEST, REPO, LabError, Uml, build_module,
                         complaints)

# An array that does nothing for so many seconds hangs, beside the job's own
# time; where it did before, it needs not so many.
STUCK = 45
STUCK_AGAIN = 10
# So many machines may be lost to arrays that hang.
MAX_HANGS = 20


@dataclass
class Results:
    """What was measured, by (contestant, config, job)."""

    # [(MiB/s, IOPS)], one of each round.
    rates: dict = field(default_factory=dict)
    # Bytes: (to the array, to its members, to its journal).
    counts: dict = field(default_factory=dict)
    # "hangs" or "dies", by the same and whether it was counted; the job is
    # "stop" if stopping the array did.
    trouble: dict = field(default_factory=dict)
    # What else a reader must know.
    notes: list = field(default_factory=list)

    def spread(self):
        """The largest (max - min) / median of any row, in percent."""
        worst = 0
        for (_, _, job), found in self.rates.items():
            numbers = [value(job, [r])[0] for r in found]
            if statistics.median(numbers):
                worst = max(worst, (max(numbers) - min(numbers))
                            / statistics.median(numbers))
        return worst * 100


def rate(path):
    """Return (MiB/s, IOPS) of a job; of a sync (MiB/s, MiB/CPU second)."""
    text = path.read_text()
    if text.startswith("SYNC"):
        # As if they were MiB/s and IOPS.
        mib, seconds, cpu = map(float, text.split()[1:])
        return mib / seconds, mib / cpu
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = job["write"] if job["write"]["total_ios"] else job["read"]
    return side["bw_bytes"] / (1 << 20), side["iops"]


def value(name, rates, per_cpu=False):
    """Return the number that matters of a job, and its text.

    A sync has two; the other one is `per_cpu`.
    """
    unit = JOBS[name].unit
    if per_cpu:
        number = statistics.median(r[1] for r in rates)
        return number, f"{number:.0f} MiB"
    number = statistics.median(r[0 if unit == "MiB/s" else 1] for r in rates)
    if unit != "IOPS":
        return number, f"{number:.0f}{'' if unit == '/s' else ' '}{unit}"
    if number < 1000:
        return number, f"{number:.0f} IOPS"
    return number, f"{number / 1000:.1f}k IOPS"


class Run:
    """A plan being run."""

    def __init__(self, args, plan):
        """Build the module."""
        self.args = args
        self.todo = list(plan)
        self.results = Results()
        self.total = sum(len(line.jobs) for line in plan)
        self.shown = 0
        # Whether raid5c hung, or a kernel complained about something else.
        self.failed = False
        self.module = Path(args.module) if args.module else \
            build_module("um", repo=args.source or REPO)
        self.pinned = not args.no_pins and Pins.possible(args.cpus)
        if not self.pinned:
            self.note("CPUs of the machine are not pinned to the host's")

    def all(self):
        """Run everything, in a new machine after one that hung."""
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        for _ in range(MAX_HANGS + 1):
            with tempfile.TemporaryDirectory(prefix="raid5c-bench-",
                                             dir=base) as temp:
                self.todo = self.boot(Path(temp))
            if not self.todo:
                return self.results
        raise LabError(f"more than {MAX_HANGS} machines hung")

    def boot(self, temp):
        """Run what is to do in one machine; return what it did not do."""
        args, plan = self.args, self.todo
        lines = temp / "plan"
        lines.write_text("".join(line.text(number, args)
                                 for number, line in enumerate(plan)))
        # A journal, or spares; as many as may be missing.
        disks = max(members + (2 if level == 6 else 1) for level, members
                    in (line.config.level(args) for line in plan))
        # Beside the disks, one with a cache, and its cache.
        guest = Uml(temp / "um", cpus=args.cpus, module=self.module,
                    memory_mb=(disks + 1) * args.ramdisk + 1280)
        with guest:
            guest.start(GUEST / "bench.sh", files=[lines],
                        env={"RAMDISKS": disks, "RAMDISK_MIB": args.ramdisk,
                             "PINNED": int(self.pinned)})
            with Pins(guest.pid, args.cpus) if self.pinned else nullcontext():
                at, job, how = self.watch(guest, plan)
        bad = complaints(guest.dmesg() + guest.console.read_text(
            errors="replace"))
        if how:
            return self.after(plan, at, job, how, bad)
        if bad:
            self.failed = True
            self.note(f"the kernel complained: {bad[0]}")
        return []

    def watch(self, guest, plan):
        """Take results as they come, until the machine ends or hangs.

        Returns where it was, (line, job, "hangs" or "dies"); how is "" when
        it did all.
        """
        at, job, seen = 0, plan[0].jobs[0], 0
        since = time.monotonic()
        while True:
            over = guest.ended or guest.process.poll() is not None
            log = guest.job_log.read_text(errors="replace")
            said = re.findall(r"^(BENCH|COUNT) (\d+) (.+)\n", log,
                              re.MULTILINE)
            for what, number, words in said[seen:]:
                seen, since = seen + 1, time.monotonic()
                line = plan[int(number)]
                if what == "COUNT":
                    self.results.counts[(line.who, line.config, line.jobs[0])
                                        ] = tuple(map(int, words.split()))
                    continue
                at, job = self.take(guest, plan, int(number), words)
            if over and guest.ended:
                if guest.wait(10):
                    raise LabError(f"the machine's job failed:\n{log[-3000:]}")
                return at, job, ""
            if over:
                return at, job, "dies"
            if time.monotonic() - since > self.patience(plan, at, job):
                return at, job, "hangs"
            time.sleep(0.2)

    def patience(self, plan, at, job):
        """Return how long a job may take."""
        line = plan[min(at, len(plan) - 1)]
        known = line.who, line.config, job, line.counts
        return self.args.seconds + (
            STUCK_AGAIN if known in self.results.trouble else STUCK)

    def take(self, guest, plan, number, name):
        """Note that a job, or a line, is done; return what comes next."""
        line = plan[number]
        if name == "stop":
            following = plan[number + 1:number + 2]
            return number + 1, following[0].jobs[0] if following else ""
        self.shown += 1
        text = "counted"
        if not line.counts:
            found = rate(guest.share / f"bench/{number}-{name}.json")
            self.results.rates.setdefault(
                (line.who, line.config, name), []).append(found)
            text = value(name, [found])[1]
        self.say(line, f"{line.config.job_text(name)}: {text}")
        rest = line.jobs[line.jobs.index(name) + 1:]
        return number, rest[0] if rest else "stop"

    def say(self, line, text):
        """Show progress."""
        where = "" if line.who == RAW else f"chunk {line.config.chunk}K "
        print(f"  [{self.shown}/{self.total}] {line.who.name:14} {where}"
              f"journal {line.config.text}, {text}", file=sys.stderr,
              flush=True)

    def note(self, text):
        """Keep what a reader of the results must know."""
        if text not in self.results.notes:
            self.results.notes.append(text)
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def after(self, plan, at, job, how, complained):
        """Return what is to do after a line that hung in a job.

        What hung is not tried again.
        """
        if at >= len(plan) or plan[at].who == RAW:
            raise LabError(f"the machine {how}, without an array")
        line, trouble = plan[at], self.results.trouble
        self.failed |= line.who == OURS
        doing = "stopping" if job == "stop" else f"'{JOBS[job].text}'"
        why = re.sub(r"^\[[ .\d]+\] |:\d+(?= blocked)", "", complained[0]) \
            if complained else "the kernel's log is clean"
        self.note(f"{line.who.name} {how}: journal {line.config.text}, "
                  f"chunk {line.config.chunk}K, {doing}"
                  f"{', counted' if line.counts else ''} ({why})")
        # What is counted needs its stop.
        stuck = line.jobs[0] if line.counts else job
        trouble[line.who, line.config, stuck, line.counts] = how
        rest = () if job == "stop" else \
            line.jobs[line.jobs.index(job) + 1:]
        todo = []
        for other in [replace(line, jobs=rest), *plan[at + 1:]]:
            jobs = tuple(name for name in other.jobs
                         if not {(other.who, other.config, name, other.counts),
                                 (other.who, other.config, name, False)}
                         & trouble.keys())
            if jobs:
                todo.append(replace(other, jobs=jobs))
        self.total = self.shown + sum(len(other.jobs) for other in todo)
        return todo
