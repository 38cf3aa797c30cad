// SPDX-License-Identifier: GPL-2.0

//! Whether it pays to hold back partial writes.
//!
//! A write that would have to read first may be the beginning of a full stripe:
//! held back for a moment, it needs no read if the rest comes. If the rest does
//! not come, holding only costs time. Which of both happens depends on who
//! writes, so it is learned: holding goes on while it pays, and is tried again
//! now and then when it did not, the more rarely the longer it does not.

/// A held row that was completed in time is worth this much.
const WON: i32 = 1;
/// A held row whose time ran out costs this much.
const LOST: i32 = 4;
const MOST: i32 = 32;
const LEAST: i32 = -64;
/// From this score on it is known to pay, and what was learned before is forgotten: a writer of whom one
/// row in some is completed in time would else lose far more with the others.
const PAYS: i32 = 8;
/// When it has just ceased to pay, one in this many stripes is held all the same.
const PROBE_FIRST: u32 = 64;
/// When it has not paid for long, one in this many: a writer that waits for each
/// write before the next, so that holding never pays, loses little.
const PROBE_LAST: u32 = 4096;

/// What has been learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    score: i32,
    /// Stripes since the last that was held though it did not pay.
    turn: u32,
    /// How many it are to be until the next.
    every: u32,
}

impl Hold {
    /// Nothing is known: holding is tried.
    pub(crate) const fn new() -> Self {
        Self {
            score: 0,
            turn: 0,
            every: PROBE_FIRST,
        }
    }

    /// Whether the next stripe with a partial write should be held back.
    pub(crate) fn ask(&mut self) -> bool {
        if self.score >= 0 {
            return true;
        }
        self.turn = self.turn.saturating_add(1);
        if self.turn < self.every {
            return false;
        }
        self.turn = 0;
        self.every = self.every.saturating_mul(2).min(PROBE_LAST);
        true
    }

    /// What was held was completed in time.
    pub(crate) fn won(&mut self) {
        self.score = self.score.max(-WON).saturating_add(WON).min(MOST);
        if self.score >= PAYS {
            self.every = PROBE_FIRST;
        }
    }

    /// Its time ran out.
    pub(crate) fn lost(&mut self) {
        self.score = self.score.saturating_sub(LOST).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losing_stops_it_and_one_win_starts_it_again() {
        let mut hold = Hold::new();
        assert!(hold.ask());
        hold.lost();
        let held = (0..64).filter(|_| hold.ask()).count();
        assert_eq!(held, 1);
        hold.won();
        assert!(hold.ask());
    }

    #[test]
    fn what_never_pays_is_hardly_tried() {
        let mut hold = Hold::new();
        let mut held = 0;
        for _ in 0..100_000 {
            if hold.ask() {
                held += 1;
                hold.lost();
            }
        }
        assert!((20..=32).contains(&held), "{held} were held");
        // It may pay again.
        for _ in 0..=PAYS {
            hold.won();
            assert!(hold.ask());
        }
        for _ in 0..3 {
            hold.lost();
        }
        let held = (0..64).filter(|_| hold.ask()).count();
        assert_eq!(held, 1);
    }

    #[test]
    fn what_pays_now_and_then_is_hardly_tried() {
        let mut hold = Hold::new();
        let mut lost = 0;
        for i in 0..100_000_u32 {
            if hold.ask() {
                // Every third, about.
                if i.wrapping_mul(0x9e37_79b1) >> 24 < 85 {
                    hold.won();
                } else {
                    lost += 1;
                    hold.lost();
                }
            }
        }
        assert!(lost < 100, "{lost} were held in vain");
    }

    #[test]
    fn a_rare_loss_among_wins_is_borne() {
        let mut hold = Hold::new();
        for i in 0..1000 {
            if i % 10 == 9 {
                hold.lost();
            } else {
                hold.won();
            }
        }
        assert!(hold.ask());
    }
}
