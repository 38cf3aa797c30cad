// SPDX-License-Identifier: GPL-2.0

//! Makes checksums right, so that what a fuzzer wrote is looked at by what comes after them.

use crate::disk::{crc32c, Disk};
use crate::shell::Superblock;

/// Units that are made right at most.
const MAX_UNITS: u64 = 128;

/// How much is made right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Help {
    /// Nothing.
    None,
    /// The checksums of meta blocks.
    Meta,
    /// And those of pages, in the entries.
    Pages,
    /// And magic, version, position and sequence of meta blocks.
    Header,
}

impl Help {
    pub(crate) fn from(byte: u8) -> Self {
        match byte % 4 {
            0 => Self::None,
            1 => Self::Meta,
            2 => Self::Pages,
            _ => Self::Header,
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Writes a meta block's checksum.
pub(crate) fn seal(page: &mut [u8], seed: u32) {
    page[4..8].fill(0);
    let sum = crc32c(seed, page);
    page[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// Makes the log right from the superblock's tail on, as far as its entries make sense.
pub(crate) fn fix(sb: &Superblock, disk: &mut Disk<'_>, help: Help) {
    if help == Help::None || disk.size() == 0 {
        return;
    }
    let mut block = sb.tail / 8 % disk.size();
    let mut seq = None;
    let mut left = disk.size();
    for _ in 0..MAX_UNITS {
        let Some(blocks) = fix_unit(sb.seed, disk, block, &mut seq, help) else {
            return;
        };
        block = (block + blocks) % disk.size();
        left = left.saturating_sub(blocks);
        if left == 0 {
            return;
        }
    }
}

/// Makes one unit right; returns its blocks, `None` if the block is no meta block.
fn fix_unit(
    seed: u32,
    disk: &mut Disk<'_>,
    block: u64,
    seq: &mut Option<u64>,
    help: Help,
) -> Option<u64> {
    let mut page = *disk.get(block);
    let used = u32_at(&page, 12)? as usize;
    if help == Help::Header {
        // What is all zeroes ends the log.
        page.iter().find(|byte| **byte != 0)?;
        page[..4].copy_from_slice(&0x6433_c509_u32.to_le_bytes());
        page[8] = 1;
        page[24..32].copy_from_slice(&(block.wrapping_mul(8)).to_le_bytes());
        if let Some(seq) = *seq {
            page[16..24].copy_from_slice(&seq.to_le_bytes());
        }
    } else if u32_at(&page, 0)? != 0x6433_c509 {
        return None;
    }
    let found = u64::from_le_bytes(page[16..24].try_into().ok()?);
    *seq = Some(found.wrapping_add(1));
    let blocks = fix_entries(seed, disk, block, &mut page, used, help);
    seal(&mut page, seed);
    *disk.get_mut(block)? = page;
    Some(blocks)
}

/// Makes the entries' checksums right; returns the unit's blocks.
fn fix_entries(
    seed: u32,
    disk: &Disk<'_>,
    block: u64,
    page: &mut [u8],
    used: usize,
    help: Help,
) -> u64 {
    let mut blocks = 1;
    let mut at = 32;
    while at < used.min(page.len()) {
        let (Some(kind), Some(size)) = (u32_at(page, at), u32_at(page, at + 4)) else {
            break;
        };
        let size = size as usize;
        if kind & 0xffff == 2 {
            at = at.saturating_add(8).saturating_add(size);
            continue;
        }
        let pages = (size / 8).min(2);
        for nth in 0..pages {
            let sum = disk.sum((block + blocks) % disk.size(), seed);
            let place = at + 16 + 4 * nth;
            if help >= Help::Pages && place + 4 <= page.len() {
                page[place..place + 4].copy_from_slice(&sum.to_le_bytes());
            }
            blocks += 1;
        }
        at += 16 + 4 * pages;
    }
    blocks
}
