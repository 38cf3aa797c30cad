// SPDX-License-Identifier: GPL-2.0

//! What the journal does when memory is short. It keeps what a unit and a flush
//! need; a row for which there is no unit waits as if the journal had no room, and
//! what cannot be issued is issued later.

use super::{
    array::{Array, OwnTurn},
    journal::Journal,
    journal_io::{FlushIo, UnitIo},
};
use crate::journal::log::FlushTicket;
use kernel::{
    prelude::*,
    sync::{atomic::Full, Arc},
};

/// Units that are kept.
const UNITS: usize = 2;

/// Flushes that are kept.
const FLUSHES: usize = 2;

/// Flushes that may be left for later: more than the log has under way.
const LEFT: usize = 8;

/// A flush that is to be done; until it is, the array is not quiesced.
pub(super) type FlushDue = (FlushTicket, OwnTurn);

/// What is kept, as far as it is not in use. A circle of references, which
/// `drop_spares` breaks.
pub(super) struct Spares {
    units: KVec<Arc<UnitIo>>,
    flushes: KVec<Arc<FlushIo>>,
    /// Flushes that could not be issued.
    left: [Option<FlushDue>; LEFT],
    /// Nothing is kept any more.
    over: bool,
}

impl Spares {
    pub(super) const fn new() -> Self {
        Self {
            units: KVec::new(),
            flushes: KVec::new(),
            left: [const { None }; LEFT],
            over: false,
        }
    }

    pub(super) fn take_flush(&mut self) -> Option<FlushDue> {
        self.left.iter_mut().find_map(Option::take)
    }
}

impl Journal {
    /// Keeps something for when there is no memory.
    pub(super) fn keep_spares(self: &Arc<Self>) -> Result {
        let mut units = KVec::with_capacity(UNITS, GFP_KERNEL)?;
        for _ in 0..UNITS {
            let unit = UnitIo::new(self, true, true, GFP_KERNEL)?;
            units.push(unit, GFP_KERNEL)?;
        }
        let mut flushes = KVec::with_capacity(FLUSHES, GFP_KERNEL)?;
        for _ in 0..FLUSHES {
            flushes.push(FlushIo::new(self, true, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let mut spares = self.spares.lock();
        spares.units = units;
        spares.flushes = flushes;
        Ok(())
    }

    /// Keeps nothing any more.
    pub(super) fn drop_spares(&self) {
        let (units, flushes, left) = {
            let mut spares = self.spares.lock();
            spares.over = true;
            (
                core::mem::replace(&mut spares.units, KVec::new()),
                core::mem::replace(&mut spares.flushes, KVec::new()),
                core::mem::replace(&mut spares.left, [const { None }; LEFT]),
            )
        };
        drop(units);
        drop(flushes);
        // Nobody will do them.
        for (ticket, turn) in left.into_iter().flatten() {
            self.flushed(ticket, false);
            drop(turn);
        }
        self.drop_next();
    }

    /// What the next unit needs, if there is memory for it or something is kept.
    pub(super) fn unit_io(self: &Arc<Self>) -> Option<Arc<UnitIo>> {
        match UnitIo::new(self, self.is_volatile(), false, GFP_NOWAIT) {
            Ok(io) => Some(io),
            Err(_) => self.spares.lock().units.pop(),
        }
    }

    /// A unit that was kept is not in use any more.
    pub(super) fn keep_unit(&self, io: Arc<UnitIo>) {
        let mut spares = self.spares.lock();
        let left = if spares.over {
            Some(io)
        } else {
            spares.units.push_within_capacity(io).err().map(|e| e.0)
        };
        drop(spares);
        drop(left);
        if self.busy.xchg(0, Full) != 0 {
            self.array.want_feed();
        }
    }

    /// What a flush needs.
    pub(super) fn flush_io(self: &Arc<Self>) -> Option<Arc<FlushIo>> {
        match FlushIo::new(self, false, GFP_NOWAIT) {
            Ok(io) => Some(io),
            Err(_) => self.spares.lock().flushes.pop(),
        }
    }

    /// A flush that was kept is not in use any more.
    pub(super) fn keep_flush(&self, io: Arc<FlushIo>) {
        let mut spares = self.spares.lock();
        let left = if spares.over {
            Some(io)
        } else {
            spares.flushes.push_within_capacity(io).err().map(|e| e.0)
        };
        drop(spares);
        drop(left);
    }

    /// Leaves a flush for later.
    pub(super) fn leave_flush(&self, due: FlushDue) {
        let mut spares = self.spares.lock();
        if let Some(place) = spares.left.iter_mut().find(|t| t.is_none()) {
            *place = Some(due);
        }
        drop(spares);
        self.unissued.xchg(1, Full);
        self.want_memory();
    }

    /// Rows wait for memory, as for room.
    #[cold]
    pub(super) fn lack_memory(&self) {
        self.busy.xchg(1, Full);
        self.want_memory();
    }

    /// Something waits for memory.
    pub(super) fn want_memory(&self) {
        Array::want_memory(&self.array);
    }

    /// Tries again what was left for want of memory.
    pub(super) fn retry(self: &Arc<Self>) {
        if self.unissued.xchg(0, Full) != 0 {
            let mut from = 0;
            while let Some((io, at)) = self.next_unissued(from) {
                from = at.wrapping_add(1);
                self.issue_unit(&io);
            }
            self.flush();
        }
        if self.busy.xchg(0, Full) != 0 {
            self.array.want_feed();
        }
    }

    fn next_unissued(&self, from: usize) -> Option<(Arc<UnitIo>, usize)> {
        let state = self.state.lock();
        let mut all = state.submitted.iter().enumerate().skip(from);
        all.find_map(|(at, io)| {
            let io = io.as_ref()?;
            let left = core::mem::replace(&mut io.rows.lock().unissued, false);
            left.then(|| (io.clone(), at))
        })
    }
}
