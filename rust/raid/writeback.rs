// SPDX-License-Identifier: GPL-2.0

//! The write-back cache of a stripe.
//!
//! ```text
//!  towrite --(read the pages that are written in part)--> caching --> cached
//!     ^         drain          append data: the write completes           |
//!     |                                                                   | want_out
//!     +-- pieces that came meanwhile                                      v
//!  (nothing) <-- landed <-- in_members <-- in_journal <-- in_ops <--------+
//!                   out:   data, parity    parity        parity
//! ```
//!
//! A `cached` strip has two pages: the first is what was acknowledged, the second,
//! if `old` says so, what the member holds. Parity on the members, and in memory
//! until the row is written out, agrees with the second. So that is what is read
//! and computed when something of the row is lost, and what a
//! read-modify-write takes out of parity ([`State::is_present`]).
//!
//! A row is cached only if the log has promised room for its data and, later, its
//! parity ([`Policy::room`]): a row that waits for room must not be one that holds
//! some. Without room a write to a clean row goes to the journal with its parity
//! and waits there, and one to a cached row waits until that is written out. A
//! write of a whole row is cached only over what is cached; to a clean row it goes
//! with its parity, room or not.
//!
//! While a row is `caching`, nothing lost of it is computed: its pages are newer
//! than what parity agrees with, and not yet told apart from it.
//!
//! [`Policy::room`]: super::stripe::Policy::room

use super::mask::RowMask;
use super::plan::{Fetch, Method};
use super::stripe::{Access, Machine, State, Strip};

impl State {
    /// Rows with cached strips.
    pub(crate) fn dirty(&self, strips: &[Strip]) -> RowMask {
        strips.iter().fold(RowMask::EMPTY, |all, s| all | s.cached)
    }

    /// Rows of strip `slot` that are acknowledged, and of which the member may not
    /// have the newest: they must be read through the stripe.
    pub(crate) fn newer(&self, strips: &[Strip], slot: usize) -> RowMask {
        match strips.get(slot) {
            Some(s) => s.cached | (s.written & self.acked),
            None => RowMask::EMPTY,
        }
    }

    /// Rows with writes that could be cached now.
    pub(crate) fn cacheable(&self, strips: &[Strip]) -> RowMask {
        let (mut some, mut full) = (RowMask::EMPTY, self.rows);
        for (i, s) in strips.iter().enumerate() {
            some.insert(s.towrite);
            if !self.is_parity(i) {
                full = full & s.overwrite;
            }
        }
        let whole = full.minus(self.dirty(strips));
        some.minus(whole | self.busy | self.in_ops | self.syncing | self.sync_want)
    }

    /// Rows with cached strips that are not stuck.
    pub(crate) fn cached(&self, strips: &[Strip]) -> RowMask {
        self.dirty(strips).minus(self.stuck)
    }

    /// Rows that are acknowledged and not on the members, but those that are stuck.
    pub(crate) fn not_on_members(&self, strips: &[Strip]) -> RowMask {
        (self.dirty(strips) | self.acked).minus(self.stuck)
    }

    /// Whether something is cached, and of each row with cached strips all data is: written out it
    /// takes no reads, and nothing more of it is likely to come.
    pub(crate) fn is_full(&self, strips: &[Strip]) -> bool {
        let data = strips
            .iter()
            .enumerate()
            .filter(|(i, _)| !self.is_parity(*i));
        let whole = data.fold(self.rows, |all, (_, s)| all & s.cached);
        let rows = self.cached(strips);
        rows.any() && rows.minus(whole).is_empty()
    }

    /// Rows with cached strips of which nobody wants anything.
    pub(crate) fn resting(&self, strips: &[Strip]) -> RowMask {
        self.dirty(strips)
            .minus(self.busy | self.out_want | self.stuck)
    }

    /// Cached data of `rows` is to be written out.
    pub(crate) fn want_out(&mut self, strips: &[Strip], rows: RowMask) {
        let dirty = self.dirty(strips);
        self.out_want.insert((rows & dirty).minus(self.stuck));
    }

    /// Rows that are to be written out, and can be.
    pub(super) fn out_due(&self, strips: &[Strip]) -> RowMask {
        (self.out_want & self.dirty(strips)).minus(self.stuck)
    }

    /// Rows of the write under way whose cached data goes to the members: of those
    /// only parity is appended to the journal.
    pub(crate) fn out(&self) -> RowMask {
        self.out
    }

    /// Whether what the strip's member holds of `row` is in memory; while the row
    /// is written out, what it will hold.
    pub(super) fn is_present(&self, s: &Strip, row: u32) -> bool {
        if s.cached.has(row) && !self.out.has(row) {
            s.old.has(row)
        } else {
            s.uptodate.has(row)
        }
    }

    /// Rows whose op on strip `s` is about its second page.
    pub(crate) fn second(&self, s: &Strip) -> RowMask {
        s.cached.minus(self.out)
    }
}

impl Machine<'_> {
    /// Rows that may still be cached in this step.
    pub(super) fn room_left(&self) -> u32 {
        if !self.policy.write_back || !self.policy.journal {
            return 0;
        }
        self.policy.room.saturating_sub(self.acts.cache.count())
    }

    /// Takes the writes that wait for `rows` into the cache.
    pub(super) fn cache_rows(&mut self, row: u32, rows: RowMask) {
        let dirty = self.strips.iter().any(|s| s.cached.has(row));
        if self.policy.hold && !dirty {
            self.acts.held.insert(rows);
            return;
        }
        self.need(|_, s| s.towrite.has(row) && !s.overwrite.has(row) && !s.uptodate.has(row));
        match self.fetch(row, rows) {
            Fetch::Ready => {}
            Fetch::Wait => return,
            Fetch::Lost => {
                self.fail_waiting(rows);
                return self.ask_again(rows);
            }
        }
        let mut chosen = RowMask::EMPTY;
        for row in rows.minus(self.any_reading()).iter() {
            if chosen.count() < self.room_left() {
                chosen.insert(RowMask::single(row));
            }
        }
        self.start_cache(chosen);
    }

    fn start_cache(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            let mine = s.towrite & rows;
            s.towrite.remove(mine);
            s.overwrite.remove(mine);
            s.act.drain.insert(mine);
            s.uptodate.remove(mine);
            s.op_result.insert(mine);
            s.written.insert(mine);
        }
        self.st.busy.insert(rows);
        self.st.user.insert(rows);
        self.st.caching.insert(rows);
        self.st.in_ops.insert(rows);
        self.st.ops_cache.insert(rows);
        let fua = self.st.fua_next & rows;
        self.st.fua_next.remove(rows);
        self.st.fua.insert(fua);
        self.acts.cache.insert(rows);
    }

    /// The data of `rows` is in its pages: it goes to the journal.
    pub(super) fn cache_drained(&mut self, rows: RowMask) {
        if self.policy.journal {
            self.st.in_journal.insert(rows);
            self.acts.journal.insert(rows);
        } else {
            self.abandon(rows);
        }
    }

    /// The data of `rows` is in the journal: the write is done.
    pub(super) fn cached(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            let new = s.written & rows;
            s.written.remove(new);
            s.cached.insert(new);
        }
        self.st.caching.remove(rows);
        self.st.busy.remove(rows);
        self.acts.complete.insert(rows & self.st.user);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
    }

    /// Data and parity of `rows` are stable in the journal: with a write-back
    /// cache the write is done, though the members do not have it.
    pub(super) fn acknowledge(&mut self, rows: RowMask) {
        if !self.policy.write_back {
            return;
        }
        let rows = rows & self.st.user;
        self.acts.complete.insert(rows);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
        self.st.acked.insert(rows);
    }

    /// Starts to write out what is wanted, and can be now. With the journal gone
    /// that is everything.
    pub(super) fn plan_out(&mut self) {
        if self.policy.refuse_writes {
            self.st.want_out(self.strips, self.st.rows);
        }
        let taken = self.st.busy | self.st.in_ops | self.st.syncing;
        let work = self.st.out_due(self.strips).minus(taken);
        if work.is_empty() {
            return;
        }
        if self.failed_members() > self.st.parity() {
            return self.strand(work);
        }
        if self.policy.blocked {
            return;
        }
        self.for_each_kind(work, |m, row, rows| m.write_out(row, rows));
    }

    /// Cached data of `rows` stays in journal and memory.
    pub(super) fn strand(&mut self, rows: RowMask) {
        self.st.stuck.insert(rows);
        self.st.out_want.remove(rows);
        self.acts.stuck.insert(rows);
    }

    fn write_out(&mut self, row: u32, rows: RowMask) {
        let method = self.choose_out(row);
        let (p, q) = (self.st.p, self.st.q);
        self.need(|i, s| {
            let parity = i == p || Some(i) == q;
            match method {
                Method::ReadModifyWrite => parity || s.cached.has(row),
                Method::ReconstructWrite => !parity && !s.cached.has(row),
            }
        });
        match self.fetch(row, rows) {
            Fetch::Ready => {}
            Fetch::Wait => return,
            Fetch::Lost => return self.forgo(row, rows),
        }
        if (self.any_reading() & rows).any() {
            return;
        }
        self.start_out(rows, method);
    }

    /// More of `rows` is lost than parity makes up for, so that there is no new parity for what is
    /// cached: that goes to the members without, once md has recorded that they hold no parity. With
    /// the old one they would give something else for what is lost, which nobody wrote.
    fn forgo(&mut self, row: u32, rows: RowMask) {
        let mut known = true;
        for i in [Some(self.st.p), self.st.q].into_iter().flatten() {
            let Some(s) = self.strips.get_mut(i) else {
                continue;
            };
            if s.access != Access::Missing && !s.recorded.has(row) {
                s.act.record.insert(rows);
                known = false;
            }
        }
        if !known {
            self.acts.record = true;
            self.acts.lost.insert(rows);
            for s in self.strips.iter_mut() {
                if !self.st.is_present(s, row) && !s.readable().has(row) {
                    s.act.lost.insert(rows);
                }
            }
            return;
        }
        if (self.any_reading() & rows).any() {
            return;
        }
        for (i, s) in self.strips.iter_mut().enumerate() {
            s.written.insert(s.cached & rows);
            if self.st.is_parity(i) {
                s.uptodate.remove(rows);
            }
        }
        self.st.out_want.remove(rows);
        self.st.busy.insert(rows);
        self.st.out.insert(rows);
        // No parity is appended, but what is cached must be stable in the journal.
        self.out_made(rows);
        // If no member takes any of it.
        self.report_landed();
    }

    /// Nothing keeps the old parity of `rows` from being believed: they are left as they are.
    pub(super) fn not_recorded(&mut self, rows: RowMask) {
        let rows = self.st.out_due(self.strips) & rows.minus(self.st.busy);
        self.strand(rows);
    }

    /// Whether more of `row` is missing or recorded as bad than parity makes up for: what was cached of
    /// it could not be written out.
    pub(super) fn is_beyond(&self, row: u32) -> bool {
        self.beyond_parity(|s| s.gone() | s.bad).has(row)
    }

    /// Reads that it takes to write `row` out; none if something is lost.
    fn cost_out(&self, row: u32, method: Method) -> Option<u32> {
        let mut reads = 0u32;
        for (i, s) in self.strips.iter().enumerate() {
            let parity = self.st.is_parity(i);
            let wanted = match method {
                Method::ReadModifyWrite => parity || s.cached.has(row),
                Method::ReconstructWrite => !parity && !s.cached.has(row),
            };
            if !wanted || self.st.is_present(s, row) {
                continue;
            }
            if !s.readable().has(row) {
                return None;
            }
            reads = reads.saturating_add(1);
        }
        Some(reads)
    }

    /// The cheaper method, as for a write that is not cached.
    fn choose_out(&self, row: u32) -> Method {
        let rcw = self.cost_out(row, Method::ReconstructWrite);
        let rmw = self.cost_out(row, Method::ReadModifyWrite);
        Method::cheaper(self.policy.rmw, rmw, rcw)
    }

    fn start_out(&mut self, rows: RowMask, method: Method) {
        for (i, s) in self.strips.iter_mut().enumerate() {
            if self.st.is_parity(i) {
                s.uptodate.remove(rows);
                s.op_result.insert(rows);
                s.written.insert(rows);
            } else {
                s.written.insert(s.cached & rows);
            }
        }
        self.st.out_want.remove(rows);
        self.st.busy.insert(rows);
        self.st.out.insert(rows);
        self.st.in_ops.insert(rows);
        self.st.ops_out.insert(rows);
        match method {
            Method::ReadModifyWrite => self.acts.rmw_out.insert(rows),
            Method::ReconstructWrite => self.acts.parity.insert(rows),
        }
    }

    /// Parity of `rows` is made: it goes to the journal, and if there is none left
    /// straight to the members, with the data. But not before md has recorded that
    /// there is none: as long as its superblock calls the journal good, that has
    /// the data, and what the members hold must agree with their parity.
    pub(super) fn out_made(&mut self, rows: RowMask) {
        if self.policy.journal {
            self.st.in_journal.insert(rows);
            self.acts.journal.insert(rows);
        } else if self.policy.blocked {
            self.give_up_out(rows);
        } else {
            self.write_members(rows);
        }
    }

    /// `rows` could not be written out; no member has seen anything of it.
    pub(super) fn give_up_out(&mut self, rows: RowMask) {
        for s in self.strips.iter_mut() {
            let mine = s.written & rows;
            s.uptodate.remove(mine.minus(s.cached));
            s.written.remove(mine);
        }
        self.st.busy.remove(rows);
        self.st.out.remove(rows);
        self.st.out_want.insert(rows);
    }

    /// `done` rows are on the members; of `lost` ones some member has not taken its
    /// write, and cannot be done without: what was acknowledged of them stays here, unless it is `over`.
    pub(super) fn landed(&mut self, done: RowMask, lost: RowMask, over: RowMask) {
        let out = self.st.out;
        let acked = out | self.st.acked;
        let kept = (lost & acked).minus(over);
        let gone = over & acked;
        for (i, s) in self.strips.iter_mut().enumerate() {
            s.cached.remove((done | over) & out);
            s.old.remove((done | lost) & out);
            if !self.st.is_parity(i) {
                s.cached.insert(s.written & kept);
            }
            s.act.lost.insert(gone & (s.gone() | s.bad));
        }
        self.acts.lost.insert(gone);
        self.acts
            .landed
            .insert((done | over) & (acked | self.st.user));
        self.strand(kept);
        self.st.out.remove(done | lost);
        self.st.acked.remove(done | lost);
    }
}
