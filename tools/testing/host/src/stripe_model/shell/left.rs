// SPDX-License-Identifier: GPL-2.0

//! Worlds where memory is short, as `rust/engine/{work,pages,issue}.rs` have it.
//!
//! Ops, reads and writes for which there are no pages or no bios are left, and done at a later look.
//! A page that is given holds garbage, and rows that are forgotten lose theirs. There is a reserve
//! of a few rows, which in half of these worlds is all that there is in the end.
//!
//! `STRIPE_FAULT=n` plants the nth of the [`FAULTS`].

use super::super::mask::RowMask;
use super::super::stripe::{Actions, Policy};
use super::super::{env, Rng};
use super::{run_with, text_of, Config, World};

/// A mistake that the shell makes on purpose, so that the judge can show that it sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// An op that was left also takes parts that came since.
    LateParts,
    /// What is new to do takes the place of what was left.
    LostLeft,
    /// Ops that were left are told as done with the others.
    ToldDone,
    /// A read-modify-write that was left takes out of parity what the last look drains.
    StaleDrain,
    /// What was drained is taken out of parity by the next op, too.
    KeptDrain,
    /// Pages of forgotten rows are freed before reads are served.
    EarlyFree,
    /// Pages of rows with ops that were left are freed.
    FreedOps,
    /// Pages of rows with writes that were left are freed.
    FreedWrites,
    /// Reads are issued where the page is lacking.
    HastyRead,
    /// Ops are run where pages are lacking.
    HastyOps,
}

/// All of them.
const FAULTS: [Fault; 10] = [
    Fault::LateParts,
    Fault::LostLeft,
    Fault::ToldDone,
    Fault::StaleDrain,
    Fault::KeptDrain,
    Fault::EarlyFree,
    Fault::FreedOps,
    Fault::FreedWrites,
    Fault::HastyRead,
    Fault::HastyOps,
];

/// The one that the environment asks for.
pub(super) fn fault_of_env() -> Fault {
    let nth = env("STRIPE_FAULT", u64::MAX);
    FAULTS.get(nth as usize).map_or(Fault::None, |f| *f)
}

/// The ops that are to be done, also those that were left before.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Ops {
    pub(super) compute: RowMask,
    pub(super) rmw: RowMask,
    pub(super) rcw: RowMask,
    pub(super) check: RowMask,
    pub(super) parity: RowMask,
}

impl Ops {
    pub(super) fn add(&mut self, acts: &Actions) {
        self.compute.insert(acts.compute);
        self.rmw.insert(acts.rmw);
        self.rcw.insert(acts.rcw);
        self.check.insert(acts.check);
        self.parity.insert(acts.parity);
    }

    pub(super) fn all(&self) -> RowMask {
        self.compute | self.rmw | self.rcw | self.check | self.parity
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
            check: take(&mut self.check),
            parity: take(&mut self.parity),
        }
    }
}

/// The world's memory.
pub(super) struct Memory {
    pub(super) fault: Fault,
    rng: Rng,
    /// Percent.
    short: u64,
    /// It is short now.
    tight: bool,
    /// In the end nothing but the reserve is left.
    poor: bool,
    /// By slot: rows that have their page.
    pub(super) there: Vec<RowMask>,
    /// Something was left.
    pub(super) pending: bool,
    /// Rows that have pages of the reserve, how many that has, and how many it should have.
    borrowed: RowMask,
    reserve: usize,
    size: usize,
    over: RowMask,
    forgotten: RowMask,
    /// Rows for which the journal lacks something.
    journal_wait: RowMask,
    /// By slot: writes that were left before the last look.
    pub(super) was_left: Vec<RowMask>,
}

impl Memory {
    pub(super) fn new(seed: u64, c: &mut Config) -> Self {
        let mut rng = Rng::new(seed ^ 0x2000_0000);
        if seed % 5 > 2 {
            c.short = [5, 20, 50, 80, 95][rng.below(5) as usize];
        }
        let there = match c.short {
            0 => !RowMask::EMPTY,
            _ => RowMask::EMPTY,
        };
        let size = c.members * (1 + rng.below(4) as usize);
        Self {
            fault: Fault::None,
            short: c.short,
            tight: c.short > 0,
            poor: c.short > 0 && rng.chance(50),
            there: vec![there; c.members],
            pending: false,
            borrowed: RowMask::EMPTY,
            reserve: size,
            size,
            over: RowMask::EMPTY,
            forgotten: RowMask::EMPTY,
            journal_wait: RowMask::EMPTY,
            was_left: vec![RowMask::EMPTY; c.members],
            rng,
        }
    }

    /// Something waits for memory, and nobody else will see to it.
    pub(super) fn is_short(&self) -> bool {
        self.pending || self.journal_wait.any()
    }

    /// What the machine is told that is left.
    pub(super) fn told_left(&self, done: RowMask) -> RowMask {
        match self.fault {
            Fault::ToldDone => RowMask::EMPTY,
            _ => !done,
        }
    }
}

macro_rules! judge {
    ($world:expr, $cond:expr, $($text:tt)*) => {
        if !$cond {
            panic!("{}\n  seed {}, step {}, {:?}", format!($($text)*), $world.seed, $world.now, $world.c);
        }
    };
}

impl World {
    /// Reads and writes of a slot that are left.
    pub(super) fn left(&self, slot: usize) -> RowMask {
        let task = &self.tasks[slot];
        self.left_writes(slot) | task.read | task.read_alone
    }

    pub(super) fn left_writes(&self, slot: usize) -> RowMask {
        self.left_to(slot, false) | self.left_to(slot, true)
    }

    /// Writes of a slot's member that are left, or of its twin.
    pub(super) fn left_to(&self, slot: usize, twin: bool) -> RowMask {
        let task = &self.tasks[slot];
        match twin {
            true => task.twin,
            false => task.write | task.write_alone | task.discard,
        }
    }

    /// Rows of a slot that a write op drains to, as that sees it.
    pub(super) fn drains(&self, slot: usize) -> RowMask {
        let task = &self.tasks[slot];
        match self.mem.fault {
            Fault::StaleDrain => task.acts.drain,
            _ => task.drain,
        }
    }

    pub(super) fn ops_done(&mut self, rows: RowMask) {
        let kept = self.mem.fault == Fault::KeptDrain;
        for task in self.tasks.iter_mut().filter(|_| !kept) {
            task.drain.remove(rows);
        }
    }

    pub(super) fn judge_page(&self, slot: usize, row: u32) {
        judge!(
            self,
            self.mem.there[slot].has(row),
            "page is lacking: slot {slot} row {row}"
        );
    }

    pub(super) fn judge_nothing_left(&self, when: &str) {
        let ios = (0..self.c.members).map(|slot| self.left(slot));
        let ios = ios.fold(RowMask::EMPTY, |all, rows| all | rows);
        judge!(
            self,
            (ios | self.ops.all() | self.mem.journal_wait).is_empty(),
            "{when} with work that is left: {:x?} {:x?}",
            self.ops,
            self.tasks
        );
    }

    // ---- looks ----

    /// Whether this look, the first of its kind, is to try again what was left.
    pub(super) fn wants_retry(&self) -> bool {
        !self.handling && self.mem.pending
    }

    /// The policy of a stripe that may have pages of the reserve.
    pub(super) fn hurried(&self) -> Policy {
        let mut policy = self.policy;
        policy.hold &= self.mem.borrowed.is_empty();
        policy
    }

    /// Forgets rows that do not need their pages.
    pub(super) fn forget_rows(&mut self, policy: &Policy) {
        if self.c.short == 0 {
            return;
        }
        let ops = self.mem.fault == Fault::FreedOps && self.mem.rng.chance(20);
        let writes = self.mem.fault == Fault::FreedWrites && self.mem.rng.chance(20);
        if self.mem.borrowed.any() || self.mem.rng.chance(3) || ops || writes {
            let rows = self.st.forget(&mut self.strips, policy);
            for slot in 0..self.c.members {
                self.errors[slot].remove(rows);
            }
            self.mem.over = rows;
            if ops {
                self.mem.over.insert(self.ops.all());
            }
            for slot in (0..self.c.members).filter(|_| writes) {
                self.mem.over.insert(self.left_writes(slot));
            }
            self.mem.forgotten.insert(self.mem.over);
        }
    }

    /// Pages are freed too early, if that is the fault.
    pub(super) fn return_early(&mut self) {
        if self.mem.fault == Fault::EarlyFree {
            self.return_pages();
        }
    }

    /// Frees the pages of rows that were forgotten; true if the reserve was given back.
    pub(super) fn return_pages(&mut self) -> bool {
        let over = std::mem::replace(&mut self.mem.over, RowMask::EMPTY);
        if over.is_empty() {
            return false;
        }
        let rows = std::mem::replace(&mut self.mem.forgotten, RowMask::EMPTY);
        self.drop_rows(rows);
        let had = self.mem.borrowed.any();
        self.mem.borrowed.remove(over);
        had && self.mem.borrowed.is_empty()
    }

    fn drop_rows(&mut self, rows: RowMask) {
        for slot in 0..self.c.members {
            let held = self.in_flight(slot, true) | self.in_flight(slot, false);
            for row in (rows & self.mem.there[slot] & RowMask::first(self.c.rows)).iter() {
                judge!(
                    self,
                    !held.has(row) && !self.in_journal(slot, row),
                    "a page in flight is freed: slot {slot} row {row}"
                );
                self.counts.freed += 1;
                self.mem.there[slot].remove(RowMask::single(row));
                self.scramble(slot, row);
                self.mem.reserve = self.mem.size.min(self.mem.reserve + 1);
            }
        }
    }

    /// The stripe is dropped.
    pub(super) fn drop_all(&mut self) {
        if self.c.short > 0 {
            self.judge_nothing_left("dropped");
            self.drop_rows(!RowMask::EMPTY);
            self.mem.pending = false;
            judge!(
                self,
                self.mem.borrowed.is_empty(),
                "dropped with pages of the reserve"
            );
        }
    }

    // ---- what there is ----

    /// Whether reads or writes are to be issued.
    pub(super) fn wants_io(&self, write: bool) -> bool {
        self.tasks.iter().any(|t| match write {
            true => (t.write | t.write_alone | t.twin | t.discard).any(),
            false => (t.read | t.read_alone).any(),
        })
    }

    pub(super) fn note_left(&mut self, rows: RowMask) {
        self.counts.left += u64::from(rows.count());
        self.mem.pending |= rows.any();
    }

    fn is_tight(&self) -> bool {
        match self.quiet {
            true => self.mem.poor,
            false => self.mem.tight,
        }
    }

    /// Whether there is no bio. In the end there is one now and then.
    pub(super) fn lacks_bio(&mut self) -> bool {
        self.is_tight() && {
            let most = if self.quiet { 50 } else { 95 };
            let percent = self.mem.short.min(most);
            self.mem.rng.chance(percent)
        }
    }

    fn lacks_page(&mut self) -> bool {
        // In the end there may be none at all.
        self.is_tight() && (self.quiet || self.mem.rng.chance(self.mem.short))
    }

    /// Gives all that is to be done its pages; returns the rows that lack some.
    pub(super) fn provide(&mut self) -> RowMask {
        let lacking = self.ensure();
        if lacking.is_empty() {
            return lacking;
        }
        let left = self.borrow(lacking);
        self.note_left(left);
        match self.mem.fault {
            Fault::HastyRead => left & self.ops.all(),
            Fault::HastyOps => left.minus(self.ops.all()),
            _ => left,
        }
    }

    /// Rows whose ops are done now. As far as the machine knows any may be left.
    pub(super) fn ready(&mut self, lacking: RowMask) -> RowMask {
        let ready = self.ops.all().minus(lacking);
        if self.quiet || !self.mem.tight || !self.mem.rng.chance(30) {
            return ready;
        }
        let left = ready & RowMask(self.mem.rng.next());
        self.note_left(left);
        ready.minus(left)
    }

    fn ensure(&mut self) -> RowMask {
        let ops = self.ops.all();
        let mut lacking = RowMask::EMPTY;
        for slot in 0..self.c.members {
            let task = self.tasks[slot];
            let rows = task.read | task.read_alone | (task.result & ops) | task.drain;
            for row in rows.minus(self.mem.there[slot]).iter() {
                if lacking.has(row) || self.lacks_page() {
                    lacking.insert(RowMask::single(row));
                    continue;
                }
                self.give(slot, row);
            }
        }
        lacking
    }

    fn give(&mut self, slot: usize, row: u32) {
        self.mem.there[slot].insert(RowMask::single(row));
        self.scramble(slot, row);
    }

    /// Rows that lack pages get all of theirs from the reserve, if it is free and has as many.
    fn borrow(&mut self, lacking: RowMask) -> RowMask {
        let free = self.quiet || self.mem.borrowed.any() || self.mem.rng.chance(40);
        let mut left = lacking;
        for row in lacking.iter().filter(|_| free) {
            let slots = 0..self.c.members;
            let lacks: Vec<usize> = slots.filter(|s| !self.mem.there[*s].has(row)).collect();
            if lacks.len() > self.mem.reserve {
                break;
            }
            self.mem.reserve -= lacks.len();
            for slot in lacks {
                self.give(slot, row);
            }
            self.counts.lent += 1;
            self.mem.borrowed.insert(RowMask::single(row));
            left.remove(RowMask::single(row));
        }
        left
    }

    /// The journal takes what it has memory for; returns that.
    pub(super) fn starve(&mut self, rows: RowMask) -> RowMask {
        if !self.is_tight() || !self.mem.rng.chance(self.mem.short / 2) {
            return rows;
        }
        let left = rows & RowMask(self.mem.rng.next());
        self.mem.journal_wait.insert(left);
        rows.minus(left)
    }

    pub(super) fn retry_journal(&mut self) {
        if self.mem.journal_wait.any() && (self.quiet || self.mem.rng.chance(30)) {
            let rows = std::mem::replace(&mut self.mem.journal_wait, RowMask::EMPTY);
            self.acts.journal.insert(rows);
        }
    }

    /// Memory comes and goes, and who waits for it is told.
    pub(super) fn memory_changes(&mut self) {
        if self.c.short == 0 {
            return;
        }
        if self.mem.rng.chance(5) {
            self.mem.tight = !self.mem.tight;
        }
        let told = self.mem.is_short() && self.mem.rng.chance(15);
        self.again |= told;
    }

    /// The same when no new work comes.
    pub(super) fn tries_again(&mut self) -> bool {
        self.mem.is_short() && self.mem.rng.chance(30)
    }
}

/// The judge sees each mistake that the shell could make with what is left, and nothing else.
#[test]
fn mistakes_with_what_is_left_are_found() {
    for fault in FAULTS {
        let found = (0..20_000).find_map(|seed| {
            let panic = std::panic::catch_unwind(|| run_with(seed, fault)).err()?;
            Some((seed, text_of(&*panic)))
        });
        let (seed, text) = found.unwrap_or_else(|| panic!("{fault:?} was not found"));
        let line = text.lines().next().unwrap_or_default();
        println!("{fault:?}: seed {seed}: {:.120}", line);
        run_with(seed, Fault::None);
    }
}
