// SPDX-License-Identifier: GPL-2.0

//! The shell: moves pages and bios, and asks the pure code what to do.
//!
//! Lock order, outermost first:
//!
//! 1. `Stripe::work` (a mutex, only ever tried: who holds it is the stripe's
//!    handler)
//! 2. a shard of the stripe cache
//! 3. `Stripe::inner`
//! 4. the rings of idle, dirty and full stripes; the cache's waiters; the journal's
//!    log; `Array::journal`, `reclaim`, `ages`, `hold`, `counters_file` and `shrinker`
//! 5. the rows of a journal's unit
//! 6. what is kept for when memory is short: the budget's reserves, spare stripes, bios and
//!    units of the journal
//!
//! `Journal::open` and `reclaiming` are mutexes under which only the log, the
//! array's small locks and md's own are taken; no stripe is handled there.

pub(crate) mod array;
mod budget;
mod cache;
mod counters;
mod discard;
mod ends;
mod finish;
mod flush;
mod handle;
mod issue;
mod journal;
mod journal_io;
mod journal_memory;
mod members;
mod memory;
mod nowait;
mod ops;
mod pages;
mod personality;
mod reclaim;
mod recovery;
mod release;
mod replay;
mod report;
mod request;
mod reread;
mod stripe;
mod sync;
mod sysfs;
mod table;
mod tunables;
mod window;
mod work;
