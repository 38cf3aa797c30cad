# SPDX-License-Identifier: GPL-2.0
"""The write journal in trouble."""

from .base import run_job


def journal(ctx, verdicts):
    """A small ring, a failing device, a bad tail, no journal at all."""
    run_job(ctx, verdicts, "um", "journal.sh", "journal",
            [32] * 4 + [12, 64], timeout=900, cpus=2)
