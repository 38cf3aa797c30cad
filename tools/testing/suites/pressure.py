# SPDX-License-Identifier: GPL-2.0
"""Memory is used up, and the array has to be written for any to be freed."""

from .base import run_job

MODES = ("none", "write-through", "write-back")


def pressure(ctx, verdicts):
    """Swap and files on the array with nearly no memory left, in all modes.

    One CPU: with more, processes of user-mode Linux die for want of memory
    for its own page tables. One machine a mode, so that one that hangs keeps
    no other from being tried.
    """
    for mode in MODES:
        run_job(ctx, verdicts, "um", "pressure.sh", f"pressure-{mode}",
                [160] * 4 + [64], [mode], timeout=150, memory_mb=96, cpus=1)
