// SPDX-License-Identifier: GPL-2.0

//! Complete rows of a log on their way to the members: many writes at a time.

use super::{array::Array, recovery::Table, window::Window};
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
    raid::units::{DevSector, Slot},
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, Completion,
    },
};

/// Pages that are written at a time.
const WAVE: usize = 64;

/// Takes in how the write of a recovered row to a member ended. What it did not take is noted; whether
/// the row can do without that, [`check_row`] says when all writes of the row have ended. What it took
/// is no bad block any more if it is `newest`.
pub(super) fn take_end(array: &Array, member: &Rdev, row: DevSector, ok: bool, newest: bool) {
    if ok && newest {
        member.clear_badblock(row.get(), 8);
    } else if ok {
        // It holds something, but nothing to go by.
    } else if !member.flag(RdevFlag::Faulty) {
        array.row_not_written(member, row.get());
    }
}

/// An error if the array is lost, or a row that some member did not take and that may not be given up. Not
/// before all writes of the row have ended: one of them may mend what was bad.
pub(super) fn check_row(array: &Array, row: DevSector) -> Result {
    if array.has_failed() {
        return Err(EIO);
    }
    if array.is_row_lost(row.get()) {
        // What members did not take is recorded before the log forgets it.
        array.give_up(row, |slot| array.is_lost_in(slot, row.get()))?;
    }
    Ok(())
}

/// Writes under way.
#[pin_data]
pub(super) struct Wave {
    array: Arc<Array>,
    open: Arc<Table>,
    /// A member did not take something.
    missed: Atomic<u32>,
    #[pin]
    ended: Completion,
}

impl RoundOwner for Wave {
    fn round_done(this: Arc<Self>, done: Done<Self>) {
        let _noio = NoIo::enter();
        for ended in done {
            let row = DevSector::new(ended.label.rows);
            let newest = !is_open_parity(&this.array, &this.open, row, ended.label.slot);
            take_end(&this.array, &ended.rdev, row, ended.ok, newest);
            if !ended.ok {
                this.missed.store(1, Relaxed);
            }
        }
        this.ended.complete_all();
    }

    fn worklist(&self) -> &Worklist {
        &self.array.queue
    }
}

/// Whether strip `slot` of a row is parity, and the log has newer data without parity. That data may be on
/// members: where parity had no place, a bad block was recorded, and the data written without it. This
/// parity is older, and a strip that cannot be read must not be computed from both.
fn is_open_parity(array: &Array, open: &Table, row: DevSector, slot: usize) -> bool {
    let is_parity = || {
        let place = array.geo.placement(row);
        u16::try_from(slot).is_ok_and(|slot| place.is_parity(Slot::new(slot)))
    };
    open.may_have(row) && is_parity()
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
    /// Rows that will have data without parity, if anything is a bad block; else none.
    open: Arc<Table>,
    log: Window<'a>,
    ring: Ring,
    /// The first of `pages` are for these.
    writes: KVec<Write>,
    pages: KVec<Page>,
    /// Of `writes`, or of what came before of the first one's row, a member did not take something.
    missed: bool,
}

impl<'a> Replay<'a> {
    /// Nothing to be written yet. `open`: the rows of which the log has data without parity at its
    /// end; needed where there are bad blocks.
    pub(super) fn new(
        array: &'a Arc<Array>,
        rdev: &'a Rdev,
        ring: Ring,
        open: Table,
    ) -> Result<Self> {
        let mut pages = KVec::with_capacity(WAVE, GFP_KERNEL)?;
        for _ in 0..WAVE {
            pages.push(Page::new()?, GFP_KERNEL)?;
        }
        Ok(Self {
            array,
            open: Arc::new(open, GFP_KERNEL)?,
            log: Window::new(rdev, ring)?,
            ring,
            writes: KVec::with_capacity(WAVE, GFP_KERNEL)?,
            pages,
            missed: false,
        })
    }

    /// Puts a row's pages behind the others.
    fn add_row(&mut self, row: DevSector, entries: &[Entry]) -> Result {
        for entry in entries {
            if self.writes.len() == WAVE {
                // A row of more members than a wave has pages.
                self.write_all()?;
                self.writes.clear();
            }
            let from = self.log.block(entry.block)?;
            let to = self.pages.get(self.writes.len()).ok_or(EIO)?;
            to.copy_from(from);
            let slot = entry.slot.index();
            self.writes.push(Write { slot, row }, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Writes what is left; an error if a row or the array is lost with what members do not take.
    pub(super) fn flush(&mut self) -> Result {
        self.write_all()?;
        if core::mem::take(&mut self.missed) {
            // Of what is open, the finisher says what is lost.
            for write in self.writes.iter().filter(|w| !self.open.has(w.row)) {
                check_row(self.array, write.row)?;
            }
        }
        self.writes.clear();
        Ok(())
    }

    fn write_all(&mut self) -> Result {
        let mut rest = self.writes.len();
        while rest > 0 {
            rest = self.write(rest)?;
        }
        Ok(())
    }

    /// Adds the write of a page to all devices of its role.
    fn add(&self, round: &mut Builder<Wave>, write: Write, page: &Page) -> Result {
        let label = Label {
            slot: write.slot,
            rows: write.row.get(),
            write: true,
            twin: false,
            again: false,
        };
        for member in self.array.members.both(write.slot).into_iter().flatten() {
            let sector = write.row.get().wrapping_add(member.data_offset());
            let (pool, pages) = (&self.array.member_bios, core::iter::once(page));
            round.add(pool, member, Op::Write, sector, label, pages)?;
        }
        Ok(())
    }

    /// Writes as many of the first `n` as can be at once, from the end, and waits; returns how many
    /// are left.
    fn write(&mut self, n: usize) -> Result<usize> {
        let (array, open) = (self.array, self.open.clone());
        let wave = Arc::pin_init(
            pin_init!(Wave {
                array: array.clone(),
                open,
                missed: Atomic::new(0),
                ended <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let mut round = Builder::new(wave.clone());
        let mut left = n;
        let all = self.writes.iter().zip(self.pages.iter()).take(n);
        for (write, page) in all.rev() {
            let added = self.add(&mut round, *write, page);
            if added.is_err() && !round.is_empty() {
                // The others first.
                break;
            }
            if added == Err(ENOMEM) {
                super::array::wait_for_memory();
                break;
            }
            added?;
            left = left.wrapping_sub(1);
        }
        if !round.is_empty() {
            round.submit_queued();
            wave.ended.wait_for_completion();
        }
        self.missed |= wave.missed.load(Relaxed) != 0;
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
