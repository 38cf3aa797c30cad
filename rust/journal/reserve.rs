// SPDX-License-Identifier: GPL-2.0

//! Room in the log that is promised to the rows of a write-back cache, so that a full log always
//! drains: what is cached can be written out, and only that frees the log.
//!
//! A row is *granted* room before its data is taken from the user, and *cached* once they are placed:
//!
//! ```text
//!  Log::grant -> granted -- place_data --> cached -- place_parity --> nothing
//!                   |                        ^ |
//!                   | give_back      granted +-+ place_data again
//!                   v
//!                nothing
//! ```
//!
//! A granted row may need a unit of its own for all its data, and then another one for its parity; a
//! cached row one for its parity. Nothing else is placed in that room.

/// The promises; in blocks and unit descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reserve {
    /// Pages of a row's data, and of its parity.
    data: u32,
    parity: u32,
    granted: u32,
    cached: u32,
}

impl Reserve {
    /// No promises; a row has at most so many pages of data, and of parity.
    pub(super) const fn new(data: u32, parity: u32) -> Self {
        Self {
            data,
            parity,
            granted: 0,
            cached: 0,
        }
    }

    /// Blocks that are promised.
    pub(super) fn blocks(&self) -> u64 {
        let parity = u64::from(self.parity).saturating_add(1);
        let row = u64::from(self.data)
            .saturating_add(1)
            .saturating_add(parity);
        let granted = u64::from(self.granted).saturating_mul(row);
        granted.saturating_add(u64::from(self.cached).saturating_mul(parity))
    }

    /// Unit descriptors that are promised.
    pub(super) fn units(&self) -> usize {
        let units = u64::from(self.granted)
            .saturating_mul(2)
            .saturating_add(u64::from(self.cached));
        usize::try_from(units).unwrap_or(usize::MAX)
    }

    /// Whether the promises can be kept with this much room.
    pub(super) fn fits(&self, blocks: u64, units: usize) -> bool {
        self.blocks() <= blocks && self.units() <= units
    }

    /// With one row more granted.
    pub(super) fn granting(self) -> Self {
        Self {
            granted: self.granted.saturating_add(1),
            ..self
        }
    }

    /// With `rows` fewer granted.
    pub(super) fn giving_back(self, rows: u32) -> Self {
        Self {
            granted: self.granted.saturating_sub(rows),
            ..self
        }
    }

    /// After a granted row's data is placed; `first` if the row was not cached before.
    pub(super) fn caching(self, first: bool) -> Self {
        Self {
            granted: self.granted.saturating_sub(1),
            cached: self.cached.saturating_add(u32::from(first)),
            ..self
        }
    }

    /// After a cached row's parity is placed.
    pub(super) fn completing(self) -> Self {
        Self {
            cached: self.cached.saturating_sub(1),
            ..self
        }
    }

    /// Rows with data in the log and no parity.
    pub(super) fn cached(&self) -> u32 {
        self.cached
    }

    /// Whether rows were granted room that is not used yet.
    pub(super) fn is_granted(&self) -> bool {
        self.granted > 0
    }

    /// Whether anything is promised.
    pub(super) fn is_empty(&self) -> bool {
        self.granted == 0 && self.cached == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_back_what_it_took() {
        let none = Reserve::new(3, 1);
        let granted = none.granting();
        assert_eq!((granted.blocks(), granted.units()), (6, 2));
        let cached = granted.caching(true);
        assert_eq!((cached.blocks(), cached.units()), (2, 1));
        let again = cached.granting().caching(false);
        assert_eq!(again, cached);
        assert_eq!(again.completing(), none);
        assert_eq!(granted.giving_back(1), none);
        assert!(none.is_empty() && !granted.is_empty() && !cached.is_empty());
    }

    #[test]
    fn promises_fit_or_not() {
        let two = Reserve::new(2, 2).granting().granting();
        assert!(two.fits(12, 4));
        assert!(!two.fits(11, 4) && !two.fits(12, 3));
    }
}
