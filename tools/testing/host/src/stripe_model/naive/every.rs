// SPDX-License-Identifier: GPL-2.0

//! Every row without a write-back cache.

use super::super::mask::RowMask;
use super::super::planner::{combine, policies, put_phase, Disk, One, Phase, PLAIN};
use super::super::stripe::{Policy, State, Strip, Twin};
use super::super::{env, Rng};
use super::look::{look as look_at, Tally};

/// A row's place and phase.
#[derive(Clone, Copy)]
struct Place {
    p: usize,
    q: Option<usize>,
    phase: Phase,
}

fn look(ones: &[One], place: Place, policy: &Policy, tally: &mut Tally) {
    look_with(ones, place, &[], policy, tally);
}

/// The same with twins of the first members.
fn look_with(
    ones: &[One],
    place: Place,
    twins: &[(Twin, bool, bool)],
    policy: &Policy,
    tally: &mut Tally,
) {
    let mut st = State::new(1, place.p, place.q);
    let mut strips = [Strip::new(); 8];
    let strips = &mut strips[..ones.len()];
    for (one, s) in ones.iter().zip(strips.iter_mut()) {
        one.put(s, 0);
    }
    for ((twin, hole, spared), s) in twins.iter().zip(strips.iter_mut()) {
        s.twin = *twin;
        s.holes = RowMask(u64::from(*hole));
        s.spared = RowMask(u64::from(*spared));
    }
    put_phase(place.phase, &mut st, strips, 0);
    look_at(&mut st, strips, 1, policy, tally);
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
    tally.tell(&format!("{members} members, P and Q {places:?}"));
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
    // A data strip has 102 states, and a parity strip 17; 27 policies, and 6 phases with two.
    let times = 27 + 6 * 2;
    assert_eq!(two.states, 2 * 102 * 17 * times);
    assert_eq!(six.states, 2 * 102 * 17 * 17 * times);
    assert_eq!(six.waits.len(), 6);
}

#[test]
fn every_row_of_two_members_with_twins_is_planned_as_by_hand() {
    // What the twin is, whether the row is a bad block of it, and whether of the member alone.
    const TWINS: [(Twin, bool, bool); 5] = [
        (Twin::None, false, false),
        (Twin::Behind, false, false),
        (Twin::Level, false, false),
        (Twin::Level, true, false),
        (Twin::Level, false, true),
    ];
    let slots = [One::all(false), One::all(true)];
    let mut tally = Tally::default();
    for phase in PHASES {
        for bits in 0..8u32 {
            let policy = Policy {
                copy: bits & 1 != 0,
                blocked: bits & 2 != 0,
                may_fix: bits & 4 != 0,
                ..PLAIN
            };
            for twins in 0..25 {
                let twins = [TWINS[twins / 5], TWINS[twins % 5]];
                let (p, q) = (1, None);
                combine(&slots, &[true, false], false, &mut |ones| {
                    look_with(ones, Place { p, q, phase }, &twins, &policy, &mut tally)
                });
            }
        }
    }
    tally.tell("2 members with twins");
    assert_eq!(tally.states, 102 * 17 * 7 * 8 * 25);
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
    assert_eq!(three.states, 3 * 102 * 102 * 17 * (27 + 6 * 2));
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
        (102 * 102 * 102, 102 * 102)
    } else {
        (102 * 103 * 104 / 6, 102 * 103 / 2)
    };
    assert_eq!(five.states, fives.len() as u64 * three * 17 * times);
    assert_eq!(six.states, sixes.len() as u64 * two * 17 * 17 * times);
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
    tally.tell("5 to 8 members");
    assert_eq!(tally.states, runs * 1000);
    assert_eq!(tally.waits.len(), 6);
}
