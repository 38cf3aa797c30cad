# SPDX-License-Identifier: GPL-2.0
"""The stock kernel, or the debug kernel, in QEMU."""

import fcntl
import os
from pathlib import Path

from .image import boot_files
from .kernel import debug_files, kernel_files
from .machine import Machine
from .util import host_packages

_KVM_CREATE_VM = 0xAE01


def kvm_works():
    """Tell whether the processor has what KVM needs, and KVM is there.

    The device alone proves nothing: inside a virtual machine it may be
    there and fail at the first instruction that it has to emulate.
    """
    flags = Path("/proc/cpuinfo").read_text().split()
    if "vmx" not in flags and "svm" not in flags:
        return False
    try:
        handle = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.close(fcntl.ioctl(handle, _KVM_CREATE_VM, 0))
        finally:
            os.close(handle)
        return True
    except OSError:
        return False


def acceleration():
    """Return QEMU's options for the processor; RAID5C_ACCEL overrides."""
    accel = os.environ.get("RAID5C_ACCEL") or ("kvm" if kvm_works() else "tcg")
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


class QemuGuest(Machine):
    """A guest with Debian's own kernel; 25 s to the job under emulation."""

    kind = "qemu"
    kernel_options = ("oops=panic",)
    hardware = ()

    def __init__(self, workdir, disks=(), memory_mb=1024, cpus=2, **rest):
        super().__init__(workdir, disks, memory_mb, cpus, **rest)

    def _kernel(self):
        """Return the directory with the kernel's image and modules."""
        return kernel_files(self.choice)

    def _command(self, interactive):
        host_packages()
        boot = boot_files(self._kernel(), self.choice)
        append = ["console=ttyS0", "panic=-1", *self.kernel_options,
                  "rw", "raid=noautodetect", *(["quiet"] if interactive
                                         else ["loglevel=7"]),
                  *self.kernel_args]
        argv = ["qemu-system-x86_64", *acceleration(), *self.hardware,
                "-smp", self.cpus, "-m", f"{self.memory_mb}M",
                "-display", "none", "-no-reboot", "-nic", "none", "-kernel", boot.kernel,
                "-initrd", boot.initramfs, "-append", " ".join(append),
                "-device", "virtio-rng-pci",
                "-fsdev", f"local,id=lab,path={self.share},"
                          "security_model=none,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab"]
        if interactive:
            argv += ["-serial", "mon:stdio"]
        else:
            argv += ["-serial", "stdio", "-monitor", "none"]
        argv += self._drive("root", boot.image, "lab-root",
                            "snapshot=on,cache=unsafe")
        for i, disk in enumerate(self.disks):
            argv += self._drive(f"disk{i}", disk.path, f"lab-disk-{i}",
                                f"cache={disk.cache}")
        environ = {**os.environ, "TMPDIR": "/dev/shm"}
        return [str(word) for word in argv], environ

    @staticmethod
    def _drive(name, path, serial, options):
        """Return the options for one virtio disk."""
        file = str(path).replace(",", ",,")
        return ["-drive", f"file={file},format=raw,if=none,id={name},"
                          f"discard=unmap,{options}",
                "-device", f"virtio-blk-pci,drive={name},serial={serial}"]


class DebugGuest(QemuGuest):
    """A guest with the debug kernel: slow, and it lives on after an oops.

    no5lvl: an interrupt while the kernel looks at the first CPU's features a
    second time finds them cleared; with five levels of page tables, KASAN
    then takes every address for a wild one. q35: the interrupt routing of
    the other machine is a loop in ACPI's language, which takes 30 s a device.
    slab_debug: caches that are checked have no sheaves, in which stale pointers
    to dozens of objects hide leaks from kmemleak.
    """

    kind = "debug"
    kernel_options = ("page_poison=1", "no5lvl", "tsc=reliable",
                      "slab_debug=F,kmalloc-*")
    hardware = ("-machine", "q35")

    def __init__(self, workdir, disks=(), memory_mb=2048, cpus=2, **rest):
        super().__init__(workdir, disks, memory_mb, cpus, **rest)

    def _kernel(self):
        return debug_files(self.choice)
