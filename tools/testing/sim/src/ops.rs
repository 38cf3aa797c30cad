// SPDX-License-Identifier: GPL-2.0

//! Copies and parity of pages in memory, after `rust/engine/ops.rs`, with Q as well.

use crate::block::Page;
use crate::gf::{p_of, q_of, q_part, xor, Row};
use crate::raid::mask::RowMask;
use crate::setup::Bug;
use crate::story::{judge, tell};
use crate::stripe::{Carry, Stripe, Task};
use crate::world::World;

impl World {
    /// Runs all ops; returns the rows that failed a check, and those whose ops could not be done.
    pub(crate) fn run_ops(&mut self, i: usize, carry: &Carry) -> (RowMask, RowMask) {
        let acts = &carry.ops;
        let late = self.bug == Some(Bug::LateParts);
        let s = &mut self.stripes[i];
        let mut computed = true;
        let old = self.bug != Some(Bug::NewView);
        for row in acts.compute.iter() {
            computed &= compute(s, &carry.tasks, row, old);
        }
        for row in acts.cache.iter() {
            drain(s, &carry.tasks, row, late);
        }
        for row in acts.rmw_out.iter() {
            let mut tasks = carry.tasks.clone();
            for task in &mut tasks {
                task.drain = task.cached & RowMask::single(row);
            }
            swap(s, &tasks, row);
            parity_delta(s, &tasks, row);
            swap(s, &tasks, row);
            parity_delta(s, &tasks, row);
        }
        for row in acts.rmw.iter() {
            parity_delta(s, &carry.tasks, row);
            drain(s, &carry.tasks, row, late);
            parity_delta(s, &carry.tasks, row);
        }
        for row in acts.rcw.iter() {
            drain(s, &carry.tasks, row, late);
            reconstruct(s, row);
        }
        for row in acts.parity.iter() {
            reconstruct(s, row);
        }
        let mut bad = RowMask::EMPTY;
        for row in acts.check.iter() {
            if !check(s, row) {
                bad.insert(RowMask::single(row));
            }
        }
        self.stats.checks += u64::from(acts.check.count());
        judge!(
            self,
            computed,
            "what is lost cannot be computed",
            "stripe {i}"
        );
        (bad, self.fail_ops(i, carry))
    }

    /// Now and then memory is short: the ops of a row are not done, and leave garbage behind.
    fn fail_ops(&mut self, i: usize, carry: &Carry) -> RowMask {
        let acts = &carry.ops;
        let parity = acts.rmw | acts.rcw | acts.rmw_out | acts.parity;
        // To take data in needs no memory but the page.
        let all = acts.compute | acts.check | parity;
        let mut failed = RowMask::EMPTY;
        for row in all.iter() {
            if self.quiet || !self.tape.rare(self.c.op_fail) {
                continue;
            }
            tell!(self, "stripe {i} row {row}: the op cannot be done");
            failed.insert(RowMask::single(row));
            let garbage = self.model.garbage();
            for (slot, task) in carry.tasks.iter().enumerate() {
                if task.cached.has(row) {
                    if acts.compute.has(row) && task.result.has(row) {
                        self.stripes[i].second[slot][row as usize] = [garbage; 8];
                    }
                } else if task.result.has(row) || task.drain.has(row) {
                    self.stripes[i].pages[slot][row as usize] = [garbage; 8];
                }
            }
        }
        self.stripes[i].excused.insert(failed);
        failed
    }
}

fn data_of(s: &Stripe, row: u32) -> Vec<Page> {
    s.data_slots().map(|d| s.pages[d][row as usize]).collect()
}

/// Exchanges the pages of cached strips.
fn swap(s: &mut Stripe, tasks: &[Task], row: u32) {
    for (slot, task) in tasks.iter().enumerate() {
        if task.cached.has(row) {
            let (a, b) = (&mut s.pages[slot], &mut s.second[slot]);
            std::mem::swap(&mut a[row as usize], &mut b[row as usize]);
        }
    }
}

/// Rebuilds the strips of `row` that are the op's result; false if they are too many. `old`: from
/// what the members hold, where something newer is cached.
fn compute(s: &mut Stripe, tasks: &[Task], row: u32, old: bool) -> bool {
    let page = |slot: usize| {
        let pages = if old && tasks[slot].second.has(row) {
            &s.second
        } else {
            &s.pages
        };
        (!tasks[slot].result.has(row)).then(|| pages[slot][row as usize])
    };
    let (p, q) = (s.st.p(), s.st.q());
    let known = Row {
        data: s.data_slots().map(page).collect(),
        p: page(p),
        q: q.and_then(page),
    };
    let Some(data) = known.solve() else {
        return false;
    };
    let slots: Vec<usize> = s.data_slots().collect();
    for (slot, task) in tasks.iter().enumerate().filter(|(_, t)| t.result.has(row)) {
        debug_assert!(task.result.any());
        let pages = if task.second.has(row) {
            &mut s.second
        } else {
            &mut s.pages
        };
        pages[slot][row as usize] = match slots.iter().position(|d| *d == slot) {
            Some(nth) => data[nth],
            None if slot == p => p_of(&data),
            None => q_of(&data),
        };
    }
    true
}

fn reconstruct(s: &mut Stripe, row: u32) {
    let data = data_of(s, row);
    let p = s.st.p();
    s.pages[p][row as usize] = p_of(&data);
    if let Some(q) = s.st.q() {
        s.pages[q][row as usize] = q_of(&data);
    }
}

/// Takes the content of the strips to be written out of parity, or puts it in.
fn parity_delta(s: &mut Stripe, tasks: &[Task], row: u32) {
    let r = row as usize;
    let slots: Vec<usize> = s.data_slots().collect();
    for (nth, slot) in slots.into_iter().enumerate() {
        if !tasks[slot].drain.has(row) {
            continue;
        }
        let page = s.pages[slot][r];
        let p = s.st.p();
        s.pages[p][r] = xor(&s.pages[p][r], &page);
        if let Some(q) = s.st.q() {
            s.pages[q][r] = xor(&s.pages[q][r], &q_part(nth, &page));
        }
    }
}

/// Copies the writes of `row` in, in the order in which they came: those that were there when the op
/// was decided, or also those that came `late`.
fn drain(s: &mut Stripe, tasks: &[Task], row: u32, late: bool) {
    for part in &mut s.parts {
        let takes = if late {
            part.todo & tasks[part.slot].drain
        } else {
            part.due
        };
        if !part.is_write() || !takes.has(row) {
            continue;
        }
        for (n, k) in part.span(row) {
            s.pages[part.slot][row as usize][k] = part.data[n];
        }
        part.due.remove(RowMask::single(row));
        part.todo.remove(RowMask::single(row));
        part.busy.insert(RowMask::single(row));
    }
}

/// Compares, and destroys parity.
fn check(s: &mut Stripe, row: u32) -> bool {
    let (data, r) = (data_of(s, row), row as usize);
    let p = s.st.p();
    let mut good = s.pages[p][r] == p_of(&data);
    s.pages[p][r] = [0xdead; 8];
    if let Some(q) = s.st.q() {
        good &= s.pages[q][r] == q_of(&data);
        s.pages[q][r] = [0xdead; 8];
    }
    good
}
