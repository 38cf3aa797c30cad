# SPDX-License-Identifier: GPL-2.0
"""A few of mdadm's own tests; `make test-mdadm` runs more."""

import re
import shutil

from lab.mdadm import JOB, mdadm_source

from .base import Choice, MachineError, complaints, keep_logs, machine

# Those that take seconds.
TESTS = ("00raid6", "04r5swap", "05r5-internalbitmap",
         "19repair-does-not-destroy")


def mdadm_stock(ctx, verdicts):
    """mdadm's own tests on Debian's kernel."""
    with machine(ctx, "qemu", "mdadm-stock", [], memory_mb=2048, udev=True,
                 module=ctx.under == "raid5c") as guest:
        script = guest.workdir / "mdadm-job"
        script.write_text(JOB)
        story = ""
        try:
            guest.start(script, TESTS,
                        files=[mdadm_source(Choice.from_env()) / "mdadm.tar"])
            code = guest.wait(900)
            story = f"exit status {code}" if code else ""
        except MachineError as error:
            guest.kill()
            story = str(error).splitlines()[0]
        job, kernel = keep_logs(ctx, guest, "mdadm-stock")
    shutil.rmtree(guest.workdir, ignore_errors=True)
    ends = dict(re.findall(r"^mdadm-test: (\S+): (pass|FAIL) in", job,
                           re.MULTILINE))
    for name in TESTS:
        good = ends.get(name) == "pass"
        verdicts.add("ok" if good else "FAIL", name,
                     "" if good else ends.get(name, "did not end"))
    bad = [story] * bool(story) + complaints(kernel)
    verdicts.add("FAIL" if bad else "ok", "job and kernel log",
                 bad[0][:200] if bad else "")
