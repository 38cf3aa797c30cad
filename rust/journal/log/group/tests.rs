// SPDX-License-Identifier: GPL-2.0

//! Flushes that are shared.

use super::super::tests::{data, log_with, row, VOLATILE};
use super::super::*;
use super::MOST;

const TWO: JournalCache = JournalCache::Volatile { max_flushes: 2 };

#[test]
fn a_group_shares_a_flush() {
    let mut log = log_with(8, TWO);
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    assert_eq!(log.next_flush(FlushFor::Group), None);
    log.written(units[1], true).unwrap();
    log.written(units[0], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Group), None);
    // Not among those that were being written when the flush was first wanted.
    let later = row(&mut log);
    assert_eq!(log.next_flush(FlushFor::Group), None);
    // Nor is a unit that still takes rows.
    let _ = log.place(1, 1).unwrap();
    log.written(units[2], true).unwrap();
    let first = log.next_flush(FlushFor::Group).unwrap();
    log.written(later, true).unwrap();
    let second = log.next_flush(FlushFor::Group).unwrap();
    log.flushed(first, true);
    assert_eq!(log.next_stable().map(|(unit, _)| unit), Some(units[0]));
    log.flushed(second, true);
}

#[test]
fn every_flush_has_its_group() {
    let mut log = log_with(8, TWO);
    for _ in 0..3 {
        let [a, b] = [0, 1].map(|_| row(&mut log));
        log.written(a, true).unwrap();
        assert_eq!(log.next_flush(FlushFor::Group), None);
        log.written(b, true).unwrap();
        let flush = log.next_flush(FlushFor::Group).unwrap();
        log.flushed(flush, true);
        while let Some((unit, outcome)) = log.next_stable() {
            assert_eq!(outcome, Outcome::Stable);
            log.row_done(unit, 1).unwrap();
        }
    }
    // So has one that began for another reason.
    let [a, b, c] = [0, 1, 2].map(|_| row(&mut log));
    log.written(a, true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Group), None);
    let _ = log.next_flush(FlushFor::Everything).unwrap();
    let d = row(&mut log);
    log.written(b, true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Group), None);
    log.written(c, true).unwrap();
    assert_eq!(
        log.next_flush(FlushFor::Group),
        None,
        "another one is written by now"
    );
    log.written(d, true).unwrap();
    assert!(log.next_flush(FlushFor::Group).is_some());
}

#[test]
fn a_group_has_its_limit() {
    let mut log = log_with(MOST as usize + 4, TWO);
    let units: Vec<UnitRef> = (0..MOST + 3).map(|_| row(&mut log)).collect();
    let (group, last) = units.split_at(MOST as usize + 1);
    for unit in group {
        assert_eq!(log.next_flush(FlushFor::Group), None);
        log.written(*unit, true).unwrap();
    }
    assert!(log.next_flush(FlushFor::Group).is_some());
    assert_eq!(last.len(), 2);
}

/// A user's flush does not wait for a group, but for what it is about; what else waits does.
#[test]
fn a_user_waits_for_no_group() {
    let mut log = log_with(8, TWO);
    log.set_row(3, 1);
    assert_eq!(log.grant(4), 4);
    let early = data(&mut log, WaitFor::Ordered);
    log.written(early, true).unwrap();
    assert_eq!(log.next_ordered(), Some(early));
    let [a, b] = [0, 1].map(|_| data(&mut log, WaitFor::Stable));
    let flush = log.next_flush(FlushFor::RowsAnd(log.barrier())).unwrap();
    log.written(a, true).unwrap();
    let covered = FlushFor::RowsAnd(log.barrier());
    assert_eq!(log.next_flush(covered), None, "the group is not written");
    assert_eq!(log.next_flush(FlushFor::Group), None);
    log.written(b, true).unwrap();
    assert!(log.next_flush(covered).is_some());
    log.flushed(flush, true);
}

#[test]
fn a_group_is_not_waited_for_when_the_journal_fails() {
    let mut log = log_with(8, VOLATILE);
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    log.written(units[0], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Group), None);
    log.written(units[1], false).unwrap();
    let flush = log.next_flush(FlushFor::Group).unwrap();
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((units[0], Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((units[1], Outcome::Failed)));
}
