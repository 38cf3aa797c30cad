// SPDX-License-Identifier: GPL-2.0

//! What an array has done, in numbers: `/sys/kernel/debug/raid5c/mdX`.

use super::array::Array;
use crate::{
    journal::pressure::{self, Reason},
    lib::debugfs::Shown,
};
use core::fmt;
use kernel::sync::atomic::{Atomic, Relaxed};

/// What is counted, since the array was started.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(super) enum Count {
    /// Units that were written to the journal.
    Units,
    /// Their blocks.
    UnitBlocks,
    /// Flushes of the journal, on behalf of units.
    Flushes,
    /// Flushes that the array's users asked for, and that took one of the journal.
    UserFlushes,
    /// Times that the tail moved.
    TailMoves,
    /// Rows that went to the journal with data and parity, to be written to the members at once.
    RowsLogged,
    /// Rows that were cached: of which only data went to the journal.
    RowsCached,
    /// Times that a cached row was written again.
    RowsRewritten,
    /// Of `RowsCached` and `RowsRewritten`, those that ended their writes before the journal's cache was flushed.
    RowsEarly,
    /// Cached rows that were written out: of which parity went to the journal.
    RowsOut,
    /// Pages that write-through would have written to members for what was cached: data and parity.
    PagesCached,
    /// Pages that were written to members to write cached rows out.
    PagesOut,
    /// Pages read from members, direct reads not counted.
    PagesRead,
    /// Pages written to members.
    PagesWritten,
}

/// All of them, with their names.
const NAMES: [(&str, Count); 14] = [
    ("journal_units", Count::Units),
    ("journal_blocks_written", Count::UnitBlocks),
    ("journal_flushes", Count::Flushes),
    ("journal_flushes_of_users", Count::UserFlushes),
    ("journal_tail_moves", Count::TailMoves),
    ("rows_logged_whole", Count::RowsLogged),
    ("rows_cached", Count::RowsCached),
    ("rows_cached_again", Count::RowsRewritten),
    ("rows_ended_unflushed", Count::RowsEarly),
    ("rows_written_out", Count::RowsOut),
    ("member_pages_of_write_through", Count::PagesCached),
    ("member_pages_written_out", Count::PagesOut),
    ("member_pages_read", Count::PagesRead),
    ("member_pages_written", Count::PagesWritten),
];

/// Why something was written out, as it is called here.
const REASONS: [(&str, Reason); pressure::REASONS] = [
    ("leaving", Reason::Leaving),
    ("waited_for", Reason::Waited),
    ("journal_critical", Reason::LogCritical),
    ("journal_tight", Reason::LogTight),
    ("memory_urgent", Reason::MemoryUrgent),
    ("memory", Reason::Memory),
    ("full_stripes", Reason::Full),
    ("age", Reason::Age),
];

/// The numbers.
pub(super) struct Counters {
    counts: [Atomic<u64>; NAMES.len()],
    reasons: [Atomic<u64>; REASONS.len()],
}

impl Counters {
    /// All zero.
    pub(super) const fn new() -> Self {
        Self {
            counts: [const { Atomic::new(0) }; NAMES.len()],
            reasons: [const { Atomic::new(0) }; REASONS.len()],
        }
    }

    /// Counts `n` more.
    pub(super) fn add(&self, what: Count, n: u64) {
        if let Some(count) = self.counts.get(what as usize) {
            count.fetch_add(n, Relaxed);
        }
    }

    /// Counts that something was written out.
    pub(super) fn wrote_out(&self, why: Reason) {
        if let Some(count) = self.reasons.get(why.index()) {
            count.fetch_add(1, Relaxed);
        }
    }
}

impl Shown for Array {
    fn show(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(journal) = self.journal() {
            let now = journal.occupancy();
            writeln!(out, "journal_blocks {}", now.blocks)?;
            writeln!(out, "journal_blocks_used {}", now.used)?;
            writeln!(out, "journal_blocks_promised {}", now.promised)?;
            writeln!(out, "journal_blocks_free {}", now.free)?;
            writeln!(out, "rows_cached_now {}", self.cached_rows())?;
        }
        let ((stripes, most), (pages, limit)) = self.cache.load();
        writeln!(out, "stripes {stripes}")?;
        writeln!(out, "stripes_most {most}")?;
        writeln!(out, "stripes_active {}", self.cache.active())?;
        let ((dirty, _), (dirty_pages, _)) = self.cache.dirty_load();
        writeln!(out, "stripes_dirty {dirty}")?;
        writeln!(out, "stripes_full {}", self.cache.full())?;
        writeln!(out, "pages {pages}")?;
        writeln!(out, "pages_dirty {dirty_pages}")?;
        writeln!(out, "pages_limit {limit}")?;
        for (name, what) in NAMES {
            if let Some(count) = self.counters.counts.get(what as usize) {
                writeln!(out, "{name} {}", count.load(Relaxed))?;
            }
        }
        for (name, why) in REASONS {
            if let Some(count) = self.counters.reasons.get(why.index()) {
                writeln!(out, "write_outs_{name} {}", count.load(Relaxed))?;
            }
        }
        Ok(())
    }
}
