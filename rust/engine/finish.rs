// SPDX-License-Identifier: GPL-2.0

//! Finishing what a write-back cache had acknowledged and not written out: rows
//! of which the log has data and no parity. The rules are `journal::finish`'s.

use super::{
    array::Array,
    ops::{self, Place},
    recovery::{write_member, Table},
    replay::check_row,
    table::{PageTable, Which},
    work::{Handler, Task},
};
use crate::{
    journal::{
        finish::{way, Strip, Way, Wiped},
        format::{MetaBuilder, BLOCK_SIZE},
        recovery::{Entry, Pending, ScanReport},
        ring::Ring,
        unit::Position,
    },
    lib::{
        checksum::{crc32c, crc32c_page},
        page::Page,
        trace::{trace, ReplayFinish},
    },
    md::rdev::Rdev,
    raid::{mask::RowMask, stripe::Access, units::DevSector},
};
use kernel::prelude::*;

/// The only row of the table that rows are finished in.
const ROW: u32 = 0;

/// Finishes one row after the other.
pub(super) struct Finisher<'a> {
    array: &'a Array,
    rdev: &'a Rdev,
    ring: Ring,
    tail: Position,
    seed: u32,
    work: Handler,
    /// By member: what it is to the row.
    strips: KVec<Strip>,
    entries: KVec<Entry>,
    /// Rows for whose parity the log had no room.
    unlogged: u64,
    /// The superblocks were written since the recovery began.
    recorded: bool,
}

impl<'a> Finisher<'a> {
    /// For the log on `rdev`, which began at `tail`.
    pub(super) fn new(
        array: &'a Array,
        rdev: &'a Rdev,
        ring: Ring,
        tail: Position,
        seed: u32,
    ) -> Result<Self> {
        let members = array.members.len();
        let mut pages =
            PageTable::new(members, 1, false, array.cache.budget().clone(), GFP_KERNEL)?;
        for slot in 0..members {
            while pages.ensure(Which::First, slot, RowMask::single(ROW)).any() {
                super::array::wait_for_memory();
            }
        }
        let place = Place::new(&array.geo, DevSector::new(0), GFP_KERNEL)?;
        let none = Strip {
            parity: false,
            logged: false,
            readable: false,
        };
        Ok(Self {
            array,
            rdev,
            ring,
            tail,
            seed,
            work: Handler::new(members, place, pages, false, GFP_KERNEL)?,
            strips: KVec::from_elem(none, members, GFP_KERNEL)?,
            entries: KVec::from_elem(Entry::NONE, members, GFP_KERNEL)?,
            unlogged: 0,
            recorded: false,
        })
    }

    /// Finishes all rows; afterwards they are on the members, perhaps in their
    /// caches.
    pub(super) fn run<M: Pending<Error = Error>>(
        &mut self,
        report: &mut ScanReport,
        rows: &mut M,
    ) -> Result {
        let all = rows.rows();
        let mut bare = Table::new();
        while let Some(row) = rows.first() {
            let n = rows.take(row, &mut self.entries)?;
            self.work.place = Place::new(&self.array.geo, row, GFP_KERNEL)?;
            if self.has_parity(row) {
                self.finish_row(report, row, n, true)?;
                continue;
            }
            for entry in self.logged_pages(n)? {
                bare.insert(row, *entry)?;
            }
        }
        // The log's room is the others': these were perhaps written out without parity, and gave theirs back.
        while let Some(row) = bare.first() {
            let n = bare.take(row, &mut self.entries)?;
            self.finish_row(report, row, n, false)?;
        }
        if all > 0 {
            pr_info!(
                "{}: {} rows that were only in the write-back cache's journal are written out\n",
                self.array.mddev.name(),
                all
            );
        }
        if self.unlogged > 0 {
            pr_warn!(
                "{}: the journal was too full to protect {} of them; a crash until now, and a member lost with it, could have cost their data\n",
                self.array.mddev.name(),
                self.unlogged
            );
        }
        Ok(())
    }

    fn page(&self, slot: usize) -> Result<&Page> {
        self.work.pages.get(slot, ROW).ok_or(EINVAL)
    }

    /// The `n` entries of the row under way.
    fn logged_pages(&self, n: usize) -> Result<&[Entry]> {
        self.entries.get(..n).ok_or(EINVAL)
    }

    fn finish_row(
        &mut self,
        report: &mut ScanReport,
        row: DevSector,
        n: usize,
        believed: bool,
    ) -> Result {
        self.finish(report, row, n, believed).inspect_err(|_| {
            pr_crit!(
                "{}: the row at member sector {} has data in the journal and no parity, and cannot be written out; nothing in the journal is lost: stop the array, and assemble it again with all members\n",
                self.array.mddev.name(),
                row.get()
            );
        })?;
        report.row_finished();
        Ok(())
    }

    /// Finishes a row, whose old parity may be `believed`.
    fn finish(
        &mut self,
        report: &mut ScanReport,
        row: DevSector,
        n: usize,
        believed: bool,
    ) -> Result {
        self.work.place = Place::new(&self.array.geo, row, GFP_KERNEL)?;
        self.look(row, n)?;
        match self.read_others(row)? {
            Way::Read => {}
            Way::Compute => self.compute_lost()?,
            Way::Lost => return self.forgo(row, n),
        }
        self.read_logged(n)?;
        ops::reconstruct(&mut self.work, ROW)?;
        let logged = self.log_parity(report, row)?;
        if !logged && !believed {
            return self.write_unlogged(row, n);
        }
        if !logged {
            self.unlogged = self.unlogged.wrapping_add(1);
        }
        let mut taken = self.write_logged(row, n)?;
        let place = &self.work.place;
        for slot in [Some(place.p), place.q].into_iter().flatten() {
            taken &= write_member(self.array, slot, row, self.page(slot)?);
        }
        if !taken {
            check_row(self.array, row)?;
        }
        trace(|| ReplayFinish {
            dev: self.array.mddev.dev(),
            row,
            data: n,
            logged,
        });
        Ok(())
    }

    fn read_logged(&self, n: usize) -> Result {
        for entry in self.logged_pages(n)? {
            let page = self.page(entry.slot.index())?;
            self.rdev
                .page_io(entry.block.sector(), page, false, false)?;
            if crc32c_page(self.seed, page) != entry.checksum {
                return Err(EIO);
            }
        }
        Ok(())
    }

    /// Writes what the log has of the row; false if some member did not take it.
    fn write_logged(&self, row: DevSector, n: usize) -> Result<bool> {
        let mut taken = true;
        for entry in self.logged_pages(n)? {
            let slot = entry.slot.index();
            taken &= write_member(self.array, slot, row, self.page(slot)?);
        }
        Ok(taken)
    }

    /// Writes the row without parity, of which too much is lost. First md records that the members hold
    /// none: with the old one they would give something for what is lost that nobody wrote.
    fn forgo(&self, row: DevSector, n: usize) -> Result {
        let lost = |slot: usize| self.strips.get(slot).is_some_and(|s| !s.readable);
        self.array.give_up(row, lost)?;
        self.read_logged(n)?;
        let (members, place) = (&self.array.members, &self.work.place);
        for slot in [Some(place.p), place.q].into_iter().flatten() {
            for rdev in members.both(slot).into_iter().flatten() {
                if !rdev.takes_badblocks(1) || !rdev.set_badblock(row.get(), 8) {
                    return Err(ENOSPC);
                }
            }
        }
        self.record()?;
        self.write_logged(row, n)?;
        if self.array.has_failed() {
            return Err(EIO);
        }
        Ok(())
    }

    /// Has md write what is out, and what is a bad block.
    fn record(&self) -> Result {
        match self.array.mddev.update_sb_locked() && !self.array.is_blocked() {
            true => Ok(()),
            false => Err(EIO),
        }
    }

    /// Writes a row whose old parity nobody believes, and for whose new one the log has no room: the
    /// members that have it keep it as a bad block, as after a crash the log would put the old one there.
    fn write_unlogged(&mut self, row: DevSector, n: usize) -> Result {
        if !self.recorded || self.array.is_blocked() {
            self.record()?;
            self.recorded = true;
        }
        // After that, as a superblock that cannot be written costs its member.
        let lacks = |slot: usize| {
            let end = row.get().saturating_add(8);
            self.array.members.access_at(slot, end) != Access::Full
        };
        if self.logged_pages(n)?.iter().any(|e| lacks(e.slot.index())) {
            // It would be in parity only.
            return Err(EIO);
        }
        if !self.write_logged(row, n)? {
            check_row(self.array, row)?;
        }
        match self.array.has_failed() {
            true => Err(EIO),
            false => Ok(()),
        }
    }

    /// Finds out what each member is to the row.
    fn look(&mut self, row: DevSector, n: usize) -> Result {
        let end = row.get().saturating_add(8);
        for (slot, strip) in self.strips.iter_mut().enumerate() {
            *strip = Strip {
                parity: self.work.place.is_parity(slot),
                logged: false,
                readable: self.array.members.access_at(slot, end) == Access::Full,
            };
        }
        for i in 0..n {
            let slot = self.logged_pages(n)?.get(i).ok_or(EINVAL)?.slot.index();
            self.strips.get_mut(slot).ok_or(EINVAL)?.logged = true;
        }
        Ok(())
    }

    /// Reads what the row's way takes. Each failure to read makes a strip
    /// unreadable, and the way is chosen anew.
    fn read_others(&mut self, row: DevSector) -> Result<Way> {
        'choose: loop {
            let way = way(self.strips.iter().copied());
            for slot in 0..self.strips.len() {
                let strip = *self.strips.get(slot).ok_or(EINVAL)?;
                let wanted = match way {
                    Way::Read => !strip.parity && !strip.logged,
                    Way::Compute => strip.readable,
                    Way::Lost => return Ok(way),
                };
                if wanted && !self.read(slot, row)? {
                    self.strips.get_mut(slot).ok_or(EINVAL)?.readable = false;
                    continue 'choose;
                }
            }
            return Ok(way);
        }
    }

    fn read(&self, slot: usize, row: DevSector) -> Result<bool> {
        let end = row.get().saturating_add(8);
        let Some(member) = self.array.members.reader(slot, end, (row.get(), 8)) else {
            return Ok(false);
        };
        let good = !member.has_badblock(row.get(), 8);
        Ok(good
            && member
                .page_io(row.get(), self.page(slot)?, false, false)
                .is_ok())
    }

    /// Whether the row's parity may be believed, of some member that is here or may come back. Else it
    /// perhaps has no room in the log; so nothing else may be left to this.
    fn has_parity(&self, row: DevSector) -> bool {
        let place = &self.work.place;
        let end = row.get().saturating_add(8);
        let mut parity = [Some(place.p), place.q].into_iter().flatten();
        parity.any(|slot| match self.array.members.access_at(slot, end) {
            Access::Full => !self.array.is_lost_in(slot, row.get()),
            Access::WriteOnly => false,
            Access::Missing => self.rdev.knows_role(slot),
        })
    }

    /// Computes what could not be read from what the members hold.
    fn compute_lost(&mut self) -> Result {
        for (task, strip) in self.work.tasks.iter_mut().zip(self.strips.iter()) {
            *task = Task::default();
            if !strip.readable {
                task.result = RowMask::single(ROW);
            }
        }
        ops::compute(&mut self.work, ROW)
    }

    /// Adds the row's parity to the end of the log; false if there is no room,
    /// which who cached the row should have reserved.
    fn log_parity(&self, report: &mut ScanReport, row: DevSector) -> Result<bool> {
        let pages = u64::from(self.array.geo.parity_disks());
        let Some(longer) = report.extend(self.ring, self.tail, pages) else {
            return Ok(false);
        };
        let mut meta = KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?;
        let page = Page::new()?;
        page.write(&meta);
        self.rdev
            .page_io(longer.next().sector(), &page, true, true)?;
        let wiped = longer.next_wiped();
        self.write_unit(&wiped, &mut meta, &page, row)?;
        wiped.unit_written(report);
        Ok(true)
    }

    /// Writes the unit of the row's parity, stable when this returns.
    fn write_unit(
        &self,
        wiped: &Wiped,
        meta: &mut [u8; BLOCK_SIZE],
        meta_page: &Page,
        row: DevSector,
    ) -> Result {
        let unit = wiped.unit();
        let place = &self.work.place;
        let p = self.page(place.p)?;
        let q = match place.q {
            Some(q) => Some(self.page(q)?),
            None => None,
        };
        let mut builder = MetaBuilder::new(meta, unit.seq, unit.block);
        let (p_sum, q_sum) = (
            crc32c_page(self.seed, p),
            q.map(|q| crc32c_page(self.seed, q)),
        );
        builder.parity(row, p_sum, q_sum).map_err(|_| ENOSPC)?;
        builder.finish(self.seed, crc32c);
        meta_page.write(meta);
        let mut block = unit.block;
        for page in [Some(meta_page), Some(p), q].into_iter().flatten() {
            self.rdev.page_io(block.sector(), page, true, true)?;
            block = self.ring.add(block, 1);
        }
        Ok(())
    }
}
