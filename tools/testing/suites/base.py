# SPDX-License-Identifier: GPL-2.0
"""What all suites share: tools for the guests, jobs, verdicts."""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
REPO = TESTING.parents[1]
GUEST = TESTING / "guest"

sys.path.insert(0, str(REPO / "tools"))

from lab import (Disk, LabError, MachineError, QemuGuest,  # noqa: E402
                 Uml, build_module)
from lab.machine import MachineDied, MachineMute, machine_class  # noqa: E402
from lab.mdadm import raid6check  # noqa: E402
from lab.roots import Choice, build_root, in_root  # noqa: E402
from lab.util import CACHE, lock  # noqa: E402

MIB = 1 << 20

# What no run may leave in the kernel's log.
COMPLAINTS = re.compile(
    r"\bBUG\b|WARNING:|\bOops\b|blocked for more than|hung task|"
    r"internal error|lockup|[Cc]all [Tt]race|Kernel panic|general protection|"
    r"refcount_t:|(?:list_add|list_del) corruption|scheduling while atomic|"
    r"detected stall|self-detected|sleeping function|UBSAN|KASAN|"
    r"bad page state|use-after-free in|not unregistered|Objects remaining|"
    r"possible (?:circular|recursive)|suspicious RCU|inconsistent lock|"
    r"ODEBUG|[Pp]oison overwritten|new suspected memory leaks|"
    r"turning off the locking|rust_kernel: panicked|workqueue lockup")

# How much longer than elsewhere things may take on the debug kernel.
DEBUG_PATIENCE = 5

# The end of the log of a machine that was killed on purpose is cut off; the
# beginning holds the boot of any kernel.
HARMLESS = re.compile(r"hung_task|panic=|Kernel command line|"
                      r"mitigat|Command line:")


def build_tool(name, libs="-pthread"):
    """Compile tools/testing/NAME/NAME.c statically; return the program.

    The build root's compiler is used, whatever the host has; the result is
    kept in the lab's cache under a hash of the source.
    """
    source = TESTING / name / f"{name}.c"
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    target = CACHE / "out" / f"{name}-{key}" / name
    if target.exists():
        return target
    with lock(f"tool-{name}"):
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        root = build_root(Choice.from_env()) / "root"
        in_root(root, f"gcc -static -O2 -Wall -Wextra -Werror -o /build/out/"
                f"{name}.tmp /build/src/{name}.c {libs}",
                f"{name}: compiling", f"tool-{name}",
                binds=[(source.parent, "/build/src"),
                       (target.parent, "/build/out")])
        (target.parent / f"{name}.tmp").rename(target)
    return target


def complaints(text):
    """Return the lines of a kernel log that no run may leave."""
    return [line for line in text.splitlines()
            if COMPLAINTS.search(line) and not HARMLESS.search(line)]


class Failure(Exception):
    """A case did not do what it should; the text says in what way."""


class Verdicts:
    """The cases of one suite; failures are printed as they come.

    All are if `verbose`; none if `quiet`, where failures are wanted.
    """

    def __init__(self, verbose=False, quiet=False):
        self.cases = []
        self.verbose = verbose
        self.quiet = quiet

    def add(self, verdict, name, why=""):
        """Record a case: verdict is ok, FAIL or skip."""
        self.cases.append((verdict, name, why))
        if self.verbose or (verdict == "FAIL" and not self.quiet):
            print(f"    {verdict:4} {name}{': ' if why else ''}{why}",
                  flush=True)

    def count(self, verdict):
        """How many cases ended so."""
        return sum(1 for case in self.cases if case[0] == verdict)


class Context:
    """One run of the driver: its options, log directory, modules."""

    def __init__(self, logs, full=False, seed=1, verbose=False, source=None,
                 under="raid5c", debug=False):
        self.logs = Path(logs)
        self.under = under
        self.debug = debug
        self.source = Path(source or REPO).resolve()
        self.full = full
        self.seed = seed
        self.verbose = verbose
        self._modules = {}
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.scratch = Path(tempfile.mkdtemp(prefix="raid5c-test-", dir=base))

    def close(self):
        """Remove the disks."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def module(self, kind):
        """Return raid5c.ko for a kind of machine, built once."""
        if kind not in self._modules:
            self._modules[kind] = build_module(kind, repo=self.source)
        return self._modules[kind]

    def pick(self, normal, full):
        """Return the count for this run: reduced, or the issue's own."""
        return full if self.full else normal

    def cases(self, all_, few):
        """Return the cases for this run: the debug kernel is slow."""
        return few if self.debug and not self.full else all_


def machine(ctx, kind, name, disks, memory_mb=None, cpus=None, module=True,
            udev=False):
    """Return a new machine with test disks of the given sizes in MiB.

    In a run with --debug, all are of the kind "debug".
    """
    if ctx.debug:
        kind, memory_mb, cpus = "debug", None, None
    workdir = ctx.scratch / name
    shutil.rmtree(workdir, ignore_errors=True)
    workdir.mkdir(parents=True)
    options = {"module": ctx.module(kind) if module else None, "udev": udev}
    if memory_mb:
        options["memory_mb"] = memory_mb
    if cpus:
        options["cpus"] = cpus
    return machine_class(kind)(
        workdir, [Disk(workdir / f"disk{i}.img", int(size * MIB))
                  for i, size in enumerate(disks)], **options)


def guest_script(name):
    """Return the path of a guest script, which finds lib.sh beside it."""
    return GUEST / name


def keep_logs(ctx, guest, name):
    """Copy the logs of a machine to the run's directory; return the texts."""
    job = guest.job_log.read_text(errors="replace") \
        if guest.job_log.exists() else ""
    dmesg = guest.dmesg()
    console = guest.console.read_text(errors="replace") \
        if guest.console.exists() else ""
    (ctx.logs / f"{name}.log").write_text(job)
    (ctx.logs / f"{name}.dmesg").write_text(
        dmesg if dmesg == console else f"{dmesg}\n--- console\n{console}")
    return job, dmesg + "\n" + console


def parse_cases(verdicts, job, prefix):
    """Read the guest's ``CASE verdict name: why`` lines."""
    for line in job.splitlines():
        match = re.match(r"CASE (ok|FAIL|skip) ([^:]+)(?:: (.*))?$", line)
        if match:
            verdicts.add(match[1], prefix + match[2], match[3] or "")


def boot(ctx, guest, script, name, args=(), env=None, timeout=300, tools=(),
         files=()):
    """Start a job in a machine, with what every job needs.

    It finds in /lab also `tools`, which are built here, and `files`.
    """
    env = {"SEED": ctx.seed, "FULL": int(ctx.full),
           "MODULE": ctx.under, "BUGS": os.environ.get("RAID5C_BUGS", "0"),
           **(env or {})}
    guest.start(guest_script(script), args, env,
                files=[build_tool(tool) for tool in
                       ("ackwriter", *tools)] + list(files))
    return time.monotonic() + timeout


def judge(ctx, verdicts, guest, name, rc, story=""):
    """Record how a job ended: its cases, its exit code, the kernel's log."""
    job, kernel = keep_logs(ctx, guest, name)
    before = len(verdicts.cases)
    parse_cases(verdicts, job, f"{name}: ")
    if story:
        verdicts.add("FAIL", f"{name}: job", story)
    elif rc:
        last = next((line for line in reversed(job.splitlines()) if line), "")
        verdicts.add("FAIL", f"{name}: job", f"exit status {rc}: {last}")
    elif len(verdicts.cases) == before:
        verdicts.add("FAIL", f"{name}: job", "reported no cases")
    bad = complaints(kernel)
    if bad:
        verdicts.add("FAIL", f"{name}: kernel log", bad[0][:200])
    else:
        verdicts.add("ok", f"{name}: kernel log")


def stillborn(ctx, guest, name, error):
    """Tell whether a machine failed before it ran anything of ours.

    Emulated CPUs that patch their kernel's code while it boots were seen to
    stumble over the breakpoint that they put there meanwhile (Oops: int3).
    """
    if not isinstance(error, (MachineDied, MachineMute)) or guest.begun:
        return False
    _, kernel = keep_logs(ctx, guest, f"{name}-stillborn")
    why = complaints(kernel)[:1] or kernel.split("\n")[-2:]
    how = "died" if isinstance(error, MachineDied) else "hung"
    print(f"    note: {name}: the machine {how} before its job began, and is "
          f"started once more: {' '.join(why)[:100]}", flush=True)
    return True


def run_job(ctx, verdicts, kind, script, name, disks, args=(), env=None,
            timeout=300, tools=(), files=(), **options):
    """Boot a machine, run one guest script, judge it."""
    if ctx.debug:
        timeout *= DEBUG_PATIENCE
    with machine(ctx, kind, name, disks, **options) as guest:
        for again in (True, False):
            story, rc = "", None
            try:
                boot(ctx, guest, script, name, args, env, timeout, tools,
                     files)
                rc = guest.wait(timeout)
            except MachineError as error:
                guest.kill()
                story = str(error).splitlines()[0]
                if again and stillborn(ctx, guest, name, error):
                    continue
                print(textwrap.indent(str(error), "    | "), flush=True)
            break
        judge(ctx, verdicts, guest, name, rc, story)
    shutil.rmtree(guest.workdir, ignore_errors=True)


__all__ = ["CACHE", "Choice", "Context", "Disk", "Failure", "GUEST",
           "LabError", "MIB", "MachineError", "QemuGuest", "REPO", "TESTING",
           "Uml", "Verdicts", "boot", "build_module", "build_root",
           "build_tool", "complaints", "guest_script", "judge", "keep_logs",
           "lock", "machine", "parse_cases", "raid6check", "run_job"]
