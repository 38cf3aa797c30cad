# SPDX-License-Identifier: GPL-2.0
"""What QEMU boots: the guest root as an ext4 image, and a small initramfs."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .roots import guest_root
from .util import LabError, cached, run_logged, step

# Modules that must be there before the root file system is.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4", "9pnet_virtio", "9p")

INITRAMFS_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do
    insmod /modules/$module
done
n=0
while [ -z "$root" ] && [ $n -lt 100 ]; do
    for dir in /sys/block/vd*; do
        if [ "$(cat $dir/serial 2>/dev/null)" = lab-root ]; then
            root=/dev/${dir##*/}
        fi
    done
    n=$((n + 1))
    [ -n "$root" ] || sleep 0.1
done
mount -t ext4 -o noatime $root /root || exec sh
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root /usr/sbin/lab-init
"""

IMAGE_RECIPE = """
set -e
mount --bind "$KERNEL/lib/modules" "$GUEST/usr/lib/modules"
size=$(du -sm --apparent-size "$GUEST" | cut -f1)
mke2fs -q -t ext4 -F -m 0 -O ^has_journal -d "$GUEST" "$IMAGE" \\
    $((size * 5 / 4 + 1024))M
"""


@dataclass(frozen=True)
class Boot:
    """The three files that a QEMU guest is booted from."""

    kernel: Path
    initramfs: Path
    image: Path


def _modules_in_order(kernel):
    """Return the paths of BOOT_MODULES and what they need, in load order."""
    base = next((kernel / "lib/modules").iterdir())
    needs, names = {}, {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        names[Path(path).name.split(".")[0].replace("-", "_")] = path
    builtin = {Path(line).name.split(".")[0].replace("-", "_") for line in
               (base / "modules.builtin").read_text().split()}
    order = []
    for name in BOOT_MODULES:
        if name in builtin:
            continue
        if name not in names:
            raise LabError(f"the kernel in {kernel} has no module {name}")
        for path in [*reversed(needs[names[name]]), names[name]]:
            if path not in order:
                order.append(path)
    return [base / path for path in order]


def _make_initramfs(directory, kernel, guest):
    """Write directory/initramfs."""
    tree = directory / "initramfs.dir"
    for name in ("bin", "dev", "modules", "proc", "root", "sys"):
        (tree / name).mkdir(parents=True)
    busybox = next(path for path in (guest / "usr/bin/busybox",
                                     guest / "bin/busybox") if path.exists())
    shutil.copy(busybox, tree / "bin/busybox")
    order = _modules_in_order(kernel)
    for path in order:
        shutil.copy(path, tree / "modules" / path.name)
    (tree / "modules/order").write_text(
        "".join(f"{path.name}\n" for path in order))
    init = tree / "init"
    init.write_text(INITRAMFS_INIT)
    init.chmod(0o755)
    subprocess.run("find . | cpio -o -H newc --quiet > ../initramfs",
                   shell=True, cwd=tree, check=True)
    shutil.rmtree(tree)


def boot_files(kernel, choice):
    """Return what a QEMU guest is booted from, making it if necessary.

    `kernel` is a directory with boot/vmlinuz and lib/modules.
    """
    guest = guest_root(choice)
    inputs = {"kernel": kernel.name, "guest": guest.parent.name,
              "image": IMAGE_RECIPE, "init": INITRAMFS_INIT,
              "modules": BOOT_MODULES}

    def make(directory):
        with step("guest: initramfs"):
            _make_initramfs(directory, kernel, guest)
        argv = ["unshare", "--mount", "--propagation", "private", "/bin/sh",
                "-c", IMAGE_RECIPE]
        env = {**os.environ, "KERNEL": str(kernel), "GUEST": str(guest),
               "IMAGE": str(directory / "root.img")}
        run_logged(argv, "guest: disk image", "image", env=env)

    directory = cached("image", inputs, make)
    return Boot(kernel / "boot/vmlinuz", directory / "initramfs",
                directory / "root.img")
