// SPDX-License-Identifier: GPL-2.0

//! Reclaim: moving the journal's tail, and feeding rows that waited for room; and flushes when
//! the journal is lost.
//!
//! Done by a thread of its own, or by `quiesce` on behalf of md while md holds
//! the array's lock, which moving the tail needs.

use super::{
    array::{Array, JournalState},
    cache::List,
    counters::Count,
    journal::Journal,
    journal_io::EmptyUnit,
    stripe::Stripe,
};
use crate::{
    journal::{
        log::FlushFor,
        pressure::{decide, Load, Reason},
        tail::{Closing, TailMove},
        unit::UnitRef,
    },
    lib::{
        clock::seconds,
        noio::NoIo,
        trace::{trace, TailMoved, Why, WriteOut},
    },
    md::{rdev::Rdev, thread::Worker},
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Full, Relaxed},
        Arc,
    },
    time::{delay::fsleep, Delta},
};

/// How full a log is, in blocks.
pub(super) struct Occupancy {
    pub(super) blocks: u64,
    pub(super) used: u64,
    /// Promised to rows of the cache; not in `used`.
    pub(super) promised: u64,
    /// What is left until the tail, promised blocks included.
    pub(super) free: u64,
}

impl Journal {
    /// Whether space is worth being freed, and could be.
    pub(super) fn wants_reclaim(&self) -> bool {
        self.array.mddev.ro() == 0
            && !self.array.has_failed()
            && self.array.journal_state() == JournalState::Works
            && self.state.lock().log.wants_reclaim()
    }

    /// Has the tail come to what is in the log now as soon as it can.
    pub(super) fn hasten_tail(&self) {
        self.state.lock().log.hasten();
    }

    /// A row is on the members.
    pub(super) fn row_done(&self, unit: UnitRef) {
        let (wants, spare) = {
            let mut state = self.state.lock();
            let refused = state.log.row_done(unit, 1).is_err();
            // The log may not have been told yet that its device is gone.
            if refused && !state.log.failed() && self.device().is_some() {
                pr_err!(
                    "{}: internal error: a row of journal unit {} is done twice; please report this\n",
                    self.array.mddev.name(),
                    unit.seq()
                );
            }
            (state.log.wants_reclaim(), state.log.spare_units() > 0)
        };
        if spare && self.busy.fetch_add(0, Full) != 0 && self.busy.xchg(0, Full) != 0 {
            self.array.want_feed();
        } else if wants {
            self.array.wake_reclaim();
        }
    }

    /// Blocks of the log that the tail cannot pass or that are promised, and all
    /// blocks.
    fn load(&self) -> (u64, u64) {
        let state = self.state.lock();
        state.log.load()
    }

    /// How full the log is.
    pub(super) fn occupancy(&self) -> Occupancy {
        let state = self.state.lock();
        Occupancy {
            blocks: state.log.load().1,
            used: state.log.used(),
            promised: state.log.promised(),
            free: state.log.free(),
        }
    }

    /// Rows with data in the log and no parity.
    fn cached_rows(&self) -> u32 {
        self.state.lock().log.cached_rows()
    }

    /// Whether rows wait for room.
    fn is_starved(&self) -> bool {
        self.state.lock().log.is_starved()
    }

    /// Moves the tail as far as it can go, and frees what lies before it.
    /// `locked`: the caller holds md's lock of the array. `force`: also if
    /// little is to be gained. True if something was freed.
    pub(super) fn reclaim(&self, locked: bool, force: bool) -> bool {
        if self.array.journal_state() != JournalState::Works {
            return false;
        }
        let _turn = self.reclaiming.lock();
        let begun = {
            let state = self.state.lock();
            if !force && !state.log.wants_reclaim() {
                return false;
            }
            state.log.move_tail()
        };
        begun.is_some_and(|begun| self.move_tail(begun, locked))
    }

    /// Carries out a move of the tail; false if it did not come about, and may
    /// be tried again. With `reclaiming` held.
    fn move_tail(&self, begun: TailMove, locked: bool) -> bool {
        let Some(rdev) = self.device() else {
            return false;
        };
        if self.array.mddev.ro() != 0 || !self.array.flush_members() {
            return false;
        }
        let tail = begun.members_flushed();
        let to = tail.position();
        rdev.set_journal_tail(to.block.sector());
        // Looks at `ro` again, with the lock held: md writes no superblock then.
        let written = if locked {
            self.array.mddev.update_sb_locked()
        } else {
            self.array.mddev.try_update_sb()
        };
        if !written {
            return false;
        }
        let freed = tail.superblock_written(&self.state.lock().log);
        let Ok(freed) = freed else {
            return false;
        };
        let extents = freed.extents();
        for (start, n) in [Some(extents.first), extents.second].into_iter().flatten() {
            // A journal that cannot discard loses nothing.
            let _ = rdev.discard(start.sector(), n.wrapping_mul(8));
        }
        self.array.counters.add(Count::TailMoves, 1);
        trace(|| TailMoved {
            dev: self.array.mddev.dev(),
            to,
            freed: extents,
        });
        freed.discarded(&mut self.state.lock().log).is_ok()
    }

    /// Leaves an idle log empty: a unit without rows at the head, and the tail
    /// there. For the end of an array's run, with md's lock held.
    pub(super) fn close(&self) -> Result {
        let rdev = self.device().ok_or(EIO)?;
        loop {
            let mut turn = self.reclaiming.lock();
            let closing = self.state.lock().log.close().map_err(|_| ENOSPC)?;
            match closing {
                Closing::Done => return Ok(()),
                Closing::Move(begun) => {
                    if !self.move_tail(begun, true) {
                        return Err(EIO);
                    }
                }
                Closing::Unit(placed) => {
                    self.write_last(&rdev, placed.unit, &mut turn)?;
                    drop(turn);
                    self.reclaim(true, true);
                    return Ok(());
                }
            }
        }
    }

    /// Writes the unit without rows that closes the log.
    fn write_last(&self, rdev: &Rdev, unit: UnitRef, empty: &mut EmptyUnit) -> Result {
        let extent = self.state.lock().log.unit_extent(unit).ok_or(EINVAL)?;
        let written = empty.write(rdev, extent.start, unit.seq(), self.seed);
        let mut state = self.state.lock();
        let _ = state.log.written(unit, written.is_ok());
        if let Some(ticket) = state.log.next_flush(FlushFor::Everything) {
            // The unit was written with FUA, and what came before it is on
            // the members.
            state.log.flushed(ticket, written.is_ok());
        }
        while state.log.next_stable().is_some() {}
        written
    }

    /// Flushes what was acknowledged and stays in the journal only. With the array quiesced.
    pub(super) fn keep_all(self: &Arc<Self>) {
        if self.is_all_kept() {
            return;
        }
        let Some(rdev) = self.device() else {
            return;
        };
        let Some(ticket) = self.state.lock().log.next_flush(FlushFor::Everything) else {
            return;
        };
        let ok = rdev.flush().is_ok();
        if !ok {
            self.device_failed();
        }
        self.flushed(ticket, ok);
        self.release();
    }
}

impl Array {
    /// Makes room in the journal for a task that quiesces the array; `locked` if
    /// it holds md's lock, which the reclaim thread would need.
    pub(super) fn reclaim_now(&self, locked: bool) {
        if let Some(journal) = self.journal() {
            journal.reclaim(locked, false);
            self.feed();
        }
    }

    /// Has stripes handled whose rows waited for room in the journal, those first
    /// that were left without the last time.
    pub(super) fn feed(&self) {
        // What finds no room again gets the new number, and is left alone.
        let feeding = self.feedings.fetch_add(1, Full).wrapping_add(1);
        let first = self.feed_from.load(Relaxed);
        let mut unfed = None;
        for begin in [first, 0] {
            let mut from = begin;
            while let Some((stripe, at)) = self.cache.find_from(from, |s| s.take_starved(feeding)) {
                from = at;
                Stripe::handle(&stripe);
                if unfed.is_none() && stripe.is_starved() {
                    unfed = Some(at);
                }
            }
        }
        self.feed_from.store(unfed.unwrap_or(0), Relaxed);
    }

    /// The number of the feeding under way.
    pub(super) fn feeding(&self) -> u64 {
        self.feedings.fetch_add(0, Full)
    }

    /// Has the reclaim thread feed the stripes.
    pub(super) fn want_feed(&self) {
        self.feed_wanted.xchg(1, Full);
        self.wake_reclaim();
    }

    /// A row whose write went through `unit` of the journal is on the members.
    pub(super) fn row_done(&self, unit: UnitRef) {
        if let Some(journal) = self.journal() {
            journal.row_done(unit);
        }
    }

    /// Has the reclaim thread look.
    pub(super) fn wake_reclaim(&self) {
        self.reclaim_wanted.xchg(1, Full);
        if let Some(thread) = self.reclaim.lock().as_ref() {
            thread.wake();
        }
    }

    /// Has the reclaim thread look again soon. Called by that thread.
    pub(super) fn look_again(&self) {
        fsleep(Delta::from_millis(1));
        self.reclaim_wanted.xchg(1, Full);
    }

    /// One round of the reclaim thread.
    fn reclaim_round(&self) {
        let _noio = NoIo::enter();
        self.reclaim_wanted.xchg(0, Full);
        let Some(journal) = self.journal() else {
            return;
        };
        let feed = self.feed_wanted.xchg(0, Full) != 0;
        self.relieve(&journal);
        journal.end_late_flushes();
        if self.journal_state() == JournalState::Lost && journal.is_removable() {
            // md has been refused before.
            self.mddev.look_for_work();
        }
        if journal.reclaim(false, false) || feed {
            self.feed();
        } else if journal.wants_reclaim() {
            // md's lock was taken: its holder may need a moment.
            fsleep(Delta::from_millis(2));
            self.reclaim_wanted.xchg(1, Full);
        }
    }
}

impl Array {
    /// Writes out cached data, if there is a reason.
    fn relieve(&self, journal: &Journal) {
        let ((objects, most), (pages, limit)) = self.cache.dirty_load();
        // Whichever is tighter.
        let memory = if objects.saturating_mul(limit) > pages.saturating_mul(most) {
            (objects, most)
        } else {
            (pages, limit)
        };
        if journal.cached_rows() == 0 && self.cache.dirty() != 0 {
            // They were written out for other reasons, and keep their pages here.
            self.write_out(usize::MAX, false);
            self.cache.notify();
        }
        let [dirty, full] = self.cache.listed_and_gone();
        let old = {
            let [of_dirty, of_full] = &mut *self.ages.lock();
            let now = seconds();
            [
                of_dirty.old(now, dirty.0, dirty.1),
                of_full.old(now, full.0, full.1),
            ]
        };
        let load = Load {
            leaving: !self.is_write_back(),
            waited_for: self.cache.is_short() || journal.is_starved(),
            log: journal.load(),
            memory,
            rows: journal.cached_rows(),
            stripes: dirty.0.wrapping_add(full.0),
            old: old[0].wrapping_add(old[1]),
            full: full.0,
        };
        let Some((reason, n)) = decide(&load) else {
            return;
        };
        let mut done = if reason == Reason::Age {
            let dirty = self.write_out_of(List::Dirty, old[0]);
            dirty.wrapping_add(self.write_out_of(List::Full, old[1]))
        } else {
            self.write_out(n, reason.is_oldest_first())
        };
        if reason.is_urgent() && done < n {
            done = done.wrapping_add(self.write_out_rest(n.saturating_sub(done)));
        }
        if done > 0 {
            self.counters.wrote_out(reason);
            self.trace_write_out(Why::Reason(reason), done);
        }
        // What was taken off the list may have been the last to keep its pages.
        self.cache.notify();
        let pressing = load.leaving || self.cache.is_short() || journal.is_starved();
        if pressing && done > 0 {
            // Until nobody waits any more.
            self.look_again();
        }
    }

    /// Has up to `n` stripes without work written out: the oldest first, or the
    /// full ones. Returns how many it were.
    fn write_out(&self, n: usize, oldest_first: bool) -> usize {
        let (first, second) = if oldest_first {
            (List::Dirty, List::Full)
        } else {
            (List::Full, List::Dirty)
        };
        let done = self.write_out_of(first, n);
        done.wrapping_add(self.write_out_of(second, n.saturating_sub(done)))
    }

    /// Has up to `n` stripes of a list written out; returns how many it were.
    fn write_out_of(&self, list: List, n: usize) -> usize {
        let mut done = 0usize;
        while done < n {
            let Some(stripe) = self.cache.pop_dirty(list) else {
                break;
            };
            if stripe.write_out() {
                done = done.wrapping_add(1);
                Stripe::handle(&stripe);
            }
        }
        done
    }

    /// Has up to `n` stripes written out that have work, or found no place on the
    /// list. Returns how many it were.
    fn write_out_rest(&self, n: usize) -> usize {
        let (mut from, mut done) = (0, 0usize);
        while done < n {
            let Some((stripe, at)) = self.cache.find_from(from, Stripe::is_resting) else {
                break;
            };
            from = at;
            if stripe.write_out() {
                done = done.wrapping_add(1);
                Stripe::handle(&stripe);
            }
        }
        done
    }

    fn trace_write_out(&self, why: Why, stripes: usize) {
        trace(|| WriteOut {
            dev: self.mddev.dev(),
            why,
            stripes,
        });
    }

    /// Has everything that is cached written out, or what of it can be.
    pub(super) fn write_out_all(&self) {
        let listed = self.write_out(usize::MAX, true);
        let done = listed.wrapping_add(self.write_out_rest(usize::MAX));
        if done > 0 {
            self.trace_write_out(Why::Emptied, done);
        }
        // What was taken off the lists may have been the last to keep its pages.
        self.cache.notify();
    }
}

impl Worker for Array {
    fn run(&self) {
        loop {
            self.reclaim_round();
            if self.reclaim_wanted.fetch_add(0, Full) == 0 || self.is_stopping() {
                return;
            }
        }
    }
}
