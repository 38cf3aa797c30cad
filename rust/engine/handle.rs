// SPDX-License-Identifier: GPL-2.0

//! Handling a stripe: taking the planner's actions and carrying them out.
//!
//! One task at a time handles a stripe; whoever comes meanwhile leaves a note
//! (`Inner::again`) and goes. Ops, copies and submissions all happen without
//! the stripe's lock.

use super::{
    cache::List,
    counters::Count,
    ends::{end_event, label},
    journal::Journal,
    members::Device,
    ops,
    stripe::{Attached, Inner, Stripe},
    table::{PageTable, Which},
};
use crate::{
    block::round::{Builder, Done, Op, RoundOwner},
    journal::unit::UnitRef,
    lib::{clock::warn_limited, noio::NoIo, page::Page, worklist::Worklist, xor::Scratch},
    md::{
        mddev::Recovery,
        rdev::{Rdev, RdevFlag},
    },
    raid::{
        mask::RowMask,
        stripe::{clear, plan, Access, Actions, Event, Policy, RmwLevel, StripActs},
    },
};
use kernel::{
    prelude::*,
    sync::{atomic::Full, Arc},
};

/// One strip's share of what is being carried out.
#[derive(Clone, Copy, Default)]
pub(super) struct Task {
    pub(super) acts: StripActs,
    /// Rows that the op makes.
    pub(super) result: RowMask,
    /// Rows of the write under way.
    pub(super) written: RowMask,
    /// Rows that are cached.
    pub(super) cached: RowMask,
    /// Rows of which reads and computes are about the second page.
    pub(super) second: RowMask,
    /// Checksum of the page that goes to the journal.
    pub(super) sum: u32,
}

/// What belongs to the stripe's handler.
pub(crate) struct Handler {
    pub(super) pages: PageTable,
    pub(super) scratch: Scratch,
    /// Parts of requests, in the order of arrival.
    pub(super) parts: KVec<Attached>,
    pub(super) tasks: KVec<Task>,
    pub(super) acts: Actions,
    pub(super) place: ops::Place,
    fua: RowMask,
    /// Rows whose cached data is being written out.
    pub(super) out: RowMask,
    /// Rows that the journal had no room for.
    pub(super) journal_wait: RowMask,
    /// The journal units of rows that are not on the members yet, by row;
    /// empty in an array without a journal.
    units: KVec<Option<UnitRef>>,
}

impl Handler {
    /// Whether data of the row is cached.
    pub(super) fn is_cached(&self, row: u32) -> bool {
        self.tasks.iter().any(|t| t.cached.has(row))
    }

    /// Whether the row's write must be stable when it completes.
    pub(super) fn is_fua(&self, row: u32) -> bool {
        self.fua.has(row)
    }

    /// Notes in which unit a row lies.
    pub(super) fn note_unit(&mut self, row: u32, unit: UnitRef) {
        while self.units.is_empty() {
            match KVec::from_elem(None, 64, GFP_KERNEL) {
                Ok(units) => self.units = units,
                Err(_) => super::array::wait_for_memory(),
            }
        }
        if let Some(slot) = self.units.get_mut(row as usize) {
            *slot = Some(unit);
        }
    }

    /// The unit of a row, once.
    fn take_unit(&mut self, row: u32) -> Option<UnitRef> {
        self.units.get_mut(row as usize)?.take()
    }

    /// A handler's things for a stripe of `members` strips.
    pub(super) fn new(members: usize, place: ops::Place, pages: PageTable) -> Result<Self> {
        Ok(Self {
            pages,
            scratch: Scratch::new(members)?,
            parts: KVec::new(),
            tasks: KVec::from_elem(Task::default(), members, GFP_KERNEL)?,
            acts: Actions::default(),
            place,
            fua: RowMask::EMPTY,
            out: RowMask::EMPTY,
            journal_wait: RowMask::EMPTY,
            units: KVec::new(),
        })
    }
}

/// What the look at the stripe's state came to.
enum Look {
    /// Actions are in the handler.
    Act,
    /// Nothing to do now.
    Rest,
    /// Nothing but what is held back.
    Hold,
    /// Nothing to do, and no work left; the list that it belongs on now.
    Idle(Option<List>),
    /// The handler's list has to grow first.
    Grow(usize),
}

impl Stripe {
    /// Carries out what there is to do, unless another task is at it; that one
    /// then does it. In process context, in a NOIO scope.
    pub(crate) fn handle(self: &Arc<Self>) {
        loop {
            let Some(mut work) = self.work.try_lock() else {
                return;
            };
            let idle = self.handle_locked(&mut work);
            drop(work);
            if let Some(list) = idle {
                self.array().cache.idled(self, list);
                match list {
                    Some(List::Dirty | List::Full) => self.array().listed_dirty(),
                    Some(List::Idle) | None => {}
                }
            }
            if !self.inner.lock().again {
                return;
            }
        }
    }

    fn handle_locked(self: &Arc<Self>, work: &mut Handler) -> Option<Option<List>> {
        loop {
            match self.look(work) {
                Look::Act => self.carry_out(work),
                Look::Rest => return None,
                Look::Hold => {
                    self.hold_back();
                    return None;
                }
                Look::Idle(list) => return Some(list),
                Look::Grow(n) => {
                    if work.parts.reserve(n, GFP_KERNEL).is_err() {
                        super::array::wait_for_memory();
                    }
                }
            }
        }
    }

    /// Lets the planner look, and takes over parts and actions.
    fn look(&self, work: &mut Handler) -> Look {
        // Dropped after the lock.
        let journal;
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let new = inner.incoming.len();
        if work.parts.capacity().saturating_sub(work.parts.len()) < new {
            return Look::Grow(new);
        }
        inner.again = false;
        let retry = core::mem::replace(&mut inner.retry_journal, false);
        for part in inner.incoming.drain_all() {
            // There is room, as just checked.
            let _ = work.parts.push_within_capacity(part);
        }
        self.array().refresh(self.index(), &mut inner.strips);
        let mut policy = self.array().policy();
        policy.hold &= inner.hold;
        if self.is_parity_unmade(inner) {
            policy.rmw = RmwLevel::Never;
        }
        inner.parked = policy.blocked;
        journal = self.grant(inner, &mut policy);
        plan(&mut inner.st, &mut inner.strips, &policy, &mut inner.acts);
        if let Some(journal) = &journal {
            journal.give_back(policy.room.saturating_sub(inner.acts.cache.count()));
        }
        // What is to be written out without a journal begins by itself.
        let work_left = inner.acts.any() || !inner.st.is_idle(&inner.strips, &policy);
        if !inner.active && work_left {
            self.array().cache.activated();
            inner.active = true;
        }
        let held = self.note_held(inner);
        self.note_synced(inner);
        if retry {
            inner.acts.journal |= core::mem::take(&mut work.journal_wait);
        }
        if !inner.acts.any() {
            return match self.settle(inner, &policy, work) {
                Some(list) => Look::Idle(list),
                None if held => Look::Hold,
                None => Look::Rest,
            };
        }
        work.acts = inner.acts;
        work.fua = inner.st.fua();
        work.out = inner.st.out();
        for (task, s) in work.tasks.iter_mut().zip(inner.strips.iter()) {
            task.acts = s.act;
            task.result = s.op_result();
            task.written = s.written();
            task.cached = s.cached();
            task.second = inner.st.second(s);
        }
        clear(&mut inner.strips, &mut inner.acts);
        Look::Act
    }

    /// Whether parity may agree with nothing yet, as a sync still has to come here. Changed by what
    /// changes in the data it would go on to; made anew it is right from then on, so that the loss
    /// of a member takes nothing that was written. With a member missing it is all there is.
    fn is_parity_unmade(&self, inner: &Inner) -> bool {
        !self.array().mddev.is_synced(self.sector(), self.end())
            && inner.strips.iter().all(|s| s.access == Access::Full)
    }

    /// Has the journal promise room to the rows that may be cached now.
    fn grant(&self, inner: &Inner, policy: &mut Policy) -> Option<Arc<Journal>> {
        if !policy.write_back || !policy.journal {
            return None;
        }
        let want = inner.st.cacheable(&inner.strips).count();
        if want == 0 {
            return None;
        }
        let journal = self.array().journal()?;
        policy.room = journal.grant(want);
        Some(journal)
    }

    /// Gives the place among the syncs in flight back when there is none left.
    fn note_synced(&self, inner: &mut Inner) {
        if inner.syncing && !inner.st.is_syncing() {
            inner.syncing = false;
            self.array().syncs.fetch_sub(1, Full);
        }
    }

    /// Keeps account of rows that are held back; true if there are any.
    fn note_held(&self, inner: &mut Inner) -> bool {
        let started = (inner.acts.rcw | inner.acts.rmw) & inner.held;
        if started.any() {
            inner.held.remove(started);
            if inner.hold {
                self.array().hold.lock().won();
            }
        }
        let held = core::mem::take(&mut inner.acts.held);
        inner.held.insert(held);
        held.any()
    }

    fn carry_out(self: &Arc<Self>, work: &mut Handler) {
        let acts = work.acts;
        let ended = self.end_rows(work, &acts);
        if acts.fill {
            // Before any read is issued: a sync may read the same page anew.
            ops::fill(work);
        }
        if ended || acts.fill {
            self.end_parts(work);
        }
        if acts.write {
            self.issue(work, true);
        }
        if acts.read {
            self.issue(work, false);
        }
        if acts.journal.any() {
            self.append(work, acts.journal);
        }
        if acts.has_ops() {
            let done = ops::run(work, &acts);
            if done.failed.any() {
                self.report_ops_failed(done.failed);
            }
            self.event(Event::OpsDone {
                bad: done.bad,
                failed: done.failed,
            });
        }
        if acts.stuck.any() {
            self.report_stuck(acts.stuck);
        }
        self.report_sync(&acts);
        if acts.corrected {
            self.report_corrected(work);
        }
    }

    /// Marks the parts of rows that ended, before anything new takes them up.
    /// True if there were any.
    fn end_rows(&self, work: &mut Handler, acts: &Actions) -> bool {
        let fail = acts.fail_write;
        let fail_waiting = acts.fail_waiting;
        for row in acts.landed.iter() {
            if let Some(unit) = work.take_unit(row) {
                self.array().row_done(unit);
            }
        }
        work.pages.drop_second(acts.landed);
        for row in fail.iter() {
            if !work.is_cached(row) {
                // The unit is over.
                let _ = work.take_unit(row);
            }
        }
        if (acts.complete | fail | fail_waiting).is_empty() && !acts.fail_read {
            return false;
        }
        for part in work.parts.iter_mut() {
            if part.write {
                part.failed |= (part.busy & fail).any() || (part.todo & fail_waiting).any();
                part.busy.remove(acts.complete | fail);
                part.todo.remove(fail_waiting);
            } else if let Some(task) = work.tasks.get(part.slot) {
                let rows = part.todo & task.acts.fail_read;
                part.failed |= rows.any();
                part.todo.remove(rows);
            }
        }
        true
    }

    /// Ends the parts of which nothing is left.
    fn end_parts(&self, work: &mut Handler) {
        let mut i = 0;
        while i < work.parts.len() {
            if !work.parts.get(i).is_some_and(Attached::is_done) {
                i = i.wrapping_add(1);
                continue;
            }
            let Ok(part) = work.parts.remove(i) else {
                return;
            };
            if part.write {
                self.array().mddev.write_end();
            }
            part.piece.end(!part.failed);
        }
    }

    /// Has rows appended to the journal.
    fn append(self: &Arc<Self>, work: &mut Handler, rows: RowMask) {
        match self.array().journal() {
            Some(journal) => journal.append(self, work, rows),
            None => self.event(Event::JournalDone { rows, ok: false }),
        }
    }

    /// Records rows that could not be rebuilt as bad blocks of the members that
    /// are being rebuilt: what was never written there must not be read as
    /// good later. False if that could not be done.
    fn record_holes(&self, rows: RowMask) -> bool {
        let members = &self.array().members;
        let mut ok = true;
        for slot in 0..members.len() {
            for rdev in members.both(slot).into_iter().flatten() {
                if !rdev.flag(RdevFlag::InSync) {
                    ok &= self.record_hole(&rdev, rows);
                }
            }
        }
        ok
    }

    fn record_hole(&self, rdev: &Rdev, rows: RowMask) -> bool {
        let mut ok = true;
        for (start, n) in rows.runs() {
            let first = self.sector().wrapping_add(u64::from(start).wrapping_mul(8));
            ok &= rdev.set_badblock(first, n.saturating_mul(8));
        }
        warn_limited!(
            "{}: {}: {} rows of the stripe at member sector {} cannot be rebuilt; recorded as bad blocks\n",
            self.array().mddev.name(),
            rdev.name(),
            rows.count(),
            self.sector()
        );
        ok
    }

    fn report_ops_failed(&self, rows: RowMask) {
        warn_limited!(
            "{}: internal error: {} rows of the stripe at member sector {} lack a page; their writes fail, please report this\n",
            self.array().mddev.name(),
            rows.count(),
            self.sector()
        );
    }

    fn report_stuck(&self, rows: RowMask) {
        warn_limited!(
            "{}: cached data of {} rows of the stripe at member sector {} cannot be written to the members, of which too many are lost; it stays in the journal\n",
            self.array().mddev.name(),
            rows.count(),
            self.sector()
        );
    }

    /// Counts read errors that were put right.
    fn report_corrected(&self, work: &Handler) {
        for (slot, task) in work.tasks.iter().enumerate() {
            let rows = task.acts.corrected.count();
            if rows == 0 {
                continue;
            }
            if let Some(rdev) = self.array().members.reader(slot, self.end()) {
                rdev.add_corrected(rows.saturating_mul(8));
                warn_limited!(
                    "{}: {}: read errors in {} rows of the stripe at member sector {} corrected by rewriting\n",
                    self.array().mddev.name(),
                    rdev.name(),
                    rows,
                    self.sector()
                );
            }
        }
    }

    fn report_sync(&self, acts: &Actions) {
        let mddev = &self.array().mddev;
        if acts.mismatch.any() {
            mddev.add_mismatches(u64::from(acts.mismatch.count()).wrapping_mul(8));
        }
        if acts.sync_done.any() {
            mddev.done_sync(u64::from(acts.sync_done.count()).wrapping_mul(8), true);
        }
        if acts.sync_failed.any() {
            // A check or resync goes on behind rows that cannot be read.
            let ok = !mddev.recovery(Recovery::Recover) || self.record_holes(acts.sync_failed);
            mddev.done_sync(u64::from(acts.sync_failed.count()).wrapping_mul(8), ok);
        }
    }

    /// Issues the reads or the writes of all members: one round, or more where
    /// memory is short.
    fn issue(self: &Arc<Self>, work: &mut Handler, write: bool) {
        if write {
            self.array().mddev.bitmap_unplug();
        }
        self.count_io(work, write);
        let mut round = self.new_round();
        for slot in 0..work.tasks.len() {
            if write {
                self.add_writes(&mut round, work, slot);
            } else {
                self.add_reads(&mut round, work, slot);
            }
        }
        self.submit(round);
    }

    fn add_writes(self: &Arc<Self>, round: &mut Builder<Stripe>, work: &Handler, slot: usize) {
        let Some(task) = work.tasks.get(slot).copied() else {
            return;
        };
        // What went through the journal is safe there.
        let journal = self.array().policy().journal;
        let fua = if journal { RowMask::EMPTY } else { work.fua };
        let (acts, member, twin) = (task.acts, (slot, Device::Member), (slot, Device::Twin));
        for (to, rows) in [(member, acts.write), (twin, acts.twin)] {
            self.add_runs(round, work, to, rows & fua, Op::WriteFua);
            self.add_runs(round, work, to, rows.minus(fua), Op::Write);
        }
        for row in acts.write_alone.iter() {
            let op = if fua.has(row) {
                Op::WriteFua
            } else {
                Op::Write
            };
            self.add_runs(round, work, member, RowMask::single(row), op);
        }
        self.add_runs(round, work, member, acts.discard, Op::Discard);
    }

    fn add_reads(self: &Arc<Self>, round: &mut Builder<Stripe>, work: &mut Handler, slot: usize) {
        let Some(task) = work.tasks.get(slot).copied() else {
            return;
        };
        let (read, alone) = (task.acts.read, task.acts.read_alone);
        let both = read | alone;
        work.pages
            .ensure(Which::First, slot, both.minus(task.second));
        work.pages.ensure(Which::Second, slot, both & task.second);
        let to = (slot, Device::Member);
        self.add_runs(round, work, to, read & task.second, Op::Read);
        self.add_runs(round, work, to, read.minus(task.second), Op::Read);
        for row in alone.iter() {
            self.add_runs(round, work, to, RowMask::single(row), Op::Read);
        }
    }

    /// Counts the pages that are about to be read or written.
    fn count_io(&self, work: &Handler, write: bool) {
        let (mut pages, mut out) = (0u64, 0u64);
        for task in work.tasks.iter() {
            let rows = if write {
                task.acts.write | task.acts.write_alone
            } else {
                task.acts.read | task.acts.read_alone
            };
            pages = pages.wrapping_add(u64::from(rows.count()));
            out = out.wrapping_add(u64::from((rows & work.out).count()));
        }
        let counters = &self.array().counters;
        if write {
            counters.add(Count::PagesWritten, pages);
            counters.add(Count::PagesOut, out);
        } else {
            counters.add(Count::PagesRead, pages);
        }
    }

    fn new_round(self: &Arc<Self>) -> Builder<Stripe> {
        loop {
            match Builder::new(self.clone()) {
                Ok(round) => return round,
                Err(_) => super::array::wait_for_memory(),
            }
        }
    }

    fn submit(&self, round: Builder<Stripe>) {
        if round.is_empty() {
            return;
        }
        if let Some(done) = round.submit() {
            self.take_ends(done);
        }
    }

    /// Adds a bio for every run of `rows`; what cannot be issued has failed.
    fn add_runs(
        self: &Arc<Self>,
        round: &mut Builder<Stripe>,
        work: &Handler,
        to: (usize, Device),
        rows: RowMask,
        op: Op,
    ) {
        for (start, n) in rows.runs() {
            let mut sent = self.add_run(round, work, to, (start, n), op);
            if sent == Err(ENOMEM) {
                let full = core::mem::replace(round, self.new_round());
                self.submit(full);
                sent = self.add_run(round, work, to, (start, n), op);
            }
            if sent.is_err() {
                let run = RowMask::range(start, n);
                self.event(end_event(label(to, run, op), false));
            }
        }
    }

    fn add_run(
        &self,
        round: &mut Builder<Stripe>,
        work: &Handler,
        (slot, device): (usize, Device),
        (start, n): (u32, u32),
        op: Op,
    ) -> Result {
        let members = &self.array().members;
        let rdev = match op {
            // What was to be read from may be another device by now.
            Op::Read => members.reader(slot, self.end()),
            Op::Write | Op::WriteFua | Op::Discard | Op::Flush => members.get(slot, device),
        };
        let rdev = rdev.ok_or(ENODEV)?;
        let first = self
            .sector()
            .checked_add(u64::from(start).wrapping_mul(8))
            .ok_or(EINVAL)?;
        let sectors = n.saturating_mul(8);
        if op == Op::Read && rdev.has_badblock(first, sectors) {
            return Err(EIO);
        }
        // Zeroes make a bad block good, and do where the device discards nothing.
        let zeroes = op == Op::Discard
            && (!rdev.discards(first, sectors) || rdev.has_badblock(first, sectors));
        let op = if zeroes { Op::Write } else { op };
        let sector = first.checked_add(rdev.data_offset()).ok_or(EINVAL)?;
        let second = work.tasks.get(slot).map(|t| t.second);
        let which = match second {
            Some(second) if op == Op::Read && second.has(start) => Which::Second,
            Some(_) | None => Which::First,
        };
        let pages = work.pages.run(which, slot, (start, n)).ok_or(EINVAL)?;
        let label = label((slot, device), RowMask::range(start, n), op);
        let pages: PageRefs<'_> = PageRefs(pages.iter());
        round.add(&self.array().member_bios, rdev, op, sector, label, pages)
    }
}

/// Pages that are all there.
struct PageRefs<'a>(core::slice::Iter<'a, Option<Page>>);

impl<'a> Iterator for PageRefs<'a> {
    type Item = &'a Page;

    fn next(&mut self) -> Option<&'a Page> {
        self.0.next()?.as_ref()
    }
}

impl ExactSizeIterator for PageRefs<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl RoundOwner for Stripe {
    fn round_done(this: Arc<Self>, done: Done<Self>) {
        let _noio = NoIo::enter();
        this.take_ends(done);
        Stripe::handle(&this);
    }

    fn worklist(&self) -> &Worklist {
        &self.array().queue
    }
}
