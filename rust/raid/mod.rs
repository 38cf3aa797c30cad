// SPDX-License-Identifier: GPL-2.0

//! The pure core: geometry, row masks, the stripe state machine, the planner.
//!
//! `core` only: no allocation, no I/O, nothing of the kernel. The same files are
//! compiled on the host, where they are tested.
#![forbid(unsafe_code)]

mod apply;
pub(crate) mod geometry;
pub(crate) mod hold;
pub(crate) mod mask;
pub(crate) mod pace;
mod plan;
mod short;
pub(crate) mod spare;
pub(crate) mod stripe;
pub(crate) mod units;
mod writeback;
