// SPDX-License-Identifier: GPL-2.0

//! The devices of an array.

use super::mddev::Bits;
use crate::{lib::page::Page, raid::spare::Flags, sys};
use core::{fmt, ops::Deref, ptr::NonNull};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full},
        rcu,
    },
    types::Opaque,
};

/// `struct md_rdev`: one device of an array.
///
/// # Invariants
///
/// References exist only in callbacks that md made with the device attached,
/// and through [`RdevRef`].
#[repr(transparent)]
pub(crate) struct Rdev(Opaque<sys::md_rdev>);

// SAFETY: md core locks what it changes; what we touch is atomic or constant
// while the device is attached.
unsafe impl Sync for Rdev {}
// SAFETY: As above.
unsafe impl Send for Rdev {}

/// Bits of `rdev->flags`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum RdevFlag {
    /// Failed; no I/O.
    Faulty = sys::flag_bits_Faulty,
    /// Holds all that it should.
    InSync = sys::flag_bits_In_sync,
    /// Its failure is not recorded yet.
    Blocked = sys::flag_bits_Blocked,
    /// The array's journal.
    Journal = sys::flag_bits_Journal,
    /// A replacement of another member.
    Replacement = sys::flag_bits_Replacement,
    /// Wants to be replaced.
    WantReplacement = sys::flag_bits_WantReplacement,
    /// Has failed a write: its bad blocks are not written any more.
    WriteErrorSeen = sys::flag_bits_WriteErrorSeen,
}

impl Rdev {
    /// Wraps the C object.
    ///
    /// # Safety
    ///
    /// `ptr` must be a live rdev for as long as the reference.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut sys::md_rdev) -> &'a Self {
        // SAFETY: By the contract, and the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut sys::md_rdev {
        self.0.get()
    }

    fn bits(&self) -> Bits<'_> {
        // SAFETY: A live rdev; C uses `flags` as an atomic bit field.
        unsafe { Bits::new(&raw mut (*self.as_ptr()).flags) }
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, flag: RdevFlag) -> bool {
        self.bits().test(flag as u32)
    }

    /// Sets a flag.
    pub(crate) fn set_flag(&self, flag: RdevFlag) {
        self.bits().set(flag as u32);
    }

    /// Clears a flag.
    pub(crate) fn clear_flag(&self, flag: RdevFlag) {
        self.bits().clear(flag as u32);
    }

    /// Sets a flag and returns whether it was set before.
    pub(crate) fn test_and_set_flag(&self, flag: RdevFlag) -> bool {
        self.bits().test_and_set(flag as u32)
    }

    /// The device's role: its member index, or negative.
    pub(crate) fn raid_disk(&self) -> i32 {
        // SAFETY: A live rdev; a plain integer.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).raid_disk) }
    }

    /// Gives the device a role. For `hot_add_disk` only, under md's lock.
    pub(crate) fn set_raid_disk(&self, slot: i32) {
        // SAFETY: A live rdev, locked by md.
        unsafe { core::ptr::write_volatile(&raw mut (*self.as_ptr()).raid_disk, slot) }
    }

    /// The role that the device had and may have again after a partial resync.
    pub(crate) fn saved_raid_disk(&self) -> i32 {
        // SAFETY: As in `raid_disk`.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).saved_raid_disk) }
    }

    /// First sector of the array's data on the device.
    pub(crate) fn data_offset(&self) -> u64 {
        // SAFETY: A live rdev; constant while it is attached.
        unsafe { (*self.as_ptr()).data_offset }
    }

    /// Size of the device's part in the array, in sectors.
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: A live rdev; a plain integer.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_ptr()).sectors) }
    }

    /// The block device.
    pub(crate) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: A live rdev; constant while it is attached.
        unsafe { (*self.as_ptr()).bdev }
    }

    /// How far the device has been rebuilt, in member sectors.
    pub(crate) fn recovery_offset(&self) -> u64 {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_recovery_offset(self.as_ptr()) }
    }

    /// Where recovery of the journal starts, in sectors of the journal.
    pub(crate) fn journal_tail(&self) -> u64 {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_journal_tail(self.as_ptr()) }
    }

    /// Sets the tail that the next superblock write records.
    pub(crate) fn set_journal_tail(&self, sector: u64) {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_set_journal_tail(self.as_ptr(), sector) }
    }

    /// Whether writes have to wait until md recorded something of the device. Who keeps external
    /// metadata says so for each bad block, and md takes the first for all: so it is looked at whether
    /// there are others. (Internal metadata is written as a whole, see `Mddev::sb_pending`.)
    pub(crate) fn is_blocked(&self) -> bool {
        // SAFETY: A live rdev of an array.
        unsafe {
            sys::raid5c_rdev_blocked(self.as_ptr()) || sys::raid5c_rdev_unacked(self.as_ptr())
        }
    }

    /// Whether I/O of ours is in flight.
    pub(crate) fn is_pending(&self) -> bool {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_pending(self.as_ptr()) != 0 }
    }

    /// Whether the bad-block log has one in `n` sectors from member sector `s`.
    pub(crate) fn has_badblock(&self, s: u64, n: u32) -> bool {
        // SAFETY: A live rdev.
        unsafe {
            sys::raid5c_rdev_has_badblock(self.as_ptr(), s, i32::try_from(n).unwrap_or(i32::MAX))
        }
    }

    /// Whether anything is in the bad-block log.
    pub(crate) fn any_badblock(&self) -> bool {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_any_badblock(self.as_ptr()) }
    }

    /// Whether role `slot` of the array had a working device when this one's superblock was read or
    /// last written; true where that cannot be told.
    pub(crate) fn knows_role(&self, slot: usize) -> bool {
        let role = u32::try_from(slot).unwrap_or(u32::MAX);
        // SAFETY: A live rdev; the array's lock, under which recovery runs, keeps its superblock still.
        unsafe { sys::raid5c_rdev_knows_role(self.as_ptr(), role) }
    }

    /// Whether the bad-block log can take `n` more, each perhaps by itself.
    pub(crate) fn takes_badblocks(&self, n: u32) -> bool {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_takes_badblocks(self.as_ptr(), n) }
    }

    /// Records that `n` sectors from member sector `s` hold nothing; md writes that to the
    /// superblocks before any write is acknowledged. False if it cannot be recorded: there is no
    /// log, or it is full.
    pub(crate) fn set_badblock(&self, s: u64, n: u32) -> bool {
        // SAFETY: A live rdev.
        unsafe {
            sys::raid5c_rdev_set_badblocks(self.as_ptr(), s, i32::try_from(n).unwrap_or(i32::MAX))
        }
    }

    /// `n` sectors from member sector `s` were written well.
    pub(crate) fn clear_badblock(&self, s: u64, n: u32) {
        if self.has_badblock(s, n) {
            let n = i32::try_from(n).unwrap_or(i32::MAX);
            // SAFETY: A live rdev.
            unsafe { sys::raid5c_rdev_clear_badblocks(self.as_ptr(), s, n) }
        }
    }

    /// Counts sectors whose read error was put right.
    pub(crate) fn add_corrected(&self, sectors: u32) {
        // SAFETY: A live rdev.
        unsafe {
            sys::raid5c_rdev_corrected(self.as_ptr(), i32::try_from(sectors).unwrap_or(i32::MAX))
        }
    }

    /// Tells user space that the device's state changed.
    pub(crate) fn notify_state(&self) {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_notify_state(self.as_ptr()) }
    }

    /// Whether the device has a volatile write cache.
    pub(crate) fn has_write_cache(&self) -> bool {
        // SAFETY: A live rdev with an open device.
        unsafe { sys::raid5c_bdev_write_cache(self.bdev()) }
    }

    /// Flushes the device's write cache and waits.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: A live rdev with an open device; sleeps.
        kernel::error::to_result(unsafe { sys::raid5c_flush_bdev(self.bdev()) })
    }

    /// The longest request that the device takes without waiting, in sectors; 0 if it takes none.
    pub(crate) fn nowait_sectors(&self) -> u32 {
        // SAFETY: A live rdev with an open device.
        unsafe { sys::raid5c_bdev_nowait_sectors(self.bdev()) }
    }

    /// Whether the device can discard `n` sectors from member sector `s`, and just these.
    pub(crate) fn discards(&self, s: u64, n: u32) -> bool {
        let at = self.data_offset().wrapping_add(s);
        // SAFETY: A live rdev with an open device.
        unsafe { sys::raid5c_bdev_discards(self.bdev(), at, n) }
    }

    /// Discards `n` sectors from `start` of the data area, if it can.
    pub(crate) fn discard(&self, start: u64, n: u64) -> Result {
        // SAFETY: A live rdev with an open device; sleeps.
        kernel::error::to_result(unsafe {
            sys::raid5c_discard_bdev(self.bdev(), self.data_offset().wrapping_add(start), n)
        })
    }

    /// Reads or writes one page at `sector` of the data area, and waits.
    /// With `fua` a write is stable when this returns.
    pub(crate) fn page_io(&self, sector: u64, page: &Page, write: bool, fua: bool) -> Result {
        let mut opf = bindings::req_op_REQ_OP_READ;
        if write {
            opf = bindings::req_op_REQ_OP_WRITE | sys::RAID5C_REQ_SYNC;
            if fua {
                opf |= sys::RAID5C_REQ_FUA;
            }
        }
        // SAFETY: A live rdev and page; sleeps.
        let ok =
            unsafe { sys::sync_page_io(self.as_ptr(), sector, 4096, page.as_ptr(), opf, false) };
        if ok != 0 {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Reads as many pages as there are, at most [`MAX_PAGES`], from `sector` of the data area on,
    /// and waits.
    pub(crate) fn read_pages(&self, sector: u64, pages: &[Page]) -> Result {
        let mut raw = [core::ptr::null_mut(); MAX_PAGES];
        for (raw, page) in raw.iter_mut().zip(pages) {
            *raw = page.as_ptr();
        }
        if pages.len() > MAX_PAGES {
            return Err(EINVAL);
        }
        // SAFETY: A live rdev with an open device, and so many valid pages; sleeps.
        kernel::error::to_result(unsafe {
            sys::raid5c_read_pages(
                self.bdev(),
                self.data_offset().wrapping_add(sector),
                raw.as_mut_ptr(),
                // Lossless: just checked.
                pages.len() as u32,
            )
        })
    }

    /// The device's name: `sdb`.
    pub(crate) fn name(&self) -> RdevName<'_> {
        RdevName(self)
    }
}

impl Flags for Rdev {
    fn is_faulty(&self) -> bool {
        self.flag(RdevFlag::Faulty)
    }

    fn set_in_sync(&self) -> bool {
        self.test_and_set_flag(RdevFlag::InSync)
    }

    fn clear_in_sync(&self) {
        self.clear_flag(RdevFlag::InSync);
    }
}

/// Shows a device's name.
pub(crate) struct RdevName<'a>(&'a Rdev);

impl kernel::fmt::Display for RdevName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: A live rdev; the name is a C string in its gendisk.
        let name = unsafe { CStr::from_char_ptr(sys::raid5c_rdev_name(self.0.as_ptr())) };
        f.write_str(name.to_str().unwrap_or("?"))
    }
}

/// The most pages that are read at once; the list of them is on the stack.
pub(crate) const MAX_PAGES: usize = 64;

/// A counted use of a device, for I/O.
///
/// # Invariants
///
/// Owns one of the device's `nr_pending`, which keeps md from removing it.
pub(crate) struct RdevRef(NonNull<Rdev>);

// SAFETY: `&Rdev` is `Sync`, and the count may be dropped anywhere.
unsafe impl Send for RdevRef {}
// SAFETY: As above.
unsafe impl Sync for RdevRef {}

impl RdevRef {
    /// Counts a use of a device that our caller knows to be attached.
    pub(crate) fn new(rdev: &Rdev) -> Self {
        // SAFETY: A live rdev.
        unsafe { sys::raid5c_rdev_get(rdev.as_ptr()) };
        // INVARIANT: Just counted.
        Self(NonNull::from(rdev))
    }

    /// Hands the count to C.
    pub(crate) fn into_raw(self) -> *mut sys::md_rdev {
        let ptr = self.as_ptr();
        core::mem::forget(self);
        ptr
    }

    /// Takes a count back.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`Self::into_raw`], once.
    pub(crate) unsafe fn from_raw(ptr: NonNull<sys::md_rdev>) -> Self {
        // INVARIANT: By the contract.
        Self(ptr.cast())
    }
}

impl Deref for RdevRef {
    type Target = Rdev;

    fn deref(&self) -> &Rdev {
        // SAFETY: By the invariant md keeps the device.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for RdevRef {
    fn drop(&mut self) {
        // SAFETY: By the invariant the count is ours.
        unsafe { sys::raid5c_rdev_put(self.as_ptr()) }
    }
}

/// Where an array keeps the device of one role.
///
/// Lookers are RCU readers, and count a use before they leave the reader's
/// section. Removal clears the role first, waits for the readers, and takes
/// the device back if a use was counted meanwhile. md itself frees a device
/// only after a grace period behind `hot_remove_disk`.
pub(crate) struct RdevSlot(Atomic<usize>);

impl RdevSlot {
    /// A role without a device.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The device, counted.
    pub(crate) fn get(&self) -> Option<RdevRef> {
        let guard = rcu::read_lock();
        self.peek(&guard).map(RdevRef::new)
    }

    /// The device, not counted: for a look at its flags.
    pub(crate) fn peek<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a Rdev> {
        let ptr = NonNull::new(self.0.load(Acquire) as *mut sys::md_rdev)?;
        // SAFETY: See the type: the device outlives the reader's section.
        Some(unsafe { Rdev::from_raw(ptr.as_ptr()) })
    }

    /// Whether the role has no device.
    pub(crate) fn is_vacant(&self) -> bool {
        self.0.load(Acquire) == 0
    }

    /// Whether this is the device of the role.
    pub(crate) fn is(&self, rdev: &Rdev) -> bool {
        self.0.load(Acquire) == rdev.as_ptr() as usize
    }

    /// Gives the role a device; in callbacks in which md has it attached.
    pub(crate) fn set(&self, rdev: &Rdev) {
        self.0.xchg(rdev.as_ptr() as usize, Full);
    }

    /// Takes the device out of this place, when it has another one in the array. Who looked there
    /// before it had looks here as well, and must find it: so not before these have gone.
    pub(crate) fn clear(&self) {
        // SAFETY: No preconditions but that we may sleep, and are no reader.
        unsafe { bindings::synchronize_rcu() };
        self.0.xchg(0, Full);
    }

    /// Takes the device out of the role; `EBUSY` if it is in use. In
    /// `hot_remove_disk`.
    pub(crate) fn remove(&self, rdev: &Rdev) -> Result {
        self.0.xchg(0, Full);
        // SAFETY: No preconditions but that we may sleep, and are no reader.
        unsafe { bindings::synchronize_rcu() };
        if rdev.is_pending() {
            self.set(rdev);
            return Err(EBUSY);
        }
        Ok(())
    }
}
