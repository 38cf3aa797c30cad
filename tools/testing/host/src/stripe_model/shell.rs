// SPDX-License-Identifier: GPL-2.0

//! One stripe with simulated members, users and md: the machine judged by bytes.
//!
//! The shell carries actions out as `rust/engine` does; a seeded scheduler decides what happens when,
//! also in the middle of carrying out. A page is eight numbers, one for each sector. Pages that are
//! not uptodate hold garbage, and so do the pages of reads in flight.
//!
//! In two worlds of five memory is short, and what cannot be done is left: `left.rs`.
//!
//! `STRIPE_SEED=n` replays one run, with `STRIPE_STORY=1` step by step; `STRIPE_RUNS=n` sets how many
//! seeds are run, `STRIPE_FIRST=n` where they begin, and `STRIPE_SURVEY=1` goes on after a failure
//! and lists every kind of failure with its first seed.

mod left;

use self::left::{Fault, Memory, Ops};
use super::gf::{p_of, q_of, q_part, xor, Page, Row};
use super::mask::RowMask;
use super::stripe::{
    apply, clear, plan, Access, Actions, Event, Policy, RmwLevel, State, StripActs, Worth,
};
use super::{env, Rng};
use std::collections::BTreeMap;

type Strip = super::stripe::Strip;

/// What one seed's world is like.
#[derive(Clone, Copy, Debug)]
struct Config {
    members: usize,
    rows: u32,
    p: usize,
    q: Option<usize>,
    events: u64,
    /// Chances in percent of what can go wrong or change.
    fail: u64,
    read_error: u64,
    media_error: u64,
    /// Rows that die, and longer writes that fail for nothing.
    dead: u64,
    /// Members are replaced.
    twins: bool,
    journal: bool,
    journal_toggles: bool,
    journal_fails: bool,
    /// Percent of ops that fail.
    op_fails: u64,
    hold: u64,
    sync: u64,
    rmw: bool,
    /// Parity of some rows is wrong at first; then nothing fails.
    skewed: bool,
    /// Bios of one row each, rather than of runs.
    row_bios: bool,
    /// Chance in percent that there is no page, or no bio, while memory is short.
    short: u64,
}

impl Config {
    fn of(rng: &mut Rng) -> Self {
        let six = rng.chance(30);
        let members = if six {
            3 + rng.below(4)
        } else {
            2 + rng.below(5)
        } as usize;
        let p = rng.below(members as u64) as usize;
        let q = six.then(|| (p + 1 + rng.below(members as u64 - 1) as usize) % members);
        let rows = match rng.below(10) {
            0..=3 => 1 + rng.below(2),
            4..=8 => 1 + rng.below(8),
            _ => 64,
        } as u32;
        let skewed = q.is_none() && rng.chance(10);
        let calm = skewed || rng.chance(20);
        let mut some = |percent, most| {
            if !calm && rng.chance(percent) {
                1 + rng.below(most)
            } else {
                0
            }
        };
        let (fail, read_error, media_error) = (some(70, 4), some(50, 10), some(40, 4));
        let journal = rng.chance(30);
        let most = if rng.chance(10) { 600 } else { 150 };
        let events = 30 + rng.below(most);
        Self {
            members,
            rows,
            p,
            q,
            events,
            fail,
            read_error,
            media_error,
            dead: 0,
            twins: false,
            journal,
            journal_toggles: rng.chance(10),
            journal_fails: journal && !calm && rng.chance(30),
            op_fails: if !calm && rng.chance(20) {
                1 + rng.below(3)
            } else {
                0
            },
            hold: if rng.chance(30) { 1 + rng.below(5) } else { 0 },
            sync: if rng.chance(60) { 1 + rng.below(6) } else { 0 },
            rmw: rng.chance(80),
            skewed,
            row_bios: rng.chance(50),
            short: 0,
        }
    }

    /// Users change it at any time, with one seed in four.
    fn rmw_level(&self, seed: u64, now: u64) -> RmwLevel {
        match (seed % 4, now / 16 % 3) {
            (3, 0) => RmwLevel::Preferred,
            (3, 1) => RmwLevel::Never,
            _ if self.rmw => RmwLevel::Cheaper,
            _ => RmwLevel::Never,
        }
    }

    /// Users discard now and then, with one seed in three.
    fn discards(&self, seed: u64, now: u64) -> bool {
        seed % 3 == 2 && now.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0
    }

    fn parity(&self) -> usize {
        1 + usize::from(self.q.is_some())
    }

    fn is_parity(&self, slot: usize) -> bool {
        slot == self.p || Some(slot) == self.q
    }

    fn data_slots(&self) -> Vec<usize> {
        (0..self.members).filter(|s| !self.is_parity(*s)).collect()
    }
}

/// A device of a slot.
#[derive(Clone)]
struct Member {
    /// No two have the same.
    id: u64,
    content: Vec<Page>,
    /// Rows that cannot be read until they are written.
    bad: RowMask,
    /// Rows that can be neither read nor written.
    dead: RowMask,
    /// The bad-block log.
    log: RowMask,
    /// A write has failed: what is in the log is not written.
    write_error: bool,
    present: bool,
    in_sync: bool,
}

impl Member {
    fn access(&self) -> Access {
        match (self.present, self.in_sync) {
            (false, _) => Access::Missing,
            (true, false) => Access::WriteOnly,
            (true, true) => Access::Full,
        }
    }

    fn worth(&self) -> Worth {
        let none = RowMask::EMPTY;
        Worth {
            access: self.access(),
            bad: if self.present { self.log } else { none },
            skip: self.write_error,
        }
    }

    /// A device that works.
    fn new(id: u64, content: Vec<Page>, in_sync: bool) -> Self {
        Self {
            id,
            content,
            bad: RowMask::EMPTY,
            dead: RowMask::EMPTY,
            log: RowMask::EMPTY,
            write_error: false,
            present: true,
            in_sync,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Io {
    slot: usize,
    rows: RowMask,
    write: bool,
    discard: bool,
    fua: bool,
    /// Of the slot's second device.
    twin: bool,
    /// Of the device.
    id: u64,
}

/// A read that does not go through the stripe.
#[derive(Clone, Copy)]
struct Direct {
    slot: usize,
    first: u32,
    sectors: u32,
    start: u64,
    /// Of the device.
    id: u64,
}

/// A piece, as the engine's `Attached`.
#[derive(Clone, Debug)]
struct Part {
    id: u64,
    slot: usize,
    first: u32,
    write: bool,
    /// Of zeroes, which are no data that tells where it came from.
    discard: bool,
    fua: bool,
    todo: RowMask,
    /// Of these, the rows whose data the op that is to be done takes.
    due: RowMask,
    busy: RowMask,
    failed: bool,
    start: u64,
    data: Vec<u64>,
    /// Members that could not be read when they were too many, by row.
    impaired: Vec<u64>,
    refused: bool,
}

impl Part {
    fn sectors(&self) -> u32 {
        self.data.len() as u32
    }

    fn rows(&self) -> RowMask {
        let end = self.first + self.sectors();
        RowMask::range(self.first / 8, end.div_ceil(8) - self.first / 8)
    }

    fn full_rows(&self) -> RowMask {
        let mut full = RowMask::EMPTY;
        for row in self.rows().iter() {
            if self.first <= row * 8 && self.first + self.sectors() >= row * 8 + 8 {
                full.insert(RowMask::single(row));
            }
        }
        full
    }

    /// (index into the data, sector in the page) of what it has in `row`.
    fn span(&self, row: u32) -> Vec<(usize, usize)> {
        (0..8)
            .filter(|k| (self.first..self.first + self.sectors()).contains(&(row * 8 + k)))
            .map(|k| ((row * 8 + k - self.first) as usize, k as usize))
            .collect()
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Pending,
    Ok,
    Failed,
}

/// A write of one sector, for the judge of reads.
#[derive(Clone, Copy, Debug)]
struct Version {
    part: u64,
    value: u64,
    start: u64,
    end: u64,
    /// When a read of it first ended.
    seen: u64,
    fate: Fate,
}

/// A strip's share of what is carried out, and of what was left before.
#[derive(Clone, Copy, Default, Debug)]
struct Task {
    acts: StripActs,
    read: RowMask,
    read_alone: RowMask,
    write: RowMask,
    write_alone: RowMask,
    twin: RowMask,
    discard: RowMask,
    drain: RowMask,
    result: RowMask,
    written: RowMask,
}

struct World {
    seed: u64,
    story: bool,
    rng: Rng,
    c: Config,
    now: u64,
    // The engine's part.
    st: State,
    strips: Vec<Strip>,
    acts: Actions,
    policy: Policy,
    again: bool,
    parked: bool,
    active: bool,
    incoming: Vec<Part>,
    parts: Vec<Part>,
    tasks: Vec<Task>,
    ops: Ops,
    fua: RowMask,
    mem: Memory,
    carrying: bool,
    /// The last look came to something, so that another is due.
    handling: bool,
    /// No new work comes.
    quiet: bool,
    looks: u32,
    /// By slot and row.
    pages: Vec<Vec<Page>>,
    garbage: Vec<RowMask>,
    // What is in flight, and the pages as they were when it was issued.
    ios: Vec<(Io, Vec<Page>)>,
    directs: Vec<Direct>,
    journal: Vec<(RowMask, Vec<(usize, u32, Page)>)>,
    members: Vec<Member>,
    /// Second devices: what replaces a member; or what is replaced, and still in sync.
    twins: Vec<Option<Member>>,
    /// A twin went while there was a sync.
    twin_lost: bool,
    /// A twin has gone: what was to be written, too, may be written in vain.
    twin_went: bool,
    /// Reads that failed and were not put right by a write.
    errors: Vec<RowMask>,
    broken: bool,
    journal_dead: bool,
    /// Rows of which an op failed; what fails with them is excused.
    ops_failed: RowMask,
    /// Rows whose write under way is stable in the journal.
    journaled: RowMask,
    /// Rows that were on the members at the last look.
    landed: RowMask,
    // Syncs, as md drives them.
    sync_out: RowMask,
    sync_left: RowMask,
    sync_failed: bool,
    sync_impaired: Vec<u64>,
    rebuild: bool,
    // The judge's.
    truth: Vec<Vec<Page>>,
    before: Vec<Vec<Page>>,
    skew: Vec<Page>,
    history: BTreeMap<(usize, u32), Vec<Version>>,
    next_value: u64,
    parts_ended: u64,
    counts: Counts,
}

#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    events: u64,
    looks: u64,
    writes: u64,
    reads: u64,
    discards: u64,
    refused: u64,
    eio: u64,
    member_ios: u64,
    failures: u64,
    computes: u64,
    op_failures: u64,
    left: u64,
    lent: u64,
    freed: u64,
    rmw: u64,
    rcw: u64,
    checks: u64,
    mismatches: u64,
    rebuilds: u64,
    fixes: u64,
    bad_blocks: u64,
    replaced: u64,
    /// Rows that replacements could not be given.
    holes: u64,
    broken: u64,
}

macro_rules! judge {
    ($world:expr, $cond:expr, $($text:tt)*) => {
        if !$cond {
            panic!("{}\n  seed {}, step {}, {:?}", format!($($text)*), $world.seed, $world.now, $world.c);
        }
    };
}

macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if $world.story {
            println!("{:5} {}", $world.now, format!($($text)*));
        }
    };
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut c = Config::of(&mut rng);
        // By numbers of its own, so that seeds that are known stay what they are.
        let mut other = Rng::new(seed ^ 0x4000_0000);
        if !c.skewed && seed % 4 == 0 {
            c.dead = 1 + other.below(5);
        }
        c.twins = !c.skewed && seed % 8 < 2;
        let mem = Memory::new(seed, &mut c);
        let rows = c.rows as usize;
        let mut w = Self {
            seed,
            story: env("STRIPE_STORY", 0) != 0,
            c,
            now: 1,
            st: State::new(c.rows, c.p, c.q),
            strips: vec![Strip::new(); c.members],
            acts: Actions::default(),
            policy: Policy {
                journal: c.journal,
                blocked: false,
                refuse_writes: false,
                may_fix: true,
                rmw: c.rmw_level(seed, 0),
                hold: false,
                repair: true,
                copy: false,
                write_back: false,
                room: 0,
                begin: true,
            },
            again: false,
            parked: false,
            active: false,
            incoming: Vec::new(),
            parts: Vec::new(),
            tasks: vec![Task::default(); c.members],
            ops: Ops::default(),
            fua: RowMask::EMPTY,
            mem,
            carrying: false,
            handling: false,
            quiet: false,
            looks: 0,
            pages: vec![vec![[0; 8]; rows]; c.members],
            garbage: vec![RowMask::first(64); c.members],
            ios: Vec::new(),
            directs: Vec::new(),
            journal: Vec::new(),
            members: Vec::new(),
            twins: vec![None; c.members],
            twin_lost: false,
            twin_went: false,
            errors: vec![RowMask::EMPTY; c.members],
            broken: false,
            journal_dead: false,
            ops_failed: RowMask::EMPTY,
            journaled: RowMask::EMPTY,
            landed: RowMask::EMPTY,
            sync_out: RowMask::EMPTY,
            sync_left: RowMask::EMPTY,
            sync_failed: false,
            sync_impaired: vec![0; rows],
            rebuild: false,
            truth: vec![vec![[0; 8]; rows]; c.members],
            before: vec![vec![[0; 8]; rows]; c.members],
            skew: vec![[0; 8]; rows],
            history: BTreeMap::new(),
            next_value: 1,
            parts_ended: 0,
            counts: Counts::default(),
            rng,
        };
        w.fill_members();
        tell!(w, "{:?}", w.c);
        w
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value << 32 | (self.rng.next() & 0xffff_ffff)
    }

    fn fill_members(&mut self) {
        for slot in self.c.data_slots() {
            for row in 0..self.c.rows {
                for k in 0..8 {
                    let value = self.value();
                    self.truth[slot][row as usize][k] = value;
                    let first = Version {
                        part: 0,
                        value,
                        start: 0,
                        end: 0,
                        seen: u64::MAX,
                        fate: Fate::Ok,
                    };
                    self.history.insert((slot, row * 8 + k as u32), vec![first]);
                }
            }
        }
        if self.c.skewed {
            for row in 0..self.c.rows as usize {
                if self.rng.chance(40) {
                    self.skew[row][self.rng.below(8) as usize] = self.rng.next() | 1;
                }
            }
        }
        for slot in 0..self.c.members {
            let content = (0..self.c.rows).map(|row| self.right(slot, row)).collect();
            self.members.push(Member::new(slot as u64, content, true));
        }
        self.before = self.truth.clone();
    }

    /// What a member should hold in `row`.
    fn right(&self, slot: usize, row: u32) -> Page {
        let r = row as usize;
        let data: Vec<Page> = self
            .c
            .data_slots()
            .iter()
            .map(|s| self.truth[*s][r])
            .collect();
        if slot == self.c.p {
            xor(&p_of(&data), &self.skew[r])
        } else if Some(slot) == self.c.q {
            q_of(&data)
        } else {
            self.truth[slot][r]
        }
    }

    // ---- members and md ----

    fn level(&self, slot: usize) -> Option<&Member> {
        self.twins[slot].as_ref().filter(|twin| twin.in_sync)
    }

    /// The device of the slot that rows are read from: its twin if that has all of them.
    fn reader(&self, slot: usize, rows: RowMask) -> &Member {
        let (member, level) = (&self.members[slot], self.level(slot));
        let has = |twin: &&Member| (twin.log & rows).is_empty() || !member.in_sync;
        level.filter(has).unwrap_or(member)
    }

    /// The same for one row.
    fn reader_of(&self, slot: usize, row: u32) -> &Member {
        self.reader(slot, RowMask::single(row))
    }

    fn access(&self, slot: usize) -> Access {
        match self.level(slot) {
            Some(_) => Access::Full,
            None => self.members[slot].access(),
        }
    }

    fn degraded(&self) -> usize {
        (0..self.c.members)
            .filter(|s| self.access(*s) != Access::Full)
            .count()
    }

    fn refresh(&mut self) {
        for slot in 0..self.c.members {
            let twin = self.twins[slot].as_ref().map(Member::worth);
            self.strips[slot].note(self.members[slot].worth(), twin);
        }
    }

    /// Members that cannot give `row` now, as bits.
    fn impaired(&self, row: u32) -> u64 {
        let mut bits = 0;
        for slot in 0..self.c.members {
            let m = self.reader_of(slot, row);
            let gone = self.access(slot) != Access::Full
                || (m.bad | m.dead | m.log).has(row)
                || self.errors[slot].has(row);
            bits |= u64::from(gone) << slot;
        }
        bits
    }

    fn note_impaired(&mut self) {
        // Only what is too much at one moment excuses a failure.
        let parity = self.c.parity();
        let now: Vec<u64> = (0..self.c.rows)
            .map(|row| self.impaired(row))
            .map(|bits| {
                if bits.count_ones() as usize > parity {
                    bits
                } else {
                    0
                }
            })
            .collect();
        let refused = self.policy.refuse_writes || self.degraded() > self.c.parity();
        for part in self.parts.iter_mut().chain(self.incoming.iter_mut()) {
            part.refused |= refused;
            for (had, now) in part.impaired.iter_mut().zip(&now) {
                *had |= now;
            }
        }
        for (had, now) in self.sync_impaired.iter_mut().zip(&now) {
            *had |= now;
        }
    }

    /// What md and the personality do when a member has failed.
    fn fail_member(&mut self, slot: usize) {
        if !self.members[slot].present {
            return;
        }
        tell!(self, "member {slot} fails");
        self.counts.failures += 1;
        self.members[slot].present = false;
        self.members[slot].in_sync = false;
        if let Some(twin) = self.twins[slot].take() {
            tell!(self, "its twin takes its place");
            self.members[slot] = twin;
            self.twin_lost = true;
            self.twin_went = true;
        }
        self.policy.blocked = true;
        // A recovery is interrupted.
        self.sync_left = RowMask::EMPTY;
        self.sync_failed = true;
        self.broken |= self.degraded() > self.c.parity();
        self.note_impaired();
    }

    fn unblock(&mut self) {
        if !self.policy.blocked {
            return;
        }
        tell!(self, "md has recorded all failures");
        self.policy.blocked = false;
        if std::mem::take(&mut self.parked) {
            self.again = true;
        }
    }

    fn replace_member(&mut self) {
        let Some(slot) = (0..self.c.members).find(|s| !self.members[*s].present) else {
            return;
        };
        // md adds spares when no sync is under way.
        let busy = self.sync_out.any()
            || self.sync_left.any()
            || self.ios.iter().any(|(io, _)| io.slot == slot)
            || self.directs.iter().any(|d| d.slot == slot);
        if self.members[slot].present || self.policy.blocked || busy || self.broken {
            return;
        }
        tell!(self, "a spare takes role {slot}");
        let content = self.junk();
        self.members[slot] = Member::new(1000 + self.now, content, false);
        self.errors[slot] = RowMask::EMPTY;
    }

    /// What a new device has.
    fn junk(&mut self) -> Vec<Page> {
        let rng = &mut self.rng;
        (0..self.c.rows)
            .map(|_| std::array::from_fn(|_| rng.next()))
            .collect()
    }

    // ---- members that are replaced ----

    /// Something is to replace a member that works.
    fn add_twin(&mut self, slot: usize) {
        let syncs = self.sync_out.any() || self.sync_left.any();
        let whole = self.access(slot) == Access::Full && self.twins[slot].is_none();
        if !whole || syncs || self.policy.blocked || self.broken {
            return;
        }
        tell!(self, "member {slot} is to be replaced");
        let content = self.junk();
        self.twins[slot] = Some(Member::new(1000 + self.now, content, false));
    }

    fn lose_twin(&mut self, slot: usize) {
        if self.twins[slot].take().is_some() {
            tell!(self, "the twin of member {slot} goes");
            self.twin_lost = true;
            self.twin_went = true;
            self.policy.blocked = true;
            self.sync_failed = true;
            self.sync_left = RowMask::EMPTY;
            self.note_impaired();
        }
    }

    /// Twins that have been given all are what is read from now on.
    fn level_twins(&mut self) {
        for slot in 0..self.c.members {
            let Some(twin) = &mut self.twins[slot] else {
                continue;
            };
            if twin.in_sync || self.members[slot].present && !self.members[slot].in_sync {
                continue;
            }
            tell!(self, "the twin of member {slot} has all");
            self.counts.replaced += 1;
            twin.in_sync = true;
            // Of what is in memory the machine still thinks that it cannot be read.
            self.errors[slot] = self.errors[slot] & self.strips[slot].read_error;
            for row in 0..self.c.rows {
                self.judge_rebuilt(slot, row, true);
            }
            self.make_hole(slot);
        }
    }

    /// Some row is recorded as one that a level twin could not be given.
    fn make_hole(&mut self, slot: usize) {
        let row = self.rng.below(u64::from(self.c.rows)) as u32;
        let busy = self.in_flight(slot, true).has(row) || !self.members[slot].present;
        if busy || self.c.dead == 0 || self.rng.chance(40) {
            return;
        }
        tell!(self, "but row {row}");
        let junk = self.rng.next();
        if let Some(twin) = &mut self.twins[slot] {
            twin.content[row as usize] = [junk; 8];
            twin.log.insert(RowMask::single(row));
            self.counts.holes += 1;
        }
        self.note_impaired();
    }

    /// What was replaced goes, and what replaced it takes its place.
    fn retire(&mut self, slot: usize) {
        if self.twins[slot].as_ref().is_some_and(|twin| twin.in_sync) {
            tell!(self, "member {slot} goes, it is replaced");
            self.members[slot] = self.twins[slot].take().unwrap();
            self.note_impaired();
        }
    }

    /// The device of an I/O, if it is still there.
    fn device(&mut self, io: &Io) -> Option<&mut Member> {
        let member = &mut self.members[io.slot];
        if member.id == io.id {
            return member.present.then_some(member);
        }
        self.twins[io.slot].as_mut().filter(|twin| twin.id == io.id)
    }

    /// The end of a write to a twin, or to what is no member any more.
    fn end_other_write(&mut self, io: Io, pages: &[Page]) -> bool {
        let fails = self.c.fail > 0 && self.rng.chance(self.c.fail);
        let other = !io.twin && self.access(io.slot) == Access::Full;
        let Some(device) = self.device(&io) else {
            return other;
        };
        if fails && io.twin {
            if self.members[io.slot].id == io.id {
                // It is the member by now.
                self.fail_rows(io, pages, true);
            }
            self.lose_twin(io.slot);
            return false;
        }
        for (row, page) in io.rows.iter().zip(pages) {
            device.content[row as usize] = *page;
        }
        device.log.remove(io.rows);
        device.bad.remove(io.rows);
        true
    }

    // ---- syncs ----

    fn spare_waits(&self) -> bool {
        let behind = |twin: &Option<Member>| twin.as_ref().is_some_and(|t| !t.in_sync);
        (0..self.c.members).any(|s| self.access(s) == Access::WriteOnly)
            || self.twins.iter().any(behind)
    }

    fn start_sync(&mut self) {
        if self.sync_out.any() || self.sync_left.any() {
            return;
        }
        self.rebuild = self.spare_waits();
        if self.rebuild {
            self.policy.repair = true;
            self.sync_left = RowMask::first(self.c.rows);
        } else {
            if self.degraded() >= self.c.parity() {
                return;
            }
            self.policy.repair = self.rng.chance(50);
            let start = self.rng.below(u64::from(self.c.rows)) as u32;
            let n = 1 + self.rng.below(u64::from(self.c.rows - start)) as u32;
            self.sync_left = RowMask::range(start, n);
        }
        self.sync_failed = false;
        self.twin_lost = false;
        self.policy.copy = self.rebuild;
        let rows = self.sync_left;
        tell!(
            self,
            "sync of {:x} begins, rebuild {}, repair {}",
            rows.0,
            self.rebuild,
            self.policy.repair
        );
        self.want_sync();
    }

    /// Asks for a part of what md has not asked for yet.
    fn want_sync(&mut self) {
        let Some(first) = self.sync_left.lowest() else {
            return;
        };
        let n = 1 + self.rng.below(u64::from(self.c.rows)) as u32;
        let rows = self.sync_left & RowMask::range(first, n);
        self.sync_left.remove(rows);
        for row in rows.iter() {
            self.sync_impaired[row as usize] = 0;
        }
        self.rot(rows);
        self.again = true;
        self.active = true;
        let new = self.st.want_sync(rows);
        judge!(
            self,
            new == rows,
            "rows {:x} were asked for, {:x} taken",
            rows.0,
            new.0
        );
        self.sync_out.insert(rows);
        self.note_impaired();
        tell!(self, "sync of rows {:x} wanted", rows.0);
    }

    /// Parity goes bad on its member, whatever is cached of it.
    fn rot(&mut self, rows: RowMask) {
        if !self.c.skewed || self.carrying {
            return;
        }
        for row in rows.iter() {
            let p = self.c.p;
            let held = self.in_flight(p, false) | self.in_flight(p, true) | self.left(p);
            let held = held | self.ops.all();
            let written = self
                .parts
                .iter()
                .any(|part| part.write && part.busy.has(row));
            if held.has(row) || written || !self.rng.chance(30) {
                continue;
            }
            self.skew[row as usize][0] ^= self.rng.next() | 1;
            self.members[p].content[row as usize] = self.right(p, row);
        }
    }

    fn sync_ended(&mut self) {
        if self.sync_out.any() || self.sync_left.any() || !self.rebuild {
            return;
        }
        self.rebuild = false;
        self.policy.copy = false;
        if self.sync_failed {
            return;
        }
        self.level_twins();
        for slot in 0..self.c.members {
            if self.access(slot) == Access::WriteOnly {
                tell!(self, "member {slot} is rebuilt");
                self.counts.rebuilds += 1;
                self.members[slot].in_sync = true;
                for row in 0..self.c.rows {
                    self.judge_rebuilt(slot, row, false);
                }
            }
        }
    }

    /// A rebuilt member holds what it should, except where a write is under way.
    fn judge_rebuilt(&self, slot: usize, row: u32, twin: bool) {
        let written = self.parts.iter().any(|p| p.write && p.busy.has(row))
            || self.ios.iter().any(|(io, _)| io.write && io.rows.has(row));
        let m = self.twins[slot].as_ref().filter(|_| twin).unwrap_or(&self.members[slot]);
        if written || self.broken || m.log.has(row) {
            return;
        }
        judge!(
            self,
            m.content[row as usize] == self.right(slot, row),
            "rebuilt member is wrong: slot {slot} row {row}"
        );
    }

    fn report_sync(&mut self, acts: &Actions) {
        let both = acts.sync_done | acts.sync_failed;
        if both.is_empty() {
            return;
        }
        tell!(
            self,
            "sync done {:x}, failed {:x}",
            acts.sync_done.0,
            acts.sync_failed.0
        );
        judge!(
            self,
            (acts.sync_done & acts.sync_failed).is_empty() && both.minus(self.sync_out).is_empty(),
            "sync reported for rows that nobody waits for: {:x}",
            both.minus(self.sync_out).0
        );
        self.sync_out.remove(both);
        for row in acts.sync_failed.iter() {
            self.sync_failed = true;
            judge!(
                self,
                self.ops_failed.has(row)
                    || self.twin_lost
                    || self.sync_impaired[row as usize].count_ones() as usize > self.c.parity(),
                "sync failed for no good reason: row {row}"
            );
        }
        self.sync_ended();
    }

    /// Called before anything new is issued.
    fn judge_sync(&self, rows: RowMask) {
        for row in rows.iter() {
            if self.sync_failed || self.broken || (!self.rebuild && !self.policy.repair) {
                continue;
            }
            for slot in 0..self.c.members {
                let m = self.reader_of(slot, row);
                let there = m.present && (m.in_sync || self.rebuild);
                if there && !(m.bad | m.log).has(row) {
                    judge!(
                        self,
                        m.content[row as usize] == self.right(slot, row),
                        "sync done, member is wrong: slot {slot} row {row}"
                    );
                }
            }
        }
    }

    // ---- users ----

    /// Attaches a discard of rows of all data strips.
    fn attach_discard(&mut self) {
        let n = u64::from(self.c.rows);
        let first = self.rng.below(n);
        let count = (1 + self.rng.below(n - first)) as u32;
        let rows = RowMask::range(first as u32, count);
        tell!(self, "discard of rows {:x}", rows.0);
        self.counts.discards += 1;
        for slot in self.c.data_slots() {
            let mut part = self.part(slot, first as u32 * 8, count * 8, true);
            part.discard = true;
            part.data.fill(0);
            for i in 0..part.sectors() {
                let at = (slot, part.first + i);
                for v in self.history.get_mut(&at).into_iter().flatten() {
                    if v.part == part.id {
                        v.value = 0;
                    }
                }
            }
            self.incoming.push(part);
        }
        self.again = true;
        self.active = true;
        self.st.attach_discard(&mut self.strips, rows);
        self.note_impaired();
    }

    /// Attaches the parts of one request; of a write, often to several strips.
    fn attach(&mut self, write: bool) {
        let slots = self.c.data_slots();
        let rows = u64::from(self.c.rows);
        let mut parts = Vec::new();
        let fua = write && self.rng.chance(20);
        let strips = if write && self.rng.chance(60) {
            1 + self.rng.below(slots.len() as u64)
        } else {
            1
        };
        let skip = self.rng.below(slots.len() as u64) as usize;
        let same = self.rng.chance(60);
        let mut range = self.sectors(rows);
        for i in 0..strips as usize {
            if !same {
                range = self.sectors(rows);
            }
            let slot = slots[(i + skip) % slots.len()];
            let mut part = self.part(slot, range.0, range.1, write);
            part.fua = fua;
            parts.push(part);
        }
        self.again = true;
        self.active = true;
        for part in parts {
            let (rows, full) = (part.rows(), part.full_rows());
            tell!(
                self,
                "{} part {}: slot {}, sectors {}+{}{}",
                if write { "write" } else { "read" },
                part.id,
                part.slot,
                part.first,
                part.sectors(),
                if fua { ", FUA" } else { "" }
            );
            if write {
                self.counts.writes += 1;
                self.st
                    .attach_write(&mut self.strips, part.slot, rows, full, fua);
            } else {
                self.counts.reads += 1;
                self.st.attach_read(&mut self.strips, part.slot, rows);
            }
            self.incoming.push(part);
        }
        self.note_impaired();
    }

    /// A range of sectors in a strip; often of whole rows.
    fn sectors(&mut self, rows: u64) -> (u32, u32) {
        let all = rows * 8;
        let (start, n) = match self.rng.below(10) {
            0..=1 => (0, all),
            2..=5 => {
                let row = self.rng.below(rows);
                (row * 8, 8 * (1 + self.rng.below(rows - row)))
            }
            6..=7 => {
                let start = self.rng.below(all);
                (start, 1 + self.rng.below((all - start).min(8)))
            }
            _ => {
                let start = self.rng.below(all);
                (start, 1 + self.rng.below(all - start))
            }
        };
        (start as u32, n as u32)
    }

    fn part(&mut self, slot: usize, first: u32, sectors: u32, write: bool) -> Part {
        let id = self.value();
        let mut part = Part {
            id: id >> 32,
            slot,
            first,
            write,
            discard: false,
            fua: false,
            todo: RowMask::EMPTY,
            due: RowMask::EMPTY,
            busy: RowMask::EMPTY,
            failed: false,
            start: self.now,
            data: vec![0; sectors as usize],
            impaired: vec![0; self.c.rows as usize],
            refused: false,
        };
        part.todo = part.rows();
        for i in 0..if write { sectors } else { 0 } {
            let value = self.value();
            part.data[i as usize] = value;
            let version = Version {
                part: part.id,
                value,
                start: self.now,
                end: u64::MAX,
                seen: u64::MAX,
                fate: Fate::Pending,
            };
            self.history
                .entry((slot, first + i))
                .or_default()
                .push(version);
        }
        part
    }

    fn attach_direct(&mut self) {
        let slots = self.c.data_slots();
        let slot = slots[self.rng.below(slots.len() as u64) as usize];
        if self.access(slot) != Access::Full {
            return;
        }
        let (first, sectors) = self.sectors(u64::from(self.c.rows));
        let rows = RowMask::range(first / 8, (first % 8 + sectors).div_ceil(8));
        self.directs.push(Direct {
            slot,
            first,
            sectors,
            start: self.now,
            id: self.reader(slot, rows).id,
        });
    }

    fn end_direct(&mut self) {
        if self.directs.is_empty() {
            return;
        }
        let i = self.rng.below(self.directs.len() as u64) as usize;
        let d = self.directs.swap_remove(i);
        let mut part = self.part(d.slot, d.first, d.sectors, false);
        part.start = d.start;
        let m = self.reader(d.slot, part.todo);
        let failed = !m.present || m.id != d.id || (part.todo & (m.bad | m.dead | m.log)).any();
        if failed {
            tell!(self, "direct read of slot {} failed", d.slot);
            self.again = true;
            self.active = true;
            self.st.attach_read(&mut self.strips, d.slot, part.todo);
            self.incoming.push(part);
            return self.note_impaired();
        }
        for i in 0..part.data.len() {
            let at = part.first as usize + i;
            part.data[i] = self.reader(d.slot, part.todo).content[at / 8][at % 8];
        }
        self.judge_read(&part, false);
    }

    /// Whether what was read is explained by some order of the writes.
    fn judge_read(&mut self, part: &Part, through_stripe: bool) {
        for (i, value) in part.data.iter().enumerate() {
            let at = (part.slot, part.first + i as u32);
            let versions = &self.history[&at];
            let Some(version) = versions.iter().rfind(|v| v.value == *value) else {
                judge!(
                    self,
                    false,
                    "read returned garbage: slot {} sector {}",
                    at.0,
                    at.1
                );
                return;
            };
            for later in versions {
                let ended = later.fate == Fate::Ok && later.end < part.start;
                let seen = through_stripe && later.fate != Fate::Failed && later.seen < part.start;
                judge!(
                    self,
                    !(version.end < later.start && (ended || seen)),
                    "read returned old data: slot {} sector {}: {version:x?}, but {later:x?}",
                    at.0,
                    at.1
                );
            }
            if through_stripe && *value != 0 {
                let now = self.now;
                for v in self.history.get_mut(&at).into_iter().flatten() {
                    if v.value == *value {
                        v.seen = v.seen.min(now);
                    }
                }
            }
        }
    }

    fn end_part(&mut self, part: Part) {
        self.parts_ended += 1;
        tell!(
            self,
            "part {} ends {}",
            part.id,
            if part.failed { "badly" } else { "well" }
        );
        if part.failed {
            self.counts.eio += 1;
            self.judge_failure(&part);
        } else if !part.write {
            self.judge_read(&part, true);
        }
        if !part.write {
            return;
        }
        for i in 0..part.sectors() {
            let at = (part.slot, part.first + i);
            for v in self.history.get_mut(&at).into_iter().flatten() {
                if v.part == part.id {
                    v.end = self.now;
                    v.fate = if part.failed { Fate::Failed } else { Fate::Ok };
                }
            }
        }
    }

    fn judge_failure(&self, part: &Part) {
        let lost = part.rows().iter().any(|row| {
            let bits = part.impaired[row as usize];
            bits.count_ones() as usize > self.c.parity()
                && (part.write || bits >> part.slot & 1 == 1)
        });
        judge!(
            self,
            lost || (part.write && part.refused) || (part.rows() & self.ops_failed).any(),
            "{} failed for no good reason: {part:x?}",
            if part.write { "write" } else { "read" }
        );
    }

    // ---- the engine ----

    fn event(&mut self, event: Event) {
        tell!(self, "{event:x?}");
        self.again = true;
        self.refresh();
        apply(
            &mut self.st,
            &mut self.strips,
            event,
            &self.policy,
            &mut self.acts,
        );
    }

    /// One look, and what it comes to. False if there was nothing to do.
    fn look(&mut self) -> bool {
        self.counts.looks += 1;
        self.looks += 1;
        judge!(self, self.looks < 64, "the machine spins");
        self.again = false;
        self.parts.append(&mut self.incoming);
        self.refresh();
        self.parked = self.policy.blocked;
        self.landed = self.st.landed;
        // Pages may be short, but not for ever.
        self.policy.begin = self.quiet || !self.rng.chance(15);
        if self.rng.chance(3) {
            let rows = self.st.forget(&mut self.strips, &self.policy);
            tell!(self, "forgets rows {:x}", rows.0);
            for slot in 0..self.c.members {
                self.errors[slot].remove(rows);
            }
        }
        self.again |= !self.policy.begin;
        let retry = self.wants_retry();
        let policy = self.hurried();
        plan(&mut self.st, &mut self.strips, &policy, &mut self.acts);
        self.forget_rows(&policy);
        self.retry_journal();
        let acts = self.acts;
        if acts.any() {
            self.judge_acts(&acts);
            self.take_over();
            self.forget_errors(&acts);
        } else {
            self.take_nothing();
            self.settle();
        }
        if acts.any() || retry {
            self.mem.pending = false;
            self.return_early();
            self.carrying = true;
            self.carry_out(&acts);
            self.carrying = false;
            self.spoil();
        }
        self.return_pages() || acts.any()
    }

    fn settle(&mut self) {
        if !self.active
            || self.again
            || !self.parts.is_empty()
            || !self.st.is_idle(&self.strips, &self.policy)
        {
            return;
        }
        judge!(
            self,
            self.ios.is_empty() && self.journal.is_empty() && self.sync_out.is_empty(),
            "idle with work under way: {:?}, sync {:x}",
            self.ios.iter().map(|io| io.0).collect::<Vec<_>>(),
            self.sync_out.0
        );
        self.judge_nothing_left("idle");
        self.active = false;
        self.parked = false;
    }

    /// What failed for read errors has the members asked again next time.
    fn forget_errors(&mut self, acts: &Actions) {
        let refused = self.policy.refuse_writes || self.degraded() > self.c.parity();
        let mut rows = acts.sync_failed;
        if !refused {
            rows.insert(acts.fail_waiting);
        }
        for slot in 0..self.c.members {
            self.errors[slot].remove(rows.minus(self.strips[slot].uptodate));
            self.errors[slot].remove(self.tasks[slot].acts.fail_read);
        }
    }

    /// Takes over the actions of a look, besides what was left.
    fn take_over(&mut self) {
        let lose = self.mem.fault == Fault::LostLeft;
        self.mem.was_left = (0..self.c.members).map(|s| self.left_writes(s)).collect();
        self.ops.add(&self.acts);
        self.fua = self.st.fua();
        for (task, s) in self.tasks.iter_mut().zip(&self.strips) {
            if lose {
                *task = Task {
                    drain: task.drain,
                    ..Task::default()
                };
            }
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
        }
        for part in self.parts.iter_mut().filter(|part| part.write) {
            part.due
                .insert(part.todo & self.tasks[part.slot].acts.drain);
        }
        clear(&mut self.strips, &mut self.acts);
    }

    /// Nothing new is to be done, but what was left.
    fn take_nothing(&mut self) {
        for task in &mut self.tasks {
            task.acts = StripActs::default();
        }
    }

    fn judge_acts(&self, acts: &Actions) {
        judge!(
            self,
            !self.policy.blocked || acts.complete.is_empty(),
            "acknowledged while a failure is not recorded: {:x}",
            acts.complete.0
        );
        judge!(
            self,
            !self.policy.blocked || (acts.rmw | acts.rcw).is_empty(),
            "write begins while a failure is not recorded"
        );
        let ops = [acts.compute, acts.rmw, acts.rcw, acts.check, acts.parity];
        for (i, a) in ops.iter().enumerate() {
            for b in ops.iter().skip(i + 1) {
                judge!(self, (*a & *b).is_empty(), "two ops on one row");
            }
        }
        for (i, rows) in ops.iter().enumerate() {
            let left = *rows & self.ops.all();
            judge!(
                self,
                left.is_empty(),
                "op {i} on a row with one that is left"
            );
        }
        for (slot, t) in self.strips.iter().enumerate() {
            let held = self.in_flight(slot, false) | self.in_flight(slot, true) | self.left(slot);
            judge!(
                self,
                ((t.act.read | t.act.read_alone) & held).is_empty(),
                "read of a page that I/O is in flight for: slot {slot}"
            );
            judge!(
                self,
                ((t.act.write | t.act.write_alone | t.act.discard)
                    & (self.writing(slot, false) | self.left_to(slot, false)))
                .is_empty()
                    && (t.act.twin & (self.writing(slot, true) | self.left_to(slot, true)))
                        .is_empty(),
                "second write of a page in flight: slot {slot}"
            );
            judge!(
                self,
                (t.act.write & t.act.discard).is_empty(),
                "written and discarded: slot {slot}"
            );
        }
    }

    /// Writes of one of the slot's devices.
    fn writing(&self, slot: usize, twin: bool) -> RowMask {
        let ios = self.ios.iter().map(|(io, _)| io);
        let ios = ios.filter(|io| io.slot == slot && io.write && io.twin == twin);
        ios.fold(RowMask::EMPTY, |all, io| all | io.rows)
    }

    fn in_flight(&self, slot: usize, write: bool) -> RowMask {
        let ios = self
            .ios
            .iter()
            .filter(|(io, _)| io.slot == slot && io.write == write);
        ios.fold(RowMask::EMPTY, |all, (io, _)| all | io.rows)
    }

    fn in_journal(&self, slot: usize, row: u32) -> bool {
        self.journal
            .iter()
            .any(|j| j.1.iter().any(|p| p.0 == slot && p.1 == row))
    }

    /// The world goes on while the handler works.
    fn meanwhile(&mut self) {
        while !self.quiet && self.rng.chance(15) {
            self.happen();
        }
    }

    fn carry_out(&mut self, acts: &Actions) {
        tell!(self, "acts: {}", story_of(acts, &self.tasks));
        self.end_rows(acts);
        self.judge_sync(acts.sync_done);
        self.meanwhile();
        if fill_first() && acts.fill {
            self.fill();
        }
        if self.c.short > 0 {
            self.end_parts();
        }
        if self.wants_io(true) {
            self.issue(true, RowMask::EMPTY);
        }
        self.meanwhile();
        let lacking = self.provide();
        if self.wants_io(false) {
            self.issue(false, lacking);
        }
        self.meanwhile();
        if acts.journal.any() {
            self.journal_append(acts.journal);
        }
        if !fill_first() && acts.fill {
            self.fill();
        }
        self.meanwhile();
        let ready = self.ready(lacking);
        if ready.any() {
            // Some rows may be done before others.
            let first = if self.rng.chance(20) {
                RowMask(self.rng.next())
            } else {
                !RowMask::EMPTY
            };
            for rows in [ready & first, ready.minus(first)] {
                let some = self.ops.take(rows);
                if !some.all().any() {
                    continue;
                }
                let bad = self.run_ops(&some);
                let failed = self.fail_ops(&some);
                self.ops_done(rows);
                self.meanwhile();
                let left = self.mem.told_left(rows);
                self.event(Event::OpsDone { bad, failed, left });
                self.meanwhile();
            }
        }
        self.meanwhile();
        if acts.mismatch.any() {
            self.counts.mismatches += u64::from(acts.mismatch.count());
        }
        self.report_sync(acts);
        if self.c.short == 0 {
            self.end_parts();
        }
    }

    fn end_rows(&mut self, acts: &Actions) {
        for row in acts.complete.iter() {
            self.judge_complete(row);
        }
        for row in acts.fail_write.iter() {
            self.judge_fail_write(row);
        }
        self.journaled.remove(acts.complete | acts.fail_write);
        for part in &mut self.parts {
            if part.write {
                if (part.due & acts.fail_waiting).any() {
                    panic!("ended with an op that is left\n  seed {}", self.seed);
                }
                part.failed |=
                    (part.busy & acts.fail_write).any() || (part.todo & acts.fail_waiting).any();
                part.busy.remove(acts.complete | acts.fail_write);
                part.todo.remove(acts.fail_waiting);
            } else {
                let rows = part.todo & self.tasks[part.slot].acts.fail_read;
                part.failed |= rows.any();
                part.todo.remove(rows);
            }
        }
    }

    /// An acknowledged row is right on every member that is there, and can be had if one more goes.
    fn judge_complete(&self, row: u32) {
        let r = row as usize;
        judge!(
            self,
            self.degraded() <= self.c.parity(),
            "acknowledged by a broken array"
        );
        for slot in 0..self.c.members {
            judge!(
                self,
                !self.in_flight(slot, true).has(row),
                "acknowledged with a write in flight: slot {slot} row {row}"
            );
            judge!(
                self,
                !self.mem.was_left[slot].has(row),
                "acknowledged with a write that is left: slot {slot} row {row}"
            );
            let m = &self.members[slot];
            if !m.in_sync || (m.bad | m.log).has(row) {
                continue;
            }
            judge!(
                self,
                m.content[r] == self.right(slot, row),
                "acknowledged, but not on the member: slot {slot} row {row}"
            );
        }
        for slot in 0..self.c.members {
            let level = self.twins[slot].as_ref().filter(|twin| twin.in_sync);
            judge!(
                self,
                level.is_none_or(|t| t.log.has(row) || t.content[r] == self.right(slot, row)),
                "acknowledged, but not on the twin: slot {slot} row {row}"
            );
        }
        // The same by another way: from what is left, all data can be had.
        let page = |s: &usize| {
            let m = self.reader_of(*s, row);
            (m.in_sync && !(m.bad | m.log).has(row)).then(|| m.content[r])
        };
        let mut left = Row {
            data: self.c.data_slots().iter().map(page).collect(),
            p: page(&self.c.p).map(|p| xor(&p, &self.skew[r])),
            q: self.c.q.as_ref().and_then(page),
        };
        if self.skew[r] == [0; 8] && self.impaired(row) == 0 {
            left.data[row as usize % (self.c.members - self.c.parity())] = None;
        }
        if let Some(data) = left.solve() {
            for (slot, page) in self.c.data_slots().iter().zip(data) {
                judge!(
                    self,
                    page == self.truth[*slot][r],
                    "acknowledged data cannot be rebuilt: slot {slot} row {row}"
                );
            }
        }
    }

    /// A write that failed before a member saw it: the old data are the truth again.
    fn judge_fail_write(&mut self, row: u32) {
        if self.broken {
            return;
        }
        if self.landed.has(row) {
            // Some member has it, and that another has not cannot be made up for.
            let lost = self.impaired(row).count_ones() as usize > self.c.parity();
            judge!(self, lost, "write that is on the members failed: row {row}");
            return;
        }
        let excused = self.journal_dead || self.ops_failed.has(row);
        judge!(self, excused, "write under way failed: row {row}");
        for slot in self.c.data_slots() {
            self.truth[slot][row as usize] = self.before[slot][row as usize];
        }
        // It may have been read, but it never was.
        for part in self.parts.iter().filter(|p| p.write && p.busy.has(row)) {
            for (i, _) in part.span(row) {
                let at = (part.slot, part.first + i as u32);
                for v in self.history.get_mut(&at).into_iter().flatten() {
                    if v.part == part.id {
                        v.fate = Fate::Failed;
                    }
                }
            }
        }
    }

    fn end_parts(&mut self) {
        let (done, left) = std::mem::take(&mut self.parts)
            .into_iter()
            .partition(|p: &Part| (p.todo | p.busy).is_empty());
        self.parts = left;
        for part in done {
            self.now += 1;
            self.end_part(part);
        }
    }

    fn issue(&mut self, write: bool, lacking: RowMask) {
        let mut failed = Vec::new();
        for slot in 0..self.c.members {
            let task = self.tasks[slot];
            let fua = self.fua;
            let groups = if write {
                [task.write & fua, task.write.minus(fua), task.discard]
            } else {
                [task.read.minus(lacking), RowMask::EMPTY, RowMask::EMPTY]
            };
            // Rows that go alone: each a bio of its own.
            let alone = if write {
                task.write_alone
            } else {
                task.read_alone.minus(lacking)
            };
            let mut left = [RowMask::EMPTY; 4];
            let runs = groups.iter().enumerate();
            let runs = runs.flat_map(|(i, g)| g.runs().map(move |run| (i, run)));
            for (group, (start, n)) in runs.chain(alone.iter().map(|row| (3, (row, 1)))) {
                let step = if self.c.row_bios { 1 } else { n };
                for start in (start..start + n).step_by(step as usize) {
                    let rows = RowMask::range(start, step);
                    if self.lacks_bio() {
                        left[group].insert(rows);
                        continue;
                    }
                    let io = Io {
                        slot,
                        rows,
                        write,
                        discard: group == 2,
                        fua: write && fua.has(start),
                        twin: false,
                        id: self.members[slot].id,
                    };
                    let io = if write {
                        io
                    } else {
                        Io {
                            id: self.reader(slot, rows).id,
                            ..io
                        }
                    };
                    let there = self.members[slot].present;
                    if there && (write || self.access(slot) == Access::Full) {
                        self.submit(io);
                    } else {
                        failed.push(io);
                    }
                }
            }
            let mut left_twin = RowMask::EMPTY;
            let twin = if write { task.twin } else { RowMask::EMPTY };
            for (start, n) in (twin & fua).runs().chain(twin.minus(fua).runs()) {
                let rows = RowMask::range(start, n);
                if self.lacks_bio() {
                    left_twin.insert(rows);
                    continue;
                }
                // Or to what has taken the member's place.
                let id = self.twins[slot].as_ref().map(|twin| twin.id);
                let member = &self.members[slot];
                let id = id.or(member.present.then_some(member.id));
                let io = Io {
                    slot,
                    rows,
                    write,
                    discard: false,
                    fua: fua.has(start),
                    twin: true,
                    id: id.unwrap_or(u64::MAX),
                };
                if id.is_some() {
                    self.submit(io);
                } else {
                    failed.push(io);
                }
            }
            let task = &mut self.tasks[slot];
            if write {
                task.write = left[0] | left[1];
                task.discard = left[2];
                task.write_alone = left[3];
                task.twin = left_twin;
            } else {
                task.read = (task.read & lacking) | left[0];
                task.read_alone = (task.read_alone & lacking) | left[3];
            }
            let any = left.iter().fold(left_twin, |all, rows| all | *rows);
            self.note_left(any);
        }
        for io in failed {
            self.event(end_event(io, false));
        }
    }

    fn submit(&mut self, io: Io) {
        self.counts.member_ios += 1;
        let mut pages = Vec::new();
        for row in io.rows.iter() {
            self.judge_page(io.slot, row);
            let busy = self.in_flight(io.slot, false).has(row);
            judge!(
                self,
                !busy,
                "I/O on a page that is being read: slot {} row {row}",
                io.slot
            );
            if io.write {
                judge!(
                    self,
                    !self.garbage[io.slot].has(row),
                    "garbage is written: slot {} row {row}",
                    io.slot
                );
                let user = self.parts.iter().any(|p| p.write && p.busy.has(row));
                judge!(
                    self,
                    !(self.journal_dead && user)
                        || self.c.journal_toggles
                        || self.journaled.has(row),
                    "written past a journal that is gone: slot {} row {row}",
                    io.slot
                );
                let durable = self.parts.iter().any(|p| p.fua && p.busy.has(row));
                judge!(
                    self,
                    io.fua || !durable || self.c.journal || self.c.journal_toggles,
                    "FUA data is written without: slot {} row {row}",
                    io.slot
                );
                let m = &self.members[io.slot];
                judge!(
                    self,
                    m.id != io.id || self.twin_went || io.twin || !(m.write_error && m.log.has(row)),
                    "a bad block is written again: slot {} row {row}",
                    io.slot
                );
                let waits = self.in_journal(io.slot, row);
                judge!(
                    self,
                    !waits,
                    "written before it is in the journal: slot {} row {row}",
                    io.slot
                );
            } else {
                judge!(
                    self,
                    self.access(io.slot) != Access::WriteOnly,
                    "stale member is read: {io:?}"
                );
                self.scramble(io.slot, row);
            }
            let page = self.pages[io.slot][row as usize];
            judge!(
                self,
                !io.discard || page == [0; 8],
                "discarded where data is: slot {} row {row}",
                io.slot
            );
            pages.push(page);
        }
        self.ios.push((io, pages));
    }

    fn scramble(&mut self, slot: usize, row: u32) {
        let rng = &mut self.rng;
        self.pages[slot][row as usize] = std::array::from_fn(|_| rng.next());
        self.garbage[slot].insert(RowMask::single(row));
    }

    /// Pages that are not uptodate may hold anything.
    fn spoil(&mut self) {
        for slot in 0..self.c.members {
            let held = self.in_flight(slot, false)
                | self.in_flight(slot, true)
                | self.strips[slot].uptodate
                | self.left_writes(slot)
                | self.ops.all()
                | self.garbage[slot];
            for row in (RowMask::first(self.c.rows)).minus(held).iter() {
                if !self.in_journal(slot, row) {
                    self.scramble(slot, row);
                }
            }
        }
    }

    fn journal_append(&mut self, rows: RowMask) {
        let mut left = self.starve(rows);
        while let Some(first) = left.lowest() {
            let n = 1 + self.rng.below(8) as u32;
            let some = left & RowMask::range(first, n);
            left.remove(some);
            let mut pages = Vec::new();
            for row in some.iter() {
                for slot in 0..self.c.members {
                    if self.tasks[slot].written.has(row) {
                        self.judge_page(slot, row);
                        judge!(
                            self,
                            !self.garbage[slot].has(row),
                            "garbage to the journal: slot {slot} row {row}"
                        );
                        pages.push((slot, row, self.pages[slot][row as usize]));
                    }
                }
                judge!(
                    self,
                    pages.iter().any(|p| p.1 == row && p.0 == self.c.p),
                    "no parity for the journal: row {row}"
                );
            }
            self.journal.push((some, pages));
        }
    }

    fn fill(&mut self) {
        for part in self.parts.iter_mut().filter(|p| !p.write) {
            let rows = part.todo & self.tasks[part.slot].acts.fill;
            part.todo.remove(rows);
            for row in rows.iter() {
                if self.garbage[part.slot].has(row) || !self.mem.there[part.slot].has(row) {
                    panic!(
                        "read is filled with garbage: slot {} row {row}\n  seed {}, step {}, {:?}",
                        part.slot, self.seed, self.now, self.c
                    );
                }
                for (i, k) in part.span(row) {
                    part.data[i] = self.pages[part.slot][row as usize][k];
                }
            }
        }
    }

    fn source(&self, slot: usize, row: u32) -> Page {
        self.judge_page(slot, row);
        judge!(
            self,
            !self.garbage[slot].has(row),
            "op uses garbage: slot {slot} row {row}"
        );
        self.pages[slot][row as usize]
    }

    fn result(&mut self, slot: usize, row: u32, page: Page) {
        self.judge_page(slot, row);
        let held = self.in_flight(slot, false) | self.in_flight(slot, true) | self.left(slot);
        judge!(
            self,
            !held.has(row),
            "op overwrites a page in flight: slot {slot} row {row}"
        );
        judge!(
            self,
            !self.in_journal(slot, row),
            "op overwrites a page on its way to the journal"
        );
        judge!(
            self,
            self.tasks[slot].result.has(row),
            "op makes what was not asked for: slot {slot}"
        );
        self.pages[slot][row as usize] = page;
        self.garbage[slot].remove(RowMask::single(row));
    }

    fn run_ops(&mut self, acts: &Ops) -> RowMask {
        for row in acts.compute.iter() {
            self.compute(row);
        }
        for row in acts.rmw.iter() {
            self.counts.rmw += 1;
            let mut p = self.source(self.c.p, row);
            let mut q = self.c.q.map(|q| self.source(q, row));
            self.parity_delta(row, &mut p, q.as_mut());
            self.drain(row);
            self.parity_delta(row, &mut p, q.as_mut());
            self.result(self.c.p, row, p);
            if let (Some(slot), Some(q)) = (self.c.q, q) {
                self.result(slot, row, q);
            }
        }
        for row in acts.rcw.iter() {
            self.counts.rcw += 1;
            self.drain(row);
            self.reconstruct(row);
        }
        for row in acts.parity.iter() {
            self.reconstruct(row);
        }
        let mut bad = RowMask::EMPTY;
        for row in acts.check.iter() {
            if !self.check(row) {
                bad.insert(RowMask::single(row));
            }
        }
        bad
    }

    /// Now and then the ops of some rows fail, and leave garbage behind.
    fn fail_ops(&mut self, acts: &Ops) -> RowMask {
        let mut failed = RowMask::EMPTY;
        for row in acts.all().iter() {
            if self.c.op_fails == 0 || !self.rng.chance(self.c.op_fails) {
                continue;
            }
            failed.insert(RowMask::single(row));
            self.counts.op_failures += 1;
            for slot in 0..self.c.members {
                if self.tasks[slot].result.has(row) || self.tasks[slot].drain.has(row) {
                    self.pages[slot][row as usize] = [0xdead; 8];
                    self.garbage[slot].insert(RowMask::single(row));
                }
            }
        }
        tell!(self, "ops of rows {:x} failed", failed.0);
        self.ops_failed.insert(failed);
        failed
    }

    fn compute(&mut self, row: u32) {
        self.counts.computes += 1;
        let targets: Vec<usize> = (0..self.c.members)
            .filter(|s| self.tasks[*s].result.has(row))
            .collect();
        judge!(
            self,
            !targets.is_empty() && targets.len() <= self.c.parity(),
            "compute of {targets:?}, row {row}"
        );
        let page = |w: &Self, s: usize| (!targets.contains(&s)).then(|| w.source(s, row));
        let known = Row {
            data: self.c.data_slots().iter().map(|s| page(self, *s)).collect(),
            p: page(self, self.c.p),
            q: self.c.q.and_then(|q| page(self, q)),
        };
        let Some(data) = known.solve() else {
            judge!(self, false, "compute of too much: {targets:?}, row {row}");
            return;
        };
        for slot in targets {
            let page = if slot == self.c.p {
                p_of(&data)
            } else if Some(slot) == self.c.q {
                q_of(&data)
            } else {
                let i = self.c.data_slots().iter().position(|s| *s == slot);
                data[i.unwrap_or(0)]
            };
            self.result(slot, row, page);
        }
    }

    fn parity_delta(&self, row: u32, p: &mut Page, mut q: Option<&mut Page>) {
        for (i, slot) in self.c.data_slots().iter().enumerate() {
            if self.drains(*slot).has(row) {
                let page = self.source(*slot, row);
                *p = xor(p, &page);
                if let Some(q) = q.as_mut() {
                    **q = xor(q, &q_part(i, &page));
                }
            }
        }
    }

    fn reconstruct(&mut self, row: u32) {
        let slots = self.c.data_slots();
        let data: Vec<Page> = slots.iter().map(|s| self.source(*s, row)).collect();
        self.result(self.c.p, row, p_of(&data));
        self.skew[row as usize] = [0; 8];
        if let Some(q) = self.c.q {
            self.result(q, row, q_of(&data));
        }
    }

    /// Copies the writes of `row` in, in the order in which they came.
    fn drain(&mut self, row: u32) {
        for slot in self.c.data_slots() {
            self.before[slot][row as usize] = self.truth[slot][row as usize];
            if !self.tasks[slot].drain.has(row) {
                continue;
            }
            let mut covered = [!self.garbage[slot].has(row); 8];
            let mut page = self.pages[slot][row as usize];
            let mut any = false;
            let late = self.mem.fault == Fault::LateParts;
            for part in &mut self.parts {
                let takes = if late { part.todo } else { part.due };
                if !part.write || part.slot != slot || !takes.has(row) {
                    continue;
                }
                any = true;
                part.due.remove(RowMask::single(row));
                part.todo.remove(RowMask::single(row));
                part.busy.insert(RowMask::single(row));
                for (i, k) in part.span(row) {
                    page[k] = part.data[i];
                    self.truth[slot][row as usize][k] = part.data[i];
                    covered[k] = true;
                }
            }
            judge!(self, any, "drain of nothing: slot {slot} row {row}");
            judge!(
                self,
                covered == [true; 8],
                "partial write into garbage: slot {slot} row {row}"
            );
            self.result(slot, row, page);
        }
    }

    /// Compares, and destroys parity.
    fn check(&mut self, row: u32) -> bool {
        self.counts.checks += 1;
        let slots = self.c.data_slots();
        let data: Vec<Page> = slots.iter().map(|s| self.source(*s, row)).collect();
        let mut good = self.source(self.c.p, row) == p_of(&data);
        if let Some(q) = self.c.q {
            good &= self.source(q, row) == q_of(&data);
        }
        judge!(
            self,
            good == (self.skew[row as usize] == [0; 8]),
            "check came to {good} for row {row}, of which the difference is {:x?}",
            self.skew[row as usize]
        );
        for slot in 0..self.c.members {
            if self.c.is_parity(slot) {
                judge!(
                    self,
                    !self.in_flight(slot, true).has(row),
                    "check spoils a page in flight"
                );
                self.scramble(slot, row);
            }
        }
        good
    }

    // ---- what happens by itself ----

    fn end_io(&mut self) {
        if self.ios.is_empty() {
            return;
        }
        let i = self.rng.below(self.ios.len() as u64) as usize;
        let (io, pages) = self.ios.swap_remove(i);
        for (row, page) in io.rows.iter().zip(&pages) {
            judge!(
                self,
                self.pages[io.slot][row as usize] == *page,
                "page changed under I/O: {io:?} row {row}"
            );
        }
        let member = self.members[io.slot].id == io.id;
        if io.discard && member && self.members[io.slot].present && self.rng.chance(30) {
            // Of what it refused, a member may have discarded a part.
            self.counts.refused += 1;
            self.members[io.slot].content[io.rows.0.trailing_zeros() as usize] = [0; 8];
            return self.event(Event::DiscardRefused {
                slot: io.slot,
                rows: io.rows,
            });
        }
        let ok = if io.write && (io.twin || !member) {
            self.end_other_write(io, &pages)
        } else if io.write {
            self.end_write(io, &pages)
        } else {
            self.end_read(io)
        };
        self.note_impaired();
        let reader = self.reader(io.slot, io.rows);
        let other = reader.id != io.id && reader.in_sync && (reader.log & io.rows).is_empty();
        if !io.write && !ok && other {
            let (slot, rows) = (io.slot, io.rows);
            return self.event(Event::ReadAgain { slot, rows });
        }
        self.event(end_event(io, ok));
    }

    fn end_write(&mut self, io: Io, pages: &[Page]) -> bool {
        let gone = !self.members[io.slot].present;
        let fails = self.c.fail > 0 && self.rng.chance(self.c.fail) && self.may_fail();
        let ok = if gone { self.rng.chance(50) } else { !fails };
        if !ok {
            if self.rng.chance(50) {
                // It may be there all the same.
                self.members[io.slot].content[io.rows.0.trailing_zeros() as usize] = pages[0];
            }
            self.fail_member(io.slot);
            return self.access(io.slot) == Access::Full;
        }
        let long = io.rows.count() > 1;
        let level = self
            .level(io.slot)
            .is_some_and(|t| (t.log & io.rows).is_empty());
        let dead = (self.members[io.slot].dead & io.rows).any();
        let odd = self.c.dead > 0 && long && self.rng.chance(self.c.dead);
        if !gone && (dead || odd) {
            self.fail_rows(io, pages, false);
            return level && !long;
        }
        for (row, page) in io.rows.iter().zip(pages) {
            self.members[io.slot].content[row as usize] = *page;
        }
        self.members[io.slot].log.remove(io.rows);
        if (self.errors[io.slot] & io.rows).any() {
            self.counts.fixes += 1;
        }
        self.members[io.slot].bad.remove(io.rows);
        self.errors[io.slot].remove(io.rows);
        true
    }

    /// A write fails, and the member stays: of a longer one some rows may be there, and a single one
    /// is recorded, or all that nobody will try again.
    fn fail_rows(&mut self, io: Io, pages: &[Page], level: bool) {
        for (row, page) in io.rows.iter().zip(pages) {
            let m = &mut self.members[io.slot];
            if !m.dead.has(row) && self.rng.chance(50) {
                m.content[row as usize] = *page;
            }
        }
        if io.rows.count() == 1 || level {
            tell!(self, "a bad block is recorded");
            self.counts.bad_blocks += 1;
            self.policy.blocked = true;
            self.members[io.slot].log.insert(io.rows);
            self.members[io.slot].write_error = true;
        }
    }

    fn end_read(&mut self, io: Io) -> bool {
        let of_twin = self.twins[io.slot].as_ref().filter(|t| t.id == io.id);
        let m = of_twin.unwrap_or(&self.members[io.slot]).clone();
        let gone = !m.present || m.id != io.id;
        let bad = ((m.bad | m.dead | m.log) & io.rows).any();
        let gone = gone && (m.id != io.id || self.rng.chance(70));
        if bad || self.rng.chance(self.c.read_error) || gone {
            // After a longer read each row is tried alone.
            if !gone && io.rows.count() == 1 && self.reader(io.slot, io.rows).id == io.id {
                self.errors[io.slot].insert(io.rows);
            }
            return false;
        }
        for row in io.rows.iter() {
            self.pages[io.slot][row as usize] = m.content[row as usize];
        }
        self.garbage[io.slot].remove(io.rows);
        true
    }

    fn end_journal(&mut self) {
        if self.journal.is_empty() {
            return;
        }
        if self.c.journal_fails && !self.journal_dead && self.rng.chance(10) {
            tell!(self, "the journal fails");
            self.journal_dead = true;
            self.policy.refuse_writes = true;
            self.policy.journal = false;
            self.note_impaired();
        }
        let i = self.rng.below(self.journal.len() as u64) as usize;
        let (rows, pages) = self.journal.swap_remove(i);
        for (slot, row, page) in pages {
            judge!(
                self,
                self.pages[slot][row as usize] == page,
                "page changed under the journal: slot {slot} row {row}"
            );
        }
        if !self.journal_dead {
            self.journaled.insert(rows);
        }
        self.event(Event::JournalDone {
            rows,
            ok: !self.journal_dead,
        });
    }

    fn may_fail(&mut self) -> bool {
        // Mostly no more than parity can bear.
        self.c.fail > 0 && (self.degraded() < self.c.parity() || self.rng.chance(1))
    }

    /// Something happens in the world; handling the stripe is not among it.
    fn happen(&mut self) {
        self.now += 1;
        self.policy.rmw = self.c.rmw_level(self.seed, self.now);
        self.counts.events += 1;
        self.looks = 0;
        self.memory_changes();
        let slot = self.rng.below(self.c.members as u64) as usize;
        match self.rng.below(100) {
            0..=9 if self.c.discards(self.seed, self.now) => self.attach_discard(),
            0..=9 => self.attach(true),
            10..=16 => self.attach(false),
            17..=19 => self.attach_direct(),
            20..=24 => self.end_direct(),
            25..=36 => self.end_journal(),
            37..=74 => self.end_io(),
            75..=79 if self.rng.chance(5 * self.c.fail) && self.may_fail() => {
                self.fail_member(slot)
            }
            80..=84 => self.unblock(),
            85..=87 => {
                if self.c.dead > 0 && self.rng.chance(8 * self.c.dead) {
                    let row = RowMask::single(self.rng.below(u64::from(self.c.rows)) as u32);
                    tell!(self, "slot {slot} rows {:x} die", row.0);
                    self.members[slot].dead.insert(row);
                    self.note_impaired();
                } else if self.c.dead > 0 && self.rng.chance(10) {
                    tell!(self, "slot {slot} works again");
                    self.members[slot].dead = RowMask::EMPTY;
                    self.members[slot].write_error = false;
                    self.again = true;
                }
                if self.rng.chance(10 * self.c.media_error) {
                    let row = self.rng.below(u64::from(self.c.rows)) as u32;
                    let busy = self.in_flight(slot, true).has(row);
                    if self.members[slot].present && !busy {
                        tell!(self, "slot {slot} row {row} becomes unreadable");
                        self.members[slot].bad.insert(RowMask::single(row));
                        self.note_impaired();
                    }
                }
            }
            88..=90 => self.replace_member(),
            91..=93 if self.spare_waits() || self.rng.chance(15 * self.c.sync) => self.start_sync(),
            94..=95 => self.want_sync(),
            96..=97 => {
                if self.c.hold > 0 {
                    self.policy.hold = !self.policy.hold && self.rng.chance(20 * self.c.hold);
                    self.again |= !self.policy.hold;
                }
            }
            98 if self.c.journal_toggles && !self.journal_dead => {
                self.policy.journal = !self.policy.journal;
            }
            98 if self.c.twins && self.rng.chance(50) => self.add_twin(slot),
            98 if self.c.twins && self.rng.chance(30) => self.lose_twin(slot),
            98 if self.c.twins && self.rng.chance(60) => self.retire(slot),
            99 => self.evict(),
            _ => {}
        }
    }

    /// The cache drops an idle stripe, and it is made anew.
    fn evict(&mut self) {
        if self.active || self.again || self.handling || self.carrying || !self.incoming.is_empty()
        {
            return;
        }
        tell!(self, "the stripe is dropped");
        self.st = State::new(self.c.rows, self.c.p, self.c.q);
        self.strips = vec![Strip::new(); self.c.members];
        for slot in 0..self.c.members {
            self.errors[slot] = RowMask::EMPTY;
            for row in 0..self.c.rows {
                self.scramble(slot, row);
            }
        }
        self.drop_all();
    }

    fn run(&mut self) {
        while self.counts.events < self.c.events {
            if (self.again || self.handling) && self.rng.chance(60) {
                self.handling = self.look();
            } else {
                self.happen();
            }
        }
        self.quiesce();
    }

    /// Everything that was begun ends, and nothing new begins.
    fn quiesce(&mut self) {
        tell!(self, "no more work comes");
        self.quiet = true;
        let mut healings = self.rng.below(4);
        for _ in 0..100_000 {
            self.now += 1;
            self.looks = 0;
            while self.again || self.handling {
                self.handling = self.look();
            }
            if self.tries_again() {
                self.again = true;
            } else if self.policy.hold {
                self.policy.hold = false;
                self.again = true;
            } else if !self.ios.is_empty() {
                self.end_io();
            } else if !self.journal.is_empty() {
                self.end_journal();
            } else if !self.directs.is_empty() {
                self.end_direct();
            } else if self.policy.blocked {
                self.unblock();
            } else if self.sync_left.any() {
                self.want_sync();
            } else if healings > 0 && !self.broken && self.degraded() > 0 {
                // The next failure may come while this goes on.
                healings -= 1;
                self.replace_member();
                self.start_sync();
            } else if self.mem.is_short() {
                self.again = true;
            } else if !self.again {
                return self.judge_end();
            }
        }
        judge!(self, false, "it never ends");
    }

    fn judge_end(&mut self) {
        judge!(
            self,
            self.parts.is_empty() && self.incoming.is_empty(),
            "parts never ended: {:x?}\n{:x?}\n{:x?}",
            self.parts,
            self.st,
            self.strips
        );
        judge!(
            self,
            self.sync_out.is_empty(),
            "sync of {:x} never ended",
            self.sync_out.0
        );
        judge!(
            self,
            self.st.is_idle(&self.strips, &self.policy),
            "not idle at the end: {:x?}",
            self.st
        );
        judge!(self, !self.active, "not settled at the end");
        self.judge_nothing_left("at its end");
        if self.broken {
            return;
        }
        for slot in 0..self.c.members {
            for row in 0..self.c.rows {
                let m = self.reader_of(slot, row);
                judge!(
                    self,
                    !m.in_sync
                        || (m.bad | m.log).has(row)
                        || m.content[row as usize] == self.right(slot, row),
                    "member is wrong at the end: slot {slot} row {row}"
                );
                judge!(
                    self,
                    !self.strips[slot].uptodate.has(row)
                        || self.pages[slot][row as usize] == self.right(slot, row),
                    "page is wrong at the end: slot {slot} row {row}"
                );
            }
        }
    }
}

fn end_event(io: Io, ok: bool) -> Event {
    let Io { slot, rows, .. } = io;
    match (io.write, io.twin) {
        (false, _) => Event::ReadDone { slot, rows, ok },
        (true, false) => Event::WriteDone { slot, rows, ok },
        (true, true) => Event::TwinDone { slot, rows, ok },
    }
}

/// Whether fills are carried out before I/O is issued.
fn fill_first() -> bool {
    env("STRIPE_FILL_FIRST", 1) != 0
}

fn story_of(acts: &Actions, tasks: &[Task]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let masks = [
        ("compute", acts.compute),
        ("rmw", acts.rmw),
        ("rcw", acts.rcw),
        ("check", acts.check),
        ("parity", acts.parity),
        ("journal", acts.journal),
        ("complete", acts.complete),
        ("fail_write", acts.fail_write),
        ("fail_waiting", acts.fail_waiting),
        ("sync_done", acts.sync_done),
        ("sync_failed", acts.sync_failed),
        ("mismatch", acts.mismatch),
        ("held", acts.held),
    ];
    for (name, mask) in masks.iter().filter(|m| m.1.any()) {
        let _ = write!(out, "{name} {:x}; ", mask.0);
    }
    for (slot, t) in tasks.iter().enumerate() {
        let a = &t.acts;
        let masks = [
            ("read", a.read),
            ("read_alone", a.read_alone),
            ("write", a.write),
            ("write_alone", a.write_alone),
            ("discard", a.discard),
            ("twin", a.twin),
            ("fill", a.fill),
            ("drain", a.drain),
            ("fail_read", a.fail_read),
            ("result", t.result),
        ];
        for (name, mask) in masks.iter().filter(|m| m.1.any()) {
            let _ = write!(out, "{slot}: {name} {:x}; ", mask.0);
        }
    }
    out
}

fn run_seed(seed: u64) -> Counts {
    run_with(seed, left::fault_of_env())
}

fn run_with(seed: u64, fault: Fault) -> Counts {
    let mut world = World::new(seed);
    world.mem.fault = fault;
    world.run();
    world.counts.broken = u64::from(world.broken);
    world.counts
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

#[test]
fn random_worlds() {
    let only = env("STRIPE_SEED", u64::MAX);
    if only != u64::MAX {
        println!("{:?}", run_seed(only));
        return;
    }
    let first = env("STRIPE_FIRST", 0);
    let runs = env("STRIPE_RUNS", 10_000);
    let mut kinds: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
    let mut total = Counts::default();
    if env("STRIPE_SURVEY", 0) != 0 {
        std::panic::set_hook(Box::new(|_| {}));
    }
    for seed in first..first + runs {
        if env("STRIPE_SURVEY", 0) == 0 {
            add(&mut total, run_seed(seed));
            continue;
        }
        match std::panic::catch_unwind(|| run_seed(seed)) {
            Ok(counts) => add(&mut total, counts),
            Err(panic) => {
                let text = text_of(&*panic);
                let kind = text.split([':', '\n']).next().unwrap_or("").to_owned();
                kinds.entry(kind).or_insert((seed, 0, text)).1 += 1;
            }
        }
    }
    println!("{runs} worlds: {total:?}");
    assert!(runs < 100 || total.discards.min(total.refused) > 0);
    assert!(runs < 100 || total.left.min(total.lent).min(total.freed) > 0);
    for (kind, (seed, n, text)) in &kinds {
        println!("{n} x {kind}, first seed {seed}: {text}");
    }
    assert!(kinds.is_empty());
}

/// Worlds that showed a mistake once; what it was.
#[test]
fn worlds_that_found_something() {
    let seeds = [
        6,       // A row was computed into a page that the failed member was still reading into.
        25,      // A read was filled from a page after a sync had begun to read it anew.
        1507,    // A write went to the members after its journal was lost.
        114_451, // A compute failed, and pages that were in the journal were read anew.
    ];
    for seed in seeds {
        run_seed(seed);
    }
}

fn add(total: &mut Counts, c: Counts) {
    total.events += c.events;
    total.looks += c.looks;
    total.writes += c.writes;
    total.reads += c.reads;
    total.discards += c.discards;
    total.refused += c.refused;
    total.eio += c.eio;
    total.member_ios += c.member_ios;
    total.failures += c.failures;
    total.computes += c.computes;
    total.op_failures += c.op_failures;
    total.left += c.left;
    total.lent += c.lent;
    total.freed += c.freed;
    total.rmw += c.rmw;
    total.rcw += c.rcw;
    total.checks += c.checks;
    total.mismatches += c.mismatches;
    total.rebuilds += c.rebuilds;
    total.fixes += c.fixes;
    total.bad_blocks += c.bad_blocks;
    total.replaced += c.replaced;
    total.holes += c.holes;
    total.broken += c.broken;
}
