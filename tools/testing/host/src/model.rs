// SPDX-License-Identifier: GPL-2.0

//! What a log says, by a model that remembers every entry, and what a scan of it finds.

use crate::crc::crc32c;
use crate::device::{JournalDevice, Members, Page};
use crate::journal::format::{JournalBlock, BLOCK_SIZE};
use crate::journal::recovery::{self, Entry};
use crate::raid::units::DevSector;
use std::collections::BTreeMap;

pub(crate) const SEED: u32 = 0xfeed_beef;
pub(crate) const ROWS: u64 = 10;

/// A page whose content tells who wrote it, and that it is whole.
pub(crate) fn page_of(tag: u64) -> Box<Page> {
    let mut page = Box::new([0; BLOCK_SIZE]);
    for (nth, word) in page.chunks_mut(8).enumerate() {
        word.copy_from_slice(&(tag ^ (nth as u64) << 40).to_le_bytes());
    }
    page
}

pub(crate) fn tag_of(page: &Page) -> u64 {
    let tag = u64::from_le_bytes(page[..8].try_into().unwrap());
    assert!(page[..] == page_of(tag)[..], "a torn page was replayed");
    tag
}

/// The table of pending rows: the checksum stands for the page.
pub(crate) type Table = BTreeMap<u64, BTreeMap<u16, Entry>>;

pub(crate) struct PendingTable(pub(crate) Table);

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

    fn first(&self) -> Option<DevSector> {
        self.0.keys().next().copied().map(DevSector::new)
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
pub(crate) struct MemberSink<'a> {
    pub(crate) journal: &'a JournalDevice,
    pub(crate) members: &'a mut Members,
    pub(crate) rows_left: usize,
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
pub(crate) struct Said {
    pub(crate) seq: u64,
    pub(crate) row: u64,
    pub(crate) data: Vec<(u16, u64)>,
    /// Empty without parity.
    pub(crate) parity: Vec<(u16, u64)>,
}

/// What units say taken together: what is on the members, and what is pending.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) members: BTreeMap<(u64, u16), u64>,
    pub(crate) pending: BTreeMap<(u64, u16), u64>,
}

pub(crate) fn state_before(history: &[Said], end: u64) -> State {
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
