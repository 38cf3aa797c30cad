// SPDX-License-Identifier: GPL-2.0

//! The log state machine: which unit gets which blocks, and what may happen when.
//!
//! A *unit* is one meta block and the pages that follow it. The shell fills units, writes and
//! flushes them, and moves rows to the members; the order in which it may do so is decided here:
//!
//! 1. Rows of a unit go to the members only after [`Log::next_stable`] has handed the unit out: it
//!    and all earlier units are written, and a flush of the journal that began after that is done.
//! 2. The tail passes a unit only when all rows of this and of all earlier units are done, the
//!    members are flushed and the superblock is written: the states in `tail.rs`. The tail stays on
//!    the last such unit, because recovery needs a valid meta block to start from.
//! 3. Units are handed out in sequence order, because recovery stops at the first bad one.
//! 4. After a failed write or flush nothing later is ever handed out as stable.
//! 5. Writes that are not to survive a power cut yet may end when [`Log::next_ordered`] has handed
//!    their unit out, and a user's flush when all such units are stable: `log/ordered.rs`.
//!
//! The states of a unit, and what moves it from one to the next, are drawn in `unit.rs`.
//!
//! The shell calls every method under one lock. Nothing here blocks, allocates or does I/O, and
//! every loop is bounded by the number of unit descriptors.

use super::format::JournalBlock;
use super::reserve::Reserve;
use super::ring::{Extents, Ring};
use super::unit::{Outcome, Position, Unit, UnitError, UnitExtent, UnitRef, UnitState};
use core::ops::DerefMut;
use ordered::Barrier;

/// What [`Log::place`] reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Placed {
    /// The unit that takes the entries.
    pub(crate) unit: UnitRef,
    /// Whether the unit was opened by this call: the shell starts its meta block.
    pub(crate) opened: bool,
    /// The unit that was closed to make room; the shell must write it.
    pub(crate) closed: Option<UnitRef>,
    /// The block of the first page; the others follow around the ring.
    pub(crate) first_block: JournalBlock,
}

/// Why nothing was reserved. The open unit stays open: a shell that waits must close and write it,
/// or nothing will ever be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceError {
    /// The ring is full: wait until the tail has advanced.
    NoSpace,
    /// All unit descriptors are in use: wait until units are done.
    Busy,
    /// The entries would not fit into an empty unit, or one of this ring: no waiting will help.
    TooLarge,
    /// A write or a flush of the journal has failed.
    Failed,
}

/// Whether the journal device can lose what it has written, and how to deal with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalCache {
    /// A completed write is stable.
    None,
    /// A completed write is stable after a flush.
    Volatile {
        /// Flushes in flight at most; zero counts as one.
        max_flushes: u8,
    },
}

/// When a row of the cache is as safe in the journal as its write needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// When it would be found by a recovery that sees what the device has: [`Log::next_ordered`].
    Ordered,
    /// When it survives a power cut: [`Log::next_stable`].
    Stable,
}

/// What a flush is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushFor {
    /// Rows that wait for it; other units ride along but are no reason to flush.
    Rows,
    /// The same, with the first [`group::MOST`] units that are being written when it is first wanted and may
    /// begin: one flush for all of them, where each would have its own as it ends. The shell asks again
    /// when any of them is written.
    Group,
    /// The same, and what a user's flush waits for, which is flushed at once.
    RowsAnd(Barrier),
    /// Everything that is written, such as when the log is to become idle.
    Everything,
}

/// A flush of the journal's cache that the shell must now issue; given back to [`Log::flushed`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct FlushTicket {
    /// The first sequence that the flush does not cover.
    upto: u64,
}

/// The new tail was not one that [`Log::tail_candidate`] could have named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTail;

/// The log: units in flight, head and tail.
///
/// # Invariants
///
/// - Units in flight have consecutive sequences; the oldest is at `oldest`, the newest has
///   `next_seq - 1`. Only the newest may be open.
/// - In the order of sequences: oldest, `released`, `stable`, `covered`, `ordered`, `next_seq`;
///   units before `stable` are at least stable, and so on. (A failure moves the last three back,
///   perhaps before `released`.)
/// - `acked_end` was not behind `ordered` when it was set.
#[derive(Debug)]
pub(crate) struct Log<U> {
    units: U,
    ring: Ring,
    cache: JournalCache,
    oldest: usize,
    in_flight: usize,
    next_seq: u64,
    head: JournalBlock,
    tail: Position,
    candidate: Position,
    /// The first unit that is not written, or has an earlier one that is not.
    ordered: u64,
    /// The first unit that no flush covers.
    covered: u64,
    /// The first unit that is not stable.
    stable: u64,
    /// The first unit that was not handed out.
    released: u64,
    /// The first unit after all that were handed out as ordered.
    acked_end: u64,
    /// The first unit that was not looked at for that; may lie before `stable`.
    next_to_order: u64,
    flushes: u8,
    /// The first unit that the next flush for a group does not wait for, once that is wanted.
    group_end: Option<u64>,
    failed_from: Option<u64>,
    starved: bool,
    /// The tail is to come to this unit soon.
    hasten: Option<u64>,
    /// The same, and there might have been but for what was granted and not used.
    crowded: bool,
    /// Room that only the rows of a write-back cache are given.
    reserve: Reserve,
}

impl<U: DerefMut<Target = [Unit]>> Log<U> {
    /// Starts a log between `tail`, whose meta block is valid and stable, and `head`, where the next
    /// unit goes; `None` if there are no descriptors or a position is outside the ring.
    pub(crate) fn new(
        mut units: U,
        ring: Ring,
        tail: Position,
        head: Position,
        cache: JournalCache,
    ) -> Option<Self> {
        if units.is_empty() || !ring.contains(tail.block) || !ring.contains(head.block) {
            return None;
        }
        units.fill(Unit::VACANT);
        Some(Self {
            units,
            ring,
            cache,
            oldest: 0,
            in_flight: 0,
            next_seq: head.seq,
            head: head.block,
            tail,
            candidate: tail,
            ordered: head.seq,
            covered: head.seq,
            stable: head.seq,
            released: head.seq,
            acked_end: head.seq,
            next_to_order: head.seq,
            flushes: 0,
            group_end: None,
            failed_from: None,
            starved: false,
            hasten: None,
            crowded: false,
            reserve: Reserve::new(0, 0),
        })
    }

    /// Closes the open unit, if there is one: the shell must write it.
    pub(crate) fn close_open(&mut self) -> Option<UnitRef> {
        let seq = self.next_seq.wrapping_sub(1);
        let unit = self.unit_mut(seq)?;
        if unit.state != UnitState::Open {
            return None;
        }
        unit.state = UnitState::Closed;
        self.reference(seq)
    }

    /// Returns where the unit lies, which is final once the unit is closed.
    pub(crate) fn unit_extent(&self, unit: UnitRef) -> Option<UnitExtent> {
        let descriptor = self.lookup(unit)?;
        Some(UnitExtent {
            start: descriptor.start,
            blocks: descriptor.blocks,
            seq: unit.seq,
        })
    }

    /// Takes note that the write of a closed unit has completed.
    ///
    /// A closed unit that the shell does not want to write any more, because the log has failed,
    /// is reported here with `ok` false as well.
    pub(crate) fn written(&mut self, unit: UnitRef, ok: bool) -> Result<(), UnitError> {
        self.lookup(unit).ok_or(UnitError::Stale)?;
        let descriptor = self.unit_mut(unit.seq).ok_or(UnitError::Stale)?;
        if descriptor.state != UnitState::Closed {
            return Err(UnitError::WrongState);
        }
        descriptor.state = if ok {
            UnitState::Written
        } else {
            UnitState::WriteFailed
        };
        if ok {
            self.order();
        } else {
            self.fail_from(unit.seq);
        }
        Ok(())
    }

    /// Starts a flush that covers all ordered units, if there are uncovered ones and a flush more
    /// may be in flight; never without a volatile cache.
    ///
    /// The shell must issue the flush after this call, not before.
    pub(crate) fn next_flush(&mut self, want: FlushFor) -> Option<FlushTicket> {
        let max_flushes = match self.cache {
            JournalCache::None => return None,
            JournalCache::Volatile { max_flushes } => max_flushes.max(1),
        };
        if self.flushes >= max_flushes || self.covered == self.ordered {
            return None;
        }
        let others = match want {
            FlushFor::Rows | FlushFor::Group => false,
            FlushFor::RowsAnd(barrier) => self.is_uncovered(barrier),
            FlushFor::Everything => true,
        };
        // After a failure the rest waits to learn what became of these units.
        if !others && !self.failed() && !self.is_awaited(self.covered, self.ordered) {
            return None;
        }
        if !others && want != FlushFor::Rows && !self.failed() && self.is_gathering() {
            return None;
        }
        self.group_end = None;
        self.flushes = self.flushes.saturating_add(1);
        self.covered = self.ordered;
        Some(FlushTicket { upto: self.ordered })
    }

    /// Takes note that a flush has completed.
    ///
    /// A later flush may complete before an earlier one, and then covers its units too.
    pub(crate) fn flushed(&mut self, ticket: FlushTicket, ok: bool) {
        self.flushes = self.flushes.saturating_sub(1);
        if !ok {
            self.fail_from(self.stable);
            return;
        }
        let end = match self.failed_from {
            Some(failed) if before(failed, ticket.upto) => failed,
            Some(_) | None => ticket.upto,
        };
        self.settle(end);
    }

    /// Hands out the next unit in sequence order whose fate is known: once each.
    ///
    /// [`Outcome::Stable`]: the shell moves the unit's rows to the members. [`Outcome::Failed`]: it
    /// fails them.
    pub(crate) fn next_stable(&mut self) -> Option<(UnitRef, Outcome)> {
        let seq = self.released;
        let unit = self.reference(seq)?;
        let over = self.failed_from.is_some_and(|failed| !before(seq, failed));
        let descriptor = self.unit_mut(seq)?;
        let outcome = match descriptor.state {
            UnitState::Stable => Outcome::Stable,
            UnitState::Written | UnitState::Ordered | UnitState::WriteFailed if over => {
                Outcome::Failed
            }
            UnitState::Vacant
            | UnitState::Open
            | UnitState::Closed
            | UnitState::Written
            | UnitState::WriteFailed
            | UnitState::Ordered
            | UnitState::Released
            | UnitState::Done
            | UnitState::Lost => return None,
        };
        descriptor.state = match outcome {
            Outcome::Stable if descriptor.rows == 0 => UnitState::Done,
            Outcome::Stable => UnitState::Released,
            Outcome::Failed => UnitState::Lost,
        };
        self.released = seq.wrapping_add(1);
        self.retire();
        Some((unit, outcome))
    }

    /// Returns how many rows of the unit are not done; `None` if the unit is not in flight.
    #[allow(dead_code)] // for write-back
    pub(crate) fn rows_pending(&self, unit: UnitRef) -> Option<u32> {
        self.lookup(unit).map(|descriptor| descriptor.rows)
    }

    /// Takes note that `rows` more rows of a unit that was handed out are on the members: written,
    /// not necessarily flushed, and not to be replayed any more.
    pub(crate) fn row_done(&mut self, unit: UnitRef, rows: u32) -> Result<(), UnitError> {
        self.lookup(unit).ok_or(UnitError::Stale)?;
        let descriptor = self.unit_mut(unit.seq).ok_or(UnitError::Stale)?;
        if descriptor.state != UnitState::Released {
            return Err(UnitError::WrongState);
        }
        descriptor.rows = descriptor
            .rows
            .checked_sub(rows)
            .ok_or(UnitError::TooManyRows)?;
        if descriptor.rows == 0 {
            descriptor.state = UnitState::Done;
            self.retire();
        }
        Ok(())
    }

    /// Returns the newest position that the tail may move to, if it is newer than the tail.
    ///
    /// What comes between this and [`Self::advance_tail`] is in `tail.rs`.
    pub(crate) fn tail_candidate(&self) -> Option<Position> {
        (self.candidate != self.tail).then_some(self.candidate)
    }

    /// Returns the blocks that moving the tail to `to` frees.
    pub(super) fn freed_by(&self, to: Position) -> Result<Extents, BadTail> {
        let freed = self.ring.distance(self.tail.block, to.block);
        let newer = before(self.tail.seq, to.seq) && !before(self.candidate.seq, to.seq);
        if !newer || freed == 0 || freed > self.reclaimable() {
            return Err(BadTail);
        }
        Ok(self.ring.extents(self.tail.block, freed))
    }

    /// Moves the tail to a position that [`Self::tail_candidate`] named: from now on the blocks
    /// before it are given to new units.
    pub(super) fn advance_tail(&mut self, to: Position) -> Result<(), BadTail> {
        self.freed_by(to)?;
        self.tail = to;
        self.starved = false;
        Ok(())
    }

    /// Has what is in the log now leave it as soon as it can: parity of a row is there that will not
    /// fit its data any more, and no newer one comes.
    pub(crate) fn hasten(&mut self) {
        self.hasten = Some(self.next_seq.wrapping_sub(1));
    }

    /// Tells whether moving the tail is worth a superblock write: much can be freed, or something
    /// can and there was no room for a row, or it is to leave the log.
    pub(crate) fn wants_reclaim(&self) -> bool {
        let reclaimable = self.reclaimable();
        let late = self.hasten.is_some_and(|seq| before(self.tail.seq, seq));
        reclaimable > self.ring.reclaim_threshold() || ((self.starved || late) && reclaimable > 0)
    }

    /// Returns the tail, as the superblock must have it.
    #[allow(dead_code)] // for write-back
    pub(crate) fn tail(&self) -> Position {
        self.tail
    }

    /// Returns where the next unit goes.
    #[allow(dead_code)] // for write-back
    pub(crate) fn head(&self) -> Position {
        Position {
            block: self.head,
            seq: self.next_seq,
        }
    }

    /// Returns the blocks between tail and head.
    pub(crate) fn used(&self) -> u64 {
        self.ring.distance(self.tail.block, self.head)
    }

    /// Returns the blocks that units can still take.
    pub(crate) fn free(&self) -> u64 {
        self.ring.free(self.head, self.tail.block)
    }

    /// Returns the blocks that moving the tail would not free, with those promised to rows of the
    /// cache, and all blocks.
    pub(crate) fn load(&self) -> (u64, u64) {
        let kept = self.used().saturating_sub(self.reclaimable());
        (kept.saturating_add(self.promised()), self.ring.blocks())
    }

    /// Returns the blocks promised to rows of the cache.
    pub(crate) fn promised(&self) -> u64 {
        self.reserve.blocks()
    }

    /// Tells whether there was no room for something since the tail moved last.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Returns how many more units can be in flight at once.
    pub(crate) fn spare_units(&self) -> usize {
        self.units.len().saturating_sub(self.in_flight)
    }

    /// Tells whether a write or a flush of the journal has failed; that is final.
    pub(crate) fn failed(&self) -> bool {
        self.failed_from.is_some()
    }

    /// Tells whether no unit is open, being written, or has rows that are not done.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.reserve.is_empty()
    }

    /// Moves on all units that are written and have only ordered ones before them.
    fn order(&mut self) {
        if self
            .failed_from
            .is_some_and(|failed| !before(self.ordered, failed))
        {
            return;
        }
        while let Some(unit) = self.unit_mut(self.ordered) {
            if unit.state != UnitState::Written {
                break;
            }
            unit.state = UnitState::Ordered;
            self.ordered = self.ordered.wrapping_add(1);
        }
        match self.cache {
            JournalCache::None => {
                self.covered = self.ordered;
                self.settle(self.ordered);
            }
            JournalCache::Volatile { .. } => {}
        }
    }

    /// Makes all units before `end` stable.
    fn settle(&mut self, end: u64) {
        while before(self.stable, end) {
            match self.unit_mut(self.stable) {
                Some(unit) if unit.state == UnitState::Ordered => unit.state = UnitState::Stable,
                Some(_) | None => break,
            }
            self.stable = self.stable.wrapping_add(1);
        }
    }

    /// Takes note that the journal is gone: what is not stable by now never will be.
    pub(crate) fn lose(&mut self) {
        self.fail_from(self.stable);
    }

    /// Takes note that the unit `seq` will not become stable, and so none after it.
    fn fail_from(&mut self, seq: u64) {
        let failed = match self.failed_from {
            Some(failed) if before(failed, seq) => failed,
            Some(_) | None => seq,
        };
        self.failed_from = Some(failed);
        for cursor in [&mut self.ordered, &mut self.covered] {
            if before(failed, *cursor) {
                *cursor = failed;
            }
        }
    }

    /// Gives back the descriptors of the oldest units that are over, and moves the candidate.
    fn retire(&mut self) {
        while self.in_flight > 0 {
            let seq = self.oldest_seq();
            let Some(unit) = self.unit_mut(seq) else {
                return;
            };
            let start = unit.start;
            match unit.state {
                UnitState::Done => self.candidate = Position { block: start, seq },
                // All later units are lost too, so the candidate stays where it is.
                UnitState::Lost => {}
                UnitState::Vacant
                | UnitState::Open
                | UnitState::Closed
                | UnitState::Written
                | UnitState::WriteFailed
                | UnitState::Ordered
                | UnitState::Stable
                | UnitState::Released => return,
            }
            if let Some(unit) = self.unit_mut(seq) {
                *unit = Unit::VACANT;
            }
            self.oldest = self.wrap(self.oldest.saturating_add(1));
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// Blocks that moving the tail to the candidate would free.
    fn reclaimable(&self) -> u64 {
        self.ring.distance(self.tail.block, self.candidate.block)
    }

    fn is_awaited(&self, from: u64, end: u64) -> bool {
        let mut seq = from;
        while before(seq, end) {
            match self.unit(seq) {
                Some(unit) if unit.awaited => return true,
                Some(_) => {}
                None => return false,
            }
            seq = seq.wrapping_add(1);
        }
        false
    }

    fn oldest_seq(&self) -> u64 {
        // Lossless: a slice has fewer than 2^63 elements.
        self.next_seq.wrapping_sub(self.in_flight as u64)
    }

    /// The descriptor's index for a unit in flight.
    fn index(&self, seq: u64) -> Option<usize> {
        let nth = usize::try_from(seq.wrapping_sub(self.oldest_seq())).ok()?;
        (nth < self.in_flight).then(|| self.wrap(self.oldest.saturating_add(nth)))
    }

    fn wrap(&self, index: usize) -> usize {
        index.checked_rem(self.units.len()).unwrap_or(0)
    }

    fn unit(&self, seq: u64) -> Option<&Unit> {
        self.units.get(self.index(seq)?)
    }

    fn unit_mut(&mut self, seq: u64) -> Option<&mut Unit> {
        let index = self.index(seq)?;
        self.units.get_mut(index)
    }

    fn reference(&self, seq: u64) -> Option<UnitRef> {
        self.index(seq).map(|index| UnitRef { index, seq })
    }

    /// The descriptor of a unit that is still in flight.
    fn lookup(&self, unit: UnitRef) -> Option<&Unit> {
        (self.index(unit.seq)? == unit.index)
            .then(|| self.unit(unit.seq))
            .flatten()
    }
}

/// Tells whether the sequence `a` comes before `b`, around the end of `u64`.
fn before(a: u64, b: u64) -> bool {
    let ahead = b.wrapping_sub(a);
    ahead != 0 && ahead < 1 << 63
}

mod group;
pub(crate) mod ordered;
mod place;
#[cfg(test)]
mod tests;
