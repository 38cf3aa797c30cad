# SPDX-License-Identifier: GPL-2.0
"""User-mode Linux: the same kernel source as a process, at native speed."""

import itertools
import os
import shutil
import signal
from pathlib import Path

from .kernel import um_tree
from .machine import Machine
from .roots import guest_root

_COUNT = itertools.count()
_MAX_DISKS = 16


class Uml(Machine):
    """A user-mode Linux; half a second to the job.

    One CPU is the default: with two and udev it was seen to fall over in
    its own scheduler.
    """

    kind = "um"

    def __init__(self, workdir, disks=(), memory_mb=512, cpus=1, **rest):
        super().__init__(workdir, disks, memory_mb, cpus, **rest)
        self._umid = f"raid5c-{os.getpid()}-{next(_COUNT)}"
        self._tree = um_tree(self.choice)
        self._dir = Path("/dev/shm/raid5c-um")
        if len(self.disks) > _MAX_DISKS:
            raise ValueError(f"user-mode Linux has at most {_MAX_DISKS} disks")

    def _settings(self):
        return {"LAB_MODULES": self._tree.host_dir / "install/lib/modules"}

    def _command(self, interactive):
        root = guest_root(self.choice)
        self._dir.mkdir(exist_ok=True)
        console = ["con0=fd:0,fd:1"] if interactive else ["con0=null,fd:1"]
        argv = [self._tree.host_dir / "linux", f"mem={self.memory_mb}M",
                f"umid={self._umid}", f"uml_dir={self._dir}/",
                "seccomp=on", f"ncpus={self.cpus}",
                "root=/dev/root", "rootfstype=hostfs", f"rootflags={root}",
                "ro", "init=/usr/sbin/lab-init", f"lab_share={self.share}",
                "panic=-1", "oops=panic", *console, "con=null",
                "ssl=null",
                *(["quiet"] if interactive else ["loglevel=7"]),
                *self.kernel_args]
        argv += [f"ubd{i}={disk.path}" for i, disk in enumerate(self.disks)]
        return ([str(word) for word in argv],
                {**os.environ, "TMPDIR": "/dev/shm"})

    def _send_kill(self):
        """Kill the whole group: the kernel has a helper and user processes.

        Interactive machines stay in the caller's group, and take theirs
        along when they die.
        """
        if os.getpgid(self.process.pid) == self.process.pid:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid, signal.SIGKILL)

    def _after_death(self):
        shutil.rmtree(self._dir / self._umid, ignore_errors=True)
