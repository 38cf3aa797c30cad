// SPDX-License-Identifier: GPL-2.0

//! The recovery scan: what a crashed log says, in the order in which it was said.
//!
//! The scan starts at the tail and goes from unit to unit while meta blocks and the checksums of all
//! their pages verify. Nothing of a unit is used before all of it has verified. It ends at the first
//! unit that does not: nobody was promised that later ones are stable, because units become stable
//! in order.
//!
//! ```text
//! entry of a verified unit      effect
//!   data of row R, member m      R's pending page of m is now this one
//!   parity of R                  R is complete: pending data and parity go to the members now;
//!                                nothing of R is pending any more
//!   parity of R, none pending    nothing: the data is behind the tail, so R is on the members
//!   flush of R                   nothing of R is pending any more
//! ```
//!
//! Complete rows are replayed in log order: the states of one row one after the other, while several
//! rows may be on their way together. An early row may overwrite, for a moment,
//! something newer on the members; but whatever is newer was stable in the log before it reached a
//! member, so it comes later in this scan. Replay writes only what the log says and the tail does
//! not move meanwhile, so that a crash during recovery is followed by the same recovery. No table of
//! complete rows is needed, only one of rows that are *pending*: it is never larger than what a
//! write-back cache had in the log. What is pending at the end are data-only rows, acknowledged but
//! without parity; the shell finds them in its [`Pending`] and must finish them, see `finish.rs`.
//!
//! The C driver keeps complete rows in its stripe cache and replays them when a later entry of the
//! row, the end of the log or memory shortage makes it; with memory short its flush payloads then
//! drop data newer than what it has replayed. Replay in log order is the rule that it departs from.
//!
//! Facts: `r5c_recovery_flush_log()` and `r5l_load_log()` in `drivers/md/raid5-cache.c`.

use super::super::raid::geometry::Geometry;
use super::super::raid::units::{ArraySector, DevSector, Slot};
use super::format::{JournalBlock, MetaBlock, MetaError, Payload, PayloadError, BLOCK_SIZE};
use super::ring::Ring;
use super::unit::Position;
use core::fmt;

/// How far sequences jump after recovery, so that units beyond the end of the old log, which may
/// well verify, are never taken for units of the new one.
///
/// Fact: `r5l_recovery_log()` adds as much.
const SEQ_JUMP: u64 = 10_000;

/// Where the journal is read from.
pub(crate) trait Source {
    /// An I/O error; it ends the scan, because what cannot be read is not the end of the log.
    type Error;

    /// Reads a 4-KiB block of the journal's data area.
    fn read(&mut self, block: JournalBlock, buf: &mut [u8; BLOCK_SIZE]) -> Result<(), Self::Error>;
}

/// A page in the log that belongs on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The member that the page belongs on.
    pub(crate) slot: Slot,
    /// The block of the journal that holds the page.
    pub(crate) block: JournalBlock,
    /// The page's checksum, which was found right when the unit was scanned.
    pub(crate) checksum: u32,
}

impl Entry {
    /// A place holder, to fill arrays with.
    pub(crate) const NONE: Self = Self {
        slot: Slot::new(0),
        block: JournalBlock::new(0),
        checksum: 0,
    };
}

/// Where complete rows go.
pub(crate) trait Sink {
    /// An error that makes it pointless to go on.
    type Error;

    /// Takes a complete row, whose pages go from the journal to the members, if not at once then in
    /// this order for each row; the last entries are the row's parity. The same row may come again,
    /// newer.
    fn complete_row(&mut self, row: DevSector, entries: &[Entry]) -> Result<(), Self::Error>;

    /// All that a unit says was passed on; the reports tell what the scan had found before it, and with
    /// it. For who wants to watch.
    fn unit_done(&mut self, _before: &ScanReport, _after: &ScanReport) {}
}

/// The rows that have data in the log and no parity after it.
pub(crate) trait Pending {
    /// No memory.
    type Error;

    /// Notes a row's page, in place of an earlier one of the same row and member.
    fn insert(&mut self, row: DevSector, entry: Entry) -> Result<(), Self::Error>;

    /// Moves all pages of a row to `out`, in any order, and returns how many there were; forgets the
    /// row. `out` has room for an entry per member.
    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize, Self::Error>;

    /// Forgets a row, and tells whether it was there.
    fn remove(&mut self, row: DevSector) -> Result<bool, Self::Error>;

    /// Returns how many rows there are.
    fn rows(&self) -> u64;

    /// Returns the first row, by place on the members.
    fn first(&self) -> Option<DevSector>;
}

/// The array and its journal, as far as a scan must know them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journal {
    /// The array's geometry.
    pub(crate) geometry: Geometry,
    /// The size of the members' data areas in 512-byte sectors.
    pub(crate) dev_sectors: u64,
    /// The journal's data area.
    pub(crate) ring: Ring,
    /// Where the scan starts: a tail that [`tail_check`] found valid.
    pub(crate) tail: Position,
    /// The crc32c of the array's uuid, which seeds all checksums.
    pub(crate) seed: u32,
}

/// Memory that the scan needs, lent so that none of it is on the stack.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    /// For a unit's meta block.
    pub(crate) meta: &'a mut [u8; BLOCK_SIZE],
    /// For a unit's pages, one after the other.
    pub(crate) page: &'a mut [u8; BLOCK_SIZE],
    /// For a row's entries: at least as many as the array has members.
    pub(crate) entries: &'a mut [Entry],
}

/// Why a scan could not be finished. The members may have been written to; scanning again later
/// from the same tail is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanError<R, W, M> {
    /// A block of the journal could not be read.
    Source {
        /// The block.
        block: JournalBlock,
        /// The error.
        error: R,
    },
    /// A complete row could not be written to the members.
    Sink {
        /// The row that was passed on; what failed may be an earlier one.
        row: DevSector,
        /// The error.
        error: W,
    },
    /// The table of pending rows failed.
    Pending(M),
    /// The scratch memory has fewer entries than the array has members.
    Scratch,
}

/// The [`ScanError`] of a scan with this source, sink and table.
pub(crate) type Fault<R, W, M> =
    ScanError<<R as Source>::Error, <W as Sink>::Error, <M as Pending>::Error>;

/// Why an entry's location is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocationError {
    /// Data that does not begin at a 4-KiB page, or lies beyond the end of the array.
    Data(ArraySector),
    /// A row that does not begin at a 4-KiB page, or lies beyond the end of the members.
    Row(DevSector),
    /// Parity without Q in an array that has Q, or with Q in one that has not.
    Parity(DevSector),
}

impl fmt::Display for LocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(sector) => write!(f, "data at the impossible array sector {sector}"),
            Self::Row(sector) => write!(f, "a row at the impossible device sector {sector}"),
            Self::Parity(sector) => {
                write!(
                    f,
                    "the wrong number of parity pages at device sector {sector}"
                )
            }
        }
    }
}

/// Why the scan ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanEnd {
    /// There is no meta block of the next unit.
    Meta(MetaError),
    /// A page of the unit is not what its entry says.
    BadPage {
        /// The page's block in the journal.
        block: JournalBlock,
        /// The checksum of what was read.
        expected: u32,
        /// The checksum in the entry.
        found: u32,
    },
    /// An entry of the unit makes no sense.
    BadPayload(PayloadError),
    /// An entry of the unit lies outside the array.
    BadLocation(LocationError),
    /// The unit would overlap the tail.
    BeyondRing,
    /// All blocks but the one that a log keeps free were scanned: the log was full.
    RingFull,
}

/// What kind of end the scan came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndKind {
    /// What follows was never part of this log: an old or a foreign block.
    EndOfLog,
    /// A unit was begun but is not all there: usual after a power cut, when it was being written.
    Torn,
    /// A unit was written as it is, checksum and all, but cannot be right.
    Corrupt,
}

impl ScanEnd {
    /// Tells an ordinary end from one that should be looked at.
    pub(crate) fn kind(&self) -> EndKind {
        match self {
            Self::Meta(
                MetaError::BadMagic { .. }
                | MetaError::WrongPosition { .. }
                | MetaError::WrongSeq { .. },
            )
            | Self::RingFull => EndKind::EndOfLog,
            Self::Meta(MetaError::BadChecksum { .. }) | Self::BadPage { .. } => EndKind::Torn,
            Self::Meta(MetaError::BadVersion { .. } | MetaError::BadSize { .. })
            | Self::BadPayload(_)
            | Self::BadLocation(_)
            | Self::BeyondRing => EndKind::Corrupt,
        }
    }
}

impl fmt::Display for ScanEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            EndKind::EndOfLog => f.write_str("end of log: ")?,
            EndKind::Torn => f.write_str("torn unit: ")?,
            EndKind::Corrupt => f.write_str("corrupt unit: ")?,
        }
        match self {
            Self::Meta(error) => error.fmt(f),
            Self::BadPage {
                block,
                expected,
                found,
            } => write!(
                f,
                "checksum of the page in block {block} is {found:#010x} instead of {expected:#010x}"
            ),
            Self::BadPayload(error) => error.fmt(f),
            Self::BadLocation(error) => error.fmt(f),
            Self::BeyondRing => f.write_str("it is larger than the rest of the journal"),
            Self::RingFull => f.write_str("the journal was full"),
        }
    }
}

/// What a scan found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanReport {
    /// Units that verified, the tail's included.
    pub(crate) units: u64,
    /// Data pages in them.
    pub(crate) data_pages: u64,
    /// Parity entries in them.
    pub(crate) parity_rows: u64,
    /// Rows written to the members; the same row counts each time.
    pub(crate) replayed_rows: u64,
    /// Pending rows that a flush payload made needless.
    pub(crate) dropped_by_flush: u64,
    /// Rows that are pending at the end, and not finished since.
    pub(crate) data_only_rows: u64,
    /// Where the next unit would be, and the sequence that it would have.
    pub(crate) end: Position,
    /// Why the scan ended there.
    pub(crate) end_reason: ScanEnd,
}

impl ScanReport {
    /// Returns where the log must go on: at the end, with a jump in sequence. An empty unit goes
    /// there, which then becomes the tail.
    ///
    /// The old tail must not stay: from it, recovery would come to the first unit that did not
    /// verify, and past a new one written there to old ones that do.
    ///
    /// When data-only rows are finished (`finish.rs`) and the members flushed: write the empty unit
    /// (there always is a block for it, the one that a log keeps free), flush it, write the
    /// superblock with this tail, and start a log with this tail and the head after it.
    pub(crate) fn restart(&self) -> Position {
        Position {
            block: self.end.block,
            seq: self.end.seq.wrapping_add(SEQ_JUMP),
        }
    }
}

impl fmt::Display for ScanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} units with {} data pages and {} parity rows: {} rows replayed, {} dropped as \
             flushed, {} data-only; ended at block {}, sequence {}: {}",
            self.units,
            self.data_pages,
            self.parity_rows,
            self.replayed_rows,
            self.dropped_by_flush,
            self.data_only_rows,
            self.end.block,
            self.end.seq,
            self.end_reason
        )
    }
}

/// What the block at the superblock's `journal_tail` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailState {
    /// A valid meta block with this sequence: a scan can start.
    Valid {
        /// The unit's sequence.
        seq: u64,
    },
    /// Something else: the log is lost.
    Unusable(MetaError),
}

/// Examines the block that was read at the superblock's `journal_tail`.
///
/// `crc` is the kernel's `crc32c()`, seed first.
pub(crate) fn tail_check(
    buf: &[u8; BLOCK_SIZE],
    position: JournalBlock,
    seed: u32,
    crc: impl Fn(u32, &[u8]) -> u32,
) -> TailState {
    match MetaBlock::parse(buf, position, None, seed, crc) {
        Ok(meta) => TailState::Valid { seq: meta.seq() },
        Err(error) => TailState::Unusable(error),
    }
}

/// Scans the log from its tail, and replays complete rows as they are found.
///
/// Afterwards `pending` holds the data-only rows. `crc` is the kernel's `crc32c()`, seed first.
pub(crate) fn scan<R: Source, W: Sink, M: Pending>(
    log: &Journal,
    source: &mut R,
    sink: &mut W,
    pending: &mut M,
    scratch: Scratch<'_>,
    crc: impl Fn(u32, &[u8]) -> u32,
) -> Result<ScanReport, Fault<R, W, M>> {
    let Scratch {
        meta,
        page,
        entries,
    } = scratch;
    let members = usize::try_from(log.geometry.raid_disks()).unwrap_or(usize::MAX);
    if entries.len() < members {
        return Err(ScanError::Scratch);
    }
    let mut scan = Scan {
        log,
        source,
        sink,
        pending,
        entries,
        crc,
        report: ScanReport {
            units: 0,
            data_pages: 0,
            parity_rows: 0,
            replayed_rows: 0,
            dropped_by_flush: 0,
            data_only_rows: 0,
            end: log.tail,
            end_reason: ScanEnd::RingFull,
        },
        left: log.ring.blocks().saturating_sub(1),
    };
    scan.run(meta, page)?;
    Ok(scan.report)
}

/// The result of a step that ends either the scan (inner) or everything (outer).
type Step<T, R, W, M> = Result<Result<T, ScanEnd>, Fault<R, W, M>>;

/// A scan under way; `left` blocks of the ring were not scanned yet, without the one that a log
/// always keeps free.
struct Scan<'a, R, W, M, C> {
    log: &'a Journal,
    source: &'a mut R,
    sink: &'a mut W,
    pending: &'a mut M,
    entries: &'a mut [Entry],
    crc: C,
    report: ScanReport,
    left: u64,
}

impl<R: Source, W: Sink, M: Pending, C: Fn(u32, &[u8]) -> u32> Scan<'_, R, W, M, C> {
    /// Goes from unit to unit; each takes at least a block of the ring, which bounds the loop.
    fn run(
        &mut self,
        meta: &mut [u8; BLOCK_SIZE],
        page: &mut [u8; BLOCK_SIZE],
    ) -> Result<(), Fault<R, W, M>> {
        let reason = loop {
            if self.left == 0 {
                break ScanEnd::RingFull;
            }
            let Position { block, seq } = self.report.end;
            self.read(block, meta)?;
            let (log, crc) = (self.log, &self.crc);
            let unit = match MetaBlock::parse(meta, block, Some(seq), log.seed, crc) {
                Ok(unit) => unit,
                Err(error) => break ScanEnd::Meta(error),
            };
            let pages = match self.verify(&unit, block, page)? {
                Ok(pages) => pages,
                Err(end) => break end,
            };
            let before = self.report;
            self.apply(&unit, block)?;
            let blocks = pages.saturating_add(1);
            self.left = self.left.saturating_sub(blocks);
            self.report.units = self.report.units.saturating_add(1);
            self.report.end = Position {
                block: log.ring.add(block, blocks),
                seq: seq.wrapping_add(1),
            };
            self.sink.unit_done(&before, &self.report);
        };
        self.report.end_reason = reason;
        self.report.data_only_rows = self.pending.rows();
        Ok(())
    }

    fn read(
        &mut self,
        block: JournalBlock,
        buf: &mut [u8; BLOCK_SIZE],
    ) -> Result<(), Fault<R, W, M>> {
        self.source
            .read(block, buf)
            .map_err(|error| ScanError::Source { block, error })
    }

    /// Checks all entries and pages of the unit at `block`; returns how many pages there are.
    fn verify(
        &mut self,
        unit: &MetaBlock<'_>,
        block: JournalBlock,
        page: &mut [u8; BLOCK_SIZE],
    ) -> Step<u64, R, W, M> {
        let mut pages: u64 = 0;
        for payload in unit.payloads() {
            let payload = match payload {
                Ok(payload) => payload,
                Err(error) => return Ok(Err(ScanEnd::BadPayload(error))),
            };
            if let Err(error) = self.log.check(&payload) {
                return Ok(Err(ScanEnd::BadLocation(error)));
            }
            let sums = match payload {
                Payload::Data { checksum, .. } => [Some(checksum), None],
                Payload::Parity { p, q, .. } => [Some(p), q],
                Payload::Flush(_) => [None, None],
            };
            for found in sums.into_iter().flatten() {
                pages = pages.saturating_add(1);
                // With the meta block.
                if pages >= self.left {
                    return Ok(Err(ScanEnd::BeyondRing));
                }
                let block = self.log.ring.add(block, pages);
                self.read(block, page)?;
                let expected = (self.crc)(self.log.seed, page);
                if expected != found {
                    return Ok(Err(ScanEnd::BadPage {
                        block,
                        expected,
                        found,
                    }));
                }
            }
        }
        Ok(Ok(pages))
    }

    /// Does what the entries of a verified unit say.
    fn apply(&mut self, unit: &MetaBlock<'_>, block: JournalBlock) -> Result<(), Fault<R, W, M>> {
        let mut at = self.log.ring.add(block, 1);
        // `verify` has seen all of them, so there are no errors.
        for payload in unit.payloads().flatten() {
            let pages = payload.pages();
            match payload {
                Payload::Data { location, checksum } => {
                    self.report.data_pages = self.report.data_pages.saturating_add(1);
                    let (row, slot) = self.log.geometry.map(location);
                    let entry = Entry {
                        slot,
                        block: at,
                        checksum,
                    };
                    self.pending
                        .insert(row, entry)
                        .map_err(ScanError::Pending)?;
                }
                Payload::Parity { location, p, q } => {
                    self.report.parity_rows = self.report.parity_rows.saturating_add(1);
                    self.complete(location, at, p, q)?;
                }
                Payload::Flush(rows) => {
                    for row in rows {
                        let dropped = self.pending.remove(row).map_err(ScanError::Pending)?;
                        self.report.dropped_by_flush = self
                            .report
                            .dropped_by_flush
                            .saturating_add(u64::from(dropped));
                    }
                }
            }
            at = self.log.ring.add(at, pages);
        }
        Ok(())
    }

    /// Replays a row whose parity is in the log from `at` on, if data of it is pending.
    fn complete(
        &mut self,
        row: DevSector,
        at: JournalBlock,
        p: u32,
        q: Option<u32>,
    ) -> Result<(), Fault<R, W, M>> {
        let data = self
            .pending
            .take(row, self.entries)
            .map_err(ScanError::Pending)?;
        if data == 0 {
            return Ok(());
        }
        let place = self.log.geometry.placement(row);
        let mut filled = data;
        let parity = [Some((place.p, p)), place.q.zip(q)];
        for (slot, checksum) in parity.into_iter().flatten() {
            // Data is on other members than parity, so there is room.
            if let Some(entry) = self.entries.get_mut(filled) {
                let nth = u64::from(filled != data);
                *entry = Entry {
                    slot,
                    block: self.log.ring.add(at, nth),
                    checksum,
                };
                filled = filled.saturating_add(1);
            }
        }
        let entries = self.entries.get(..filled).unwrap_or_default();
        self.sink
            .complete_row(row, entries)
            .map_err(|error| ScanError::Sink { row, error })?;
        self.report.replayed_rows = self.report.replayed_rows.saturating_add(1);
        Ok(())
    }
}

impl Journal {
    /// Checks that an entry lies within the array.
    fn check(&self, payload: &Payload<'_>) -> Result<(), LocationError> {
        match payload {
            Payload::Data { location, .. } => {
                let sectors = self.geometry.array_sectors(self.dev_sectors);
                if !location.is_aligned() || location.get() >= sectors {
                    return Err(LocationError::Data(*location));
                }
                Ok(())
            }
            Payload::Parity { location, q, .. } => {
                self.check_row(*location)?;
                if q.is_some() != (self.geometry.parity_disks() == 2) {
                    return Err(LocationError::Parity(*location));
                }
                Ok(())
            }
            Payload::Flush(rows) => rows.clone().try_for_each(|row| self.check_row(row)),
        }
    }

    fn check_row(&self, row: DevSector) -> Result<(), LocationError> {
        let chunk = u64::from(self.geometry.chunk_sectors());
        let used = self
            .dev_sectors
            .saturating_sub(self.dev_sectors.checked_rem(chunk).unwrap_or(0));
        if !row.is_aligned() || row.get() >= used {
            return Err(LocationError::Row(row));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
