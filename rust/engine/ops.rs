// SPDX-License-Identifier: GPL-2.0

//! Copies and parity, by the stripe's handler and outside its lock.

use super::{
    stripe::Attached,
    table::{PageTable, Which},
    work::{Handler, Ops, Task},
};
use crate::{
    lib::xor::Syndrome,
    raid::{geometry::Geometry, mask::RowMask, units::DevSector},
};
use kernel::{alloc::Flags, prelude::*};

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
        // What came after the op was decided is not of it.
        if part.write && part.due.has(row) {
            copy(part, &work.pages, row, true);
            part.due.remove(bit);
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

/// Runs ops, whose pages are all there.
pub(super) fn run(work: &mut Handler, acts: &Ops) -> OpsDone {
    // This cannot fail: the journal gets what is in these pages.
    for row in acts.cache.iter() {
        drain(work, row);
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
        let out = change_parity(work, row);
        drain(work, row);
        note(
            row,
            out.and_then(|()| change_parity(work, row)).map(|()| true),
        );
    }
    for row in acts.rcw.iter() {
        drain(work, row);
        note(row, reconstruct(work, row).map(|()| true));
    }
    for row in acts.rmw_out.iter() {
        let out = change_cached(work, row, Which::Second);
        let put = out.and_then(|()| change_cached(work, row, Which::First));
        note(row, put.map(|()| true));
    }
    for row in acts.parity.iter() {
        note(row, reconstruct(work, row).map(|()| true));
    }
    for row in acts.check.iter() {
        note(row, check(work, row));
    }
    done
}

/// Where a stripe's parity is.
pub(super) struct Place {
    pub(super) p: usize,
    pub(super) q: Option<usize>,
    /// Sources of Q, P's and Q's own places included if they count.
    sources: usize,
    /// The positions of the members' coefficients in Q; empty without Q.
    positions: KVec<Option<u16>>,
}

impl Place {
    /// The place of parity around a member's sector.
    pub(super) fn new(geo: &Geometry, sector: DevSector, gfp: Flags) -> Result<Self> {
        let mut positions = KVec::new();
        if geo.placement(sector).q.is_some() {
            let members = usize::try_from(geo.raid_disks())?;
            positions = KVec::from_elem(None, members, gfp)?;
        }
        let mut place = Self {
            p: 0,
            q: None,
            sources: usize::try_from(geo.syndrome_disks())?,
            positions,
        };
        place.reset(geo, sector);
        Ok(place)
    }

    /// Makes it the place of parity around another sector.
    pub(super) fn reset(&mut self, geo: &Geometry, sector: DevSector) {
        let place = geo.placement(sector);
        self.p = place.p.index();
        self.q = place.q.map(|q| q.index());
        for position in self.positions.iter_mut() {
            *position = None;
        }
        if self.q.is_some() {
            for (position, slot) in geo.syndrome_order(sector) {
                if let Some(at) = self.positions.get_mut(slot.index()) {
                    *at = Some(position);
                }
            }
        }
    }

    /// Whether the member has parity here.
    pub(super) fn is_parity(&self, slot: usize) -> bool {
        slot == self.p || Some(slot) == self.q
    }

    /// The position of the member's coefficient in Q; none for parity.
    fn position(&self, slot: usize) -> Option<usize> {
        self.positions.get(slot)?.map(usize::from)
    }
}

/// Rebuilds the strips of `row` that are the op's result, one or two, from all
/// others.
pub(super) fn compute(work: &mut Handler, row: u32) -> Result {
    let mut targets = work
        .tasks
        .iter()
        .enumerate()
        .filter(|(_, t)| t.result.has(row))
        .map(|(slot, _)| slot);
    let first = targets.next().ok_or(EINVAL)?;
    let second = targets.next();
    if targets.next().is_some() {
        return Err(EINVAL);
    }
    let Place { p, q, .. } = work.place;
    let is_q = |slot: usize| Some(slot) == q;
    let position = |slot: usize| work.place.position(slot).ok_or(EINVAL);
    match second {
        None if is_q(first) => make_q(work, row),
        None => xor_others(work, row, first),
        Some(_) if q.is_none() => Err(EINVAL),
        Some(second) if is_q(first) || is_q(second) => {
            let other = if is_q(first) { second } else { first };
            if other == p {
                return reconstruct(work, row);
            }
            xor_others(work, row, other)?;
            make_q(work, row)
        }
        Some(second) if first == p || second == p => {
            let at = position(if first == p { second } else { first })?;
            whole_row(work, row)?.recover_data_and_p(at)
        }
        Some(second) => {
            let (a, b) = (position(first)?, position(second)?);
            whole_row(work, row)?.recover_data(a, b)
        }
    }
}

/// Rebuilds a data strip or P from P and the data, without Q.
fn xor_others(work: &mut Handler, row: u32, target: usize) -> Result {
    let q = work.place.q;
    let slots = (0..work.tasks.len()).filter(|&s| s != target && Some(s) != q);
    xor_to(work, row, target, slots)
}

/// Makes P, and Q if there is one, from all data.
pub(super) fn reconstruct(work: &mut Handler, row: u32) -> Result {
    if work.place.q.is_some() {
        return whole_row(work, row)?.generate();
    }
    let p = work.place.p;
    let slots = (0..work.tasks.len()).filter(|&s| s != p);
    xor_to(work, row, p, slots)
}

/// Makes Q from all data.
fn make_q(work: &mut Handler, row: u32) -> Result {
    let q = work.place.q.ok_or(EINVAL)?;
    row_with_q(work, row, all, (None, q))?.generate()
}

/// All data, as an op is about it.
fn all(task: &Task, row: u32) -> Option<Which> {
    Some(which(task, row))
}

/// The page that reads and computes are about.
fn which(task: &Task, row: u32) -> Which {
    if task.second.has(row) {
        Which::Second
    } else {
        Which::First
    }
}

/// What the user writes.
fn drained(task: &Task, row: u32) -> Option<Which> {
    task.drain.has(row).then_some(Which::First)
}

/// A row's data, P and Q.
fn whole_row(work: &mut Handler, row: u32) -> Result<Syndrome<'_, '_>> {
    let q = work.place.q.ok_or(EINVAL)?;
    let p = work.place.p;
    row_with_q(work, row, all, (Some(p), q))
}

/// The data of a row that `wanted` asks for, with the members whose pages stand
/// for P, if that is to be made, and for Q.
fn row_with_q<'w>(
    work: &'w mut Handler,
    row: u32,
    wanted: impl Fn(&Task, u32) -> Option<Which>,
    (p, q): (Option<usize>, usize),
) -> Result<Syndrome<'w, 'w>> {
    let Handler {
        pages,
        scratch,
        tasks,
        place,
        ..
    } = work;
    let page = |slot: usize| pages.get(slot, row).ok_or(EINVAL);
    let mut list = scratch.syndrome(place.sources)?;
    for (slot, task) in tasks.iter().enumerate() {
        if let Some((position, which)) = place.position(slot).zip(wanted(task, row)) {
            list.data(position, pages.of(which, slot, row).ok_or(EINVAL)?)?;
        }
    }
    list.q(page(q)?)?;
    if let Some(p) = p {
        list.p(page(p)?)?;
    }
    Ok(list)
}

fn xor_to(
    work: &mut Handler,
    row: u32,
    target: usize,
    slots: impl Iterator<Item = usize>,
) -> Result {
    let Handler {
        pages,
        scratch,
        tasks,
        ..
    } = work;
    let page = |slot: usize| {
        let task = tasks.get(slot).ok_or(EINVAL)?;
        pages.of(which(task, row), slot, row).ok_or(EINVAL)
    };
    let mut list = scratch.row();
    for slot in slots {
        list.push(page(slot)?)?;
    }
    list.xor_to(page(target)?)
}

/// Takes the content of the strips to be written out of parity, or puts it in.
fn change_parity(work: &mut Handler, row: u32) -> Result {
    change(work, row, drained)
}

/// Takes what the members hold of cached strips out of parity, or puts what is
/// cached in.
fn change_cached(work: &mut Handler, row: u32, which: Which) -> Result {
    change(work, row, |task, row| task.cached.has(row).then_some(which))
}

fn change(work: &mut Handler, row: u32, wanted: impl Fn(&Task, u32) -> Option<Which>) -> Result {
    let Place { p, q, .. } = work.place;
    if let Some(q) = q {
        return row_with_q(work, row, wanted, (Some(p), q))?.add();
    }
    let mut list = work.scratch.row();
    list.push(work.pages.get(p, row).ok_or(EINVAL)?)?;
    for (slot, task) in work.tasks.iter().enumerate() {
        if let Some(which) = wanted(task, row) {
            list.push(work.pages.of(which, slot, row).ok_or(EINVAL)?)?;
        }
    }
    list.xor_into_first()
}

/// Whether parity is right; destroys P.
fn check(work: &mut Handler, row: u32) -> Result<bool> {
    let Place { p, q, .. } = work.place;
    let page = |slot: usize| work.pages.get(slot, row).ok_or(EINVAL);
    let mut list = work.scratch.row();
    list.push(page(p)?)?;
    for slot in 0..work.tasks.len() {
        if !work.place.is_parity(slot) {
            list.push(page(slot)?)?;
        }
    }
    let good = list.check_first()?;
    let Some(q) = q.filter(|_| good) else {
        return Ok(good);
    };
    // P is no more, so its page has room for what Q should be.
    row_with_q(work, row, all, (None, p))?.generate()?;
    let page = |slot: usize| work.pages.get(slot, row).ok_or(EINVAL);
    Ok(page(p)?.is_equal(page(q)?))
}
