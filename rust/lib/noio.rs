// SPDX-License-Identifier: GPL-2.0

//! Allocation without recursion into the block layer.

use crate::sys;
use core::marker::PhantomData;

/// Scope in which every allocation of this task is `GFP_NOIO` or weaker, as
/// everything must be on which a write can depend.
pub(crate) struct NoIo {
    flags: u32,
    // The scope belongs to the task that opened it.
    _not_send: PhantomData<*mut ()>,
}

impl NoIo {
    /// Opens the scope; it closes on drop. Scopes nest.
    pub(crate) fn enter() -> Self {
        Self {
            // SAFETY: Sets a flag of the current task; no preconditions.
            flags: unsafe { sys::raid5c_noio_save() },
            _not_send: PhantomData,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: `flags` is what the save of this scope returned, and the type
        // is not `Send`, so that this is the same task.
        unsafe { sys::raid5c_noio_restore(self.flags) }
    }
}
