// SPDX-License-Identifier: GPL-2.0

//! Which arrays, and which writes to them.

use crate::journal::log::JournalCache;
use crate::schedule::STEPS;
use crate::setup::Setup;

/// An array, and the state that it is in when the workload begins.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) setup: Setup,
    /// A member that is missing from the start.
    pub(super) without: Option<usize>,
    /// A member whose first row is dead.
    pub(super) dead: Option<usize>,
    /// Writes of one page that were done before and are still in the log and in the caches.
    pub(super) before: u64,
    /// A flush comes as soon as something was acknowledged that is not durable.
    pub(super) flush: bool,
    /// The last write is FUA.
    pub(super) fua: bool,
}

fn array(level: i32, disks: u32, rows: u32, stripes: usize) -> Array {
    Array {
        setup: Setup {
            level,
            layout: if level == 4 { 0 } else { 2 },
            disks,
            rows,
            stripes,
            blocks: 4 * (u64::from(disks) + 1),
            units: 3,
            cache: JournalCache::Volatile { max_flushes: 1 },
            volatile: true,
            tail: 1,
            steps: 0,
            depth: usize::MAX,
            fail: 0,
            read_error: 0,
            journal_fail: 0,
            op_fail: 0,
            missing: 0,
            hold: false,
            sync: false,
            discard: true,
            pace: [1; STEPS],
            write_back: false,
            toggle: false,
            stops: false,
            early: false,
            fua: 0,
            preflush: 0,
            dead: 0,
            odd: 0,
            log: usize::MAX,
            short: 0,
            poor: false,
            reserve: 0,
        },
        without: None,
        dead: None,
        before: 0,
        flush: false,
        fua: false,
    }
}

impl Array {
    /// All arrays, the most telling first.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![
            array(5, 3, 1, 2),
            Self {
                before: 3,
                ..array(5, 3, 2, 1)
            },
            array(6, 4, 1, 2),
            Self {
                flush: true,
                ..array(5, 3, 1, 2).cached()
            },
            Self {
                without: Some(0),
                fua: true,
                ..array(5, 3, 1, 2).cached()
            },
            array(4, 3, 1, 2),
            array(5, 3, 2, 1),
            array(5, 4, 1, 2),
            Self {
                before: 2,
                ..array(6, 4, 1, 1)
            },
            Self {
                without: Some(0),
                ..array(5, 3, 1, 2)
            },
            Self {
                without: Some(1),
                ..array(6, 4, 1, 2)
            },
        ];
        all.push(array(6, 4, 1, 2).cached());
        let mut through = array(5, 3, 1, 2);
        through.setup.cache = JournalCache::None;
        through.setup.volatile = false;
        all.push(through);
        for (array, slot) in [(array(5, 3, 1, 2), 0), (array(6, 4, 1, 2), 1)] {
            let dead = Some(slot);
            all.push(Self { dead, ..array });
        }
        all.push(Self {
            dead: Some(2),
            ..array(5, 3, 1, 2).cached()
        });
        all
    }

    /// With a write-back cache, and room for it in the journal; writes to it are acknowledged early.
    fn cached(mut self) -> Self {
        self.setup.write_back = true;
        self.setup.early = true;
        self.setup.units += 4;
        self.setup.blocks += 8;
        self
    }

    /// Parity members.
    pub(super) fn parity(&self) -> usize {
        if self.setup.level == 6 {
            2
        } else {
            1
        }
    }

    /// Places at which writes begin and end: inside of a page, at its end, at the end of the array,
    /// and if there are more, at the end of the first stripe or strip, and inside of another page.
    pub(super) fn places(&self, n: usize) -> Vec<u64> {
        let c = &self.setup;
        let data = u64::from(c.disks) - self.parity() as u64;
        let all = c.stripes as u64 * u64::from(c.rows) * data * 8;
        let middle = if c.stripes > 1 { all / 2 } else { 16 };
        let mut places: Vec<u64> = [0, 3, 8, all, middle, 13].into_iter().take(n).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// All writes between any two of the places, as sector and length.
    pub(super) fn writes(&self, places: usize) -> Vec<(u64, u64)> {
        let places = self.places(places);
        let mut writes = Vec::new();
        for (i, from) in places.iter().enumerate() {
            writes.extend(places[i + 1..].iter().map(|to| (*from, to - from)));
        }
        writes
    }

    /// In a few words.
    pub(super) fn name(&self) -> String {
        let c = &self.setup;
        let mut name = format!(
            "raid{} of {} members, {} stripes of {} rows, {} blocks of journal",
            c.level, c.disks, c.stripes, c.rows, c.blocks
        );
        if let Some(slot) = self.without {
            name += &format!(", member {slot} missing");
        }
        if let Some(slot) = self.dead {
            name += &format!(", a dead row on member {slot}");
        }
        if self.before > 0 {
            name += &format!(", {} writes in the log", self.before);
        }
        if !c.volatile {
            name += ", no caches";
        }
        if c.write_back {
            name += ", write-back";
        }
        if self.flush {
            name += ", flushes";
        }
        if self.fua {
            name += ", the last write FUA";
        }
        name
    }
}

/// All sequences of `n` of `m` things.
pub(super) fn sequences(m: usize, n: u32) -> impl Iterator<Item = Vec<usize>> {
    (0..m.pow(n)).map(move |code| (0..n).map(|k| code / m.pow(k) % m).collect())
}

/// When the writes after the first come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// So many steps after the one before.
    After(u64),
    /// When the one before has ended.
    Idle,
    /// When the log has been emptied too, and the cache of stripes.
    Settled,
}

impl Arrival {
    /// Those that are tried.
    pub(super) const ALL: [Self; 6] = [
        Self::After(0),
        Self::Idle,
        Self::After(6),
        Self::Settled,
        Self::After(3),
        Self::After(10),
    ];
}
