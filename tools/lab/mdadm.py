# SPDX-License-Identifier: GPL-2.0
"""mdadm's source (Debian's package): its tests in a guest, and raid6check."""

import tempfile
from pathlib import Path

from .machine import follow
from .qemu import QemuGuest
from .roots import build_root, in_root, refresh_index
from .util import cached, lock, say

# The suite's runner wants these two beside it; everything else is the guest's
# own mdadm, the program that users have. raid6check is static, so that it
# runs whatever age the guest's libraries are, and optimised: it takes a byte
# at a time.
SOURCE_RECIPE = """
cd /tmp
apt-get -q source --only-source mdadm
cd mdadm-*/
make -j2 CWFLAGS=-w CXFLAGS=-O2 LDFLAGS=-static raid6check
cp raid6check /build/mdadm/
make -j2 CWFLAGS=-w CXFLAGS= test_stripe
rm -rf .git ./*.o .pc debian
tar cf /build/mdadm/mdadm.tar .
"""

# The suite's runner uses the mdadm beside it.
JOB = """#!/bin/bash
# Runs mdadm's tests; arguments: their names.
set -u
mkdir -p /usr/src/mdadm
tar xf /lab/mdadm.tar -C /usr/src/mdadm
cd /usr/src/mdadm || exit 2
cp "$(command -v mdadm)" "$(command -v mdmon)" .
modprobe loop max_loop=20
other=raid5c
if [ -f /lab/raid5c.ko ]; then
    other=raid456
    mkdir -p /run/modprobe.d
    echo "install raid456 /bin/false" > /run/modprobe.d/raid5c.conf
    /lab/bin/raid5c-load || exit 2
fi
lsmod | grep -E '^raid(5c|456) '
failed=
# Some tests take an hour, and are silent.
progress()
{
    while sleep 60; do
        echo "mdadm-test: $1: $((SECONDS - begin)) s," \\
            "$(grep -c '^[+]* mdadm ' /var/tmp/log) commands, the last:" \\
            "$(grep '^[+]* mdadm ' /var/tmp/log | tail -n 1)"
    done
}
for name in "$@"; do
    begin=$SECONDS
    progress "$name" &
    if ./test --tests="$name" --logdir=/tmp/mdadm-logs --save-logs \\
        --keep-going; then
        result=pass
    else
        result=FAIL
        failed="$failed $name"
        tail -n 60 /tmp/mdadm-logs/*"$name"* 2>/dev/null
    fi
    kill $!
    echo "mdadm-test: $name: $result in $((SECONDS - begin)) s"
done
lsmod | grep -E '^raid(5c|456) '
if lsmod | grep -q "^$other "; then
    echo "mdadm-test: failed: $other was loaded"
    exit 1
fi
[ -z "$failed" ] || { echo "mdadm-test: failed:$failed"; exit 1; }
"""


def mdadm_source(choice):
    """Return the directory with mdadm's source and the two helpers.

    They are in mdadm.tar; raid6check is beside it, too.
    """
    build = build_root(choice)

    def make(directory):
        with lock(f"index-{build.name}"):
            refresh_index(build / "root", choice)
            in_root(build / "root", SOURCE_RECIPE,
                    "mdadm: source and test helpers", "mdadm-source",
                    binds=[(directory, "/build/mdadm")])

    return cached("mdadm", {"build": build.name, "recipe": SOURCE_RECIPE},
                  make)


def raid6check(choice):
    """Return mdadm's checker of level 6, a program for any guest."""
    return mdadm_source(choice) / "raid6check"


def mdadm_tests(names, module, timeout, choice):
    """Run some of mdadm's tests in a guest; return 0 if all pass.

    `module` is the raid5c.ko to test; with None, raid456 is tested.
    """
    source = mdadm_source(choice)
    with tempfile.TemporaryDirectory(prefix="raid5c-", dir="/dev/shm") as temp:
        script = Path(temp) / "job"
        script.write_text(JOB)
        guest = QemuGuest(Path(temp) / "machine", memory_mb=2048,
                          module=module, udev=True, choice=choice)
        with guest:
            say(f"mdadm's tests: {' '.join(names)} ...")
            guest.start(script, names, files=[source / "mdadm.tar"])
            with follow(guest.job_log):
                code = guest.wait(timeout)
    say(f"mdadm's tests: {'all passed' if code == 0 else 'FAILED'}")
    return code
