// SPDX-License-Identifier: GPL-2.0

//! Rows that a member does not take: how they come to be, and md's bad-block logs.
//!
//! A row that is dead can be neither read nor written. Besides, a write fails now and then for
//! nothing. Either way a write of that row alone goes to the member's log, and what is written is not
//! acknowledged before md's superblocks have that; see `rust/engine/array.rs`.

use crate::disk::{Disk, Sectors};
use crate::hardware::{Hardware, Superblock};
use crate::raid::mask::RowMask;
use crate::raid::stripe::{Access, Event};
use crate::setup::Bug;
use crate::story::{tell, Story};
use crate::stripe::Carry;
use crate::tape::Tape;
use crate::world::{Io, World};
use std::collections::BTreeSet;

/// Rows of a member.
pub(crate) type RowSet = BTreeSet<usize>;

impl Hardware {
    /// Of the members that are `here` those that have the row: it is not dead, nor in their `log`.
    pub(crate) fn having(&self, row: usize, here: &[bool], log: &[RowSet]) -> Vec<bool> {
        let has = |slot: usize| {
            here[slot] && !self.dead[slot].contains(&row) && !log[slot].contains(&row)
        };
        (0..here.len()).map(has).collect()
    }

    /// md begins to write the superblocks. What was written well by now is in them no bad block any
    /// more, so each member is flushed before its own.
    pub(crate) fn superblock_begin(&mut self, new: Superblock) {
        self.sb_stamps = match new.bad == self.sb.bad {
            true => Vec::new(),
            false => self.members.iter().map(Disk::flush_begin).collect(),
        };
        self.sb_writing = Some(new);
    }

    /// A member's superblock is there, and what it was flushed for.
    fn superblock_lands(&mut self, slot: usize) {
        if let Some(stamp) = self.sb_stamps.get(slot) {
            self.members[slot].flush_end(*stamp);
        }
    }

    /// All superblocks are there.
    pub(crate) fn superblock_end(&mut self) -> bool {
        let Some(new) = self.sb_writing.take() else {
            return false;
        };
        for slot in 0..self.members.len() {
            self.superblock_lands(slot);
        }
        self.sb = new;
        true
    }

    /// The power goes while the superblocks are written, each of which has its own member's log.
    pub(crate) fn cut_logs(
        &mut self,
        (old, new): (&Superblock, &[RowSet]),
        tape: &mut Tape,
        story: &mut Story,
    ) {
        if self.sb_stamps.is_empty() {
            return;
        }
        let some = tape.below(4);
        let mut rng = tape.fork();
        for (slot, log) in new.iter().enumerate() {
            let chosen = match some {
                0 => false,
                1 => true,
                _ => rng.next() & 1 != 0,
            };
            // That it is rebuilt is in its own, too.
            let rebuilt = self.sb.in_sync[slot] && !old.in_sync[slot];
            let there = chosen || rebuilt;
            if there {
                self.sb.bad[slot].clone_from(log);
                self.superblock_lands(slot);
            } else {
                self.sb.bad[slot].clone_from(&old.bad[slot]);
            }
        }
        story.tell(|| format!("  the bad-block logs are {:?}", self.sb.bad));
    }
}

/// What takes the writes of an assembly, and what md knows of that.
pub(crate) struct Takers<'a> {
    pub(crate) members: &'a mut [Disk<crate::block::Page>],
    pub(crate) dead: &'a [RowSet],
    pub(crate) here: &'a mut [bool],
    pub(crate) log: &'a mut [RowSet],
    pub(crate) write_error: &'a mut [bool],
    /// After so many writes one fails, and the member with it.
    pub(crate) fails: &'a mut Option<u32>,
    /// After so many writes one fails for nothing.
    pub(crate) odd: &'a mut Option<u32>,
    pub(crate) parity: usize,
    pub(crate) bug: Option<Bug>,
}

fn counts_down(left: &mut Option<u32>) -> bool {
    let over = *left == Some(0);
    *left = left.and_then(|n| n.checked_sub(1));
    over
}

impl Takers<'_> {
    /// A write to a member ends; whether the member took it. What is there is no bad block any more if
    /// it is `newest`.
    pub(crate) fn end(
        &mut self,
        (slot, at): (usize, usize),
        id: u64,
        newest: bool,
        story: &mut Story,
    ) -> bool {
        if counts_down(self.fails) {
            // It said that it failed, whatever is there; md takes the member out.
            self.members[slot].complete(id);
            story.tell(|| format!("    member {slot} fails"));
            self.here[slot] = false;
            return false;
        }
        if !self.dead[slot].contains(&at) && !counts_down(self.odd) {
            self.members[slot].complete(id);
            if newest {
                self.log[slot].remove(&at);
            }
            return true;
        }
        self.members[slot].lose(id);
        self.write_error[slot] = true;
        if self.bug == Some(Bug::ForgottenRow) {
            story
                .tell(|| format!("    BUG: member {slot} does not take row {at}, nobody notes it"));
        } else {
            story.tell(|| format!("    member {slot} does not take row {at}: a bad block"));
            self.log[slot].insert(at);
        }
        false
    }

    /// Whether a row is given up before all of its writes have ended.
    pub(crate) fn is_hasty(&self) -> bool {
        self.bug == Some(Bug::HastyLoss)
    }

    /// Whether more of the row is gone than parity makes up for, as md knows it; what is still to be
    /// written to the members in `due` is not.
    pub(crate) fn is_lost(&self, at: usize, due: &[usize]) -> bool {
        let due = |slot: &usize| due.contains(slot) && !self.dead[*slot].contains(&at);
        let bad = |slot: &usize| self.log[*slot].contains(&at) && !due(slot);
        let gone = |slot: &usize| !self.here[*slot] || bad(slot);
        (0..self.here.len()).filter(gone).count() > self.parity
    }
}

impl<P: Sectors> Disk<P> {
    /// A write has failed, and nothing of it is there.
    fn lose(&mut self, id: u64) {
        let _ = self.land(id);
    }
}

impl World {
    /// Whether rows may die in this run.
    fn has_bad_rows(&self) -> bool {
        self.c.dead > 0 || self.hw.dead.iter().any(|dead| !dead.is_empty())
    }

    /// Whether what cannot be written out keeps the log for good, so that it gets full at last and
    /// writes wait for ever: that is known, where no room is left to record what is lost.
    pub(crate) fn is_log_kept(&self) -> bool {
        self.unrecordable && self.is_stuck()
    }

    /// Rows that cannot be written out whole: what members have of them and nobody may believe any more
    /// is a bad block.
    pub(crate) fn record_lost(&mut self, i: usize, carry: &Carry) {
        self.stats.forgone += u64::from(carry.acts.lost.count());
        let mut rows = RowMask::EMPTY;
        let mut room = true;
        for (slot, task) in carry.tasks.iter().enumerate() {
            let log = self.bad[slot].len() + task.acts.record.count() as usize;
            room &= task.acts.record.is_empty() || log <= self.c.log;
            rows.insert(task.acts.record);
        }
        if !room {
            tell!(self, "no room to record rows {rows:?}");
            self.unrecordable = true;
            return self.event(i, Event::NotRecorded { rows });
        }
        for (slot, task) in carry.tasks.iter().enumerate() {
            for row in task.acts.record.iter() {
                let at = self.row_at(i, row);
                tell!(self, "row {at} is lost in part, parity of member {slot} too");
                self.bad[slot].insert(at);
            }
        }
        // Else what this bug is about has mostly left the log.
        if self.bug != Some(Bug::MendedParity) {
            self.journal.log.hasten();
        }
    }

    /// Whether a member has bad blocks that are in no superblock.
    pub(crate) fn is_unrecorded(&self, slot: usize) -> bool {
        self.bug != Some(Bug::UnrecordedRow)
            && !self.faulty[slot]
            && !self.bad[slot].is_subset(&self.hw.sb.bad[slot])
    }

    /// Rows of a stripe that are in the member's log.
    pub(crate) fn bad_rows(&self, i: usize, slot: usize) -> RowMask {
        let first = self.row_at(i, 0);
        let rows = self.bad[slot].range(first..first + self.c.rows as usize);
        rows.fold(RowMask::EMPTY, |all, at| {
            all | RowMask::single((at - first) as u32)
        })
    }

    /// Whether the row is dead, or in the member's log.
    pub(crate) fn is_gone(&self, slot: usize, at: usize) -> bool {
        self.bad[slot].contains(&at) || self.hw.dead[slot].contains(&at)
    }

    /// Rows of which data that is being written is not on its member when that is over, and cannot be
    /// computed.
    pub(crate) fn missed(&self, i: usize) -> RowMask {
        let s = &self.stripes[i];
        let gone = |slot: usize| match self.access(slot) {
            Access::Full => self.bad_rows(i, slot),
            Access::WriteOnly | Access::Missing => RowMask::first(self.c.rows),
        };
        let all: Vec<RowMask> = (0..s.strips.len()).map(gone).collect();
        let data = s
            .data_slots()
            .map(|slot| s.strips[slot].written() & all[slot]);
        let data = data.fold(RowMask::EMPTY, |some, rows| some | rows);
        let beyond = |row: &u32| all.iter().filter(|g| g.has(*row)).count() > self.parity();
        let lost = data.iter().filter(beyond);
        lost.fold(RowMask::EMPTY, |some, row| some | RowMask::single(row))
    }

    /// From now on failures are excused with rows of which more is gone than parity makes up for.
    pub(crate) fn excuse(&mut self, i: usize) {
        if !self.has_bad_rows() {
            return;
        }
        for row in 0..self.c.rows {
            if self.lost(i, row) > self.parity() {
                self.stripes[i].excused.insert(RowMask::single(row));
            }
        }
        // Nothing takes a row out of that again.
        let stuck = self.stripes[i].stuck();
        self.stripes[i].excused.insert(stuck);
    }

    /// A row of a member dies, or all that are dead work again. Mostly not more than parity makes up
    /// for, now and after a power cut.
    pub(crate) fn row_dies(&mut self) {
        let slot = self.tape.pick(self.faulty.len());
        let i = self.tape.pick(self.stripes.len());
        let row = self.tape.below(self.c.rows);
        let any = self.tape.chance(10);
        let at = self.row_at(i, row);
        let recorded = |slot: &usize| self.hw.sb.bad[*slot].contains(&at);
        let on_disk = (0..self.faulty.len()).filter(recorded).count();
        if self.access(slot) == Access::Missing
            || (!any && self.lost(i, row).max(on_disk) >= self.parity())
        {
            return;
        }
        tell!(self, "row {at} of member {slot} dies");
        self.hw.dead[slot].insert(at);
        self.stats.dead += 1;
        self.excuse(i);
    }

    /// The dead rows of a member work again, and hold what they held.
    pub(crate) fn rows_heal(&mut self) {
        let slot = self.tape.pick(self.faulty.len());
        if !self.hw.dead[slot].is_empty() {
            tell!(self, "the dead rows of member {slot} work again");
            self.hw.dead[slot].clear();
        }
    }

    /// Has a write to a member fail that stays, if it is to; whether it is.
    pub(crate) fn is_refused(&mut self, io: &Io, id: u64) -> bool {
        let (i, slot) = (io.stripe, io.slot);
        let dead = (io.rows.iter()).any(|row| self.hw.dead[slot].contains(&self.row_at(i, row)));
        let alone = io.rows.count() == 1;
        let may = !alone || (io.rows.iter()).all(|row| self.lost(i, row) < self.parity());
        let odd = may && !self.quiet && self.tape.rare(self.c.odd);
        if !dead && !odd {
            return false;
        }
        self.hw.members[slot].fail(id, &mut self.tape);
        if alone {
            self.row_not_written(slot, self.row_at(i, io.rows.lowest().unwrap_or(0)));
            self.excuse(i);
        }
        true
    }

    /// A row is recorded, or if it cannot be, the member is taken out.
    fn row_not_written(&mut self, slot: usize, at: usize) {
        self.write_error[slot] = true;
        if self.bad[slot].len() >= self.c.log && self.may_fail() {
            tell!(self, "the bad-block log of member {slot} is full");
            return self.fail_member(slot);
        }
        tell!(self, "member {slot} does not take row {at}: a bad block");
        self.stats.bad_blocks += 1;
        self.bad[slot].insert(at);
    }

    /// Rows were written well.
    pub(crate) fn rows_written(&mut self, io: &Io) {
        for row in io.rows.iter() {
            let at = self.row_at(io.stripe, row);
            if self.bad[io.slot].remove(&at) {
                tell!(
                    self,
                    "row {at} of member {} is no bad block any more",
                    io.slot
                );
            }
        }
    }

    /// Rows that cannot be rebuilt are bad blocks of what is rebuilt.
    pub(crate) fn record_holes(&mut self, i: usize, rows: RowMask) {
        for slot in 0..self.faulty.len() {
            if self.access(slot) != Access::WriteOnly {
                continue;
            }
            for row in rows.iter() {
                let at = self.row_at(i, row);
                tell!(
                    self,
                    "row {at} of member {slot} cannot be rebuilt: a bad block"
                );
                self.bad[slot].insert(at);
            }
        }
        self.excuse(i);
    }
}
