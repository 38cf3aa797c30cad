// SPDX-License-Identifier: GPL-2.0

//! Rounds of member I/O: bios that are issued together and reported together.
//!
//! end_io only counts; the last one queues the round, and everything else
//! happens in process context, without interrupt-safe locks. If all bios ended
//! before the submitter let go, it gets the round back at once.

use super::bioset::BioSet;
use crate::{
    lib::{
        page::Page,
        worklist::{Node, Worklist},
    },
    md::rdev::RdevRef,
    sys,
};
use core::{mem::size_of, ptr, ptr::NonNull};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

/// Who is told about the end of a round.
pub(crate) trait RoundOwner: Send + Sync + 'static {
    /// All bios of a round have ended; in process context.
    fn round_done(this: Arc<Self>, done: Done<Self>)
    where
        Self: Sized;
    /// Where that happens.
    fn worklist(&self) -> &Worklist;
}

/// What a bio is about, as its owner sees it.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    /// Member index.
    pub(crate) slot: usize,
    /// Rows, or what else the owner counts.
    pub(crate) rows: u64,
    /// It was a write.
    pub(crate) write: bool,
    /// To the member's twin.
    pub(crate) twin: bool,
}

/// What stands in front of each bio.
struct Tag {
    next: *mut bindings::bio,
    rdev: NonNull<sys::md_rdev>,
    label: Label,
}

/// Bytes that the pool has to leave in front of each bio.
pub(crate) const FRONT_PAD: usize = size_of::<Tag>();

/// # Safety
///
/// `bio` must come from a pool with [`FRONT_PAD`].
unsafe fn tag_of(bio: *mut bindings::bio) -> *mut Tag {
    // SAFETY: By the contract the tag lies right before the bio.
    unsafe { bio.cast::<u8>().sub(FRONT_PAD).cast() }
}

/// A round in flight.
#[pin_data]
struct Round<O: RoundOwner> {
    #[pin]
    work: Work<Round<O>>,
    /// Bios in flight, and one for the submitter.
    remaining: Atomic<i32>,
    /// The bios; set before the first is submitted.
    bios: Atomic<usize>,
    /// For the worklist.
    node: Node,
    owner: Arc<O>,
}

/// # Safety
///
/// `node` must be that of a leaked round of `O` that nobody else takes back.
unsafe fn run_round<O: RoundOwner>(node: *mut Node) {
    let offset = core::mem::offset_of!(Round<O>, node);
    // SAFETY: By the contract.
    let round = unsafe {
        let raw = node.cast::<u8>().sub(offset).cast::<Round<O>>();
        Pin::new_unchecked(KBox::from_raw(raw))
    };
    Round::run(round);
}

impl_has_work! {
    impl{O: RoundOwner} HasWork<Round<O>> for Round<O> { self.work }
}

impl<O: RoundOwner> WorkItem for Round<O> {
    type Pointer = Pin<KBox<Round<O>>>;

    fn run(this: Pin<KBox<Round<O>>>) {
        let owner = this.owner.clone();
        O::round_done(owner, Done::new(this));
    }
}

/// How a member is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Read,
    Write,
    /// Stable when it ends.
    WriteFua,
    /// Discarded: of as many pages, which are not touched.
    Discard,
    /// No data: earlier writes are stable when it ends.
    Flush,
}

/// A round that is being put together.
pub(crate) struct Builder<O: RoundOwner> {
    round: Pin<KBox<Round<O>>>,
    head: *mut bindings::bio,
    count: i32,
}

impl<O: RoundOwner> Builder<O> {
    /// An empty round for `owner`.
    pub(crate) fn new(owner: Arc<O>) -> Result<Self> {
        let round = KBox::pin_init(
            pin_init!(Round {
                work <- new_work!("raid5c::round"),
                remaining: Atomic::new(1),
                bios: Atomic::new(0),
                // SAFETY: Only leaked rounds are pushed, once each.
                node: unsafe { Node::new(run_round::<O>) },
                owner,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            round,
            head: ptr::null_mut(),
            count: 0,
        })
    }

    /// Adds a bio for sector `sector` of the device (data offset included).
    /// The pages stay referenced until the round is reported.
    ///
    /// `set` must have been made with [`FRONT_PAD`]; at most 256 pages.
    ///
    /// Waits for a bio only if the round is empty. Else `ENOMEM` asks the
    /// caller to submit what it has first: two rounds that hold bios and wait
    /// for more could wait for each other.
    pub(crate) fn add<'p>(
        &mut self,
        set: &BioSet,
        rdev: RdevRef,
        op: Op,
        sector: u64,
        label: Label,
        pages: impl ExactSizeIterator<Item = &'p Page>,
    ) -> Result {
        let opf = match op {
            Op::Read => bindings::req_op_REQ_OP_READ,
            Op::Write => bindings::req_op_REQ_OP_WRITE,
            Op::WriteFua => bindings::req_op_REQ_OP_WRITE | sys::RAID5C_REQ_FUA,
            Op::Discard => bindings::req_op_REQ_OP_DISCARD,
            Op::Flush => bindings::req_op_REQ_OP_WRITE | sys::RAID5C_REQ_PREFLUSH,
        };
        let count = u16::try_from(pages.len())?;
        let vecs = if op == Op::Discard { 0 } else { count };
        let gfp = if self.count == 0 {
            sys::RAID5C_GFP_NOIO
        } else {
            sys::RAID5C_GFP_NOWAIT
        };
        // SAFETY: An open device and a live pool; at most 256 vecs.
        let bio = unsafe { bindings::bio_alloc_bioset(rdev.bdev(), vecs, opf, gfp, set.as_ptr()) };
        if bio.is_null() {
            return Err(ENOMEM);
        }
        if op == Op::Discard {
            // SAFETY: The bio is ours.
            unsafe { (*bio).bi_iter.bi_size = u32::from(count) << 12 };
        } else {
            for page in pages {
                // SAFETY: A live bio with room for as many pages; the reference is
                // put with the bio.
                unsafe { sys::raid5c_bio_add_page(bio, page.leak_ref()) };
            }
        }
        // SAFETY: The bio is ours, and its pool leaves room for the tag.
        unsafe {
            (*bio).bi_iter.bi_sector = sector;
            (*bio).bi_end_io = Some(end_io::<O>);
            tag_of(bio).write(Tag {
                next: self.head,
                rdev: NonNull::new_unchecked(rdev.into_raw()),
                label,
            });
        }
        self.head = bio;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Issues the round. If it has ended when this returns, here it is, and
    /// nobody else is told; else `round_done` is called.
    pub(crate) fn submit(self) -> Option<Done<O>> {
        self.issue().map(Done::new)
    }

    /// Issues the round; its end is always told from the queue. For submitters
    /// that hold what `round_done` needs, or that it could call again.
    pub(crate) fn submit_queued(self) {
        if let Some(round) = self.issue() {
            // SAFETY: All its bios have ended, and nobody else knows of it.
            unsafe { ended(KBox::into_raw(Pin::into_inner_unchecked(round))) };
        }
    }

    /// Submits the bios. The round comes back if all have ended.
    fn issue(self) -> Option<Pin<KBox<Round<O>>>> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again: the box moves out of it once.
        let round = unsafe { ptr::read(&this.round) };
        round.remaining.store(this.count.saturating_add(1), Relaxed);
        round.bios.store(this.head as usize, Relaxed);
        // SAFETY: The box stays pinned where it is; it is taken back by the
        // one who drops `remaining` to zero.
        let raw = KBox::into_raw(unsafe { Pin::into_inner_unchecked(round) });
        let mut next = this.head;
        while !next.is_null() {
            let bio = next;
            // SAFETY: No bio is freed before the round is reported, and that
            // cannot be as long as our count is in `remaining`.
            unsafe {
                next = (*tag_of(bio)).next;
                (*bio).bi_private = raw.cast();
                bindings::submit_bio_noacct(bio);
            }
        }
        // SAFETY: Our count keeps the round.
        let last = unsafe { (*raw).remaining.fetch_sub(1, Full) } == 1;
        // SAFETY: We dropped it to zero, so that it is ours.
        last.then(|| unsafe { Pin::new_unchecked(KBox::from_raw(raw)) })
    }
}

impl<O: RoundOwner> Drop for Builder<O> {
    fn drop(&mut self) {
        let mut next = self.head;
        while !next.is_null() {
            // SAFETY: Bios of `add` that were never submitted.
            unsafe {
                let bio = next;
                next = (*tag_of(bio)).next;
                put(bio);
            }
        }
    }
}

/// Frees a bio with what it holds.
///
/// # Safety
///
/// A bio of `add` that is not in flight; once.
unsafe fn put(bio: *mut bindings::bio) {
    // SAFETY: By the contract.
    unsafe {
        drop(RdevRef::from_raw((*tag_of(bio)).rdev));
        sys::raid5c_bio_put_pages(bio);
        bindings::bio_put(bio);
    }
}

/// # Safety
///
/// As the block layer calls it, for bios of a round.
unsafe extern "C" fn end_io<O: RoundOwner>(bio: *mut bindings::bio) {
    // SAFETY: Set before submission; the bio's count keeps the round.
    unsafe {
        let raw = (*bio).bi_private.cast::<Round<O>>();
        if (*raw).remaining.fetch_sub(1, Full) != 1 {
            return;
        }
        ended(raw);
    }
}

/// Passes a round of which all bios have ended to a worker; in any context.
///
/// # Safety
///
/// `raw` must be a leaked round that nobody else takes back.
unsafe fn ended<O: RoundOwner>(raw: *mut Round<O>) {
    // SAFETY: By the contract. The list is there until the round was handled.
    // Not through a reference of our own: dropping the last one here, perhaps
    // in interrupt context, would take the owner down here.
    unsafe {
        let worklist: *const Worklist = (*raw).owner.worklist();
        if (*worklist).takes_ended() {
            (*worklist).push(&raw mut (*raw).node);
        } else {
            let round = Pin::new_unchecked(KBox::from_raw(raw));
            (*worklist).near().queue().enqueue(round);
        }
    }
}

/// A round that has ended: its bios and how they ended.
pub(crate) struct Done<O: RoundOwner> {
    _round: Pin<KBox<Round<O>>>,
    next: *mut bindings::bio,
}

// SAFETY: Ended bios may be looked at and freed by any task.
unsafe impl<O: RoundOwner> Send for Done<O> {}

/// How one bio ended.
pub(crate) struct Ended {
    /// What it was about.
    pub(crate) label: Label,
    /// Whether it succeeded.
    pub(crate) ok: bool,
    /// It was a discard.
    pub(crate) discard: bool,
    /// The device.
    pub(crate) rdev: RdevRef,
}

impl<O: RoundOwner> Done<O> {
    fn new(round: Pin<KBox<Round<O>>>) -> Self {
        let next = round.bios.load(Relaxed) as *mut bindings::bio;
        Self {
            _round: round,
            next,
        }
    }
}

impl<O: RoundOwner> Iterator for Done<O> {
    type Item = Ended;

    fn next(&mut self) -> Option<Ended> {
        if self.next.is_null() {
            return None;
        }
        let bio = self.next;
        // SAFETY: A bio of the round that has ended; taken apart once.
        unsafe {
            let tag = tag_of(bio);
            self.next = (*tag).next;
            let ended = Ended {
                label: (*tag).label,
                ok: (*bio).bi_status == 0,
                discard: sys::raid5c_bio_op(bio) == bindings::req_op_REQ_OP_DISCARD,
                rdev: RdevRef::from_raw((*tag).rdev),
            };
            sys::raid5c_bio_put_pages(bio);
            bindings::bio_put(bio);
            Some(ended)
        }
    }
}

impl<O: RoundOwner> Drop for Done<O> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}
