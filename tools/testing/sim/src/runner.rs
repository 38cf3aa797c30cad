// SPDX-License-Identifier: GPL-2.0

//! Runs: one seed, many seeds in several threads, and the story of one that failed.

use crate::setup::Bug;
use crate::shrink::shrink;
use crate::story::Fault;
use crate::tape::{Decisions, Tape};
use crate::world::{Stats, World};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How a run went.
pub struct Outcome {
    /// What was done.
    pub stats: Stats,
    /// What was wrong: its kind, and the details.
    pub fault: Option<(String, String)>,
    /// The story, line by line, if it was wanted.
    pub story: Vec<String>,
}

struct Played {
    outcome: Outcome,
    decisions: Decisions,
}

/// Seeds with this bit are of arrays with a write-back cache.
const WRITE_BACK: u64 = 1 << 40;

/// Seeds with this bit are of machines that may stop while the disks keep their power.
const STOPS: u64 = 1 << 41;

/// Seeds with this bit have early acknowledgement, and users that flush, if they have a write-back cache.
const EARLY: u64 = 1 << 42;

/// Seeds with this bit are of members that do not take some rows.
const BAD_ROWS: u64 = 1 << 43;

/// Seeds with this bit are of machines that are short of memory.
const SHORT: u64 = 1 << 44;

/// The kinds of seeds that a campaign has. The first twelve: a third each without a write-back cache,
/// with one whose writes wait until they are stable, and with early acknowledgement; in half of all,
/// machines stop, and half of all have members that do not take some rows. The others are short of
/// memory, most of them with a write-back cache.
const KINDS: [u64; 17] = [
    0,
    WRITE_BACK,
    STOPS,
    STOPS | WRITE_BACK,
    EARLY | WRITE_BACK,
    EARLY | STOPS | WRITE_BACK,
    BAD_ROWS,
    BAD_ROWS | WRITE_BACK,
    BAD_ROWS | STOPS,
    BAD_ROWS | STOPS | WRITE_BACK,
    BAD_ROWS | EARLY | WRITE_BACK,
    BAD_ROWS | EARLY | STOPS | WRITE_BACK,
    SHORT,
    SHORT | WRITE_BACK,
    SHORT | EARLY | WRITE_BACK,
    SHORT | BAD_ROWS | WRITE_BACK,
    SHORT | BAD_ROWS | EARLY | STOPS | WRITE_BACK,
];

/// The nth seed of a campaign.
fn nth_seed(plan: &Plan, nth: u64) -> u64 {
    let kinds = KINDS.len() as u64;
    plan.seed.wrapping_add(nth / kinds) | KINDS[(nth % kinds) as usize]
}

/// What a run is of, besides what its tape says.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) write_back: bool,
    pub(crate) stops: bool,
    pub(crate) early: bool,
    pub(crate) bad_rows: bool,
    pub(crate) short: bool,
    bug: Option<Bug>,
}

impl Kind {
    fn of(seed: u64, bug: Option<Bug>) -> Self {
        Self {
            write_back: seed & WRITE_BACK != 0,
            stops: seed & STOPS != 0,
            early: seed & EARLY != 0 && seed & WRITE_BACK != 0,
            bad_rows: seed & BAD_ROWS != 0,
            short: seed & SHORT != 0,
            bug,
        }
    }
}

fn play(tape: Tape, kind: Kind, replay: bool, story: bool) -> Played {
    let mut world = World::new(tape, kind, kind.bug, story);
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run(replay))).err();
    let tape = std::mem::replace(&mut world.tape, Tape::dice(0, false));
    let panicked = panicked.or_else(|| catch_unwind(AssertUnwindSafe(|| world.finish())).err());
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        world.fault = Some(Fault {
            kind: "a panic",
            text: text.unwrap_or_default(),
        });
    }
    let mut story = std::mem::take(&mut world.story.lines);
    let fault = world.fault.take().map(|f| (f.kind.to_owned(), f.text));
    if let (Some((kind, text)), true) = (&fault, world.story.on) {
        story.push(format!("{:5}  WRONG: {kind}: {text}", world.now));
    }
    Played {
        outcome: Outcome {
            stats: world.stats,
            fault,
            story,
        },
        decisions: tape.into_decisions(),
    }
}

/// Runs one seed.
pub fn run_seed(seed: u64, bug: Option<Bug>) -> Outcome {
    let kind = Kind::of(seed, bug);
    play(Tape::dice(seed, false), kind, false, false).outcome
}

/// Runs one seed and tells its story; shrinks it first, in `tries` at most, if it fails.
pub fn tell_seed(seed: u64, bug: Option<Bug>, tries: u32) -> Outcome {
    let kind = Kind::of(seed, bug);
    let played = play(Tape::dice(seed, true), kind, false, true);
    let Some((wrong, _)) = played.outcome.fault.clone() else {
        return played.outcome;
    };
    let decisions = shrink(played.decisions, tries, |decisions| {
        let again = play(Tape::replay(decisions.clone()), kind, true, false);
        again.outcome.fault.is_some_and(|(k, _)| k == wrong)
    });
    let shrunk = play(Tape::replay(decisions), kind, true, true).outcome;
    // A tape that cannot be cut replays what the dice gave.
    if shrunk.fault.is_some() {
        shrunk
    } else {
        played.outcome
    }
}

/// What to run.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The first seed.
    pub seed: u64,
    /// When to stop.
    pub time: Duration,
    /// Seeds at most.
    pub runs: u64,
    /// Threads.
    pub threads: usize,
    /// A mistake of the shell's.
    pub bug: Option<Bug>,
}

/// What many runs came to.
#[derive(Default)]
pub struct Total {
    /// The sum.
    pub stats: Stats,
    /// Runs played.
    pub runs: u64,
    /// The lowest seed that failed among those that were run, and what was wrong.
    pub failed: Option<(u64, String, String)>,
}

/// Plays seed after seed until one fails or the time is over.
pub fn campaign(plan: &Plan) -> Total {
    let end = Instant::now() + plan.time;
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let work = || {
        let mut mine = Total::default();
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= plan.runs {
                break;
            }
            let seed = nth_seed(plan, nth);
            let outcome = run_seed(seed, plan.bug);
            mine.stats.add(&outcome.stats);
            mine.runs += 1;
            if let Some((kind, text)) = outcome.fault {
                mine.failed = Some((seed, kind, text));
                stop.store(true, Ordering::Relaxed);
            }
        }
        let mut total = total.lock().expect("no thread panics with the lock");
        total.stats.add(&mine.stats);
        total.runs += mine.runs;
        let first = [total.failed.take(), mine.failed].into_iter().flatten();
        total.failed = first.min_by_key(|f| f.0);
    };
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(work);
        }
    });
    total.into_inner().expect("no thread panics with the lock")
}
