// SPDX-License-Identifier: GPL-2.0

//! Arithmetic on the ring of 4-KiB blocks that the journal's data area is.

use super::format::{JournalBlock, BLOCK_SECTORS};

/// Reclaim starts when this many blocks could be freed, if a quarter of the ring is more: 10 GiB.
///
/// Fact: `RECLAIM_MAX_FREE_SPACE` in `drivers/md/raid5-cache.c`.
const RECLAIM_LIMIT: u64 = 10 * 1024 * 1024 / 4;

/// The fewest blocks that can hold a unit of a meta block alone; see [`Ring::max_unit_blocks`].
const MIN_BLOCKS: u64 = 4;

/// The most blocks of a unit: what one write to a device takes, `BIO_MAX_VECS` pages. A meta block
/// could name more: with two parities, 338 pages.
pub(crate) const MAX_UNIT_BLOCKS: u64 = 256;

/// The ring of blocks `0..blocks`.
///
/// # Invariants
///
/// There are at least [`MIN_BLOCKS`] blocks, and their sectors can be counted in a `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    blocks: u64,
}

/// A range of the ring as at most two ranges of blocks, the second one starting at block 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    /// The first piece: start and number of blocks.
    pub(crate) first: (JournalBlock, u64),
    /// What lies beyond the end of the ring, if anything.
    pub(crate) second: Option<(JournalBlock, u64)>,
}

impl Ring {
    /// Makes a ring of that many 4-KiB blocks; `None` if that is too few, or impossibly many.
    pub(crate) fn new(blocks: u64) -> Option<Self> {
        (MIN_BLOCKS..=u64::MAX / BLOCK_SECTORS)
            .contains(&blocks)
            .then_some(Self { blocks })
    }

    /// Returns the fewest blocks of a ring whose units can have a row of that many pages; see
    /// [`Self::max_unit_blocks`].
    pub(crate) fn least_blocks(pages: u32) -> u64 {
        u64::from(pages).saturating_add(1).saturating_mul(4)
    }

    /// Returns the number of blocks.
    pub(crate) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Tells whether the block lies in the ring.
    pub(crate) fn contains(&self, block: JournalBlock) -> bool {
        block.get() < self.blocks
    }

    /// Returns the block that is `n` after `start`, around the end.
    pub(crate) fn add(&self, start: JournalBlock, n: u64) -> JournalBlock {
        // Both summands are below 2^61.
        let sum = self.fold(start.get()).wrapping_add(self.fold(n));
        JournalBlock::new(self.fold(sum))
    }

    /// Returns how many blocks after `from` the block `to` is, around the end.
    pub(crate) fn distance(&self, from: JournalBlock, to: JournalBlock) -> u64 {
        let (from, to) = (self.fold(from.get()), self.fold(to.get()));
        // `from` is below `blocks`; the sum is below 2^62.
        self.fold(to.wrapping_add(self.blocks.wrapping_sub(from)))
    }

    /// Returns the `n` blocks from `start` on as pieces that do not cross the end; at most the ring.
    pub(crate) fn extents(&self, start: JournalBlock, n: u64) -> Extents {
        let start = JournalBlock::new(self.fold(start.get()));
        let n = n.min(self.blocks);
        let to_end = self.blocks.wrapping_sub(start.get());
        let rest = n.saturating_sub(to_end);
        Extents {
            first: (start, n.min(to_end)),
            second: (rest != 0).then_some((JournalBlock::new(0), rest)),
        }
    }

    /// Returns how many blocks can be written from `head` on without touching `tail`'s.
    ///
    /// One block always stays free, so that a full ring can be told from an empty one.
    pub(crate) fn free(&self, head: JournalBlock, tail: JournalBlock) -> u64 {
        self.blocks
            .saturating_sub(1)
            .saturating_sub(self.distance(tail, head))
    }

    /// Returns how many reclaimable blocks are worth a superblock write, as the C driver has it.
    pub(crate) fn reclaim_threshold(&self) -> u64 {
        (self.blocks / 4).min(RECLAIM_LIMIT)
    }

    /// Returns the blocks that a unit may have, its meta block included: a quarter of the ring, and
    /// no more than [`MAX_UNIT_BLOCKS`].
    ///
    /// The tail stays on the last unit that is done, so a log that is idle still uses that unit's
    /// blocks; with this limit there is always room for the next one.
    pub(crate) fn max_unit_blocks(&self) -> u64 {
        (self.blocks / 4).min(MAX_UNIT_BLOCKS)
    }

    fn fold(&self, block: u64) -> u64 {
        block.checked_rem(self.blocks).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
