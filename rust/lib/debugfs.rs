// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/raid5c`: a file for each array.

use kernel::{
    debugfs::{Dir, File},
    fmt, global_lock,
    prelude::*,
    str::CString,
    sync::Arc,
};

global_lock! {
    // SAFETY: Initialized by `Root::new`, before any array can start.
    unsafe(uninit) static DIR: Mutex<Option<Dir>> = None;
}

/// The directory; it is removed when this is dropped.
pub(crate) struct Root;

impl Root {
    /// Makes the directory. Once, when the module is loaded.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once, and nothing else uses the lock before.
        unsafe { DIR.init() };
        *DIR.lock() = Some(Dir::new(c"raid5c"));
        Self
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let dir = DIR.lock().take();
        drop(dir);
    }
}

/// What a file shows.
pub(crate) trait Shown: Send + Sync + 'static {
    /// Writes it, in any task and without locks held.
    fn show(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A file; it is removed when this is dropped, which waits for its readers.
pub(crate) struct Counters<T: Shown>(#[allow(dead_code)] Pin<KBox<File<Arc<T>>>>);

impl<T: Shown> Counters<T> {
    /// A file called `name` that shows `data`.
    pub(crate) fn new(name: fmt::Arguments<'_>, data: Arc<T>) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let dir = DIR.lock().clone().ok_or(ENODEV)?;
        let file = dir.read_callback_file(&name, data, &Self::show);
        KBox::pin_init(file, GFP_KERNEL).map(Self)
    }

    fn show(data: &Arc<T>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        data.show(out)
    }
}
