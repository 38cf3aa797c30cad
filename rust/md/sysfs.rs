// SPDX-License-Identifier: GPL-2.0

//! Attributes of an array in `/sys/block/mdX/md`.

use super::mddev::Mddev;
use crate::sys;
use core::fmt::{self, Write};
use kernel::{bindings, error::to_result, prelude::*};

/// Attributes of an array, by number.
pub(crate) trait Attributes: 'static {
    /// Shows attribute `index`.
    fn show(index: usize, mddev: &Mddev, out: &mut dyn fmt::Write) -> Result;
    /// Takes what was written to attribute `index`, as it was written.
    fn store(index: usize, mddev: &Mddev, text: &[u8]) -> Result;
}

/// The C side of one attribute; `I` is its number.
pub(crate) struct Attribute<A: Attributes, const I: usize>(core::marker::PhantomData<A>);

impl<A: Attributes, const I: usize> Attribute<A, I> {
    /// The entry that the group points to.
    pub(crate) const fn entry(name: &'static CStr, writable: bool) -> sys::md_sysfs_entry {
        // SAFETY: All-zeroes is a valid entry: null pointers and `None`.
        let mut entry: sys::md_sysfs_entry = unsafe { core::mem::zeroed() };
        // `as_char_ptr` is not const.
        entry.attr.name = name.to_bytes_with_nul().as_ptr().cast();
        entry.attr.mode = if writable { 0o644 } else { 0o444 };
        entry.show = Some(Self::show_callback);
        entry.store = if writable {
            Some(Self::store_callback)
        } else {
            None
        };
        entry
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn show_callback(mddev: *mut sys::mddev, page: *mut u8) -> isize {
        let mut out = Buffer { page, len: 0 };
        // SAFETY: md holds a reference of the mddev.
        match A::show(I, unsafe { Mddev::from_raw(mddev) }, &mut out) {
            Ok(()) => out.len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// As md core calls it.
    unsafe extern "C" fn store_callback(
        mddev: *mut sys::mddev,
        page: *const u8,
        len: usize,
    ) -> isize {
        // SAFETY: sysfs gives `len` valid bytes.
        let text = unsafe { core::slice::from_raw_parts(page, len) };
        // SAFETY: md holds a reference of the mddev.
        match A::store(I, unsafe { Mddev::from_raw(mddev) }, text) {
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }
}

/// sysfs's page, as a `fmt::Write`.
struct Buffer {
    page: *mut u8,
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        if end > kernel::page::PAGE_SIZE {
            return Err(fmt::Error);
        }
        // SAFETY: sysfs gives a page, and the copy ends within it.
        unsafe { core::ptr::copy_nonoverlapping(s.as_ptr(), self.page.add(self.len), s.len()) };
        self.len = end;
        Ok(())
    }
}

/// A static group of attributes.
#[repr(transparent)]
pub(crate) struct Group(bindings::attribute_group);

// SAFETY: Constant data.
unsafe impl Sync for Group {}

/// A static entry.
#[repr(transparent)]
pub(crate) struct Entry(pub(crate) sys::md_sysfs_entry);

// SAFETY: Constant data.
unsafe impl Sync for Entry {}

/// A static list of attributes, ended by null.
#[repr(transparent)]
pub(crate) struct List<const N: usize>(pub(crate) [*mut bindings::attribute; N]);

// SAFETY: Constant data.
unsafe impl<const N: usize> Sync for List<N> {}

impl Group {
    /// An unnamed group of the attributes in `list`.
    pub(crate) const fn new<const N: usize>(list: &'static List<N>) -> Self {
        // SAFETY: All-zeroes is a valid group: null pointers and `None`.
        let mut group: bindings::attribute_group = unsafe { core::mem::zeroed() };
        group.__bindgen_anon_2.attrs = (&raw const list.0).cast_mut().cast();
        Self(group)
    }
}

impl Entry {
    /// The attribute for a [`List`].
    pub(crate) const fn attr(&'static self) -> *mut bindings::attribute {
        (&raw const self.0.attr).cast_mut()
    }
}

/// The group of this module; one for all its arrays.
static GROUP: kernel::sync::atomic::Atomic<usize> = kernel::sync::atomic::Atomic::new(0);

/// Creates the attributes of a starting array.
pub(crate) fn attach(mddev: &Mddev, group: &'static Group) -> Result {
    let raw = &raw const group.0;
    GROUP.store(raw as usize, kernel::sync::atomic::Relaxed);
    let m = mddev.as_ptr();
    // SAFETY: A live mddev in `run`, locked by md.
    unsafe {
        if (*m).to_remove == raw {
            // They are still there from the run before.
            (*m).to_remove = core::ptr::null();
            return Ok(());
        }
        if (*m).kobj.sd.is_null() {
            return Ok(());
        }
        to_result(bindings::sysfs_create_group(&raw mut (*m).kobj, raw))
    }
}

/// Has md remove the attributes of a stopped array, at a time when it can.
pub(super) fn detach(mddev: *mut sys::mddev) {
    let raw = GROUP.load(kernel::sync::atomic::Relaxed) as *const bindings::attribute_group;
    if !raw.is_null() {
        // SAFETY: A live mddev in `free`, locked by md; the field is md core's
        // means for exactly this.
        unsafe { (*mddev).to_remove = raw };
    }
}
