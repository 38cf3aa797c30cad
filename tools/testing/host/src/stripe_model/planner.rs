// SPDX-License-Identifier: GPL-2.0

//! One look of the planner at every state of one row, against rules and a choice written anew; and
//! rows that lie together against the same rows alone.
//!
//! `STRIPE_FULL=1` also tries four members without leaving out states that differ only in the order
//! of the data strips, and more policies.

use super::mask::RowMask;
use super::stripe::{plan, Access, Actions, Policy, RmwLevel, State, Strip, Twin};
use super::{env, Rng};

/// What waits to be written of a strip's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Write {
    None,
    Part,
    Whole,
}

/// A strip's page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cached {
    No,
    Yes,
    /// Being read.
    Coming,
}

/// The member under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    Good,
    /// It is in sync, but could not read the row.
    Unreadable,
    /// The same, and the row is a bad block.
    Recorded,
    /// It is in sync, but the row is a bad block that is not written.
    Dead,
    WriteOnly,
    /// The same, of a member that is being rebuilt.
    DeadWriteOnly,
    Missing,
}

impl Disk {
    const ALL: [Self; 7] = [
        Self::Good,
        Self::Unreadable,
        Self::Recorded,
        Self::Dead,
        Self::WriteOnly,
        Self::DeadWriteOnly,
        Self::Missing,
    ];

    /// What the member as a whole is, with rows like this one.
    fn member(self) -> Self {
        match self {
            Self::Good | Self::Unreadable | Self::Recorded | Self::Dead => Self::Good,
            Self::WriteOnly | Self::DeadWriteOnly => Self::WriteOnly,
            Self::Missing => Self::Missing,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct One {
    cached: Cached,
    pub(super) disk: Disk,
    write: Write,
    read: bool,
}

impl One {
    /// Every state of a data strip, or of a parity strip.
    pub(super) fn all(parity: bool) -> Vec<Self> {
        let mut all = Vec::new();
        for cached in [Cached::No, Cached::Yes, Cached::Coming] {
            for disk in Disk::ALL {
                // A read error is known when the read has ended, and forbids the next read.
                let bad = !matches!(disk, Disk::Good | Disk::WriteOnly | Disk::Missing);
                if cached == Cached::Coming && bad {
                    continue;
                }
                for write in [Write::None, Write::Part, Write::Whole] {
                    for read in [false, true] {
                        if !parity || (write == Write::None && !read) {
                            all.push(Self {
                                cached,
                                disk,
                                write,
                                read,
                            });
                        }
                    }
                }
            }
        }
        all
    }

    pub(super) fn put(self, s: &mut Strip, row: u32) {
        let bit = RowMask::single(row);
        match self.cached {
            Cached::No => {}
            Cached::Yes => s.uptodate.insert(bit),
            Cached::Coming => s.reading.insert(bit),
        }
        s.access = match self.disk {
            Disk::Good | Disk::Unreadable | Disk::Recorded | Disk::Dead => Access::Full,
            Disk::WriteOnly | Disk::DeadWriteOnly => Access::WriteOnly,
            Disk::Missing => Access::Missing,
        };
        let dead = matches!(self.disk, Disk::Dead | Disk::DeadWriteOnly);
        let bad = dead || self.disk == Disk::Recorded;
        if self.is_unreadable() {
            s.read_error.insert(bit);
        }
        s.bad.insert(if bad { bit } else { RowMask::EMPTY });
        s.dead.insert(if dead { bit } else { RowMask::EMPTY });
        s.recorded.insert(if bad { bit } else { RowMask::EMPTY });
        if self.write != Write::None {
            s.towrite.insert(bit);
        }
        if self.write == Write::Whole {
            s.overwrite.insert(bit);
        }
        if self.read {
            s.toread.insert(bit);
        }
    }

    fn is_unreadable(self) -> bool {
        matches!(self.disk, Disk::Unreadable | Disk::Recorded)
    }

    fn is_lost(self) -> bool {
        self.cached != Cached::Yes && self.disk != Disk::Good
    }
}

pub(super) const PLAIN: Policy = Policy {
    journal: false,
    blocked: false,
    refuse_writes: false,
    may_fix: true,
    rmw: RmwLevel::Cheaper,
    hold: false,
    repair: true,
    copy: false,
    write_back: false,
    room: 0,
    begin: true,
};

pub(super) fn policies() -> Vec<Policy> {
    let mut all = Vec::new();
    for rmw in [RmwLevel::Cheaper, RmwLevel::Never, RmwLevel::Preferred] {
        for bits in 0..8u32 {
            all.push(Policy {
                rmw,
                blocked: bits & 1 != 0,
                hold: bits & 2 != 0,
                refuse_writes: bits & 4 != 0,
                ..PLAIN
            });
        }
    }
    all
}

/// One row, what the planner made of it, and the rules.
struct Case<'a> {
    /// As it was.
    ones: &'a [One],
    /// The same for the write that comes after the read: a read that failed makes the member be
    /// asked again.
    then: &'a [One],
    p: usize,
    q: Option<usize>,
    policy: Policy,
    strips: &'a [Strip],
    acts: &'a Actions,
}

fn reads(s: &Strip) -> bool {
    (s.act.read | s.act.read_alone).any()
}

/// The naive chooser: which strips a write takes, by hand.
struct Choice {
    rmw: bool,
    sources: Vec<usize>,
}

impl Case<'_> {
    fn parity(&self, slot: usize) -> bool {
        slot == self.p || Some(slot) == self.q
    }

    fn max_lost(&self) -> usize {
        1 + usize::from(self.q.is_some())
    }

    fn check(&self, cond: bool, what: &str) {
        assert!(
            cond,
            "{what}: P {} Q {:?} {:?}\n{:#?}\n{:x?}\n{:x?}",
            self.p, self.q, self.policy, self.ones, self.acts, self.strips
        );
    }

    fn any(&self, mask: RowMask) -> bool {
        mask.any()
    }

    fn failed(&self) -> usize {
        let gone = |o: &&One| o.disk != Disk::Good && !o.is_unreadable();
        self.ones.iter().filter(gone).count()
    }

    fn lost(&self) -> usize {
        self.ones.iter().filter(|o| o.is_lost()).count()
    }

    fn lost_then(&self) -> usize {
        self.then.iter().filter(|o| o.is_lost()).count()
    }

    fn writes(&self) -> bool {
        self.ones.iter().any(|o| o.write != Write::None)
    }

    /// Reads that memory cannot serve.
    fn starving(&self) -> Vec<usize> {
        (0..self.ones.len())
            .filter(|s| self.ones[*s].read && self.ones[*s].cached != Cached::Yes)
            .collect()
    }

    fn coming(&self) -> bool {
        self.ones.iter().any(|o| o.cached == Cached::Coming)
    }

    /// Reads that a method takes; none if something that it takes is lost.
    fn price(&self, sources: &[usize]) -> Option<usize> {
        let absent = sources
            .iter()
            .filter(|s| self.then[**s].cached != Cached::Yes);
        let absent: Vec<&usize> = absent.collect();
        let ok = absent.iter().all(|s| self.then[**s].disk == Disk::Good);
        ok.then_some(absent.len())
    }

    fn choose(&self) -> Choice {
        let slots = 0..self.then.len();
        let rmw: Vec<usize> = slots
            .clone()
            .filter(|s| self.parity(*s) || self.then[*s].write != Write::None)
            .collect();
        let rcw: Vec<usize> = slots
            .filter(|s| !self.parity(*s) && self.then[*s].write != Write::Whole)
            .collect();
        let cheaper = match (self.price(&rmw), self.price(&rcw)) {
            (Some(a), Some(b)) if a == b && a > 0 => self.policy.rmw == RmwLevel::Preferred,
            (Some(a), Some(b)) => a < b,
            (Some(_), None) => true,
            _ => false,
        };
        if self.policy.rmw != RmwLevel::Never && cheaper {
            Choice {
                rmw: true,
                sources: rmw,
            }
        } else {
            Choice {
                rmw: false,
                sources: rcw,
            }
        }
    }

    /// All strips that must be read once something has to be computed.
    fn all_readable(&self) -> Vec<usize> {
        let readable = |s: &usize| !self.then[*s].is_lost();
        (0..self.then.len()).filter(readable).collect()
    }

    fn judge(&self) {
        self.judge_strips();
        self.judge_ops();
        self.judge_reads();
        self.judge_writes();
        self.judge_fixes();
        let idle = (self.acts.sync_done | self.acts.sync_failed | self.acts.complete).is_empty()
            && (self.acts.check | self.acts.parity | self.acts.journal | self.acts.mismatch)
                .is_empty()
            && self.acts.fail_write.is_empty();
        self.check(idle, "something that nobody asked for");
    }

    fn judge_strips(&self) {
        for (slot, (one, s)) in self.ones.iter().zip(self.strips).enumerate() {
            let act = &s.act;
            if reads(s) {
                self.check(
                    one.cached == Cached::No,
                    "reads what is there or on its way",
                );
                self.check(
                    self.then[slot].disk == Disk::Good,
                    "reads from a member that cannot",
                );
                self.check(s.reading.any(), "forgets that it reads");
            }
            self.check(
                act.fill.any() == (one.read && one.cached == Cached::Yes),
                "fills what it should not, or not what it should",
            );
            self.check(
                act.drain.is_empty() || (one.write != Write::None && !self.parity(slot)),
                "drains what does not wait",
            );
            if act.fail_read.any() {
                self.check(
                    one.read && one.is_lost() && self.lost() > self.max_lost(),
                    "fails a read that can be served",
                );
            }
            if one.cached == Cached::Coming {
                self.check(
                    s.op_result.is_empty() && act.write.is_empty(),
                    "uses a page that is being read",
                );
            }
            self.check(!(s.uptodate & s.reading).any(), "uptodate and being read");
        }
        self.check(
            self.acts.read == self.strips.iter().any(|s| reads(s)),
            "read flag",
        );
        self.check(
            self.acts.write == self.strips.iter().any(|s| s.act.write.any()),
            "write flag",
        );
        self.check(
            self.acts.fill == self.strips.iter().any(|s| s.act.fill.any()),
            "fill flag",
        );
    }

    fn judge_ops(&self) {
        let ops = [self.acts.compute, self.acts.rmw, self.acts.rcw];
        self.check(
            ops.iter().filter(|o| o.any()).count() <= 1,
            "two ops on one row",
        );
        let results: Vec<usize> = (0..self.ones.len())
            .filter(|s| self.strips[*s].op_result.any())
            .collect();
        if ops.iter().all(|o| o.is_empty()) {
            self.check(results.is_empty(), "a result without an op");
            return;
        }
        self.check(
            !self.coming() || self.acts.compute.any(),
            "a write op while pages are being read",
        );
        if self.acts.compute.any() {
            self.check(
                results.len() <= self.max_lost() && !results.is_empty(),
                "computes too much",
            );
            for slot in 0..self.ones.len() {
                let target = results.contains(&slot);
                self.check(
                    target == (self.ones[slot].cached != Cached::Yes),
                    "computes from what is not there",
                );
                self.check(
                    !target || self.ones[slot].is_lost(),
                    "computes what can be read",
                );
            }
            return;
        }
        let choice = self.choose();
        self.check(self.acts.rmw.any() == choice.rmw, "the dearer method");
        for s in choice.sources {
            self.check(
                self.ones[s].cached == Cached::Yes,
                "write op on what is not there",
            );
        }
        for slot in 0..self.ones.len() {
            let changes = self.parity(slot) || self.ones[slot].write != Write::None;
            let s = &self.strips[slot];
            self.check(
                results.contains(&slot) == changes,
                "makes other pages than it should",
            );
            self.check(
                s.written.any() == changes,
                "writes other strips than it should",
            );
            self.check(
                !changes || s.uptodate.is_empty(),
                "uptodate before it is made",
            );
            self.check(
                s.act.drain.any() == (self.ones[slot].write != Write::None),
                "leaves a write behind",
            );
            self.check(
                s.towrite.is_empty() && s.overwrite.is_empty(),
                "takes a write up and keeps it waiting",
            );
        }
    }

    fn judge_reads(&self) {
        let starving = self.starving();
        for slot in &starving {
            let s = &self.strips[*slot];
            let one = self.ones[*slot];
            let on_its_way = one.cached == Cached::Coming || reads(s) || s.op_result.any();
            let sources_come = one.is_lost() && (self.coming() || self.acts.read);
            self.check(
                on_its_way || sources_come || s.act.fail_read.any(),
                "forgets a read",
            );
        }
        // Nothing is read that nobody needs.
        let mut wanted = starving.clone();
        if starving.iter().any(|s| self.ones[*s].is_lost()) && self.lost() <= self.max_lost() {
            wanted.extend(self.all_readable());
        }
        if self.writes() && !self.policy.blocked && !self.policy.refuse_writes {
            let choice = self.choose();
            if choice.sources.iter().any(|s| self.then[*s].is_lost()) {
                wanted.extend(self.all_readable());
            }
            wanted.extend(choice.sources);
        }
        for (slot, s) in self.strips.iter().enumerate() {
            self.check(
                !reads(s) || wanted.contains(&slot),
                "reads what nobody needs",
            );
        }
    }

    fn judge_writes(&self) {
        let acts = self.acts;
        let started = self.any(acts.rmw | acts.rcw);
        if !self.writes() {
            self.check(
                !started && acts.fail_waiting.is_empty() && acts.held.is_empty(),
                "writes that nobody asked for",
            );
            return;
        }
        let choice = self.choose();
        let lost_source = choice.sources.iter().any(|s| self.then[*s].is_lost());
        let hopeless =
            self.failed() > self.max_lost() || (lost_source && self.lost_then() > self.max_lost());
        if acts.fail_waiting.any() {
            self.check(
                hopeless || self.policy.refuse_writes,
                "fails a write that can be done",
            );
            self.check(
                self.strips.iter().all(|s| s.towrite.is_empty()),
                "fails a write and keeps it",
            );
        }
        if self.policy.blocked || self.policy.refuse_writes {
            self.check(!started, "begins a write that may not be");
        }
        let dear = self.price(&choice.sources) != Some(0);
        self.check(
            acts.held.is_empty() || (self.policy.hold && dear),
            "holds what needs no reads",
        );
        self.check(!(started && self.policy.hold && dear), "does not hold");
        let waits = self.coming() || acts.read || acts.compute.any();
        let done = started || acts.fail_waiting.any() || acts.held.any();
        self.check(done || waits || self.policy.blocked, "forgets a write");
        let ready = !dear && !self.coming() && self.acts.compute.is_empty() && !acts.read;
        let free =
            !self.policy.blocked && !self.policy.refuse_writes && self.failed() <= self.max_lost();
        self.check(!(ready && free) || started, "does not begin what is ready");
        self.check(
            !(self.failed() > self.max_lost()) || acts.compute.any() || acts.fail_waiting.any(),
            "keeps a write that no member can take",
        );
    }

    fn judge_fixes(&self) {
        let started = self.any(self.acts.rmw | self.acts.rcw | self.acts.compute);
        for (slot, s) in self.strips.iter().enumerate() {
            let one = self.ones[slot];
            let known = one.is_unreadable() && one.cached == Cached::Yes;
            if s.act.write.any() {
                self.check(
                    known && !self.policy.blocked && !started,
                    "writes what needs no writing",
                );
                self.check(s.writing.any(), "forgets that it writes");
            } else if known && !started && !self.policy.blocked {
                self.check(false, "forgets to put an unreadable row right");
            }
        }
    }
}

/// One look at one row; the number of states is the return of the callers.
fn try_row(ones: &[One], p: usize, q: Option<usize>, policy: Policy) {
    let mut st = State::new(1, p, q);
    let mut strips = [Strip::new(); 6];
    let strips = &mut strips[..ones.len()];
    for (one, s) in ones.iter().zip(strips.iter_mut()) {
        one.put(s, 0);
    }
    let mut acts = Actions::default();
    plan(&mut st, strips, &policy, &mut acts);
    let mut then = ones.to_vec();
    for (one, s) in then.iter_mut().zip(strips.iter()) {
        if one.is_unreadable() && s.act.fail_read.any() {
            one.disk = Disk::Good;
        }
    }
    Case {
        ones,
        then: &then,
        p,
        q,
        policy,
        strips,
        acts: &acts,
    }
    .judge();
    assert_eq!(st.in_ops.any(), acts.has_ops());
}

/// Calls `f` for every combination; with `sorted`, data strips in one order only.
pub(super) fn combine(
    slots: &[Vec<One>],
    data: &[bool],
    sorted: bool,
    f: &mut impl FnMut(&[One]),
) -> u64 {
    fn go(
        slots: &[Vec<One>],
        data: &[bool],
        sorted: bool,
        least: usize,
        done: &mut Vec<One>,
        f: &mut impl FnMut(&[One]),
    ) -> u64 {
        let at = done.len();
        if at == slots.len() {
            f(done);
            return 1;
        }
        let start = if sorted && data[at] { least } else { 0 };
        let mut n = 0;
        for i in start..slots[at].len() {
            done.push(slots[at][i]);
            let least = if data[at] { i } else { least };
            n += go(slots, data, sorted, least, done, f);
            done.pop();
        }
        n
    }
    go(slots, data, sorted, 0, &mut Vec::new(), f)
}

fn every_state(members: usize, p: usize, q: Option<usize>, policy: Policy, sorted: bool) -> u64 {
    let parity = |slot: usize| slot == p || Some(slot) == q;
    let slots: Vec<Vec<One>> = (0..members).map(|s| One::all(parity(s))).collect();
    let data: Vec<bool> = (0..members).map(|s| !parity(s)).collect();
    combine(&slots, &data, sorted, &mut |ones| {
        try_row(ones, p, q, policy)
    })
}

#[test]
fn every_row_of_two_and_three_members() {
    let mut n = 0;
    for policy in policies() {
        for members in 2..=3 {
            for p in 0..members {
                n += every_state(members, p, None, policy, false);
            }
        }
    }
    println!("{n} states");
}

#[test]
fn every_row_of_four_members() {
    let full = env("STRIPE_FULL", 0) != 0;
    let mut n = 0;
    let few = [
        PLAIN,
        Policy {
            hold: true,
            ..PLAIN
        },
        Policy {
            blocked: true,
            ..PLAIN
        },
    ];
    for policy in if full { policies() } else { few.to_vec() } {
        for p in 0..4 {
            if full || (!policy.hold && !policy.blocked) || p == 1 {
                n += every_state(4, p, None, policy, !full);
            }
        }
    }
    println!("{n} states");
}

#[test]
fn every_row_of_four_members_with_q() {
    let mut n = 0;
    for policy in policies()
        .into_iter()
        .take(if env("STRIPE_FULL", 0) != 0 { 16 } else { 3 })
    {
        for (p, q) in [(0, 1), (1, 3), (3, 2)] {
            n += every_state(4, p, Some(q), policy, false);
        }
    }
    println!("{n} states");
}

/// What the planner made of one row.
fn of_row(acts: &Actions, st: &State, strips: &[Strip], row: u32) -> Vec<bool> {
    let mut out = Vec::new();
    let masks = [
        acts.compute,
        acts.rmw,
        acts.rcw,
        acts.check,
        acts.parity,
        acts.journal,
        acts.complete,
        acts.fail_write,
        acts.fail_waiting,
        acts.sync_done,
        acts.sync_failed,
        acts.mismatch,
        acts.held,
        st.busy,
        st.in_ops,
        st.ops_write,
        st.ops_check,
        st.ops_parity,
        st.in_journal,
        st.in_members,
        st.landed,
        st.user,
        st.fua,
        st.fua_next,
        st.discard,
        st.discard_next,
        st.sync_want,
        st.syncing,
    ];
    out.extend(masks.iter().map(|m| m.has(row)));
    for s in strips {
        let masks = [
            s.act.read,
            s.act.read_alone,
            s.suspect,
            s.act.write,
            s.act.discard,
            s.act.fill,
            s.act.drain,
            s.act.fail_read,
            s.uptodate,
            s.reading,
            s.writing,
            s.twin_writing,
            s.act.twin,
            s.act.record,
            s.act.lost,
            s.written,
            s.toread,
            s.towrite,
            s.overwrite,
            s.read_error,
            s.op_result,
        ];
        out.extend(masks.iter().map(|m| m.has(row)));
    }
    out
}

/// One row's state, with a phase of a write or a sync.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    None,
    Ops,
    Journal,
    Members(usize),
    Landed,
    SyncWanted,
    Syncing,
}

pub(super) fn put_phase(phase: Phase, st: &mut State, strips: &mut [Strip], row: u32) {
    let bit = RowMask::single(row);
    match phase {
        Phase::None => {}
        Phase::Ops => {
            st.busy.insert(bit);
            st.user.insert(bit);
            st.in_ops.insert(bit);
            st.ops_write.insert(bit);
        }
        Phase::Journal => {
            st.busy.insert(bit);
            st.user.insert(bit);
            st.in_journal.insert(bit);
        }
        Phase::Members(slot) => {
            st.busy.insert(bit);
            st.user.insert(bit);
            st.in_members.insert(bit);
            strips[slot].uptodate.insert(bit);
            strips[slot].reading.remove(bit);
            strips[slot].writing.insert(bit);
            strips[slot].written.insert(bit);
        }
        Phase::Landed => {
            st.busy.insert(bit);
            st.user.insert(bit);
            st.landed.insert(bit);
        }
        Phase::SyncWanted => st.sync_want.insert(bit),
        Phase::Syncing => st.syncing.insert(bit),
    }
}

#[test]
fn rows_together_are_as_rows_alone() {
    let runs = env("STRIPE_RUNS", 10_000) / 2;
    for seed in env("STRIPE_FIRST", 0)..env("STRIPE_FIRST", 0) + runs {
        let mut rng = Rng::new(seed);
        let members = 2 + rng.below(5) as usize;
        let p = rng.below(members as u64) as usize;
        let q = (members > 2 && rng.chance(40)).then(|| (p + 1) % members);
        let mut policy = policies()[rng.below(16) as usize];
        policy.refuse_writes &= rng.chance(20);
        policy.copy = rng.chance(30);
        let twins: Vec<Twin> = (0..members)
            .map(|_| match rng.below(8) {
                0 => Twin::Behind,
                1 => Twin::Level,
                _ => Twin::None,
            })
            .collect();
        let disks: Vec<Disk> = (0..members)
            .map(|_| match rng.below(12) {
                0 => Disk::Missing,
                1 => Disk::WriteOnly,
                _ => Disk::Good,
            })
            .collect();
        // Few different states, so that kinds have many rows.
        let variety = 1 + rng.below(12);
        let mut kinds = Vec::new();
        for _ in 0..variety {
            let ones: Vec<One> = (0..members)
                .map(|slot| loop {
                    let all = One::all(slot == p || Some(slot) == q);
                    let one = all[rng.below(all.len() as u64) as usize];
                    if one.disk.member() == disks[slot] {
                        break one;
                    }
                })
                .collect();
            let phase = match rng.below(12) {
                0 => Phase::Ops,
                1 => Phase::Journal,
                2 => Phase::Members(rng.below(members as u64) as usize),
                3 => Phase::Landed,
                4..=5 => Phase::SyncWanted,
                6..=7 => Phase::Syncing,
                _ => Phase::None,
            };
            kinds.push((ones, phase));
        }
        let mut st = State::new(64, p, q);
        let mut strips = vec![Strip::new(); members];
        let mut alone = Vec::new();
        for row in 0..64 {
            let (ones, phase) = &kinds[rng.below(variety) as usize];
            let mut st1 = State::new(64, p, q);
            let mut strips1 = vec![Strip::new(); members];
            for (slot, one) in ones.iter().enumerate() {
                one.put(&mut strips[slot], row);
                one.put(&mut strips1[slot], row);
                strips[slot].twin = twins[slot];
                strips1[slot].twin = twins[slot];
                if rng.chance(10) {
                    strips[slot].suspect.insert(RowMask::single(row));
                    strips1[slot].suspect.insert(RowMask::single(row));
                }
            }
            put_phase(*phase, &mut st, &mut strips, row);
            put_phase(*phase, &mut st1, &mut strips1, row);
            let mut acts1 = Actions::default();
            plan(&mut st1, &mut strips1, &policy, &mut acts1);
            alone.push((st1, strips1, acts1));
        }
        let mut acts = Actions::default();
        plan(&mut st, &mut strips, &policy, &mut acts);
        for (row, (st1, strips1, acts1)) in (0..64).zip(&alone) {
            assert_eq!(
                of_row(&acts, &st, &strips, row),
                of_row(acts1, st1, strips1, row),
                "seed {seed}, row {row}, P {p}, Q {q:?}, {policy:?}\ntogether: {acts:x?}\nalone: {acts1:x?}"
            );
        }
        let any = |f: fn(&Actions) -> bool| alone.iter().any(|a| f(&a.2));
        assert_eq!(acts.read, any(|a| a.read), "seed {seed}");
        assert_eq!(acts.write, any(|a| a.write), "seed {seed}");
        assert_eq!(acts.fill, any(|a| a.fill), "seed {seed}");
        assert_eq!(acts.fail_read, any(|a| a.fail_read), "seed {seed}");
    }
}
