# SPDX-License-Identifier: GPL-2.0
"""Resync, check, repair, rebuild; members that cannot be read."""

from .base import run_job

CASES = ("initial", "resumed", "mismatch", "repaired_data", "window",
         "check_under_load", "rebuild_under_load", "rebuild_resumed",
         "dying", "two_dead")

LOST = ("journal_lost resync", "journal_lost recover")

# On the debug kernel: every kind of sync once, stopped, or under load.
FEW = ("initial", "mismatch", "check_under_load", "dying")
FEW_JOURNAL = ("rebuild_under_load", "rebuild_resumed", "two_dead",
               "journal_lost resync")


def sync(ctx, verdicts):
    """Resync, check, repair and rebuild: stopped, resumed, under load."""
    for seed in range(ctx.pick(1, 10)):
        run_job(ctx, verdicts, "um", "sync.sh", f"sync-{seed}",
                [64] * 5 + [64, 64], ctx.cases(CASES, FEW), timeout=900, cpus=2,
                env={"SEED": ctx.seed + seed})


def sync_journal(ctx, verdicts):
    """The same with a journal."""
    run_job(ctx, verdicts, "um", "sync.sh", "sync-journal",
            [64] * 5 + [64, 64],
            ctx.cases((*CASES, *LOST), FEW_JOURNAL), timeout=900,
            cpus=2, env={"JOURNAL": 1})


def readerr(ctx, verdicts):
    """Unreadable and unwritable sectors are served from the others."""
    run_job(ctx, verdicts, "um", "readerr.sh", "readerr",
            [40] * 4 + [64],
            ["unreadable:5", "unreadable:4", "dust", "not_mended",
             "too_many:log", "too_many:none", "unwritable", "doubly",
             "unrebuildable"],
            timeout=600, cpus=2)


BADBLOCKS = ("recorded 5", "recorded 6", "recorded 4", "repaired 5", "healed",
             "too_many", "rebuilt", "no_log", "hole", "two_holes",
             "handed_over", "external", "forgone", "forgone_at_start",
             "old_parity")
FEW_BADBLOCKS = ("recorded 6", "too_many", "rebuilt")


def badblocks(ctx, verdicts):
    """Sectors of several members that take nothing become bad blocks."""
    run_job(ctx, verdicts, "um", "badblocks.sh", "badblocks",
            [16] * 6 + [64], ctx.cases(BADBLOCKS, FEW_BADBLOCKS),
            timeout=900, cpus=2)
