// SPDX-License-Identifier: GPL-2.0

//! The members of an array and what they are worth at the moment.

use crate::{
    md::rdev::{Rdev, RdevFlag, RdevRef, RdevSlot},
    raid::{
        mask::RowMask,
        stripe::{Access, Strip, Worth},
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

/// The devices by role. A role may have two: its member, and one that replaces it.
pub(crate) struct Members {
    slots: KVec<RdevSlot>,
    replacements: KVec<RdevSlot>,
}

/// Which of a role's two devices. What a write is for is said with it, and does not change until
/// the write is issued, whatever becomes of either device meanwhile: what is meant for a device
/// that has gone goes to the other one, which may then be written twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// The member; what replaces it when there is nothing else.
    Member,
    /// What replaces the member, and takes the same writes.
    Twin,
}

/// A role's working devices, not counted.
struct Pair<'a> {
    member: Option<&'a Rdev>,
    twin: Option<&'a Rdev>,
}

impl<'a> Pair<'a> {
    fn new(member: Option<&'a Rdev>, replacement: Option<&'a Rdev>) -> Self {
        let works = |rdev: &&Rdev| !rdev.flag(RdevFlag::Faulty);
        let (member, replacement) = (member.filter(works), replacement.filter(works));
        // It is in both places for a moment when it becomes the member.
        let replacement = replacement.filter(|r| {
            let same = |m: &Rdev| core::ptr::eq(m.as_ptr(), r.as_ptr());
            !member.is_some_and(same)
        });
        Self {
            member: member.or(replacement),
            twin: replacement.and_then(|r| member.map(|_| r)),
        }
    }

    fn get(&self, device: Device) -> Option<&'a Rdev> {
        match device {
            Device::Member => self.member,
            Device::Twin => self.twin.or(self.member),
        }
    }

    /// The device that says what the role is worth up to member sector `end`: the replacement as soon
    /// as it has all.
    fn primary(&self, end: u64) -> Option<&'a Rdev> {
        let level = access_of(self.twin, end) == Access::Full;
        self.twin.filter(|_| level).or(self.member)
    }

    /// The device that part of a stripe up to member sector `end` is read from: the replacement as soon
    /// as it has all, but where it has bad blocks.
    fn reader(&self, end: u64, (first, sectors): (u64, u32)) -> Option<&'a Rdev> {
        let full = |rdev: &&Rdev| access_of(Some(rdev), end) == Access::Full;
        let (member, twin) = (self.member.filter(full), self.twin.filter(full));
        let whole = twin.filter(|twin| !twin.has_badblock(first, sectors));
        whole.or(member).or(twin)
    }
}

/// What a device is worth for a stripe of `sectors` sectors from member sector `first` on.
fn worth_of(rdev: Option<&Rdev>, first: u64, sectors: u32) -> Worth {
    let bad = rdev.map_or(RowMask::EMPTY, |rdev| bad_rows(rdev, first, sectors));
    Worth {
        access: access_of(rdev, first.saturating_add(u64::from(sectors))),
        bad,
        skip: bad.any() && rdev.is_some_and(|rdev| rdev.flag(RdevFlag::WriteErrorSeen)),
    }
}

/// What a device can do up to member sector `end`.
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

impl Members {
    /// `n` roles without devices.
    pub(crate) fn new(n: usize) -> Result<Self> {
        let empty = || -> Result<KVec<RdevSlot>> {
            let mut slots = KVec::with_capacity(n, GFP_KERNEL)?;
            for _ in 0..n {
                slots.push(RdevSlot::new(), GFP_KERNEL)?;
            }
            Ok(slots)
        };
        Ok(Self {
            slots: empty()?,
            replacements: empty()?,
        })
    }

    /// Number of roles.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place of role `slot`.
    pub(crate) fn slot(&self, slot: usize) -> Option<&RdevSlot> {
        self.slots.get(slot)
    }

    /// The place of what replaces the member of role `slot`.
    pub(crate) fn replacement(&self, slot: usize) -> Option<&RdevSlot> {
        self.replacements.get(slot)
    }

    fn pair<'a>(&'a self, slot: usize, guard: &'a rcu::Guard) -> Pair<'a> {
        let of = |slots: &'a KVec<RdevSlot>| slots.get(slot).and_then(|s| s.peek(guard));
        Pair::new(of(&self.slots), of(&self.replacements))
    }

    /// A working device of role `slot`, counted.
    pub(crate) fn get(&self, slot: usize, device: Device) -> Option<RdevRef> {
        let guard = rcu::read_lock();
        self.pair(slot, &guard).get(device).map(RdevRef::new)
    }

    /// The device that role `slot` can be read from: some `part` (its first sector and its length) of
    /// what ends with member sector `end`; counted. It may have bad blocks there, if all have.
    pub(crate) fn reader(&self, slot: usize, end: u64, part: (u64, u32)) -> Option<RdevRef> {
        let guard = rcu::read_lock();
        let rdev = self.pair(slot, &guard).reader(end, part);
        rdev.map(RdevRef::new)
    }

    /// Whether role `slot` has all rows: it is in sync, and nothing of it is a bad block.
    pub(crate) fn has_all(&self, slot: usize) -> bool {
        let guard = rcu::read_lock();
        let member = self.pair(slot, &guard).member;
        member.is_some_and(|rdev| rdev.flag(RdevFlag::InSync) && !rdev.any_badblock())
    }

    /// All working devices of role `slot`, counted.
    pub(crate) fn both(&self, slot: usize) -> [Option<RdevRef>; 2] {
        let guard = rcu::read_lock();
        let pair = self.pair(slot, &guard);
        [pair.member, pair.twin].map(|rdev| rdev.map(RdevRef::new))
    }

    /// Brings the strips' view of their members up to date: strips of `sectors` sectors from member
    /// sector `first` on. Whether a member's failure or bad block is not recorded yet: looked at
    /// after what the strip is told, as a failure is flagged the other way round.
    pub(crate) fn refresh(&self, first: u64, sectors: u32, strips: &mut [Strip]) -> bool {
        let guard = rcu::read_lock();
        let mut blocked = false;
        let roles = self.slots.iter().zip(self.replacements.iter());
        for (strip, (slot, replacement)) in strips.iter_mut().zip(roles) {
            let both = [slot.peek(&guard), replacement.peek(&guard)];
            let pair = Pair::new(both[0], both[1]);
            let twin = pair.twin.map(|twin| worth_of(Some(twin), first, sectors));
            strip.note(worth_of(pair.member, first, sectors), twin);
            blocked |= both.into_iter().flatten().any(Rdev::is_blocked);
        }
        blocked
    }

    /// What role `slot` can do up to member sector `end`.
    pub(crate) fn access_at(&self, slot: usize, end: u64) -> Access {
        let guard = rcu::read_lock();
        access_of(self.pair(slot, &guard).primary(end), end)
    }

    /// Whether role `slot` can be read, as in [`Self::reader`], and from another device than this.
    pub(crate) fn has_other(&self, slot: usize, end: u64, part: (u64, u32), rdev: &Rdev) -> bool {
        let guard = rcu::read_lock();
        let reader = self.pair(slot, &guard).reader(end, part);
        reader.is_some_and(|other| {
            !core::ptr::eq(other.as_ptr(), rdev.as_ptr()) && !other.has_badblock(part.0, part.1)
        })
    }

    /// Whether a member's failure or bad block is not recorded yet.
    pub(crate) fn any_blocked(&self) -> bool {
        let guard = rcu::read_lock();
        [&self.slots, &self.replacements].into_iter().any(|slots| {
            let mut rdevs = slots.iter().filter_map(|s| s.peek(&guard));
            rdevs.any(Rdev::is_blocked)
        })
    }

    /// Whether anything of any member is a bad block.
    pub(crate) fn any_badblock(&self) -> bool {
        let guard = rcu::read_lock();
        [&self.slots, &self.replacements].into_iter().any(|slots| {
            let mut rdevs = slots.iter().filter_map(|s| s.peek(&guard));
            rdevs.any(Rdev::any_badblock)
        })
    }

    /// Roles without a device that is in sync: what md calls degraded.
    pub(crate) fn degraded(&self) -> usize {
        let guard = rcu::read_lock();
        let works = |slots: &KVec<RdevSlot>, slot: usize| {
            let rdev = slots.get(slot).and_then(|s| s.peek(&guard));
            rdev.is_some_and(|r| r.flag(RdevFlag::InSync) && !r.flag(RdevFlag::Faulty))
        };
        (0..self.len())
            .filter(|slot| !works(&self.slots, *slot) && !works(&self.replacements, *slot))
            .count()
    }

    /// Whether some role has no working device at all.
    pub(crate) fn any_missing(&self) -> bool {
        let guard = rcu::read_lock();
        (0..self.len()).any(|slot| self.pair(slot, &guard).member.is_none())
    }

    /// Calls `f` for each member that is there and its replacement; `f` must not sleep.
    pub(crate) fn for_each_role(&self, mut f: impl FnMut(Option<&Rdev>, Option<&Rdev>)) {
        let guard = rcu::read_lock();
        for (slot, replacement) in self.slots.iter().zip(self.replacements.iter()) {
            f(slot.peek(&guard), replacement.peek(&guard));
        }
    }

    /// Where there is no member, its replacement becomes the member. With md's lock of the array
    /// held, or before it runs.
    pub(crate) fn promote(&self, slot: usize) {
        let (Some(place), Some(other)) = (self.slots.get(slot), self.replacements.get(slot)) else {
            return;
        };
        let Some(rdev) = other.get().filter(|_| place.is_vacant()) else {
            return;
        };
        rdev.clear_flag(RdevFlag::Replacement);
        place.set(&rdev);
        other.clear();
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
