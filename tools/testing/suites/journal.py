# SPDX-License-Identifier: GPL-2.0
"""The write journal in trouble."""

from .base import run_job


def journal(ctx, verdicts):
    """A small ring, a failing device, a bad tail, no journal at all."""
    run_job(ctx, verdicts, "um", "journal.sh", "journal",
            [32] * 4 + [12, 64], timeout=900, cpus=2)


def writeback(ctx, verdicts):
    """The write-back cache in trouble, at levels 5 and 6."""
    for level in ("6", "5"):
        run_job(ctx, verdicts, "um", "writeback.sh", f"writeback-{level}",
                [32] * 5 + [12, 64], timeout=900, cpus=2,
                env={"LEVEL": level})
