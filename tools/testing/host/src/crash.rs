// SPDX-License-Identifier: GPL-2.0

//! The log and the recovery scan together, against devices that lose power at any step.
//!
//! A model remembers every entry that was placed, by unit. After a crash the members and the table
//! of pending rows must be exactly what all units before the end of the scan say, and the end must
//! not be before anything that was handed out as stable.

use crate::crc::crc32c;
use crate::device::{Dice, JournalDevice, Members, Page};
use crate::journal::format::{JournalBlock, MetaBuilder, BLOCK_SIZE};
use crate::journal::log::{FlushFor, FlushTicket, JournalCache, Log, PlaceError, Placed};
use crate::journal::recovery::{self, Entry, Journal, ScanReport, Scratch, TailState};
use crate::journal::ring::Ring;
use crate::journal::unit::{Outcome, Position, Unit, UnitRef};
use crate::raid::geometry::Geometry;
use crate::raid::units::{ArraySector, DevSector, Slot};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SEED: u32 = 0xfeed_beef;
const ROWS: u64 = 10;

/// A page whose content tells who wrote it, and that it is whole.
fn page_of(tag: u64) -> Box<Page> {
    let mut page = Box::new([0; BLOCK_SIZE]);
    for (nth, word) in page.chunks_mut(8).enumerate() {
        word.copy_from_slice(&(tag ^ (nth as u64) << 40).to_le_bytes());
    }
    page
}

fn tag_of(page: &Page) -> u64 {
    let tag = u64::from_le_bytes(page[..8].try_into().unwrap());
    assert!(page[..] == page_of(tag)[..], "a torn page was replayed");
    tag
}

/// The table of pending rows: the checksum stands for the page.
type Table = BTreeMap<u64, BTreeMap<u16, Entry>>;

struct PendingTable(Table);

impl recovery::Pending for PendingTable {
    type Error = ();

    fn insert(&mut self, row: DevSector, entry: Entry) -> Result<(), ()> {
        let row = self.0.entry(row.get()).or_default();
        row.insert(entry.slot.get(), entry);
        Ok(())
    }

    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize, ()> {
        let entries = self.0.remove(&row.get()).unwrap_or_default();
        for (place, entry) in out.iter_mut().zip(entries.values()) {
            *place = *entry;
        }
        Ok(entries.len())
    }

    fn remove(&mut self, row: DevSector) -> Result<bool, ()> {
        Ok(self.0.remove(&row.get()).is_some())
    }

    fn rows(&self) -> u64 {
        self.0.len() as u64
    }
}

impl recovery::Source for &JournalDevice {
    type Error = ();

    fn read(&mut self, block: JournalBlock, buf: &mut Page) -> Result<(), ()> {
        self.read_block(block, buf);
        Ok(())
    }
}

/// Writes rows to the members, and loses power after some of them.
struct MemberSink<'a> {
    journal: &'a JournalDevice,
    members: &'a mut Members,
    rows_left: usize,
}

impl recovery::Sink for MemberSink<'_> {
    type Error = ();

    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result<(), ()> {
        if self.rows_left == 0 {
            return Err(());
        }
        self.rows_left -= 1;
        let mut page = Box::new([0; BLOCK_SIZE]);
        for entry in entries {
            self.journal.read_block(entry.block, &mut page);
            assert_eq!(crc32c(SEED, &page[..]), entry.checksum);
            let id = self
                .members
                .submit((row.get(), entry.slot.get()), tag_of(&page));
            self.members.complete(id);
        }
        Ok(())
    }
}

/// What an entry in the log says, and the unit that it is in.
#[derive(Clone, Debug)]
struct Said {
    seq: u64,
    row: u64,
    data: Vec<(u16, u64)>,
    /// Empty without parity.
    parity: Vec<(u16, u64)>,
}

/// What units say taken together: what is on the members, and what is pending.
#[derive(Debug, PartialEq, Eq, Default)]
struct State {
    members: BTreeMap<(u64, u16), u64>,
    pending: BTreeMap<(u64, u16), u64>,
}

fn state_before(history: &[Said], end: u64) -> State {
    let mut state = State::default();
    for said in history.iter().filter(|said| said.seq < end) {
        for (slot, tag) in &said.data {
            state.pending.insert((said.row, *slot), *tag);
        }
        if !said.parity.is_empty() {
            let row = said.row;
            let (complete, rest) = core::mem::take(&mut state.pending)
                .into_iter()
                .partition(|((of, _), _)| *of == row);
            state.pending = rest;
            let complete: BTreeMap<(u64, u16), u64> = complete;
            state.members.extend(complete);
            let parity = said.parity.iter();
            state
                .members
                .extend(parity.map(|(slot, tag)| ((row, *slot), *tag)));
        }
    }
    state
}

/// A unit in the shell's hands.
#[derive(Default)]
struct Filling {
    entries: Vec<Put>,
    pages: Vec<Box<Page>>,
    /// Rows with parity, which go to the members when the unit is stable.
    complete: Vec<u64>,
}

enum Put {
    Data(ArraySector, u32),
    Parity(DevSector, u32, Option<u32>),
    Flush(Vec<DevSector>),
}

/// A row that the shell has in hand.
#[derive(Default)]
struct RowInHand {
    /// Units that hold entries of the row.
    units: Vec<UnitRef>,
    /// What must be written to the members.
    content: BTreeMap<u16, u64>,
    /// Parity is in the log: nothing may be added.
    busy: bool,
    /// The unit with the parity was handed out as stable.
    released: bool,
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    level: i32,
    disks: u32,
    blocks: u64,
    units: usize,
    cache: JournalCache,
    first_seq: u64,
    start: u64,
}

struct World {
    setup: Setup,
    geometry: Geometry,
    ring: Ring,
    journal: JournalDevice,
    members: Members,
    log: Log<Vec<Unit>>,
    superblock: Position,
    superblock_write: Option<Position>,
    history: Vec<Said>,
    /// The scan must not end before this sequence.
    must_end: u64,
    filling: BTreeMap<u64, Filling>,
    writing: Vec<(UnitRef, Vec<u64>)>,
    flushing: Vec<(FlushTicket, Vec<u64>)>,
    in_hand: BTreeMap<u64, RowInHand>,
    written_out: Vec<u64>,
    next_tag: u64,
    stats: Stats,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    crashes: u64,
    replayed: u64,
    data_only: u64,
    laps: u64,
    torn: u64,
    units: u64,
    full: u64,
}

impl World {
    fn new(setup: Setup) -> Self {
        let ring = Ring::new(setup.blocks).unwrap();
        let geometry = Geometry::new(setup.level, 2, setup.disks, 8).unwrap();
        let block = JournalBlock::new(setup.start % setup.blocks);
        let tail = Position {
            block,
            seq: setup.first_seq,
        };
        let volatile = setup.cache != JournalCache::None;
        let mut journal = JournalDevice::new(volatile);
        let mut page = Box::new([0; BLOCK_SIZE]);
        MetaBuilder::new(&mut page, tail.seq, tail.block).finish(SEED, crc32c);
        journal.durable.insert(tail.block.get(), page);
        let head = Position {
            block: ring.add(tail.block, 1),
            seq: tail.seq + 1,
        };
        Self {
            setup,
            geometry,
            ring,
            journal,
            members: Members::new(true),
            log: Log::new(
                vec![Unit::VACANT; setup.units],
                ring,
                tail,
                head,
                setup.cache,
            )
            .unwrap(),
            superblock: tail,
            superblock_write: None,
            history: Vec::new(),
            must_end: head.seq,
            filling: BTreeMap::new(),
            writing: Vec::new(),
            flushing: Vec::new(),
            in_hand: BTreeMap::new(),
            written_out: Vec::new(),
            next_tag: 1,
            stats: Stats::default(),
        }
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    /// Fills in what was placed: pages in their blocks, entries for the meta block.
    fn put(&mut self, placed: Placed, said: Said, flush: Vec<DevSector>) {
        if let Some(closed) = placed.closed {
            self.submit(closed);
        }
        let filling = self.filling.entry(placed.unit.seq()).or_default();
        assert_eq!(
            placed.opened,
            filling.entries.is_empty() && filling.pages.is_empty()
        );
        let extent = self.log.unit_extent(placed.unit).unwrap();
        let first = self.ring.add(extent.start, 1 + filling.pages.len() as u64);
        assert_eq!(placed.first_block, first);
        let row = DevSector::new(said.row);
        for (slot, tag) in &said.data {
            let page = page_of(*tag);
            let location = self.geometry.unmap(row, Slot::new(*slot)).unwrap();
            filling
                .entries
                .push(Put::Data(location, crc32c(SEED, &page[..])));
            filling.pages.push(page);
        }
        let parity: Vec<_> = said.parity.iter().map(|(_, tag)| page_of(*tag)).collect();
        let mut sums = parity.iter().map(|page| crc32c(SEED, &page[..]));
        if let Some(p) = sums.next() {
            filling.entries.push(Put::Parity(row, p, sums.next()));
            filling.complete.push(said.row);
        }
        drop(sums);
        filling.pages.extend(parity);
        if !flush.is_empty() {
            filling.entries.push(Put::Flush(flush));
        }
        if !said.data.is_empty() || !said.parity.is_empty() {
            self.history.push(said);
        }
    }

    /// Builds the meta block and starts the unit's write.
    fn submit(&mut self, unit: UnitRef) {
        let extent = self.log.unit_extent(unit).unwrap();
        let filling = self.filling.get(&extent.seq).unwrap();
        let mut meta_page = Box::new([0; BLOCK_SIZE]);
        let mut meta = MetaBuilder::new(&mut meta_page, extent.seq, extent.start);
        for entry in &filling.entries {
            match entry {
                Put::Data(location, sum) => meta.data(*location, *sum),
                Put::Parity(row, p, q) => meta.parity(*row, *p, *q),
                Put::Flush(rows) => meta.flush(rows.iter().copied()),
            }
            .expect("the log reserves what the builder needs");
        }
        meta.finish(SEED, crc32c);
        assert_eq!(extent.blocks as usize, 1 + filling.pages.len());
        let pages = core::iter::once(meta_page).chain(filling.pages.iter().cloned());
        let mut block = extent.start;
        let mut ids = Vec::new();
        for page in pages {
            ids.push(self.journal.submit(block.get(), page));
            block = self.ring.add(block, 1);
        }
        self.stats.laps += u64::from(block < extent.start);
        self.writing.push((unit, ids));
    }

    fn parity_slots(&self, row: u64) -> Vec<u16> {
        let place = self.geometry.placement(DevSector::new(row));
        let slots = core::iter::once(place.p).chain(place.q);
        slots.map(Slot::get).collect()
    }

    /// Puts a row's entries into the log: some data, and parity if `complete`.
    fn write_row(&mut self, row: u64, mask: u32, complete: bool) -> Result<(), PlaceError> {
        if self.in_hand.get(&row).is_some_and(|hand| hand.busy) {
            return Ok(());
        }
        let dev = DevSector::new(row);
        let cached = self.in_hand.contains_key(&row);
        let indexes = (0..self.geometry.data_disks()).filter(|i| mask >> i & 1 == 1);
        let mut slots: Vec<u16> = indexes
            .map(|index| self.geometry.data_slot(dev, index).get())
            .collect();
        if slots.is_empty() && !(cached && complete) {
            slots.push(self.geometry.data_slot(dev, 0).get());
        }
        let parity = if complete {
            self.parity_slots(row)
        } else {
            Vec::new()
        };
        if !cached || !complete {
            self.check_reserve(slots.len() + parity.len(), !complete)?;
        }
        let placed = self.log.place(slots.len() as u32, parity.len() as u32)?;
        let said = Said {
            seq: placed.unit.seq(),
            row,
            data: slots.into_iter().map(|slot| (slot, self.tag())).collect(),
            parity: parity.into_iter().map(|slot| (slot, self.tag())).collect(),
        };
        // A flush payload must not come after newer entries of its row.
        self.written_out.retain(|written| *written != row);
        let hand = self.in_hand.entry(row).or_default();
        hand.units.push(placed.unit);
        hand.content
            .extend(said.data.iter().chain(&said.parity).copied());
        hand.busy = complete;
        self.put(placed, said, Vec::new());
        Ok(())
    }

    /// The shell's reserve: every cached row can be completed, each in a unit of its own.
    fn check_reserve(&self, pages: usize, caching: bool) -> Result<(), PlaceError> {
        let cached = self.in_hand.values().filter(|hand| !hand.busy).count() + usize::from(caching);
        let largest = 1 + self.setup.disks as usize;
        // One more for the empty unit after recovery.
        if self.log.free() < (2 + pages + cached * largest) as u64 {
            return Err(PlaceError::NoSpace);
        }
        if self.log.spare_units() < 1 + cached {
            return Err(PlaceError::Busy);
        }
        Ok(())
    }

    fn write_flush_payload(&mut self) -> Result<(), PlaceError> {
        if self.written_out.is_empty() {
            return Ok(());
        }
        self.check_reserve(0, false)?;
        let placed = self.log.place_flush(self.written_out.len())?;
        let rows = core::mem::take(&mut self.written_out);
        let said = Said {
            seq: placed.unit.seq(),
            row: 0,
            data: Vec::new(),
            parity: Vec::new(),
        };
        self.put(placed, said, rows.into_iter().map(DevSector::new).collect());
        Ok(())
    }

    fn close(&mut self) {
        if let Some(unit) = self.log.close_open() {
            self.submit(unit);
        }
    }

    fn complete_write(&mut self, pick: usize, ok: bool) {
        if self.writing.is_empty() {
            return;
        }
        let pick = pick % self.writing.len();
        let (unit, ids) = self.writing.swap_remove(pick);
        if ok {
            for id in ids {
                self.journal.complete(id);
            }
        }
        self.log.written(unit, ok).unwrap();
    }

    fn start_flush(&mut self, want: FlushFor) {
        if let Some(ticket) = self.log.next_flush(want) {
            self.flushing.push((ticket, self.journal.start_flush()));
        }
    }

    fn complete_flush(&mut self, pick: usize, ok: bool) {
        if self.flushing.is_empty() {
            return;
        }
        let pick = pick % self.flushing.len();
        let (ticket, covered) = self.flushing.swap_remove(pick);
        if ok {
            self.journal.finish_flush(&covered);
        }
        self.log.flushed(ticket, ok);
    }

    fn pop(&mut self) {
        while let Some((unit, outcome)) = self.log.next_stable() {
            let filling = self.filling.remove(&unit.seq()).unwrap();
            match outcome {
                Outcome::Stable => {
                    assert_eq!(unit.seq(), self.must_end.max(unit.seq()));
                    self.must_end = unit.seq() + 1;
                    self.stats.units += 1;
                    for row in filling.complete {
                        self.in_hand.get_mut(&row).unwrap().released = true;
                    }
                }
                Outcome::Failed => assert!(self.log.failed()),
            }
        }
    }

    /// Writes a released row to the members and tells the log.
    fn finish_row(&mut self, pick: usize) {
        let released = self.in_hand.iter().filter(|(_, hand)| hand.released);
        let rows: Vec<u64> = released.map(|(row, _)| *row).collect();
        let Some(row) = rows.get(pick % rows.len().max(1)).copied() else {
            return;
        };
        let hand = self.in_hand.remove(&row).unwrap();
        for (slot, tag) in hand.content {
            let id = self.members.submit((row, slot), tag);
            self.members.complete(id);
        }
        if hand.units.len() > 1 {
            self.written_out.push(row);
        }
        for unit in hand.units {
            assert!(self.log.rows_pending(unit).unwrap() > 0);
            self.log.row_done(unit, 1).unwrap();
        }
    }

    fn start_tail(&mut self) {
        if self.superblock_write.is_none() {
            if let Some(position) = self.log.tail_candidate() {
                let covered = self.members.start_flush();
                self.members.finish_flush(&covered);
                self.superblock_write = Some(position);
            }
        }
    }

    fn finish_tail(&mut self) {
        if let Some(position) = self.superblock_write.take() {
            let free = self.log.free();
            self.superblock = position;
            let freed = self.log.advance_tail(position).unwrap();
            let blocks = freed.first.1 + freed.second.map_or(0, |(_, blocks)| blocks);
            assert_eq!(self.log.free(), free + blocks);
        }
    }

    /// Does everything that is under way, until nothing is left.
    fn drain(&mut self) {
        let cached: Vec<u64> = self.in_hand.keys().copied().collect();
        for row in cached {
            self.write_row(row, 0, true).expect("room is reserved");
        }
        self.settle();
        assert!(self.log.is_idle() && self.in_hand.is_empty());
    }

    /// Does what needs no room in the log, until nothing is left.
    fn settle(&mut self) {
        self.close();
        while !self.writing.is_empty() {
            self.complete_write(0, true);
        }
        self.start_flush(FlushFor::Everything);
        while !self.flushing.is_empty() {
            self.complete_flush(0, true);
            self.start_flush(FlushFor::Everything);
        }
        self.pop();
        while self.in_hand.values().any(|hand| hand.released) {
            self.finish_row(0);
        }
        self.finish_tail();
        self.start_tail();
        self.finish_tail();
    }

    fn on_full(&mut self, result: Result<(), PlaceError>) {
        match result {
            Ok(()) => {}
            Err(PlaceError::NoSpace | PlaceError::Busy) => {
                self.stats.full += 1;
                self.drain();
            }
            Err(PlaceError::Failed) => assert!(self.log.failed()),
            Err(PlaceError::TooLarge) => panic!("a row must fit"),
        }
    }

    /// Scans the log of crashed devices; the power may go again before it is done.
    fn scan(
        &self,
        tail: Position,
        journal: &JournalDevice,
        members: &mut Members,
        rows_left: usize,
    ) -> Option<(ScanReport, Table)> {
        let mut meta = Box::new([0; BLOCK_SIZE]);
        journal.read_block(tail.block, &mut meta);
        let found = recovery::tail_check(&meta, tail.block, SEED, crc32c);
        assert_eq!(found, TailState::Valid { seq: tail.seq });
        let log = Journal {
            geometry: self.geometry,
            dev_sectors: ROWS * 8,
            ring: self.ring,
            tail,
            seed: SEED,
        };
        let mut table = PendingTable(BTreeMap::new());
        let mut sink = MemberSink {
            journal,
            members,
            rows_left,
        };
        let report = recovery::scan(
            &log,
            &mut &*journal,
            &mut sink,
            &mut table,
            Scratch {
                meta: &mut meta,
                page: &mut Box::new([0; BLOCK_SIZE]),
                entries: &mut vec![Entry::NONE; self.setup.disks as usize],
            },
            crc32c,
        );
        report.ok().map(|report| (report, table.0))
    }

    /// Loses power, recovers (perhaps losing power again), and compares with the model.
    fn crash(&self, seed: u64) -> (ScanReport, Table, Position, JournalDevice, Members) {
        let mut dice = Dice::new(seed);
        let mut journal = self.journal.clone();
        let mut members = self.members.clone();
        journal.power_cut(&mut dice);
        members.power_cut(&mut dice);
        let tail = match self.superblock_write {
            Some(position) if dice.roll(2) == 0 => position,
            Some(_) | None => self.superblock,
        };
        for _ in 0..dice.roll(3) {
            let rows_left = dice.roll(4);
            if self.scan(tail, &journal, &mut members, rows_left).is_none() {
                members.power_cut(&mut dice);
            }
        }
        let (report, table) = self.scan(tail, &journal, &mut members, usize::MAX).unwrap();
        self.judge(&report, &table, &journal, &members);
        (report, table, tail, journal, members)
    }

    fn judge(
        &self,
        report: &ScanReport,
        table: &Table,
        journal: &JournalDevice,
        members: &Members,
    ) {
        assert!(
            report.end.seq >= self.must_end,
            "stable up to {}, but {report}",
            self.must_end
        );
        assert!(report.end.seq <= self.log.head().seq + 1);
        let mut found = State::default();
        let expected = state_before(&self.history, report.end.seq);
        for key in expected.members.keys() {
            if let Some(tag) = members.read(*key) {
                found.members.insert(*key, *tag);
            }
        }
        let mut page = Box::new([0; BLOCK_SIZE]);
        for (row, entries) in table {
            for (slot, entry) in entries {
                journal.read_block(entry.block, &mut page);
                found.pending.insert((*row, *slot), tag_of(&page));
            }
        }
        assert_eq!(found, expected, "{report}");
        assert_eq!(report.data_only_rows, table.len() as u64);
    }

    /// Loses power for good, and goes on after recovery.
    fn restart(&mut self, seed: u64) {
        let (report, table, tail, journal, mut members) = self.crash(seed);
        let covered = members.start_flush();
        members.finish_flush(&covered);
        self.stats.crashes += 1;
        self.stats.replayed += report.replayed_rows;
        self.stats.data_only += report.data_only_rows;
        self.stats.torn += u64::from(report.end_reason.kind() == recovery::EndKind::Torn);
        let pending = state_before(&self.history, report.end.seq).pending;
        self.history.retain(|said| said.seq < report.end.seq);
        self.journal = journal;
        self.members = members;
        self.superblock = tail;
        self.superblock_write = None;
        self.must_end = report.end.seq;
        self.filling.clear();
        self.writing.clear();
        self.flushing.clear();
        self.in_hand.clear();
        self.written_out.clear();
        let restart = report.restart();
        if table.is_empty() {
            self.start_log(tail, restart);
            let mut page = Box::new([0; BLOCK_SIZE]);
            MetaBuilder::new(&mut page, restart.seq, restart.block).finish(SEED, crc32c);
            let id = self.journal.submit(restart.block.get(), page);
            self.crash(seed ^ 1);
            self.journal.complete(id);
            let covered = self.journal.start_flush();
            self.journal.finish_flush(&covered);
            // Until here a crash finds the old log; from here on, the new one.
            self.superblock_write = Some(restart);
            self.crash(seed ^ 2);
            self.superblock_write = None;
            self.superblock = restart;
            let head = Position {
                block: self.ring.add(restart.block, 1),
                seq: restart.seq + 1,
            };
            self.start_log(restart, head);
        } else {
            self.start_log(tail, restart);
            self.rewrite_pending(pending, seed, table.keys().copied().collect());
            assert_eq!(self.log.tail_candidate(), Some(restart));
            self.start_tail();
            self.crash(seed ^ 2);
            self.finish_tail();
        }
        self.must_end = self.log.head().seq;
        self.crash(seed ^ 3);
    }

    fn start_log(&mut self, tail: Position, head: Position) {
        let units = vec![Unit::VACANT; self.setup.units];
        self.log = Log::new(units, self.ring, tail, head, self.setup.cache).unwrap();
    }

    /// Puts an empty unit where the log goes on, and the data-only rows after it.
    fn rewrite_pending(
        &mut self,
        pending: BTreeMap<(u64, u16), u64>,
        seed: u64,
        rows: BTreeSet<u64>,
    ) {
        let old_end = self.must_end;
        let placed = self.log.place_empty().expect("room");
        let nothing = Said {
            seq: placed.unit.seq(),
            row: 0,
            data: Vec::new(),
            parity: Vec::new(),
        };
        self.put(placed, nothing, Vec::new());
        self.submit(placed.unit);
        for row in rows {
            let of_row = pending.iter().filter(|((of, _), _)| *of == row);
            let data: Vec<(u16, u64)> = of_row.map(|((_, slot), tag)| (*slot, *tag)).collect();
            let placed = self.log.place(data.len() as u32, 0).expect("room");
            let hand = self.in_hand.entry(row).or_default();
            hand.units.push(placed.unit);
            hand.content.extend(data.iter().copied());
            let said = Said {
                seq: placed.unit.seq(),
                row,
                data,
                parity: Vec::new(),
            };
            self.put(placed, said, Vec::new());
        }
        self.close();
        self.crash(seed ^ 1);
        while !self.writing.is_empty() {
            self.complete_write(seed as usize, true);
        }
        self.start_flush(FlushFor::Everything);
        while !self.flushing.is_empty() {
            self.complete_flush(0, true);
        }
        self.pop();
        // The units are stable, but the superblock still names the old tail.
        self.must_end = old_end;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write { row, mask, cache } => {
                let result = self.write_row(row % ROWS * 8, mask, !cache);
                self.on_full(result);
            }
            Action::WriteOut { pick, mask } => {
                let rows: Vec<u64> = self.in_hand.keys().copied().collect();
                if let Some(row) = rows.get(pick % rows.len().max(1)) {
                    let result = self.write_row(*row, mask, true);
                    self.on_full(result);
                }
            }
            Action::FlushPayload => {
                let result = self.write_flush_payload();
                self.on_full(result);
            }
            Action::Close => self.close(),
            Action::WriteDone(pick) => self.complete_write(pick, true),
            Action::WriteFails(pick) => self.complete_write(pick, false),
            Action::Flush(want) => self.start_flush(want),
            Action::FlushDone(pick) => self.complete_flush(pick, true),
            Action::FlushFails(pick) => self.complete_flush(pick, false),
            Action::Pop => self.pop(),
            Action::RowDone(pick) => self.finish_row(pick),
            Action::TailStart => self.start_tail(),
            Action::TailDone => self.finish_tail(),
            Action::LookAtCrash(seed) => {
                self.crash(seed);
            }
            Action::Crash(seed) => self.restart(seed),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Write {
        row: u64,
        mask: u32,
        cache: bool,
    },
    WriteOut {
        pick: usize,
        mask: u32,
    },
    FlushPayload,
    Close,
    WriteDone(usize),
    WriteFails(usize),
    Flush(FlushFor),
    FlushDone(usize),
    FlushFails(usize),
    Pop,
    RowDone(usize),
    TailStart,
    TailDone,
    /// A crash that is only looked at: the run goes on as if it had not been.
    LookAtCrash(u64),
    Crash(u64),
}

fn setup() -> impl Strategy<Value = Setup> {
    let cache = prop_oneof![
        Just(JournalCache::None),
        (0..4_u8).prop_map(|max_flushes| JournalCache::Volatile { max_flushes }),
    ];
    let seq = prop_oneof![0..1_u64 << 32, Just(7)];
    (
        prop_oneof![(Just(5), 2..6_u32), (Just(6), 4..7_u32)],
        prop_oneof![32..48_u64, 48..160_u64],
        prop_oneof![3..8_usize, 16..64_usize],
        cache,
        seq,
        any::<u64>(),
    )
        .prop_map(
            |((level, disks), blocks, units, cache, first_seq, start)| Setup {
                level,
                disks,
                blocks,
                units,
                cache,
                first_seq,
                start,
            },
        )
}

fn action(write_back: bool) -> impl Strategy<Value = Action> {
    let pick = || 0..8_usize;
    prop_oneof![
        12 => (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(move |(row, mask, cache)| {
            Action::Write { row, mask, cache: cache && write_back }
        }),
        5 => (pick(), any::<u32>()).prop_map(|(pick, mask)| Action::WriteOut { pick, mask }),
        2 => Just(Action::FlushPayload),
        5 => Just(Action::Close),
        8 => pick().prop_map(Action::WriteDone),
        4 => Just(Action::Flush(FlushFor::Rows)),
        1 => Just(Action::Flush(FlushFor::Everything)),
        4 => pick().prop_map(Action::FlushDone),
        6 => Just(Action::Pop),
        8 => pick().prop_map(Action::RowDone),
        3 => Just(Action::TailStart),
        3 => Just(Action::TailDone),
        12 => any::<u64>().prop_map(Action::LookAtCrash),
        1 => any::<u64>().prop_map(Action::Crash),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    any::<bool>().prop_flat_map(|write_back| prop::collection::vec(action(write_back), 1..250))
}

fn play(setup: Setup, actions: &[Action]) -> World {
    let mut world = World::new(setup);
    for action in actions {
        world.act(*action);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever was stable is found, whatever is replayed is right, and the log can go on.
    #[test]
    fn nothing_stable_is_lost((setup, actions) in (setup(), actions()), seed: u64) {
        let mut world = play(setup, &actions);
        world.crash(seed);
        world.drain();
        world.crash(seed);
        world.restart(seed);
        world.drain();
        let whole = state_before(&world.history, u64::MAX);
        prop_assert!(whole.pending.is_empty());
        for (key, tag) in &whole.members {
            prop_assert_eq!(world.members.read(*key), Some(tag));
        }
    }

    /// After a failed write or flush nothing later counts as stable, and what did before is found.
    #[test]
    fn failure_is_final(
        (setup, actions) in (setup(), actions()),
        failure in prop_oneof![
            (0..8_usize).prop_map(Action::WriteFails),
            (0..8_usize).prop_map(Action::FlushFails),
        ],
        later in actions(),
        seed: u64,
    ) {
        let mut world = play(setup, &actions);
        world.act(failure);
        if !world.log.failed() {
            return Ok(());
        }
        world.pop();
        let must_end = world.must_end;
        let ordered_writes = matches!(failure, Action::WriteFails(_));
        for action in later {
            match action {
                // With the log failed, recovery is all that is left.
                Action::Crash(seed) => {
                    world.crash(seed);
                }
                Action::WriteOut { .. } | Action::Write { .. } | Action::FlushPayload => {
                    prop_assert_eq!(world.log.place(1, 1), Err(PlaceError::Failed));
                    prop_assert_eq!(world.log.place_flush(1), Err(PlaceError::Failed));
                    prop_assert_eq!(world.log.place_empty(), Err(PlaceError::Failed));
                }
                action => world.act(action),
            }
            prop_assert!(ordered_writes || world.must_end == must_end);
        }
        world.crash(seed);
        // All units come out, so that the shell can fail their rows.
        world.close();
        while !world.writing.is_empty() {
            world.complete_write(0, true);
        }
        while !world.flushing.is_empty() {
            world.complete_flush(0, true);
        }
        world.start_flush(FlushFor::Everything);
        while !world.flushing.is_empty() {
            world.complete_flush(0, true);
        }
        world.pop();
        prop_assert!(world.filling.is_empty());
        world.crash(seed);
    }
}

/// The properties mean something only if the runs get somewhere.
#[test]
fn runs_get_somewhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut sum = Stats::default();
    for _ in 0..100 {
        let setup = setup().new_tree(&mut runner).unwrap().current();
        let actions = actions().new_tree(&mut runner).unwrap().current();
        let stats = play(setup, &actions).stats;
        sum.crashes += stats.crashes;
        sum.replayed += stats.replayed;
        sum.data_only += stats.data_only;
        sum.laps += stats.laps;
        sum.torn += stats.torn;
        sum.units += stats.units;
        sum.full += stats.full;
    }
    let enough = sum.crashes > 100 && sum.replayed > 150 && sum.data_only > 50;
    let enough = enough && sum.laps > 20 && sum.torn > 10 && sum.units > 300 && sum.full > 50;
    assert!(enough, "{sum:?}");
}
