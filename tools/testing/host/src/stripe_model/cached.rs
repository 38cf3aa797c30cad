// SPDX-License-Identifier: GPL-2.0

//! Single stories of a stripe with a write-back cache.

use super::cases::Stripe;
use super::mask::RowMask;
use super::note_bad;
use super::stripe::{apply, clear, plan, Access, Actions, Event, State, Strip};

const ROW: RowMask = RowMask::single(0);

/// A page of strip 0 is cached; row 0 of three members, P on the last.
fn cached() -> Stripe {
    let mut stripe = Stripe::new();
    stripe.policy.journal = true;
    stripe.policy.write_back = true;
    stripe.policy.room = 1;
    write(&mut stripe);
    assert_eq!(stripe.acts.cache, ROW);
    stripe.ops_done();
    assert_eq!(stripe.acts.journal, ROW);
    assert_eq!(stripe.strips.map(|s| s.written()), [ROW, NONE, NONE]);
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    assert_eq!((stripe.acts.complete, stripe.acts.landed), (ROW, NONE));
    assert!(!stripe.acts.write);
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    assert_eq!(stripe.st.resting(&stripe.strips), ROW);
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe
}

const NONE: RowMask = RowMask::EMPTY;

fn write(stripe: &mut Stripe) {
    stripe
        .st
        .attach_write(&mut stripe.strips, 0, ROW, ROW, false);
    stripe.plan();
}

fn read_done(stripe: &mut Stripe, slot: usize, ok: bool) {
    stripe.step(Event::ReadDone {
        slot,
        rows: ROW,
        ok,
    });
}

/// It is acknowledged, read from memory, and goes out with parity alone in the journal.
#[test]
fn a_page_is_cached_and_written_out() {
    let mut stripe = cached();
    assert_eq!(stripe.st.newer(&stripe.strips, 0), ROW);
    stripe.st.attach_read(&mut stripe.strips, 0, ROW);
    stripe.plan();
    assert_eq!(stripe.strips[0].act.fill, ROW);
    assert!(!stripe.acts.read);
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.st.want_out(&stripe.strips, RowMask::first(4));
    stripe.plan();
    assert_eq!(stripe.strips.map(|s| s.act.read), [NONE, ROW, NONE]);
    read_done(&mut stripe, 1, true);
    assert_eq!(stripe.acts.parity, ROW);
    stripe.ops_done();
    assert_eq!((stripe.acts.journal, stripe.st.out()), (ROW, ROW));
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    assert_eq!(stripe.strips.map(|s| s.act.write), [ROW, NONE, ROW]);
    stripe.write_done(0, ROW, true);
    stripe.write_done(2, ROW, true);
    assert_eq!((stripe.acts.landed, stripe.acts.complete), (ROW, NONE));
    assert!(stripe.st.dirty(&stripe.strips).is_empty());
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
}

/// With the other data lost, parity is changed by what the member holds, from a second page.
#[test]
fn what_the_member_holds_is_taken_out_of_parity() {
    let mut stripe = cached();
    stripe.strips[1].access = Access::Missing;
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    assert_eq!(stripe.strips.map(|s| s.act.read), [ROW, NONE, ROW]);
    assert_eq!(stripe.st.second(&stripe.strips[0]), ROW);
    read_done(&mut stripe, 0, true);
    read_done(&mut stripe, 2, true);
    assert_eq!((stripe.acts.rmw_out, stripe.acts.parity), (ROW, NONE));
    // A new write of the row waits until it is out.
    stripe.ops_done();
    clear(&mut stripe.strips, &mut stripe.acts);
    write(&mut stripe);
    assert!(!stripe.acts.any());
}

/// A member is missing and another cannot be read: there is no parity for what is cached. Nobody may
/// believe the old one, and then it goes to its member without, and leaves the journal.
#[test]
fn a_row_without_parity_leaves_the_journal() {
    let mut stripe = cached();
    stripe.strips[1].access = Access::Missing;
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    read_done(&mut stripe, 2, true);
    read_done(&mut stripe, 0, false);
    assert_eq!(stripe.strips.map(|s| s.act.record), [NONE, NONE, ROW]);
    assert_eq!(stripe.strips.map(|s| s.act.lost), [ROW, ROW, NONE]);
    assert_eq!((stripe.acts.lost, stripe.acts.stuck), (ROW, NONE));
    assert!(!stripe.acts.write && stripe.acts.journal.is_empty());
    clear(&mut stripe.strips, &mut stripe.acts);
    // Not before that is in the superblocks.
    note_bad(&mut stripe.strips[2], ROW, false);
    stripe.policy.blocked = true;
    stripe.plan();
    assert!(!stripe.acts.any());
    stripe.policy.blocked = false;
    stripe.plan();
    assert_eq!(stripe.acts.journal, ROW);
    assert_eq!(stripe.strips.map(|s| s.written()), [ROW, NONE, NONE]);
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    assert_eq!(stripe.strips.map(|s| s.act.write), [ROW, NONE, NONE]);
    stripe.write_done(0, ROW, true);
    assert_eq!((stripe.acts.landed, stripe.acts.lost), (ROW, NONE));
    assert!(stripe.st.dirty(&stripe.strips).is_empty());
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    clear(&mut stripe.strips, &mut stripe.acts);
    // Writes of it are not taken in any more, to be lost later: they fail.
    stripe.strips[1].access = Access::Full;
    for slot in [1, 2] {
        note_bad(&mut stripe.strips[slot], ROW, slot == 1);
    }
    write(&mut stripe);
    assert_eq!((stripe.acts.cache, stripe.acts.fail_waiting), (NONE, ROW));
}

/// What was acknowledged, and cannot be written because the bad-block logs have too much of the row, is
/// lost, and leaves the journal.
#[test]
fn an_acknowledged_row_that_bad_blocks_took_leaves_the_journal() {
    let mut stripe = cached();
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    read_done(&mut stripe, 1, true);
    stripe.ops_done();
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    for slot in [0, 2] {
        note_bad(&mut stripe.strips[slot], ROW, true);
        stripe.write_done(slot, ROW, false);
    }
    assert_eq!((stripe.acts.landed, stripe.acts.lost), (ROW, ROW));
    assert_eq!(stripe.strips.map(|s| s.act.lost), [ROW, NONE, ROW]);
    assert!(stripe.acts.stuck.is_empty());
    assert!(stripe.st.dirty(&stripe.strips).is_empty());
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
}

/// Where it cannot be recorded that there is no parity, what is cached stays, and nothing waits for it.
#[test]
fn a_stuck_row_keeps_nobody_waiting() {
    let mut stripe = cached();
    stripe.strips[1].access = Access::Missing;
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    read_done(&mut stripe, 0, false);
    read_done(&mut stripe, 2, true);
    stripe.step(Event::NotRecorded { rows: ROW });
    assert_eq!(stripe.acts.stuck, ROW);
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
    assert!(stripe.st.resting(&stripe.strips).is_empty());
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.st.attach_read(&mut stripe.strips, 0, ROW);
    stripe.plan();
    assert_eq!(stripe.strips[0].act.fill, ROW);
    // A rebuild fails there, and a write does.
    stripe.strips[1].access = Access::WriteOnly;
    stripe.policy.write_back = false;
    clear(&mut stripe.strips, &mut stripe.acts);
    assert_eq!(stripe.st.want_sync(ROW), ROW);
    stripe.plan();
    assert_eq!(stripe.acts.sync_failed, ROW);
    clear(&mut stripe.strips, &mut stripe.acts);
    write(&mut stripe);
    assert_eq!(stripe.acts.fail_waiting, ROW);
    assert!(stripe.st.is_idle(&stripe.strips, &stripe.policy));
}

/// Without a journal it goes straight to the members, whoever looks at the stripe.
#[test]
fn a_lost_journal_takes_nothing_along() {
    let mut stripe = cached();
    stripe.policy.journal = false;
    stripe.policy.refuse_writes = true;
    stripe.plan();
    read_done(&mut stripe, 1, true);
    stripe.ops_done();
    assert!(stripe.acts.journal.is_empty());
    assert_eq!(stripe.strips.map(|s| s.act.write), [ROW, NONE, ROW]);
}

/// A row on its way out when the journal fails stays off the members until md has recorded that: a
/// power cut before finds the data in the journal, and parity must agree with the members then.
#[test]
fn a_journal_that_fails_meanwhile_is_recorded_first() {
    let mut stripe = cached();
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    read_done(&mut stripe, 1, true);
    assert_eq!(stripe.acts.parity, ROW);
    stripe.policy.journal = false;
    stripe.policy.refuse_writes = true;
    stripe.policy.blocked = true;
    stripe.ops_done();
    assert!(!stripe.acts.write && stripe.acts.journal.is_empty());
    assert!(!stripe.st.is_idle(&stripe.strips, &stripe.policy));
    clear(&mut stripe.strips, &mut stripe.acts);
    stripe.policy.blocked = false;
    stripe.plan();
    stripe.ops_done();
    assert_eq!(stripe.strips.map(|s| s.act.write), [ROW, NONE, ROW]);
}

/// A stripe is full when all data of each row with cached data is cached.
#[test]
fn a_full_stripe_has_whole_rows_only() {
    let mut stripe = Stripe::new();
    assert!(!stripe.st.is_full(&stripe.strips));
    stripe = cached();
    assert!(!stripe.st.is_full(&stripe.strips));
    stripe
        .st
        .attach_write(&mut stripe.strips, 1, ROW, ROW, false);
    stripe.plan();
    assert_eq!(stripe.acts.cache, ROW);
    stripe.ops_done();
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    assert!(stripe.st.is_full(&stripe.strips));
    clear(&mut stripe.strips, &mut stripe.acts);
    // Part of another row.
    let other = RowMask::single(1);
    stripe
        .st
        .attach_write(&mut stripe.strips, 1, other, other, false);
    stripe.plan();
    stripe.ops_done();
    stripe.step(Event::JournalDone {
        rows: other,
        ok: true,
    });
    assert!(!stripe.st.is_full(&stripe.strips));
}

/// Rows that are written whole, or are busy, ask for no room.
#[test]
fn room_is_asked_for_what_can_use_it() {
    let mut stripe = Stripe::new();
    let (two, three) = (RowMask::first(2), RowMask::first(3));
    stripe
        .st
        .attach_write(&mut stripe.strips, 0, three, three, false);
    assert_eq!(stripe.st.cacheable(&stripe.strips), three);
    stripe
        .st
        .attach_write(&mut stripe.strips, 1, two, two, false);
    assert_eq!(stripe.st.cacheable(&stripe.strips), three.minus(two));
    stripe.plan();
    assert_eq!(stripe.acts.rcw, two);
    assert_eq!(stripe.st.cacheable(&stripe.strips), three.minus(two));
}

/// Two members cannot read a row of level 6, and one of them has not got what is cached of it: the other
/// is put right, and the cached page stays off its member, whose parity does not know it yet.
#[test]
fn a_page_put_right_takes_no_cached_one_along() {
    let policy = cached().policy;
    let (mut st, mut strips) = (State::new(1, 2, Some(3)), [Strip::new(); 4]);
    for s in &mut strips {
        s.access = Access::Full;
        s.uptodate = ROW;
    }
    strips[1].uptodate = NONE;
    strips[0].cached = ROW;
    st.attach_read(&mut strips, 1, ROW);
    let mut acts = Actions::default();
    plan(&mut st, &mut strips, &policy, &mut acts);
    for (slot, reads) in [(1, [NONE, ROW, NONE, NONE]), (0, [ROW, NONE, NONE, NONE])] {
        assert_eq!(strips.map(|s| s.act.read), reads);
        clear(&mut strips, &mut acts);
        let failed = Event::ReadDone {
            slot,
            rows: ROW,
            ok: false,
        };
        apply(&mut st, &mut strips, failed, &policy, &mut acts);
        plan(&mut st, &mut strips, &policy, &mut acts);
    }
    assert_eq!(acts.compute, ROW);
    assert_eq!(st.second(&strips[0]), ROW);
    clear(&mut strips, &mut acts);
    let done = Event::OpsDone {
        bad: NONE,
        failed: NONE,
        left: NONE,
    };
    apply(&mut st, &mut strips, done, &policy, &mut acts);
    plan(&mut st, &mut strips, &policy, &mut acts);
    assert_eq!(strips.map(|s| s.act.write), [NONE, ROW, NONE, NONE]);
    assert_eq!(strips.map(|s| s.written()), [NONE, ROW, NONE, NONE]);
}

/// What is taken in has room in the journal for certain: it gets pages that others have to wait for, who
/// may wait for room. Else it might be what keeps the journal's tail.
#[test]
fn what_is_promised_room_waits_for_nobody() {
    let mut stripe = cached();
    assert!(stripe.st.has_room(&stripe.strips).is_empty());
    write(&mut stripe);
    assert_eq!(stripe.acts.cache, ROW);
    assert_eq!(stripe.st.has_room(&stripe.strips), ROW);
    stripe.ops_done();
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: true,
    });
    assert!(stripe.st.has_room(&stripe.strips).is_empty());
    stripe.st.want_out(&stripe.strips, ROW);
    assert_eq!(stripe.st.has_room(&stripe.strips), ROW);
}

/// What a compute is to be computed from may change before it is done, if it was left: whoever does it goes
/// by what was right when it was planned, or new parity meets old data.
#[test]
fn a_row_given_up_changes_what_computes_are_about() {
    let mut stripe = cached();
    stripe.strips[1].access = Access::Missing;
    stripe.st.want_out(&stripe.strips, ROW);
    stripe.plan();
    read_done(&mut stripe, 0, true);
    read_done(&mut stripe, 2, true);
    assert_eq!(stripe.acts.rmw_out, ROW);
    stripe.ops_done();
    assert_eq!(stripe.acts.journal, ROW);
    clear(&mut stripe.strips, &mut stripe.acts);
    // New parity and new data are in memory: from these the lost page is computed.
    stripe.st.attach_read(&mut stripe.strips, 1, ROW);
    stripe.plan();
    assert_eq!(stripe.acts.compute, ROW);
    assert_eq!(stripe.st.second(&stripe.strips[0]), NONE);
    // It is left, and the journal fails.
    stripe.policy.journal = false;
    stripe.policy.refuse_writes = true;
    stripe.policy.blocked = true;
    stripe.step(Event::JournalDone {
        rows: ROW,
        ok: false,
    });
    assert_eq!(stripe.strips[1].op_result(), ROW);
    assert_eq!(stripe.st.second(&stripe.strips[0]), ROW);
}
