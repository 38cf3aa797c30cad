// SPDX-License-Identifier: GPL-2.0

//! Target `scan`: any bytes as a journal, of any size, with any superblock.

use crate::disk::Disk;
use crate::fixup::{fix, Help};
use crate::input::Input;
use crate::oracle;
use crate::shell::{journal, recover, Superblock};

/// Scans a device twice, with the module's code and with the oracle's.
pub(crate) fn compare(sb: &Superblock, disk: &Disk<'_>) {
    let found = recover(sb, disk);
    let expected = journal(sb, disk.size()).and_then(|(geo, _)| oracle::read(sb, geo, disk));
    let Some((report, effects)) = found else {
        assert_eq!(expected, None, "the tail was refused");
        return;
    };
    let found = oracle::Verdict {
        units: report.units,
        end_block: report.end.block.get(),
        end_seq: report.end.seq,
        effects,
    };
    assert_eq!(Some(found), expected, "{report}");
}

/// Fields from the input: any value, or one that a real array could have.
fn superblock(input: &mut Input<'_>, wild: u8) -> Superblock {
    let is = |bit: u32| wild >> bit & 1 != 0;
    let (level, layout) = if is(0) {
        (input.u32() as i32, input.u32() as i32)
    } else {
        (4 + i32::from(input.u8() % 3), i32::from(input.u8() % 21))
    };
    let disks = if is(1) {
        input.u32()
    } else {
        u32::from(input.u8() % 12)
    };
    let chunk = if is(2) {
        input.u32()
    } else {
        8 << (input.u8() % 9)
    };
    let dev_sectors = if is(3) { input.u64() } else { input.number(2) };
    Superblock {
        level,
        layout,
        chunk,
        disks,
        dev_sectors,
        tail: 0,
        seed: input.u16().into(),
    }
}

/// Blocks of the journal: any number, up to some hundred, or about as many as the array must have.
fn ring_size(sb: &Superblock, input: &mut Input<'_>, wild: u8) -> u64 {
    if wild >> 4 & 1 != 0 {
        return input.u64();
    }
    let few = input.number(1);
    match few & 1 {
        0 => u64::from(sb.disks) * 4 + 4 + few / 2 % 8,
        _ => few,
    }
}

/// The bytes of the device: as they are from the first block on, or pieces of blocks near the tail.
fn write(disk: &mut Disk<'_>, tail: u64, input: &mut Input<'_>, pieces: bool) {
    for nth in 0..64 {
        if input.is_empty() {
            return;
        }
        let (block, at, len) = if pieces {
            let block = (tail + u64::from(input.u8())) % disk.size();
            (block, usize::from(input.u16()), usize::from(input.u8()))
        } else {
            (nth, 0, 4096)
        };
        let bytes = input.take(len);
        let place = disk
            .get_mut(block)
            .and_then(|page| page.get_mut(at % 4096..));
        if let Some(place) = place {
            let len = bytes.len().min(place.len());
            place[..len].copy_from_slice(&bytes[..len]);
        }
    }
}

/// Writes the units that the input names, one after the other from the tail on, right but for what
/// the input wants wrong.
fn write_units(disk: &mut Disk<'_>, sb: &Superblock, tail: u64, input: &mut Input<'_>) {
    let mut block = tail;
    let mut seq = input.u64();
    for _ in 0..input.u8() % 16 {
        let mut meta = [0; 4096];
        let mut at = 32;
        let mut pages = 0;
        for _ in 0..input.u8() % 16 {
            let (entry, of_entry) = entry(sb, input);
            if let Some(place) = meta.get_mut(at..at + entry.len()) {
                place.copy_from_slice(&entry);
                at += entry.len();
                pages += of_entry;
            }
        }
        meta[12..16].copy_from_slice(&(at as u32).to_le_bytes());
        meta[16..24].copy_from_slice(&seq.to_le_bytes());
        if let Some(place) = disk.get_mut(block) {
            *place = meta;
        }
        for nth in 1..=pages {
            let page = disk.get_mut((block + nth) % disk.size());
            if let Some(page) = page {
                page[0] = input.u8();
            }
        }
        block = (block + 1 + pages) % disk.size();
        seq = seq.wrapping_add(1);
    }
}

/// An entry, without checksums, and its pages.
fn entry(sb: &Superblock, input: &mut Input<'_>) -> (Vec<u8>, u64) {
    let parities = if sb.level == 6 { 2 } else { 1 };
    let near = |input: &mut Input<'_>| u64::from(input.u8() % 32) * 8;
    let (kind, flags, pages, place) = match input.u8() % 16 {
        0..=5 => (0_u16, 0, 1, near(input)),
        6..=9 => (1, 0, parities, near(input)),
        10..=12 => {
            let rows = usize::from(input.u8() % 6);
            let mut bytes = vec![2, 0, 0, 0, 8 * rows as u8, 0, 0, 0];
            for _ in 0..rows {
                bytes.extend(near(input).to_le_bytes());
            }
            return (bytes, 0);
        }
        // Beyond the end, or not at a page.
        13 => (u16::from(input.u8() % 2), 0, 1, input.number(3)),
        14 => (
            input.u16(),
            input.u16(),
            u64::from(input.u8() % 3),
            near(input),
        ),
        _ => (
            u16::from(input.u8() % 2),
            0,
            1 + u64::from(input.u8() % 2),
            input.u64(),
        ),
    };
    let mut bytes = vec![0; 16 + 4 * pages as usize];
    bytes[..2].copy_from_slice(&kind.to_le_bytes());
    bytes[2..4].copy_from_slice(&flags.to_le_bytes());
    bytes[4..8].copy_from_slice(&(8 * pages as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&place.to_le_bytes());
    (bytes, pages)
}

/// Any bytes as a journal: as they are, in pieces, or as units.
pub fn scan(data: &[u8]) {
    let mut input = Input(data);
    let (how, wild) = (input.u8(), input.u8());
    // Half of the inputs have the superblock of some array, and units.
    let wild = if how & 4 == 0 {
        wild & 0x0f & wild >> 4
    } else {
        wild
    };
    let mut sb = superblock(&mut input, wild);
    let size = ring_size(&sb, &mut input, wild);
    let tail = if wild >> 5 & 1 != 0 {
        input.u64()
    } else {
        input.number(1) * 8
    };
    sb.tail = if wild >> 6 & 1 != 0 {
        tail
    } else {
        tail / 8 % size.clamp(1, u64::MAX / 8) * 8
    };
    // A ring is at most what sectors can count; the checks before that see any size.
    let blocks = size.min(u64::MAX / 8);
    let mut disk = Disk::new(blocks, None);
    if blocks != size {
        assert!(journal(&sb, size).is_none());
    }
    if blocks == 0 {
        return compare(&sb, &disk);
    }
    let near = sb.tail / 8 % blocks;
    if how & 4 == 0 {
        write_units(&mut disk, &sb, near, &mut input);
        fix(&sb, &mut disk, Help::Header);
    }
    write(&mut disk, near, &mut input, how & 8 == 0);
    fix(&sb, &mut disk, Help::from(how));
    compare(&sb, &disk);
}
