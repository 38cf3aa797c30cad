// SPDX-License-Identifier: GPL-2.0

//! The simulator finds what it should, and nothing else.

use raid5c_sim::{campaign, run_seed, tell_seed, Bug, Plan, Stats};
use std::time::Duration;

/// Looks for a bug of the shell in what a quiet machine does in less than a minute; returns the
/// story of what was found.
fn finds(name: &str) -> String {
    finds_with(name, 5_000)
}

/// The same; the story is made short in so many tries.
fn finds_with(name: &str, tries: u32) -> String {
    let bug = Some(name.parse::<Bug>().unwrap());
    let total = campaign(&Plan {
        seed: 1,
        time: Duration::from_secs(900),
        runs: 30_000,
        threads: 1,
        bug,
    });
    let (seed, kind, text) = total.failed.expect("the bug was not found");
    println!(
        "{name}: seed {seed} after {} runs: {kind}: {text}",
        total.runs
    );
    // The seed alone shows it again, and does not without the bug.
    let again = run_seed(seed, bug)
        .fault
        .expect("the seed does not fail again");
    assert_eq!(again, (kind, text));
    assert!(run_seed(seed, None).fault.is_none());
    let told = tell_seed(seed, bug, tries);
    assert_eq!(told.fault.map(|f| f.0), Some(again.0));
    assert!(
        told.story.len() < 500,
        "{} lines are no short story",
        told.story.len()
    );
    told.story.join("\n")
}

#[test]
fn a_dropped_flush_of_the_journal_is_found() {
    let story = finds("dropped-flush");
    assert!(story.contains("BUG: a flush of the journal is left out"));
    assert!(story.contains("THE POWER IS CUT"));
}

#[test]
fn a_tail_that_moves_early_is_found() {
    let story = finds("early-tail");
    assert!(story.contains("THE POWER IS CUT"));
}

#[test]
fn a_row_in_two_units_is_found() {
    let story = finds("split-row");
    let told = ["rows without parity", "no room for the parity"];
    assert!(told.iter().any(|t| story.contains(t)));
}

#[test]
fn blocks_that_are_used_again_too_early_are_found() {
    finds("early-reuse");
}

#[test]
fn blocks_that_are_discarded_too_late_are_found() {
    finds("late-discard");
}

#[test]
fn a_recovery_that_does_not_flush_is_found() {
    finds("no-recovery-flush");
    finds("plain-empty");
}

fn some_runs(threads: usize) -> (Stats, u64) {
    let total = campaign(&Plan {
        seed: 1_000_000,
        time: Duration::from_secs(3600),
        runs: 1500,
        threads,
        bug: None,
    });
    assert!(total.failed.is_none(), "{:?}", total.failed);
    (total.stats, total.runs)
}

/// No violation, and every kind of trouble was had.
#[test]
fn sound_code_passes_and_runs_get_somewhere() {
    let (stats, runs) = some_runs(1);
    assert_eq!(runs, 1500);
    for (name, n) in stats.list() {
        println!("{name:20} {n:12}");
        assert!(n >= 20, "{name} is {n}");
    }
    // The same seeds, the same runs, however they are spread over threads.
    let (again, _) = some_runs(2);
    assert_eq!(stats.list(), again.list());
}

/// Seeds that showed a mistake once; what it was.
#[test]
fn seeds_that_found_something() {
    let seeds = [
        2,          // A log that filled its ring was called corrupt.
        15_572_883, // A full log that was idle could not be closed.
        // Data that was taken in for the cache by an op that failed got into parity, and not into the log.
        1_099_512_628_180,
        // A row on its way out when the journal failed went to the members before md had recorded that.
        3_298_534_890_317,
        // Units that nobody waited for kept those behind them from learning that the journal had failed.
        7_696_581_394_515,
        // A row that two members did not take kept the journal's tail, though its write had failed.
        10_995_116_278_763,
        // A cached row of which too much was lost kept the tail, though the array went on.
        12_094_627_905_787,
    ];
    for seed in seeds {
        let fault = run_seed(seed, None).fault;
        assert!(fault.is_none(), "seed {seed}: {fault:?}");
    }
}

#[test]
fn a_tail_that_passes_the_cache_is_found() {
    finds("early-release");
}

#[test]
fn rows_that_are_finished_without_the_log_are_found() {
    finds("bare-finish");
}

#[test]
fn a_cache_that_is_read_around_is_found() {
    finds("stale-read");
    finds("new-view");
}

#[test]
fn a_recovery_that_trusts_the_journals_cache_is_found() {
    let story = finds("trusted-cache");
    assert!(story.contains("the disks keep their power"));
}

#[test]
fn flushes_of_users_that_wait_too_little_are_found() {
    let story = finds("hasty-flush");
    assert!(story.contains("BUG: it waits for nothing"));
    finds("early-preflush");
}

#[test]
fn a_flush_that_nobody_makes_is_found() {
    let story = finds("idle-flush");
    assert!(story.contains("a flush does not end"));
}

#[test]
fn a_fua_write_that_does_not_wait_is_found() {
    let story = finds("early-fua");
    assert!(story.contains("fua: true") || story.contains("preflush: true"));
}

#[test]
fn early_acknowledgements_out_of_order_are_found() {
    finds("unordered");
}

#[test]
fn rows_that_are_reported_twice_are_found() {
    finds("twice-delivered");
}

#[test]
fn flushes_that_do_too_little_without_a_journal_are_found() {
    for name in ["undrained-flush", "dry-flush", "unrecorded-flush"] {
        let story = finds_with(name, 20_000);
        assert!(story.contains("a flush comes, without a journal"));
    }
}

#[test]
fn writes_that_do_not_wait_for_bad_blocks_are_found() {
    let story = finds("unrecorded-row");
    assert!(story.contains("a bad block"));
}

#[test]
fn a_recovery_that_forgets_bad_blocks_is_found() {
    let story = finds("forgotten-row");
    assert!(story.contains("nobody notes it"));
    finds("late-record");
}

#[test]
fn a_recovery_that_gives_up_too_early_is_found() {
    let story = finds("hasty-loss");
    assert!(story.contains("a bad block"));
}

#[test]
fn mistakes_when_memory_is_short_are_found() {
    for name in ["late-parts", "early-free", "lost-left"] {
        let story = finds(name);
        assert!(story.contains("no pages for rows") || story.contains("reserve"));
    }
}

#[test]
fn old_parity_of_a_row_that_is_lost_in_part_is_found() {
    let story = finds("believed-parity");
    assert!(story.contains("it gets no parity"));
}
