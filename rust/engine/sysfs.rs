// SPDX-License-Identifier: GPL-2.0

//! `/sys/block/mdX/md`: the attributes of a parity array.

use super::array::Array;
use crate::{
    lib::{
        parse::{self, JournalMode},
        xor::can_add_syndrome,
    },
    md::{
        mddev::Mddev,
        personality::with_private,
        sysfs::{self, Attribute, Attributes, Entry, Group, List},
    },
    raid::stripe::RmwLevel,
};
use core::fmt;
use kernel::{prelude::*, sync::atomic::Relaxed};

/// Our attributes.
struct Attrs;

const CACHE_SIZE: usize = 0;
const CACHE_ACTIVE: usize = 1;
const JOURNAL_MODE: usize = 2;
const RMW_LEVEL: usize = 3;
const STRIPE_SIZE: usize = 4;
const BYPASS: usize = 5;
const SKIP_COPY: usize = 6;
const THREADS: usize = 7;
const PPL_WRITE_HINT: usize = 8;

impl Attributes for Attrs {
    fn show(index: usize, mddev: &Mddev, out: &mut dyn fmt::Write) -> Result {
        let shown = mddev.locked(|| {
            with_private::<Array, _>(mddev, |array| match index {
                CACHE_SIZE => writeln!(out, "{}", array.cache_rows()),
                CACHE_ACTIVE => writeln!(out, "{}", array.cache.active()),
                RMW_LEVEL => writeln!(out, "{}", array.tunables.rmw() as u32),
                // The unit of parity and of the journal: one page.
                STRIPE_SIZE => writeln!(out, "{}", kernel::page::PAGE_SIZE),
                BYPASS => writeln!(out, "{}", array.tunables.bypass.load(Relaxed)),
                SKIP_COPY => writeln!(out, "{}", array.tunables.skip_copy.load(Relaxed)),
                THREADS => writeln!(out, "{}", array.tunables.threads.load(Relaxed)),
                PPL_WRITE_HINT => writeln!(out, "0"),
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
        let change: &dyn Fn(&Array) -> Result = if index == JOURNAL_MODE {
            let mode = JournalMode::parse(text).ok_or(EINVAL)?;
            &move |array| set_mode(array, mode)
        } else {
            let number = parse::number(text).ok_or(EINVAL)?;
            &move |array| set_number(array, index, number)
        };
        mddev
            .locked(|| with_private::<Array, _>(mddev, |array| change(array)))?
            .ok_or(ENODEV)?
    }
}

fn set_number(array: &Array, index: usize, number: u64) -> Result {
    let tunables = &array.tunables;
    match index {
        CACHE_SIZE => array.set_cache_rows(parse::cache_rows(number).ok_or(EINVAL)?),
        RMW_LEVEL => {
            let level = RmwLevel::new(u32::try_from(number)?).ok_or(EINVAL)?;
            // Also at levels 4 and 5, as the C driver has it.
            if level != RmwLevel::Never && !can_add_syndrome() {
                return Err(EINVAL);
            }
            tunables.set_rmw(level);
        }
        BYPASS => {
            let rows = usize::try_from(number)?;
            if rows > array.cache_rows() {
                return Err(EINVAL);
            }
            tunables.bypass.store(rows, Relaxed);
        }
        SKIP_COPY => tunables.skip_copy.store(u32::from(number != 0), Relaxed),
        THREADS => {
            let threads = parse::threads(number).ok_or(EINVAL)?;
            tunables.threads.store(threads, Relaxed);
        }
        // For arrays with a partial parity log, which are refused.
        _ => return Err(EINVAL),
    }
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

static RMW_LEVEL_ENTRY: Entry = Entry(Attribute::<Attrs, RMW_LEVEL>::entry(c"rmw_level", true));
static STRIPE_SIZE_ENTRY: Entry = Entry(Attribute::<Attrs, STRIPE_SIZE>::entry(
    c"stripe_size",
    false,
));
static BYPASS_ENTRY: Entry = Entry(Attribute::<Attrs, BYPASS>::entry(
    c"preread_bypass_threshold",
    true,
));
static SKIP_COPY_ENTRY: Entry = Entry(Attribute::<Attrs, SKIP_COPY>::entry(c"skip_copy", true));
static THREADS_ENTRY: Entry = Entry(Attribute::<Attrs, THREADS>::entry(
    c"group_thread_cnt",
    true,
));
static PPL_WRITE_HINT_ENTRY: Entry = Entry(Attribute::<Attrs, PPL_WRITE_HINT>::entry(
    c"ppl_write_hint",
    true,
));

static LIST: List<10> = List([
    CACHE_SIZE_ENTRY.attr(),
    CACHE_ACTIVE_ENTRY.attr(),
    JOURNAL_MODE_ENTRY.attr(),
    RMW_LEVEL_ENTRY.attr(),
    STRIPE_SIZE_ENTRY.attr(),
    BYPASS_ENTRY.attr(),
    SKIP_COPY_ENTRY.attr(),
    THREADS_ENTRY.attr(),
    PPL_WRITE_HINT_ENTRY.attr(),
    core::ptr::null_mut(),
]);

static GROUP: Group = Group::new(&LIST);

/// Creates the attributes of a starting array.
pub(super) fn attach(mddev: &Mddev) -> Result {
    sysfs::attach(mddev, &GROUP)
}
