# SPDX-License-Identifier: GPL-2.0
"""Throw-away machines: what QEMU guests and user-mode Linux have in common.

A machine runs one job, a script, and is killed when that has ended. Killing
it earlier is a power cut. Its disks are raw files, which survive it.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from .roots import Choice
from .util import REPO, LabError, log_tail

_HERE = Path(__file__).parent
_POLL = 0.02

# Seconds until the job must have begun: ten times what emulation needs.
_BOOT = 300


class MachineError(LabError):
    """A machine did not do what it should."""


class MachineTimeout(MachineError):
    """A machine did not get there in time; it still runs."""


class MachineDied(MachineError):
    """A machine went away (panic, kill) before its job had ended."""


class MachineMute(MachineError):
    """A machine did not come to its job in time; it still runs."""


@dataclass
class Disk:
    """A test disk: a raw file, made (sparse, zeroes) if it is missing.

    `cache` is QEMU's mode of the host's cache. With the default, a flush
    by the guest does not make the host sync: a killed guest loses nothing
    that it had written, because the host lives on.
    """

    path: Path
    size_bytes: int
    cache: str = "unsafe"

    def ensure(self):
        """Make the file, or check that it has the right size."""
        self.path = Path(self.path).absolute()
        if self.path.exists():
            size = self.path.stat().st_size
            if size != self.size_bytes:
                raise MachineError(f"disk {self.path} has {size} bytes, "
                                   f"not {self.size_bytes}")
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "wb") as handle:
            handle.truncate(self.size_bytes)


@dataclass(frozen=True)
class Result:
    """How a job ended: exit code, what it printed, the kernel's messages."""

    rc: int
    log: str
    dmesg: str


class Machine(ABC):
    """One machine; `start` may be called again once it is dead."""

    kind = ""

    def __init__(self, workdir, disks=(), memory_mb=1024, cpus=1,
                 module=None, udev=False, kernel_args=(), choice=None):
        """Describe a machine.

        `workdir` is a directory of its own; `module` the raid5c.ko that the
        job finds as /lab/raid5c.ko; `kernel_args` go on the kernel's command
        line; `udev` starts udev before the job.
        """
        self.workdir = Path(workdir).absolute()
        self.disks = list(disks)
        self.memory_mb = memory_mb
        self.cpus = cpus
        self.module = Path(module) if module else None
        self.udev = udev
        self.kernel_args = list(kernel_args)
        self.choice = choice or Choice.from_env()
        self.share = self.workdir / "share"
        self.console = self.workdir / "console.log"
        self.process = None
        if re.search(r"[\s,:'\"\\]", str(self.workdir)):
            raise MachineError(f"no blanks, commas, colons or quotes in a "
                               f"machine's directory: {self.workdir}")

    @abstractmethod
    def _command(self, interactive):
        """Return (argv, environment) of the machine's process."""

    def _settings(self):
        """Return what job.env tells the init script, by name."""
        return {}

    @property
    def pid(self):
        """The process id, None before the start."""
        return self.process.pid if self.process else None

    @property
    def job_log(self):
        """The job's output, live."""
        return self.share / "job.log"

    def start(self, script, args=(), env=None, files=(), interactive=False):
        """Boot the machine with a script (a path on the host) as its job.

        `env` is exported to the job, beside DISKS, the device paths of the
        test disks in order, and LAB_KIND: "qemu", "um" or "debug". `files` are
        copied to /lab.
        """
        if self.process and self.process.poll() is None:
            raise MachineError("the machine is running already")
        for disk in self.disks:
            disk.ensure()
        self._fill_share(script, args, env or {}, interactive)
        for path in files:
            shutil.copy(path, self.share)
        argv, environ = self._command(interactive)
        if interactive:
            self.process = subprocess.Popen(argv, env=environ)
            return
        with open(self.console, "wb") as out:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env=environ,
                start_new_session=True)

    def _fill_share(self, script, args, env, interactive):
        """Make the shared directory anew."""
        if self.share.exists():
            shutil.rmtree(self.share)
        (self.share / "bin").mkdir(parents=True)
        shutil.copy(_HERE / "guest-init.sh", self.share / "init.sh")
        load = self.share / "bin/raid5c-load"
        shutil.copy(_HERE / "raid5c-load.sh", load)
        load.chmod(0o755)
        if self.module:
            shutil.copy(self.module, self.share / "raid5c.ko")
        guest = REPO / "tools/testing/guest"
        if guest.is_dir():
            shutil.copytree(guest, self.share / "guest")
        settings = {"LAB_KIND": self.kind, "LAB_NDISKS": len(self.disks),
                    "LAB_UDEV": int(self.udev),
                    "LAB_SHELL": int(interactive), **self._settings()}
        (self.share / "job.env").write_text("".join(
            f"{k}={shlex.quote(str(v))}\n" for k, v in settings.items()))
        if script is not None:
            shutil.copy(script, self.share / "job.script")
            (self.share / "job.script").chmod(0o755)
        exports = "".join(f"export {k}={shlex.quote(str(v))}\n"
                          for k, v in env.items())
        words = shlex.join(["/lab/job.script", *map(str, args)])
        job = self.share / "job"
        job.write_text(f"#!/bin/sh\n{exports}exec {words}\n")
        job.chmod(0o755)
        self.job_log.touch()

    def _exit_code(self):
        """Return the job's exit code, None while it has not ended."""
        try:
            return int((self.share / "job.rc").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def begun(self):
        """Whether the machine has come to its job."""
        return (self.share / "job.begun").exists()

    @property
    def ended(self):
        """Whether the job has ended."""
        return self._exit_code() is not None

    def wait(self, timeout):
        """Return the job's exit code; the machine is dead afterwards."""
        deadline = time.monotonic() + timeout
        boot_deadline = time.monotonic() + _BOOT
        while True:
            alive = self.process.poll() is None
            rc = self._exit_code()
            if rc is not None:
                self.kill()
                return rc
            if not alive:
                self.kill()
                raise MachineDied(self._story("died before its job ended"))
            if time.monotonic() > deadline:
                raise MachineTimeout(
                    self._story(f"job not done after {timeout} s"))
            if time.monotonic() > boot_deadline and not self.begun:
                raise MachineMute(
                    self._story(f"has not come to its job in {_BOOT} s"))
            time.sleep(_POLL)

    def wait_for(self, text, timeout):
        """Wait until `text` is in the job's output or on the console."""
        deadline = time.monotonic() + timeout
        wanted = text.encode()
        seen = {self.job_log: 0, self.console: 0}
        while True:
            gone = self.process.poll() is not None or self.ended
            for path, offset in seen.items():
                found, seen[path] = _find(path, wanted, offset)
                if found:
                    return
            if gone:
                raise MachineDied(self._story(f"ended without {text!r}"))
            if time.monotonic() > deadline:
                raise MachineTimeout(
                    self._story(f"no {text!r} in {timeout} s"))
            time.sleep(_POLL)

    def _story(self, what):
        """Describe a failure, with the ends of both logs."""
        return (f"{self.kind} machine in {self.workdir} {what}\n"
                f"--- console ends:\n{log_tail(self.console, 40)}\n"
                f"--- job log ends:\n{log_tail(self.job_log, 20)}")

    def kill(self):
        """SIGKILL: the power cut. Returns when the process is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self._send_kill()
        self.process.wait()
        self._after_death()

    def _send_kill(self):
        """Kill the machine's process."""
        os.kill(self.process.pid, signal.SIGKILL)

    def _after_death(self):
        """Tidy up what the process left."""

    def dmesg(self):
        """Return the kernel's messages: of dmesg, else of the console."""
        for path in (self.share / "dmesg.log", self.console):
            if path.exists():
                return path.read_text(errors="replace")
        return ""

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.kill()


def _find(path, wanted, offset):
    """Look for bytes in a growing file from an offset on.

    Returns whether they are there, and the offset for the next look.
    """
    try:
        with open(path, "rb") as handle:
            handle.seek(offset)
            data = handle.read()
    except FileNotFoundError:
        return False, 0
    if wanted in data:
        return True, offset
    return False, offset + max(0, len(data) - len(wanted) + 1)


@contextlib.contextmanager
def follow(path):
    """Copy what is written to a file to standard output meanwhile."""
    stop = threading.Event()

    def copy():
        with open(path, "rb") as log:
            while True:
                last = stop.is_set()
                data = log.read()
                if data:
                    sys.stdout.buffer.write(data)
                    sys.stdout.flush()
                elif last:
                    return
                else:
                    time.sleep(0.05)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def machine_class(kind):
    """Return the class for "qemu", "um" or "debug"."""
    from .qemu import DebugGuest, QemuGuest
    from .uml import Uml
    classes = {"qemu": QemuGuest, "um": Uml, "debug": DebugGuest}
    if kind not in classes:
        raise LabError(f"no machine of kind {kind!r}, only "
                       f"{', '.join(classes)}")
    return classes[kind]


def run(script, disks=(), kind="qemu", args=(), env=None, timeout=600,
        workdir=None, **machine):
    """Run a script in a new machine and return how it ended.

    Without `workdir`, a temporary directory is used and removed.
    """
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="raid5c-", dir=base) as temp:
        with machine_class(kind)(workdir or temp, disks, **machine) as guest:
            guest.start(script, args, env)
            rc = guest.wait(timeout)
            return Result(rc, guest.job_log.read_text(errors="replace"),
                          guest.dmesg())
