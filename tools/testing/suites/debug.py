# SPDX-License-Identifier: GPL-2.0
"""Stages that exist only with the debug kernel."""

import re
import shutil

from lab.module import sync_sources

from .base import (CACHE, TESTING, boot, build_module, complaints, keep_logs,
                   lock, machine, run_job)

# The mistakes of tools/testing/reports, in its order, and how the kernel
# tells of them.
MISTAKES = {
    "sleeps under a spinlock": r"BUG: sleeping function called",
    "crosses two locks": r"WARNING: possible circular locking",
    "reads freed memory": r"BUG: KASAN: slab-use-after-free in "
                          r".*reads_freed",
    "overflows": r"rust_kernel: panicked at .*reports\.rs",
    "forgets memory": r"kmemleak: \d+ new suspected memory leaks",
}


def _mistaken_module(ctx):
    """Build the module with the mistakes in it, and return it."""
    source = CACHE / "out" / "reports-source"
    source.mkdir(parents=True, exist_ok=True)
    with lock("reports-source"):
        sync_sources(ctx.source, source)
        shutil.copy(TESTING / "reports/reports.rs", source / "rust")
        root = source / "rust/raid5c.rs"
        text = root.read_text()
        for old, new in (("mod raid;\n", "mod raid;\nmod reports;\n"),
                         ("-> Result<Self> {\n        let register",
                          "-> Result<Self> {\n        reports::all()?;\n"
                          "        let register")):
            if text.count(old) != 1:
                raise ValueError(f"{root} has no {old!r}")
            text = text.replace(old, new)
        root.write_text(text)
        return build_module("debug", repo=source)


def reports(ctx, verdicts):
    """Control: mistakes made on purpose are reported, and that is seen."""
    module = _mistaken_module(ctx)
    with machine(ctx, "debug", "reports", [8] * 2, module=False) as guest:
        guest.module = module
        boot(ctx, guest, "reports.sh", "reports")
        code = guest.wait(600)
        job, kernel = keep_logs(ctx, guest, "reports")
    bad = complaints(kernel)
    for name, report in MISTAKES.items():
        found = any(re.search(report, line) for line in bad)
        verdicts.add("ok" if found else "FAIL", name,
                     "" if found else f"no complaint like {report!r}")
    good = code == 0 and "lockdep has given up" in job
    verdicts.add("ok" if good else "FAIL", "the guest's own check",
                 "" if good else f"status {code}")


def fault(ctx, verdicts):
    """Allocations that fail: an error or a retry, nothing lost, no oops."""
    _fault(ctx, verdicts, "fault", 0)


def fault_journal(ctx, verdicts):
    """The same with a journal."""
    _fault(ctx, verdicts, "fault-journal", 1)


def _fault(ctx, verdicts, name, journal):
    for seed in range(ctx.pick(1, 20)):
        run_job(ctx, verdicts, "debug", "fault.sh", f"{name}-{seed}",
                [24] * 4 + [12, 64], timeout=900,
                env={"SEED": ctx.seed + seed, "STEPS": ctx.pick(5, 200),
                     "WITH_JOURNAL": journal})
