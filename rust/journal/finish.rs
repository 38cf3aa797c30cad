// SPDX-License-Identifier: GPL-2.0

//! Finishing data-only rows: rows that a write-back cache had acknowledged and not written out when
//! the power went. Recovery makes their parity and writes them to the members, before the new log
//! begins; until then the old log has them, so that a crash in the middle is followed by the same.
//!
//! No member has seen a data-only row: what the members hold of it agrees with the parity there,
//! unless that is recorded as bad blocks (the row was forgone, see `Machine::forgo`).
//! That is over as soon as one of them is written, so parity goes to the log first, behind its end,
//! which makes the row a complete one ([`Extension`]). Without that, a crash between two members'
//! writes and a member that is missing at the next start would cost the row the data that only
//! that member had.
//!
//! The C driver rewrites such rows at the head of a new log and leaves them in its stripe cache.
//! That takes room in ring and cache for all of their data at once; this takes a row's parity.

use super::format::JournalBlock;
use super::recovery::ScanReport;
use super::ring::Ring;
use super::unit::Position;

/// What a member's strip of a data-only row is to recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    /// It holds P or Q.
    pub(crate) parity: bool,
    /// The log has its page.
    pub(crate) logged: bool,
    /// Its member can give what it holds.
    pub(crate) readable: bool,
}

/// Where the data comes from that a data-only row's parity is made of, the log's pages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the members that hold it.
    Read,
    /// Some of it is lost: read all that can be read, and compute that from what the members hold.
    Compute,
    /// More is lost than parity can give back.
    Lost,
}

/// Chooses the way of a row, by the strips of all members.
pub(crate) fn way(strips: impl Iterator<Item = Strip>) -> Way {
    let (mut parity, mut lost, mut needed) = (0u32, 0u32, false);
    for strip in strips {
        parity = parity.saturating_add(u32::from(strip.parity));
        lost = lost.saturating_add(u32::from(!strip.readable));
        needed |= !strip.parity && !strip.logged && !strip.readable;
    }
    if !needed {
        Way::Read
    } else if lost <= parity {
        Way::Compute
    } else {
        Way::Lost
    }
}

/// A unit that is to be added to the end of a scanned log: one row's parity.
///
/// What lies behind it must not be taken for its successor, which the old log's next unit could be
/// if it was written and the one before it was not. (Nothing in there was promised to be stable, so
/// that this would do no harm that we know of; it would be luck.)
///
/// ```text
///  ScanReport::extend -> Extension -- next_wiped -> Wiped -- unit_written -> ScanReport, with more
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Extension {
    unit: Position,
    next: JournalBlock,
}

impl Extension {
    /// Returns the block after the unit, which must be no meta block when the unit is written.
    pub(crate) fn next(&self) -> JournalBlock {
        self.next
    }

    /// That block was overwritten with zeroes, and this is stable.
    pub(crate) fn next_wiped(self) -> Wiped {
        Wiped(self)
    }
}

/// Nothing follows the place of the unit.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Wiped(Extension);

impl Wiped {
    /// Returns where the unit goes.
    pub(crate) fn unit(&self) -> Position {
        self.0.unit
    }

    /// The unit and its pages are stable: the log ends behind it.
    pub(crate) fn unit_written(self, report: &mut ScanReport) {
        report.end = Position {
            block: self.0.next,
            seq: self.0.unit.seq.wrapping_add(1),
        };
    }
}

impl ScanReport {
    /// Has a unit with `parity_pages` pages added to the log that began at `tail`; `None` if there is
    /// no room. Who writes such rows reserves room for this.
    pub(crate) fn extend(
        &self,
        ring: Ring,
        tail: Position,
        parity_pages: u64,
    ) -> Option<Extension> {
        let blocks = parity_pages.checked_add(1)?;
        (blocks <= ring.free(self.end.block, tail.block)).then(|| Extension {
            unit: self.end,
            next: ring.add(self.end.block, blocks),
        })
    }

    /// A data-only row is on the members, perhaps in their caches.
    pub(crate) fn row_finished(&mut self) {
        self.data_only_rows = self.data_only_rows.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests;
