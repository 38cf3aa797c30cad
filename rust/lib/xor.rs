// SPDX-License-Identifier: GPL-2.0

//! Parity of one row, through async_tx.

use super::page::Page;
use crate::sys;
use core::marker::PhantomData;
use kernel::{alloc::Flags, bindings, prelude::*};

/// The fewest pages of a row with Q that async_tx takes, P and Q included.
///
/// Source: the checks of `crypto/async_tx/async_pq.c`.
const MIN_SYNDROME: usize = 4;

/// The most pages of such a row.
///
/// Source: `MAX_DISKS` of the same file.
pub(crate) const MAX_SYNDROME: usize = 255;

/// Whether the CPU's algorithm can change Q by what is added to it, which
/// read-modify-write needs.
pub(crate) fn can_add_syndrome() -> bool {
    // SAFETY: Only looks at which algorithm was chosen at load time.
    unsafe { sys::raid5c_can_add_syndrome() }
}

/// Room for the page lists of one row at a time.
pub(crate) struct Scratch {
    list: KVec<*mut bindings::page>,
    scribble: KVec<u8>,
    /// As many zeroes as the list can have pages.
    offsets: KVec<u32>,
}

// SAFETY: The pointers are only used within the `Row` or `Syndrome` that set
// them and borrows both the scratch and the pages; the next one begins with an
// empty list, so that what one that was given up left is never looked at.
unsafe impl Send for Scratch {}

impl Scratch {
    /// Room for rows of up to `disks` pages.
    pub(crate) fn new(disks: usize, gfp: Flags) -> Result<Self> {
        // SAFETY: Plain arithmetic.
        let bytes = unsafe { sys::raid5c_scribble_size(i32::try_from(disks)?) };
        Ok(Self {
            list: KVec::with_capacity(disks + 2, gfp)?,
            scribble: KVec::from_elem(0, bytes, gfp)?,
            offsets: KVec::from_elem(0, disks + 2, gfp)?,
        })
    }

    /// Starts the list of a row with Q of `sources` data pages, all zeroes so
    /// far.
    pub(crate) fn syndrome(&mut self, sources: usize) -> Result<Syndrome<'_, '_>> {
        let blocks = sources.checked_add(2).ok_or(EINVAL)?;
        if !(MIN_SYNDROME..=MAX_SYNDROME).contains(&blocks) || blocks > self.offsets.len() {
            return Err(EINVAL);
        }
        self.list.clear();
        for _ in 0..blocks {
            self.list
                .push_within_capacity(core::ptr::null_mut())
                .map_err(|_| EINVAL)?;
        }
        Ok(Syndrome {
            scratch: self,
            sources,
            pages: PhantomData,
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

/// The pages of one row with P and Q: data by the position of its coefficient
/// in Q.
pub(crate) struct Syndrome<'s, 'p> {
    scratch: &'s mut Scratch,
    sources: usize,
    pages: PhantomData<&'p Page>,
}

impl<'p> Syndrome<'_, 'p> {
    fn set(&mut self, at: usize, page: &'p Page) -> Result {
        *self.scratch.list.get_mut(at).ok_or(EINVAL)? = page.as_ptr();
        Ok(())
    }

    /// Puts a data page where its coefficient is.
    pub(crate) fn data(&mut self, position: usize, page: &'p Page) -> Result {
        if position >= self.sources {
            return Err(EINVAL);
        }
        self.set(position, page)
    }

    /// Puts P there; without it P is not made.
    pub(crate) fn p(&mut self, page: &'p Page) -> Result {
        self.set(self.sources, page)
    }

    /// Puts Q there; without it Q is not made.
    pub(crate) fn q(&mut self, page: &'p Page) -> Result {
        self.set(self.sources.wrapping_add(1), page)
    }

    /// Whether the page at a position is there.
    fn has(&self, at: usize) -> bool {
        self.scratch
            .list
            .get(at)
            .is_some_and(|page| !page.is_null())
    }

    fn has_p(&self) -> bool {
        self.has(self.sources)
    }

    fn has_q(&self) -> bool {
        self.has(self.sources.wrapping_add(1))
    }

    fn run(self, add: bool) -> Result {
        let n = i32::try_from(self.scratch.list.len())?;
        // SAFETY: All pages are borrowed for 'p, and are alive; at least one of
        // P and Q is there (both with `add`, which the callers checked); the
        // number of blocks is one that async_tx takes; the scribble and the
        // offsets have room for that many.
        unsafe {
            sys::raid5c_syndrome(
                self.scratch.list.as_mut_ptr(),
                self.scratch.offsets.as_mut_ptr(),
                n,
                add,
                self.scratch.scribble.as_mut_ptr().cast(),
            )
        };
        self.scratch.list.clear();
        Ok(())
    }

    /// Makes P and Q, or the one that is there.
    pub(crate) fn generate(self) -> Result {
        if !self.has_p() && !self.has_q() {
            return Err(EINVAL);
        }
        self.run(false)
    }

    /// Adds the data to P and Q: takes it out where it is in, puts it in where
    /// it is not. An error if the algorithm cannot.
    pub(crate) fn add(self) -> Result {
        if !self.has_p() || !self.has_q() || !can_add_syndrome() {
            return Err(EINVAL);
        }
        self.run(true)
    }

    /// Makes the data pages at positions `a` and `b` from the others, P and Q.
    pub(crate) fn recover_data(self, a: usize, b: usize) -> Result {
        let (a, b) = (a.min(b), a.max(b));
        let there = self.has(a) && self.has(b) && self.has_p() && self.has_q();
        if a == b || b >= self.sources || !there {
            return Err(EINVAL);
        }
        let n = i32::try_from(self.scratch.list.len())?;
        let (a, b) = (i32::try_from(a)?, i32::try_from(b)?);
        // SAFETY: As in `run`; the two pages, P and Q are there, and the
        // positions are different ones below the sources.
        unsafe {
            sys::raid5c_recover_2data(
                self.scratch.list.as_mut_ptr(),
                self.scratch.offsets.as_mut_ptr(),
                n,
                a,
                b,
                self.scratch.scribble.as_mut_ptr().cast(),
            )
        };
        self.scratch.list.clear();
        Ok(())
    }

    /// Makes the data page at position `a`, and P, from the others and Q.
    pub(crate) fn recover_data_and_p(self, a: usize) -> Result {
        let there = self.has(a) && self.has_p() && self.has_q();
        if a >= self.sources || !there {
            return Err(EINVAL);
        }
        let n = i32::try_from(self.scratch.list.len())?;
        let a = i32::try_from(a)?;
        // SAFETY: As in `recover_data`.
        unsafe {
            sys::raid5c_recover_datap(
                self.scratch.list.as_mut_ptr(),
                self.scratch.offsets.as_mut_ptr(),
                n,
                a,
                self.scratch.scribble.as_mut_ptr().cast(),
            )
        };
        self.scratch.list.clear();
        Ok(())
    }
}
