// SPDX-License-Identifier: GPL-2.0

//! One array: what all its stripes share.

use super::{
    cache::Cache,
    handle::{self, Handler},
    members::Members,
    stripe::Stripe,
};
use crate::{
    block::{bioset::BioSet, direct, round},
    lib::{
        clock::warn_limited,
        workqueue::{OwnQueue, Placement},
    },
    md::{
        mddev::{Flag, Mddev, MddevRef, Recovery},
        rdev::{Rdev, RdevFlag},
    },
    raid::{
        geometry::Geometry,
        mask::RowMask,
        stripe::{Policy, Strip},
        units::DevSector,
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta},
};

/// Bios that a pool keeps for when memory is short.
const POOL: u32 = 64;

/// Default number of rows per member that the cache may hold.
pub(crate) const DEFAULT_ROWS: usize = 256;

/// The cache grows to this many rows per member at least, if there is work.
const BUSY_ROWS: usize = 1024;

/// Gives the machine a moment to free memory.
pub(crate) fn wait_for_memory() {
    fsleep(Delta::from_millis(10));
}

/// An array of level 4, 5 or 6.
#[pin_data]
pub(crate) struct Array {
    pub(crate) mddev: MddevRef,
    pub(crate) geo: Geometry,
    pub(crate) members: Members,
    #[pin]
    pub(crate) member_bios: BioSet,
    #[pin]
    pub(crate) direct_bios: BioSet,
    #[pin]
    pub(crate) split_bios: BioSet,
    pub(crate) queue: OwnQueue,
    #[pin]
    pub(crate) cache: Cache,
    /// `stripe_cache_size`: rows per member.
    cache_rows: Atomic<usize>,
    /// Direct reads in flight.
    pub(crate) direct_reads: Atomic<usize>,
    /// Stripes of which a sync is under way.
    pub(crate) syncs: Atomic<usize>,
    /// New work has to wait.
    quiesced: Atomic<usize>,
    /// The bitmap does not tell what a rebuild may leave out.
    pub(crate) fullsync: Atomic<usize>,
}

impl Array {
    /// The array that md wants started; no devices yet.
    pub(crate) fn new(mddev: &Mddev, geo: Geometry) -> Result<Arc<Self>> {
        let disks = usize::try_from(geo.raid_disks())?;
        let members = Members::new(disks)?;
        let rows_per_stripe = usize::try_from(geo.rows_per_stripe())?;
        let objects = core::cmp::max(BUSY_ROWS, BUSY_ROWS / rows_per_stripe);
        let pages = BUSY_ROWS.checked_mul(disks).ok_or(EINVAL)?;
        let queue = OwnQueue::new(c"raid5c", Placement::PerCpu)?;
        let mddev = mddev.to_ref();
        Arc::pin_init(
            try_pin_init!(Self {
                mddev,
                geo,
                members,
                member_bios <- BioSet::new(POOL, round::FRONT_PAD),
                direct_bios <- BioSet::new(POOL, direct::front_pad::<Array>()),
                split_bios <- BioSet::new(POOL, 0),
                queue,
                cache <- Cache::new(objects, pages),
                cache_rows: Atomic::new(DEFAULT_ROWS),
                direct_reads: Atomic::new(0),
                syncs: Atomic::new(0),
                quiesced: Atomic::new(0),
                fullsync: Atomic::new(0),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// First member sector of stripe `index`.
    pub(crate) fn stripe_sector(&self, index: u64) -> DevSector {
        DevSector::new(index.wrapping_mul(u64::from(self.geo.strip_sectors())))
    }

    /// Brings the strips' view of their members up to date.
    pub(crate) fn refresh(&self, index: u64, strips: &mut [Strip]) {
        let end = self
            .stripe_sector(index)
            .get()
            .saturating_add(u64::from(self.geo.strip_sectors()));
        handle::refresh(&self.members, end, strips);
    }

    /// Whether md still has to record a failure.
    pub(crate) fn is_blocked(&self) -> bool {
        self.mddev.sb_pending() || self.members.any_blocked()
    }

    /// What the planner is to go by.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            journal: false,
            blocked: self.is_blocked(),
            refuse_writes: false,
            rmw: true,
            hold: false,
            repair: !self.mddev.recovery(Recovery::Check),
        }
    }

    /// `stripe_cache_size`.
    pub(crate) fn cache_rows(&self) -> usize {
        self.cache_rows.load(Relaxed)
    }

    /// Sets `stripe_cache_size`.
    pub(crate) fn set_cache_rows(&self, rows: usize) {
        self.cache_rows.store(rows, Relaxed);
        let rows = core::cmp::max(rows, BUSY_ROWS);
        self.cache
            .set_limit(rows.saturating_mul(self.members.len()));
    }

    /// A member's read or write of `rows` of the stripe at `sector` failed.
    pub(crate) fn member_io_failed(&self, rdev: &Rdev, sector: u64, rows: RowMask, write: bool) {
        let first = u64::from(rows.lowest().unwrap_or(0)).wrapping_mul(8);
        let at = sector.wrapping_add(first);
        if rdev.flag(RdevFlag::Faulty) {
            return;
        }
        if write {
            pr_err!(
                "{}: {}: write failed at member sector {}; the member is taken out, replace it\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
            self.mddev.error(rdev);
        } else {
            warn_limited!(
                "{}: {}: read failed at member sector {}; rebuilding it from the other members\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
        }
    }

    /// How many roles lack a member that is in sync, as md wants it.
    pub(crate) fn update_degraded(&self) -> i32 {
        let n = i32::try_from(self.members.degraded()).unwrap_or(i32::MAX);
        self.mddev.set_degraded(n);
        n
    }

    /// Whether more members are gone than parity can make up for.
    pub(crate) fn has_failed(&self) -> bool {
        let parity = usize::try_from(self.geo.parity_disks()).unwrap_or(0);
        self.members.degraded() > parity || self.mddev.flag(Flag::Broken)
    }

    /// Waits while new work has to wait.
    pub(crate) fn enter(&self) {
        while self.quiesced.fetch_add(0, Full) != 0 {
            fsleep(Delta::from_millis(1));
        }
    }

    /// Whether new work has to wait.
    pub(crate) fn is_quiesced(&self) -> bool {
        self.quiesced.fetch_add(0, Full) != 0
    }

    /// Stops new work and waits until none is under way, or lets it go on.
    pub(crate) fn quiesce(&self, stop: bool) {
        if !stop {
            self.quiesced.xchg(0, Full);
            return;
        }
        self.quiesced.xchg(1, Full);
        while self.cache.active() != 0 || self.direct_reads.fetch_add(0, Full) != 0 {
            // md calls with its lock held, so that nobody else can record a
            // failure that our stripes wait for.
            if self.mddev.sb_pending() {
                self.mddev.update_sb_locked();
            }
            self.unpark();
            fsleep(Delta::from_millis(1));
        }
    }

    /// Has stripes handled that waited for md to record something.
    pub(crate) fn unpark(&self) {
        if self.is_blocked() {
            return;
        }
        while let Some(stripe) = self.cache.find(Stripe::take_parked) {
            Stripe::handle(&stripe);
        }
    }

    /// Appends rows to the journal.
    pub(super) fn journal_append(&self, _stripe: &Arc<Stripe>, _work: &Handler, _rows: RowMask) {}
}
