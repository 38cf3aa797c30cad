// SPDX-License-Identifier: GPL-2.0

//! Memory that is short, after `rust/engine/{pages,budget,memory}.rs`: what cannot be done for want of
//! pages or bios is left, and there are two reserves so that this comes to an end.

use crate::raid::mask::RowMask;
use crate::raid::stripe::{Actions, Policy};
use crate::setup::{Bug, Setup};
use crate::story::{judge, tell};
use crate::stripe::{rows_of, Carry, Task};
use crate::world::World;

/// The ops that are to be done, also those that were left before.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Ops {
    pub(crate) compute: RowMask,
    pub(crate) rmw: RowMask,
    pub(crate) rcw: RowMask,
    pub(crate) cache: RowMask,
    pub(crate) rmw_out: RowMask,
    pub(crate) check: RowMask,
    pub(crate) parity: RowMask,
}

impl Ops {
    pub(crate) fn add(&mut self, acts: &Actions) {
        self.compute.insert(acts.compute);
        self.rmw.insert(acts.rmw);
        self.rcw.insert(acts.rcw);
        self.cache.insert(acts.cache);
        self.rmw_out.insert(acts.rmw_out);
        self.check.insert(acts.check);
        self.parity.insert(acts.parity);
    }

    pub(crate) fn all(&self) -> RowMask {
        let parity = self.rmw | self.rcw | self.rmw_out | self.parity;
        self.compute | self.cache | self.check | parity
    }

    /// Takes out the ops of `rows`.
    pub(crate) fn take(&mut self, rows: RowMask) -> Self {
        let take = |mask: &mut RowMask| {
            let taken = *mask & rows;
            mask.remove(rows);
            taken
        };
        Self {
            compute: take(&mut self.compute),
            rmw: take(&mut self.rmw),
            rcw: take(&mut self.rcw),
            cache: take(&mut self.cache),
            rmw_out: take(&mut self.rmw_out),
            check: take(&mut self.check),
            parity: take(&mut self.parity),
        }
    }
}

/// What of memory belongs to a stripe.
#[derive(Default)]
pub(crate) struct Pages {
    /// By slot: rows that have their first page, and their second.
    pub(crate) there: [Vec<RowMask>; 2],
    /// Something was left.
    pub(crate) pending: bool,
    /// The next look is not the first of its kind.
    pub(crate) handling: bool,
    /// Rows that have pages of a reserve: of the one for all that has begun, and of the other.
    pub(crate) any: RowMask,
    pub(crate) out: RowMask,
    doubled: RowMask,
    has_room: RowMask,
    over: RowMask,
    forgotten: RowMask,
}

impl Pages {
    /// Of a stripe that has all pages, or none.
    pub(crate) fn new(members: usize, all: bool) -> Self {
        let rows = if all { !RowMask::EMPTY } else { RowMask::EMPTY };
        Self {
            there: [vec![rows; members], vec![rows; members]],
            ..Self::default()
        }
    }

    pub(crate) fn is_borrowed(&self) -> bool {
        (self.any | self.out).any()
    }
}

/// Pages for one stripe.
#[derive(Clone, Copy, Default)]
struct Reserve {
    pages: usize,
    size: usize,
    holder: Option<usize>,
}

/// The world's memory.
pub(crate) struct Memory {
    tight: bool,
    reserves: [Reserve; 2],
}

const ANY: usize = 0;
const OUT: usize = 1;

impl Memory {
    pub(crate) fn new(c: &Setup) -> Self {
        let size = c.reserve * 2 * c.disks as usize;
        let reserve = Reserve {
            pages: size,
            size,
            holder: None,
        };
        Self {
            tight: c.short > 0,
            reserves: [reserve; 2],
        }
    }

    /// Takes a page where one is lacking.
    fn refill(&mut self) {
        let lacks = |r: &&mut Reserve| r.pages < r.size;
        if let Some(reserve) = self.reserves.iter_mut().rev().find(lacks) {
            reserve.pages += 1;
        }
    }
}

impl World {
    fn is_short(&self) -> bool {
        self.c.short > 0
    }

    fn is_tight(&self) -> bool {
        self.is_short()
            && match self.quiet {
                true => self.c.poor,
                false => self.memory.tight,
            }
    }

    /// Whether there is no bio. In the end there always is one at last.
    pub(crate) fn lacks_bio(&mut self) -> bool {
        self.is_tight() && !self.quiet && self.tape.chance(self.c.short)
    }

    fn lacks_page(&mut self) -> bool {
        // In the end there may be none at all.
        self.is_tight() && (self.quiet || self.tape.chance(self.c.short))
    }

    /// The page of a row that is to be used is there.
    pub(crate) fn judge_page(&mut self, i: usize, slot: usize, row: u32, second: bool) {
        judge!(
            self,
            self.stripes[i].mem.there[usize::from(second)][slot].has(row),
            "a page is lacking",
            "stripe {i} member {slot} row {row}, the second: {second}"
        );
    }

    pub(crate) fn judge_nothing_left(&mut self, i: usize) {
        let s = &self.stripes[i];
        let ios = s.tasks.iter().fold(RowMask::EMPTY, |all, t| all | t.left());
        let left = ios | s.ops.all();
        judge!(
            self,
            left.is_empty(),
            "idle with work that is left",
            "stripe {i}: {:?}",
            self.stripes[i].ops
        );
    }

    // ---- looks ----

    /// The policy of a stripe with pages of a reserve.
    pub(crate) fn hurry(&mut self, i: usize, policy: &mut Policy) {
        let s = &mut self.stripes[i];
        if !s.mem.is_borrowed() {
            return;
        }
        policy.hold = false;
        policy.begin = s.mem.out.is_empty();
        policy.write_back = false;
        s.st.want_out(&s.strips, s.mem.any | s.mem.out);
    }

    /// Notes what has to be known of rows, and forgets those that do not need what was borrowed.
    pub(crate) fn note_rows(&mut self, i: usize, policy: &Policy) {
        let s = &mut self.stripes[i];
        s.mem.doubled = s.st.doubled(&s.strips);
        s.mem.has_room = s.st.has_room(&s.strips);
        if s.mem.is_borrowed() {
            let over = s.st.forget(&mut s.strips, policy);
            for rows in &mut s.unreadable {
                rows.remove(over);
            }
            s.mem.over = over | s.st.stuck();
            s.mem.forgotten.insert(over);
        }
    }

    /// Frees the pages of rows that were forgotten; true if a reserve is free again.
    pub(crate) fn return_pages(&mut self, i: usize) -> bool {
        let mem = &mut self.stripes[i].mem;
        let over = std::mem::replace(&mut mem.over, RowMask::EMPTY);
        if over.is_empty() {
            return false;
        }
        let rows = std::mem::replace(&mut mem.forgotten, RowMask::EMPTY);
        self.drop_rows(i, rows, 0);
        self.drop_rows(i, rows, 1);
        let mem = &mut self.stripes[i].mem;
        let mut back = false;
        for (loan, mask) in [(ANY, &mut mem.any), (OUT, &mut mem.out)] {
            if mask.any() {
                mask.remove(over);
                if mask.is_empty() {
                    self.memory.reserves[loan].holder = None;
                    back = true;
                }
            }
        }
        if back {
            tell!(self, "stripe {i} gives a reserve back");
            // The next who lacks memory may have it.
            let n = self.stripes.len();
            let next = (1..=n).map(|k| (i + k) % n);
            if let Some(k) = next.into_iter().find(|k| self.stripes[*k].mem.pending) {
                self.stripes[k].again = true;
            }
        }
        back
    }

    /// Frees the second pages of rows that are on the members.
    pub(crate) fn drop_second(&mut self, i: usize, rows: RowMask) {
        if self.is_short() {
            self.drop_rows(i, rows, 1);
        }
    }

    fn drop_rows(&mut self, i: usize, rows: RowMask, which: usize) {
        for slot in 0..self.faulty.len() {
            let rows = rows & self.stripes[i].mem.there[which][slot];
            for row in (rows & RowMask::first(self.c.rows)).iter() {
                judge!(
                    self,
                    !self.ios.iter().any(|io| io.stripe == i
                        && io.slot == slot
                        && io.rows.has(row)
                        && usize::from(io.second.has(row)) == which),
                    "a page in flight is freed",
                    "stripe {i} member {slot} row {row}"
                );
                let garbage = self.model.garbage();
                let s = &mut self.stripes[i];
                s.mem.there[which][slot].remove(RowMask::single(row));
                *s.page(slot, row, which == 1) = [garbage; 8];
                self.stats.freed += 1;
                self.memory.refill();
            }
        }
    }

    // ---- what there is ----

    /// Gives all that is to be done its pages, if need be from a reserve; returns the rows that lack
    /// some.
    pub(crate) fn provide(&mut self, i: usize, carry: &Carry) -> RowMask {
        if !self.is_short() {
            return RowMask::EMPTY;
        }
        let lacking = self.ensure(i, carry);
        if lacking.is_empty() {
            return lacking;
        }
        let has_room = self.stripes[i].mem.has_room;
        let mut left = lacking;
        for (loan, rows) in [(OUT, lacking & has_room), (ANY, lacking.minus(has_room))] {
            left.remove(self.borrow(i, loan, rows));
        }
        self.stats.left += u64::from(left.count());
        if left.any() {
            tell!(self, "stripe {i}: no pages for rows {}", rows_of(left));
            self.stripes[i].mem.pending = true;
        }
        left
    }

    fn ensure(&mut self, i: usize, carry: &Carry) -> RowMask {
        let mut lacking = RowMask::EMPTY;
        let ops = carry.ops;
        for (slot, task) in carry.tasks.iter().enumerate() {
            let reads = task.read | task.read_alone;
            let first = reads.minus(task.second) | (task.result & ops.all()) | task.drain;
            let second = (reads | (task.result & ops.compute)) & task.second;
            for (which, rows) in [(0, first), (1, second)] {
                let rows = rows.minus(lacking | self.stripes[i].mem.there[which][slot]);
                for row in rows.iter() {
                    if lacking.has(row) || self.lacks_page() {
                        lacking.insert(RowMask::single(row));
                    } else {
                        self.give(i, slot, row, which);
                    }
                }
            }
        }
        lacking
    }

    /// What a page holds that is given is anything.
    fn give(&mut self, i: usize, slot: usize, row: u32, which: usize) {
        let garbage = self.model.garbage();
        let s = &mut self.stripes[i];
        s.mem.there[which][slot].insert(RowMask::single(row));
        *s.page(slot, row, which == 1) = [garbage; 8];
    }

    /// Has rows get their pages from a reserve; returns those that do.
    fn borrow(&mut self, i: usize, loan: usize, rows: RowMask) -> RowMask {
        let mut lent = RowMask::EMPTY;
        let none = self.bug == Some(Bug::NoReserve);
        if none || rows.is_empty() || *self.memory.reserves[loan].holder.get_or_insert(i) != i {
            return lent;
        }
        for row in rows.iter() {
            let mem = &self.stripes[i].mem;
            let tables = if mem.doubled.has(row) { 2 } else { 1 };
            let places = (0..tables).flat_map(|w| (0..self.faulty.len()).map(move |s| (w, s)));
            let lacks: Vec<_> = places
                .filter(|(w, s)| !mem.there[*w][*s].has(row))
                .collect();
            if lacks.len() > self.memory.reserves[loan].pages {
                break;
            }
            self.memory.reserves[loan].pages -= lacks.len();
            for (which, slot) in lacks {
                self.give(i, slot, row, which);
            }
            lent.insert(RowMask::single(row));
        }
        let mem = &mut self.stripes[i].mem;
        let all = if loan == ANY {
            &mut mem.any
        } else {
            &mut mem.out
        };
        all.insert(lent);
        if all.is_empty() {
            self.memory.reserves[loan].holder = None;
        }
        self.stats.lent += u64::from(lent.count());
        if lent.any() {
            let rows = rows_of(lent);
            tell!(self, "stripe {i}: reserve {loan} has pages for rows {rows}");
        }
        lent
    }

    /// Memory comes or goes; what was left is tried again, and idle stripes are dropped.
    pub(crate) fn look_for_memory(&mut self) {
        if !self.quiet && self.tape.chance(30) {
            self.memory.tight = !self.memory.tight;
        }
        for i in 0..self.stripes.len() {
            if self.can_evict(i) && (self.quiet || self.tape.chance(50)) {
                self.evict(i);
            }
        }
        let lacking = self.memory.reserves.iter().map(|r| r.size - r.pages).sum();
        // What is stuck keeps its pages, and the reserve gets others when there are some.
        let others = self.quiet && self.stripes.iter().any(|s| s.stuck().any());
        for _ in 0..lacking {
            if others || !self.lacks_page() {
                self.memory.refill();
            }
        }
        for s in self.stripes.iter_mut().filter(|s| s.mem.pending) {
            s.again = true;
        }
    }

    pub(crate) fn can_evict(&self, i: usize) -> bool {
        let s = &self.stripes[i];
        !s.active && !s.again && s.carry.is_none() && s.dirty().is_empty()
    }

    /// Drops an idle stripe.
    pub(crate) fn evict(&mut self, i: usize) {
        if self.is_short() {
            self.judge_nothing_left(i);
            judge!(
                self,
                !self.stripes[i].mem.is_borrowed(),
                "dropped with pages of a reserve",
                "stripe {i}"
            );
            self.drop_rows(i, !RowMask::EMPTY, 0);
            self.drop_rows(i, !RowMask::EMPTY, 1);
        }
        self.stripes[i] = self.new_stripe(i);
    }
}

impl Task {
    /// Reads and writes that were not issued.
    pub(crate) fn left(&self) -> RowMask {
        self.read | self.read_alone | self.write | self.write_alone | self.discard
    }
}
