// SPDX-License-Identifier: GPL-2.0

//! What a stripe's handler has at hand, and what it has still to do.
//!
//! What cannot be done for want of memory is left here, and done with what comes
//! later: reads, writes and ops, by row.

use super::{
    budget::Borrowed,
    ops,
    stripe::{Attached, Inner},
    table::PageTable,
};
use crate::{
    journal::unit::UnitRef,
    lib::xor::Scratch,
    raid::{
        mask::RowMask,
        stripe::{Actions, State, Strip, StripActs},
    },
};
use kernel::{alloc::Flags, prelude::*};

/// Parts of requests that there is room for at least, or one for each member.
pub(super) const PARTS: usize = 4;

/// Rows that a stripe can have.
const UNITS: usize = 64;

/// One strip's share of what is being carried out.
#[derive(Clone, Copy, Default)]
pub(super) struct Task {
    pub(super) acts: StripActs,
    /// Rows to be read, also those that were left before.
    pub(super) read: RowMask,
    /// Rows to be read, each on its own.
    pub(super) read_alone: RowMask,
    /// Rows to be written, also those that were left before.
    pub(super) write: RowMask,
    /// Rows to be written, each on its own.
    pub(super) write_alone: RowMask,
    /// Rows to be written to the twin.
    pub(super) twin: RowMask,
    /// Rows to be discarded.
    pub(super) discard: RowMask,
    /// Rows that the ops to be done drain to.
    pub(super) drain: RowMask,
    /// Rows that the op makes.
    pub(super) result: RowMask,
    /// Rows of the write under way.
    pub(super) written: RowMask,
    /// Rows that are cached.
    pub(super) cached: RowMask,
    /// Rows of which reads and computes are about the second page.
    pub(super) second: RowMask,
    /// Checksum of the page that goes to the journal.
    pub(super) sum: u32,
}

/// What of a strip's reads or writes could not be issued.
#[derive(Clone, Copy, Default)]
pub(super) struct Left {
    pub(super) first: RowMask,
    /// Of rows that go alone.
    pub(super) alone: RowMask,
    pub(super) twin: RowMask,
    pub(super) discard: RowMask,
}

impl Task {
    /// Keeps what was left of the reads or of the writes; whether that is any.
    pub(super) fn keep(&mut self, write: bool, left: Left) -> bool {
        if !write {
            self.read = self.read & left.first;
            self.read_alone = self.read_alone & left.alone;
            return (self.read | self.read_alone).any();
        }
        self.write = self.write & left.first;
        self.write_alone = self.write_alone & left.alone;
        self.twin = self.twin & left.twin;
        self.discard = self.discard & left.discard;
        (self.write | self.write_alone | self.twin | self.discard).any()
    }
}

/// The ops that are to be done, also those that were left before.
#[derive(Clone, Copy, Default)]
pub(super) struct Ops {
    pub(super) compute: RowMask,
    pub(super) rmw: RowMask,
    pub(super) rcw: RowMask,
    pub(super) cache: RowMask,
    pub(super) rmw_out: RowMask,
    pub(super) check: RowMask,
    pub(super) parity: RowMask,
}

impl Ops {
    /// Adds what is among the actions.
    fn add(&mut self, acts: &Actions) {
        self.compute.insert(acts.compute);
        self.rmw.insert(acts.rmw);
        self.rcw.insert(acts.rcw);
        self.cache.insert(acts.cache);
        self.rmw_out.insert(acts.rmw_out);
        self.check.insert(acts.check);
        self.parity.insert(acts.parity);
    }

    /// All rows.
    pub(super) fn all(&self) -> RowMask {
        let parity = self.rmw | self.rcw | self.rmw_out | self.parity;
        self.compute | self.cache | self.check | parity
    }

    /// Takes out the ops of `rows`.
    pub(super) fn take(&mut self, rows: RowMask) -> Self {
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

/// What belongs to the stripe's handler.
pub(crate) struct Handler {
    pub(super) pages: PageTable,
    pub(super) scratch: Scratch,
    /// Parts of requests, in the order of arrival.
    pub(super) parts: KVec<Attached>,
    pub(super) tasks: KVec<Task>,
    pub(super) acts: Actions,
    pub(super) ops: Ops,
    pub(super) place: ops::Place,
    pub(super) fua: RowMask,
    /// Rows whose cached data is being written out.
    pub(super) out: RowMask,
    /// Rows that the journal had no room for.
    pub(super) journal_wait: RowMask,
    /// The journal units of rows that are not on the members yet, by row;
    /// empty in an array without a journal.
    units: KVec<Option<UnitRef>>,
    /// Something was left for want of memory.
    pub(super) pending: bool,
    /// Rows that may need second pages.
    pub(super) doubled: RowMask,
    /// Rows that need no room in the journal to reach their end.
    pub(super) has_room: RowMask,
    /// Rows that can never be written out.
    pub(super) stuck: RowMask,
    /// Rows that have pages of a reserve.
    pub(super) borrowed: Borrowed,
    /// Rows whose pages are to be freed.
    pub(super) forgotten: RowMask,
    /// Rows that need no pages of a reserve any more.
    pub(super) over: RowMask,
}

impl Handler {
    /// Whether data of the row is cached.
    pub(super) fn is_cached(&self, row: u32) -> bool {
        self.tasks.iter().any(|t| t.cached.has(row))
    }

    /// Whether the row's write must be stable when it completes.
    pub(super) fn is_fua(&self, row: u32) -> bool {
        self.fua.has(row)
    }

    /// Whether there is room for all that a journal needs; makes it, if there is memory.
    pub(super) fn has_journal(&mut self) -> bool {
        self.has_units() && self.pages.has_second()
    }

    /// Whether there is room for the units of rows; makes it, if there is memory.
    pub(super) fn has_units(&mut self) -> bool {
        if self.units.is_empty() {
            match KVec::from_elem(None, UNITS, GFP_NOWAIT) {
                Ok(units) => self.units = units,
                Err(_) => return false,
            }
        }
        true
    }

    /// Notes in which unit a row lies.
    pub(super) fn note_unit(&mut self, row: u32, unit: UnitRef) {
        if let Some(slot) = self.units.get_mut(row as usize) {
            *slot = Some(unit);
        }
    }

    /// The unit of a row, once.
    pub(super) fn take_unit(&mut self, row: u32) -> Option<UnitRef> {
        self.units.get_mut(row as usize)?.take()
    }

    /// Takes over parts that came. There is room for them: who brought them made it.
    pub(super) fn take_parts(&mut self, inner: &mut Inner) {
        if inner.larger.capacity() > self.parts.capacity() {
            let mut larger = core::mem::take(&mut inner.larger);
            for part in self.parts.drain_all() {
                let _ = larger.push_within_capacity(part);
            }
            self.parts = larger;
        }
        for part in inner.incoming.drain_all() {
            let _ = self.parts.push_within_capacity(part);
        }
        inner.parts = self.parts.len();
    }

    /// As new, for another stripe of the array; pages are given back.
    pub(super) fn reset(&mut self) {
        self.pages.drop_all();
        self.parts.clear();
        for task in self.tasks.iter_mut() {
            *task = Task::default();
        }
        for unit in self.units.iter_mut() {
            *unit = None;
        }
        self.acts = Actions::default();
        self.ops = Ops::default();
        for mask in [
            &mut self.fua,
            &mut self.out,
            &mut self.journal_wait,
            &mut self.doubled,
            &mut self.has_room,
            &mut self.stuck,
            &mut self.forgotten,
            &mut self.over,
        ] {
            *mask = RowMask::EMPTY;
        }
        self.borrowed = Borrowed::default();
        self.pending = false;
    }

    /// Takes over the actions of a look: `strips` are as they are after it.
    pub(super) fn take_over(&mut self, acts: &Actions, st: &State, strips: &[Strip]) {
        self.acts = *acts;
        let left = self.ops.all();
        self.ops.add(acts);
        self.fua = st.fua();
        self.out = st.out();
        for (task, s) in self.tasks.iter_mut().zip(strips) {
            // What was left is about the pages that it was planned for.
            let left = left | task.read | task.read_alone;
            task.second = (task.second & left) | st.second(s).minus(left);
            task.acts = s.act;
            task.read.insert(s.act.read);
            task.read_alone.insert(s.act.read_alone);
            task.write.insert(s.act.write);
            task.write_alone.insert(s.act.write_alone);
            task.twin.insert(s.act.twin);
            task.discard.insert(s.act.discard);
            task.drain.insert(s.act.drain);
            task.result = s.op_result();
            task.written = s.written();
            task.cached = s.cached();
        }
        if (acts.rmw | acts.rcw | acts.cache).any() {
            for part in self.parts.iter_mut().filter(|part| part.write) {
                let drain = self.tasks.get(part.slot).map(|task| task.acts.drain);
                part.due.insert(part.todo & drain.unwrap_or(RowMask::EMPTY));
            }
        }
    }

    /// Nothing new is to be done, but what was left.
    pub(super) fn take_nothing(&mut self) {
        self.acts = Actions::default();
        for task in self.tasks.iter_mut() {
            task.acts = StripActs::default();
        }
    }

    /// The ops of `rows` were done.
    pub(super) fn ops_done(&mut self, rows: RowMask) {
        for task in self.tasks.iter_mut() {
            task.drain.remove(rows);
        }
    }

    /// A handler's things for a stripe of `members` strips, of an array with a journal or
    /// without.
    pub(super) fn new(
        members: usize,
        place: ops::Place,
        pages: PageTable,
        journal: bool,
        gfp: Flags,
    ) -> Result<Self> {
        Ok(Self {
            pages,
            scratch: Scratch::new(members, gfp)?,
            parts: KVec::with_capacity(core::cmp::max(PARTS, members), gfp)?,
            tasks: KVec::from_elem(Task::default(), members, gfp)?,
            acts: Actions::default(),
            ops: Ops::default(),
            place,
            fua: RowMask::EMPTY,
            out: RowMask::EMPTY,
            journal_wait: RowMask::EMPTY,
            // Not when they are needed: those who would free memory need them.
            units: KVec::from_elem(None, if journal { UNITS } else { 0 }, gfp)?,
            pending: false,
            over: RowMask::EMPTY,
            doubled: RowMask::EMPTY,
            has_room: RowMask::EMPTY,
            stuck: RowMask::EMPTY,
            borrowed: Borrowed::default(),
            forgotten: RowMask::EMPTY,
        })
    }
}
