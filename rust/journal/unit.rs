// SPDX-License-Identifier: GPL-2.0

//! A unit of the log: one meta block and the pages that follow it, on their way from being filled
//! to being on the members.
//!
//! ```text
//!            place                 close               written(ok)
//!  Vacant ----------> Open ----------------> Closed ----------------> Written
//!    ^                                         |                         | all earlier
//!    |                              written(!ok)                         | are Ordered
//!    |                                         v                         v
//!    |                                    WriteFailed                 Ordered
//!    |                                         |                         | flushed(ok), or
//!    |                              next_stable, all earlier              | no volatile cache
//!    |                              handed out; also for                  v      (next_ordered may
//!    |                              every later unit                   Stable    hand it out before)
//!    |                                         |                         | next_stable, all
//!    |                                         v                         v earlier handed out
//!    |<-------------------------------------- Lost                    Released
//!    |   all earlier retired                                             | last row_done
//!    |                                                                   v
//!    +---------------------------------------------------------------- Done
//!        all earlier retired; the unit becomes the candidate for the tail
//! ```
//!
//! All of these steps are `Log`'s; the shell only names units and learns what became of them.

use super::format::JournalBlock;

/// A place in the log: the block where a unit's meta block lies, and the unit's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The block of the unit's meta block.
    pub(crate) block: JournalBlock,
    /// The unit's sequence.
    pub(crate) seq: u64,
}

/// Names a unit in flight; one that was kept too long is recognised as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnitRef {
    pub(super) index: usize,
    pub(super) seq: u64,
}

impl UnitRef {
    /// Returns the index of the unit's descriptor, for the shell's own array of buffers.
    ///
    /// A descriptor is used again once its unit and all earlier ones are done.
    pub(crate) fn index(self) -> usize {
        self.index
    }

    /// Returns the unit's sequence.
    pub(crate) fn seq(self) -> u64 {
        self.seq
    }
}

/// The state of a unit; see the diagram at the top of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitState {
    /// The descriptor is not in use.
    Vacant,
    /// Takes entries.
    Open,
    /// Takes no more entries and is being written, or is about to be.
    Closed,
    /// Is written; perhaps an earlier unit is not.
    Written,
    /// Its write has failed.
    WriteFailed,
    /// Is written, as are all earlier units.
    Ordered,
    /// Survives a power cut, as do all earlier units.
    Stable,
    /// Was handed out as stable: its rows go to the members.
    Released,
    /// Its rows are on the members; perhaps an earlier unit's are not.
    Done,
    /// Was handed out as failed.
    Lost,
}

/// A unit's descriptor; the shell provides an array of them and never looks inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(super) state: UnitState,
    pub(super) start: JournalBlock,
    pub(super) blocks: u32,
    pub(super) meta_used: usize,
    pub(super) rows: u32,
    pub(super) awaited: bool,
    pub(super) early: bool,
}

impl Unit {
    /// A descriptor that is not in use.
    pub(crate) const VACANT: Self = Self {
        state: UnitState::Vacant,
        start: JournalBlock::new(0),
        blocks: 0,
        meta_used: 0,
        rows: 0,
        awaited: false,
        early: false,
    };
}

/// Where a unit lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnitExtent {
    /// The meta block; the pages follow around the ring (see `Ring::extents`).
    pub(crate) start: JournalBlock,
    /// Blocks of the unit, the meta block included.
    pub(crate) blocks: u32,
    /// The unit's sequence.
    pub(crate) seq: u64,
}

/// Why a unit's event was refused; each of these is a mistake of the shell's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// The unit is not in flight any more.
    Stale,
    /// The event does not belong to the unit's state.
    WrongState,
    /// More rows are done than the unit has.
    TooManyRows,
}

/// What became of a unit on its way to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is stable: its rows may go to the members.
    Stable,
    /// It, or an earlier unit, could not be made stable: its rows must not go to the members. The
    /// unit is over; there is no [`Log::row_done`] for it.
    Failed,
}
