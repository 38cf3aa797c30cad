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

/// The bytes of the device: as they are from the first block on, or pieces of blocks near the tail.
fn write(disk: &mut Disk<'_>, tail: u64, input: &mut Input<'_>, pieces: bool) {
    for nth in 0..64 {
        if input.is_empty() || disk.size() == 0 {
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

/// Any bytes as a journal.
pub fn scan(data: &[u8]) {
    let mut input = Input(data);
    let (how, wild) = (input.u8(), input.u8());
    let mut sb = superblock(&mut input, wild);
    let size = if wild >> 4 & 1 != 0 {
        input.u64()
    } else {
        input.number(1)
    };
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
    let near = if blocks == 0 { 0 } else { sb.tail / 8 % blocks };
    write(&mut disk, near, &mut input, how & 4 == 0);
    fix(&sb, &mut disk, Help::from(how));
    if blocks != size {
        assert!(journal(&sb, size).is_none());
    }
    compare(&sb, &disk);
}
