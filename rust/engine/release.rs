// SPDX-License-Identifier: GPL-2.0

//! What became of the journal's units: rows are passed on to their stripes.

use super::{counters::Count, journal::Journal, journal_io::Rows, stripe::Stripe};
use crate::{
    journal::unit::Outcome,
    lib::trace::{trace, UnitStable},
    raid::{mask::RowMask, stripe::Event},
};
use kernel::{prelude::*, sync::Arc};

/// How many rows these masks have.
fn count_rows<'a>(masks: impl Iterator<Item = &'a RowMask>) -> u64 {
    masks.fold(0, |n, mask| n.wrapping_add(u64::from(mask.count())))
}

impl Journal {
    /// The journal is gone: whoever waits for it learns that, and nothing of it is kept.
    pub(super) fn lose(self: &Arc<Self>) {
        self.state.lock().log.lose();
        self.release();
    }

    /// Passes the rows of units whose fate is known on to their stripes, and ends users' flushes.
    pub(super) fn release(self: &Arc<Self>) {
        self.release_early();
        loop {
            let (io, ok) = {
                let mut state = self.state.lock();
                let Some((unit, outcome)) = state.log.next_stable() else {
                    break;
                };
                let io = state.submitted.get_mut(unit.index()).and_then(Option::take);
                let Some(io) = io else {
                    continue;
                };
                let ok = matches!(outcome, Outcome::Stable);
                // With the lock held, which keeps the events in order.
                trace(|| UnitStable {
                    dev: self.array.mddev.dev(),
                    seq: unit.seq(),
                    rows: io.row_count(),
                    ok,
                });
                (io, ok)
            };
            let (mut early, mut late) = {
                let mut rows = io.rows.lock();
                (
                    core::mem::take(&mut rows.early),
                    core::mem::take(&mut rows.late),
                )
            };
            self.pass_on(&mut early, ok);
            self.pass_on(&mut late, ok);
            if io.spare {
                {
                    let mut rows = io.rows.lock();
                    rows.put_back(early, late);
                }
                self.keep_unit(io);
            }
        }
        self.end_flushes();
    }

    /// Passes on the rows that need no more than that their unit is ordered.
    pub(super) fn release_early(self: &Arc<Self>) {
        loop {
            let io = {
                let mut state = self.state.lock();
                let Some(unit) = state.log.next_ordered() else {
                    return;
                };
                state.submitted.get(unit.index()).cloned().flatten()
            };
            let Some(io) = io else {
                continue;
            };
            // Whoever takes them tells them: once.
            let mut rows = core::mem::take(&mut io.rows.lock().early);
            self.array.counters.add(
                Count::RowsEarly,
                count_rows(rows.iter().map(|(_, rows)| rows)),
            );
            self.pass_on(&mut rows, true);
            if io.spare {
                io.rows.lock().put_back(rows, KVec::new());
            }
        }
    }

    fn pass_on(&self, rows: &mut Rows, ok: bool) {
        for (stripe, rows) in rows.drain_all() {
            stripe.event(Event::JournalDone { rows, ok });
            Stripe::handle(&stripe);
        }
    }
}
