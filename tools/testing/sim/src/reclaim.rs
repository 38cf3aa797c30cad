// SPDX-License-Identifier: GPL-2.0

//! Moving the tail, in the order of `rust/engine/reclaim.rs`, and md's superblock.

use crate::hardware::{empty_unit, Superblock};
use crate::journal::log::FlushFor;
use crate::journal::tail::{Closing, FreedTail, NewTail, TailMove};
use crate::setup::Bug;
use crate::story::{judge, tell};
use crate::world::World;

/// How far reclaim is.
pub(crate) enum Reclaim {
    Idle,
    /// Members are being flushed: each with what its flush covers.
    Flush {
        begun: TailMove,
        left: Vec<(usize, u64)>,
    },
    /// The superblock must be written with the new tail; `None`: a planted bug has used it up.
    NeedSuperblock(Option<NewTail>),
    /// It is being written.
    Superblock(Option<NewTail>),
    /// What was freed is being discarded; `None`: it was given to the log too early.
    Discard {
        freed: Option<FreedTail>,
        blocks: Vec<u64>,
    },
}

impl World {
    /// Begins to move the tail as far as it can go.
    pub(crate) fn reclaim_start(&mut self) {
        if let Some(begun) = self.journal.log.move_tail() {
            self.flush_members(begun);
        }
    }

    fn flush_members(&mut self, begun: TailMove) {
        let mut left = Vec::new();
        if self.bug != Some(Bug::EarlyTail) {
            for slot in (0..self.faulty.len()).filter(|s| !self.faulty[*s]) {
                left.push((slot, self.hw.members[slot].flush_begin()));
            }
        }
        tell!(self, "reclaim: {begun:?}; members are flushed");
        self.reclaim = Reclaim::Flush { begun, left };
    }

    /// Whether reclaim waits for nothing but to go on.
    pub(crate) fn reclaim_can_step(&self) -> bool {
        matches!(
            self.reclaim,
            Reclaim::Flush { .. } | Reclaim::Discard { .. }
        )
    }

    pub(crate) fn reclaim_step(&mut self) {
        if self.journal_faulty {
            self.reclaim = Reclaim::Idle;
            return;
        }
        self.reclaim = match std::mem::replace(&mut self.reclaim, Reclaim::Idle) {
            Reclaim::Flush { begun, mut left } => match left.is_empty() {
                false => {
                    let (slot, stamp) = left.swap_remove(self.tape.pick(left.len()));
                    if !self.faulty[slot] {
                        self.hw.members[slot].flush_end(stamp);
                    }
                    Reclaim::Flush { begun, left }
                }
                true => self.members_flushed(begun),
            },
            Reclaim::Discard { freed, mut blocks } => match blocks.pop() {
                Some(block) => {
                    if self.tape.chance(80) {
                        self.hw.journal.discard(block as usize);
                    }
                    Reclaim::Discard { freed, blocks }
                }
                None => {
                    if let Some(freed) = freed {
                        self.advance(freed);
                    }
                    Reclaim::Idle
                }
            },
            other => other,
        };
    }

    fn members_flushed(&mut self, begun: TailMove) -> Reclaim {
        let tail = begun.members_flushed();
        self.tail = tail.position().block.get();
        if self.bug != Some(Bug::EarlyReuse) {
            return Reclaim::NeedSuperblock(Some(tail));
        }
        if let Ok(freed) = tail.superblock_written(&self.journal.log) {
            self.advance(freed);
        }
        Reclaim::NeedSuperblock(None)
    }

    fn advance(&mut self, freed: FreedTail) {
        tell!(self, "reclaim: {:?} are free", freed.extents());
        let moved = freed.discarded(&mut self.journal.log);
        judge!(
            self,
            moved.is_ok(),
            "the log refuses its own tail",
            "{moved:?}"
        );
        self.journal.room = true;
        self.stats.reclaims += 1;
    }

    /// The superblock as memory has it.
    fn superblock(&self) -> Superblock {
        Superblock {
            tail: self.tail,
            in_sync: self.good(),
            journal: !self.journal_faulty,
            bad: self.bad.clone(),
        }
    }

    /// Whether md has something to write.
    pub(crate) fn superblock_due(&self) -> bool {
        let sb = &self.hw.sb;
        self.hw.sb_writing.is_none()
            && (matches!(self.reclaim, Reclaim::NeedSuperblock(_))
                || sb.journal == self.journal_faulty
                || sb.in_sync != self.good()
                || (0..self.bad.len()).any(|slot| self.is_unrecorded(slot)))
    }

    pub(crate) fn superblock_start(&mut self) {
        let sb = self.superblock();
        tell!(self, "the superblock is written: {sb:?}");
        self.hw.superblock_begin(sb);
        self.reclaim = match std::mem::replace(&mut self.reclaim, Reclaim::Idle) {
            Reclaim::NeedSuperblock(tail) => Reclaim::Superblock(tail),
            other => other,
        };
    }

    pub(crate) fn superblock_done(&mut self) {
        if !self.hw.superblock_end() {
            return;
        }
        tell!(self, "the superblock is stable");
        self.reclaim = match std::mem::replace(&mut self.reclaim, Reclaim::Idle) {
            Reclaim::Superblock(Some(tail)) if !self.journal_faulty => self.freed(tail),
            Reclaim::Superblock(_) => Reclaim::Idle,
            other => other,
        };
        if !self.is_blocked() {
            for s in self.stripes.iter_mut().filter(|s| s.parked) {
                s.parked = false;
                s.again = true;
            }
        }
    }

    /// The superblock has the new tail: what is before it can go.
    fn freed(&mut self, tail: NewTail) -> Reclaim {
        let freed = tail.superblock_written(&self.journal.log);
        judge!(
            self,
            freed.is_ok(),
            "the log refuses its own tail",
            "{freed:?}"
        );
        let Ok(freed) = freed else {
            return Reclaim::Idle;
        };
        let mut blocks = Vec::new();
        if self.c.discard {
            let freed = freed.extents();
            for (start, n) in [Some(freed.first), freed.second].into_iter().flatten() {
                blocks.extend(start.get()..start.get() + n);
            }
        }
        let freed = match self.bug {
            Some(Bug::LateDiscard) => {
                self.advance(freed);
                None
            }
            _ => Some(freed),
        };
        Reclaim::Discard { freed, blocks }
    }

    /// Whether the log is idle and could be closed, as before md takes the array down.
    pub(crate) fn can_close(&self) -> bool {
        let journal = &self.journal;
        let pending =
            journal.open.is_some() || !journal.closed.is_empty() || !journal.known.is_empty();
        matches!(self.reclaim, Reclaim::Idle)
            && !pending
            && journal.closing.is_none()
            && !self.journal_faulty
            && !self.journal.log.failed()
            && journal.log.is_idle()
            && journal.log.used() > 1
            && self.stripes.iter().all(|s| !s.active && s.carry.is_none())
    }

    /// Begins to leave the idle log empty: a unit without rows, and the tail there.
    pub(crate) fn close_start(&mut self) {
        let placed = match self.journal.log.close() {
            Ok(Closing::Unit(placed)) => placed,
            Ok(Closing::Move(begun)) => return self.flush_members(begun),
            other => {
                judge!(self, false, "an idle log cannot be closed", "{other:?}");
                return;
            }
        };
        let start = self
            .journal
            .log
            .unit_extent(placed.unit)
            .expect("a unit in flight")
            .start;
        tell!(
            self,
            "the log is closed with the empty unit {} at block {start}",
            placed.unit.seq()
        );
        let block = empty_unit(placed.unit.seq(), start.get());
        let id = self
            .hw
            .journal
            .submit(start.get() as usize, vec![block], true);
        self.journal.closing = Some((placed.unit, id));
    }

    pub(crate) fn close_done(&mut self) {
        let Some((unit, id)) = self.journal.closing.take() else {
            return;
        };
        self.hw.journal.complete(id);
        let log = &mut self.journal.log;
        let noted = log.written(unit, true);
        if let Some(ticket) = log.next_flush(FlushFor::Everything) {
            log.flushed(ticket, true);
        }
        while log.next_stable().is_some() {}
        judge!(
            self,
            noted.is_ok(),
            "the log refuses the end of a write",
            "{noted:?}"
        );
        self.reclaim_start();
    }
}
