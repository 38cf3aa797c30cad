// SPDX-License-Identifier: GPL-2.0

//! Threads in md's way: woken by a flag or a timeout, run a function, sleep.

use super::mddev::{Mddev, MddevRef};
use crate::sys;
use core::ptr::{self, NonNull};
use kernel::{bindings, prelude::*};

/// The function that the array's own thread runs.
pub(crate) trait ArrayThread {
    /// One round.
    fn run(mddev: &Mddev);
}

/// Registers the array's own thread, which md core wakes for its superblocks.
/// It is stopped by md core when the array stops.
pub(crate) fn start_array_thread<T: ArrayThread>(mddev: &Mddev, name: &'static CStr) -> Result {
    // SAFETY: A live mddev in `run`; md core stores and stops the thread.
    unsafe {
        let thread = sys::md_register_thread(
            Some(array_callback::<T>),
            mddev.as_ptr(),
            name.as_char_ptr(),
        );
        if thread.is_null() {
            return Err(ENOMEM);
        }
        ptr::write_volatile(&raw mut (*mddev.as_ptr()).thread, thread);
    }
    Ok(())
}

/// Stops the array's own thread after a failed `run`.
pub(crate) fn stop_array_thread(mddev: &Mddev) {
    // SAFETY: A live mddev in `run`; the C function copes with null.
    unsafe { sys::md_unregister_thread(mddev.as_ptr(), &raw mut (*mddev.as_ptr()).thread) }
}

/// # Safety
///
/// As md core calls it.
unsafe extern "C" fn array_callback<T: ArrayThread>(thread: *mut sys::md_thread) {
    // SAFETY: The thread's mddev is live while the thread runs.
    T::run(unsafe { Mddev::from_raw((*thread).mddev) })
}

/// Work of a thread of our own.
pub(crate) trait Worker: Send + Sync + 'static {
    /// One round.
    fn run(&self);
}

/// A thread of our own, for the journal's reclaim.
///
/// # Invariants
///
/// `thread` was registered with `worker` as private data, and is unregistered
/// before `worker` goes.
pub(crate) struct OwnThread<W: Worker> {
    mddev: MddevRef,
    thread: *mut sys::md_thread,
    _worker: kernel::sync::Arc<W>,
}

// SAFETY: The thread may be woken and stopped from any task.
unsafe impl<W: Worker> Send for OwnThread<W> {}
// SAFETY: As above.
unsafe impl<W: Worker> Sync for OwnThread<W> {}

impl<W: Worker> OwnThread<W> {
    /// Starts the thread; it runs whenever it is woken, and every `period`
    /// jiffies.
    pub(crate) fn start(
        mddev: &Mddev,
        name: &'static CStr,
        worker: kernel::sync::Arc<W>,
        period: usize,
    ) -> Result<Self> {
        // SAFETY: A live mddev; the callback uses `private` only when set.
        let thread = NonNull::new(unsafe {
            sys::md_register_thread(Some(own_callback::<W>), mddev.as_ptr(), name.as_char_ptr())
        })
        .ok_or(ENOMEM)?;
        // SAFETY: The thread is ours. It starts to look at `private` after its
        // first wake-up, which comes after this, or sees null and returns.
        unsafe {
            (*thread.as_ptr()).timeout = period;
            let private = (&raw const *worker).cast_mut().cast();
            ptr::write_volatile(&raw mut (*thread.as_ptr()).private, private);
        }
        Ok(Self {
            mddev: mddev.to_ref(),
            thread: thread.as_ptr(),
            _worker: worker,
        })
    }

    /// Has the thread run a round.
    pub(crate) fn wake(&self) {
        // SAFETY: Registered until drop; RCU read lock as the C function wants.
        unsafe {
            bindings::rcu_read_lock();
            sys::__md_wakeup_thread(self.thread);
            bindings::rcu_read_unlock();
        }
    }
}

impl<W: Worker> Drop for OwnThread<W> {
    fn drop(&mut self) {
        // SAFETY: Registered by `start`; returns when the thread has ended.
        unsafe { sys::md_unregister_thread(self.mddev.as_ptr(), &mut self.thread) }
    }
}

/// # Safety
///
/// As md core calls it.
unsafe extern "C" fn own_callback<W: Worker>(thread: *mut sys::md_thread) {
    // SAFETY: A live thread; `private` is null or the worker, which the
    // `OwnThread` keeps until the thread has ended.
    unsafe {
        let private = ptr::read_volatile(&raw const (*thread).private);
        if let Some(worker) = private.cast::<W>().as_ref() {
            worker.run();
        }
    }
}
