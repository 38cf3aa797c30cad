// SPDX-License-Identifier: GPL-2.0

//! The tape of decisions: everything that is left to chance in a run, step by step.
//!
//! A run asks its tape for every decision. A tape of dice draws them from a seed; a tape that is
//! replayed gives those that it holds, and zeroes where it holds none. Zero is the simplest answer to
//! every question. The decisions of a step stay together, so that steps can be cut out of a tape
//! without changing what the others mean.

/// A generator whose seed replays everything (splitmix64).
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The decisions of a run: first those about the array, then a list for each step.
pub(crate) type Decisions = Vec<Vec<u32>>;

enum Source {
    Dice {
        rng: Rng,
        record: Option<Decisions>,
    },
    Replay {
        steps: Decisions,
        step: usize,
        at: usize,
    },
    Fixed {
        last: bool,
    },
}

/// Where a run's decisions come from.
pub(crate) struct Tape(Source);

impl Tape {
    /// Decisions drawn from `seed`, and kept if `record`.
    pub(crate) fn dice(seed: u64, record: bool) -> Self {
        Self(Source::Dice {
            rng: Rng::new(seed),
            record: record.then(|| vec![Vec::new()]),
        })
    }

    /// Decisions made before.
    pub(crate) fn replay(steps: Decisions) -> Self {
        Self(Source::Replay {
            steps,
            step: 0,
            at: 0,
        })
    }

    /// Always the same decisions: what is likely happens, and what waited longest goes first, or what
    /// came `last`.
    pub(crate) fn fixed(last: bool) -> Self {
        Self(Source::Fixed { last })
    }

    /// Goes on to the decisions of the next step; false if there is none.
    pub(crate) fn next_step(&mut self) -> bool {
        match &mut self.0 {
            Source::Dice { record, .. } => {
                if let Some(record) = record {
                    record.push(Vec::new());
                }
                true
            }
            Source::Replay { steps, step, at } => {
                *step += 1;
                *at = 0;
                *step < steps.len()
            }
            Source::Fixed { .. } => true,
        }
    }

    /// A number below `n`, which is not zero.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        match &mut self.0 {
            Source::Dice { rng, record } => {
                let value = (((rng.next() >> 32) * u64::from(n)) >> 32) as u32;
                if let Some(last) = record.as_mut().and_then(|r| r.last_mut()) {
                    last.push(value);
                }
                value
            }
            Source::Replay { steps, step, at } => {
                let value = steps.get(*step).and_then(|s| s.get(*at)).copied();
                *at += 1;
                value.unwrap_or(0) % n
            }
            Source::Fixed { .. } => 0,
        }
    }

    /// An index below `n`, which is not zero.
    pub(crate) fn pick(&mut self, n: usize) -> usize {
        if let Source::Fixed { last: true } = self.0 {
            return n - 1;
        }
        self.below(n as u32) as usize
    }

    /// True in `percent` of 100 cases; never is the simplest answer.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        if let Source::Fixed { .. } = self.0 {
            return percent > 50;
        }
        percent > 0 && self.below(100) >= 100 - percent
    }

    /// True in `n` of 1000 cases.
    pub(crate) fn rare(&mut self, n: u32) -> bool {
        n > 0 && self.below(1000) >= 1000 - n
    }

    /// A generator for many small decisions that are not worth a place on the tape each.
    pub(crate) fn fork(&mut self) -> Rng {
        Rng::new(u64::from(self.below(u32::MAX)))
    }

    /// What was recorded.
    pub(crate) fn into_decisions(self) -> Decisions {
        match self.0 {
            Source::Dice { record, .. } => record.unwrap_or_default(),
            Source::Replay { steps, .. } => steps,
            Source::Fixed { .. } => Decisions::new(),
        }
    }
}
