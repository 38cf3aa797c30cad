# SPDX-License-Identifier: GPL-2.0
"""The build root and the guest root: Debian systems made with mmdebstrap."""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .util import (LabError, cached, host_packages, log_file, need_root,
                   read_meta, run_logged, step, write_meta)

# The oldest series whose md core and Rust API the module is written for.
OLDEST_SERIES = (7, 2)

BUILD_PACKAGES = """
    build-essential rustc rust-src rustfmt rust-clippy bindgen libclang-dev
    libelf-dev libssl-dev libudev-dev bc bison flex kmod cpio python3
    xz-utils dwarves clang lld llvm ca-certificates
""".split()

GUEST_PACKAGES = """
    udev mdadm fio e2fsprogs xfsprogs dmsetup kmod mount util-linux procps
    psmisc busybox-static python3 sqlite3 bc file bsdextrautils strace
    sg3-utils
""".split()

# What every machine runs first: find the directory shared with the host,
# and go on with the init script that lies there.
GUEST_INIT = """\
#!/bin/sh
# First process of a lab machine; installed by tools/lab/roots.py.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
    case $word in
    lab_share=*) share=${word#lab_share=} ;;
    esac
done
if [ -n "$share" ]; then
    mount -t hostfs -o "hostfs=$share" none /lab
else
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none \\
        lab /lab
fi || { echo "lab-init: cannot mount the share"; sleep 1; }
exec /bin/sh /lab/init.sh
"""

GUEST_RECIPE = """
mkdir -p /lab /mnt /usr/lib/modules /usr/src/mdadm
cat > /usr/sbin/lab-init <<'END'
""" + GUEST_INIT + """END
chmod 755 /usr/sbin/lab-init
echo lab > /etc/hostname
mkdir -p /etc/mdadm
"""

# Kernel packages into the build root. SERIES, RELEASE and FROM (an option
# for apt-get) are set by the caller.
#
# The sed gives user-mode Linux the timer tick of a real machine: its HZ has
# no prompt, so a configuration cannot set it.
KERNEL_RECIPE = """
apt-get -q -y --no-install-recommends $FROM install \\
    linux-source-$SERIES linux-headers-$RELEASE
mkdir -p /build/debs /build/linux
chmod 777 /build/debs
cd /build/debs
have() {
    apt-cache show "$1-$RELEASE" >/dev/null 2>&1
}
for name in linux-image linux-binary linux-modules linux-base; do
    ! have $name || apt-get -q download $name-$RELEASE
done
if ! have linux-image && have linux-binary-unsigned; then
    apt-get -q download linux-binary-unsigned-$RELEASE
fi
echo unpacking the kernel source
tar xf /usr/src/linux-source-$SERIES.tar.xz -C /build/linux \\
    --strip-components=1
sed -i '/^config HZ$/,/default/s/default 100$/default 1000/' \\
    /build/linux/arch/um/Kconfig
rm /usr/src/linux-source-$SERIES.tar.xz
apt-get clean
"""


@dataclass(frozen=True)
class Choice:
    """Which Debian suite and, if not the newest, which kernel series."""

    suite: str = "sid"
    series: str = ""

    @classmethod
    def from_env(cls):
        """Take the choice from RAID5C_SUITE and RAID5C_SERIES."""
        return cls(os.environ.get("RAID5C_SUITE") or "sid",
                   os.environ.get("RAID5C_SERIES") or "")

    @property
    def base(self):
        """The suite without ``-backports``."""
        return self.suite.removesuffix("-backports")


def chroot_argv(root, script, binds=(), env=None):
    """Return the command that runs a shell script in a root.

    It gets its own mount and process namespaces, so nothing stays mounted
    and no process survives it. `binds` are pairs (host directory, directory
    in the root).
    """
    root = Path(root)
    lines = ["set -e", f"R={shlex.quote(str(root))}",
             'mount -t proc proc "$R/proc"',
             'mount --rbind /dev "$R/dev"',
             'mount -t tmpfs -o mode=1777 tmp "$R/tmp"']
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        if Path(name).exists():
            lines.append(f'touch "$R{name}"; mount --bind {name} "$R{name}"')
    for host, inner in binds:
        lines.append(f'mkdir -p "$R{inner}"; mount --bind '
                     f'{shlex.quote(str(host))} "$R{inner}"')
    keep = {name: value for name, value in os.environ.items()
            if name.lower().endswith("_proxy")}
    values = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
              "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
              **keep, **(env or {})}
    words = " ".join(shlex.quote(f"{k}={v}") for k, v in values.items())
    lines.append(f'exec chroot "$R" /usr/bin/env -i {words} /bin/sh -euc '
                 f'{shlex.quote(script)}')
    return ["unshare", "--mount", "--propagation", "private", "--pid",
            "--fork", "--kill-child", "/bin/sh", "-c", "\n".join(lines)]


def in_root(root, script, title, name, binds=(), env=None):
    """Run a script in a root with a progress line and a log."""
    return run_logged(chroot_argv(root, script, binds, env), title, name)


def output_in_root(root, script, binds=(), env=None):
    """Return what a short script in a root writes to its standard output."""
    proc = subprocess.run(chroot_argv(root, script, binds, env), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    if proc.returncode:
        raise LabError(f"in {root}: {script!r} failed: "
                       f"{proc.stderr.strip()[-2000:]}")
    return proc.stdout


def mmdebstrap(root, suite, packages, title, name):
    """Make a Debian root with the packages in it.

    No mirror is named: mmdebstrap's default is right. It may be a snapshot,
    hence no check of how old the index is. The namespaces see to it that
    nothing is left, mounted or running, if this is interrupted.
    """
    argv = ["unshare", "--mount", "--propagation", "private", "--pid",
            "--fork", "--kill-child", "--mount-proc",
            "mmdebstrap", "--variant=apt",
            "--aptopt=Acquire::Check-Valid-Until \"false\"",
            "--aptopt=APT::Install-Recommends \"false\"",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--include={','.join(packages)}", suite, root]
    run_logged(argv, title, name)


def refresh_index(root, choice):
    """Fetch the package index of a root, backports and sources included."""
    script = r"""
    list=/etc/apt/sources.list
    if [ "$SUITE" != "$BASE" ] && ! grep -q "$SUITE" $list; then
        sed -n "s/ $BASE / $SUITE /p" $list > /tmp/more
        cat /tmp/more >> $list
    fi
    grep '^deb ' $list | sed 's/^deb /deb-src /' \
        > /etc/apt/sources.list.d/src.list
    apt-get -q update
    """
    in_root(root, script, "package index", "index",
            env={"SUITE": choice.suite, "BASE": choice.base})


def version_key(text):
    """Order kernel versions and releases by the numbers in them."""
    return [int(n) for n in re.findall(r"\d+", text)]


def package_versions(root):
    """Return {name: set of versions} of the kernel's packages."""
    listing = output_in_root(root, """
        names=$(apt-cache pkgnames linux-source-
            for prefix in headers image binary-unsigned; do
                apt-cache pkgnames linux-$prefix- | grep -- '-amd64$'
            done)
        apt-cache madison $names | grep Packages""")
    versions = {}
    for line in listing.splitlines():
        name, version = (field.strip() for field in line.split("|")[:2])
        versions.setdefault(name, set()).add(version)
    return versions


def choose_kernel(versions, choice):
    """Return (series, release) of the newest kernel with a source package.

    Kernel, headers and source must be of one version. A kernel that Debian
    has not signed yet is taken only if its series is asked for.
    """
    found = []
    for name in versions:
        match = re.fullmatch(r"linux-headers-(\d[^-]*-amd64)", name)
        if not match:
            continue
        release = match[1]
        series = ".".join(release.split(".")[:2])
        kernels = set(versions.get(f"linux-image-{release}", ()))
        if choice.series:
            kernels |= versions.get(f"linux-binary-unsigned-{release}", set())
        common = (versions[name] & kernels
                  & versions.get(f"linux-source-{series}", set()))
        found += [(version_key(version), series, release)
                  for version in common]
    wanted = [f for f in found if choice.series in ("", f[1])]
    if not wanted:
        have = ", ".join(sorted({f[1] for f in found})) or "none"
        raise LabError(f"no kernel {choice.series or '(any)'} with kernel, "
                       f"headers and source packages of one version in "
                       f"{choice.suite}; series there: {have}")
    _, series, release = max(wanted)
    if tuple(version_key(series)) < OLDEST_SERIES:
        raise LabError(f"kernel {release} is older than 7.2, for which "
                       "raid5c is written")
    return series, release


def config_value(config, name):
    """Return a value from the text of a .config, '' if it is not set."""
    match = re.search(rf'^{name}="?(.*?)"?$', config, re.MULTILINE)
    return match[1] if match else ""


def check_compilers(root, release):
    """Return (cc, rustc text); refuse a rustc other than the kernel's."""
    headers = Path(root) / f"usr/src/linux-headers-{release}/.config"
    config = headers.read_text()
    if config_value(config, "CONFIG_RUST") != "y":
        raise LabError(f"kernel {release} is built without Rust")
    compiler = config_value(config, "CONFIG_CC_VERSION_TEXT").split()[0]
    wanted = config_value(config, "CONFIG_RUSTC_VERSION_TEXT")
    have = output_in_root(root, "rustc --version").strip()
    if have != wanted:
        raise LabError(f"kernel {release} was built with {wanted!r} but the "
                       f"suite has {have!r}: a Rust module built with it "
                       "would not match the kernel's Rust symbols")
    output_in_root(root, f"command -v {shlex.quote(compiler)}")
    return compiler, have


def build_root(choice):
    """Return the build root's directory (``root/`` and ``meta.json``)."""
    inputs = {"suite": choice.suite, "series": choice.series,
              "packages": BUILD_PACKAGES, "kernel": KERNEL_RECIPE, "v": 1}

    def make(directory):
        need_root()
        host_packages()
        root = directory / "root"
        mmdebstrap(root, choice.base, BUILD_PACKAGES,
                   f"build root: {choice.base} with compilers", "build-root")
        refresh_index(root, choice)
        series, release = choose_kernel(package_versions(root), choice)
        backports = choice.suite != choice.base
        in_root(root, KERNEL_RECIPE, f"kernel {release}: packages and source",
                "kernel-packages",
                env={"SERIES": series, "RELEASE": release,
                     "FROM": f"-t {choice.suite}" if backports else ""})
        compiler, rustc = check_compilers(root, release)
        write_meta(directory, {"series": series, "release": release,
                               "cc": compiler, "rustc": rustc})

    return cached("build", inputs, make)


def build_meta(choice):
    """Return (build root directory, its facts)."""
    directory = build_root(choice)
    return directory, read_meta(directory)


def guest_root(choice):
    """Return the root directory of the guest system (without a kernel)."""
    inputs = {"suite": choice.base, "packages": GUEST_PACKAGES,
              "recipe": GUEST_RECIPE, "v": 1}

    def make(directory):
        need_root()
        host_packages()
        root = directory / "root"
        mmdebstrap(root, choice.base, GUEST_PACKAGES,
                   f"guest root: {choice.base} with mdadm and fio",
                   "guest-root")
        in_root(root, GUEST_RECIPE, "guest root: init", "guest-init")

    return cached("guest", inputs, make) / "root"


__all__ = ["Choice", "build_meta", "build_root", "chroot_argv",
           "config_value", "guest_root", "in_root", "log_file",
           "output_in_root", "refresh_index", "step"]
