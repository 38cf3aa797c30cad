// SPDX-License-Identifier: GPL-2.0

//! What users set in `/sys/block/mdX/md` and no other part keeps.
//!
//! Some of it sets nothing here: it is taken, within the C driver's bounds, and shown again, so
//! that scripts written for that driver go on working.

use crate::{lib::xor::can_add_syndrome, raid::stripe::RmwLevel};
use kernel::sync::atomic::{Atomic, Relaxed};

/// Stripes that may pass one that has to read first, by default of the C driver.
const BYPASS: usize = 1;

/// The values.
pub(super) struct Tunables {
    /// `rmw_level`.
    rmw: Atomic<u32>,
    /// `preread_bypass_threshold`, in rows. Without effect: nothing waits for others to be read.
    pub(super) bypass: Atomic<usize>,
    /// `group_thread_cnt`, per NUMA node. Without effect: who submits and every CPU takes part.
    pub(super) threads: Atomic<u32>,
    /// `skip_copy`. Without effect: pages are always copied.
    pub(super) skip_copy: Atomic<u32>,
}

impl Tunables {
    /// The C driver's defaults for an array with that many parity disks.
    pub(super) fn new(parity_disks: u32) -> Self {
        let rmw = if parity_disks < 2 || can_add_syndrome() {
            RmwLevel::Cheaper
        } else {
            RmwLevel::Never
        };
        Self {
            rmw: Atomic::new(rmw as u32),
            bypass: Atomic::new(BYPASS),
            threads: Atomic::new(0),
            skip_copy: Atomic::new(0),
        }
    }

    /// When parity is made by read-modify-write.
    pub(super) fn rmw(&self) -> RmwLevel {
        RmwLevel::new(self.rmw.load(Relaxed)).unwrap_or(RmwLevel::Never)
    }

    /// Sets that.
    pub(super) fn set_rmw(&self, level: RmwLevel) {
        self.rmw.store(level as u32, Relaxed);
    }
}
