// SPDX-License-Identifier: GPL-2.0

//! What is on its way to the journal: units and flushes.

use super::{journal::Journal, journal_memory::FlushDue, stripe::Stripe};
use crate::{
    block::round::{Done, Label, RoundOwner},
    journal::{
        format::{JournalBlock, MetaBuilder, BLOCK_SIZE},
        ring::MAX_UNIT_BLOCKS,
        unit::UnitRef,
    },
    lib::{checksum::crc32c, noio::NoIo, page::Page, worklist::Worklist},
    md::rdev::Rdev,
    raid::mask::RowMask,
};
use kernel::{
    alloc::Flags,
    new_spinlock,
    prelude::*,
    sync::{Arc, SpinLock},
};

/// Pages of a unit, at most, and so its rows.
pub(super) const UNIT_PAGES: usize = MAX_UNIT_BLOCKS as usize - 1;

/// A unit on its way to the journal, or still filling.
#[pin_data]
pub(super) struct UnitIo {
    pub(super) journal: Arc<Journal>,
    /// It is kept for when there is no memory: used again and again.
    pub(super) spare: bool,
    #[pin]
    pub(super) rows: SpinLock<UnitRows>,
}

/// What is written of a unit.
pub(super) struct Body {
    pub(super) meta: KBox<[u8; BLOCK_SIZE]>,
    pub(super) used: usize,
    pub(super) meta_page: Page,
    pub(super) pages: KVec<Page>,
}

impl Body {
    /// Nothing yet, with room for as much as a unit can have.
    pub(super) fn new(gfp: Flags) -> Result<Self> {
        Ok(Self {
            meta: KBox::new([0u8; BLOCK_SIZE], gfp)?,
            used: 0,
            meta_page: Page::quick().ok_or(ENOMEM)?,
            pages: KVec::with_capacity(UNIT_PAGES, gfp)?,
        })
    }
}

/// The unit that takes rows.
pub(super) struct Open {
    pub(super) io: Arc<UnitIo>,
    pub(super) unit: UnitRef,
    pub(super) body: Body,
}

/// What is at hand for filling units.
pub(super) struct Filling {
    pub(super) open: Option<Open>,
    /// For the next unit: there must be one before the log opens it.
    pub(super) next: Option<Arc<UnitIo>>,
}

impl Filling {
    /// Whether a row may come to a unit that is kept: there all rows wait until it
    /// is stable, so that whoever tells of ordered ones does not meet it in its next
    /// life.
    pub(super) fn has_spare(&self) -> bool {
        let open = self.open.as_ref().is_some_and(|open| open.io.spare);
        open || self.next.as_ref().is_some_and(|next| next.spare)
    }
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
    pub(super) unit: Option<UnitRef>,
    /// What is written; elsewhere while the unit is filling.
    pub(super) body: Option<Body>,
    /// It has yet to be issued.
    pub(super) unissued: bool,
}

impl UnitRows {
    /// None, with room for as many as a unit can have; of the first kind only if `early`.
    pub(super) fn new(early: bool, gfp: Flags) -> Result<Self> {
        let room = if early { UNIT_PAGES } else { 0 };
        Ok(Self {
            early: KVec::with_capacity(room, gfp)?,
            late: KVec::with_capacity(UNIT_PAGES, gfp)?,
            all: 0,
            unit: None,
            body: None,
            unissued: false,
        })
    }

    /// They are those of `unit` now.
    pub(super) fn begin(&mut self, unit: UnitRef) {
        self.unit = Some(unit);
        self.all = 0;
        self.unissued = false;
    }

    /// The unit's write has ended; which that is, once, and what was written, to be dropped: of a
    /// unit that is kept only its pages are.
    pub(super) fn written(&mut self, spare: bool) -> Option<(UnitRef, Option<Body>)> {
        let unit = self.unit.take()?;
        let body = match &mut self.body {
            Some(body) if spare => {
                body.pages.clear();
                None
            }
            Some(_) => self.body.take(),
            None => None,
        };
        Some((unit, body))
    }

    /// Keeps the room of lists that were taken out, and are empty now.
    pub(super) fn put_back(&mut self, early: Rows, late: Rows) {
        for (mine, list) in [(&mut self.early, early), (&mut self.late, late)] {
            if mine.is_empty() && mine.capacity() < list.capacity() {
                *mine = list;
            }
        }
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
    /// A unit that has none of the log's yet, and all that it will need.
    pub(super) fn new(
        journal: &Arc<Journal>,
        early: bool,
        spare: bool,
        gfp: Flags,
    ) -> Result<Arc<Self>> {
        let mut rows = UnitRows::new(early, gfp)?;
        rows.body = Some(Body::new(gfp)?);
        Arc::pin_init(
            pin_init!(Self {
                journal: journal.clone(),
                spare,
                rows <- new_spinlock!(rows, "raid5c::unit"),
            }),
            gfp,
        )
    }

    /// How many rows it has, told or not.
    pub(super) fn row_count(&self) -> u32 {
        self.rows.lock().all
    }
}

/// A flush of the journal on its way.
#[pin_data]
pub(super) struct FlushIo {
    pub(super) journal: Arc<Journal>,
    /// It is kept for when there is no memory: used again and again.
    pub(super) spare: bool,
    /// The array is not quiesced as long as a flush uses the device: one that
    /// was overtaken keeps nobody else waiting.
    #[pin]
    pub(super) ticket: SpinLock<Option<FlushDue>>,
}

/// What it takes to write units without rows; kept, as the end of a journal's run must not fail for
/// want of memory.
pub(super) struct EmptyUnit {
    meta: KBox<[u8; BLOCK_SIZE]>,
    page: Page,
}

impl EmptyUnit {
    /// Waits for memory.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            meta: KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?,
            page: Page::new()?,
        })
    }

    /// Writes the unit `seq` to `at`, without rows; it is stable when this returns.
    pub(super) fn write(&mut self, rdev: &Rdev, at: JournalBlock, seq: u64, seed: u32) -> Result {
        self.meta.fill(0);
        MetaBuilder::new(&mut self.meta, seq, at).finish(seed, crc32c);
        self.page.write(&self.meta);
        rdev.page_io(at.sector(), &self.page, true, true)
    }
}

/// What all bios of a journal are about.
pub(super) const LABEL: Label = Label {
    slot: 0,
    rows: 0,
    write: true,
    twin: false,
    again: false,
};

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
        this.journal.unit_written(&this, ok);
    }

    fn worklist(&self) -> &Worklist {
        &self.journal.array.queue
    }
}

impl FlushIo {
    /// One that has no ticket yet.
    pub(super) fn new(journal: &Arc<Journal>, spare: bool, gfp: Flags) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                journal: journal.clone(),
                spare,
                ticket <- new_spinlock!(None, "raid5c::flush"),
            }),
            gfp,
        )
    }

    /// The flush has ended.
    pub(super) fn finish(this: &Arc<Self>, ok: bool) {
        let journal = this.journal.clone();
        if !ok {
            journal.device_failed();
        }
        let ticket = this.ticket.lock().take();
        if this.spare {
            journal.keep_flush(this.clone());
        }
        if let Some((ticket, turn)) = ticket {
            journal.flushed(ticket, ok);
            drop(turn);
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
        Self::finish(&this, ok);
        this.journal.flush();
        this.journal.release();
    }

    fn worklist(&self) -> &Worklist {
        &self.journal.array.queue
    }
}
