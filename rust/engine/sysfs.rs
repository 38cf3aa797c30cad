// SPDX-License-Identifier: GPL-2.0

//! `/sys/block/mdX/md`: the attributes of a parity array.

use super::array::Array;
use crate::lib::parse::{self, JournalMode};
use crate::md::{
    mddev::Mddev,
    personality::with_private,
    sysfs::{self, Attribute, Attributes, Entry, Group, List},
};
use core::fmt;
use kernel::prelude::*;

/// Our attributes.
struct Attrs;

const CACHE_SIZE: usize = 0;
const CACHE_ACTIVE: usize = 1;
const JOURNAL_MODE: usize = 2;

impl Attributes for Attrs {
    fn show(index: usize, mddev: &Mddev, out: &mut dyn fmt::Write) -> Result {
        let shown = mddev.locked(|| {
            with_private::<Array, _>(mddev, |array| match index {
                CACHE_SIZE => writeln!(out, "{}", array.cache_rows()),
                CACHE_ACTIVE => writeln!(out, "{}", array.cache.active()),
                JOURNAL_MODE if array.journal().is_some() => {
                    let modes = if array.is_write_back() {
                        "write-through [write-back]"
                    } else {
                        "[write-through] write-back"
                    };
                    writeln!(out, "{modes}")
                }
                _ => Ok(()),
            })
        })?;
        match shown {
            Some(Err(_)) => Err(ENOSPC),
            // Nothing to show while no array runs.
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn store(index: usize, mddev: &Mddev, text: &[u8]) -> Result {
        match index {
            CACHE_SIZE => {
                let rows = parse::number(text).ok_or(EINVAL)?;
                mddev
                    .locked(|| with_private::<Array, _>(mddev, |a| set_cache_rows(a, rows)))?
                    .ok_or(ENODEV)?
            }
            JOURNAL_MODE => {
                let mode = JournalMode::parse(text).ok_or(EINVAL)?;
                mddev
                    .locked(|| with_private::<Array, _>(mddev, |a| set_mode(a, mode)))?
                    .ok_or(ENODEV)?
            }
            _ => Err(EINVAL),
        }
    }
}

fn set_cache_rows(array: &Array, rows: u64) -> Result {
    array.set_cache_rows(parse::cache_rows(rows).ok_or(EINVAL)?);
    Ok(())
}

fn set_mode(array: &Array, mode: JournalMode) -> Result {
    if array.journal().is_none() {
        return Err(ENODEV);
    }
    match mode {
        JournalMode::WriteThrough => {
            array.leave_write_back();
            array.drain();
            Ok(())
        }
        JournalMode::WriteBack => array.enter_write_back(),
    }
}

static CACHE_SIZE_ENTRY: Entry = Entry(Attribute::<Attrs, CACHE_SIZE>::entry(
    c"stripe_cache_size",
    true,
));
static CACHE_ACTIVE_ENTRY: Entry = Entry(Attribute::<Attrs, CACHE_ACTIVE>::entry(
    c"stripe_cache_active",
    false,
));

static JOURNAL_MODE_ENTRY: Entry = Entry(Attribute::<Attrs, JOURNAL_MODE>::entry(
    c"journal_mode",
    true,
));

static LIST: List<4> = List([
    CACHE_SIZE_ENTRY.attr(),
    CACHE_ACTIVE_ENTRY.attr(),
    JOURNAL_MODE_ENTRY.attr(),
    core::ptr::null_mut(),
]);

static GROUP: Group = Group::new(&LIST);

/// Creates the attributes of a starting array.
pub(super) fn attach(mddev: &Mddev) -> Result {
    sysfs::attach(mddev, &GROUP)
}
