# SPDX-License-Identifier: GPL-2.0
"""What make bench measures: jobs, arrays, contestants, and their order."""

import re
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A job of guest/bench.sh.

    `unit` is of its result. `wide` ones are run with both chunk sizes,
    `flush` ones also with a journal whose flushes are slow; others if they
    are named.
    """

    text: str
    unit: str = "IOPS"
    writes: bool = True
    wide: bool = False
    flush: bool = False


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
}
JOURNALS = {"nojournal": "none", "journal": "write-through",
            "write-back": "write-back",
            "journal+flush": "write-through+flush",
            "write-back+flush": "write-back+flush"}


@dataclass(frozen=True)
class Config:
    """An array's shape, the same for all contestants."""

    chunk: int
    journal: str

    @property
    def flush(self):
        """Whether flushes of the journal are slow."""
        return self.journal.endswith("+flush")


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
        return (f"{number} {self.who.module} {args.level} {args.members} "
                f"{self.config.chunk} {self.config.journal} "
                f"{self.who.threads} {self.who.cache} "
                f"{'count' if self.counts else args.seconds} "
                f"{' '.join(self.jobs)}\n")


def choose(only):
    """Return {config: jobs} that the words of --only leave."""
    words = [word for word in only.split(",") if word]
    chunks = [int(w[5:]) for w in words if re.fullmatch(r"chunk\d+", w)]
    named = [w for w in words if w in JOBS]
    journals = [w for w in words if w in JOURNALS]
    for word in words:
        if word not in named + journals and not re.fullmatch(r"chunk\d+",
                                                             word):
            sys.exit(f"bench: --only does not know {word!r}")

    def wanted(name, config):
        """What is not asked for by name has to be worth its time."""
        job = JOBS[name]
        if config.flush and not (job.flush and (chunks or config.chunk == 64)
                                 or name in named and journals):
            return False
        return (job.wide and not config.flush or chunks
                or config.chunk == 64)

    configs = [Config(chunk, JOURNALS[journal])
               for journal in journals or JOURNALS
               for chunk in chunks or (64, 512)]
    matrix = {config: tuple(name for name in JOBS
                            if name in (named or JOBS)
                            and wanted(name, config))
              for config in configs}
    return {config: jobs for config, jobs in matrix.items() if jobs}


def plan_of(args, matrix):
    """Return the lines: contestants in turns, then what is counted."""
    plan = []
    every = tuple(name for name in JOBS
                  if any(name in jobs for jobs in matrix.values()))
    slow = tuple(name for name in JOBS
                 if any(name in jobs for config, jobs in matrix.items()
                        if config.flush))
    for turn in range(args.rounds):
        plan.append(Line(RAW, NO_ARRAY, every))
        if slow:
            plan.append(Line(RAW, NO_ARRAY_FLUSH, slow))
        for config, jobs in matrix.items():
            field = [OURS] if args.no_base else [BASE, OURS]
            if turn % 2:
                field.reverse()
            plan += [Line(who, config, jobs) for who in field]
            if "seqwrite" in jobs and config.journal == "none" and not (
                    args.no_base or args.no_tuned):
                plan.append(Line(TUNED, config, ("seqwrite",)))
    if args.no_count:
        return plan
    return plan + [
        Line(who, config, (name,), counts=True)
        for config, jobs in matrix.items() if config.journal != "none"
        for name in jobs if JOBS[name].writes
        for who in ([OURS] if args.no_base else [BASE, OURS])]
