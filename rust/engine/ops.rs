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
        for row in rows.iter() {
            copy(part, &work.pages, row, false);
        }
        part.todo.remove(rows);
    }
}

/// Copies the write requests into the pages of `row` that a write op drains
/// to, in the order in which they came.
fn drain(work: &mut Handler, row: u32) {
    let bit = RowMask::single(row);
    for part in work.parts.iter_mut() {
        let drains = work.tasks.get(part.slot).map(|t| t.acts.drain);
        if part.write && part.todo.has(row) && drains.is_some_and(|d| d.has(row)) {
            copy(part, &work.pages, row, true);
            part.todo.remove(bit);
            part.busy.insert(bit);
        }
    }
}

fn copy(part: &mut Attached, pages: &PageTable, row: u32, to_page: bool) {
    let (offset, in_page, len) = part.span(row);
    if let Some(page) = pages.get(part.slot, row) {
        part.piece.seek(offset);
        if to_page {
            part.piece.copy_to(page, in_page, len);
        } else {
            part.piece.copy_from(page, in_page, len);
        }
    }
}

/// How ops went.
#[derive(Default)]
pub(super) struct OpsDone {
    /// Rows that failed the check.
    pub(super) bad: RowMask,
    /// Rows of which a page was missing, so that nothing is known of them.
    pub(super) failed: RowMask,
}

/// Runs all ops of `acts`.
pub(super) fn run(work: &mut Handler, acts: &Actions) -> OpsDone {
    for slot in 0..work.tasks.len() {
        let rows = work
            .tasks
            .get(slot)
            .map_or(RowMask::EMPTY, |t| t.result | t.acts.drain);
        work.pages.ensure(slot, rows);
    }
    let mut done = OpsDone::default();
    let mut note = |row: u32, went: Result<bool>| {
        let bit = RowMask::single(row);
        match went {
            Ok(true) => {}
            Ok(false) => done.bad.insert(bit),
            Err(_) => done.failed.insert(bit),
        }
    };
    for row in acts.compute.iter() {
        note(row, compute(work, row).map(|()| true));
    }
    // Row by row, so that what was copied is still in the CPU's cache when its
    // parity is made.
    for row in acts.rmw.iter() {
        let out = xor_written(work, row);
        drain(work, row);
        note(
            row,
            out.and_then(|()| xor_written(work, row)).map(|()| true),
        );
    }
    for row in acts.rcw.iter() {
        drain(work, row);
        note(row, reconstruct(work, row).map(|()| true));
    }
    for row in acts.parity.iter() {
        note(row, reconstruct(work, row).map(|()| true));
    }
    for row in acts.check.iter() {
        note(row, check(work, row));
    }
    done
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

/// Takes the content of the strips to be written out of P, or puts it in.
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
