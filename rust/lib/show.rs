// SPDX-License-Identifier: GPL-2.0

//! `core`'s formatting for the kernel's messages.

use kernel::{error::Error, fmt};

/// Shows a value of the pure layers, which know only `core::fmt`.
pub(crate) struct Show<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Show<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

/// "Operation not supported", which the kernel crate does not name.
pub(crate) fn eopnotsupp() -> Error {
    Error::from_errno(-95)
}
