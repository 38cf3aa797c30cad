// SPDX-License-Identifier: GPL-2.0

//! What follows from events at once.

use super::mask::RowMask;
use super::stripe::{Access, Event, Machine, Strip, Twin};

/// What is in the mask but `left`, which stays there.
fn take_all_but(left: RowMask, mask: &mut RowMask) -> RowMask {
    let taken = mask.minus(left);
    *mask = *mask & left;
    taken
}

impl Machine<'_> {
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::ReadDone { slot, rows, ok } => self.read_done(slot, rows, ok),
            Event::ReadAgain { slot, rows } => {
                if let Some(s) = self.strips.get_mut(slot) {
                    s.reading.remove(rows);
                }
            }
            Event::OpsDone { bad, failed, left } => self.ops_done(bad, failed, left),
            Event::JournalDone { rows, ok } => self.journal_done(rows, ok),
            Event::WriteDone { slot, rows, ok } => self.write_done(slot, rows, ok),
            Event::DiscardRefused { slot, rows } => self.discard_refused(slot, rows),
            Event::TwinDone { slot, rows, ok } => self.twin_done(slot, rows, ok),
            Event::NotRecorded { rows } => self.not_recorded(rows),
        }
    }

    fn read_done(&mut self, slot: usize, rows: RowMask, ok: bool) {
        let Some(s) = self.strips.get_mut(slot) else {
            return;
        };
        let alone = rows.count() <= 1;
        let rows = rows & s.reading;
        s.reading.remove(rows);
        if ok {
            // The first page of what is cached is newer.
            s.old.insert(rows & s.cached);
            s.uptodate.insert(rows.minus(s.cached));
            s.suspect.remove(rows);
        } else if s.access == Access::Full && alone {
            s.read_error.insert(rows);
            s.suspect.remove(rows);
        } else if s.access == Access::Full {
            // One bad sector fails a whole read: find out which row has it.
            s.suspect.insert(rows);
        }
    }

    fn ops_done(&mut self, bad: RowMask, failed: RowMask, left: RowMask) {
        let failed = (failed & self.st.in_ops).minus(left);
        let write = take_all_but(left, &mut self.st.ops_write);
        let check = take_all_but(left, &mut self.st.ops_check);
        let parity = take_all_but(left, &mut self.st.ops_parity);
        let cache = take_all_but(left, &mut self.st.ops_cache);
        let out = take_all_but(left, &mut self.st.ops_out);
        let done = take_all_but(left, &mut self.st.in_ops);
        let computed = done.minus(write | check | parity | cache | out);
        // Their pages are on the way to journal or members: those are known.
        let on_the_way = self.st.busy.minus(write | parity | cache | out);
        for s in self.strips.iter_mut() {
            let result = take_all_but(left, &mut s.op_result);
            let second = result & computed & s.cached;
            s.old.insert(second.minus(failed));
            // What was cached before is still there, or newer by a part of what failed.
            let lost = failed.minus(s.cached);
            s.uptodate.insert(result.minus(lost));
            s.uptodate.remove(lost.minus(on_the_way));
            let unread = result & lost & on_the_way & s.toread;
            s.toread.remove(unread);
            s.act.fail_read.insert(unread);
            self.acts.fail_read |= unread.any();
        }
        self.abandon((write | cache) & failed);
        self.give_up_out(out & failed);
        self.give_up_sync((check | parity) & failed);
        self.cache_drained(cache.minus(failed));
        self.out_made(out.minus(failed));
        self.ops_passed(
            write.minus(failed),
            check.minus(failed),
            parity.minus(failed),
            bad,
        );
    }

    /// What follows from ops that went well: writes, checks and new parity.
    fn ops_passed(&mut self, write: RowMask, check: RowMask, parity: RowMask, bad: RowMask) {
        if self.policy.refuse_writes {
            // The journal was lost meanwhile: no member may see the rows.
            self.abandon(write);
        } else if self.policy.journal {
            self.st.in_journal.insert(write);
            self.acts.journal.insert(write);
        } else {
            self.write_members(write);
        }
        self.write_members(parity);

        let bad = bad & check;
        self.acts.mismatch.insert(bad);
        let mut done = check.minus(bad);
        if self.policy.repair {
            self.make_parity(bad);
        } else {
            done.insert(bad);
        }
        self.st.syncing.remove(done);
        self.acts.sync_done.insert(done);
    }

    /// Ends the sync of `rows` without a result; no member was written.
    fn give_up_sync(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            s.written.remove(rows);
        }
        self.st.busy.remove(rows);
        let rows = rows & self.st.syncing;
        self.st.syncing.remove(rows);
        self.acts.sync_failed.insert(rows);
    }

    /// Has parity of `rows` made anew from data that is all uptodate.
    fn make_parity(&mut self, rows: RowMask) {
        if rows.is_empty() {
            return;
        }
        self.st.in_ops.insert(rows);
        self.st.ops_parity.insert(rows);
        self.st.busy.insert(rows);
        for (i, s) in self.strips.iter_mut().enumerate() {
            if i == self.st.p || Some(i) == self.st.q {
                s.op_result.insert(rows);
                s.written.insert(rows);
            }
        }
        self.acts.parity.insert(rows);
    }

    fn journal_done(&mut self, rows: RowMask, ok: bool) {
        let rows = rows & self.st.in_journal;
        self.st.in_journal.remove(rows);
        let (cache, out) = (rows & self.st.caching, rows & self.st.out);
        let rows = rows.minus(cache | out);
        if ok {
            self.cached(cache);
            self.acknowledge(rows);
            self.write_members(rows | out);
        } else {
            self.abandon(rows | cache);
            self.give_up_out(out);
        }
    }

    /// Ends a user's write of `rows` with an error before any member saw it.
    pub(super) fn abandon(&mut self, rows: RowMask) {
        if rows.is_empty() {
            return;
        }
        for s in self.strips.iter_mut() {
            let gone = s.written & rows;
            let unknown = gone.minus(s.cached);
            s.uptodate.remove(unknown);
            // The next read asks the member again.
            s.read_error.remove(unknown);
            s.written.remove(gone);
        }
        self.st.busy.remove(rows);
        self.st.caching.remove(rows);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
        self.st.discard.remove(rows);
        self.acts.fail_write.insert(rows);
    }

    /// Sends the `written` strips of `rows` to the members that can take them.
    pub(super) fn write_members(&mut self, rows: RowMask) {
        if rows.is_empty() {
            return;
        }
        let mut any = RowMask::EMPTY;
        for s in self.strips.iter_mut() {
            if s.access == Access::Missing {
                continue;
            }
            let out = (s.written & rows).minus(s.dead | s.spared);
            s.writing.insert(out);
            s.act.write.insert(out.minus(self.st.discard));
            s.act.discard.insert(out & self.st.discard);
            any.insert(out);
            if s.twin != Twin::None {
                let out = s.written & rows;
                s.twin_writing.insert(out);
                s.act.twin.insert(out);
                any.insert(out);
            }
        }
        self.acts.write |= any.any();
        self.st.in_members.insert(rows);
        self.land();
    }

    fn write_done(&mut self, slot: usize, rows: RowMask, ok: bool) {
        if let Some(s) = self.strips.get_mut(slot) {
            let alone = rows.count() <= 1;
            let rows = rows & s.writing;
            s.writing.remove(rows);
            if ok {
                s.read_error.remove(rows);
            } else if !alone && s.access != Access::Missing {
                // One bad sector fails a whole write: find out which row has it.
                let again = rows.minus(s.dead);
                s.writing.insert(again);
                s.act.write_alone.insert(again);
                self.acts.write |= again.any();
            } else if s.access == Access::Full && rows.minus(s.dead).any() {
                // md kept the member all the same: ask it again next time,
                // rather than rewrite for ever.
                s.read_error.remove(rows);
                s.uptodate.remove(rows.minus(s.cached | self.st.acked));
                self.st.unwritten.insert(rows);
            }
        }
        self.land();
    }

    /// Has rows written to a member that could not discard them, or the row's parity would be
    /// that of zeroes which it does not have.
    fn discard_refused(&mut self, slot: usize, rows: RowMask) {
        if let Some(s) = self.strips.get_mut(slot) {
            let rows = rows & s.writing;
            if s.access == Access::Missing {
                s.writing.remove(rows);
            } else {
                s.act.write.insert(rows);
                self.acts.write |= rows.any();
            }
        }
        self.land();
    }

    fn twin_done(&mut self, slot: usize, rows: RowMask, ok: bool) {
        if let Some(s) = self.strips.get_mut(slot) {
            let rows = rows & s.twin_writing;
            s.twin_writing.remove(rows);
            if ok {
                // What only the twin takes is put right there.
                s.read_error.remove(rows & s.spared);
            } else if s.twin != Twin::None {
                // What was to be given to it has not come; a user's write does without. If it is gone,
                // it needs nothing, and the row is what it should be.
                self.st.unwritten.insert(rows & self.st.syncing);
            }
        }
        self.land();
    }

    /// Moves rows whose last member write ended on to `landed`.
    fn land(&mut self) {
        let writing = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.writing | s.twin_writing);
        let done = self.st.in_members.minus(writing);
        self.st.in_members.remove(done);
        self.st.landed.insert(done);
    }

    /// Reports rows that landed, unless md has to record a failure first.
    pub(super) fn report_landed(&mut self) {
        if self.policy.blocked || self.st.landed.is_empty() {
            return;
        }
        let rows = self.st.landed;
        self.st.landed = RowMask::EMPTY;
        let user = rows & self.st.user;
        let lost = rows & (self.st.unwritten | self.missed());
        let over = if self.failed_members() <= self.st.parity() {
            // The array goes on, and its bad-block logs have what is lost: it must not keep the
            // journal's tail.
            lost.minus(self.st.unwritten)
        } else {
            RowMask::EMPTY
        };
        self.landed(rows.minus(lost), lost, over);
        self.st.unwritten.remove(rows);
        self.acts.fail_write.insert(user & lost);
        self.acts.complete.insert(user.minus(lost));
        for s in self.strips.iter_mut() {
            s.written.remove(rows);
        }
        let sync = rows & self.st.syncing;
        self.st.syncing.remove(sync);
        self.acts.sync_failed.insert(sync & lost);
        self.acts.sync_done.insert(sync.minus(lost));
        self.st.busy.remove(rows);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
        self.st.discard.remove(rows);
    }

    /// Rows of writes under way that are lost: the array has failed, or data is not on its member to be
    /// read, and so much else of the row is not to be had that it cannot be computed.
    fn missed(&self) -> RowMask {
        if self.failed_members() > self.st.parity() {
            return self.st.rows;
        }
        let mut data = RowMask::EMPTY;
        for (i, s) in self.strips.iter().enumerate() {
            if !self.st.is_parity(i) {
                // What is bad although it was written cannot be read.
                data.insert(s.written & (s.gone() | s.bad));
            }
        }
        if data.is_empty() {
            return data;
        }
        data & self.beyond_parity(|s| s.gone() | s.bad)
    }

    /// Rows that more strips have in `what` than there are parity strips.
    pub(super) fn beyond_parity(&self, what: impl Fn(&Strip) -> RowMask) -> RowMask {
        let (mut one, mut two, mut three) = (RowMask::EMPTY, RowMask::EMPTY, RowMask::EMPTY);
        for s in self.strips.iter() {
            let rows = what(s);
            three.insert(two & rows);
            two.insert(one & rows);
            one.insert(rows);
        }
        match self.st.q {
            Some(_) => three,
            None => two,
        }
    }

    /// Members that are not in sync here.
    pub(super) fn failed_members(&self) -> usize {
        self.strips
            .iter()
            .filter(|s| s.access != Access::Full)
            .count()
    }
}
