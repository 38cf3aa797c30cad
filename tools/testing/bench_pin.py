# SPDX-License-Identifier: GPL-2.0
"""Keeps each CPU of a user-mode Linux on a CPU of the host."""

import os
import threading
from pathlib import Path

# Seconds between two looks for new processes.
INTERVAL = 0.02


def tasks_of(pid):
    """Return the ids of a process's threads, the oldest first."""
    return sorted(int(task.name) for task in
                  Path(f"/proc/{pid}/task").iterdir())


class Pins:
    """A thread that pins a machine's CPUs, and its user space to the first.

    User-mode Linux has a thread for each CPU, made in their order before any
    other, and a child for each address space, which runs what user space
    runs. A system call goes from that child to the CPU's thread and back. If
    the two are on different CPUs of the host, each way is a wake-up of a CPU
    that may sleep.
    """

    def __init__(self, pid, cpus):
        """Take the host's CPUs that this process may use."""
        self.pid, self.cpus = pid, cpus
        self.host = sorted(os.sched_getaffinity(0))[:cpus]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._done = set()

    @staticmethod
    def possible(cpus):
        """Return whether this host has a CPU for each, and says who is whose
        child."""
        me = os.getpid()
        return (len(os.sched_getaffinity(0)) >= cpus
                and Path(f"/proc/{me}/task/{me}/children").exists())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        """Pin what is new, until it is over."""
        while not self._over.wait(INTERVAL):
            try:
                self._look()
            except (FileNotFoundError, ProcessLookupError):
                # Of what has just ended.
                continue

    def _look(self):
        """Pin what is new."""
        tasks = tasks_of(self.pid)
        if len(tasks) <= self.cpus:
            # Its other CPUs are not up.
            return
        for task, cpu in zip(tasks[:self.cpus], self.host):
            self._pin(task, cpu)
        for task in tasks:
            children = Path(f"/proc/{self.pid}/task/{task}/children")
            for child in children.read_text().split():
                self._pin(int(child), self.host[0])

    def _pin(self, task, cpu):
        """Pin a thread, once."""
        if task not in self._done:
            os.sched_setaffinity(task, {cpu})
            self._done.add(task)
