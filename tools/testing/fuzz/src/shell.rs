// SPDX-License-Identifier: GPL-2.0

//! Starting a journal as `rust/engine/recovery.rs` does, with a judge at each door.

use crate::disk::{crc32c, Checked, Disk, Page};
use crate::journal::format::{JournalBlock, MetaBlock, MetaBuilder, BLOCK_SIZE};
use crate::journal::recovery::{
    scan, tail_check, Entry, Journal, Pending, ScanReport, Scratch, Sink, TailState,
};
use crate::journal::ring::Ring;
use crate::journal::unit::Position;
use crate::raid::geometry::Geometry;
use crate::raid::units::DevSector;
use std::collections::{BTreeMap, BTreeSet};

/// Members that the engine takes at most with a journal.
const MAX_DISKS: u32 = 203;

/// What a superblock says, true or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Superblock {
    pub(crate) level: i32,
    pub(crate) layout: i32,
    pub(crate) chunk: u32,
    pub(crate) disks: u32,
    pub(crate) dev_sectors: u64,
    pub(crate) tail: u64,
    pub(crate) seed: u32,
}

/// A row on its way to the members: its sector, and block and checksum by member.
pub(crate) type Replayed = (u64, BTreeMap<u16, u64>);

/// What was done, in order, and what was left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) replayed: Vec<Replayed>,
    pub(crate) pending: BTreeMap<u64, BTreeMap<u16, u64>>,
    pub(crate) dropped: u64,
}

/// The members and the table of pending rows.
struct Judge<'a> {
    log: Journal,
    disk: &'a Disk<'a>,
    replayed: Vec<Replayed>,
}

struct Table<'a> {
    log: &'a Journal,
    rows: BTreeMap<u64, BTreeMap<u16, Entry>>,
    dropped: u64,
}

/// A row must lie on the members, whole.
fn check_row(log: &Journal, row: DevSector) {
    let end = row.get().checked_add(8).expect("a row beyond all sectors");
    assert!(end <= log.dev_sectors, "row {row} of {}", log.dev_sectors);
    assert!(row.is_aligned());
}

fn check_entry(log: &Journal, entry: &Entry) {
    assert!(u32::from(entry.slot.get()) < log.geometry.raid_disks());
    assert!(log.ring.contains(entry.block));
}

impl Sink for Judge<'_> {
    type Error = ();

    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result<(), ()> {
        check_row(&self.log, row);
        let mut pages = BTreeMap::new();
        for entry in entries {
            check_entry(&self.log, entry);
            let sum = self.disk.sum(entry.block.get(), self.log.seed);
            assert_eq!(sum, entry.checksum, "a page that does not verify");
            let old = pages.insert(entry.slot.get(), entry.block.get());
            assert_eq!(old, None, "two pages for one member");
        }
        let parity = self.log.geometry.parity_disks() as usize;
        let (data, last) = entries.split_at(entries.len() - parity);
        let place = self.log.geometry.placement(row);
        assert!(!data.is_empty());
        assert!(data.iter().all(|entry| !place.is_parity(entry.slot)));
        let slots: BTreeSet<_> = last.iter().map(|entry| entry.slot).collect();
        assert_eq!(
            slots,
            [Some(place.p), place.q].into_iter().flatten().collect()
        );
        self.replayed.push((row.get(), pages));
        Ok(())
    }
}

impl Pending for Table<'_> {
    type Error = ();

    fn insert(&mut self, row: DevSector, entry: Entry) -> Result<(), ()> {
        check_row(self.log, row);
        check_entry(self.log, &entry);
        let slots = self.rows.entry(row.get()).or_default();
        slots.insert(entry.slot.get(), entry);
        Ok(())
    }

    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize, ()> {
        check_row(self.log, row);
        let entries = self.rows.remove(&row.get()).unwrap_or_default();
        // As in the engine.
        let out = out
            .get_mut(..entries.len())
            .expect("more pages than members");
        for (place, entry) in out.iter_mut().zip(entries.values()) {
            *place = *entry;
        }
        Ok(entries.len())
    }

    fn remove(&mut self, row: DevSector) -> Result<bool, ()> {
        check_row(self.log, row);
        let was = self.rows.remove(&row.get()).is_some();
        self.dropped += u64::from(was);
        Ok(was)
    }

    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    fn first(&self) -> Option<DevSector> {
        self.rows.keys().next().copied().map(DevSector::new)
    }
}

/// What the engine has before it looks at the device; `None` if it takes no such array.
pub(crate) fn journal(sb: &Superblock, blocks: u64) -> Option<(Geometry, Ring)> {
    let geometry = Geometry::new(sb.level, sb.layout, sb.disks, sb.chunk);
    let geometry = geometry.map_err(|error| error.to_string()).ok()?;
    let ring = Ring::new(blocks)?;
    let fits = u64::from(geometry.raid_disks()) + 1 <= ring.max_unit_blocks();
    (geometry.raid_disks() <= MAX_DISKS && fits).then_some((geometry, ring))
}

/// Recovers a journal; `None` if it is refused.
pub(crate) fn recover(sb: &Superblock, disk: &Disk<'_>) -> Option<(ScanReport, Effects)> {
    let (geometry, ring) = journal(sb, disk.size())?;
    let block = JournalBlock::from_sector(sb.tail).filter(|block| ring.contains(*block))?;
    let seq = match tail_check(disk.get(block.get()), block, sb.seed, crc32c) {
        TailState::Valid { seq } => seq,
        TailState::Unusable(why) => {
            assert!(!why.to_string().is_empty());
            return None;
        }
    };
    let log = Journal {
        geometry,
        dev_sectors: sb.dev_sectors,
        ring,
        tail: Position { block, seq },
        seed: sb.seed,
    };
    let mut judge = Judge {
        log,
        disk,
        replayed: Vec::new(),
    };
    let mut table = Table {
        log: &log,
        rows: BTreeMap::new(),
        dropped: 0,
    };
    let source = Checked::new(disk);
    let mut entries = vec![Entry::NONE; geometry.raid_disks() as usize];
    let report = scan(
        &log,
        &mut &source,
        &mut judge,
        &mut table,
        Scratch {
            meta: &mut [0; BLOCK_SIZE],
            page: &mut [0; BLOCK_SIZE],
            entries: &mut entries,
        },
        |seed, bytes| source.crc(seed, bytes),
    );
    let report = report.expect("nothing here fails");
    let effects = Effects {
        replayed: judge.replayed,
        dropped: table.dropped,
        pending: (table.rows.into_iter())
            .map(|(row, slots)| (row, slots.values().map(slot_and_block).collect()))
            .collect(),
    };
    check_report(&log, &report, &effects);
    Some((report, effects))
}

fn slot_and_block(entry: &Entry) -> (u16, u64) {
    (entry.slot.get(), entry.block.get())
}

/// The report must be of this scan, and the log can go on from it.
fn check_report(log: &Journal, report: &ScanReport, effects: &Effects) {
    assert!(report.units < log.ring.blocks());
    assert_eq!(report.replayed_rows, effects.replayed.len() as u64);
    assert_eq!(report.data_only_rows, effects.pending.len() as u64);
    assert_eq!(report.dropped_by_flush, effects.dropped);
    assert_eq!(report.end.seq, log.tail.seq.wrapping_add(report.units));
    assert!(report.to_string().contains(" units with "));
    let head = report.restart();
    assert!(log.ring.contains(head.block), "no place for the next unit");
    let mut page: Page = [0; BLOCK_SIZE];
    MetaBuilder::new(&mut page, head.seq, head.block).finish(log.seed, crc32c);
    let next = MetaBlock::parse(&page, head.block, Some(head.seq), log.seed, crc32c);
    assert_eq!(next.map(|unit| unit.payloads().count()), Ok(0));
}
