// SPDX-License-Identifier: GPL-2.0

//! Stripes of four to eight members with a write-back cache, wherever chance takes them.
//!
//! All 64 rows at once: so these are rows beside others, that share room, reads and what their members
//! are worth. Every step ends with a look of the planner, and every row of it is judged.

use super::super::mask::RowMask;
use super::super::stripe::{apply, clear, Access, Actions, Event, Policy, State, Strip, Twin, Worth};
use super::super::{env, note_bad, Rng};
use super::look::{look, Tally};
use super::reach::policies;
use super::Deed;

/// A stripe, and chance.
struct Walk {
    st: State,
    strips: Vec<Strip>,
    rng: Rng,
    /// Of 100 things that end, so many end badly.
    bad: u64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let members = 4 + rng.below(5) as usize;
        let p = rng.below(members as u64) as usize;
        let other = rng.below(members as u64 - 1) as usize;
        let q = rng.chance(50).then(|| (p + 1 + other) % members);
        let mut strips = vec![Strip::new(); members];
        strips.iter_mut().for_each(|s| s.access = Access::Full);
        let bad = [0, 2, 10][rng.below(3) as usize];
        Self {
            st: State::new(64, p, q),
            strips,
            rng,
            bad,
        }
    }

    /// Some rows: one, a few neighbours, or any.
    fn rows(&mut self) -> RowMask {
        let at = self.rng.below(64) as u32;
        match self.rng.below(3) {
            0 => RowMask::single(at),
            1 => RowMask::range(at, 1 + self.rng.below(16) as u32),
            _ => RowMask(self.rng.next()),
        }
    }

    fn ok(&mut self) -> bool {
        let bad = self.bad;
        !self.rng.chance(bad)
    }

    /// Rows for whose ops there are no pages yet.
    fn left(&mut self) -> RowMask {
        if self.rng.chance(5) {
            RowMask(self.rng.next())
        } else {
            RowMask::EMPTY
        }
    }

    /// Some of what is under way ends.
    fn end(&mut self, policy: &Policy, acts: &mut Actions) {
        let (some, ok) = (self.rows(), self.ok());
        let what = self.rng.below(5);
        let members = if what < 3 { self.strips.len() } else { 1 };
        for slot in 0..members {
            let ok = ok || self.rng.chance(50);
            let s = &self.strips[slot];
            let event = match what {
                1 if !ok && (s.writing & self.st.discard).any() => Event::DiscardRefused {
                    slot,
                    rows: some & s.writing & self.st.discard,
                },
                0 => Event::ReadDone {
                    slot,
                    rows: some & s.reading,
                    ok,
                },
                1 => Event::WriteDone {
                    slot,
                    rows: some & s.writing,
                    ok,
                },
                2 => Event::TwinDone {
                    slot,
                    rows: some & s.twin_writing,
                    ok,
                },
                3 => Event::JournalDone { rows: some, ok },
                _ if ok => Event::OpsDone {
                    bad: some & RowMask(self.rng.next()),
                    failed: RowMask::EMPTY,
                    left: self.left(),
                },
                _ => Event::OpsDone {
                    bad: RowMask::EMPTY,
                    failed: some.minus(self.st.ops_cache),
                    left: self.left(),
                },
            };
            apply(&mut self.st, &mut self.strips, event, policy, acts);
        }
    }

    /// Something comes.
    fn meet(&mut self) {
        let slot = self.rng.below(self.strips.len() as u64) as usize;
        let rows = self.rows();
        let parity = self.st.is_parity(slot);
        match self.rng.below(24) {
            0 if parity => self.st.attach_discard(&mut self.strips, rows),
            0..=3 if !parity => self.st.attach_read(&mut self.strips, slot, rows),
            4..=13 if !parity => {
                let full = RowMask(self.rng.next() | self.rng.next());
                let fua = self.rng.chance(20);
                self.st
                    .attach_write(&mut self.strips, slot, rows, full, fua);
            }
            14..=16 => self.st.want_out(&self.strips, rows),
            17 => drop(self.st.want_sync(rows)),
            18 if !self.ok() => {
                let access = [Access::WriteOnly, Access::Missing];
                self.strips[slot].access = access[self.rng.below(2) as usize];
            }
            19 => self.strips[slot].access = Access::Full,
            20 if !self.ok() => {
                let skip = self.rng.chance(70);
                note_bad(&mut self.strips[slot], rows, skip);
            }
            21 => note_bad(&mut self.strips[slot], RowMask::EMPTY, false),
            22 => self.meet_twin(slot, rows),
            23 => self.strips[slot].twin = Twin::None,
            _ => {}
        }
    }

    /// The role has two devices from now on.
    fn meet_twin(&mut self, slot: usize, rows: RowMask) {
        let mut worth = |all: &[Access]| Worth {
            access: all[self.rng.below(all.len() as u64) as usize],
            bad: if self.rng.chance(30) { rows & RowMask(self.rng.next()) } else { RowMask::EMPTY },
            skip: self.rng.chance(50),
        };
        let member = worth(&[Access::Full, Access::Full, Access::WriteOnly]);
        let twin = worth(&[Access::Full, Access::WriteOnly]);
        self.strips[slot].note(member, Some(twin));
    }

    /// `steps` steps, each judged.
    fn go(&mut self, steps: u64, tally: &mut Tally) {
        let policies = policies();
        let mut mood = policies[self.rng.below(policies.len() as u64) as usize];
        for _ in 0..steps {
            if self.rng.chance(10) {
                mood = policies[self.rng.below(policies.len() as u64) as usize];
                if mood.refuse_writes && self.rng.chance(80) {
                    mood = policies[0];
                }
            }
            if self.rng.chance(5) {
                mood.copy = !mood.copy;
            }
            if mood.room > 0 {
                mood.room = [1, 3, 10, 64][self.rng.below(4) as usize];
            }
            mood.begin = self.rng.chance(95);
            if self.rng.chance(2) {
                let _ = self.st.forget(&mut self.strips, &mood);
            }
            let mut acts = Actions::default();
            if self.rng.chance(60) {
                self.end(&mood, &mut acts);
            } else {
                self.meet();
            }
            clear(&mut self.strips, &mut acts);
            look(&mut self.st, &mut self.strips, 64, &mood, tally);
            clear(&mut self.strips, &mut acts);
        }
    }
}

#[test]
fn rows_that_more_members_come_to() {
    let mut tally = Tally::default();
    let first = env("STRIPE_FIRST", 0);
    let runs = env("STRIPE_RUNS", 10_000) / 50;
    for seed in first..first + runs {
        Walk::new(seed).go(300, &mut tally);
    }
    tally.tell("4 to 8 members");
    assert_eq!(tally.states, runs * 300 * 64);
    if runs >= 100 {
        for deed in Deed::ALL {
            assert!(tally.deeds.contains_key(&deed), "never {deed:?}");
        }
        assert_eq!(tally.waits.len(), 8);
    }
}
