// SPDX-License-Identifier: GPL-2.0

//! Devices with a volatile cache that a crash takes apart, byte by byte.

use crate::journal::format::{JournalBlock, BLOCK_SIZE};
use std::collections::BTreeMap;

pub(crate) type Page = [u8; BLOCK_SIZE];

/// A generator whose seed replays everything (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        (value % sides as u64) as usize
    }
}

/// A write that the device has not made durable.
#[derive(Clone)]
struct Unsafe<K, V> {
    id: u64,
    complete: bool,
    key: K,
    value: V,
}

/// A store of values, with writes under way and writes that only its cache holds.
///
/// A crash makes any subset of them durable; later writes to the same place win over earlier ones
/// only if both survive.
#[derive(Clone)]
pub(crate) struct Store<K, V> {
    pub(crate) durable: BTreeMap<K, V>,
    pending: Vec<Unsafe<K, V>>,
    next_id: u64,
    volatile: bool,
}

impl<K: Ord + Copy, V: Clone> Store<K, V> {
    pub(crate) fn new(volatile: bool) -> Self {
        Self {
            durable: BTreeMap::new(),
            pending: Vec::new(),
            next_id: 0,
            volatile,
        }
    }

    /// Starts a write and returns its name.
    pub(crate) fn submit(&mut self, key: K, value: V) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.push(Unsafe {
            id,
            complete: false,
            key,
            value,
        });
        id
    }

    /// Completes a write: it is in the cache now, or durable if there is none.
    pub(crate) fn complete(&mut self, id: u64) {
        let at = self.pending.iter().position(|write| write.id == id);
        let at = at.expect("completed twice");
        if self.volatile {
            self.pending[at].complete = true;
        } else {
            let write = self.pending.remove(at);
            self.durable.insert(write.key, write.value);
        }
    }

    /// Discards what is stored at a place, and what is on its way there.
    pub(crate) fn discard(&mut self, key: K) {
        self.durable.remove(&key);
        self.pending.retain(|write| write.key != key);
    }

    /// Starts a flush: it will cover what is complete now.
    pub(crate) fn start_flush(&self) -> Vec<u64> {
        let complete = self.pending.iter().filter(|write| write.complete);
        complete.map(|write| write.id).collect()
    }

    /// Completes a flush.
    pub(crate) fn finish_flush(&mut self, covered: &[u64]) {
        for write in core::mem::take(&mut self.pending) {
            if covered.contains(&write.id) {
                self.durable.insert(write.key, write.value);
            } else {
                self.pending.push(write);
            }
        }
    }

    /// What a reader sees before a crash: the newest complete write.
    pub(crate) fn read(&self, key: K) -> Option<&V> {
        let mut complete = self.pending.iter().filter(|write| write.complete);
        complete
            .rfind(|write| write.key == key)
            .map(|write| &write.value)
            .or_else(|| self.durable.get(&key))
    }

    /// Loses power: `mix` says what is left of an old value under a newer one.
    pub(crate) fn crash(&mut self, dice: &mut Dice, mix: impl Fn(&mut Dice, Option<&V>, &V) -> V) {
        // Nothing, everything, or anything between.
        let mood = dice.roll(4);
        for write in core::mem::take(&mut self.pending) {
            let survives = match mood {
                0 => false,
                1 => true,
                _ => dice.roll(2) == 0,
            };
            if survives {
                let value = if mood == 1 {
                    write.value
                } else {
                    mix(dice, self.durable.get(&write.key), &write.value)
                };
                self.durable.insert(write.key, value);
            }
        }
    }
}

/// The journal device.
pub(crate) type JournalDevice = Store<u64, Box<Page>>;

impl JournalDevice {
    pub(crate) fn read_block(&self, block: JournalBlock, buf: &mut Page) {
        match self.read(block.get()) {
            Some(page) => buf.copy_from_slice(&page[..]),
            None => buf.fill(0),
        }
    }

    /// Loses power; pages tear between sectors.
    pub(crate) fn power_cut(&mut self, dice: &mut Dice) {
        self.crash(dice, |dice, old, new| {
            let mut page = old.cloned().unwrap_or_else(|| Box::new([0; BLOCK_SIZE]));
            let torn = dice.roll(4) == 0;
            for (old, new) in page.chunks_mut(512).zip(new.chunks(512)) {
                if !torn || dice.roll(2) == 0 {
                    old.copy_from_slice(new);
                }
            }
            page
        });
    }
}

/// The members: what lies in a row of a member.
pub(crate) type Members = Store<(u64, u16), u64>;

impl Members {
    /// Loses power; pages are whole here, because a torn page is the file system's to expect only
    /// where the journal did not promise more, and the journal replays whole pages.
    pub(crate) fn power_cut(&mut self, dice: &mut Dice) {
        self.crash(dice, |_, _, new| *new);
    }
}
