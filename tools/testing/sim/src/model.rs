// SPDX-License-Identifier: GPL-2.0

//! What the array's users know: every sector with the writes that it may show.

use crate::block::mix;
use crate::tape::Rng;

/// What its user was told about a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Pending,
    Ok,
    Failed,
}

/// A write of a sector.
#[derive(Clone, Copy, Debug)]
struct Version {
    write: u32,
    value: u64,
    start: u64,
    end: u64,
    fate: Fate,
    /// When it failed before any member saw it, if it did.
    withdrawn: u64,
}

impl Version {
    /// Whether the write was acknowledged by `time`, and began only after `older` had ended.
    fn replaces(&self, older: &Self, time: u64) -> bool {
        self.fate == Fate::Ok && self.end <= time && older.end < self.start
    }
}

/// The array as plain sectors.
pub(crate) struct Model {
    sectors: Vec<Vec<Version>>,
    writes: u32,
    values: Rng,
    garbage: Rng,
}

impl Model {
    /// An array of that many sectors, each written once.
    pub(crate) fn new(sectors: u64) -> Self {
        let mut values = Rng::new(0);
        let first = |_| {
            vec![Version {
                write: 0,
                value: values.next(),
                start: 0,
                end: 0,
                fate: Fate::Ok,
                withdrawn: u64::MAX,
            }]
        };
        Self {
            sectors: (0..sectors).map(first).collect(),
            writes: 0,
            values,
            garbage: Rng::new(1),
        }
    }

    /// Its size.
    pub(crate) fn len(&self) -> u64 {
        self.sectors.len() as u64
    }

    /// What the sector holds at first.
    pub(crate) fn first(&self, sector: u64) -> u64 {
        self.sectors[sector as usize][0].value
    }

    /// A number that nobody wrote.
    pub(crate) fn garbage(&mut self) -> u64 {
        self.garbage.next()
    }

    /// Names a write.
    pub(crate) fn name_write(&mut self) -> u32 {
        self.writes += 1;
        self.writes
    }

    /// A write begins; `oldest` is when the oldest read under way began. Returns what is written.
    pub(crate) fn begin_write(
        &mut self,
        write: u32,
        at: u64,
        n: u64,
        now: u64,
        oldest: u64,
    ) -> Vec<u64> {
        let range = at as usize..(at + n) as usize;
        let mut data = Vec::with_capacity(n as usize);
        for versions in &mut self.sectors[range] {
            if versions.len() > 3 {
                let all = versions.clone();
                versions.retain(|old| !all.iter().any(|new| new.replaces(old, oldest)));
            }
            let value = self.values.next();
            data.push(value);
            versions.push(Version {
                write,
                value,
                start: now,
                end: u64::MAX,
                fate: Fate::Pending,
                withdrawn: u64::MAX,
            });
        }
        data
    }

    /// The user was told how a write went.
    pub(crate) fn end_write(&mut self, write: u32, at: u64, n: u64, now: u64, ok: bool) {
        let range = at as usize..(at + n) as usize;
        for v in self.sectors[range].iter_mut().flatten() {
            if v.write == write {
                v.end = now;
                v.fate = if ok { Fate::Ok } else { Fate::Failed };
            }
        }
    }

    /// A write of a sector has failed before any member saw it: only a power cut may bring it back,
    /// because it may be in the journal.
    pub(crate) fn withdraw(&mut self, write: u32, sector: u64, now: u64) {
        for v in &mut self.sectors[sector as usize] {
            if v.write == write {
                v.withdrawn = now;
            }
        }
    }

    /// Whether the sector may show `value` to somebody who began to look at `time`; if not, why.
    pub(crate) fn explain(
        &self,
        sector: u64,
        value: u64,
        time: u64,
        cut: bool,
    ) -> Result<(), String> {
        let versions = &self.sectors[sector as usize];
        let Some(found) = versions.iter().find(|v| v.value == value) else {
            return Err(format!(
                "sector {sector} of the array holds what nobody wrote, or what was long replaced"
            ));
        };
        if found.withdrawn < time && !cut {
            return Err(format!(
                "sector {sector} of the array holds write {}, which failed at step {} before a member saw it",
                found.write, found.withdrawn
            ));
        }
        match versions.iter().find(|v| v.replaces(found, time)) {
            None => Ok(()),
            Some(new) => Err(format!(
                "sector {sector} of the array holds write {} ({:?}), but write {}, which began after that, was acknowledged at step {}",
                found.write, found.fate, new.write, new.end
            )),
        }
    }

    /// A number that is the same for all models that allow the same after a power cut at `time`.
    pub(crate) fn mark(&self, time: u64) -> u64 {
        self.sectors.iter().fold(0, |all, versions| {
            let allowed = versions
                .iter()
                .filter(|v| !versions.iter().any(|new| new.replaces(v, time)));
            // In any order.
            mix(all, allowed.fold(0, |sum, v| sum ^ mix(0, v.value)))
        })
    }

    /// The power was cut, and the sector holds `value`: from now on nothing else will do.
    pub(crate) fn settle(&mut self, sector: u64, value: u64) {
        let versions = &mut self.sectors[sector as usize];
        if versions.len() == 1 {
            return;
        }
        versions.retain(|v| v.value == value);
        for v in versions {
            v.start = 0;
            v.end = 0;
            v.fate = Fate::Ok;
            v.withdrawn = u64::MAX;
        }
    }
}
