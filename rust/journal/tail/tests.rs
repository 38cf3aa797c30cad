// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::journal::format::JournalBlock;
use crate::journal::log::{FlushFor, JournalCache};
use crate::journal::unit::Outcome;

/// An empty log with its tail in block 0.
fn log(blocks: u64, cache: JournalCache) -> Log<Vec<Unit>> {
    let at = |n, seq| Position {
        block: JournalBlock::new(n),
        seq,
    };
    let ring = Ring::new(blocks).unwrap();
    Log::new(vec![Unit::VACANT; 4], ring, at(0, 10), at(1, 11), cache).unwrap()
}

/// A full log that is idle frees what it can, and only then has room for the unit that closes it.
#[test]
fn a_full_log_is_closed_in_two_steps() {
    let mut log = log(10, JournalCache::Volatile { max_flushes: 1 });
    assert_eq!(log.close(), Ok(Closing::Done), "a new log is empty");
    for _ in 0..4 {
        let row = log.place(1, 0).unwrap();
        assert_eq!(log.close(), Ok(Closing::Done), "the log is not idle");
        let unit = log.close_open().unwrap();
        log.written(unit, true).unwrap();
        let ticket = log.next_flush(FlushFor::Rows).unwrap();
        log.flushed(ticket, true);
        assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
        log.row_done(row.unit, 1).unwrap();
    }
    assert_eq!(log.free(), 0);
    let Ok(Closing::Move(begun)) = log.close() else {
        panic!("there is room in a full log");
    };
    let tail = begun.members_flushed();
    assert_eq!(tail.position(), log.tail_candidate().unwrap());
    let freed = tail.superblock_written(&log).unwrap();
    assert_eq!(log.free(), 0, "freed before the discards have ended");
    freed.discarded(&mut log).unwrap();
    let Ok(Closing::Unit(placed)) = log.close() else {
        panic!("there is no room for the last unit");
    };
    log.written(placed.unit, true).unwrap();
    let ticket = log.next_flush(FlushFor::Everything).unwrap();
    log.flushed(ticket, true);
    assert!(log.next_stable().is_some());
    let tail = log.move_tail().unwrap().members_flushed();
    let freed = tail.superblock_written(&log).unwrap();
    freed.discarded(&mut log).unwrap();
    assert_eq!(log.close(), Ok(Closing::Done));
    assert_eq!(log.used(), 1);
}

/// A move that another one has overtaken changes nothing.
#[test]
fn an_old_move_of_the_tail_is_refused() {
    let mut log = log(64, JournalCache::None);
    let row = log.place(1, 1).unwrap();
    let unit = log.close_open().unwrap();
    log.written(unit, true).unwrap();
    let second = log.place(1, 1).unwrap();
    let unit = log.close_open().unwrap();
    log.written(unit, true).unwrap();
    while log.next_stable().is_some() {}
    log.row_done(row.unit, 1).unwrap();
    log.row_done(second.unit, 1).unwrap();
    let (old, new) = (log.move_tail().unwrap(), log.move_tail().unwrap());
    let tail = new.members_flushed().superblock_written(&log).unwrap();
    tail.discarded(&mut log).unwrap();
    let at = log.tail();
    assert_eq!(old.members_flushed().superblock_written(&log), Err(BadTail));
    assert_eq!(log.tail(), at);
}

/// An idle log that cannot be closed says so.
#[test]
fn a_failed_log_is_not_closed() {
    let mut failed = log(64, JournalCache::None);
    let row = failed.place(1, 1).unwrap();
    failed.close_open().unwrap();
    failed.written(row.unit, false).unwrap();
    while failed.next_stable().is_some() {}
    assert!(failed.is_idle());
    assert_eq!(failed.close(), Err(PlaceError::Failed));

    // Full, and the tail cannot move: of a log in use that cannot be.
    let at = |n, seq| Position {
        block: JournalBlock::new(n),
        seq,
    };
    let ring = Ring::new(10).unwrap();
    let units = vec![Unit::VACANT; 4];
    let mut full = Log::new(units, ring, at(0, 10), at(9, 11), JournalCache::None).unwrap();
    assert_eq!(full.free(), 0);
    assert_eq!(full.close(), Err(PlaceError::NoSpace));
}
