// SPDX-License-Identifier: GPL-2.0

//! Workqueues of our own, with a rescuer so that writes can complete when
//! memory is short.

use crate::sys;
use core::ptr::NonNull;
use kernel::{bindings, prelude::*, workqueue::Queue};

/// Where the work of a queue runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// On the CPU that queued it.
    Near,
    /// Where the scheduler likes.
    Far,
}

/// A reclaim-safe workqueue.
///
/// # Invariants
///
/// `ptr` is a workqueue that only this value destroys.
pub(crate) struct OwnQueue {
    ptr: NonNull<bindings::workqueue_struct>,
}

// SAFETY: Workqueues may be used from any task.
unsafe impl Send for OwnQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnQueue {}

impl OwnQueue {
    /// Allocates a queue.
    pub(crate) fn new(name: &'static CStr, placement: Placement) -> Result<Self> {
        // SAFETY: The name is a C string.
        let ptr = unsafe {
            sys::raid5c_alloc_workqueue(name.as_char_ptr(), placement == Placement::Near)
        };
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
        })
    }

    /// The queue, to put work on.
    pub(crate) fn queue(&self) -> &Queue {
        // SAFETY: By the invariant the queue lives as long as `self`.
        unsafe { Queue::from_raw(self.ptr.as_ptr()) }
    }

    /// The queue, for C.
    pub(crate) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.ptr.as_ptr()
    }

    /// Waits until all work queued so far has run.
    pub(crate) fn flush(&self) {
        // SAFETY: A valid workqueue.
        unsafe { bindings::__flush_workqueue(self.ptr.as_ptr()) }
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: By the invariant nobody else destroys it; destroying drains.
        unsafe { bindings::destroy_workqueue(self.ptr.as_ptr()) }
    }
}
