// SPDX-License-Identifier: GPL-2.0

//! Parity of one row, through async_tx.

use super::page::Page;
use crate::sys;
use core::marker::PhantomData;
use kernel::{bindings, prelude::*};

/// Room for the page lists of one row at a time.
pub(crate) struct Scratch {
    list: KVec<*mut bindings::page>,
    scribble: KVec<u8>,
}

// SAFETY: The pointers are only set and used within one `Row`, which borrows
// both the scratch and the pages; between rows the list is empty.
unsafe impl Send for Scratch {}

impl Scratch {
    /// Room for rows of up to `disks` pages.
    pub(crate) fn new(disks: usize) -> Result<Self> {
        // SAFETY: Plain arithmetic.
        let bytes = unsafe { sys::raid5c_scribble_size(i32::try_from(disks)?) };
        Ok(Self {
            list: KVec::with_capacity(disks + 2, GFP_KERNEL)?,
            scribble: KVec::from_elem(0, bytes, GFP_KERNEL)?,
        })
    }

    /// Starts the list of a row's pages.
    pub(crate) fn row(&mut self) -> Row<'_, '_> {
        self.list.clear();
        Row {
            scratch: self,
            pages: PhantomData,
        }
    }
}

/// The pages of one row that take part in an operation.
pub(crate) struct Row<'s, 'p> {
    scratch: &'s mut Scratch,
    pages: PhantomData<&'p Page>,
}

impl<'p> Row<'_, 'p> {
    /// Adds a page; beyond the scratch's room it is an error.
    pub(crate) fn push(&mut self, page: &'p Page) -> Result {
        self.scratch
            .list
            .push_within_capacity(page.as_ptr())
            .map_err(|_| EINVAL)
    }

    fn run(self, dest: *mut bindings::page, zero_dst: bool) -> Result {
        let n = i32::try_from(self.scratch.list.len())?;
        // SAFETY: All pages are borrowed for 'p, and are alive; the scribble
        // has room for as many entries as the list can have.
        unsafe {
            sys::raid5c_xor(
                dest,
                self.scratch.list.as_mut_ptr(),
                n,
                zero_dst,
                self.scratch.scribble.as_mut_ptr().cast(),
            )
        };
        self.scratch.list.clear();
        Ok(())
    }

    /// Makes `dest` the xor of the row's pages, of which it is none.
    pub(crate) fn xor_to(self, dest: &'p Page) -> Result {
        if self.scratch.list.is_empty() {
            return Err(EINVAL);
        }
        self.run(dest.as_ptr(), true)
    }

    /// Xors all pages behind the first into the first.
    pub(crate) fn xor_into_first(self) -> Result {
        if self.scratch.list.len() < 2 {
            return Err(EINVAL);
        }
        let dest = *self.scratch.list.first().ok_or(EINVAL)?;
        self.run(dest, false)
    }

    /// Whether the first page is the xor of the others; destroys the first.
    pub(crate) fn check_first(self) -> Result<bool> {
        let n = i32::try_from(self.scratch.list.len())?;
        if n < 2 {
            return Err(EINVAL);
        }
        // SAFETY: As in `run`.
        let good = unsafe {
            sys::raid5c_xor_check(
                self.scratch.list.as_mut_ptr(),
                n,
                self.scratch.scribble.as_mut_ptr().cast(),
            )
        };
        self.scratch.list.clear();
        Ok(good)
    }
}
