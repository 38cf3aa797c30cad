// SPDX-License-Identifier: GPL-2.0

//! What is said of data that is lost: of rows of which too much is, and at the end of an array's run of
//! cached data that the members never got.

use super::{
    array::{Array, JournalState},
    stripe::Stripe,
    work::Handler,
};
use crate::raid::{
    mask::RowMask,
    stripe::Actions,
    units::{DevSector, Slot},
};
use kernel::prelude::*;

/// Ranges that are named at most.
const NAMED: u32 = 64;

impl Stripe {
    /// Takes note of rows of which more is lost than parity makes up for.
    pub(super) fn note_lost(&self, work: &Handler, acts: &Actions) {
        let mut rows = acts.lost;
        if acts.record {
            rows = rows.minus(self.record_bad(work));
        }
        for row in rows.iter() {
            let lost = |slot: usize| work.tasks.get(slot).is_some_and(|t| t.acts.lost.has(row));
            self.array().report_row(self.row_sector(row), lost);
        }
    }
}

impl Array {
    /// Says that the row at member sector `at` cannot be had any more: strips are `lost`, by their slots.
    pub(super) fn report_row(&self, at: DevSector, lost: impl Fn(usize) -> bool) {
        let name = self.mddev.name();
        pr_crit!(
            "{}: more of the row at member sector {} is lost than parity makes up for; reads of what follows fail until it is written again, restore it from a backup\n",
            name,
            at.get()
        );
        for slot in (0..self.members.len()).filter(|slot| lost(*slot)) {
            let device = self.members.both(slot).into_iter().flatten().next();
            let sector = u16::try_from(slot).ok().map(Slot::new);
            match (device, sector.and_then(|slot| self.geo.unmap(at, slot))) {
                (Some(rdev), Some(sector)) => {
                    pr_crit!(
                        "{}: {}: sectors {}+8 of the array\n",
                        name,
                        rdev.name(),
                        sector.get()
                    );
                }
                (Some(rdev), None) => pr_crit!("{}: {}: parity\n", name, rdev.name()),
                (None, Some(sector)) => {
                    pr_crit!(
                        "{}: raid disk {}, missing: sectors {}+8 of the array\n",
                        name,
                        slot,
                        sector.get()
                    );
                }
                (None, None) => pr_crit!("{}: raid disk {}, missing: parity\n", name, slot),
            }
        }
    }

    /// Rows that are cached.
    pub(super) fn cached_rows(&self) -> u32 {
        let mut rows = 0u32;
        self.for_each_stripe(|stripe| rows = rows.saturating_add(stripe.cached_rows()));
        rows
    }

    /// Says what is in the journal only, if that is still there, and where in the array it lies.
    pub(super) fn report_cached(&self) {
        let rows = self.cached_rows();
        if rows == 0 {
            return;
        }
        let name = self.mddev.name();
        if self.journal_state() == JournalState::Works {
            pr_crit!(
                "{}: cached data of {} rows could not be written to the members, and is in the journal: keep that; it is recovered when the array is assembled with it\n",
                name,
                rows
            );
        } else {
            pr_crit!(
                "{}: cached data of {} rows could not be written to the members, and the journal failed: these writes are lost, restore what follows from a backup\n",
                name,
                rows
            );
        }
        let mut ranges = 0u32;
        self.for_each_stripe(|stripe| {
            stripe
                .for_each_cached(|slot, rows| self.report_ranges(stripe, slot, rows, &mut ranges));
        });
        if ranges > NAMED {
            pr_crit!("{}: ... and {} more ranges\n", name, ranges - NAMED);
        }
    }

    fn report_ranges(&self, stripe: &Stripe, slot: usize, rows: RowMask, ranges: &mut u32) {
        for (start, n) in rows.runs() {
            *ranges = ranges.saturating_add(1);
            if *ranges > NAMED {
                continue;
            }
            let first = u64::from(start).wrapping_mul(8);
            let dev = DevSector::new(stripe.sector().wrapping_add(first));
            let slot = Slot::new(u16::try_from(slot).unwrap_or(u16::MAX));
            let Some(at) = self.geo.unmap(dev, slot) else {
                continue;
            };
            pr_crit!(
                "{}: not on the members: sectors {}+{} of the array\n",
                self.mddev.name(),
                at.get(),
                n.saturating_mul(8)
            );
        }
    }

    fn for_each_stripe(&self, mut f: impl FnMut(&Stripe)) {
        // Nothing is found, so that it looks at all.
        let _ = self.cache.find_from(0, |stripe| {
            f(stripe);
            false
        });
    }
}
