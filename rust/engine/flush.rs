// SPDX-License-Identifier: GPL-2.0

//! Flushes that the array's users ask for.
//!
//! Without a journal md flushes all members. With one, what has completed is stable there, but for
//! cached data that was acknowledged when its unit was ordered: a flush waits for that. A write
//! that comes with a flush lies behind all of it in the log, so that it is enough if the write
//! itself waits until it is stable. With the journal lost, what was acknowledged is in memory or in
//! the members' caches: a flush ends when the members have it, and md has recorded which of them
//! have not. Else one of these could be taken for good after a power cut.

use super::{
    array::{Array, JournalState, OwnTurn},
    counters::Count,
    journal::{Journal, State},
    stripe::Stripe,
};
use crate::{
    block::bio::Bio,
    journal::log::ordered::{Barrier, Kept},
    lib::clock::warn_limited,
    md::mddev::Mddev,
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{delay::fsleep, Delta},
};

/// A flush that waits.
struct Waiter {
    bio: Bio,
    barrier: Barrier,
    next: Option<KBox<Waiter>>,
    /// Dropped last: until then the array is not quiesced.
    _turn: OwnTurn,
}

/// Flushes that wait, the newest first.
pub(super) struct Waiters(Option<KBox<Waiter>>);

impl Waiters {
    /// None.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// What the newest waits for: the others wait for no more.
    pub(super) fn newest(&self) -> Option<Barrier> {
        self.0.as_ref().map(|waiter| waiter.barrier)
    }

    fn push(&mut self, mut waiter: KBox<Waiter>) {
        waiter.next = self.0.take();
        self.0 = Some(waiter);
    }

    fn pop(&mut self) -> Option<KBox<Waiter>> {
        let mut waiter = self.0.take()?;
        self.0 = waiter.next.take();
        Some(waiter)
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        // One by one: a chain would be dropped recursively.
        while self.pop().is_some() {}
    }
}

impl State {
    /// Takes the flushes out that need not wait any more: those that are done and those that
    /// cannot be.
    fn take_ended(&mut self) -> (Waiters, Waiters) {
        let (mut done, mut failed, mut left) = (Waiters::new(), Waiters::new(), Waiters::new());
        while let Some(waiter) = self.waiters.pop() {
            match self.log.is_kept(waiter.barrier) {
                Kept::Yes => done.push(waiter),
                Kept::Never => failed.push(waiter),
                Kept::NotYet => left.push(waiter),
            }
        }
        while let Some(waiter) = left.pop() {
            // In the old order again.
            self.waiters.push(waiter);
        }
        (done, failed)
    }
}

/// Ends flushes that are done.
fn end_all(mut done: Waiters) {
    while let Some(waiter) = done.pop() {
        KBox::into_inner(waiter).bio.end();
    }
}

/// Ends flushes that cannot be done.
fn fail_all(mut failed: Waiters) {
    while let Some(waiter) = failed.pop() {
        KBox::into_inner(waiter).bio.end_error();
    }
}

impl Journal {
    /// Whether all that was acknowledged is stable.
    pub(super) fn is_all_kept(&self) -> bool {
        let log = &self.state.lock().log;
        log.is_kept(log.barrier()) == Kept::Yes
    }

    /// Puts a flush on one of the lists; gives it back if there is no memory.
    fn wait(self: &Arc<Self>, bio: Bio, list: fn(&mut State) -> &mut Waiters) -> Result<(), Bio> {
        let turn = Array::enter_for(&self.array);
        let Ok(room) = KBox::new_uninit(GFP_NOWAIT) else {
            return Err(bio);
        };
        self.array.counters.add(Count::UserFlushes, 1);
        let mut state = self.state.lock();
        let barrier = state.log.barrier();
        list(&mut state).push(room.write(Waiter {
            bio,
            barrier,
            next: None,
            _turn: turn,
        }));
        Ok(())
    }

    /// Does a flush for a submitter, who waits: there is no memory to put it on a
    /// list.
    #[cold]
    fn flush_now(self: &Arc<Self>, bio: Bio) {
        let _turn = Array::enter_for(&self.array);
        self.array.counters.add(Count::UserFlushes, 1);
        let barrier = self.state.lock().log.barrier();
        loop {
            self.flush_for(Some(barrier));
            self.release();
            let kept = self.state.lock().log.is_kept(barrier);
            match kept {
                Kept::Yes => return bio.end(),
                Kept::Never => return bio.end_error(),
                Kept::NotYet => Array::wait_for_memory(&self.array),
            }
        }
    }

    /// Ends an empty flush when all that was acknowledged until now is stable.
    fn flush_for_user(self: &Arc<Self>, bio: Bio) {
        if let Err(bio) = self.wait(bio, |state| &mut state.waiters) {
            return self.flush_now(bio);
        }
        self.flush();
        // What it waits for may have come meanwhile, or never come.
        self.release();
    }

    /// Ends the flushes that need not wait any more.
    pub(super) fn end_flushes(&self) {
        let (done, failed) = {
            let mut state = self.state.lock();
            if state.waiters.newest().is_none() {
                return;
            }
            state.take_ended()
        };
        end_all(done);
        if failed.newest().is_some() {
            warn_limited!(
                "{}: a flush fails, as the journal failed before it was done; what was acknowledged is in memory and is written to the members\n",
                self.array.mddev.name()
            );
        }
        fail_all(failed);
    }

    /// Does the flushes that came when the journal was lost; if the members have not got everything
    /// yet, the reclaim thread comes again. Waits for md to record failures.
    pub(super) fn end_late_flushes(&self) {
        let array = &self.array;
        // Taken before the look: what was acknowledged before one of them came is seen.
        let Some(late) = self.take_late() else {
            return;
        };
        if !array.has_failed() && !array.is_written_out() {
            self.put_back(late);
            return array.look_again();
        }
        if array.flush_and_record() {
            end_all(late);
        } else {
            self.fail(late);
        }
        self.state.lock().late_in_hand = false;
    }

    fn take_late(&self) -> Option<Waiters> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let _ = state.late.newest()?;
        state.late_in_hand = true;
        Some(core::mem::replace(&mut state.late, Waiters::new()))
    }

    fn put_back(&self, mut late: Waiters) {
        let mut state = self.state.lock();
        while let Some(waiter) = late.pop() {
            state.late.push(waiter);
        }
        state.late_in_hand = false;
    }

    /// Whether flushes are not done that came when the journal was lost.
    fn has_late_flushes(&self) -> bool {
        let state = self.state.lock();
        state.late_in_hand || state.late.newest().is_some()
    }

    /// Whether nothing needs the journal any more, but for what is stuck.
    pub(super) fn is_removable(&self) -> bool {
        let array = &self.array;
        array.cache.active() == 0 && !self.has_late_flushes() && array.is_written_out()
    }

    /// Ends the flushes that came when the journal was lost: nobody will do them.
    pub(super) fn fail_late_flushes(&self) {
        if let Some(late) = self.take_late() {
            self.fail(late);
            self.state.lock().late_in_hand = false;
        }
    }

    fn fail(&self, late: Waiters) {
        warn_limited!(
            "{}: a flush fails: the journal is lost, and the members cannot be flushed, or the array is stopped\n",
            self.array.mddev.name()
        );
        fail_all(late);
    }
}

impl Array {
    /// Does the flush that came with a request; gives the request back if it
    /// has data.
    pub(super) fn flush_request(this: &Arc<Self>, mddev: &Mddev, bio: Bio) -> Option<Bio> {
        match this.journal_state() {
            JournalState::None => return bio.flush_members(mddev),
            JournalState::Works => {}
            JournalState::Lost => {
                Self::flush_without_journal(this, mddev, bio);
                return None;
            }
        }
        let Some(journal) = this.journal() else {
            // It was lost just now.
            Self::flush_without_journal(this, mddev, bio);
            return None;
        };
        let waits = !journal.is_all_kept();
        if this.journal_state() != JournalState::Works {
            // What is kept is of no use then.
            Self::flush_without_journal(this, mddev, bio);
            return None;
        }
        if bio.sectors() > 0 {
            bio.clear_preflush();
            if waits {
                bio.make_fua();
            }
            return Some(bio);
        }
        if waits {
            journal.flush_for_user(bio);
        } else {
            bio.end();
        }
        None
    }

    /// Does a flush when the journal is lost.
    fn flush_without_journal(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        if bio.sectors() > 0 {
            // Writes are refused.
            return bio.end_error();
        }
        if let Some(journal) = this.journal() {
            let mut bio = bio;
            while let Err(back) = journal.wait(bio, |state| &mut state.late) {
                Self::wait_for_memory(this);
                bio = back;
            }
            this.wake_reclaim();
            let same = |now: &Arc<Journal>| Arc::ptr_eq(now, &journal);
            if !this.journal().as_ref().is_some_and(same) {
                // It was taken out meanwhile, with its thread.
                journal.fail_late_flushes();
            }
            return;
        }
        let _turn = this.enter();
        // The members were flushed before the journal was taken out, or it was never there.
        if !this.wait_recorded() || this.has_stuck() {
            return bio.end_error();
        }
        // Comes back only with data.
        if let Some(bio) = bio.flush_members(mddev) {
            bio.end();
        }
    }

    /// Whether the members have all that was acknowledged, but for what cannot be written to them.
    /// For when the journal is lost.
    pub(super) fn is_written_out(&self) -> bool {
        !self.may_cache() || self.cache.find_from(0, Stripe::is_unwritten).is_none()
    }

    /// Whether something acknowledged cannot be written to the members.
    pub(super) fn has_stuck(&self) -> bool {
        self.may_cache() && self.cache.find_from(0, Stripe::is_stuck).is_some()
    }

    /// Waits until md has recorded which members failed. False if it may never do: the array has
    /// failed, is read-only or is being stopped.
    fn wait_recorded(&self) -> bool {
        while self.is_blocked() {
            if self.has_failed() || self.mddev.ro() != 0 || self.is_stopping() {
                return false;
            }
            fsleep(Delta::from_millis(1));
        }
        true
    }

    /// Flushes the members, and waits until md has recorded which of them lack something. False if
    /// what was acknowledged is not safe then.
    fn flush_and_record(&self) -> bool {
        let degraded = self.members.degraded();
        if !self.flush_members() || self.has_stuck() {
            return false;
        }
        // Of an array that is read-only md records nothing, and forgets it.
        let forgets = self.mddev.ro() != 0;
        self.wait_recorded() && !(forgets && self.members.degraded() != degraded)
    }
}
