// SPDX-License-Identifier: GPL-2.0

//! The pages of a stripe, by member and row; allocated when first used.

use super::cache::Budget;
use crate::{lib::page::Page, raid::mask::RowMask};
use kernel::{prelude::*, sync::Arc, time::delay::fsleep, time::Delta};

/// Pages of up to 64 rows of each member.
pub(crate) struct PageTable {
    rows: usize,
    pages: KVec<Option<Page>>,
    count: usize,
    budget: Arc<Budget>,
}

impl PageTable {
    /// An empty table.
    pub(crate) fn new(members: usize, rows: usize, budget: Arc<Budget>) -> Result<Self> {
        let n = members.checked_mul(rows).ok_or(EINVAL)?;
        let mut pages = KVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            pages.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            rows,
            pages,
            count: 0,
            budget,
        })
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
        self.pages.get(self.index(slot, row)?)?.as_ref()
    }

    /// The pages of `n` neighbouring rows, of which all must be there.
    pub(crate) fn run(&self, slot: usize, start: u32, n: u32) -> Option<&[Option<Page>]> {
        let first = self.index(slot, start)?;
        let pages = self
            .pages
            .get(first..first.checked_add(usize::try_from(n).ok()?)?)?;
        pages.iter().all(Option::is_some).then_some(pages)
    }

    /// Makes sure that all `rows` of member `slot` have pages.
    ///
    /// Waits for memory: whoever needs a page here cannot go on without it,
    /// and holds nothing that freeing memory depends on but this array's own
    /// writes.
    pub(crate) fn ensure(&mut self, slot: usize, rows: RowMask) {
        for row in rows.iter() {
            let Some(place) = self.index(slot, row).and_then(|i| self.pages.get_mut(i)) else {
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
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.budget.sub(self.count);
    }
}
