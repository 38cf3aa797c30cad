# SPDX-License-Identifier: GPL-2.0
"""Each fault at each level: data are there, and parity agrees."""

import re

from .base import run_job

# Five members, a spare, a second log, a journal; the log.
DISKS = [16] * 6 + [48, 16, 64]

# On the debug kernel, at one level each.
FEW = "dead-sectors-on-two replaced pulled-during-replace"


def _table(ctx, verdicts, name, levels, env, timeout=900):
    """Run the faults of a machine; print its table."""
    env = {**env, **ctx.cases({}, {"FAULTS": FEW})}
    run_job(ctx, verdicts, "um", "matrix.sh", name, DISKS, levels,
            timeout=timeout, cpus=2, env=env)
    text = (ctx.logs / f"{name}.log").read_text(errors="replace")
    lines = re.findall(r"^TABLE (.*)$", text, re.MULTILINE)
    for line in lines or ["no table: the machine came to no end"]:
        print(f"    {line.rstrip()}", flush=True)


def matrix(ctx, verdicts):
    """Faults by levels, as a table; what is planted turns cells to FAIL."""
    _table(ctx, verdicts, "matrix", ctx.cases(["4", "5", "6"], ["6"]),
           ctx.cases({"CONTROL": 1}, {}))


def _journal(ctx, verdicts, mode, level):
    """The faults with a journal, at one level, or at both."""
    _table(ctx, verdicts, f"matrix-{mode}", ctx.pick([level], ["5", "6"]),
           {"JOURNAL": mode})


def matrix_journal(ctx, verdicts):
    """The same with a write journal."""
    _journal(ctx, verdicts, "write-through", "6")


def matrix_writeback(ctx, verdicts):
    """The same with the write-back cache."""
    _journal(ctx, verdicts, "write-back", "5")
