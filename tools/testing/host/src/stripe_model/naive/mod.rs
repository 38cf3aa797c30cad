// SPDX-License-Identifier: GPL-2.0

//! A planner that knows one row and no masks, and what the module's planner makes of every row.
//!
//! The rules, in the order in which they are applied; they are those of the design document, of the
//! comments on `Policy`, `Actions` and the phases of a write, and of the head of `writeback.rs`:
//!
//! 1. A write that is on the members is reported, unless md has a failure to record. It failed if a
//!    member that md trusts did not take it, if more members are gone than parity makes up for, or if
//!    data of it went to a bad block and more of the row is lost, or bad blocks, than parity makes up
//!    for.
//!    The journal forgets a row that is on the members, and one of which too much is a bad block. What was
//!    acknowledged, and did not get there for other reasons, stays cached, and is stuck.
//! 2. A read of a page in memory is served, unless an op is at work on the row.
//! 3. A sync takes the row when nothing is under way on it, nothing of it is cached, and no page waits
//!    to be put right on its member; what was in memory is forgotten. What is cached it wants written
//!    out first; if that cannot be, the sync fails.
//! 4. What is wanted is read, where it is neither in memory nor on its way. What cannot be read is
//!    computed, when all else is there and nothing is being read; if too much is lost, what is lost is
//!    refused, and asked for again next time. Parity agrees with what the members hold; so of a page
//!    that is cached, what counts as there is the second page, until the row is written out. Nothing
//!    is computed of a row that is stuck, and nothing while data is on its way to the cache.
//! 5. A sync reads all that can be read, and then compares; or if something cannot be read, computes
//!    it and writes it where it is lacking. A sync that copies gives each twin what it lacks, and if
//!    nothing has to be computed for that, reads no more. What is written to a member is written to its twin.
//! 6. A write that may not begin waits, or fails (more members gone than parity, with those of which the
//!    row is a bad block that is not written; no journal; or the row is stuck).
//!    With room in the cache it is cached, unless it is of the whole row and nothing is cached yet, or
//!    too much of the row is gone or a bad block; only
//!    pages that it covers in part must be there. Without, what is cached must be written out first.
//!    Else it takes the method that reads less, and all data if both read the same or if something must
//!    be computed. To be held are writes that must read, and those that would be the first of their row
//!    in the cache.
//! 7. What is cached is written out when it is wanted, or when the journal is gone; with parity made
//!    the cheaper way, as for a write. If too much is lost for that, the row's parity is to be recorded
//!    as bad blocks, and when it is, what is cached goes to the members without, once it is stable; with more members gone than
//!    parity makes up for, the row is stuck.
//!    Where nothing may begin, for want of pages, that is all that takes new ones: no reads, no syncs,
//!    no users' writes.
//! 8. What a member could not read and memory knows is written there; not what is cached.
//!
//! `every.rs` has all rows without a write-back cache, `reach.rs` those that a stripe with one comes
//! to, event by event, and `walk.rs` some of larger stripes. `STRIPE_FULL=1` leaves out no policy and no
//! order of the data strips.

mod every;
mod look;
mod reach;
mod walk;

use super::stripe::{Access, Actions, Policy, RmwLevel, State, Strip, Twin};
use std::fmt::{Debug, Formatter, Result};

/// A strip's page of the row.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Cell {
    parity: bool,
    missing: bool,
    in_sync: bool,
    /// The member could not read it.
    bad: bool,
    /// A bad block.
    recorded: bool,
    /// One that is not to be written.
    dead: bool,
    /// Of all devices of the role.
    known: bool,
    /// Not to be written to the member, and its twin has it.
    spared: bool,
    /// The role has a second device, which takes writes.
    twin: bool,
    /// It lacks what it is not given here.
    behind: bool,
    twin_going: bool,
    here: bool,
    /// Newer than what the member holds.
    cached: bool,
    /// The second page has what the member holds.
    old: bool,
    coming: bool,
    /// It belongs to the write under way.
    mine: bool,
    going: bool,
    toread: bool,
    towrite: bool,
    overwrite: bool,
    // What is decided.
    read: bool,
    write: bool,
    twin_write: bool,
    record: bool,
    lost: bool,
    fill: bool,
    refuse: bool,
    drain: bool,
    made: bool,
}

/// What is so, and no more.
impl Debug for Cell {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let flags = [
            (self.parity, "parity"),
            (self.missing, "missing"),
            (self.in_sync, "in_sync"),
            (self.bad, "bad"),
            (self.recorded, "recorded"),
            (self.dead, "dead"),
            (self.known, "known"),
            (self.spared, "spared"),
            (self.twin, "twin"),
            (self.behind, "behind"),
            (self.twin_going, "twin_going"),
            (self.here, "here"),
            (self.cached, "cached"),
            (self.old, "old"),
            (self.coming, "coming"),
            (self.mine, "mine"),
            (self.going, "going"),
            (self.toread, "toread"),
            (self.towrite, "towrite"),
            (self.overwrite, "overwrite"),
            (self.read, "READ"),
            (self.write, "WRITE"),
            (self.twin_write, "TWIN_WRITE"),
            (self.record, "RECORD"),
            (self.lost, "LOST"),
            (self.fill, "FILL"),
            (self.refuse, "REFUSE"),
            (self.drain, "DRAIN"),
            (self.made, "MADE"),
        ];
        f.debug_list()
            .entries(flags.iter().filter(|flag| flag.0).map(|flag| flag.1))
            .finish()
    }
}

impl Cell {
    fn readable(&self) -> bool {
        self.in_sync && !self.bad && !self.dead
    }

    /// The member does not have what is written.
    fn gone(&self) -> bool {
        !self.in_sync || self.dead
    }

    /// What parity agrees with is in memory; `out`: the row is being written out.
    fn there(&self, out: bool) -> bool {
        if self.cached && !out {
            self.old
        } else {
            self.here
        }
    }

    fn is_lost(&self, out: bool) -> bool {
        !self.there(out) && !self.readable()
    }

    /// The member can be told what it could not read.
    fn to_fix(&self) -> bool {
        self.in_sync && self.bad && !self.dead && self.here && !self.cached
    }
}

/// What is done with the row as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Deed {
    Compute,
    Rmw,
    Rcw,
    Cache,
    /// Parity for what is cached, from what it was.
    RmwOut,
    /// Parity for what is cached, from all data.
    Parity,
    Check,
    Complete,
    FailWrite,
    Landed,
    Stuck,
    /// Too much of it is.
    Lost,
    FailWaiting,
    SyncDone,
    SyncFailed,
    Hold,
}

impl Deed {
    const ALL: [Self; 16] = [
        Self::Compute,
        Self::Rmw,
        Self::Rcw,
        Self::Cache,
        Self::RmwOut,
        Self::Parity,
        Self::Check,
        Self::Complete,
        Self::FailWrite,
        Self::Landed,
        Self::Stuck,
        Self::Lost,
        Self::FailWaiting,
        Self::SyncDone,
        Self::SyncFailed,
        Self::Hold,
    ];
}

/// The op at work on the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Job {
    None,
    Compute,
    Write,
    Check,
    Parity,
    Cache,
    Out,
}

impl Job {
    fn of(st: &State, row: u32) -> Self {
        let kinds = [
            (st.ops_write, Self::Write),
            (st.ops_check, Self::Check),
            (st.ops_parity, Self::Parity),
            (st.ops_cache, Self::Cache),
            (st.ops_out, Self::Out),
        ];
        let mut jobs = kinds.iter().filter(|k| k.0.has(row)).map(|k| k.1);
        let (job, more) = (jobs.next(), jobs.next());
        assert!(more.is_none(), "two ops on one row");
        match (st.in_ops.has(row), job) {
            (true, Some(job)) => job,
            (true, None) => Self::Compute,
            (false, None) => Self::None,
            (false, Some(job)) => panic!("{job:?} that is not at work"),
        }
    }
}

/// What became of an attempt to get pages into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    All,
    NotYet,
    /// Something of it is lost, and too much else is.
    Never,
}

/// The row.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    cells: Vec<Cell>,
    max_lost: usize,
    job: Job,
    busy: bool,
    in_journal: bool,
    in_members: bool,
    landed: bool,
    user: bool,
    caching: bool,
    out: bool,
    acked: bool,
    unwritten: bool,
    sync_want: bool,
    syncing: bool,
    out_want: bool,
    stuck: bool,
    fua_next: bool,
    fua: bool,
    discard_next: bool,
    discard: bool,
    deeds: Vec<Deed>,
}

impl Row {
    fn of(st: &State, strips: &[Strip], row: u32) -> Self {
        let cell = |(i, s): (usize, &Strip)| Cell {
            parity: i == st.p || Some(i) == st.q,
            missing: s.access == Access::Missing,
            in_sync: s.access == Access::Full,
            bad: s.read_error.has(row),
            recorded: s.bad.has(row),
            dead: s.dead.has(row),
            twin: s.twin != Twin::None,
            known: s.recorded.has(row),
            spared: s.spared.has(row),
            behind: match s.twin {
                Twin::None => false,
                Twin::Behind => true,
                Twin::Level => s.holes.has(row),
            },
            twin_going: s.twin_writing.has(row),
            here: s.uptodate.has(row),
            cached: s.cached.has(row),
            old: s.old.has(row),
            coming: s.reading.has(row),
            mine: s.written.has(row),
            going: s.writing.has(row),
            toread: s.toread.has(row),
            towrite: s.towrite.has(row),
            overwrite: s.overwrite.has(row),
            made: s.op_result.has(row),
            ..Cell::default()
        };
        Self {
            cells: strips.iter().enumerate().map(cell).collect(),
            max_lost: 1 + usize::from(st.q.is_some()),
            job: Job::of(st, row),
            busy: st.busy.has(row),
            in_journal: st.in_journal.has(row),
            in_members: st.in_members.has(row),
            landed: st.landed.has(row),
            user: st.user.has(row),
            caching: st.caching.has(row),
            out: st.out.has(row),
            acked: st.acked.has(row),
            unwritten: st.unwritten.has(row),
            sync_want: st.sync_want.has(row),
            syncing: st.syncing.has(row),
            out_want: st.out_want.has(row),
            stuck: st.stuck.has(row),
            fua_next: st.fua_next.has(row),
            fua: st.fua.has(row),
            discard_next: st.discard_next.has(row),
            discard: st.discard.has(row),
            deeds: Vec::new(),
        }
    }

    /// What the module's planner made of a row, in the naive planner's words.
    fn decided(st: &State, strips: &[Strip], acts: &Actions, row: u32) -> Self {
        let mut found = Self::of(st, strips, row);
        for (c, s) in found.cells.iter_mut().zip(strips) {
            c.read = (s.act.read | s.act.read_alone).has(row);
            c.write = s.act.write.has(row);
            c.twin_write = s.act.twin.has(row);
            c.record = s.act.record.has(row);
            c.lost = s.act.lost.has(row);
            c.fill = s.act.fill.has(row);
            c.refuse = s.act.fail_read.has(row);
            c.drain = s.act.drain.has(row);
        }
        let deeds = [
            (acts.compute, Deed::Compute),
            (acts.rmw, Deed::Rmw),
            (acts.rcw, Deed::Rcw),
            (acts.cache, Deed::Cache),
            (acts.rmw_out, Deed::RmwOut),
            (acts.parity, Deed::Parity),
            (acts.check, Deed::Check),
            (acts.complete, Deed::Complete),
            (acts.fail_write, Deed::FailWrite),
            (acts.landed, Deed::Landed),
            (acts.stuck, Deed::Stuck),
            (acts.lost, Deed::Lost),
            (acts.fail_waiting, Deed::FailWaiting),
            (acts.sync_done, Deed::SyncDone),
            (acts.sync_failed, Deed::SyncFailed),
            (acts.held, Deed::Hold),
        ];
        let done = deeds.iter().filter(|d| d.0.has(row)).map(|d| d.1);
        found.deeds.extend(done);
        found
    }

    fn any(&self, f: impl Fn(&Cell) -> bool) -> bool {
        self.cells.iter().any(f)
    }

    fn count(&self, f: impl Fn(&Cell) -> bool) -> usize {
        self.cells.iter().filter(|c| f(c)).count()
    }

    /// Which cells are `f`.
    fn those(&self, f: impl Fn(&Cell) -> bool) -> Vec<bool> {
        self.cells.iter().map(f).collect()
    }

    fn is_dirty(&self) -> bool {
        self.any(|c| c.cached)
    }

    fn op(&self) -> bool {
        self.job != Job::None
    }

    fn plan(&mut self, policy: &Policy) {
        if self.landed && !policy.blocked {
            self.report();
        }
        let op = self.op();
        for c in &mut self.cells {
            c.fill = c.toread && c.here && !op;
            c.toread &= !c.fill;
        }
        if self.sync_want {
            self.begin_sync(policy);
        }
        if !self.op()
            && policy.begin
            && self.any(|c| c.toread)
            && self.fetch(&self.those(|c| c.toread)) == Got::Never
        {
            self.refuse_reads();
        }
        if self.syncing && !self.busy && !self.op() {
            self.sync(policy);
        }
        let taken = self.busy || self.op() || self.syncing;
        if self.any(|c| c.towrite) && !taken && !self.sync_want {
            self.write(policy);
        }
        self.write_out(policy);
        let free = !self.busy && !self.op() && !self.syncing;
        if free && policy.may_fix && !policy.blocked {
            self.put_right(None);
        }
        self.deeds.sort();
    }

    fn report(&mut self) {
        let missed = self.is_beyond() && self.any(|c| c.mine && !c.parity && (c.gone() || c.recorded));
        let bad = self.is_over() || self.unwritten || missed;
        let noted = bad && !self.is_over() && !self.unwritten;
        if self.user {
            self.deeds
                .push(if bad { Deed::FailWrite } else { Deed::Complete });
        }
        if self.syncing {
            self.deeds.push(if bad {
                Deed::SyncFailed
            } else {
                Deed::SyncDone
            });
            self.syncing = false;
        }
        if (noted || !bad) && (self.user || self.out || self.acked) {
            self.deeds.push(Deed::Landed);
        }
        let stays = bad && !noted && (self.out || self.acked);
        let lost = noted && (self.out || self.acked);
        if lost {
            self.deeds.push(Deed::Lost);
        }
        for c in &mut self.cells {
            c.lost |= lost && (c.gone() || c.recorded);
            c.cached = if stays {
                c.cached || c.mine && !c.parity
            } else {
                c.cached && !self.out
            };
            // On the way, the member's page became another.
            c.old &= !self.out;
            c.mine = false;
        }
        if stays {
            self.strand();
        }
        (self.landed, self.busy, self.user, self.fua) = (false, false, false, false);
        self.discard = false;
        (self.out, self.acked, self.unwritten) = (false, false, false);
    }

    /// More of the row is gone or a bad block than parity makes up for.
    fn is_beyond(&self) -> bool {
        self.count(|c| c.gone() || c.recorded) > self.max_lost
    }

    fn strand(&mut self) {
        self.deeds.push(Deed::Stuck);
        (self.stuck, self.out_want) = (true, false);
    }

    fn begin_sync(&mut self, policy: &Policy) {
        if self.is_dirty() && self.stuck {
            self.sync_want = false;
            return self.deeds.push(Deed::SyncFailed);
        }
        if self.is_dirty() {
            self.out_want = true;
            return;
        }
        let free = !self.busy && !self.op() && !self.any(|c| c.coming);
        if free && policy.begin && !(policy.may_fix && self.any(Cell::to_fix)) {
            (self.sync_want, self.syncing) = (false, true);
            self.cells.iter_mut().for_each(|c| c.here = false);
        }
    }

    /// More members are gone than parity makes up for.
    fn is_over(&self) -> bool {
        self.count(|c| !c.in_sync) > self.max_lost
    }

    /// Gets the wanted pages into memory, as far as can be now.
    fn fetch(&mut self, wanted: &[bool]) -> Got {
        let out = self.out;
        let mut both = self.cells.iter().zip(wanted);
        let lost = both.any(|(c, w)| *w && c.is_lost(out));
        if lost && self.caching {
            return Got::NotYet;
        }
        if lost && (self.stuck || self.count(|c| c.is_lost(out)) > self.max_lost) {
            return Got::Never;
        }
        // To compute takes everything else.
        let mut complete = true;
        for (c, w) in self.cells.iter_mut().zip(wanted) {
            let take = if lost { !c.is_lost(out) } else { *w };
            if take && !c.there(out) {
                complete = false;
                c.read |= !c.coming;
                c.coming = true;
            }
        }
        if !lost && complete {
            return Got::All;
        }
        if lost && complete && !self.any(|c| c.coming) {
            self.job = Job::Compute;
            self.deeds.push(Deed::Compute);
            self.cells.iter_mut().for_each(|c| c.made = !c.there(out));
        }
        Got::NotYet
    }

    fn refuse_reads(&mut self) {
        for c in &mut self.cells {
            if c.toread && !c.readable() {
                (c.refuse, c.toread, c.bad) = (true, false, false);
            } else if c.toread && !c.coming {
                (c.read, c.coming) = (true, true);
            }
        }
    }

    fn ask_again(&mut self) {
        for c in self.cells.iter_mut().filter(|c| !c.here) {
            c.bad = false;
        }
    }

    fn sync(&mut self, policy: &Policy) {
        let unreadable = self.count(|c| !c.readable());
        let copy = policy.copy && self.any(|c| c.behind);
        // To copy takes only what is copied, if nothing is to be built.
        let build = |c: &Cell| !c.in_sync && !c.missing && !c.dead || c.behind && !c.readable();
        let little = copy && !self.any(build);
        let mut fails = !little && unreadable > self.max_lost;
        let wanted = self.those(|c| if little { c.behind } else { c.readable() });
        if !fails && self.fetch(&wanted) != Got::All {
            return;
        }
        if !fails && unreadable == 0 && !copy {
            self.job = Job::Check;
            for c in self.cells.iter_mut().filter(|c| c.parity) {
                c.here = false;
            }
            return self.deeds.push(Deed::Check);
        }
        if !fails {
            match self.fetch(&self.those(|c| !c.missing && (!little || c.behind))) {
                Got::All => fails = !policy.may_fix,
                Got::NotYet => return,
                Got::Never => fails = true,
            }
        }
        if fails {
            self.syncing = false;
            self.deeds.push(Deed::SyncFailed);
            return self.ask_again();
        }
        if !policy.blocked && !self.put_right(Some(policy.copy)) {
            self.syncing = false;
            self.deeds.push(Deed::SyncDone);
        }
    }

    /// Writes what members lack, and in a sync that says so what twins lack; whether there is anything.
    fn put_right(&mut self, sync: Option<bool>) -> bool {
        let mut any = false;
        for c in self.cells.iter_mut() {
            let lacks = sync.is_some() && !c.in_sync && !c.missing && !c.dead && c.here;
            if lacks || c.to_fix() {
                (c.write, c.going, c.mine) = (!c.spared, !c.spared, true);
                (c.twin_write, c.twin_going) = (c.twin, c.twin);
            } else if sync == Some(true) && c.behind && c.here {
                (c.twin_write, c.twin_going) = (true, true);
            }
            any |= c.write || c.twin_write;
        }
        self.busy |= any;
        self.in_members |= any;
        any
    }

    fn fail_waiting(&mut self) {
        self.deeds.push(Deed::FailWaiting);
        for c in &mut self.cells {
            (c.towrite, c.overwrite) = (false, false);
        }
        (self.fua_next, self.discard_next) = (false, false);
    }

    fn write(&mut self, policy: &Policy) {
        if policy.refuse_writes || self.count(Cell::gone) > self.max_lost {
            return self.fail_waiting();
        }
        if policy.blocked || !policy.begin {
            return;
        }
        if self.stuck && self.is_dirty() {
            return self.fail_waiting();
        }
        let whole = !self.any(|c| !c.parity && !c.overwrite);
        let room = policy.journal && policy.write_back && policy.room > 0;
        let room = room && !self.is_beyond();
        if room && !self.discard_next && (self.is_dirty() || !whole) {
            return self.cache(policy);
        }
        if self.is_dirty() {
            self.out_want = true;
            return;
        }
        let old = self.those(|c| c.parity || c.towrite);
        let rest = self.those(|c| !c.parity && !c.overwrite);
        let rmw = self.is_rmw(policy, &old, &rest);
        let wanted = if rmw { old } else { rest };
        if policy.hold && self.price(&wanted) > 0 {
            return self.deeds.push(Deed::Hold);
        }
        if !self.is_ready(&wanted) {
            return;
        }
        self.deeds.push(if rmw { Deed::Rmw } else { Deed::Rcw });
        self.job = Job::Write;
        self.take_in(true);
    }

    /// What a write needs is there, and nothing is on its way; if it never will be, the write fails.
    fn is_ready(&mut self, wanted: &[bool]) -> bool {
        match self.fetch(wanted) {
            Got::All => !self.any(|c| c.coming),
            Got::NotYet => false,
            Got::Never => {
                self.fail_waiting();
                self.ask_again();
                false
            }
        }
    }

    /// A write begins: waiting pieces come into their pages, and `parity` is made.
    fn take_in(&mut self, parity: bool) {
        for c in self.cells.iter_mut() {
            c.drain = c.towrite;
            if c.towrite || parity && c.parity {
                (c.made, c.mine, c.here) = (true, true, false);
            }
            (c.towrite, c.overwrite) = (false, false);
        }
        (self.busy, self.user) = (true, true);
        self.fua |= self.fua_next;
        self.discard |= self.discard_next;
        (self.fua_next, self.discard_next) = (false, false);
    }

    fn cache(&mut self, policy: &Policy) {
        if policy.hold && !self.is_dirty() {
            return self.deeds.push(Deed::Hold);
        }
        let parts = self.those(|c| c.towrite && !c.overwrite && !c.here);
        if self.is_ready(&parts) {
            self.deeds.push(Deed::Cache);
            (self.job, self.caching) = (Job::Cache, true);
            self.take_in(false);
        }
    }

    /// Pages to be read of those wanted; what must be computed is dearer than anything.
    fn price(&self, wanted: &[bool]) -> usize {
        let both = self.cells.iter().zip(wanted);
        let absent = both.filter(|(c, w)| **w && !c.there(self.out));
        let readable: Vec<bool> = absent.map(|(c, _)| c.readable()).collect();
        if readable.contains(&false) {
            usize::MAX
        } else {
            readable.len()
        }
    }

    /// Whether old parity and old data are what a write takes, and not the rest of the row.
    fn is_rmw(&self, policy: &Policy, old: &[bool], rest: &[bool]) -> bool {
        let (old, rest) = (self.price(old), self.price(rest));
        match policy.rmw {
            RmwLevel::Never => false,
            RmwLevel::Cheaper => old < rest,
            RmwLevel::Preferred => old <= rest && !(old == rest && [0, usize::MAX].contains(&old)),
        }
    }

    /// What is cached goes to the members without new parity, when nobody will believe the old one.
    fn forgo(&mut self, policy: &Policy) {
        let believed = |c: &Cell| c.parity && !c.missing && !c.known;
        if self.any(believed) {
            self.deeds.push(Deed::Lost);
            for c in &mut self.cells {
                c.record = believed(c);
                c.lost |= c.is_lost(false);
            }
            return;
        }
        if self.any(|c| c.coming) {
            return;
        }
        for c in self.cells.iter_mut() {
            c.here &= !c.parity;
            c.mine |= c.cached;
            let takes = c.cached && !c.missing && !policy.journal;
            (c.write, c.going) = (takes && !c.dead && !c.spared, takes && !c.dead && !c.spared);
            (c.twin_write, c.twin_going) = (takes && c.twin, takes && c.twin);
        }
        (self.out, self.busy, self.out_want) = (true, true, false);
        if policy.journal {
            self.in_journal = true;
        } else if self.any(|c| c.write || c.twin_write) {
            self.in_members = true;
        } else {
            self.report();
        }
    }

    fn write_out(&mut self, policy: &Policy) {
        if self.is_dirty() && !self.stuck && policy.refuse_writes {
            self.out_want = true;
        }
        let taken = self.busy || self.op() || self.syncing;
        if !self.out_want || !self.is_dirty() || self.stuck || taken {
            return;
        }
        if self.is_over() {
            return self.strand();
        }
        if policy.blocked {
            return;
        }
        let old = self.those(|c| c.parity || c.cached);
        let rest = self.those(|c| !c.parity && !c.cached);
        let rmw = self.is_rmw(policy, &old, &rest);
        match self.fetch(if rmw { &old } else { &rest }) {
            Got::All => {}
            Got::NotYet => return,
            Got::Never => return self.forgo(policy),
        }
        if self.any(|c| c.coming) {
            return;
        }
        self.deeds
            .push(if rmw { Deed::RmwOut } else { Deed::Parity });
        (self.job, self.busy, self.out) = (Job::Out, true, true);
        self.out_want = false;
        for c in self.cells.iter_mut() {
            c.mine |= c.parity || c.cached;
            c.made |= c.parity;
            c.here &= !c.parity;
        }
    }
}
