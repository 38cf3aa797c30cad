// SPDX-License-Identifier: GPL-2.0

//! Pages of stripes: how many there are, and those that are kept for when memory
//! is used up.
//!
//! Nobody who handles a stripe waits for memory: the ends of I/O that would free
//! some come to the very same workers. What cannot be done for want of pages is
//! left, and tried again; and so that this comes to an end, there are two reserves,
//! each for one stripe at a time:
//!
//! - one for all that has begun ([`Loan::Any`]);
//! - one for what needs no room in the journal ([`Loan::Out`]): what is on its way out of the
//!   write-back cache, and what comes there, for which the log has promised the room. What else
//!   has begun may wait for room, and that may come only from these. A stripe that has this one
//!   begins nothing new meanwhile, and what it caches it writes out.
//!
//! A stripe gets all pages that a row can come to need, or none; so a row that has
//! some reaches its end, and the pages come back.

use crate::{
    lib::{clock::after_millis, page::Page},
    raid::mask::RowMask,
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        SpinLock,
    },
};

/// About how many pages a reserve has.
const RESERVE: usize = 256;

/// How long, in milliseconds, nobody looks for what can be freed after that was
/// in vain.
const IN_VAIN_MS: u32 = 20;

/// Which reserve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loan {
    /// For all that has begun.
    Any = 0,
    /// For what needs no room in the journal.
    Out = 1,
}

/// Pages for one stripe.
struct Reserve {
    pages: KVec<Page>,
    /// How many there should be, when nobody has any of them.
    size: usize,
    /// The stripe that may take them.
    holder: Option<u64>,
}

impl Reserve {
    const fn new() -> Self {
        Self {
            pages: KVec::new(),
            size: 0,
            holder: None,
        }
    }

    fn lacks(&self) -> usize {
        self.size.saturating_sub(self.pages.len())
    }
}

/// Pages in use, and the limit that new work waits for.
#[pin_data]
pub(crate) struct Budget {
    pages: Atomic<usize>,
    /// Of stripes that are listed with cached data.
    dirty: Atomic<usize>,
    limit: Atomic<usize>,
    /// Pages that the reserves lack.
    lacking: Atomic<usize>,
    /// Until then, it is no use to look for what can be freed.
    in_vain: Atomic<i64>,
    #[pin]
    reserves: SpinLock<[Reserve; 2]>,
}

impl Budget {
    /// A budget of `limit` pages; without reserves.
    pub(crate) fn new(limit: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            pages: Atomic::new(0),
            dirty: Atomic::new(0),
            limit: Atomic::new(limit),
            lacking: Atomic::new(0),
            in_vain: Atomic::new(0),
            reserves <- new_spinlock!([Reserve::new(), Reserve::new()], "raid5c::reserves"),
        })
    }

    /// Fills a reserve for stripes of `members` members; waits for memory.
    pub(crate) fn keep(&self, loan: Loan, members: usize) -> Result {
        let row = members.saturating_mul(2);
        let rows = RESERVE.checked_div(row).unwrap_or(1).clamp(1, 16);
        let size = rows.saturating_mul(row);
        let mut pages = KVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            pages.push(Page::new()?, GFP_KERNEL)?;
        }
        let mut reserves = self.reserves.lock();
        if let Some(reserve) = reserves.get_mut(loan as usize) {
            if reserve.size == 0 {
                reserve.size = size;
                core::mem::swap(&mut reserve.pages, &mut pages);
            }
        }
        drop(reserves);
        drop(pages);
        Ok(())
    }

    /// `n` pages were taken into use.
    pub(crate) fn add(&self, n: usize) {
        self.pages.fetch_add(n, Relaxed);
    }

    /// `n` pages are out of use.
    pub(crate) fn sub(&self, n: usize) {
        self.pages.fetch_sub(n, Relaxed);
    }

    /// A stripe with cached data was listed with `old` pages, and is with `new`.
    pub(crate) fn note_dirty(&self, old: usize, new: usize) {
        self.dirty.fetch_add(new, Relaxed);
        self.dirty.fetch_sub(old, Relaxed);
    }

    /// Whether new work has to wait.
    pub(crate) fn is_over(&self) -> bool {
        self.pages() >= self.limit()
    }

    /// Pages in use.
    pub(crate) fn pages(&self) -> usize {
        self.pages.load(Relaxed)
    }

    /// Pages of stripes that are listed with cached data.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.load(Relaxed)
    }

    /// Pages that new work may take the cache to.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Sets that.
    pub(crate) fn set_limit(&self, pages: usize) {
        self.limit.store(pages, Relaxed);
    }

    /// A new page, if there is memory; does not wait for more than a look for what
    /// can be freed.
    pub(crate) fn page(&self) -> Option<Page> {
        Page::quick().or_else(|| self.page_hard())
    }

    #[cold]
    fn page_hard(&self) -> Option<Page> {
        if after_millis(0) < self.in_vain.load(Relaxed) {
            return None;
        }
        let page = Page::attempt();
        if page.is_none() {
            self.in_vain.store(after_millis(IN_VAIN_MS), Relaxed);
        }
        page
    }

    /// Whether stripe `index` may take of a reserve from now on.
    pub(crate) fn borrow(&self, loan: Loan, index: u64) -> bool {
        let mut reserves = self.reserves.lock();
        let Some(reserve) = reserves.get_mut(loan as usize) else {
            return false;
        };
        *reserve.holder.get_or_insert(index) == index
    }

    /// Takes `n` pages off a reserve that the caller has borrowed, or none.
    pub(crate) fn lend(&self, loan: Loan, n: usize, mut to: impl FnMut(Page)) -> bool {
        let mut reserves = self.reserves.lock();
        let Some(reserve) = reserves.get_mut(loan as usize) else {
            return false;
        };
        if reserve.pages.len() < n {
            return false;
        }
        for _ in 0..n {
            if let Some(page) = reserve.pages.pop() {
                self.lacking.fetch_add(1, Full);
                to(page);
            }
        }
        true
    }

    /// Stripe `index` needs a reserve no more.
    pub(crate) fn settle(&self, loan: Loan, index: u64) {
        let mut reserves = self.reserves.lock();
        if let Some(reserve) = reserves.get_mut(loan as usize) {
            if reserve.holder == Some(index) {
                reserve.holder = None;
            }
        }
    }

    /// Frees a page, or puts it where one is lacking.
    pub(crate) fn free(&self, page: Page) {
        if self.lacking.load(Relaxed) != 0 && !page.is_shared() {
            self.refill(page);
        }
    }

    #[cold]
    fn refill(&self, page: Page) {
        let mut page = Some(page);
        let mut reserves = self.reserves.lock();
        for reserve in reserves.iter_mut().rev() {
            if reserve.lacks() > 0 {
                if let Some(page) = page.take() {
                    // There is room for as many as there should be.
                    let _ = reserve.pages.push_within_capacity(page);
                    self.lacking.fetch_sub(1, Full);
                }
            }
        }
        drop(reserves);
        drop(page);
    }

    /// Fills up the reserves, as far as there is memory.
    pub(crate) fn fill_up(&self) {
        // Bounded by what is lacking now.
        for _ in 0..self.lacking.load(Relaxed) {
            match self.page() {
                Some(page) => self.refill(page),
                None => return,
            }
        }
    }
}

/// What a handler has borrowed: the rows that it is for.
#[derive(Clone, Copy, Default)]
pub(super) struct Borrowed {
    pub(super) any: RowMask,
    pub(super) out: RowMask,
}

impl Borrowed {
    /// Whether that is anything.
    pub(super) fn is_some(&self) -> bool {
        (self.any | self.out).any()
    }
}
