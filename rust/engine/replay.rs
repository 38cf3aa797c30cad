// SPDX-License-Identifier: GPL-2.0

//! Complete rows of a log on their way to the members: many writes at a time.

use super::{array::Array, window::Window};
use crate::{
    block::round::{Builder, Done, Label, Op, RoundOwner},
    journal::{
        recovery::{Entry, ScanReport, Sink},
        ring::Ring,
    },
    lib::{
        noio::NoIo,
        page::Page,
        trace::{trace, ReplayUnit},
        worklist::Worklist,
    },
    md::rdev::{Rdev, RdevFlag},
    raid::units::DevSector,
};
use kernel::{
    prelude::*,
    sync::{Arc, Completion},
};

/// Pages that are written at a time.
const WAVE: usize = 64;

/// Says that a member did not take a recovered row, and takes it out.
pub(super) fn fail_member(array: &Array, member: &Rdev, row: DevSector) {
    pr_err!(
        "{}: {}: write of a recovered row failed at member sector {}; the member is taken out, replace it\n",
        array.mddev.name(),
        member.name(),
        row.get()
    );
    array.mddev.error(member);
}

/// Writes under way.
#[pin_data]
struct Wave {
    array: Arc<Array>,
    #[pin]
    ended: Completion,
}

impl RoundOwner for Wave {
    fn round_done(this: Arc<Self>, done: Done<Self>) {
        let _noio = NoIo::enter();
        for ended in done {
            // Once for each member.
            if !ended.ok && !ended.rdev.flag(RdevFlag::Faulty) {
                fail_member(&this.array, &ended.rdev, DevSector::new(ended.label.rows));
            }
        }
        this.ended.complete_all();
    }

    fn worklist(&self) -> &Worklist {
        &self.array.queue
    }
}

/// A page that is to be written.
#[derive(Clone, Copy)]
struct Write {
    slot: usize,
    row: DevSector,
}

/// The members, to which complete rows go.
pub(super) struct Replay<'a> {
    array: &'a Arc<Array>,
    log: Window<'a>,
    ring: Ring,
    /// The first of `pages` are for these.
    writes: KVec<Write>,
    pages: KVec<Page>,
}

impl<'a> Replay<'a> {
    /// Nothing to be written yet.
    pub(super) fn new(array: &'a Arc<Array>, rdev: &'a Rdev, ring: Ring) -> Result<Self> {
        let mut pages = KVec::with_capacity(WAVE, GFP_KERNEL)?;
        for _ in 0..WAVE {
            pages.push(Page::new()?, GFP_KERNEL)?;
        }
        Ok(Self {
            array,
            log: Window::new(rdev, ring)?,
            ring,
            writes: KVec::with_capacity(WAVE, GFP_KERNEL)?,
            pages,
        })
    }

    /// Puts a row's pages behind the others.
    fn add_row(&mut self, row: DevSector, entries: &[Entry]) -> Result {
        for entry in entries {
            if self.writes.len() == WAVE {
                // A row of more members than a wave has pages.
                self.flush()?;
            }
            let from = self.log.block(entry.block)?;
            let to = self.pages.get(self.writes.len()).ok_or(EIO)?;
            to.copy_from(from);
            let slot = entry.slot.index();
            self.writes.push(Write { slot, row }, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Writes what is left. A member that fails is taken out; an error if the array cannot go on.
    pub(super) fn flush(&mut self) -> Result {
        let mut rest = self.writes.len();
        while rest > 0 {
            rest = self.write(rest)?;
        }
        self.writes.clear();
        Ok(())
    }

    /// Writes as many of the first `n` as can be at once, from the end, and waits; returns how many
    /// are left.
    fn write(&self, n: usize) -> Result<usize> {
        let wave = Arc::pin_init(
            pin_init!(Wave {
                array: self.array.clone(),
                ended <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let mut round = Builder::new(wave.clone())?;
        let mut left = n;
        let all = self.writes.iter().zip(self.pages.iter()).take(n);
        for (write, page) in all.rev() {
            let label = Label {
                slot: write.slot,
                rows: write.row.get(),
                write: true,
            };
            if let Some(member) = self.array.members.get(write.slot) {
                let sector = write.row.get().wrapping_add(member.data_offset());
                let pages = core::iter::once(page);
                let pool = &self.array.member_bios;
                let added = round.add(pool, member, Op::Write, sector, label, pages);
                if added.is_err() && !round.is_empty() {
                    // The others first.
                    break;
                }
                added?;
            }
            left = left.wrapping_sub(1);
        }
        if !round.is_empty() {
            round.submit_queued();
            wave.ended.wait_for_completion();
        }
        if self.array.has_failed() {
            return Err(EIO);
        }
        Ok(left)
    }
}

impl Sink for Replay<'_> {
    type Error = Error;

    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result {
        // What was written to a row before must not come after this.
        let again = self.writes.iter().any(|write| write.row == row);
        if again || self.writes.len().saturating_add(entries.len()) > WAVE {
            self.flush()?;
        }
        let before = self.writes.len();
        let added = self.add_row(row, entries);
        if added.is_err() {
            // Not half of it, unless it is longer than a wave.
            self.writes.truncate(before);
        }
        added
    }

    fn unit_done(&mut self, before: &ScanReport, after: &ScanReport) {
        trace(|| ReplayUnit {
            dev: self.array.mddev.dev(),
            ring: self.ring,
            before,
            after,
        });
    }
}
