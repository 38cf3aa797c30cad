// SPDX-License-Identifier: GPL-2.0

//! What happens next: the choice among all that could, and the end of a run.

use crate::raid::mask::RowMask;
use crate::raid::stripe::Access;
use crate::reclaim::Reclaim;
use crate::story::{judge, tell};
use crate::world::World;

/// Something that can happen now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Carry(usize),
    Look(usize),
    Deliver,
    Pop,
    PopOrdered,
    TakeEarly,
    UserFlushGoOn,
    Io,
    Direct,
    Submit,
    UnitIo,
    Flush,
    CloseDone,
    SuperblockDone,
    SuperblockStart,
    ReclaimGoOn,
    Feed,
    Commit,
    Unhold(usize),
    WriteOut(usize),
    Spare,
    SyncNext,
    ReclaimStart,
    Memory,
    // The end of a run does none of the following.
    Write,
    Read,
    DirectStart,
    UserFlushStart,
    Peek,
    Crash,
    ReclaimAnyway,
    CloseStart,
    SyncStart,
    Suspend,
    FailMember,
    Evict,
    Toggle,
    RowDies,
    RowsHeal,
}

/// Kinds of steps.
pub(crate) const STEPS: usize = 34;

/// Those that all runs have; the others are about early acknowledgements and flushes.
pub(crate) const COMMON_STEPS: usize = 30;

impl Step {
    /// Which kind of step it is.
    fn kind(&self) -> usize {
        match self {
            Self::Carry(_) => 0,
            Self::Look(_) => 1,
            Self::Deliver => 2,
            Self::Pop => 3,
            Self::Io => 4,
            Self::Direct => 5,
            Self::Submit => 6,
            Self::UnitIo => 7,
            Self::Flush => 8,
            Self::CloseDone => 9,
            Self::SuperblockDone => 10,
            Self::SuperblockStart => 11,
            Self::ReclaimGoOn => 12,
            Self::Feed => 13,
            Self::Commit => 14,
            Self::Unhold(_) => 15,
            Self::Spare => 16,
            Self::SyncNext => 17,
            Self::ReclaimStart | Self::WriteOut(_) | Self::Memory => 18,
            Self::Write => 19,
            Self::Read => 20,
            Self::DirectStart => 21,
            Self::Peek => 22,
            Self::Crash => 23,
            Self::ReclaimAnyway => 24,
            Self::CloseStart => 25,
            Self::SyncStart => 26,
            Self::Suspend | Self::Toggle => 27,
            Self::FailMember | Self::RowDies | Self::RowsHeal => 28,
            Self::Evict => 29,
            Self::PopOrdered => 30,
            Self::TakeEarly => 31,
            Self::UserFlushGoOn => 32,
            Self::UserFlushStart => 33,
        }
    }
}

impl World {
    /// Everything that can happen now, with weights; without `fresh` only what ends what was begun,
    /// in an order that comes to an end.
    pub(crate) fn possible(&self, fresh: bool, out: &mut Vec<(Step, u32)>) {
        let mut add = |if_so: bool, step: Step, weight: u32| {
            if if_so {
                out.push((step, weight * self.c.pace[step.kind()]));
            }
        };
        for (i, s) in self.stripes.iter().enumerate() {
            add(s.carry.is_some(), Step::Carry(i), 8);
            add(s.carry.is_none() && s.again, Step::Look(i), 8);
        }
        let j = &self.journal;
        add(!j.known.is_empty(), Step::Deliver, 6);
        add(j.pop_due, Step::Pop, 6);
        add(j.ordered_due, Step::PopOrdered, 6);
        add(!j.ordered.is_empty(), Step::TakeEarly, 6);
        let goes_on = self.user_flushes_due().next().is_some();
        // Where a flush has most to do, something had better happen meanwhile; see below, too.
        let often = if self.is_bare() { 4 } else { 1 };
        add(goes_on, Step::UserFlushGoOn, 4 * often);
        add(!self.ios.is_empty(), Step::Io, 12);
        add(!self.directs.is_empty(), Step::Direct, 4);
        add(!j.closed.is_empty(), Step::Submit, 6);
        add(!j.writing.is_empty(), Step::UnitIo, 9);
        add(!j.flushes.is_empty(), Step::Flush, 6);
        add(j.closing.is_some(), Step::CloseDone, 3);
        add(self.hw.sb_writing.is_some(), Step::SuperblockDone, 3);
        add(self.superblock_due(), Step::SuperblockStart, 3);
        add(self.reclaim_can_step(), Step::ReclaimGoOn, 4);
        let starved = self.stripes.iter().any(|s| s.journal_wait.any());
        add(
            starved && (fresh || j.room || self.journal_faulty),
            Step::Feed,
            3,
        );
        add(j.open.is_some(), Step::Commit, 3);
        for (i, s) in self.stripes.iter().enumerate() {
            add(s.held, Step::Unhold(i), 2);
            // A flush has to end without that.
            let out = fresh || !self.is_flush_awaited();
            add(out && s.st.resting(&s.strips).any(), Step::WriteOut(i), 1);
        }
        add(
            self.sync.as_ref().is_some_and(|s| s.next < s.end),
            Step::SyncNext,
            3,
        );
        add(
            self.suspended && self.requests() == 0 && self.sync.is_none(),
            Step::Spare,
            6,
        );
        let idle =
            matches!(self.reclaim, Reclaim::Idle) && !self.journal_faulty && j.closing.is_none();
        add(idle && j.log.wants_reclaim(), Step::ReclaimStart, 3);
        // The last, so that in the end it is tried when there is nothing else to wait for.
        add(
            self.c.short > 0 && (fresh || self.stripes.iter().any(|s| s.mem.pending)),
            Step::Memory,
            3,
        );
        if fresh {
            self.possible_fresh(&mut add);
        }
    }

    /// Parts of requests that have not ended.
    fn requests(&self) -> usize {
        let parts = self
            .stripes
            .iter()
            .map(|s| s.parts.len() + s.incoming.len());
        parts.sum::<usize>() + self.directs.len() + self.user_flushes.len()
    }

    /// Whether flushes of users have to do without a journal.
    fn is_bare(&self) -> bool {
        self.c.early && self.journal_faulty
    }

    /// Whether the tail could move.
    pub(crate) fn can_reclaim(&self) -> bool {
        matches!(self.reclaim, Reclaim::Idle)
            && !self.journal_faulty
            && self.journal.closing.is_none()
            && self.journal.log.tail_candidate().is_some()
    }

    fn possible_fresh(&self, add: &mut impl FnMut(bool, Step, u32)) {
        let closing = self.journal.closing.is_some() || self.suspended;
        let room = self.requests() < self.c.depth;
        add(room && !closing, Step::Write, 9);
        add(room && !closing, Step::Read, 3);
        add(room && !closing, Step::DirectStart, 2);
        let flush = self.c.early && room && !closing;
        let often = if self.is_bare() { 4 } else { 1 };
        add(flush, Step::UserFlushStart, 2 * often);
        let exposed = if often > 1 && self.is_blocked() { 8 } else { 1 };
        add(true, Step::Peek, 2 * often * exposed);
        add(true, Step::Crash, 1);
        add(self.can_reclaim(), Step::ReclaimAnyway, 1);
        add(self.can_close(), Step::CloseStart, 1);
        let rebuild = (0..self.faulty.len()).any(|s| self.access(s) == Access::WriteOnly);
        let sync = self.sync.is_none() && !self.journal_faulty && !closing;
        add(
            sync && (rebuild || self.c.sync),
            Step::SyncStart,
            if rebuild { 2 } else { 1 },
        );
        add(sync && self.degraded() > 0, Step::Suspend, 1);
        let flushed = self.are_members_flushed();
        add(
            (self.c.fail > 0 || flushed) && self.may_fail(),
            Step::FailMember,
            if flushed { 40 } else { 1 },
        );
        add(
            self.stripes.iter().any(|s| !s.active && s.carry.is_none()),
            Step::Evict,
            1,
        );
        add(self.c.toggle, Step::Toggle, 1);
        add(self.c.dead > 0, Step::RowDies, 1);
        add(self.c.dead > 0, Step::RowsHeal, 1);
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self, replay: bool) {
        let mut steps = Vec::new();
        let end = if replay { u64::MAX } else { self.c.steps };
        for _ in 0..end {
            if self.fault.is_some() || self.over || !self.tape.next_step() {
                break;
            }
            steps.clear();
            self.possible(true, &mut steps);
            let total: u32 = steps.iter().map(|s| s.1).sum();
            let mut at = self.tape.below(total);
            let step = steps
                .iter()
                .find(|(_, weight)| match at.checked_sub(*weight) {
                    Some(rest) => {
                        at = rest;
                        false
                    }
                    None => true,
                });
            if let Some((step, _)) = step {
                self.step(*step);
            }
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.now += 1;
        self.story.step = self.now;
        self.stats.events += 1;
        match step {
            Step::Carry(i) => self.carry_out(i),
            Step::Look(i) => self.look(i),
            Step::Deliver => {
                let k = self.tape.pick(self.journal.known.len());
                self.deliver(k);
            }
            Step::Pop => self.pop(),
            Step::PopOrdered => self.pop_ordered(),
            Step::TakeEarly => self.take_early(),
            Step::UserFlushGoOn => self.user_flush_step(),
            Step::Io => {
                let k = self.tape.pick(self.ios.len());
                self.io_done(k);
            }
            Step::Direct => {
                let k = self.tape.pick(self.directs.len());
                self.end_direct(k);
            }
            Step::Submit => {
                let k = self.tape.pick(self.journal.closed.len());
                self.submit_unit(k);
            }
            Step::UnitIo => {
                let k = self.tape.pick(self.journal.writing.len());
                self.unit_io_done(k);
            }
            Step::Flush => {
                let k = self.tape.pick(self.journal.flushes.len());
                self.flush_done(k);
            }
            Step::CloseDone => self.close_done(),
            Step::SuperblockDone => self.superblock_done(),
            Step::SuperblockStart => self.superblock_start(),
            Step::ReclaimGoOn => self.reclaim_step(),
            Step::Feed => self.feed(),
            Step::Commit => self.commit(),
            Step::Unhold(i) => {
                let s = &mut self.stripes[i];
                s.hold = false;
                s.held = false;
                s.again = true;
            }
            Step::Spare => {
                self.suspended = false;
                if let Some(slot) = self.empty_role() {
                    self.add_spare(slot);
                }
            }
            Step::WriteOut(i) => {
                let rows = match self.quiet {
                    true => RowMask::first(self.c.rows),
                    false => RowMask(u64::from(1 + self.tape.below(255))),
                };
                let s = &mut self.stripes[i];
                s.st.want_out(&s.strips, rows);
                s.again = true;
                s.active = true;
            }
            Step::SyncNext => self.sync_next(),
            Step::ReclaimStart | Step::ReclaimAnyway => self.reclaim_start(),
            Step::Memory => self.look_for_memory(),
            other => self.fresh_step(other),
        }
    }

    fn fresh_step(&mut self, step: Step) {
        match step {
            Step::Write => self.attach(true),
            Step::Read => self.attach(false),
            Step::DirectStart => self.attach_direct(),
            Step::UserFlushStart => self.user_flush_start(),
            Step::Peek => self.crash(false),
            Step::Crash if self.tape.chance(40) => self.crash(true),
            Step::CloseStart if self.tape.chance(30) => self.close_start(),
            Step::SyncStart if self.tape.chance(20) => self.sync_start(),
            Step::Suspend if self.tape.chance(30) && self.empty_role().is_some() => {
                tell!(
                    self,
                    "requests are suspended, so that a spare can be taken in"
                );
                self.suspended = true;
            }
            Step::FailMember if self.tape.rare(if self.is_bare() { 300 } else { 20 }) => {
                let slot = self.tape.pick(self.faulty.len());
                self.fail_member(slot);
            }
            Step::Evict => {
                let i = self.tape.pick(self.stripes.len());
                if self.can_evict(i) {
                    self.evict(i);
                }
            }
            Step::Toggle if self.tape.chance(20) => {
                self.write_back = !self.write_back;
                tell!(self, "write-back: {}", self.write_back);
            }
            Step::RowDies if self.tape.rare(150 * self.c.dead) => self.row_dies(),
            Step::RowsHeal if self.tape.rare(30 * self.c.dead) => self.rows_heal(),
            _ => {}
        }
    }

    /// Has all stripes handled whose rows waited for room.
    fn feed(&mut self) {
        self.journal.room = false;
        for s in self.stripes.iter_mut().filter(|s| s.journal_wait.any()) {
            s.retry_journal = true;
            s.again = true;
        }
    }

    // ---- the end ----

    /// Lets everything that was begun end, and judges what is left. Decides nothing by the tape, so
    /// that a tape ends where the run's steps do.
    pub(crate) fn finish(&mut self) {
        if self.fault.is_some() || self.over {
            return;
        }
        tell!(self, "no more work comes");
        self.quiet = true;
        let mut steps = Vec::new();
        for _ in 0..20_000 {
            steps.clear();
            self.possible(false, &mut steps);
            let Some((step, _)) = steps.first() else {
                return self.judge_end();
            };
            self.step(*step);
            if self.fault.is_some() {
                return;
            }
        }
        // What waits for the log's room may have the pages that others wait for.
        judge!(self, self.is_log_kept(), "it never ends", "");
    }

    fn judge_end(&mut self) {
        self.judge_idle();
        for _ in 0..3 {
            if self.fault.is_none() && !self.journal_faulty {
                self.crash(false);
            }
        }
    }

    /// Nothing can be done any more: everything must have been.
    pub(crate) fn judge_idle(&mut self) {
        judge!(
            self,
            self.user_flushes.is_empty(),
            "a flush does not end",
            ""
        );
        for i in 0..self.stripes.len() {
            let s = &self.stripes[i];
            if s.active && self.is_log_kept() {
                continue;
            }
            let (parts, waits) = (s.parts.len() + s.incoming.len(), s.journal_wait);
            judge!(
                self,
                !s.active && parts == 0,
                "work is left and nothing can be done",
                "stripe {i}: {parts} parts, rows that wait for the journal {:?}, {} blocks of the journal used, {} units to spare",
                waits,
                self.journal.log.used(),
                self.journal.log.spare_units()
            );
            self.judge_stripe(i);
        }
    }
}
