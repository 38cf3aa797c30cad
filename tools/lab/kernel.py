# SPDX-License-Identifier: GPL-2.0
"""Kernel trees: prepared for the stock kernel, or built.

Built are user-mode Linux and a debug kernel for QEMU.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .roots import (build_meta, in_root)
from .util import cached, read_meta, remove_tree, write_meta

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


def _check_fragment(out):
    """Return the lines of a recipe that compare a .config with its fragment.

    A setting that was thrown out is an error: a machine that lacks what the
    tests count on would fail in a less clear place.
    """
    return f"""\
grep . /tmp/fragment | while read -r line; do
    grep -qxF "$line" {out}/.config || {{
        echo "the configuration has no: $line"; exit 1; }}
done
"""


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
""" + _check_fragment("/build/um") + """run -j$JOBS
run INSTALL_MOD_PATH=/build/um/install modules_install
rm -f /build/um/install/lib/modules/*/build
"""

# What finds mistakes, and just enough else to boot the guest. Everything that
# the guest needs to reach its root is built in.
#
# RUST and KASAN together need clang (init/Kconfig), hence LLVM=1. Stacks are
# not instrumented: with clang that overflows them (lib/Kconfig.kasan).
DEBUG_CONFIG = """
CONFIG_64BIT=y
CONFIG_SMP=y
CONFIG_NR_CPUS=8
CONFIG_HYPERVISOR_GUEST=y
CONFIG_PARAVIRT=y
CONFIG_PREEMPT=y
CONFIG_HZ_1000=y
CONFIG_HIGH_RES_TIMERS=y
CONFIG_NO_HZ_IDLE=y
CONFIG_X86_MPPARSE=y
CONFIG_ACPI=y
CONFIG_UNWINDER_ORC=y
CONFIG_RUST=y
CONFIG_RUST_OVERFLOW_CHECKS=y
CONFIG_RUST_DEBUG_ASSERTIONS=y
CONFIG_MODULES=y
CONFIG_MODULE_UNLOAD=y
CONFIG_PRINTK=y
CONFIG_PRINTK_TIME=y
CONFIG_EARLY_PRINTK=y
CONFIG_BUG=y
CONFIG_KALLSYMS=y
CONFIG_BINFMT_ELF=y
CONFIG_BINFMT_SCRIPT=y
CONFIG_MULTIUSER=y
CONFIG_FUTEX=y
CONFIG_EPOLL=y
CONFIG_SIGNALFD=y
CONFIG_TIMERFD=y
CONFIG_EVENTFD=y
CONFIG_SHMEM=y
CONFIG_COMPACTION=y
CONFIG_AIO=y
CONFIG_IO_URING=y
CONFIG_ADVISE_SYSCALLS=y
CONFIG_MEMBARRIER=y
CONFIG_POSIX_TIMERS=y
CONFIG_SYSVIPC=y
CONFIG_FILE_LOCKING=y
CONFIG_INOTIFY_USER=y
CONFIG_BLOCK=y
CONFIG_BLK_DEV_INITRD=y
CONFIG_RD_GZIP=y
CONFIG_TTY=y
CONFIG_UNIX98_PTYS=y
CONFIG_SERIAL_8250=y
CONFIG_SERIAL_8250_CONSOLE=y
CONFIG_PCI=y
CONFIG_PCI_MSI=y
CONFIG_NET=y
CONFIG_UNIX=y
CONFIG_NETWORK_FILESYSTEMS=y
CONFIG_NET_9P=y
CONFIG_NET_9P_VIRTIO=y
CONFIG_9P_FS=y
CONFIG_VIRTIO_MENU=y
CONFIG_VIRTIO_PCI=y
CONFIG_BLK_DEV=y
CONFIG_VIRTIO_BLK=y
CONFIG_HW_RANDOM=y
CONFIG_HW_RANDOM_VIRTIO=y
CONFIG_BLK_DEV_LOOP=m
CONFIG_BLK_DEV_RAM=m
CONFIG_BLK_DEV_NULL_BLK=m
CONFIG_MD=y
CONFIG_BLK_DEV_MD=y
CONFIG_MD_BITMAP=y
CONFIG_MD_RAID456=m
CONFIG_BLK_DEV_DM=y
CONFIG_DM_DELAY=m
CONFIG_DM_DUST=m
CONFIG_DM_FLAKEY=m
CONFIG_DM_LOG_WRITES=m
CONFIG_DM_ZERO=m
CONFIG_EXT4_FS=y
CONFIG_PROC_FS=y
CONFIG_PROC_SYSCTL=y
CONFIG_SYSFS=y
CONFIG_TMPFS=y
CONFIG_DEVTMPFS=y
CONFIG_DEBUG_KERNEL=y
CONFIG_DEBUG_FS=y
CONFIG_MAGIC_SYSRQ=y
CONFIG_DEBUG_INFO_NONE=y
CONFIG_DEBUG_BUGVERBOSE=y
CONFIG_SYMBOLIC_ERRNAME=y
CONFIG_KASAN=y
CONFIG_KASAN_GENERIC=y
CONFIG_KASAN_INLINE=y
CONFIG_KASAN_VMALLOC=y
CONFIG_SLUB_DEBUG=y
CONFIG_PAGE_POISONING=y
CONFIG_DEBUG_KMEMLEAK=y
CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=40000
# CONFIG_DEBUG_KMEMLEAK_AUTO_SCAN is not set
CONFIG_DEBUG_OBJECTS=y
CONFIG_DEBUG_OBJECTS_FREE=y
CONFIG_DEBUG_OBJECTS_TIMERS=y
CONFIG_DEBUG_OBJECTS_WORK=y
CONFIG_DEBUG_OBJECTS_RCU_HEAD=y
CONFIG_DEBUG_OBJECTS_PERCPU_COUNTER=y
CONFIG_DEBUG_LIST=y
CONFIG_DEBUG_SG=y
CONFIG_DEBUG_NOTIFIERS=y
CONFIG_DEBUG_STACK_USAGE=y
CONFIG_SCHED_STACK_END_CHECK=y
CONFIG_DEBUG_PREEMPT=y
CONFIG_PROVE_LOCKING=y
CONFIG_DEBUG_LOCKDEP=y
CONFIG_DEBUG_ATOMIC_SLEEP=y
CONFIG_PROVE_RCU=y
CONFIG_DETECT_HUNG_TASK=y
CONFIG_DEFAULT_HUNG_TASK_TIMEOUT=120
CONFIG_WQ_WATCHDOG=y
CONFIG_RCU_CPU_STALL_TIMEOUT=60
CONFIG_FAULT_INJECTION=y
CONFIG_FAULT_INJECTION_DEBUG_FS=y
CONFIG_FAULT_INJECTION_STACKTRACE_FILTER=y
CONFIG_FAILSLAB=y
CONFIG_FAIL_PAGE_ALLOC=y
CONFIG_FAIL_MAKE_REQUEST=y
# CONFIG_PANIC_ON_OOPS is not set
"""

DEBUG_RECIPE = """
cat > /tmp/fragment <<'END'
""" + DEBUG_CONFIG + """END
cd /build/linux
run() {
    nice -n 19 make LLVM=1 O=/build/debug "$@"
}
KCONFIG_ALLCONFIG=/tmp/fragment run allnoconfig
""" + _check_fragment("/build/debug") + """run -j$JOBS bzImage modules
run INSTALL_MOD_PATH=/build/debug/install INSTALL_MOD_STRIP=1 modules_install
rm -f /build/debug/install/lib/modules/*/build
mkdir /build/debug/install/boot
cp /build/debug/arch/x86/boot/bzImage /build/debug/install/boot/vmlinuz
"""


@dataclass(frozen=True)
class Tree:
    """A tree that modules can be built against, as seen in the build root.

    `variables` are for make, and must be repeated at every module build.
    """

    root: Path
    host_dir: Path
    inner_dir: str
    release: str
    rustc: str
    variables: tuple

    @property
    def binds(self):
        """What to bind into the build root to use the tree."""
        return [(self.host_dir, self.inner_dir)]

    @property
    def make(self):
        """The make command, with all variables that a build must repeat."""
        return ["make", "-C", SOURCE, f"O={self.inner_dir}", *self.variables]


def _compilers(meta):
    """Return make's variables for the compiler of Debian's kernel."""
    return (f"CC={meta['cc']}", f"HOSTCC={meta['cc']}")


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
                meta["rustc"], (*_compilers(meta),
                                f"KERNELRELEASE={meta['release']}"))


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
    return Tree(build / "root", directory, "/build/um", release,
                meta["rustc"], (*_compilers(meta), "ARCH=um"))


def debug_tree(choice):
    """Return the built debug tree; install/ is what a machine boots."""
    build, meta = build_meta(choice)
    inputs = {"build": build.name, "recipe": DEBUG_RECIPE}

    def make(directory):
        remove_tree(directory / "install")
        in_root(build / "root", DEBUG_RECIPE,
                f"kernel {meta['series']} for debugging: building (slow)",
                "tree-debug", binds=[(directory, "/build/debug")],
                env={"JOBS": _jobs()})
        release = (directory / "include/config/kernel.release").read_text()
        write_meta(directory, {"release": release.strip()})

    # It takes half an hour; make knows what an interrupted one has done.
    directory = cached("tree-debug", inputs, make, resume=True)
    release = read_meta(directory)["release"]
    return Tree(build / "root", directory, "/build/debug", release,
                meta["rustc"], ("LLVM=1",))


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


def debug_files(choice):
    """Return the directory with the debug kernel's image and modules."""
    tree = debug_tree(choice).host_dir

    def make(directory):
        for name in ("boot", "lib"):
            shutil.copytree(tree / "install" / name, directory / name)

    return cached("kernel", {"tree": tree.name}, make)
