# SPDX-License-Identifier: GPL-2.0
"""The lab: builds raid5c.ko, runs scripts in throw-away machines with it.

Test suites put ``tools/`` on ``sys.path`` and use what is named here::

    from lab import Disk, QemuGuest, Uml, run, build_module

See Documentation/lab.rst.
"""

from .machine import (Disk, Machine, MachineDied, MachineError,
                      MachineTimeout, Result, run)
from .module import build_module
from .qemu import DebugGuest, QemuGuest
from .uml import Uml
from .util import LabError

__all__ = ["DebugGuest", "Disk", "LabError", "Machine", "MachineDied",
           "MachineError", "MachineTimeout", "QemuGuest", "Result", "Uml",
           "build_module", "run"]
