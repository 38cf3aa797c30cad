// SPDX-License-Identifier: GPL-2.0

//! Issuing a stripe's reads and writes.

use super::{
    array::JournalState,
    counters::Count,
    ends::{end_event, label},
    members::Device,
    stripe::Stripe,
    table::Which,
    work::{Handler, Left, Task},
};
use crate::{
    block::round::{Builder, Op},
    lib::page::Page,
    raid::mask::RowMask,
};
use kernel::{prelude::*, sync::Arc};

impl Stripe {
    /// Issues the reads or the writes of all members, but of rows that lack pages:
    /// one round, or more where bios are short. What has none is left.
    pub(super) fn issue(self: &Arc<Self>, work: &mut Handler, write: bool, lacking: RowMask) {
        let array = self.array().clone();
        let journal = array.journal_state() == JournalState::Works;
        if write {
            array.mddev.bitmap_unplug();
        }
        self.count_io(work, write);
        let mut round = Builder::new(self.clone());
        for slot in 0..work.tasks.len() {
            let Some(task) = work.tasks.get(slot).copied() else {
                continue;
            };
            let left = if write {
                self.add_writes(&mut round, work, slot, &task, journal)
            } else {
                self.add_reads(&mut round, work, slot, &task, lacking)
            };
            if let Some(task) = work.tasks.get_mut(slot) {
                work.pending |= task.keep(write, left);
            }
        }
        self.submit(round);
    }

    /// Adds a member's writes, and its twin's; returns those that were left.
    fn add_writes(
        self: &Arc<Self>,
        round: &mut Builder<Stripe>,
        work: &Handler,
        slot: usize,
        task: &Task,
        journal: bool,
    ) -> Left {
        // What went through the journal is safe there.
        let fua = if journal { RowMask::EMPTY } else { work.fua };
        let (member, twin) = ((slot, Device::Member), (slot, Device::Twin));
        let mut send = |to, rows: RowMask| {
            let mut left = self.add_runs(round, work, to, rows & fua, Op::WriteFua);
            left.insert(self.add_runs(round, work, to, rows.minus(fua), Op::Write));
            left
        };
        let mut left = Left {
            first: send(member, task.write),
            twin: send(twin, task.twin),
            ..Left::default()
        };
        for row in task.write_alone.iter() {
            left.alone.insert(send(member, RowMask::single(row)));
        }
        left.discard = self.add_runs(round, work, member, task.discard, Op::Discard);
        left
    }

    /// Adds a member's reads, but of rows that lack pages; returns those that were left.
    fn add_reads(
        self: &Arc<Self>,
        round: &mut Builder<Stripe>,
        work: &Handler,
        slot: usize,
        task: &Task,
        lacking: RowMask,
    ) -> Left {
        let to = (slot, Device::Member);
        let mut left = Left {
            first: lacking,
            alone: lacking,
            ..Left::default()
        };
        let read = task.read.minus(lacking);
        for rows in [read & task.second, read.minus(task.second)] {
            left.first
                .insert(self.add_runs(round, work, to, rows, Op::Read));
        }
        for row in task.read_alone.minus(lacking).iter() {
            left.alone
                .insert(self.add_runs(round, work, to, RowMask::single(row), Op::Read));
        }
        left
    }

    /// Counts the pages that are about to be read or written.
    fn count_io(&self, work: &Handler, write: bool) {
        let (mut pages, mut out) = (0u64, 0u64);
        for task in work.tasks.iter() {
            let rows = if write {
                task.acts.write | task.acts.write_alone
            } else {
                task.acts.read | task.acts.read_alone
            };
            pages = pages.wrapping_add(u64::from(rows.count()));
            out = out.wrapping_add(u64::from((rows & work.out).count()));
        }
        let counters = &self.array().counters;
        if write {
            counters.add(Count::PagesWritten, pages);
            counters.add(Count::PagesOut, out);
        } else {
            counters.add(Count::PagesRead, pages);
        }
    }

    fn submit(self: &Arc<Self>, round: Builder<Stripe>) {
        if round.is_empty() {
            return;
        }
        if let Some(done) = round.submit() {
            self.take_ends(done);
        }
    }

    /// Adds a bio for every run of `rows`. What cannot be issued has failed, but for
    /// want of memory; returns those rows.
    fn add_runs(
        self: &Arc<Self>,
        round: &mut Builder<Stripe>,
        work: &Handler,
        to: (usize, Device),
        rows: RowMask,
        op: Op,
    ) -> RowMask {
        let mut left = RowMask::EMPTY;
        for (start, n) in rows.runs() {
            let mut sent = self.add_run(round, work, to, (start, n), op);
            if sent == Err(ENOMEM) && !round.is_empty() {
                let full = core::mem::replace(round, Builder::new(self.clone()));
                self.submit(full);
                sent = self.add_run(round, work, to, (start, n), op);
            }
            let run = RowMask::range(start, n);
            match sent {
                Ok(()) => {}
                Err(e) if e == ENOMEM => left.insert(run),
                Err(_) => self.event(end_event(label(to, run, op), false)),
            }
        }
        left
    }

    fn add_run(
        &self,
        round: &mut Builder<Stripe>,
        work: &Handler,
        (slot, device): (usize, Device),
        (start, n): (u32, u32),
        op: Op,
    ) -> Result {
        let members = &self.array().members;
        let first = self
            .sector()
            .checked_add(u64::from(start).wrapping_mul(8))
            .ok_or(EINVAL)?;
        let sectors = n.saturating_mul(8);
        let rdev = match op {
            // What was to be read from may be another device by now.
            Op::Read => members.reader(slot, self.end(), (first, sectors)),
            Op::Write | Op::WriteFua | Op::Discard | Op::Flush => members.get(slot, device),
        };
        let rdev = rdev.ok_or(ENODEV)?;
        if op == Op::Read && rdev.has_badblock(first, sectors) {
            return Err(EIO);
        }
        // Zeroes make a bad block good, and do where the device discards nothing.
        let zeroes = op == Op::Discard
            && (!rdev.discards(first, sectors) || rdev.has_badblock(first, sectors));
        let op = if zeroes { Op::Write } else { op };
        let sector = first.checked_add(rdev.data_offset()).ok_or(EINVAL)?;
        let second = work.tasks.get(slot).map(|t| t.second);
        let which = match second {
            Some(second) if op == Op::Read && second.has(start) => Which::Second,
            Some(_) | None => Which::First,
        };
        let pages = work.pages.run(which, slot, (start, n)).ok_or(EINVAL)?;
        let label = label((slot, device), RowMask::range(start, n), op);
        let pages: PageRefs<'_> = PageRefs(pages.iter());
        round.add(&self.array().member_bios, rdev, op, sector, label, pages)
    }
}

/// Pages that are all there.
struct PageRefs<'a>(core::slice::Iter<'a, Option<Page>>);

impl<'a> Iterator for PageRefs<'a> {
    type Item = &'a Page;

    fn next(&mut self) -> Option<&'a Page> {
        self.0.next()?.as_ref()
    }
}

impl ExactSizeIterator for PageRefs<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
}
