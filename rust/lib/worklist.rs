// SPDX-License-Identifier: GPL-2.0

//! The work of one array: an intrusive list that one worker empties.
//!
//! A submitter that only leaves its work on a list that somebody is emptying
//! goes on at once, and the two run side by side. That pays while the worker is
//! awake; waking it for every piece costs more than it gains. So the worker
//! looks on for a while before it sleeps, as long as work keeps coming (see
//! [`Pace`]) and nobody else wants its CPU. While it sleeps, submitters do
//! their work themselves, and what ends is handled on the CPU on which it ended.
//! The same when the list grows long: one worker is no bottleneck.

use super::workqueue::{OwnQueue, Placement};
use crate::{raid::pace::Pace, sys};
use core::{cell::UnsafeCell, ptr};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc,
    },
    workqueue::{impl_has_work, new_work, Queue, Work, WorkItem},
};

/// With so many nodes on the list, submitters do their work themselves.
const BUSY: usize = 8;
/// With so many, what ends is handled where it ended.
const CROWDED: usize = 64;

/// The worker sleeps, and the list is empty.
const ASLEEP: usize = 0;
/// The worker is awake, and the list is empty. Not the address of a node.
const AWAKE: usize = 1;

/// A place in a [`Worklist`], as a field of what is to be worked on.
pub(crate) struct Node {
    next: UnsafeCell<*mut Node>,
    run: unsafe fn(*mut Node),
    /// Posted and not taken off yet.
    posted: Atomic<u32>,
}

// SAFETY: `next` is only touched by the one who posted the node until it is on
// the list, and then by the worker that took it off.
unsafe impl Send for Node {}
// SAFETY: As above.
unsafe impl Sync for Node {}

impl Node {
    /// A node for `run`, which is called with the node.
    ///
    /// # Safety
    ///
    /// `run` must be safe to call, once for every `push`, with the node's
    /// address.
    pub(crate) const unsafe fn new(run: unsafe fn(*mut Node)) -> Self {
        Self {
            next: UnsafeCell::new(ptr::null_mut()),
            run,
            posted: Atomic::new(0),
        }
    }

    /// A node of a `T` in an [`Arc`], for [`Worklist::post`].
    pub(crate) const fn of<T: HasNode>() -> Self {
        // SAFETY: `post` alone pushes such nodes, with a leaked reference.
        unsafe { Self::new(run_posted::<T>) }
    }
}

/// What can be posted; implemented by [`impl_has_node`].
///
/// # Safety
///
/// `OFFSET` must be that of a field of type [`Node`] made by `Node::of::<Self>`.
pub(crate) unsafe trait HasNode: Posted {
    /// Bytes from the start of the value to its node.
    const OFFSET: usize;
}

/// What the worker does with what was posted.
pub(crate) trait Posted: Send + Sync + Sized + 'static {
    /// In process context.
    fn work(this: Arc<Self>);
}

/// Implements [`HasNode`] for a type by naming its field.
macro_rules! impl_has_node {
    ($type:ty { self.$field:ident }) => {
        // SAFETY: The offset is that of the field, whose type is checked here.
        unsafe impl $crate::lib::worklist::HasNode for $type {
            const OFFSET: usize = {
                const fn is_node(_: fn(&$type) -> &$crate::lib::worklist::Node) {}
                is_node(|value| &value.$field);
                core::mem::offset_of!($type, $field)
            };
        }
    };
}
pub(crate) use impl_has_node;

/// # Safety
///
/// `node` must be that of a `T` of which a reference was leaked.
unsafe fn run_posted<T: HasNode>(node: *mut Node) {
    // SAFETY: By the contract.
    let this = unsafe { Arc::from_raw(node.cast::<u8>().sub(T::OFFSET).cast::<T>().cast_const()) };
    // Before the work, so that what is posted from now on is looked at again.
    // SAFETY: The reference keeps the node.
    unsafe { &*node }.posted.xchg(0, Full);
    T::work(this);
}

/// The list.
#[pin_data]
struct List {
    /// The node that was pushed last, `ASLEEP` or `AWAKE`.
    last: Atomic<usize>,
    /// Nodes on it, at a glance.
    len: Atomic<usize>,
    /// When the worker fell asleep, or something came while it slept.
    since: Atomic<i64>,
    /// The state of a [`Pace`].
    pace: Atomic<u32>,
    #[pin]
    work: Work<List>,
}

impl_has_work! {
    impl HasWork<List> for List { self.work }
}

fn now() -> i64 {
    // SAFETY: Reads a clock; no preconditions.
    unsafe { bindings::ktime_get() }
}

/// Nanoseconds from `then` to `now`.
fn since(then: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(then)).unwrap_or(0)
}

impl List {
    /// Runs what is on the list. False if that was nothing.
    fn empty(&self) -> bool {
        if self.last.load(Relaxed) == AWAKE {
            // Without taking the cache line from those who push.
            return false;
        }
        let last = self.last.xchg(AWAKE, Full);
        if last == ASLEEP || last == AWAKE {
            return false;
        }
        let mut next = reverse(last as *mut Node);
        while !next.is_null() {
            let node = next;
            // SAFETY: A node that was pushed, and that only we know of now; it
            // may be gone as soon as it is run.
            unsafe {
                next = *(*node).next.get();
                ((*node).run)(node);
            }
            self.len.fetch_sub(1, Relaxed);
            // SAFETY: We are in process context, without locks.
            unsafe { sys::raid5c_cond_resched() };
        }
        true
    }
}

impl WorkItem for List {
    type Pointer = Arc<List>;

    fn run(this: Arc<List>) {
        let mut from = now();
        loop {
            if this.empty() {
                from = now();
                continue;
            }
            let at = now();
            let patience = Pace::from_bits(this.pace.load(Relaxed)).patience_ns();
            // SAFETY: Looks at the current task and its CPU's queue.
            let wanted = unsafe { sys::raid5c_cpu_wanted() };
            if since(from, at) < patience && !wanted {
                // SAFETY: A hint to the CPU.
                unsafe { sys::raid5c_cpu_relax() };
                continue;
            }
            this.since.store(at, Relaxed);
            if this.last.cmpxchg(AWAKE, ASLEEP, Full).is_ok() {
                return;
            }
        }
    }
}

/// Turns a list around: what was pushed first comes first.
fn reverse(mut from: *mut Node) -> *mut Node {
    let mut to = ptr::null_mut();
    while !from.is_null() {
        // SAFETY: Nodes that only we know of.
        unsafe {
            let next = *(*from).next.get();
            *(*from).next.get() = to;
            to = from;
            from = next;
        }
    }
    to
}

/// The worklist of one array, and the queues of its workers.
pub(crate) struct Worklist {
    near: OwnQueue,
    far: OwnQueue,
    /// For what may wait for the others.
    slow: OwnQueue,
    list: Arc<List>,
}

impl Worklist {
    /// An empty list.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            near: OwnQueue::new(c"raid5c", Placement::Near)?,
            far: OwnQueue::new(c"raid5c-list", Placement::Far)?,
            slow: OwnQueue::new(c"raid5c-slow", Placement::Far)?,
            list: Arc::pin_init(
                pin_init!(List {
                    last: Atomic::new(ASLEEP),
                    len: Atomic::new(0),
                    since: Atomic::new(0),
                    pace: Atomic::new(Pace::new().to_bits()),
                    work <- new_work!("raid5c::list"),
                }),
                GFP_KERNEL,
            )?,
        })
    }

    /// The queue for work that stays on its CPU.
    pub(crate) fn near(&self) -> &OwnQueue {
        &self.near
    }

    /// The queue for work that may wait for what the others do.
    pub(crate) fn slow(&self) -> &OwnQueue {
        &self.slow
    }

    /// Waits until all work so far has been done.
    pub(crate) fn flush(&self) {
        self.slow.flush();
        self.near.flush();
        self.far.flush();
    }

    /// Leaves `this` to the worker, which is woken for it if need be and `wake`.
    /// False if the caller had better do the work itself.
    pub(crate) fn post<T: HasNode>(&self, this: &Arc<T>, wake: bool) -> bool {
        let asleep = self.list.last.load(Relaxed) == ASLEEP;
        if (asleep && !wake) || self.holds(BUSY) {
            return false;
        }
        self.leave(this);
        true
    }

    /// Leaves `this` to the worker whatever it has to do: for callers that cannot do the work.
    pub(crate) fn leave<T: HasNode>(&self, this: &Arc<T>) {
        let raw = Arc::into_raw(this.clone());
        // SAFETY: The reference that we just took keeps the value.
        let node = unsafe { raw.cast::<u8>().add(T::OFFSET).cast::<Node>() };
        // SAFETY: As above.
        if unsafe { &*node }.posted.xchg(1, Full) != 0 {
            // It is on the list, and will be looked at after what the caller
            // did to it.
            // SAFETY: The reference of above.
            drop(unsafe { Arc::from_raw(raw) });
            return;
        }
        // SAFETY: By `HasNode`; the reference is the one that the worker takes.
        unsafe { self.push(node.cast_mut()) };
    }

    /// Whether work that ended should go on the list. What comes often enough
    /// while the worker sleeps wakes it.
    pub(crate) fn takes_ended(&self) -> bool {
        if self.list.last.load(Relaxed) != ASLEEP {
            return !self.holds(CROWDED);
        }
        let at = now();
        let gap = since(self.list.since.xchg(at, Relaxed), at);
        let mut pace = Pace::from_bits(self.list.pace.load(Relaxed));
        pace.came_after(gap);
        self.list.pace.store(pace.to_bits(), Relaxed);
        pace.patience_ns() > 0
    }

    fn holds(&self, nodes: usize) -> bool {
        self.list.len.load(Relaxed) >= nodes
    }

    /// Puts a node on the list; in any context.
    ///
    /// # Safety
    ///
    /// The node must stay where it is until it is run, and not be on the list.
    /// `self` may be gone as soon as it was run, but not before.
    pub(crate) unsafe fn push(&self, node: *mut Node) {
        // What the node belongs to may keep `self`: what is used after the node
        // is on the list has to be ours.
        let list = self.list.clone();
        let far: *const Queue = self.far.queue();
        list.len.fetch_add(1, Relaxed);
        let mut last = list.last.load(Relaxed);
        loop {
            let next = if last == AWAKE { ASLEEP } else { last };
            // SAFETY: The node is ours until it is on the list.
            unsafe { *(*node).next.get() = next as *mut Node };
            match list.last.cmpxchg(last, node as usize, Full) {
                Ok(_) => break,
                Err(found) => last = found,
            }
        }
        if last == ASLEEP {
            // SAFETY: The queue is there: the node is not run before the work
            // that we queue here is.
            let _ = unsafe { (*far).enqueue(list) };
        }
    }
}
