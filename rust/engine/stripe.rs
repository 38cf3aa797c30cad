// SPDX-License-Identifier: GPL-2.0

//! A stripe as the shell has it: the pure state in its lock, the pages with
//! whoever handles it.

use super::{
    array::{Array, JournalState},
    cache::{Link, List, Shard},
    ops::Place,
    table::PageTable,
    work::{Handler, PARTS},
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
    alloc::Flags,
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
    /// Of these, the rows whose data the op that is to be done takes.
    pub(crate) due: RowMask,
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
            due: RowMask::EMPTY,
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
    /// Of all parts, those of the handler too.
    pub(super) parts: usize,
    /// So many parts the handler has room for, if it takes `larger`.
    room: usize,
    /// A list that the handler is to use instead of its own.
    pub(super) larger: KVec<Attached>,
    /// The handler left something for want of memory.
    pub(super) short: bool,
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

impl Inner {
    /// Tells the planner of an event.
    pub(super) fn apply(&mut self, event: Event, policy: &Policy) {
        apply(
            &mut self.st,
            &mut self.strips,
            event,
            policy,
            &mut self.acts,
        );
    }
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

/// How long a partial write may be held back, in milliseconds.
const HOLD_MS: u32 = 2;

impl Stripe {
    /// Makes stripe `index` of `array`, for the chain of `shard`.
    pub(crate) fn new(
        array: &Arc<Array>,
        index: u64,
        shard: &SpinLock<Shard>,
        gfp: Flags,
    ) -> Result<Arc<Self>> {
        let rows = array.geo.rows_per_stripe();
        let members = array.members.len();
        let place = Place::new(&array.geo, array.stripe_sector(index), gfp)?;
        let strips = KVec::from_elem(Strip::new(), members, gfp)?;
        let incoming = KVec::with_capacity(core::cmp::max(PARTS, members), gfp)?;
        let st = State::new(rows, place.p, place.q);
        let journal = array.journal_state() != JournalState::None;
        let pages = PageTable::new(
            members,
            usize::try_from(rows)?,
            journal,
            array.cache.budget().clone(),
            gfp,
        )?;
        let handler = Handler::new(members, place, pages, journal, gfp)?;
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
                    parts: 0,
                    room: core::cmp::max(PARTS, members),
                    larger: KVec::new(),
                    short: false,
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
            gfp,
        )
    }

    /// Makes a stripe that was dropped into stripe `index`, for the chain of `shard`.
    /// None if somebody still looks at it, who then frees it, or if there is no memory for what a
    /// journal needs, which the array got since.
    pub(super) fn reuse(this: Arc<Self>, index: u64, shard: &SpinLock<Shard>) -> Option<Arc<Self>> {
        let mut this = Arc::into_unique_or_drop(this)?;
        {
            let array = &this.array;
            let mut work = this.work.lock();
            work.reset();
            if array.journal_state() != JournalState::None && !work.has_journal() {
                return None;
            }
            let sector = array.stripe_sector(index);
            work.place.reset(&array.geo, sector);
            let mut guard = this.inner.lock();
            let inner = &mut *guard;
            inner.st = State::new(array.geo.rows_per_stripe(), work.place.p, work.place.q);
            for strip in inner.strips.iter_mut() {
                *strip = Strip::new();
            }
            inner.acts = Actions::default();
            inner.starved = Starved::new();
            (inner.again, inner.dead, inner.short) = (false, false, false);
            (inner.retry_journal, inner.hold, inner.held) = (false, false, RowMask::EMPTY);
        }
        let fields = this.as_mut().project();
        *fields.index = index;
        *fields.next = LockedBy::new(shard, None);
        Some(this.into())
    }

    /// Whether a handler that is done has to look again. One whose stripe was dropped meanwhile
    /// frees its pages.
    pub(super) fn goes_on(&self) -> bool {
        let (again, dead) = {
            let inner = self.inner.lock();
            (inner.again, inner.dead)
        };
        if dead {
            self.strip();
        }
        again
    }

    /// Frees the pages of a stripe that was dropped.
    pub(super) fn strip(&self) {
        if let Some(mut work) = self.work.try_lock() {
            work.pages.drop_all();
        }
    }

    /// Whether its lists grew for a burst of parts, and had better be freed.
    pub(super) fn is_large(&self) -> bool {
        let inner = self.inner.lock();
        inner.room > core::cmp::max(PARTS, inner.strips.len()).saturating_mul(4)
    }

    /// A stripe that was never in the cache, to be used when there is no memory.
    pub(super) fn spare(array: &Arc<Array>, shard: &SpinLock<Shard>) -> Result<Arc<Self>> {
        let stripe = Self::new(array, 0, shard, GFP_KERNEL)?;
        stripe.inner.lock().dead = true;
        Ok(stripe)
    }

    /// Whether the handler left something for want of memory; it tries again when
    /// the stripe is handled.
    pub(super) fn take_short(&self) -> bool {
        let mut inner = self.inner.lock();
        let was = core::mem::replace(&mut inner.short, false);
        // Or a handler that is just going would not look again.
        inner.again |= was;
        was
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
            let want = inner.parts.saturating_add(room);
            let here = inner.incoming.len().saturating_add(room);
            if inner.incoming.capacity() < here || inner.room < want {
                drop(inner);
                self.make_room(want.saturating_mul(2))?;
                continue;
            }
            inner.parts = want;
            if !inner.active {
                self.array.cache.activated();
                inner.active = true;
            }
            inner.again = true;
            f(&mut inner);
            return Ok(true);
        }
    }

    /// Makes room for `want` parts, in the list of those that came and in the
    /// handler's: that one does not allocate. An error if there is no memory; then
    /// there is room again when parts have ended.
    fn make_room(&self, want: usize) -> Result {
        let mut new = KVec::with_capacity(want, GFP_NOWAIT)?;
        let mut larger = KVec::with_capacity(want, GFP_NOWAIT)?;
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if new.capacity() > inner.incoming.capacity() {
            core::mem::swap(&mut new, &mut inner.incoming);
            for a in new.drain_all() {
                // There is room: the new list is longer than the old.
                let _ = inner.incoming.push_within_capacity(a);
            }
        }
        if want > inner.room {
            core::mem::swap(&mut larger, &mut inner.larger);
            inner.room = want;
        }
        drop(guard);
        Ok(())
    }

    /// Something happened: `event`. The caller has the stripe handled.
    pub(crate) fn event(&self, event: Event) {
        self.events(&[event]);
    }

    /// The same, of several that happened one after the other.
    pub(super) fn events(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        self.locked(|inner, policy| {
            for event in events {
                inner.apply(*event, policy);
            }
        });
    }

    /// Has the planner told of events by `tell`.
    pub(super) fn locked(&self, tell: impl FnOnce(&mut Inner, &Policy)) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.again = true;
        let policy = self.array.view(self.index, &mut inner.strips);
        tell(inner, &policy);
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
