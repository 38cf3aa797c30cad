// SPDX-License-Identifier: GPL-2.0

//! The order of the writes that move a log's tail, or begin a log after recovery, held by types.
//!
//! Each state says what must have been done for it to be reached, and is used up by the step to the
//! next. A shell that does what the steps are named after cannot do it in another order, and the
//! simulator's shell goes through the same states as the module's.
//!
//! ```text
//!  Log::move_tail -> TailMove -- members_flushed -> NewTail -- superblock_written -> FreedTail
//!                                                                                       |
//!                                        Log, with more room <-- discarded, or left as is
//!
//!  ScanReport::begin -> Replayed -- members_flushed -> Flushed -- unit_written -> Begun
//! ```

use super::log::{BadTail, Log, PlaceError, Placed};
use super::recovery::ScanReport;
use super::ring::{Extents, Ring};
use super::unit::{Position, Unit};
use core::ops::DerefMut;

/// The tail can move: what is before its new place is on the members, perhaps in their caches.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct TailMove {
    to: Position,
}

impl TailMove {
    /// Every member's cache was flushed, by a flush that began when this move existed already.
    pub(crate) fn members_flushed(self) -> NewTail {
        NewTail { to: self.to }
    }
}

/// What is before the new tail is on the members for good.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct NewTail {
    to: Position,
}

impl NewTail {
    /// Returns the tail that the superblock must be given.
    pub(crate) fn position(&self) -> Position {
        self.to
    }

    /// The superblock with this tail is stable.
    ///
    /// An error if the tail is not one that this log can have, and then it has not moved.
    pub(crate) fn superblock_written<U: DerefMut<Target = [Unit]>>(
        self,
        log: &Log<U>,
    ) -> Result<FreedTail, BadTail> {
        Ok(FreedTail {
            to: self.to,
            freed: log.freed_by(self.to)?,
        })
    }
}

/// Recovery starts from the new tail; the blocks before it are free, but not given to new units.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct FreedTail {
    to: Position,
    freed: Extents,
}

impl FreedTail {
    /// Returns the blocks that may be discarded now, and no later.
    pub(crate) fn extents(&self) -> Extents {
        self.freed
    }

    /// All discards, if there were any, have ended: the blocks can be written again.
    pub(crate) fn discarded<U: DerefMut<Target = [Unit]>>(
        self,
        log: &mut Log<U>,
    ) -> Result<(), BadTail> {
        log.advance_tail(self.to)
    }
}

/// What is left to be done until an idle log is empty.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Closing {
    /// Nothing: it is empty, or it is not idle and cannot be.
    Done,
    /// It is full: the tail must move first.
    Move(TailMove),
    /// A unit without entries: when it is stable, the tail is to move there.
    Unit(Placed),
}

impl<U: DerefMut<Target = [Unit]>> Log<U> {
    /// Begins to move the tail as far as it can go; `None` if it is there.
    pub(crate) fn move_tail(&self) -> Option<TailMove> {
        self.tail_candidate().map(|to| TailMove { to })
    }

    /// Leaves an idle log empty, step by step: so that nothing is replayed at the next start.
    pub(crate) fn close(&mut self) -> Result<Closing, PlaceError> {
        if !self.is_idle() || self.used() <= 1 {
            return Ok(Closing::Done);
        }
        match self.place_empty() {
            Ok(placed) => Ok(Closing::Unit(placed)),
            Err(PlaceError::NoSpace) => match self.move_tail() {
                Some(first) => Ok(Closing::Move(first)),
                None => Err(PlaceError::NoSpace),
            },
            Err(why) => Err(why),
        }
    }
}

/// The log was scanned, and its complete rows are on the members, perhaps in their caches.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Replayed {
    start: Position,
}

impl ScanReport {
    /// Begins the log that follows; see [`Self::restart`]. `None` while there are data-only rows that
    /// are not finished, which only the old log has.
    pub(crate) fn begin(&self) -> Option<Replayed> {
        (self.data_only_rows == 0).then(|| Replayed {
            start: self.restart(),
        })
    }
}

impl Replayed {
    /// Every member's cache was flushed after the scan.
    pub(crate) fn members_flushed(self) -> Flushed {
        Flushed { start: self.start }
    }
}

/// What was replayed is there for good.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Flushed {
    start: Position,
}

impl Flushed {
    /// Returns where the unit without entries goes with which the new log begins.
    pub(crate) fn unit(&self) -> Position {
        self.start
    }

    /// That unit is stable.
    pub(crate) fn unit_written(self, ring: Ring) -> Begun {
        Begun {
            tail: self.start,
            head: Position {
                block: ring.add(self.start.block, 1),
                seq: self.start.seq.wrapping_add(1),
            },
        }
    }
}

/// The new log can be used once the superblock has its tail, which must be before its first unit:
/// md sees to that, because it writes the superblock before it lets the first write through.
///
/// Source: `md_run()` leaves `in_sync` set, and `md_write_start()` waits, in `drivers/md/md.c`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// For the superblock, and for the log.
    pub(crate) tail: Position,
    /// Where the log goes on.
    pub(crate) head: Position,
}

#[cfg(test)]
mod tests;
