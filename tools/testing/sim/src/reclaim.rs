// SPDX-License-Identifier: GPL-2.0

//! Moving the tail, in the order of `rust/engine/reclaim.rs`, and md's superblock.

use crate::hardware::{empty_unit, Superblock};
use crate::journal::log::FlushFor;
use crate::journal::unit::Position;
use crate::setup::Bug;
use crate::story::{judge, tell};
use crate::world::World;

/// How far reclaim is.
pub(crate) enum Reclaim {
    Idle,
    /// Members are being flushed: each with what its flush covers.
    Flush {
        to: Position,
        left: Vec<(usize, u64)>,
    },
    /// The superblock must be written with the new tail.
    NeedSuperblock {
        to: Position,
    },
    /// It is being written.
    Superblock {
        to: Position,
    },
    /// What was freed is being discarded.
    Discard {
        to: Position,
        blocks: Vec<u64>,
    },
}

impl World {
    /// Begins to move the tail as far as it can go.
    pub(crate) fn reclaim_start(&mut self) {
        let Some(to) = self.journal.log.tail_candidate() else {
            return;
        };
        let mut left = Vec::new();
        if self.bug != Some(Bug::EarlyTail) {
            for slot in (0..self.faulty.len()).filter(|s| !self.faulty[*s]) {
                left.push((slot, self.hw.members[slot].flush_begin()));
            }
        }
        tell!(
            self,
            "reclaim: the tail is to move to block {}, unit {}; members are flushed",
            to.block,
            to.seq
        );
        self.reclaim = Reclaim::Flush { to, left };
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
            Reclaim::Flush { to, mut left } => match left.is_empty() {
                false => {
                    let (slot, stamp) = left.swap_remove(self.tape.pick(left.len()));
                    if !self.faulty[slot] {
                        self.hw.members[slot].flush_end(stamp);
                    }
                    Reclaim::Flush { to, left }
                }
                true => {
                    self.tail = to.block.get();
                    if self.bug == Some(Bug::EarlyReuse) {
                        self.advance(to);
                    }
                    Reclaim::NeedSuperblock { to }
                }
            },
            Reclaim::Discard { to, mut blocks } => match blocks.pop() {
                Some(block) => {
                    if self.tape.chance(80) {
                        self.hw.journal.discard(block as usize);
                    }
                    Reclaim::Discard { to, blocks }
                }
                None => {
                    if self.bug != Some(Bug::LateDiscard) {
                        self.advance(to);
                    }
                    Reclaim::Idle
                }
            },
            other => other,
        };
    }

    fn advance(&mut self, to: Position) {
        tell!(self, "reclaim: the blocks before {} are free", to.block);
        let moved = self.journal.log.advance_tail(to);
        judge!(
            self,
            moved.is_ok(),
            "the log refuses its own tail",
            "{to:?}"
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
        }
    }

    /// Whether md has something to write.
    pub(crate) fn superblock_due(&self) -> bool {
        let sb = &self.hw.sb;
        self.hw.sb_writing.is_none()
            && (matches!(self.reclaim, Reclaim::NeedSuperblock { .. })
                || sb.journal == self.journal_faulty
                || sb.in_sync != self.good())
    }

    pub(crate) fn superblock_start(&mut self) {
        let sb = self.superblock();
        tell!(self, "the superblock is written: {sb:?}");
        self.hw.sb_writing = Some(sb);
        if let Reclaim::NeedSuperblock { to } = self.reclaim {
            self.reclaim = Reclaim::Superblock { to };
        }
    }

    pub(crate) fn superblock_done(&mut self) {
        let Some(sb) = self.hw.sb_writing.take() else {
            return;
        };
        tell!(self, "the superblock is stable");
        self.hw.sb = sb;
        if let Reclaim::Superblock { to } = self.reclaim {
            self.reclaim = self.freed(to);
        }
        if !self.is_blocked() {
            for s in self.stripes.iter_mut().filter(|s| s.parked) {
                s.parked = false;
                s.again = true;
            }
        }
    }

    /// The superblock has the new tail: what is before it can go.
    fn freed(&mut self, to: Position) -> Reclaim {
        if self.bug == Some(Bug::EarlyReuse) || self.journal_faulty {
            return Reclaim::Idle;
        }
        let freed = self.journal.log.freed_by(to);
        judge!(
            self,
            freed.is_ok(),
            "the log refuses its own tail",
            "{to:?}"
        );
        let mut blocks = Vec::new();
        if let (Ok(freed), true) = (freed, self.c.discard) {
            for (start, n) in [Some(freed.first), freed.second].into_iter().flatten() {
                blocks.extend(start.get()..start.get() + n);
            }
        }
        if self.bug == Some(Bug::LateDiscard) {
            self.advance(to);
        }
        Reclaim::Discard { to, blocks }
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
        let Ok(placed) = self.journal.log.place_empty() else {
            judge!(
                self,
                false,
                "no room to close the log",
                "{} blocks used",
                self.journal.log.used()
            );
            return;
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
