// SPDX-License-Identifier: GPL-2.0

//! The journal's shell, after `rust/engine/journal.rs`: units are filled, written and flushed, and
//! rows are passed on when the log says so.

use crate::block::{block_of, crc32c, Block, Page, SEED};
use crate::journal::format::{MetaBuilder, BLOCK_SIZE};
use crate::journal::log::{FlushFor, FlushTicket, JournalCache, Log, PlaceError, Placed, WaitFor};
use crate::journal::ring::Ring;
use crate::journal::unit::{Outcome, Position, Unit, UnitRef};
use crate::raid::geometry::Geometry;
use crate::raid::mask::RowMask;
use crate::raid::stripe::Event;
use crate::raid::units::{DevSector, Slot};
use crate::setup::{Bug, Setup};
use crate::story::{judge, tell};
use crate::stripe::{rows_of, Carry};
use crate::world::World;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Rows of stripes.
pub(crate) type Rows = Vec<(usize, RowMask)>;

/// A unit in the shell's hands.
pub(crate) struct UnitIo {
    unit: UnitRef,
    meta: Box<[u8; BLOCK_SIZE]>,
    used: usize,
    pages: Vec<Block>,
    /// Where the pages are in memory: stripe, slot and row.
    refs: Vec<(usize, usize, u32, Page)>,
    rows: Rows,
    /// Rows whose writes may end when the unit is ordered, and what was written of them: write and
    /// sector of the array.
    early: Rows,
    early_data: Vec<(u32, u64)>,
    /// The device's names for its writes.
    pub(crate) disk: Vec<u64>,
    ok: bool,
}

/// Rows of a unit whose fate is known.
pub(crate) struct Known {
    seq: u64,
    rows: Rows,
    ok: bool,
    /// They are ordered, and perhaps not stable.
    early: bool,
}

/// The journal.
pub(crate) struct Journal {
    pub(crate) log: Log<Vec<Unit>>,
    pub(crate) open: Option<UnitIo>,
    pub(crate) closed: Vec<UnitIo>,
    pub(crate) writing: Vec<UnitIo>,
    pub(crate) flushes: Vec<(FlushTicket, u64)>,
    /// Rows of units that were submitted, by sequence.
    rows: BTreeMap<u64, Rows>,
    /// Those that may end early, until somebody takes them.
    early: BTreeMap<u64, Rows>,
    early_data: BTreeMap<u64, Vec<(u32, u64)>>,
    /// Units that were handed out as ordered, and whose early rows nobody took for that yet.
    pub(crate) ordered: Vec<u64>,
    /// Rows whose fate is known, to be passed on.
    pub(crate) known: Vec<Known>,
    /// The log may have units to hand out.
    pub(crate) pop_due: bool,
    /// It may have ordered ones.
    pub(crate) ordered_due: bool,
    /// There may be room that was not there before.
    pub(crate) room: bool,
    /// The empty unit with which an idle log is closed.
    pub(crate) closing: Option<(UnitRef, u64)>,
}

impl Journal {
    pub(crate) fn new(
        c: &Setup,
        geo: Geometry,
        ring: Ring,
        tail: Position,
        head: Position,
    ) -> Self {
        let units = vec![Unit::VACANT; c.units];
        let mut log = Log::new(units, ring, tail, head, c.cache).expect("a valid log");
        log.set_row(geo.data_disks(), geo.parity_disks());
        Self {
            log,
            open: None,
            closed: Vec::new(),
            writing: Vec::new(),
            flushes: Vec::new(),
            rows: BTreeMap::new(),
            early: BTreeMap::new(),
            early_data: BTreeMap::new(),
            ordered: Vec::new(),
            known: Vec::new(),
            pop_due: false,
            ordered_due: false,
            room: false,
            closing: None,
        }
    }
}

impl World {
    /// Appends the next row of those that a handler has to append; false if there is none.
    pub(crate) fn append_next(&mut self, i: usize, carry: &mut Carry) -> bool {
        let Some(row) = carry.append.lowest() else {
            return false;
        };
        let rows = RowMask::single(row);
        carry.append.remove(rows);
        let placed = if self.journal_faulty {
            Err(PlaceError::Failed)
        } else {
            self.append_row(i, carry, row)
        };
        match placed {
            Ok(units) => self.stripes[i].units[row as usize].extend(units),
            Err(why @ (PlaceError::NoSpace | PlaceError::Busy)) => {
                tell!(
                    self,
                    "stripe {i} row {row}: no room in the journal ({why:?})"
                );
                self.stats.starved += 1;
                self.stripes[i].journal_wait.insert(rows);
            }
            Err(why @ (PlaceError::TooLarge | PlaceError::Failed)) => {
                judge!(
                    self,
                    self.journal_faulty,
                    "a row cannot be placed",
                    "{why:?}"
                );
                self.event(i, Event::JournalDone { rows, ok: false });
            }
        }
        if carry.append.is_empty() && self.stripes[i].journal_wait.any() {
            self.commit();
        }
        true
    }

    fn append_row(
        &mut self,
        i: usize,
        carry: &Carry,
        row: u32,
    ) -> Result<Vec<UnitRef>, PlaceError> {
        let s = &self.stripes[i];
        let written: Vec<usize> = (0..s.strips.len())
            .filter(|t| carry.tasks[*t].written.has(row))
            .collect();
        let (parity, data): (Vec<_>, Vec<_>) =
            written.into_iter().partition(|t| s.st.is_parity(*t));
        let counts = (data.len() as u32, parity.len() as u32);
        if carry.out.has(row) {
            let placed = self.journal.log.place_parity(counts.1);
            self.stats.written_out += 1;
            self.promised(i, row, &placed);
            let placed = placed?;
            self.follow(&placed);
            if !parity.is_empty() {
                self.enter_parity(i, row, &parity);
            }
            self.note_row(i, row);
            let seq = placed.unit.seq();
            tell!(self, "stripe {i} row {row}: parity in unit {seq}");
            return Ok(Vec::new());
        }
        if parity.is_empty() {
            return self.append_data(i, carry.fua.has(row), row, &data);
        }
        if self.bug != Some(Bug::SplitRow) {
            let placed = self.journal.log.place(counts.0, counts.1)?;
            self.follow(&placed);
            self.enter(i, row, &data);
            self.enter_parity(i, row, &parity);
            self.note_row(i, row);
            tell!(self, "stripe {i} row {row}: in unit {}", placed.unit.seq());
            return Ok(vec![placed.unit]);
        }
        if self.journal.log.free() < u64::from(counts.0 + counts.1) + 2 {
            return Err(PlaceError::NoSpace);
        }
        if self.journal.log.spare_units() < 2 {
            return Err(PlaceError::Busy);
        }
        let first = self.journal.log.place(counts.0, 0)?;
        self.follow(&first);
        self.enter(i, row, &data);
        let second = self.journal.log.place(0, counts.1)?;
        self.follow(&second);
        self.enter_parity(i, row, &parity);
        self.note_row(i, row);
        let (a, b) = (first.unit.seq(), second.unit.seq());
        tell!(
            self,
            "stripe {i} row {row}: data in unit {a}, parity in unit {b}"
        );
        Ok(vec![first.unit, second.unit])
    }

    /// Appends data of a row that is being cached.
    fn append_data(
        &mut self,
        i: usize,
        fua: bool,
        row: u32,
        data: &[usize],
    ) -> Result<Vec<UnitRef>, PlaceError> {
        let first = self.stripes[i].units[row as usize].is_empty();
        let wait = self.wait_for(fua);
        let placed = self.journal.log.place_data(data.len() as u32, first, wait);
        self.promised(i, row, &placed);
        let placed = placed?;
        self.follow(&placed);
        self.enter(i, row, data);
        match wait {
            WaitFor::Ordered => self.note_early_row(i, row),
            WaitFor::Stable => self.note_row(i, row),
        }
        let seq = placed.unit.seq();
        tell!(
            self,
            "stripe {i} row {row}: data in unit {seq}, waits for {wait:?}"
        );
        Ok(if first { vec![placed.unit] } else { Vec::new() })
    }

    /// A row of the cache finds the room that was promised.
    fn promised(&mut self, i: usize, row: u32, placed: &Result<Placed, PlaceError>) {
        judge!(
            self,
            placed.is_ok() || self.journal_faulty,
            "there is less room than was promised",
            "stripe {i} row {row}: {placed:?}"
        );
    }

    /// Keeps the open unit in step with the log's.
    fn follow(&mut self, placed: &Placed) {
        if placed.closed.is_some() {
            self.journal.closed.extend(self.journal.open.take());
        }
        if !placed.opened {
            return;
        }
        let unit = placed.unit;
        let start = self
            .journal
            .log
            .unit_extent(unit)
            .expect("the unit was just opened")
            .start;
        let mut meta = Box::new([0; BLOCK_SIZE]);
        let used = MetaBuilder::new(&mut meta, unit.seq(), start).used();
        self.journal.open = Some(UnitIo {
            unit,
            meta,
            used,
            pages: Vec::new(),
            refs: Vec::new(),
            rows: Vec::new(),
            early: Vec::new(),
            early_data: Vec::new(),
            disk: Vec::new(),
            ok: true,
        });
    }

    /// Puts data of a row into the open unit.
    fn enter(&mut self, i: usize, row: u32, slots: &[usize]) {
        let dev = DevSector::new(self.stripe_sector(i).get() + u64::from(row) * 8);
        let open = self.journal.open.as_mut().expect("a unit is open");
        for slot in slots {
            let page = self.stripes[i].pages[*slot][row as usize];
            let block = block_of(&page);
            let sum = crc32c(SEED, &block[..]);
            let location = self.geo.unmap(dev, Slot::new(*slot as u16));
            let mut meta = MetaBuilder::resume(&mut open.meta, open.used);
            meta.data(location.expect("a data strip"), sum)
                .expect("the log reserved room");
            open.used = meta.used();
            open.pages.push(block);
            open.refs.push((i, *slot, row, page));
        }
    }

    /// Puts the parity of a row into the open unit.
    fn enter_parity(&mut self, i: usize, row: u32, slots: &[usize]) {
        let dev = DevSector::new(self.stripe_sector(i).get() + u64::from(row) * 8);
        let s = &self.stripes[i];
        let order: Vec<usize> = [Some(s.st.p()), s.st.q()].into_iter().flatten().collect();
        judge!(
            self,
            order.len() == slots.len(),
            "a row without all its parity for the journal",
            "stripe {i} row {row}: {slots:?}"
        );
        let open = self.journal.open.as_mut().expect("a unit is open");
        let mut sums = Vec::new();
        for slot in order {
            let page = self.stripes[i].pages[slot][row as usize];
            let block = block_of(&page);
            sums.push(crc32c(SEED, &block[..]));
            open.pages.push(block);
            open.refs.push((i, slot, row, page));
        }
        let mut meta = MetaBuilder::resume(&mut open.meta, open.used);
        meta.parity(dev, sums[0], sums.get(1).copied())
            .expect("the log reserved room");
        open.used = meta.used();
    }

    /// How safe the data of a row must be for its write to end.
    fn wait_for(&self, fua: bool) -> WaitFor {
        let volatile = self.c.cache != JournalCache::None;
        if self.c.early && volatile && !fua {
            WaitFor::Ordered
        } else {
            WaitFor::Stable
        }
    }

    fn note_row(&mut self, i: usize, row: u32) {
        let open = self.journal.open.as_mut().expect("a unit is open");
        add_row(&mut open.rows, i, row);
    }

    /// Also remembers what of its data is from which write.
    fn note_early_row(&mut self, i: usize, row: u32) {
        let open = self.journal.open.as_mut().expect("a unit is open");
        add_row(&mut open.early, i, row);
        let parts = self.stripes[i].parts.iter();
        for part in parts.filter(|p| p.is_write() && p.busy.has(row)) {
            let sectors = part
                .span(row)
                .map(|(n, _)| (part.write, part.at + n as u64));
            open.early_data.extend(sectors);
        }
    }

    /// Closes the open unit, to be written.
    pub(crate) fn commit(&mut self) {
        if self.journal.log.close_open().is_some() {
            self.journal.closed.extend(self.journal.open.take());
        }
    }

    /// Writes a closed unit: one write, or two where the ring wraps.
    pub(crate) fn submit_unit(&mut self, k: usize) {
        let mut io = self.journal.closed.swap_remove(k);
        MetaBuilder::resume(&mut io.meta, io.used).finish(SEED, crc32c);
        let seq = io.unit.seq();
        let j = &mut self.journal;
        j.rows.insert(seq, std::mem::take(&mut io.rows));
        if !io.early.is_empty() {
            j.early.insert(seq, std::mem::take(&mut io.early));
            j.early_data.insert(seq, std::mem::take(&mut io.early_data));
        }
        if self.journal_faulty {
            return self.unit_written(io.unit, false);
        }
        let extent = self
            .journal
            .log
            .unit_extent(io.unit)
            .expect("the unit is in flight");
        let pieces = self.ring.extents(extent.start, u64::from(extent.blocks));
        let mut blocks = vec![Rc::new(*io.meta)];
        blocks.extend(io.pages.iter().cloned());
        judge!(
            self,
            blocks.len() == extent.blocks as usize,
            "a unit is not as long as the log thinks",
            "{extent:?}"
        );
        tell!(
            self,
            "unit {seq} is written to block {} and {} more",
            extent.start,
            extent.blocks - 1
        );
        for (start, n) in [Some(pieces.first), pieces.second].into_iter().flatten() {
            let rest = blocks.split_off(n as usize);
            let id = self.hw.journal.submit(start.get() as usize, blocks, false);
            io.disk.push(id);
            blocks = rest;
        }
        self.stats.units += 1;
        self.stats.wraps += u64::from(pieces.second.is_some());
        self.journal.writing.push(io);
    }

    /// One of a unit's writes ends.
    pub(crate) fn unit_io_done(&mut self, k: usize) {
        let which = self.tape.pick(self.journal.writing[k].disk.len());
        let fails = self.journal_goes_wrong();
        let io = &mut self.journal.writing[k];
        let id = io.disk.swap_remove(which);
        if fails {
            io.ok = false;
            self.hw.journal.fail(id, &mut self.tape);
        } else {
            self.hw.journal.complete(id);
        }
        if self.journal.writing[k].disk.is_empty() {
            let io = self.journal.writing.swap_remove(k);
            for (i, slot, row, page) in &io.refs {
                judge!(
                    self,
                    self.stripes[*i].pages[*slot][*row as usize] == *page,
                    "a page changed on its way to the journal",
                    "stripe {i} member {slot} row {row}"
                );
            }
            self.unit_written(io.unit, io.ok);
        }
    }

    /// Whether the I/O of the journal that ends now fails, by decision or because the device did.
    fn journal_goes_wrong(&mut self) -> bool {
        if self.journal_faulty {
            return self.tape.chance(50);
        }
        if self.quiet || !self.tape.rare(self.c.journal_fail) {
            return false;
        }
        tell!(self, "the journal device fails");
        self.stats.journal_failures += 1;
        self.journal_faulty = true;
        true
    }

    fn unit_written(&mut self, unit: UnitRef, ok: bool) {
        tell!(
            self,
            "unit {}: write {}",
            unit.seq(),
            if ok { "done" } else { "FAILED" }
        );
        let noted = self.journal.log.written(unit, ok);
        judge!(
            self,
            noted.is_ok(),
            "the log refuses the end of a write",
            "{noted:?}"
        );
        if ok && self.bug == Some(Bug::Unordered) {
            self.journal.ordered.push(unit.seq());
        }
        self.flush_journal();
        self.journal.pop_due = true;
        self.journal.ordered_due = self.c.early;
    }

    /// Starts flushes of the journal if rows or users wait for one.
    pub(crate) fn flush_journal(&mut self) {
        let barrier = self.newest_barrier();
        let want = match barrier.filter(|_| self.bug != Some(Bug::IdleFlush)) {
            Some(barrier) => FlushFor::RowsAnd(barrier),
            None => FlushFor::Group,
        };
        while let Some(ticket) = self.journal.log.next_flush(want) {
            if self.journal_faulty {
                self.journal.log.flushed(ticket, false);
                self.journal.pop_due = true;
            } else if self.bug == Some(Bug::DroppedFlush) {
                tell!(self, "BUG: a flush of the journal is left out");
                self.journal.log.flushed(ticket, true);
                self.journal.pop_due = true;
            } else {
                tell!(self, "a flush of the journal begins");
                let stamp = self.hw.journal.flush_begin();
                self.journal.flushes.push((ticket, stamp));
            }
        }
    }

    pub(crate) fn flush_done(&mut self, k: usize) {
        let fails = self.journal_goes_wrong();
        let (ticket, stamp) = self.journal.flushes.swap_remove(k);
        if !fails {
            self.hw.journal.flush_end(stamp);
        }
        tell!(
            self,
            "a flush of the journal {}",
            if fails { "FAILED" } else { "is done" }
        );
        self.journal.log.flushed(ticket, !fails);
        self.flush_journal();
        self.journal.pop_due = true;
        self.journal.ordered_due = self.c.early;
    }

    /// Takes the next ordered unit from the log.
    pub(crate) fn pop_ordered(&mut self) {
        match self.journal.log.next_ordered() {
            Some(unit) => {
                tell!(self, "unit {} is ordered", unit.seq());
                self.journal.ordered.push(unit.seq());
            }
            None => self.journal.ordered_due = false,
        }
    }

    /// Takes the early rows of one such unit, if they are still there.
    pub(crate) fn take_early(&mut self) {
        let k = self.tape.pick(self.journal.ordered.len());
        let seq = self.journal.ordered.swap_remove(k);
        let early = &mut self.journal.early;
        let rows = match self.bug {
            Some(Bug::TwiceDelivered) => early.get(&seq).cloned(),
            _ => early.remove(&seq),
        };
        self.journal.known.extend(rows.map(|rows| Known {
            seq,
            rows,
            ok: true,
            early: true,
        }));
    }

    /// Takes the units whose fate is known from the log.
    pub(crate) fn pop(&mut self) {
        self.journal.pop_due = false;
        while let Some((unit, outcome)) = self.journal.log.next_stable() {
            tell!(self, "unit {} is {outcome:?}", unit.seq());
            let (seq, ok) = (unit.seq(), outcome == Outcome::Stable);
            let mut rows = self.journal.rows.remove(&seq).unwrap_or_default();
            rows.extend(self.journal.early.remove(&seq).unwrap_or_default());
            for (write, sector) in self.journal.early_data.remove(&seq).unwrap_or_default() {
                if ok {
                    self.model.stable(write, sector, self.now);
                }
            }
            self.journal.known.push(Known {
                seq,
                rows,
                ok,
                early: false,
            });
        }
    }

    /// Passes the rows of such a unit on to their stripes.
    pub(crate) fn deliver(&mut self, k: usize) {
        let known = self.journal.known.swap_remove(k);
        let (seq, ok) = (known.seq, known.ok);
        for (i, rows) in known.rows {
            let how = match (ok, known.early) {
                (true, false) => "stable",
                (true, true) => "ordered",
                (false, _) => "lost",
            };
            tell!(
                self,
                "stripe {i} rows {} of unit {seq} are {how} in the journal",
                rows_of(rows)
            );
            if ok {
                // From here on it is the members' affair.
                self.stripes[i].seen.insert(rows);
            }
            let before = self.stripes[i].acts.complete;
            self.event(i, Event::JournalDone { rows, ok });
            if known.early {
                let s = &mut self.stripes[i];
                let new = s.acts.complete.minus(before);
                s.early.insert(new);
                self.stats.early += u64::from(new.count());
            }
        }
    }

    /// A row is on the members.
    pub(crate) fn row_done(&mut self, unit: UnitRef) {
        let noted = self.journal.log.row_done(unit, 1);
        judge!(
            self,
            noted.is_ok() || self.journal_faulty,
            "the log refuses the end of a row",
            "unit {}: {noted:?}",
            unit.seq()
        );
        self.journal.room = true;
    }
}

fn add_row(rows: &mut Rows, i: usize, row: u32) {
    let bit = RowMask::single(row);
    match rows.last_mut() {
        Some((last, mask)) if *last == i => mask.insert(bit),
        _ => rows.push((i, bit)),
    }
}
