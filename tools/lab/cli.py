# SPDX-License-Identifier: GPL-2.0
"""The command line: tools/lab/lab COMMAND."""

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .image import boot_files
from .kernel import debug_files, kernel_files, stock_tree, um_tree
from .machine import Disk, follow, machine_class
from .mdadm import mdadm_tests
from .module import build_module, clippy, install, rustfmt
from .roots import Choice, build_meta, guest_root
from .util import (CACHE, LabError, end_commands, host_packages, need_root,
                   remove_tree, say)

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text):
    """Turn 512M or 2G into bytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"not a size: {text}")
    return int(match[1]) * _UNITS[match[2]]


def prepare(choice, um, debug=False):
    """Make everything that the other commands need."""
    host_packages()
    with ThreadPoolExecutor(2) as pool:
        try:
            guest = pool.submit(guest_root, choice)
            build_meta(choice)
            stock = pool.submit(stock_tree, choice)
            kernel = kernel_files(choice)
            guest.result()
            stock.result()
        except BaseException:
            end_commands()
            raise
    boot_files(kernel, choice)
    if um:
        um_tree(choice)
    if debug:
        boot_files(debug_files(choice), choice)
    say("everything is there")


def _module(args):
    """Return the module that --module names, built if it is raid5c."""
    if args.module == "none":
        return None
    if args.module == "raid5c":
        return build_module(args.kind, choice=Choice.from_env())
    return Path(args.module)


def _disks(args, workdir):
    """Return the test disks that --disks and --size ask for."""
    return [Disk(workdir / f"disk{i}.img", args.size)
            for i in range(args.disks)]


def _machine_options(args):
    """Return the keyword arguments that all machines share."""
    options = {"module": _module(args), "udev": args.udev}
    if args.memory or args.kind != "debug":
        options["memory_mb"] = args.memory or 1024
    if args.cpus:
        options["cpus"] = args.cpus
    return options


def run_command(args):
    """lab run: boot, run the script, show its output, return its status."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    workdir = Path(args.workdir) if args.workdir else Path(
        tempfile.mkdtemp(prefix="raid5c-", dir=base))
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        machine = machine_class(args.kind)(
            workdir, _disks(args, workdir), **_machine_options(args))
        with machine:
            say(f"{args.kind} machine in {workdir} ...")
            machine.start(args.script, args.args)
            with follow(machine.job_log):
                code = machine.wait(args.timeout)
        say(f"the job ended with {code}")
        if args.dmesg:
            sys.stdout.write(machine.dmesg())
        return code
    finally:
        if not args.workdir:
            shutil.rmtree(workdir, ignore_errors=True)


@contextlib.contextmanager
def _terminal_kept():
    """Restore the terminal's settings, which a killed machine leaves raw."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def shell_command(args):
    """lab shell: an interactive shell in a machine."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="raid5c-", dir=base) as temp:
        workdir = Path(args.workdir or temp)
        machine = machine_class(args.kind)(
            workdir, _disks(args, workdir), **_machine_options(args))
        if args.kind == "qemu":
            say("ctrl-A X kills the machine")
        with _terminal_kept(), machine:
            machine.start(None, interactive=True)
            while machine.process.poll() is None and not machine.ended:
                time.sleep(0.1)
    return 0


def clean_command(args):
    """lab clean: objects only, or with --all the whole cache."""
    remove_tree(CACHE / "out")
    if not args.all:
        return 0
    for pattern in ("tmp-*", "build-*", "guest-*", "image-*", "kernel-*",
                    "tree-*", "mdadm-*"):
        for path in CACHE.glob(pattern):
            say(f"removing {path}")
            remove_tree(path)
    return 0


def _build_command(args):
    """lab build: print the path of the module."""
    print(build_module(args.kind))
    return 0


def _clippy_command(_args):
    """lab clippy."""
    clippy()
    return 0


def _fmt_command(args):
    """lab fmt."""
    if rustfmt(args.check):
        return 0
    raise LabError("rustfmt is not content")


def _install_command(args):
    """lab install: build for the stock kernel and install."""
    install(build_module(), args.prefix)
    return 0


def _prepare_command(args):
    """lab prepare."""
    prepare(Choice.from_env(), not args.no_um, args.debug)
    return 0


def _info_command(_args):
    """lab info: where things are, one per line."""
    choice = Choice.from_env()
    build, meta = build_meta(choice)
    print(f"cache: {CACHE}\nroot: {build / 'root'}")
    for key in sorted(meta):
        print(f"{key}: {meta[key]}")
    print(f"stock tree: {stock_tree(choice).host_dir}")
    print(f"guest root: {guest_root(choice)}")
    return 0


def _mdadm_command(args):
    """lab mdadm-tests."""
    return mdadm_tests(args.names, _module(args), args.timeout,
                       Choice.from_env())


def _add_machine_options(parser):
    """The options of run and shell."""
    parser.add_argument("--kind", choices=("qemu", "um", "debug"),
                        default="qemu")
    parser.add_argument("--disks", type=int, default=5, metavar="N")
    parser.add_argument("--size", type=parse_size, default=parse_size("256M"),
                        help="of a disk, like 256M")
    parser.add_argument("--module", default="raid5c",
                        help="raid5c (built first), none, or a .ko")
    parser.add_argument("--memory", type=int, default=0, metavar="MB")
    parser.add_argument("--cpus", type=int, default=0)
    parser.add_argument("--udev", action="store_true", help="start udev")
    parser.add_argument("--workdir", help="keep disks and logs here")


def _parser():
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="lab", description="Builds raid5c and runs it in throw-away "
        "machines; see Documentation/lab.rst.")
    parser.add_argument("--series", help="kernel series, like 7.3 "
                        "(default: the newest with a source package)")
    parser.add_argument("--suite", help="Debian suite (default: sid); "
                        "NAME-backports takes the kernel from there")
    sub = parser.add_subparsers(dest="command", required=True)

    def command(name, function, text):
        new = sub.add_parser(name, help=text, description=text)
        new.set_defaults(function=function)
        return new

    new = command("prepare", _prepare_command, "make all roots and trees")
    new.add_argument("--no-um", action="store_true")
    new.add_argument("--debug", action="store_true",
                     help="the debug kernel as well")
    new = command("build", _build_command, "build raid5c.ko, print its path")
    new.add_argument("--um", dest="kind", action="store_const", const="um",
                     default="qemu", help="for user-mode Linux")
    new.add_argument("--debug", dest="kind", action="store_const",
                     const="debug", help="for the debug kernel")
    command("clippy", _clippy_command, "lint; warnings are errors")
    new = command("fmt", _fmt_command, "format rust/ as the kernel does")
    new.add_argument("--check", action="store_true")
    new = command("install", _install_command, "install for modprobe")
    new.add_argument("--prefix", help="instead of / (INSTALL_MOD_PATH)",
                     default=os.environ.get("INSTALL_MOD_PATH", ""))
    new = command("run", run_command, "run a script in a machine")
    _add_machine_options(new)
    new.add_argument("--timeout", type=float, default=600)
    new.add_argument("--dmesg", action="store_true", help="show it after")
    new.add_argument("script")
    new.add_argument("args", nargs=argparse.REMAINDER)
    _add_machine_options(command("shell", shell_command,
                                 "a shell in a machine"))
    new = command("mdadm-tests", _mdadm_command, "mdadm's own test suite")
    new.add_argument("--module", default="raid5c",
                     help="raid5c, none (raid456), or a .ko")
    new.add_argument("--timeout", type=float, default=3600)
    new.add_argument("names", nargs="+", help="like 00raid5")
    new.set_defaults(kind="qemu")
    command("info", _info_command, "where things are")
    new = command("clean", clean_command, "remove objects")
    new.add_argument("--all", action="store_true", help="the whole cache")
    return parser


def main(argv=None):
    """Run a command; return the process's exit status."""
    args = _parser().parse_args(argv)
    # So that machines are killed and their disks removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in ("series", "suite"):
        if getattr(args, name):
            os.environ[f"RAID5C_{name.upper()}"] = getattr(args, name)
    try:
        need_root()
        return args.function(args)
    except LabError as error:
        print(f"lab: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
