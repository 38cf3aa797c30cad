// SPDX-License-Identifier: GPL-2.0

//! A planner that knows one row and no masks, and what the module's planner makes of every row.
//!
//! The rules, in the order in which they are applied; they are those of the design document and of the
//! comments on `Policy`, `Actions` and the phases of a write:
//!
//! 1. A write that is on the members is reported, unless md has a failure to record. It failed if a
//!    member that md trusts did not take it, or if more members are gone than parity makes up for.
//! 2. A read of a page in memory is served, unless an op is at work on the row.
//! 3. A sync takes the row when nothing is under way on it and no page waits to be put right on its
//!    member; what was in memory is forgotten.
//! 4. What is wanted is read, where it is neither in memory nor on its way. What cannot be read is
//!    computed, when all else is there and nothing is being read; if too much is lost, what is lost is
//!    refused, and asked for again next time.
//! 5. A sync reads all that can be read, and then compares; or if something cannot be read, computes
//!    it and writes it where it is lacking.
//! 6. A write that may not begin waits, fails (more members gone than parity, or no journal) or is held.
//!    Else it takes the method that reads less, and all data if both read the same or if something must
//!    be computed.
//! 7. What a member could not read and memory knows is written there.
//!
//! `STRIPE_FULL=1` leaves out no policy and no order of the data strips.

use super::planner::{combine, policies, put_phase, Disk, One, Phase, PLAIN};
use super::stripe::{plan, Access, Actions, Policy, State, Strip};
use super::{env, Rng};
use std::collections::BTreeMap;

/// A strip's page of the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cell {
    parity: bool,
    missing: bool,
    in_sync: bool,
    /// The member could not read it.
    bad: bool,
    here: bool,
    coming: bool,
    toread: bool,
    towrite: bool,
    overwrite: bool,
    // What is decided.
    read: bool,
    write: bool,
    fill: bool,
    refuse: bool,
    drain: bool,
    made: bool,
}

impl Cell {
    fn readable(&self) -> bool {
        self.in_sync && !self.bad
    }

    fn lost(&self) -> bool {
        !self.here && !self.readable()
    }
}

/// What is done with the row as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Compute,
    Rmw,
    Rcw,
    Check,
    Complete,
    FailWrite,
    FailWaiting,
    SyncDone,
    SyncFailed,
    Hold,
}

/// Why a row that wants something gets nothing now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Reason {
    Op,
    Journal,
    Member,
    /// Of a member, that md has to record first.
    Failure,
    Read,
    Held,
}

/// The row.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    cells: Vec<Cell>,
    max_lost: usize,
    busy: bool,
    op: bool,
    landed: bool,
    user: bool,
    unwritten: bool,
    sync_want: bool,
    syncing: bool,
    deeds: Vec<Deed>,
}

impl Row {
    fn of(st: &State, strips: &[Strip], row: u32) -> Self {
        let cell = |(i, s): (usize, &Strip)| Cell {
            parity: i == st.p || Some(i) == st.q,
            missing: s.access == Access::Missing,
            in_sync: s.access == Access::Full,
            bad: s.read_error.has(row),
            here: s.uptodate.has(row),
            coming: s.reading.has(row),
            toread: s.toread.has(row),
            towrite: s.towrite.has(row),
            overwrite: s.overwrite.has(row),
            ..Cell::default()
        };
        Self {
            cells: strips.iter().enumerate().map(cell).collect(),
            max_lost: 1 + usize::from(st.q.is_some()),
            busy: st.busy.has(row),
            op: st.in_ops.has(row),
            landed: st.landed.has(row),
            user: st.user.has(row),
            unwritten: st.unwritten.has(row),
            sync_want: st.sync_want.has(row),
            syncing: st.syncing.has(row),
            deeds: Vec::new(),
        }
    }

    fn any(&self, f: impl Fn(&Cell) -> bool) -> bool {
        self.cells.iter().any(f)
    }

    fn count(&self, f: impl Fn(&Cell) -> bool) -> usize {
        self.cells.iter().filter(|c| f(c)).count()
    }

    fn to_fix(&self) -> bool {
        self.any(|c| c.in_sync && c.bad && c.here)
    }

    fn plan(&mut self, policy: &Policy) {
        if self.landed && !policy.blocked {
            self.report();
        }
        for c in &mut self.cells {
            c.fill = c.toread && c.here && !self.op;
            c.toread &= !c.fill;
        }
        let free = !self.busy && !self.op && !self.any(|c| c.coming);
        if self.sync_want && free && !(policy.may_fix && self.to_fix()) {
            (self.sync_want, self.syncing) = (false, true);
            self.cells.iter_mut().for_each(|c| c.here = false);
        }
        if !self.op && self.any(|c| c.toread) {
            let wanted: Vec<bool> = self.cells.iter().map(|c| c.toread).collect();
            if !self.fetch(&wanted) && self.too_much_lost() {
                self.refuse_reads();
            }
        }
        if self.syncing && !self.busy && !self.op {
            self.sync(policy);
        }
        let taken = self.busy || self.op || self.syncing || self.sync_want;
        if self.any(|c| c.towrite) && !taken {
            self.write(policy);
        }
        let free = !self.busy && !self.op && !self.syncing;
        if free && policy.may_fix && !policy.blocked {
            self.put_right(false);
        }
    }

    fn report(&mut self) {
        let gone = self.count(|c| !c.in_sync) > self.max_lost;
        let bad = gone || self.unwritten;
        if self.user {
            self.deeds
                .push(if bad { Deed::FailWrite } else { Deed::Complete });
        }
        if self.syncing {
            self.deeds.push(if bad {
                Deed::SyncFailed
            } else {
                Deed::SyncDone
            });
            self.syncing = false;
        }
        (self.landed, self.busy, self.user) = (false, false, false);
    }

    fn too_much_lost(&self) -> bool {
        self.count(Cell::lost) > self.max_lost
    }

    /// Gets the wanted pages into memory; true if they are all there, and false for ever if one of them
    /// is lost and too much else is.
    fn fetch(&mut self, wanted: &[bool]) -> bool {
        let lost = self.cells.iter().zip(wanted).any(|(c, w)| *w && c.lost());
        if lost && self.too_much_lost() {
            return false;
        }
        // To compute takes everything else.
        let mut complete = true;
        for (c, w) in self.cells.iter_mut().zip(wanted) {
            let take = if lost { !c.lost() } else { *w };
            if take && !c.here {
                complete = false;
                c.read |= !c.coming;
                c.coming = true;
            }
        }
        if lost && complete && !self.any(|c| c.coming) {
            self.op = true;
            self.deeds.push(Deed::Compute);
            self.cells.iter_mut().for_each(|c| c.made = !c.here);
        }
        complete && !lost
    }

    fn refuse_reads(&mut self) {
        for c in &mut self.cells {
            if c.toread && !c.readable() {
                (c.refuse, c.toread, c.bad) = (true, false, false);
            } else if c.toread && !c.coming {
                (c.read, c.coming) = (true, true);
            }
        }
    }

    fn give_up(&mut self, deed: Deed) {
        self.deeds.push(deed);
        for c in self.cells.iter_mut().filter(|c| !c.here) {
            c.bad = false;
        }
    }

    fn sync(&mut self, policy: &Policy) {
        let unreadable = self.count(|c| !c.readable());
        let readable: Vec<bool> = self.cells.iter().map(Cell::readable).collect();
        let mut fails = unreadable > self.max_lost;
        if !fails && !self.fetch(&readable) {
            return;
        }
        if !fails && unreadable == 0 {
            self.op = true;
            self.deeds.push(Deed::Check);
            return;
        }
        if !fails {
            let there: Vec<bool> = self.cells.iter().map(|c| !c.missing).collect();
            if self.fetch(&there) {
                fails = !policy.may_fix;
            } else if self.too_much_lost() {
                fails = true;
            } else {
                return;
            }
        }
        if fails {
            self.syncing = false;
            return self.give_up(Deed::SyncFailed);
        }
        if !policy.blocked && !self.put_right(true) {
            self.syncing = false;
            self.deeds.push(Deed::SyncDone);
        }
    }

    /// Writes what members lack; whether there is anything.
    fn put_right(&mut self, rebuild: bool) -> bool {
        for c in self.cells.iter_mut().filter(|c| c.here) {
            c.write = (c.in_sync && c.bad) || (rebuild && !c.in_sync && !c.missing);
        }
        let any = self.any(|c| c.write);
        self.busy |= any;
        any
    }

    fn write(&mut self, policy: &Policy) {
        if policy.refuse_writes || self.count(|c| !c.in_sync) > self.max_lost {
            return self.deeds.push(Deed::FailWaiting);
        }
        if policy.blocked {
            return;
        }
        let old: Vec<bool> = self.cells.iter().map(|c| c.parity || c.towrite).collect();
        let rest: Vec<bool> = self
            .cells
            .iter()
            .map(|c| !c.parity && !c.overwrite)
            .collect();
        let reads = |wanted: &[bool]| {
            let absent = self
                .cells
                .iter()
                .zip(wanted)
                .filter(|(c, w)| **w && !c.here);
            let absent: Vec<&Cell> = absent.map(|(c, _)| c).collect();
            // What must be computed is dearer than anything.
            if absent.iter().any(|c| !c.readable()) {
                usize::MAX
            } else {
                absent.len()
            }
        };
        let rmw = policy.rmw && reads(&old) < reads(&rest);
        let wanted = if rmw { old } else { rest };
        if policy.hold && reads(&wanted) > 0 {
            return self.deeds.push(Deed::Hold);
        }
        if !self.fetch(&wanted) {
            if !self.op
                && self.cells.iter().zip(&wanted).any(|(c, w)| *w && c.lost())
                && self.too_much_lost()
            {
                self.give_up(Deed::FailWaiting);
            }
            return;
        }
        if self.any(|c| c.coming) {
            return;
        }
        (self.busy, self.op) = (true, true);
        self.deeds.push(if rmw { Deed::Rmw } else { Deed::Rcw });
        for c in self.cells.iter_mut() {
            c.drain = c.towrite;
            c.made = c.towrite || c.parity;
        }
    }
}

/// What the module's planner decided about a row, in the naive planner's words.
fn decided(acts: &Actions, strips: &[Strip], row: u32) -> (Vec<[bool; 6]>, Vec<Deed>) {
    let cells = strips.iter().map(|s| {
        let a = &s.act;
        let read = a.read | a.read_alone;
        [read, a.write, a.fill, a.fail_read, a.drain, s.op_result].map(|m| m.has(row))
    });
    let deeds = [
        (acts.complete, Deed::Complete),
        (acts.fail_write, Deed::FailWrite),
        (acts.sync_done, Deed::SyncDone),
        (acts.sync_failed, Deed::SyncFailed),
        (acts.compute, Deed::Compute),
        (acts.rmw, Deed::Rmw),
        (acts.rcw, Deed::Rcw),
        (acts.check, Deed::Check),
        (acts.fail_waiting, Deed::FailWaiting),
        (acts.held, Deed::Hold),
    ];
    let done = deeds.iter().filter(|d| d.0.has(row)).map(|d| d.1);
    (cells.collect(), done.collect())
}

/// What was tried.
#[derive(Default)]
struct Tally {
    states: u64,
    /// Rows that something was begun for.
    begun: u64,
    /// Rows that wanted nothing.
    content: u64,
    waits: BTreeMap<Reason, u64>,
}

/// A row before and after one look of the module's planner.
struct Look<'a> {
    row: u32,
    before: (&'a State, &'a [Strip]),
    st: &'a State,
    strips: &'a [Strip],
    acts: &'a Actions,
    policy: &'a Policy,
}

impl Look<'_> {
    fn check(&self, cond: bool, what: &str) {
        assert!(
            cond,
            "{what}: row {}, {:?}\n{:x?}\nbefore {:#x?}\nafter {:x?}\n{:#x?}",
            self.row, self.policy, self.acts, self.before, self.st, self.strips
        );
    }

    /// It is what the naive planner decides.
    fn agrees(&self) {
        let mut naive = Row::of(self.before.0, self.before.1, self.row);
        naive.plan(self.policy);
        let cell = |c: &Cell| [c.read, c.write, c.fill, c.refuse, c.drain, c.made];
        let cells: Vec<[bool; 6]> = naive.cells.iter().map(cell).collect();
        let (found, deeds) = decided(self.acts, self.strips, self.row);
        let same = found == cells
            && deeds.iter().all(|d| naive.deeds.contains(d))
            && naive.deeds.iter().all(|d| deeds.contains(d));
        self.check(same, &format!("the naive planner decides {naive:#?}"));
    }

    /// No page is read that is cached or on its way; only what a sync forgets is read anew.
    fn reads_nothing_cached(&self) {
        let row = self.row;
        let forgotten = self.before.0.sync_want.has(row) && !self.st.sync_want.has(row);
        for (was, s) in self.before.1.iter().zip(self.strips) {
            if !(s.act.read | s.act.read_alone).has(row) {
                continue;
            }
            self.check(!was.uptodate.has(row) || forgotten, "reads what is cached");
            self.check(!was.reading.has(row), "reads what is on its way");
            self.check(s.access == Access::Full, "reads from a member without it");
            self.check(s.reading.has(row) && !s.uptodate.has(row), "forgets a read");
        }
    }

    /// What is written, to a member or in memory, belongs to this one write or op.
    fn writes_only_locked(&self) {
        let row = self.row;
        let began = !self.before.0.in_ops.has(row) && self.st.in_ops.has(row);
        let write_op = self.acts.rmw.has(row) || self.acts.rcw.has(row);
        for (was, s) in self.before.1.iter().zip(self.strips) {
            if s.act.write.has(row) {
                let locked = self.st.busy.has(row) && s.written.has(row) && s.writing.has(row);
                self.check(locked, "writes what is not locked");
                let over = !self.before.0.busy.has(row) || self.before.0.landed.has(row);
                let alone = over && !was.writing.has(row);
                self.check(alone, "writes what is being written");
                let known = s.uptodate.has(row) && !self.st.in_ops.has(row);
                self.check(known, "writes what is not known");
                self.check(s.access != Access::Missing, "writes to nobody");
            }
            if s.act.drain.has(row) || s.op_result.has(row) && !was.op_result.has(row) {
                self.check(began, "changes a page that is not locked");
                let idle = !s.reading.has(row) && !s.writing.has(row);
                self.check(idle, "changes a page under I/O");
                let held_off = !write_op || self.st.busy.has(row) && !s.uptodate.has(row);
                self.check(held_off, "changes a page that may be read");
            }
        }
    }

    /// Whether something waits to be done for the row.
    fn wants(&self, st: &State, strips: &[Strip]) -> bool {
        let row = self.row;
        st.sync_want.has(row)
            || st.syncing.has(row)
            || st.landed.has(row)
            || strips.iter().any(|s| {
                let fix = self.policy.may_fix && s.fixable().has(row);
                s.toread.has(row) || s.towrite.has(row) || fix
            })
    }

    /// A row that wants something gets something, or waits for a reason that has a name.
    fn is_not_missed(&self, tally: &mut Tally) {
        let (st, strips) = self.before;
        let (cells, deeds) = decided(self.acts, self.strips, self.row);
        if !self.wants(st, strips) {
            self.check(deeds.is_empty(), "nobody asked for that");
            tally.content += 1;
            return;
        }
        let held = deeds == [Deed::Hold] && cells.iter().flatten().all(|did| !did);
        if !held && (!deeds.is_empty() || cells.iter().flatten().any(|did| *did)) {
            tally.begun += 1;
            return;
        }
        let row = self.row;
        let reasons = [
            (held, Reason::Held),
            (st.in_ops.has(row), Reason::Op),
            (st.in_journal.has(row), Reason::Journal),
            (st.in_members.has(row), Reason::Member),
            (strips.iter().any(|s| s.reading.has(row)), Reason::Read),
            (self.policy.blocked, Reason::Failure),
        ];
        let reason = reasons.iter().find(|r| r.0).map(|r| r.1);
        // What only must not be written waits in the naive planner's words too.
        self.check(reason.is_some(), "misses a row");
        *tally.waits.entry(reason.unwrap_or(Reason::Op)).or_default() += 1;
    }

    fn judge(&self, tally: &mut Tally) {
        tally.states += 1;
        self.agrees();
        self.reads_nothing_cached();
        self.writes_only_locked();
        self.is_not_missed(tally);
    }
}

/// A row's place and phase.
#[derive(Clone, Copy)]
struct Place {
    p: usize,
    q: Option<usize>,
    phase: Phase,
}

fn look(ones: &[One], place: Place, policy: &Policy, tally: &mut Tally) {
    let mut st = State::new(1, place.p, place.q);
    let mut strips = [Strip::new(); 8];
    let strips = &mut strips[..ones.len()];
    for (one, s) in ones.iter().zip(strips.iter_mut()) {
        one.put(s, 0);
    }
    put_phase(place.phase, &mut st, strips, 0);
    let (was, mut before) = (st, [Strip::new(); 8]);
    let before = &mut before[..ones.len()];
    before.copy_from_slice(strips);
    let mut acts = Actions::default();
    plan(&mut st, strips, policy, &mut acts);
    Look {
        row: 0,
        before: (&was, before),
        st: &st,
        strips,
        acts: &acts,
        policy,
    }
    .judge(tally);
}

const PHASES: [Phase; 7] = [
    Phase::None,
    Phase::Ops,
    Phase::Journal,
    Phase::Members(0),
    Phase::Landed,
    Phase::SyncWanted,
    Phase::Syncing,
];

/// All states of rows on `members`, with these policies for rows on which nothing runs, and the first
/// two of them for others.
fn every(
    members: usize,
    places: &[(usize, Option<usize>)],
    policies: &[Policy],
    sorted: bool,
) -> Tally {
    let mut tally = Tally::default();
    for (p, q) in places.iter().copied() {
        let parity = |slot: usize| slot == p || Some(slot) == q;
        let slots: Vec<Vec<One>> = (0..members).map(|s| One::all(parity(s))).collect();
        let data: Vec<bool> = (0..members).map(|s| !parity(s)).collect();
        for phase in PHASES {
            let idle = matches!(phase, Phase::None);
            let few = if idle { policies.len() } else { 2 };
            for policy in policies.iter().take(few) {
                let place = Place { p, q, phase };
                combine(&slots, &data, sorted, &mut |ones| {
                    look(ones, place, policy, &mut tally)
                });
            }
        }
    }
    let Tally {
        states,
        begun,
        content,
        waits,
    } = &tally;
    println!("{members} members, P and Q {places:?}: {states} states, {begun} begun, {content} content, {waits:?}");
    assert_eq!(states - begun - content, waits.values().sum::<u64>());
    tally
}

/// The plain policy, with nothing to be put right, and then the others.
fn all_policies() -> Vec<Policy> {
    let careful = Policy {
        may_fix: false,
        ..PLAIN
    };
    let mut all = vec![
        PLAIN,
        Policy {
            blocked: true,
            ..PLAIN
        },
        careful,
    ];
    all.extend(policies());
    all
}

#[test]
fn every_row_of_few_members_is_planned_as_by_hand() {
    let all = all_policies();
    let two = every(2, &[(0, None), (1, None)], &all, false);
    let six = every(3, &[(0, Some(1)), (2, Some(0))], &all, false);
    // A data strip has 66 states, and a parity strip 11; 19 policies, and 6 phases with two.
    let times = 19 + 6 * 2;
    assert_eq!(two.states, 2 * 66 * 11 * times);
    assert_eq!(six.states, 2 * 66 * 11 * 11 * times);
    assert_eq!(six.waits.len(), 6);
}

#[test]
#[ignore = "takes minutes: make sim"]
fn every_row_of_three_members_is_planned_as_by_hand() {
    let three = every(
        3,
        &[(0, None), (1, None), (2, None)],
        &all_policies(),
        false,
    );
    assert_eq!(three.states, 3 * 66 * 66 * 11 * (19 + 6 * 2));
    assert_eq!(three.waits.len(), 6);
}

#[test]
#[ignore = "takes minutes: make sim"]
fn every_row_of_four_members_is_planned_as_by_hand() {
    let full = env("STRIPE_FULL", 0) != 0;
    let mut policies = all_policies();
    let (fives, sixes): (Vec<_>, Vec<_>) = if full {
        ((0..4).collect(), vec![(0, 1), (1, 3), (3, 2)])
    } else {
        policies.truncate(3);
        (vec![3], vec![(2, 3)])
    };
    let fives: Vec<_> = fives.into_iter().map(|p| (p, None)).collect();
    let sixes: Vec<_> = sixes.into_iter().map(|(p, q)| (p, Some(q))).collect();
    let times = policies.len() as u64 + 6 * 2;
    let five = every(4, &fives, &policies, !full);
    let six = every(4, &sixes, &policies, !full);
    // Of three equal strips in any order, and of two.
    let (three, two) = if full {
        (66 * 66 * 66, 66 * 66)
    } else {
        (66 * 67 * 68 / 6, 66 * 67 / 2)
    };
    assert_eq!(five.states, fives.len() as u64 * three * 11 * times);
    assert_eq!(six.states, sixes.len() as u64 * two * 11 * 11 * times);
}

#[test]
fn rows_of_more_members_are_planned_as_by_hand() {
    let mut tally = Tally::default();
    let mut all = all_policies();
    all.extend(policies().into_iter().map(|p| Policy {
        may_fix: false,
        ..p
    }));
    let first = env("STRIPE_FIRST", 0);
    let runs = env("STRIPE_RUNS", 10_000) / 50;
    for seed in first..first + runs {
        let mut rng = Rng::new(seed);
        let members = 5 + rng.below(4) as usize;
        let p = rng.below(members as u64) as usize;
        let q = rng
            .chance(50)
            .then(|| (p + 1 + rng.below(members as u64 - 1) as usize) % members);
        let slots: Vec<Vec<One>> = (0..members)
            .map(|s| One::all(s == p || Some(s) == q))
            .collect();
        // Mostly few members are in trouble, so that something can be done.
        let trouble = rng.below(60);
        for _ in 0..1000 {
            let ones: Vec<One> = slots
                .iter()
                .map(|all| {
                    let healthy = !rng.chance(trouble);
                    loop {
                        let one = all[rng.below(all.len() as u64) as usize];
                        if !healthy || one.disk == Disk::Good {
                            break one;
                        }
                    }
                })
                .collect();
            let phase = match PHASES[rng.below(7) as usize] {
                Phase::Members(_) => Phase::Members(rng.below(members as u64) as usize),
                phase => phase,
            };
            let policy = all[rng.below(all.len() as u64) as usize];
            look(&ones, Place { p, q, phase }, &policy, &mut tally);
        }
    }
    let Tally {
        states,
        begun,
        content,
        waits,
    } = &tally;
    println!("{states} states, {begun} begun, {content} content, {waits:?}");
    assert_eq!(*states, runs * 1000);
    assert_eq!(waits.len(), 6);
}
