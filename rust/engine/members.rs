// SPDX-License-Identifier: GPL-2.0

//! The members of an array and what they are worth at the moment.

use crate::{
    md::rdev::{Rdev, RdevFlag, RdevRef, RdevSlot},
    raid::{
        mask::RowMask,
        stripe::{Access, Strip},
    },
};
use kernel::{prelude::*, sync::rcu};

/// Rows of `sectors` sectors from member sector `first` on in which the device has bad blocks.
fn bad_rows(rdev: &Rdev, first: u64, sectors: u32) -> RowMask {
    let mut rows = RowMask::EMPTY;
    if !rdev.has_badblock(first, sectors) {
        return rows;
    }
    for row in 0..sectors.div_ceil(8) {
        let at = first.saturating_add(u64::from(row).wrapping_mul(8));
        if rdev.has_badblock(at, 8) {
            rows.insert(RowMask::single(row));
        }
    }
    rows
}

/// The devices by role.
pub(crate) struct Members {
    slots: KVec<RdevSlot>,
}

impl Members {
    /// `n` roles without devices.
    pub(crate) fn new(n: usize) -> Result<Self> {
        let mut slots = KVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            slots.push(RdevSlot::new(), GFP_KERNEL)?;
        }
        Ok(Self { slots })
    }

    /// Number of roles.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place of role `slot`.
    pub(crate) fn slot(&self, slot: usize) -> Option<&RdevSlot> {
        self.slots.get(slot)
    }

    /// The working device of role `slot`, counted.
    pub(crate) fn get(&self, slot: usize) -> Option<RdevRef> {
        let rdev = self.slots.get(slot)?.get()?;
        if rdev.flag(RdevFlag::Faulty) {
            None
        } else {
            Some(rdev)
        }
    }

    /// Brings the strips' view of their members up to date: strips of `sectors` sectors from member
    /// sector `first` on.
    pub(crate) fn refresh(&self, first: u64, sectors: u32, strips: &mut [Strip]) {
        let end = first.saturating_add(u64::from(sectors));
        let guard = rcu::read_lock();
        for (slot, strip) in self.slots.iter().zip(strips.iter_mut()) {
            let rdev = slot.peek(&guard);
            strip.access = Self::access_of(rdev, end);
            let rows = rdev.map_or(RowMask::EMPTY, |rdev| bad_rows(rdev, first, sectors));
            let skip = rows.any() && rdev.is_some_and(|r| r.flag(RdevFlag::WriteErrorSeen));
            strip.note_bad(rows, skip);
        }
    }

    /// What role `slot` can do up to member sector `end`.
    pub(crate) fn access_at(&self, slot: usize, end: u64) -> Access {
        let guard = rcu::read_lock();
        let rdev = self.slots.get(slot).and_then(|s| s.peek(&guard));
        Self::access_of(rdev, end)
    }

    fn access_of(rdev: Option<&Rdev>, end: u64) -> Access {
        let Some(rdev) = rdev else {
            return Access::Missing;
        };
        if rdev.flag(RdevFlag::Faulty) {
            Access::Missing
        } else if rdev.flag(RdevFlag::InSync) || rdev.recovery_offset() >= end {
            Access::Full
        } else {
            Access::WriteOnly
        }
    }

    /// Whether a member's failure or bad block is not recorded yet.
    pub(crate) fn any_blocked(&self) -> bool {
        self.any(|r| r.is_some_and(Rdev::is_blocked))
    }

    /// Roles without a device that is in sync: what md calls degraded.
    pub(crate) fn degraded(&self) -> usize {
        let guard = rcu::read_lock();
        self.slots
            .iter()
            .filter(|s| {
                s.peek(&guard)
                    .is_none_or(|r| r.flag(RdevFlag::Faulty) || !r.flag(RdevFlag::InSync))
            })
            .count()
    }

    /// Whether some role has no working device at all.
    pub(crate) fn any_missing(&self) -> bool {
        self.any(|r| r.is_none_or(|r| r.flag(RdevFlag::Faulty)))
    }

    fn any(&self, f: impl Fn(Option<&Rdev>) -> bool) -> bool {
        let guard = rcu::read_lock();
        self.slots.iter().any(|s| f(s.peek(&guard)))
    }

    /// Calls `f` for each device that is there; `f` must not sleep.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Rdev)) {
        let guard = rcu::read_lock();
        for rdev in self.slots.iter().filter_map(|s| s.peek(&guard)) {
            f(rdev);
        }
    }

    /// `U` or `_` per role, as /proc/mdstat shows it.
    pub(crate) fn states(&self) -> impl Iterator<Item = char> + '_ {
        let guard = rcu::read_lock();
        self.slots.iter().map(move |s| match s.peek(&guard) {
            Some(r) if r.flag(RdevFlag::InSync) => 'U',
            Some(_) | None => '_',
        })
    }
}
