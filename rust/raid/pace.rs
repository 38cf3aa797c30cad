// SPDX-License-Identifier: GPL-2.0

//! How long a worker that ran out of work looks on before it sleeps.
//!
//! Waking a worker costs a few microseconds on good days, and many on a machine
//! that sleeps deeply. If the next piece of work comes sooner than that, it
//! would have been better to wait for it. Whether it does depends on who
//! submits, so it is learned, as KVM learns how long to poll for a guest that
//! halts: work that comes soon after the worker fell asleep makes the next wait
//! longer, work that comes late ends the waiting.

/// The first wait that is tried, in nanoseconds.
const FIRST_NS: u32 = 10_000;
/// The longest.
const MOST_NS: u32 = 200_000;

/// What has been learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    patience: u32,
}

impl Pace {
    /// Nothing is known: no waiting.
    pub(crate) const fn new() -> Self {
        Self { patience: 0 }
    }

    /// The state in a word.
    pub(crate) const fn to_bits(self) -> u32 {
        self.patience
    }

    /// The state that [`Pace::to_bits`] gave.
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self {
            patience: if bits > MOST_NS { MOST_NS } else { bits },
        }
    }

    /// How long to look on for more work, in nanoseconds.
    pub(crate) const fn patience_ns(self) -> u64 {
        self.patience as u64
    }

    /// Work came while the worker slept, `gap` nanoseconds after it fell asleep
    /// or after the work before.
    pub(crate) fn came_after(&mut self, gap: u64) {
        self.patience = if gap > u64::from(MOST_NS) {
            0
        } else {
            self.patience.saturating_mul(2).clamp(FIRST_NS, MOST_NS)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_request_is_not_waited_for() {
        let mut pace = Pace::new();
        pace.came_after(1_000_000);
        assert_eq!(pace.patience_ns(), 0);
    }

    #[test]
    fn patience_grows_to_its_bound_and_ends_at_once() {
        let mut pace = Pace::new();
        let mut before = 0;
        for _ in 0..5 {
            pace.came_after(100_000);
            assert!(pace.patience_ns() > before);
            before = pace.patience_ns();
        }
        for _ in 0..100 {
            pace.came_after(0);
        }
        assert_eq!(pace.patience_ns(), u64::from(MOST_NS));
        pace.came_after(u64::MAX);
        assert_eq!(pace, Pace::new());
    }

    #[test]
    fn the_word_is_the_state() {
        let mut pace = Pace::new();
        pace.came_after(5);
        assert_eq!(Pace::from_bits(pace.to_bits()), pace);
        assert_eq!(Pace::from_bits(u32::MAX).patience_ns(), u64::from(MOST_NS));
    }
}
