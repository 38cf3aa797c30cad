// SPDX-License-Identifier: GPL-2.0

//! A stripe's pages when memory is short; see `budget.rs`.

use super::{
    budget::Loan,
    stripe::{Inner, Stripe},
    table::Which,
    work::Handler,
};
use crate::raid::{mask::RowMask, stripe::Policy};

impl Handler {
    /// Whether reads or writes are to be issued.
    pub(super) fn wants_io(&self, write: bool) -> bool {
        self.tasks.iter().any(|t| {
            if write {
                (t.write | t.write_alone | t.twin | t.discard).any()
            } else {
                (t.read | t.read_alone).any()
            }
        })
    }

    /// Gives all that is to be done its pages; returns the rows that lack some.
    fn ensure(&mut self) -> RowMask {
        let ops = self.ops.all();
        let mut lacking = RowMask::EMPTY;
        for slot in 0..self.tasks.len() {
            let Some(task) = self.tasks.get(slot) else {
                continue;
            };
            let reads = task.read | task.read_alone;
            let first = reads.minus(task.second) | (task.result & ops) | task.drain;
            let second = (reads | (task.result & self.ops.compute)) & task.second;
            for (which, rows) in [(Which::First, first), (Which::Second, second)] {
                // A row that lacks one page waits for the others as well.
                let rows = rows.minus(lacking);
                if rows.any() {
                    lacking.insert(self.pages.ensure(which, slot, rows));
                }
            }
        }
        lacking
    }
}

impl Stripe {
    /// Gives all that is to be done its pages, if need be from a reserve; returns
    /// the rows that lack some.
    pub(super) fn provide(&self, work: &mut Handler) -> RowMask {
        let lacking = work.ensure();
        if lacking.is_empty() {
            return lacking;
        }
        self.borrow(work, lacking)
    }

    /// Has `lacking` rows get their pages from a reserve; returns those that do not.
    #[cold]
    fn borrow(&self, work: &mut Handler, lacking: RowMask) -> RowMask {
        let budget = self.array().cache.budget();
        // What is stuck would keep what it gets.
        let may = lacking.minus(work.stuck);
        let out = may & work.has_room;
        let mut left = lacking;
        for (loan, rows) in [(Loan::Out, out), (Loan::Any, may.minus(out))] {
            if rows.is_empty() || !budget.borrow(loan, self.index()) {
                continue;
            }
            let mut lent = RowMask::EMPTY;
            for row in rows.iter() {
                if !work.pages.lend(loan, row, work.doubled.has(row)) {
                    break;
                }
                lent.insert(RowMask::single(row));
            }
            left.remove(lent);
            let all = match loan {
                Loan::Any => &mut work.borrowed.any,
                Loan::Out => &mut work.borrowed.out,
            };
            all.insert(lent);
            if all.is_empty() {
                budget.settle(loan, self.index());
            }
        }
        work.pending |= left.any();
        left
    }

    /// A stripe with pages of a reserve is to give them back soon.
    #[cold]
    pub(super) fn hurry(&self, inner: &mut Inner, work: &Handler, policy: &mut Policy) {
        policy.hold = false;
        policy.begin = work.borrowed.out.is_empty();
        // What would be cached would keep its pages.
        policy.write_back = false;
        inner
            .st
            .want_out(&inner.strips, work.borrowed.any | work.borrowed.out);
    }

    /// Notes what has to be known of rows if memory is short, and forgets rows that
    /// have pages of a reserve and do not need them any more.
    pub(super) fn note_rows(&self, inner: &mut Inner, work: &mut Handler, policy: &Policy) {
        if self.array().may_cache() {
            work.doubled = inner.st.doubled(&inner.strips);
            work.has_room = inner.st.has_room(&inner.strips);
            work.stuck = inner.st.stuck();
        }
        if work.borrowed.is_some() {
            let over = inner.st.forget(&mut inner.strips, policy);
            // What is stuck keeps its pages: the reserve gets others.
            work.over = over | inner.st.stuck();
            work.forgotten.insert(over);
        }
    }

    /// Frees the pages of rows that were forgotten, and gives reserves back of
    /// which nothing is needed any more. True if there was one.
    pub(super) fn return_pages(&self, work: &mut Handler) -> bool {
        let over = core::mem::replace(&mut work.over, RowMask::EMPTY);
        if over.is_empty() {
            return false;
        }
        let rows = core::mem::replace(&mut work.forgotten, RowMask::EMPTY);
        work.pages.drop_rows(rows);
        let budget = self.array().cache.budget();
        let mut back = false;
        for (loan, mask) in [
            (Loan::Any, &mut work.borrowed.any),
            (Loan::Out, &mut work.borrowed.out),
        ] {
            if mask.any() {
                mask.remove(over);
                if mask.is_empty() {
                    budget.settle(loan, self.index());
                    back = true;
                }
            }
        }
        if back {
            self.array().memory_back();
        }
        back
    }
}
