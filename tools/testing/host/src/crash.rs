// SPDX-License-Identifier: GPL-2.0

//! The log and the recovery scan together, against devices that lose power at any step.
//!
//! A model remembers every entry that was placed, by unit. After a crash the members and the table
//! of pending rows must be exactly what all units before the end of the scan say, and the end must
//! not be before anything that was handed out as stable.

use crate::journal::log::{FlushFor, JournalCache, PlaceError};
use crate::model::state_before;
use crate::world::{play, Action, Setup, Stats};
use proptest::prelude::*;

fn setup() -> impl Strategy<Value = Setup> {
    let cache = prop_oneof![
        Just(JournalCache::None),
        (0..4_u8).prop_map(|max_flushes| JournalCache::Volatile { max_flushes }),
    ];
    let seq = prop_oneof![0..1_u64 << 32, Just(7)];
    (
        prop_oneof![(Just(5), 2..6_u32), (Just(6), 4..7_u32)],
        prop_oneof![32..48_u64, 48..160_u64],
        prop_oneof![3..8_usize, 16..64_usize],
        cache,
        seq,
        any::<u64>(),
    )
        .prop_map(
            |((level, disks), blocks, units, cache, first_seq, start)| Setup {
                level,
                disks,
                blocks,
                units,
                cache,
                first_seq,
                start,
            },
        )
}

fn action(write_back: bool) -> impl Strategy<Value = Action> {
    let pick = || 0..8_usize;
    prop_oneof![
        12 => (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(move |(row, mask, cache)| {
            Action::Write { row, mask, cache: cache && write_back }
        }),
        5 => (pick(), any::<u32>()).prop_map(|(pick, mask)| Action::WriteOut { pick, mask }),
        2 => Just(Action::FlushPayload),
        5 => Just(Action::Close),
        8 => pick().prop_map(Action::WriteDone),
        2 => Just(Action::Flush(FlushFor::Group)),
        4 => Just(Action::Flush(FlushFor::Rows)),
        1 => Just(Action::Flush(FlushFor::Everything)),
        4 => pick().prop_map(Action::FlushDone),
        6 => Just(Action::Pop),
        8 => pick().prop_map(Action::RowDone),
        3 => Just(Action::TailStart),
        3 => Just(Action::TailDone),
        3 => Just(Action::Discarded),
        12 => any::<u64>().prop_map(Action::LookAtCrash),
        1 => any::<u64>().prop_map(Action::Crash),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    any::<bool>().prop_flat_map(|write_back| prop::collection::vec(action(write_back), 1..250))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever was stable is found, whatever is replayed is right, and the log can go on.
    #[test]
    fn nothing_stable_is_lost((setup, actions) in (setup(), actions()), seed: u64) {
        let mut world = play(setup, &actions);
        world.crash(seed);
        world.drain();
        world.crash(seed);
        world.restart(seed);
        world.drain();
        let whole = state_before(&world.history, u64::MAX);
        prop_assert!(whole.pending.is_empty());
        for (key, tag) in &whole.members {
            prop_assert_eq!(world.members.read(*key), Some(tag));
        }
    }

    /// After a failed write or flush nothing later counts as stable, and what did before is found.
    #[test]
    fn failure_is_final(
        (setup, actions) in (setup(), actions()),
        failure in prop_oneof![
            (0..8_usize).prop_map(Action::WriteFails),
            (0..8_usize).prop_map(Action::FlushFails),
        ],
        later in actions(),
        seed: u64,
    ) {
        let mut world = play(setup, &actions);
        world.act(failure);
        if !world.log.failed() {
            return Ok(());
        }
        world.pop();
        let must_end = world.must_end;
        let ordered_writes = matches!(failure, Action::WriteFails(_));
        for action in later {
            match action {
                // With the log failed, recovery is all that is left.
                Action::Crash(seed) => {
                    world.crash(seed);
                }
                Action::WriteOut { .. } | Action::Write { .. } | Action::FlushPayload => {
                    prop_assert_eq!(world.log.place(1, 1), Err(PlaceError::Failed));
                    prop_assert_eq!(world.log.place_flush(1), Err(PlaceError::Failed));
                    prop_assert_eq!(world.log.place_empty(), Err(PlaceError::Failed));
                }
                action => world.act(action),
            }
            prop_assert!(ordered_writes || world.must_end == must_end);
        }
        world.crash(seed);
        // All units come out, so that the shell can fail their rows.
        world.close();
        while !world.writing.is_empty() {
            world.complete_write(0, true);
        }
        while !world.flushing.is_empty() {
            world.complete_flush(0, true);
        }
        world.start_flush(FlushFor::Everything);
        while !world.flushing.is_empty() {
            world.complete_flush(0, true);
        }
        world.pop();
        prop_assert!(world.filling.is_empty());
        world.crash(seed);
    }
}

/// The properties mean something only if the runs get somewhere.
#[test]
fn runs_get_somewhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut sum = Stats::default();
    for _ in 0..200 {
        let setup = setup().new_tree(&mut runner).unwrap().current();
        let actions = actions().new_tree(&mut runner).unwrap().current();
        let stats = play(setup, &actions).stats;
        sum.crashes += stats.crashes;
        sum.replayed += stats.replayed;
        sum.data_only += stats.data_only;
        sum.laps += stats.laps;
        sum.torn += stats.torn;
        sum.units += stats.units;
        sum.full += stats.full;
    }
    let enough = sum.crashes > 100 && sum.replayed > 150 && sum.data_only > 50;
    let enough = enough && sum.laps > 20 && sum.torn > 10 && sum.units > 300 && sum.full > 50;
    assert!(enough, "{sum:?}");
}
