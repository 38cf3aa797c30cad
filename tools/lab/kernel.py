# SPDX-License-Identifier: GPL-2.0
"""Kernel trees: prepared for the stock kernel, built for user-mode Linux."""

import os
from dataclasses import dataclass
from pathlib import Path

from .roots import (build_meta, in_root)
from .util import cached, read_meta, write_meta

SOURCE = "/build/linux"

# RELEASE and CC are set by the caller; the tree is /build/x86.
#
# KERNELRELEASE is given here and at every module build, or vermagic is wrong.
# The keys are blanked because they are Debian's, and not in the package.
STOCK_RECIPE = """
cd /build/x86
cp /usr/src/linux-headers-$RELEASE/.config \\
   /usr/src/linux-headers-$RELEASE/Module.symvers .
sed -i -e 's/^CONFIG_MODULE_SIG_KEY=.*/CONFIG_MODULE_SIG_KEY=""/' \\
    -e 's/^CONFIG_SYSTEM_TRUSTED_KEYS=.*/CONFIG_SYSTEM_TRUSTED_KEYS=""/' \\
    .config
cd /build/linux
run() {
    make O=/build/x86 KERNELRELEASE=$RELEASE CC=$CC HOSTCC=$CC "$@"
}
run olddefconfig
run -j$JOBS modules_prepare
grep -qx CONFIG_RUST=y /build/x86/.config || {
    echo "CONFIG_RUST got lost: rustc or bindgen are not usable"; exit 1; }
"""

UM_CONFIG = """
CONFIG_RUST=y
CONFIG_SMP=y
CONFIG_NR_CPUS=8
CONFIG_STATIC_LINK=y
CONFIG_MODULES=y
CONFIG_MODULE_UNLOAD=y
CONFIG_MD=y
CONFIG_BLK_DEV_MD=y
CONFIG_MD_BITMAP=y
CONFIG_MD_LLBITMAP=y
CONFIG_MD_LINEAR=m
CONFIG_MD_RAID0=m
CONFIG_MD_RAID1=m
CONFIG_MD_RAID10=m
CONFIG_MD_RAID456=m
# CONFIG_MD_AUTODETECT is not set
# CONFIG_INET is not set
# CONFIG_NETDEVICES is not set
# CONFIG_AUTOFS_FS is not set
# CONFIG_ISO9660_FS is not set
# CONFIG_BLK_DEV_NBD is not set
# CONFIG_IOSCHED_BFQ is not set
CONFIG_BLK_DEV_DM=y
CONFIG_DM_DELAY=m
CONFIG_DM_DUST=m
CONFIG_DM_FLAKEY=m
CONFIG_DM_LOG_WRITES=m
CONFIG_DM_ZERO=m
CONFIG_BLK_DEV_LOOP=m
CONFIG_BLK_DEV_NULL_BLK=m
CONFIG_BLK_DEV_RAM=m
CONFIG_BLK_DEV_UBD=y
CONFIG_HOSTFS=y
CONFIG_OVERLAY_FS=y
CONFIG_EXT4_FS=y
CONFIG_TMPFS=y
CONFIG_DEVTMPFS=y
CONFIG_PROC_FS=y
CONFIG_SYSFS=y
CONFIG_DEBUG_FS=y
CONFIG_AIO=y
CONFIG_IO_URING=y
CONFIG_HIGH_RES_TIMERS=y
CONFIG_CC_OPTIMIZE_FOR_PERFORMANCE=y
CONFIG_PRINTK_TIME=y
CONFIG_MAGIC_SYSRQ=y
CONFIG_DEBUG_KERNEL=y
CONFIG_DEBUG_INFO_NONE=y
CONFIG_KALLSYMS=y
CONFIG_DETECT_HUNG_TASK=y
CONFIG_DEFAULT_HUNG_TASK_TIMEOUT=60
CONFIG_FAULT_INJECTION=y
CONFIG_FAULT_INJECTION_DEBUG_FS=y
CONFIG_FAIL_MAKE_REQUEST=y
"""

# A setting that olddefconfig threw out is an error: a machine that lacks
# what the tests count on would fail in a less clear place.
UM_RECIPE = """
cat > /tmp/fragment <<'END'
""" + UM_CONFIG + """END
cd /build/linux
run() {
    make ARCH=um O=/build/um CC=$CC HOSTCC=$CC "$@"
}
run defconfig
./scripts/kconfig/merge_config.sh -m -O /build/um /build/um/.config \\
    /tmp/fragment >/dev/null
run olddefconfig
grep . /tmp/fragment | while read -r line; do
    grep -qxF "$line" /build/um/.config || {
        echo "the configuration has no: $line"; exit 1; }
done
run -j$JOBS
run INSTALL_MOD_PATH=/build/um/install modules_install
rm -f /build/um/install/lib/modules/*/build
"""


@dataclass(frozen=True)
class Tree:
    """A tree that modules can be built against, as seen in the build root."""

    root: Path
    host_dir: Path
    inner_dir: str
    release: str
    cc: str
    rustc: str
    um: bool

    @property
    def binds(self):
        """What to bind into the build root to use the tree."""
        return [(self.host_dir, self.inner_dir)]

    @property
    def make(self):
        """The make command, with all variables that a build must repeat."""
        words = ["make", "-C", SOURCE, f"O={self.inner_dir}", f"CC={self.cc}",
                 f"HOSTCC={self.cc}"]
        if self.um:
            return words + ["ARCH=um"]
        return words + [f"KERNELRELEASE={self.release}"]


def _jobs():
    """How many jobs make may run."""
    return str(len(os.sched_getaffinity(0)))


def stock_tree(choice):
    """Return the tree prepared for Debian's own kernel."""
    build, meta = build_meta(choice)
    inputs = {"build": build.name, "recipe": STOCK_RECIPE}

    def make(directory):
        in_root(build / "root", STOCK_RECIPE,
                f"kernel {meta['release']}: preparing for modules",
                "tree-x86", binds=[(directory, "/build/x86")],
                env={"RELEASE": meta["release"], "CC": meta["cc"],
                     "JOBS": _jobs()})

    directory = cached("tree-x86", inputs, make)
    return Tree(build / "root", directory, "/build/x86", meta["release"],
                meta["cc"], meta["rustc"], um=False)


def um_tree(choice):
    """Return the built user-mode Linux tree; its kernel is ``linux``."""
    build, meta = build_meta(choice)
    inputs = {"build": build.name, "recipe": UM_RECIPE}

    def make(directory):
        in_root(build / "root", UM_RECIPE,
                f"kernel {meta['series']} for user-mode Linux: building",
                "tree-um", binds=[(directory, "/build/um")],
                env={"CC": meta["cc"], "JOBS": _jobs()})
        release = (directory / "include/config/kernel.release").read_text()
        write_meta(directory, {"release": release.strip()})

    directory = cached("tree-um", inputs, make)
    release = read_meta(directory)["release"]
    return Tree(build / "root", directory, "/build/um", release, meta["cc"],
                meta["rustc"], um=True)


# From the kernel packages to what a machine boots: boot/vmlinuz and the
# modules, less those for hardware that a guest has not got. Uncompressed,
# because decompressing under emulation is slow.
KERNEL_FILES_RECIPE = """
cd /build/kernel
for deb in /build/debs/*.deb; do
    dpkg-deb -x "$deb" /tmp/unpacked
done
mkdir boot lib
cp "$(find /tmp/unpacked -name "vmlinuz*" -type f | head -n 1)" boot/vmlinuz
mods=$(find /tmp/unpacked -type d -path "*lib/modules/$RELEASE")
test -d "$mods/kernel"
cd "$mods/kernel"
rm -rf sound
find net -mindepth 1 -maxdepth 1 ! -name 9p -exec rm -rf {} +
find drivers -mindepth 1 -maxdepth 1 ! -name md ! -name block \\
    ! -name virtio ! -name scsi ! -name nvme ! -name dma ! -name dax \\
    ! -name nvdimm ! -name char ! -name mtd -exec rm -rf {} +
find . -name '*.ko.xz' -exec xz -d {} +
mkdir /build/kernel/lib/modules
cp -a "$mods" /build/kernel/lib/modules/
depmod -b /build/kernel "$RELEASE"
"""


def kernel_files(choice):
    """Return the directory with the stock kernel's image and modules."""
    build, meta = build_meta(choice)
    inputs = {"build": build.name, "recipe": KERNEL_FILES_RECIPE}

    def make(directory):
        in_root(build / "root", KERNEL_FILES_RECIPE,
                f"kernel {meta['release']}: image and modules",
                "kernel-files", binds=[(directory, "/build/kernel")],
                env={"RELEASE": meta["release"]})

    return cached("kernel", inputs, make)
