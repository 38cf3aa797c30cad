// SPDX-License-Identifier: GPL-2.0

//! raid5c: md personalities for levels 4, 5 and 6, in place of raid456.
//!
//! Layers, each depending only on those after it: `engine` (the shell), `md`
//! and `block` (safe wrappers), `lib` (small wrappers), `sys` (bindings); beside
//! them the pure core, `raid` and `journal`.

#![allow(special_module_name)] // `lib` is a layer here, not a crate's root
#![allow(clippy::manual_is_multiple_of)] // kernel 7.3 is built with rustc 1.85

use kernel::prelude::*;

mod block;
mod engine;
mod journal;
mod lib;
mod md;
mod raid;
mod sys;

use engine::array::Array;
use lib::debugfs;
use md::personality::Registration;

module! {
    type: Raid5c,
    name: "raid5c",
    authors: ["The raid5c developers"],
    description: "RAID4/5/6 personalities for MD, in Rust",
    license: "GPL",
    alias: [
        "md-personality-4", "md-raid5", "md-raid4", "md-level-5", "md-level-4",
        "md-personality-8", "md-raid6", "md-level-6", "raid5", "raid6",
    ],
    params: {
        write_back: u8 {
            default: 0,
            description: "1: journals start in write-back mode, not in write-through",
        },
    },
}

/// Whether journals start in write-back mode.
fn starts_write_back() -> bool {
    // A reference to it in 7.2, and the value itself in 7.3.
    let value = module_parameters::write_back.value();
    *core::borrow::Borrow::<u8>::borrow(&value) != 0
}

/// The registered personalities.
struct Raid5c {
    // Dropped in this order: no array is left when the directory goes.
    _levels: [Registration<Array>; 3],
    _debugfs: debugfs::Root,
}

impl kernel::Module for Raid5c {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let register = |level, name| {
            Registration::new(level, name, module).inspect_err(|e| {
                pr_err!(
                    "cannot register level {}: {:?}; another module has it: unload raid456 first (modprobe -r raid456)\n",
                    level,
                    e
                );
            })
        };
        let debugfs = debugfs::Root::new();
        let levels = [
            register(6, c"raid6")?,
            register(5, c"raid5")?,
            register(4, c"raid4")?,
        ];
        Ok(Self {
            _levels: levels,
            _debugfs: debugfs,
        })
    }
}
