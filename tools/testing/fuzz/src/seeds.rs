// SPDX-License-Identifier: GPL-2.0

//! Real journals, as `harvest` has put them into `journals/`.
//!
//! ```text
//! file:    "r5jseed1", zlib stream of
//!            uuid 16, level u32, layout u32, chunk u32, members u32, member sectors u64,
//!            blocks of the journal u64, tail in sectors u64, then for each block that is kept
//!            block u32, length u16, bytes (zeroes follow)
//! ```
//!
//! Numbers are little-endian.

use crate::disk::{crc32c, Base};
use crate::input::Input;
use crate::shell::Superblock;
use std::sync::OnceLock;

/// A journal that a power cut left.
pub(crate) struct Seed {
    pub(crate) name: &'static str,
    pub(crate) sb: Superblock,
    pub(crate) blocks: u64,
    pub(crate) base: Base,
    /// The units from the tail on: their meta blocks.
    pub(crate) units: Vec<u64>,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../journals/", $name, ".seed")))),*]
    };
}

/// All of them, decoded once.
pub(crate) fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let files: [(&str, &[u8]); 8] = files![
            "raid456-5-3-64-write-back-3",
            "raid456-5-4-64-write-through-3",
            "raid456-6-5-16-write-through-1",
            "raid456-6-5-4-write-back-2",
            "raid456-6-5-4-write-back-3",
            "raid5c-4-4-64-write-through-1",
            "raid5c-5-3-4-write-through-2",
            "raid5c-5-6-16-write-through-2",
        ];
        files
            .iter()
            .map(|(name, file)| decode(name, file))
            .collect()
    })
}

fn decode(name: &'static str, file: &[u8]) -> Seed {
    let packed = file.strip_prefix(b"r5jseed1").expect("not a seed");
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(packed).expect("a damaged seed");
    let mut input = Input(&bytes);
    let seed = crc32c(!0, input.take(16));
    let sb = Superblock {
        level: input.u32() as i32,
        layout: input.u32() as i32,
        chunk: input.u32(),
        disks: input.u32(),
        dev_sectors: input.u64(),
        tail: 0,
        seed,
    };
    let blocks = input.u64();
    let sb = Superblock {
        tail: input.u64(),
        ..sb
    };
    let mut base = Base::new(seed);
    while !input.is_empty() {
        let block = input.u32() as usize;
        let len = usize::from(input.u16());
        let mut page = Box::new([0; 4096]);
        page[..len].copy_from_slice(input.take(len));
        base.put(block, page);
    }
    let units = units(&base, blocks, sb.tail / 8);
    Seed {
        name,
        sb,
        blocks,
        base,
        units,
    }
}

/// Meta blocks from the tail on: those with the magic, each after the pages of the one before.
fn units(base: &Base, blocks: u64, tail: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut block = tail;
    while let Some(page) = base.get(block) {
        if page[..4] != 0x6433_c509_u32.to_le_bytes() || found.contains(&block) {
            break;
        }
        found.push(block);
        let pages: usize = entries(page).iter().map(|entry| entry.pages).sum();
        block = (block + 1 + pages as u64) % blocks;
    }
    found
}

/// An entry of a meta block that nobody has mutated yet.
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) pages: usize,
}

/// Where the entries of a meta block are.
pub(crate) fn entries(page: &[u8; 4096]) -> Vec<Place> {
    let used = u32::from_le_bytes(page[12..16].try_into().unwrap_or_default()) as usize;
    let mut places = Vec::new();
    let mut at = 32;
    while at + 8 <= used.min(4096) {
        let kind = page[at];
        let size = u32::from_le_bytes(page[at + 4..at + 8].try_into().unwrap_or_default());
        let size = (size as usize).min(4096);
        let pages = if kind == 2 { 0 } else { size / 8 };
        places.push(Place { at, pages });
        at += if kind == 2 { 8 + size } else { 16 + 4 * pages };
    }
    places
}
