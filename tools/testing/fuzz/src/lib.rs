// SPDX-License-Identifier: GPL-2.0

//! Fuzz targets of raid5c's pure layers, compiled from the module's own files.
//!
//! Each target is a function of bytes that panics if something is wrong; `fuzz_targets/` hands them to
//! libFuzzer, and `cargo test` plays a few thousand inputs without it. `run` does the former.

// The module's files have more than the targets use.
#![allow(dead_code)]
#![warn(missing_docs, unreachable_pub, rust_2018_idioms)]

#[path = "../../../../rust/journal/mod.rs"]
mod journal;
#[path = "../../../../rust/lib/parse.rs"]
mod parse;
#[path = "../../../../rust/raid/mod.rs"]
mod raid;

mod disk;
mod fixup;
mod input;
mod oracle;
mod payload;
mod scan;
mod scan_real;
mod seeds;
mod shell;
mod sysfs;

pub use payload::payload;
pub use scan::scan;
pub use scan_real::scan_real;
pub use sysfs::sysfs;

#[cfg(test)]
mod tests;
