// SPDX-License-Identifier: GPL-2.0

//! Copies and parity, by the stripe's handler and outside its lock.

use super::{handle::Handler, stripe::Attached, table::PageTable};
use crate::{
    lib::xor::Scratch,
    raid::{mask::RowMask, stripe::Actions},
};
use kernel::prelude::*;

/// Serves reads from memory.
pub(super) fn fill(work: &mut Handler) {
    for part in work.parts.iter_mut().filter(|p| !p.write) {
        let Some(task) = work.tasks.get(part.slot) else {
            continue;
        };
        let rows = part.todo & task.acts.fill;
        copy(part, &work.pages, rows, false);
        part.todo.remove(rows);
    }
}

/// Copies the write requests into the pages that a write op drains to, in the
/// order in which they came.
fn drain(work: &mut Handler) {
    for (slot, task) in work.tasks.iter().enumerate() {
        work.pages.ensure(slot, task.acts.drain);
    }
    for part in work.parts.iter_mut().filter(|p| p.write) {
        let Some(task) = work.tasks.get(part.slot) else {
            continue;
        };
        let rows = part.todo & task.acts.drain;
        copy(part, &work.pages, rows, true);
        part.todo.remove(rows);
        part.busy.insert(rows);
    }
}

fn copy(part: &Attached, pages: &PageTable, rows: RowMask, to_page: bool) {
    let mut cursor = part.piece.cursor();
    let mut at = 0u32;
    for row in rows.iter() {
        let (offset, in_page, len) = part.span(row);
        let Some(page) = pages.get(part.slot, row) else {
            continue;
        };
        cursor.skip(offset.saturating_sub(at));
        if to_page {
            cursor.copy_to(page, in_page, len);
        } else {
            cursor.copy_from(page, in_page, len);
        }
        at = offset.saturating_add(len);
    }
}

/// Runs all ops of `acts`. Returns the rows that failed the check.
pub(super) fn run(work: &mut Handler, acts: &Actions) -> RowMask {
    for slot in 0..work.tasks.len() {
        let rows = work.tasks.get(slot).map_or(RowMask::EMPTY, |t| t.result);
        work.pages.ensure(slot, rows);
    }
    let mut bad = RowMask::EMPTY;
    let mut failed = false;
    for row in acts.compute.iter() {
        failed |= compute(work, row).is_err();
    }
    for row in acts.rmw.iter() {
        failed |= prexor(work, row).is_err();
    }
    if (acts.rmw | acts.rcw).any() {
        drain(work);
    }
    for row in acts.rmw.iter() {
        failed |= postxor(work, row).is_err();
    }
    for row in (acts.rcw | acts.parity).iter() {
        failed |= reconstruct(work, row).is_err();
    }
    for row in acts.check.iter() {
        match check(work, row) {
            Ok(true) => {}
            Ok(false) => bad.insert(RowMask::single(row)),
            Err(_) => failed = true,
        }
    }
    if failed {
        pr_err!("internal error: a row's pages were not all there; please report this\n");
    }
    bad
}

fn is_parity(p: usize, q: Option<usize>, slot: usize) -> bool {
    slot == p || Some(slot) == q
}

/// Rebuilds the one strip of `row` that is the op's result from all others.
fn compute(work: &mut Handler, row: u32) -> Result {
    let target = work
        .tasks
        .iter()
        .position(|t| t.result.has(row))
        .ok_or(EINVAL)?;
    let slots = (0..work.tasks.len()).filter(|&s| s != target && Some(s) != work.q);
    xor_to(&work.pages, &mut work.scratch, row, target, slots)
}

/// Makes P from all data.
fn reconstruct(work: &mut Handler, row: u32) -> Result {
    let (p, q) = (work.p, work.q);
    let slots = (0..work.tasks.len()).filter(|&s| !is_parity(p, q, s));
    xor_to(&work.pages, &mut work.scratch, row, p, slots)
}

fn xor_to(
    pages: &PageTable,
    scratch: &mut Scratch,
    row: u32,
    target: usize,
    slots: impl Iterator<Item = usize>,
) -> Result {
    let mut list = scratch.row();
    for slot in slots {
        list.push(pages.get(slot, row).ok_or(EINVAL)?)?;
    }
    list.xor_to(pages.get(target, row).ok_or(EINVAL)?)
}

/// Takes the old content of the strips to be written out of P.
fn prexor(work: &mut Handler, row: u32) -> Result {
    xor_written(work, row)
}

/// Puts their new content in.
fn postxor(work: &mut Handler, row: u32) -> Result {
    xor_written(work, row)
}

fn xor_written(work: &mut Handler, row: u32) -> Result {
    let mut list = work.scratch.row();
    list.push(work.pages.get(work.p, row).ok_or(EINVAL)?)?;
    for (slot, task) in work.tasks.iter().enumerate() {
        if task.acts.drain.has(row) {
            list.push(work.pages.get(slot, row).ok_or(EINVAL)?)?;
        }
    }
    list.xor_into_first()
}

/// Whether P is right; destroys it.
fn check(work: &mut Handler, row: u32) -> Result<bool> {
    let mut list = work.scratch.row();
    list.push(work.pages.get(work.p, row).ok_or(EINVAL)?)?;
    for slot in 0..work.tasks.len() {
        if !is_parity(work.p, work.q, slot) {
            list.push(work.pages.get(slot, row).ok_or(EINVAL)?)?;
        }
    }
    list.check_first()
}
