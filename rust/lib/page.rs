// SPDX-License-Identifier: GPL-2.0

//! Pages of cached content.

use crate::sys;
use core::ptr::NonNull;
use kernel::{bindings, prelude::*};

/// A reference to a page of 4 KiB whose bytes are only ever touched through C
/// (copies, parity, DMA), never through Rust references.
///
/// That is why sharing it is safe whatever is done to the bytes at the same
/// time: a race makes bytes wrong, which the planner's ownership of rows
/// excludes, but never breaks a Rust reference.
///
/// # Invariants
///
/// `ptr` is a valid page of the direct map, and this value owns one reference.
pub(crate) struct Page {
    ptr: NonNull<bindings::page>,
}

// SAFETY: A page reference may be dropped, and the page used, by any task.
unsafe impl Send for Page {}
// SAFETY: `&Page` gives access to the bytes through C only; see the type.
unsafe impl Sync for Page {}

impl Page {
    /// Allocates a page, without I/O; waits for memory.
    pub(crate) fn new() -> Result<Self> {
        Self::allocate(sys::RAID5C_GFP_NOIO)
    }

    /// Allocates a page if there is one, and not of those that the kernel keeps for
    /// whoever frees memory.
    pub(crate) fn quick() -> Option<Self> {
        Self::allocate(sys::RAID5C_GFP_QUICK).ok()
    }

    /// The same, after a look for what can be freed without I/O.
    pub(crate) fn attempt() -> Option<Self> {
        Self::allocate(sys::RAID5C_GFP_TRY).ok()
    }

    /// Whether others have references.
    pub(crate) fn is_shared(&self) -> bool {
        // SAFETY: A valid page.
        unsafe { sys::raid5c_page_is_shared(self.as_ptr()) }
    }

    fn allocate(gfp: u32) -> Result<Self> {
        // SAFETY: Plain allocation of order 0.
        let ptr = unsafe { bindings::alloc_pages(gfp, 0) };
        // INVARIANT: The allocation gave us the first reference; such
        // pages are in the direct map.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
        })
    }

    /// The page itself, for C.
    pub(crate) fn as_ptr(&self) -> *mut bindings::page {
        self.ptr.as_ptr()
    }

    /// Whether the pages hold the same; to be asked when nothing writes them.
    pub(crate) fn is_equal(&self, other: &Self) -> bool {
        // SAFETY: Two valid pages of the direct map.
        unsafe { sys::raid5c_pages_equal(self.as_ptr(), other.as_ptr()) }
    }

    /// Address of the first byte, valid as long as `self`.
    pub(crate) fn address(&self) -> *mut u8 {
        // SAFETY: A valid page of the direct map.
        unsafe { sys::raid5c_page_address(self.as_ptr()).cast() }
    }

    /// Hands out another reference to C, which has to put it.
    pub(crate) fn leak_ref(&self) -> *mut bindings::page {
        // SAFETY: A valid page, of which we hold a reference.
        unsafe { sys::raid5c_get_page(self.as_ptr()) };
        self.as_ptr()
    }

    /// Copies the page's bytes out.
    pub(crate) fn read(&self, to: &mut [u8; 4096]) {
        // SAFETY: Both are 4096 bytes, and a page of ours is no Rust array.
        unsafe { core::ptr::copy_nonoverlapping(self.address(), to.as_mut_ptr(), 4096) }
    }

    /// Replaces the page's bytes by another's.
    pub(crate) fn copy_from(&self, from: &Self) {
        // SAFETY: Both pages are mapped, and whole; the page may be the same.
        unsafe { core::ptr::copy(from.address(), self.address(), 4096) };
    }

    /// Replaces the page's bytes by zeroes.
    pub(crate) fn clear(&self) {
        // SAFETY: A mapped page of 4096 bytes.
        unsafe { core::ptr::write_bytes(self.address(), 0, 4096) };
    }

    /// Replaces the page's bytes.
    pub(crate) fn write(&self, from: &[u8; 4096]) {
        // SAFETY: As in `read`.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), self.address(), 4096) }
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        self.leak_ref();
        // INVARIANT: `leak_ref` took the reference that the clone owns.
        Self { ptr: self.ptr }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: By the invariant we own this reference.
        unsafe { sys::raid5c_put_page(self.as_ptr()) }
    }
}
