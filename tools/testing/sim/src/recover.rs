// SPDX-License-Identifier: GPL-2.0

//! Assembly after a power cut, as `rust/engine/recovery.rs` does it; the power may go again.

use crate::badblocks::{RowSet, Takers};
use crate::block::{crc32c, page_of, SEED};
use crate::hardware::{empty_unit, Hardware};
use crate::journal::format::{JournalBlock, BLOCK_SIZE};
use crate::journal::recovery::{
    scan, tail_check, EndKind, Entry, Journal, Pending, ScanError, ScanReport, Scratch, Sink,
    Source, TailState,
};
use crate::journal::ring::Ring;
use crate::journal::tail::Begun;
use crate::journal::unit::Position;
use crate::raid::geometry::Geometry;
use crate::raid::units::DevSector;
use crate::setup::Bug;
use crate::story::{Fault, Story};
use crate::tape::Tape;
use std::cell::Cell;
use std::collections::BTreeMap;

/// The array is up: where the log's tail and head are.
pub(crate) struct Up {
    pub(crate) tail: Position,
    pub(crate) head: Position,
    pub(crate) report: ScanReport,
    /// Rows that had data in the log and no parity.
    pub(crate) finished: u64,
}

/// Why an assembly did not come to its end.
pub(crate) enum Down {
    /// The power was cut.
    Cut,
    /// More of a row is gone than parity makes up for; the log is kept.
    Lost(usize),
    Wrong(Fault),
}

pub(crate) fn wrong<T>(kind: &'static str, text: String) -> Result<T, Down> {
    Err(Down::Wrong(Fault { kind, text }))
}

/// How much is done before the power goes, if it does.
pub(crate) struct Power(Cell<Option<u32>>);

impl Power {
    /// Uses some; an error when it is gone.
    pub(crate) fn on(&self) -> Result<(), ()> {
        match self.0.get() {
            None => Ok(()),
            Some(0) => Err(()),
            Some(n) => {
                self.0.set(Some(n - 1));
                Ok(())
            }
        }
    }
}

struct Device<'a>(&'a crate::disk::Disk<crate::block::Block>);

impl Source for Device<'_> {
    type Error = ();

    fn read(&mut self, block: JournalBlock, buf: &mut [u8; BLOCK_SIZE]) -> Result<(), ()> {
        buf.copy_from_slice(&self.0.read(block.get() as usize)[..]);
        Ok(())
    }
}

/// Writes nothing.
struct Nowhere;

impl Sink for Nowhere {
    type Error = ();

    fn complete_row(&mut self, _: DevSector, _: &[Entry]) -> Result<(), ()> {
        Ok(())
    }
}

/// The members, to which complete rows go page by page.
struct Replay<'a> {
    journal: &'a crate::disk::Disk<crate::block::Block>,
    takers: Takers<'a>,
    power: &'a Power,
    story: &'a mut Story,
    bad_page: bool,
    /// Rows of which the log has data without parity at its end.
    open: Table,
    geo: Geometry,
    /// A row may be given up, if too much of it is lost.
    may_give_up: bool,
    given_up: u64,
    /// Too much of a row was lost.
    lost: Option<Down>,
}

impl Sink for Replay<'_> {
    type Error = ();

    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result<(), ()> {
        let at = (row.get() / 8) as usize;
        self.story.tell(|| {
            let slots: Vec<_> = entries.iter().map(|e| e.slot.get()).collect();
            format!("    row {at} is replayed to members {slots:?}")
        });
        let mut missed = false;
        for (nth, entry) in entries.iter().enumerate() {
            let slot = entry.slot.index();
            if !self.takers.here[slot] {
                continue;
            }
            let block = self.journal.read(entry.block.get() as usize);
            let Some(page) = page_of(block) else {
                self.bad_page = true;
                return Err(());
            };
            self.power.on()?;
            let id = self.takers.members[slot].submit(at, vec![page], false);
            self.power.on()?;
            let open = self.open.0.contains_key(&row.get());
            let is_parity = self.geo.placement(row).is_parity(entry.slot);
            let newest = !(open && is_parity);
            let took = self.takers.end((slot, at), id, newest, self.story);
            // Of what is open, the finisher says what is lost.
            missed |= !took && !open;
            let due: Vec<_> = entries[nth + 1..].iter().map(|e| e.slot.index()).collect();
            let over = due.is_empty() || self.takers.is_hasty();
            if !missed || !over || !self.takers.is_lost(at, &[]) {
                continue;
            }
            if !self.takers.is_lost(at, &due) {
                self.lost = Some(Down::Wrong(Fault {
                    kind: "recovery gives a row up for no reason",
                    text: format!("row {at}"),
                }));
                return Err(());
            }
            if !self.may_give_up {
                self.lost = Some(Down::Lost(at));
                return Err(());
            }
            self.story.tell(|| format!("    row {at} is given up"));
            self.given_up += 1;
            missed = false;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Table(BTreeMap<u64, Vec<Entry>>);

impl Pending for Table {
    type Error = ();

    fn insert(&mut self, row: DevSector, entry: Entry) -> Result<(), ()> {
        let entries = self.0.entry(row.get()).or_default();
        entries.retain(|old| old.slot != entry.slot);
        entries.push(entry);
        Ok(())
    }

    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize, ()> {
        let entries = self.0.remove(&row.get()).unwrap_or_default();
        out[..entries.len()].copy_from_slice(&entries);
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

/// What an assembly finds and needs.
pub(crate) struct Assembly<'a> {
    pub(crate) hw: &'a mut Hardware,
    /// Members that are there and belong to the array.
    pub(crate) here: Vec<bool>,
    /// Members that the superblock calls good, here or not.
    pub(crate) in_sync: Vec<bool>,
    /// After so many writes of recovered rows one fails, and the member with it.
    pub(crate) fails: Option<u32>,
    /// After so many one fails for nothing.
    pub(crate) odd: Option<u32>,
    /// The members' bad-block logs.
    pub(crate) bad: Vec<RowSet>,
    /// Members that have failed a write.
    pub(crate) write_error: Vec<bool>,
    pub(crate) ring: Ring,
    pub(crate) dev_sectors: u64,
    pub(crate) bug: Option<Bug>,
    /// The log may have data without parity.
    pub(crate) write_back: bool,
    /// It is to start though members are missing with which there might be more.
    pub(crate) force: bool,
    /// Rows of which too much was lost.
    pub(crate) given_up: u64,
}

impl Assembly<'_> {
    /// Assembles the array; the power goes after `power` steps, if at all.
    pub(crate) fn run(&mut self, power: Option<u32>, story: &mut Story) -> Result<Up, Down> {
        let power = Power(Cell::new(power));
        let tail = self.find_tail()?;
        if self.bug != Some(Bug::TrustedCache) {
            self.hw.journal.flush();
        }
        let mut rows = Table::default();
        let mut report = self.scan(tail, &mut rows, &power, story)?;
        story.tell(|| format!("    the scan found {report}"));
        let finished = report.data_only_rows;
        if finished > 0 && !self.write_back {
            return wrong(
                "rows without parity in a write-through journal",
                report.to_string(),
            );
        }
        if report.end_reason.kind() == EndKind::Corrupt {
            return wrong("a unit that makes no sense", report.to_string());
        }
        self.finish(&mut report, tail, &mut rows, &power, story)?;
        let Some(replayed) = report.begin() else {
            return wrong("rows that are not finished", report.to_string());
        };
        for (slot, member) in self.hw.members.iter_mut().enumerate() {
            power.on().map_err(|()| Down::Cut)?;
            if self.here[slot] && self.bug != Some(Bug::NoRecoveryFlush) {
                member.flush();
            }
        }
        self.record(&power, story)?;
        let flushed = replayed.members_flushed();
        let unit = flushed.unit();
        let fua = self.bug != Some(Bug::PlainEmpty);
        let empty = empty_unit(unit.seq, unit.block.get());
        power.on().map_err(|()| Down::Cut)?;
        let id = self
            .hw
            .journal
            .submit(unit.block.get() as usize, vec![empty], fua);
        power.on().map_err(|()| Down::Cut)?;
        self.hw.journal.complete(id);
        let Begun { tail, head } = flushed.unit_written(self.ring);
        let mut sb = self.hw.sb.clone();
        sb.tail = tail.block.get();
        sb.in_sync.copy_from_slice(&self.here);
        sb.bad.clone_from(&self.bad);
        self.hw.superblock_begin(sb);
        power.on().map_err(|()| Down::Cut)?;
        self.hw.superblock_end();
        Ok(Up {
            tail,
            head,
            report,
            finished,
        })
    }

    /// What members did not take is recorded before the log forgets it.
    pub(crate) fn record(&mut self, power: &Power, story: &mut Story) -> Result<(), Down> {
        let known = &self.hw.sb.bad;
        let unrecorded = (self.bad.iter().zip(known)).any(|(log, known)| !log.is_subset(known));
        if !unrecorded || self.bug == Some(Bug::LateRecord) {
            return Ok(());
        }
        story.tell(|| format!("    the superblock is written: bad blocks {:?}", self.bad));
        let mut sb = self.hw.sb.clone();
        sb.in_sync.copy_from_slice(&self.here);
        sb.bad.clone_from(&self.bad);
        self.hw.superblock_begin(sb);
        power.on().map_err(|()| Down::Cut)?;
        self.hw.superblock_end();
        Ok(())
    }

    /// What takes its writes, and the log.
    pub(crate) fn takers(&mut self) -> (Takers<'_>, &mut crate::disk::Disk<crate::block::Block>) {
        let takers = Takers {
            parity: self.hw.geo.parity_disks() as usize,
            members: &mut self.hw.members,
            dead: &self.hw.dead,
            here: &mut self.here,
            log: &mut self.bad,
            write_error: &mut self.write_error,
            fails: &mut self.fails,
            odd: &mut self.odd,
            bug: self.bug,
        };
        (takers, &mut self.hw.journal)
    }

    fn find_tail(&self) -> Result<Position, Down> {
        let block = JournalBlock::new(self.hw.sb.tail);
        let buf = self.hw.journal.read(self.hw.sb.tail as usize);
        match tail_check(buf, block, SEED, crc32c) {
            TailState::Valid { seq } => Ok(Position { block, seq }),
            TailState::Unusable(why) => wrong(
                "no valid block at the tail",
                format!("block {block}: {why}"),
            ),
        }
    }

    fn scan(
        &mut self,
        tail: Position,
        rows: &mut Table,
        power: &Power,
        story: &mut Story,
    ) -> Result<ScanReport, Down> {
        let log = Journal {
            geometry: self.hw.geo,
            dev_sectors: self.dev_sectors,
            ring: self.ring,
            tail,
            seed: SEED,
        };
        let (mut meta, mut page) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
        let mut entries = vec![Entry::NONE; self.here.len()];
        let may_give_up = self.may_give_up();
        let mut open = Table::default();
        if self.bad.iter().any(|log| !log.is_empty()) && self.bug != Some(Bug::MendedParity) {
            let scratch = Scratch {
                meta: &mut meta,
                page: &mut page,
                entries: &mut entries,
            };
            let mut device = Device(&self.hw.journal);
            if let Err(e) = scan(&log, &mut device, &mut Nowhere, &mut open, scratch, crc32c) {
                return wrong("the first scan failed", format!("{e:?}"));
            }
        }
        let geo = self.hw.geo;
        let (takers, journal) = self.takers();
        let mut device = Device(journal);
        let mut sink = Replay {
            journal,
            takers,
            power,
            story,
            bad_page: false,
            open,
            geo,
            may_give_up,
            given_up: 0,
            lost: None,
        };
        let scratch = Scratch {
            meta: &mut meta,
            page: &mut page,
            entries: &mut entries,
        };
        let done = scan(&log, &mut device, &mut sink, rows, scratch, crc32c);
        let given_up = sink.given_up;
        match done {
            Ok(report) => {
                self.given_up += given_up;
                Ok(report)
            }
            Err(_) if sink.bad_page => wrong("a page that is no page was replayed", String::new()),
            Err(ScanError::Sink { .. }) => Err(sink.lost.take().unwrap_or(Down::Cut)),
            Err(e) => wrong("the scan failed", format!("{e:?}")),
        }
    }
}

/// What a power cut left, judged, with the array up again.
pub(crate) struct Recovered {
    pub(crate) up: Up,
    pub(crate) here: Vec<bool>,
    /// Members that have failed a write.
    pub(crate) write_error: Vec<bool>,
    /// Power cuts on the way.
    pub(crate) cuts: u64,
    /// Those at which the disks kept their power.
    pub(crate) stops: u64,
    /// Rows that were given up.
    pub(crate) given_up: u64,
}

/// Who may be missing when the array is assembled, and how often recovery is cut.
pub(crate) struct Troubles {
    pub(crate) parity: usize,
    /// Percent.
    pub(crate) missing: u32,
    /// Percent.
    pub(crate) cut: u32,
    /// Of 1000.
    pub(crate) fail: u32,
    /// Of 1000, of writes that fail for nothing.
    pub(crate) odd: u32,
    /// The machine may stop without a power cut.
    pub(crate) stops: bool,
}

impl Troubles {
    /// The machine goes down. True if the disks kept their power.
    pub(crate) fn strike(&self, hw: &mut Hardware, tape: &mut Tape, story: &mut Story) -> bool {
        let stop = self.stops && tape.chance(50);
        if stop {
            story.tell(|| "  the disks keep their power".to_owned());
            hw.stop(tape, story);
        } else {
            hw.power_cut(tape, story);
        }
        stop
    }
}

/// Assembles until the power stays on. If too much of a row is gone, again with all members that the
/// superblock calls good, and if that does not help, in spite of it.
pub(crate) fn recover(
    hw: &mut Hardware,
    (ring, dev_sectors, bug, write_back): (Ring, u64, Option<Bug>, bool),
    troubles: &Troubles,
    tape: &mut Tape,
    story: &mut Story,
) -> Result<Recovered, Fault> {
    let (mut cuts, mut stops) = (0, 0);
    let (mut whole, mut force) = (false, false);
    loop {
        let mut here = hw.sb.in_sync.clone();
        let may = here.iter().filter(|h| !**h).count() < troubles.parity && !whole;
        if may && tape.chance(troubles.missing) {
            let slot = tape.pick(here.len());
            here[slot] = false;
            story.tell(|| format!("  member {slot} is missing when the array is assembled"));
        }
        let power = (cuts < 4 && tape.chance(troubles.cut)).then(|| tape.below(40));
        let spare = here.iter().filter(|h| !**h).count() < troubles.parity;
        let fails = (spare && tape.rare(troubles.fail)).then(|| tape.below(20));
        let odd = tape.rare(troubles.odd).then(|| tape.below(20));
        let mut assembly = Assembly {
            write_error: vec![false; here.len()],
            bad: hw.sb.bad.clone(),
            in_sync: hw.sb.in_sync.clone(),
            here,
            fails,
            odd,
            ring,
            dev_sectors,
            bug,
            write_back,
            force,
            given_up: 0,
            hw: &mut *hw,
        };
        match assembly.run(power, story) {
            Ok(up) => {
                return Ok(Recovered {
                    given_up: assembly.given_up,
                    up,
                    here: assembly.here,
                    write_error: assembly.write_error,
                    cuts,
                    stops,
                });
            }
            Err(Down::Wrong(fault)) => return Err(fault),
            Err(Down::Lost(row)) => {
                story.tell(|| format!("  row {row} is lost, the log is kept; whole {whole}"));
                force = whole;
                whole = true;
            }
            Err(Down::Cut) => {
                cuts += 1;
                story.tell(|| "  THE POWER IS CUT during recovery".to_owned());
                stops += u64::from(troubles.strike(hw, tape, story));
            }
        }
    }
}
