// SPDX-License-Identifier: GPL-2.0

//! The array's users: their reads, writes and flushes, after `rust/engine/request.rs`.

use crate::journal::log::ordered::{Barrier, Kept};
use crate::raid::mask::RowMask;
use crate::raid::stripe::Access;
use crate::raid::units::ArraySector;
use crate::setup::Bug;
use crate::story::{judge, tell};
use crate::stripe::{Asks, Part, Stripe};
use crate::tape::Tape;
use crate::world::{Direct, World};

/// A user's flush under way.
pub(crate) struct UserFlush {
    /// When it began.
    start: u64,
    wait: Wait,
}

/// What it waits for.
enum Wait {
    /// That what had been acknowledged early is stable in the journal.
    Barrier(Barrier),
    /// The journal is lost: that nothing is newer in memory than on the members.
    Drain,
    /// The members, each with what its flush covers.
    Members(Vec<(usize, u64)>),
    /// That md has recorded which member failed meanwhile.
    Record,
}

impl World {
    fn range(&mut self) -> (u64, u64) {
        let len = self.model.len();
        let row = self.geo.row_sectors();
        let pages = |t: &mut Tape, n: u64| u64::from(t.below((n / 8) as u32)) * 8;
        let t = &mut self.tape;
        let (at, n) = match t.below(7) {
            0 | 1 => (pages(t, len), 8),
            2 => (u64::from(t.below((len / row) as u32)) * row, row),
            3 => (pages(t, len), 8 + pages(t, row)),
            4 => (u64::from(t.below(len as u32)), 1 + u64::from(t.below(8))),
            _ => (
                u64::from(t.below(len as u32)),
                1 + u64::from(t.below(row as u32)),
            ),
        };
        (at, n.min(len - at))
    }

    /// The parts of a request: stripe, slot, first sector in the strip, array sector and length.
    fn spans(&self, mut at: u64, n: u64) -> Vec<(usize, usize, u32, u64, u64)> {
        let strip = u64::from(self.geo.strip_sectors());
        let end = at + n;
        let mut spans = Vec::new();
        while at < end {
            let (dev, slot) = self.geo.map(ArraySector::new(at));
            let first = dev.get() % strip;
            let n = (strip - first).min(end - at);
            spans.push((
                (dev.get() / strip) as usize,
                slot.index(),
                first as u32,
                at,
                n,
            ));
            at += n;
        }
        spans
    }

    fn oldest_read(&self) -> u64 {
        let parts = self
            .stripes
            .iter()
            .flat_map(|s| s.parts.iter().chain(&s.incoming));
        let parts = parts.chain(self.directs.iter().map(|d| &d.part));
        let starts = parts.filter(|p| !p.is_write()).map(|p| p.start);
        starts.min().unwrap_or(self.now)
    }

    pub(crate) fn attach(&mut self, write: bool) {
        let (at, n) = self.range();
        let hold = self.c.hold && write && self.tape.chance(30);
        let asks = Asks {
            fua: write && self.tape.chance(self.c.fua),
            preflush: write && self.tape.chance(self.c.preflush),
        };
        let row = self.geo.row_sectors();
        if write && !asks.any() && at % row == 0 && n == row && self.tape.chance(50) {
            return self.attach_discard(at, n);
        }
        self.attach_range(write, at, n, (hold, asks));
    }

    /// A discard comes of whole rows of chunks. What is there then is not zeroes here but data with a
    /// name, as of a write: so it is known where it came from.
    fn attach_discard(&mut self, at: u64, n: u64) {
        let name = self.model.name_write();
        tell!(self, "discard {name} of array sectors {at}+{n} comes");
        self.stats.discards += 1;
        let oldest = self.oldest_read();
        let mut stripes = Vec::new();
        for (i, slot, first, at, n) in self.spans(at, n) {
            let data = self.model.begin_write(name, at, n, self.now, oldest);
            let part = Part::new(name, slot, first, at, self.now, data);
            stripes.push((i, part.todo));
            self.stripes[i].incoming.push(part);
        }
        stripes.sort_by_key(|(i, _)| *i);
        stripes.dedup_by_key(|(i, _)| *i);
        for (i, rows) in stripes {
            let s = &mut self.stripes[i];
            s.hold = false;
            s.st.attach_discard(&mut s.strips, rows);
            s.again = true;
            s.active = true;
        }
    }

    /// A request comes for `n` sectors from `at` on.
    pub(crate) fn attach_range(
        &mut self,
        write: bool,
        at: u64,
        n: u64,
        (hold, asks): (bool, Asks),
    ) {
        let name = if write { self.model.name_write() } else { 0 };
        let what = if write {
            format!("write {name}")
        } else {
            "a read".to_owned()
        };
        let asked = if asks.any() {
            format!(", with {asks:?}")
        } else {
            String::new()
        };
        tell!(self, "{what} of array sectors {at}+{n} comes{asked}");
        let fua = (asks.fua && self.bug != Some(Bug::EarlyFua))
            || (asks.preflush && self.must_wait_for_flush());
        self.stats.fua += u64::from(asks.any());
        let oldest = self.oldest_read();
        for (i, slot, first, at, n) in self.spans(at, n) {
            let data = if write {
                self.model.begin_write(name, at, n, self.now, oldest)
            } else {
                vec![0; n as usize]
            };
            let mut part = Part::new(name, slot, first, at, self.now, data);
            part.asks = asks;
            let s = &mut self.stripes[i];
            if write {
                s.hold = hold;
                s.st.attach_write(&mut s.strips, slot, part.todo, part.full_rows(), fua);
                self.stats.writes += 1;
            } else {
                s.st.attach_read(&mut s.strips, slot, part.todo);
                self.stats.reads += 1;
            }
            s.incoming.push(part);
            s.again = true;
            s.active = true;
        }
    }

    pub(crate) fn attach_direct(&mut self) {
        let (at, n) = self.range();
        let Some((stripe, slot, first, at, n)) = self.spans(at, n).first().copied() else {
            return;
        };
        if self.access(slot) != Access::Full {
            return;
        }
        self.stats.reads += 1;
        let part = Part::new(0, slot, first, at, self.now, vec![0; n as usize]);
        let s = &mut self.stripes[stripe];
        let newer = s.st.newer(&s.strips, slot) & part.todo;
        if newer.any() && self.bug != Some(Bug::StaleRead) {
            s.st.attach_read(&mut s.strips, slot, part.todo);
            s.incoming.push(part);
            s.again = true;
            s.active = true;
        } else {
            self.directs.push(Direct { stripe, part });
        }
    }

    // ---- flushes ----

    /// What the newest flush waits for that waits for the journal.
    pub(crate) fn newest_barrier(&self) -> Option<Barrier> {
        let waits = self.user_flushes.iter().filter_map(|f| match f.wait {
            Wait::Barrier(barrier) => Some((f.start, barrier)),
            Wait::Drain | Wait::Members(_) | Wait::Record => None,
        });
        waits.max_by_key(|(start, _)| *start).map(|(_, b)| b)
    }

    /// Whether a flush waits for the journal.
    pub(crate) fn is_flush_awaited(&self) -> bool {
        self.newest_barrier().is_some()
    }

    /// Whether a flush waits for the members.
    pub(crate) fn are_members_flushed(&self) -> bool {
        let mut all = self.user_flushes.iter();
        all.any(|f| matches!(f.wait, Wait::Members(_)))
    }

    /// A user's flush begins.
    pub(crate) fn user_flush_start(&mut self) {
        let start = self.now;
        let wait = if self.journal_faulty {
            Wait::Drain
        } else {
            Wait::Barrier(self.journal.log.barrier())
        };
        let lost = matches!(wait, Wait::Drain);
        tell!(
            self,
            "a flush comes{}",
            if lost { ", without a journal" } else { "" }
        );
        if self.bug == Some(Bug::HastyFlush) && !lost {
            tell!(self, "BUG: it waits for nothing");
            return self.user_flush_end(start, true, false);
        }
        self.user_flushes.push(UserFlush { start, wait });
        if !lost {
            self.flush_journal();
        }
    }

    /// Flushes of users that need not wait any longer for what they wait for.
    pub(crate) fn user_flushes_due(&self) -> impl Iterator<Item = usize> + '_ {
        let due = |f: &UserFlush| match &f.wait {
            Wait::Barrier(barrier) => self.journal.log.is_kept(*barrier) != Kept::NotYet,
            Wait::Drain => self.is_drained(),
            Wait::Members(_) => true,
            Wait::Record => !self.is_blocked() || self.bug == Some(Bug::UnrecordedFlush),
        };
        let all = self.user_flushes.iter().enumerate();
        all.filter(move |(_, f)| due(f)).map(|(k, _)| k)
    }

    /// Whether a write with a flush before it has to be stable when it ends. Units become stable in
    /// order: then all that was acknowledged before it is.
    fn must_wait_for_flush(&self) -> bool {
        let log = &self.journal.log;
        log.is_kept(log.barrier()) != Kept::Yes && self.bug != Some(Bug::EarlyPreflush)
    }

    /// Whether the members have everything that was acknowledged, but what is stuck.
    fn is_drained(&self) -> bool {
        let left = |s: &Stripe| {
            let newer = |slot| s.st.newer(&s.strips, slot);
            let newer = (0..s.strips.len()).fold(RowMask::EMPTY, |all, slot| all | newer(slot));
            newer.minus(s.stuck()).any()
        };
        self.bug == Some(Bug::UndrainedFlush) || !self.stripes.iter().any(left)
    }

    /// Whether something that was acknowledged will never get to the members.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stripes.iter().any(|s| s.stuck().any())
    }

    /// One of these goes on.
    pub(crate) fn user_flush_step(&mut self) {
        let due: Vec<usize> = self.user_flushes_due().collect();
        let k = due[self.tape.pick(due.len())];
        let UserFlush { start, wait } = self.user_flushes.swap_remove(k);
        let wait = match wait {
            Wait::Barrier(barrier) => {
                let kept = self.journal.log.is_kept(barrier) == Kept::Yes;
                return self.user_flush_end(start, kept, false);
            }
            Wait::Drain if self.is_stuck() => return self.user_flush_end(start, false, true),
            Wait::Drain => {
                let mut left = Vec::new();
                if self.bug != Some(Bug::DryFlush) {
                    for slot in (0..self.faulty.len()).filter(|s| !self.faulty[*s]) {
                        left.push((slot, self.hw.members[slot].flush_begin()));
                    }
                }
                Wait::Members(left)
            }
            Wait::Members(left) if left.is_empty() => Wait::Record,
            Wait::Members(mut left) => {
                let (slot, stamp) = left.swap_remove(self.tape.pick(left.len()));
                if !self.faulty[slot] {
                    self.hw.members[slot].flush_end(stamp);
                }
                Wait::Members(left)
            }
            Wait::Record => return self.user_flush_end(start, true, true),
        };
        self.user_flushes.push(UserFlush { start, wait });
    }

    /// The user learns how a flush went; `lost`: it began without a journal.
    fn user_flush_end(&mut self, start: u64, ok: bool, lost: bool) {
        let how = if ok { "done" } else { "FAILED" };
        tell!(self, "the flush that came at step {start}: {how}");
        judge!(
            self,
            ok || self.journal_faulty,
            "a flush failed for no reason",
            "it came at step {start}"
        );
        self.stats.flushes += 1;
        self.stats.bare_flushes += u64::from(ok && lost);
        if ok {
            self.model.flushed(start, self.now, lost);
        }
    }

    /// A part of a write is acknowledged, or has failed.
    pub(crate) fn end_write(&mut self, part: &Part) {
        let range = (part.at, part.data.len() as u64);
        let early = |nth| part.is_early(nth) && !part.asks.fua;
        self.model
            .end_write(part.write, range, self.now, !part.failed, early);
        if part.asks.preflush && !part.failed {
            self.model.flushed(part.start, self.now, false);
        }
    }
}
