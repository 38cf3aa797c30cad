// SPDX-License-Identifier: GPL-2.0

//! Numbers that must not be mixed up: array sectors, member sectors, member indices, rows.
//!
//! Sectors are 512 bytes. A row is 4 KiB (8 sectors) of every member.

use core::fmt;

/// Sectors (of 512 bytes) in a row's page, the unit of the stripe cache and of the journal.
pub(crate) const ROW_SECTORS: u64 = 8;

/// A sector of the array, as its user sees it; in 512-byte sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ArraySector(u64);

impl ArraySector {
    /// Wraps a number of 512-byte sectors from the start of the array.
    pub(crate) const fn new(sector: u64) -> Self {
        Self(sector)
    }

    /// Returns the number of 512-byte sectors from the start of the array.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Tells whether this is the first sector of a 4-KiB page.
    pub(crate) const fn is_aligned(self) -> bool {
        self.0 % ROW_SECTORS == 0
    }
}

impl fmt::Display for ArraySector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A sector of every member, counted from the member's data offset; in 512-byte sectors.
///
/// A row of the array is named by the member sector at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DevSector(u64);

impl DevSector {
    /// Wraps a number of 512-byte sectors from the member's data offset.
    pub(crate) const fn new(sector: u64) -> Self {
        Self(sector)
    }

    /// Returns the number of 512-byte sectors from the member's data offset.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Tells whether this is the first sector of a row.
    pub(crate) const fn is_aligned(self) -> bool {
        self.0 % ROW_SECTORS == 0
    }
}

impl fmt::Display for DevSector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A member's index in the array, what md calls `raid_disk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u16);

impl Slot {
    /// Wraps a member index.
    pub(crate) const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Returns the member index.
    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// Returns the member index as an array index.
    pub(crate) const fn index(self) -> usize {
        // Lossless: `From` is not const.
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
