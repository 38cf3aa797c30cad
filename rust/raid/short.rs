// SPDX-License-Identifier: GPL-2.0

//! What a stripe's rows are when memory is short: what may be freed, and what is to get some first.

use super::mask::RowMask;
use super::stripe::{Policy, State, Strip};

impl State {
    /// Forgets what is in memory of all rows of which it is not needed there:
    /// their pages may be freed. Returns the rows.
    pub(crate) fn forget(&self, strips: &mut [Strip], policy: &Policy) -> RowMask {
        let mut needed = self.busy | self.in_ops | self.syncing | self.stuck;
        for s in strips.iter() {
            needed.insert(s.reading | s.writing | s.twin_writing | s.cached);
            if policy.may_fix {
                needed.insert(s.fixable());
            }
        }
        let rows = self.rows.minus(needed);
        for s in strips {
            s.uptodate.remove(rows);
            s.read_error.remove(rows);
            s.suspect.remove(rows);
        }
        rows
    }

    /// Rows that have, or may come to have, strips with two pages.
    pub(crate) fn doubled(&self, strips: &[Strip]) -> RowMask {
        strips.iter().fold(self.caching, |all, s| all | s.cached)
    }

    /// Rows that can never be written out.
    pub(crate) fn stuck(&self) -> RowMask {
        self.stuck
    }

    /// Rows that wait for no room in the journal on their way: those whose cached data goes to the
    /// members, or is to, and those that are being cached, which have the room for both.
    pub(crate) fn has_room(&self, strips: &[Strip]) -> RowMask {
        self.caching | self.out | self.out_due(strips)
    }
}
