// SPDX-License-Identifier: GPL-2.0

//! Caches that the kernel may ask to become smaller.

use crate::sys;
use core::{ffi::c_void, marker::PhantomData, ptr::NonNull};
use kernel::{prelude::*, sync::Arc};

/// What can become smaller. Its functions are called by whoever looks for memory,
/// which may be a task that writes: they wait for nothing.
pub(crate) trait Shrinks: Send + Sync + 'static {
    /// How many pages could be freed, about.
    fn count(&self) -> usize;
    /// Frees about `n` pages; returns how many, and 0 if there are none.
    fn scan(&self, n: usize) -> usize;
}

/// A registered shrinker; it is called no more once this is dropped.
pub(crate) struct Shrinker<T: Shrinks> {
    ptr: NonNull<c_void>,
    data: *const T,
    _owns: PhantomData<Arc<T>>,
}

// SAFETY: A registered shrinker may be freed by any task, and owns an `Arc`.
unsafe impl<T: Shrinks> Send for Shrinker<T> {}

impl<T: Shrinks> Shrinker<T> {
    /// Registers a shrinker of `what`.
    pub(crate) fn new(what: Arc<T>) -> Result<Self> {
        let data = Arc::into_raw(what);
        // SAFETY: The callbacks take what is given with them, which stays until the
        // shrinker is freed.
        let ptr = unsafe {
            sys::raid5c_shrinker_new(data.cast_mut().cast(), Some(count::<T>), Some(scan::<T>))
        };
        let Some(ptr) = NonNull::new(ptr) else {
            // SAFETY: The reference of above.
            drop(unsafe { Arc::from_raw(data) });
            return Err(ENOMEM);
        };
        Ok(Self {
            ptr,
            data,
            _owns: PhantomData,
        })
    }
}

impl<T: Shrinks> Drop for Shrinker<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by `new`, and freed once; waits until nobody calls it.
        // Then the reference of `new` is nobody else's.
        unsafe {
            sys::raid5c_shrinker_free(self.ptr.as_ptr());
            drop(Arc::from_raw(self.data));
        }
    }
}

/// # Safety
///
/// `data` must be what `new` registered.
unsafe extern "C" fn count<T: Shrinks>(data: *mut c_void) -> usize {
    // SAFETY: By the contract.
    unsafe { &*data.cast::<T>() }.count()
}

/// # Safety
///
/// As for [`count`].
unsafe extern "C" fn scan<T: Shrinks>(data: *mut c_void, n: usize) -> usize {
    // SAFETY: By the contract.
    unsafe { &*data.cast::<T>() }.scan(n)
}
