// SPDX-License-Identifier: GPL-2.0

//! The pages of a stripe, by member and row; allocated when first used.

use super::budget::{Budget, Loan};
use crate::{lib::page::Page, raid::mask::RowMask};
use kernel::{alloc::Flags, prelude::*, sync::Arc};

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
    pages: KVVec<Option<Page>>,
    /// As many, or none where the array had no journal when the table was made.
    second: KVVec<Option<Page>>,
    count: usize,
    budget: Arc<Budget>,
}

impl PageTable {
    /// An empty table; `second` if there may be second pages.
    pub(crate) fn new(
        members: usize,
        rows: usize,
        second: bool,
        budget: Arc<Budget>,
        gfp: Flags,
    ) -> Result<Self> {
        let n = members.checked_mul(rows).ok_or(EINVAL)?;
        Ok(Self {
            rows,
            pages: Self::empty(n, gfp)?,
            second: Self::empty(if second { n } else { 0 }, gfp)?,
            count: 0,
            budget,
        })
    }

    fn empty(n: usize, gfp: Flags) -> Result<KVVec<Option<Page>>> {
        let mut pages = KVVec::with_capacity(n, gfp)?;
        for _ in 0..n {
            pages.push(None, gfp)?;
        }
        Ok(pages)
    }

    /// Sees to it that there may be second pages. False if there is no memory for that: the array
    /// got its journal after the table was made.
    pub(crate) fn has_second(&mut self) -> bool {
        if self.second.is_empty() {
            match Self::empty(self.pages.len(), GFP_NOWAIT) {
                Ok(second) => self.second = second,
                Err(_) => return false,
            }
        }
        true
    }

    /// How many pages there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn table(&self, which: Which) -> &KVVec<Option<Page>> {
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

    fn place(&mut self, which: Which, slot: usize, row: u32) -> Option<&mut Option<Page>> {
        let index = self.index(slot, row)?;
        match which {
            Which::First => self.pages.get_mut(index),
            Which::Second => self.second.get_mut(index),
        }
    }

    /// Gives `rows` of member `slot` pages; returns those for which there is no
    /// memory.
    pub(crate) fn ensure(&mut self, which: Which, slot: usize, rows: RowMask) -> RowMask {
        let (mut lacking, mut new) = (RowMask::EMPTY, 0usize);
        if which == Which::Second && rows.any() && !self.has_second() {
            return rows;
        }
        for row in rows.iter() {
            let there = self.index(slot, row).map(|i| match which {
                Which::First => self.pages.get(i),
                Which::Second => self.second.get(i),
            });
            if there.flatten().is_some_and(Option::is_some) {
                continue;
            }
            // Where there was none for one row, there is none for the next.
            let page = match lacking.any() {
                true => None,
                false => self.budget.page(),
            };
            match (self.place(which, slot, row), page) {
                (Some(place), Some(page)) => {
                    *place = Some(page);
                    new = new.wrapping_add(1);
                }
                _ => lacking.insert(RowMask::single(row)),
            }
        }
        if new > 0 {
            self.count = self.count.saturating_add(new);
            self.budget.add(new);
        }
        lacking
    }

    /// Gives `row` all pages that it can come to need, from a reserve that the
    /// caller has borrowed. False if that has not as many, and nothing is done.
    pub(crate) fn lend(&mut self, loan: Loan, row: u32, second: bool) -> bool {
        if second && !self.has_second() {
            return false;
        }
        let slots = self.slots();
        let both = [Which::First, Which::Second];
        let tables = if second { 2 } else { 1 };
        let places = || {
            let which = both.iter().copied().take(tables);
            which.flat_map(|w| (0..slots).map(move |slot| (w, slot)))
        };
        let lacks = |table: &mut Self, (which, slot): (Which, usize)| {
            table
                .place(which, slot, row)
                .is_some_and(|page| page.is_none())
        };
        let n = places().filter(|at| lacks(self, *at)).count();
        let budget = self.budget.clone();
        let mut free = places();
        let lent = budget.lend(loan, n, |page| {
            if let Some((which, slot)) = free.find(|at| lacks(self, *at)) {
                if let Some(place) = self.place(which, slot, row) {
                    *place = Some(page);
                }
            }
        });
        if lent {
            self.count = self.count.saturating_add(n);
            self.budget.add(n);
        }
        lent
    }

    fn slots(&self) -> usize {
        self.pages.len().checked_div(self.rows).unwrap_or(0)
    }

    /// Frees all pages of `rows`.
    pub(crate) fn drop_rows(&mut self, rows: RowMask) {
        let n = Self::drop_of(&mut self.pages, self.rows, rows, &self.budget);
        self.dropped(n);
        self.drop_second(rows);
    }

    /// Frees all pages.
    pub(crate) fn drop_all(&mut self) {
        if self.count == 0 {
            return;
        }
        for table in [&mut self.pages, &mut self.second] {
            for page in table.iter_mut().filter_map(Option::take) {
                self.budget.free(page);
            }
        }
        self.dropped(self.count);
    }

    /// Frees pages of a table; returns how many there were.
    fn drop_of(
        table: &mut [Option<Page>],
        per_member: usize,
        rows: RowMask,
        budget: &Budget,
    ) -> usize {
        let mut n = 0usize;
        for pages in table.chunks_exact_mut(core::cmp::max(per_member, 1)) {
            for row in rows.iter() {
                let page = pages.get_mut(row as usize).and_then(Option::take);
                if let Some(page) = page {
                    budget.free(page);
                    n = n.wrapping_add(1);
                }
            }
        }
        n
    }

    /// `n` pages were freed.
    fn dropped(&mut self, n: usize) {
        if n > 0 {
            self.budget.sub(n);
            self.count = self.count.saturating_sub(n);
        }
    }

    /// Frees the second pages of `rows`.
    pub(crate) fn drop_second(&mut self, rows: RowMask) {
        let n = Self::drop_of(&mut self.second, self.rows, rows, &self.budget);
        self.dropped(n);
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.drop_all();
    }
}
