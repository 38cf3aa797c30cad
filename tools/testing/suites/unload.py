# SPDX-License-Identifier: GPL-2.0
"""The module comes and goes, and leaves nothing behind."""

from .base import run_job


def unload(ctx, verdicts):
    """Cycles of load, create, write, stop, unload; refusals."""
    counts = {"CYCLES": ctx.pick(20, 50), "WARM": 10, "SLACK": 1024,
              "NOISE": 2048}
    if ctx.debug:
        # kmemleak counts what is lost; freed memory rests in quarantines.
        counts = {"CYCLES": ctx.pick(4, 50), "WARM": 2, "SLACK": 1 << 16,
                  "NOISE": 1 << 16}
    run_job(ctx, verdicts, "um", "unload.sh", "unload", [24] * 4 + [16],
            env=counts,
            timeout=ctx.pick(600, 1200))


def unload_stock(ctx, verdicts):
    """The same on Debian's kernel."""
    run_job(ctx, verdicts, "qemu", "unload.sh", "unload-stock",
            [24] * 4 + [16], timeout=ctx.pick(900, 3600), memory_mb=768,
            env={"CYCLES": ctx.pick(6, 50), "WARM": 3, "SLACK": 2048,
                 # Two CPUs and real drivers: it comes and goes by 20 MiB.
                 "NOISE": 24576})
