# SPDX-License-Identifier: GPL-2.0
#
# raid5c: front door. The module's build is described in Kbuild.
#
#   make                for Debian's current kernel, in a root made for it
#   make um             for user-mode Linux of the same source
#   make KDIR=<tree>    for any other prepared tree, with the tools there are
#   make install        where modprobe finds it; INSTALL_MOD_PATH is honoured
#   make test test-debug sim fuzz coverage demo bench test-mdadm shell lab
#   make fmt clippy clean
#
# SERIES=7.3 and SUITE=<Debian suite> choose another of Debian's kernels.

LAB := tools/lab/lab $(if $(SERIES),--series $(SERIES)) \
	$(if $(SUITE),--suite $(SUITE))
export INSTALL_MOD_PATH
export PYTHONDONTWRITEBYTECODE := 1

# Tests that the module has to pass. 01raid6integ has to be asked for, with --timeout 5400: it has 195
# rebuilds, and after each it sleeps for 9 seconds.
MDADM_TESTS ?= 00raid4 00raid5 00raid5-zero 00raid6 01r5fail 01r5integ 01replace \
	03r5assem 03r5assemV1 04r5swap 05r5-internalbitmap 19raid6check \
	19repair-does-not-destroy

ifdef SERIES
export RAID5C_SERIES := $(SERIES)
endif
ifdef SUITE
export RAID5C_SUITE := $(SUITE)
endif

.PHONY: all um install test test-debug sim fuzz coverage demo bench \
	test-mdadm shell lab fmt clippy clean

ifdef KDIR
all:
	sh tools/lab/check-kernel $(KDIR)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

install: all
	$(MAKE) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_DIR=updates modules_install
	depmod $(if $(INSTALL_MOD_PATH),-b $(INSTALL_MOD_PATH)) \
		$$(cat $(KDIR)/include/config/kernel.release)

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
else
all:
	$(LAB) build

install:
	$(LAB) install

clean:
	$(LAB) clean
endif

um:
	$(LAB) build --um

lab:
	$(LAB) prepare

fmt:
	$(LAB) fmt --check

clippy:
	$(LAB) clippy

shell:
	$(LAB) shell

test:
	tools/testing/run

test-debug:
	tools/testing/run --debug

# Power cuts of the pure layers, drawn for ten minutes, then all of a small
# scope, then every state of a small row; see Documentation/testing.rst.
SIM_SECONDS ?= 600
sim:
	tools/testing/sim/run --seconds $(SIM_SECONDS) -- $(SIM_ARGS)

# Every fuzz target for a minute; FUZZ_ARGS: names of targets, --seed.
FUZZ_SECONDS ?= 60
fuzz:
	tools/testing/fuzz/run --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

# Lines of the pure layers that the host tests reach.
coverage:
	tools/testing/coverage

demo:
	tools/testing/demo

bench:
	tools/testing/bench

test-mdadm:
	$(LAB) mdadm-tests $(MDADM_TESTS)
