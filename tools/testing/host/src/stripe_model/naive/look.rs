// SPDX-License-Identifier: GPL-2.0

//! One row before and after one look of the module's planner, and what must hold of it.

use super::super::stripe::{plan, Access, Actions, Policy, State, Strip};
use super::{Deed, Job, Row};
use std::collections::BTreeMap;

/// Why a row that wants something gets nothing now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reason {
    Op,
    Journal,
    Member,
    /// Of a member, that md has to record first.
    Failure,
    Read,
    Held,
    /// Nothing may begin.
    Pages,
    /// Others of its stripe have what room there was; it has none of its own.
    Room,
}

/// What was tried.
#[derive(Default, Debug)]
pub(super) struct Tally {
    pub(super) states: u64,
    /// Rows that something was begun for.
    pub(super) begun: u64,
    /// Rows that wanted nothing.
    pub(super) content: u64,
    pub(super) waits: BTreeMap<Reason, u64>,
    pub(super) deeds: BTreeMap<Deed, u64>,
}

impl Tally {
    /// Prints the numbers and holds that all rows are in them.
    pub(super) fn tell(&self, what: &str) {
        println!(
            "{what}: {} states, {} begun, {} content, {:?}, {:?}",
            self.states, self.begun, self.content, self.waits, self.deeds
        );
        let waits = self.waits.values().sum::<u64>();
        assert_eq!(self.states - self.begun - self.content, waits);
    }
}

/// A row before and after one look of the module's planner.
pub(super) struct Look<'a> {
    pub(super) row: u32,
    pub(super) before: (&'a State, &'a [Strip]),
    pub(super) st: &'a State,
    pub(super) strips: &'a [Strip],
    pub(super) acts: &'a Actions,
    pub(super) policy: &'a Policy,
}

impl Look<'_> {
    fn check(&self, cond: bool, what: &str) {
        if cond {
            return;
        }
        let was = Row::of(self.before.0, self.before.1, self.row);
        panic!(
            "{what}: row {}, {:?}\nbefore {was:?}\nafter {:?}",
            self.row,
            self.policy,
            self.found()
        );
    }

    fn found(&self) -> Row {
        Row::decided(self.st, self.strips, self.acts, self.row)
    }

    /// What the naive planner makes of the row.
    fn naive(&self, policy: &Policy) -> Row {
        let mut naive = Row::of(self.before.0, self.before.1, self.row);
        naive.plan(policy);
        naive
    }

    /// It is what the naive planner decides, and leaves the row in.
    fn agrees(&self, found: &Row) {
        let mut naive = self.naive(self.policy);
        naive.deeds.dedup();
        let mut same = naive == *found;
        if !same && self.policy.room > 0 && self.acts.cache.count() >= self.policy.room {
            // Others have had the room.
            let none = Policy {
                room: 0,
                ..*self.policy
            };
            same = self.lacks_room(found) || self.naive(&none) == *found;
        }
        if !same {
            self.check(false, &format!("the naive planner decides {naive:?}"));
        }
    }

    /// It would be cached, if others had not been.
    fn lacks_room(&self, found: &Row) -> bool {
        let mut before = Row::of(self.before.0, self.before.1, self.row);
        // What was decided before the writes, reports and fills, stands.
        let mut naive = self.naive(self.policy);
        if naive.deeds.contains(&Deed::Cache) && !found.deeds.contains(&Deed::Cache) {
            before
                .cells
                .iter_mut()
                .for_each(|c| (c.towrite, c.overwrite) = (false, false));
            before.plan(self.policy);
            naive = before;
            for (c, s) in naive.cells.iter_mut().zip(self.before.1) {
                c.towrite = s.towrite.has(self.row);
                c.overwrite = s.overwrite.has(self.row);
            }
            return naive == *found;
        }
        false
    }

    /// Nothing is read that is in memory or on its way; of what is cached that is the second page. Only
    /// what a sync forgets is read anew.
    fn reads_nothing_cached(&self) {
        let row = self.row;
        let forgotten = self.before.0.sync_want.has(row) && !self.st.sync_want.has(row);
        for (was, s) in self.before.1.iter().zip(self.strips) {
            if !(s.act.read | s.act.read_alone).has(row) {
                continue;
            }
            let cached = s.cached.has(row);
            let out = self.st.out.has(row);
            let known = if cached { was.old } else { was.uptodate };
            self.check(!known.has(row) || forgotten, "reads what is in memory");
            self.check(!was.reading.has(row), "reads what is on its way");
            self.check(!(cached && out), "reads below what is going out");
            let there = s.access == Access::Full && !s.dead.has(row);
            self.check(there, "reads from a member without it");
            let waits = s.reading.has(row) && s.uptodate.has(row) == cached;
            self.check(waits, "forgets a read");
        }
    }

    /// What is written to a member belongs to this one write, and is not what is cached: that goes out
    /// through the journal.
    fn writes_only_locked(&self) {
        let row = self.row;
        for (was, s) in self.before.1.iter().zip(self.strips) {
            if !s.act.write.has(row) {
                continue;
            }
            let locked = self.st.busy.has(row) && s.written.has(row) && s.writing.has(row);
            self.check(locked, "writes what is not locked");
            let over = !self.before.0.busy.has(row) || self.before.0.landed.has(row);
            self.check(
                over && !was.writing.has(row),
                "writes what is being written",
            );
            let known = s.uptodate.has(row) && !self.st.in_ops.has(row);
            self.check(known, "writes what is not known");
            let taken = s.access != Access::Missing && !s.dead.has(row);
            self.check(taken, "writes to nobody");
            let known = |i: usize| {
                let s = &self.strips[i];
                s.access == Access::Missing || s.recorded.has(row)
            };
            let forgone = self.st.out.has(row) && known(self.st.p) && self.st.q.is_none_or(known);
            let may = !s.cached.has(row) || forgone;
            self.check(may, "writes what is cached past the journal");
        }
    }

    /// What is changed in memory is locked, and no cached page but by what is cached over it.
    fn changes_only_locked(&self) {
        let row = self.row;
        let (was_st, st) = (self.before.0, self.st);
        let began = !was_st.in_ops.has(row) && st.in_ops.has(row);
        let cache = self.acts.cache.has(row);
        let write_op = cache || self.acts.rmw.has(row) || self.acts.rcw.has(row);
        for (was, s) in self.before.1.iter().zip(self.strips) {
            let drains = s.act.drain.has(row);
            if !drains && (!s.op_result.has(row) || was.op_result.has(row)) {
                continue;
            }
            self.check(began, "changes a page that is not locked");
            let idle = !s.reading.has(row) && !s.writing.has(row);
            self.check(idle, "changes a page under I/O");
            let held_off = !write_op || st.busy.has(row) && !s.uptodate.has(row);
            self.check(held_off, "changes a page that may be read");
            let second = !drains && s.cached.has(row) && !st.out.has(row);
            let safe =
                !s.cached.has(row) || cache || second && s.uptodate.has(row) && !s.old.has(row);
            self.check(safe, "changes what is cached");
            let on_the_way = st.busy.has(row) && was.written.has(row) && was.uptodate.has(row);
            let reported = was_st.landed.has(row) && !st.landed.has(row);
            self.check(!on_the_way || reported, "changes what is on its way");
        }
        let taken = |m: &Strip| m.cached.has(row);
        for (was, s) in self.before.1.iter().zip(self.strips) {
            let reported = was_st.landed.has(row) && !st.landed.has(row);
            let reported = reported || self.acts.landed.has(row);
            self.check(taken(was) == taken(s) || reported, "forgets what is cached");
            let first = was.uptodate.has(row) == s.uptodate.has(row) || s.act.drain.has(row);
            self.check(!taken(was) || first || reported, "loses what is cached");
        }
    }

    /// Whether something waits to be done for the row.
    fn wants(&self, st: &State, strips: &[Strip]) -> bool {
        let row = self.row;
        let dirty = strips.iter().any(|s| s.cached.has(row)) && !st.stuck.has(row);
        st.sync_want.has(row)
            || st.syncing.has(row)
            || st.landed.has(row)
            || dirty && (st.out_want.has(row) || self.policy.refuse_writes)
            || strips.iter().any(|s| {
                let fix = self.policy.may_fix && s.fixable().has(row);
                s.toread.has(row) || s.towrite.has(row) || fix
            })
    }

    /// A row that wants something gets something, or waits for a reason that has a name.
    fn is_not_missed(&self, found: &Row, tally: &mut Tally) {
        let (st, strips) = self.before;
        let row = self.row;
        for deed in &found.deeds {
            *tally.deeds.entry(*deed).or_default() += 1;
        }
        if !self.wants(st, strips) {
            self.check(found.deeds.is_empty(), "nobody asked for that");
            tally.content += 1;
            return;
        }
        let began = st.in_ops.has(row) != self.st.in_ops.has(row)
            || !st.in_journal.has(row) && self.st.in_journal.has(row);
        // What puts a page right is nobody's, and ends without a word.
        let reported = st.landed.has(row) && !self.st.landed.has(row);
        let did =
            began || reported || found.any(|c| c.read || c.write || c.twin_write || c.fill || c.refuse || c.drain);
        let held = found.deeds == [Deed::Hold];
        if did || !held && !found.deeds.is_empty() {
            tally.begun += 1;
            return;
        }
        let room = self.policy.room > 0 && self.acts.cache.count() >= self.policy.room;
        let reasons = [
            (held, Reason::Held),
            (found.job != Job::None, Reason::Op),
            (st.in_journal.has(row), Reason::Journal),
            (st.in_members.has(row), Reason::Member),
            (strips.iter().any(|s| s.reading.has(row)), Reason::Read),
            (self.policy.blocked, Reason::Failure),
            (!self.policy.begin, Reason::Pages),
            (room && found.any(|c| c.towrite), Reason::Room),
        ];
        let reason = reasons.iter().find(|r| r.0).map(|r| r.1);
        // What only must not be written waits in the naive planner's words too.
        self.check(reason.is_some(), "misses a row");
        *tally.waits.entry(reason.unwrap_or(Reason::Op)).or_default() += 1;
    }

    pub(super) fn judge(&self, tally: &mut Tally) {
        tally.states += 1;
        let found = self.found();
        self.agrees(&found);
        self.reads_nothing_cached();
        self.writes_only_locked();
        self.changes_only_locked();
        self.is_not_missed(&found, tally);
    }
}

/// One look at rows `0 .. rows` of a stripe that may be changed.
pub(super) fn look(
    st: &mut State,
    strips: &mut [Strip],
    rows: u32,
    policy: &Policy,
    tally: &mut Tally,
) {
    let (was, before) = (*st, strips.to_vec());
    let mut acts = Actions::default();
    plan(st, strips, policy, &mut acts);
    for row in 0..rows {
        Look {
            row,
            before: (&was, &before),
            st,
            strips,
            acts: &acts,
            policy,
        }
        .judge(tally);
    }
    let any = |f: fn(&Strip) -> bool| strips.iter().any(f);
    assert_eq!(acts.read, any(|s| (s.act.read | s.act.read_alone).any()));
    assert_eq!(acts.write, any(|s| (s.act.write | s.act.twin).any()));
    assert_eq!(acts.fill, any(|s| s.act.fill.any()));
    assert_eq!(acts.fail_read, any(|s| s.act.fail_read.any()));
    assert!(acts.cache.count() <= policy.room);
    assert!(acts.cache.is_empty() || policy.journal && policy.write_back);
}
