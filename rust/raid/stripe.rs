// SPDX-License-Identifier: GPL-2.0

//! The stripe state machine: what one stripe knows, and how events change it.
//!
//! A stripe is up to 64 rows; a strip is one member's part of it. All state is
//! row masks. The shell feeds [`Event`]s to [`apply`] and asks [`plan`] what to
//! do, both under the stripe's lock, and carries out the [`Actions`] after it
//! dropped the lock; what was carried out is the next event. Nothing here sees
//! a page, a bio or a device.
//!
//! A row of a user's write goes through these phases, and is `busy` in all of
//! them but the first:
//!
//! ```text
//!  towrite --(reads, computes)--> in_ops --> in_journal --> in_members --> landed
//!     ^                             |  no journal: |             ^           |
//!     |                             +--------------+-------------+           |
//!     +---------- pieces that came meanwhile wait as towrite <---------------+
//! ```
//!
//! `landed` rows complete as soon as md has no failed member to record first:
//! a write may not be acknowledged while the superblocks still call a member
//! good that missed it.

use super::mask::RowMask;

/// What a member can do for this stripe at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// No device, or a faulty one.
    Missing,
    /// Being rebuilt, and not yet as far as this stripe: takes writes only.
    WriteOnly,
    /// In sync here.
    Full,
}

/// What the shell is to do with one strip's rows; see [`Actions`].
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct StripActs {
    /// Read these rows from the member.
    pub(crate) read: RowMask,
    /// Read these rows too, each on its own: a longer read failed.
    pub(crate) read_alone: RowMask,
    /// Write these rows to the member.
    pub(crate) write: RowMask,
    /// Copy these rows to the read bios that wait for them.
    pub(crate) fill: RowMask,
    /// Copy the write bios into these rows, as part of a write op.
    pub(crate) drain: RowMask,
    /// End the read bios of these rows with an error.
    pub(crate) fail_read: RowMask,
    /// Rows that the member could not read, and that were put right by
    /// rewriting; to be counted.
    pub(crate) corrected: RowMask,
}

/// One member's part of a stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    /// Refreshed by the shell before each step.
    pub(crate) access: Access,
    /// The page holds the row's current content.
    pub(crate) uptodate: RowMask,
    /// A read from the member is in flight.
    pub(super) reading: RowMask,
    /// A write to the member is in flight.
    pub(super) writing: RowMask,
    /// Belongs to the row's write that is under way.
    pub(super) written: RowMask,
    /// Read pieces wait.
    pub(super) toread: RowMask,
    /// Write pieces wait.
    pub(super) towrite: RowMask,
    /// A waiting write piece covers the whole page.
    pub(super) overwrite: RowMask,
    /// A read of several rows failed, and this was one of them.
    pub(super) suspect: RowMask,
    /// The member could not read the row.
    pub(super) read_error: RowMask,
    /// Becomes uptodate when the running op is done.
    pub(super) op_result: RowMask,
    /// Scratch of the planner: this strip is needed.
    pub(super) need: bool,
    /// Out: what to do.
    pub(crate) act: StripActs,
}

impl Strip {
    /// A strip of which nothing is cached.
    pub(crate) const fn new() -> Self {
        Self {
            access: Access::Missing,
            uptodate: RowMask::EMPTY,
            reading: RowMask::EMPTY,
            writing: RowMask::EMPTY,
            written: RowMask::EMPTY,
            toread: RowMask::EMPTY,
            towrite: RowMask::EMPTY,
            overwrite: RowMask::EMPTY,
            suspect: RowMask::EMPTY,
            read_error: RowMask::EMPTY,
            op_result: RowMask::EMPTY,
            need: false,
            act: StripActs {
                read: RowMask::EMPTY,
                read_alone: RowMask::EMPTY,
                write: RowMask::EMPTY,
                fill: RowMask::EMPTY,
                drain: RowMask::EMPTY,
                fail_read: RowMask::EMPTY,
                corrected: RowMask::EMPTY,
            },
        }
    }

    /// Rows that can be read from the member now.
    pub(super) fn readable(&self) -> RowMask {
        match self.access {
            Access::Full => !self.read_error,
            Access::WriteOnly | Access::Missing => RowMask::EMPTY,
        }
    }

    /// Rows that the member could not read, and whose content is known: it can
    /// be told.
    pub(super) fn fixable(&self) -> RowMask {
        match self.access {
            Access::Full => self.read_error & self.uptodate,
            Access::WriteOnly | Access::Missing => RowMask::EMPTY,
        }
    }

    /// Rows whose pages the op that runs next makes or changes.
    pub(crate) fn op_result(&self) -> RowMask {
        self.op_result
    }

    /// Rows of the write under way that belong to this strip.
    pub(crate) fn written(&self) -> RowMask {
        self.written
    }
}

/// What the array wants of a step; the same for all members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Rows go through the journal before they go to the members.
    pub(crate) journal: bool,
    /// A member's failure is not in the superblocks yet: no write may start or
    /// complete.
    pub(crate) blocked: bool,
    /// Writes may never start (the journal is gone): they fail.
    pub(crate) refuse_writes: bool,
    /// Members may be written to put read errors right, or to rebuild.
    pub(crate) may_fix: bool,
    /// Read-modify-write is allowed.
    pub(crate) rmw: bool,
    /// A write that would have to read first is left alone for now.
    pub(crate) hold: bool,
    /// A check writes the right parity where it finds wrong parity.
    pub(crate) repair: bool,
}

/// The state that is not one strip's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// The rows that the stripe has.
    pub(super) rows: RowMask,
    /// Index of P's strip.
    pub(super) p: usize,
    /// Index of Q's strip.
    pub(super) q: Option<usize>,
    /// A write of these rows is under way, in one of the phases below.
    pub(super) busy: RowMask,
    /// The shell computes on these rows.
    pub(super) in_ops: RowMask,
    /// ... and it is a user's write.
    pub(super) ops_write: RowMask,
    /// ... and it is a comparison of data and parity.
    pub(super) ops_check: RowMask,
    /// ... and it is new parity, for a sync.
    pub(super) ops_parity: RowMask,
    /// Appended to the journal, not yet stable there.
    pub(super) in_journal: RowMask,
    /// Being written to the members.
    pub(super) in_members: RowMask,
    /// A member that md still trusts did not take its write.
    pub(super) unwritten: RowMask,
    /// On the members; not reported yet.
    pub(super) landed: RowMask,
    /// The write under way is a user's.
    pub(super) user: RowMask,
    /// Write pieces that wait want FUA.
    pub(super) fua_next: RowMask,
    /// The write under way wants FUA.
    pub(super) fua: RowMask,
    /// A sync of these rows is asked for.
    pub(super) sync_want: RowMask,
    /// A sync of these rows is under way.
    pub(super) syncing: RowMask,
}

impl State {
    /// State of a stripe of `rows` rows with P and Q on strips `p` and `q`.
    pub(crate) const fn new(rows: u32, p: usize, q: Option<usize>) -> Self {
        Self {
            rows: RowMask::first(rows),
            p,
            q,
            busy: RowMask::EMPTY,
            in_ops: RowMask::EMPTY,
            ops_write: RowMask::EMPTY,
            ops_check: RowMask::EMPTY,
            ops_parity: RowMask::EMPTY,
            in_journal: RowMask::EMPTY,
            in_members: RowMask::EMPTY,
            unwritten: RowMask::EMPTY,
            landed: RowMask::EMPTY,
            user: RowMask::EMPTY,
            fua_next: RowMask::EMPTY,
            fua: RowMask::EMPTY,
            sync_want: RowMask::EMPTY,
            syncing: RowMask::EMPTY,
        }
    }

    /// Whether strip `slot` holds P or Q.
    pub(crate) fn is_parity(&self, slot: usize) -> bool {
        slot == self.p || Some(slot) == self.q
    }

    /// Index of P's strip.
    #[allow(dead_code)] // the simulator asks
    pub(crate) fn p(&self) -> usize {
        self.p
    }

    /// Index of Q's strip, if the array has Q.
    #[allow(dead_code)] // the simulator asks
    pub(crate) fn q(&self) -> Option<usize> {
        self.q
    }

    /// Number of parity strips.
    pub(super) fn parity(&self) -> usize {
        1 + usize::from(self.q.is_some())
    }

    /// Rows of the write under way that must be written with FUA.
    pub(crate) fn fua(&self) -> RowMask {
        self.fua
    }

    /// Whether a sync waits or is under way.
    pub(crate) fn is_syncing(&self) -> bool {
        (self.sync_want | self.syncing).any()
    }

    /// Whether nothing waits and nothing is under way.
    ///
    /// Fixes that may not be made now do not count as work.
    pub(crate) fn is_idle(&self, strips: &[Strip], policy: &Policy) -> bool {
        (self.busy | self.in_ops | self.sync_want | self.syncing).is_empty()
            && strips.iter().all(|s| {
                (s.toread | s.towrite | s.reading | s.writing).is_empty()
                    && (!policy.may_fix || s.fixable().is_empty())
            })
    }

    /// A read piece was attached: `rows` of strip `slot`.
    pub(crate) fn attach_read(&self, strips: &mut [Strip], slot: usize, rows: RowMask) {
        if let Some(s) = strips.get_mut(slot) {
            s.toread.insert(rows & self.rows);
        }
    }

    /// A write piece was attached: `rows` of strip `slot`, of which it covers
    /// the pages of `full` wholly.
    pub(crate) fn attach_write(
        &mut self,
        strips: &mut [Strip],
        slot: usize,
        rows: RowMask,
        full: RowMask,
        fua: bool,
    ) {
        if let Some(s) = strips.get_mut(slot) {
            s.towrite.insert(rows & self.rows);
            s.overwrite.insert(full & rows & self.rows);
            if fua {
                self.fua_next.insert(rows & self.rows);
            }
        }
    }

    /// A sync of `rows` is wanted: check, repair or rebuild, as the policy of
    /// the coming steps and the members' access say. Returns the rows taken:
    /// those not asked for already.
    pub(crate) fn want_sync(&mut self, rows: RowMask) -> RowMask {
        let new = (rows & self.rows).minus(self.sync_want | self.syncing);
        self.sync_want.insert(new);
        new
    }
}

/// What happened.
#[allow(clippy::enum_variant_names)] // every event is something done
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A read from member `slot` ended.
    ReadDone {
        slot: usize,
        rows: RowMask,
        ok: bool,
    },
    /// The ops of the last [`Actions`] are done; `bad` rows failed the check, and
    /// the ops of `failed` rows could not be done: nothing is known of their
    /// pages.
    OpsDone { bad: RowMask, failed: RowMask },
    /// Rows are stable in the journal, or (`ok` false) will never be.
    JournalDone { rows: RowMask, ok: bool },
    /// A write to member `slot` ended. The shell has already told md of an
    /// error, so that the next access says what the member is worth.
    WriteDone {
        slot: usize,
        rows: RowMask,
        ok: bool,
    },
}

/// What the shell is to do; masks of rows, and per strip [`StripActs`].
///
/// Ends of writes come first, because a row that ended may start again in the
/// same step; then fills, ops, the journal and member I/O.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Actions {
    /// Some strip has `fill` rows.
    pub(crate) fill: bool,
    /// Some strip has `fail_read` rows.
    pub(crate) fail_read: bool,
    /// Rebuild the strips' `op_result` rows from the other strips.
    pub(crate) compute: RowMask,
    /// Take the old data out of parity, drain, put the new data in.
    pub(crate) rmw: RowMask,
    /// Drain, then make parity from all data.
    pub(crate) rcw: RowMask,
    /// Compare parity with data; destroys the parity pages.
    pub(crate) check: RowMask,
    /// Make parity from all data.
    pub(crate) parity: RowMask,
    /// Append the strips' `written` rows to the journal.
    pub(crate) journal: RowMask,
    /// Some strip has `read` rows.
    pub(crate) read: bool,
    /// Some strip has `write` rows.
    pub(crate) write: bool,
    /// End the write bios of these rows: they are safe.
    pub(crate) complete: RowMask,
    /// End the write bios of these rows with an error: those under way.
    pub(crate) fail_write: RowMask,
    /// End the write bios of these rows with an error: those waiting.
    pub(crate) fail_waiting: RowMask,
    /// The sync of these rows is done.
    pub(crate) sync_done: RowMask,
    /// The sync of these rows cannot be done: too many members are missing.
    pub(crate) sync_failed: RowMask,
    /// The check found these rows wrong.
    pub(crate) mismatch: RowMask,
    /// Some strip has `corrected` rows.
    pub(crate) corrected: bool,
    /// Rows left alone because the policy says `hold`.
    pub(crate) held: RowMask,
}

impl Actions {
    /// Whether an op is among the actions, and so [`Event::OpsDone`] is due.
    pub(crate) fn has_ops(&self) -> bool {
        (self.compute | self.rmw | self.rcw | self.check | self.parity).any()
    }

    /// Whether anything has to be done at all.
    pub(crate) fn any(&self) -> bool {
        self.has_ops()
            || self.fill
            || self.fail_read
            || self.read
            || self.write
            || self.corrected
            || (self.journal
                | self.complete
                | self.fail_write
                | self.fail_waiting
                | self.sync_done
                | self.sync_failed
                | self.mismatch)
                .any()
    }
}

/// One stripe's state, borrowed for a step.
pub(super) struct Machine<'a> {
    pub(super) st: &'a mut State,
    pub(super) strips: &'a mut [Strip],
    pub(super) policy: &'a Policy,
    pub(super) acts: &'a mut Actions,
}

/// Takes in `event`, adding to the actions what follows from it at once.
pub(crate) fn apply(
    st: &mut State,
    strips: &mut [Strip],
    event: Event,
    policy: &Policy,
    acts: &mut Actions,
) {
    Machine {
        st,
        strips,
        policy,
        acts,
    }
    .apply(event);
}

/// Decides what can be started now, adding it to the actions. Bounded by rows
/// times members.
pub(crate) fn plan(st: &mut State, strips: &mut [Strip], policy: &Policy, acts: &mut Actions) {
    Machine {
        st,
        strips,
        policy,
        acts,
    }
    .plan();
}

/// Forgets actions that were taken over.
pub(crate) fn clear(strips: &mut [Strip], acts: &mut Actions) {
    *acts = Actions::default();
    for s in strips {
        s.act = StripActs::default();
    }
}

impl Machine<'_> {
    fn apply(&mut self, event: Event) {
        match event {
            Event::ReadDone { slot, rows, ok } => self.read_done(slot, rows, ok),
            Event::OpsDone { bad, failed } => self.ops_done(bad, failed),
            Event::JournalDone { rows, ok } => self.journal_done(rows, ok),
            Event::WriteDone { slot, rows, ok } => self.write_done(slot, rows, ok),
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
            s.uptodate.insert(rows);
            s.suspect.remove(rows);
        } else if s.access == Access::Full && alone {
            s.read_error.insert(rows);
            s.suspect.remove(rows);
        } else if s.access == Access::Full {
            // One bad sector fails a whole read: find out which row has it.
            s.suspect.insert(rows);
        }
    }

    fn ops_done(&mut self, bad: RowMask, failed: RowMask) {
        let failed = failed & self.st.in_ops;
        let write = self.st.ops_write;
        let check = self.st.ops_check;
        let parity = self.st.ops_parity;
        // Their pages are on the way to journal or members: those are known.
        let on_the_way = self.st.busy.minus(write | parity);
        for s in self.strips.iter_mut() {
            let result = s.op_result;
            s.op_result = RowMask::EMPTY;
            s.uptodate.insert(result.minus(failed));
            s.uptodate.remove(failed.minus(on_the_way));
            let lost = result & failed & on_the_way & s.toread;
            s.toread.remove(lost);
            s.act.fail_read.insert(lost);
            self.acts.fail_read |= lost.any();
        }
        self.st.in_ops = RowMask::EMPTY;
        self.st.ops_write = RowMask::EMPTY;
        self.st.ops_check = RowMask::EMPTY;
        self.st.ops_parity = RowMask::EMPTY;
        self.abandon(write & failed);
        self.give_up_sync((check | parity) & failed);
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
        if ok {
            self.write_members(rows);
        } else {
            self.abandon(rows);
        }
    }

    /// Ends a user's write of `rows` with an error before any member saw it.
    fn abandon(&mut self, rows: RowMask) {
        if rows.is_empty() {
            return;
        }
        for s in self.strips.iter_mut() {
            let gone = s.written & rows;
            s.uptodate.remove(gone);
            s.written.remove(gone);
        }
        self.st.busy.remove(rows);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
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
            let out = s.written & rows;
            s.writing.insert(out);
            s.act.write.insert(out);
            any.insert(out);
        }
        self.acts.write |= any.any();
        self.st.in_members.insert(rows);
        self.land();
    }

    fn write_done(&mut self, slot: usize, rows: RowMask, ok: bool) {
        if let Some(s) = self.strips.get_mut(slot) {
            let rows = rows & s.writing;
            s.writing.remove(rows);
            if ok {
                let corrected = s.read_error & rows;
                s.act.corrected.insert(corrected);
                self.acts.corrected |= corrected.any();
                s.read_error.remove(rows);
            } else if s.access == Access::Full {
                // md kept the member all the same: ask it again next time,
                // rather than rewrite for ever.
                s.read_error.remove(rows);
                s.uptodate.remove(rows);
                self.st.unwritten.insert(rows);
            }
        }
        self.land();
    }

    /// Moves rows whose last member write ended on to `landed`.
    fn land(&mut self) {
        let writing = self
            .strips
            .iter()
            .fold(RowMask::EMPTY, |all, s| all | s.writing);
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
        for s in self.strips.iter_mut() {
            s.written.remove(rows);
        }
        let user = rows & self.st.user;
        let mut lost = rows & self.st.unwritten;
        self.st.unwritten.remove(rows);
        if self.failed_members() > self.st.parity() {
            lost = rows;
        }
        self.acts.fail_write.insert(user & lost);
        self.acts.complete.insert(user.minus(lost));
        let sync = rows & self.st.syncing;
        self.st.syncing.remove(sync);
        self.acts.sync_failed.insert(sync & lost);
        self.acts.sync_done.insert(sync.minus(lost));
        self.st.busy.remove(rows);
        self.st.user.remove(rows);
        self.st.fua.remove(rows);
    }

    /// Members that are not in sync here.
    pub(super) fn failed_members(&self) -> usize {
        self.strips
            .iter()
            .filter(|s| s.access != Access::Full)
            .count()
    }
}
