// SPDX-License-Identifier: GPL-2.0

//! A shell around the log: it fills units, does I/O on devices that lose power, and recovers.

use crate::crc::crc32c;
use crate::device::{Dice, JournalDevice, Members, Page};
use crate::journal::format::{JournalBlock, MetaBuilder, BLOCK_SIZE};
use crate::journal::log::{FlushFor, FlushTicket, JournalCache, Log, PlaceError, Placed};
use crate::journal::recovery::{self, Entry, Journal, ScanReport, Scratch, TailState};
use crate::journal::ring::Ring;
use crate::journal::tail::{FreedTail, NewTail};
use crate::journal::unit::{Outcome, Position, Unit, UnitRef};
use crate::model::{page_of, state_before, tag_of};
use crate::model::{MemberSink, PendingTable, Said, State, Table, ROWS, SEED};
use crate::raid::geometry::Geometry;
use crate::raid::units::{ArraySector, DevSector, Slot};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
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
    Discarded,
    /// A crash that is only looked at: the run goes on as if it had not been.
    LookAtCrash(u64),
    Crash(u64),
}

/// A unit in the shell's hands.
#[derive(Default)]
pub(crate) struct Filling {
    entries: Vec<Put>,
    pages: Vec<Box<Page>>,
    /// Rows with parity, which go to the members when the unit is stable.
    complete: Vec<u64>,
}

pub(crate) enum Put {
    Data(ArraySector, u32),
    Parity(DevSector, u32, Option<u32>),
    Flush(Vec<DevSector>),
}

/// A row that the shell has in hand.
#[derive(Default)]
pub(crate) struct RowInHand {
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
pub(crate) struct Setup {
    pub(crate) level: i32,
    pub(crate) disks: u32,
    pub(crate) blocks: u64,
    pub(crate) units: usize,
    pub(crate) cache: JournalCache,
    pub(crate) first_seq: u64,
    pub(crate) start: u64,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) geometry: Geometry,
    pub(crate) ring: Ring,
    pub(crate) journal: JournalDevice,
    pub(crate) members: Members,
    pub(crate) log: Log<Vec<Unit>>,
    pub(crate) superblock: Position,
    pub(crate) superblock_write: Option<Position>,
    /// The superblock names it; the space before it is not free yet.
    pub(crate) discarding: Option<FreedTail>,
    pub(crate) moving: Option<NewTail>,
    pub(crate) history: Vec<Said>,
    /// The scan must not end before this sequence.
    pub(crate) must_end: u64,
    pub(crate) filling: BTreeMap<u64, Filling>,
    pub(crate) writing: Vec<(UnitRef, Vec<u64>)>,
    pub(crate) flushing: Vec<(FlushTicket, Vec<u64>)>,
    pub(crate) in_hand: BTreeMap<u64, RowInHand>,
    pub(crate) written_out: Vec<u64>,
    pub(crate) next_tag: u64,
    pub(crate) stats: Stats,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) crashes: u64,
    pub(crate) replayed: u64,
    pub(crate) data_only: u64,
    pub(crate) laps: u64,
    pub(crate) torn: u64,
    pub(crate) units: u64,
    pub(crate) full: u64,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
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
            discarding: None,
            moving: None,
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

    pub(crate) fn close(&mut self) {
        if let Some(unit) = self.log.close_open() {
            self.submit(unit);
        }
    }

    pub(crate) fn complete_write(&mut self, pick: usize, ok: bool) {
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

    pub(crate) fn start_flush(&mut self, want: FlushFor) {
        if let Some(ticket) = self.log.next_flush(want) {
            self.flushing.push((ticket, self.journal.start_flush()));
        }
    }

    pub(crate) fn complete_flush(&mut self, pick: usize, ok: bool) {
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

    pub(crate) fn pop(&mut self) {
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
        if self.superblock_write.is_none() && self.discarding.is_none() {
            if let Some(begun) = self.log.move_tail() {
                let covered = self.members.start_flush();
                self.members.finish_flush(&covered);
                let tail = begun.members_flushed();
                self.superblock_write = Some(tail.position());
                self.moving = Some(tail);
            }
        }
    }

    fn finish_tail(&mut self) {
        if let Some(position) = self.superblock_write.take() {
            self.superblock = position;
            let tail = self.moving.take().unwrap();
            self.discarding = Some(tail.superblock_written(&self.log).unwrap());
        }
    }

    /// Discards what the new tail frees, and only then gives it to new units.
    fn finish_discard(&mut self) {
        if let Some(freed) = self.discarding.take() {
            let free = self.log.free();
            let extents = freed.extents();
            let mut blocks = 0;
            for (start, n) in [Some(extents.first), extents.second].into_iter().flatten() {
                blocks += n;
                for block in start.get()..start.get() + n {
                    self.journal.discard(block);
                }
            }
            freed.discarded(&mut self.log).unwrap();
            assert_eq!(self.log.free(), free + blocks);
        }
    }

    /// Does everything that is under way, until nothing is left.
    pub(crate) fn drain(&mut self) {
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
        self.finish_discard();
        self.start_tail();
        self.finish_tail();
        self.finish_discard();
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
    pub(crate) fn crash(&self, seed: u64) -> (ScanReport, Table, Position, JournalDevice, Members) {
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
    pub(crate) fn restart(&mut self, seed: u64) {
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
        self.discarding = None;
        self.moving = None;
        self.must_end = report.end.seq;
        self.filling.clear();
        self.writing.clear();
        self.flushing.clear();
        self.in_hand.clear();
        self.written_out.clear();
        let (mut report, restart) = (report, report.restart());
        self.start_log(tail, restart);
        assert_eq!(report.begin().is_none(), !table.is_empty());
        for row in table.keys() {
            let of_row = pending.iter().filter(|((of, _), _)| of == row);
            let data = of_row.map(|((_, slot), tag)| (*slot, *tag)).collect();
            self.finish_data_only(&mut report, tail, *row, data, seed);
        }
        let covered = self.members.start_flush();
        self.members.finish_flush(&covered);
        let restart = report.restart();
        let flushed = report.begin().expect("all is finished").members_flushed();
        assert_eq!(flushed.unit(), restart);
        self.start_log(tail, restart);
        let mut page = Box::new([0; BLOCK_SIZE]);
        MetaBuilder::new(&mut page, restart.seq, restart.block).finish(SEED, crc32c);
        let id = self.journal.submit(restart.block.get(), page);
        self.crash(seed ^ 1);
        self.journal.complete(id);
        self.flush_journal();
        // Until here a crash finds the old log; from here on, the new one.
        self.superblock_write = Some(restart);
        self.crash(seed ^ 2);
        self.superblock_write = None;
        self.superblock = restart;
        let begun = flushed.unit_written(self.ring);
        self.start_log(begun.tail, begun.head);
        self.must_end = self.log.head().seq;
        self.crash(seed ^ 3);
    }

    fn flush_journal(&mut self) {
        let covered = self.journal.start_flush();
        self.journal.finish_flush(&covered);
    }

    /// Adds a data-only row's parity to the end of the old log, and writes the row to the members.
    fn finish_data_only(
        &mut self,
        report: &mut ScanReport,
        tail: Position,
        row: u64,
        data: Vec<(u16, u64)>,
        seed: u64,
    ) {
        let slots = self.parity_slots(row);
        let longer = report.extend(self.ring, tail, slots.len() as u64);
        let longer = longer.expect("room was reserved when it was cached");
        let next = longer.next().get();
        let id = self.journal.submit(next, Box::new([0; BLOCK_SIZE]));
        self.crash(seed ^ 4);
        self.journal.complete(id);
        self.flush_journal();
        let wiped = longer.next_wiped();
        let unit = wiped.unit();
        let parity: Vec<(u16, u64)> = slots.into_iter().map(|slot| (slot, self.tag())).collect();
        let pages: Vec<_> = parity.iter().map(|(_, tag)| page_of(*tag)).collect();
        let mut sums = pages.iter().map(|page| crc32c(SEED, &page[..]));
        let mut meta_page = Box::new([0; BLOCK_SIZE]);
        let mut meta = MetaBuilder::new(&mut meta_page, unit.seq, unit.block);
        meta.parity(DevSector::new(row), sums.next().unwrap(), sums.next())
            .unwrap();
        meta.finish(SEED, crc32c);
        let mut ids = Vec::new();
        for (nth, page) in core::iter::once(meta_page).chain(pages).enumerate() {
            let block = self.ring.add(unit.block, nth as u64);
            ids.push(self.journal.submit(block.get(), page));
        }
        self.history.push(Said {
            seq: unit.seq,
            row,
            data: Vec::new(),
            parity: parity.clone(),
        });
        self.crash(seed ^ 5);
        for id in ids {
            self.journal.complete(id);
        }
        self.flush_journal();
        wiped.unit_written(report);
        self.must_end = report.end.seq;
        for (slot, tag) in data.into_iter().chain(parity) {
            let id = self.members.submit((row, slot), tag);
            self.members.complete(id);
            self.crash(seed ^ 6);
        }
        report.row_finished();
    }

    fn start_log(&mut self, tail: Position, head: Position) {
        let units = vec![Unit::VACANT; self.setup.units];
        self.log = Log::new(units, self.ring, tail, head, self.setup.cache).unwrap();
    }

    pub(crate) fn act(&mut self, action: Action) {
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
            Action::Discarded => self.finish_discard(),
            Action::LookAtCrash(seed) => {
                self.crash(seed);
            }
            Action::Crash(seed) => self.restart(seed),
        }
    }
}

pub(crate) fn play(setup: Setup, actions: &[Action]) -> World {
    let mut world = World::new(setup);
    for action in actions {
        world.act(*action);
    }
    world
}
