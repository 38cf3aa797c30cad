// SPDX-License-Identifier: GPL-2.0

//! The stripe cache: finds stripes, bounds their pages, drops idle ones.

use super::{array::Array, budget::Budget, stripe::Stripe};
use kernel::{
    alloc::Flags,
    new_condvar, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc, CondVar, LockedBy, SpinLock,
    },
};

/// Locks over which the stripes are spread; a power of two.
const SHARDS: usize = 512;

/// Stripe objects that are kept for when there is no memory for more.
const SPARES: usize = 4;

/// So many more are kept, to be used before any is made: an object is many allocations.
const AGAIN: usize = 2;

/// Where a stripe without work is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// It may be dropped.
    Idle,
    /// It has cached data that is to be written out some time.
    Dirty,
    /// The same, and all its cached rows are whole.
    Full,
}

/// One bucket: stripes chained by `Stripe::next`.
pub(crate) struct Shard {
    head: Option<Arc<Stripe>>,
}

/// Stripes without work, those that came first at its head.
struct StripeRing {
    slots: KVec<Option<Arc<Stripe>>>,
    head: usize,
    len: usize,
    /// Stripes that have gone, ever.
    popped: u64,
}

impl StripeRing {
    fn new(size: usize) -> Result<Self> {
        let mut slots = KVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            slots.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            head: 0,
            len: 0,
            popped: 0,
        })
    }

    fn push(&mut self, stripe: Arc<Stripe>) -> Result<(), Arc<Stripe>> {
        let size = self.slots.len();
        if self.len >= size {
            return Err(stripe);
        }
        let at = self.head.wrapping_add(self.len) % size;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(stripe);
            self.len = self.len.wrapping_add(1);
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Arc<Stripe>> {
        if self.len == 0 {
            return None;
        }
        let stripe = self.slots.get_mut(self.head)?.take();
        self.head = self.head.wrapping_add(1) % self.slots.len();
        self.len = self.len.wrapping_sub(1);
        self.popped = self.popped.wrapping_add(1);
        stripe
    }
}

/// The stripes of one array.
#[pin_data]
pub(crate) struct Cache {
    shards: KVec<Pin<KBox<SpinLock<Shard>>>>,
    #[pin]
    idle: SpinLock<StripeRing>,
    #[pin]
    dirty: SpinLock<StripeRing>,
    #[pin]
    full: SpinLock<StripeRing>,
    /// Objects in no chain, without pages.
    #[pin]
    spares: SpinLock<KVec<Arc<Stripe>>>,
    /// Stripe objects there are.
    objects: Atomic<usize>,
    max_objects: usize,
    /// Stripes with work.
    active: Atomic<usize>,
    budget: Arc<Budget>,
    waiters: Atomic<usize>,
    /// Counts wake-ups, so that none is lost between a look and the wait.
    #[pin]
    turns: SpinLock<u64>,
    #[pin]
    wait: CondVar,
}

impl Cache {
    /// A cache of at most `max_objects` stripes and about `pages` pages.
    pub(crate) fn new(max_objects: usize, pages: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            shards: {
                let mut shards = KVec::with_capacity(SHARDS, GFP_KERNEL)?;
                for _ in 0..SHARDS {
                    let shard = new_spinlock!(Shard { head: None }, "raid5c::shard");
                    shards.push(KBox::pin_init(shard, GFP_KERNEL)?, GFP_KERNEL)?;
                }
                shards
            },
            idle <- new_spinlock!(StripeRing::new(max_objects)?, "raid5c::idle"),
            dirty <- new_spinlock!(StripeRing::new(max_objects)?, "raid5c::dirty"),
            full <- new_spinlock!(StripeRing::new(max_objects)?, "raid5c::full"),
            spares <- new_spinlock!(
                KVec::with_capacity(SPARES + AGAIN, GFP_KERNEL)?,
                "raid5c::spare_stripes"
            ),
            objects: Atomic::new(0),
            max_objects,
            active: Atomic::new(0),
            budget: Arc::pin_init(Budget::new(pages), GFP_KERNEL)?,
            waiters: Atomic::new(0),
            turns <- new_spinlock!(0u64, "raid5c::cache_wait"),
            wait <- new_condvar!("raid5c::cache_wait"),
        }? Error)
    }

    /// The page budget.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Stripes with work.
    pub(crate) fn active(&self) -> usize {
        self.active.fetch_add(0, Full)
    }

    /// Changes the number of pages that new work may take the cache to.
    pub(crate) fn set_limit(&self, pages: usize) {
        self.budget.set_limit(pages);
        self.shrink_to(pages);
        self.notify();
    }

    /// Drops idle stripes until there are no more pages than that, if it can.
    pub(crate) fn shrink_to(&self, pages: usize) {
        while self.budget.pages() > pages && self.evict_one() {}
    }

    fn shard(&self, index: u64) -> Option<&SpinLock<Shard>> {
        // Neighbouring stripes go to different shards.
        let i = usize::try_from(index % SHARDS as u64).ok()?;
        self.shards.get(i).map(|s| &**s)
    }

    /// The stripe, if it is there.
    fn lookup(shard: &Shard, index: u64) -> Option<Arc<Stripe>> {
        let mut next = shard.head.as_ref();
        while let Some(stripe) = next {
            if stripe.index() == index {
                return Some(stripe.clone());
            }
            next = stripe.next().access(shard).as_ref();
        }
        None
    }

    /// The stripe, if it is cached.
    pub(crate) fn find(&self, index: u64) -> Option<Arc<Stripe>> {
        Self::lookup(&self.shard(index)?.lock(), index)
    }

    /// Keeps some objects for when there is no memory.
    pub(crate) fn keep_spares(&self, array: &Arc<Array>) -> Result {
        let shard = self.shard(0).ok_or(EINVAL)?;
        for _ in 0..SPARES {
            self.add_spare(Stripe::spare(array, shard)?);
        }
        Ok(())
    }

    /// Makes the spare objects anew, as those from now on are to be; with nothing in the cache.
    pub(crate) fn renew_spares(&self, array: &Arc<Array>) -> Result {
        self.drop_spares();
        self.keep_spares(array)
    }

    fn drop_spares(&self) {
        loop {
            let spare = self.spares.lock().pop();
            if spare.is_none() {
                return;
            }
        }
    }

    /// Keeps a stripe that is in no chain any more, if there are too few; else it
    /// is freed.
    fn add_spare(&self, stripe: Arc<Stripe>) {
        stripe.strip();
        let large = stripe.is_large();
        let mut spares = self.spares.lock();
        let left = match large && spares.len() >= SPARES {
            true => Some(stripe),
            false => spares.push_within_capacity(stripe).err().map(|e| e.0),
        };
        drop(spares);
        drop(left);
    }

    /// One of the objects that are not kept for when there is no memory.
    fn pop_again(&self) -> Option<Arc<Stripe>> {
        let mut spares = self.spares.lock();
        match spares.len() > SPARES {
            true => spares.pop(),
            false => None,
        }
    }

    /// A stripe object made of one that nobody uses.
    #[cold]
    fn recycle(&self, index: u64) -> Result<Arc<Stripe>> {
        let shard = self.shard(index).ok_or(EINVAL)?;
        // Bounded by the spares that somebody still looks at.
        for _ in 0..=SPARES + AGAIN {
            let spare = self.spares.lock().pop();
            let Some(spare) = spare else {
                // Makes one, if any stripe is idle.
                self.evict_one();
                continue;
            };
            if let Some(stripe) = Stripe::reuse(spare, index, shard) {
                return Ok(stripe);
            }
        }
        Err(ENOMEM)
    }

    /// The stripe, made if it is not there. `ENOMEM` if there is no memory, and no
    /// stripe that nobody uses: stripes will end.
    pub(crate) fn get(&self, array: &Arc<Array>, index: u64, gfp: Flags) -> Result<Arc<Stripe>> {
        let shard = self.shard(index).ok_or(EINVAL)?;
        if let Some(stripe) = Self::lookup(&shard.lock(), index) {
            return Ok(stripe);
        }
        let again = self.pop_again();
        let new = match again.and_then(|spare| Stripe::reuse(spare, index, shard)) {
            Some(stripe) => stripe,
            None => match Stripe::new(array, index, shard, gfp) {
                Err(e) if e == ENOMEM => self.recycle(index)?,
                other => other?,
            },
        };
        let mut guard = shard.lock();
        if let Some(stripe) = Self::lookup(&guard, index) {
            drop(guard);
            self.add_spare(new);
            return Ok(stripe);
        }
        let head = guard.head.take();
        *new.next().access_mut(&mut guard) = head;
        guard.head = Some(new.clone());
        drop(guard);
        self.objects.fetch_add(1, Full);
        Ok(new)
    }

    /// Waits until there is room for more work: pages and stripe objects. Idle
    /// stripes are dropped for it. The caller must have issued all that it
    /// holds, as the stripes that it waits for may be its own.
    /// `waiting` is called once the caller counts as waiting.
    pub(crate) fn wait_room(&self, waiting: impl FnOnce()) {
        if self.has_room() {
            return;
        }
        self.waiters.fetch_add(1, Full);
        waiting();
        loop {
            let seen = *self.turns.lock();
            if self.has_room() {
                break;
            }
            let mut turns = self.turns.lock();
            while *turns == seen {
                self.wait.wait(&mut turns);
            }
        }
        self.waiters.fetch_sub(1, Full);
    }

    /// Whether there is room; idle stripes are dropped for it.
    pub(crate) fn has_room(&self) -> bool {
        loop {
            let objects = self.objects.load(Relaxed) >= self.max_objects;
            if !objects && !self.budget.is_over() {
                return true;
            }
            if !self.evict_one() {
                // With no work under way nobody would wake us.
                return self.active() == 0 && self.dirty() == 0;
            }
        }
    }

    pub(crate) fn notify(&self) {
        if self.waiters.fetch_add(0, Full) > 0 {
            let mut turns = self.turns.lock();
            *turns = turns.wrapping_add(1);
            drop(turns);
            self.wait.notify_all();
        }
    }

    /// Runs `f` with the caller counted as waiting.
    pub(crate) fn count_waiter(&self, f: impl FnOnce()) {
        self.waiters.fetch_add(1, Full);
        f();
        self.waiters.fetch_sub(1, Full);
    }

    /// Whether somebody waits for room, or for memory.
    pub(crate) fn is_short(&self) -> bool {
        self.waiters.load(Relaxed) > 0
    }

    /// A stripe got work.
    pub(crate) fn activated(&self) {
        self.active.fetch_add(1, Full);
    }

    /// A stripe has no more work. `list` is where it belongs, if it is not there.
    pub(crate) fn idled(&self, stripe: &Arc<Stripe>, list: Option<List>) {
        let ring = match list {
            Some(List::Idle) => Some(&self.idle),
            Some(List::Dirty) => Some(&self.dirty),
            Some(List::Full) => Some(&self.full),
            None => None,
        };
        if let (Some(ring), Some(list)) = (ring, list) {
            let full = ring.lock().push(stripe.clone()).is_err();
            if full {
                // Objects went over their number for a moment.
                stripe.unlist(list);
            }
        }
        self.deactivated();
    }

    /// Stripes that are listed with cached data; some perhaps twice.
    pub(crate) fn dirty(&self) -> usize {
        let dirty = self.dirty.lock().len;
        dirty.wrapping_add(self.full())
    }

    /// How many stripes are listed as dirty and as full, and how many have been
    /// taken off either list, ever.
    pub(crate) fn listed_and_gone(&self) -> [(usize, u64); 2] {
        [&self.dirty, &self.full].map(|ring| {
            let ring = ring.lock();
            (ring.len, ring.popped)
        })
    }

    /// Pages of stripes without work, about.
    pub(crate) fn idle_pages(&self) -> usize {
        let idle = self.idle.lock().len;
        let objects = core::cmp::max(self.objects.load(Relaxed), 1);
        self.budget.pages().saturating_mul(idle) / objects
    }

    /// Of these, the full ones.
    pub(crate) fn full(&self) -> usize {
        self.full.lock().len
    }

    /// Takes the stripe off a list that was listed there first.
    pub(crate) fn pop_dirty(&self, list: List) -> Option<Arc<Stripe>> {
        let ring = match list {
            List::Full => &self.full,
            List::Dirty | List::Idle => &self.dirty,
        };
        let stripe = ring.lock().pop()?;
        stripe.unlist(list);
        Some(stripe)
    }

    /// Stripes with cached data and their pages, and how many of each there may be.
    pub(crate) fn dirty_load(&self) -> ((usize, usize), (usize, usize)) {
        let pages = self.budget.dirty();
        let limit = self.budget.limit();
        ((self.dirty(), self.max_objects), (pages, limit))
    }

    /// Whether half of the stripe objects or of the pages are cached data's.
    pub(crate) fn is_half_dirty(&self) -> bool {
        let ((stripes, most), (pages, limit)) = self.dirty_load();
        stripes.saturating_mul(2) >= most || pages.saturating_mul(2) >= limit
    }

    /// Stripe objects, pages, and how many of each there may be.
    pub(crate) fn load(&self) -> ((usize, usize), (usize, usize)) {
        let pages = self.budget.pages();
        let limit = self.budget.limit();
        (
            (self.objects.load(Relaxed), self.max_objects),
            (pages, limit),
        )
    }

    /// A stripe counts as without work.
    pub(crate) fn deactivated(&self) {
        self.active.fetch_sub(1, Full);
        self.notify();
    }

    /// Drops the oldest idle stripe. False if there is none.
    pub(super) fn evict_one(&self) -> bool {
        loop {
            let Some(stripe) = self.idle.lock().pop() else {
                return false;
            };
            if self.drop_idle(&stripe) {
                return true;
            }
        }
    }

    fn drop_idle(&self, stripe: &Arc<Stripe>) -> bool {
        let Some(shard) = self.shard(stripe.index()) else {
            return false;
        };
        let mut guard = shard.lock();
        if !stripe.kill() {
            return false;
        }
        let unlinked = Self::unlink(&mut guard, stripe);
        drop(guard);
        if unlinked {
            self.objects.fetch_sub(1, Full);
            self.add_spare(stripe.clone());
        }
        true
    }

    /// Takes a stripe out of its chain.
    fn unlink(shard: &mut Shard, stripe: &Arc<Stripe>) -> bool {
        let tail = stripe.next().access_mut(shard).take();
        if shard.head.as_ref().is_some_and(|s| Arc::ptr_eq(s, stripe)) {
            shard.head = tail;
            return true;
        }
        let mut prev = shard.head.clone();
        while let Some(p) = prev {
            let next = p.next().access(shard).clone();
            if next.as_ref().is_some_and(|s| Arc::ptr_eq(s, stripe)) {
                *p.next().access_mut(shard) = tail;
                return true;
            }
            prev = next;
        }
        false
    }

    /// A stripe that `wanted` picks; for rare walks over all of them. `from`
    /// is 0, or what came with the last one, where the walk goes on.
    pub(crate) fn find_from(
        &self,
        from: usize,
        mut wanted: impl FnMut(&Stripe) -> bool,
    ) -> Option<(Arc<Stripe>, usize)> {
        for (i, shard) in self.shards.iter().enumerate().skip(from) {
            let guard = shard.lock();
            let mut next = guard.head.as_ref();
            while let Some(stripe) = next {
                if wanted(stripe) {
                    return Some((stripe.clone(), i));
                }
                next = stripe.next().access(&guard).as_ref();
            }
        }
        None
    }

    /// Drops all stripes, at the end of the array's run. Breaks the circle of
    /// references between the array and its stripes.
    pub(crate) fn clear(&self) {
        while self.idle.lock().pop().is_some() {}
        while self.dirty.lock().pop().is_some() {}
        while self.full.lock().pop().is_some() {}
        self.drop_spares();
        for shard in &self.shards {
            while let Some(stripe) = Self::pop(shard) {
                drop(stripe);
            }
        }
    }

    /// Takes the first stripe off a chain.
    fn pop(shard: &SpinLock<Shard>) -> Option<Arc<Stripe>> {
        let mut guard = shard.lock();
        let stripe = guard.head.take()?;
        let next = stripe.next().access_mut(&mut guard).take();
        guard.head = next;
        Some(stripe)
    }
}

/// The link of a stripe's chain, which its shard's lock protects.
pub(crate) type Link = LockedBy<Option<Arc<Stripe>>, Shard>;
