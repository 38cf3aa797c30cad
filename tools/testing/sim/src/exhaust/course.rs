// SPDX-License-Identifier: GPL-2.0

//! One way in which a workload goes: a fixed order of steps, but for a few that are put off.

use super::judge::{Broken, Judge};
use super::scope::{Array, Arrival};
use crate::reclaim::Reclaim;
use crate::schedule::Step;
use crate::setup::Bug;
use crate::story::Fault;
use crate::stripe::Asks;
use crate::tape::Tape;
use crate::world::World;

/// Steps that a workload takes at most.
const STEPS: u64 = 5000;

/// One way.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) arrival: Arrival,
    /// What ends things goes last instead of first.
    pub(super) reverse: bool,
    /// Of several I/Os of a kind the newest ends first.
    pub(super) newest: bool,
    /// The steps that are put off: at the nth choice, what would have come next comes only when there
    /// is nothing else to do, from then on.
    pub(super) delays: Vec<usize>,
}

/// Something that can come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Write,
    Flush,
    Step(Step),
}

/// A workload.
pub(super) struct Workload<'a> {
    pub(super) array: &'a Array,
    pub(super) writes: Vec<(u64, u64)>,
    pub(super) bug: Option<Bug>,
}

/// A world on its course.
struct Ride<'a> {
    world: World,
    array: &'a Array,
    course: &'a Course,
    writes: std::slice::Iter<'a, (u64, u64)>,
    /// When the last write came.
    came: u64,
    delayed: Vec<Next>,
    /// Moments at which there was a choice.
    choices: usize,
}

impl Workload<'_> {
    /// The array before the first write.
    fn world(&self, newest: bool, story: bool) -> World {
        let c = self.array.setup.clone();
        let mut world = World::with(c, Tape::fixed(newest), self.bug, story);
        if let Some(slot) = self.array.without {
            world.faulty[slot] = true;
            world.in_sync[slot] = false;
            world.hw.sb.in_sync[slot] = false;
        }
        if let Some(slot) = self.array.dead {
            world.hw.dead[slot].insert(0);
        }
        for n in 0..self.array.before {
            let pages = world.model.len() / 8;
            world.attach_range(true, n * 3 % pages * 8, 8, (false, Asks::default()));
            while let Some(step) = ends(&world).into_iter().find(|s| !is_reclaim(s)) {
                world.step(step);
            }
        }
        world
    }

    fn ride<'a>(&'a self, course: &'a Course, story: bool) -> Ride<'a> {
        Ride {
            world: self.world(course.newest, story),
            array: self.array,
            course,
            writes: self.writes.iter(),
            came: 0,
            delayed: Vec::new(),
            choices: 0,
        }
    }

    /// Goes this way, and cuts the power at every moment after the last step that was put off. The
    /// number of moments at which there was a choice; with `deep`, recovery is cut too.
    pub(super) fn go(
        &self,
        course: &Course,
        judge: &mut Judge,
        deep: bool,
    ) -> Result<usize, (Broken, u64)> {
        let mut ride = self.ride(course, false);
        let quiet = course.delays.last().map_or(0, |last| last + 1);
        loop {
            if ride.choices >= quiet {
                let judged = judge.moment(&ride.world, deep);
                judged.map_err(|broken| (broken, ride.world.now))?;
            }
            let went_on = ride.step();
            judge.counts.steps += u64::from(went_on);
            if let Some(fault) = ride.world.fault.take() {
                return Err((Broken { fault, trial: None }, ride.world.now));
            }
            if !went_on {
                return Ok(ride.choices);
            }
        }
    }

    /// Goes this way again, in words, until `now`.
    pub(super) fn tell(&self, course: &Course, now: u64) -> World {
        let mut ride = self.ride(course, true);
        while ride.world.now < now && ride.step() {}
        ride.world
    }
}

/// Steps that end what was begun.
fn ends(world: &World) -> Vec<Step> {
    let mut steps = Vec::new();
    world.possible(false, &mut steps);
    steps.into_iter().map(|s| s.0).collect()
}

fn is_reclaim(step: &Step) -> bool {
    matches!(step, Step::ReclaimStart | Step::ReclaimGoOn)
}

impl Ride<'_> {
    /// Everything that can come next, in order.
    fn possible(&self) -> Vec<Next> {
        let world = &self.world;
        let mut steps = ends(world);
        let idle = steps.is_empty() && matches!(world.reclaim, Reclaim::Idle);
        if steps.iter().all(|s| *s != Step::ReclaimStart) && world.can_reclaim() {
            steps.push(Step::ReclaimAnyway);
        }
        if world.can_close() {
            steps.push(Step::CloseStart);
        }
        if self.course.reverse {
            steps.reverse();
        }
        let waits = self.writes.len() > 0 && world.journal.closing.is_none();
        let due = match self.course.arrival {
            _ if self.came == 0 => true,
            Arrival::After(n) => world.now >= self.came + n || idle,
            Arrival::Idle => idle,
            Arrival::Settled => steps.is_empty(),
        };
        let write = (waits && due).then_some(Next::Write);
        let flush = self.array.flush && world.user_flushes.is_empty() && world.model.is_at_risk();
        let flush = flush.then_some(Next::Flush);
        (write.into_iter().chain(flush))
            .chain(steps.into_iter().map(Next::Step))
            .collect()
    }

    /// Takes the next step; false if there is none.
    fn step(&mut self) -> bool {
        let possible = self.possible();
        if possible.is_empty() {
            self.world.judge_idle();
            return false;
        }
        let choose = |delayed: &[Next]| {
            let at_once = possible.iter().find(|n| !delayed.contains(n));
            *at_once.unwrap_or(&possible[0])
        };
        let mut next = choose(&self.delayed);
        if possible.len() > 1 {
            if self.course.delays.contains(&self.choices) {
                self.delayed.push(next);
                next = choose(&self.delayed);
            }
            self.choices += 1;
        }
        match next {
            Next::Step(Step::CloseStart) => {
                self.tick();
                self.world.close_start();
            }
            Next::Step(step) => self.world.step(step),
            Next::Write => self.write(),
            Next::Flush => {
                self.tick();
                self.world.user_flush_start();
            }
        }
        if self.world.now > STEPS && self.world.fault.is_none() {
            self.world.fault = Some(Fault {
                kind: "it never ends",
                text: format!("{possible:?}"),
            });
        }
        true
    }

    fn tick(&mut self) {
        self.world.now += 1;
        self.world.story.step = self.world.now;
    }

    fn write(&mut self) {
        let Some((at, n)) = self.writes.next() else {
            return;
        };
        if self.course.arrival == Arrival::Settled {
            for i in 0..self.world.stripes.len() {
                self.world.stripes[i] = self.world.new_stripe(i);
            }
        }
        self.tick();
        let asks = Asks {
            fua: self.array.fua && self.writes.len() == 0,
            preflush: false,
        };
        self.world.attach_range(true, *at, *n, (false, asks));
        self.came = self.world.now;
    }
}
