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
//!    log; `Array::journal`, `reclaim`, `ages`, `hold` and `counters_file`
//! 5. the rows of a journal's unit
//!
//! `Journal::open` and `reclaiming` are mutexes under which only the log, the
//! array's small locks and md's own are taken; no stripe is handled there.

pub(crate) mod array;
mod cache;
mod counters;
mod discard;
mod ends;
mod finish;
mod flush;
mod handle;
mod journal;
mod journal_io;
mod members;
mod nowait;
mod ops;
mod personality;
mod reclaim;
mod recovery;
mod release;
mod replay;
mod report;
mod request;
mod stripe;
mod sync;
mod sysfs;
mod table;
mod tunables;
mod window;
