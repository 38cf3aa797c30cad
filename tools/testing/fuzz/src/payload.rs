// SPDX-License-Identifier: GPL-2.0

//! Target `payload`: meta blocks and their entries.

use crate::disk::crc32c;
use crate::fixup::seal;
use crate::journal::format::{
    flush_entry, JournalBlock, MetaBlock, MetaBuilder, MetaError, Payload, BLOCK_SIZE, META_HEADER,
};

const SEED: u32 = 0x5eed;

fn field(page: &[u8; BLOCK_SIZE], at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().unwrap_or_default())
}

/// Writes an entry again.
fn rewrite(builder: &mut MetaBuilder<'_>, payload: &Payload<'_>) {
    match payload {
        Payload::Data { location, checksum } => builder.data(*location, *checksum),
        Payload::Parity { location, p, q } => builder.parity(*location, *p, *q),
        Payload::Flush(rows) => {
            let rows: Vec<_> = rows.clone().collect();
            assert!(flush_entry(rows.len()).is_some_and(|len| len <= BLOCK_SIZE));
            builder.flush(rows.into_iter())
        }
    }
    .expect("no room for what was there");
}

/// Reads the entries of a block and writes them again: the same bytes must come out.
fn entries(page: &[u8; BLOCK_SIZE], unit: &MetaBlock<'_>, position: JournalBlock) {
    let mut again = [0; BLOCK_SIZE];
    let mut builder = MetaBuilder::new(&mut again, unit.seq(), position);
    let mut good = true;
    // No entry is shorter than 8 bytes.
    let mut left = BLOCK_SIZE / 8;
    let mut payloads = unit.payloads();
    for payload in payloads.by_ref() {
        assert!(good, "entries after one that is wrong");
        left = left.checked_sub(1).expect("more entries than bytes");
        match payload {
            Ok(payload) => {
                assert!(payload.pages() <= 2);
                rewrite(&mut builder, &payload);
            }
            Err(error) => {
                good = false;
                assert!(error.to_string().starts_with("entry at byte "));
            }
        }
    }
    assert!(payloads.next().is_none());
    let used = builder.used();
    assert_eq!(again[META_HEADER..used], page[META_HEADER..used]);
    let size = field(page, 12) as u32;
    assert!(!good || size as usize == used, "{size} {used}");
}

/// A meta block: first byte 0: as it is; 1: with a right checksum; else: with a right header, too.
pub fn payload(data: &[u8]) {
    let Some((help, bytes)) = data.split_first() else {
        return;
    };
    let mut page = [0; BLOCK_SIZE];
    let len = bytes.len().min(BLOCK_SIZE);
    page[..len].copy_from_slice(&bytes[..len]);
    if help % 3 == 2 {
        // The header's second half is the fuzzer's, so are the entries.
        page[..4].copy_from_slice(&0x6433_c509_u32.to_le_bytes());
        page[8] = 1;
    }
    if help % 3 != 0 {
        seal(&mut page, SEED);
    }
    let seq = field(&page, 16);
    let position = JournalBlock::from_sector(field(&page, 24) & !7).unwrap_or(JournalBlock::new(0));
    let parse = |position, seq| MetaBlock::parse(&page, position, seq, SEED, crc32c);
    match parse(position, None) {
        Ok(unit) => {
            assert_eq!(unit.seq(), seq);
            assert_eq!(field(&page, 24), position.sector());
            entries(&page, &unit, position);
            let wrong = parse(position, Some(seq.wrapping_add(1))).err();
            assert!(matches!(wrong, Some(MetaError::WrongSeq { .. })));
            let elsewhere = JournalBlock::new(position.get() ^ 1);
            let wrong = parse(elsewhere, None).err();
            assert!(matches!(wrong, Some(MetaError::WrongPosition { .. })));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let same = parse(position, Some(seq)).err();
            assert_eq!(same, Some(error));
        }
    }
}
