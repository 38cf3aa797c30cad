// SPDX-License-Identifier: GPL-2.0

//! Units that share a flush.

use super::super::unit::{Unit, UnitState};
use super::{before, Log};
use core::ops::DerefMut;

/// Units that a flush waits for, at most. There are few where each has few rows; with many long ones the
/// members are to have something to do meanwhile.
pub(super) const MOST: u64 = 8;

impl<U: DerefMut<Target = [Unit]>> Log<U> {
    /// Whether units that were being written when a flush was first wanted still are.
    pub(super) fn is_gathering(&mut self) -> bool {
        let newest = self.next_seq.wrapping_sub(1);
        let closed_end = match self.unit(newest) {
            Some(unit) if unit.state == UnitState::Open => newest,
            Some(_) | None => self.next_seq,
        };
        let most = self.ordered.wrapping_add(MOST);
        let end = match before(most, closed_end) {
            true => most,
            false => closed_end,
        };
        before(self.ordered, *self.group_end.get_or_insert(end))
    }
}

#[cfg(test)]
mod tests;
