// SPDX-License-Identifier: GPL-2.0

//! Requests of the array's users.

use super::{
    array::{Array, LARGE},
    stripe::{rows_of, Attached, Inner, Stripe},
};
use crate::{
    block::{
        bio::{Bio, Piece},
        direct::{self, DirectOwner, InFlight},
    },
    lib::{clock::warn_limited, noio::NoIo, workqueue::OwnQueue},
    md::{
        mddev::Mddev,
        rdev::{RdevFlag, RdevRef},
    },
    raid::units::ArraySector,
};
use core::num::NonZeroU64;
use kernel::{
    alloc::flags::{__GFP_NOWARN, GFP_KERNEL, GFP_NOWAIT},
    sync::Arc,
};

/// Stripes that one write request may touch; a longer one is split.
pub(super) const MAX_STRIPES: u64 = 16;

impl Array {
    /// Takes a request.
    pub(crate) fn make_request(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        let _noio = NoIo::enter();
        let mut bio = bio;
        if bio.is_nowait() {
            return Self::make_nowait(this, mddev, bio);
        }
        if bio.is_preflush() {
            match Self::flush_request(this, mddev, bio) {
                Some(rest) => bio = rest,
                None => return,
            }
        }
        if bio.is_discard() {
            mddev.write_start(&bio);
            Self::discard(this, mddev, bio);
            return mddev.write_end();
        }
        if !bio.has_data() {
            // The queue limits offer nothing else; see `set_limits`.
            return bio.end_error();
        }
        if bio.is_write() {
            mddev.write_start(&bio);
            Self::write(this, mddev, bio);
            mddev.write_end();
        } else {
            Self::read(this, mddev, bio);
        }
    }

    /// Splits what crosses a row of chunks. The queue limits have the block
    /// layer do that; this is for requests that come another way.
    fn fit(&self, bio: Bio, within: NonZeroU64) -> Option<Bio> {
        let offset = bio.sector().get() % within;
        let room = within.get().saturating_sub(offset);
        if u64::from(bio.sectors()) <= room {
            return Some(bio);
        }
        bio.split_front(u32::try_from(room).unwrap_or(u32::MAX), &self.split_bios)
    }

    /// Whether a row of chunks has more stripes than a write may touch.
    pub(super) fn is_split_finely(&self) -> bool {
        self.chunk.get() / self.strip > MAX_STRIPES
    }

    fn write(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        let Some(bio) = this.fit(bio, this.row) else {
            return;
        };
        let bio = if this.is_split_finely() {
            match this.fit(bio, this.strip) {
                Some(bio) => bio,
                None => return,
            }
        } else {
            bio
        };
        // Nothing of this request is issued yet, and what this task submitted
        // before has been issued: it is safe to wait. Later it is not, as what
        // we submit goes out when we return.
        let _turn = this.enter();
        this.wait_room();
        Self::write_stripes(this, mddev, bio);
    }

    /// Attaches a write that lies in one row of chunks, and is begun.
    pub(super) fn write_stripes(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        let per_chunk = this.chunk.get() / this.strip;
        // Somebody waits for what is FUA.
        let hold = this.may_hold(bio.sector().get(), bio.sectors()) && !bio.is_fua();
        let bio = bio.account(mddev);
        let start = bio.sector().get();
        let row = start / this.row;
        let first = row.wrapping_mul(per_chunk);
        for i in 0..per_chunk {
            Self::write_stripe(this, &bio, first.wrapping_add(i), hold);
        }
        bio.end();
    }

    /// Attaches all parts of a write that lie in one stripe, then has the
    /// stripe handled.
    fn write_stripe(this: &Arc<Self>, bio: &Bio, index: u64, hold: bool) {
        let spans = Spans::new(this, bio, index);
        if spans.clone().next().is_none() {
            return;
        }
        // What takes long is worth waking somebody for.
        let wake = bio.sectors() >= LARGE;
        let count = spans.clone().count();
        let attach = |inner: &mut Inner| {
            inner.hold = hold;
            for span in spans {
                let piece = Piece::new(bio, span.offset, span.sectors);
                this.mddev.write_inc(bio);
                let part = Attached::new(piece, span.slot, span.first, true);
                inner.st.attach_write(
                    &mut inner.strips,
                    span.slot,
                    part.todo,
                    part.full_rows(),
                    bio.is_fua(),
                );
                // `with_stripe` made room.
                let _ = inner.incoming.push_within_capacity(part);
            }
        };
        if !bio.is_nowait() {
            Self::with_stripe(this, index, count, wake, attach);
        } else if !Self::try_with_stripe(this, index, count, attach) {
            bio.cannot_wait();
        }
    }

    /// Runs `f` on the stripe and has it handled: by the worker, which is woken
    /// for it if `wake`, or at once.
    pub(super) fn with_stripe(
        this: &Arc<Self>,
        index: u64,
        room: usize,
        wake: bool,
        f: impl FnOnce(&mut Inner),
    ) {
        let mut f = Some(f);
        let mut gfp = GFP_NOWAIT;
        loop {
            let stripe = match this.cache.get(this, index, gfp) {
                Ok(stripe) => stripe,
                Err(_) => {
                    Self::wait_for_memory(this);
                    // All that this task holds is issued now, so that it may wait. Of an array with
                    // many members a stripe takes several pages in a row.
                    gfp = GFP_KERNEL | __GFP_NOWARN;
                    continue;
                }
            };
            let attached = stripe.attach(room, |inner| {
                if let Some(f) = f.take() {
                    f(inner);
                }
            });
            match attached {
                Ok(true) if this.queue.post(&stripe, wake) => return,
                Ok(true) => return Stripe::handle(&stripe),
                Ok(false) => {}
                Err(_) => Self::wait_for_memory(this),
            }
        }
    }

    fn read(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        let _turn = this.enter();
        if mddev.degraded() > 0 && this.needs_cache(&bio) {
            this.wait_room();
        }
        Self::read_chunks(this, bio.account(mddev));
    }

    /// Whether the member of a part of it is missing, so that it will go through the cache.
    fn needs_cache(&self, bio: &Bio) -> bool {
        let mut offset = 0;
        while offset < bio.sectors() {
            let at = bio.sector().get().wrapping_add(u64::from(offset));
            // Lossless and positive: at most a chunk.
            let room = (self.chunk.get() - at % self.chunk) as u32;
            let n = core::cmp::min(room, bio.sectors().wrapping_sub(offset));
            let (sector, slot) = self.geo.map(ArraySector::new(at));
            let end = sector.get().wrapping_add(u64::from(n));
            let reader = self.members.reader(slot.index(), end, (sector.get(), n));
            if reader.is_none() {
                return true;
            }
            offset = offset.wrapping_add(n);
        }
        false
    }

    /// Reads chunk by chunk.
    pub(super) fn read_chunks(this: &Arc<Self>, bio: Bio) {
        let mut offset = 0;
        while offset < bio.sectors() {
            let sector = bio.sector().get().wrapping_add(u64::from(offset));
            // Lossless and positive: at most a chunk.
            let room = (this.chunk.get() - sector % this.chunk) as u32;
            let n = core::cmp::min(room, bio.sectors().wrapping_sub(offset));
            Self::read_chunk(this, Piece::new(&bio, offset, n));
            offset = offset.wrapping_add(n);
        }
        bio.end();
    }

    /// Reads a part that lies in one chunk: from its member, or through its
    /// stripes where that cannot be.
    fn read_chunk(this: &Arc<Self>, piece: Piece) {
        let (sector, slot) = this.geo.map(piece.sector());
        let n = piece.sectors();
        let end = sector.get().wrapping_add(u64::from(n));
        let direct = this
            .members
            .reader(slot.index(), end, (sector.get(), n))
            .filter(|r| !r.has_badblock(sector.get(), n));
        let Some(rdev) = direct.filter(|_| !this.is_cached(&piece)) else {
            let waits = !piece.bio().is_nowait();
            return Self::read_stripes(this, piece, waits);
        };
        let at = sector.get().wrapping_add(rdev.data_offset());
        if piece.bio().is_nowait() {
            return Self::read_nowait(this, rdev, at, piece);
        }
        this.direct_reads.start();
        direct::submit_read(&this.member_bios, this, rdev, at, piece);
    }

    /// Whether something of a part that lies in one chunk is newer in the cache
    /// than on its member.
    fn is_cached(&self, piece: &Piece) -> bool {
        self.may_cache()
            && self.strips_of(piece).any(|part| {
                let stripe = self.cache.find(part.stripe);
                stripe.is_some_and(|s| s.is_newer(part.slot, rows_of(part.first, part.sectors)))
            })
    }

    /// The strips that a part touches which lies in one chunk.
    fn strips_of(&self, piece: &Piece) -> Strips<'_> {
        let (dev, slot) = self.geo.map(piece.sector());
        Strips {
            array: self,
            slot: slot.index(),
            at: dev.get(),
            offset: 0,
            left: piece.sectors(),
        }
    }

    /// Reads a part that lies in one chunk through its stripes. Unless it `waits`, who asked for
    /// it is told to try again where it would have to.
    fn read_stripes(this: &Arc<Self>, piece: Piece, waits: bool) {
        for strip in this.strips_of(&piece) {
            let sub = piece.sub(strip.offset, strip.sectors);
            let part = Attached::new(sub, strip.slot, strip.first, false);
            let attach = |inner: &mut Inner| {
                inner
                    .st
                    .attach_read(&mut inner.strips, part.slot, part.todo);
                let _ = inner.incoming.push_within_capacity(part);
            };
            if waits {
                Self::with_stripe(this, strip.stripe, 1, false, attach);
            } else if !Self::try_read(this, strip.stripe, piece.bio(), attach) {
                break;
            }
        }
        piece.end(true);
    }
}

impl DirectOwner for Array {
    fn direct_reads(&self) -> &InFlight {
        &self.direct_reads
    }

    fn direct_failed(this: Arc<Self>, rdev: RdevRef, piece: Piece) {
        let _noio = NoIo::enter();
        if !rdev.flag(RdevFlag::Faulty) {
            warn_limited!(
                "{}: {}: read failed at array sector {}; trying through the stripe\n",
                this.mddev.name(),
                rdev.name(),
                piece.sector().get()
            );
        }
        drop(rdev);
        // In a worker, which can wait.
        Self::read_stripes(&this, piece, true);
    }

    fn direct_queue(&self) -> &OwnQueue {
        // It may have to wait for memory, which the others may have to free.
        self.queue.slow()
    }
}

/// A strip that a part of one chunk touches.
struct Strip {
    stripe: u64,
    slot: usize,
    /// Sectors into the part.
    offset: u32,
    /// First sector within the strip.
    first: u32,
    sectors: u32,
}

/// All of them.
struct Strips<'a> {
    array: &'a Array,
    slot: usize,
    /// The next member sector.
    at: u64,
    offset: u32,
    left: u32,
}

impl Iterator for Strips<'_> {
    type Item = Strip;

    fn next(&mut self) -> Option<Strip> {
        if self.left == 0 {
            return None;
        }
        let strip = self.array.strip;
        // Lossless: less than a strip.
        let first = (self.at % strip) as u32;
        let room = self.array.geo.strip_sectors().wrapping_sub(first);
        let found = Strip {
            stripe: self.at / strip,
            slot: self.slot,
            offset: self.offset,
            first,
            sectors: core::cmp::min(room, self.left),
        };
        self.at = self.at.wrapping_add(u64::from(found.sectors));
        self.offset = self.offset.wrapping_add(found.sectors);
        self.left = self.left.wrapping_sub(found.sectors);
        Some(found)
    }
}

/// A part of a request within one strip.
pub(super) struct Span {
    pub(super) slot: usize,
    /// Sectors into the request.
    pub(super) offset: u32,
    /// First sector within the strip.
    pub(super) first: u32,
    pub(super) sectors: u32,
}

/// The parts of a request that lie in one stripe, one for each data strip.
#[derive(Clone)]
pub(super) struct Spans<'a> {
    array: &'a Array,
    index: u64,
    start: u64,
    end: u64,
    next: u32,
}

impl<'a> Spans<'a> {
    pub(super) fn new(array: &'a Array, bio: &Bio, index: u64) -> Self {
        let start = bio.sector().get();
        Self {
            array,
            index,
            start,
            end: start.wrapping_add(u64::from(bio.sectors())),
            next: 0,
        }
    }
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let geo = &self.array.geo;
        while self.next < geo.data_disks() {
            let slot = geo.data_slot(self.array.stripe_sector(self.index), self.next);
            self.next = self.next.wrapping_add(1);
            // The strip's sectors are neighbours in the array as well.
            let strip = geo.unmap(self.array.stripe_sector(self.index), slot)?.get();
            let from = core::cmp::max(strip, self.start);
            let to = core::cmp::min(strip.wrapping_add(u64::from(geo.strip_sectors())), self.end);
            if from < to {
                // Lossless: within a request and within a strip.
                return Some(Span {
                    slot: slot.index(),
                    offset: (from - self.start) as u32,
                    first: (from - strip) as u32,
                    sectors: (to - from) as u32,
                });
            }
        }
        None
    }
}
