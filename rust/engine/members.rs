// SPDX-License-Identifier: GPL-2.0

//! The members of an array and what they are worth at the moment.

use crate::{
    md::rdev::{Rdev, RdevFlag, RdevRef, RdevSlot},
    raid::stripe::Access,
};
use kernel::prelude::*;

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

    /// What role `slot` can do up to member sector `end`.
    pub(crate) fn access(&self, slot: usize, end: u64) -> Access {
        let Some(rdev) = self.slots.get(slot).and_then(RdevSlot::peek) else {
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
        self.iter().any(Rdev::is_blocked)
    }

    /// Roles without a device that is in sync: what md calls degraded.
    pub(crate) fn degraded(&self) -> usize {
        self.slots
            .iter()
            .filter(|s| {
                s.peek()
                    .is_none_or(|r| r.flag(RdevFlag::Faulty) || !r.flag(RdevFlag::InSync))
            })
            .count()
    }

    /// Whether some role has no working device at all.
    pub(crate) fn any_missing(&self) -> bool {
        self.slots
            .iter()
            .any(|s| s.peek().is_none_or(|r| r.flag(RdevFlag::Faulty)))
    }

    /// The devices that are there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rdev> {
        self.slots.iter().filter_map(RdevSlot::peek)
    }

    /// `U` or `_` per role, as /proc/mdstat shows it.
    pub(crate) fn states(&self) -> impl Iterator<Item = char> + '_ {
        self.slots.iter().map(|s| match s.peek() {
            Some(r) if r.flag(RdevFlag::InSync) => 'U',
            Some(_) | None => '_',
        })
    }
}
