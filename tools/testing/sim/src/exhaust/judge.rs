// SPDX-License-Identifier: GPL-2.0

//! Power cuts at one moment after the other, each with all that it may leave, and each recovered.

use super::cuts::{Choice, Cut};
use super::Counts;
use crate::block::mix;
use crate::disk::Disk;
use crate::hardware::Hardware;
use crate::model::Eyes;
use crate::recover::{Assembly, Down};
use crate::story::{Fault, Story};
use crate::world::World;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Marks are hashes already.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// How thoroughly something was judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// With power cuts during recovery.
    Deep,
    /// With power cuts after recovery.
    Once,
    /// With no more power cuts.
    Last,
}

/// What was judged.
#[derive(Default)]
struct Marks(HashSet<u64, BuildHasherDefault<Plain>>);

impl Marks {
    fn key(mark: u64, depth: Depth) -> u64 {
        mix(mark, depth as u64)
    }

    /// Notes that this is judged now; false if it was, as thoroughly at least.
    fn insert(&mut self, mark: u64, depth: Depth) -> bool {
        let more = match depth {
            Depth::Deep => &[][..],
            Depth::Once => &[Depth::Deep],
            Depth::Last => &[Depth::Deep, Depth::Once],
        };
        let known = |d: &Depth| self.0.contains(&Self::key(mark, *d));
        !more.iter().any(known) && self.0.insert(Self::key(mark, depth))
    }
}

/// One power cut, or two of them.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// What is left: the superblock, and the pages.
    left: (usize, Choice),
    /// Members that are there when the array is assembled.
    here: Vec<bool>,
    /// The second cut.
    again: Option<Again>,
}

/// The power is cut once more.
#[derive(Clone, Debug)]
struct Again {
    /// During recovery, or right after it.
    power: Option<u32>,
    left: (usize, Choice),
    here: Vec<bool>,
}

/// What went wrong.
pub(super) struct Broken {
    pub(super) fault: Fault,
    /// The power cut that showed it, if it was one.
    pub(super) trial: Option<Box<Trial>>,
}

/// Goes through a workload's moments, and leaves out what was judged before.
pub(super) struct Judge {
    most: u64,
    parity: usize,
    moments: Marks,
    images: Marks,
    pub(super) counts: Counts,
}

/// Assembles the array, and judges it if that came to its end; whether it did.
fn attempt(
    world: &World,
    hw: &mut Hardware,
    here: &[bool],
    power: Option<u32>,
    story: &mut Story,
) -> Result<bool, Fault> {
    let mut assembly = Assembly {
        here: here.to_vec(),
        fails: None,
        odd: None,
        bad: hw.sb.bad.clone(),
        in_sync: hw.sb.in_sync.clone(),
        write_error: vec![false; here.len()],
        ring: world.ring,
        dev_sectors: world.dev_sectors(),
        bug: world.bug,
        write_back: world.c.write_back,
        force: false,
        given_up: 0,
        hw: &mut *hw,
    };
    let end = assembly.run(power, story);
    let here = assembly.here;
    match end {
        Err(Down::Cut) => return Ok(false),
        // The log is kept.
        Err(Down::Lost(_)) => return Ok(true),
        Err(Down::Wrong(fault)) => return Err(fault),
        Ok(_) => {}
    }
    for row in 0..world.c.stripes * world.c.rows as usize {
        hw.judge_row(
            row,
            (&here, &hw.sb.bad, &|_| None),
            &world.model,
            (world.now, Eyes::Cut),
            |_, _| {},
        )?;
    }
    Ok(true)
}

fn name_members(here: &[bool]) -> u64 {
    here.iter().fold(1, |all, h| all << 1 | u64::from(*h))
}

impl Judge {
    /// All combinations of what a cut leaves are tried if there are not more than `most`.
    pub(super) fn new(most: u64, parity: usize) -> Self {
        Self {
            most,
            parity,
            moments: Marks::default(),
            images: Marks::default(),
            counts: Counts::default(),
        }
    }

    /// Members that are there: all that the superblock calls good, all but one, and so on.
    fn members(&self, in_sync: &[bool]) -> Vec<Vec<bool>> {
        let mut all = vec![in_sync.to_vec()];
        let mut least = 0;
        while least < all.len() {
            let here = all[least].clone();
            least += 1;
            if here.iter().filter(|h| !**h).count() >= self.parity {
                continue;
            }
            let first = here.iter().zip(in_sync).rposition(|(h, s)| !h && *s);
            for slot in first.map_or(0, |f| f + 1)..here.len() {
                if here[slot] {
                    let mut less = here.clone();
                    less[slot] = false;
                    all.push(less);
                }
            }
        }
        all
    }

    /// Cuts the power now. With `deep`, also during each recovery.
    pub(super) fn moment(&mut self, world: &World, deep: bool) -> Result<(), Broken> {
        self.counts.points += 1;
        let cut = Cut::of(&world.hw);
        let model = world.model.mark(world.now);
        let depth = if deep { Depth::Deep } else { Depth::Once };
        if !self.moments.insert(mix(cut.mark(), model), depth) {
            return Ok(());
        }
        self.counts.moments += 1;
        let (choices, whole) = cut.choices(self.most);
        self.counts.sampled += u64::from(!whole);
        self.counts.most_pages = self.counts.most_pages.max(cut.pages() as u64);
        for sb in 0..cut.superblocks() {
            let members = self.members(cut.in_sync(sb));
            for choice in &choices {
                self.counts.subsets += 1;
                let mark = mix(cut.mark_image(sb, choice), model);
                for here in &members {
                    if !self.images.insert(mix(mark, name_members(here)), depth) {
                        continue;
                    }
                    let trial = Trial {
                        left: (sb, choice.clone()),
                        here: here.clone(),
                        again: None,
                    };
                    self.recover(world, &cut, &trial, (model, deep))?;
                }
            }
        }
        Ok(())
    }

    /// Recovers from one power cut.
    fn recover(
        &mut self,
        world: &World,
        cut: &Cut,
        trial: &Trial,
        (model, deep): (u64, bool),
    ) -> Result<(), Broken> {
        let image = cut.image(trial.left.0, &trial.left.1);
        let mut hw = image.clone();
        self.counts.recoveries += 1;
        self.counts.degraded += u64::from(trial.here.contains(&false));
        let broken = |fault| Broken {
            fault,
            trial: Some(Box::new(trial.clone())),
        };
        attempt(world, &mut hw, &trial.here, None, &mut Story::default()).map_err(broken)?;
        self.again(world, &hw, trial, None, model)?;
        for power in (0..10_000).take_while(|_| deep) {
            let mut hw = image.clone();
            let up = attempt(
                world,
                &mut hw,
                &trial.here,
                Some(power),
                &mut Story::default(),
            );
            if up.map_err(broken)? {
                break;
            }
            self.counts.recovery_points += 1;
            self.again(world, &hw, trial, Some(power), model)?;
        }
        Ok(())
    }

    /// Cuts the power a second time: with `power` during recovery, or after it.
    fn again(
        &mut self,
        world: &World,
        hw: &Hardware,
        trial: &Trial,
        power: Option<u32>,
        model: u64,
    ) -> Result<(), Broken> {
        if power.is_none() && hw.journal.is_safe() && hw.members.iter().all(Disk::is_safe) {
            // It was judged as it is.
            return Ok(());
        }
        let cut = Cut::of(hw);
        let (choices, _) = cut.choices(self.most);
        for sb in 0..cut.superblocks() {
            // Who was missing still is, or is back.
            let mut members = vec![trial.here.clone()];
            if trial.here != cut.in_sync(sb) {
                members.push(cut.in_sync(sb).to_vec());
            }
            for choice in &choices {
                let mark = mix(cut.mark_image(sb, choice), model);
                for here in &members {
                    let mark = mix(mark, name_members(here));
                    if !self.images.insert(mark, Depth::Last) {
                        continue;
                    }
                    self.counts.recoveries += 1;
                    self.counts.second += 1;
                    let mut hw = cut.image(sb, choice);
                    let up = attempt(world, &mut hw, here, None, &mut Story::default());
                    up.map_err(|fault| Broken {
                        fault,
                        trial: Some(Box::new(Trial {
                            again: Some(Again {
                                power,
                                left: (sb, choice.clone()),
                                here: here.clone(),
                            }),
                            ..trial.clone()
                        })),
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Plays a trial again, in words.
pub(super) fn tell(world: &World, trial: &Trial) -> Vec<String> {
    let mut story = Story {
        on: true,
        step: world.now,
        lines: Vec::new(),
    };
    let mut one = |hw: &Hardware, again: bool, left: &(usize, Choice), here: &[bool], power| {
        let cut = Cut::of(hw);
        let more = if again { " again" } else { "" };
        story.tell(|| format!("THE POWER IS CUT{more}"));
        for line in cut.describe(left.0, &left.1) {
            story.tell(|| format!("  {line}"));
        }
        story.tell(|| format!("  the array is assembled; members that are there: {here:?}"));
        let mut hw = cut.image(left.0, &left.1);
        if let Err(fault) = attempt(world, &mut hw, here, power, &mut story) {
            story.tell(|| format!("WRONG: {}: {}", fault.kind, fault.text));
        }
        hw
    };
    let power = trial.again.as_ref().and_then(|a| a.power);
    let hw = one(&world.hw, false, &trial.left, &trial.here, power);
    if let Some(again) = &trial.again {
        one(&hw, true, &again.left, &again.here, None);
    }
    story.lines
}
