// SPDX-License-Identifier: GPL-2.0

//! Pools of bios.

use kernel::{bindings, error::to_result, prelude::*, types::Opaque};

/// A pool of bios with a rescuer: allocation in a submission path succeeds
/// even when the pool's bios wait behind the submitter.
#[pin_data(PinnedDrop)]
pub(crate) struct BioSet {
    #[pin]
    inner: Opaque<bindings::bio_set>,
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
        })
    }

    /// The pool, for C.
    pub(super) fn as_ptr(&self) -> *mut bindings::bio_set {
        self.inner.get()
    }
}

#[pinned_drop]
impl PinnedDrop for BioSet {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialized by `new`, and all users are gone.
        unsafe { bindings::bioset_exit(self.inner.get()) }
    }
}
