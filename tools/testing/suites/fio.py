# SPDX-License-Identifier: GPL-2.0
"""fio with verification: sizes, patterns, depths, states."""

from .base import run_job

SIZES = ("4k", "12k", "64k", "192k", "1m")
PATTERNS = ("write", "randwrite", "randrw")
DEPTHS = (1, 8, 32)


def _cases(journals, sizes, patterns, depths, states, jobs=4):
    """All products, ordered so that arrays are kept."""
    return [f"{journal}:{state}:{pattern}:{size}:{depth}:{jobs}"
            for journal in journals for state in states
            for size in sizes for pattern in patterns for depth in depths]


def fio(ctx, verdicts):
    """fio verifies: 4 KiB to 1 MiB, depth 1 to 32, with and without journal."""
    states = ("healthy", "degraded")
    if ctx.full:
        cases = _cases(("none", "journal"), SIZES + ("16k", "512k"),
                       PATTERNS, (1, 4, 32), states)
    elif ctx.debug:
        cases = _cases(("none", "journal"), ("4k", "1m"), ("randwrite",),
                       (32,), states, jobs=2)
    else:
        cases = _cases(("none", "journal"), ("4k", "1m"),
                       ("write", "randwrite"), (1, 32), states)
        cases += _cases(("none", "journal"), ("12k", "64k"), ("randrw",),
                        (8,), states)
        cases.sort(key=lambda c: (c.startswith("journal"),
                                  ":degraded:" in c))
    run_job(ctx, verdicts, "um", "fio.sh", "fio", [72] * 4 + [64], cases,
            cpus=2, timeout=ctx.pick(900, 3600), memory_mb=768,
            env={"SIZE_MIB": 1 if ctx.debug else ctx.pick(4, 8),
                 "BIG_MIB": 40})


def fio_stock(ctx, verdicts):
    """A few of them on Debian's kernel."""
    cases = _cases(("none", "journal"), ("4k", "1m"), ("randwrite",), (32,),
                   ("healthy", "degraded"))
    if ctx.full:
        cases = _cases(("none", "journal"), ("4k", "64k", "1m"),
                       ("write", "randwrite"), (1, 32),
                       ("healthy", "degraded"))
    run_job(ctx, verdicts, "qemu", "fio.sh", "fio-stock", [72] * 4 + [64],
            cases, timeout=ctx.pick(1200, 7200),
            env={"SIZE_MIB": ctx.pick(2, 8), "BIG_MIB": ctx.pick(8, 40)})
