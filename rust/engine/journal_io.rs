// SPDX-License-Identifier: GPL-2.0

//! What is on its way to the journal: units and flushes.

use super::{array::OwnTurn, journal::Journal, stripe::Stripe};
use crate::{
    block::round::{Builder, Done, Label, RoundOwner},
    journal::{
        format::{JournalBlock, MetaBuilder, BLOCK_SIZE},
        log::FlushTicket,
        ring::MAX_UNIT_BLOCKS,
        unit::UnitRef,
    },
    lib::{checksum::crc32c, noio::NoIo, page::Page, worklist::Worklist},
    md::rdev::Rdev,
    raid::mask::RowMask,
};
use kernel::{
    prelude::*,
    sync::{Arc, SpinLock},
};

/// Pages of a unit, at most, and so its rows.
pub(super) const UNIT_PAGES: usize = MAX_UNIT_BLOCKS as usize - 1;

/// A unit on its way to the journal, or still filling.
#[pin_data]
pub(super) struct UnitIo {
    pub(super) journal: Arc<Journal>,
    pub(super) unit: UnitRef,
    #[pin]
    pub(super) rows: SpinLock<UnitRows>,
}

/// Rows of stripes.
pub(super) type Rows = KVec<(Arc<Stripe>, RowMask)>;

/// The rows of a unit that have not been told yet what became of it.
pub(super) struct UnitRows {
    /// They need no more than that the unit is ordered.
    pub(super) early: Rows,
    /// They need it to be stable.
    pub(super) late: Rows,
    /// How many rows were added.
    all: u32,
}

impl UnitRows {
    /// None, with room for as many as a unit can have; of the first kind only if `early`.
    pub(super) fn new(early: bool) -> Result<Self> {
        let room = if early { UNIT_PAGES } else { 0 };
        Ok(Self {
            early: KVec::with_capacity(room, GFP_KERNEL)?,
            late: KVec::with_capacity(UNIT_PAGES, GFP_KERNEL)?,
            all: 0,
        })
    }

    /// Frees a list that has nothing: a unit may wait long for its flush.
    pub(super) fn shrink(&mut self) {
        for rows in [&mut self.early, &mut self.late] {
            if rows.is_empty() {
                *rows = KVec::new();
            }
        }
    }

    /// Adds a row; fails if there is no room.
    pub(super) fn add(&mut self, stripe: &Arc<Stripe>, row: RowMask, early: bool) -> Result {
        let rows = if early {
            &mut self.early
        } else {
            &mut self.late
        };
        self.all = self.all.saturating_add(row.count());
        if let Some((last, mask)) = rows.last_mut() {
            if Arc::ptr_eq(last, stripe) {
                mask.insert(row);
                return Ok(());
            }
        }
        rows.push_within_capacity((stripe.clone(), row))
            .map_err(|_| ENOSPC)
    }
}

impl UnitIo {
    /// How many rows it has, told or not.
    pub(super) fn row_count(&self) -> u32 {
        self.rows.lock().all
    }
}

/// A flush of the journal on its way.
#[pin_data]
pub(super) struct FlushIo {
    pub(super) journal: Arc<Journal>,
    /// The array is not quiesced as long as a flush uses the device: one that
    /// was overtaken keeps nobody else waiting.
    pub(super) _turn: OwnTurn,
    #[pin]
    pub(super) ticket: SpinLock<Option<FlushTicket>>,
}

/// Writes an empty unit, stable when this returns.
pub(super) fn write_empty(rdev: &Rdev, at: JournalBlock, seq: u64, seed: u32) -> Result {
    let mut meta = KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?;
    MetaBuilder::new(&mut meta, seq, at).finish(seed, crc32c);
    let page = Page::new()?;
    page.write(&meta);
    rdev.page_io(at.sector(), &page, true, true)
}

/// What all bios of a journal are about.
pub(super) const LABEL: Label = Label {
    slot: 0,
    rows: 0,
    write: true,
    twin: false,
};

/// An empty round; waits for memory, as what it is for cannot be given up.
pub(super) fn builder<O: RoundOwner>(owner: &Arc<O>) -> Builder<O> {
    loop {
        match Builder::new(owner.clone()) {
            Ok(round) => return round,
            Err(_) => super::array::wait_for_memory(),
        }
    }
}

/// A unit's pages in the order of its blocks.
pub(super) struct UnitPages<'a> {
    pub(super) meta: &'a Page,
    pub(super) pages: &'a [Page],
}

impl<'a> UnitPages<'a> {
    fn get(&self, i: usize) -> Option<&'a Page> {
        match i.checked_sub(1) {
            None => Some(self.meta),
            Some(i) => self.pages.get(i),
        }
    }

    /// `n` of them from the `at`th.
    pub(super) fn part(&'a self, at: usize, n: usize) -> PartIter<'a> {
        PartIter {
            of: self,
            at,
            end: at.wrapping_add(n),
        }
    }
}

/// Some of a unit's pages.
pub(super) struct PartIter<'a> {
    of: &'a UnitPages<'a>,
    at: usize,
    end: usize,
}

impl<'a> Iterator for PartIter<'a> {
    type Item = &'a Page;

    fn next(&mut self) -> Option<&'a Page> {
        if self.at >= self.end {
            return None;
        }
        let page = self.of.get(self.at)?;
        self.at = self.at.wrapping_add(1);
        Some(page)
    }
}

impl ExactSizeIterator for PartIter<'_> {
    fn len(&self) -> usize {
        self.end.saturating_sub(self.at)
    }
}

impl RoundOwner for UnitIo {
    fn round_done(this: Arc<Self>, done: Done<Self>) {
        let _noio = NoIo::enter();
        let mut ok = true;
        for ended in done {
            ok &= ended.ok;
        }
        this.journal.unit_written(this.unit, ok);
    }

    fn worklist(&self) -> &Worklist {
        &self.journal.array.queue
    }
}

impl FlushIo {
    /// The flush has ended.
    pub(super) fn finish(&self, ok: bool) {
        if !ok {
            self.journal.device_failed();
        }
        if let Some(ticket) = self.ticket.lock().take() {
            self.journal.flushed(ticket, ok);
        }
    }
}

impl RoundOwner for FlushIo {
    fn round_done(this: Arc<Self>, done: Done<Self>) {
        let _noio = NoIo::enter();
        let mut ok = true;
        for ended in done {
            ok &= ended.ok;
        }
        this.finish(ok);
        this.journal.flush();
        this.journal.release();
    }

    fn worklist(&self) -> &Worklist {
        &self.journal.array.queue
    }
}
