// SPDX-License-Identifier: GPL-2.0

//! Bios that come from above: the array's users' requests.

use super::bioset::BioSet;
use crate::{lib::page::Page, md::mddev::Mddev, raid::units::ArraySector, sys};
use core::ptr::NonNull;
use kernel::bindings;

/// A request that is ours to complete.
///
/// # Invariants
///
/// A live bio, of which this value owns one of the remaining counts.
pub(crate) struct Bio(NonNull<bindings::bio>);

// SAFETY: A bio may be completed by any task.
unsafe impl Send for Bio {}

impl Bio {
    /// Takes over a bio.
    ///
    /// # Safety
    ///
    /// `bio` must be live, and the caller must own its completion.
    pub(crate) unsafe fn from_raw(bio: *mut bindings::bio) -> Self {
        // INVARIANT: By the contract.
        // SAFETY: A live bio is not null.
        Self(unsafe { NonNull::new_unchecked(bio) })
    }

    /// The C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::bio {
        self.0.as_ptr()
    }

    fn opf(&self) -> u32 {
        // SAFETY: A live bio.
        unsafe { (*self.as_ptr()).bi_opf }
    }

    /// First sector of what is left of the request.
    pub(crate) fn sector(&self) -> ArraySector {
        // SAFETY: A live bio.
        ArraySector::new(unsafe { (*self.as_ptr()).bi_iter.bi_sector })
    }

    /// Length of what is left, in sectors.
    pub(crate) fn sectors(&self) -> u32 {
        // SAFETY: A live bio.
        unsafe { (*self.as_ptr()).bi_iter.bi_size >> 9 }
    }

    /// Whether it moves data to the array.
    pub(crate) fn is_write(&self) -> bool {
        self.opf() & 1 != 0
    }

    /// Whether it is a plain read or write, which carries data.
    pub(crate) fn has_data(&self) -> bool {
        // SAFETY: A live bio.
        let op = unsafe { sys::raid5c_bio_op(self.as_ptr()) };
        op == bindings::req_op_REQ_OP_READ || op == bindings::req_op_REQ_OP_WRITE
    }

    /// Whether it asks for its range to be discarded.
    pub(crate) fn is_discard(&self) -> bool {
        // SAFETY: A live bio.
        let op = unsafe { sys::raid5c_bio_op(self.as_ptr()) };
        op == bindings::req_op_REQ_OP_DISCARD
    }

    /// Whether its submitter must not wait.
    pub(crate) fn is_nowait(&self) -> bool {
        self.opf() & sys::RAID5C_REQ_NOWAIT != 0
    }

    /// Notes that it cannot be done without waiting: whatever part of it ends how, that is what
    /// its submitter is told.
    pub(crate) fn cannot_wait(&self) {
        // SAFETY: A live bio, of which we hold a count.
        unsafe { sys::raid5c_bio_again(self.as_ptr()) };
    }

    /// It is to be tried again by somebody who can wait.
    pub(crate) fn end_again(self) {
        self.cannot_wait();
        self.end();
    }

    /// Whether what was written before must be stable first.
    pub(crate) fn is_preflush(&self) -> bool {
        self.opf() & sys::RAID5C_REQ_PREFLUSH != 0
    }

    /// The flush that came with the request needs no work of its own.
    pub(crate) fn clear_preflush(&self) {
        // SAFETY: A live bio of ours, not submitted further.
        unsafe { (*self.as_ptr()).bi_opf &= !sys::RAID5C_REQ_PREFLUSH };
    }

    /// The flush that came with the request is done when the request is stable itself.
    pub(crate) fn make_fua(&self) {
        // SAFETY: A live bio of ours, not submitted further.
        unsafe { (*self.as_ptr()).bi_opf |= sys::RAID5C_REQ_FUA };
    }

    /// Whether it must be stable itself when it completes.
    pub(crate) fn is_fua(&self) -> bool {
        self.opf() & sys::RAID5C_REQ_FUA != 0
    }

    /// Has md flush all members for this request. Returns the request if it
    /// has data that is still to be written.
    pub(crate) fn flush_members(self, mddev: &Mddev) -> Option<Self> {
        // SAFETY: Both live; true means that md took the bio.
        if unsafe { sys::md_flush_request(mddev.as_ptr(), self.as_ptr()) } {
            self.into_raw();
            None
        } else {
            Some(self)
        }
    }

    /// Counts the request in md's statistics and bitmap. What comes back stands
    /// for it from now on.
    pub(crate) fn account(self, mddev: &Mddev) -> Self {
        let mut ptr = self.into_raw();
        // SAFETY: Both live; the C function replaces the pointer by a clone
        // whose completion completes the original.
        unsafe {
            sys::md_account_bio(mddev.as_ptr(), &mut ptr);
            Self::from_raw(ptr)
        }
    }

    /// The same for a discard, of which only a part is done; what comes back stands for that.
    pub(crate) fn account_discard(self, mddev: &Mddev, start: u64, sectors: u32) -> Self {
        let mut ptr = self.into_raw();
        // SAFETY: As in `account`; a discard has no pages, so that its range can be changed.
        unsafe {
            sys::raid5c_account_discard(mddev.as_ptr(), &mut ptr, start, sectors);
            Self::from_raw(ptr)
        }
    }

    /// Splits the first `sectors` off; the rest is submitted again behind what
    /// this task has submitted. `None` if that failed, and the request with it.
    pub(crate) fn split_front(self, sectors: u32, set: &BioSet) -> Option<Self> {
        let ptr = self.into_raw();
        // SAFETY: A live bio of ours, longer than `sectors`; the C function
        // takes it and gives back the front part.
        let front = unsafe { bindings::bio_submit_split_bioset(ptr, sectors, set.as_ptr()) };
        // INVARIANT: The front part's completion is ours.
        NonNull::new(front).map(Self)
    }

    /// One more owner: a part of the request that completes on its own.
    pub(super) fn share(&self) -> *mut bindings::bio {
        // SAFETY: A live bio that has not completed, as we hold a count.
        unsafe { sys::raid5c_bio_inc_remaining(self.as_ptr()) };
        self.as_ptr()
    }

    /// The request succeeded, as far as this owner is concerned.
    pub(crate) fn end(self) {
        let ptr = self.into_raw();
        // SAFETY: By the invariant the count is ours.
        unsafe { bindings::bio_endio(ptr) }
    }

    /// The array does not do what is asked.
    pub(crate) fn end_unsupported(self) {
        let ptr = self.into_raw();
        // SAFETY: By the invariant the count is ours.
        unsafe { sys::raid5c_bio_unsupported(ptr) }
    }

    /// The request failed.
    pub(crate) fn end_error(self) {
        drop(self);
    }

    /// Hands the count to C.
    fn into_raw(self) -> *mut bindings::bio {
        let ptr = self.as_ptr();
        core::mem::forget(self);
        ptr
    }
}

impl Drop for Bio {
    /// A request that nobody ended has failed: its submitter must not wait for
    /// ever.
    fn drop(&mut self) {
        // SAFETY: By the invariant the count is ours.
        unsafe {
            sys::raid5c_bio_fail(self.as_ptr());
            bindings::bio_endio(self.as_ptr());
        }
    }
}

/// A contiguous part of a request, with a count of its own.
pub(crate) struct Piece {
    bio: Bio,
    iter: bindings::bvec_iter,
    /// Where the next copy starts, and how many bytes into the part that is.
    now: bindings::bvec_iter,
    at: u32,
}

impl Piece {
    /// The part of `bio` that starts `offset` sectors into what is left of it.
    pub(crate) fn new(bio: &Bio, offset: u32, sectors: u32) -> Self {
        // SAFETY: A live bio.
        let mut iter = unsafe { (*bio.as_ptr()).bi_iter };
        // SAFETY: A live bio and an iterator of it.
        unsafe { sys::raid5c_bio_advance_iter(bio.as_ptr(), &mut iter, offset << 9) };
        iter.bi_size = core::cmp::min(iter.bi_size, sectors << 9);
        // INVARIANT: `share` made the count.
        // SAFETY: A live bio.
        let bio = unsafe { Bio::from_raw(bio.share()) };
        Self {
            bio,
            iter,
            now: iter,
            at: 0,
        }
    }

    /// A part whose count and iterator were taken apart.
    ///
    /// # Safety
    ///
    /// `iter` must be an iterator of `bio`.
    pub(super) unsafe fn from_parts(bio: Bio, iter: bindings::bvec_iter) -> Self {
        Self {
            bio,
            iter,
            now: iter,
            at: 0,
        }
    }

    /// Where the part lies in the request.
    pub(super) fn iter(&self) -> bindings::bvec_iter {
        self.iter
    }

    /// The request.
    pub(crate) fn bio(&self) -> &Bio {
        &self.bio
    }

    /// First array sector of the part.
    pub(crate) fn sector(&self) -> ArraySector {
        ArraySector::new(self.iter.bi_sector)
    }

    /// Length of the part in sectors.
    pub(crate) fn sectors(&self) -> u32 {
        self.iter.bi_size >> 9
    }

    /// A smaller part of this part, with a count of its own.
    pub(crate) fn sub(&self, offset: u32, sectors: u32) -> Self {
        let mut iter = self.iter;
        // SAFETY: A live bio and an iterator of it.
        unsafe { sys::raid5c_bio_advance_iter(self.bio.as_ptr(), &mut iter, offset << 9) };
        iter.bi_size = core::cmp::min(iter.bi_size, sectors << 9);
        // SAFETY: A live bio; `share` made the count.
        let bio = unsafe { Bio::from_raw(self.bio.share()) };
        Self {
            bio,
            iter,
            now: iter,
            at: 0,
        }
    }

    /// Goes to the part's byte `offset`, from which the next copy starts.
    /// Forward is cheap.
    pub(crate) fn seek(&mut self, offset: u32) {
        if offset < self.at {
            self.now = self.iter;
            self.at = 0;
        }
        let ahead = offset.wrapping_sub(self.at);
        // SAFETY: A live bio and an iterator of it.
        unsafe { sys::raid5c_bio_advance_iter(self.bio.as_ptr(), &mut self.now, ahead) };
        self.at = offset;
    }

    /// Copies `len` bytes of the request into the page at `in_page`; a discard, which is of
    /// whole pages, makes it zeroes.
    pub(crate) fn copy_to(&mut self, page: &Page, in_page: u32, len: u32) {
        if self.bio.is_discard() {
            return page.clear();
        }
        self.copy(page, in_page, len, true);
    }

    /// Copies `len` bytes of the page at `in_page` into the request.
    pub(crate) fn copy_from(&mut self, page: &Page, in_page: u32, len: u32) {
        self.copy(page, in_page, len, false);
    }

    fn copy(&mut self, page: &Page, in_page: u32, len: u32, to_page: bool) {
        let room = 4096u32.saturating_sub(in_page);
        // SAFETY: Live bio and page, an iterator of the bio, and a range
        // within the page.
        let done = unsafe {
            sys::raid5c_bio_copy(
                self.bio.as_ptr(),
                &mut self.now,
                page.as_ptr(),
                in_page,
                core::cmp::min(len, room),
                to_page,
            )
        };
        self.at = self.at.wrapping_add(done);
    }

    /// The part cannot be done without waiting.
    pub(crate) fn end_again(self) {
        self.bio.end_again();
    }

    /// The part is done.
    pub(crate) fn end(self, ok: bool) {
        if ok {
            self.bio.end();
        } else {
            self.bio.end_error();
        }
    }
}
