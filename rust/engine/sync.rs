// SPDX-License-Identifier: GPL-2.0

//! Resync, rebuild, check and repair, a stripe at a time.

use super::array::{Array, JournalState, Turn};
use crate::{
    lib::noio::NoIo,
    md::mddev::{Mddev, Recovery},
    raid::mask::RowMask,
};
use kernel::{
    prelude::*,
    sync::{atomic::Full, Arc},
    time::{delay::fsleep, Delta},
};

/// Stripes that a sync may have in flight at most.
const IN_FLIGHT: usize = 16;

/// How often a sync looks whether there is a journal again, in milliseconds.
const WAIT_MS: i64 = 50;

/// So many looks later it lets md take the failed one out, if that is still there.
const DETACH_WAITS: u32 = 20;

impl Array {
    /// Syncs from member sector `sector` to the end of its stripe at most.
    /// Returns the sectors taken, and whether nothing had to be done.
    pub(crate) fn sync(this: &Arc<Self>, mddev: &Mddev, sector: u64, max: u64) -> (u64, bool) {
        let _noio = NoIo::enter();
        if sector >= max {
            if mddev.curr_resync() < max {
                mddev.bitmap_end_sync(mddev.curr_resync());
            } else if mddev.recovery(Recovery::Recover) {
                // A resync builds no members: what these lack stays to be done.
                this.fullsync.xchg(0, Full);
            }
            mddev.bitmap_close_sync();
            return (0, false);
        }
        // What the journal has would go on top of what is synced now; a check changes nothing.
        if !mddev.recovery(Recovery::Check) && !this.wait_for_journal(mddev) {
            return (0, false);
        }
        let parity = i32::try_from(this.geo.parity_disks()).unwrap_or(0);
        if mddev.degraded() >= parity && mddev.recovery(Recovery::Sync) {
            // There is nothing to compare or to make right.
            return (mddev.dev_sectors().saturating_sub(sector), true);
        }
        let strip = this.strip;
        let mut n = core::cmp::min(
            strip.get().wrapping_sub(sector % strip),
            max.wrapping_sub(sector),
        );
        if mddev.bitmap_enabled() {
            let requested = mddev.recovery(Recovery::Requested);
            let full = this.fullsync.fetch_add(0, Full) != 0;
            if !requested && !full {
                let (needed, blocks) = mddev.bitmap_start_sync(sector, true);
                if !needed && blocks >= 8 {
                    return (blocks & !7, true);
                }
            }
            mddev.bitmap_cond_end_sync(sector);
            let (_, blocks) = mddev.bitmap_start_sync(sector, this.members.any_missing());
            if blocks >= 8 {
                n = core::cmp::min(n, blocks & !7);
            }
        }
        let _turn = this.wait_sync_room();
        this.sync_rows(sector, n);
        (n, false)
    }

    /// Waits until a journal that was lost is replaced; false if the sync is to end instead. Were it just to
    /// end, md would begin it again at once, and again.
    fn wait_for_journal(&self, mddev: &Mddev) -> bool {
        if self.journal_state() != JournalState::Lost {
            return true;
        }
        let mut waits = 0u32;
        while self.journal_state() == JournalState::Lost && !mddev.recovery(Recovery::Interrupt) {
            // md takes no device out while a sync runs.
            if self.journal().is_some() && waits >= DETACH_WAITS {
                return false;
            }
            if waits == DETACH_WAITS {
                pr_warn!(
                    "{}: the sync waits for a journal: add one (mdadm --add-journal)\n",
                    mddev.name()
                );
            }
            waits = waits.saturating_add(1);
            fsleep(Delta::from_millis(WAIT_MS));
        }
        !mddev.recovery(Recovery::Interrupt)
    }

    /// Lets users' requests have the cache as well.
    fn wait_sync_room(&self) -> Turn<'_> {
        let turn = self.enter();
        let most = self.syncs_at_once();
        while self.syncs.fetch_add(0, Full) >= most {
            fsleep(Delta::from_micros(100));
        }
        // After that, as what has ended may be dropped now.
        self.wait_room();
        turn
    }

    /// Stripes that a sync may have in flight: half of the cache is left to others.
    fn syncs_at_once(&self) -> usize {
        let rows = usize::try_from(self.strip.get() / 8).unwrap_or(usize::MAX);
        let (_, (_, pages)) = self.cache.load();
        let half = pages.checked_div(self.members.len()).unwrap_or(0) / 2;
        half.checked_div(rows).unwrap_or(0).clamp(1, IN_FLIGHT)
    }

    fn sync_rows(self: &Arc<Self>, sector: u64, n: u64) {
        let strip = self.strip;
        let first = u32::try_from(sector % strip / 8).unwrap_or(0);
        let rows = RowMask::range(first, u32::try_from(n / 8).unwrap_or(u32::MAX));
        let mut old = RowMask::EMPTY;
        self.syncs.fetch_add(1, Full);
        Self::with_stripe(self, sector / strip, 0, true, |inner| {
            let new = inner.st.want_sync(rows);
            old = rows.minus(new);
            if new.any() && !core::mem::replace(&mut inner.syncing, true) {
                return;
            }
            self.syncs.fetch_sub(1, Full);
        });
        if old.any() {
            // They are under way already, and were counted then.
            self.mddev
                .done_sync(u64::from(old.count()).wrapping_mul(8), true);
        }
    }
}
