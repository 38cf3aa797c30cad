// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/raid5c`: a file for each array.
//!
//! Not with the kernel crate's files: those do not keep the module while they
//! are open, so that closing one after the module is gone would call into what
//! was freed.

use crate::sys;
use core::{ffi::c_void, fmt, marker::PhantomData};
use kernel::{
    bindings, prelude::*, seq_file::SeqFile, str::CString, sync::atomic::Atomic,
    sync::atomic::Relaxed, sync::Arc,
};

/// The directory's dentry, or an error pointer, which debugfs takes too.
static DIR: Atomic<usize> = Atomic::new(0);

/// The directory; it is removed when this is dropped.
pub(crate) struct Root;

impl Root {
    /// Makes the directory. Once, when the module is loaded.
    pub(crate) fn new() -> Self {
        // SAFETY: A string that ends with a zero.
        let dir = unsafe { sys::raid5c_debugfs_dir(c"raid5c".as_char_ptr()) };
        DIR.store(dir as usize, Relaxed);
        Self
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: What debugfs gave; removed once.
        unsafe { sys::raid5c_debugfs_remove(DIR.load(Relaxed) as *mut c_void) };
    }
}

/// What a file shows.
pub(crate) trait Shown: Send + Sync + 'static {
    /// Writes it, in any task and without locks held.
    fn show(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// As `struct raid5c_shown` in helpers.c.
#[repr(C)]
struct Entry {
    show: unsafe extern "C" fn(*mut bindings::seq_file, *const c_void),
    data: *const c_void,
}

/// A file; it is removed when this is dropped, which waits for its readers.
pub(crate) struct Counters<T: Shown> {
    dentry: *mut c_void,
    /// Of a box; debugfs has its address.
    entry: *mut Entry,
    data: *const T,
    _owns: PhantomData<Arc<T>>,
}

// SAFETY: The pointers are a dentry, which any task may remove, and an `Arc<T>`
// of something that any task may use.
unsafe impl<T: Shown> Send for Counters<T> {}

struct Line<'a, T>(&'a T);

impl<T: Shown> fmt::Display for Line<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

impl<T: Shown> Counters<T> {
    /// A file called `name` that shows `data`.
    pub(crate) fn new(name: kernel::fmt::Arguments<'_>, data: Arc<T>) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let entry = KBox::new(
            Entry {
                show: Self::show_callback,
                data: Arc::as_ptr(&data).cast(),
            },
            GFP_KERNEL,
        )?;
        let data = Arc::into_raw(data);
        let entry = KBox::into_raw(entry);
        let dir = DIR.load(Relaxed) as *mut c_void;
        // SAFETY: A string that ends with a zero, a directory or an error
        // pointer, and an entry that lives until after the file's removal.
        let dentry = unsafe { sys::raid5c_debugfs_file(name.as_char_ptr(), dir, entry.cast()) };
        Ok(Self {
            dentry,
            entry,
            data,
            _owns: PhantomData,
        })
    }

    /// # Safety
    ///
    /// As `raid5c_shown_show` calls it: a seq_file of this task, and the data of
    /// an entry of this type.
    unsafe extern "C" fn show_callback(m: *mut bindings::seq_file, data: *const c_void) {
        // SAFETY: The caller's promise.
        let file = unsafe { SeqFile::from_raw(m) };
        // SAFETY: `drop` removes the file, and so waits for this, before it lets
        // go of the data.
        let data = unsafe { &*data.cast::<T>() };
        file.call_printf(fmt!("{}", super::show::Show(Line(data))));
    }
}

impl<T: Shown> Drop for Counters<T> {
    fn drop(&mut self) {
        // SAFETY: What debugfs gave; removed once.
        unsafe { sys::raid5c_debugfs_remove(self.dentry) };
        // SAFETY: From `into_raw` in `new`; nobody can see it any more.
        drop(unsafe { KBox::from_raw(self.entry) });
        // SAFETY: The same.
        drop(unsafe { Arc::from_raw(self.data) });
    }
}
