// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose, for the stage `reports`: it builds the module with this
//! file in it, to see that the debug kernel finds them in Rust code and that
//! the tests see what it says.

use core::{hint::black_box, mem::forget};
use kernel::{
    new_mutex, new_spinlock,
    prelude::*,
    sync::{Arc, Mutex, SpinLock},
};

#[pin_data]
struct Locks {
    #[pin]
    a: Mutex<()>,
    #[pin]
    b: Mutex<()>,
    #[pin]
    spin: SpinLock<()>,
}

/// Allocates memory, and may sleep for it, under a spinlock.
#[inline(never)]
fn sleeps(locks: &Locks) -> Result {
    let _spin = locks.spin.lock();
    drop(black_box(KBox::new([0u8; 200], GFP_KERNEL)?));
    Ok(())
}

/// Takes two locks in both orders.
#[inline(never)]
fn crosses(locks: &Locks) {
    {
        let _a = locks.a.lock();
        let _b = locks.b.lock();
    }
    let _b = locks.b.lock();
    let _a = locks.a.lock();
}

/// Forgets memory; more than one, as a stale pointer on a stack hides one.
#[inline(never)]
fn leaks() -> Result {
    for _ in 0..32 {
        forget(black_box(KBox::new([7u8; 300], GFP_KERNEL)?));
    }
    Ok(())
}

/// Reads memory that was freed.
#[inline(never)]
fn reads_freed() -> Result {
    let raw = KBox::into_raw(KBox::new([7u8; 400], GFP_KERNEL)?);
    // SAFETY: From `into_raw`.
    drop(unsafe { KBox::from_raw(raw) });
    // SAFETY: None; that is the point.
    black_box(unsafe { raw.cast::<u8>().add(100).read_volatile() });
    Ok(())
}

/// Adds one to the largest number.
#[inline(never)]
fn overflows() {
    let n = black_box(u8::MAX);
    black_box(n + 1);
}

/// All of them; does not return.
pub(crate) fn all() -> Result {
    let locks = Arc::pin_init(
        pin_init!(Locks {
            a <- new_mutex!((), "reports::a"),
            b <- new_mutex!((), "reports::b"),
            spin <- new_spinlock!((), "reports::spin"),
        }),
        GFP_KERNEL,
    )?;
    sleeps(&locks)?;
    crosses(&locks);
    leaks()?;
    reads_freed()?;
    overflows();
    Ok(())
}
