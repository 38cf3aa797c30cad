// SPDX-License-Identifier: GPL-2.0

//! How I/O of the members ended, and what md is told of what failed.

use super::{array::Array, members::Device, stripe::Stripe, work::Handler};
use crate::{
    block::round::{Done, Ended, Label, Op},
    lib::clock::warn_limited,
    md::rdev::{Rdev, RdevFlag},
    raid::{
        mask::RowMask,
        stripe::{Event, Strip},
    },
};
use kernel::{prelude::*, sync::Arc};

/// What a bio of these rows is about.
pub(super) fn label((slot, device): (usize, Device), rows: RowMask, op: Op) -> Label {
    Label {
        slot,
        rows: rows.0,
        write: op != Op::Read,
        twin: device == Device::Twin,
        again: false,
    }
}

/// The event that tells its end.
pub(super) fn end_event(label: Label, ok: bool) -> Event {
    let (slot, rows) = (label.slot, RowMask(label.rows));
    match (label.write, label.twin) {
        (false, _) => Event::ReadDone { slot, rows, ok },
        (true, false) => Event::WriteDone { slot, rows, ok },
        (true, true) => Event::TwinDone { slot, rows, ok },
    }
}

/// So many ends are told at once.
const AT_ONCE: usize = 8;

/// Rows that a role could not read, and that have been written now.
pub(super) struct Mended {
    pub(super) slot: usize,
    pub(super) rows: RowMask,
    pub(super) twin: bool,
}

impl Mended {
    /// The end of the write of some of the rows, of which the planner has not been told.
    fn end(&self, rows: RowMask) -> Event {
        let (slot, ok) = (self.slot, true);
        if self.twin {
            Event::TwinDone { slot, rows, ok }
        } else {
            Event::WriteDone { slot, rows, ok }
        }
    }

    /// Takes such rows out of an event.
    fn take(strips: &[Strip], event: &mut Event) -> Option<Self> {
        let (slot, rows, twin) = match event {
            Event::WriteDone {
                slot,
                rows,
                ok: true,
            } => (*slot, rows, false),
            Event::TwinDone {
                slot,
                rows,
                ok: true,
            } => (*slot, rows, true),
            _ => return None,
        };
        let mended = strips.get(slot)?.mended(*rows, twin);
        rows.remove(mended);
        mended.any().then_some(Self {
            slot,
            rows: mended,
            twin,
        })
    }
}

/// Ends that the planner has not been told of. Those of a round are told together: each telling
/// has a look at all members.
struct Ends<'a> {
    stripe: &'a Arc<Stripe>,
    events: [Event; AT_ONCE],
    len: usize,
}

impl<'a> Ends<'a> {
    fn new(stripe: &'a Arc<Stripe>) -> Self {
        let none = Event::NotRecorded {
            rows: RowMask::EMPTY,
        };
        Self {
            stripe,
            events: [none; AT_ONCE],
            len: 0,
        }
    }

    fn push(&mut self, event: Event) {
        if self.len >= AT_ONCE {
            self.tell();
        }
        if let Some(place) = self.events.get_mut(self.len) {
            *place = event;
            self.len = self.len.wrapping_add(1);
        }
    }

    fn tell(&mut self) {
        let len = core::mem::take(&mut self.len);
        let told = self.events.get_mut(..len).unwrap_or(&mut []);
        if told.is_empty() {
            return;
        }
        for one in self.stripe.ends(told).into_iter().flatten() {
            let rows = self.stripe.read_again(&one);
            if rows.any() {
                self.stripe.event(one.end(rows));
            }
        }
    }
}

impl Stripe {
    /// Takes in how the bios of a round ended.
    pub(super) fn take_ends(self: &Arc<Self>, done: Done<Stripe>) {
        let mut ends = Ends::new(self);
        for ended in done {
            let label = ended.label;
            if label.again {
                self.reread(&ended);
                continue;
            }
            if !ended.ok && ended.discard {
                ends.push(self.discard_refused(ended, RowMask(label.rows)));
                continue;
            }
            let ok = match (ended.ok, label.write) {
                (true, false) => true,
                (true, true) => {
                    self.clear_badblocks(&ended.rdev, RowMask(label.rows));
                    true
                }
                (false, false) => {
                    let (slot, rows) = (label.slot, RowMask(label.rows));
                    self.read_failed(&ended.rdev, rows);
                    let members = &self.array().members;
                    if members.has_other(slot, self.end(), self.part(rows), &ended.rdev) {
                        ends.push(Event::ReadAgain { slot, rows });
                        continue;
                    }
                    false
                }
                (false, true) => self.write_failed(&ended.rdev, label),
            };
            drop(ended.rdev);
            ends.push(end_event(label, ok));
        }
        ends.tell();
    }

    /// The same of those events, but of what has to be read again first: that is returned.
    fn ends(&self, events: &mut [Event]) -> [Option<Mended>; AT_ONCE] {
        let mut mended = [const { None }; AT_ONCE];
        self.locked(|inner, policy| {
            for (event, place) in events.iter_mut().zip(mended.iter_mut()) {
                *place = Mended::take(&inner.strips, event);
                inner.apply(*event, policy);
            }
        });
        mended
    }

    /// What was written could be read, or not. The write has ended well: the member has taken it.
    fn reread(&self, ended: &Ended) {
        let Label { slot, rows, .. } = ended.label;
        let rows = RowMask(rows);
        let at = self.row_sector(rows.lowest().unwrap_or(0)).get();
        self.array().take_reread(&ended.rdev, slot, at, ended.ok);
        self.event(Event::WriteDone {
            slot,
            rows,
            ok: true,
        });
    }

    /// What was written well is no bad block any more.
    fn clear_badblocks(&self, rdev: &Rdev, rows: RowMask) {
        for (start, n) in rows.runs() {
            let first = self.row_sector(start).get();
            rdev.clear_badblock(first, n.saturating_mul(8));
        }
    }

    fn read_failed(&self, rdev: &Rdev, rows: RowMask) {
        if !rdev.flag(RdevFlag::Faulty) {
            warn_limited!(
                "{}: {}: read failed at member sector {}; rebuilding it from the other members\n",
                self.array().mddev.name(),
                rdev.name(),
                self.row_sector(rows.lowest().unwrap_or(0)).get()
            );
        }
    }

    /// A write failed. Whether the role has what was written all the same: on its other device, the
    /// write of which is counted by itself. Else a write of several rows is repeated row by row by the
    /// planner, and only then md is told.
    fn write_failed(&self, rdev: &Rdev, label: Label) -> bool {
        let rows = RowMask(label.rows);
        let members = &self.array().members;
        let other = members.has_other(label.slot, self.end(), self.part(rows), rdev);
        let one = rows.count() == 1;
        if one || label.twin {
            for row in rows.iter() {
                if !rdev.flag(RdevFlag::Faulty) {
                    let at = self.row_sector(row).get();
                    self.array().row_not_written(rdev, at);
                }
            }
        }
        // A twin that lacks a copy must not count as if it had it.
        other && one && !label.twin
    }

    /// First member sector of the lowest of some rows, and the sectors up to the end of the highest.
    fn part(&self, rows: RowMask) -> (u64, u32) {
        let low = rows.lowest().unwrap_or(0);
        let high = 63u32.wrapping_sub(rows.0.leading_zeros());
        let n = high.saturating_sub(low).saturating_add(1);
        (self.row_sector(low).get(), n.saturating_mul(8))
    }

    /// Rows that a device which is being rebuilt has been given.
    pub(super) fn rebuilt_rows(&self, rdev: &Rdev) -> RowMask {
        let sectors = rdev.recovery_offset().saturating_sub(self.sector());
        RowMask::first(u32::try_from(sectors / 8).unwrap_or(u32::MAX))
    }

    /// Records rows as bad blocks of roles of which what they hold will not fit the rest of the row
    /// any more. Returns the rows with which that could not be done.
    pub(super) fn record_bad(&self, work: &Handler) -> RowMask {
        let members = &self.array().members;
        let tasks = || work.tasks.iter().enumerate();
        let all = tasks().fold(RowMask::EMPTY, |all, (_, t)| all | t.acts.record);
        let takes = tasks().all(|(slot, task)| {
            let n = task.acts.record.count();
            let both = members.both(slot);
            n == 0 || both.iter().flatten().all(|rdev| rdev.takes_badblocks(n))
        });
        if !takes {
            self.event(Event::NotRecorded { rows: all });
            return all;
        }
        for (slot, task) in tasks() {
            for rdev in members.both(slot).into_iter().flatten() {
                for (start, n) in task.acts.record.runs() {
                    let first = self.row_sector(start).get();
                    // One that cannot is taken out.
                    let _ = rdev.set_badblock(first, n.saturating_mul(8));
                }
            }
        }
        if let Some(journal) = self.array().journal() {
            // Parity of these rows that is there is older than their data will be.
            journal.hasten_tail();
        }
        RowMask::EMPTY
    }
}

impl Array {
    /// A member did not take its write of the row at member sector `at`: that is recorded as a bad
    /// block, or if it cannot be, the member is taken out. No write is acknowledged before md has
    /// written either to the superblocks. A replacement is taken out at once: it is meant to be good.
    pub(crate) fn row_not_written(&self, rdev: &Rdev, at: u64) {
        if rdev.flag(RdevFlag::Replacement) {
            pr_err!(
                "{}: {}: write failed at member sector {} of a replacement, which is taken out: choose another one\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
            return self.mddev.error(rdev);
        }
        rdev.set_flag(RdevFlag::WriteErrorSeen);
        if !rdev.test_and_set_flag(RdevFlag::WantReplacement) {
            self.mddev.look_for_work();
        }
        if rdev.set_badblock(at, 8) {
            warn_limited!(
                "{}: {}: write failed at member sector {}; recorded as a bad block: the row is as if the member were missing, replace it soon\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
            return;
        }
        pr_err!(
            "{}: {}: write failed at member sector {}, and bad blocks cannot be recorded (any more); the member is taken out, replace it\n",
            self.mddev.name(),
            rdev.name(),
            at
        );
        self.mddev.error(rdev);
    }

    /// Whether the row at member sector `at` cannot be had from its members: more of them are
    /// missing, or have it as a bad block, than parity makes up for.
    pub(super) fn is_row_lost(&self, at: u64) -> bool {
        let gone = (0..self.members.len()).filter(|slot| self.is_lost_in(*slot, at));
        gone.count() > usize::try_from(self.geo.parity_disks()).unwrap_or(0)
    }

    /// Whether role `slot` cannot give the row at member sector `at`, as md knows.
    pub(super) fn is_lost_in(&self, slot: usize, at: u64) -> bool {
        let reader = self.members.reader(slot, at.saturating_add(8), (at, 8));
        reader.is_none_or(|rdev| rdev.has_badblock(at, 8))
    }
}
