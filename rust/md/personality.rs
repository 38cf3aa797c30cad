// SPDX-License-Identifier: GPL-2.0

//! Registration of md personalities.

use super::{mddev::Mddev, rdev::Rdev};
use crate::{block::bio::Bio, sys};
use core::{fmt, marker::PhantomData, ptr};
use kernel::{
    bindings,
    error::{from_result, to_result},
    prelude::*,
    sync::Arc,
    ThisModule,
};

/// A personality: how md drives the arrays of one level.
///
/// `self` is the private data that `run` returned. md calls nothing but `run`
/// and `size` before that; callbacks that come while there is none (after a
/// failed level change) get an error.
pub(crate) trait Personality: Sized + Send + Sync + 'static {
    /// Starts an array; nothing yet that needs md's threads.
    fn run(mddev: &Mddev) -> Result<Arc<Self>>;
    /// The last of `run`: the private data is in place.
    fn started(&self, mddev: &Mddev) -> Result;
    /// Starts what needs md's threads: the journal's recovery.
    fn start(this: &Arc<Self>, mddev: &Mddev) -> Result;
    /// Stops everything; the array's I/O is over. The mddev may belong to
    /// another personality already.
    fn free(this: Arc<Self>);
    /// Takes a bio.
    fn make_request(this: &Arc<Self>, mddev: &Mddev, bio: Bio);
    /// The array's part of its line in /proc/mdstat.
    fn status(&self, mddev: &Mddev, out: &mut dyn fmt::Write) -> fmt::Result;
    /// A device failed; called in any context.
    fn error(&self, mddev: &Mddev, rdev: &Rdev);
    /// Takes a spare or a journal.
    fn add_disk(this: &Arc<Self>, mddev: &Mddev, rdev: &Rdev) -> Result;
    /// Gives a device back.
    fn remove_disk(&self, mddev: &Mddev, rdev: &Rdev) -> Result;
    /// Members that are rebuilt become active; how many did.
    fn spare_active(&self, mddev: &Mddev) -> i32;
    /// Syncs from `sector`; returns the sectors taken and whether they were
    /// skipped. With `sector >= max` it is told that the sync is over.
    fn sync_request(this: &Arc<Self>, mddev: &Mddev, sector: u64, max: u64) -> (u64, bool);
    /// Changes the used size of each member.
    fn resize(&self, mddev: &Mddev, sectors: u64) -> Result;
    /// The array's size for members of `sectors` (0: as they are) and
    /// `raid_disks` (0: as now).
    fn size(mddev: &Mddev, sectors: u64, raid_disks: i32) -> u64;
    /// Whether the wanted shape can be reached.
    fn check_reshape(&self, mddev: &Mddev) -> Result;
    /// Begins a reshape. Without such a function, md would refuse arrays that are being reshaped before
    /// [`Self::run`] could say why.
    fn start_reshape(&self, mddev: &Mddev) -> Result;
    /// Changes how parity is kept right after a crash, to what a user wrote; with the array suspended
    /// and locked.
    fn change_consistency_policy(&self, mddev: &Mddev, policy: &CStr) -> Result;
    /// Stops (`true`) or allows new work; returns when none is under way.
    fn quiesce(&self, mddev: &Mddev, stop: bool);
    /// Maps a range of array sectors to member sectors for the bitmap.
    fn bitmap_range(&self, start: u64, sectors: u64) -> (u64, u64);
}

/// Runs `f` on the private data of an array that `P` runs, if it does: in the
/// array's thread, or with the array's lock held.
pub(crate) fn with_private<P: Personality, R>(
    mddev: &Mddev,
    f: impl FnOnce(&Arc<P>) -> R,
) -> Option<R> {
    let m = mddev.as_ptr();
    // SAFETY: A live mddev; `pers` is null or a live personality, which does
    // not change under the lock, nor while the thread that it started runs.
    let ours = unsafe {
        let pers = ptr::read_volatile(&raw const (*m).pers);
        !pers.is_null() && (*pers).head.owner == sys::raid5c_this_module()
    };
    if !ours {
        return None;
    }
    // SAFETY: The array's personality is `P`, so that its private data is.
    unsafe { Registration::<P>::with(m, None, |p, _| Some(f(p))) }
}

/// A personality that is registered with md core until dropped.
pub(crate) struct Registration<P: Personality> {
    pers: Pin<KBox<sys::md_personality>>,
    _p: PhantomData<P>,
}

// SAFETY: Registration and its removal may happen in any task.
unsafe impl<P: Personality> Send for Registration<P> {}
// SAFETY: `&Registration` allows nothing.
unsafe impl<P: Personality> Sync for Registration<P> {}

impl<P: Personality> Registration<P> {
    /// Registers `P` for `level`; `EEXIST` or `EBUSY` if another module has it.
    pub(crate) fn new(
        level: i32,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let mut pers = KBox::pin(Self::table(level, name, module), GFP_KERNEL)?;
        // SAFETY: The table is ours; the callbacks are for those fields.
        unsafe {
            sys::raid5c_set_bitmap_hooks(
                &raw mut *pers.as_mut().get_unchecked_mut(),
                Some(Self::bitmap_map_callback),
                Some(Self::member_sectors_callback),
                Some(Self::array_sectors_callback),
            )
        }
        // SAFETY: Nothing is moved out of the pinned box; md core keeps the
        // pointer to `head` until `drop` unregisters it.
        to_result(unsafe {
            sys::register_md_submodule(&raw mut pers.as_mut().get_unchecked_mut().head)
        })?;
        Ok(Self {
            pers,
            _p: PhantomData,
        })
    }

    #[allow(clippy::needless_update)] // newer kernels have more fields
    fn table(level: i32, name: &'static CStr, module: &'static ThisModule) -> sys::md_personality {
        sys::md_personality {
            head: sys::md_submodule_head {
                type_: sys::md_submodule_type_MD_PERSONALITY,
                // Levels are their ids; see `enum md_submodule_id`.
                id: level,
                name: name.as_char_ptr(),
                owner: module.as_ptr(),
            },
            make_request: Some(Self::make_request_callback),
            run: Some(Self::run_callback),
            start: Some(Self::start_callback),
            free: Some(Self::free_callback),
            status: Some(Self::status_callback),
            error_handler: Some(Self::error_callback),
            hot_add_disk: Some(Self::add_callback),
            hot_remove_disk: Some(Self::remove_callback),
            spare_active: Some(Self::spare_active_callback),
            sync_request: Some(Self::sync_request_callback),
            resize: Some(Self::resize_callback),
            size: Some(Self::size_callback),
            check_reshape: Some(Self::check_reshape_callback),
            start_reshape: Some(Self::start_reshape_callback),
            finish_reshape: None,
            update_reshape_pos: None,
            prepare_suspend: None,
            quiesce: Some(Self::quiesce_callback),
            takeover: None,
            change_consistency_policy: Some(Self::consistency_policy_callback),
            bitmap_sector: Some(Self::bitmap_sector_callback),
            ..pin_init::zeroed()
        }
    }

    /// Runs `f` on the private data, if there is any.
    ///
    /// # Safety
    ///
    /// `mddev` must be live, in a callback of this personality.
    unsafe fn with<R>(mddev: *mut sys::mddev, none: R, f: impl FnOnce(&Arc<P>, &Mddev) -> R) -> R {
        // SAFETY: A live mddev.
        let private = unsafe { ptr::read_volatile(&raw const (*mddev).private) };
        if private.is_null() {
            return none;
        }
        // SAFETY: Set by `run_callback` from such an `Arc`; `free` runs when no
        // other callback does.
        let this = core::mem::ManuallyDrop::new(unsafe { Arc::from_raw(private.cast::<P>()) });
        // SAFETY: By our contract.
        f(&this, unsafe { Mddev::from_raw(mddev) })
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn make_request_callback(
        mddev: *mut sys::mddev,
        bio: *mut bindings::bio,
    ) -> bool {
        // SAFETY: md hands the bio over; we always return true, by which we
        // keep it.
        let bio = unsafe { Bio::from_raw(bio) };
        // SAFETY: By our contract.
        let left = unsafe {
            let mut bio = Some(bio);
            Self::with(mddev, (), |p, m| {
                if let Some(bio) = bio.take() {
                    P::make_request(p, m, bio);
                }
            });
            bio
        };
        if let Some(bio) = left {
            // The array does not run: a level change failed.
            bio.end_error();
        }
        true
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn run_callback(mddev: *mut sys::mddev) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: By our contract.
            let m = unsafe { Mddev::from_raw(mddev) };
            let this = P::run(m)?;
            let ptr = Arc::into_raw(this.clone());
            // SAFETY: A live mddev in `run`; md reads the field in callbacks
            // that come after it.
            unsafe { ptr::write_volatile(&raw mut (*mddev).private, ptr.cast_mut().cast()) };
            if let Err(e) = this.started(m) {
                // md would call `free` for a private that is left; exactly one
                // of us may.
                // SAFETY: As above.
                unsafe { ptr::write_volatile(&raw mut (*mddev).private, ptr::null_mut()) };
                // SAFETY: From `into_raw` above, taken back once.
                drop(unsafe { Arc::from_raw(ptr) });
                P::free(this);
                super::sysfs::detach(mddev);
                return Err(e);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn start_callback(mddev: *mut sys::mddev) -> kernel::ffi::c_int {
        // SAFETY: By our contract.
        from_result(|| unsafe { Self::with(mddev, Err(ENODEV), P::start) }.map(|()| 0))
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn free_callback(mddev: *mut sys::mddev, private: *mut kernel::ffi::c_void) {
        if private.is_null() {
            return;
        }
        // SAFETY: `private` is what `run` returned; md gives it back once.
        P::free(unsafe { Arc::from_raw(private.cast::<P>()) });
        super::sysfs::detach(mddev);
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn status_callback(seq: *mut bindings::seq_file, mddev: *mut sys::mddev) {
        let mut out = Seq(seq);
        // SAFETY: By our contract.
        unsafe {
            Self::with(mddev, (), |p, m| {
                // A full buffer makes seq_file call again with a larger one.
                let _ = p.status(m, &mut out);
            })
        }
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn error_callback(mddev: *mut sys::mddev, rdev: *mut sys::md_rdev) {
        // SAFETY: By our contract; md has the device attached.
        unsafe { Self::with(mddev, (), |p, m| p.error(m, Rdev::from_raw(rdev))) }
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn add_callback(
        mddev: *mut sys::mddev,
        rdev: *mut sys::md_rdev,
    ) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: By our contract; md has the device attached.
            unsafe {
                Self::with(mddev, Err(ENODEV), |p, m| {
                    P::add_disk(p, m, Rdev::from_raw(rdev))
                })
            }
            .map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn remove_callback(
        mddev: *mut sys::mddev,
        rdev: *mut sys::md_rdev,
    ) -> kernel::ffi::c_int {
        from_result(|| {
            // SAFETY: By our contract; md has the device attached.
            unsafe {
                Self::with(mddev, Err(ENODEV), |p, m| {
                    p.remove_disk(m, Rdev::from_raw(rdev))
                })
            }
            .map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn spare_active_callback(mddev: *mut sys::mddev) -> kernel::ffi::c_int {
        // SAFETY: By our contract.
        unsafe { Self::with(mddev, 0, |p, m| p.spare_active(m)) }
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn sync_request_callback(
        mddev: *mut sys::mddev,
        sector: u64,
        max: u64,
        skipped: *mut kernel::ffi::c_int,
    ) -> u64 {
        // SAFETY: By our contract.
        let (sectors, skip) =
            unsafe { Self::with(mddev, (0, false), |p, m| P::sync_request(p, m, sector, max)) };
        if skip {
            // SAFETY: md passes a valid pointer.
            unsafe { *skipped = 1 };
        }
        sectors
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn resize_callback(
        mddev: *mut sys::mddev,
        sectors: u64,
    ) -> kernel::ffi::c_int {
        // SAFETY: By our contract.
        let result = unsafe { Self::with(mddev, Err(ENODEV), |p, m| p.resize(m, sectors)) };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn size_callback(
        mddev: *mut sys::mddev,
        sectors: u64,
        raid_disks: kernel::ffi::c_int,
    ) -> u64 {
        // SAFETY: By our contract.
        P::size(unsafe { Mddev::from_raw(mddev) }, sectors, raid_disks)
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn check_reshape_callback(mddev: *mut sys::mddev) -> kernel::ffi::c_int {
        // SAFETY: By our contract.
        let result = unsafe { Self::with(mddev, Err(ENODEV), |p, m| p.check_reshape(m)) };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn start_reshape_callback(mddev: *mut sys::mddev) -> kernel::ffi::c_int {
        // SAFETY: By our contract.
        let result = unsafe { Self::with(mddev, Err(ENODEV), |p, m| p.start_reshape(m)) };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// As md core calls it: without the array's lock, and with a string.
    unsafe extern "C" fn consistency_policy_callback(
        mddev: *mut sys::mddev,
        policy: *const kernel::ffi::c_char,
    ) -> kernel::ffi::c_int {
        // SAFETY: A live mddev, of which the caller holds neither the lock nor I/O.
        let locked = to_result(unsafe { sys::raid5c_mddev_suspend_and_lock(mddev) });
        if let Err(e) = locked {
            return e.to_errno();
        }
        // SAFETY: By our contract.
        let policy = unsafe { CStr::from_char_ptr(policy) };
        // SAFETY: By our contract.
        let result = unsafe {
            Self::with(mddev, Err(ENODEV), |p, m| {
                p.change_consistency_policy(m, policy)
            })
        };
        // SAFETY: It was suspended and locked above.
        unsafe { sys::raid5c_mddev_unlock_and_resume(mddev) };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn quiesce_callback(mddev: *mut sys::mddev, stop: kernel::ffi::c_int) {
        // SAFETY: By our contract.
        unsafe { Self::with(mddev, (), |p, m| p.quiesce(m, stop != 0)) }
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn bitmap_sector_callback(
        mddev: *mut sys::mddev,
        offset: *mut u64,
        sectors: *mut kernel::ffi::c_ulong,
    ) {
        // SAFETY: By our contract; md passes valid pointers.
        unsafe {
            Self::with(mddev, (), |p, _| {
                let (start, n) = p.bitmap_range(*offset, *sectors as u64);
                *offset = start;
                *sectors = n as kernel::ffi::c_ulong;
            })
        }
    }

    /// The mapping is the same before and after a reshape, as there is none.
    ///
    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn bitmap_map_callback(
        mddev: *mut sys::mddev,
        offset: *mut u64,
        sectors: *mut kernel::ffi::c_ulong,
        _previous: bool,
    ) {
        // SAFETY: By our contract.
        unsafe { Self::bitmap_sector_callback(mddev, offset, sectors) }
    }

    /// Sectors that the bitmap covers: those of a member.
    ///
    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn member_sectors_callback(mddev: *mut sys::mddev, _previous: bool) -> u64 {
        // SAFETY: By our contract.
        unsafe { (*mddev).dev_sectors }
    }

    /// Sectors of the array, for the bitmap.
    ///
    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn array_sectors_callback(mddev: *mut sys::mddev, _previous: bool) -> u64 {
        // SAFETY: By our contract.
        P::size(unsafe { Mddev::from_raw(mddev) }, 0, 0)
    }
}

impl<P: Personality> Drop for Registration<P> {
    fn drop(&mut self) {
        // SAFETY: Registered by `new`; the module count has kept the module
        // loaded while arrays of this level existed.
        unsafe {
            sys::unregister_md_submodule(&raw mut self.pers.as_mut().get_unchecked_mut().head)
        }
    }
}

/// A seq_file as a `fmt::Write`.
struct Seq(*mut bindings::seq_file);

impl fmt::Write for Seq {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // SAFETY: A live seq_file in its show callback; pointer and length are
        // those of a slice.
        unsafe { sys::raid5c_seq_puts(self.0, s.as_ptr().cast(), s.len()) };
        Ok(())
    }
}
