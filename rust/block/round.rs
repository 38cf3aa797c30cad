// SPDX-License-Identifier: GPL-2.0

//! Rounds of member I/O: bios that are issued together and reported together.
//!
//! end_io only counts; the last one queues the round, and everything else
//! happens in process context, without interrupt-safe locks. If all bios ended
//! before the submitter let go, it gets the round back at once.

use super::bioset::{BioSet, Got};
use crate::{
    lib::{
        page::Page,
        worklist::{Node, Worklist},
    },
    md::rdev::RdevRef,
    sys,
};
use core::{
    mem::{size_of, MaybeUninit},
    ptr,
    ptr::NonNull,
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
    workqueue::{impl_has_work, new_work, HasWork, RawWorkItem, Work, WorkItem, WorkItemPointer},
};

/// Who is told about the end of a round.
pub(crate) trait RoundOwner: Sized + Send + Sync + 'static {
    /// All bios of a round have ended; in process context.
    fn round_done(this: Arc<Self>, done: Done<Self>);
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
    /// Not the write itself: a read of what was written.
    pub(crate) again: bool,
}

/// What each bio is about.
struct Tag {
    next: *mut bindings::bio,
    rdev: NonNull<sys::md_rdev>,
    label: Label,
    /// The pool whose spare bio it is; null if it is none.
    spare: *const BioSet,
}

/// What stands in front of each bio. The round that was added to first has its
/// place in the pad of that first bio, so that a round takes no memory of its own.
struct Pad<O: RoundOwner> {
    tag: Tag,
    round: MaybeUninit<Round<O>>,
}

/// Bytes that the pool has to leave in front of each bio.
pub(crate) const fn front_pad<O: RoundOwner>() -> usize {
    size_of::<Pad<O>>()
}

/// # Safety
///
/// `bio` must come from a pool with [`front_pad`] of `O`.
unsafe fn pad_of<O: RoundOwner>(bio: *mut bindings::bio) -> *mut Pad<O> {
    // SAFETY: By the contract the pad lies right before the bio.
    unsafe { bio.cast::<u8>().sub(front_pad::<O>()).cast() }
}

/// # Safety
///
/// As for [`pad_of`].
unsafe fn tag_of<O: RoundOwner>(bio: *mut bindings::bio) -> *mut Tag {
    // SAFETY: By the contract.
    unsafe { &raw mut (*pad_of::<O>(bio)).tag }
}

/// A round in flight.
#[pin_data]
struct Round<O: RoundOwner> {
    #[pin]
    work: Work<Round<O>>,
    /// Bios in flight, and one for the submitter.
    remaining: Atomic<i32>,
    /// The bios, that with the round in its pad last; set before the first is
    /// submitted.
    bios: Atomic<usize>,
    /// For the worklist.
    node: Node,
    owner: Arc<O>,
}

/// A round that is nobody else's.
///
/// # Invariants
///
/// A round in the pad of one of its bios, of which none is in flight.
struct RoundPtr<O: RoundOwner>(NonNull<Round<O>>);

// SAFETY: Ended bios, and the owner, may be looked at by any task.
unsafe impl<O: RoundOwner> Send for RoundPtr<O> {}

// SAFETY: The work is that of the round, which stays until its function is run.
unsafe impl<O: RoundOwner> RawWorkItem<0> for RoundPtr<O> {
    type EnqueueOutput = ();

    unsafe fn __enqueue<F>(self, queue_work_on: F)
    where
        F: FnOnce(*mut bindings::work_struct) -> bool,
    {
        // SAFETY: By the invariant the round is there; it is queued once.
        unsafe {
            let work = <Round<O> as HasWork<Round<O>, 0>>::raw_get_work(self.0.as_ptr());
            queue_work_on(Work::raw_get(work));
        }
    }
}

// SAFETY: `run` takes the round that `__enqueue` queued.
unsafe impl<O: RoundOwner> WorkItemPointer<0> for RoundPtr<O> {
    unsafe extern "C" fn run(ptr: *mut bindings::work_struct) {
        let work = ptr.cast::<Work<Round<O>, 0>>();
        // SAFETY: The work lies in a round, which is not null.
        // INVARIANT: Whoever queued it gave it away.
        let round = unsafe {
            let raw = <Round<O> as HasWork<Round<O>, 0>>::work_container_of(work);
            Self(NonNull::new_unchecked(raw))
        };
        <Round<O> as WorkItem<0>>::run(round);
    }
}

/// # Safety
///
/// `node` must be that of a round of `O` of which all bios have ended, and that
/// nobody else takes.
unsafe fn run_round<O: RoundOwner>(node: *mut Node) {
    let offset = core::mem::offset_of!(Round<O>, node);
    // SAFETY: By the contract.
    // INVARIANT: By the contract.
    let round = unsafe {
        let raw = node.cast::<u8>().sub(offset).cast::<Round<O>>();
        RoundPtr(NonNull::new_unchecked(raw))
    };
    Round::run(round);
}

impl_has_work! {
    impl{O: RoundOwner} HasWork<Round<O>> for Round<O> { self.work }
}

impl<O: RoundOwner> WorkItem for Round<O> {
    type Pointer = RoundPtr<O>;

    fn run(this: RoundPtr<O>) {
        let done = Done::new(this);
        O::round_done(done.owner(), done);
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
    owner: Arc<O>,
    head: *mut bindings::bio,
    /// The bio that was added first.
    first: *mut bindings::bio,
    count: i32,
}

impl<O: RoundOwner> Builder<O> {
    /// An empty round for `owner`.
    pub(crate) fn new(owner: Arc<O>) -> Self {
        Self {
            owner,
            head: ptr::null_mut(),
            first: ptr::null_mut(),
            count: 0,
        }
    }

    /// Adds a bio for sector `sector` of the device (data offset included).
    /// The pages stay referenced until the round is reported.
    ///
    /// `set` must have been made with [`front_pad`], and live as long as the owner;
    /// at most 256 pages.
    ///
    /// Never waits: `ENOMEM` asks the caller to submit what it has, and to try the
    /// rest again when some I/O has ended. Whoever waited here for a bio could be
    /// the one who would have to free it.
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
        let Got { bio, spare } = set.alloc(rdev.bdev(), vecs, opf)?;
        let bio = bio.as_ptr();
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
            tag_of::<O>(bio).write(Tag {
                next: self.head,
                rdev: NonNull::new_unchecked(rdev.into_raw()),
                label,
                spare: if spare { set } else { ptr::null() },
            });
        }
        if self.first.is_null() {
            self.first = bio;
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
    /// nobody else is told; else `round_done` is called, if anything was added.
    pub(crate) fn submit(self) -> Option<Done<O>> {
        self.issue().map(Done::new)
    }

    /// Issues the round; its end is always told from the queue. For submitters
    /// that hold what `round_done` needs, or that it could call again.
    pub(crate) fn submit_queued(self) {
        if let Some(round) = self.issue() {
            // SAFETY: All its bios have ended, and nobody else knows of it.
            unsafe { ended(round.0.as_ptr()) };
        }
    }

    /// Submits the bios. The round comes back if all have ended.
    fn issue(self) -> Option<RoundPtr<O>> {
        if self.is_empty() {
            return None;
        }
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again: the owner moves out of it once.
        let owner = unsafe { ptr::read(&this.owner) };
        let (head, count) = (this.head, this.count);
        // SAFETY: The first bio is ours, and has room for a round in its pad.
        let raw = unsafe { (&raw mut (*pad_of::<O>(this.first)).round).cast::<Round<O>>() };
        let init = pin_init!(Round {
            work <- new_work!("raid5c::round"),
            remaining: Atomic::new(count.saturating_add(1)),
            bios: Atomic::new(head as usize),
            // SAFETY: Only rounds that have ended are pushed, once each.
            node: unsafe { Node::new(run_round::<O>) },
            owner,
        });
        // SAFETY: Room for a round, which stays where it is until it is taken apart.
        let Ok(()) = unsafe { init.__pinned_init(raw) };
        let mut next = head;
        while !next.is_null() {
            let bio = next;
            // SAFETY: No bio is freed before the round is reported, and that
            // cannot be as long as our count is in `remaining`.
            unsafe {
                next = (*tag_of::<O>(bio)).next;
                (*bio).bi_private = raw.cast();
                bindings::submit_bio_noacct(bio);
            }
        }
        // SAFETY: Our count keeps the round.
        let last = unsafe { (*raw).remaining.fetch_sub(1, Full) } == 1;
        // SAFETY: A place in a pad is not null.
        // INVARIANT: We dropped it to zero, so that it is ours.
        last.then(|| RoundPtr(unsafe { NonNull::new_unchecked(raw) }))
    }
}

impl<O: RoundOwner> Drop for Builder<O> {
    fn drop(&mut self) {
        let mut next = self.head;
        while !next.is_null() {
            // SAFETY: Bios of `add` that were never submitted.
            unsafe {
                let bio = next;
                next = (*tag_of::<O>(bio)).next;
                drop(put::<O>(bio));
            }
        }
    }
}

/// Frees a bio with what it holds; gives its device back.
///
/// # Safety
///
/// A bio of `add` for `O` that is not in flight; once. Its pool must be there.
unsafe fn put<O: RoundOwner>(bio: *mut bindings::bio) -> RdevRef {
    // SAFETY: By the contract.
    unsafe {
        let tag = tag_of::<O>(bio);
        let rdev = RdevRef::from_raw((*tag).rdev);
        let set = (*tag).spare;
        sys::raid5c_bio_put_pages(bio);
        match set.as_ref() {
            Some(set) => set.free(Got {
                bio: NonNull::new_unchecked(bio),
                spare: true,
            }),
            None => bindings::bio_put(bio),
        }
        rdev
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
/// `raw` must be a round that nobody else takes.
unsafe fn ended<O: RoundOwner>(raw: *mut Round<O>) {
    // SAFETY: By the contract. The list is there until the round was handled.
    // Not through a reference of our own: dropping the last one here, perhaps
    // in interrupt context, would take the owner down here.
    // INVARIANT: All bios of the round have ended.
    unsafe {
        let worklist: *const Worklist = (*raw).owner.worklist();
        if (*worklist).takes_ended() {
            (*worklist).push(&raw mut (*raw).node);
        } else {
            let round = RoundPtr(NonNull::new_unchecked(raw));
            (*worklist).near().queue().enqueue(round);
        }
    }
}

/// A round that has ended: its bios and how they ended.
pub(crate) struct Done<O: RoundOwner> {
    owner: Arc<O>,
    next: *mut bindings::bio,
}

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

// SAFETY: Ended bios may be looked at and freed by any task.
unsafe impl<O: RoundOwner> Send for Done<O> {}

impl<O: RoundOwner> Done<O> {
    /// Takes a round apart: its place goes with its bios.
    fn new(round: RoundPtr<O>) -> Self {
        let raw = round.0.as_ptr();
        // SAFETY: By the invariant the round is ours. Nothing of it is used again
        // but what is read here; what is left of it needs no drop.
        unsafe {
            Self {
                owner: ptr::read(&raw const (*raw).owner),
                next: (*raw).bios.load(Relaxed) as *mut bindings::bio,
            }
        }
    }

    fn owner(&self) -> Arc<O> {
        self.owner.clone()
    }
}

impl<O: RoundOwner> Iterator for Done<O> {
    type Item = Ended;

    fn next(&mut self) -> Option<Ended> {
        if self.next.is_null() {
            return None;
        }
        let bio = self.next;
        // SAFETY: A bio of the round that has ended; taken apart once. The owner
        // keeps its pool.
        unsafe {
            let tag = tag_of::<O>(bio);
            self.next = (*tag).next;
            Some(Ended {
                label: (*tag).label,
                ok: (*bio).bi_status == 0,
                discard: sys::raid5c_bio_op(bio) == bindings::req_op_REQ_OP_DISCARD,
                rdev: put::<O>(bio),
            })
        }
    }
}

impl<O: RoundOwner> Drop for Done<O> {
    fn drop(&mut self) {
        while self.next().is_some() {}
    }
}
