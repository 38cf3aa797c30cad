// SPDX-License-Identifier: GPL-2.0

//! A stripe as the simulator's shell has it, after `rust/engine/stripe.rs`.

use crate::block::Page;
use crate::journal::unit::UnitRef;
use crate::memory::{Ops, Pages};
use crate::raid::mask::RowMask;
use crate::raid::stripe::{Actions, State, Strip, StripActs};
use std::fmt::Write;

/// A part of a request that lies in one strip.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Names the write that it belongs to; zero for a read.
    pub(crate) write: u32,
    pub(crate) slot: usize,
    /// First sector within the strip.
    pub(crate) first: u32,
    /// First sector of the array.
    pub(crate) at: u64,
    pub(crate) start: u64,
    pub(crate) data: Vec<u64>,
    pub(crate) todo: RowMask,
    /// Of these, the rows whose data the op that is to be done takes.
    pub(crate) due: RowMask,
    pub(crate) busy: RowMask,
    pub(crate) failed: bool,
    pub(crate) asks: Asks,
    /// Rows that were acknowledged before they were stable in the journal.
    pub(crate) early: RowMask,
}

/// What a write asks for besides.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Asks {
    /// That it is durable when it ends.
    pub(crate) fua: bool,
    /// That what ended before it began is.
    pub(crate) preflush: bool,
}

impl Asks {
    /// Whether its rows wait until they are stable.
    pub(crate) fn any(self) -> bool {
        self.fua || self.preflush
    }
}

impl Part {
    pub(crate) fn new(
        write: u32,
        slot: usize,
        first: u32,
        at: u64,
        start: u64,
        data: Vec<u64>,
    ) -> Self {
        let end = first + data.len() as u32;
        Self {
            write,
            slot,
            first,
            at,
            start,
            data,
            todo: RowMask::range(first / 8, end.div_ceil(8) - first / 8),
            due: RowMask::EMPTY,
            busy: RowMask::EMPTY,
            failed: false,
            asks: Asks::default(),
            early: RowMask::EMPTY,
        }
    }

    pub(crate) fn is_write(&self) -> bool {
        self.write != 0
    }

    fn end(&self) -> u32 {
        self.first + self.data.len() as u32
    }

    /// Rows of which it covers the whole page.
    pub(crate) fn full_rows(&self) -> RowMask {
        let start = self.first.div_ceil(8);
        RowMask::range(start, (self.end() / 8).saturating_sub(start))
    }

    /// Whether the nth sector was acknowledged early.
    pub(crate) fn is_early(&self, nth: usize) -> bool {
        self.early.has((self.first + nth as u32) / 8)
    }

    /// (index into the data, sector in the page) of what it has in `row`.
    pub(crate) fn span(&self, row: u32) -> impl Iterator<Item = (usize, usize)> {
        let (first, end) = (self.first, self.end());
        (row * 8..row * 8 + 8)
            .filter(move |s| (first..end).contains(s))
            .map(move |s| ((s - first) as usize, (s - row * 8) as usize))
    }
}

/// One strip's share of what is being carried out, and of what was left before.
#[derive(Clone, Copy, Default)]
pub(crate) struct Task {
    pub(crate) acts: StripActs,
    pub(crate) read: RowMask,
    pub(crate) read_alone: RowMask,
    pub(crate) write: RowMask,
    pub(crate) write_alone: RowMask,
    pub(crate) discard: RowMask,
    /// Rows that the ops to be done drain to.
    pub(crate) drain: RowMask,
    pub(crate) result: RowMask,
    pub(crate) written: RowMask,
    pub(crate) cached: RowMask,
    /// Rows of which reads and computes are about the second page.
    pub(crate) second: RowMask,
}

/// How far the handler is with what it carries out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Ends,
    Writes,
    Reads,
    Append,
    Ops,
    OpsDone,
    Syncs,
}

/// What a stripe's handler carries out.
pub(crate) struct Carry {
    pub(crate) acts: Actions,
    pub(crate) tasks: Vec<Task>,
    pub(crate) ops: Ops,
    /// Rows that lack pages.
    pub(crate) lacking: RowMask,
    /// Rows whose ops were done.
    pub(crate) ready: RowMask,
    pub(crate) phase: Phase,
    /// Rows that are still to be appended.
    pub(crate) append: RowMask,
    /// Rows that failed the check.
    pub(crate) bad: RowMask,
    /// Rows whose ops could not be done.
    pub(crate) failed: RowMask,
    /// Rows that are written out.
    pub(crate) out: RowMask,
    /// Rows of which a write asks to be durable.
    pub(crate) fua: RowMask,
    /// Rows to be completed that are not known to be stable in the journal.
    pub(crate) early: RowMask,
    /// Rows that members have seen of the writes that end.
    pub(crate) seen: RowMask,
}

/// One stripe.
pub(crate) struct Stripe {
    pub(crate) st: State,
    pub(crate) strips: Vec<Strip>,
    pub(crate) acts: Actions,
    pub(crate) again: bool,
    pub(crate) active: bool,
    pub(crate) parked: bool,
    pub(crate) hold: bool,
    pub(crate) held: bool,
    pub(crate) incoming: Vec<Part>,
    pub(crate) parts: Vec<Part>,
    /// By slot and row.
    pub(crate) pages: Vec<Vec<Page>>,
    /// What members hold of cached strips.
    pub(crate) second: Vec<Vec<Page>>,
    /// The units of rows that are not on the members yet. More than one only for [`crate::Bug`]'s sake.
    pub(crate) units: Vec<Vec<UnitRef>>,
    pub(crate) journal_wait: RowMask,
    pub(crate) retry_journal: bool,
    pub(crate) carry: Option<Carry>,
    /// What was left by what was carried out.
    pub(crate) tasks: Vec<Task>,
    pub(crate) ops: Ops,
    pub(crate) mem: Pages,
    /// Rows that members could not read, by slot, until they are written.
    pub(crate) unreadable: Vec<RowMask>,
    /// Rows of which more was lost at a time than parity makes up for.
    pub(crate) excused: RowMask,
    /// Rows whose write under way members have seen, or would have if they were there.
    pub(crate) seen: RowMask,
    /// Rows whose writes end before they are stable in the journal, as the next look will see.
    pub(crate) early: RowMask,
}

impl Stripe {
    /// A stripe of which nothing is cached; its pages hold `garbage`.
    pub(crate) fn new(rows: u32, members: usize, p: usize, q: Option<usize>, garbage: u64) -> Self {
        Self {
            st: State::new(rows, p, q),
            strips: vec![Strip::new(); members],
            acts: Actions::default(),
            again: false,
            active: false,
            parked: false,
            hold: false,
            held: false,
            incoming: Vec::new(),
            parts: Vec::new(),
            pages: vec![vec![[garbage; 8]; rows as usize]; members],
            second: vec![vec![[garbage; 8]; rows as usize]; members],
            units: vec![Vec::new(); rows as usize],
            journal_wait: RowMask::EMPTY,
            retry_journal: false,
            carry: None,
            tasks: vec![Task::default(); members],
            ops: Ops::default(),
            mem: Pages::new(members, true),
            unreadable: vec![RowMask::EMPTY; members],
            excused: RowMask::EMPTY,
            seen: RowMask::EMPTY,
            early: RowMask::EMPTY,
        }
    }

    /// A page in memory.
    pub(crate) fn page(&mut self, slot: usize, row: u32, second: bool) -> &mut Page {
        let pages = if second {
            &mut self.second
        } else {
            &mut self.pages
        };
        &mut pages[slot][row as usize]
    }

    /// Rows of which something is cached.
    pub(crate) fn dirty(&self) -> RowMask {
        self.st.dirty(&self.strips)
    }

    /// Rows with something cached that can be written out no more.
    pub(crate) fn stuck(&self) -> RowMask {
        self.dirty().minus(self.st.cached(&self.strips))
    }

    /// Slots that hold data.
    pub(crate) fn data_slots(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.strips.len()).filter(|s| !self.st.is_parity(*s))
    }
}

/// Rows, as the story names them.
pub(crate) fn rows_of(mask: RowMask) -> String {
    let rows: Vec<String> = mask.iter().map(|r| r.to_string()).collect();
    rows.join(",")
}

/// Actions in words.
pub(crate) fn story_of(acts: &Actions, tasks: &[Task]) -> String {
    let mut out = String::new();
    let masks = [
        ("compute", acts.compute),
        ("read-modify-write", acts.rmw),
        ("reconstruct-write", acts.rcw),
        ("take in", acts.cache),
        ("read-modify-write of the cached", acts.rmw_out),
        ("check", acts.check),
        ("make parity", acts.parity),
        ("append to the journal", acts.journal),
        ("complete", acts.complete),
        ("landed", acts.landed),
        ("stuck", acts.stuck),
        ("fail write", acts.fail_write),
        ("fail waiting", acts.fail_waiting),
        ("sync done", acts.sync_done),
        ("sync failed", acts.sync_failed),
        ("mismatch", acts.mismatch),
    ];
    for (name, mask) in masks.iter().filter(|m| m.1.any()) {
        let _ = write!(out, "{name} rows {}; ", rows_of(*mask));
    }
    for (slot, t) in tasks.iter().enumerate() {
        let a = &t.acts;
        let masks = [
            ("read", a.read | a.read_alone),
            ("write", a.write | a.write_alone),
            ("fill", a.fill),
            ("fail read", a.fail_read),
        ];
        for (name, mask) in masks.iter().filter(|m| m.1.any()) {
            let _ = write!(out, "member {slot} {name} rows {}; ", rows_of(*mask));
        }
    }
    out
}
