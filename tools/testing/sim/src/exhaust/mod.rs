// SPDX-License-Identifier: GPL-2.0

//! Small arrays, exhaustively: every workload of a few writes, every moment of it, and everything that
//! a power cut may leave then, recovered with all members and without any that may be missing.
//!
//! What is bounded, and how:
//!
//! - the arrays and the places at which writes begin and end (`scope`);
//! - the order of steps: four fixed ones, with writes that come at six different times, and in each up
//!   to so many steps put off (`course`);
//! - what a power cut leaves: all combinations of whole pages if there are no more of them than a
//!   bound, or else a sample of them; each page torn in two ways (`cuts`);
//! - power cuts during recovery only where no step is put off; never more than two cuts.
//!
//! The same disks under the same promises are judged once among the workloads that differ in their last
//! write only.

mod course;
mod cuts;
mod judge;
mod scope;

use crate::setup::Bug;
use course::{Course, Workload};
use judge::{Broken, Judge};
use scope::{sequences, Array, Arrival};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

/// What is tried with workloads of one number of writes.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// The first so many arrays.
    pub arrays: usize,
    /// Places at which writes begin and end.
    pub places: usize,
    /// Times at which writes come, of the six that there are.
    pub arrivals: usize,
    /// Steps that are put off at most.
    pub delays: usize,
    /// All combinations of what pages may hold are tried if there are not more.
    pub most: u64,
    /// The power is cut during recovery too.
    pub recovery: bool,
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Scope {
    /// For one write, for two, and so on.
    pub tiers: Vec<Tier>,
    /// Threads.
    pub threads: usize,
    /// A mistake of the shell's.
    pub bug: Option<Bug>,
}

impl Scope {
    /// What `make sim` runs.
    pub fn full() -> Self {
        let one = Tier {
            arrays: usize::MAX,
            places: 6,
            arrivals: 1,
            delays: 2,
            most: 1024,
            recovery: true,
        };
        let two = Tier {
            places: 5,
            arrivals: 6,
            delays: 0,
            most: 16,
            recovery: false,
            ..one
        };
        let three = Tier {
            arrays: 3,
            places: 4,
            arrivals: 4,
            most: 8,
            ..two
        };
        Self {
            tiers: vec![one, two, three],
            threads: 2,
            bug: None,
        }
    }

    /// What `cargo test` runs.
    pub fn small() -> Self {
        let mut small = Self::full();
        small.tiers.truncate(2);
        for tier in &mut small.tiers {
            tier.arrays = 5;
            tier.places -= 1;
            tier.most = tier.most.min(64);
            tier.delays = tier.delays.min(1);
            tier.arrivals = tier.arrivals.min(2);
            tier.recovery = false;
        }
        small
    }
}

/// What was done, in numbers.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Arrays with writes to them.
    pub workloads: u64,
    /// Ways in which they went.
    pub courses: u64,
    /// Steps of all of these.
    pub steps: u64,
    /// Moments at which the power was cut.
    pub points: u64,
    /// Those that were not like another of the same workload.
    pub moments: u64,
    /// Of these, those at which not all combinations of pages were tried.
    pub sampled: u64,
    /// Most pages at risk at a time.
    pub most_pages: u64,
    /// What power cuts left: subsets of pages, with a superblock.
    pub subsets: u64,
    /// Points at which recovery was cut.
    pub recovery_points: u64,
    /// Recoveries of disks that were not like others of the same workload.
    pub recoveries: u64,
    /// Those with a member missing.
    pub degraded: u64,
    /// Those after a second cut.
    pub second: u64,
}

impl Counts {
    /// All numbers, with their names.
    pub fn list(&self) -> [(&'static str, u64); 12] {
        [
            ("workloads", self.workloads),
            ("courses", self.courses),
            ("steps", self.steps),
            ("crash points", self.points),
            ("  different", self.moments),
            ("  sampled", self.sampled),
            ("  pages at risk", self.most_pages),
            ("subsets", self.subsets),
            ("cuts in recovery", self.recovery_points),
            ("recoveries", self.recoveries),
            ("  degraded", self.degraded),
            ("  after two cuts", self.second),
        ]
    }

    /// Adds another's.
    fn add(&mut self, o: &Self) {
        self.workloads += o.workloads;
        self.courses += o.courses;
        self.steps += o.steps;
        self.points += o.points;
        self.moments += o.moments;
        self.sampled += o.sampled;
        self.most_pages = self.most_pages.max(o.most_pages);
        self.subsets += o.subsets;
        self.recovery_points += o.recovery_points;
        self.recoveries += o.recoveries;
        self.degraded += o.degraded;
        self.second += o.second;
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What kind.
    pub kind: String,
    /// The details.
    pub text: String,
    /// How it came, line by line.
    pub story: Vec<String>,
}

/// The tiers in words.
fn headings(scope: &Scope, arrays: &[Array]) -> Vec<String> {
    let mut lines = Vec::new();
    for (tier, n) in scope.tiers.iter().zip(1u32..) {
        lines.push(format!(
            "{n} writes, that come at {} times; {} steps put off; all combinations of pages if there are \
             {} or fewer; recovery {}cut",
            tier.arrivals,
            tier.delays,
            tier.most,
            if tier.recovery { "" } else { "not " },
        ));
        for array in arrays.iter().take(tier.arrays) {
            let count = array.writes(tier.places).len().pow(n);
            let (name, places) = (array.name(), array.places(tier.places));
            lines.push(format!(
                "  {count} workloads: {name}; between sectors {places:?}"
            ));
        }
    }
    lines
}

/// The workloads that begin alike, in all ways in which they can go.
fn every_last(array: &Array, before: &[(u64, u64)], scope: &Scope) -> (Counts, Option<Violation>) {
    let tier = &scope.tiers[before.len()];
    let mut judge = Judge::new(tier.most, array.parity());
    for last in array.writes(tier.places) {
        let mut writes = before.to_vec();
        writes.push(last);
        let workload = Workload {
            array,
            writes,
            bug: scope.bug,
        };
        judge.counts.workloads += 1;
        if let Err(violation) = every_course(&workload, tier, &mut judge) {
            return (judge.counts, Some(*violation));
        }
    }
    (judge.counts, None)
}

/// A workload with all ways in which it can go.
fn every_course(
    workload: &Workload<'_>,
    tier: &Tier,
    judge: &mut Judge,
) -> Result<(), Box<Violation>> {
    for arrival in Arrival::ALL.iter().take(tier.arrivals) {
        for (reverse, newest) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut course = Course {
                arrival: *arrival,
                reverse,
                newest,
                delays: Vec::new(),
            };
            every_delay(workload, &mut course, tier.delays, tier.recovery, judge)?;
        }
    }
    Ok(())
}

/// Goes a way, and all ways in which up to `more` of its steps are put off.
fn every_delay(
    workload: &Workload<'_>,
    course: &mut Course,
    more: usize,
    deep: bool,
    judge: &mut Judge,
) -> Result<(), Box<Violation>> {
    judge.counts.courses += 1;
    let went = catch_unwind(AssertUnwindSafe(|| workload.go(course, judge, deep)));
    let choices = match went {
        Ok(Ok(choices)) => choices,
        Ok(Err((broken, now))) => return Err(Box::new(violation(workload, course, &broken, now))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            return Err(Box::new(Violation {
                kind: "a panic".to_owned(),
                text: text.unwrap_or_default(),
                story: heading(workload, course),
            }));
        }
    };
    let first = course.delays.last().map_or(0, |last| last + 1);
    if more > 0 {
        for at in first..choices {
            course.delays.push(at);
            every_delay(workload, course, more - 1, false, judge)?;
            course.delays.pop();
        }
    }
    Ok(())
}

fn heading(workload: &Workload<'_>, course: &Course) -> Vec<String> {
    vec![
        workload.array.name(),
        format!("writes (sector, length) {:?}", workload.writes),
        format!("{course:?}"),
    ]
}

fn violation(workload: &Workload<'_>, course: &Course, broken: &Broken, now: u64) -> Violation {
    let mut world = workload.tell(course, now);
    let mut story = heading(workload, course);
    story.append(&mut world.story.lines);
    match &broken.trial {
        Some(trial) => story.extend(judge::tell(&world, trial)),
        None => story.push(format!(
            "WRONG: {}: {}",
            broken.fault.kind, broken.fault.text
        )),
    }
    Violation {
        kind: broken.fault.kind.to_owned(),
        text: broken.fault.text.clone(),
        story,
    }
}

/// Tries everything in the scope, or all until something is wrong; says with `tell` what that is.
pub fn exhaust(scope: &Scope, mut tell: impl FnMut(&str)) -> (Counts, Option<Violation>) {
    let arrays = Array::all();
    for line in headings(scope, &arrays) {
        tell(&line);
    }
    let mut beginnings = Vec::new();
    for (tier, n) in scope.tiers.iter().zip(0..) {
        for array in arrays.iter().take(tier.arrays) {
            let writes = array.writes(tier.places);
            let begin = |s: Vec<usize>| s.into_iter().map(|w| writes[w]).collect::<Vec<_>>();
            beginnings.extend(sequences(writes.len(), n).map(|s| (array, begin(s))));
        }
    }
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let total = Mutex::new((Counts::default(), None::<(usize, Violation)>));
    let work = || {
        let mut mine = Counts::default();
        let mut wrong = None;
        while !stop.load(Ordering::Relaxed) {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some((array, before)) = beginnings.get(nth) else {
                break;
            };
            let (counts, violation) = every_last(array, before, scope);
            mine.add(&counts);
            if let Some(violation) = violation {
                wrong = Some((nth, violation));
                stop.store(true, Ordering::Relaxed);
            }
        }
        let mut total = total.lock().expect("no thread panics with the lock");
        total.0.add(&mine);
        let first = [total.1.take(), wrong].into_iter().flatten();
        total.1 = first.min_by_key(|w| w.0);
    };
    std::thread::scope(|threads| {
        for _ in 0..scope.threads.max(1) {
            threads.spawn(work);
        }
    });
    let (counts, wrong) = total.into_inner().expect("no thread panics with the lock");
    (counts, wrong.map(|w| w.1))
}
