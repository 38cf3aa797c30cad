// SPDX-License-Identifier: GPL-2.0

//! What md core calls.

use super::{
    array::{Array, JournalState},
    sysfs,
};
use crate::{
    block::bio::Bio,
    lib::{
        noio::NoIo,
        show::{eopnotsupp, Show},
        xor::MAX_SYNDROME,
    },
    md::{
        mddev::{Flag, Mddev, Recovery, MAX_SECTOR},
        personality::Personality,
        rdev::{Rdev, RdevFlag, RdevSlot},
        thread::{self, ArrayThread},
    },
    raid::{
        geometry::Geometry,
        spare,
        stripe::Access,
        units::{ArraySector, Slot},
    },
};
use core::fmt;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Full, Relaxed},
        Arc,
    },
};

impl ArrayThread for Array {
    fn run(mddev: &Mddev) {
        mddev.check_recovery();
        let _noio = NoIo::enter();
        crate::md::personality::with_private::<Array, _>(mddev, |array| array.run_in_thread());
    }
}

/// The shape that md wants, if we can run it.
fn geometry(mddev: &Mddev) -> Result<Geometry> {
    if mddev.reshape_position() != MAX_SECTOR {
        pr_err!(
            "{}: a reshape is under way, which this version cannot continue; assemble the array with raid456 and let it finish\n",
            mddev.name()
        );
        return Err(EINVAL);
    }
    let disks = u32::try_from(mddev.raid_disks())?;
    let chunk = u32::try_from(mddev.new_chunk_sectors())?;
    Geometry::new(mddev.new_level(), mddev.new_layout(), disks, chunk).map_err(|e| {
        pr_err!("{}: {}\n", mddev.name(), Show(e));
        EINVAL
    })
}

impl Array {
    /// Takes the devices that md has for the array.
    fn take_members(&self, mddev: &Mddev) -> Result {
        for rdev in mddev.rdevs() {
            if rdev.flag(RdevFlag::Journal) {
                continue;
            }
            let Ok(slot) = usize::try_from(rdev.raid_disk()) else {
                continue;
            };
            let Some(place) = self.members.slot(slot) else {
                continue;
            };
            let place = if rdev.flag(RdevFlag::Replacement) {
                self.members.replacement(slot).ok_or(EIO)?
            } else {
                place
            };
            if !place.is_vacant() {
                return Err(EIO);
            }
            place.set(rdev);
            if rdev.flag(RdevFlag::InSync) {
                pr_info!(
                    "{}: device {} operational as raid disk {}\n",
                    mddev.name(),
                    rdev.name(),
                    slot
                );
            } else if rdev.saved_raid_disk() != rdev.raid_disk() {
                self.fullsync.xchg(1, Full);
            }
        }
        for slot in 0..self.members.len() {
            // A replacement may be all that there is.
            self.members.promote(slot);
        }
        Ok(())
    }

    /// Whether enough members are there, and what is there can be trusted.
    fn check_members(&self, mddev: &Mddev) -> Result {
        let degraded = self.update_degraded();
        let disks = mddev.raid_disks();
        if self.has_failed() {
            pr_crit!(
                "{}: not enough operational devices ({}/{} failed)\n",
                mddev.name(),
                degraded,
                disks
            );
            return Err(EIO);
        }
        mddev.set_dev_sectors(self.whole_chunks(mddev.dev_sectors()));
        if degraded > self.parity_only() && mddev.resync_offset() != MAX_SECTOR {
            if mddev.ok_start_degraded() != 0 {
                pr_crit!(
                    "{}: starting dirty degraded array - data corruption possible\n",
                    mddev.name()
                );
            } else {
                pr_crit!(
                    "{}: cannot start dirty degraded array; add the missing member, or assemble with --force if wrong data in rows that were being written is acceptable\n",
                    mddev.name()
                );
                return Err(EIO);
            }
        }
        Ok(())
    }

    /// Members that are there but not in sync, and hold nothing but parity: an
    /// array that is dirty loses nothing by them.
    fn parity_only(&self) -> i32 {
        let lost = |slot: &usize| {
            u16::try_from(*slot).is_ok_and(|n| self.geo.is_parity_only(Slot::new(n)))
                && self.members.slot(*slot).is_some_and(|s| !s.is_vacant())
                && self.members.access_at(*slot, MAX_SECTOR) != Access::Full
        };
        let n = (0..self.members.len()).filter(lost).count();
        i32::try_from(n).unwrap_or(0)
    }

    /// Rounds a member's size down to whole chunks.
    fn whole_chunks(&self, sectors: u64) -> u64 {
        sectors.saturating_sub(sectors % self.chunk)
    }

    fn add_member(&self, mddev: &Mddev, rdev: &Rdev) -> Result {
        if rdev.saved_raid_disk() < 0 && self.has_failed() {
            return Err(EINVAL);
        }
        let wanted = usize::try_from(rdev.raid_disk()).ok();
        let saved = usize::try_from(rdev.saved_raid_disk()).ok();
        let free = |slot: &usize| {
            wanted.is_none_or(|w| w == *slot)
                && self.members.slot(*slot).is_some_and(RdevSlot::is_vacant)
        };
        let slot = saved
            .filter(free)
            .or_else(|| (0..self.members.len()).find(free));
        let Some(slot) = slot else {
            return self.add_replacement(mddev, rdev, wanted);
        };
        let place = self.members.slot(slot).ok_or(EEXIST)?;
        rdev.clear_flag(RdevFlag::InSync);
        rdev.set_raid_disk(i32::try_from(slot)?);
        if saved != Some(slot) {
            self.fullsync.xchg(1, Full);
        }
        place.set(rdev);
        pr_info!(
            "{}: {} takes part as raid disk {}\n",
            mddev.name(),
            rdev.name(),
            slot
        );
        Ok(())
    }

    /// Has the device replace a member that wants that, of role `wanted` if that says one.
    fn add_replacement(&self, mddev: &Mddev, rdev: &Rdev, wanted: Option<usize>) -> Result {
        let slot = (0..self.members.len())
            .filter(|slot| wanted.is_none_or(|w| w == *slot))
            .find(|slot| {
                let member = self.members.slot(*slot).and_then(RdevSlot::get);
                let vacant = self
                    .members
                    .replacement(*slot)
                    .is_some_and(RdevSlot::is_vacant);
                vacant && member.is_some_and(|m| m.flag(RdevFlag::WantReplacement))
            })
            .ok_or(EEXIST)?;
        let place = self.members.replacement(slot).ok_or(EEXIST)?;
        rdev.clear_flag(RdevFlag::InSync);
        rdev.set_flag(RdevFlag::Replacement);
        rdev.set_raid_disk(i32::try_from(slot)?);
        self.fullsync.xchg(1, Full);
        place.set(rdev);
        pr_info!(
            "{}: {} is to replace raid disk {}\n",
            mddev.name(),
            rdev.name(),
            slot
        );
        Ok(())
    }

    fn remove_member(&self, rdev: &Rdev) -> Result {
        let Ok(slot) = usize::try_from(rdev.raid_disk()) else {
            return Ok(());
        };
        let member = self.members.slot(slot);
        let replacement = self.members.replacement(slot);
        let replaced = replacement.is_some_and(|place| !place.is_vacant() && !place.is(rdev));
        let Some(place) = [member, replacement]
            .into_iter()
            .flatten()
            .find(|place| place.is(rdev))
        else {
            return Ok(());
        };
        if rdev.flag(RdevFlag::InSync) || rdev.is_pending() {
            return Err(EBUSY);
        }
        if !rdev.flag(RdevFlag::Faulty) && !self.has_failed() && !replaced {
            // Being rebuilt.
            return Err(EBUSY);
        }
        place.remove(rdev)?;
        self.members.promote(slot);
        rdev.clear_flag(RdevFlag::WantReplacement);
        Ok(())
    }
}

impl Personality for Array {
    fn run(mddev: &Mddev) -> Result<Arc<Self>> {
        if mddev.resync_offset() != MAX_SECTOR {
            pr_notice!(
                "{}: not clean -- starting background reconstruction\n",
                mddev.name()
            );
        }
        let geo = geometry(mddev)?;
        // P and Q come on top.
        let most = MAX_SYNDROME.saturating_sub(2);
        if geo.parity_disks() == 2 && usize::try_from(geo.syndrome_disks())? > most {
            pr_err!(
                "{}: level 6 works with Q of at most {} members\n",
                mddev.name(),
                most
            );
            return Err(EINVAL);
        }
        if mddev.flag(Flag::HasPpl) {
            pr_err!(
                "{}: consistency policy ppl is not supported by this version; use raid456 for this array\n",
                mddev.name()
            );
            return Err(eopnotsupp());
        }
        let journal = mddev.rdevs().any(|r| r.flag(RdevFlag::Journal));
        if (journal || mddev.flag(Flag::HasJournal)) && mddev.has_bitmap() {
            pr_err!(
                "{}: array cannot have both journal and bitmap\n",
                mddev.name()
            );
            return Err(EINVAL);
        }
        let array = Self::new(mddev, geo)?;
        array.take_members(mddev)?;
        array.check_members(mddev)?;
        if journal {
            mddev.set_flag(Flag::HasJournal);
        }
        if mddev.flag(Flag::HasJournal) {
            array.set_journal_state(JournalState::Lost);
            if !journal {
                pr_crit!(
                    "{}: the journal device is missing, so the array is read-only; to write again, assemble it with its journal, or give it a new one (mdadm --add-journal)\n",
                    mddev.name()
                );
                mddev.force_read_only();
            } else if mddev.resync_offset() == MAX_SECTOR {
                mddev.set_flag(Flag::JournalClean);
            }
        }
        // Without `free`, which breaks the circle of references.
        let clear = |_: &Error| array.cache.clear();
        array.cache.keep_spares(&array).inspect_err(clear)?;
        thread::start_array_thread::<Self>(mddev, c"raid5").inspect_err(clear)?;
        pr_info!(
            "{}: raid level {} active with {} out of {} devices, algorithm {}\n",
            mddev.name(),
            mddev.level(),
            mddev.raid_disks().saturating_sub(mddev.degraded()),
            mddev.raid_disks(),
            mddev.new_layout()
        );
        Ok(array)
    }

    fn started(&self, mddev: &Mddev) -> Result {
        if sysfs::attach(mddev).is_err() {
            pr_warn!("{}: no sysfs attributes\n", mddev.name());
        }
        mddev.set_array_sectors(Self::size(mddev, 0, 0));
        let discards = mddev
            .set_limits(self.geo.chunk_sectors() << 9, self.geo.data_disks())
            .inspect_err(|_| thread::stop_array_thread(mddev))?;
        self.discards.store(u32::from(discards), Relaxed);
        Ok(())
    }

    fn start(this: &Arc<Self>, mddev: &Mddev) -> Result {
        Self::start_shrinker(this);
        Self::show_counters(this);
        Self::start_with_journal(this, mddev)
    }

    fn free(this: Arc<Self>) {
        this.hide_counters();
        this.stop_shrinker();
        this.stop_reclaim();
        this.settle();
        this.report_cached();
        this.stop_journal();
        this.cache.clear();
    }

    fn make_request(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        Array::make_request(this, mddev, bio);
    }

    fn status(&self, mddev: &Mddev, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(
            out,
            " level {}, {}k chunk, algorithm {} [{}/{}] [",
            mddev.level(),
            self.geo.chunk_sectors() / 2,
            mddev.layout(),
            self.geo.raid_disks(),
            i64::from(self.geo.raid_disks()) - i64::from(mddev.degraded()),
        )?;
        for state in self.members.states() {
            out.write_char(state)?;
        }
        out.write_char(']')
    }

    fn error(&self, mddev: &Mddev, rdev: &Rdev) {
        // What keeps writes from starting and from completing until md has
        // recorded the failure (`Array::is_blocked`) comes before what they could
        // do then; and that the device is faulty before md writes it down.
        rdev.set_flag(RdevFlag::Blocked);
        rdev.set_flag(RdevFlag::Faulty);
        rdev.clear_flag(RdevFlag::InSync);
        mddev.want_sb_write(true);
        let degraded = self.update_degraded();
        let disks = i64::from(self.geo.raid_disks());
        if rdev.flag(RdevFlag::Journal) {
            self.set_journal_state(JournalState::Lost);
            pr_crit!(
                "{}: {}: the journal device failed; writes to the array are refused from now on: replace it\n",
                mddev.name(),
                rdev.name()
            );
        } else if self.has_failed() {
            mddev.set_flag(Flag::Broken);
            pr_crit!(
                "{}: disk failure on {}; cannot continue operation ({}/{} failed)\n",
                mddev.name(),
                rdev.name(),
                degraded,
                disks
            );
        } else {
            pr_crit!(
                "{}: disk failure on {}, device disabled; operation continues on {} devices\n",
                mddev.name(),
                rdev.name(),
                disks - i64::from(degraded)
            );
        }
        if (degraded > 0 || rdev.flag(RdevFlag::Journal)) && self.leave_write_back() {
            pr_warn!(
                "{}: the journal is in write-through mode from now on; what is cached is written out. Select write-back again when the array is whole\n",
                mddev.name()
            );
        }
        self.note_failure();
        mddev.set_recovery(Recovery::Interrupt);
    }

    fn add_disk(this: &Arc<Self>, mddev: &Mddev, rdev: &Rdev) -> Result {
        if rdev.flag(RdevFlag::Journal) {
            if this.journal().is_some() {
                return Err(EBUSY);
            }
            rdev.set_raid_disk(0);
            return Self::load_journal(this, mddev, rdev);
        }
        this.add_member(mddev, rdev)
    }

    fn remove_disk(&self, _mddev: &Mddev, rdev: &Rdev) -> Result {
        if rdev.flag(RdevFlag::Journal) {
            return self.remove_journal(rdev);
        }
        self.remove_member(rdev)
    }

    fn spare_active(&self, _mddev: &Mddev) -> i32 {
        let mut count = 0i32;
        let rebuilt = |rdev: &Rdev| rdev.recovery_offset() == MAX_SECTOR && spare::activate(rdev);
        self.members.for_each_role(|member, replacement| {
            if let Some(new) = replacement.filter(|rdev| rebuilt(rdev)) {
                let was = member.is_some_and(|old| old.flag(RdevFlag::InSync));
                count = count.saturating_add(i32::from(!was));
                if let Some(old) = member {
                    // It works, but is to go, and not to come back. No write that it does not get
                    // ends before that is in the superblocks: after a power cut it would count as a
                    // member again, and what replaced it would get what it has.
                    old.set_flag(RdevFlag::Blocked);
                    old.clear_flag(RdevFlag::InSync);
                    old.set_flag(RdevFlag::Faulty);
                    old.notify_state();
                }
                new.notify_state();
            } else if let Some(new) = member.filter(|rdev| rebuilt(rdev)) {
                count = count.saturating_add(1);
                new.notify_state();
            }
        });
        self.update_degraded();
        count
    }

    fn change_consistency_policy(&self, mddev: &Mddev, policy: &CStr) -> Result {
        if !policy.to_bytes().starts_with(b"resync") {
            pr_err!(
                "{}: no other consistency policy can be chosen than resync\n",
                mddev.name()
            );
            return Err(EINVAL);
        }
        self.forget_journal(mddev)
    }

    fn sync_request(this: &Arc<Self>, mddev: &Mddev, sector: u64, max: u64) -> (u64, bool) {
        Array::sync(this, mddev, sector, max)
    }

    fn resize(&self, mddev: &Mddev, sectors: u64) -> Result {
        if mddev.flag(Flag::HasJournal) {
            pr_err!(
                "{}: the size cannot change while there is a journal\n",
                mddev.name()
            );
            return Err(EINVAL);
        }
        let sectors = self.whole_chunks(sectors);
        let size = self.geo.array_sectors(sectors);
        if mddev.external_size() != 0 && mddev.array_sectors() > size {
            return Err(EINVAL);
        }
        mddev.bitmap_resize(sectors)?;
        mddev.set_array_sectors(size);
        let old = mddev.dev_sectors();
        if sectors > old && mddev.resync_offset() > old {
            mddev.set_resync_offset(old);
            mddev.set_recovery(Recovery::Needed);
        }
        mddev.set_dev_sectors(sectors);
        Ok(())
    }

    fn size(mddev: &Mddev, sectors: u64, raid_disks: i32) -> u64 {
        let sectors = if sectors == 0 {
            mddev.dev_sectors()
        } else {
            sectors
        };
        let disks = if raid_disks == 0 {
            mddev.raid_disks()
        } else {
            raid_disks
        };
        let chunk = u64::try_from(mddev.chunk_sectors()).unwrap_or(0);
        let parity = if mddev.level() == 6 { 2 } else { 1 };
        let data = u64::try_from(disks.saturating_sub(parity)).unwrap_or(0);
        let rest = sectors.checked_rem(chunk).unwrap_or(sectors);
        sectors.saturating_sub(rest).saturating_mul(data)
    }

    fn check_reshape(&self, mddev: &Mddev) -> Result {
        let same = mddev.delta_disks() == 0
            && mddev.new_layout() == mddev.layout()
            && mddev.new_level() == mddev.level()
            && mddev.new_chunk_sectors() == mddev.chunk_sectors();
        if same {
            return Ok(());
        }
        pr_err!(
            "{}: reshape is not supported by this version\n",
            mddev.name()
        );
        Err(eopnotsupp())
    }

    fn start_reshape(&self, mddev: &Mddev) -> Result {
        pr_err!(
            "{}: reshape is not supported by this version\n",
            mddev.name()
        );
        Err(EINVAL)
    }

    fn quiesce(&self, _mddev: &Mddev, stop: bool) {
        Array::quiesce(self, stop);
    }

    fn bitmap_range(&self, start: u64, sectors: u64) -> (u64, u64) {
        let (dev, n) = self.geo.bitmap_range(ArraySector::new(start), sectors);
        (dev.get(), n)
    }
}
