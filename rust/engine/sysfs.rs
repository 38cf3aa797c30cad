// SPDX-License-Identifier: GPL-2.0

//! `/sys/block/mdX/md`: the attributes of a parity array.

use super::array::Array;
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

/// Bounds of `stripe_cache_size`, as the C driver has them.
const CACHE_ROWS: core::ops::RangeInclusive<usize> = 17..=32768;

impl Attributes for Attrs {
    fn show(index: usize, mddev: &Mddev, out: &mut dyn fmt::Write) -> Result {
        let shown = mddev.locked(|| {
            with_private::<Array, _>(mddev, |array| match index {
                CACHE_SIZE => writeln!(out, "{}", array.cache_rows()),
                CACHE_ACTIVE => writeln!(out, "{}", array.cache.active()),
                _ => Ok(()),
            })
        })?;
        match shown {
            Some(Err(_)) => Err(ENOSPC),
            // Nothing to show while no array runs.
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn store(index: usize, mddev: &Mddev, text: &str) -> Result {
        match index {
            CACHE_SIZE => {
                let rows = text.trim().parse::<usize>().map_err(|_| EINVAL)?;
                if !CACHE_ROWS.contains(&rows) {
                    return Err(EINVAL);
                }
                mddev
                    .locked(|| with_private::<Array, _>(mddev, |a| a.set_cache_rows(rows)))?
                    .ok_or(ENODEV)
            }
            _ => Err(EINVAL),
        }
    }
}

static CACHE_SIZE_ENTRY: Entry =
    Entry(Attribute::<Attrs, CACHE_SIZE>::entry(c"stripe_cache_size", true));
static CACHE_ACTIVE_ENTRY: Entry =
    Entry(Attribute::<Attrs, CACHE_ACTIVE>::entry(c"stripe_cache_active", false));

static LIST: List<3> = List([
    CACHE_SIZE_ENTRY.attr(),
    CACHE_ACTIVE_ENTRY.attr(),
    core::ptr::null_mut(),
]);

static GROUP: Group = Group::new(&LIST);

/// Creates the attributes of a starting array.
pub(super) fn attach(mddev: &Mddev) -> Result {
    sysfs::attach(mddev, &GROUP)
}
