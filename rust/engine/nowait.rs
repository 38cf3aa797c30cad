// SPDX-License-Identifier: GPL-2.0

//! Requests whose submitters must not wait (`REQ_NOWAIT`): they are done, or they end with EAGAIN.
//!
//! Reads of a member that is there go to it as such requests. What goes through stripes is left
//! to the worker, if there is room in the cache: it allocates pages, and submits to members that
//! may make it wait. Nothing that waits by nature is begun: flushes, discards, writes that
//! have to be marked in a bitmap or in the superblock first. Memory is allocated as md core does
//! for such requests too.

use super::{array::Array, stripe::Inner};
use crate::{
    block::{
        bio::{Bio, Piece},
        direct,
    },
    md::{mddev::Mddev, rdev::RdevRef},
};
use core::num::NonZeroU64;
use kernel::{alloc::flags::GFP_NOWAIT, sync::Arc};

impl Array {
    /// Takes such a request.
    pub(super) fn make_nowait(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        if bio.is_preflush() || bio.is_discard() {
            return bio.end_again();
        }
        if !bio.has_data() {
            return bio.end_error();
        }
        let Some(_turn) = this.try_enter() else {
            return bio.end_again();
        };
        if !bio.is_write() {
            return Self::read_chunks(this, bio.account(mddev));
        }
        let fits = Self::lies_within(&bio, this.row)
            && (!this.is_split_finely() || Self::lies_within(&bio, this.strip));
        if !fits || mddev.bitmap_enabled() || !this.cache.has_room() {
            return bio.end_again();
        }
        if !mddev.write_start_nowait() {
            return bio.end_again();
        }
        Self::write_stripes(this, mddev, bio);
        mddev.write_end();
    }

    fn lies_within(bio: &Bio, unit: NonZeroU64) -> bool {
        let end = (bio.sector().get() % unit).saturating_add(u64::from(bio.sectors()));
        end <= unit.get()
    }

    /// Reads a part from its member, at sector `at` of the device, in requests that it takes.
    pub(super) fn read_nowait(this: &Arc<Self>, rdev: RdevRef, at: u64, piece: Piece) {
        let most = rdev.nowait_sectors();
        if piece.sectors() <= most {
            this.direct_reads.start();
            return direct::submit_read(&this.member_bios, this, rdev, at, piece);
        }
        if most == 0 {
            return piece.end_again();
        }
        let mut offset = 0u32;
        while offset < piece.sectors() {
            let sub = piece.sub(offset, most);
            this.direct_reads.start();
            let sector = at.wrapping_add(u64::from(offset));
            direct::submit_read(&this.member_bios, this, RdevRef::new(&rdev), sector, sub);
            offset = offset.saturating_add(most);
        }
        piece.end(true);
    }

    /// As `with_stripe`, but the stripe is left to the worker; false if there is no memory.
    pub(super) fn try_with_stripe(
        this: &Arc<Self>,
        index: u64,
        room: usize,
        f: impl FnOnce(&mut Inner),
    ) -> bool {
        let mut f = Some(f);
        loop {
            let Ok(stripe) = this.cache.get(this, index, GFP_NOWAIT) else {
                return false;
            };
            let attached = stripe.attach(room, |inner| {
                if let Some(f) = f.take() {
                    f(inner);
                }
            });
            match attached {
                Ok(true) => {
                    this.queue.leave(&stripe);
                    return true;
                }
                // Dropped meanwhile.
                Ok(false) => {}
                Err(_) => return false,
            }
        }
    }

    /// Has a read attached if there is room; else notes that it cannot be done without waiting.
    pub(super) fn try_read(
        this: &Arc<Self>,
        index: u64,
        bio: &Bio,
        f: impl FnOnce(&mut Inner),
    ) -> bool {
        // Noted before the part is dropped, which ends it.
        if !this.cache.has_room() {
            bio.cannot_wait();
            return false;
        }
        let attached = Self::try_with_stripe(this, index, 1, f);
        if !attached {
            bio.cannot_wait();
        }
        attached
    }
}
