// SPDX-License-Identifier: GPL-2.0

//! What an array does when memory is short: whoever lacks some is looked after
//! again and again, and idle stripes are dropped for it.

use super::{array::Array, stripe::Stripe};
use crate::{
    block::bioset::issue_held,
    lib::{
        noio::NoIo,
        shrinker::{Shrinker, Shrinks},
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Full, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta},
    workqueue::{impl_has_delayed_work, WorkItem},
};

/// How long until memory is looked for again, in milliseconds.
const RETRY_MS: u32 = 5;

/// Idle stripes that are dropped at once.
const DROP: usize = 8;

impl_has_delayed_work! {
    impl HasDelayedWork<Array> for Array { self.retry }
}

impl WorkItem for Array {
    type Pointer = Arc<Array>;

    fn run(this: Arc<Array>) {
        let _noio = NoIo::enter();
        this.retry_wanted.xchg(0, Full);
        Array::look_for_memory(&this);
        this.timers.fetch_sub(1, Full);
    }
}

impl Array {
    /// Something was left for want of memory: it is tried again soon.
    #[cold]
    pub(super) fn want_memory(this: &Arc<Self>) {
        if this.retry_wanted.xchg(1, Full) != 0 {
            return;
        }
        this.timers.fetch_add(1, Full);
        let delay = kernel::time::msecs_to_jiffies(RETRY_MS);
        let queue = this.queue.near().queue();
        if queue.enqueue_delayed(this.clone(), delay).is_err() {
            // The timer runs already.
            this.timers.fetch_sub(1, Full);
        }
    }

    /// Gives the machine a moment to free memory. For submitters: what they hold
    /// back is issued first, as others may wait for it.
    pub(super) fn wait_for_memory(this: &Arc<Self>) {
        issue_held(&this.mddev);
        Self::want_memory(this);
        this.cache.count_waiter(|| {
            if this.may_cache() {
                // What is cached is written out for it.
                this.wake_reclaim();
            }
            fsleep(Delta::from_millis(2));
        });
    }

    /// A reserve is free: the next who lacks memory may have it.
    #[cold]
    pub(super) fn memory_back(&self) {
        if let Some(stripe) = self.next_short() {
            self.queue.leave(&stripe);
        }
    }

    /// A stripe that lacks memory, another one each time.
    fn next_short(&self) -> Option<Arc<Stripe>> {
        let from = self.short_from.load(Relaxed);
        let found = self
            .cache
            .find_from(from, Stripe::take_short)
            .or_else(|| self.cache.find_from(0, Stripe::take_short));
        let (stripe, at) = found?;
        self.short_from.store(at.wrapping_add(1), Relaxed);
        Some(stripe)
    }

    fn look_for_memory(this: &Arc<Self>) {
        for _ in 0..DROP {
            if !this.cache.evict_one() {
                break;
            }
        }
        this.cache.budget().fill_up();
        if let Some(journal) = this.journal() {
            journal.retry();
        }
        // Those that still lack something are marked anew, so this has to end; but
        // nobody may be left without a timer. Some that are marked lack nothing by now.
        for _ in 0..=this.cache.active() {
            match this.next_short() {
                Some(stripe) => Stripe::handle(&stripe),
                None => return,
            }
        }
        Self::want_memory(this);
    }
}

/// Idle stripes are dropped when the kernel asks for memory.
impl Shrinks for Array {
    fn count(&self) -> usize {
        self.cache.idle_pages()
    }

    fn scan(&self, n: usize) -> usize {
        let before = self.cache.budget().pages();
        // Each has at least one page, or costs nothing.
        for _ in 0..n {
            let freed = before.saturating_sub(self.cache.budget().pages());
            if freed >= n || self.count() == 0 || !self.cache.evict_one() {
                return freed;
            }
        }
        before.saturating_sub(self.cache.budget().pages())
    }
}

impl Array {
    /// Gives pages back when the kernel asks for them; nothing depends on it.
    pub(super) fn start_shrinker(this: &Arc<Self>) {
        this.stop_shrinker();
        match Shrinker::new(this.clone()) {
            Ok(shrinker) => *this.shrinker.lock() = Some(shrinker),
            Err(_) => pr_warn!("{}: no shrinker of the stripe cache\n", this.mddev.name()),
        }
    }

    /// Gives none back any more.
    pub(super) fn stop_shrinker(&self) {
        let shrinker = self.shrinker.lock().take();
        drop(shrinker);
    }
}
