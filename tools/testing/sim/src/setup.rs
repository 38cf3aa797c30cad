// SPDX-License-Identifier: GPL-2.0

//! What the array of a run is like, and which mistakes its shell makes.

use crate::journal::log::JournalCache;
use crate::schedule::{COMMON_STEPS, STEPS};
use crate::tape::Tape;
use std::str::FromStr;

/// A mistake that the shell makes on purpose, so that the judge can show that it sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Flushes of the journal are reported as done, and were never issued.
    DroppedFlush,
    /// The tail moves without a flush of the members before.
    EarlyTail,
    /// A row's data and its parity are placed one after the other.
    SplitRow,
    /// Freed blocks are given to new units before the superblock has the new tail.
    EarlyReuse,
    /// Freed blocks are discarded after they were given to new units.
    LateDiscard,
    /// Recovery does not flush the members before it moves the tail.
    NoRecoveryFlush,
    /// Recovery's empty unit may still be in the journal's cache when the tail moves there.
    PlainEmpty,
    /// The tail may pass what is cached and not on the members.
    EarlyRelease,
    /// Recovery writes data-only rows to the members without their parity in the log.
    BareFinish,
    /// Reads of cached data go to the member.
    StaleRead,
    /// Recovery does not flush the journal before it reads it.
    TrustedCache,
    /// What is lost is computed from what is cached, and not from what the members hold.
    NewView,
    /// A user's flush waits for nothing.
    HastyFlush,
    /// A user's flush has the journal flushed only if rows wait for that too.
    IdleFlush,
    /// FUA writes are acknowledged before they are stable.
    EarlyFua,
    /// Writes with a flush before them are no different from others.
    EarlyPreflush,
    /// Early acknowledgements do not wait for the units before.
    Unordered,
    /// Rows that were acknowledged early are reported again when their unit is stable.
    TwiceDelivered,
    /// Without a journal, a user's flush does not wait for what is cached.
    UndrainedFlush,
    /// Without a journal, a user's flush does not flush the members.
    DryFlush,
    /// Without a journal, a user's flush ends though md has not recorded that a member failed.
    UnrecordedFlush,
    /// Bad blocks are recorded when md writes superblocks anyway, and writes do not wait for that.
    UnrecordedRow,
    /// Recovery does not note which rows members did not take.
    ForgottenRow,
    /// Recovery records bad blocks with the new tail, and not before.
    LateRecord,
    /// Recovery gives a row up while others of its writes are to come, which mend it.
    HastyLoss,
    /// Recovery leaves a row its old parity that cannot be written out whole.
    BelievedParity,
    /// What recovery replays is no bad block any more, also parity that is older than the row's data. Too
    /// rare for a test here; case old_parity of the stage badblocks has it.
    MendedParity,
    /// An op that was left for want of memory takes parts that came since.
    LateParts,
    /// Pages of rows that were forgotten are freed before reads are served.
    EarlyFree,
    /// What is to be done takes the place of what was left.
    LostLeft,
    /// Nothing is kept for when memory is used up.
    NoReserve,
}

/// All of them, with the names that they have on the command line.
const BUGS: [(&str, Bug); 31] = [
    ("dropped-flush", Bug::DroppedFlush),
    ("early-tail", Bug::EarlyTail),
    ("split-row", Bug::SplitRow),
    ("early-reuse", Bug::EarlyReuse),
    ("late-discard", Bug::LateDiscard),
    ("no-recovery-flush", Bug::NoRecoveryFlush),
    ("plain-empty", Bug::PlainEmpty),
    ("early-release", Bug::EarlyRelease),
    ("bare-finish", Bug::BareFinish),
    ("stale-read", Bug::StaleRead),
    ("trusted-cache", Bug::TrustedCache),
    ("new-view", Bug::NewView),
    ("hasty-flush", Bug::HastyFlush),
    ("idle-flush", Bug::IdleFlush),
    ("early-fua", Bug::EarlyFua),
    ("early-preflush", Bug::EarlyPreflush),
    ("unordered", Bug::Unordered),
    ("twice-delivered", Bug::TwiceDelivered),
    ("undrained-flush", Bug::UndrainedFlush),
    ("dry-flush", Bug::DryFlush),
    ("unrecorded-flush", Bug::UnrecordedFlush),
    ("unrecorded-row", Bug::UnrecordedRow),
    ("forgotten-row", Bug::ForgottenRow),
    ("late-record", Bug::LateRecord),
    ("hasty-loss", Bug::HastyLoss),
    ("late-parts", Bug::LateParts),
    ("early-free", Bug::EarlyFree),
    ("lost-left", Bug::LostLeft),
    ("no-reserve", Bug::NoReserve),
    ("believed-parity", Bug::BelievedParity),
    ("mended-parity", Bug::MendedParity),
];

impl Bug {
    /// The names of all bugs.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUGS.iter().map(|(name, _)| *name)
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = BUGS.iter().find(|(n, _)| *n == name);
        found.map(|(_, bug)| *bug).ok_or_else(|| {
            let names: Vec<_> = Self::names().collect();
            format!("no bug is called {name}; there are {}", names.join(", "))
        })
    }
}

/// How likely a kind of step is, against its usual weight.
const PACES: [u32; 6] = [4, 4, 4, 4, 1, 16];

/// One run's array, devices and troubles.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) level: i32,
    pub(crate) layout: i32,
    pub(crate) disks: u32,
    /// Rows of a chunk, which are those of a stripe.
    pub(crate) rows: u32,
    pub(crate) stripes: usize,
    /// Blocks of the journal.
    pub(crate) blocks: u64,
    /// Unit descriptors.
    pub(crate) units: usize,
    pub(crate) cache: JournalCache,
    /// Whether the members have volatile caches.
    pub(crate) volatile: bool,
    /// Where the log begins.
    pub(crate) tail: u64,
    /// Steps of the run, before it is brought to its end.
    pub(crate) steps: u64,
    /// Requests in flight at most.
    pub(crate) depth: usize,
    /// Of 1000 writes to members, so many fail.
    pub(crate) fail: u32,
    /// Of 1000 reads of members, so many fail.
    pub(crate) read_error: u32,
    /// Of 1000 writes or flushes of the journal, so many fail.
    pub(crate) journal_fail: u32,
    /// Of 1000 ops on a row in memory, so many fail.
    pub(crate) op_fail: u32,
    /// Percent of crashes in which one more member is missing afterwards.
    pub(crate) missing: u32,
    /// Partial writes are held back.
    pub(crate) hold: bool,
    /// Checks and repairs run.
    pub(crate) sync: bool,
    /// Freed blocks are discarded.
    pub(crate) discard: bool,
    /// How likely each kind of step is, against its usual weight: four is usual. What is slow in a
    /// run piles up.
    pub(crate) pace: [u32; STEPS],
    /// The write-back cache is in use at first.
    pub(crate) write_back: bool,
    /// The mode is changed now and then.
    pub(crate) toggle: bool,
    /// The machine may stop while the disks keep their power.
    pub(crate) stops: bool,
    /// Cached data is acknowledged when it is ordered in the journal, and users flush.
    pub(crate) early: bool,
    /// Percent of writes that are FUA.
    pub(crate) fua: u32,
    /// Percent of writes with a flush before them.
    pub(crate) preflush: u32,
    /// How likely rows of members die, and work again; zero: never.
    pub(crate) dead: u32,
    /// Of 1000 writes to members, so many fail for nothing, and the member stays.
    pub(crate) odd: u32,
    /// Rows that a member's bad-block log takes.
    pub(crate) log: usize,
    /// Percent of times that there is no page or no bio while memory is short; zero: it never is.
    pub(crate) short: u32,
    /// In the end there is nothing but the reserves.
    pub(crate) poor: bool,
    /// Rows with two pages on each member that a reserve has.
    pub(crate) reserve: usize,
}

impl Setup {
    /// What the tape says; `write_back` arrays have more room in the journal.
    pub(crate) fn of(tape: &mut Tape, write_back: bool) -> Self {
        let mut c = Self::write_through(tape);
        if write_back {
            c.units += 2 + tape.pick(12);
            c.blocks += u64::from(tape.below(60));
            c.write_back = tape.chance(85);
            c.toggle = tape.chance(30);
        }
        c
    }

    /// With early acknowledgement, and users that flush.
    pub(crate) fn acknowledging_early(mut self, tape: &mut Tape) -> Self {
        self.early = true;
        self.fua = [0, 5, 20, 60][tape.pick(4)];
        self.preflush = [0, 5, 20][tape.pick(3)];
        if tape.chance(25) {
            self.journal_fail = 1 + tape.below(60);
        }
        for pace in &mut self.pace[COMMON_STEPS..] {
            *pace = PACES[tape.pick(PACES.len())];
        }
        self
    }

    /// With rows that members do not take.
    pub(crate) fn with_bad_rows(mut self, tape: &mut Tape) -> Self {
        self.dead = 1 + tape.below(3);
        self.odd = [0, 3, 20, 60][tape.pick(4)];
        self.log = [100, 2, 0][tape.pick(3)];
        self
    }

    /// With memory that is short now and then.
    pub(crate) fn short_of_memory(mut self, tape: &mut Tape) -> Self {
        self.short = [5, 30, 70, 90][tape.pick(4)];
        self.poor = tape.chance(50);
        self.reserve = 1 + tape.pick(3);
        self
    }

    fn write_through(tape: &mut Tape) -> Self {
        let level = match tape.below(10) {
            0..=5 => 5,
            6 | 7 => 6,
            _ => 4,
        };
        let layout = match level {
            6 => [2, 0, 1, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20][tape.pick(14)],
            5 => [2, 0, 1, 3, 4, 5][tape.pick(6)],
            _ => 0,
        };
        let disks = if level == 6 { 4 } else { 3 } + tape.below(if level == 6 { 3 } else { 4 });
        let least = 4 * (u64::from(disks) + 1);
        let cache = match tape.below(4) {
            0 | 1 => JournalCache::Volatile { max_flushes: 1 },
            2 => JournalCache::Volatile { max_flushes: 2 },
            _ => JournalCache::None,
        };
        let blocks = least + u64::from(tape.below(24));
        let calm = tape.chance(30);
        let some = |tape: &mut Tape, percent, most| {
            if !calm && tape.chance(percent) {
                1 + tape.below(most)
            } else {
                0
            }
        };
        Self {
            level,
            layout,
            disks,
            rows: 1 << tape.below(3),
            stripes: 2 + tape.pick(3),
            blocks,
            units: 2 + tape.pick(7),
            cache,
            volatile: !tape.chance(20),
            tail: u64::from(tape.below(blocks as u32)),
            steps: 100 + u64::from(tape.below(1500)),
            depth: 1 + tape.pick(8),
            fail: some(tape, 50, 20),
            read_error: some(tape, 30, 30),
            journal_fail: some(tape, 25, 20),
            op_fail: some(tape, 15, 10),
            missing: some(tape, 50, 40),
            hold: tape.chance(30),
            sync: tape.chance(40),
            discard: tape.chance(60),
            pace: std::array::from_fn(|kind| match kind < COMMON_STEPS {
                true => PACES[tape.pick(PACES.len())],
                false => 4,
            }),
            write_back: false,
            toggle: false,
            stops: false,
            early: false,
            fua: 0,
            preflush: 0,
            dead: 0,
            odd: 0,
            log: 0,
            short: 0,
            poor: false,
            reserve: 0,
        }
    }
}
