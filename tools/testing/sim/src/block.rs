// SPDX-License-Identifier: GPL-2.0

//! Pages of members, which are short, and blocks of the journal, which are real.
//!
//! A number stands for each of a page's sectors; in the journal it fills the sector, so that the
//! checksums, and a page of which some sectors are old, are what they are in a real journal.

use crate::disk::Sectors;
pub(crate) use crate::gf::Page;
use crate::journal::format::BLOCK_SIZE;
use std::rc::Rc;

/// A block of the journal.
pub(crate) type Block = Rc<[u8; BLOCK_SIZE]>;

/// The seed of the journal's checksums.
pub(crate) const SEED: u32 = 0x7a1d_5c5e;

/// Continues a crc32c as the kernel does: no inversion, neither before nor after.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, bytes)
}

/// The block that holds a page.
pub(crate) fn block_of(page: &Page) -> Block {
    let mut block = [0; BLOCK_SIZE];
    for (sector, value) in block.chunks_exact_mut(512).zip(page) {
        for word in sector.chunks_exact_mut(8) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    Rc::new(block)
}

/// The page that a block holds; none if it is not the block of a page.
pub(crate) fn page_of(block: &[u8; BLOCK_SIZE]) -> Option<Page> {
    let mut page = [0; 8];
    for (sector, value) in block.chunks_exact(512).zip(&mut page) {
        let word = sector.first_chunk::<8>()?;
        if sector.chunks_exact(8).any(|w| w != word) {
            return None;
        }
        *value = u64::from_le_bytes(*word);
    }
    Some(page)
}

impl Sectors for Page {
    fn mix(old: &Self, new: &Self, mask: u8) -> Self {
        std::array::from_fn(|i| if mask >> i & 1 == 1 { new[i] } else { old[i] })
    }

    fn zero() -> Self {
        [0; 8]
    }

    fn mark(&self) -> u64 {
        self.iter().fold(0, |all, sector| mix(all, *sector))
    }
}

impl Sectors for Block {
    fn mix(old: &Self, new: &Self, mask: u8) -> Self {
        match mask {
            0 => old.clone(),
            0xff => new.clone(),
            _ => {
                let mut block = **old;
                for i in (0..8).filter(|i| mask >> i & 1 == 1) {
                    let sector = i * 512..(i + 1) * 512;
                    block[sector.clone()].copy_from_slice(&new[sector]);
                }
                Rc::new(block)
            }
        }
    }

    fn zero() -> Self {
        Rc::new([0; BLOCK_SIZE])
    }

    /// The beginning of each sector is enough: it is what a page's sector is full of, or has the
    /// checksum of a meta block, or of an entry of one.
    fn mark(&self) -> u64 {
        let words = self.chunks_exact(512).flat_map(|s| s[..32].chunks_exact(8));
        words.fold(0, |all, word| {
            let word = word.first_chunk().map(|w| u64::from_le_bytes(*w));
            mix(all, word.unwrap_or(0))
        })
    }
}

/// Adds a number to a hash; the order counts.
pub(crate) fn mix(hash: u64, n: u64) -> u64 {
    let x = (hash.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (x >> 32)
}
