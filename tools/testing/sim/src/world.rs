// SPDX-License-Identifier: GPL-2.0

//! The world of a run: devices, memory, users, md and the shell's state.

use crate::badblocks::RowSet;
use crate::hardware::Hardware;
use crate::journal::ring::Ring;
use crate::memory::{Memory, Pages};
use crate::model::Model;
use crate::raid::geometry::Geometry;
use crate::raid::mask::RowMask;
use crate::raid::stripe::{Access, Worth, Policy, RmwLevel};
use crate::raid::units::DevSector;
use crate::reclaim::Reclaim;
use crate::runner::Kind;
use crate::setup::{Bug, Setup};
use crate::story::{tell, Fault, Story};
use crate::stripe::{Part, Stripe};
use crate::tape::Tape;
use crate::units::Journal;
use crate::users::UserFlush;

/// What was done, in numbers.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Steps of any kind, those of recovery not counted.
    pub events: u64,
    /// Power cuts tried, those during recovery included.
    pub crashes: u64,
    /// Those at which the disks kept their power.
    pub stops: u64,
    /// Those during recovery.
    pub recovery_cuts: u64,
    /// Recoveries with a member missing.
    pub degraded_recoveries: u64,
    /// Rows replayed.
    pub replayed: u64,
    /// Scans that ended at a torn unit.
    pub torn: u64,
    /// Requests.
    pub writes: u64,
    /// Requests.
    pub reads: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Units written.
    pub units: u64,
    /// Units that wrapped around the ring.
    pub wraps: u64,
    /// Rows that found no room in the journal.
    pub starved: u64,
    /// Times the tail moved.
    pub reclaims: u64,
    /// Members that failed.
    pub failures: u64,
    /// Members rebuilt.
    pub rebuilds: u64,
    /// Rows checked.
    pub checks: u64,
    /// Runs in which the journal failed.
    pub journal_failures: u64,
    /// Rows that were cached.
    pub cached: u64,
    /// Rows whose cached data was written out.
    pub written_out: u64,
    /// Rows without parity in the log, finished by recovery.
    pub finished: u64,
    /// Rows whose writes ended before they were stable in the journal.
    pub early: u64,
    /// Flushes of users.
    pub flushes: u64,
    /// Those that ended well though the journal was lost when they came.
    pub bare_flushes: u64,
    /// Writes that were FUA, or had a flush before them.
    pub fua: u64,
    /// Discards.
    pub discards: u64,
    /// Rows of members that died.
    pub dead: u64,
    /// Bad blocks recorded.
    pub bad_blocks: u64,
    /// Rows that recovery gave up, as too much of them was gone.
    pub given_up: u64,
    /// Rows of which something was left for want of memory.
    pub left: u64,
    /// Rows that had pages of a reserve.
    pub lent: u64,
    /// Pages that were freed.
    pub freed: u64,
    /// Rows of which too much was lost to write out what was acknowledged.
    pub forgone: u64,
}

impl Stats {
    /// All numbers, with their names.
    pub fn list(&self) -> [(&'static str, u64); 33] {
        [
            ("events", self.events),
            ("crashes", self.crashes),
            ("stops", self.stops),
            ("recovery_cuts", self.recovery_cuts),
            ("degraded_recoveries", self.degraded_recoveries),
            ("replayed", self.replayed),
            ("torn", self.torn),
            ("writes", self.writes),
            ("reads", self.reads),
            ("errors", self.errors),
            ("units", self.units),
            ("wraps", self.wraps),
            ("starved", self.starved),
            ("reclaims", self.reclaims),
            ("failures", self.failures),
            ("rebuilds", self.rebuilds),
            ("checks", self.checks),
            ("journal_failures", self.journal_failures),
            ("cached", self.cached),
            ("written_out", self.written_out),
            ("finished", self.finished),
            ("early", self.early),
            ("flushes", self.flushes),
            ("bare_flushes", self.bare_flushes),
            ("fua", self.fua),
            ("discards", self.discards),
            ("dead", self.dead),
            ("bad_blocks", self.bad_blocks),
            ("given_up", self.given_up),
            ("left", self.left),
            ("lent", self.lent),
            ("freed", self.freed),
            ("forgone", self.forgone),
        ]
    }

    /// Adds another run's.
    pub fn add(&mut self, o: &Self) {
        self.events += o.events;
        self.crashes += o.crashes;
        self.stops += o.stops;
        self.recovery_cuts += o.recovery_cuts;
        self.degraded_recoveries += o.degraded_recoveries;
        self.replayed += o.replayed;
        self.torn += o.torn;
        self.writes += o.writes;
        self.reads += o.reads;
        self.errors += o.errors;
        self.units += o.units;
        self.wraps += o.wraps;
        self.starved += o.starved;
        self.reclaims += o.reclaims;
        self.failures += o.failures;
        self.rebuilds += o.rebuilds;
        self.checks += o.checks;
        self.journal_failures += o.journal_failures;
        self.cached += o.cached;
        self.written_out += o.written_out;
        self.finished += o.finished;
        self.early += o.early;
        self.flushes += o.flushes;
        self.bare_flushes += o.bare_flushes;
        self.fua += o.fua;
        self.discards += o.discards;
        self.dead += o.dead;
        self.bad_blocks += o.bad_blocks;
        self.given_up += o.given_up;
        self.left += o.left;
        self.lent += o.lent;
        self.freed += o.freed;
        self.forgone += o.forgone;
    }
}

/// A member's read or write on its way.
pub(crate) struct Io {
    pub(crate) stripe: usize,
    pub(crate) slot: usize,
    pub(crate) rows: RowMask,
    /// The disk's name for a write.
    pub(crate) write: Option<u64>,
    /// What is written.
    pub(crate) pages: Vec<crate::block::Page>,
    /// Rows that are read to the second page.
    pub(crate) second: RowMask,
}

/// A read that does not go through the cache.
pub(crate) struct Direct {
    pub(crate) stripe: usize,
    pub(crate) part: Part,
}

/// A check, repair or rebuild, as md drives it.
pub(crate) struct Sync {
    pub(crate) rebuild: bool,
    pub(crate) repair: bool,
    /// The next stripe to be asked for, and the first after the last.
    pub(crate) next: usize,
    pub(crate) end: usize,
    /// Rows asked for and not done.
    pub(crate) out: Vec<RowMask>,
    pub(crate) failed: bool,
}

/// Everything.
pub(crate) struct World {
    pub(crate) c: Setup,
    pub(crate) bug: Option<Bug>,
    pub(crate) geo: Geometry,
    pub(crate) ring: Ring,
    pub(crate) tape: Tape,
    pub(crate) story: Story,
    pub(crate) stats: Stats,
    pub(crate) fault: Option<Fault>,
    /// The time: steps.
    pub(crate) now: u64,
    pub(crate) model: Model,
    pub(crate) hw: Hardware,
    // What md knows in memory.
    pub(crate) faulty: Vec<bool>,
    pub(crate) in_sync: Vec<bool>,
    pub(crate) journal_faulty: bool,
    /// The members' bad-block logs, and which of them have failed a write.
    pub(crate) bad: Vec<RowSet>,
    pub(crate) write_error: Vec<bool>,
    /// Too much of a cached row was lost, and there was no room to record that.
    pub(crate) unrecordable: bool,
    /// The tail that the next superblock gets.
    pub(crate) tail: u64,
    pub(crate) sync: Option<Sync>,
    // The shell.
    pub(crate) stripes: Vec<Stripe>,
    pub(crate) ios: Vec<Io>,
    pub(crate) directs: Vec<Direct>,
    pub(crate) user_flushes: Vec<UserFlush>,
    pub(crate) journal: Journal,
    pub(crate) reclaim: Reclaim,
    pub(crate) memory: Memory,
    /// Writes complete when the journal has them.
    pub(crate) write_back: bool,
    /// New requests wait, because md wants to take a spare in.
    pub(crate) suspended: bool,
    /// The run is over before its time.
    pub(crate) over: bool,
    /// Nothing more goes wrong, so that what was begun can end.
    pub(crate) quiet: bool,
}

impl World {
    pub(crate) fn new(mut tape: Tape, kind: Kind, bug: Option<Bug>, story: bool) -> Self {
        let mut c = Setup::of(&mut tape, kind.write_back);
        c.stops = kind.stops;
        if kind.early {
            c = c.acknowledging_early(&mut tape);
        }
        if kind.bad_rows {
            c = c.with_bad_rows(&mut tape);
        }
        if kind.short {
            c = c.short_of_memory(&mut tape);
        }
        Self::with(c, tape, bug, story)
    }

    /// A world that is not drawn from the tape.
    pub(crate) fn with(c: Setup, tape: Tape, bug: Option<Bug>, story: bool) -> Self {
        let geo = Geometry::new(c.level, c.layout, c.disks, c.rows * 8).expect("a valid array");
        let ring = Ring::new(c.blocks).expect("a valid ring");
        let dev_sectors = c.stripes as u64 * u64::from(c.rows) * 8;
        let model = Model::new(
            geo.array_sectors(dev_sectors),
            c.early && c.journal_fail > 0,
        );
        let hw = Hardware::new(&c, geo, &model);
        let members = c.disks as usize;
        let tail = crate::journal::unit::Position {
            block: crate::journal::format::JournalBlock::new(c.tail),
            seq: 1,
        };
        let head = crate::journal::unit::Position {
            block: ring.add(tail.block, 1),
            seq: 2,
        };
        let mut world = Self {
            journal: Journal::new(&c, geo, ring, tail, head),
            tail: c.tail,
            write_back: c.write_back,
            memory: Memory::new(&c),
            c,
            bug,
            geo,
            ring,
            tape,
            story: Story {
                on: story,
                ..Story::default()
            },
            stats: Stats::default(),
            fault: None,
            now: 1,
            model,
            hw,
            faulty: vec![false; members],
            in_sync: vec![true; members],
            journal_faulty: false,
            bad: vec![RowSet::new(); members],
            write_error: vec![false; members],
            unrecordable: false,
            sync: None,
            stripes: Vec::new(),
            ios: Vec::new(),
            directs: Vec::new(),
            user_flushes: Vec::new(),
            reclaim: Reclaim::Idle,
            suspended: false,
            over: false,
            quiet: false,
        };
        tell!(world, "{:?}", world.c);
        world.stripes = (0..world.c.stripes).map(|i| world.new_stripe(i)).collect();
        world
    }

    /// First member sector of a stripe.
    pub(crate) fn stripe_sector(&self, i: usize) -> DevSector {
        DevSector::new(i as u64 * u64::from(self.geo.strip_sectors()))
    }

    /// A member's page that holds a row of a stripe.
    pub(crate) fn row_at(&self, stripe: usize, row: u32) -> usize {
        stripe * self.c.rows as usize + row as usize
    }

    pub(crate) fn dev_sectors(&self) -> u64 {
        self.c.stripes as u64 * u64::from(self.c.rows) * 8
    }

    pub(crate) fn new_stripe(&mut self, i: usize) -> Stripe {
        let place = self.geo.placement(self.stripe_sector(i));
        let garbage = self.model.garbage();
        let q = place.q.map(|q| q.index());
        let members = self.faulty.len();
        let mut stripe = Stripe::new(self.c.rows, members, place.p.index(), q, garbage);
        stripe.mem = Pages::new(members, self.c.short == 0);
        stripe
    }

    pub(crate) fn parity(&self) -> usize {
        self.geo.parity_disks() as usize
    }

    /// Members that are there and have all data.
    pub(crate) fn good(&self) -> Vec<bool> {
        let both = self.in_sync.iter().zip(&self.faulty);
        both.map(|(sync, faulty)| *sync && !faulty).collect()
    }

    pub(crate) fn degraded(&self) -> usize {
        self.good().iter().filter(|g| !**g).count()
    }

    pub(crate) fn access(&self, slot: usize) -> Access {
        match (self.faulty[slot], self.in_sync[slot]) {
            (true, _) => Access::Missing,
            (false, true) => Access::Full,
            (false, false) => Access::WriteOnly,
        }
    }

    /// Whether a failure or a bad block is not in the superblock yet.
    pub(crate) fn is_blocked(&self) -> bool {
        let sb = &self.hw.sb;
        let member = self.faulty.iter().zip(&sb.in_sync).any(|(f, s)| *f && *s);
        let row = (0..self.bad.len()).any(|slot| self.is_unrecorded(slot));
        member || row || (self.journal_faulty && sb.journal)
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            journal: !self.journal_faulty,
            blocked: self.is_blocked(),
            refuse_writes: self.journal_faulty,
            may_fix: !self.journal_faulty,
            rmw: RmwLevel::Cheaper,
            hold: false,
            repair: self.sync.as_ref().is_none_or(|s| s.repair),
            copy: false,
            write_back: self.write_back,
            room: 0,
            begin: true,
        }
    }

    pub(crate) fn refresh(&mut self, i: usize) {
        for slot in 0..self.faulty.len() {
            let (access, bad) = (self.access(slot), self.bad_rows(i, slot));
            let strip = &mut self.stripes[i].strips[slot];
            let skip = self.write_error[slot];
            strip.note(Worth { access, bad, skip }, None);
        }
    }
}
