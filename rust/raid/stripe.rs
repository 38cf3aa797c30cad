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
//!
//! With a write-back cache a row may stop half-way: its data is appended and the
//! write completes, while the members are left as they are. The strips are then
//! `cached`; how they get out is in `writeback.rs`.

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

/// What one device of a role is worth for a stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    /// What it can do.
    pub(crate) access: Access,
    /// Rows in its bad-block log.
    pub(crate) bad: RowMask,
    /// It has failed a write: these rows are not written.
    pub(crate) skip: bool,
}

/// The second device of a role: one that replaces the member, or that is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Twin {
    /// There is none.
    None,
    /// It takes writes, and lacks what it has not been given yet for this stripe.
    Behind,
    /// It takes writes, and has all that the member has here, but its bad blocks.
    Level,
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
    /// Write these rows too, each on its own: a longer write failed.
    pub(crate) write_alone: RowMask,
    /// Discard these rows on the member; a write to the planner.
    pub(crate) discard: RowMask,
    /// Write these rows to the member's twin.
    pub(crate) twin: RowMask,
    /// Record these rows as bad blocks of the role's devices.
    pub(crate) record: RowMask,
    /// These rows of the strip are lost with what else of them is; to be reported.
    pub(crate) lost: RowMask,
    /// Copy these rows to the read bios that wait for them.
    pub(crate) fill: RowMask,
    /// Copy the write bios into these rows, as part of a write op.
    pub(crate) drain: RowMask,
    /// End the read bios of these rows with an error.
    pub(crate) fail_read: RowMask,
}

/// One member's part of a stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    /// Refreshed by the shell before each step, or for several events in a row.
    pub(crate) access: Access,
    /// Refreshed like `access`.
    pub(crate) twin: Twin,
    /// Recorded as bad blocks of all devices of the role that could be read. Refreshed like `access`.
    pub(super) bad: RowMask,
    /// Of these, the ones of a member that has failed a write: they are not read, and not written,
    /// and what is written of them counts as lost.
    pub(super) dead: RowMask,
    /// Recorded as bad blocks of all devices of the role. Refreshed like `access`.
    pub(super) recorded: RowMask,
    /// Bad blocks of a twin that is level. Refreshed like `access`.
    pub(super) holes: RowMask,
    /// What the member does not take any more, and its level twin has. Refreshed like `access`.
    pub(super) spared: RowMask,
    /// The page holds the row's current content.
    pub(crate) uptodate: RowMask,
    /// A read from the member is in flight.
    pub(super) reading: RowMask,
    /// A write to the member is in flight.
    pub(super) writing: RowMask,
    /// A write to the member's twin is in flight.
    pub(super) twin_writing: RowMask,
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
    /// The member could not read the row, or it is recorded as a bad block that a write may mend.
    pub(super) read_error: RowMask,
    /// Becomes uptodate when the running op is done.
    pub(super) op_result: RowMask,
    /// Acknowledged, and only in the journal and here: the page is newer than
    /// what the member holds. Always uptodate, but while an op is at it.
    pub(super) cached: RowMask,
    /// Of `cached` rows: the strip's second page has what the member holds.
    pub(super) old: RowMask,
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
            twin: Twin::None,
            bad: RowMask::EMPTY,
            dead: RowMask::EMPTY,
            recorded: RowMask::EMPTY,
            holes: RowMask::EMPTY,
            spared: RowMask::EMPTY,
            uptodate: RowMask::EMPTY,
            reading: RowMask::EMPTY,
            writing: RowMask::EMPTY,
            twin_writing: RowMask::EMPTY,
            written: RowMask::EMPTY,
            toread: RowMask::EMPTY,
            towrite: RowMask::EMPTY,
            overwrite: RowMask::EMPTY,
            suspect: RowMask::EMPTY,
            read_error: RowMask::EMPTY,
            op_result: RowMask::EMPTY,
            cached: RowMask::EMPTY,
            old: RowMask::EMPTY,
            need: false,
            act: StripActs {
                read: RowMask::EMPTY,
                read_alone: RowMask::EMPTY,
                write: RowMask::EMPTY,
                write_alone: RowMask::EMPTY,
                discard: RowMask::EMPTY,
                twin: RowMask::EMPTY,
                record: RowMask::EMPTY,
                lost: RowMask::EMPTY,
                fill: RowMask::EMPTY,
                drain: RowMask::EMPTY,
                fail_read: RowMask::EMPTY,
            },
        }
    }

    /// Rows that can be read from the member now.
    pub(super) fn readable(&self) -> RowMask {
        match self.access {
            Access::Full => !(self.read_error | self.dead),
            Access::WriteOnly | Access::Missing => RowMask::EMPTY,
        }
    }

    /// Rows that the member could not read, and whose content is known: it can
    /// be told. What is cached is not what it should hold yet.
    pub(super) fn fixable(&self) -> RowMask {
        match self.access {
            Access::Full => (self.read_error & self.uptodate).minus(self.cached | self.dead),
            Access::WriteOnly | Access::Missing => RowMask::EMPTY,
        }
    }

    /// Takes in what the role's devices are worth. Each row is read from one that has it: the twin, if
    /// it is level, or else the member. Of what is in memory only what is not to be written is taken
    /// in, as the rest was either written since or is looked at again when it is forgotten.
    pub(crate) fn note(&mut self, member: Worth, twin: Option<Worth>) {
        let twin = twin.filter(|t| t.access != Access::Missing);
        let skipped = if member.skip {
            member.bad
        } else {
            RowMask::EMPTY
        };
        let level = twin.filter(|t| t.access == Access::Full);
        if level.is_some() && self.twin != Twin::Level {
            // The twin is read from now on: what the member could not read may be there.
            self.read_error = self.read_error & (self.uptodate | self.op_result);
        }
        self.twin = match (twin, level) {
            (None, _) => Twin::None,
            (Some(_), None) => Twin::Behind,
            (Some(_), Some(_)) => Twin::Level,
        };
        self.recorded = member.bad & twin.map_or(!RowMask::EMPTY, |t| t.bad);
        self.holes = level.map_or(RowMask::EMPTY, |t| t.bad);
        self.spared = level.map_or(RowMask::EMPTY, |t| skipped.minus(t.bad));
        (self.access, self.bad) = match level {
            None => (member.access, member.bad),
            Some(t) if member.access == Access::Full => (Access::Full, t.bad & member.bad),
            Some(t) => (Access::Full, t.bad),
        };
        self.dead = self.bad & skipped;
        self.read_error
            .insert(self.bad.minus(self.dead | self.uptodate));
    }

    /// Of `rows`, of which a write to the member or its twin has ended well: those that could not be read
    /// before.
    pub(crate) fn mended(&self, rows: RowMask, twin: bool) -> RowMask {
        let writing = if twin {
            self.twin_writing & self.spared
        } else {
            self.writing
        };
        rows & writing & self.read_error
    }

    /// Rows that the twin lacks, if there is one.
    pub(super) fn lacking(&self) -> RowMask {
        match self.twin {
            Twin::None => RowMask::EMPTY,
            Twin::Behind => !RowMask::EMPTY,
            Twin::Level => self.holes,
        }
    }

    /// Rows that are not on the member, or will not be after a write.
    pub(super) fn gone(&self) -> RowMask {
        match self.access {
            Access::Full => self.dead,
            Access::WriteOnly | Access::Missing => !RowMask::EMPTY,
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

    /// Rows that are acknowledged and not on the member.
    pub(crate) fn cached(&self) -> RowMask {
        self.cached
    }
}

/// When parity is made by read-modify-write and not from all data of the row; the
/// numbers are users' (`rmw_level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum RmwLevel {
    /// Never.
    Never = 0,
    /// If it takes fewer reads.
    Cheaper = 1,
    /// Also if it takes as many.
    Preferred = 2,
}

impl RmwLevel {
    /// The level of that number.
    pub(crate) const fn new(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Never),
            1 => Some(Self::Cheaper),
            2 => Some(Self::Preferred),
            _ => None,
        }
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
    /// When parity is made by read-modify-write.
    pub(crate) rmw: RmwLevel,
    /// A write that would have to read first is left alone for now; and one that
    /// would be the first of its row in the cache, as more may come to cover the row.
    pub(crate) hold: bool,
    /// A check writes the right parity where it finds wrong parity.
    pub(crate) repair: bool,
    /// A sync gives twins what they lack, rather than to check.
    pub(crate) copy: bool,
    /// Writes complete when the journal has them; nothing without a journal.
    pub(crate) write_back: bool,
    /// So many rows may be cached in this step: those that the log has promised
    /// room to.
    pub(crate) room: u32,
    /// Nothing may begin that takes pages, but what is cached may be written out:
    /// no reads, no writes of users, no syncs. What has begun goes on.
    pub(crate) begin: bool,
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
    /// ... and it takes in data to be cached.
    pub(super) ops_cache: RowMask,
    /// ... and it is new parity, for what is cached.
    pub(super) ops_out: RowMask,
    /// Appended to the journal, not yet as safe there as the write needs.
    pub(super) in_journal: RowMask,
    /// Being written to the members.
    pub(super) in_members: RowMask,
    /// A member that md still trusts did not take its write, or a twin what it was to be given.
    pub(super) unwritten: RowMask,
    /// On the members; not reported yet.
    pub(super) landed: RowMask,
    /// The write under way is a user's.
    pub(super) user: RowMask,
    /// Write pieces that wait want FUA.
    pub(super) fua_next: RowMask,
    /// The write under way wants FUA.
    pub(super) fua: RowMask,
    /// The write pieces that wait are a discard and nothing else.
    pub(super) discard_next: RowMask,
    /// The write under way is a discard: zeroes in memory and in the journal.
    pub(super) discard: RowMask,
    /// A sync of these rows is asked for.
    pub(super) sync_want: RowMask,
    /// A sync of these rows is under way.
    pub(super) syncing: RowMask,
    /// The write under way is data for the cache only.
    pub(super) caching: RowMask,
    /// The write under way takes cached data to the members.
    pub(super) out: RowMask,
    /// The write under way was a user's, and is acknowledged.
    pub(super) acked: RowMask,
    /// Cached data of these rows is to be written out. A wish that comes while the
    /// row is on its way out outlives that, and is about what is cached next.
    pub(super) out_want: RowMask,
    /// Cached data of these rows cannot be written out, and is kept: the array has failed. Some of it
    /// may be on the members, so parity agrees with nothing: what is lost of the row is not
    /// computed, and writes and syncs of it fail. Nothing takes a row out again.
    pub(super) stuck: RowMask,
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
            ops_cache: RowMask::EMPTY,
            ops_out: RowMask::EMPTY,
            in_journal: RowMask::EMPTY,
            in_members: RowMask::EMPTY,
            unwritten: RowMask::EMPTY,
            landed: RowMask::EMPTY,
            user: RowMask::EMPTY,
            fua_next: RowMask::EMPTY,
            fua: RowMask::EMPTY,
            discard_next: RowMask::EMPTY,
            discard: RowMask::EMPTY,
            sync_want: RowMask::EMPTY,
            syncing: RowMask::EMPTY,
            caching: RowMask::EMPTY,
            out: RowMask::EMPTY,
            acked: RowMask::EMPTY,
            out_want: RowMask::EMPTY,
            stuck: RowMask::EMPTY,
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
        (self.busy | self.in_ops | self.sync_want | self.syncing | self.out_due(strips)).is_empty()
            && strips.iter().all(|s| {
                (s.toread | s.towrite | s.reading | s.writing | s.twin_writing).is_empty()
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
        self.discard_next.remove(rows);
        if let Some(s) = strips.get_mut(slot) {
            s.towrite.insert(rows & self.rows);
            s.overwrite.insert(full & rows & self.rows);
            if fua {
                self.fua_next.insert(rows & self.rows);
            }
        }
    }

    /// A discard was attached: of `rows` of all strips that hold data. It is a write of
    /// zeroes that members take as a discard, unless other pieces meet it in its row.
    pub(crate) fn attach_discard(&mut self, strips: &mut [Strip], rows: RowMask) {
        let rows = rows & self.rows;
        let waiting = strips.iter().fold(RowMask::EMPTY, |all, s| all | s.towrite);
        self.discard_next.insert(rows.minus(waiting));
        for (i, s) in strips.iter_mut().enumerate() {
            if !self.is_parity(i) {
                s.towrite.insert(rows);
                s.overwrite.insert(rows);
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
    /// A read from member `slot` failed, but the role has another device by now.
    ReadAgain { slot: usize, rows: RowMask },
    /// The ops of the last [`Actions`] are done; `bad` rows failed the check, and
    /// the ops of `failed` rows could not be done: nothing is known of their
    /// pages. Those of `left` rows are still to be done, for want of pages.
    OpsDone {
        bad: RowMask,
        failed: RowMask,
        left: RowMask,
    },
    /// Rows are as safe in the journal as their writes need, or (`ok` false) will never be. That is
    /// stable for whatever goes to the members next; `journal::log` has the rest.
    JournalDone { rows: RowMask, ok: bool },
    /// A write to member `slot` ended. Of an error of a single row the shell has
    /// already told md, so that the next access, or the bad-block log, says what the
    /// member is worth; of longer ones each row is written again.
    WriteDone {
        slot: usize,
        rows: RowMask,
        ok: bool,
    },
    /// Member `slot` could not discard rows: they are written there instead.
    DiscardRefused { slot: usize, rows: RowMask },
    /// A write to the twin of member `slot` ended; one that failed is gone, or has it recorded.
    TwinDone {
        slot: usize,
        rows: RowMask,
        ok: bool,
    },
    /// Rows could not be recorded as bad blocks, as was asked for.
    NotRecorded { rows: RowMask },
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
    /// Drain, and no more. This may not fail: pages that are cached must be as
    /// the journal has them, or gets them next.
    pub(crate) cache: RowMask,
    /// Take what the members hold of the cached strips out of parity, and put
    /// what is cached in.
    pub(crate) rmw_out: RowMask,
    /// Compare parity with data; destroys the parity pages.
    pub(crate) check: RowMask,
    /// Make parity from all data.
    pub(crate) parity: RowMask,
    /// Append the strips' `written` rows to the journal.
    pub(crate) journal: RowMask,
    /// Some strip has `read` rows.
    pub(crate) read: bool,
    /// Some strip has `write` or `discard` rows.
    pub(crate) write: bool,
    /// Some strip has `record` rows.
    pub(crate) record: bool,
    /// More of these rows is lost than parity makes up for; to be reported, with the strips' `lost`.
    pub(crate) lost: RowMask,
    /// End the write bios of these rows: they are safe.
    pub(crate) complete: RowMask,
    /// These rows are on the members, or so much of them is lost that nothing can be done: the journal
    /// can forget them.
    pub(crate) landed: RowMask,
    /// Cached data of these rows can be written out no more: too much is lost.
    pub(crate) stuck: RowMask,
    /// End the write bios of these rows with an error: those under way.
    pub(crate) fail_write: RowMask,
    /// End the write bios of these rows with an error: those waiting.
    pub(crate) fail_waiting: RowMask,
    /// The sync of these rows is done.
    pub(crate) sync_done: RowMask,
    /// The sync of these rows cannot be done: too many members are missing, or the
    /// row is stuck.
    pub(crate) sync_failed: RowMask,
    /// The check found these rows wrong.
    pub(crate) mismatch: RowMask,
    /// Rows left alone because the policy says `hold`.
    pub(crate) held: RowMask,
}

impl Actions {
    /// Whether an op is among the actions, and so [`Event::OpsDone`] is due.
    pub(crate) fn has_ops(&self) -> bool {
        let parity = self.rmw | self.rcw | self.rmw_out | self.parity;
        (self.compute | self.cache | self.check | parity).any()
    }

    /// Whether anything has to be done at all.
    pub(crate) fn any(&self) -> bool {
        self.has_ops()
            || self.fill
            || self.fail_read
            || self.read
            || self.write
            || self.record
            || (self.journal
                | self.complete
                | self.landed
                | self.stuck
                | self.lost
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
