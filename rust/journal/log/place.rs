// SPDX-License-Identifier: GPL-2.0

//! Placing entries: which unit and which blocks they get, and for whom room is kept.

use super::super::format::{
    flush_entry, BLOCK_SIZE, DATA_ENTRY, META_HEADER, PARITY_ENTRY, PARITY_ENTRY_PQ,
};
use super::super::reserve::Reserve;
use super::super::unit::{Unit, UnitState};
use super::{Log, PlaceError, Placed, WaitFor};
use core::ops::DerefMut;

/// What is to be placed.
#[derive(Clone, Copy)]
struct Entries {
    /// Of the meta block.
    bytes: usize,
    pages: u32,
    /// Rows that keep the tail from passing.
    rows: u32,
    /// Whether somebody waits until it is stable.
    awaited: bool,
    /// Whether somebody waits until it is written, as is all that came before.
    early: bool,
}

impl Entries {
    const NONE: Self = Self {
        bytes: 0,
        pages: 0,
        rows: 0,
        awaited: false,
        early: false,
    };
}

/// Bytes of the entry of that many parity pages (0: none, 1 or 2).
fn parity_bytes(pages: u32) -> Result<usize, PlaceError> {
    match pages {
        0 => Ok(0),
        1 => Ok(PARITY_ENTRY),
        2 => Ok(PARITY_ENTRY_PQ),
        _ => Err(PlaceError::TooLarge),
    }
}

impl<U: DerefMut<Target = [Unit]>> Log<U> {
    /// Lets rows be cached: of at most so many pages of data and of parity. At most once, before
    /// anything is placed.
    pub(crate) fn set_row(&mut self, data_pages: u32, parity_pages: u32) {
        self.reserve = Reserve::new(data_pages, parity_pages);
    }

    /// Promises room for up to `want` rows to be cached and written out; returns for how many there
    /// is. Each is used by [`Self::place_data`], or given back.
    pub(crate) fn grant(&mut self, want: u32) -> u32 {
        if self.failed() {
            return 0;
        }
        for granted in 0..want {
            let next = self.reserve.granting();
            if !next.fits(self.free(), self.spare_units()) {
                // Not `crowded`: such rows are placed or written out next.
                self.starved = true;
                return granted;
            }
            self.reserve = next;
        }
        want
    }

    /// Gives back what was granted to `rows` rows. True if somebody may find room now who did not:
    /// nothing else might ever tell him.
    pub(crate) fn give_back(&mut self, rows: u32) -> bool {
        self.reserve = self.reserve.giving_back(rows);
        rows > 0 && core::mem::take(&mut self.crowded)
    }

    /// There is no room for something.
    fn starve(&mut self) {
        self.starved = true;
        self.crowded |= self.reserve.is_granted();
    }

    /// Places data of a row that was granted room: that many pages. `first`: no data of the row is in
    /// the log and not on the members yet; the row then counts as pending in the unit until
    /// [`Self::row_done`]. What comes later lies behind that, and needs no count.
    pub(crate) fn place_data(
        &mut self,
        data_pages: u32,
        first: bool,
        wait: WaitFor,
    ) -> Result<Placed, PlaceError> {
        let bytes = usize::try_from(data_pages)
            .ok()
            .and_then(|pages| pages.checked_mul(DATA_ENTRY))
            .ok_or(PlaceError::TooLarge)?;
        let entries = Entries {
            bytes,
            pages: data_pages,
            rows: u32::from(first),
            awaited: wait == WaitFor::Stable,
            early: wait == WaitFor::Ordered,
        };
        self.put(entries, self.reserve.caching(first))
    }

    /// Places the parity of a cached row, 1 or 2 pages, after its data: the row is to be written out. Of one
    /// without parity that is nothing, but tells when its data is stable, and gives its room back.
    pub(crate) fn place_parity(&mut self, parity_pages: u32) -> Result<Placed, PlaceError> {
        let entries = Entries {
            bytes: parity_bytes(parity_pages)?,
            pages: parity_pages,
            awaited: true,
            ..Entries::NONE
        };
        self.put(entries, self.reserve.completing())
    }

    /// Returns how many rows have data in the log and no parity.
    pub(crate) fn cached_rows(&self) -> u32 {
        self.reserve.cached()
    }

    /// Reserves room for the entries of one row: that many pages of data, and of parity (0, 1 or 2).
    ///
    /// The row counts as pending in the unit until [`Self::row_done`].
    pub(crate) fn place(
        &mut self,
        data_pages: u32,
        parity_pages: u32,
    ) -> Result<Placed, PlaceError> {
        let bytes = usize::try_from(data_pages)
            .ok()
            .and_then(|pages| pages.checked_mul(DATA_ENTRY))
            .and_then(|bytes| bytes.checked_add(parity_bytes(parity_pages).ok()?))
            .ok_or(PlaceError::TooLarge)?;
        let pages = data_pages
            .checked_add(parity_pages)
            .ok_or(PlaceError::TooLarge)?;
        let entries = Entries {
            bytes,
            pages,
            rows: 1,
            awaited: true,
            early: false,
        };
        self.put(entries, self.reserve)
    }

    /// Reserves room for one flush payload that names `rows` rows; none of them counts as pending.
    ///
    /// The rows are on the members, flushed, and must have no newer entries in the log: recovery
    /// would drop those. So this comes before anything new is placed for one of the rows.
    #[allow(dead_code)] // for write-back
    pub(crate) fn place_flush(&mut self, rows: usize) -> Result<Placed, PlaceError> {
        let entries = Entries {
            bytes: flush_entry(rows).ok_or(PlaceError::TooLarge)?,
            ..Entries::NONE
        };
        self.put(entries, self.reserve)
    }

    /// Reserves a unit without entries, after closing the open one; the shell must write both.
    ///
    /// It is closed from the start, so that it stays without rows: once it is stable the tail can
    /// move there, whatever comes after it. A log begins with one (see `ScanReport::restart`).
    pub(crate) fn place_empty(&mut self) -> Result<Placed, PlaceError> {
        if self.failed() {
            return Err(PlaceError::Failed);
        }
        let placed = self.open_unit(Entries::NONE, self.reserve)?;
        let _closed = self.close_open();
        Ok(placed)
    }

    /// Reserves metadata bytes and pages in the open unit, or in a new one if they do not fit; `left`
    /// is what is promised to others afterwards.
    fn put(&mut self, entries: Entries, left: Reserve) -> Result<Placed, PlaceError> {
        if self.failed() {
            return Err(PlaceError::Failed);
        }
        let seq = self.next_seq.wrapping_sub(1);
        let limit = self.ring.max_unit_blocks();
        let fits = |unit: &Unit| {
            unit.state == UnitState::Open
                && unit.meta_used.saturating_add(entries.bytes) <= BLOCK_SIZE
                && u64::from(unit.blocks).saturating_add(u64::from(entries.pages)) <= limit
        };
        let placed = match self.unit(seq) {
            Some(unit) if fits(unit) => self.extend(seq, entries, left),
            Some(_) | None => self.open_unit(entries, left),
        };
        if placed.is_ok() {
            self.reserve = left;
        }
        placed
    }

    /// Adds to the unit `seq`, which is open and has room for the metadata.
    fn extend(&mut self, seq: u64, entries: Entries, left: Reserve) -> Result<Placed, PlaceError> {
        if u64::from(entries.pages).saturating_add(left.blocks()) > self.free() {
            self.starve();
            return Err(PlaceError::NoSpace);
        }
        let first_block = self.head;
        let unit = self.reference(seq).ok_or(PlaceError::Busy)?;
        let descriptor = self.unit_mut(seq).ok_or(PlaceError::Busy)?;
        descriptor.meta_used = descriptor.meta_used.saturating_add(entries.bytes);
        descriptor.blocks = descriptor.blocks.saturating_add(entries.pages);
        descriptor.rows = descriptor.rows.saturating_add(entries.rows);
        descriptor.awaited |= entries.awaited;
        descriptor.early |= entries.early;
        self.head = self.ring.add(self.head, u64::from(entries.pages));
        Ok(Placed {
            unit,
            opened: false,
            closed: None,
            first_block,
        })
    }

    /// Closes the open unit and opens the next with the given entries.
    fn open_unit(&mut self, entries: Entries, left: Reserve) -> Result<Placed, PlaceError> {
        let meta_used = META_HEADER
            .checked_add(entries.bytes)
            .filter(|&used| used <= BLOCK_SIZE)
            .ok_or(PlaceError::TooLarge)?;
        let blocks = entries.pages.checked_add(1).ok_or(PlaceError::TooLarge)?;
        if u64::from(blocks) > self.ring.max_unit_blocks() {
            return Err(PlaceError::TooLarge);
        }
        if u64::from(blocks).saturating_add(left.blocks()) > self.free() {
            self.starve();
            return Err(PlaceError::NoSpace);
        }
        if self.spare_units() <= left.units() {
            // Cached rows may keep the oldest units.
            if !left.is_empty() {
                self.starve();
            }
            return Err(PlaceError::Busy);
        }
        let closed = self.close_open();
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.in_flight = self.in_flight.saturating_add(1);
        let start = self.head;
        let unit = self.reference(seq).ok_or(PlaceError::Busy)?;
        *self.unit_mut(seq).ok_or(PlaceError::Busy)? = Unit {
            state: UnitState::Open,
            start,
            blocks,
            meta_used,
            rows: entries.rows,
            awaited: entries.awaited,
            early: entries.early,
        };
        self.head = self.ring.add(start, u64::from(blocks));
        Ok(Placed {
            unit,
            opened: true,
            closed,
            first_block: self.ring.add(start, 1),
        })
    }
}
