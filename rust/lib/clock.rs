// SPDX-License-Identifier: GPL-2.0

//! Time, as messages need it.

use kernel::{
    bindings,
    sync::atomic::{Atomic, Full},
};

/// Seconds since boot.
pub(crate) fn seconds() -> u64 {
    // SAFETY: Reads a clock; no preconditions.
    let s = unsafe { bindings::ktime_get_seconds() };
    u64::try_from(s).unwrap_or(0)
}

/// The time in `ms` milliseconds, in nanoseconds since boot.
pub(crate) fn after_millis(ms: u32) -> i64 {
    // SAFETY: Reads a clock; no preconditions.
    unsafe { bindings::ktime_get() }.saturating_add(i64::from(ms).saturating_mul(1_000_000))
}

/// Whether nothing was let through in this second yet. `last` starts at 0.
pub(crate) fn once_a_second(last: &Atomic<u64>) -> bool {
    let now = seconds().wrapping_add(1);
    last.xchg(now, Full) != now
}

/// A warning that can repeat: at most one line a second from each place.
macro_rules! warn_limited {
    ($($arg:tt)*) => {{
        static LAST: kernel::sync::atomic::Atomic<u64> = kernel::sync::atomic::Atomic::new(0);
        if $crate::lib::clock::once_a_second(&LAST) {
            kernel::pr_warn!($($arg)*);
        }
    }};
}
pub(crate) use warn_limited;
