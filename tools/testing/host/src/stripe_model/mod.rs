// SPDX-License-Identifier: GPL-2.0

//! The stripe machine and the planner against models written from their specification.
//!
//! The module's files are compiled a second time, as children of this module, so that the tests may
//! set a strip's bits one by one; what they test is the very same text.

#[path = "../../../../../rust/raid/apply.rs"]
mod apply;
#[path = "../../../../../rust/raid/mask.rs"]
mod mask;
#[path = "../../../../../rust/raid/plan.rs"]
mod plan;
#[path = "../../../../../rust/raid/short.rs"]
mod short;
#[path = "../../../../../rust/raid/stripe.rs"]
mod stripe;
#[path = "../../../../../rust/raid/writeback.rs"]
mod writeback;

mod cached;
mod cases;
mod gf;
mod naive;
mod planner;
mod shell;

/// Takes in the bad blocks of a member without a twin, which is worth what it was.
fn note_bad(s: &mut stripe::Strip, bad: mask::RowMask, skip: bool) {
    let (access, twin) = (s.access, s.twin);
    s.note(stripe::Worth { access, bad, skip }, None);
    s.twin = twin;
}

/// A generator whose seed replays everything (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True in `percent` of 100 cases.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A number from the environment.
fn env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
