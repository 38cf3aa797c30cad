// SPDX-License-Identifier: GPL-2.0

//! Whether it pays to hold back partial writes.
//!
//! A write that would have to read first may be the beginning of a full stripe:
//! held back for a moment, it needs no read if the rest comes. If the rest does
//! not come, holding only costs time. Which of both happens depends on who
//! writes, so it is learned: holding goes on while it pays, and is tried again
//! now and then when it did not.

/// A held row that was completed in time is worth this much.
const WON: i32 = 1;
/// A held row whose time ran out costs this much.
const LOST: i32 = 4;
const MOST: i32 = 32;
const LEAST: i32 = -64;
/// While it does not pay, one in this many stripes is held all the same.
const PROBE: u32 = 64;

/// What has been learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    score: i32,
    turn: u32,
}

impl Hold {
    /// Nothing is known: holding is tried.
    pub(crate) const fn new() -> Self {
        Self { score: 0, turn: 0 }
    }

    /// Whether the next stripe with a partial write should be held back.
    pub(crate) fn ask(&mut self) -> bool {
        if self.score >= 0 {
            return true;
        }
        self.turn = self.turn.wrapping_add(1);
        self.turn % PROBE == 0
    }

    /// What was held was completed in time.
    pub(crate) fn won(&mut self) {
        self.score = self.score.max(-WON).saturating_add(WON).min(MOST);
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
        let held = (0..640).filter(|_| hold.ask()).count();
        assert_eq!(held, 10);
        hold.won();
        assert!(hold.ask());
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
