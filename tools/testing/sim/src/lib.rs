// SPDX-License-Identifier: GPL-2.0

//! A simulator of a journalled array: the module's own stripe machine, log and recovery scan, with
//! simulated members, journal device, superblock and users, and a power switch.
//!
//! `World` is the shell, in the place of `rust/engine`: it carries out what the pure code decides, one
//! small step at a time, and a tape of decisions says which of all possible steps comes next. `Model`
//! knows what the array's users were told, and judges what they read and what a power cut leaves.

// The module's files have more than the simulator uses.
#![allow(dead_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]

#[path = "../../../../rust/journal/mod.rs"]
mod journal;
#[path = "../../../../rust/raid/mod.rs"]
mod raid;

mod badblocks;
mod block;
mod disk;
mod exhaust;
mod finish;
#[path = "../../host/src/stripe_model/gf.rs"]
mod gf;
mod hardware;
mod members;
mod memory;
mod model;
mod ops;
mod power;
mod reclaim;
mod recover;
mod runner;
mod schedule;
mod setup;
mod shell;
mod shrink;
mod story;
mod stripe;
mod tape;
mod units;
mod users;
mod world;

pub use exhaust::{exhaust, Counts, Scope, Violation};
pub use runner::{campaign, run_seed, tell_seed, Outcome, Plan, Total};
pub use setup::Bug;
pub use world::Stats;
