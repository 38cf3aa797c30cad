// SPDX-License-Identifier: GPL-2.0

//! A second reader of journals, written from `Documentation/journal-format.rst` alone: simple, slow,
//! with everything in memory. The scan must come to the same end and do the same.

use crate::disk::{crc32c, Disk};
use crate::raid::geometry::Geometry;
use crate::raid::units::{ArraySector, DevSector};
use crate::shell::{Effects, Superblock};

/// An entry of a unit that is right.
enum Said {
    Data { row: u64, slot: u16, block: u64 },
    Parity { row: u64, block: u64 },
    Flush(Vec<u64>),
}

/// Where the log ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) units: u64,
    pub(crate) end_block: u64,
    pub(crate) end_seq: u64,
    pub(crate) effects: Effects,
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// An array's journal as this reader sees it.
struct Reader<'a> {
    sb: &'a Superblock,
    geometry: Geometry,
    disk: &'a Disk<'a>,
}

impl Reader<'_> {
    fn ring(&self, block: u64, n: u64) -> u64 {
        ((u128::from(block) + u128::from(n)) % u128::from(self.disk.size())) as u64
    }

    /// Whether a row is one of whole chunks on the members.
    fn is_row(&self, sector: u64) -> bool {
        let chunks = self.sb.dev_sectors / u64::from(self.sb.chunk);
        sector % 8 == 0 && sector / u64::from(self.sb.chunk) < chunks
    }

    fn is_data(&self, sector: u64) -> bool {
        let chunks = u128::from(self.sb.dev_sectors / u64::from(self.sb.chunk));
        let size = chunks * u128::from(self.sb.chunk) * u128::from(self.geometry.data_disks());
        // Of an array that is larger than sectors can count, the last one is left out.
        sector % 8 == 0 && u128::from(sector) < size.min(u128::from(u64::MAX))
    }

    /// The sequence and the entries of the meta block at `block`; `None` if there is none.
    fn header(&self, block: u64) -> Option<(u64, &[u8])> {
        let meta = self.disk.get(block);
        let mut zeroed = *meta;
        zeroed[4..8].fill(0);
        let used = number(&meta[12..16]) as usize;
        let right = number(&meta[..4]) == 0x6433_c509
            && meta[8] == 1
            && (32..=4096).contains(&used)
            && number(&meta[24..32]) == block * 8
            && number(&meta[4..8]) == u64::from(crc32c(self.sb.seed, &zeroed));
        right.then(|| (number(&meta[16..24]), &meta[32..used]))
    }

    /// The entries of the unit at `block`, and its blocks; `None` if there is no such unit.
    fn unit(&self, block: u64, seq: u64, most: u64) -> Option<(Vec<Said>, u64)> {
        let (_, mut rest) = self.header(block).filter(|(found, _)| *found == seq)?;
        let mut said = Vec::new();
        let mut blocks = 1;
        while !rest.is_empty() {
            let (entry, len, sums) = self.entry(rest, self.ring(block, blocks))?;
            for sum in sums.chunks(4) {
                if blocks + 1 > most {
                    return None;
                }
                let page = self.disk.sum(self.ring(block, blocks), self.sb.seed);
                if number(sum) != u64::from(page) {
                    return None;
                }
                blocks += 1;
            }
            said.push(entry);
            rest = &rest[len..];
        }
        Some((said, blocks))
    }

    /// An entry whose first page is `block`, its length, and its checksums.
    fn entry<'b>(&self, rest: &'b [u8], block: u64) -> Option<(Said, usize, &'b [u8])> {
        let kind = rest.get(..4).map(number)?;
        let size = rest.get(4..8).map(number)? as usize;
        // Flags are in the upper half.
        let (len, pages) = match (kind, size, self.sb.level) {
            (0, 8, _) | (1, 8, 4 | 5) => (20, 1),
            (1, 16, 6) => (24, 2),
            (2, _, _) if size % 8 == 0 => (8 + size, 0),
            _ => return None,
        };
        let entry = rest.get(..len)?;
        let sector = || number(&entry[8..16]);
        let said = match kind {
            0 if self.is_data(sector()) => {
                let (row, slot) = self.geometry.map(ArraySector::new(sector()));
                let (row, slot) = (row.get(), slot.get());
                Said::Data { row, slot, block }
            }
            1 if self.is_row(sector()) => Said::Parity {
                row: sector(),
                block,
            },
            2 => {
                let rows: Vec<u64> = entry[8..].chunks(8).map(number).collect();
                if !rows.iter().all(|row| self.is_row(*row)) {
                    return None;
                }
                Said::Flush(rows)
            }
            _ => return None,
        };
        let sums = if pages == 0 { &[] } else { &entry[16..] };
        Some((said, len, sums))
    }

    fn apply(&self, said: Said, effects: &mut Effects) {
        match said {
            Said::Data { row, slot, block } => {
                effects.pending.entry(row).or_default().insert(slot, block);
            }
            Said::Parity { row, block } => {
                let Some(mut pages) = effects.pending.remove(&row) else {
                    return;
                };
                let place = self.geometry.placement(DevSector::new(row));
                let slots = [Some(place.p), place.q].into_iter().flatten();
                pages.extend(
                    (slots.zip(0..)).map(|(slot, nth)| (slot.get(), self.ring(block, nth))),
                );
                effects.replayed.push((row, pages));
            }
            Said::Flush(rows) => {
                for row in rows {
                    effects.dropped += u64::from(effects.pending.remove(&row).is_some());
                }
            }
        }
    }
}

/// Reads a log from the superblock's tail; `None` if there is no unit. The array is one that the
/// engine takes.
pub(crate) fn read(sb: &Superblock, geometry: Geometry, disk: &Disk<'_>) -> Option<Verdict> {
    let reader = Reader { sb, geometry, disk };
    if sb.tail % 8 != 0 || sb.tail / 8 >= disk.size() {
        return None;
    }
    let mut effects = Effects::default();
    let (mut block, mut units) = (sb.tail / 8, 0);
    let (mut seq, _) = reader.header(block)?;
    // One block always stays free.
    let mut left = disk.size() - 1;
    while left > 0 {
        let Some((said, blocks)) = reader.unit(block, seq, left) else {
            break;
        };
        for said in said {
            reader.apply(said, &mut effects);
        }
        left -= blocks;
        block = reader.ring(block, blocks);
        seq = seq.wrapping_add(1);
        units += 1;
    }
    Some(Verdict {
        units,
        end_block: block,
        end_seq: seq,
        effects,
    })
}
