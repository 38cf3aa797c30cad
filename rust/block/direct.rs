// SPDX-License-Identifier: GPL-2.0

//! Reads that go straight to a member and complete in its end_io.

use super::{
    bio::{Bio, Piece},
    bioset::BioSet,
};
use crate::{lib::workqueue::OwnQueue, md::rdev::RdevRef, sys};
use core::{mem::size_of, ptr::NonNull};
use kernel::{
    bindings,
    sync::{
        atomic::{Atomic, Full},
        Arc, ArcBorrow,
    },
    time::{delay::fsleep, Delta},
};

/// Direct reads in flight of one owner.
///
/// end_io must not hold a reference of the owner: it could be the last one, in
/// interrupt context. So the reads are counted instead, and the owner cannot
/// go before the count is zero, because this field of it waits when dropped.
/// It must come before the fields that end_io uses.
pub(crate) struct InFlight(Atomic<usize>);

impl InFlight {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.fetch_add(0, Full)
    }

    /// One more.
    pub(crate) fn start(&self) {
        self.0.fetch_add(1, Full);
    }

    /// One less: for one that was not submitted in the end.
    pub(crate) fn cancel(&self) {
        self.0.fetch_sub(1, Full);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        while self.count() != 0 {
            fsleep(Delta::from_millis(1));
        }
    }
}

/// Who makes direct reads.
pub(crate) trait DirectOwner: Send + Sync + 'static {
    /// Where they are counted.
    fn direct_reads(&self) -> &InFlight;
    /// One has failed; in process context, and counted until this returns. The
    /// part is the owner's.
    fn direct_failed(this: Arc<Self>, rdev: RdevRef, piece: Piece);
    /// Where failures are handled.
    fn direct_queue(&self) -> &OwnQueue;
}

/// What stands in front of each bio.
struct Tag<O> {
    owner: *const O,
    rdev: NonNull<sys::md_rdev>,
    parent: *mut bindings::bio,
    iter: bindings::bvec_iter,
    work: bindings::work_struct,
}

/// Bytes that the pool has to leave in front of each bio.
pub(crate) const fn front_pad<O>() -> usize {
    size_of::<Tag<O>>()
}

/// # Safety
///
/// `bio` must come from a pool with [`front_pad`].
unsafe fn tag_of<O>(bio: *mut bindings::bio) -> *mut Tag<O> {
    // SAFETY: By the contract the tag lies right before the bio.
    unsafe { bio.cast::<u8>().sub(front_pad::<O>()).cast() }
}

/// Reads `piece` from sector `sector` of the device (data offset included). The
/// caller has counted it with [`InFlight::start`]; its end uncounts it.
///
/// `set` must have been made with [`front_pad`] of `O`.
pub(crate) fn submit_read<O: DirectOwner>(
    set: &BioSet,
    owner: &Arc<O>,
    rdev: RdevRef,
    sector: u64,
    piece: Piece,
) {
    let parent = piece.bio().as_ptr();
    let iter = piece.iter();
    // GFP_NOIO with a mempool behind does not fail.
    let gfp = if piece.bio().is_nowait() {
        sys::RAID5C_GFP_QUICK
    } else {
        sys::RAID5C_GFP_NOIO
    };
    // SAFETY: A live bio with its pool; cloning shares the parent's pages,
    // which stay as long as the parent, and the parent as long as its count,
    // which the tag takes over.
    let bio = unsafe { bindings::bio_alloc_clone(rdev.bdev(), parent, gfp, set.as_ptr()) };
    if bio.is_null() {
        if piece.bio().is_nowait() {
            piece.end_again();
        } else {
            piece.end(false);
        }
        owner.direct_reads().cancel();
        return;
    }
    // SAFETY: The bio is ours; its pool leaves room for the tag.
    unsafe {
        let tag = tag_of::<O>(bio);
        (&raw mut (*tag).owner).write(Arc::as_ptr(owner));
        (&raw mut (*tag).rdev).write(NonNull::new_unchecked(rdev.into_raw()));
        (&raw mut (*tag).parent).write(parent);
        (&raw mut (*tag).iter).write(iter);
        (*bio).bi_iter = iter;
        (*bio).bi_iter.bi_sector = sector;
        (*bio).bi_end_io = Some(end_io::<O>);
        core::mem::forget(piece);
        bindings::submit_bio_noacct(bio);
    }
}

/// # Safety
///
/// As the block layer calls it, for bios of [`submit_read`].
unsafe extern "C" fn end_io<O: DirectOwner>(bio: *mut bindings::bio) {
    // SAFETY: The tag was written before the bio was submitted.
    unsafe {
        let tag = tag_of::<O>(bio);
        if (*bio).bi_status == 0 {
            let owner = (*tag).owner;
            let (rdev, piece) = finish::<O>(bio);
            drop(rdev);
            piece.end(true);
            // The last touch: the owner may go now.
            (*owner).direct_reads().cancel();
        } else if sys::raid5c_bio_is_again(bio) && (*bio).bi_opf & sys::RAID5C_REQ_NOWAIT != 0 {
            // A member that would have to wait has not failed.
            let owner = (*tag).owner;
            let (rdev, piece) = finish::<O>(bio);
            drop(rdev);
            piece.end_again();
            (*owner).direct_reads().cancel();
        } else {
            let queue = (*(*tag).owner).direct_queue().as_ptr();
            sys::raid5c_queue_work(queue, &raw mut (*tag).work, Some(failed::<O>));
        }
    }
}

/// # Safety
///
/// As the workqueue calls it, for work of [`end_io`].
unsafe extern "C" fn failed<O: DirectOwner>(work: *mut bindings::work_struct) {
    let offset = core::mem::offset_of!(Tag<O>, work);
    // SAFETY: The work lies in a tag, which lies before its bio.
    unsafe {
        let tag = work.cast::<u8>().sub(offset);
        let bio = tag.add(front_pad::<O>()).cast::<bindings::bio>();
        let owner = (*tag.cast::<Tag<O>>()).owner;
        let (rdev, piece) = finish::<O>(bio);
        // The owner has not begun to drop, so that there is a reference to
        // clone: whoever owns it waits for its reads before letting go of the
        // last one (`Array::quiesce`), and `InFlight` is only the second line.
        let this = Arc::from(ArcBorrow::from_raw(owner));
        O::direct_failed(this, rdev, piece);
        (*owner).direct_reads().cancel();
    }
}

/// Takes the tag apart and puts the bio.
///
/// # Safety
///
/// `bio` must be one of [`submit_read`] that has ended; once.
unsafe fn finish<O: DirectOwner>(bio: *mut bindings::bio) -> (RdevRef, Piece) {
    // SAFETY: By the contract; every part was leaked by `submit_read`.
    unsafe {
        let tag = tag_of::<O>(bio);
        let rdev = RdevRef::from_raw((*tag).rdev);
        let piece = Piece::from_parts(Bio::from_raw((*tag).parent), (*tag).iter);
        bindings::bio_put(bio);
        (rdev, piece)
    }
}
