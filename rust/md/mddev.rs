// SPDX-License-Identifier: GPL-2.0

//! The array as md core knows it.

use super::rdev::Rdev;
use crate::{block::bio::Bio, sys};
use core::{fmt, ops::Deref, ptr::NonNull};
use kernel::{bindings, prelude::*, types::Opaque};

/// No sector: md's `MaxSector`.
pub(crate) const MAX_SECTOR: u64 = u64::MAX;

/// Bits of `mddev->recovery`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Recovery {
    /// A sync has begun, and has not ended.
    Running = sys::recovery_flags_MD_RECOVERY_RUNNING,
    /// md core is to look for something to do.
    Needed = sys::recovery_flags_MD_RECOVERY_NEEDED,
    /// The sync thread is to stop.
    Interrupt = sys::recovery_flags_MD_RECOVERY_INTR,
    /// A resync, check or repair.
    Sync = sys::recovery_flags_MD_RECOVERY_SYNC,
    /// A rebuild of a member.
    Recover = sys::recovery_flags_MD_RECOVERY_RECOVER,
    /// A user asked for it.
    Requested = sys::recovery_flags_MD_RECOVERY_REQUESTED,
    /// Only compare.
    Check = sys::recovery_flags_MD_RECOVERY_CHECK,
}

/// Bits of `mddev->flags`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Flag {
    /// The superblock says that the array has a journal.
    HasJournal = sys::mddev_flags_MD_HAS_JOURNAL,
    /// The journal is clean: no resync is needed after assembly.
    JournalClean = sys::mddev_flags_MD_JOURNAL_CLEAN,
    /// Partial parity log.
    HasPpl = sys::mddev_flags_MD_HAS_PPL,
    /// Too many members failed.
    Broken = sys::mddev_flags_MD_BROKEN,
}

/// `struct mddev`.
///
/// # Invariants
///
/// References exist only while the array exists: in personality callbacks, and
/// through [`MddevRef`].
#[repr(transparent)]
pub(crate) struct Mddev(Opaque<sys::mddev>);

// SAFETY: md core locks what it changes; what we touch is atomic, or is stable
// during the callbacks that read it.
unsafe impl Sync for Mddev {}
// SAFETY: As above.
unsafe impl Send for Mddev {}

macro_rules! field {
    ($(#[$doc:meta])* $name:ident, $field:ident, $ty:ty) => {
        $(#[$doc])*
        pub(crate) fn $name(&self) -> $ty {
            // SAFETY: A live mddev; a plain field of integer type, of which a
            // racing read gives the old or the new value.
            unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).$field) }
        }
    };
}

impl Mddev {
    /// Wraps the C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be a live mddev for as long as the reference.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut sys::mddev) -> &'a Self {
        // SAFETY: By the contract, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut sys::mddev {
        self.0.get()
    }

    field!(/// Current level: 4, 5 or 6. 
        level, level, i32);
    field!(/// Level that is wanted.
        new_level, new_level, i32);
    field!(/// Current layout number.
        layout, layout, i32);
    field!(/// Layout that is wanted.
        new_layout, new_layout, i32);
    field!(/// Chunk size in sectors.
        chunk_sectors, chunk_sectors, i32);
    field!(/// Chunk size that is wanted, in sectors.
        new_chunk_sectors, new_chunk_sectors, i32);
    field!(/// Number of members.
        raid_disks, raid_disks, i32);
    field!(/// Change of the number of members under way.
        delta_disks, delta_disks, i32);
    field!(/// Used size of each member, in sectors.
        dev_sectors, dev_sectors, u64);
    field!(/// Size of the array, in sectors.
        array_sectors, array_sectors, u64);
    field!(/// Where the resync has come to, in member sectors.
        resync_offset, resync_offset, u64);
    field!(/// Where the reshape has come to.
        reshape_position, reshape_position, u64);
    field!(/// Where the running sync is, in member sectors.
        curr_resync, curr_resync, u64);
    field!(/// How many members md takes to be missing.
        degraded, degraded, i32);
    field!(/// The administrator allows a start although data may be wrong.
        ok_start_degraded, ok_start_degraded, i32);
    field!(/// Non-zero if the array may not be written.
        ro, ro, i32);
    field!(/// The device number, as trace events have it.
        dev, unit, u32);
    field!(/// Size is managed by user space.
        external_size, external_size, i32);

    /// Whether a bitmap is configured.
    pub(crate) fn has_bitmap(&self) -> bool {
        // SAFETY: A live mddev; plain fields.
        unsafe {
            let info = &raw const (*self.as_ptr()).bitmap_info;
            (*info).offset != 0 || !(*info).file.is_null()
        }
    }

    /// The array's uuid, of which the journal's checksums are seeded.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        // SAFETY: A live mddev; the field is 16 bytes of char.
        unsafe { core::ptr::read((&raw const (*self.as_ptr()).uuid).cast()) }
    }

    /// The name that messages use: `md0`.
    pub(crate) fn name(&self) -> Name<'_> {
        Name(self)
    }

    /// Another handle for the private data of the personality.
    pub(crate) fn to_ref(&self) -> MddevRef {
        MddevRef(NonNull::from(self))
    }

    fn bits(&self, of: *mut usize) -> Bits<'_> {
        Bits(of, core::marker::PhantomData)
    }

    fn recovery_bits(&self) -> Bits<'_> {
        // SAFETY: A live mddev; only the address is taken.
        self.bits(unsafe { &raw mut (*self.as_ptr()).recovery })
    }

    /// Whether a recovery bit is set.
    pub(crate) fn recovery(&self, bit: Recovery) -> bool {
        self.recovery_bits().test(bit as u32)
    }

    /// Sets a recovery bit.
    pub(crate) fn set_recovery(&self, bit: Recovery) {
        self.recovery_bits().set(bit as u32);
    }

    fn flag_bits(&self) -> Bits<'_> {
        // SAFETY: A live mddev; only the address is taken.
        self.bits(unsafe { &raw mut (*self.as_ptr()).flags })
    }

    /// Whether a flag of the array is set.
    pub(crate) fn flag(&self, bit: Flag) -> bool {
        self.flag_bits().test(bit as u32)
    }

    /// Sets a flag of the array.
    pub(crate) fn set_flag(&self, bit: Flag) {
        self.flag_bits().set(bit as u32);
    }

    /// Clears one of the array's flags.
    pub(crate) fn clear_flag(&self, bit: Flag) {
        self.flag_bits().clear(bit as u32);
    }

    /// Whether a journal belongs to the array, in use or not. With the array's lock held.
    pub(crate) fn has_journal_device(&self) -> bool {
        // SAFETY: A live mddev; its list of devices does not change under the lock.
        unsafe { sys::raid5c_has_journal_device(self.as_ptr()) }
    }

    fn sb_bits(&self) -> Bits<'_> {
        // SAFETY: A live mddev; only the address is taken.
        self.bits(unsafe { &raw mut (*self.as_ptr()).sb_flags })
    }

    /// Whether a change waits to be written to the superblocks before any
    /// write may be acknowledged.
    pub(crate) fn sb_pending(&self) -> bool {
        self.sb_bits()
            .test(sys::mddev_sb_flags_MD_SB_CHANGE_PENDING)
    }

    /// Asks for the superblocks to be written, and for writes to wait until
    /// they are if `pending`.
    pub(crate) fn want_sb_write(&self, pending: bool) {
        let mut mask = 1usize << sys::mddev_sb_flags_MD_SB_CHANGE_DEVS;
        if pending {
            mask |= 1usize << sys::mddev_sb_flags_MD_SB_CHANGE_PENDING;
        }
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_set_mask_bits(&raw mut (*self.as_ptr()).sb_flags, mask) }
    }

    /// Has md's thread look whether devices are to be taken out or put in.
    pub(crate) fn look_for_work(&self) {
        self.set_recovery(Recovery::Needed);
        // SAFETY: A live mddev; RCU read lock as the C function wants, under which the thread
        // is there if the pointer is not null.
        unsafe {
            bindings::rcu_read_lock();
            sys::__md_wakeup_thread((*self.as_ptr()).thread);
            bindings::rcu_read_unlock();
        }
    }

    /// Writes the superblocks now, if the array's lock is free. Returns
    /// whether they were written.
    ///
    /// Must not be called where the caller's progress is what the holder of
    /// the lock waits for; see the reclaim thread.
    pub(crate) fn try_update_sb(&self) -> bool {
        // SAFETY: A live mddev; unlocked again below.
        if !unsafe { sys::raid5c_mddev_trylock(self.as_ptr()) } {
            return false;
        }
        let written = self.update_sb_locked();
        // SAFETY: We hold the lock.
        unsafe { sys::mddev_unlock(self.as_ptr()) };
        written
    }

    /// Writes the superblocks in a callback that md made with the array's lock
    /// held. False if the array is read-only, when md writes none.
    pub(crate) fn update_sb_locked(&self) -> bool {
        if self.ro() != 0 {
            return false;
        }
        // SAFETY: A live mddev. The lock is held: by md in `run`, `start`,
        // `hot_add_disk` and in `quiesce` outside the sync thread, or by the
        // callback for the consistency policy, which are the callers, or by
        // `try_update_sb`.
        unsafe { sys::md_update_sb(self.as_ptr(), 1) };
        true
    }

    /// Whether this task is the array's sync thread.
    pub(crate) fn in_sync_thread(&self) -> bool {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_in_sync_thread(self.as_ptr()) }
    }

    /// Runs `f` with the array's lock held; `EINTR` if a signal came first.
    pub(crate) fn locked<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        // SAFETY: A live mddev; unlocked below.
        kernel::error::to_result(unsafe { sys::raid5c_mddev_lock(self.as_ptr()) })?;
        let result = f();
        // SAFETY: We hold the lock.
        unsafe { sys::mddev_unlock(self.as_ptr()) };
        Ok(result)
    }

    /// Forces the array read-only.
    pub(crate) fn force_read_only(&self) {
        // SAFETY: A live mddev, in `run`, before it is open for I/O.
        unsafe { sys::raid5c_set_disk_ro(self.as_ptr()) }
    }

    /// Sets how many members are missing.
    pub(crate) fn set_degraded(&self, n: i32) {
        // SAFETY: A live mddev; md reads the field without a lock.
        unsafe { core::ptr::write_volatile(&raw mut (*self.as_ptr()).degraded, n) }
    }

    /// Sets the used size of each member and how far a resync goes, in sectors.
    /// For `run` and `resize` only, when md holds the array's lock.
    pub(crate) fn set_dev_sectors(&self, sectors: u64) {
        // SAFETY: A live mddev, locked by our caller.
        unsafe {
            (*self.as_ptr()).dev_sectors = sectors;
            (*self.as_ptr()).resync_max_sectors = sectors;
        }
    }

    /// Sets where the resync continues. For `resize` only.
    pub(crate) fn set_resync_offset(&self, sector: u64) {
        // SAFETY: A live mddev, locked by our caller.
        unsafe { (*self.as_ptr()).resync_offset = sector }
    }

    /// Sets the array's size, in sectors.
    pub(crate) fn set_array_sectors(&self, sectors: u64) {
        // SAFETY: A live mddev.
        unsafe { sys::md_set_array_sectors(self.as_ptr(), sectors) }
    }

    /// Sets the queue limits from the chunk size and the number of data disks. Returns whether
    /// the members take discards, and are said to read as zeroes there.
    pub(crate) fn set_limits(&self, chunk_bytes: u32, data_disks: u32) -> Result<bool> {
        let mut discards = false;
        // SAFETY: A live mddev, in `run`.
        kernel::error::to_result(unsafe {
            sys::raid5c_set_limits(self.as_ptr(), chunk_bytes, data_disks, &mut discards)
        })?;
        Ok(discards)
    }

    /// Whether the array's users are told that it has a volatile write cache, and so flush it.
    pub(crate) fn has_write_cache(&self) -> bool {
        // SAFETY: A live mddev of a running array; its disk, if it has one, lives as long.
        unsafe { sys::raid5c_md_write_cache(self.as_ptr()) }
    }

    /// The array's devices. For callbacks in which md keeps the list still.
    pub(crate) fn rdevs(&self) -> impl Iterator<Item = &Rdev> {
        // SAFETY: A live mddev whose list is still, see above.
        let mut next = unsafe { sys::raid5c_first_rdev(self.as_ptr()) };
        core::iter::from_fn(move || {
            let now = NonNull::new(next)?;
            // SAFETY: An element of the list.
            next = unsafe { sys::raid5c_next_rdev(self.as_ptr(), now.as_ptr()) };
            // SAFETY: As above.
            Some(unsafe { Rdev::from_raw(now.as_ptr()) })
        })
    }

    /// Tells md that `rdev` failed.
    pub(crate) fn error(&self, rdev: &Rdev) {
        // SAFETY: Both live.
        unsafe { sys::md_error(self.as_ptr(), rdev.as_ptr()) }
    }

    /// What md wants done in its thread: superblocks, sync threads, spares.
    pub(crate) fn check_recovery(&self) {
        // SAFETY: A live mddev, called from its thread.
        unsafe { sys::md_check_recovery(self.as_ptr()) }
    }

    /// Tells md that `sectors` of each member were synced.
    pub(crate) fn done_sync(&self, sectors: u64, ok: bool) {
        // SAFETY: A live mddev.
        unsafe {
            if !ok {
                sys::md_sync_error(self.as_ptr());
            }
            sys::md_done_sync(self.as_ptr(), i32::try_from(sectors).unwrap_or(i32::MAX));
        }
    }

    /// Counts sectors of which data and parity did not agree.
    pub(crate) fn add_mismatches(&self, sectors: u64) {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_add_mismatches(self.as_ptr(), sectors) }
    }

    /// A write is about to start: waits until the array is marked active.
    pub(crate) fn write_start(&self, bio: &Bio) {
        // SAFETY: Both live; we are in make_request.
        unsafe { sys::md_write_start(self.as_ptr(), bio.as_ptr()) }
    }

    /// The same without waiting; false, and nothing is started, if that cannot be.
    pub(crate) fn write_start_nowait(&self) -> bool {
        // SAFETY: A live mddev; we are in make_request.
        unsafe { sys::raid5c_write_start_nowait(self.as_ptr()) }
    }

    /// One more part of a write that has started.
    pub(crate) fn write_inc(&self, bio: &Bio) {
        // SAFETY: Both live, and `write_start` was called.
        unsafe { sys::md_write_inc(self.as_ptr(), bio.as_ptr()) }
    }

    /// A part of a write ended.
    pub(crate) fn write_end(&self) {
        // SAFETY: Pairs with `write_start` or `write_inc`.
        unsafe { sys::md_write_end(self.as_ptr()) }
    }

    /// Makes the bitmap's bits of started writes stable before their data.
    pub(crate) fn bitmap_unplug(&self) {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_bitmap_unplug(self.as_ptr()) }
    }

    /// Whether a write bitmap is in use.
    pub(crate) fn bitmap_enabled(&self) -> bool {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_bitmap_enabled(self.as_ptr()) }
    }

    /// Whether parity of the member sectors from `sector` to `end` agrees with the data, as far as
    /// md knows: neither a resync still has to come there, nor the first sync that a lockless bitmap
    /// puts off. Asked in steps of a row.
    pub(crate) fn is_synced(&self, sector: u64, end: u64) -> bool {
        // SAFETY: `self` is valid.
        let known = || unsafe { sys::raid5c_bitmap_synced(self.as_ptr(), sector, end, 8) };
        end <= self.resync_offset() && known()
    }

    /// Asks the bitmap about a sync at `sector`: whether it is needed, and for
    /// how many sectors that answer holds.
    pub(crate) fn bitmap_start_sync(&self, sector: u64, degraded: bool) -> (bool, u64) {
        let mut blocks = 0;
        // SAFETY: A live mddev.
        let needed =
            unsafe { sys::raid5c_bitmap_start_sync(self.as_ptr(), sector, &mut blocks, degraded) };
        (needed, blocks)
    }

    /// The sync at `sector` was given up.
    pub(crate) fn bitmap_end_sync(&self, sector: u64) {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_bitmap_end_sync(self.as_ptr(), sector) }
    }

    /// The sync has come to `sector`.
    pub(crate) fn bitmap_cond_end_sync(&self, sector: u64) {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_bitmap_cond_end_sync(self.as_ptr(), sector) }
    }

    /// The sync is over.
    pub(crate) fn bitmap_close_sync(&self) {
        // SAFETY: A live mddev.
        unsafe { sys::raid5c_bitmap_close_sync(self.as_ptr()) }
    }

    /// Fits the bitmap to members of `sectors`.
    pub(crate) fn bitmap_resize(&self, sectors: u64) -> Result {
        // SAFETY: A live mddev, locked by md for `resize`.
        kernel::error::to_result(unsafe { sys::raid5c_bitmap_resize(self.as_ptr(), sectors) })
    }
}

/// A handle that the private data of a personality keeps.
///
/// # Invariants
///
/// Points to a live mddev: md frees the private data, by `free`, before the
/// mddev, and the crate keeps handles only in what the private data owns.
#[derive(Clone, Copy)]
pub(crate) struct MddevRef(NonNull<Mddev>);

// SAFETY: `&Mddev` is `Sync`.
unsafe impl Send for MddevRef {}
// SAFETY: As above.
unsafe impl Sync for MddevRef {}

impl Deref for MddevRef {
    type Target = Mddev;

    fn deref(&self) -> &Mddev {
        // SAFETY: By the invariant.
        unsafe { self.0.as_ref() }
    }
}

/// Shows an array's name.
pub(crate) struct Name<'a>(&'a Mddev);

impl kernel::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: A live mddev; the name is a C string in its gendisk.
        let name = unsafe { CStr::from_char_ptr(sys::raid5c_mddev_name(self.0.as_ptr())) };
        f.write_str(name.to_str().unwrap_or("md?"))
    }
}

/// A word of atomic bits inside a C object.
pub(super) struct Bits<'a>(*mut usize, core::marker::PhantomData<&'a usize>);

impl Bits<'_> {
    /// # Safety
    ///
    /// `word` must be valid for 'a and be used by C as an atomic bit field.
    pub(super) unsafe fn new(word: *mut usize) -> Self {
        Self(word, core::marker::PhantomData)
    }

    pub(super) fn test(&self, bit: u32) -> bool {
        // SAFETY: By the contract of the constructors.
        unsafe { sys::raid5c_test_bit(bit as usize, self.0) }
    }

    pub(super) fn set(&self, bit: u32) {
        // SAFETY: As above.
        unsafe { bindings::set_bit(bit as usize, self.0) }
    }

    pub(super) fn clear(&self, bit: u32) {
        // SAFETY: As above.
        unsafe { bindings::clear_bit(bit as usize, self.0) }
    }

    pub(super) fn test_and_set(&self, bit: u32) -> bool {
        // SAFETY: As above.
        unsafe { sys::raid5c_test_and_set_bit(bit as usize, self.0) }
    }
}
