// SPDX-License-Identifier: GPL-2.0

//! A stripe as the shell has it: the pure state in its lock, the pages with
//! whoever handles it.

use super::{
    array::Array,
    cache::{Link, List, Shard},
    handle::Handler,
    ops::Place,
    table::PageTable,
};
use crate::{
    block::bio::Piece,
    journal::starved::Starved,
    lib::{
        noio::NoIo,
        worklist::{impl_has_node, Node, Posted},
    },
    raid::{
        mask::RowMask,
        stripe::{apply, Actions, Event, Policy, State, Strip},
        units::DevSector,
    },
};
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{atomic::Full, Arc, LockedBy, Mutex, SpinLock},
    workqueue::{impl_has_delayed_work, new_delayed_work, DelayedWork, WorkItem},
};

/// A part of a request that lies in one strip.
pub(crate) struct Attached {
    pub(crate) piece: Piece,
    pub(crate) slot: usize,
    /// First sector within the strip.
    pub(crate) first: u32,
    pub(crate) write: bool,
    /// Rows that nothing was done about yet.
    pub(crate) todo: RowMask,
    /// Rows whose data was taken and is on its way.
    pub(crate) busy: RowMask,
    pub(crate) failed: bool,
}

impl Attached {
    /// A part that starts `first` sectors into strip `slot`.
    pub(crate) fn new(piece: Piece, slot: usize, first: u32, write: bool) -> Self {
        let rows = rows_of(first, piece.sectors());
        Self {
            piece,
            slot,
            first,
            write,
            todo: rows,
            busy: RowMask::EMPTY,
            failed: false,
        }
    }

    /// Rows of which the part covers the whole page.
    pub(crate) fn full_rows(&self) -> RowMask {
        let start = self.first.div_ceil(8);
        let end = self.first.saturating_add(self.piece.sectors()) / 8;
        RowMask::range(start, end.saturating_sub(start))
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        (self.todo | self.busy).is_empty()
    }

    /// The part's bytes in `row`: (bytes into the part, bytes into the page,
    /// length).
    pub(crate) fn span(&self, row: u32) -> (u32, u32, u32) {
        let page = row.saturating_mul(8);
        let end = self.first.saturating_add(self.piece.sectors());
        let from = core::cmp::max(self.first, page);
        let to = core::cmp::min(end, page.saturating_add(8));
        (
            from.saturating_sub(self.first) << 9,
            from.saturating_sub(page) << 9,
            to.saturating_sub(from) << 9,
        )
    }
}

/// The rows of `sectors` sectors from the `first` of a strip.
pub(crate) fn rows_of(first: u32, sectors: u32) -> RowMask {
    let end = first.saturating_add(sectors);
    RowMask::range(first / 8, end.div_ceil(8).saturating_sub(first / 8))
}

/// What the stripe's lock protects.
pub(crate) struct Inner {
    pub(crate) st: State,
    pub(crate) strips: KVec<Strip>,
    pub(crate) acts: Actions,
    /// Parts that the handler has not taken over yet.
    pub(crate) incoming: KVec<Attached>,
    /// Something changed since the handler last looked.
    pub(crate) again: bool,
    /// Counted as having work.
    pub(crate) active: bool,
    /// Dropped from the cache: look the stripe up anew.
    dead: bool,
    /// In the ring of idle stripes.
    listed: bool,
    /// In the ring of dirty stripes.
    dirty: bool,
    /// In the ring of full stripes.
    full: bool,
    /// Pages that it is listed with in either.
    dirty_pages: usize,
    /// Waits for md to record a failure, or for the journal to come back.
    pub(crate) parked: bool,
    /// Whether rows of it wait for room in the journal; see `Array::feed`.
    pub(crate) starved: Starved,
    /// There may be room now.
    pub(crate) retry_journal: bool,
    /// Partial writes may be held back for a moment.
    pub(crate) hold: bool,
    /// Rows that are.
    pub(crate) held: RowMask,
    /// Counted in `Array::syncs`.
    pub(crate) syncing: bool,
}

/// One stripe.
#[pin_data]
pub(crate) struct Stripe {
    array: Arc<Array>,
    index: u64,
    next: Link,
    #[pin]
    pub(super) inner: SpinLock<Inner>,
    #[pin]
    pub(super) work: Mutex<Handler>,
    #[pin]
    deferred: DelayedWork<Stripe>,
    /// For the worklist.
    node: Node,
}

impl_has_node! { Stripe { self.node } }

impl Posted for Stripe {
    fn work(this: Arc<Stripe>) {
        let _noio = NoIo::enter();
        Stripe::handle(&this);
    }
}

impl_has_delayed_work! {
    impl HasDelayedWork<Stripe> for Stripe { self.deferred }
}

impl WorkItem for Stripe {
    type Pointer = Arc<Stripe>;

    /// The time of what is held back is over.
    fn run(this: Arc<Stripe>) {
        let _noio = NoIo::enter();
        let lost = {
            let mut inner = this.inner.lock();
            inner.hold = false;
            inner.again = true;
            core::mem::take(&mut inner.held).any()
        };
        if lost {
            this.array.hold.lock().lost();
        }
        Stripe::handle(&this);
        this.array.timers.fetch_sub(1, Full);
    }
}

/// Parts that a stripe can take before its list has to grow.
const INCOMING: usize = 4;

/// How long a partial write may be held back, in milliseconds.
const HOLD_MS: u32 = 2;

impl Stripe {
    /// Makes stripe `index` of `array`, for the chain of `shard`.
    pub(crate) fn new(
        array: &Arc<Array>,
        index: u64,
        shard: &SpinLock<Shard>,
    ) -> Result<Arc<Self>> {
        let rows = array.geo.rows_per_stripe();
        let members = array.members.len();
        let place = Place::new(&array.geo, array.stripe_sector(index))?;
        let strips = KVec::from_elem(Strip::new(), members, GFP_KERNEL)?;
        let incoming = KVec::with_capacity(INCOMING, GFP_KERNEL)?;
        let st = State::new(rows, place.p, place.q);
        let pages = PageTable::new(
            members,
            usize::try_from(rows)?,
            array.cache.budget().clone(),
        )?;
        let handler = Handler::new(members, place, pages)?;
        Arc::pin_init(
            pin_init!(Self {
                array: array.clone(),
                index,
                next: LockedBy::new(shard, None),
                inner <- new_spinlock!(Inner {
                    st,
                    strips,
                    acts: Actions::default(),
                    incoming,
                    again: false,
                    active: false,
                    dead: false,
                    listed: false,
                    dirty: false,
                    full: false,
                    dirty_pages: 0,
                    parked: false,
                    starved: Starved::new(),
                    retry_journal: false,
                    hold: false,
                    held: RowMask::EMPTY,
                    syncing: false,
                }, "raid5c::stripe"),
                work <- new_mutex!(handler, "raid5c::handler"),
                deferred <- new_delayed_work!("raid5c::stripe"),
                node: Node::of::<Self>(),
            }),
            GFP_KERNEL,
        )
    }

    /// The array.
    pub(crate) fn array(&self) -> &Arc<Array> {
        &self.array
    }

    /// Which stripe of its array it is.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// First member sector.
    pub(crate) fn sector(&self) -> u64 {
        self.array.stripe_sector(self.index).get()
    }

    /// The member sector behind its last.
    pub(super) fn end(&self) -> u64 {
        let sectors = u64::from(self.array.geo.strip_sectors());
        self.sector().saturating_add(sectors)
    }

    /// First member sector of one of its rows.
    pub(super) fn row_sector(&self, row: u32) -> DevSector {
        DevSector::new(self.sector().wrapping_add(u64::from(row).wrapping_mul(8)))
    }

    /// The cache's link.
    pub(super) fn next(&self) -> &Link {
        &self.next
    }

    /// Marks an idle stripe as dropped. False if it has work, or got some
    /// since it was listed; it is then not listed any more.
    pub(super) fn kill(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.listed = false;
        let cached = inner.st.dirty(&inner.strips).any();
        if inner.active || inner.dead || cached {
            return false;
        }
        inner.dead = true;
        true
    }

    /// Whether the stripe waited for md to record something; it does not any
    /// more.
    pub(super) fn take_parked(&self) -> bool {
        let mut inner = self.inner.lock();
        let was = core::mem::replace(&mut inner.parked, false);
        // Or a handler that is just going would not look again.
        inner.again |= was;
        was
    }

    /// Rows of the stripe wait for room in the journal.
    pub(super) fn set_starved(&self, feeding: u64) {
        self.inner.lock().starved.leave(feeding);
    }

    /// Whether rows wait for room in the journal.
    pub(super) fn is_starved(&self) -> bool {
        self.inner.lock().starved.is_any()
    }

    /// Whether rows waited for room in the journal since before `feeding`;
    /// they try again when the stripe is handled.
    pub(super) fn take_starved(&self, feeding: u64) -> bool {
        let mut inner = self.inner.lock();
        if !inner.starved.feed(feeding) {
            return false;
        }
        inner.retry_journal = true;
        inner.again = true;
        true
    }

    /// It is not in the ring any more, or the ring had no place for it.
    pub(super) fn unlist(&self, list: List) {
        let mut inner = self.inner.lock();
        match list {
            List::Idle => inner.listed = false,
            List::Dirty => inner.dirty = false,
            List::Full => inner.full = false,
        }
        if !inner.dirty && !inner.full {
            let pages = core::mem::take(&mut inner.dirty_pages);
            self.array.cache.budget().note_dirty(pages, 0);
        }
    }

    /// Has what is cached written out; false if nothing is, or it is on its way.
    /// The caller has the stripe handled.
    pub(super) fn write_out(&self) -> bool {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let rows = inner.st.resting(&inner.strips);
        if rows.is_empty() || inner.dead {
            return false;
        }
        inner.st.want_out(&inner.strips, rows);
        inner.again = true;
        if !inner.active {
            self.array.cache.activated();
            inner.active = true;
        }
        true
    }

    /// Whether anything is cached, but what cannot be written out.
    pub(super) fn is_resting(&self) -> bool {
        let inner = self.inner.lock();
        inner.st.resting(&inner.strips).any()
    }

    /// The same, or is on its way to the members.
    pub(super) fn has_cached(&self) -> bool {
        let inner = self.inner.lock();
        inner.st.cached(&inner.strips).any()
    }

    /// Calls `f` with each slot of which rows are cached, and these.
    pub(super) fn for_each_cached(&self, mut f: impl FnMut(usize, RowMask)) {
        let inner = self.inner.lock();
        for (slot, strip) in inner.strips.iter().enumerate() {
            if strip.cached().any() {
                f(slot, strip.cached());
            }
        }
    }

    /// How many rows are cached.
    pub(super) fn cached_rows(&self) -> u32 {
        let inner = self.inner.lock();
        inner.st.dirty(&inner.strips).count()
    }

    /// Whether anything that was acknowledged is not on the members, but what cannot be written out.
    pub(super) fn is_unwritten(&self) -> bool {
        let inner = self.inner.lock();
        inner.st.not_on_members(&inner.strips).any()
    }

    /// Whether something cached cannot be written out.
    pub(super) fn is_stuck(&self) -> bool {
        let inner = self.inner.lock();
        inner
            .st
            .dirty(&inner.strips)
            .minus(inner.st.cached(&inner.strips))
            .any()
    }

    /// Whether a read of `rows` of strip `slot` has to come here.
    pub(super) fn is_newer(&self, slot: usize, rows: RowMask) -> bool {
        let inner = self.inner.lock();
        (inner.st.newer(&inner.strips, slot) & rows).any()
    }

    /// Has `f` put work into the stripe under its lock. False if the stripe
    /// was dropped meanwhile. The caller has the stripe handled afterwards, and
    /// is itself counted as work of the array until then.
    ///
    /// `room` parts can be pushed to `incoming`.
    pub(crate) fn attach(
        self: &Arc<Self>,
        room: usize,
        f: impl FnOnce(&mut Inner),
    ) -> Result<bool> {
        loop {
            let mut inner = self.inner.lock();
            if inner.dead {
                return Ok(false);
            }
            let have = inner
                .incoming
                .capacity()
                .saturating_sub(inner.incoming.len());
            if have < room {
                let want = inner
                    .incoming
                    .capacity()
                    .saturating_mul(2)
                    .saturating_add(room);
                drop(inner);
                self.grow_incoming(want)?;
                continue;
            }
            if !inner.active {
                self.array.cache.activated();
                inner.active = true;
            }
            inner.again = true;
            f(&mut inner);
            return Ok(true);
        }
    }

    fn grow_incoming(&self, want: usize) -> Result {
        let mut new = KVec::with_capacity(want, GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        if new.capacity() > inner.incoming.len() {
            core::mem::swap(&mut new, &mut inner.incoming);
            let inner = &mut *inner;
            for a in new.drain_all() {
                // There is room: the new list is longer than the old.
                let _ = inner.incoming.push_within_capacity(a);
            }
        }
        Ok(())
    }

    /// Something happened: `event`. The caller has the stripe handled.
    pub(crate) fn event(&self, event: Event) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.again = true;
        self.array.refresh(self.index, &mut inner.strips);
        let policy = self.array.policy();
        apply(
            &mut inner.st,
            &mut inner.strips,
            event,
            &policy,
            &mut inner.acts,
        );
    }

    /// Has the stripe looked at again after a while, and no longer held back.
    pub(super) fn hold_back(self: &Arc<Self>) {
        self.array.timers.fetch_add(1, Full);
        let delay = kernel::time::msecs_to_jiffies(HOLD_MS);
        let queue = self.array.queue.near().queue();
        if queue.enqueue_delayed(self.clone(), delay).is_err() {
            // The timer runs already.
            self.array.timers.fetch_sub(1, Full);
        }
    }

    /// Counts the stripe as without work if it is; then the list that it belongs
    /// on, if it is not there.
    pub(super) fn settle(
        &self,
        inner: &mut Inner,
        policy: &Policy,
        work: &Handler,
    ) -> Option<Option<List>> {
        if !inner.active
            || inner.again
            || !work.parts.is_empty()
            || !inner.incoming.is_empty()
            || !inner.st.is_idle(&inner.strips, policy)
        {
            return None;
        }
        inner.active = false;
        inner.parked = false;
        let cached = inner.st.cached(&inner.strips).any();
        if cached {
            let old = core::mem::replace(&mut inner.dirty_pages, work.pages.count());
            let budget = self.array.cache.budget();
            budget.note_dirty(old, inner.dirty_pages);
        }
        let (flag, list) = if cached && inner.st.is_full(&inner.strips) {
            (&mut inner.full, List::Full)
        } else if cached {
            (&mut inner.dirty, List::Dirty)
        } else if inner.st.dirty(&inner.strips).any() {
            // Stuck: it stays.
            return Some(None);
        } else {
            (&mut inner.listed, List::Idle)
        };
        let was = core::mem::replace(flag, true);
        Some((!was).then_some(list))
    }
}
