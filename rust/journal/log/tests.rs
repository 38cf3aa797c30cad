// SPDX-License-Identifier: GPL-2.0

//! Every rule of the log by itself; all of them together are tested by `tools/testing/host`.

use super::ordered::Kept;
use super::*;

pub(super) const VOLATILE: JournalCache = JournalCache::Volatile { max_flushes: 1 };

fn block(n: u64) -> JournalBlock {
    JournalBlock::new(n)
}

fn position(n: u64, seq: u64) -> Position {
    Position {
        block: block(n),
        seq,
    }
}

/// A log of a ring of 100 blocks with the tail in block 0 and the head after it.
pub(super) fn log_with(units: usize, cache: JournalCache) -> Log<Vec<Unit>> {
    let ring = Ring::new(100).unwrap();
    let units = vec![Unit::VACANT; units];
    Log::new(units, ring, position(0, 10), position(1, 11), cache).unwrap()
}

/// Places a row of one data and one parity page into a unit of its own, which is closed.
pub(super) fn row(log: &mut Log<Vec<Unit>>) -> UnitRef {
    let placed = log.place(1, 1).unwrap();
    assert!(placed.opened);
    assert_eq!(log.close_open(), Some(placed.unit));
    placed.unit
}

/// A flush payload in a unit of its own, which is closed.
fn rowless(log: &mut Log<Vec<Unit>>) -> UnitRef {
    let unit = log.place_flush(1).unwrap().unit;
    assert_eq!(log.close_open(), Some(unit));
    unit
}

#[test]
fn entries_follow_each_other() {
    let mut log = log_with(4, JournalCache::None);
    assert_eq!(log.free(), 98);
    let first = log.place(3, 1).unwrap();
    assert!(first.opened);
    assert_eq!(first.closed, None);
    assert_eq!(first.first_block, block(2));
    assert_eq!(first.unit.seq(), 11);
    let second = log.place(2, 2).unwrap();
    assert!(!second.opened);
    assert_eq!(second.unit, first.unit);
    assert_eq!(second.first_block, block(6));
    let flush = log.place_flush(5).unwrap();
    assert_eq!((flush.opened, flush.unit), (false, first.unit));
    assert_eq!(log.rows_pending(first.unit), Some(2));
    let extent = log.unit_extent(first.unit).unwrap();
    assert_eq!((extent.start, extent.blocks, extent.seq), (block(1), 9, 11));
    assert_eq!((log.used(), log.free()), (10, 89));
    assert_eq!(log.head(), position(10, 12));
    assert_eq!(log.close_open(), Some(first.unit));
    assert_eq!(log.close_open(), None);
    let next = log.place(1, 1).unwrap();
    assert!(next.opened && next.closed.is_none());
    assert_eq!(next.first_block, block(11));
}

#[test]
fn a_row_never_spans_two_units() {
    let ring = Ring::new(10_000).unwrap();
    let units = vec![Unit::VACANT; 4];
    let none = JournalCache::None;
    let mut log = Log::new(units, ring, position(0, 0), position(1, 1), none).unwrap();
    let first = log.place(101, 1).unwrap();
    // 32 + 102 entries of 20 bytes; 101 of them would fit again, 102 do not.
    let second = log.place(101, 1).unwrap();
    assert_eq!(second.closed, Some(first.unit));
    assert!(second.opened);
    assert_eq!(second.first_block, block(1 + 1 + 102 + 1));
    let third = log.place(101, 0).unwrap();
    assert!(!third.opened);
    assert_eq!(log.place(204, 0), Err(PlaceError::TooLarge));
    assert_eq!(log.place(203, 1), Err(PlaceError::TooLarge));
    assert_eq!(log.place(1, 3), Err(PlaceError::TooLarge));
    assert_eq!(log.place(u32::MAX, 1), Err(PlaceError::TooLarge));
    assert_eq!(log.place_flush(508), Err(PlaceError::TooLarge));
    assert_eq!(log.place_flush(usize::MAX), Err(PlaceError::TooLarge));
    assert!(log.place(202, 2).unwrap().opened);
}

#[test]
fn a_unit_takes_a_quarter_of_the_ring_at_most() {
    let mut log = log_with(8, JournalCache::None);
    assert_eq!(log.place(24, 1), Err(PlaceError::TooLarge));
    let first = log.place(12, 1).unwrap();
    let second = log.place(11, 1).unwrap();
    assert_eq!(second.closed, Some(first.unit));
    // Whatever unit the tail rests on, a row has room when all else is done.
    let ring = Ring::new(16).unwrap();
    let units = vec![Unit::VACANT; 4];
    let none = JournalCache::None;
    let mut log = Log::new(units, ring, position(7, 0), position(8, 1), none).unwrap();
    for _ in 0..100 {
        let unit = log.place(2, 1).unwrap().unit;
        log.close_open().unwrap();
        log.written(unit, true).unwrap();
        log.next_stable().unwrap();
        log.row_done(unit, 1).unwrap();
        let tail = log.tail_candidate().unwrap();
        log.advance_tail(tail).unwrap();
    }
}

#[test]
fn a_full_ring_waits_for_the_tail() {
    let mut log = log_with(50, JournalCache::None);
    let mut units = Vec::new();
    let full = loop {
        match log.place(12, 1) {
            Ok(placed) => units.push(placed),
            Err(error) => break error,
        }
    };
    assert_eq!(full, PlaceError::NoSpace);
    assert_eq!(units.len(), 7);
    // Full to the last block but the one that stays free.
    assert_eq!(log.free(), 0);
    assert_eq!(log.place_empty(), Err(PlaceError::NoSpace));
    assert_eq!(log.place(1, 0), Err(PlaceError::NoSpace));
    assert!(!log.place_flush(1).unwrap().opened);
    assert!(!log.wants_reclaim());
    let unit = units[0].unit;
    log.written(unit, true).unwrap();
    assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
    log.row_done(unit, 1).unwrap();
    let tail = log.tail_candidate().unwrap();
    assert_eq!(tail, position(1, 11));
    assert!(log.wants_reclaim());
    // Only the old tail's block: the tail rests on the done unit.
    let freed = log.freed_by(tail).unwrap();
    assert_eq!(freed.first, (block(0), 1));
    // It may be discarded now, so it is not given to anybody yet.
    assert_eq!(log.free(), 0);
    log.advance_tail(tail).unwrap();
    assert_eq!(log.freed_by(tail), Err(BadTail));
    assert!(!log.wants_reclaim());
    assert_eq!(log.tail_candidate(), None);
    assert_eq!(log.free(), 1);
    log.close_open().unwrap();
    assert_eq!(log.place(1, 0), Err(PlaceError::NoSpace));
    assert_eq!(log.place_empty().unwrap().first_block, block(0));
    assert_eq!(log.place_empty(), Err(PlaceError::NoSpace));
    assert_eq!(log.tail(), tail);
}

#[test]
fn too_few_descriptors_wait_for_units() {
    let mut log = log_with(2, JournalCache::None);
    let first = row(&mut log);
    let second = row(&mut log);
    assert_eq!(log.spare_units(), 0);
    assert_eq!(log.place(1, 1), Err(PlaceError::Busy));
    for unit in [first, second] {
        log.written(unit, true).unwrap();
        assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
    }
    log.row_done(second, 1).unwrap();
    assert_eq!(log.place(1, 1), Err(PlaceError::Busy));
    log.row_done(first, 1).unwrap();
    assert_eq!(log.spare_units(), 2);
    let third = log.place(1, 1).unwrap().unit;
    assert_eq!(third.index(), first.index());
    // The old name does not reach the new unit.
    assert_eq!(log.row_done(first, 1), Err(UnitError::Stale));
    assert_eq!(log.written(first, true), Err(UnitError::Stale));
    assert_eq!(log.rows_pending(first), None);
    assert_eq!(log.unit_extent(first), None);
    assert_eq!(log.rows_pending(third), Some(1));
}

#[test]
fn units_come_out_in_order() {
    let mut log = log_with(8, JournalCache::None);
    let units: Vec<UnitRef> = (0..4).map(|_| row(&mut log)).collect();
    log.written(units[2], true).unwrap();
    log.written(units[1], true).unwrap();
    assert_eq!(log.next_stable(), None);
    log.written(units[0], true).unwrap();
    for unit in &units[..3] {
        assert_eq!(log.next_stable(), Some((*unit, Outcome::Stable)));
    }
    assert_eq!(log.next_stable(), None);
    log.written(units[3], true).unwrap();
    assert_eq!(log.next_stable(), Some((units[3], Outcome::Stable)));
    assert_eq!(log.next_flush(FlushFor::Everything), None);
}

#[test]
fn a_volatile_cache_needs_a_flush_after_the_write() {
    let mut log = log_with(8, VOLATILE);
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    log.written(units[1], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    log.written(units[0], true).unwrap();
    assert_eq!(log.next_stable(), None);
    let flush = log.next_flush(FlushFor::Rows).unwrap();
    // Written after the flush began: not covered.
    log.written(units[2], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((units[0], Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((units[1], Outcome::Stable)));
    assert_eq!(log.next_stable(), None);
    let flush = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((units[2], Outcome::Stable)));
    assert_eq!(log.next_flush(FlushFor::Everything), None);
}

#[test]
fn units_without_rows_ride_along() {
    let mut log = log_with(8, VOLATILE);
    let lonely = rowless(&mut log);
    log.written(lonely, true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    assert_eq!(log.next_stable(), None);
    assert!(!log.is_idle());
    let with_row = row(&mut log);
    log.written(with_row, true).unwrap();
    let flush = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((lonely, Outcome::Stable)));
    assert_eq!(log.tail_candidate(), Some(position(1, 11)));
    assert_eq!(log.next_stable(), Some((with_row, Outcome::Stable)));
    log.row_done(with_row, 1).unwrap();
    let last = rowless(&mut log);
    log.written(last, true).unwrap();
    let flush = log.next_flush(FlushFor::Everything).unwrap();
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((last, Outcome::Stable)));
    assert!(log.is_idle());
    assert_eq!(log.tail_candidate(), Some(position(5, 13)));
}

#[test]
fn flushes_overlap_and_overtake() {
    let mut log = log_with(8, JournalCache::Volatile { max_flushes: 2 });
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    log.written(units[0], true).unwrap();
    let first = log.next_flush(FlushFor::Rows).unwrap();
    log.written(units[1], true).unwrap();
    let second = log.next_flush(FlushFor::Rows).unwrap();
    log.written(units[2], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    log.flushed(second, true);
    assert_eq!(log.next_stable(), Some((units[0], Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((units[1], Outcome::Stable)));
    let third = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(first, true);
    assert_eq!(log.next_stable(), None);
    log.flushed(third, true);
    assert_eq!(log.next_stable(), Some((units[2], Outcome::Stable)));
}

#[test]
fn the_tail_waits_for_rows_in_order() {
    let mut log = log_with(8, JournalCache::None);
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    for unit in &units {
        log.written(*unit, true).unwrap();
        assert_eq!(log.row_done(*unit, 1), Err(UnitError::WrongState));
        assert_eq!(log.next_stable(), Some((*unit, Outcome::Stable)));
    }
    log.row_done(units[1], 1).unwrap();
    assert_eq!(log.row_done(units[1], 1), Err(UnitError::WrongState));
    assert_eq!(log.tail_candidate(), None);
    assert_eq!(log.row_done(units[0], 2), Err(UnitError::TooManyRows));
    log.row_done(units[0], 1).unwrap();
    // Units 11 and 12 are done; the tail stays on the later one.
    let tail = log.tail_candidate().unwrap();
    assert_eq!(tail, position(4, 12));
    log.row_done(units[2], 1).unwrap();
    assert_eq!(log.tail_candidate(), Some(position(7, 13)));
    assert!(log.is_idle());
    // The superblock write that was under way names the older candidate.
    assert_eq!(log.freed_by(tail).unwrap().first, (block(0), 4));
    log.advance_tail(tail).unwrap();
    assert_eq!(log.advance_tail(tail), Err(BadTail));
    assert_eq!(log.advance_tail(position(0, 10)), Err(BadTail));
    assert_eq!(log.advance_tail(position(8, 14)), Err(BadTail));
    assert_eq!(log.advance_tail(position(50, 13)), Err(BadTail));
    let tail = log.tail_candidate().unwrap();
    assert_eq!(log.freed_by(tail).unwrap().first, (block(4), 3));
    log.advance_tail(tail).unwrap();
    assert_eq!(log.tail_candidate(), None);
    assert_eq!(log.used(), 3);
}

#[test]
fn freed_space_may_cross_the_end() {
    let ring = Ring::new(100).unwrap();
    let units = vec![Unit::VACANT; 4];
    let none = JournalCache::None;
    let mut log = Log::new(units, ring, position(97, 1), position(98, 2), none).unwrap();
    let first = log.place(1, 1).unwrap();
    assert_eq!(first.first_block, block(99));
    log.close_open().unwrap();
    let second = row(&mut log);
    assert_eq!(log.unit_extent(second).unwrap().start, block(1));
    for unit in [first.unit, second] {
        log.written(unit, true).unwrap();
        log.next_stable().unwrap();
        log.row_done(unit, 1).unwrap();
    }
    let freed = log.freed_by(log.tail_candidate().unwrap()).unwrap();
    assert_eq!(freed.first, (block(97), 3));
    assert_eq!(freed.second, Some((block(0), 1)));
}

#[test]
fn a_failed_write_fails_what_follows() {
    let mut log = log_with(8, VOLATILE);
    let units: Vec<UnitRef> = (0..4).map(|_| row(&mut log)).collect();
    let open = log.place(1, 1).unwrap().unit;
    log.written(units[3], true).unwrap();
    log.written(units[1], false).unwrap();
    assert!(log.failed());
    assert_eq!(log.place(1, 1), Err(PlaceError::Failed));
    assert_eq!(log.place_empty(), Err(PlaceError::Failed));
    assert_eq!(log.next_stable(), None);
    // What came before can still become stable.
    log.written(units[0], true).unwrap();
    let flush = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(flush, true);
    assert_eq!(log.next_stable(), Some((units[0], Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((units[1], Outcome::Failed)));
    // Its pages may still be under way.
    assert_eq!(log.next_stable(), None);
    log.written(units[2], true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Everything), None);
    assert_eq!(log.next_stable(), Some((units[2], Outcome::Failed)));
    assert_eq!(log.next_stable(), Some((units[3], Outcome::Failed)));
    assert_eq!(log.next_stable(), None);
    assert_eq!(log.close_open(), Some(open));
    log.written(open, false).unwrap();
    assert_eq!(log.next_stable(), Some((open, Outcome::Failed)));
    assert_eq!(log.row_done(units[2], 1), Err(UnitError::WrongState));
    assert!(!log.is_idle());
    log.row_done(units[0], 1).unwrap();
    assert!(log.is_idle());
    // The tail does not pass what was lost.
    assert_eq!(log.tail_candidate(), Some(position(1, 11)));
}

#[test]
fn a_failed_flush_fails_what_is_not_stable() {
    let mut log = log_with(8, JournalCache::Volatile { max_flushes: 2 });
    let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
    log.written(units[0], true).unwrap();
    let first = log.next_flush(FlushFor::Rows).unwrap();
    log.written(units[1], true).unwrap();
    let second = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(first, false);
    assert!(log.failed());
    // The device may have thrown away what the failed flush covered; a later success says nothing.
    log.flushed(second, true);
    assert_eq!(log.next_stable(), Some((units[0], Outcome::Failed)));
    assert_eq!(log.next_stable(), Some((units[1], Outcome::Failed)));
    assert_eq!(log.next_stable(), None);
    log.written(units[2], true).unwrap();
    assert_eq!(log.next_stable(), Some((units[2], Outcome::Failed)));
    assert!(log.is_idle());
    assert_eq!(log.tail_candidate(), None);
    assert_eq!(log.next_flush(FlushFor::Everything), None);
}

#[test]
fn an_empty_unit_carries_the_tail() {
    let mut log = log_with(8, VOLATILE);
    let open = log.place(1, 1).unwrap().unit;
    let empty = log.place_empty().unwrap();
    assert_eq!(empty.closed, Some(open));
    let later = log.place(1, 0).unwrap();
    assert!(later.opened && later.closed.is_none());
    log.close_open().unwrap();
    for unit in [open, empty.unit, later.unit] {
        log.written(unit, true).unwrap();
    }
    let flush = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(flush, true);
    for unit in [open, empty.unit, later.unit] {
        assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
    }
    assert_eq!(log.tail_candidate(), None);
    log.row_done(open, 1).unwrap();
    assert_eq!(log.tail_candidate(), Some(position(4, 12)));
    assert_eq!(log.rows_pending(later.unit), Some(1));
}

#[test]
fn events_out_of_place_are_refused() {
    let mut log = log_with(4, JournalCache::None);
    let unit = log.place(1, 1).unwrap().unit;
    assert_eq!(log.written(unit, true), Err(UnitError::WrongState));
    log.close_open().unwrap();
    log.written(unit, true).unwrap();
    assert_eq!(log.written(unit, true), Err(UnitError::WrongState));
    let never = UnitRef { index: 1, seq: 12 };
    assert_eq!(log.written(never, true), Err(UnitError::Stale));
    let confused = UnitRef { index: 3, seq: 11 };
    assert_eq!(log.row_done(confused, 1), Err(UnitError::Stale));
}

#[test]
fn sequences_may_wrap() {
    let ring = Ring::new(100).unwrap();
    let tail = position(0, u64::MAX - 2);
    let head = position(1, u64::MAX - 1);
    let units = vec![Unit::VACANT; 3];
    let mut log = Log::new(units, ring, tail, head, VOLATILE).unwrap();
    for _ in 0..10 {
        let units: Vec<UnitRef> = (0..3).map(|_| row(&mut log)).collect();
        for unit in units.iter().rev() {
            log.written(*unit, true).unwrap();
        }
        let flush = log.next_flush(FlushFor::Rows).unwrap();
        log.flushed(flush, true);
        for unit in units {
            assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
            log.row_done(unit, 1).unwrap();
        }
        let tail = log.tail_candidate().unwrap();
        log.advance_tail(tail).unwrap();
        assert_eq!(log.used(), 3);
    }
}

#[test]
fn a_log_starts_within_its_ring() {
    let ring = Ring::new(10).unwrap();
    let start = |units: usize, tail, head| {
        let units = vec![Unit::VACANT; units];
        Log::new(units, ring, tail, head, JournalCache::None).is_some()
    };
    assert!(start(1, position(9, 1), position(0, 2)));
    assert!(!start(0, position(9, 1), position(0, 2)));
    assert!(!start(1, position(10, 1), position(0, 2)));
    assert!(!start(1, position(9, 1), position(10, 2)));
}

#[test]
fn much_to_reclaim_is_worth_a_superblock() {
    let mut log = log_with(8, JournalCache::None);
    for nth in 0..10_u64 {
        let unit = row(&mut log);
        log.written(unit, true).unwrap();
        log.next_stable().unwrap();
        log.row_done(unit, 1).unwrap();
        // A quarter of the ring is 25 blocks.
        assert_eq!(log.wants_reclaim(), 1 + 3 * nth > 25);
    }
}

/// What is to leave the log soon needs no quarter of the ring.
#[test]
fn a_hastened_tail_goes_as_far_as_it_was_told() {
    let mut log = log_with(8, JournalCache::None);
    let done = |log: &mut Log<Vec<Unit>>| {
        let unit = row(log);
        log.written(unit, true).unwrap();
        log.next_stable().unwrap();
        log.row_done(unit, 1).unwrap();
    };
    for _ in 0..2 {
        done(&mut log);
    }
    assert!(!log.wants_reclaim());
    log.hasten();
    assert!(log.wants_reclaim());
    let tail = log.tail_candidate().unwrap();
    log.advance_tail(tail).unwrap();
    assert!(!log.wants_reclaim());
    done(&mut log);
    assert!(!log.wants_reclaim());
}

/// With two parities a meta block has room for more pages than one write to the journal takes.
#[test]
fn a_unit_is_one_write() {
    let ring = Ring::new(10_000).unwrap();
    let (tail, head) = (position(0, 10), position(1, 11));
    for (data, parity) in [(1, 2), (0, 2), (1, 1), (5, 2)] {
        let units = vec![Unit::VACANT; 8];
        let mut log = Log::new(units, ring, tail, head, VOLATILE).unwrap();
        for _ in 0..1000 {
            let placed = log.place(data, parity).unwrap();
            let blocks = log.unit_extent(placed.unit).unwrap().blocks;
            assert!(
                blocks <= 256,
                "{blocks} blocks of {data} and {parity} pages"
            );
            if let Some(full) = placed.closed {
                log.written(full, true).unwrap();
                let ticket = log.next_flush(FlushFor::Rows).unwrap();
                log.flushed(ticket, true);
                let (unit, _) = log.next_stable().unwrap();
                let rows = log.rows_pending(unit).unwrap();
                log.row_done(unit, rows).unwrap();
            }
        }
    }
}

/// What is promised to cached rows counts as used, and nobody else gets it.
#[test]
fn cached_rows_keep_room_for_their_parity() {
    let ring = Ring::new(40).unwrap();
    let units = vec![Unit::VACANT; 8];
    let none = JournalCache::None;
    let mut log = Log::new(units, ring, position(0, 0), position(1, 1), none).unwrap();
    log.set_row(3, 1);
    // A row may need 1 + 3 blocks, and then 1 + 1; two units each.
    assert_eq!((log.grant(2), log.load()), (2, (1 + 2 * 6, 40)));
    log.give_back(1);
    let first = log.place_data(2, true, WaitFor::Stable).unwrap();
    assert_eq!((log.cached_rows(), log.load()), (1, (1 + 3 + 2, 40)));
    assert_eq!(log.grant(1), 1);
    let again = log.place_data(3, false, WaitFor::Ordered).unwrap();
    assert_eq!(again.unit, first.unit);
    assert_eq!(log.cached_rows(), 1, "it is the same row");
    assert!(!log.is_starved());
    let granted = log.grant(u32::MAX);
    assert!(granted < 7 && log.is_starved(), "{granted} rows in 8 units");
    log.give_back(granted);
    let parity = log.place_parity(1).unwrap();
    assert_eq!((parity.unit, log.cached_rows()), (first.unit, 0));
    assert_eq!(log.load(), (log.used(), 40));
    log.close_open().unwrap();
    log.written(first.unit, true).unwrap();
    assert_eq!(log.next_stable(), Some((first.unit, Outcome::Stable)));
    log.row_done(first.unit, 1).unwrap();
    // The tail could move to the unit itself.
    assert_eq!((log.used(), log.load().0), (8, 7));
    assert!(log.is_idle());
    assert_eq!(log.grant(1), 1);
    assert!(!log.is_idle(), "somebody is about to place data");
    log.give_back(1);
    let lost = row(&mut log);
    log.written(lost, false).unwrap();
    assert_eq!(log.grant(1), 0, "the journal has failed");
}

/// A log of which rows can be cached, with a volatile cache.
fn caching_log() -> Log<Vec<Unit>> {
    let mut log = log_with(8, VOLATILE);
    log.set_row(3, 1);
    assert_eq!(log.grant(4), 4);
    log
}

/// Places a cached row's data in a unit of its own, which is closed.
pub(super) fn data(log: &mut Log<Vec<Unit>>, wait: WaitFor) -> UnitRef {
    let unit = log.place_data(1, true, wait).unwrap().unit;
    assert_eq!(log.close_open(), Some(unit));
    unit
}

/// What need not survive a power cut yet takes no flush, but its turn.
#[test]
fn units_are_ordered_before_they_are_stable() {
    let mut log = caching_log();
    let nothing = log.barrier();
    assert_eq!(log.is_kept(nothing), Kept::Yes);
    let [a, b] = [0, 1].map(|_| data(&mut log, WaitFor::Ordered));
    log.written(b, true).unwrap();
    assert_eq!(log.next_ordered(), None, "the first is not written");
    log.written(a, true).unwrap();
    assert_eq!(log.next_flush(FlushFor::Rows), None, "nobody waits");
    assert_eq!(log.next_ordered(), Some(a));
    let first = log.barrier();
    assert_eq!(log.next_ordered(), Some(b));
    assert_eq!(log.next_ordered(), None, "once each");
    let both = log.barrier();
    assert_eq!(log.next_stable(), None);
    assert_eq!(log.is_kept(first), Kept::NotYet);
    let ticket = log.next_flush(FlushFor::Everything).unwrap();
    let c = data(&mut log, WaitFor::Ordered);
    log.written(c, true).unwrap();
    assert_eq!(log.next_ordered(), Some(c));
    log.flushed(ticket, true);
    assert_eq!(log.is_kept(both), Kept::Yes);
    assert_eq!(log.is_kept(log.barrier()), Kept::NotYet);
    assert_eq!(log.next_stable(), Some((a, Outcome::Stable)));
    // What waits for more than to be ordered has all before it flushed too.
    let d = data(&mut log, WaitFor::Stable);
    log.written(d, true).unwrap();
    assert_eq!(log.next_ordered(), None);
    let ticket = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(ticket, true);
    assert_eq!(log.is_kept(log.barrier()), Kept::Yes);
}

/// A unit that both kinds of rows share is handed out twice.
#[test]
fn a_unit_may_be_awaited_in_both_ways() {
    let mut log = caching_log();
    let unit = log.place_data(1, true, WaitFor::Ordered).unwrap().unit;
    let same = log.place_data(1, true, WaitFor::Stable).unwrap().unit;
    assert_eq!(same, unit);
    assert_eq!(log.close_open(), Some(unit));
    log.written(unit, true).unwrap();
    assert_eq!(log.next_ordered(), Some(unit));
    let ticket = log.next_flush(FlushFor::Rows).unwrap();
    log.flushed(ticket, true);
    assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
}

/// What is stable before anybody asked is not handed out as ordered: always so without a cache.
#[test]
fn what_is_stable_is_not_ordered_first() {
    let mut log = log_with(8, JournalCache::None);
    log.set_row(3, 1);
    assert_eq!(log.grant(1), 1);
    let unit = data(&mut log, WaitFor::Ordered);
    log.written(unit, true).unwrap();
    assert_eq!(log.next_ordered(), None);
    assert_eq!(log.is_kept(log.barrier()), Kept::Yes);
    assert_eq!(log.next_stable(), Some((unit, Outcome::Stable)));
}

/// After a failure nothing more is ordered, and what was is not known to be kept.
#[test]
fn a_failed_journal_keeps_no_promise() {
    let mut log = caching_log();
    let [a, b, c] = [0, 1, 2].map(|_| data(&mut log, WaitFor::Ordered));
    log.written(a, true).unwrap();
    assert_eq!(log.next_ordered(), Some(a));
    log.written(b, true).unwrap();
    let ticket = log.next_flush(FlushFor::Everything).unwrap();
    let kept = log.barrier();
    log.flushed(ticket, true);
    assert_eq!(log.is_kept(kept), Kept::Yes);
    log.written(c, true).unwrap();
    assert_eq!(log.next_ordered(), Some(c));
    let ticket = log.next_flush(FlushFor::Everything).unwrap();
    log.flushed(ticket, false);
    assert_eq!(log.is_kept(kept), Kept::Yes);
    assert_eq!(log.is_kept(log.barrier()), Kept::Never);
    assert_eq!(log.next_ordered(), None);
    assert_eq!(log.next_stable(), Some((a, Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((b, Outcome::Stable)));
    assert_eq!(log.next_stable(), Some((c, Outcome::Failed)));
}

/// Units that nobody waited for do not keep others from learning that the journal failed.
#[test]
fn after_a_failure_all_units_are_flushed() {
    let mut log = caching_log();
    let a = data(&mut log, WaitFor::Ordered);
    log.written(a, true).unwrap();
    assert_eq!(log.next_ordered(), Some(a));
    assert_eq!(log.next_flush(FlushFor::Rows), None);
    let b = data(&mut log, WaitFor::Ordered);
    log.written(b, false).unwrap();
    assert_eq!(log.next_stable(), None, "the first may be stable yet");
    let ticket = log.next_flush(FlushFor::Rows).expect("it has to be seen");
    log.flushed(ticket, false);
    assert_eq!(log.next_stable(), Some((a, Outcome::Failed)));
    assert_eq!(log.next_stable(), Some((b, Outcome::Failed)));
}

/// Room that was granted and given back is told to who found none because of it.
#[test]
fn who_was_crowded_out_learns_of_room() {
    let ring = Ring::new(40).unwrap();
    let none = JournalCache::None;
    let units = vec![Unit::VACANT; 64];
    let mut log = Log::new(units, ring, position(0, 0), position(1, 1), none).unwrap();
    log.set_row(3, 1);
    let granted = log.grant(u32::MAX);
    assert!(!log.give_back(1), "nobody was in need");
    assert_eq!(log.grant(1), 1);
    assert_eq!(log.place(3, 1), Err(PlaceError::NoSpace));
    assert_eq!(log.tail_candidate(), None, "no tail will move");
    assert!(log.give_back(granted));
    assert!(!log.give_back(0));
    assert!(log.place(3, 1).is_ok());
}
