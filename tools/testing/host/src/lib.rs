// SPDX-License-Identifier: GPL-2.0

//! The pure layers of raid5c, compiled from the module's own files, and their tests.
//!
//! `cargo test` runs the unit tests beside the code and the tests below, which need crates or drive
//! several layers together.

// On the host nothing but tests uses the layers.
#![allow(dead_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]

#[path = "../../../../rust/journal/mod.rs"]
mod journal;
#[path = "../../../../rust/lib/parse.rs"]
mod parse;
#[path = "../../../../rust/raid/mod.rs"]
mod raid;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod crc;
#[cfg(test)]
mod device;
#[cfg(test)]
mod model;
#[cfg(test)]
mod world;
#[cfg(test)]
mod stripe_model;
