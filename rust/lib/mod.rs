// SPDX-License-Identifier: GPL-2.0

//! Small safe wrappers of what the kernel crate lacks.

pub(crate) mod checksum;
pub(crate) mod clock;
pub(crate) mod debugfs;
pub(crate) mod noio;
pub(crate) mod page;
pub(crate) mod parse;
pub(crate) mod show;
pub(crate) mod shrinker;
pub(crate) mod trace;
pub(crate) mod worklist;
pub(crate) mod workqueue;
pub(crate) mod xor;
