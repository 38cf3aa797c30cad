# SPDX-License-Identifier: GPL-2.0
"""The write journal in trouble."""

import re

from .base import run_job


def journal(ctx, verdicts):
    """A small ring, a failing device, a bad tail, no journal at all."""
    run_job(ctx, verdicts, "um", "journal.sh", "journal",
            [32] * 4 + [12, 64], timeout=900, cpus=2)


def journals(ctx, verdicts):
    """Journals of all sizes, caches and sectors; freezing as power cuts."""
    run_job(ctx, verdicts, "um", "journals.sh", "journals", [],
            timeout=600, memory_mb=1024, cpus=2)


def writeback(ctx, verdicts):
    """The write-back cache in trouble, at levels 5 and 6."""
    for level in ("6", "5"):
        run_job(ctx, verdicts, "um", "writeback.sh", f"writeback-{level}",
                [32] * 5 + [12, 64], timeout=900, cpus=2,
                env={"LEVEL": level})


def crowd(ctx, verdicts):
    """32 writers and a journal of 16 MB: nobody waits for 5 seconds."""
    for mode in ("write-back", "write-through"):
        name = f"crowd-{mode}"
        seconds = ctx.pick(15, 600)
        run_job(ctx, verdicts, "um", "crowd.sh", name, [64] * 4 + [16, 512],
                timeout=seconds + 600, cpus=2,
                env={"MODE": mode, "SECONDS_LONG": seconds,
                     "SEED": ctx.seed})
        text = (ctx.logs / f"{name}.log").read_text(errors="replace")
        for line in re.findall(r"^CROWD (.*)$", text, re.MULTILINE):
            print(f"    {line}", flush=True)
