// SPDX-License-Identifier: GPL-2.0

//! The journal's on-disk format: meta blocks and their payload entries.
//!
//! The journal is a ring of 4-KiB blocks. A *unit* is a meta block and, after it around the ring,
//! the pages that its payload entries describe, in their order. All numbers are little-endian,
//! sectors are 512 bytes.
//!
//! ```text
//! meta block                      data, parity payload            flush payload
//!   0  u32 magic 0x6433c509         0  u16 type 0 data, 1 parity    0  u16 type 2
//!   4  u32 crc32c of the block      2  u16 flags                    2  u16 flags
//!   8  u8  version 1                4  u32 size in sectors:         4  u32 size in bytes: 8 n
//!   9  3 x u8 zero                       8 a page                   8  u64 x n device sectors
//!  12  u32 bytes used, with header  8  u64 data: array sector          of rows
//!  16  u64 sequence                       parity: device sector
//!  24  u64 position in sectors     16  u32 crc32c of each page
//!  32  payload entries
//! ```
//!
//! Checksums are crc32c without final inversion, seeded with the crc32c of the array's uuid (itself
//! seeded with all ones); a meta block's covers all 4096 bytes, its own field taken as zero.
//!
//! Facts: `include/uapi/linux/raid/md_p.h` (`r5l_*`), `drivers/md/raid5-cache.c`.

use super::super::raid::units::{ArraySector, DevSector};
use core::fmt;

/// Bytes in a block.
pub(crate) const BLOCK_SIZE: usize = 4096;

/// Sectors (of 512 bytes) in a block.
pub(crate) const BLOCK_SECTORS: u64 = 8;

/// The first word of every meta block.
pub(crate) const MAGIC: u32 = 0x6433_c509;

/// The only version of the format.
pub(crate) const VERSION: u8 = 1;

/// Bytes of a meta block before its payload entries.
pub(crate) const META_HEADER: usize = 32;

/// Bytes of a data payload entry (one page).
pub(crate) const DATA_ENTRY: usize = 20;

/// Bytes of a parity payload entry with P.
pub(crate) const PARITY_ENTRY: usize = 20;

/// Bytes of a parity payload entry with P and Q.
pub(crate) const PARITY_ENTRY_PQ: usize = 24;

const TYPE_DATA: u16 = 0;
const TYPE_PARITY: u16 = 1;
const TYPE_FLUSH: u16 = 2;

/// Type, flags and size, with which every payload entry begins.
const ENTRY_HEADER: usize = 8;

/// Size field of a data or parity payload for one page; in 512-byte sectors.
const PAGE_SECTORS: u32 = 8;

const AT_CHECKSUM: usize = 4;
const AT_VERSION: usize = 8;
const AT_META_SIZE: usize = 12;
const AT_SEQ: usize = 16;
const AT_POSITION: usize = 24;

/// Bytes of a flush payload entry that names `rows` rows; `None` on overflow.
#[allow(dead_code)] // for write-back
pub(crate) fn flush_entry(rows: usize) -> Option<usize> {
    rows.checked_mul(8)?.checked_add(ENTRY_HEADER)
}

/// A 4-KiB block of the journal's data area, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JournalBlock(u64);

impl JournalBlock {
    /// Wraps a number of 4-KiB blocks.
    pub(crate) const fn new(block: u64) -> Self {
        Self(block)
    }

    /// Converts a position in 512-byte sectors, such as the superblock's `journal_tail`; `None` if
    /// it is not the start of a block.
    pub(crate) const fn from_sector(sector: u64) -> Option<Self> {
        if sector % BLOCK_SECTORS == 0 {
            Some(Self(sector / BLOCK_SECTORS))
        } else {
            None
        }
    }

    /// Returns the number of blocks.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position in 512-byte sectors from the start of the journal's data area.
    pub(crate) const fn sector(self) -> u64 {
        // A block of a ring does not overflow (invariant of `Ring`).
        self.0.wrapping_mul(BLOCK_SECTORS)
    }
}

impl fmt::Display for JournalBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The meta block has no room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetaFull;

/// Writes a meta block into a page.
#[derive(Debug)]
pub(crate) struct MetaBuilder<'a> {
    buf: &'a mut [u8; BLOCK_SIZE],
    used: usize,
}

impl<'a> MetaBuilder<'a> {
    /// Clears the page and starts the meta block of the unit `seq` that lies at `position`.
    pub(crate) fn new(buf: &'a mut [u8; BLOCK_SIZE], seq: u64, position: JournalBlock) -> Self {
        buf.fill(0);
        let mut meta = Self {
            buf,
            used: META_HEADER,
        };
        meta.put(0, &MAGIC.to_le_bytes());
        meta.put(AT_VERSION, &[VERSION]);
        meta.put(AT_SEQ, &seq.to_le_bytes());
        meta.put(AT_POSITION, &position.sector().to_le_bytes());
        meta
    }

    /// Goes on with a block that an earlier builder began and filled up to `used` bytes.
    pub(crate) fn resume(buf: &'a mut [u8; BLOCK_SIZE], used: usize) -> Self {
        Self { buf, used }
    }

    /// Adds a page of data that starts at an array sector; `checksum` is the page's.
    pub(crate) fn data(&mut self, location: ArraySector, checksum: u32) -> Result<(), MetaFull> {
        let at = self.entry(DATA_ENTRY, TYPE_DATA, PAGE_SECTORS)?;
        self.put(at.wrapping_add(8), &location.get().to_le_bytes());
        self.put(at.wrapping_add(16), &checksum.to_le_bytes());
        Ok(())
    }

    /// Adds the parity of the row at a device sector: the checksums of P's page, and of Q's if the
    /// array has Q.
    pub(crate) fn parity(
        &mut self,
        location: DevSector,
        p: u32,
        q: Option<u32>,
    ) -> Result<(), MetaFull> {
        let at = match q {
            None => self.entry(PARITY_ENTRY, TYPE_PARITY, PAGE_SECTORS)?,
            Some(_) => self.entry(PARITY_ENTRY_PQ, TYPE_PARITY, PAGE_SECTORS.wrapping_mul(2))?,
        };
        self.put(at.wrapping_add(8), &location.get().to_le_bytes());
        self.put(at.wrapping_add(16), &p.to_le_bytes());
        if let Some(q) = q {
            self.put(at.wrapping_add(20), &q.to_le_bytes());
        }
        Ok(())
    }

    /// Adds one flush payload that names rows whose earlier entries are now on the members.
    #[allow(dead_code)] // for write-back
    pub(crate) fn flush(
        &mut self,
        rows: impl ExactSizeIterator<Item = DevSector>,
    ) -> Result<(), MetaFull> {
        let count = rows.len();
        let len = flush_entry(count).ok_or(MetaFull)?;
        let size = u32::try_from(len.wrapping_sub(ENTRY_HEADER)).map_err(|_| MetaFull)?;
        let mut at = self.entry(len, TYPE_FLUSH, size)?.wrapping_add(8);
        // `take`: an iterator that lies about its length must not write over the next entry.
        for row in rows.take(count) {
            self.put(at, &row.get().to_le_bytes());
            at = at.wrapping_add(8);
        }
        Ok(())
    }

    /// Returns the bytes used so far, with the header.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Completes the block: writes its size and its checksum.
    ///
    /// `seed` is the crc32c of the array's uuid; `crc` is the kernel's `crc32c()`, seed first.
    pub(crate) fn finish(mut self, seed: u32, crc: impl Fn(u32, &[u8]) -> u32) {
        // At most 4096.
        let size = u32::try_from(self.used).unwrap_or(0);
        self.put(AT_META_SIZE, &size.to_le_bytes());
        let checksum = meta_checksum(self.buf, seed, crc);
        self.put(AT_CHECKSUM, &checksum.to_le_bytes());
    }

    /// Reserves `len` bytes and writes the entry's type and size there; returns where.
    fn entry(&mut self, len: usize, kind: u16, size: u32) -> Result<usize, MetaFull> {
        let at = self.used;
        let end = at.checked_add(len).ok_or(MetaFull)?;
        if end > BLOCK_SIZE {
            return Err(MetaFull);
        }
        self.used = end;
        self.put(at, &kind.to_le_bytes());
        self.put(at.wrapping_add(4), &size.to_le_bytes());
        Ok(at)
    }

    /// Writes within the block; all callers have reserved the place.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let place = self
            .buf
            .get_mut(at..)
            .and_then(|b| b.get_mut(..bytes.len()));
        if let Some(place) = place {
            place.copy_from_slice(bytes);
        }
    }
}

/// Why a block is not the meta block that was expected; "expected" comes from the position in the
/// log, "found" from the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaError {
    /// The block does not begin with the magic number: no meta block was ever written here.
    BadMagic {
        /// The word that is there instead.
        found: u32,
    },
    /// A version that is not known.
    BadVersion {
        /// The version that is there instead of 1.
        found: u8,
    },
    /// The block says that it lies elsewhere; in 512-byte sectors.
    WrongPosition {
        /// Where the block was read.
        expected: u64,
        /// Where it says that it is.
        found: u64,
    },
    /// The block is of another unit, usually of an earlier lap around the ring.
    WrongSeq {
        /// The sequence that comes next in the log.
        expected: u64,
        /// The block's sequence.
        found: u64,
    },
    /// The block is the expected one but its content is damaged, or its write was torn.
    BadChecksum {
        /// The checksum of what was read.
        expected: u32,
        /// The checksum in the block.
        found: u32,
    },
    /// The number of bytes used is impossible.
    BadSize {
        /// The size in the block.
        found: u32,
    },
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadMagic { found } => {
                write!(f, "magic is {found:#010x} instead of {MAGIC:#010x}")
            }
            Self::BadVersion { found } => write!(f, "version is {found} instead of {VERSION}"),
            Self::WrongPosition { expected, found } => {
                write!(f, "position is {found} instead of {expected}")
            }
            Self::WrongSeq { expected, found } => {
                write!(f, "sequence is {found} instead of {expected}")
            }
            Self::BadChecksum { expected, found } => {
                write!(f, "checksum is {found:#010x} instead of {expected:#010x}")
            }
            Self::BadSize { found } => write!(f, "size of {found} bytes is impossible"),
        }
    }
}

/// A meta block that was verified.
///
/// # Invariants
///
/// `entries` are the bytes between the header and the end of what the block uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetaBlock<'a> {
    seq: u64,
    entries: &'a [u8],
}

impl<'a> MetaBlock<'a> {
    /// Verifies the block that was read at `position`; without `expect_seq` any sequence will do.
    ///
    /// What tells an old block from a damaged one is checked first, the checksum after that: a log
    /// ends at an old block or at something that is no meta block, whereas a block with the
    /// expected magic, position and sequence but a wrong checksum was torn or has rotted.
    pub(crate) fn parse(
        buf: &'a [u8; BLOCK_SIZE],
        position: JournalBlock,
        expect_seq: Option<u64>,
        seed: u32,
        crc: impl Fn(u32, &[u8]) -> u32,
    ) -> Result<Self, MetaError> {
        let magic = get_u32(buf, 0).unwrap_or(0);
        if magic != MAGIC {
            return Err(MetaError::BadMagic { found: magic });
        }
        let version = buf.get(AT_VERSION).copied().unwrap_or(0);
        if version != VERSION {
            return Err(MetaError::BadVersion { found: version });
        }
        let (expected, found) = (position.sector(), get_u64(buf, AT_POSITION).unwrap_or(0));
        if found != expected {
            return Err(MetaError::WrongPosition { expected, found });
        }
        let seq = get_u64(buf, AT_SEQ).unwrap_or(0);
        if let Some(expected) = expect_seq.filter(|&expected| expected != seq) {
            return Err(MetaError::WrongSeq {
                expected,
                found: seq,
            });
        }
        let found = get_u32(buf, AT_CHECKSUM).unwrap_or(0);
        let expected = meta_checksum(buf, seed, crc);
        if found != expected {
            return Err(MetaError::BadChecksum { expected, found });
        }
        let size = get_u32(buf, AT_META_SIZE).unwrap_or(0);
        let entries = usize::try_from(size)
            .ok()
            .and_then(|end| buf.get(META_HEADER..end))
            .ok_or(MetaError::BadSize { found: size })?;
        Ok(Self { seq, entries })
    }

    /// Returns the unit's sequence.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns the payload entries in order; after an error there are no more.
    pub(crate) fn payloads(&self) -> Payloads<'a> {
        Payloads {
            rest: self.entries,
            offset: META_HEADER,
        }
    }
}

/// Why a payload entry of a verified meta block cannot be used; the block was written like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadError {
    /// The entry goes beyond the bytes that the meta block uses.
    Truncated {
        /// Offset of the entry in the meta block, in bytes.
        offset: usize,
    },
    /// A type that is not known.
    UnknownType {
        /// Offset of the entry in the meta block, in bytes.
        offset: usize,
        /// The type.
        found: u16,
    },
    /// Flags that nobody sets: they would change what the entry means.
    UnknownFlags {
        /// Offset of the entry in the meta block, in bytes.
        offset: usize,
        /// The flags.
        found: u16,
    },
    /// A size that is impossible for the type.
    BadSize {
        /// Offset of the entry in the meta block, in bytes.
        offset: usize,
        /// The size; sectors for data and parity, bytes for flush.
        found: u32,
    },
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { offset } => write!(f, "entry at byte {offset} is cut off"),
            Self::UnknownType { offset, found } => {
                write!(f, "entry at byte {offset} has the unknown type {found}")
            }
            Self::UnknownFlags { offset, found } => {
                write!(f, "entry at byte {offset} has unknown flags {found:#x}")
            }
            Self::BadSize { offset, found } => {
                write!(f, "entry at byte {offset} has the impossible size {found}")
            }
        }
    }
}

/// An entry of a meta block.
#[derive(Clone, Debug)]
pub(crate) enum Payload<'a> {
    /// A page of data of one member.
    Data {
        /// Where the page begins in the array.
        location: ArraySector,
        /// The page's checksum.
        checksum: u32,
    },
    /// A row's parity.
    Parity {
        /// Where the row begins on every member.
        location: DevSector,
        /// The checksum of P's page.
        p: u32,
        /// The checksum of Q's page, which follows P's.
        q: Option<u32>,
    },
    /// Rows whose earlier entries are on the members.
    Flush(FlushRows<'a>),
}

impl Payload<'_> {
    /// Returns how many pages of the unit belong to this entry.
    pub(crate) fn pages(&self) -> u64 {
        match self {
            Self::Data { .. } | Self::Parity { q: None, .. } => 1,
            Self::Parity { q: Some(_), .. } => 2,
            Self::Flush(_) => 0,
        }
    }
}

/// The rows that a flush payload names.
#[derive(Clone, Debug)]
pub(crate) struct FlushRows<'a> {
    rest: &'a [u8],
}

impl Iterator for FlushRows<'_> {
    type Item = DevSector;

    fn next(&mut self) -> Option<DevSector> {
        let (row, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(DevSector::new(u64::from_le_bytes(*row)))
    }
}

/// The payload entries of a meta block.
#[derive(Clone, Debug)]
pub(crate) struct Payloads<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Payloads<'a> {
    fn parse(&self) -> Result<(Payload<'a>, &'a [u8]), PayloadError> {
        let (rest, offset) = (self.rest, self.offset);
        let truncated = PayloadError::Truncated { offset };
        let header: &[u8; ENTRY_HEADER] = rest.first_chunk().ok_or(truncated)?;
        let [t0, t1, f0, f1, s0, s1, s2, s3] = *header;
        let kind = u16::from_le_bytes([t0, t1]);
        let flags = u16::from_le_bytes([f0, f1]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        if flags != 0 {
            return Err(PayloadError::UnknownFlags {
                offset,
                found: flags,
            });
        }
        let bad_size = PayloadError::BadSize {
            offset,
            found: size,
        };
        let (payload, len) = match kind {
            TYPE_DATA => {
                if size != PAGE_SECTORS {
                    return Err(bad_size);
                }
                let payload = Payload::Data {
                    location: ArraySector::new(get_u64(rest, 8).ok_or(truncated)?),
                    checksum: get_u32(rest, 16).ok_or(truncated)?,
                };
                (payload, DATA_ENTRY)
            }
            TYPE_PARITY => {
                let (q, len) = if size == PAGE_SECTORS {
                    (None, PARITY_ENTRY)
                } else if size == PAGE_SECTORS.wrapping_mul(2) {
                    (Some(get_u32(rest, 20).ok_or(truncated)?), PARITY_ENTRY_PQ)
                } else {
                    return Err(bad_size);
                };
                let payload = Payload::Parity {
                    location: DevSector::new(get_u64(rest, 8).ok_or(truncated)?),
                    p: get_u32(rest, 16).ok_or(truncated)?,
                    q,
                };
                (payload, len)
            }
            TYPE_FLUSH => {
                if size % 8 != 0 {
                    return Err(bad_size);
                }
                let rows = usize::try_from(size).map_err(|_| bad_size)?;
                let len = rows.checked_add(ENTRY_HEADER).ok_or(bad_size)?;
                let rows = rest.get(ENTRY_HEADER..len).ok_or(truncated)?;
                (Payload::Flush(FlushRows { rest: rows }), len)
            }
            found => return Err(PayloadError::UnknownType { offset, found }),
        };
        Ok((payload, rest.get(len..).ok_or(truncated)?))
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Result<Payload<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match self.parse() {
            Ok((payload, rest)) => {
                let len = self.rest.len().wrapping_sub(rest.len());
                self.offset = self.offset.wrapping_add(len);
                self.rest = rest;
                Ok(payload)
            }
            Err(error) => {
                self.rest = &[];
                Err(error)
            }
        })
    }
}

/// The checksum of a meta block, its own field taken as zero.
fn meta_checksum(buf: &[u8; BLOCK_SIZE], seed: u32, crc: impl Fn(u32, &[u8]) -> u32) -> u32 {
    let before = buf.get(..AT_CHECKSUM).unwrap_or_default();
    let after = buf.get(AT_VERSION..).unwrap_or_default();
    crc(crc(crc(seed, before), &[0; 4]), after)
}

fn get_u32(buf: &[u8], at: usize) -> Option<u32> {
    buf.get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

fn get_u64(buf: &[u8], at: usize) -> Option<u64> {
    buf.get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
pub(super) mod tests;
