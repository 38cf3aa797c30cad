// SPDX-License-Identifier: GPL-2.0

//! Where the array's chunks lie on its members.
//!
//! All layouts that md knows come from four choices: how P moves from one chunk row to the next
//! ([`Rotation`]), where Q lies ([`Second`]), whether the data of a row starts at member 0 or after
//! the parity ([`Order`]), and whether Q's coefficients count the parity members too (DDF).
//!
//! ```text
//! left-symmetric, raid5, 4 members       left-symmetric, raid6, 5 members
//!   row 0    0  1  2  P                    row 0    Q  0  1  2  P
//!   row 1    4  5  P  3                    row 1    3  4  5  P  Q
//!   row 2    8  P  6  7                    row 2    7  8  P  Q  6
//!   row 3    P  9 10 11                    row 3   11  P  Q  9 10
//! ```
//!
//! Facts: the layout numbers in `drivers/md/raid5.h`, `raid5_compute_sector()` and
//! `raid6_idx_to_slot()` in `drivers/md/raid5.c`, the SNIA DDF specification for 8, 9 and 10.

use super::units::{ArraySector, DevSector, Slot, ROW_SECTORS};
use core::fmt;

/// Members that an array may have at most; far beyond what md's superblocks can name.
const MAX_DISKS: u32 = 4096;

/// Rows that a stripe has at most.
const MAX_STRIPE_ROWS: u32 = 64;

/// [`ROW_SECTORS`] as `u32`.
const ROW_SECTORS_U32: u32 = 8;

/// Why a level, layout, number of members and chunk size do not make an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GeometryError {
    /// The level is not 4, 5 or 6.
    Level(i32),
    /// The level has no such layout.
    Layout {
        /// The array's level.
        level: i32,
        /// The layout, as in md's superblock.
        layout: i32,
    },
    /// Too few or too many members for the level.
    Disks {
        /// The array's level.
        level: i32,
        /// The number of members.
        raid_disks: u32,
    },
    /// The chunk is not a power of two of at least 4 KiB; in 512-byte sectors.
    Chunk(u32),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Level(level) => write!(f, "level {level} is not 4, 5 or 6"),
            Self::Layout { level, layout } => write!(f, "level {level} has no layout {layout}"),
            Self::Disks { level, raid_disks } => {
                write!(f, "level {level} cannot have {raid_disks} members")
            }
            Self::Chunk(sectors) => write!(
                f,
                "a chunk of {sectors} sectors is not a power of two of at least 4 KiB"
            ),
        }
    }
}

/// How P moves from one chunk row to the next, within the members that rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    /// Always on the first member.
    First,
    /// Always on the last member, or the last but one if Q is last.
    Last,
    /// Starts on the last rotating member and moves towards the first.
    Left,
    /// As `Left`, but one row ahead (DDF's "rotating N restart").
    LeftAhead,
    /// Starts on the first member and moves towards the last.
    Right,
}

/// Where Q lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    /// There is no Q: level 4 or 5.
    None,
    /// On the member after P.
    After,
    /// On the member before P.
    Before,
    /// On the last member, which does not rotate.
    Last,
}

/// In which order the data chunks of a row follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// From the first member on, skipping parity (asymmetric).
    Restart,
    /// From the member after the parity on, around the end (symmetric).
    Continue,
}

/// The members that hold the parity of one chunk row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The member that holds P.
    pub(crate) p: Slot,
    /// The member that holds Q, if the level is 6.
    pub(crate) q: Option<Slot>,
    /// Whether Q's coefficients count members instead of data chunks, as DDF does.
    pub(crate) ddf: bool,
}

impl Placement {
    /// Tells whether the member holds parity in this chunk row.
    pub(crate) fn is_parity(&self, slot: Slot) -> bool {
        slot == self.p || Some(slot) == self.q
    }
}

/// The map between array sectors and members' sectors, and the place of parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    raid_disks: u16,
    data_disks: u16,
    chunk_sectors: u32,
    rotation: Rotation,
    second: Second,
    order: Order,
    ddf: bool,
}

impl Geometry {
    /// Checks an array's parameters, as md's superblock gives them; the chunk in 512-byte sectors.
    ///
    /// Level 4 keeps P on the last member whatever its layout says, as md does.
    pub(crate) fn new(
        level: i32,
        layout: i32,
        raid_disks: u32,
        chunk_sectors: u32,
    ) -> Result<Self, GeometryError> {
        let parity_disks: u16 = match level {
            4 | 5 => 1,
            6 => 2,
            _ => return Err(GeometryError::Level(level)),
        };
        let bad_layout = GeometryError::Layout { level, layout };
        let (rotation, second, order, ddf) = match level {
            4 => (Rotation::Last, Second::None, Order::Restart, false),
            5 => Self::raid5_layout(layout).ok_or(bad_layout)?,
            _ => Self::raid6_layout(layout).ok_or(bad_layout)?,
        };

        let least = u32::from(parity_disks).wrapping_mul(2);
        let bad_disks = GeometryError::Disks { level, raid_disks };
        if raid_disks < least || raid_disks > MAX_DISKS {
            return Err(bad_disks);
        }
        let raid_disks = u16::try_from(raid_disks).map_err(|_| bad_disks)?;

        if !chunk_sectors.is_power_of_two() || chunk_sectors < ROW_SECTORS_U32 {
            return Err(GeometryError::Chunk(chunk_sectors));
        }
        Ok(Self {
            raid_disks,
            data_disks: raid_disks.saturating_sub(parity_disks),
            chunk_sectors,
            rotation,
            second,
            order,
            ddf,
        })
    }

    fn raid5_layout(layout: i32) -> Option<(Rotation, Second, Order, bool)> {
        let (rotation, order) = match layout {
            0 => (Rotation::Left, Order::Restart),
            1 => (Rotation::Right, Order::Restart),
            2 => (Rotation::Left, Order::Continue),
            3 => (Rotation::Right, Order::Continue),
            4 => (Rotation::First, Order::Restart),
            5 => (Rotation::Last, Order::Restart),
            _ => return None,
        };
        Some((rotation, Second::None, order, false))
    }

    fn raid6_layout(layout: i32) -> Option<(Rotation, Second, Order, bool)> {
        match layout {
            0..=5 => {
                let (rotation, _, order, _) = Self::raid5_layout(layout)?;
                Some((rotation, Second::After, order, false))
            }
            8 => Some((Rotation::Right, Second::After, Order::Restart, true)),
            9 => Some((Rotation::LeftAhead, Second::After, Order::Restart, true)),
            10 => Some((Rotation::Left, Second::Before, Order::Continue, true)),
            16..=20 => {
                let (rotation, _, order, _) = Self::raid5_layout(layout.wrapping_sub(16))?;
                Some((rotation, Second::Last, order, false))
            }
            _ => None,
        }
    }

    /// Returns the number of members that hold data in a row.
    pub(crate) const fn data_disks(&self) -> u32 {
        // Lossless: `From` is not const.
        self.data_disks as u32
    }

    /// Returns the number of members that hold parity in a row: 1 or 2.
    pub(crate) const fn parity_disks(&self) -> u32 {
        // Lossless: `From` is not const.
        self.raid_disks.wrapping_sub(self.data_disks) as u32
    }

    /// Returns the number of members.
    pub(crate) const fn raid_disks(&self) -> u32 {
        // Lossless: `From` is not const.
        self.raid_disks as u32
    }

    /// Returns the size of a chunk, in 512-byte sectors.
    pub(crate) const fn chunk_sectors(&self) -> u32 {
        self.chunk_sectors
    }

    /// Returns the number of 4-KiB rows in a stripe: those of a chunk, at most 64.
    pub(crate) const fn rows_per_stripe(&self) -> u32 {
        let rows = self.chunk_sectors / ROW_SECTORS_U32;
        if rows < MAX_STRIPE_ROWS {
            rows
        } else {
            MAX_STRIPE_ROWS
        }
    }

    /// Returns the size of a member's part of a stripe, in 512-byte sectors.
    pub(crate) const fn strip_sectors(&self) -> u32 {
        // At most 64 * 8.
        self.rows_per_stripe().wrapping_mul(ROW_SECTORS_U32)
    }

    /// Returns the data in a chunk row, in 512-byte sectors.
    pub(crate) const fn row_sectors(&self) -> u64 {
        // u32 * u16 fits in u64.
        (self.chunk_sectors as u64).wrapping_mul(self.data_disks as u64)
    }

    /// Returns the sector and the member that hold an array sector.
    pub(crate) fn map(&self, sector: ArraySector) -> (DevSector, Slot) {
        let chunk = u64::from(self.chunk_sectors);
        let data_disks = u64::from(self.data_disks);
        let (number, offset) = div_rem(sector.get(), chunk);
        let (row, index) = div_rem(number, data_disks);
        // Not above `sector`: there is at least one data disk.
        let dev = DevSector::new(row.wrapping_mul(chunk).wrapping_add(offset));
        (dev, self.data_slot_in_row(row, narrow(index)))
    }

    /// Returns the array sector that a member's sector holds; `None` for parity, for a member that
    /// does not exist, and beyond what array sectors can count.
    pub(crate) fn unmap(&self, sector: DevSector, slot: Slot) -> Option<ArraySector> {
        let (row, offset) = div_rem(sector.get(), u64::from(self.chunk_sectors));
        let index = self.data_index(sector, slot)?;
        row.checked_mul(u64::from(self.data_disks))?
            .checked_add(u64::from(index))?
            .checked_mul(u64::from(self.chunk_sectors))?
            .checked_add(offset)
            .map(ArraySector::new)
    }

    /// Returns the members that hold the parity of the chunk row around a member's sector.
    pub(crate) fn placement(&self, sector: DevSector) -> Placement {
        self.placement_of_row(self.row(sector))
    }

    /// Tells whether the member holds parity and nothing else, in every row.
    pub(crate) fn is_parity_only(&self, slot: Slot) -> bool {
        let place = self.placement_of_row(0);
        let p_stays = match self.rotation {
            Rotation::First | Rotation::Last => true,
            Rotation::Left | Rotation::LeftAhead | Rotation::Right => false,
        };
        let q_stays = p_stays || matches!(self.second, Second::Last);
        (p_stays && slot == place.p) || (q_stays && place.q == Some(slot))
    }

    /// Returns the member that holds the data chunk `data_index` of the chunk row around a sector.
    ///
    /// An index that is too large counts on from zero.
    pub(crate) fn data_slot(&self, sector: DevSector, data_index: u32) -> Slot {
        let (_, index) = div_rem(u64::from(data_index), u64::from(self.data_disks));
        self.data_slot_in_row(self.row(sector), narrow(index))
    }

    /// Returns which data chunk of the chunk row around a sector the member holds; `None` for parity
    /// and for a member that does not exist.
    pub(crate) fn data_index(&self, sector: DevSector, slot: Slot) -> Option<u32> {
        let place = self.placement(sector);
        if slot.get() >= self.raid_disks || place.is_parity(slot) {
            return None;
        }
        Some(match self.order {
            Order::Restart => {
                let parity_before = u16::from(place.p < slot)
                    .wrapping_add(u16::from(place.q.is_some_and(|q| q < slot)));
                u32::from(slot.get().wrapping_sub(parity_before))
            }
            Order::Continue => u32::from(sub_mod(
                slot.get(),
                self.first_data(place.p),
                self.rotating(),
            )),
        })
    }

    /// Returns the number of sources of Q: the data disks, or for DDF all members.
    pub(crate) const fn syndrome_disks(&self) -> u32 {
        if self.ddf {
            self.raid_disks()
        } else {
            self.data_disks()
        }
    }

    /// Returns the data members around a sector in the order of Q's coefficients, each with its
    /// position below [`Self::syndrome_disks`].
    ///
    /// md counts the data members from the one after Q on. DDF counts all members from the first
    /// on, so that the positions of P and Q are left out here and stand for zeroes. Without Q the
    /// order is that of the members.
    pub(crate) fn syndrome_order(&self, sector: DevSector) -> SyndromeOrder {
        let place = self.placement(sector);
        let start = match (self.ddf, place.q) {
            (false, Some(q)) => add_mod(q.get(), 1, self.raid_disks),
            (true, _) | (false, None) => 0,
        };
        SyndromeOrder {
            place,
            raid_disks: self.raid_disks,
            start,
            walked: 0,
            position: 0,
        }
    }

    /// Returns the size of the array in 512-byte sectors, of members of the given size.
    ///
    /// A member's last incomplete chunk is not used. Saturates.
    pub(crate) fn array_sectors(&self, dev_sectors: u64) -> u64 {
        let (rows, _) = div_rem(dev_sectors, u64::from(self.chunk_sectors));
        rows.saturating_mul(self.row_sectors())
    }

    /// Returns the members' range that holds the chunk rows touched by an array range, as start and
    /// length in 512-byte sectors; this is what a bitmap must cover.
    pub(crate) fn bitmap_range(&self, start: ArraySector, sectors: u64) -> (DevSector, u64) {
        let chunk = u64::from(self.chunk_sectors);
        let row_sectors = self.row_sectors();
        let (first, _) = div_rem(start.get(), row_sectors);
        let (whole, rest) = div_rem(start.get().saturating_add(sectors), row_sectors);
        let end = whole.saturating_add(u64::from(rest != 0));
        (
            // Not above `start`.
            DevSector::new(first.wrapping_mul(chunk)),
            end.saturating_sub(first).saturating_mul(chunk),
        )
    }

    /// The number of the chunk row around a member's sector.
    fn row(&self, sector: DevSector) -> u64 {
        div_rem(sector.get(), u64::from(self.chunk_sectors)).0
    }

    /// The number of members among which parity rotates: all, unless Q stays on the last one.
    fn rotating(&self) -> u16 {
        match self.second {
            Second::None | Second::After | Second::Before => self.raid_disks,
            Second::Last => self.raid_disks.saturating_sub(1),
        }
    }

    fn placement_of_row(&self, row: u64) -> Placement {
        let rotating = self.rotating();
        let last = rotating.saturating_sub(1);
        let turn = |row: u64| narrow(div_rem(row, u64::from(rotating)).1);
        let p = match self.rotation {
            Rotation::First => 0,
            Rotation::Last => self.data_disks,
            Rotation::Left => last.saturating_sub(turn(row)),
            Rotation::LeftAhead => last.saturating_sub(turn(row.wrapping_add(1))),
            Rotation::Right => turn(row),
        };
        let q = match self.second {
            Second::None => None,
            Second::After => Some(add_mod(p, 1, rotating)),
            Second::Before => Some(sub_mod(p, 1, rotating)),
            Second::Last => Some(rotating),
        };
        Placement {
            p: Slot::new(p),
            q: q.map(Slot::new),
            ddf: self.ddf,
        }
    }

    /// The member with the first data chunk of a row whose data continues after the parity.
    fn first_data(&self, p: Slot) -> u16 {
        let skip = match self.second {
            Second::None | Second::Before | Second::Last => 1,
            Second::After => 2,
        };
        add_mod(p.get(), skip, self.rotating())
    }

    /// `index` is below the number of data disks.
    fn data_slot_in_row(&self, row: u64, index: u16) -> Slot {
        let place = self.placement_of_row(row);
        match self.order {
            Order::Restart => {
                let (low, high) = match place.q {
                    Some(q) if q < place.p => (q, Some(place.p)),
                    q => (place.p, q),
                };
                let mut slot = index;
                if slot >= low.get() {
                    slot = slot.wrapping_add(1);
                }
                if high.is_some_and(|high| slot >= high.get()) {
                    slot = slot.wrapping_add(1);
                }
                Slot::new(slot)
            }
            Order::Continue => Slot::new(add_mod(self.first_data(place.p), index, self.rotating())),
        }
    }
}

/// The data members of a row in the order of Q's coefficients; see [`Geometry::syndrome_order`].
#[derive(Clone, Debug)]
pub(crate) struct SyndromeOrder {
    place: Placement,
    raid_disks: u16,
    start: u16,
    walked: u16,
    position: u16,
}

impl Iterator for SyndromeOrder {
    type Item = (u16, Slot);

    fn next(&mut self) -> Option<Self::Item> {
        while self.walked < self.raid_disks {
            let slot = Slot::new(add_mod(self.start, self.walked, self.raid_disks));
            self.walked = self.walked.wrapping_add(1);
            let position = self.position;
            let parity = self.place.is_parity(slot);
            if !parity || self.place.ddf {
                self.position = self.position.wrapping_add(1);
            }
            if !parity {
                return Some((position, slot));
            }
        }
        None
    }
}

/// Quotient and remainder; the divisors here are never zero, and zero would give zeroes.
fn div_rem(value: u64, by: u64) -> (u64, u64) {
    (
        value.checked_div(by).unwrap_or(0),
        value.checked_rem(by).unwrap_or(0),
    )
}

/// A number that is known to be below a number of members.
fn narrow(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(0)
}

/// Sum of two numbers below `modulus` (at most 4096), or `by` up to 2 with a modulus of 2 or more.
fn add_mod(value: u16, by: u16, modulus: u16) -> u16 {
    value.wrapping_add(by).checked_rem(modulus).unwrap_or(0)
}

/// Difference of two numbers below `modulus`, around zero.
fn sub_mod(value: u16, by: u16, modulus: u16) -> u16 {
    add_mod(value.wrapping_add(modulus).wrapping_sub(by), 0, modulus)
}

const _: () = assert!(ROW_SECTORS_U32 as u64 == ROW_SECTORS);

#[cfg(test)]
mod tests;
