// SPDX-License-Identifier: GPL-2.0

//! One array: what all its stripes share.

use super::{
    budget::Loan, cache::Cache, counters::Counters, journal::Journal, journal_io::FlushIo,
    journal_io::UnitIo, members::Members, replay::Wave, stripe::Stripe, tunables::Tunables,
};
use crate::{
    block::{
        bioset::BioSet,
        direct::{self, InFlight},
        round,
    },
    journal::pressure::{is_enough, Ages},
    lib::{debugfs, noio::NoIo, shrinker::Shrinker, worklist::Worklist},
    md::{
        mddev::{Flag, Mddev, MddevRef, Recovery},
        rdev::{Rdev, RdevFlag},
        thread::OwnThread,
    },
    raid::{
        geometry::Geometry,
        hold::Hold,
        stripe::{Policy, Strip},
        units::DevSector,
    },
};
use core::num::NonZeroU64;
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed},
        Arc, Mutex, SpinLock,
    },
    time::{delay::fsleep, Delta},
    workqueue::{new_delayed_work, DelayedWork},
};

/// Bios that a pool keeps for when memory is short.
const POOL: u32 = 64;

/// Bios that are kept for those who must not wait for one.
const SPARE_BIOS: usize = 32;

// The rounds of all owners fit in front of the pool's bios.
const _: () = {
    let room = round::front_pad::<Stripe>();
    assert!(room == round::front_pad::<UnitIo>() && room == round::front_pad::<FlushIo>());
    assert!(room == round::front_pad::<Wave>());
};

/// Default number of rows per member that the cache may hold.
pub(crate) const DEFAULT_ROWS: usize = 256;

/// The cache may grow to this many rows per member while there is work, as long as nobody says how
/// many there may be.
const BUSY_ROWS: usize = 1024;

/// Stripes that the cache may have, however few their pages are.
const MAX_STRIPES: usize = 1024;

/// Writes of this many sectors are likely to be part of something longer, and
/// take long.
pub(super) const LARGE: u32 = 128;

/// The reclaim thread looks this often even if nobody wakes it.
const RECLAIM_PERIOD_MS: u32 = 5000;

/// Work that nobody waits for has so much time when the array is freed.
const SETTLE_MS: u32 = 10_000;

fn nonzero(n: u64) -> Result<NonZeroU64> {
    NonZeroU64::new(n).ok_or(EINVAL)
}

/// Gives the machine a moment to free memory. For threads that nobody waits for;
/// submitters have [`Array::wait_for_memory`].
pub(crate) fn wait_for_memory() {
    fsleep(Delta::from_millis(5));
}

/// An array of level 4, 5 or 6.
#[pin_data]
pub(crate) struct Array {
    /// Direct reads in flight. First, so that it is dropped first.
    pub(crate) direct_reads: InFlight,
    pub(crate) mddev: MddevRef,
    pub(crate) geo: Geometry,
    /// Sectors of a strip.
    pub(crate) strip: NonZeroU64,
    /// Sectors of a chunk.
    pub(crate) chunk: NonZeroU64,
    /// Sectors of a row of data chunks.
    pub(crate) row: NonZeroU64,
    pub(crate) members: Members,
    /// For all bios to members and journal. One pool: a task that waits for a
    /// bio of one pool while it holds some of another could wait for a task
    /// that does the reverse.
    #[pin]
    pub(crate) member_bios: BioSet,
    #[pin]
    pub(crate) split_bios: BioSet,
    pub(crate) queue: Worklist,
    #[pin]
    pub(crate) cache: Cache,
    /// `stripe_cache_size`: rows per member.
    cache_rows: Atomic<usize>,
    pub(super) tunables: Tunables,
    journal_state: Atomic<u32>,
    #[pin]
    journal: SpinLock<Option<Arc<Journal>>>,
    #[pin]
    pub(super) reclaim: SpinLock<Option<OwnThread<Array>>>,
    /// The reclaim thread has something to look at.
    pub(super) reclaim_wanted: Atomic<u32>,
    /// Stripes may find room in the journal now.
    pub(super) feed_wanted: Atomic<u32>,
    pub(super) feedings: Atomic<u64>,
    /// Where in the cache the next feeding begins.
    pub(super) feed_from: Atomic<usize>,
    /// A device failed since md's thread last looked.
    trouble: Atomic<u32>,
    pub(super) stopping: Atomic<u32>,
    /// Stripes of which a sync is under way.
    pub(crate) syncs: Atomic<usize>,
    /// Requests that are being taken in.
    turns: Atomic<usize>,
    /// New work has to wait.
    quiesced: Atomic<usize>,
    /// Whether holding partial writes back pays.
    #[pin]
    pub(crate) hold: SpinLock<Hold>,
    /// Stripes whose timer runs.
    pub(crate) timers: Atomic<usize>,
    /// Held while what cannot be read although it was rewritten is judged.
    #[pin]
    pub(super) judging: Mutex<()>,
    /// Looks again after those that lack memory.
    #[pin]
    pub(super) retry: DelayedWork<Array>,
    pub(super) retry_wanted: Atomic<u32>,
    /// Where in the cache the next of them is looked for.
    pub(super) short_from: Atomic<usize>,
    /// Where the last write ended, in array sectors.
    pub(crate) last_end: Atomic<u64>,
    /// The journal's mode is write-back.
    write_back: Atomic<u32>,
    /// Something may be cached: reads have to look.
    may_cache: Atomic<u32>,
    /// Of the dirty stripes, and of the full ones.
    #[pin]
    pub(super) ages: SpinLock<[Ages; 2]>,
    pub(super) counters: Counters,
    /// Shows the counters; a circle of references, which `free` breaks.
    #[pin]
    counters_file: SpinLock<Option<debugfs::Counters<Self>>>,
    /// Also a circle of references that `free` breaks.
    #[pin]
    pub(super) shrinker: SpinLock<Option<Shrinker<Self>>>,
    /// The bitmap does not tell what a rebuild may leave out.
    pub(crate) fullsync: Atomic<usize>,
    /// Discards are passed on to the members.
    pub(super) discards: Atomic<u32>,
}

impl Array {
    /// The array that md wants started; no devices yet.
    pub(crate) fn new(mddev: &Mddev, geo: Geometry) -> Result<Arc<Self>> {
        let disks = usize::try_from(geo.raid_disks())?;
        let members = Members::new(disks)?;
        let pages = BUSY_ROWS.checked_mul(disks).ok_or(EINVAL)?;
        let queue = Worklist::new()?;
        let mddev = mddev.to_ref();
        let array = Arc::pin_init(
            try_pin_init!(Self {
                direct_reads: InFlight::new(),
                mddev,
                geo,
                strip: nonzero(u64::from(geo.strip_sectors()))?,
                chunk: nonzero(u64::from(geo.chunk_sectors()))?,
                row: nonzero(geo.row_sectors())?,
                members,
                member_bios <- BioSet::new(
                    POOL,
                    core::cmp::max(round::front_pad::<Stripe>(), direct::front_pad::<Array>()),
                ),
                split_bios <- BioSet::new(POOL, 0),
                queue,
                cache <- Cache::new(MAX_STRIPES, pages),
                cache_rows: Atomic::new(DEFAULT_ROWS),
                tunables: Tunables::new(geo.parity_disks()),
                journal_state: Atomic::new(0),
                journal <- new_spinlock!(None, "raid5c::journal"),
                reclaim <- new_spinlock!(None, "raid5c::reclaim_thread"),
                reclaim_wanted: Atomic::new(0),
                feed_wanted: Atomic::new(0),
                feedings: Atomic::new(1),
                feed_from: Atomic::new(0),
                trouble: Atomic::new(0),
                stopping: Atomic::new(0),
                syncs: Atomic::new(0),
                turns: Atomic::new(0),
                quiesced: Atomic::new(0),
                hold <- new_spinlock!(Hold::new(), "raid5c::hold"),
                timers: Atomic::new(0),
                judging <- new_mutex!((), "raid5c::judging"),
                retry <- new_delayed_work!("raid5c::retry"),
                retry_wanted: Atomic::new(0),
                short_from: Atomic::new(0),
                last_end: Atomic::new(0),
                write_back: Atomic::new(0),
                may_cache: Atomic::new(0),
                ages <- new_spinlock!([Ages::new(), Ages::new()], "raid5c::ages"),
                counters: Counters::new(),
                counters_file <- new_spinlock!(None, "raid5c::counters"),
                shrinker <- new_spinlock!(None, "raid5c::shrinker"),
                fullsync: Atomic::new(0),
                discards: Atomic::new(0),
            }? Error),
            GFP_KERNEL,
        )?;
        array.member_bios.keep_spares(SPARE_BIOS)?;
        array.cache.budget().keep(Loan::Any, disks)?;
        Ok(array)
    }

    /// First member sector of stripe `index`.
    pub(crate) fn stripe_sector(&self, index: u64) -> DevSector {
        DevSector::new(index.wrapping_mul(u64::from(self.geo.strip_sectors())))
    }

    /// Brings the view that the strips of stripe `index` have of their members up to date; what the
    /// planner is to go by with that.
    pub(crate) fn view(&self, index: u64, strips: &mut [Strip]) -> Policy {
        // Before what is blocked, as `error` sets it after what that looks at.
        let journal = self.journal_state();
        let first = self.stripe_sector(index).get();
        let sectors = self.geo.strip_sectors();
        let blocked = self.members.refresh(first, sectors, strips) || self.mddev.sb_pending();
        self.policy(journal, blocked)
    }

    /// Whether md still has to record a failure.
    pub(crate) fn is_blocked(&self) -> bool {
        self.mddev.sb_pending() || self.members.any_blocked()
    }

    fn policy(&self, journal: JournalState, blocked: bool) -> Policy {
        Policy {
            journal: journal == JournalState::Works,
            blocked,
            refuse_writes: journal == JournalState::Lost,
            may_fix: self.mddev.ro() == 0 && journal != JournalState::Lost,
            rmw: self.tunables.rmw(),
            // Who quiesces waits for what was held back all the same.
            hold: self.quiesced.load(Relaxed) == 0 && !self.cache.is_short(),
            repair: !self.mddev.recovery(Recovery::Check),
            copy: self.mddev.recovery(Recovery::Recover),
            write_back: self.is_write_back(),
            room: 0,
            begin: true,
        }
    }

    /// Whether the journal's mode is write-back.
    pub(crate) fn is_write_back(&self) -> bool {
        self.write_back.load(Relaxed) != 0
    }

    /// Whether reads have to look for cached data.
    pub(crate) fn may_cache(&self) -> bool {
        self.may_cache.load(Relaxed) != 0
    }

    /// Takes the write-back cache into use; `EINVAL` while members are missing,
    /// as with the C driver.
    pub(crate) fn enter_write_back(&self) -> Result {
        if self.journal_state() != JournalState::Works {
            return Err(ENODEV);
        }
        self.may_cache.xchg(1, Full);
        self.write_back.xchg(1, Full);
        // After that, as who fails a member sets the mode after it.
        if self.members.degraded() > 0 {
            self.leave_write_back();
            pr_err!(
                "{}: write-back needs all members: replace what is missing first\n",
                self.mddev.name()
            );
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Nothing more is cached from now on; true if that is a change. What is
    /// cached is written out by the reclaim thread.
    pub(crate) fn leave_write_back(&self) -> bool {
        self.write_back.xchg(0, Full) != 0
    }

    /// Waits until nothing is cached but what cannot be written out; with md's
    /// lock of the array held, and the mode off.
    pub(crate) fn drain(&self) {
        let _noio = NoIo::enter();
        while self.cache.find_from(0, Stripe::has_cached).is_some() {
            if self.mddev.sb_pending() {
                self.mddev.update_sb_locked();
            }
            self.unpark();
            self.write_out_all();
            self.reclaim_now(true);
            fsleep(Delta::from_millis(1));
        }
        self.wake_reclaim();
    }

    /// Whether something waits to be written out.
    fn is_dirty(&self) -> bool {
        self.may_cache()
            && (self.cache.dirty() != 0 || self.cache.find_from(0, Stripe::is_resting).is_some())
    }

    /// A stripe was listed as dirty.
    pub(super) fn listed_dirty(&self) {
        let cache = &self.cache;
        let due = cache.is_half_dirty() || is_enough(cache.full()) || cache.is_short();
        if due || !self.is_write_back() {
            self.wake_reclaim();
        }
    }

    /// Waits until there is room for more work, and has cached data written out
    /// for it.
    pub(crate) fn wait_room(&self) {
        // Once it is seen that somebody waits.
        self.cache.wait_room(|| {
            if self.may_cache() {
                self.wake_reclaim();
            }
        });
    }

    /// `stripe_cache_size`.
    pub(crate) fn cache_rows(&self) -> usize {
        self.cache_rows.load(Relaxed)
    }

    /// Sets `stripe_cache_size`.
    pub(crate) fn set_cache_rows(&self, rows: usize) {
        self.cache_rows.store(rows, Relaxed);
        self.cache
            .set_limit(rows.saturating_mul(self.members.len()));
    }

    /// How many roles lack a member that is in sync, as md wants it.
    pub(crate) fn update_degraded(&self) -> i32 {
        loop {
            let n = i32::try_from(self.members.degraded()).unwrap_or(i32::MAX);
            self.mddev.set_degraded(n);
            // Another failure may have been counted and stored meanwhile;
            // bounded by the number of members that can fail.
            if usize::try_from(n) == Ok(self.members.degraded()) {
                return n;
            }
        }
    }

    /// Whether more members are gone than parity can make up for.
    pub(crate) fn has_failed(&self) -> bool {
        let parity = usize::try_from(self.geo.parity_disks()).unwrap_or(0);
        self.members.degraded() > parity || self.mddev.flag(Flag::Broken)
    }

    /// Begins a piece of work: waits while new work has to wait, and keeps the
    /// array from being quiesced until the turn is dropped. Not to be nested.
    pub(crate) fn enter(&self) -> Turn<'_> {
        self.begin_turn();
        Turn(self)
    }

    /// The same, for work that goes on when the caller has returned.
    pub(super) fn enter_for(this: &Arc<Self>) -> OwnTurn {
        this.begin_turn();
        OwnTurn(this.clone())
    }

    /// The same, for something that work under way needs.
    pub(super) fn enter_now(this: &Arc<Self>) -> OwnTurn {
        this.turns.fetch_add(1, Full);
        OwnTurn(this.clone())
    }

    /// The same as `enter`, but none instead of waiting.
    pub(super) fn try_enter(&self) -> Option<Turn<'_>> {
        self.try_turn().then(|| Turn(self))
    }

    fn try_turn(&self) -> bool {
        // Counted before the look, as quiesce sets before it counts.
        self.turns.fetch_add(1, Full);
        let free = !self.is_quiesced();
        if !free {
            self.turns.fetch_sub(1, Full);
        }
        free
    }

    fn begin_turn(&self) {
        while !self.try_turn() {
            fsleep(Delta::from_millis(1));
        }
    }

    /// Whether a write's partial stripes may be held back for a moment: it is
    /// large, or goes on where the last one ended, and that has paid before.
    pub(super) fn may_hold(&self, start: u64, sectors: u32) -> bool {
        let end = start.wrapping_add(u64::from(sectors));
        let follows = self.last_end.xchg(end, Relaxed) == start;
        (follows || sectors >= LARGE) && self.hold.lock().ask()
    }

    /// Waits until all timers and queued work have run. Nobody waits for what is written to correct a
    /// read error, and md may free an array without having quiesced it (for another personality): that is
    /// waited for as well, but not for what may never end.
    pub(super) fn settle(&self) {
        for _ in 0..SETTLE_MS {
            if self.cache.active() == 0 {
                break;
            }
            fsleep(Delta::from_millis(1));
        }
        while self.timers.fetch_add(0, Full) != 0 {
            fsleep(Delta::from_millis(1));
        }
        self.queue.flush();
    }

    /// Whether new work has to wait.
    pub(crate) fn is_quiesced(&self) -> bool {
        self.quiesced.fetch_add(0, Full) != 0
    }

    /// Stops new work and waits until none is under way, or lets it go on.
    pub(crate) fn quiesce(&self, stop: bool) {
        if !stop {
            self.quiesced.fetch_sub(1, Full);
            return;
        }
        let _noio = NoIo::enter();
        self.quiesced.fetch_add(1, Full);
        // The sync thread quiesces without md's lock; all others hold it.
        let locked = !self.mddev.in_sync_thread();
        while self.turns.fetch_add(0, Full) != 0
            || self.direct_reads.count() != 0
            // Before: what has work may be dirty when that is done.
            || self.cache.active() != 0
            || self.is_dirty()
            // And after: what was dirty may be on its way out meanwhile.
            || self.cache.active() != 0
            // What a stripe began just before it was without work.
            || self.turns.fetch_add(0, Full) != 0
        {
            // Who holds md's lock must record failures that our stripes wait
            // for himself: nobody else can.
            if locked && self.mddev.sb_pending() {
                self.mddev.update_sb_locked();
            }
            self.unpark();
            self.write_out_all();
            self.reclaim_now(locked);
            fsleep(Delta::from_millis(1));
        }
        if let Some(journal) = self.journal().filter(|_| locked) {
            journal.keep_all();
            if journal.close().is_err() {
                pr_warn!(
                    "{}: the journal could not be closed; the next start replays it\n",
                    self.mddev.name()
                );
            }
        }
    }

    /// A device failed; in any context. What waits for it is told by md's
    /// thread.
    pub(super) fn note_failure(&self) {
        self.trouble.xchg(1, Full);
    }

    /// What is to be done in md's thread.
    pub(super) fn run_in_thread(&self) {
        self.unpark();
        if self.trouble.xchg(0, Full) != 0 {
            if self.journal_state() == JournalState::Lost {
                if let Some(journal) = self.journal() {
                    journal.lose();
                }
            }
            // Rows that wait for room in the journal may wait for nothing now.
            self.feed();
            if !self.is_write_back() || self.journal_state() == JournalState::Lost {
                self.write_out_all();
            }
        }
        // md has it run also when nothing was written for a moment (`safemode_delay`): what the cache
        // has taken beyond `stripe_cache_size` is dropped.
        if self.cache.active() == 0 {
            let pages = self.cache_rows().saturating_mul(self.members.len());
            self.cache.shrink_to(pages);
        }
    }

    /// Has stripes handled that waited for md to record something.
    pub(crate) fn unpark(&self) {
        if self.is_blocked() {
            return;
        }
        let mut from = 0;
        while let Some((stripe, at)) = self.cache.find_from(from, Stripe::take_parked) {
            from = at;
            Stripe::handle(&stripe);
            if self.is_blocked() {
                return;
            }
        }
    }

    fn flush_member(&self, rdev: &Rdev) {
        if rdev.flush().is_err() && !rdev.flag(RdevFlag::Faulty) {
            pr_err!(
                "{}: {}: flush failed; the member is taken out, replace it\n",
                self.mddev.name(),
                rdev.name()
            );
            self.mddev.error(rdev);
        }
    }

    /// Flushes the caches of all members; a member that cannot is failed.
    /// False if the array cannot go on.
    pub(super) fn flush_members(&self) -> bool {
        for slot in 0..self.members.len() {
            for rdev in self.members.both(slot).into_iter().flatten() {
                self.flush_member(&rdev);
            }
        }
        !self.has_failed()
    }

    /// The journal, while there is one.
    pub(super) fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.lock().clone()
    }

    /// Whether the array has a journal by its superblock, and whether it works.
    pub(super) fn journal_state(&self) -> JournalState {
        match self.journal_state.load(Acquire) {
            0 => JournalState::None,
            1 => JournalState::Works,
            _ => JournalState::Lost,
        }
    }

    /// Sets what the planner knows of the journal.
    pub(super) fn set_journal_state(&self, state: JournalState) {
        self.journal_state.xchg(state as u32, Full);
    }

    /// Takes a journal into use, with its thread.
    pub(super) fn start_journal(this: &Arc<Self>, mddev: &Mddev, journal: Arc<Journal>) -> Result {
        let period = kernel::time::msecs_to_jiffies(RECLAIM_PERIOD_MS);
        this.cache.budget().keep(Loan::Out, this.members.len())?;
        let thread = OwnThread::start(mddev, c"reclaim", this.clone(), period)?;
        journal.keep_spares()?;
        *this.reclaim.lock() = Some(thread);
        *this.journal.lock() = Some(journal);
        this.set_journal_state(JournalState::Works);
        if this.cache.renew_spares(this).is_err() {
            pr_warn!(
                "{}: not enough memory for what is kept for when there is none\n",
                this.mddev.name()
            );
        }
        Ok(())
    }

    /// Shows the counters; nothing depends on it.
    pub(super) fn show_counters(this: &Arc<Self>) {
        // One at a time may have the name.
        this.hide_counters();
        match debugfs::Counters::new(fmt!("{}", this.mddev.name()), this.clone()) {
            Ok(file) => *this.counters_file.lock() = Some(file),
            Err(_) => pr_warn!("{}: no counters in debugfs\n", this.mddev.name()),
        }
    }

    /// Shows them no more.
    pub(super) fn hide_counters(&self) {
        let file = self.counters_file.lock().take();
        drop(file);
    }

    /// Whether the reclaim thread is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.fetch_add(0, Full) != 0
    }

    /// Stops the reclaim thread.
    pub(super) fn stop_reclaim(&self) {
        self.stopping.xchg(1, Full);
        let thread = self.reclaim.lock().take();
        drop(thread);
    }

    /// Takes the journal out of use. Nothing may be on its way there.
    pub(super) fn stop_journal(&self) {
        self.stop_reclaim();
        let journal = self.journal.lock().take();
        if let Some(journal) = journal {
            // Units that are not stable keep the journal.
            journal.lose();
            // The thread that would have done them is gone.
            journal.fail_late_flushes();
            journal.drop_spares();
        }
        self.stopping.xchg(0, Full);
    }
}

/// A piece of work that has begun; see [`Array::enter`].
pub(crate) struct Turn<'a>(&'a Array);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, Full);
    }
}

/// The same, without a lender; see [`Array::enter_for`].
pub(super) struct OwnTurn(Arc<Array>);

impl Drop for OwnTurn {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, Full);
    }
}

/// What became of an array's journal.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum JournalState {
    /// The array has none.
    None = 0,
    /// It is in use.
    Works = 1,
    /// It is missing or failed: no write may start.
    Lost = 2,
}
