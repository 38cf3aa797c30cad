// SPDX-License-Identifier: GPL-2.0

//! Target `scan_real`: journals of both modules, changed in a few places.

use crate::disk::Disk;
use crate::fixup::{fix, Help};
use crate::input::Input;
use crate::scan::compare;
use crate::seeds::{entries, seeds, Seed};
use crate::shell::Superblock;

/// Changes that one input makes at most.
const MAX_CHANGES: usize = 32;

/// A journal on its way to be changed.
struct Patient<'a> {
    seed: &'static Seed,
    sb: Superblock,
    disk: Disk<'a>,
    help: Help,
}

impl Patient<'_> {
    /// A block of the log: so many after the tail's.
    fn block(&self, input: &mut Input<'_>) -> u64 {
        (self.seed.sb.tail / 8 + u64::from(input.u16())) % self.seed.blocks
    }

    /// The meta block of one of the units.
    fn meta(&self, input: &mut Input<'_>) -> u64 {
        let nth = usize::from(input.u8()) % self.seed.units.len();
        self.seed.units[nth]
    }

    fn put(&mut self, block: u64, at: usize, bytes: &[u8]) {
        if let Some(page) = self.disk.get_mut(block) {
            let end = (at + bytes.len()).min(page.len());
            page[at..end].copy_from_slice(&bytes[..end - at]);
        }
    }

    /// Writes a field of a meta block.
    fn change_meta(&mut self, input: &mut Input<'_>) {
        let block = self.meta(input);
        let (at, len) =
            [(0, 4), (4, 4), (8, 4), (12, 4), (16, 8), (24, 8)][usize::from(input.u8()) % 6];
        self.put(block, at, input.take(len));
    }

    /// Writes a field of an entry.
    fn change_entry(&mut self, input: &mut Input<'_>) {
        let block = self.meta(input);
        let Some(page) = self.seed.base.get(block) else {
            return;
        };
        let places = entries(page);
        let nth = usize::from(input.u8());
        let Some(place) = places.get(nth % places.len().max(1)) else {
            return;
        };
        let (at, len) = [
            (0, 2),
            (2, 2),
            (4, 4),
            (8, 8),
            (16, 4),
            (20, 4),
            (8, 2),
            (9, 1),
        ][usize::from(input.u8()) % 8];
        let at = (place.at + at).min(4095);
        self.put(block, at, input.take(len));
    }

    /// Writes a field of the superblock.
    fn change_superblock(&mut self, input: &mut Input<'_>) {
        let sb = &mut self.sb;
        match input.u8() % 9 {
            0 => sb.level = 4 + i32::from(input.u8() % 3),
            1 => sb.layout = i32::from(input.u8()),
            2 => sb.chunk = input.u32(),
            3 => sb.disks = u32::from(input.u8()),
            4 => sb.dev_sectors = input.u64(),
            5 => sb.tail = input.u64(),
            6 => sb.seed = input.u32(),
            7 => {
                let nth = usize::from(input.u8()) % self.seed.units.len();
                sb.tail = self.seed.units[nth] * 8;
            }
            _ => self.disk.resize(input.number(2)),
        }
    }

    /// What a power cut does: a block, or all from it on, was not written or only in part.
    fn lose(&mut self, input: &mut Input<'_>) {
        let (first, kept, rest) = (self.block(input), input.u8(), input.u8() % 2 == 0);
        for nth in 0..if rest { 400 } else { 1 } {
            let block = (first + nth) % self.seed.blocks;
            if let Some(page) = self.disk.get_mut(block) {
                for (sector, bytes) in page.chunks_mut(512).enumerate() {
                    if nth != 0 || kept >> sector & 1 == 0 {
                        bytes.fill(0);
                    }
                }
            }
        }
    }

    fn copy(&mut self, input: &mut Input<'_>) {
        let (from, to) = (self.block(input), self.block(input));
        if from < self.disk.size() {
            let page = *self.disk.get(from);
            self.put(to, 0, &page);
        }
    }

    fn change(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0 => self.change_meta(input),
            1 | 2 => self.change_entry(input),
            3 => self.change_superblock(input),
            4 => self.lose(input),
            5 => self.copy(input),
            6 => {
                let block = self.meta(input);
                let (at, len) = (usize::from(input.u16()) % 4096, input.u8());
                self.put(block, at, input.take(len.into()));
            }
            _ => self.help = Help::from(input.u8()),
        }
    }
}

/// A real journal and what to change in it.
pub fn scan_real(data: &[u8]) {
    let mut input = Input(data);
    let seeds = seeds();
    let seed = &seeds[usize::from(input.u8()) % seeds.len()];
    let mut patient = Patient {
        seed,
        sb: seed.sb,
        disk: Disk::new(seed.blocks, Some(&seed.base)),
        help: Help::from(input.u8()),
    };
    for _ in 0..MAX_CHANGES {
        if input.is_empty() {
            break;
        }
        patient.change(&mut input);
    }
    fix(&patient.sb, &mut patient.disk, patient.help);
    compare(&patient.sb, &patient.disk);
}
