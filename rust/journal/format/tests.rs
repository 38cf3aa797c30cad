// SPDX-License-Identifier: GPL-2.0

//! The codec against bytes laid out by hand, its limits, and every kind of damage.

use super::*;

/// The kernel's `crc32c()`, bit by bit: reflected, no inversion.
pub(in super::super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

const SEED: u32 = 0x1234_5678;

fn at(block: u64) -> JournalBlock {
    JournalBlock::new(block)
}

fn page() -> Box<[u8; BLOCK_SIZE]> {
    // Old content must not shine through.
    Box::new([0xaa; BLOCK_SIZE])
}

fn sample() -> Box<[u8; BLOCK_SIZE]> {
    let mut buf = page();
    let mut meta = MetaBuilder::new(&mut buf, 0x0102_0304_0506_0708, at(0x10));
    meta.data(ArraySector::new(0x1122_3344_5566_7788), 0xdead_beef)
        .unwrap();
    meta.parity(DevSector::new(0x78), 0xcafe_f00d, None)
        .unwrap();
    meta.parity(DevSector::new(0x80), 1, Some(2)).unwrap();
    meta.flush([DevSector::new(8), DevSector::new(16)].into_iter())
        .unwrap();
    assert_eq!(meta.used(), 32 + 20 + 20 + 24 + 24);
    meta.finish(SEED, crc);
    buf
}

fn parse(buf: &[u8; BLOCK_SIZE]) -> Result<MetaBlock<'_>, MetaError> {
    MetaBlock::parse(buf, at(0x10), Some(0x0102_0304_0506_0708), SEED, crc)
}

/// Gives a changed block the right checksum again.
fn resum(buf: &mut [u8; BLOCK_SIZE]) {
    buf[4..8].fill(0);
    let sum = crc(SEED, &buf[..]);
    buf[4..8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn bytes_are_as_in_md_p_h() {
    let buf = sample();
    #[rustfmt::skip]
    let expected: [u8; 120] = [
        0x09, 0xc5, 0x33, 0x64, buf[4], buf[5], buf[6], buf[7],
        1, 0, 0, 0, 120, 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        0x80, 0, 0, 0, 0, 0, 0, 0,
        // Data.
        0, 0, 0, 0, 8, 0, 0, 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        0xef, 0xbe, 0xad, 0xde,
        // P.
        1, 0, 0, 0, 8, 0, 0, 0,
        0x78, 0, 0, 0, 0, 0, 0, 0,
        0x0d, 0xf0, 0xfe, 0xca,
        // P and Q.
        1, 0, 0, 0, 16, 0, 0, 0,
        0x80, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 2, 0, 0, 0,
        // Flush of two rows.
        2, 0, 0, 0, 16, 0, 0, 0,
        8, 0, 0, 0, 0, 0, 0, 0,
        16, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(buf[..120], expected);
    assert!(buf[120..].iter().all(|&byte| byte == 0));
    let mut zeroed = buf.clone();
    zeroed[4..8].fill(0);
    assert_eq!(buf[4..8], crc(SEED, &zeroed[..]).to_le_bytes());
}

#[test]
fn what_was_written_is_read() {
    let buf = sample();
    let meta = parse(&buf).unwrap();
    assert_eq!(meta.seq(), 0x0102_0304_0506_0708);
    let read: Vec<String> = meta
        .payloads()
        .map(|payload| {
            let payload = payload.unwrap();
            let pages = payload.pages();
            match payload {
                Payload::Data { location, checksum } => {
                    format!("data {:#x} {checksum:#x} {pages}", location.get())
                }
                Payload::Parity { location, p, q } => {
                    format!("parity {:#x} {p:#x} {q:?} {pages}", location.get())
                }
                Payload::Flush(rows) => {
                    let rows: Vec<u64> = rows.map(DevSector::get).collect();
                    format!("flush {rows:?} {pages}")
                }
            }
        })
        .collect();
    assert_eq!(
        read,
        [
            "data 0x1122334455667788 0xdeadbeef 1",
            "parity 0x78 0xcafef00d None 1",
            "parity 0x80 0x1 Some(2) 2",
            "flush [8, 16] 0",
        ]
    );
}

#[test]
fn an_empty_block_is_valid() {
    let mut buf = page();
    MetaBuilder::new(&mut buf, u64::MAX, at(0)).finish(SEED, crc);
    let meta = MetaBlock::parse(&buf, at(0), None, SEED, crc).unwrap();
    assert_eq!(meta.seq(), u64::MAX);
    assert!(meta.payloads().next().is_none());
}

#[test]
fn entries_that_do_not_fit_change_nothing() {
    let mut buf = page();
    let mut meta = MetaBuilder::new(&mut buf, 1, at(0));
    for n in 0..203 {
        meta.data(ArraySector::new(n * 8), 0).unwrap();
    }
    assert_eq!(meta.used(), 4092);
    assert_eq!(meta.data(ArraySector::new(0), 0), Err(MetaFull));
    assert_eq!(meta.parity(DevSector::new(0), 0, None), Err(MetaFull));
    assert_eq!(meta.parity(DevSector::new(0), 0, Some(0)), Err(MetaFull));
    assert_eq!(meta.flush(core::iter::empty()), Err(MetaFull));
    assert_eq!(meta.used(), 4092);
    meta.finish(SEED, crc);
    let meta = MetaBlock::parse(&buf, at(0), Some(1), SEED, crc).unwrap();
    assert_eq!(meta.payloads().filter(|p| p.is_ok()).count(), 203);
}

/// The shell fills a block a few entries at a time: nothing tells it from one filled at once.
#[test]
fn a_block_filled_in_steps_is_the_same() {
    let mut buf = page();
    let begun = MetaBuilder::new(&mut buf, 0x0102_0304_0506_0708, at(0x10)).used();
    let mut meta = MetaBuilder::resume(&mut buf, begun);
    meta.data(ArraySector::new(0x1122_3344_5566_7788), 0xdead_beef)
        .unwrap();
    meta.parity(DevSector::new(0x78), 0xcafe_f00d, None)
        .unwrap();
    let filled = meta.used();
    let mut meta = MetaBuilder::resume(&mut buf, filled);
    meta.parity(DevSector::new(0x80), 1, Some(2)).unwrap();
    meta.flush([DevSector::new(8), DevSector::new(16)].into_iter())
        .unwrap();
    let filled = meta.used();
    MetaBuilder::resume(&mut buf, filled).finish(SEED, crc);
    assert!(buf == sample());
}

#[test]
fn a_flush_payload_may_fill_the_block() {
    let rows = |n: u64| {
        (0..n)
            .map(|row| DevSector::new(row * 8))
            .collect::<Vec<_>>()
    };
    let mut buf = page();
    let mut meta = MetaBuilder::new(&mut buf, 1, at(0));
    assert_eq!(meta.flush(rows(508).into_iter()), Err(MetaFull));
    meta.flush(rows(507).into_iter()).unwrap();
    assert_eq!(meta.used(), BLOCK_SIZE);
    assert_eq!(flush_entry(507), Some(BLOCK_SIZE - META_HEADER));
    assert_eq!(flush_entry(usize::MAX), None);
    meta.finish(SEED, crc);
    let meta = MetaBlock::parse(&buf, at(0), Some(1), SEED, crc).unwrap();
    match meta.payloads().next() {
        Some(Ok(Payload::Flush(read))) => assert_eq!(read.collect::<Vec<_>>(), rows(507)),
        other => panic!("{other:?}"),
    }
}

/// An iterator whose length is not what it says.
struct Liar(u64);

impl Iterator for Liar {
    type Item = DevSector;

    fn next(&mut self) -> Option<DevSector> {
        self.0 += 1;
        Some(DevSector::new(self.0))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (2, Some(2))
    }
}

impl ExactSizeIterator for Liar {}

#[test]
fn a_wrong_length_does_not_write_beyond_the_entry() {
    let mut buf = page();
    let mut meta = MetaBuilder::new(&mut buf, 1, at(0));
    meta.flush(Liar(0)).unwrap();
    assert_eq!(meta.used(), 32 + 24);
    meta.finish(SEED, crc);
    assert!(buf[56..].iter().all(|&byte| byte == 0));
}

#[test]
fn every_damaged_bit_is_noticed() {
    let good = sample();
    for bit in 0..BLOCK_SIZE * 8 {
        let mut buf = good.clone();
        buf[bit / 8] ^= 1 << (bit % 8);
        let error = parse(&buf).unwrap_err();
        match bit / 8 {
            0..=3 => assert!(matches!(error, MetaError::BadMagic { .. })),
            8 => assert!(matches!(error, MetaError::BadVersion { .. })),
            16..=23 => assert!(matches!(error, MetaError::WrongSeq { .. })),
            24..=31 => assert!(matches!(error, MetaError::WrongPosition { .. })),
            _ => assert!(matches!(error, MetaError::BadChecksum { .. })),
        }
    }
}

#[test]
fn a_torn_block_is_not_an_old_one() {
    // A previous lap's block at the same place, overwritten up to some sector.
    let mut old = page();
    let mut meta = MetaBuilder::new(&mut old, 5, at(0x10));
    for n in 0..203 {
        meta.data(ArraySector::new(n * 8), 7).unwrap();
    }
    meta.finish(SEED, crc);
    assert!(matches!(
        parse(&old),
        Err(MetaError::WrongSeq { found: 5, .. })
    ));
    for sectors in 1..8 {
        let mut torn = sample();
        torn[sectors * 512..].copy_from_slice(&old[sectors * 512..]);
        assert!(matches!(parse(&torn), Err(MetaError::BadChecksum { .. })));
    }
}

#[test]
fn another_array_s_block_is_not_ours() {
    let buf = sample();
    let other = MetaBlock::parse(&buf, at(0x10), None, SEED ^ 1, crc);
    assert!(matches!(other, Err(MetaError::BadChecksum { .. })));
}

#[test]
fn impossible_sizes_are_refused() {
    for size in [0, 31, 4097, u32::MAX] {
        let mut buf = sample();
        buf[12..16].copy_from_slice(&size.to_le_bytes());
        resum(&mut buf);
        assert_eq!(parse(&buf).unwrap_err(), MetaError::BadSize { found: size });
    }
}

/// The error of the first bad entry, after `change` to the sample's bytes.
fn payload_error(change: impl Fn(&mut [u8; BLOCK_SIZE])) -> (usize, Option<PayloadError>) {
    let mut buf = sample();
    change(&mut buf);
    resum(&mut buf);
    let mut payloads = parse(&buf).unwrap().payloads();
    let mut good = 0;
    loop {
        match payloads.next() {
            Some(Ok(_)) => good += 1,
            Some(Err(error)) => {
                assert!(payloads.next().is_none());
                return (good, Some(error));
            }
            None => return (good, None),
        }
    }
}

#[test]
fn bad_entries_are_named() {
    assert_eq!(payload_error(|_| {}), (4, None));
    let size = |size: u8| payload_error(move |buf| buf[12] = size);
    for cut in 33..120 {
        match (cut, size(cut)) {
            (52, found) => assert_eq!(found, (1, None)),
            (72, found) => assert_eq!(found, (2, None)),
            (96, found) => assert_eq!(found, (3, None)),
            (_, (good, Some(PayloadError::Truncated { offset }))) => {
                assert_eq!(offset, [32, 52, 72, 96][good]);
            }
            (_, other) => panic!("{other:?}"),
        }
    }
    let set = |at: usize, value: u8| payload_error(move |buf| buf[at] = value);
    assert_eq!(
        set(32, 3),
        (
            0,
            Some(PayloadError::UnknownType {
                offset: 32,
                found: 3
            })
        )
    );
    let flags = |offset, found| Some(PayloadError::UnknownFlags { offset, found });
    assert_eq!(set(54, 1), (1, flags(52, 1)));
    let bad = |offset, found| Some(PayloadError::BadSize { offset, found });
    assert_eq!(set(36, 16), (0, bad(32, 16)));
    assert_eq!(set(36, 0), (0, bad(32, 0)));
    assert_eq!(set(56, 24), (1, bad(52, 24)));
    assert_eq!(set(100, 12), (3, bad(96, 12)));
    assert_eq!(
        set(103, 0xff),
        (3, Some(PayloadError::Truncated { offset: 96 }))
    );
}

#[test]
fn positions() {
    assert_eq!(JournalBlock::from_sector(16), Some(at(2)));
    assert_eq!(JournalBlock::from_sector(17), None);
    assert_eq!(at(2).sector(), 16);
    assert_eq!(at(2).to_string(), "2");
}

#[test]
fn errors_say_what_was_found() {
    let errors: [(MetaError, &str); 6] = [
        (
            MetaError::BadMagic { found: 1 },
            "magic is 0x00000001 instead of 0x6433c509",
        ),
        (
            MetaError::BadVersion { found: 2 },
            "version is 2 instead of 1",
        ),
        (
            MetaError::WrongPosition {
                expected: 8,
                found: 0,
            },
            "position is 0 instead of 8",
        ),
        (
            MetaError::WrongSeq {
                expected: 8,
                found: 7,
            },
            "sequence is 7 instead of 8",
        ),
        (
            MetaError::BadChecksum {
                expected: 1,
                found: 2,
            },
            "checksum is 0x00000002 instead of 0x00000001",
        ),
        (
            MetaError::BadSize { found: 9 },
            "size of 9 bytes is impossible",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
    let (_, error) = payload_error(|buf| buf[32] = 3);
    assert_eq!(
        error.unwrap().to_string(),
        "entry at byte 32 has the unknown type 3"
    );
    let (_, error) = payload_error(|buf| buf[34] = 3);
    assert_eq!(
        error.unwrap().to_string(),
        "entry at byte 32 has unknown flags 0x3"
    );
    let (_, error) = payload_error(|buf| buf[36] = 3);
    assert_eq!(
        error.unwrap().to_string(),
        "entry at byte 32 has the impossible size 3"
    );
    let (_, error) = payload_error(|buf| buf[12] = 33);
    assert_eq!(error.unwrap().to_string(), "entry at byte 32 is cut off");
}
