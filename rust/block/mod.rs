// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of the block layer, as a stacked driver sees it.

pub(crate) mod bio;
pub(crate) mod bioset;
pub(crate) mod direct;
pub(crate) mod round;
