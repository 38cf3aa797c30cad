// SPDX-License-Identifier: GPL-2.0

//! What is known of units before they are stable.
//!
//! A disk may lose a write that was neither FUA nor flushed since, and so may an array. So data of
//! a write-back cache whose writer did not ask for more ends its write once the unit is *ordered*:
//! it and all earlier units are written. Recovery would find it there, the parity that may follow
//! lies behind it, and no flush is needed. What a user's flush then has to wait for is named by
//! a [`Barrier`].

use super::super::unit::{Unit, UnitRef, UnitState};
use super::{before, Log};
use core::ops::DerefMut;

/// Everything that was handed out as ordered until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Barrier {
    /// The first sequence behind it.
    end: u64,
}

/// What became of what a [`Barrier`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is stable.
    Yes,
    /// It will be, after a flush (see `FlushFor::Everything`).
    NotYet,
    /// The journal failed before. A flush under way may make it stable all the same: nobody is to
    /// rely on that.
    Never,
}

impl<U: DerefMut<Target = [Unit]>> Log<U> {
    /// Hands out the next unit that is ordered and has rows placed with `WaitFor::Ordered`: once
    /// each, in sequence order. The shell ends the writes of those rows.
    ///
    /// What is stable by then is left to [`Log::next_stable`], so that without a volatile cache
    /// there is nothing here.
    pub(crate) fn next_ordered(&mut self) -> Option<UnitRef> {
        if before(self.next_to_order, self.stable) {
            self.next_to_order = self.stable;
        }
        while before(self.next_to_order, self.ordered) {
            let seq = self.next_to_order;
            self.next_to_order = seq.wrapping_add(1);
            let early = |unit: &Unit| unit.early && unit.state == UnitState::Ordered;
            if self.unit(seq).is_some_and(early) {
                self.acked_end = self.next_to_order;
                return self.reference(seq);
            }
        }
        None
    }

    /// Names what a flush that begins now has to wait for.
    pub(crate) fn barrier(&self) -> Barrier {
        Barrier {
            end: self.acked_end,
        }
    }

    /// Whether no flush that is under way covers that.
    pub(super) fn is_uncovered(&self, barrier: Barrier) -> bool {
        before(self.covered, barrier.end)
    }

    /// Tells what became of that.
    pub(crate) fn is_kept(&self, barrier: Barrier) -> Kept {
        if !before(self.stable, barrier.end) {
            Kept::Yes
        } else if self.failed() {
            Kept::Never
        } else {
            Kept::NotYet
        }
    }
}
