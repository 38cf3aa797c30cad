// SPDX-License-Identifier: GPL-2.0

//! Trace events of the write journal: `/sys/kernel/tracing/events/raid5c`.
//!
//! What they mean is in the administrator's guide, how they are recorded and
//! shown in `include/raid5c_trace.h`. One that is off costs a call and a jump
//! that is never taken: [`trace`] computes nothing for it.

use crate::{
    journal::{
        pressure::Reason,
        recovery::{EndKind, ScanReport},
        ring::{Extents, Ring},
        unit::{Position, UnitExtent},
    },
    raid::units::DevSector,
    sys,
};

/// Something that can be traced. `dev` is the array's device number everywhere.
pub(crate) trait Event {
    /// Whether somebody wants to know.
    fn is_on() -> bool;

    /// Tells.
    fn put(self);
}

/// Traces what `event` returns, if somebody wants to know. In any context, also
/// under spinlocks; `event` may take what its caller may take.
#[inline]
pub(crate) fn trace<E: Event>(event: impl FnOnce() -> E) {
    if E::is_on() {
        event().put();
    }
}

impl<E: Event> Event for Option<E> {
    fn is_on() -> bool {
        E::is_on()
    }

    fn put(self) {
        if let Some(event) = self {
            event.put();
        }
    }
}

/// Has an event type tell by a function of `helpers.c` with these arguments.
macro_rules! event {
    ($ty:ty, $is_on:ident, $put:ident, |$this:ident| ($($arg:expr),* $(,)?)) => {
        impl Event for $ty {
            #[inline]
            fn is_on() -> bool {
                // SAFETY: Reads a static key; no preconditions.
                unsafe { sys::$is_on() }
            }

            fn put(self) {
                let $this = self;
                // SAFETY: Takes plain numbers, in any context.
                unsafe { sys::$put($($arg),*) }
            }
        }
    };
}

/// As what a row goes to the journal; debugfs counts the same.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Data and parity, to be written to the members at once.
    Logged,
    /// Data only: the row is cached.
    Cached,
    /// Data only, of a row that is cached already.
    CachedAgain,
    /// Parity only: the cached row is written out.
    WrittenOut,
}

impl Kind {
    const fn number(self) -> u8 {
        let n = match self {
            Self::Logged => sys::RAID5C_KIND_LOGGED,
            Self::Cached => sys::RAID5C_KIND_CACHED,
            Self::CachedAgain => sys::RAID5C_KIND_CACHED_AGAIN,
            Self::WrittenOut => sys::RAID5C_KIND_WRITTEN_OUT,
        };
        small(n)
    }
}

/// Why stripes were asked to write out what they have cached.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    /// There was a reason, and so much as it asks for.
    Reason(Reason),
    /// All of it has to go at once: the mode is left, the array stops, or
    /// something has failed.
    Emptied,
}

impl Why {
    const fn number(self) -> u8 {
        let n = match self {
            Self::Reason(Reason::Leaving) => sys::RAID5C_WHY_LEAVING,
            Self::Reason(Reason::Waited) => sys::RAID5C_WHY_WAITED_FOR,
            Self::Reason(Reason::LogCritical) => sys::RAID5C_WHY_JOURNAL_CRITICAL,
            Self::Reason(Reason::LogTight) => sys::RAID5C_WHY_JOURNAL_TIGHT,
            Self::Reason(Reason::MemoryUrgent) => sys::RAID5C_WHY_MEMORY_URGENT,
            Self::Reason(Reason::Memory) => sys::RAID5C_WHY_MEMORY,
            Self::Reason(Reason::Full) => sys::RAID5C_WHY_FULL_STRIPES,
            Self::Reason(Reason::Age) => sys::RAID5C_WHY_AGE,
            Self::Emptied => sys::RAID5C_WHY_EMPTIED,
        };
        small(n)
    }
}

const fn end_number(end: EndKind) -> u8 {
    let n = match end {
        EndKind::EndOfLog => sys::RAID5C_END_OF_LOG,
        EndKind::Torn => sys::RAID5C_END_TORN,
        EndKind::Corrupt => sys::RAID5C_END_CORRUPT,
    };
    small(n)
}

/// An enumerator of `raid5c_bindings.h`, all of which are below 256.
const fn small(n: u32) -> u8 {
    let [byte, ..] = n.to_le_bytes();
    byte
}

/// A row's pages were put into a unit.
pub(crate) struct Append {
    pub(crate) dev: u32,
    /// The unit's sequence.
    pub(crate) seq: u64,
    pub(crate) row: DevSector,
    /// Pages of data.
    pub(crate) data: u32,
    /// Pages of parity.
    pub(crate) parity: u32,
    pub(crate) kind: Kind,
}

event! { Append, raid5c_append_is_on, raid5c_trace_append, |it| (
    it.dev, it.seq, it.row.get(), it.data, it.parity, it.kind.number(),
) }

/// A unit's write has ended.
pub(crate) struct UnitWritten {
    pub(crate) dev: u32,
    pub(crate) extent: UnitExtent,
    pub(crate) ok: bool,
}

event! { UnitWritten, raid5c_unit_written_is_on, raid5c_trace_unit_written, |it| (
    it.dev, it.extent.seq, it.extent.start.get(), it.extent.blocks, it.ok,
) }

/// A unit was handed out, as stable or as failed.
pub(crate) struct UnitStable {
    pub(crate) dev: u32,
    pub(crate) seq: u64,
    /// How many rows of it are told.
    pub(crate) rows: u32,
    pub(crate) ok: bool,
}

event! { UnitStable, raid5c_unit_stable_is_on, raid5c_trace_unit_stable, |it| (
    it.dev, it.seq, it.rows, it.ok,
) }

/// Stripes were asked to write out what they have cached.
pub(crate) struct WriteOut {
    pub(crate) dev: u32,
    pub(crate) why: Why,
    pub(crate) stripes: usize,
}

event! { WriteOut, raid5c_write_out_is_on, raid5c_trace_write_out, |it| (
    it.dev, it.why.number(), it.stripes as u64,
) }

/// The tail has moved, and the superblock has it.
pub(crate) struct TailMoved {
    pub(crate) dev: u32,
    pub(crate) to: Position,
    /// What lay before it; begins at the old tail.
    pub(crate) freed: Extents,
}

event! { TailMoved, raid5c_tail_move_is_on, raid5c_trace_tail_move, |it| (
    it.dev,
    it.freed.first.0.get(),
    it.to.block.get(),
    it.to.seq,
    it.freed.first.1.saturating_add(it.freed.second.map_or(0, |(_, n)| n)),
) }

/// Recovery has passed on what a unit says.
pub(crate) struct ReplayUnit<'a> {
    pub(crate) dev: u32,
    pub(crate) ring: Ring,
    /// What the scan had found before the unit, and with it.
    pub(crate) before: &'a ScanReport,
    pub(crate) after: &'a ScanReport,
}

event! { ReplayUnit<'_>, raid5c_replay_unit_is_on, raid5c_trace_replay_unit, |it| (
    it.dev,
    it.before.end.seq,
    it.before.end.block.get(),
    it.ring.distance(it.before.end.block, it.after.end.block),
    it.after.data_pages.saturating_sub(it.before.data_pages),
    it.after.parity_rows.saturating_sub(it.before.parity_rows),
    it.after.replayed_rows.saturating_sub(it.before.replayed_rows),
    it.after.dropped_by_flush.saturating_sub(it.before.dropped_by_flush),
) }

/// Recovery has come to the end of the log.
pub(crate) struct ReplayScanned {
    pub(crate) dev: u32,
    pub(crate) report: ScanReport,
}

event! { ReplayScanned, raid5c_replay_scanned_is_on, raid5c_trace_replay_scanned, |it| (
    it.dev,
    it.report.units,
    it.report.replayed_rows,
    it.report.dropped_by_flush,
    it.report.data_only_rows,
    it.report.end.block.get(),
    it.report.end.seq,
    end_number(it.report.end_reason.kind()),
) }

/// Recovery has made a row's parity, and the row is on the members.
pub(crate) struct ReplayFinish {
    pub(crate) dev: u32,
    pub(crate) row: DevSector,
    /// Pages of it that the log had.
    pub(crate) data: usize,
    /// Whether the log had room for the parity.
    pub(crate) logged: bool,
}

event! { ReplayFinish, raid5c_replay_finish_is_on, raid5c_trace_replay_finish, |it| (
    it.dev,
    it.row.get(),
    u32::try_from(it.data).unwrap_or(u32::MAX),
    it.logged,
) }
