// SPDX-License-Identifier: GPL-2.0

//! A page that was rewritten after a read error is read again, to see whether that has helped: there
//! are sectors that take writes and give nothing back. Until that has ended, its write has not: so
//! nothing else is written there meanwhile.

use super::{array::Array, ends::Mended, stripe::Stripe};
use crate::{
    block::round::{Builder, Label, Op},
    lib::{clock::warn_limited, page::Page},
    md::{
        mddev::MAX_SECTOR,
        rdev::{Rdev, RdevFlag, RdevRef},
    },
    raid::mask::RowMask,
};
use kernel::{prelude::*, sync::Arc};

/// Sectors of a page.
const PAGE_SECTORS: u32 = 8;

impl Stripe {
    /// Begins to read again what was rewritten. Returns the rows that are not: where there is no
    /// memory for that, and where a replacement was written as well, which may be what could not
    /// be read. They count as corrected.
    pub(super) fn read_again(self: &Arc<Self>, mended: &Mended) -> RowMask {
        let (slot, rows) = (mended.slot, mended.rows);
        let members = &self.array().members;
        let mut left = rows;
        let device = match members.both(slot) {
            [rdev, None] if !mended.twin => rdev,
            _ => None,
        };
        if let Some(rdev) = device {
            let mut round = Builder::new(self.clone());
            for row in rows.iter() {
                if self.add_reread(&mut round, &rdev, (slot, row)).is_ok() {
                    left.remove(RowMask::single(row));
                }
            }
            round.submit_queued();
        }
        for row in left.iter() {
            let at = self.row_sector(row).get();
            let reader = members.reader(slot, self.end(), (at, PAGE_SECTORS));
            if let Some(rdev) = reader {
                self.array().note_corrected(&rdev, at);
            }
        }
        left
    }

    fn add_reread(
        &self,
        round: &mut Builder<Stripe>,
        rdev: &Rdev,
        (slot, row): (usize, u32),
    ) -> Result {
        let label = Label {
            slot,
            rows: RowMask::single(row).0,
            write: true,
            twin: false,
            again: true,
        };
        let sector = self.row_sector(row).get().wrapping_add(rdev.data_offset());
        // What comes is not looked at.
        let page = Page::quick().ok_or(ENOMEM)?;
        let pages = core::iter::once(&page);
        let pool = &self.array().member_bios;
        round.add(pool, RdevRef::new(rdev), Op::Read, sector, label, pages)
    }
}

impl Array {
    /// The page at member sector `at` could be read after it was rewritten, or not (`ok`).
    pub(super) fn take_reread(&self, rdev: &Rdev, slot: usize, at: u64, ok: bool) {
        if ok {
            self.note_corrected(rdev, at);
        } else if !rdev.flag(RdevFlag::Faulty) {
            self.not_corrected(rdev, slot, at);
        }
    }

    /// A read error of the page at member sector `at` was corrected.
    pub(super) fn note_corrected(&self, rdev: &Rdev, at: u64) {
        rdev.add_corrected(PAGE_SECTORS);
        warn_limited!(
            "{}: {}: read error at member sector {} corrected by rewriting\n",
            self.mddev.name(),
            rdev.name(),
            at
        );
    }

    /// What role `slot` was given at member sector `at` cannot be read. That becomes a bad block: until
    /// it is written the next time, the row is as if the member were missing. If there is no room for
    /// it, the member is taken out. But neither if anything might be lost by it, as the sector may be
    /// read some other time.
    fn not_corrected(&self, rdev: &Rdev, slot: usize, at: u64) {
        // Two that are judged at once must not both go.
        let judging = self.judging.lock();
        let room = rdev.takes_badblocks(1);
        if !self.can_do_without(slot, at, room) || rdev.flag(RdevFlag::Replacement) {
            warn_limited!(
                "{}: {}: read error at member sector {} not corrected by rewriting: replace the device\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
            return;
        }
        if !rdev.test_and_set_flag(RdevFlag::WantReplacement) {
            self.mddev.look_for_work();
        }
        if rdev.set_badblock(at, PAGE_SECTORS) {
            warn_limited!(
                "{}: {}: read error at member sector {} not corrected by rewriting; recorded as a bad block: the row is as if the member were missing until it is written again; replace the member soon\n",
                self.mddev.name(),
                rdev.name(),
                at
            );
            return;
        }
        pr_err!(
            "{}: {}: read error at member sector {} not corrected by rewriting, and bad blocks cannot be recorded (any more); the member is taken out, replace it\n",
            self.mddev.name(),
            rdev.name(),
            at
        );
        self.mddev.error(rdev);
        drop(judging);
    }

    /// Whether all the other roles have the row at member sector `at`, but for what parity makes up
    /// for; or with `room` unset, all rows.
    fn can_do_without(&self, slot: usize, at: u64, room: bool) -> bool {
        let parity = usize::try_from(self.geo.parity_disks()).unwrap_or(0);
        let lacks = |other: &usize| {
            let other = *other;
            self.is_lost_in(other, at) || !(room || self.members.has_all(other))
        };
        let others = (0..self.members.len()).filter(|other| *other != slot);
        // Parity that was never made is no help.
        self.mddev.resync_offset() == MAX_SECTOR && others.filter(lacks).count() < parity
    }
}
