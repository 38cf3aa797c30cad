# SPDX-License-Identifier: GPL-2.0
"""Build, lint and format raid5c in the build root."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .kernel import SOURCE, debug_tree, stock_tree, um_tree
from .roots import Choice, chroot_argv, output_in_root
from .util import (CACHE, REPO, LabError, digest, host_packages, lock,
                   log_file, say)

# What a module is built from; objects never land in the checkout.
SOURCES = ("Kbuild", "rust", "include")

# User-mode Linux loads modules far from its text, without a GOT.
UM_RUSTFLAGS = "-Crelocation-model=static -Ccode-model=large"

_TREES = {"qemu": stock_tree, "um": um_tree, "debug": debug_tree}

_CHECK = Path(__file__).with_name("check-kernel")


def sync_sources(repo, out):
    """Copy what changed of the sources to `out`; drop what is gone.

    A changed file gets the present time, never the source's, so that make
    sees the change even if the source went back to an older state.
    """
    manifest = out / ".lab-sources.json"
    old = json.loads(manifest.read_text()) if manifest.exists() else []
    new = []
    for top in SOURCES:
        base = repo / top
        files = sorted(p for p in base.rglob("*") if p.is_file()) \
            if base.is_dir() else [base] if base.exists() else []
        for path in files:
            name = str(path.relative_to(repo))
            if path.suffix in (".o", ".ko", ".cmd", ".mod"):
                continue
            new.append(name)
            target = out / name
            data = path.read_bytes()
            if target.is_file() and target.read_bytes() == data:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    for name in set(old) - set(new):
        (out / name).unlink(missing_ok=True)
    # A build may be killed at any moment.
    torn = manifest.with_suffix(".new")
    torn.write_text(json.dumps(new))
    torn.replace(manifest)
    if "Kbuild" not in new:
        raise LabError(f"no Kbuild in {repo}")


def out_dir(repo, tree, flavour):
    """Return the directory for the objects of a checkout and a tree."""
    key = digest([str(repo), tree.host_dir.name, str(tree.root)])
    path = CACHE / "out" / f"{flavour}-{key}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _compile(repo, tree, flavour, variables):
    """Run the module build; return its out directory."""
    out = out_dir(repo, tree, flavour)
    log = log_file(f"module-{flavour}-{out.name[-12:]}")
    words = tree.make + [
        "M=/build/out", f"-j{os.cpu_count()}",
        *(f"{k}={v}" for k, v in variables.items()), "modules"]
    script = (f"sh /build/out/.check-kernel {tree.inner_dir}\n"
              f"{shlex.join(words)}")
    with lock(f"out-{out.name}"):
        sync_sources(repo, out)
        shutil.copy(_CHECK, out / ".check-kernel")
        say(f"module for {tree.release} ({flavour}) ...")
        with open(log, "wb") as handle:
            rc = subprocess.run(
                chroot_argv(tree.root, script,
                            [*tree.binds, (out, "/build/out")]),
                stdout=handle, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL).returncode
    text = log.read_text(errors="replace")
    if rc or "warning" in text:
        sys.stderr.write(text)
    if rc:
        raise LabError(f"building the module ({flavour}) failed; the output "
                       f"is above and in {log}")
    say(f"module for {tree.release} ({flavour}): done")
    return out


def _variables(um):
    """The make variables that a module build adds."""
    variables = {}
    if um:
        variables["KRUSTFLAGS"] = UM_RUSTFLAGS
    if os.environ.get("RAID5C_RUSTFLAGS"):
        variables["RAID5C_RUSTFLAGS"] = os.environ["RAID5C_RUSTFLAGS"]
    return variables


def build_module(kind="qemu", repo=REPO, choice=None):
    """Build the module and return its path.

    `kind` is "qemu", for the stock kernel, "um" or "debug".
    """
    um = kind == "um"
    choice = choice or Choice.from_env()
    out = _compile(Path(repo).resolve(), _TREES[kind](choice), kind,
                   _variables(um))
    modules = sorted(out.glob("*.ko"))
    if not modules:
        raise LabError(f"the build made no .ko in {out}")
    return modules[0]


def clippy(repo=REPO, choice=None):
    """Run clippy with the kernel's flags over the module; warnings fail."""
    tree = stock_tree(choice or Choice.from_env())
    _compile(Path(repo).resolve(), tree, "clippy",
             {**_variables(False), "CLIPPY": "1", "KRUSTFLAGS": "-Dwarnings"})


def rustfmt(check, repo=REPO, choice=None):
    """Format rust/ with the kernel's settings; return whether it was clean.

    With `check`, nothing is written and the differences are shown.
    """
    repo = Path(repo).resolve()
    tree = stock_tree(choice or Choice.from_env())
    files = sorted(str(p.relative_to(repo)) for p in repo.glob("rust/**/*.rs")
                   if not p.name.endswith("_generated.rs"))
    if not files:
        return True
    words = ["rustfmt", "--edition", "2021", "--config-path",
             f"{SOURCE}/.rustfmt.toml", *(["--check"] if check else []),
             *files]
    argv = chroot_argv(tree.root, f"cd /build/repo; {shlex.join(words)} 2>&1",
                       [(repo, "/build/repo")])
    return subprocess.run(argv, stdin=subprocess.DEVNULL).returncode == 0


def install(ko, prefix=""):
    """Put a module under PREFIX/lib/modules/RELEASE/updates; run depmod."""
    host_packages()
    tree = stock_tree(Choice.from_env())
    magic = output_in_root(tree.root, "modinfo -F vermagic /build/ko/"
                           + shlex.quote(ko.name),
                           [(ko.parent, "/build/ko")])
    release = magic.split()[0]
    base = Path(f"{prefix}/lib/modules/{release}")
    updates = base / "updates"
    if not (base / "modules.order").exists():
        say(f"note: {base} has no kernel modules: kernel {release} is not "
            "installed there")
    updates.mkdir(parents=True, exist_ok=True)
    shutil.copy(ko, updates / ko.name)
    argv = ["depmod", *(["-b", prefix] if prefix else []), release]
    if subprocess.run(argv).returncode:
        raise LabError("depmod failed (is kmod installed?)")
    say(f"installed {updates / ko.name}")
