// SPDX-License-Identifier: GPL-2.0

//! Flushes that the array's users ask for.
//!
//! Without a journal md flushes all members. With one, what has completed is stable there, but for
//! cached data that was acknowledged when its unit was ordered: a flush waits for that. A write
//! that comes with a flush lies behind all of it in the log, so that it is enough if the write
//! itself waits until it is stable. With the journal lost, what was acknowledged is in memory: it
//! goes to the members first.

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

impl Journal {
    /// Whether all that was acknowledged is stable.
    pub(super) fn is_all_kept(&self) -> bool {
        let log = &self.state.lock().log;
        log.is_kept(log.barrier()) == Kept::Yes
    }

    /// Ends an empty flush when all that was acknowledged until now is stable.
    fn flush_for_user(self: &Arc<Self>, bio: Bio) {
        let turn = Array::enter_for(&self.array);
        let room = loop {
            match KBox::new_uninit(GFP_KERNEL) {
                Ok(room) => break room,
                Err(_) => super::array::wait_for_memory(),
            }
        };
        self.array.counters.add(Count::UserFlushes, 1);
        {
            let mut state = self.state.lock();
            let barrier = state.log.barrier();
            state.waiters.push(room.write(Waiter {
                bio,
                barrier,
                next: None,
                _turn: turn,
            }));
        }
        self.flush();
        // What it waits for may have come meanwhile, or never come.
        self.release();
    }

    /// Ends the flushes that need not wait any more.
    pub(super) fn end_flushes(&self) {
        let (mut done, mut failed) = {
            let mut state = self.state.lock();
            if state.waiters.newest().is_none() {
                return;
            }
            state.take_ended()
        };
        while let Some(waiter) = done.pop() {
            let waiter = KBox::into_inner(waiter);
            waiter.bio.end();
        }
        while let Some(waiter) = failed.pop() {
            warn_limited!(
                "{}: a flush fails, as the journal failed before it was done; what was acknowledged is in memory and is written to the members\n",
                self.array.mddev.name()
            );
            let waiter = KBox::into_inner(waiter);
            waiter.bio.end_error();
        }
    }
}

impl Array {
    /// Does the flush that came with a request; gives the request back if it
    /// has data.
    pub(super) fn flush_request(this: &Arc<Self>, mddev: &Mddev, bio: Bio) -> Option<Bio> {
        let journal = match this.journal_state() {
            JournalState::None => return bio.flush_members(mddev),
            JournalState::Works => this.journal(),
            JournalState::Lost => None,
        };
        let Some(journal) = journal else {
            if this.wait_written_out() {
                return bio.flush_members(mddev);
            }
            bio.end_error();
            return None;
        };
        let waits = !journal.is_all_kept();
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

    /// Waits until the members have all that was acknowledged; false if some of it cannot be
    /// written to them. For when the journal is lost.
    fn wait_written_out(&self) -> bool {
        if !self.may_cache() {
            return true;
        }
        while self.cache.find_from(0, Stripe::is_unwritten).is_some() {
            self.wake_reclaim();
            fsleep(Delta::from_millis(1));
        }
        self.cache.find_from(0, Stripe::is_stuck).is_none()
    }
}
