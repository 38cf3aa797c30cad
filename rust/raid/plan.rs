// SPDX-License-Identifier: GPL-2.0

//! The row planner: what to do next, once per kind of row.
//!
//! Rows are of one kind when their bits are the same on every strip. Each pass
//! takes the lowest row that needs it, finds all rows of its kind by mask
//! arithmetic, decides for the one and acts for all.

use super::mask::RowMask;
use super::stripe::{Access, Machine, RmwLevel, State, Strip};

/// How a write makes its parity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// Old parity, minus old data, plus new data.
    ReadModifyWrite,
    /// From all data of the row.
    ReconstructWrite,
}

impl Method {
    /// The one that takes fewer reads, none if it cannot be had; if both take the
    /// same, `level` says which, but without reads it is reconstruct-write, as if
    /// neither can be had.
    pub(super) fn cheaper(level: RmwLevel, rmw: Option<u32>, rcw: Option<u32>) -> Self {
        let rmw = rmw.filter(|_| level != RmwLevel::Never);
        let equal = level == RmwLevel::Preferred;
        match (rmw, rcw) {
            (Some(rmw), Some(rcw)) if rmw < rcw => Self::ReadModifyWrite,
            (Some(rmw), Some(rcw)) if rmw == rcw && rmw > 0 && equal => Self::ReadModifyWrite,
            (Some(_), None) => Self::ReadModifyWrite,
            (Some(_) | None, Some(_)) | (None, None) => Self::ReconstructWrite,
        }
    }
}

/// What became of an attempt to get the needed strips into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fetch {
    /// All are uptodate.
    Ready,
    /// Reads or a compute were started or are under way.
    Wait,
    /// More strips are lost than parity can give back.
    Lost,
}

impl Machine<'_> {
    /// All passes, in an order in which no pass disturbs what an earlier one
    /// started: a row that got an op is left alone by the passes behind it.
    pub(super) fn plan(&mut self) {
        self.report_landed();
        self.fill();
        self.begin_sync();
        self.plan_reads();
        self.plan_sync();
        self.plan_writes();
        self.plan_out();
        self.plan_fixes();
    }

    /// Serves reads of what is in memory.
    fn fill(&mut self) {
        for s in self.strips.iter_mut() {
            let rows = (s.toread & s.uptodate).minus(self.st.in_ops);
            s.toread.remove(rows);
            s.act.fill.insert(rows);
            self.acts.fill |= rows.any();
        }
    }

    pub(super) fn any_reading(&self) -> RowMask {
        self.strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.reading)
    }

    /// Rows of `within` that look like `row` on every strip.
    fn kind(&self, row: u32, within: RowMask) -> RowMask {
        let mut rows = within;
        for s in self.strips.iter() {
            rows = s.uptodate.alike(row, rows);
            rows = s.reading.alike(row, rows);
            rows = s.read_error.alike(row, rows);
            rows = s.bad.alike(row, rows);
            rows = s.dead.alike(row, rows);
            rows = s.recorded.alike(row, rows);
            rows = s.holes.alike(row, rows);
            rows = s.spared.alike(row, rows);
            rows = s.toread.alike(row, rows);
            rows = s.towrite.alike(row, rows);
            rows = s.overwrite.alike(row, rows);
            rows = s.cached.alike(row, rows);
            rows = s.old.alike(row, rows);
        }
        rows = self.st.caching.alike(row, rows);
        rows = self.st.stuck.alike(row, rows);
        rows = self.st.discard_next.alike(row, rows);
        self.st.out.alike(row, rows)
    }

    /// Calls `f(row, kind)` for every kind of row in `work`.
    pub(super) fn for_each_kind(
        &mut self,
        mut work: RowMask,
        mut f: impl FnMut(&mut Self, u32, RowMask),
    ) {
        while let Some(row) = work.lowest() {
            let rows = self.kind(row, work);
            work.remove(rows | RowMask::single(row));
            f(self, row, rows);
        }
    }

    /// Starts reads of strips marked `need` that are not in memory, or a compute
    /// where they cannot be read. Of what is cached this is about what the
    /// members hold, with which parity there agrees.
    pub(super) fn fetch(&mut self, row: u32, rows: RowMask) -> Fetch {
        let lost = |st: &State, s: &Strip| !st.is_present(s, row) && !s.readable().has(row);
        if !self.strips.iter().any(|s| s.need && lost(self.st, s)) {
            return self.fetch_needed(row, rows);
        }
        if self.st.caching.has(row) {
            // What will be cached is not told apart from what the members hold yet.
            return Fetch::Wait;
        }
        // Something has to be computed, and that takes all the others.
        let count = self.strips.iter().filter(|s| lost(self.st, s)).count();
        if count > self.st.parity() || self.st.stuck.has(row) {
            return Fetch::Lost;
        }
        for s in self.strips.iter_mut() {
            s.need = s.readable().has(row) || self.st.is_present(s, row);
        }
        match self.fetch_needed(row, rows) {
            Fetch::Ready => {}
            other => return other,
        }
        if (self.any_reading() & rows).any() {
            // A member that was lost meanwhile may still be writing the very
            // page that is to be computed.
            return Fetch::Wait;
        }
        for s in self.strips.iter_mut() {
            if !self.st.is_present(s, row) {
                s.op_result.insert(rows);
            }
        }
        self.st.in_ops.insert(rows);
        self.acts.compute.insert(rows);
        Fetch::Wait
    }

    fn fetch_needed(&mut self, row: u32, rows: RowMask) -> Fetch {
        let mut all = Fetch::Ready;
        for s in self.strips.iter_mut() {
            if !s.need || self.st.is_present(s, row) {
                continue;
            }
            all = Fetch::Wait;
            if !s.reading.has(row) {
                s.reading.insert(rows);
                s.act.read.insert(rows.minus(s.suspect));
                s.act.read_alone.insert(rows & s.suspect);
                self.acts.read = true;
            }
        }
        all
    }

    pub(super) fn need(&mut self, mut wanted: impl FnMut(usize, &Strip) -> bool) {
        for (i, s) in self.strips.iter_mut().enumerate() {
            s.need = wanted(i, s);
        }
    }

    /// Reads that memory cannot serve.
    fn plan_reads(&mut self) {
        let work = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.toread)
            .minus(self.st.in_ops);
        if !self.policy.begin {
            return;
        }
        self.for_each_kind(work, |m, row, rows| {
            m.need(|_, s| s.toread.has(row));
            if m.fetch(row, rows) == Fetch::Lost {
                m.fail_lost_reads(row, rows);
            }
        });
    }

    /// Fails reads of what cannot be had, and starts those that can.
    fn fail_lost_reads(&mut self, row: u32, rows: RowMask) {
        for s in self.strips.iter_mut() {
            s.need = s.toread.has(row) && s.readable().has(row);
            if s.toread.has(row) && !s.need {
                s.toread.remove(rows);
                s.act.fail_read.insert(rows);
                self.acts.fail_read = true;
                // The next read asks the member again.
                s.read_error.remove(rows);
            }
        }
        self.fetch_needed(row, rows);
    }

    /// Takes rows whose sync is wanted and on which nothing runs. What is
    /// cached of them is dropped: a sync is about what is on the members.
    fn begin_sync(&mut self) {
        let fixable = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.fixable());
        let fixable = if self.policy.may_fix {
            fixable
        } else {
            RowMask::EMPTY
        };
        // What is known only in memory goes to its member first, and so does
        // what is cached.
        let dirty = self.st.dirty(self.strips);
        self.st.want_out(self.strips, self.st.sync_want);
        let lost = self.st.sync_want & self.st.stuck & dirty;
        self.st.sync_want.remove(lost);
        self.acts.sync_failed.insert(lost);
        let free = !(self.st.busy | self.st.in_ops | self.any_reading() | fixable | dirty);
        let rows = self.st.sync_want & free;
        if rows.is_empty() || !self.policy.begin {
            return;
        }
        self.st.sync_want.remove(rows);
        self.st.syncing.insert(rows);
        for s in self.strips.iter_mut() {
            s.uptodate.remove(rows);
        }
    }

    fn plan_sync(&mut self) {
        let work = self.st.syncing.minus(self.st.busy | self.st.in_ops);
        self.for_each_kind(work, |m, row, rows| m.sync_rows(row, rows));
    }

    fn sync_rows(&mut self, row: u32, rows: RowMask) {
        let copy = self.strips.iter().any(|s| self.is_behind(s, row));
        let build = self.strips.iter().any(|s| {
            let lacks = s.access == Access::WriteOnly && !s.dead.has(row);
            lacks || self.is_behind(s, row) && !s.readable().has(row)
        });
        // To copy takes only what is copied, whatever else of the row is lost.
        let little = copy && !build;
        let lost = self
            .strips
            .iter()
            .filter(|s| !s.readable().has(row))
            .count();
        if !little && lost > self.st.parity() {
            return self.fail_sync(rows);
        }
        self.need(|_, s| match little {
            true => s.lacking().has(row),
            false => s.readable().has(row),
        });
        if self.fetch_needed(row, rows) == Fetch::Wait {
            return;
        }
        if lost == 0 && !copy {
            self.check_rows(rows);
        } else {
            self.rebuild_rows(row, rows, !little);
        }
    }

    /// Whether the sync under way gives the strip's twin what it lacks of `row`.
    fn is_behind(&self, s: &Strip, row: u32) -> bool {
        self.policy.copy && s.lacking().has(row)
    }

    fn fail_sync(&mut self, rows: RowMask) {
        self.st.syncing.remove(rows);
        self.acts.sync_failed.insert(rows);
        self.ask_again(rows);
    }

    /// What was given up for read errors asks the members again next time.
    pub(super) fn ask_again(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            let gone = rows.minus(s.uptodate);
            s.read_error.remove(gone);
        }
    }

    fn check_rows(&mut self, rows: RowMask) {
        for (i, s) in self.strips.iter_mut().enumerate() {
            if i == self.st.p || Some(i) == self.st.q {
                s.uptodate.remove(rows);
            }
        }
        self.st.in_ops.insert(rows);
        self.st.ops_check.insert(rows);
        self.acts.check.insert(rows);
    }

    /// Computes what the members lack and writes it to those that take it; without `all`, only
    /// what twins lack.
    fn rebuild_rows(&mut self, row: u32, rows: RowMask, all: bool) {
        self.need(|_, s| s.access != Access::Missing && (all || s.lacking().has(row)));
        match self.fetch(row, rows) {
            Fetch::Wait => return,
            Fetch::Lost => return self.fail_sync(rows),
            Fetch::Ready => {}
        }
        if !self.policy.may_fix {
            return self.fail_sync(rows);
        }
        if self.policy.blocked {
            return;
        }
        self.rewrite(row, rows);
        if self.st.busy.has(row) {
            return;
        }
        self.st.syncing.remove(rows);
        self.acts.sync_done.insert(rows);
    }

    /// Writes strips that are uptodate in memory but not on their member, or in a sync not on its
    /// twin. What is cached is left out: it goes there with its parity.
    fn rewrite(&mut self, row: u32, rows: RowMask) {
        let mut any = false;
        for s in self.strips.iter_mut() {
            let wants = match s.access {
                Access::Missing => false,
                Access::WriteOnly => {
                    self.st.syncing.has(row) && s.uptodate.has(row) && !s.dead.has(row)
                }
                Access::Full => s.fixable().has(row),
            };
            if wants {
                s.written.insert(rows);
                any = true;
            } else if self.st.syncing.has(row)
                && self.policy.copy
                && s.lacking().has(row)
                && s.uptodate.has(row)
            {
                s.twin_writing.insert(rows);
                s.act.twin.insert(rows);
                self.acts.write = true;
                any = true;
            }
        }
        if any {
            self.st.busy.insert(rows);
            self.write_members(rows);
        }
    }

    /// Puts unreadable rows right where their content is known by now.
    fn plan_fixes(&mut self) {
        if self.policy.blocked || !self.policy.may_fix {
            return;
        }
        let work = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.fixable())
            .minus(self.st.busy | self.st.in_ops | self.st.syncing);
        self.for_each_kind(work, |m, row, rows| m.rewrite(row, rows));
    }

    fn plan_writes(&mut self) {
        let waiting = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.towrite);
        let taken = self.st.busy | self.st.in_ops | self.st.syncing | self.st.sync_want;
        let work = waiting.minus(taken);
        if work.is_empty() {
            return;
        }
        let lost = if self.policy.refuse_writes {
            work
        } else {
            work & self.beyond_parity(Strip::gone)
        };
        self.fail_waiting(lost);
        let work = work.minus(lost);
        if self.policy.blocked || !self.policy.begin {
            return;
        }
        self.for_each_kind(work, |m, row, rows| m.write_rows(row, rows));
    }

    pub(super) fn fail_waiting(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            s.towrite.remove(rows);
            s.overwrite.remove(rows);
        }
        self.st.fua_next.remove(rows);
        self.st.discard_next.remove(rows);
        self.acts.fail_waiting.insert(rows);
    }

    fn write_rows(&mut self, row: u32, rows: RowMask) {
        let dirty = self.strips.iter().any(|s| s.cached.has(row));
        if dirty && self.st.stuck.has(row) {
            return self.fail_waiting(rows);
        }
        // What is to be discarded on the members is not kept in the cache.
        let discard = self.st.discard_next.has(row);
        let may = self.room_left() > 0 && !discard && !self.is_beyond(row);
        if may && (dirty || !self.is_full(row)) {
            return self.cache_rows(row, rows);
        }
        if dirty {
            return self.st.want_out(self.strips, rows);
        }
        let method = self.choose(row);
        if self.policy.hold && !self.in_memory(row, method) {
            self.acts.held.insert(rows);
            return;
        }
        let (p, q) = (self.st.p, self.st.q);
        self.need(|i, s| match method {
            Method::ReadModifyWrite => s.towrite.has(row) || i == p || Some(i) == q,
            Method::ReconstructWrite => i != p && Some(i) != q && !s.overwrite.has(row),
        });
        match self.fetch(row, rows) {
            Fetch::Ready => {}
            Fetch::Wait => return,
            Fetch::Lost => {
                self.fail_waiting(rows);
                return self.ask_again(rows);
            }
        }
        if (self.any_reading() & rows).any() {
            return;
        }
        self.start_write(rows, row, method);
    }

    /// Whether what waits covers all data of the row.
    fn is_full(&self, row: u32) -> bool {
        let mut strips = self.strips.iter().enumerate();
        strips.all(|(i, s)| self.st.is_parity(i) || s.overwrite.has(row))
    }

    /// Whether the strips that `method` needs of `row` are all uptodate.
    fn in_memory(&self, row: u32, method: Method) -> bool {
        self.cost(row, method) == Some(0)
    }

    /// Reads that `method` takes for `row`; none if it needs what is lost.
    fn cost(&self, row: u32, method: Method) -> Option<u32> {
        let mut reads = 0u32;
        for (i, s) in self.strips.iter().enumerate() {
            let wanted = match method {
                Method::ReadModifyWrite => s.towrite.has(row) || self.st.is_parity(i),
                Method::ReconstructWrite => !self.st.is_parity(i) && !s.overwrite.has(row),
            };
            if !wanted || s.uptodate.has(row) {
                continue;
            }
            if !s.readable().has(row) {
                return None;
            }
            reads = reads.saturating_add(1);
        }
        Some(reads)
    }

    /// The cheaper method; reconstruct-write if something lost has to be computed
    /// first.
    fn choose(&self, row: u32) -> Method {
        let rcw = self.cost(row, Method::ReconstructWrite);
        let rmw = self.cost(row, Method::ReadModifyWrite);
        Method::cheaper(self.policy.rmw, rmw, rcw)
    }

    fn start_write(&mut self, rows: RowMask, row: u32, method: Method) {
        for (i, s) in self.strips.iter_mut().enumerate() {
            let parity = i == self.st.p || Some(i) == self.st.q;
            if !parity && !s.towrite.has(row) {
                continue;
            }
            if !parity {
                s.towrite.remove(rows);
                s.overwrite.remove(rows);
                s.act.drain.insert(rows);
            }
            s.uptodate.remove(rows);
            s.op_result.insert(rows);
            s.written.insert(rows);
        }
        self.st.busy.insert(rows);
        self.st.user.insert(rows);
        self.st.in_ops.insert(rows);
        self.st.ops_write.insert(rows);
        let fua = self.st.fua_next & rows;
        self.st.fua_next.remove(rows);
        self.st.fua.insert(fua);
        let discard = self.st.discard_next & rows;
        self.st.discard_next.remove(rows);
        self.st.discard.insert(discard);
        match method {
            Method::ReadModifyWrite => self.acts.rmw.insert(rows),
            Method::ReconstructWrite => self.acts.rcw.insert(rows),
        }
    }
}
