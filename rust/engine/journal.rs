// SPDX-License-Identifier: GPL-2.0

//! The write journal's shell: fills units, writes and flushes them, and passes
//! rows on when the log (`journal::log`) says that they are stable, or ordered
//! where that is enough.
//!
//! Units are committed in groups: with few writes in flight a unit is written
//! as soon as a stripe has put its rows into it; with more, it stays open until
//! one of them is done, and takes the rows that come meanwhile.

use super::{
    array::Array,
    counters::Count,
    flush::Waiters,
    journal_io::{Body, EmptyUnit, Filling, FlushIo, Open, UnitIo, UnitPages, LABEL},
    journal_memory::{FlushDue, Spares},
    stripe::Stripe,
    work::Handler,
};
use crate::{
    block::round::{Builder, Op},
    journal::{
        format::{JournalBlock, MetaBuilder},
        log::{
            ordered::Barrier, FlushFor, FlushTicket, JournalCache, Log, PlaceError, Placed, WaitFor,
        },
        pressure::is_tight,
        ring::Ring,
        unit::{Position, Unit, UnitRef},
    },
    lib::{
        checksum::{crc32c, crc32c_page},
        noio::NoIo,
        page::Page,
        trace::{trace, Append, Kind, UnitWritten},
        worklist::{impl_has_node, Node, Posted},
    },
    md::rdev::{Rdev, RdevFlag, RdevRef, RdevSlot},
    raid::{
        mask::RowMask,
        stripe::Event,
        units::{DevSector, Slot},
    },
};
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full},
        Arc, Mutex, SpinLock,
    },
};

/// Units that can be on their way at once.
const UNITS: usize = 2048;

/// Unit writes in flight above which a unit stays open for more rows.
const DEPTH: usize = 4;

/// Flushes of the journal in flight at most.
const FLUSHES: u8 = 2;

/// What the log's lock protects.
pub(super) struct State {
    pub(super) log: Log<KVVec<Unit>>,
    /// Units that were submitted, by descriptor.
    pub(super) submitted: KVVec<Option<Arc<UnitIo>>>,
    /// Flushes of users that wait for units to become stable.
    pub(super) waiters: Waiters,
    /// Those that came when the journal was lost.
    pub(super) late: Waiters,
    /// Some of these are being done.
    pub(super) late_in_hand: bool,
}

/// The journal of an array.
#[pin_data]
pub(crate) struct Journal {
    pub(super) array: Arc<Array>,
    rdev: RdevSlot,
    /// The device has a volatile cache.
    volatile: bool,
    /// Seeds all checksums: crc32c of the array's uuid.
    pub(super) seed: u32,
    ring: Ring,
    #[pin]
    pub(super) state: SpinLock<State>,
    #[pin]
    open: Mutex<Filling>,
    /// What is kept for when there is no memory.
    #[pin]
    pub(super) spares: SpinLock<Spares>,
    /// Something was not issued for want of memory.
    pub(super) unissued: Atomic<u32>,
    /// Unit writes in flight.
    pub(super) writes: Atomic<usize>,
    /// Rows wait because all unit descriptors were in use.
    pub(super) busy: Atomic<u32>,
    /// One task at a time moves the tail, or closes the log with a unit without rows.
    #[pin]
    pub(super) reclaiming: Mutex<EmptyUnit>,
    /// For the worklist.
    node: Node,
}

impl_has_node! { Journal { self.node } }

impl Posted for Journal {
    fn work(this: Arc<Journal>) {
        let _noio = NoIo::enter();
        this.commit_if_idle();
    }
}

/// A place in room that was promised; that there is none is a mistake of ours.
fn promised(placed: Result<Placed, PlaceError>) -> Result<Placed, PlaceError> {
    match placed {
        Err(PlaceError::NoSpace | PlaceError::Busy) => Err(PlaceError::TooLarge),
        other => other,
    }
}

/// The seed of a journal's checksums.
pub(super) fn seed(array: &Array) -> u32 {
    crc32c(!0, &array.mddev.uuid())
}

impl Journal {
    /// A journal on `rdev` whose log is empty between `tail` and `head`.
    pub(super) fn new(
        array: &Arc<Array>,
        rdev: &Rdev,
        ring: Ring,
        (tail, head): (Position, Position),
        empty: EmptyUnit,
    ) -> Result<Arc<Self>> {
        let units = KVVec::from_elem(Unit::VACANT, UNITS, GFP_KERNEL)?;
        let volatile = rdev.has_write_cache();
        let cache = if volatile {
            JournalCache::Volatile {
                max_flushes: FLUSHES,
            }
        } else {
            JournalCache::None
        };
        let mut log = Log::new(units, ring, tail, head, cache).ok_or(EINVAL)?;
        log.set_row(array.geo.data_disks(), array.geo.parity_disks());
        let mut submitted = KVVec::with_capacity(UNITS, GFP_KERNEL)?;
        for _ in 0..UNITS {
            submitted.push(None, GFP_KERNEL)?;
        }
        let device = RdevSlot::new();
        device.set(rdev);
        Arc::pin_init(
            pin_init!(Self {
                array: array.clone(),
                rdev: device,
                volatile,
                seed: seed(array),
                ring,
                state <- new_spinlock!(
                    State {
                        log,
                        submitted,
                        waiters: Waiters::new(),
                        late: Waiters::new(),
                        late_in_hand: false,
                    },
                    "raid5c::log"
                ),
                open <- new_mutex!(Filling { open: None, next: None }, "raid5c::open"),
                spares <- new_spinlock!(Spares::new(), "raid5c::spare_units"),
                unissued: Atomic::new(0),
                writes: Atomic::new(0),
                busy: Atomic::new(0),
                reclaiming <- new_mutex!(empty, "raid5c::reclaim"),
                node: Node::of::<Self>(),
            }),
            GFP_KERNEL,
        )
    }

    /// The device, if it works.
    pub(super) fn device(&self) -> Option<RdevRef> {
        self.rdev.get().filter(|r| !r.flag(RdevFlag::Faulty))
    }

    /// Lets go of the device; `EBUSY` if it is in use.
    pub(super) fn detach(&self, rdev: &Rdev) -> Result {
        self.rdev.remove(rdev)
    }

    /// Whether `rdev` is the journal's device.
    pub(super) fn is_on(&self, rdev: &Rdev) -> bool {
        self.rdev.is(rdev)
    }

    /// Promises room to rows that are to be cached; returns to how many.
    pub(super) fn grant(&self, want: u32) -> u32 {
        self.state.lock().log.grant(want)
    }

    /// Gives back what was promised to `rows` rows.
    pub(super) fn give_back(&self, rows: u32) {
        if rows > 0 && self.state.lock().log.give_back(rows) {
            self.array.want_feed();
        }
    }

    /// Appends the write of `rows` of a stripe. Rows for which there is no room
    /// are left in `work.journal_wait`.
    pub(super) fn append(
        self: &Arc<Self>,
        stripe: &Arc<Stripe>,
        work: &mut Handler,
        rows: RowMask,
    ) {
        let feeding = self.array.feeding();
        let mut busy = false;
        for row in rows.iter() {
            let hopeless = self.array.has_failed() && !work.out.has(row);
            if hopeless || self.device().is_none() {
                // The rows will never get anywhere, nor will there be space.
                self.fail_row(stripe, row);
                continue;
            }
            if !work.has_units() {
                work.journal_wait.insert(RowMask::single(row));
                self.lack_memory();
                continue;
            }
            match self.append_row(stripe, work, row) {
                Ok(Some(unit)) => work.note_unit(row, unit),
                Ok(None) => {}
                Err(PlaceError::NoSpace) => work.journal_wait.insert(RowMask::single(row)),
                Err(PlaceError::Busy) => {
                    busy = true;
                    self.busy.xchg(1, Full);
                    work.journal_wait.insert(RowMask::single(row));
                }
                Err(PlaceError::TooLarge) => {
                    pr_err!(
                        "{}: internal error: the journal has no room for a row of the stripe at member sector {} that it should have room for; please report this\n",
                        self.array.mddev.name(),
                        stripe.sector()
                    );
                    // Or the row would be tried for ever.
                    self.device_failed();
                    self.fail_row(stripe, row);
                }
                Err(PlaceError::Failed) => self.fail_row(stripe, row),
            }
        }
        if work.journal_wait.any() {
            stripe.set_starved(feeding);
            self.commit();
            // Room that came between the try and the note fed nobody.
            let missed = self.array.feeding() != feeding;
            if missed || (busy && self.state.lock().log.spare_units() > 0) {
                self.array.want_feed();
            } else {
                self.array.wake_reclaim();
            }
        } else {
            self.commit_soon();
        }
    }

    fn fail_row(&self, stripe: &Arc<Stripe>, row: u32) {
        stripe.event(Event::JournalDone {
            rows: RowMask::single(row),
            ok: false,
        });
    }

    /// Takes the checksums of what is to be appended of a row; how many pages of data
    /// and of parity that is.
    fn sum_row(&self, work: &mut Handler, row: u32) -> Result<(u32, u32), PlaceError> {
        let (mut data, mut parity) = (0u32, 0u32);
        let out = work.out.has(row);
        for (slot, task) in work.tasks.iter_mut().enumerate() {
            if !task.written.has(row) || (out && !work.place.is_parity(slot)) {
                continue;
            }
            let page = work.pages.get(slot, row).ok_or(PlaceError::TooLarge)?;
            task.sum = crc32c_page(self.seed, page);
            if work.place.is_parity(slot) {
                parity = parity.wrapping_add(1);
            } else {
                data = data.wrapping_add(1);
            }
        }
        Ok((data, parity))
    }

    fn append_row(
        self: &Arc<Self>,
        stripe: &Arc<Stripe>,
        work: &mut Handler,
        row: u32,
    ) -> Result<Option<UnitRef>, PlaceError> {
        let (data, parity) = self.sum_row(work, row)?;
        let mut guard = self.open.lock();
        if guard.next.is_none() && !self.prepare(&mut guard) {
            drop(guard);
            self.lack_memory();
            return Err(PlaceError::NoSpace);
        }
        let early = parity == 0 && data > 0 && !guard.has_spare() && self.may_end_early(work, row);
        let wait = match early {
            true => WaitFor::Ordered,
            false => WaitFor::Stable,
        };
        let first = !work.is_cached(row);
        let (placed, tight) = {
            let log = &mut self.state.lock().log;
            let placed = match (data, parity) {
                (0, _) => promised(log.place_parity(parity)),
                (_, 0) => promised(log.place_data(data, first, wait)),
                (_, _) => log.place(data, parity),
            }?;
            (placed, parity == 0 && is_tight(log.load()))
        };
        if tight {
            self.array.wake_reclaim();
        }
        let full = self.follow(&mut guard, &placed);
        let entered = match &mut guard.open {
            Some(open) => self
                .enter_row(open, stripe, work, row)
                .and_then(|()| open.io.rows.lock().add(stripe, RowMask::single(row), early)),
            None => Err(EINVAL),
        };
        if entered.is_ok() {
            let dev = stripe.row_sector(row);
            self.note_row(placed.unit, dev, (data, parity), first);
        }
        drop(guard);
        if let Some(full) = full {
            self.submit(full);
        }
        if entered.is_err() {
            // The log counts on what is not there: nothing of this unit, and
            // nothing after it, may become stable.
            pr_err!(
                "{}: internal error: a row does not fit into its journal unit {}; please report this\n",
                self.array.mddev.name(),
                placed.unit.seq()
            );
            self.device_failed();
            return Err(PlaceError::Failed);
        }
        Ok(first.then_some(placed.unit))
    }

    /// Whether cached data of the row ends its write before it is flushed: nobody asked for more,
    /// and the array's users know that they have to flush.
    fn may_end_early(&self, work: &Handler, row: u32) -> bool {
        self.volatile && !work.is_fua(row) && self.array.mddev.has_write_cache()
    }

    /// Counts and traces a row with that many pages of data and of parity in a
    /// unit, which is open, so that nothing is told of the unit before.
    fn note_row(&self, unit: UnitRef, row: DevSector, (data, parity): (u32, u32), first: bool) {
        let counters = &self.array.counters;
        let (what, kind) = match (data, parity) {
            (0, _) => (Count::RowsOut, Kind::WrittenOut),
            (_, 0) if first => (Count::RowsCached, Kind::Cached),
            (_, 0) => (Count::RowsRewritten, Kind::CachedAgain),
            (_, _) => (Count::RowsLogged, Kind::Logged),
        };
        trace(|| Append {
            dev: self.array.mddev.dev(),
            seq: unit.seq(),
            row,
            data,
            parity,
            kind,
        });
        counters.add(what, 1);
        if parity == 0 && data > 0 {
            let pages = data.saturating_add(self.array.geo.parity_disks());
            counters.add(Count::PagesCached, u64::from(pages));
        }
    }

    /// Sees to it that the next unit can be filled.
    fn prepare(self: &Arc<Self>, filling: &mut Filling) -> bool {
        filling.next = self.unit_io();
        filling.next.is_some()
    }

    /// A unit is not filled any more; the end of the journal's run.
    pub(super) fn drop_next(&self) {
        let next = self.open.lock().next.take();
        drop(next);
    }

    /// Whether the device has a volatile cache.
    pub(super) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Keeps the open unit in step with the log's. Returns the one that was
    /// closed, to be submitted without the lock.
    fn follow(&self, filling: &mut Filling, placed: &Placed) -> Option<Open> {
        let full = match placed.closed {
            Some(_) => filling.open.take(),
            None => None,
        };
        if placed.opened {
            // `prepare` saw to it that there is one.
            filling.open = filling
                .next
                .take()
                .and_then(|io| self.open_unit(io, placed.unit));
        }
        full
    }

    fn open_unit(&self, io: Arc<UnitIo>, unit: UnitRef) -> Option<Open> {
        let extent = self.state.lock().log.unit_extent(unit);
        let start = extent.map_or(JournalBlock::new(0), |e| e.start);
        let mut rows = io.rows.lock();
        rows.begin(unit);
        let mut body = rows.body.take()?;
        drop(rows);
        body.used = MetaBuilder::new(&mut body.meta, unit.seq(), start).used();
        Some(Open { io, unit, body })
    }

    /// Puts a row's entries and pages into the open unit: data, then parity.
    fn enter_row(&self, open: &mut Open, stripe: &Arc<Stripe>, work: &Handler, row: u32) -> Result {
        let dev = stripe.row_sector(row);
        let Body {
            meta, used, pages, ..
        } = &mut open.body;
        let mut meta = MetaBuilder::resume(meta, *used);
        for (slot, task) in work.tasks.iter().enumerate() {
            let data = !work.place.is_parity(slot) && !work.out.has(row);
            if !data || !task.written.has(row) {
                continue;
            }
            let slot16 = Slot::new(u16::try_from(slot)?);
            let location = self.array.geo.unmap(dev, slot16).ok_or(EINVAL)?;
            meta.data(location, task.sum).map_err(|_| ENOSPC)?;
            let page = work.pages.get(slot, row).ok_or(EINVAL)?;
            pages
                .push_within_capacity(page.clone())
                .map_err(|_| ENOSPC)?;
        }
        let task = |slot: usize| work.tasks.get(slot).ok_or(EINVAL);
        let place = &work.place;
        if task(place.p)?.written.has(row) {
            let q = match place.q {
                Some(q) => Some(task(q)?.sum),
                None => None,
            };
            meta.parity(dev, task(place.p)?.sum, q)
                .map_err(|_| ENOSPC)?;
            for slot in [Some(place.p), place.q].into_iter().flatten() {
                let page = work.pages.get(slot, row).ok_or(EINVAL)?;
                pages
                    .push_within_capacity(page.clone())
                    .map_err(|_| ENOSPC)?;
            }
        }
        *used = meta.used();
        Ok(())
    }

    /// Writes the open unit after what the worker has at hand now, so that the
    /// rows of that share the unit.
    fn commit_soon(self: &Arc<Self>) {
        if !self.array.queue.post(self, false) {
            self.commit_if_idle();
        }
    }

    /// Writes the open unit if little else is being written.
    fn commit_if_idle(self: &Arc<Self>) {
        if self.writes.fetch_add(0, Full) < DEPTH {
            self.commit();
        }
    }

    /// Writes the open unit.
    fn commit(self: &Arc<Self>) {
        let mut guard = self.open.lock();
        let closed = self.state.lock().log.close_open();
        if closed.is_none() {
            return;
        }
        let open = guard.open.take();
        drop(guard);
        if let Some(open) = open {
            self.submit(open);
        }
    }

    fn submit(self: &Arc<Self>, open: Open) {
        let Open { io, unit, mut body } = open;
        self.writes.fetch_add(1, Full);
        let counters = &self.array.counters;
        counters.add(Count::Units, 1);
        counters.add(Count::UnitBlocks, body.pages.len().saturating_add(1) as u64);
        MetaBuilder::resume(&mut body.meta, body.used).finish(self.seed, crc32c);
        body.meta_page.write(&body.meta);
        {
            let mut rows = io.rows.lock();
            if !io.spare {
                rows.shrink();
            }
            rows.body = Some(body);
        }
        {
            let mut state = self.state.lock();
            if let Some(slot) = state.submitted.get_mut(unit.index()) {
                *slot = Some(io.clone());
            }
        }
        self.issue_unit(&io);
    }

    /// Issues a unit's write, or leaves it for later if there is no memory.
    pub(super) fn issue_unit(self: &Arc<Self>, io: &Arc<UnitIo>) {
        let (unit, body) = {
            let mut rows = io.rows.lock();
            (rows.unit, rows.body.take())
        };
        let Some((unit, body)) = unit.zip(body) else {
            return;
        };
        let built = self.build_unit(io, unit, &body);
        let lacking = matches!(&built, Err(e) if *e == ENOMEM);
        {
            let mut rows = io.rows.lock();
            rows.body = Some(body);
            rows.unissued = lacking;
        }
        match built {
            Ok(round) => round.submit_queued(),
            Err(_) if lacking => {
                self.unissued.xchg(1, Full);
                self.want_memory();
                // It waits for this unit no more.
                self.flush();
            }
            Err(_) => self.unit_written(io, false),
        }
    }

    /// A unit's write: one bio, or two where the ring wraps.
    fn build_unit(&self, io: &Arc<UnitIo>, unit: UnitRef, body: &Body) -> Result<Builder<UnitIo>> {
        let extent = self.state.lock().log.unit_extent(unit).ok_or(EINVAL)?;
        let extents = self.ring.extents(extent.start, u64::from(extent.blocks));
        let all = UnitPages {
            meta: &body.meta_page,
            pages: &body.pages,
        };
        let mut round = Builder::new(io.clone());
        let mut at = 0usize;
        for (start, n) in [Some(extents.first), extents.second].into_iter().flatten() {
            let n = usize::try_from(n)?;
            let rdev = self.device().ok_or(EIO)?;
            let sector = start.sector().wrapping_add(rdev.data_offset());
            round.add(
                &self.array.member_bios,
                rdev,
                Op::Write,
                sector,
                LABEL,
                all.part(at, n),
            )?;
            at = at.wrapping_add(n);
        }
        Ok(round)
    }

    /// A unit's write has ended.
    pub(super) fn unit_written(self: &Arc<Self>, io: &Arc<UnitIo>, ok: bool) {
        let written = io.rows.lock().written(io.spare);
        let Some((unit, body)) = written else {
            return;
        };
        drop(body);
        self.writes.fetch_sub(1, Full);
        if !ok {
            self.device_failed();
        }
        trace(|| {
            let extent = self.state.lock().log.unit_extent(unit)?;
            let dev = self.array.mddev.dev();
            Some(UnitWritten { dev, extent, ok })
        });
        let stale = self.state.lock().log.written(unit, ok).is_err();
        if stale {
            pr_err!(
                "{}: internal error: journal unit {} ended twice; please report this\n",
                self.array.mddev.name(),
                unit.seq()
            );
        }
        // What needs no flush first.
        self.release_early();
        if self.volatile && ok {
            // For the flush to have it, too.
            self.commit_if_idle();
        }
        self.flush();
        self.release();
        self.commit_soon();
    }

    /// Starts a flush of the journal's cache, if rows or users wait for one.
    pub(super) fn flush(self: &Arc<Self>) {
        self.flush_for(None);
    }

    /// The same, also if nothing but `barrier` needs one.
    pub(super) fn flush_for(self: &Arc<Self>, barrier: Option<Barrier>) {
        while let Some(due) = self.next_flush(barrier) {
            let Some(io) = self.flush_io() else {
                return self.leave_flush(due);
            };
            *io.ticket.lock() = Some(due);
            match self.issue_flush(&io) {
                Ok(()) => {}
                Err(e) if e == ENOMEM => {
                    let due = io.ticket.lock().take();
                    if io.spare {
                        self.keep_flush(io);
                    }
                    return due.map_or((), |due| self.leave_flush(due));
                }
                Err(_) => FlushIo::finish(&io, false),
            }
        }
    }

    /// The flush that is to be done next: one that was left, or what the log wants. The array is
    /// not quiesced before it is done.
    fn next_flush(&self, barrier: Option<Barrier>) -> Option<FlushDue> {
        if let Some(due) = self.spares.lock().take_flush() {
            return Some(due);
        }
        // A unit that could not be issued may need what the flush sets free.
        let rows = match self.unissued.load(Acquire) {
            0 => FlushFor::Group,
            _ => FlushFor::Rows,
        };
        let mut state = self.state.lock();
        let newest = state.waiters.newest();
        let users = [barrier, newest].map(|b| b.map(FlushFor::RowsAnd));
        let mut wants = users.into_iter().flatten();
        let ticket = wants
            .find_map(|want| state.log.next_flush(want))
            .or_else(|| state.log.next_flush(rows))?;
        drop(state);
        Some((ticket, Array::enter_now(&self.array)))
    }

    fn issue_flush(&self, io: &Arc<FlushIo>) -> Result {
        let mut round = Builder::new(io.clone());
        let rdev = self.device().ok_or(EIO)?;
        let none: &[Page] = &[];
        round.add(
            &self.array.member_bios,
            rdev,
            Op::Flush,
            0,
            LABEL,
            none.iter(),
        )?;
        self.array.counters.add(Count::Flushes, 1);
        round.submit_queued();
        Ok(())
    }

    /// A flush of the journal has ended.
    pub(super) fn flushed(&self, ticket: FlushTicket, ok: bool) {
        self.state.lock().log.flushed(ticket, ok);
    }

    /// Tells md that the journal does not work any more.
    pub(super) fn device_failed(&self) {
        // Rows that wait for room wait for nothing.
        self.array.want_feed();
        let Some(rdev) = self.device() else {
            return;
        };
        pr_crit!(
            "{}: {}: journal write failed\n",
            self.array.mddev.name(),
            rdev.name()
        );
        self.array.mddev.error(&rdev);
    }
}
