// SPDX-License-Identifier: GPL-2.0

//! Sets of rows of one stripe, one bit each.

use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// Most rows (of 4 KiB) that a stripe can have.
pub(crate) const MAX_ROWS: u32 = 64;

/// A set of rows of one stripe: bit r speaks of row r.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RowMask(pub(crate) u64);

impl RowMask {
    /// No row.
    pub(crate) const EMPTY: Self = Self(0);

    /// The first `n` rows; all 64 for any larger `n`.
    pub(crate) const fn first(n: u32) -> Self {
        if n >= MAX_ROWS {
            Self(u64::MAX)
        } else {
            Self((1u64 << n) - 1)
        }
    }

    /// Rows `start .. start + n`, cut off at row 64.
    pub(crate) const fn range(start: u32, n: u32) -> Self {
        if start >= MAX_ROWS {
            return Self::EMPTY;
        }
        Self(Self::first(n).0 << start)
    }

    /// Only row `row`; empty if there is no such row.
    pub(crate) const fn single(row: u32) -> Self {
        Self::range(row, 1)
    }

    /// Whether no row is in the set.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any row is in the set.
    pub(crate) const fn any(self) -> bool {
        self.0 != 0
    }

    /// Whether `row` is in the set.
    pub(crate) const fn has(self, row: u32) -> bool {
        row < MAX_ROWS && (self.0 >> row) & 1 == 1
    }

    /// Number of rows in the set.
    pub(crate) const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The lowest row of the set.
    pub(crate) const fn lowest(self) -> Option<u32> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros())
        }
    }

    /// The rows of `self` that are not in `other`.
    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds the rows of `other`.
    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes the rows of `other` out.
    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// The rows of `within` that agree with `row` about being in `self`.
    pub(crate) const fn alike(self, row: u32, within: Self) -> Self {
        if self.has(row) {
            Self(within.0 & self.0)
        } else {
            Self(within.0 & !self.0)
        }
    }

    /// The rows, lowest first.
    pub(crate) fn iter(self) -> Rows {
        Rows(self)
    }

    /// Maximal runs of neighbouring rows as (first row, count), lowest first.
    pub(crate) fn runs(self) -> Runs {
        Runs(self)
    }
}

impl BitAnd for RowMask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for RowMask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Not for RowMask {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl BitOrAssign for RowMask {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Iterator over the rows of a set.
pub(crate) struct Rows(RowMask);

impl Iterator for Rows {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let row = self.0.lowest()?;
        self.0.remove(RowMask::single(row));
        Some(row)
    }
}

/// Iterator over the runs of a set.
pub(crate) struct Runs(RowMask);

impl Iterator for Runs {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let start = self.0.lowest()?;
        let n = (self.0 .0 >> start).trailing_ones();
        self.0.remove(RowMask::range(start, n));
        Some((start, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_at_the_edges() {
        assert_eq!(RowMask::first(0), RowMask::EMPTY);
        assert_eq!(RowMask::first(64).count(), 64);
        assert_eq!(RowMask::first(99).count(), 64);
        assert_eq!(RowMask::range(63, 9), RowMask::single(63));
        assert_eq!(RowMask::range(64, 1), RowMask::EMPTY);
        assert!(!RowMask::first(64).has(64));
    }

    #[test]
    fn runs_cover_the_set_once() {
        let mut seed = 1u64;
        for _ in 0..10_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let mask = RowMask(seed & (seed << 7) | (seed >> 9));
            let mut seen = RowMask::EMPTY;
            let mut end = 0;
            for (start, n) in mask.runs() {
                assert!(n > 0 && (end == 0 || start > end));
                end = start + n;
                assert!((seen & RowMask::range(start, n)).is_empty());
                seen |= RowMask::range(start, n);
            }
            assert_eq!(seen, mask);
            assert_eq!(mask.iter().count() as u32, mask.count());
        }
    }

    #[test]
    fn alike_splits_in_two() {
        let m = RowMask(0b1010);
        assert_eq!(m.alike(1, RowMask::first(4)), RowMask(0b1010));
        assert_eq!(m.alike(0, RowMask::first(4)), RowMask(0b0101));
    }
}
