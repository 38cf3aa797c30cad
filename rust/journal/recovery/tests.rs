// SPDX-License-Identifier: GPL-2.0

//! The scan over logs written by hand: what each entry does, and every way to end.

use super::super::format::tests::crc;
use super::super::format::{MetaBuilder, MetaFull};
use super::*;
use std::collections::BTreeMap;

const SEED: u32 = 0x5eed;
const BLOCKS: u64 = 64;
/// Rows of the array; the chunk is one row.
const ROWS: u64 = 1000;

type Page = [u8; BLOCK_SIZE];

/// A page that is known by its number.
fn page(tag: u32) -> Box<Page> {
    let mut page = Box::new([0x55; BLOCK_SIZE]);
    page[100..104].copy_from_slice(&tag.to_le_bytes());
    page
}

/// A journal, a place to write the next unit, and what a scan has done.
pub(in super::super) struct Bench {
    geometry: Geometry,
    pub(in super::super) ring: Ring,
    blocks: Vec<Box<Page>>,
    pub(in super::super) tail: Position,
    pub(in super::super) head: Position,
    members: BTreeMap<(u64, u16), u32>,
    order: Vec<u64>,
    pending: BTreeMap<u64, BTreeMap<u16, Entry>>,
    unreadable: Option<u64>,
    sink_fails: bool,
    no_memory: bool,
}

#[derive(Clone, Copy)]
pub(in super::super) enum Say {
    /// Data chunk `index` of a row is page `tag`.
    Data { row: u64, index: u32, tag: u32 },
    /// The row's P is page `tag`, and its Q, if there is one, the next.
    Parity { row: u64, tag: u32 },
    /// The row is on the members.
    Flush { row: u64 },
    /// Data at an array sector.
    DataAt(u64),
    /// Parity at a device sector, with or without Q.
    ParityAt(u64, bool),
    /// A flush payload of a device sector.
    FlushAt(u64),
}

pub(in super::super) fn data(row: u64, index: u32, tag: u32) -> Say {
    Say::Data { row, index, tag }
}

pub(in super::super) fn parity(row: u64, tag: u32) -> Say {
    Say::Parity { row, tag }
}

fn flush(row: u64) -> Say {
    Say::Flush { row }
}

impl Bench {
    pub(in super::super) fn new(level: i32, disks: u32, blocks: u64) -> Self {
        let tail = Position {
            block: JournalBlock::new(blocks - 3),
            seq: 100,
        };
        let mut bench = Self {
            geometry: Geometry::new(level, 2, disks, 8).unwrap(),
            ring: Ring::new(blocks).unwrap(),
            blocks: vec![page(0); blocks as usize],
            tail,
            head: tail,
            members: BTreeMap::new(),
            order: Vec::new(),
            pending: BTreeMap::new(),
            unreadable: None,
            sink_fails: false,
            no_memory: false,
        };
        bench.unit(&[]);
        bench
    }

    pub(in super::super) fn raid5() -> Self {
        Self::new(5, 4, BLOCKS)
    }

    pub(in super::super) fn block(&mut self, block: JournalBlock) -> &mut Page {
        &mut self.blocks[block.get() as usize]
    }

    /// Writes a unit at the head; returns where.
    pub(in super::super) fn unit(&mut self, says: &[Say]) -> Position {
        let at = self.head;
        let mut meta_page = page(0);
        let mut meta = MetaBuilder::new(&mut meta_page, at.seq, at.block);
        let mut block = self.ring.add(at.block, 1);
        for say in says {
            let pages = self.say(&mut meta, *say).unwrap();
            for page in pages {
                *self.block(block) = *page;
                block = self.ring.add(block, 1);
            }
        }
        meta.finish(SEED, crc);
        *self.block(at.block) = *meta_page;
        self.head = Position {
            block,
            seq: at.seq + 1,
        };
        at
    }

    fn say(&self, meta: &mut MetaBuilder<'_>, say: Say) -> Result<Vec<Box<Page>>, MetaFull> {
        let sum = |page: &Page| crc(SEED, page);
        let dev = |row: u64| DevSector::new(row * 8);
        let q = self.geometry.parity_disks() == 2;
        match say {
            Say::Data { row, index, tag } => {
                let slot = self.geometry.data_slot(dev(row), index);
                let location = self.geometry.unmap(dev(row), slot).unwrap();
                let page = page(tag);
                meta.data(location, sum(&page))?;
                Ok(vec![page])
            }
            Say::Parity { row, tag } if q => {
                let pages = vec![page(tag), page(tag + 1)];
                meta.parity(dev(row), sum(&pages[0]), Some(sum(&pages[1])))?;
                Ok(pages)
            }
            Say::Parity { row, tag } => {
                let page = page(tag);
                meta.parity(dev(row), sum(&page), None)?;
                Ok(vec![page])
            }
            Say::Flush { row } => self.say(meta, Say::FlushAt(row * 8)),
            Say::DataAt(sector) => {
                meta.data(ArraySector::new(sector), sum(&page(1)))?;
                Ok(vec![page(1)])
            }
            Say::ParityAt(sector, q) => {
                let sums = (sum(&page(1)), q.then(|| sum(&page(2))));
                meta.parity(DevSector::new(sector), sums.0, sums.1)?;
                Ok(vec![page(1), page(2)])
            }
            Say::FlushAt(sector) => {
                meta.flush([DevSector::new(sector)].into_iter())?;
                Ok(Vec::new())
            }
        }
    }

    fn journal(&self) -> Journal {
        Journal {
            geometry: self.geometry,
            // A last incomplete chunk is not used, but here all chunks are rows.
            dev_sectors: ROWS * 8 + 7,
            ring: self.ring,
            tail: self.tail,
            seed: SEED,
        }
    }

    fn try_scan(&mut self) -> Result<ScanReport, ScanError<&'static str, &'static str, ()>> {
        let mut entries = vec![Entry::NONE; self.geometry.raid_disks() as usize];
        let mut meta = page(0);
        let mut buf = page(0);
        let scratch = Scratch {
            meta: &mut meta,
            page: &mut buf,
            entries: &mut entries,
        };
        let mut source = Blocks(&self.blocks, self.unreadable);
        let mut sink = Rows {
            blocks: &self.blocks,
            members: &mut self.members,
            order: &mut self.order,
            fails: self.sink_fails,
        };
        let mut table = Table(core::mem::take(&mut self.pending), self.no_memory);
        let journal = Journal {
            geometry: self.geometry,
            dev_sectors: ROWS * 8 + 7,
            ring: self.ring,
            tail: self.tail,
            seed: SEED,
        };
        let report = scan(&journal, &mut source, &mut sink, &mut table, scratch, crc);
        self.pending = table.0;
        report
    }

    pub(in super::super) fn scan(&mut self) -> ScanReport {
        self.try_scan().unwrap()
    }

    /// What lies on the members' row: data in array order, then parity; 0 for nothing.
    pub(in super::super) fn row(&self, row: u64) -> Vec<u32> {
        let dev = DevSector::new(row * 8);
        let place = self.geometry.placement(dev);
        let data = (0..self.geometry.data_disks()).map(|i| self.geometry.data_slot(dev, i));
        data.chain([place.p])
            .chain(place.q)
            .map(|slot| {
                let found = self.members.get(&(row * 8, slot.get()));
                found.copied().unwrap_or(0)
            })
            .collect()
    }
}

struct Blocks<'a>(&'a [Box<Page>], Option<u64>);

impl Source for Blocks<'_> {
    type Error = &'static str;

    fn read(&mut self, block: JournalBlock, buf: &mut Page) -> Result<(), &'static str> {
        if self.1 == Some(block.get()) {
            return Err("unreadable");
        }
        // Panics beyond the ring.
        buf.copy_from_slice(&self.0[block.get() as usize][..]);
        Ok(())
    }
}

struct Rows<'a> {
    blocks: &'a [Box<Page>],
    members: &'a mut BTreeMap<(u64, u16), u32>,
    order: &'a mut Vec<u64>,
    fails: bool,
}

impl Sink for Rows<'_> {
    type Error = &'static str;

    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result<(), &'static str> {
        if self.fails {
            return Err("no member");
        }
        self.order.push(row.get() / 8);
        for entry in entries {
            let page = &self.blocks[entry.block.get() as usize];
            assert_eq!(crc(SEED, &page[..]), entry.checksum);
            let tag = u32::from_le_bytes(page[100..104].try_into().unwrap());
            self.members.insert((row.get(), entry.slot.get()), tag);
        }
        Ok(())
    }
}

struct Table(BTreeMap<u64, BTreeMap<u16, Entry>>, bool);

impl Pending for Table {
    type Error = ();

    fn insert(&mut self, row: DevSector, entry: Entry) -> Result<(), ()> {
        if self.1 {
            return Err(());
        }
        let row = self.0.entry(row.get()).or_default();
        row.insert(entry.slot.get(), entry);
        Ok(())
    }

    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize, ()> {
        let entries = self.0.remove(&row.get()).unwrap_or_default();
        for (at, entry) in entries.values().enumerate() {
            out[at] = *entry;
        }
        Ok(entries.len())
    }

    fn remove(&mut self, row: DevSector) -> Result<bool, ()> {
        Ok(self.0.remove(&row.get()).is_some())
    }

    fn rows(&self) -> u64 {
        self.0.len() as u64
    }

    fn first(&self) -> Option<DevSector> {
        self.0.keys().next().copied().map(DevSector::new)
    }
}

#[test]
fn complete_rows_are_replayed_in_log_order() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(5, 0, 1), data(5, 2, 2), parity(5, 3)]);
    bench.unit(&[data(9, 1, 4), parity(9, 5), data(5, 0, 6), parity(5, 7)]);
    let report = bench.scan();
    assert_eq!(bench.row(5), [6, 0, 2, 7]);
    assert_eq!(bench.row(9), [0, 4, 0, 5]);
    assert_eq!(bench.order, [5, 9, 5]);
    assert_eq!(report.units, 3);
    assert_eq!(report.data_pages, 4);
    assert_eq!(report.parity_rows, 3);
    assert_eq!(report.replayed_rows, 3);
    assert_eq!(report.data_only_rows, 0);
    assert_eq!(report.end, bench.head);
    assert_eq!(report.end_reason.kind(), EndKind::EndOfLog);
    assert_eq!(report.restart().seq, bench.head.seq + 10_000);
    assert_eq!(report.restart().block, bench.head.block);
}

#[test]
fn raid6_rows_have_two_parities() {
    let mut bench = Bench::new(6, 5, BLOCKS);
    for row in 0..5 {
        let tag = row as u32 * 10;
        bench.unit(&[data(row, 1, tag + 1), parity(row, tag + 2)]);
    }
    bench.scan();
    for row in 0..5 {
        let tag = row as u32 * 10;
        assert_eq!(bench.row(row), [0, tag + 1, 0, tag + 2, tag + 3]);
    }
}

#[test]
fn data_waits_for_parity_across_units() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(1, 0, 1), data(2, 0, 2)]);
    bench.unit(&[data(1, 0, 3), data(1, 1, 4)]);
    bench.unit(&[parity(1, 5)]);
    let last = bench.unit(&[data(1, 2, 6)]);
    let report = bench.scan();
    assert_eq!(bench.row(1), [3, 4, 0, 5]);
    assert_eq!(bench.row(2), [0, 0, 0, 0]);
    assert_eq!(report.data_only_rows, 2);
    assert_eq!(bench.pending.keys().copied().collect::<Vec<_>>(), [8, 16]);
    // The latest entry of a member stands, with its place in the journal.
    let slot = bench.geometry.data_slot(DevSector::new(8), 2);
    let entry = bench.pending[&8][&slot.get()];
    assert_eq!(entry.block, bench.ring.add(last.block, 1));
    assert_eq!(entry.slot, slot);
}

#[test]
fn a_flush_drops_what_is_pending() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(1, 0, 1), parity(1, 2)]);
    bench.unit(&[data(3, 0, 3), data(4, 0, 4), flush(3), flush(1), flush(7)]);
    let report = bench.scan();
    assert_eq!(report.dropped_by_flush, 1);
    assert_eq!(report.replayed_rows, 1);
    assert_eq!(bench.row(1), [1, 0, 0, 2]);
    assert_eq!(bench.pending.keys().copied().collect::<Vec<_>>(), [32]);
}

/// The data is behind the tail: the row is on the members, and may be newer there.
#[test]
fn parity_alone_is_not_replayed() {
    let mut bench = Bench::raid5();
    bench.unit(&[parity(1, 5), flush(1)]);
    let report = bench.scan();
    assert_eq!(report.parity_rows, 1);
    assert_eq!(report.replayed_rows, 0);
    assert!(bench.members.is_empty());
}

/// Where raid456 7.2 fails: a log with more rows than its stripe cache has at assembly (256), every
/// row written, flushed, and written again.
#[test]
fn more_rows_than_a_stripe_cache_keep_their_newest_data() {
    let mut bench = Bench::new(5, 4, 16_384);
    let rows = 600;
    for round in 1..=3 {
        for row in 0..rows {
            let tag = round * 10_000 + row as u32;
            bench.unit(&[data(row, 0, tag)]);
            bench.unit(&[parity(row, tag + 5_000)]);
            if round < 3 {
                bench.unit(&[flush(row)]);
            }
        }
    }
    for row in 0..rows / 2 {
        bench.unit(&[data(row, 1, 7)]);
    }
    let report = bench.scan();
    assert_eq!(report.end, bench.head);
    assert_eq!(report.data_only_rows, rows / 2);
    for row in 0..rows {
        let tag = 30_000 + row as u32;
        assert_eq!(bench.row(row), [tag, 0, 0, tag + 5_000]);
    }
}

#[test]
fn nothing_of_a_torn_unit_is_used() {
    for torn in 1..=4 {
        let mut bench = Bench::raid5();
        bench.unit(&[data(1, 0, 1), parity(1, 2)]);
        let at = bench.unit(&[data(1, 0, 3), parity(1, 4), data(2, 0, 5), parity(2, 6)]);
        bench.unit(&[data(1, 0, 7), parity(1, 8)]);
        let bad = bench.ring.add(at.block, torn);
        bench.block(bad)[4095] ^= 1;
        let report = bench.scan();
        assert_eq!(bench.row(1), [1, 0, 0, 2]);
        assert_eq!(bench.row(2), [0; 4]);
        assert!(bench.pending.is_empty());
        assert_eq!(report.end, at);
        assert_eq!(report.units, 2);
        let found = match report.end_reason {
            ScanEnd::BadPage { block, .. } => block,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, bad);
        assert_eq!(report.end_reason.kind(), EndKind::Torn);
    }
}

/// Q of a raid6 row is checked too.
#[test]
fn a_torn_q_is_noticed() {
    let mut bench = Bench::new(6, 5, BLOCKS);
    let at = bench.unit(&[data(1, 0, 1), parity(1, 2)]);
    let bad = bench.ring.add(at.block, 3);
    bench.block(bad)[0] ^= 1;
    assert_eq!(bench.scan().end, at);
    assert!(bench.members.is_empty());
}

#[test]
fn ends_are_told_apart() {
    let kind = |change: fn(&mut Page)| {
        let mut bench = Bench::raid5();
        let at = bench.unit(&[data(1, 0, 1)]);
        change(bench.block(at.block));
        let report = bench.scan();
        assert_eq!(report.end, at);
        (report.end_reason.kind(), report.end_reason.to_string())
    };
    let (end, text) = kind(|block| block.fill(0));
    assert_eq!(end, EndKind::EndOfLog);
    assert_eq!(
        text,
        "end of log: magic is 0x00000000 instead of 0x6433c509"
    );
    let (end, text) = kind(|block| block[16] -= 1);
    assert_eq!(end, EndKind::EndOfLog);
    assert_eq!(text, "end of log: sequence is 100 instead of 101");
    let (end, _) = kind(|block| block[24] ^= 8);
    assert_eq!(end, EndKind::EndOfLog);
    let (end, text) = kind(|block| block[4000] ^= 1);
    assert_eq!(end, EndKind::Torn);
    assert!(text.starts_with("torn unit: checksum is 0x"));
    let (end, text) = kind(|block| block[8] = 2);
    assert_eq!(end, EndKind::Corrupt);
    assert_eq!(text, "corrupt unit: version is 2 instead of 1");
    let (end, text) = kind(|block| {
        block[36] = 16;
        block[4..8].fill(0);
        let sum = crc(SEED, block);
        block[4..8].copy_from_slice(&sum.to_le_bytes());
    });
    assert_eq!(end, EndKind::Corrupt);
    assert_eq!(
        text,
        "corrupt unit: entry at byte 32 has the impossible size 16"
    );
}

/// What an administrator reads; the numbers are those of the blocks.
#[test]
fn every_end_says_what_was_found() {
    let ends = [
        (
            ScanEnd::BadPage {
                block: JournalBlock::new(7),
                expected: 1,
                found: 0xffff_ffff,
            },
            "torn unit: checksum of the page in block 7 is 0xffffffff instead of 0x00000001",
        ),
        (
            ScanEnd::BadLocation(LocationError::Row(DevSector::new(12))),
            "corrupt unit: a row at the impossible device sector 12",
        ),
        (
            ScanEnd::BeyondRing,
            "corrupt unit: it is larger than the rest of the journal",
        ),
        (ScanEnd::RingFull, "end of log: the journal was full"),
    ];
    for (end, text) in ends {
        assert_eq!(end.to_string(), text);
    }
}

#[test]
fn impossible_locations_end_the_scan() {
    let end = |level, disks, say| {
        let mut bench = Bench::new(level, disks, BLOCKS);
        let at = bench.unit(&[data(1, 0, 1), parity(1, 2), say]);
        let report = bench.scan();
        if report.end != at {
            return None;
        }
        assert!(bench.members.is_empty());
        assert_eq!(report.end_reason.kind(), EndKind::Corrupt);
        match report.end_reason {
            ScanEnd::BadLocation(error) => Some(error),
            other => panic!("{other:?}"),
        }
    };
    let last = ROWS * 3 * 8;
    let bad_data = |sector| Some(LocationError::Data(ArraySector::new(sector)));
    assert_eq!(end(5, 4, Say::DataAt(last - 8)), None);
    for sector in [last, last - 1, 4, u64::MAX - 7, u64::MAX] {
        assert_eq!(end(5, 4, Say::DataAt(sector)), bad_data(sector));
    }
    let bad_row = |sector| Some(LocationError::Row(DevSector::new(sector)));
    let last = ROWS * 8;
    assert_eq!(end(5, 4, Say::ParityAt(last - 8, false)), None);
    assert_eq!(end(5, 4, Say::FlushAt(last - 8)), None);
    for sector in [last, last - 1, 4, u64::MAX - 7, u64::MAX] {
        assert_eq!(end(5, 4, Say::ParityAt(sector, false)), bad_row(sector));
        assert_eq!(end(5, 4, Say::FlushAt(sector)), bad_row(sector));
    }
    let bad_parity = Some(LocationError::Parity(DevSector::new(8)));
    assert_eq!(end(5, 4, Say::ParityAt(8, true)), bad_parity);
    assert_eq!(end(6, 4, Say::ParityAt(8, false)), bad_parity);
    assert_eq!(
        LocationError::Data(ArraySector::new(4)).to_string(),
        "data at the impossible array sector 4"
    );
    assert_eq!(
        LocationError::Row(DevSector::new(4)).to_string(),
        "a row at the impossible device sector 4"
    );
    assert_eq!(
        LocationError::Parity(DevSector::new(8)).to_string(),
        "the wrong number of parity pages at device sector 8"
    );
}

#[test]
fn a_full_ring_ends_before_its_last_block() {
    let mut bench = Bench::new(5, 4, 16);
    // With the tail's 1: 15 of 16 blocks.
    for _ in 0..7 {
        bench.unit(&[data(1, 0, 1)]);
    }
    let report = bench.scan();
    assert_eq!(report.units, 8);
    assert_eq!(report.end, bench.head);
    assert_eq!(report.end_reason, ScanEnd::RingFull);
    assert_eq!(report.end_reason.kind(), EndKind::EndOfLog);
    assert_eq!(bench.ring.add(report.end.block, 1), bench.tail.block);

    // A unit that says that it goes on into the free block is not believed.
    let mut bench = Bench::new(5, 4, 16);
    for _ in 0..6 {
        bench.unit(&[data(1, 0, 1)]);
    }
    let at = bench.unit(&[data(1, 0, 1), data(2, 0, 1)]);
    let report = bench.scan();
    assert_eq!((report.end, report.units), (at, 7));
    assert_eq!(report.end_reason, ScanEnd::BeyondRing);
}

/// What lies behind a torn unit may verify, and must not come back when the log goes on: here the
/// new empty unit ends exactly where the old next unit begins, with the sequence before its.
#[test]
fn units_beyond_the_end_stay_dead() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(1, 0, 1), parity(1, 2)]);
    let torn = bench.unit(&[flush(1)]);
    bench.unit(&[data(1, 0, 3), parity(1, 4)]);
    bench.block(torn.block)[40] ^= 1;
    let report = bench.scan();
    assert_eq!(report.end, torn);
    bench.head = report.restart();
    bench.tail = report.restart();
    bench.unit(&[]);
    let after = bench.head;
    let report = bench.scan();
    assert_eq!((report.end, report.units), (after, 1));
    assert_eq!(bench.row(1), [1, 0, 0, 2]);
}

#[test]
fn what_cannot_be_read_is_not_the_end() {
    let mut bench = Bench::raid5();
    let at = bench.unit(&[data(1, 0, 1), parity(1, 2)]);
    for nth in 0..3 {
        let block = bench.ring.add(at.block, nth);
        bench.unreadable = Some(block.get());
        let error = "unreadable";
        assert_eq!(bench.try_scan(), Err(ScanError::Source { block, error }));
        assert!(bench.members.is_empty());
    }
}

#[test]
fn other_errors_end_the_scan_too() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(1, 0, 1), parity(1, 2)]);
    bench.sink_fails = true;
    let row = DevSector::new(8);
    let error = "no member";
    assert_eq!(bench.try_scan(), Err(ScanError::Sink { row, error }));
    bench.no_memory = true;
    assert_eq!(bench.try_scan(), Err(ScanError::Pending(())));
    // Again from the same tail, it works.
    (bench.sink_fails, bench.no_memory) = (false, false);
    bench.pending.clear();
    bench.scan();
    assert_eq!(bench.row(1), [1, 0, 0, 2]);
}

#[test]
fn scratch_memory_must_hold_a_row() {
    let bench = Bench::raid5();
    let mut table = Table(BTreeMap::new(), false);
    let (mut members, mut order) = (BTreeMap::new(), Vec::new());
    let mut sink = Rows {
        blocks: &bench.blocks,
        members: &mut members,
        order: &mut order,
        fails: false,
    };
    let scratch = Scratch {
        meta: &mut page(0),
        page: &mut page(0),
        entries: &mut [Entry::NONE; 3],
    };
    let mut source = Blocks(&bench.blocks, None);
    let journal = bench.journal();
    let report = scan(&journal, &mut source, &mut sink, &mut table, scratch, crc);
    assert_eq!(report, Err(ScanError::Scratch));
}

#[test]
fn the_tail_is_examined_before_it_is_trusted() {
    let mut bench = Bench::raid5();
    let tail = bench.tail;
    let check = |block: &Page, at| tail_check(block, at, SEED, crc);
    let valid = TailState::Valid { seq: 100 };
    assert_eq!(check(bench.block(tail.block), tail.block), valid);
    let elsewhere = check(bench.block(tail.block), JournalBlock::new(1));
    assert_eq!(
        elsewhere,
        TailState::Unusable(MetaError::WrongPosition {
            expected: 8,
            found: (BLOCKS - 3) * 8
        })
    );
    bench.block(tail.block)[5] ^= 1;
    let damaged = check(bench.block(tail.block), tail.block);
    assert!(matches!(
        damaged,
        TailState::Unusable(MetaError::BadChecksum { .. })
    ));
    assert!(matches!(
        check(&[0; BLOCK_SIZE], tail.block),
        TailState::Unusable(MetaError::BadMagic { found: 0 })
    ));
}

/// What mdadm writes at `--create`: an empty unit at position 0 with a random sequence.
#[test]
fn a_new_journal_is_an_empty_log() {
    let mut bench = Bench::raid5();
    bench.tail = Position {
        block: JournalBlock::new(0),
        seq: 0x1234_5678,
    };
    bench.head = bench.tail;
    bench.unit(&[]);
    let report = bench.scan();
    assert_eq!(report.units, 1);
    assert_eq!(
        report.to_string(),
        "1 units with 0 data pages and 0 parity rows: 0 rows replayed, 0 dropped as flushed, \
         0 data-only; ended at block 1, sequence 305419897: \
         end of log: magic is 0x55555555 instead of 0x6433c509"
    );
}
