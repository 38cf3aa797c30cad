// SPDX-License-Identifier: GPL-2.0

//! Handling a stripe: taking the planner's actions and carrying them out.
//!
//! One task at a time handles a stripe; whoever comes meanwhile leaves a note
//! (`Inner::again`) and goes. Ops, copies and submissions all happen without
//! the stripe's lock.

use super::{
    array::Array,
    cache::List,
    journal::Journal,
    ops,
    stripe::{Attached, Inner, Stripe},
    work::Handler,
};
use crate::{
    block::round::{Done, RoundOwner},
    lib::{clock::warn_limited, noio::NoIo, worklist::Worklist},
    md::{
        mddev::Recovery,
        rdev::{Rdev, RdevFlag},
    },
    raid::{
        mask::RowMask,
        stripe::{clear, plan, Access, Actions, Event, Policy, RmwLevel},
    },
};
use kernel::sync::{atomic::Full, Arc};

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
            let pending = work.pending;
            drop(work);
            if pending {
                self.inner.lock().short = true;
                Array::want_memory(self.array());
            }
            if let Some(list) = idle {
                self.array().cache.idled(self, list);
                match list {
                    Some(List::Dirty | List::Full) => self.array().listed_dirty(),
                    Some(List::Idle) | None => {}
                }
            }
            if !self.goes_on() {
                return;
            }
        }
    }

    fn handle_locked(self: &Arc<Self>, work: &mut Handler) -> Option<Option<List>> {
        // Memory may have come back.
        let mut retry = work.pending;
        loop {
            let look = self.look(work);
            if matches!(look, Look::Act) || core::mem::take(&mut retry) {
                work.pending = false;
                self.carry_out(work);
            }
            let back = self.return_pages(work);
            match look {
                Look::Act => retry = false,
                // More may begin now.
                Look::Rest if back => {}
                Look::Rest => return None,
                Look::Hold => {
                    self.hold_back();
                    return None;
                }
                Look::Idle(list) => return Some(list),
            }
        }
    }

    /// Lets the planner look, and takes over parts and actions.
    fn look(&self, work: &mut Handler) -> Look {
        // Dropped after the lock.
        let journal;
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.again = false;
        let retry = core::mem::replace(&mut inner.retry_journal, false);
        work.take_parts(inner);
        let mut policy = self.array().view(self.index(), &mut inner.strips);
        policy.hold &= inner.hold;
        if work.borrowed.is_some() {
            self.hurry(inner, work, &mut policy);
        }
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
        self.note_rows(inner, work, &policy);
        if !inner.acts.any() {
            work.take_nothing();
            return match self.settle(inner, &policy, work) {
                Some(list) => Look::Idle(list),
                None if held => Look::Hold,
                None => Look::Rest,
            };
        }
        work.take_over(&inner.acts, &inner.st, &inner.strips);
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
        if work.wants_io(true) {
            self.issue(work, true, RowMask::EMPTY);
        }
        let lacking = self.provide(work);
        if work.wants_io(false) {
            self.issue(work, false, lacking);
        }
        if acts.journal.any() {
            self.append(work, acts.journal);
        }
        let ready = work.ops.all().minus(lacking);
        if ready.any() {
            let ops = work.ops.take(ready);
            let done = ops::run(work, &ops);
            work.ops_done(ready);
            if done.failed.any() {
                self.report_ops_failed(done.failed);
            }
            self.event(Event::OpsDone {
                bad: done.bad,
                failed: done.failed,
                left: !ready,
            });
        }
        if acts.lost.any() {
            self.note_lost(work, &acts);
        }
        if acts.stuck.any() {
            self.report_stuck(acts.stuck);
        }
        self.report_sync(&acts);
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
    /// are being rebuilt and lack them: what was never written there must not be read as
    /// good later. False if that could not be done.
    fn record_holes(&self, rows: RowMask) -> bool {
        let members = &self.array().members;
        let mut ok = true;
        for slot in 0..members.len() {
            for rdev in members.both(slot).into_iter().flatten() {
                if !rdev.flag(RdevFlag::InSync) {
                    ok &= self.record_hole(&rdev, rows.minus(self.rebuilt_rows(&rdev)));
                }
            }
        }
        ok
    }

    fn record_hole(&self, rdev: &Rdev, rows: RowMask) -> bool {
        let mut ok = true;
        if rows.is_empty() {
            return ok;
        }
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
