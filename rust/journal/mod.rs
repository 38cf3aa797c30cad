// SPDX-License-Identifier: GPL-2.0

//! The write journal's pure part: on-disk format, ring arithmetic, log state machine, recovery scan.
//!
//! Nothing here does I/O, allocates or can panic; the same files are compiled into the module and,
//! by `tools/testing/host`, into the host tests.

#![forbid(unsafe_code)]

pub(crate) mod finish;
pub(crate) mod format;
pub(crate) mod log;
pub(crate) mod pressure;
pub(crate) mod recovery;
mod reserve;
pub(crate) mod ring;
pub(crate) mod starved;
pub(crate) mod tail;
pub(crate) mod unit;
