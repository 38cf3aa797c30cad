// SPDX-License-Identifier: GPL-2.0

//! Pools of bios.

use core::{mem::replace, ptr, ptr::NonNull};
use kernel::{bindings, error::to_result, new_spinlock, prelude::*, sync::SpinLock, types::Opaque};

use crate::{md::mddev::Mddev, sys};

/// Pages of the largest bio.
pub(super) const MAX_VECS: u16 = 256;

/// A pool of bios with a rescuer: allocation in a submission path succeeds
/// even when the pool's bios wait behind the submitter.
///
/// Whoever must not wait for a bio has spare ones besides, if they were asked
/// for. Those come back when they are freed, and to nobody else.
#[pin_data(PinnedDrop)]
pub(crate) struct BioSet {
    #[pin]
    inner: Opaque<bindings::bio_set>,
    #[pin]
    spares: SpinLock<Spares>,
}

/// Bios for as many pages as there may be, chained by `bi_next`.
struct Spares(*mut bindings::bio);

// SAFETY: The bios are nobody else's.
unsafe impl Send for Spares {}

/// A bio that was allocated without waiting.
pub(super) struct Got {
    pub(super) bio: NonNull<bindings::bio>,
    /// It is one of the spare ones.
    pub(super) spare: bool,
}

// SAFETY: Bio sets are made for concurrent use.
unsafe impl Send for BioSet {}
// SAFETY: As above.
unsafe impl Sync for BioSet {}

impl BioSet {
    /// A pool of `size` bios, each behind `front_pad` bytes of our own.
    pub(crate) fn new(size: u32, front_pad: usize) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::bio_set| {
                let flags = bindings::BIOSET_NEED_BVECS | bindings::BIOSET_NEED_RESCUER;
                // SAFETY: `slot` is valid memory that is about to be pinned;
                // bioset_init wants it zeroed.
                unsafe {
                    core::ptr::write_bytes(slot, 0, 1);
                    to_result(bindings::bioset_init(
                        slot,
                        size,
                        u32::try_from(front_pad)?,
                        flags as i32,
                    ))
                }
            }),
            spares <- new_spinlock!(Spares(ptr::null_mut()), "raid5c::spare_bios"),
        })
    }

    /// Has `n` spare bios from now on.
    pub(crate) fn keep_spares(&self, n: usize) -> Result {
        for _ in 0..n {
            // SAFETY: A live pool; no device yet.
            let bio = unsafe {
                bindings::bio_alloc_bioset(
                    ptr::null_mut(),
                    MAX_VECS,
                    0,
                    sys::RAID5C_GFP_KERNEL,
                    self.as_ptr(),
                )
            };
            let bio = NonNull::new(bio).ok_or(ENOMEM)?;
            self.push(bio);
        }
        Ok(())
    }

    fn push(&self, bio: NonNull<bindings::bio>) {
        let mut spares = self.spares.lock();
        // SAFETY: The bio is ours.
        unsafe { (*bio.as_ptr()).bi_next = spares.0 };
        spares.0 = bio.as_ptr();
    }

    fn pop(&self) -> Option<NonNull<bindings::bio>> {
        let mut spares = self.spares.lock();
        let bio = NonNull::new(spares.0)?;
        // SAFETY: A bio of the chain, which is ours.
        spares.0 = unsafe { replace(&mut (*bio.as_ptr()).bi_next, ptr::null_mut()) };
        Some(bio)
    }

    /// A bio for up to `vecs` pages, without waiting; a spare one if there is no
    /// memory. In process context.
    pub(super) fn alloc(
        &self,
        bdev: *mut bindings::block_device,
        vecs: u16,
        opf: u32,
    ) -> Result<Got> {
        // SAFETY: An open device and a live pool; at most 256 vecs.
        let bio = unsafe {
            bindings::bio_alloc_bioset(bdev, vecs, opf, sys::RAID5C_GFP_QUICK, self.as_ptr())
        };
        if let Some(bio) = NonNull::new(bio) {
            return Ok(Got { bio, spare: false });
        }
        let bio = self.pop().ok_or(ENOMEM)?;
        // SAFETY: The bio is ours, and not in flight.
        unsafe { bindings::bio_reset(bio.as_ptr(), bdev, opf) };
        Ok(Got { bio, spare: true })
    }

    /// Frees a bio of [`alloc`](Self::alloc). In process context.
    ///
    /// # Safety
    ///
    /// Not in flight; once, to the pool that it came from, with its own `spare`.
    pub(super) unsafe fn free(&self, got: Got) {
        // SAFETY: By the contract.
        unsafe {
            if got.spare {
                bindings::bio_reset(got.bio.as_ptr(), ptr::null_mut(), 0);
                self.push(got.bio);
            } else {
                bindings::bio_put(got.bio.as_ptr());
            }
        }
    }

    /// The pool, for C.
    pub(super) fn as_ptr(&self) -> *mut bindings::bio_set {
        self.inner.get()
    }
}

#[pinned_drop]
impl PinnedDrop for BioSet {
    fn drop(self: Pin<&mut Self>) {
        while let Some(bio) = self.pop() {
            // SAFETY: A spare bio, which is ours.
            unsafe { bindings::bio_put(bio.as_ptr()) };
        }
        // SAFETY: Initialized by `new`, and all users are gone.
        unsafe { bindings::bioset_exit(self.inner.get()) }
    }
}

/// Issues what this task has submitted while it takes a request of `mddev`,
/// and what would wait until that is done. For tasks that are about to
/// wait for something that may depend on it.
pub(crate) fn issue_held(mddev: &Mddev) {
    // SAFETY: A live array; else of the current task only.
    unsafe { sys::raid5c_issue_held(mddev.as_ptr()) }
}
