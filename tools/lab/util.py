# SPDX-License-Identifier: GPL-2.0
"""Progress lines, logged commands, locks and the keyed cache."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("RAID5C_LAB")
             or Path.home() / ".cache" / "raid5c-lab").absolute()

_EPOCH = time.monotonic()
_HEARTBEAT = 30.0
_RUNNING = set()


class LabError(Exception):
    """Something failed; the text says what, why and where the log is."""


def say(text):
    """Print a progress line with the time since the lab started."""
    sys.stderr.write(f"lab {time.monotonic() - _EPOCH:6.1f}s  {text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def step(title):
    """Announce a step, and how long it took once it has succeeded."""
    say(f"{title} ...")
    begin = time.monotonic()
    yield
    say(f"{title}: done in {time.monotonic() - begin:.1f} s")


def log_tail(path, lines=25):
    """Return the last lines of a log file as text (empty if unreadable)."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def log_file(name):
    """Return the path of the log of the step `name`, its directory made."""
    logs = CACHE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{name}.log"


def run_logged(argv, title, name, **kwargs):
    """Run a command, output to the log `name`; raise LabError if it fails.

    While it runs, a line every half minute shows that it is alive and the
    last line that it wrote.
    """
    log = log_file(f"{name}-{os.getpid()}")
    with step(title), open(log, "wb") as out:
        begin = time.monotonic()
        proc = subprocess.Popen([str(a) for a in argv], stdout=out,
                                stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL, **kwargs)
        _RUNNING.add(proc)
        try:
            while True:
                try:
                    rc = proc.wait(_HEARTBEAT)
                    break
                except subprocess.TimeoutExpired:
                    last = log_tail(log, 1).strip()[:50]
                    say(f"  {title}: {time.monotonic() - begin:.0f} s "
                        f"so far; {last}")
        except BaseException:
            _end(proc)
            raise
        finally:
            _RUNNING.discard(proc)
        if rc:
            raise LabError(f"{title}: failed with status {rc}; the log "
                           f"{log} ends:\n{log_tail(log)}")
    final = log_file(name)
    log.replace(final)
    return final


def _end(proc):
    """End a command that is no longer wanted.

    Those that start others run below unshare with a process namespace of
    their own: when it is killed, so are they.
    """
    proc.kill()
    proc.wait()


def end_commands():
    """End what other threads of this process are running."""
    for proc in list(_RUNNING):
        _end(proc)


@contextlib.contextmanager
def lock(name):
    """Hold the inter-process lock `name`; waiting is announced."""
    locks = CACHE / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with open(locks / f"{name}.lock", "a", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another lab that is at {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def digest(inputs):
    """Return a short hash of a JSON-serialisable description of inputs."""
    text = json.dumps(inputs, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cached(kind, inputs, build, resume=False):
    """Return the cache directory for `inputs`, building it if it is missing.

    `build(dir)` fills a temporary directory, which gets its final name,
    ``<kind>-<hash of inputs>``, only when that has succeeded: a directory
    under its final name is complete. What an interrupted build left is
    removed, or with `resume` handed to `build` to go on with.
    """
    final = CACHE / f"{kind}-{digest(inputs)}"
    if final.is_dir():
        return final
    with lock(final.name):
        if final.is_dir():
            return final
        temp = CACHE / f"tmp-{final.name}"
        if not resume:
            remove_tree(temp)
        temp.mkdir(parents=True, exist_ok=True)
        build(temp)
        (temp / "inputs.json").write_text(
            json.dumps(inputs, indent=1, sort_keys=True) + "\n")
        temp.rename(final)
    return final


def remove_tree(path):
    """Remove a cached directory, refusing if anything is mounted in it."""
    path = Path(path)
    if not path.exists():
        return
    mounts = [line.split()[1] for line in
              Path("/proc/mounts").read_text().splitlines()]
    below = [m for m in mounts if m.startswith(f"{path}/")]
    if below:
        raise LabError(f"will not remove {path}: mounted inside: {below}")
    shutil.rmtree(path)


def read_meta(directory, name="meta.json"):
    """Read the facts that a recipe left about what it built."""
    return json.loads((Path(directory) / name).read_text())


def write_meta(directory, meta, name="meta.json"):
    """Leave facts about what was built beside it."""
    (Path(directory) / name).write_text(
        json.dumps(meta, indent=1, sort_keys=True) + "\n")


# Host packages: what the lab needs, by the program that shows it is there.
HOST_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
    "unshare": "util-linux",
    "cpio": "cpio",
    "depmod": "kmod",
}


def need_root():
    """Refuse to go on without root: chroot and mounts need it."""
    if os.geteuid() != 0:
        raise LabError("the lab must run as root (it uses chroot and mount)")


def host_packages():
    """Install the host packages whose program is missing."""
    need_root()
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    os.environ["PATH"] = path
    missing = sorted({package for program, package in HOST_PROGRAMS.items()
                      if not shutil.which(program, path=path)})
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    with lock("host-packages"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-q", "-y", "--no-install-recommends",
                   "install", *missing]
        title = f"host packages: {' '.join(missing)}"
        try:
            run_logged(install, title, "host-install", env=env)
        except LabError:
            run_logged(["apt-get", "-q", "update"], "host package index",
                       "host-update", env=env)
            run_logged(install, title, "host-install", env=env)
