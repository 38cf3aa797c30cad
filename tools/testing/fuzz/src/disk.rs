// SPDX-License-Identifier: GPL-2.0

//! A journal device in memory: sparse, of any size, and strict about who reads what.

use crate::journal::format::{JournalBlock, BLOCK_SIZE};
use crate::journal::recovery::Source;
use std::cell::Cell;
use std::collections::HashMap;

pub(crate) type Page = [u8; BLOCK_SIZE];

static ZEROES: Page = [0; BLOCK_SIZE];

/// Continues a crc32c as the kernel does: no inversion, neither before nor after.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, bytes)
}

/// Blocks that are shared by all runs, and their checksums with the seed of their array.
///
/// No tree: libFuzzer has a look at each comparison.
#[derive(Default)]
pub(crate) struct Base {
    blocks: Vec<Option<(Box<Page>, u32)>>,
    seed: u32,
}

impl Base {
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            blocks: Vec::new(),
            seed,
        }
    }

    /// Adds a block.
    pub(crate) fn put(&mut self, block: usize, page: Box<Page>) {
        if self.blocks.len() <= block {
            self.blocks.resize(block + 1, None);
        }
        let sum = crc32c(self.seed, &page[..]);
        self.blocks[block] = Some((page, sum));
    }

    fn find(&self, block: u64) -> Option<&(Box<Page>, u32)> {
        self.blocks.get(usize::try_from(block).ok()?)?.as_ref()
    }

    pub(crate) fn get(&self, block: u64) -> Option<&Page> {
        self.find(block).map(|(page, _)| &**page)
    }
}

/// A device of `size` blocks, zeroes where nothing was written.
pub(crate) struct Disk<'a> {
    size: u64,
    base: Option<&'a Base>,
    own: HashMap<u64, Box<Page>>,
    zero_sum: Cell<Option<(u32, u32)>>,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(size: u64, base: Option<&'a Base>) -> Self {
        Self {
            size,
            base,
            own: HashMap::new(),
            zero_sum: Cell::new(None),
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
        match self.own.get(&block) {
            Some(page) => page,
            None => self
                .base
                .and_then(|base| base.get(block))
                .unwrap_or(&ZEROES),
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
            if let Some((_, sum)) = self.zero_sum.get().filter(|(of, _)| *of == seed) {
                return sum;
            }
            let sum = crc32c(seed, page);
            self.zero_sum.set(Some((seed, sum)));
            return sum;
        }
        let base = self.base.filter(|base| base.seed == seed);
        match base.and_then(|base| base.find(block)) {
            Some((of, sum)) if std::ptr::eq(&**of, page) => *sum,
            _ => crc32c(seed, page),
        }
    }
}

/// What a scan reads through: nothing outside the device, and no block twice.
pub(crate) struct Checked<'a> {
    disk: &'a Disk<'a>,
    reads: Cell<u64>,
    last: Cell<Option<u64>>,
}

impl<'a> Checked<'a> {
    pub(crate) fn new(disk: &'a Disk<'a>) -> Self {
        Self {
            disk,
            reads: Cell::new(0),
            last: Cell::new(None),
        }
    }

    /// Continues a checksum; that of the block that was read last is known, which makes logs of
    /// hundreds of pages quick.
    pub(crate) fn crc(&self, seed: u32, bytes: &[u8]) -> u32 {
        match self.last.get() {
            Some(last) if bytes == self.disk.get(last) => self.disk.sum(last, seed),
            _ => crc32c(seed, bytes),
        }
    }
}

impl Source for &Checked<'_> {
    type Error = ();

    fn read(&mut self, block: JournalBlock, buf: &mut Page) -> Result<(), ()> {
        // As the engine has it: a position in sectors, of a device that is counted in sectors.
        assert_eq!(JournalBlock::from_sector(block.sector()), Some(block));
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() <= self.disk.size, "it reads on and on");
        buf.copy_from_slice(self.disk.get(block.get()));
        self.last.set(Some(block.get()));
        Ok(())
    }
}
