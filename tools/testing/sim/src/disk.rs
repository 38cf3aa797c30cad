// SPDX-License-Identifier: GPL-2.0

//! A disk with a volatile cache, page by page, that loses power sector by sector.

use crate::tape::Tape;
use std::collections::BTreeMap;

/// What a page of a disk must be able to do; a page is eight sectors of 512 bytes.
pub(crate) trait Sectors: Clone {
    /// A page with the sectors of `mask` from `new` and the others from `old`.
    fn mix(old: &Self, new: &Self, mask: u8) -> Self;
    /// What a discarded page reads as.
    fn zero() -> Self;
    /// A number that tells pages apart.
    fn mark(&self) -> u64;
}

#[derive(Clone)]
struct Cached<P> {
    at: usize,
    page: P,
    /// When its write ended, in writes ended.
    stamp: u64,
}

#[derive(Clone)]
pub(crate) struct Flying<P> {
    id: u64,
    at: usize,
    pages: Vec<P>,
    fua: bool,
}

/// What a power cut leaves of writes that are not safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Nothing,
    Everything,
    /// What the cache has survives, writes under way tear.
    Flying,
    Pages,
    Sectors,
}

/// The disk.
#[derive(Clone)]
pub(crate) struct Disk<P> {
    /// What a power cut cannot take.
    platter: Vec<P>,
    /// What is read: with the cache.
    view: Vec<P>,
    cached: Vec<Cached<P>>,
    flying: Vec<Flying<P>>,
    volatile: bool,
    stamp: u64,
    next: u64,
}

impl<P: Sectors> Disk<P> {
    pub(crate) fn new(pages: Vec<P>, volatile: bool) -> Self {
        Self {
            view: pages.clone(),
            platter: pages,
            cached: Vec::new(),
            flying: Vec::new(),
            volatile,
            stamp: 0,
            next: 0,
        }
    }

    /// What a read gives now.
    pub(crate) fn read(&self, at: usize) -> &P {
        &self.view[at]
    }

    /// Starts a write; it is seen when it is complete.
    pub(crate) fn submit(&mut self, at: usize, pages: Vec<P>, fua: bool) -> u64 {
        self.next += 1;
        self.flying.push(Flying {
            id: self.next,
            at,
            pages,
            fua,
        });
        self.next
    }

    /// Whether a write to the page is under way.
    pub(crate) fn is_written(&self, at: usize) -> bool {
        self.flying
            .iter()
            .any(|w| (w.at..w.at + w.pages.len()).contains(&at))
    }

    pub(crate) fn land(&mut self, id: u64) -> Flying<P> {
        let i = self.flying.iter().position(|w| w.id == id);
        self.stamp += 1;
        self.flying.swap_remove(i.expect("a write ends once"))
    }

    /// A write is complete: in the cache, or safe if there is none.
    pub(crate) fn complete(&mut self, id: u64) {
        let write = self.land(id);
        for (i, page) in write.pages.into_iter().enumerate() {
            self.store(write.at + i, page, write.fua);
        }
    }

    fn store(&mut self, at: usize, page: P, safe: bool) {
        self.view[at] = page.clone();
        if safe || !self.volatile {
            self.cached.retain(|c| c.at != at);
            self.platter[at] = page;
        } else {
            let stamp = self.stamp;
            self.cached.push(Cached { at, page, stamp });
        }
    }

    /// A write has failed; any of it may be there all the same.
    pub(crate) fn fail(&mut self, id: u64, tape: &mut Tape) {
        let write = self.land(id);
        let some = tape.below(3);
        let mut rng = tape.fork();
        for (i, page) in write.pages.iter().enumerate() {
            let mask = match some {
                0 => 0,
                1 => 0xff,
                _ => rng.next() as u8,
            };
            let page = P::mix(&self.view[write.at + i], page, mask);
            self.store(write.at + i, page, false);
        }
    }

    /// Starts a flush: it covers what is complete now.
    pub(crate) fn flush_begin(&self) -> u64 {
        self.stamp
    }

    /// A flush that covers what was complete at `stamp` is done.
    pub(crate) fn flush_end(&mut self, stamp: u64) {
        for c in std::mem::take(&mut self.cached) {
            if c.stamp <= stamp {
                self.platter[c.at] = c.page;
            } else {
                self.cached.push(c);
            }
        }
    }

    /// Flushes and waits.
    pub(crate) fn flush(&mut self) {
        self.flush_end(self.flush_begin());
    }

    /// Discards a page.
    pub(crate) fn discard(&mut self, at: usize) {
        self.stamp += 1;
        self.store(at, P::zero(), false);
    }

    /// The power is cut. Returns what became of writes that were not safe.
    pub(crate) fn power_cut(&mut self, tape: &mut Tape) -> String {
        let (cached, flying) = (
            std::mem::take(&mut self.cached),
            std::mem::take(&mut self.flying),
        );
        if cached.is_empty() && flying.is_empty() {
            return "nothing was at risk".to_owned();
        }
        let mood = match tape.below(8) {
            0 => Mood::Nothing,
            1 => Mood::Everything,
            2 => Mood::Flying,
            3 | 4 => Mood::Pages,
            _ => Mood::Sectors,
        };
        let what = format!(
            "{} cached pages, {} writes under way: {mood:?}",
            cached.len(),
            flying.len()
        );
        let mut rng = tape.fork();
        let mut mask = |cached: bool| match mood {
            Mood::Nothing => 0,
            Mood::Everything => 0xff,
            Mood::Flying if cached => 0xff,
            Mood::Pages => 0u8.wrapping_sub((rng.next() & 1) as u8),
            Mood::Flying | Mood::Sectors => match rng.next() & 3 {
                0 => 0,
                1 => 0xff,
                _ => (rng.next() >> 8) as u8,
            },
        };
        for c in cached {
            self.platter[c.at] = P::mix(&self.platter[c.at], &c.page, mask(true));
        }
        for w in flying {
            for (i, page) in w.pages.iter().enumerate() {
                let at = w.at + i;
                self.platter[at] = P::mix(&self.platter[at], page, mask(false));
            }
        }
        self.view.clone_from(&self.platter);
        what
    }

    /// The machine stops, but the disk keeps its power: what is complete stays in the cache, and what
    /// was under way may get there. Returns what became of it.
    pub(crate) fn stop(&mut self, tape: &mut Tape) -> String {
        let flying = std::mem::take(&mut self.flying);
        if flying.is_empty() {
            return "nothing was under way".to_owned();
        }
        let some = tape.below(4);
        let mut rng = tape.fork();
        self.stamp += 1;
        for w in &flying {
            for (i, page) in w.pages.iter().enumerate() {
                let mask = match some {
                    0 => 0,
                    1 => 0xff,
                    2 => 0u8.wrapping_sub((rng.next() & 1) as u8),
                    _ => rng.next() as u8,
                };
                let page = P::mix(&self.view[w.at + i], page, mask);
                self.store(w.at + i, page, false);
            }
        }
        let done = ["nothing", "everything", "some pages", "some sectors"][some as usize];
        format!("{} writes under way: {done} done", flying.len())
    }

    /// All pages that no power cut can take.
    pub(crate) fn platter(&self) -> &[P] {
        &self.platter
    }

    /// Pages that a power cut may change, each with what it may hold instead, oldest first.
    pub(crate) fn at_risk(&self) -> BTreeMap<usize, Vec<P>> {
        let mut out: BTreeMap<usize, Vec<P>> = BTreeMap::new();
        for c in &self.cached {
            out.entry(c.at).or_default().push(c.page.clone());
        }
        for w in &self.flying {
            for (i, page) in w.pages.iter().enumerate() {
                out.entry(w.at + i).or_default().push(page.clone());
            }
        }
        out
    }

    /// Whether a power cut may change the page.
    pub(crate) fn is_risky(&self, at: usize) -> bool {
        self.is_written(at) || self.cached.iter().any(|c| c.at == at)
    }

    /// Whether a power cut would change nothing.
    pub(crate) fn is_safe(&self) -> bool {
        self.cached.is_empty() && self.flying.is_empty()
    }

    /// The power is cut, and takes all that it can.
    pub(crate) fn lose_all(&mut self) {
        self.cached.clear();
        self.flying.clear();
        self.view.clone_from(&self.platter);
    }

    /// Puts a page where a power cut left it.
    pub(crate) fn put(&mut self, at: usize, page: P) {
        self.view[at] = page.clone();
        self.platter[at] = page;
    }
}
