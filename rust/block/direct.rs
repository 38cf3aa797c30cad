// SPDX-License-Identifier: GPL-2.0

//! Reads that go straight to a member and complete in its end_io.

use super::{
    bio::{Bio, Piece},
    bioset::BioSet,
};
use crate::{lib::workqueue::OwnQueue, md::rdev::RdevRef, sys};
use core::{mem::size_of, ptr::NonNull};
use kernel::{bindings, sync::Arc};

/// Who is told about direct reads.
pub(crate) trait DirectOwner: Send + Sync + 'static {
    /// One has ended well. Called in any context.
    fn direct_done(&self);
    /// One has failed; in process context. The part is the owner's.
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

/// Reads `piece` from sector `sector` of the device (data offset included).
///
/// `set` must have been made with [`front_pad`] of `O`.
pub(crate) fn submit_read<O: DirectOwner>(
    set: &BioSet,
    owner: Arc<O>,
    rdev: RdevRef,
    sector: u64,
    piece: Piece,
) {
    let parent = piece.bio().as_ptr();
    let iter = piece.iter();
    // SAFETY: A live bio with its pool; cloning shares the parent's pages,
    // which stay as long as the parent, and the parent as long as its count,
    // which the tag takes over. GFP_NOIO with a mempool behind does not fail.
    let bio = unsafe {
        bindings::bio_alloc_clone(rdev.bdev(), parent, sys::RAID5C_GFP_NOIO, set.as_ptr())
    };
    if bio.is_null() {
        piece.end(false);
        owner.direct_done();
        return;
    }
    // SAFETY: The bio is ours; its pool leaves room for the tag.
    unsafe {
        let tag = tag_of::<O>(bio);
        (&raw mut (*tag).owner).write(Arc::into_raw(owner));
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
            finish::<O>(bio, |owner, rdev, piece| {
                drop(rdev);
                piece.end(true);
                owner.direct_done();
            });
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
        finish::<O>(bio, |owner, rdev, piece| {
            O::direct_failed(owner, rdev, piece)
        });
    }
}

/// Takes the tag apart and puts the bio.
///
/// # Safety
///
/// `bio` must be one of [`submit_read`] that has ended; once.
unsafe fn finish<O: DirectOwner>(bio: *mut bindings::bio, f: impl FnOnce(Arc<O>, RdevRef, Piece)) {
    // SAFETY: By the contract; every part was leaked by `submit_read`.
    unsafe {
        let tag = tag_of::<O>(bio);
        let owner = Arc::from_raw((*tag).owner);
        let rdev = RdevRef::from_raw((*tag).rdev);
        let piece = Piece::from_parts(Bio::from_raw((*tag).parent), (*tag).iter);
        bindings::bio_put(bio);
        f(owner, rdev, piece);
    }
}
