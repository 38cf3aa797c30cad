// SPDX-License-Identifier: GPL-2.0

//! Discards.
//!
//! Passed on only if the administrator says that all members read as zeroes where they were
//! discarded (`devices_handle_discard_safely`): parity of zeroes is zeroes, so that a row that is
//! discarded on all members is right. Else they fail.
//!
//! A discard is a write of zeroes to whole rows of chunks that goes to the members as a discard.
//! So it has its place among the writes, reads and syncs of its rows; zeroes of the whole row, with
//! their parity, are in the journal before the first member sees it, so that a crash leaves no row
//! half discarded and no older entry is replayed over it; what is cached of the row is written
//! out before; and a member that cannot discard is written. It takes the time and the room in
//! the journal of a write.

use super::{
    array::Array,
    request::{Spans, MAX_STRIPES},
    stripe::{Attached, Stripe},
};
use crate::{
    block::{
        bio::{Bio, Piece},
        round::Ended,
    },
    lib::clock::warn_limited,
    md::mddev::Mddev,
    raid::{mask::RowMask, stripe::Event},
};
use kernel::sync::{atomic::Relaxed, Arc};

impl Array {
    /// Discards the rows of chunks that the request covers wholly; nothing is done about the rest.
    pub(super) fn discard(this: &Arc<Self>, mddev: &Mddev, bio: Bio) {
        if this.discards.load(Relaxed) == 0 {
            return bio.end_unsupported();
        }
        let row = this.row;
        let start = bio.sector().get();
        let end = start.saturating_add(u64::from(bio.sectors()));
        let (first, last) = (start.div_ceil(row.get()), end / row);
        if first >= last {
            return bio.end();
        }
        let per_chunk = this.chunk.get() / this.strip;
        let most = core::cmp::max(MAX_STRIPES.checked_div(per_chunk).unwrap_or(1), 1);
        let here = core::cmp::min(last, first.saturating_add(most));
        let (from, to) = (first.wrapping_mul(row.get()), here.wrapping_mul(row.get()));
        // Lossless: within the request.
        let (front, sectors) = (to.wrapping_sub(start) as u32, to.wrapping_sub(from) as u32);
        let bio = if here < last {
            match bio.split_front(front, &this.split_bios) {
                Some(bio) => bio,
                None => return,
            }
        } else {
            bio
        };
        // As in `write`: nothing of this request is issued yet.
        let _turn = this.enter();
        this.wait_room();
        let bio = bio.account_discard(mddev, from, sectors);
        let stripes = first.wrapping_mul(per_chunk)..here.wrapping_mul(per_chunk);
        for index in stripes {
            Self::discard_stripe(this, &bio, index);
        }
        bio.end();
    }

    fn discard_stripe(this: &Arc<Self>, bio: &Bio, index: u64) {
        let spans = Spans::new(this, bio, index);
        Self::with_stripe(this, index, spans.clone().count(), true, |inner| {
            for span in spans {
                let piece = Piece::new(bio, span.offset, span.sectors);
                this.mddev.write_inc(bio);
                let part = Attached::new(piece, span.slot, span.first, true);
                // `with_stripe` made room.
                let _ = inner.incoming.push_within_capacity(part);
            }
            let rows = RowMask::first(this.geo.rows_per_stripe());
            inner.st.attach_discard(&mut inner.strips, rows);
        });
    }
}

impl Stripe {
    /// A member did not discard `rows`: no reason to do without it. What the planner is to be told.
    pub(super) fn discard_refused(&self, ended: Ended, rows: RowMask) -> Event {
        warn_limited!(
            "{}: {}: discard failed at member sector {}; zeroes are written instead\n",
            self.array().mddev.name(),
            ended.rdev.name(),
            self.sector()
        );
        Event::DiscardRefused {
            slot: ended.label.slot,
            rows,
        }
    }
}
