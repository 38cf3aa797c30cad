// SPDX-License-Identifier: GPL-2.0

//! The pages of a stripe, by member and row; allocated when first used.

use super::cache::Budget;
use crate::{lib::page::Page, raid::mask::RowMask};
use kernel::{prelude::*, sync::Arc, time::delay::fsleep, time::Delta};

/// Which of a strip's two pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that has what is read and written.
    First,
    /// What the member holds, where something newer is cached.
    Second,
}

/// Pages of up to 64 rows of each member.
pub(crate) struct PageTable {
    rows: usize,
    pages: KVec<Option<Page>>,
    /// As many, or none.
    second: KVec<Option<Page>>,
    count: usize,
    budget: Arc<Budget>,
}

impl PageTable {
    /// An empty table.
    pub(crate) fn new(members: usize, rows: usize, budget: Arc<Budget>) -> Result<Self> {
        let n = members.checked_mul(rows).ok_or(EINVAL)?;
        Ok(Self {
            rows,
            pages: Self::empty(n)?,
            second: KVec::new(),
            count: 0,
            budget,
        })
    }

    fn empty(n: usize) -> Result<KVec<Option<Page>>> {
        let mut pages = KVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            pages.push(None, GFP_KERNEL)?;
        }
        Ok(pages)
    }

    /// How many pages there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn table(&self, which: Which) -> &KVec<Option<Page>> {
        match which {
            Which::First => &self.pages,
            Which::Second => &self.second,
        }
    }

    fn index(&self, slot: usize, row: u32) -> Option<usize> {
        let row = usize::try_from(row).ok()?;
        if row >= self.rows {
            return None;
        }
        slot.checked_mul(self.rows)?.checked_add(row)
    }

    /// The page of a row, if there is one.
    pub(crate) fn get(&self, slot: usize, row: u32) -> Option<&Page> {
        self.of(Which::First, slot, row)
    }

    /// One of a row's two pages, if it is there.
    pub(crate) fn of(&self, which: Which, slot: usize, row: u32) -> Option<&Page> {
        self.table(which).get(self.index(slot, row)?)?.as_ref()
    }

    /// The pages of `n` neighbouring rows, of which all must be there.
    pub(crate) fn run(
        &self,
        which: Which,
        slot: usize,
        (start, n): (u32, u32),
    ) -> Option<&[Option<Page>]> {
        let first = self.index(slot, start)?;
        let pages = self
            .table(which)
            .get(first..first.checked_add(usize::try_from(n).ok()?)?)?;
        pages.iter().all(Option::is_some).then_some(pages)
    }

    /// Makes sure that all `rows` of member `slot` have pages.
    ///
    /// Waits for memory: whoever needs a page here cannot go on without it,
    /// and holds nothing that freeing memory depends on but this array's own
    /// writes.
    pub(crate) fn ensure(&mut self, which: Which, slot: usize, rows: RowMask) {
        if rows.is_empty() {
            return;
        }
        while self.table(which).is_empty() {
            match Self::empty(self.pages.len()) {
                Ok(table) => self.second = table,
                Err(_) => fsleep(Delta::from_millis(10)),
            }
        }
        for row in rows.iter() {
            let index = self.index(slot, row);
            let table = match which {
                Which::First => &mut self.pages,
                Which::Second => &mut self.second,
            };
            let Some(place) = index.and_then(|i| table.get_mut(i)) else {
                continue;
            };
            if place.is_some() {
                continue;
            }
            *place = Some(loop {
                match Page::new() {
                    Ok(page) => break page,
                    Err(_) => fsleep(Delta::from_millis(10)),
                }
            });
            self.count = self.count.saturating_add(1);
            self.budget.add(1);
        }
    }

    /// Frees the second pages of `rows`.
    pub(crate) fn drop_second(&mut self, rows: RowMask) {
        if self.second.is_empty() {
            return;
        }
        let mut freed = 0usize;
        for slot in 0..self.second.len().checked_div(self.rows).unwrap_or(0) {
            for row in rows.iter() {
                let place = self.index(slot, row).and_then(|i| self.second.get_mut(i));
                freed = freed.wrapping_add(usize::from(place.and_then(Option::take).is_some()));
            }
        }
        self.count = self.count.saturating_sub(freed);
        self.budget.sub(freed);
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.budget.sub(self.count);
    }
}
