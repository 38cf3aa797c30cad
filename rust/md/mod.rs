// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of md core.

pub(crate) mod mddev;
pub(crate) mod personality;
pub(crate) mod rdev;
pub(crate) mod sysfs;
pub(crate) mod thread;
