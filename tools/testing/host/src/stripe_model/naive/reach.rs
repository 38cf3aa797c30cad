// SPDX-License-Identifier: GPL-2.0

//! Every row that a stripe with a write-back cache comes to, event by event.
//!
//! From a row of which nothing is in memory, all that can happen is tried at every state: each look of
//! the planner, each end of what is under way, good or bad, each piece that may come, each wish, and
//! each change of what a member or the journal is worth. So a state that cannot be reached is not in,
//! and no other is left out. Here is where it ends:
//!
//! * The row is alone, so no read of several rows fails; nobody wants FUA. (`walk.rs` has both.)
//! * An op that takes data into the cache does not fail, as `Actions::cache` has it.
//! * Bad blocks come and go only with two members, or with three with `STRIPE_FULL`; `walk.rs` and
//!   `every.rs` have them with more.
//! * A member may become better or worse at any time; a journal that is lost stays so for all that
//!   is under way, but may be there again for the next event: that only adds states.

use super::super::{env, note_bad};
use super::super::mask::RowMask;
use super::super::planner::PLAIN;
use super::super::stripe::{apply, clear, Access, Actions, Event, Policy, RmwLevel, State, Strip};
use super::look::{look, Reason, Tally};
use super::Deed;
use std::collections::HashSet;

/// A cache with room.
const WORKS: Policy = Policy {
    journal: true,
    write_back: true,
    room: 1,
    begin: true,
    ..PLAIN
};

/// The journal is lost.
const LOST: Policy = Policy {
    journal: false,
    refuse_writes: true,
    may_fix: false,
    ..WORKS
};

/// What the journal and the cache can be, with what each looks at of the other policies.
pub(super) fn policies() -> Vec<Policy> {
    let mut all = Vec::new();
    for room in [1, 0] {
        for rmw in [RmwLevel::Cheaper, RmwLevel::Never, RmwLevel::Preferred] {
            for bits in 0..4u32 {
                all.push(Policy {
                    room,
                    rmw,
                    hold: bits & 1 != 0,
                    may_fix: bits & 2 == 0,
                    ..WORKS
                });
            }
        }
    }
    for may_fix in [false, true] {
        all.push(Policy {
            blocked: true,
            may_fix,
            ..WORKS
        });
    }
    all.push(Policy {
        write_back: false,
        ..WORKS
    });
    for blocked in [false, true] {
        all.push(Policy { blocked, ..LOST });
    }
    for rmw in [RmwLevel::Never, RmwLevel::Preferred] {
        all.push(Policy { rmw, ..LOST });
    }
    all
}

/// Events end under these, or under some that do the same.
const ENDINGS: [Policy; 3] = [
    WORKS,
    Policy {
        write_back: false,
        repair: false,
        ..WORKS
    },
    LOST,
];

const ROW: RowMask = RowMask::single(0);

/// One row of a stripe.
#[derive(Clone)]
struct Stripe {
    st: State,
    strips: Vec<Strip>,
}

/// A row's bits of a stripe, in an order of their own.
fn state_bits(st: &mut State) -> [&mut RowMask; 19] {
    [
        &mut st.busy,
        &mut st.in_ops,
        &mut st.ops_write,
        &mut st.ops_check,
        &mut st.ops_parity,
        &mut st.ops_cache,
        &mut st.ops_out,
        &mut st.in_journal,
        &mut st.in_members,
        &mut st.unwritten,
        &mut st.landed,
        &mut st.user,
        &mut st.sync_want,
        &mut st.syncing,
        &mut st.caching,
        &mut st.out,
        &mut st.acked,
        &mut st.out_want,
        &mut st.stuck,
    ]
}

fn strip_bits(s: &mut Strip) -> [&mut RowMask; 12] {
    [
        &mut s.dead,
        &mut s.uptodate,
        &mut s.reading,
        &mut s.writing,
        &mut s.written,
        &mut s.toread,
        &mut s.towrite,
        &mut s.overwrite,
        &mut s.read_error,
        &mut s.op_result,
        &mut s.cached,
        &mut s.old,
    ]
}

/// The strip's row as a number of 14 bits.
fn strip_code(s: &mut Strip) -> u64 {
    let access = ACCESS.iter().position(|a| *a == s.access).unwrap() as u64;
    let masks = strip_bits(s);
    masks
        .iter()
        .fold(access, |code, mask| code << 1 | u64::from(mask.has(0)))
}

const ACCESS: [Access; 3] = [Access::Full, Access::Missing, Access::WriteOnly];

impl Stripe {
    fn new(members: usize, p: usize, q: Option<usize>) -> Self {
        let mut strips = vec![Strip::new(); members];
        strips.iter_mut().for_each(|s| s.access = Access::Full);
        Self {
            st: State::new(1, p, q),
            strips,
        }
    }

    /// The row as a number; no more than three members have room in it. With `sorted`, the order of
    /// data strips does not matter.
    fn code(&mut self, sorted: bool) -> u64 {
        assert!(self.strips.len() <= 3);
        let data: Vec<usize> = (0..self.strips.len())
            .filter(|slot| !self.st.is_parity(*slot))
            .collect();
        if sorted {
            let mut strips: Vec<Strip> = data.iter().map(|slot| self.strips[*slot]).collect();
            strips.sort_by_key(|s| strip_code(&mut s.clone()));
            for (slot, s) in data.iter().zip(strips) {
                self.strips[*slot] = s;
            }
        }
        let mut code = 0;
        for s in &mut self.strips {
            code = code << 14 | strip_code(s);
        }
        for mask in state_bits(&mut self.st) {
            code = code << 1 | u64::from(mask.has(0));
        }
        code
    }

    /// The row of that number.
    fn set(&mut self, mut code: u64) {
        let mut put = |mask: &mut RowMask| {
            *mask = RowMask(code & 1);
            code >>= 1;
        };
        for mask in state_bits(&mut self.st).into_iter().rev() {
            put(mask);
        }
        for s in self.strips.iter_mut().rev() {
            for mask in strip_bits(s).into_iter().rev() {
                put(mask);
            }
            let (mut low, mut high) = (RowMask::EMPTY, RowMask::EMPTY);
            put(&mut low);
            put(&mut high);
            s.access = ACCESS[(high.0 * 2 + low.0) as usize];
            (s.bad, s.recorded) = (s.dead, s.dead);
        }
    }

    fn look(&mut self, policy: &Policy, tally: &mut Tally) {
        look(&mut self.st, &mut self.strips, 1, policy, tally);
        clear(&mut self.strips, &mut Actions::default());
    }

    /// All that can end now.
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (slot, s) in self.strips.iter().enumerate() {
            for ok in [false, true] {
                if s.reading.any() {
                    events.push(Event::ReadDone {
                        slot,
                        rows: ROW,
                        ok,
                    });
                }
                if s.writing.any() {
                    events.push(Event::WriteDone {
                        slot,
                        rows: ROW,
                        ok,
                    });
                }
            }
        }
        for ok in [false, true] {
            let some = if ok { RowMask::EMPTY } else { ROW };
            if self.st.in_journal.any() {
                events.push(Event::JournalDone { rows: ROW, ok });
            }
            // What is drained into the cache cannot fail.
            if self.st.in_ops.any() && (ok || self.st.ops_cache.is_empty()) {
                let bad = RowMask::EMPTY;
                events.push(Event::OpsDone {
                    bad,
                    failed: some,
                    left: RowMask::EMPTY,
                });
            }
        }
        if self.st.out_want.any() {
            events.push(Event::NotRecorded { rows: ROW });
        }
        if self.st.ops_check.any() {
            events.push(Event::OpsDone {
                bad: ROW,
                failed: RowMask::EMPTY,
                left: RowMask::EMPTY,
            });
        }
        events
    }

    fn apply(&mut self, event: Event, policy: &Policy) {
        let mut acts = Actions::default();
        apply(&mut self.st, &mut self.strips, event, policy, &mut acts);
        clear(&mut self.strips, &mut acts);
    }

    /// What can come from outside, by number; false if it cannot.
    fn meet(&mut self, what: usize, worth: Worth) -> bool {
        if what < WISHES {
            if what == 0 {
                self.st.want_sync(ROW);
            } else {
                self.st.want_out(&self.strips, ROW);
            }
            return true;
        }
        let (slot, what) = ((what - WISHES) / OF_A_STRIP, (what - WISHES) % OF_A_STRIP);
        if what < ACCESS.len() {
            self.strips[slot].access = ACCESS[what];
            return what < worth.access;
        }
        if what >= OF_A_STRIP - 2 {
            note_bad(&mut self.strips[slot], RowMask(1 & what as u64), true);
            return worth.dead;
        }
        let whole = if what == OF_A_STRIP - 3 {
            ROW
        } else {
            RowMask::EMPTY
        };
        let (st, strips) = (&mut self.st, &mut self.strips);
        if what == ACCESS.len() {
            st.attach_read(strips, slot, ROW);
        } else {
            st.attach_write(strips, slot, ROW, whole, false);
        }
        !st.is_parity(slot)
    }
}

/// Things that can be wanted of a row.
const WISHES: usize = 2;

/// Things that can happen to a strip: its member is worth this or that, a read, a write in part or whole,
/// its row becomes a bad block or is none any more.
const OF_A_STRIP: usize = ACCESS.len() + 5;

/// What members can be worth.
#[derive(Clone, Copy)]
struct Worth {
    /// So many of `ACCESS`, the first.
    access: usize,
    /// The row can become a bad block that is not written.
    dead: bool,
}

/// All states that a row of the stripe comes to, each looked at with each policy; their number.
fn reach(mut stripe: Stripe, sorted: bool, worth: Worth, tally: &mut Tally) -> u64 {
    let members = stripe.strips.len();
    let first = stripe.code(sorted);
    let mut seen = HashSet::from([first]);
    let mut todo = vec![first];
    let policies = policies();
    while let Some(code) = todo.pop() {
        let mut come = |stripe: &mut Stripe| {
            let code = stripe.code(sorted);
            if seen.insert(code) {
                todo.push(code);
            }
        };
        for policy in &policies {
            stripe.set(code);
            stripe.look(policy, tally);
            come(&mut stripe);
        }
        stripe.set(code);
        for event in stripe.events() {
            for policy in &ENDINGS {
                stripe.set(code);
                stripe.apply(event, policy);
                come(&mut stripe);
            }
        }
        for what in 0..WISHES + OF_A_STRIP * members {
            stripe.set(code);
            if stripe.meet(what, worth) {
                come(&mut stripe);
            }
        }
    }
    let states = seen.len() as u64;
    assert_eq!(tally.states, states * policies.len() as u64);
    tally.tell(&format!(
        "{members} members, P {}, Q {:?}: {states} rows that a stripe comes to",
        stripe.st.p, stripe.st.q
    ));
    states
}

/// Everything was done for some row but `not`: with one strip of data, to read it takes less than to
/// read it and parity. And rows waited for every reason but for each other's room.
fn did_all_but(tally: &Tally, not: &[Deed]) {
    for deed in Deed::ALL {
        let did = tally.deeds.contains_key(&deed);
        assert_eq!(did, !not.contains(&deed), "{deed:?}");
    }
    assert_eq!(tally.waits.len(), 6);
    assert!(!tally.waits.contains_key(&Reason::Room));
}

#[test]
fn every_row_that_two_members_come_to() {
    for p in 0..2 {
        let mut tally = Tally::default();
        let worth = Worth {
            access: 3,
            dead: true,
        };
        assert_eq!(reach(Stripe::new(2, p, None), false, worth, &mut tally), 4 * 70_866);
        did_all_but(&tally, &[Deed::Rmw, Deed::RmwOut]);
    }
}

#[test]
#[ignore = "takes minutes: make sim"]
fn every_row_that_three_members_with_q_come_to() {
    let mut tally = Tally::default();
    let full = env("STRIPE_FULL", 0) != 0;
    let worth = Worth {
        access: 3,
        dead: full,
    };
    let states = reach(Stripe::new(3, 1, Some(2)), false, worth, &mut tally);
    assert!(full || states == 1_585_170, "{states}");
    did_all_but(&tally, &[Deed::Rmw, Deed::RmwOut]);
}

/// Here, and only here, no member is being rebuilt, and the order of the data strips does not matter,
/// unless `STRIPE_FULL` says so.
#[test]
#[ignore = "takes minutes: make sim"]
fn every_row_that_three_members_come_to() {
    let mut tally = Tally::default();
    let full = env("STRIPE_FULL", 0) != 0;
    let worth = Worth {
        access: if full { 3 } else { 2 },
        dead: false,
    };
    let states = reach(Stripe::new(3, 2, None), !full, worth, &mut tally);
    assert!(full || states == 3_447_688, "{states}");
    assert!(states >= 3_447_688, "{states}");
    did_all_but(&tally, &[]);
}
