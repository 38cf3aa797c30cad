# SPDX-License-Identifier: GPL-2.0
"""Everything at once on one array, for a while."""

from .base import run_job

CASES = ("5:none", "6:write-back")
MORE = ("4:none", "6:none", "5:write-back", "5:write-through")


def mixed(ctx, verdicts):
    """fio and writers, members out and in, checks, knobs: nothing is wrong."""
    seconds = ctx.pick(40, 600)
    # raid456 does not survive a member's failure in write-back mode.
    cases = ("5:none", "6:write-through") if ctx.under == "raid456" \
        else CASES + ctx.pick((), MORE)
    for case in cases:
        run_job(ctx, verdicts, "um", "mixed.sh",
                f"mixed-{case.replace(':', '-')}",
                [40] * 6 + [16, 64], [case], timeout=seconds + 400, cpus=2,
                memory_mb=768, env={"SECONDS_LONG": seconds})
