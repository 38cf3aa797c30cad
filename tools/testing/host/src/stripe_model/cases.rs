// SPDX-License-Identifier: GPL-2.0

//! Single stories of a stripe, event by event: what the random worlds come by too seldom.

use super::mask::RowMask;
use super::note_bad;
use super::stripe::{
    apply, clear, plan, Access, Actions, Event, Policy, RmwLevel, State, Strip, Twin, Worth,
};

const POLICY: Policy = Policy {
    journal: false,
    blocked: false,
    refuse_writes: false,
    may_fix: true,
    rmw: RmwLevel::Cheaper,
    hold: false,
    repair: false,
    copy: false,
    write_back: false,
    room: 0,
    begin: true,
};

/// A stripe of three members and four rows, P on the last member.
pub(super) struct Stripe {
    pub(super) st: State,
    pub(super) strips: [Strip; 3],
    pub(super) acts: Actions,
    pub(super) policy: Policy,
}

impl Stripe {
    pub(super) fn new() -> Self {
        let mut strips = [Strip::new(); 3];
        for s in &mut strips {
            s.access = Access::Full;
        }
        Self {
            st: State::new(4, 2, None),
            strips,
            acts: Actions::default(),
            policy: POLICY,
        }
    }

    pub(super) fn plan(&mut self) {
        plan(&mut self.st, &mut self.strips, &self.policy, &mut self.acts);
    }

    /// An event, and what is done about it; the actions are those of this step.
    pub(super) fn step(&mut self, event: Event) {
        clear(&mut self.strips, &mut self.acts);
        apply(
            &mut self.st,
            &mut self.strips,
            event,
            &self.policy,
            &mut self.acts,
        );
        self.plan();
    }

    pub(super) fn ops_done(&mut self) {
        self.step(Event::OpsDone {
            bad: RowMask::EMPTY,
            failed: RowMask::EMPTY,
            left: RowMask::EMPTY,
        });
    }

    /// Full writes of both data pages of `rows`, until they go to the members.
    fn write_of(&mut self, rows: RowMask) {
        for slot in 0..2 {
            self.st
                .attach_write(&mut self.strips, slot, rows, rows, false);
        }
        self.plan();
        assert_eq!(self.acts.rcw, rows);
        self.ops_done();
    }

    /// The same, until the members are written.
    fn write(&mut self, rows: RowMask, fua: bool) {
        for slot in 0..2 {
            self.st
                .attach_write(&mut self.strips, slot, rows, rows, fua);
        }
        self.plan();
        assert_eq!(self.acts.rcw, rows);
        self.ops_done();
        for s in &self.strips {
            assert_eq!(s.act.write, rows);
        }
    }

    pub(super) fn write_done(&mut self, slot: usize, rows: RowMask, ok: bool) {
        self.step(Event::WriteDone { slot, rows, ok });
    }
}

/// A write that failed while md keeps the member (nobody is left to take its place): the row may be
/// old there, so the user must not be told that it is safe, and what is read next is what is there.
#[test]
fn a_write_that_a_kept_member_did_not_take_fails() {
    let (one, rows) = (RowMask::single(1), RowMask::first(3));
    let mut stripe = Stripe::new();
    stripe.write(rows, false);
    stripe.write_done(0, rows.minus(one), true);
    stripe.write_done(0, one, false);
    stripe.write_done(1, rows, true);
    assert!(stripe.acts.complete.is_empty());
    stripe.write_done(2, rows, true);
    assert_eq!(stripe.acts.fail_write, one);
    assert_eq!(stripe.acts.complete, rows.minus(one));
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    // The member is asked again, and no other copy is used.
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.st.attach_read(&mut stripe.strips, 0, rows);
    stripe.plan();
    assert_eq!(stripe.strips[0].act.fill, rows.minus(one));
    assert_eq!(stripe.strips[0].act.read, one);
    // The failure is not held against a later write.
    stripe.step(Event::ReadDone {
        slot: 0,
        rows: one,
        ok: true,
    });
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.write(one, false);
    for slot in 0..3 {
        stripe.write_done(slot, one, true);
    }
    assert_eq!(stripe.acts.complete, one);
}

/// FUA belongs to the write that asked for it, from its start to its end.
#[test]
fn fua_lasts_as_long_as_its_write() {
    let rows = RowMask::first(2);
    let mut stripe = Stripe::new();
    assert_eq!((stripe.st.p(), stripe.st.q()), (2, None));
    assert!(stripe.st.is_parity(2) && !stripe.st.is_parity(1));
    stripe.write(rows, true);
    assert_eq!(stripe.st.fua(), rows);
    for slot in 0..3 {
        stripe.write_done(slot, rows, true);
    }
    assert_eq!(stripe.acts.complete, rows);
    assert!(stripe.st.fua().is_empty());
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.write(rows, false);
    assert!(stripe.st.fua().is_empty());
}

/// Where members may not be written (the array is read-only), a rebuild fails, and does not write.
#[test]
fn a_rebuild_needs_leave_to_write() {
    let row = RowMask::single(0);
    let mut stripe = Stripe::new();
    stripe.strips[1].access = Access::WriteOnly;
    stripe.policy.may_fix = false;
    assert_eq!(stripe.st.want_sync(row), row);
    assert!(stripe.st.want_sync(row).is_empty());
    assert!(stripe.st.is_syncing());
    stripe.plan();
    let reads = stripe.strips.map(|s| s.act.read);
    assert_eq!(reads, [row, RowMask::EMPTY, row]);
    for slot in [0, 2] {
        stripe.step(Event::ReadDone {
            slot,
            rows: row,
            ok: true,
        });
        // Each read is asked for once.
        assert!(!stripe.acts.read);
    }
    if stripe.acts.compute.any() {
        stripe.ops_done();
    }
    assert_eq!(stripe.acts.sync_failed, row);
    assert!(!stripe.acts.write && !stripe.st.is_syncing());
}

/// A row that is copied to a member's twin is done when the twin has it, and has failed if the twin is gone.
#[test]
fn a_copy_ends_with_its_write() {
    let row = RowMask::single(0);
    for ok in [true, false] {
        let mut stripe = Stripe::new();
        stripe.strips[1].twin = Twin::Behind;
        stripe.policy.copy = true;
        assert_eq!(stripe.st.want_sync(row), row);
        stripe.plan();
        // Nothing else is read.
        let reads = stripe.strips.map(|s| s.act.read);
        assert_eq!(reads, [RowMask::EMPTY, row, RowMask::EMPTY]);
        stripe.step(Event::ReadDone {
            slot: 1,
            rows: row,
            ok: true,
        });
        let writes = stripe.strips.map(|s| (s.act.write, s.act.twin));
        assert_eq!(writes[1], (RowMask::EMPTY, row));
        assert_eq!([writes[0], writes[2]], [(RowMask::EMPTY, RowMask::EMPTY); 2]);
        stripe.step(Event::TwinDone {
            slot: 1,
            rows: row,
            ok,
        });
        let (done, failed) = (stripe.acts.sync_done, stripe.acts.sync_failed);
        assert_eq!((done == row, failed == row), (ok, !ok));
        assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    }
}

/// A write is done when the member and its twin have it, whichever comes last; that the twin has
/// failed does not matter.
#[test]
fn a_write_waits_for_the_twin() {
    let row = RowMask::single(0);
    for (last, ok) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut stripe = Stripe::new();
        stripe.strips[0].twin = Twin::Level;
        stripe.write(row, false);
        assert_eq!(stripe.strips.map(|s| s.act.twin == row), [true, false, false]);
        let twin = Event::TwinDone {
            slot: 0,
            rows: row,
            ok,
        };
        for slot in [1, 2] {
            stripe.write_done(slot, row, true);
        }
        if !last {
            stripe.step(twin);
            assert!(stripe.acts.complete.is_empty());
        }
        stripe.write_done(0, row, true);
        if last {
            assert!(stripe.acts.complete.is_empty());
            stripe.step(twin);
        }
        assert_eq!(stripe.acts.complete, row);
    }
}

/// A replacement that is level is read, but for its bad blocks: these the old member gives. What that does
/// not take is not tried again, as the replacement has it.
#[test]
fn each_row_is_read_from_who_has_it() {
    let (hole, dead, both) = (
        RowMask::single(0),
        RowMask::single(1),
        RowMask::single(2),
    );
    let worth = |bad| Worth {
        access: Access::Full,
        bad,
        skip: true,
    };
    let mut stripe = Stripe::new();
    stripe.strips[0].note(worth(dead | both), Some(worth(hole | both)));
    stripe.strips[2].access = Access::Missing;
    let rows = hole | dead | both;
    stripe.st.attach_read(&mut stripe.strips, 0, rows);
    stripe.plan();
    assert_eq!(stripe.strips[0].act.read, hole | dead);
    assert_eq!(stripe.strips[0].act.fail_read, both);
    stripe.step(Event::ReadDone {
        slot: 0,
        rows: hole | dead,
        ok: true,
    });
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.write_of(hole | dead);
    assert_eq!(stripe.strips[0].act.write, hole);
    assert_eq!(stripe.strips[0].act.twin, hole | dead);
}

/// A bad block of the old member is read from its replacement once that is level, unless it is bad there too.
#[test]
fn a_level_twin_is_asked_what_the_member_cannot_tell() {
    let row = RowMask::single(0);
    let worth = |access, bad| Worth {
        access,
        bad,
        skip: false,
    };
    for bad in [NONE, row] {
        let mut stripe = Stripe::new();
        stripe.strips[2].access = Access::Missing;
        for twin in [Access::WriteOnly, Access::Full] {
            let twin = worth(twin, bad);
            stripe.strips[0].note(worth(Access::Full, row), Some(twin));
        }
        stripe.st.attach_read(&mut stripe.strips, 0, row);
        stripe.plan();
        let act = stripe.strips[0].act;
        assert_eq!((act.read, act.fail_read), (row.minus(bad), bad));
    }
}

/// A twin that fails and is gone needs nothing any more: the row that was to be copied is as it should be,
/// and nobody else's copy of it is given up.
#[test]
fn a_twin_that_is_gone_fails_no_row() {
    let row = RowMask::single(0);
    let mut stripe = Stripe::new();
    stripe.strips[1].twin = Twin::Behind;
    stripe.policy.copy = true;
    assert_eq!(stripe.st.want_sync(row), row);
    stripe.plan();
    stripe.step(Event::ReadDone {
        slot: 1,
        rows: row,
        ok: true,
    });
    assert_eq!(stripe.strips[1].act.twin, row);
    stripe.strips[1].twin = Twin::None;
    stripe.step(Event::TwinDone {
        slot: 1,
        rows: row,
        ok: false,
    });
    assert_eq!((stripe.acts.sync_done, stripe.acts.sync_failed), (row, NONE));
}

/// An event that names a member which the stripe does not have changes nothing.
#[test]
fn events_of_no_member_are_ignored() {
    let rows = RowMask::first(1);
    let mut stripe = Stripe::new();
    stripe.st.attach_read(&mut stripe.strips, 3, rows);
    stripe
        .st
        .attach_write(&mut stripe.strips, 3, rows, rows, false);
    for ok in [false, true] {
        stripe.step(Event::ReadDone { slot: 3, rows, ok });
        assert!(!stripe.acts.any());
        stripe.write_done(3, rows, ok);
        assert!(!stripe.acts.any());
    }
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
}

/// What was written and cannot be read is a bad block: the write is lost if parity goes as well, and fails.
#[test]
fn what_cannot_be_read_though_it_was_written_counts_as_lost() {
    let row = RowMask::single(0);
    for parity in [true, false] {
        let mut stripe = Stripe::new();
        stripe.write(row, false);
        note_bad(&mut stripe.strips[0], row, false);
        stripe.write_done(0, row, true);
        stripe.write_done(1, row, true);
        if !parity {
            note_bad(&mut stripe.strips[2], row, true);
        }
        stripe.write_done(2, row, parity);
        let done = if parity { (row, NONE) } else { (NONE, row) };
        assert_eq!((stripe.acts.complete, stripe.acts.fail_write), done);
    }
}

/// The shell is told of what was written because it could not be read, until it is told that it has been.
#[test]
fn what_was_rewritten_is_known() {
    let (row, other) = (RowMask::single(0), RowMask::single(1));
    let mut stripe = Stripe::new();
    let strips = &mut stripe.strips;
    stripe.st.attach_read(strips, 0, row);
    stripe.plan();
    stripe.step(Event::ReadDone {
        slot: 0,
        rows: row,
        ok: false,
    });
    for slot in [1, 2] {
        stripe.step(Event::ReadDone {
            slot,
            rows: row,
            ok: true,
        });
    }
    stripe.ops_done();
    let strip = stripe.strips[0];
    assert_eq!(strip.act.write, row);
    assert_eq!(strip.mended(row | other, false), row);
    assert_eq!(strip.mended(row | other, true), NONE);
    stripe.write_done(0, row, true);
    assert_eq!(stripe.strips[0].mended(row, false), NONE);
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
}

/// A write through the journal that two members do not take.
fn lost_by_two(lose: impl Fn(&mut Strip)) -> Stripe {
    let row = RowMask::single(0);
    let mut stripe = Stripe::new();
    stripe.policy.journal = true;
    for slot in 0..2 {
        stripe
            .st
            .attach_write(&mut stripe.strips, slot, row, row, false);
    }
    stripe.plan();
    stripe.ops_done();
    assert_eq!(stripe.acts.journal, row);
    stripe.step(Event::JournalDone {
        rows: row,
        ok: true,
    });
    for slot in 0..2 {
        lose(&mut stripe.strips[slot]);
        stripe.write_done(slot, row, false);
    }
    stripe.write_done(2, row, true);
    assert_eq!((stripe.acts.fail_write, stripe.acts.complete), (row, NONE));
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    stripe
}

const NONE: RowMask = RowMask::EMPTY;

/// Where the array goes on without a row, as its members have it as a bad block, the row may not keep the
/// journal's tail. Where the array has failed, the journal keeps it for when members come back.
#[test]
fn a_row_that_is_lost_alone_leaves_the_journal() {
    let row = RowMask::single(0);
    let bad = lost_by_two(|strip| note_bad(strip, row, true));
    assert_eq!(bad.acts.landed, row);
    let failed = lost_by_two(|strip| strip.access = Access::Missing);
    assert_eq!(failed.acts.landed, NONE);
}

/// A member could not read what is partly written, and it was computed. When the write fails, that is not
/// known any more: a read asks the member, even where it cannot be computed now.
#[test]
fn a_failed_write_asks_the_member_again() {
    let row = RowMask::single(0);
    let mut stripe = Stripe::new();
    stripe.policy.journal = true;
    stripe
        .st
        .attach_write(&mut stripe.strips, 0, row, NONE, false);
    stripe.plan();
    // Reads and computes, until the row goes to the journal.
    let mut reads = Vec::new();
    while stripe.acts.journal.is_empty() {
        let begun = |i: &usize| (stripe.strips[*i].act.read | stripe.strips[*i].act.read_alone).any();
        reads.extend((0..3).filter(begun));
        match reads.pop() {
            Some(slot) => stripe.step(Event::ReadDone {
                slot,
                rows: row,
                ok: slot != 0,
            }),
            None => stripe.ops_done(),
        }
    }
    assert_eq!(stripe.acts.journal, row);
    stripe.policy.journal = false;
    (stripe.policy.refuse_writes, stripe.policy.may_fix) = (true, false);
    stripe.step(Event::JournalDone {
        rows: row,
        ok: false,
    });
    assert_eq!(stripe.acts.fail_write, row);
    stripe.strips[1].access = Access::Missing;
    stripe.st.attach_read(&mut stripe.strips, 0, row);
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.plan();
    assert!(!stripe.acts.fail_read);
    assert_eq!(stripe.strips[0].act.read, row);
}

/// Ops that lack pages are done later, row by row, and what comes of each row follows then.
#[test]
fn ops_of_some_rows_are_left() {
    let (rows, one) = (RowMask::first(3), RowMask::single(1));
    let mut stripe = Stripe::new();
    for slot in 0..2 {
        stripe
            .st
            .attach_write(&mut stripe.strips, slot, rows, rows, false);
    }
    stripe.plan();
    assert_eq!(stripe.acts.rcw, rows);
    let none = RowMask::EMPTY;
    let done = |left, bad, failed| Event::OpsDone { bad, failed, left };
    stripe.step(done(!one, none, none));
    assert_eq!(stripe.strips.map(|s| s.act.write), [one; 3]);
    assert_eq!(stripe.strips[2].op_result(), rows.minus(one));
    // What is left is not begun again, and not known yet.
    assert!(!stripe.acts.has_ops());
    assert_eq!(stripe.strips.map(|s| s.uptodate), [one; 3]);
    stripe.step(done(none, none, RowMask::single(2)));
    assert_eq!(stripe.acts.fail_write, RowMask::single(2));
    assert_eq!(stripe.strips.map(|s| s.act.write), [RowMask::single(0); 3]);
}

/// Where nothing may begin, what takes pages waits, and begins when it may.
#[test]
fn what_takes_pages_waits_until_it_may_begin() {
    let rows = [0, 1, 2].map(RowMask::single);
    let mut stripe = Stripe::new();
    stripe.policy.begin = false;
    stripe.st.attach_read(&mut stripe.strips, 0, rows[0]);
    stripe
        .st
        .attach_write(&mut stripe.strips, 1, rows[1], rows[1], false);
    let _ = stripe.st.want_sync(rows[2]);
    stripe.plan();
    assert!(!stripe.acts.any());
    assert!(!stripe.st.is_idle(&stripe.strips, &stripe.policy));
    stripe.policy.begin = true;
    stripe.plan();
    let reads = stripe.strips.map(|s| s.act.read);
    let all = rows[0] | rows[1] | rows[2];
    assert_eq!(reads.iter().fold(RowMask::EMPTY, |a, r| a | *r), all);
}

/// What is in memory and not needed there is forgotten: it is read anew.
#[test]
fn what_is_not_needed_is_forgotten() {
    let (rows, one) = (RowMask::first(2), RowMask::single(1));
    let mut stripe = Stripe::new();
    stripe.write(rows, false);
    let forgotten = stripe.st.forget(&mut stripe.strips, &stripe.policy);
    assert_eq!(forgotten & rows, RowMask::EMPTY);
    for slot in 0..3 {
        stripe.write_done(slot, one, true);
    }
    assert_eq!(stripe.acts.complete, one);
    let forgotten = stripe.st.forget(&mut stripe.strips, &stripe.policy);
    assert_eq!(forgotten & rows, one);
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.st.attach_read(&mut stripe.strips, 0, rows);
    stripe.plan();
    assert_eq!(stripe.strips[0].act.read, one);
    assert_eq!(stripe.strips[0].act.fill, rows.minus(one));
}
