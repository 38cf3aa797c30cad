// SPDX-License-Identifier: GPL-2.0

//! A journal device in memory: sparse, of any size, and strict about who reads what.

use crate::journal::format::{JournalBlock, BLOCK_SIZE};
use crate::journal::recovery::Source;
use std::cell::RefCell;
use std::collections::BTreeMap;

pub(crate) type Page = [u8; BLOCK_SIZE];

static ZEROES: Page = [0; BLOCK_SIZE];

/// Continues a crc32c as the kernel does: no inversion, neither before nor after.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, bytes)
}

/// Blocks that are shared by all runs, and their checksums with the seed of their array.
#[derive(Default)]
pub(crate) struct Base {
    pub(crate) blocks: BTreeMap<u64, Box<Page>>,
    pub(crate) sums: BTreeMap<u64, u32>,
    pub(crate) seed: u32,
}

/// A device of `size` blocks, zeroes where nothing was written.
pub(crate) struct Disk<'a> {
    size: u64,
    base: Option<&'a Base>,
    own: BTreeMap<u64, Box<Page>>,
    zero_sum: RefCell<Option<(u32, u32)>>,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(size: u64, base: Option<&'a Base>) -> Self {
        Self {
            size,
            base,
            own: BTreeMap::new(),
            zero_sum: RefCell::new(None),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The device becomes larger or smaller; what is beyond its end is lost.
    pub(crate) fn resize(&mut self, size: u64) {
        self.size = size;
        self.own.retain(|&block, _| block < size);
    }

    /// Reads a block; there is nothing beyond the end.
    pub(crate) fn get(&self, block: u64) -> &Page {
        assert!(block < self.size, "read of block {block} of {}", self.size);
        let base = || self.base?.blocks.get(&block);
        match self.own.get(&block).or_else(base) {
            Some(page) => page,
            None => &ZEROES,
        }
    }

    /// A block to be changed; `None` beyond the end.
    pub(crate) fn get_mut(&mut self, block: u64) -> Option<&mut Page> {
        if block >= self.size {
            return None;
        }
        let page = *self.get(block);
        Some(self.own.entry(block).or_insert_with(|| Box::new(page)))
    }

    /// The checksum of a block, from memory where that is the same.
    pub(crate) fn sum(&self, block: u64, seed: u32) -> u32 {
        let page = self.get(block);
        if std::ptr::eq(page, &ZEROES) {
            let mut known = self.zero_sum.borrow_mut();
            return match *known {
                Some((of, sum)) if of == seed => sum,
                _ => {
                    let sum = crc32c(seed, page);
                    *known = Some((seed, sum));
                    sum
                }
            };
        }
        let base = self.base.filter(|base| base.seed == seed);
        match base.and_then(|base| base.sums.get(&block)) {
            Some(sum) if !self.own.contains_key(&block) => *sum,
            _ => crc32c(seed, page),
        }
    }
}

/// What a scan reads through: nothing outside the device, and no block twice.
pub(crate) struct Checked<'a> {
    disk: &'a Disk<'a>,
    reads: u64,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(disk: &'a Disk<'a>) -> Self {
        Self { disk, reads: 0 }
    }
}

impl Source for Checked<'_> {
    type Error = ();

    fn read(&mut self, block: JournalBlock, buf: &mut Page) -> Result<(), ()> {
        // As the engine has it: a position in sectors, of a device that is counted in sectors.
        let sector = block.sector();
        assert_eq!(JournalBlock::from_sector(sector), Some(block));
        self.reads += 1;
        assert!(self.reads <= self.disk.size, "it reads on and on");
        buf.copy_from_slice(self.disk.get(block.get()));
        Ok(())
    }
}
