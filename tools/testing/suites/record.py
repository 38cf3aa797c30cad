# SPDX-License-Identifier: GPL-2.0
"""The last result of every stage on the debug kernel, in a file."""

import textwrap
import time

import results
from lab.kernel import DEBUG_CONFIG, debug_tree
from lab.roots import Choice

from .base import REPO

RESULTS = REPO / "Documentation/test-debug-results.txt"

# What a reader wants to know of the configuration.
_TOLD = ("KASAN", "PROVE_LOCKING", "PROVE_RCU", "DEBUG_ATOMIC_SLEEP",
         "DEBUG_OBJECTS", "DEBUG_LIST", "PAGE_POISONING", "DEBUG_KMEMLEAK",
         "RUST_OVERFLOW_CHECKS", "RUST_DEBUG_ASSERTIONS", "FAILSLAB",
         "FAIL_PAGE_ALLOC", "FAIL_MAKE_REQUEST")


def _old(stages):
    """Return the lines of the file that are about stages there still are."""
    try:
        lines = RESULTS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {w[0]: f"{w[0]:17}{line[len(w[0]):].lstrip()}"
            for w, line in zip(words, lines) if w and w[0] in stages}


def record(ctx, stages, name, verdicts, seconds):
    """Replace the line of the stage `name`, and keep the others'."""
    lines = _old(stages)
    total, bad = len(verdicts.cases), verdicts.count("FAIL")
    module = results.last_commit("rust", "include", "Kbuild", repo=ctx.source)
    lines[name] = (f"{name:17}{'FAIL' if bad else 'ok':6}"
                   f"{verdicts.count('ok'):3} of {total:3}{seconds:7.0f} s  "
                   f"{ctx.seed:5}  {'full' if ctx.full else 'few':8}"
                   f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())}  "
                   f"{module}")
    on = [word for word in _TOLD if f"CONFIG_{word}=y" in DEBUG_CONFIG]
    text = ["raid5c on the debug kernel: the last result of every stage",
            "command: make test-debug (tools/testing/run --debug)",
            f"kernel:  {debug_tree(Choice.from_env()).release}, x86-64, QEMU",
            *textwrap.wrap("with:    " + ", ".join(on), 78,
                           subsequent_indent=" " * 9),
            "ok:      no report in the kernel's log, lockdep at work to the end,",
            "         nothing leaked (reports: every report is seen)",
            "module:  the last commit that changed it; +: with changes", "",
            f"{'stage':17}{'':6}{'cases':>10}{'time':>9}  {'seed':>5}  "
            f"{'counts':8}{'UTC':16}  module",
            *(lines[stage] for stage in stages if stage in lines)]
    RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
