# SPDX-License-Identifier: GPL-2.0
"""What make bench measures: jobs, arrays, contestants, and their order."""

import re
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job of guest/bench.sh.

    `unit` is of its result. `wide` ones are run with both chunk sizes,
    `flush` ones also with a journal whose flushes are slow, those that are
    not `logged` without a journal only; others if they are named. A `sync`
    has a second result, per CPU second. `raw` ones are also run on a single
    disk.
    """

    text: str
    unit: str = "IOPS"
    writes: bool = True
    wide: bool = False
    flush: bool = False
    logged: bool = True
    sync: bool = False
    raw: bool = True


JOBS = {
    "seqwrite": Job("sequential write 1M qd8", "MiB/s", wide=True),
    "seqread": Job("sequential read 1M qd8", "MiB/s", False, True),
    "randwrite1": Job("random write 4k qd1", wide=True),
    "randwrite32": Job("random write 4k qd32", wide=True, flush=True),
    "randread1": Job("random read 4k qd1", writes=False, wide=True),
    "randread32": Job("random read 4k qd32", writes=False, wide=True),
    "seq4k-batch": Job("sequential 4k batches"),
    "randwrite-batch": Job("random write 4k batches"),
    "fsync4k": Job("write 4k, fsync", flush=True),
    "fsyncext4": Job("ext4: write 4k, fsync, x4"),
    "sqlite": Job("ext4: sqlite commits", "/s", flush=True),
    "randread-batch": Job("random read 4k batches", writes=False,
                          logged=False),
    "others-batch": Job("same, of all but one", writes=False,
                        logged=False, raw=False),
    "resync": Job("resync", "MiB/s", False, True, False, False, True, False),
    "check": Job("check", "MiB/s", False, True, False, False, True, False),
    "rebuild": Job("rebuild", "MiB/s", False, True, False, False, True,
                   False),
}
JOURNALS = {"nojournal": "none", "journal": "write-through",
            "write-back": "write-back",
            "journal+flush": "write-through+flush",
            "write-back+flush": "write-back+flush"}


# What is not an array of the level that was asked for with all its members, and
# the jobs that are done there.
SHAPES = {
    "missing": ("seqread", "randread32", "randread-batch", "others-batch"),
    "raid6": ("seqwrite", "seqread", "randwrite1", "randwrite32",
              "randread32", "randwrite-batch", "resync", "rebuild"),
}
SHAPE_TEXT = {"missing": "one missing", "raid6": "raid6"}


@dataclass(frozen=True)
class Config:
    """An array's shape, the same for all contestants."""

    chunk: int
    journal: str
    shape: str = ""

    @property
    def flush(self):
        """Whether flushes of the journal are slow."""
        return self.journal.endswith("+flush")

    @property
    def text(self):
        """What it is called where its journal is named."""
        return self.journal + (f", {SHAPE_TEXT[self.shape]}"
                               if self.shape else "")

    def job_text(self, name):
        """What a job is called there."""
        more = " of two" if (self.shape, name) == ("raid6", "rebuild") else ""
        return JOBS[name].text + more

    def level(self, args):
        """Return the array's level and its number of members."""
        if self.shape == "raid6" and args.level != 6:
            return 6, 5
        return args.level, args.members


@dataclass(frozen=True)
class Contestant:
    """A module and how it is set."""

    name: str
    module: str
    threads: str = "-"
    cache: str = "-"


BASE = Contestant("raid456", "raid456")
TUNED = Contestant("raid456 tuned", "raid456", "2", "4096")
OURS = Contestant("raid5c", "raid5c")
# What fio, the block layer and the disk cost without an array.
RAW = Contestant("disk", "-")
NO_ARRAY = Config(0, "none")
NO_ARRAY_FLUSH = Config(0, "flush")


@dataclass(frozen=True)
class Line:
    """An array that is made, the jobs it does, and whether what they write
    is counted (one job then) instead of how fast they are."""

    who: Contestant
    config: Config
    jobs: tuple
    counts: bool = False

    def text(self, number, args):
        """Return it as guest/bench.sh reads it."""
        level, members = self.config.level(args)
        return (f"{number} {self.who.module} {level} {members} "
                f"{self.config.chunk} {self.config.journal} "
                f"{int(self.config.shape == 'missing')} "
                f"{self.who.threads} {self.who.cache} "
                f"{'count' if self.counts else args.seconds} "
                f"{' '.join(self.jobs)}\n")


def choose(only):
    """Return {config: jobs} that the words of --only leave."""
    words = [word for word in only.split(",") if word]
    chunks = [int(w[5:]) for w in words if re.fullmatch(r"chunk\d+", w)]
    named = [w for w in words if w in JOBS]
    journals = [w for w in words if w in JOURNALS]
    shapes = [w for w in words if w in SHAPES]
    for word in words:
        if word not in named + journals + shapes and not re.fullmatch(
                r"chunk\d+", word):
            sys.exit(f"bench: --only does not know {word!r}")

    def wanted(name, config):
        """What is not asked for by name has to be worth its time."""
        job = JOBS[name]
        if config.shape:
            return name in SHAPES[config.shape]
        if config.journal != "none" and not job.logged and not (
                name in named and journals):
            return False
        if config.flush and not (job.flush and (chunks or config.chunk == 64)
                                 or name in named and journals):
            return False
        return (job.wide and not config.flush or chunks
                or config.chunk == 64)

    configs = [Config(chunk, JOURNALS[journal])
               for journal in journals or JOURNALS
               for chunk in chunks or (64, 512) if not shapes]
    configs += [Config(chunk, JOURNALS[journal], shape)
                for shape in shapes or SHAPES
                for journal in journals or ["nojournal"]
                for chunk in chunks or (64,)
                if shapes or journal == "nojournal"]
    matrix = {config: tuple(name for name in JOBS
                            if name in (named or JOBS)
                            and wanted(name, config))
              for config in configs}
    return {config: jobs for config, jobs in matrix.items() if jobs}


def plan_of(args, matrix):
    """Return the lines: contestants in turns, then what is counted."""
    plan = []
    every = tuple(name for name in JOBS
                  if JOBS[name].raw
                  and any(name in jobs for jobs in matrix.values()))
    slow = tuple(name for name in JOBS
                 if any(name in jobs for config, jobs in matrix.items()
                        if config.flush))
    for turn in range(args.rounds):
        if every:
            plan.append(Line(RAW, NO_ARRAY, every))
        if slow:
            plan.append(Line(RAW, NO_ARRAY_FLUSH, slow))
        for config, jobs in matrix.items():
            field = [OURS] if args.no_base else [BASE, OURS]
            if turn % 2:
                field.reverse()
            plan += [Line(who, config, jobs) for who in field]
            if "seqwrite" in jobs and config.journal == "none" and not (
                    config.shape or args.no_base or args.no_tuned):
                plan.append(Line(TUNED, config, ("seqwrite",)))
    if args.no_count:
        return plan
    return plan + [
        Line(who, config, (name,), counts=True)
        for config, jobs in matrix.items() if config.journal != "none"
        for name in jobs if JOBS[name].writes
        for who in ([OURS] if args.no_base else [BASE, OURS])]
