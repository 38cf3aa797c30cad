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
    /// Since when a power cut cannot take it, if it was acknowledged.
    durable: u64,
    /// Since when it needs no journal for that.
    kept: u64,
}

impl Version {
    /// Whether the write was acknowledged by `time`, and is what `eyes` see, and began only after
    /// `older` had ended.
    fn replaces(&self, older: &Self, time: u64, eyes: Eyes) -> bool {
        let since = match eyes {
            Eyes::Up | Eyes::Stopped => self.end,
            Eyes::Cut => self.end.max(self.durable),
            Eyes::Bare => self.end.max(self.kept),
        };
        self.fate == Fate::Ok && since <= time && older.end < self.start
    }

    /// As if it had been there for ever.
    fn settle(&mut self) {
        self.start = 0;
        self.end = 0;
        self.fate = Fate::Ok;
        self.withdrawn = u64::MAX;
        self.durable = 0;
        self.kept = 0;
    }
}

/// Who looks at the array, and what went before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Eyes {
    /// Its users: nothing happened to it.
    Up,
    /// It was recovered, and the disks kept their power.
    Stopped,
    /// It was recovered after a power cut.
    Cut,
    /// The power was cut, and the journal is gone.
    Bare,
}

/// The array as plain sectors.
#[derive(Clone)]
pub(crate) struct Model {
    sectors: Vec<Vec<Version>>,
    writes: u32,
    values: Rng,
    garbage: Rng,
    /// Whether somebody may look who has no journal.
    bare: bool,
}

impl Model {
    /// An array of that many sectors, each written once. `bare`: [`Eyes::Bare`] may look.
    pub(crate) fn new(sectors: u64, bare: bool) -> Self {
        let mut values = Rng::new(0);
        let first = |_| {
            vec![Version {
                write: 0,
                value: values.next(),
                start: 0,
                end: 0,
                fate: Fate::Ok,
                withdrawn: u64::MAX,
                durable: 0,
                kept: 0,
            }]
        };
        Self {
            sectors: (0..sectors).map(first).collect(),
            writes: 0,
            values,
            garbage: Rng::new(1),
            bare,
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
        // Who may see most of what is old.
        let eyes = if self.bare { Eyes::Bare } else { Eyes::Cut };
        let mut data = Vec::with_capacity(n as usize);
        for versions in &mut self.sectors[range] {
            if versions.len() > 3 {
                let all = versions.clone();
                versions.retain(|old| !all.iter().any(|new| new.replaces(old, oldest, eyes)));
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
                durable: u64::MAX,
                kept: u64::MAX,
            });
        }
        data
    }

    /// The user was told how a write went. Of the nth sector `early` says whether that was before it
    /// was stable in the journal.
    pub(crate) fn end_write(
        &mut self,
        write: u32,
        (at, n): (u64, u64),
        now: u64,
        ok: bool,
        early: impl Fn(usize) -> bool,
    ) {
        let range = at as usize..(at + n) as usize;
        for (nth, versions) in self.sectors[range].iter_mut().enumerate() {
            for v in versions.iter_mut().filter(|v| v.write == write) {
                v.end = now;
                v.fate = if ok { Fate::Ok } else { Fate::Failed };
                if !early(nth) {
                    v.durable = v.durable.min(now);
                }
            }
        }
    }

    /// A write of a sector is stable in the journal, whatever its user knows.
    pub(crate) fn stable(&mut self, write: u32, sector: u64, now: u64) {
        for v in &mut self.sectors[sector as usize] {
            if v.write == write {
                v.durable = v.durable.min(now);
            }
        }
    }

    /// A flush that began at `start` is done: what had been acknowledged by then is durable; `bare`:
    /// also without the journal, which was lost before it began.
    pub(crate) fn flushed(&mut self, start: u64, now: u64, bare: bool) {
        for v in self.sectors.iter_mut().flatten() {
            if v.fate != Fate::Ok || v.end >= start {
                continue;
            }
            v.durable = v.durable.min(now);
            if bare {
                v.kept = v.kept.min(now);
            }
        }
    }

    /// Whether something was acknowledged that a power cut may take.
    pub(crate) fn is_at_risk(&self) -> bool {
        let mut all = self.sectors.iter().flatten();
        all.any(|v| v.fate == Fate::Ok && v.durable == u64::MAX)
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

    /// Whether the sector may show `value` to `eyes` that began to look at `time`; if not, why.
    pub(crate) fn explain(
        &self,
        sector: u64,
        value: u64,
        time: u64,
        eyes: Eyes,
    ) -> Result<(), String> {
        let versions = &self.sectors[sector as usize];
        let Some(found) = versions.iter().find(|v| v.value == value) else {
            return Err(format!(
                "sector {sector} of the array holds what nobody wrote, or what was long replaced"
            ));
        };
        // The journal may bring it back.
        let recovered = matches!(eyes, Eyes::Stopped | Eyes::Cut);
        if found.withdrawn < time && !recovered {
            return Err(format!(
                "sector {sector} of the array holds write {}, which failed at step {} before a member saw it",
                found.write, found.withdrawn
            ));
        }
        let Some(new) = versions.iter().find(|v| v.replaces(found, time, eyes)) else {
            return Ok(());
        };
        let since = match eyes {
            Eyes::Cut if new.durable > new.end => format!(", and durable at step {}", new.durable),
            Eyes::Bare => format!(", and without the journal durable at step {}", new.kept),
            Eyes::Up | Eyes::Stopped | Eyes::Cut => String::new(),
        };
        Err(format!(
            "sector {sector} of the array holds write {} ({:?}), but write {}, which began after that, was acknowledged at step {}{since}",
            found.write, found.fate, new.write, new.end
        ))
    }

    /// A number that is the same for all models that allow the same after a power cut at `time`.
    pub(crate) fn mark(&self, time: u64) -> u64 {
        self.sectors.iter().fold(0, |all, versions| {
            let allowed = versions
                .iter()
                .filter(|v| !versions.iter().any(|new| new.replaces(v, time, Eyes::Cut)));
            // In any order.
            mix(all, allowed.fold(0, |sum, v| sum ^ mix(0, v.value)))
        })
    }

    /// The power was cut, and nobody can tell what each sector holds that is not among the `known`: it
    /// is what `eyes` may see at `time`, if it comes back.
    pub(crate) fn lose_sight(&mut self, known: &[(u64, u64)], time: u64, eyes: Eyes) {
        let mut seen = vec![false; self.sectors.len()];
        for (at, _) in known {
            seen[*at as usize] = true;
        }
        let unseen = self.sectors.iter_mut().zip(seen).filter(|(_, seen)| !seen);
        for (versions, _) in unseen.filter(|(versions, _)| versions.len() > 1) {
            let all = versions.clone();
            versions.retain(|old| !all.iter().any(|new| new.replaces(old, time, eyes)));
            versions.iter_mut().for_each(Version::settle);
        }
    }

    /// The power was cut, and the sector holds `value`: from now on nothing else will do.
    pub(crate) fn settle(&mut self, sector: u64, value: u64) {
        let versions = &mut self.sectors[sector as usize];
        if versions.len() == 1 {
            return;
        }
        versions.retain(|v| v.value == value);
        versions.iter_mut().for_each(Version::settle);
    }
}
