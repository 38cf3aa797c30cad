// SPDX-License-Identifier: GPL-2.0

//! When a write-back cache is written out, and how much of it.
//!
//! Cached rows cost memory, and room in the log: its tail cannot pass them. Written out late they
//! cost less: more of the same row may come, and rows that are whole need no reads. So nothing is
//! done until one of the reasons below holds; the first of them counts.

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// The cache is being left, or the array stopped.
    pub(crate) leaving: bool,
    /// Somebody waits for memory or for room in the log.
    pub(crate) waited_for: bool,
    /// Blocks of the log that moving its tail would not free, promised ones included, and all blocks.
    pub(crate) log: (u64, u64),
    /// Pages of stripes with cached data, or those stripes if that is tighter, and how many there may
    /// be. Pages of others do not count: they are dropped when memory is short.
    pub(crate) memory: (usize, usize),
    /// Rows with data in the log and no parity.
    pub(crate) rows: u32,
    /// Stripes with cached data and without work.
    pub(crate) stripes: usize,
    /// Of these, those that have waited a whole period.
    pub(crate) old: usize,
    /// Of these, those of which every cached row is whole.
    pub(crate) full: usize,
}

/// Why something is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// All of it must go.
    Leaving,
    /// Somebody waits.
    Waited,
    /// The log is nearly full.
    LogCritical,
    /// The log is half full.
    LogTight,
    /// Most of the cache's memory is in use.
    MemoryUrgent,
    /// Half of the cache's memory is in use.
    Memory,
    /// There are enough full stripes: to wait longer saves nothing.
    Full,
    /// It has been there for long.
    Age,
}

/// Finds out what has been cached for a whole period, from how the list of stripes goes: the oldest
/// are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ages {
    /// When the period began, in seconds.
    begun: u64,
    /// How many stripes had been listed then, ever.
    listed: u64,
}

/// How many seconds rows are left alone, at most twice as long.
const PERIOD: u64 = 5;

impl Ages {
    /// Nothing is listed.
    pub(crate) const fn new() -> Self {
        Self {
            begun: 0,
            listed: 0,
        }
    }

    /// How many of the `now_listed` stripes are older than a period; `gone` were taken off the list
    /// before. At most once a period.
    pub(crate) fn old(&mut self, now: u64, now_listed: usize, gone: u64) -> usize {
        if now.wrapping_sub(self.begun) < PERIOD {
            return 0;
        }
        let old = self.listed.saturating_sub(gone);
        self.begun = now;
        self.listed = gone.saturating_add(now_listed as u64);
        usize::try_from(old).unwrap_or(usize::MAX).min(now_listed)
    }
}

/// Reasons, for counters.
pub(crate) const REASONS: usize = 8;

impl Reason {
    /// Its place among the counters.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Whether stripes that have work count too: what they wait for may be what their own cached
    /// rows keep from others.
    pub(crate) const fn is_urgent(self) -> bool {
        match self {
            Self::Leaving | Self::Waited | Self::LogCritical | Self::MemoryUrgent => true,
            Self::LogTight | Self::Memory | Self::Full | Self::Age => false,
        }
    }

    /// Whether the oldest stripes go first, as they keep the log's tail; otherwise full ones do, as
    /// they cost least.
    pub(crate) const fn is_oldest_first(self) -> bool {
        match self {
            Self::Waited | Self::LogCritical | Self::LogTight | Self::Age => true,
            Self::Leaving | Self::MemoryUrgent | Self::Memory | Self::Full => false,
        }
    }
}

/// Stripes that are written out at a time: when somebody waits, and in the background.
const URGENT: usize = 64;
const BACKGROUND: usize = 16;

/// Full stripes that are enough to be written out together.
const ENOUGH: usize = 16;

/// Tells whether there are enough full stripes to write them out.
pub(crate) fn is_enough(full: usize) -> bool {
    full >= ENOUGH
}

fn part(of: (u64, u64), quarters: u64) -> bool {
    let (used, all) = of;
    used.saturating_mul(4) >= all.saturating_mul(quarters)
}

/// Tells whether so much of a log is in use, of all blocks, that something should be written out.
pub(crate) fn is_tight(log: (u64, u64)) -> bool {
    part(log, 2)
}

/// Decides whether to write out, why, and how many stripes, oldest first.
pub(crate) fn decide(load: &Load) -> Option<(Reason, usize)> {
    if load.rows == 0 {
        return None;
    }
    // Lossless: `usize` has 64 bits at most.
    let memory = (load.memory.0 as u64, load.memory.1 as u64);
    let (reason, most) = if load.leaving {
        (Reason::Leaving, usize::MAX)
    } else if load.waited_for {
        (Reason::Waited, URGENT)
    } else if part(load.log, 3) {
        (Reason::LogCritical, URGENT)
    } else if part(memory, 3) {
        (Reason::MemoryUrgent, URGENT)
    } else if part(load.log, 2) {
        (Reason::LogTight, BACKGROUND)
    } else if is_enough(load.full) {
        (Reason::Full, load.full)
    } else if part(memory, 2) {
        (Reason::Memory, BACKGROUND)
    } else if load.old > 0 {
        (Reason::Age, load.old)
    } else {
        return None;
    };
    Some((reason, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Load = Load {
        leaving: false,
        waited_for: false,
        log: (10, 100),
        memory: (10, 100),
        rows: 500,
        stripes: 90,
        old: 0,
        full: 0,
    };

    #[test]
    fn nothing_is_written_out_without_a_reason() {
        assert_eq!(decide(&CALM), None);
        let none = Load {
            leaving: true,
            waited_for: true,
            log: (100, 100),
            rows: 0,
            ..CALM
        };
        assert_eq!(decide(&none), None);
    }

    #[test]
    fn the_first_reason_counts() {
        let mut load = Load { old: 3, ..CALM };
        assert_eq!(decide(&load), Some((Reason::Age, 3)));
        load.memory = (50, 100);
        assert_eq!(decide(&load), Some((Reason::Memory, 16)));
        load.full = 15;
        assert_eq!(decide(&load), Some((Reason::Memory, 16)));
        load.full = 16;
        assert_eq!(decide(&load), Some((Reason::Full, 16)));
        load.log = (50, 100);
        assert_eq!(decide(&load), Some((Reason::LogTight, 16)));
        load.memory = (75, 100);
        assert_eq!(decide(&load), Some((Reason::MemoryUrgent, 64)));
        load.log = (75, 100);
        assert_eq!(decide(&load), Some((Reason::LogCritical, 64)));
        load.waited_for = true;
        assert_eq!(decide(&load), Some((Reason::Waited, 64)));
        load.leaving = true;
        assert_eq!(decide(&load), Some((Reason::Leaving, usize::MAX)));
        // All of it is in stripes that have work.
        load.stripes = 0;
        assert!(decide(&load).is_some_and(|(why, _)| why.is_urgent()));
        assert!(Reason::LogTight.is_oldest_first() && !Reason::Full.is_oldest_first());
        assert!(!Reason::Age.is_urgent() && Reason::LogCritical.is_urgent());
        assert!(is_tight((50, 100)) && !is_tight((49, 100)));
        assert_eq!(
            (Reason::Leaving.index(), Reason::Age.index()),
            (0, REASONS - 1)
        );
    }

    #[test]
    fn what_stays_for_a_period_is_old() {
        let mut ages = Ages::new();
        assert_eq!(ages.old(10, 3, 0), 0, "the period begins");
        assert_eq!(ages.old(14, 4, 0), 0, "it has not ended");
        // One of the three is gone, two are new.
        assert_eq!(ages.old(16, 4, 1), 2);
        assert_eq!(ages.old(30, 1, 4), 1);
        assert_eq!(ages.old(40, 9, 5), 0);
    }

    #[test]
    fn a_cache_without_bounds_is_full() {
        let none = Load {
            memory: (0, 0),
            ..CALM
        };
        assert_eq!(decide(&none).map(|d| d.0), Some(Reason::MemoryUrgent));
    }
}
