# SPDX-License-Identifier: GPL-2.0
"""Arrays of all shapes live their lives; what is said of them."""

from .base import Choice, raid6check, run_job

LAYOUTS = ("left-asymmetric", "right-asymmetric", "left-symmetric",
           "right-symmetric", "parity-first", "parity-last")

CHUNKS = (4, 8, 16, 64, 128, 512, 1024)


def _matrix(full):
    """The shapes: every layout, disk count and chunk, not every product."""
    specs = [f"5:{2 + i % 5}:{CHUNKS[i % len(CHUNKS)]}:{layout}"
             for i, layout in enumerate(LAYOUTS)]
    specs += ["5:2:64:-", "5:3:4:-", "5:4:512:-", "5:5:1024:-", "5:6:64:-",
              "4:2:64:-", "4:3:4:-", "4:4:64:-", "4:5:512:-"]
    if full:
        specs += [f"5:{n}:{chunk}:{layout}" for n in (2, 3, 4, 5, 6)
                  for chunk in CHUNKS for layout in LAYOUTS]
        specs += [f"4:{n}:{chunk}:-" for n in (2, 3, 4, 5, 6)
                  for chunk in CHUNKS]
    return list(dict.fromkeys(specs))


LAYOUTS_6 = LAYOUTS + (
    "ddf-zero-restart", "ddf-N-restart", "ddf-N-continue",
    "left-asymmetric-6", "right-asymmetric-6", "left-symmetric-6",
    "right-symmetric-6", "parity-first-6")


def raid6(ctx, verdicts):
    """Level 6 with any two members missing; raid456 and raid6check agree."""
    specs = [f"{4 + i % 4}:{CHUNKS[i % len(CHUNKS)]}:{layout}"
             for i, layout in enumerate(LAYOUTS_6)]
    if ctx.full:
        specs = [f"{n}:{chunk}:{layout}" for n in (4, 5, 6, 7)
                 for chunk in CHUNKS for layout in LAYOUTS_6]
    specs = ctx.cases(specs, ["5:64:left-symmetric"])
    for i in range(0, len(specs), 60):
        run_job(ctx, verdicts, "um", "raid6.sh", f"raid6-{i}",
                [24] * 7 + [64], specs[i:i + 60], timeout=1800, cpus=2,
                files=[raid6check(Choice.from_env())])


def basic(ctx, verdicts):
    """All shapes, at native speed; a few on the debug kernel."""
    specs = ctx.cases(_matrix(ctx.full), ["5:4:64:-", "5:2:4:-", "4:3:512:-"])
    for i in range(0, len(specs), 60):
        run_job(ctx, verdicts, "um", "basic.sh", f"basic-{i}",
                [24] * 6 + [64], specs[i:i + 60], timeout=1800,
                cpus=2)


def basic_stock(ctx, verdicts):
    """A few shapes on Debian's kernel."""
    specs = ["5:4:64:-", "5:2:4:-", "4:3:512:-"]
    if ctx.full:
        specs = _matrix(False)
    run_job(ctx, verdicts, "qemu", "basic.sh", "basic-stock",
            [24] * 6 + [64], specs, timeout=2400, env={"OPS": 120})


def text(ctx, verdicts):
    """mdadm's and /proc/mdstat's words, compared with raid456's."""
    run_job(ctx, verdicts, "um", "text.sh", "text", [24] * 6)
