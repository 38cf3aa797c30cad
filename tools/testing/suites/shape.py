# SPDX-License-Identifier: GPL-2.0
"""Sizes, limits, names, members, requests: an array as its admin sees it."""

from .base import run_job


def shape(ctx, verdicts):
    """Limits and sizes, step by step as with raid456."""
    run_job(ctx, verdicts, "um", "shape.sh", "shape", [40] * 7 + [64],
            timeout=600, cpus=2)


def names(ctx, verdicts):
    """mdadm loads raid5c by itself where raid456 is blacklisted."""
    run_job(ctx, verdicts, "um", "names.sh", "names", [24] * 4)


MEMBERS = ("readd 5 mdadm", "readd 5 add", "readd 5 sysfs", "readd 6 stopped",
           "readd 4 mdadm", "readd_under_load 5", "unchanged",
           "whole --bitmap=none", "whole --bitmap=internal", "bitmap_changes",
           "crash", "spares 5 1", "spares 6 0 1",
           "target_dies", "refusals --bitmap=none",
           "refusals --bitmap=internal",
           "lockless_unsynced", "lockless /dev/urandom",
           "lockless /dev/zero --assume-clean")


# What others of the list come near to.
MORE_MEMBERS = ("readd 5 add", "readd 4 mdadm", "refusals --bitmap=none")

# On the debug kernel, which has no lockless bitmaps.
FEW_MEMBERS = ("readd_under_load 5", "crash", "spares 6 0 1")


def members(ctx, verdicts):
    """Members fail, are removed, come back and are rebuilt; bitmaps."""
    cases = [case for case in MEMBERS
             if ctx.full or case not in MORE_MEMBERS]
    run_job(ctx, verdicts, "um", "members.sh", "members",
            [40] * 6 + [16, 64], ctx.cases(cases, FEW_MEMBERS),
            timeout=900, cpus=2)


REQUESTS = ("ends 5 4 64", "ends 6 5 4", "ends 4 3 512", "ends_shifted",
            "suspended", "suspended_under_load", "frozen", "unsynced 5",
            "unsynced 6", "unsynced 5 write-through", "unsynced 5 write-back",
            "unsynced 5 grown",
            "window", "window_texts", "read_only", "auto_read_only 0",
            "auto_read_only 1")
FEW_REQUESTS = ("ends 6 5 4", "suspended_under_load", "frozen",
                "unsynced 5 write-back", "window")


def requests(ctx, verdicts):
    """Requests across ends; those that wait, or are refused."""
    run_job(ctx, verdicts, "um", "requests.sh", "requests",
            [40] * 6 + [16, 64], ctx.cases(REQUESTS, FEW_REQUESTS),
            timeout=900, cpus=2)


STARTS = ("dirty_degraded 5 4", "dirty_degraded 6 5",
          "parity_only 5 parity-last", "parity_only 4 -", "too_few 5 4 2",
          "too_few 6 5 2", "journal_and_bitmap", "ppl", "reshape",
          "metadata 0.90", "metadata 1.0", "metadata 1.1", "blocked 5",
          "blocked 6", "flags 5", "flags 6", "left 5 2 raid1",
          "left 4 4 raid0")
FEW_STARTS = ("dirty_degraded 6 5", "ppl", "blocked 5")
# What others of the list come near to.
MORE_STARTS = ("dirty_degraded 5 4", "too_few 5 4 2", "metadata 1.0",
               "metadata 1.1", "blocked 6", "flags 5")


def starts(ctx, verdicts):
    """Dirty and degraded, too few members, and what is refused."""
    cases = [case for case in STARTS if ctx.full or case not in MORE_STARTS]
    run_job(ctx, verdicts, "um", "starts.sh", "starts", [20] * 6 + [64],
            ctx.cases(cases, FEW_STARTS), timeout=900, cpus=2)


EXTERNAL = ("rebuilt imsm 5", "rebuilt ddf 5", "rebuilt ddf 6", "recorded")


def external(ctx, verdicts):
    """Containers of IMSM and DDF, which mdmon keeps."""
    run_job(ctx, verdicts, "um", "external.sh", "external",
            [40] * 5 + [64], EXTERNAL, timeout=600, cpus=2)


DISCARDS = ("ranges 5 4 64", "ranges 6 5 4 bitmap", "ranges 4 3 512",
            "ranges 5 3 64 lockless", "ranges 5 3 64 write-through",
            "ranges 6 4 64 write-back", "everything 5 3 64",
            "everything 6 5 4", "everything 5 3 64 write-back",
            "neighbours 5 4 64", "neighbours 6 5 16 bitmap",
            "neighbours 5 3 64 write-through",
            "neighbours 5 3 64 write-back", "unable 5 4 64",
            "unable 6 4 64 write-through", "refused", "off",
            "off write-through", "off lockless")
FEW_DISCARDS = ("ranges 6 4 64 write-back", "neighbours 5 4 64", "refused")


def discard(ctx, verdicts):
    """Discards of any range, among writes, with and without a journal."""
    run_job(ctx, verdicts, "um", "discard.sh", "discard",
            [8] * 7 + [64], ctx.cases(DISCARDS, FEW_DISCARDS),
            timeout=900, cpus=2,
            memory_mb=1536)


NOWAIT = ("direct", "writes", "writes write-through", "writes write-back",
          "marks", "suspended", "missing", "stuck full", "stuck quiesced",
          "without", "uring")
FEW_NOWAIT = ("direct", "writes write-back", "suspended", "missing", "stuck full")


def nowait(ctx, verdicts):
    """Requests that may not wait: done, or EAGAIN."""
    run_job(ctx, verdicts, "um", "nowait.sh", "nowait",
            [40] * 6 + [64, 64], ctx.cases(NOWAIT, FEW_NOWAIT),
            timeout=600, cpus=2)
