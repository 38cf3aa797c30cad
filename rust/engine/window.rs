// SPDX-License-Identifier: GPL-2.0

//! Reading a journal ahead: recovery asks for one block after the other, or for single ones
//! here and there.

use crate::{
    journal::{format::JournalBlock, ring::Ring},
    lib::page::Page,
    md::rdev::{Rdev, MAX_PAGES},
};
use kernel::prelude::*;

/// So many blocks may be left out by who asks for one after the other: meta blocks are.
const GAP: u64 = 4;

/// Some consecutive blocks of a journal.
pub(super) struct Window<'a> {
    rdev: &'a Rdev,
    ring: Ring,
    pages: KVec<Page>,
    start: u64,
    /// Pages that hold what the device has there.
    len: usize,
}

impl<'a> Window<'a> {
    /// Nothing yet, of the journal on `rdev`. Nobody may write the journal meanwhile.
    pub(super) fn new(rdev: &'a Rdev, ring: Ring) -> Result<Self> {
        let mut pages = KVec::with_capacity(MAX_PAGES, GFP_KERNEL)?;
        for _ in 0..MAX_PAGES {
            pages.push(Page::new()?, GFP_KERNEL)?;
        }
        Ok(Self {
            rdev,
            ring,
            pages,
            start: 0,
            len: 0,
        })
    }

    /// A block, which is read with those after it if it is not here.
    pub(super) fn block(&mut self, block: JournalBlock) -> Result<&Page> {
        if self.place(block).is_none() {
            self.fill(block)?;
        }
        let place = self.place(block).ok_or(EIO)?;
        self.pages.get(place).ok_or(EIO)
    }

    fn place(&self, block: JournalBlock) -> Option<usize> {
        let nth = usize::try_from(block.get().checked_sub(self.start)?).ok()?;
        (nth < self.len).then_some(nth)
    }

    fn fill(&mut self, block: JournalBlock) -> Result {
        // Twice as far each time, as long as it goes on.
        let gap = block
            .get()
            .checked_sub(self.start.saturating_add(self.len as u64));
        let goes_on = self.len > 0 && gap.is_some_and(|gap| gap <= GAP);
        let far = if goes_on {
            self.len.saturating_mul(2)
        } else {
            1
        };
        self.len = 0;
        self.start = block.get();
        let left = self.ring.blocks().saturating_sub(block.get());
        let ahead = core::cmp::min(usize::try_from(left).unwrap_or(usize::MAX), MAX_PAGES);
        let ahead = core::cmp::min(ahead, far);
        // If there is something that cannot be read, it may not be needed.
        for n in [ahead, 1] {
            let pages = self.pages.get(..n).ok_or(EIO)?;
            if self.rdev.read_pages(block.sector(), pages).is_ok() {
                self.len = n;
                return Ok(());
            }
        }
        Err(EIO)
    }
}
