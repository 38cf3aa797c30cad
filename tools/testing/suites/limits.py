# SPDX-License-Identifier: GPL-2.0
"""Little memory for the cache, and CPUs that come and go."""

from .base import run_job

DISKS = [64] * 6 + [32, 64]
MODES = ("none", "write-through", "write-back")


def limits(ctx, verdicts):
    """Memory at rest and under load; the smallest cache and 64 writers."""
    cases = ["idle", "load"]
    if ctx.under == "raid5c":
        cases.append("reads")
    cases += [*(f"smallest:{level}:{mode}" for level in (5, 6)
                for mode in MODES)]
    run_job(ctx, verdicts, "um", "limits.sh", "limits", DISKS, cases,
            timeout=600, cpus=2, env={"SECONDS_LONG": ctx.pick(1, 20)})


def hotplug_stock(ctx, verdicts):
    """CPUs go and come under writers, which may lack memory; Debian's kernel."""
    run_job(ctx, verdicts, "qemu", "limits.sh", "hotplug-stock", DISKS,
            [f"{case}:{mode}" for case in ("hotplug", "cgroup")
             for mode in ctx.pick(("none", "write-back"), MODES)],
            timeout=600, cpus=2, env={"TOGGLES": ctx.pick(15, 300)})
