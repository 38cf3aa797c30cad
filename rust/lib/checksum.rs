// SPDX-License-Identifier: GPL-2.0

//! crc32c.

use super::page::Page;
use crate::sys;

/// crc32c of `data`, going on from `seed`; no final inversion (the kernel's
/// `crc32c()`).
pub(crate) fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: The pointer and length are those of a slice.
    unsafe { sys::raid5c_crc32c(seed, data.as_ptr().cast(), data.len()) }
}

/// crc32c of a whole page.
pub(crate) fn crc32c_page(seed: u32, page: &Page) -> u32 {
    // SAFETY: The address is that of a page, which the reference keeps alive;
    // the C function reads raw memory, so that a concurrent write to the page
    // costs a wrong sum and nothing else.
    unsafe { sys::raid5c_crc32c(seed, page.address().cast(), kernel::page::PAGE_SIZE) }
}
