// SPDX-License-Identifier: GPL-2.0

//! Handling a stripe, step by step, after `rust/engine/handle.rs`.

use crate::memory::Ops;
use crate::model::Eyes;
use crate::raid::mask::RowMask;
use crate::raid::stripe::{apply, clear, plan, Actions, Event};
use crate::setup::Bug;
use crate::story::{judge, tell};
use crate::stripe::{rows_of, story_of, Carry, Part, Phase, Task};
use crate::world::World;

impl World {
    /// Something happened to a stripe.
    pub(crate) fn event(&mut self, i: usize, event: Event) {
        self.refresh(i);
        self.excuse(i);
        let policy = self.policy();
        let s = &mut self.stripes[i];
        s.again = true;
        apply(&mut s.st, &mut s.strips, event, &policy, &mut s.acts);
    }

    /// The handler looks at the stripe, and takes over what there is to do.
    pub(crate) fn look(&mut self, i: usize) {
        self.refresh(i);
        self.excuse(i);
        let mut policy = self.policy();
        let missed = self.missed(i);
        policy.hold = self.stripes[i].hold;
        self.hurry(i, &mut policy);
        let s = &mut self.stripes[i];
        let before = s.acts.complete;
        s.again = false;
        s.parked = policy.blocked;
        // The first look of its kind tries again what was left.
        let retry = !std::mem::take(&mut s.mem.handling) && s.mem.pending;
        s.parts.append(&mut s.incoming);
        if policy.write_back && policy.journal {
            policy.room = self.journal.log.grant(s.st.cacheable(&s.strips).count());
        }
        plan(&mut s.st, &mut s.strips, &policy, &mut s.acts);
        let kept = (s.acts.complete.minus(before) & missed).is_empty();
        let taken = s.acts.cache.count();
        let unused = policy.room.saturating_sub(taken);
        self.journal.room |= self.journal.log.give_back(unused);
        s.held = std::mem::take(&mut s.acts.held).any();
        if std::mem::take(&mut s.retry_journal) {
            s.acts.journal |= std::mem::take(&mut s.journal_wait);
        }
        self.note_rows(i, &policy);
        let s = &mut self.stripes[i];
        if !s.acts.any() {
            self.settle(i);
            if retry {
                return self.carry_left(i);
            }
            if self.return_pages(i) {
                self.stripes[i].again = true;
                self.stripes[i].mem.handling = true;
            }
            return;
        }
        let (tasks, ops) = self.take_over(i);
        let s = &mut self.stripes[i];
        s.mem.pending = false;
        let carry = Carry {
            acts: s.acts,
            tasks,
            ops,
            lacking: RowMask::EMPTY,
            ready: RowMask::EMPTY,
            phase: Phase::Ends,
            append: s.acts.journal,
            bad: RowMask::EMPTY,
            failed: RowMask::EMPTY,
            out: s.st.out(),
            fua: s.st.fua(),
            early: std::mem::take(&mut s.early),
            seen: s.seen,
        };
        s.seen.remove(s.acts.rmw | s.acts.rcw | s.acts.cache);
        clear(&mut s.strips, &mut s.acts);
        tell!(self, "stripe {i}: {}", story_of(&carry.acts, &carry.tasks));
        judge!(
            self,
            kept,
            "acknowledged what is lost",
            "stripe {i}, rows {}",
            rows_of(missed)
        );
        judge!(
            self,
            !policy.blocked
                || carry.acts.landed.is_empty()
                    && (carry.acts.complete.is_empty() || self.c.write_back || self.c.toggle),
            "acknowledged while a failure is not recorded",
            "stripe {i}"
        );
        if self.bug == Some(Bug::EarlyFree) {
            self.return_pages(i);
        }
        self.stripes[i].carry = Some(carry);
    }

    /// Adds what a look wants done to what was left before.
    fn take_over(&mut self, i: usize) -> (Vec<Task>, Ops) {
        let s = &mut self.stripes[i];
        let mut tasks = std::mem::take(&mut s.tasks);
        let mut ops = std::mem::take(&mut s.ops);
        // What was left to compute keeps the pages that it was to be computed from.
        let view = ops.compute;
        ops.add(&s.acts);
        for (task, strip) in tasks.iter_mut().zip(&s.strips) {
            if self.bug == Some(Bug::LostLeft) {
                *task = Task {
                    drain: task.drain,
                    second: task.second,
                    ..Task::default()
                };
            }
            task.acts = strip.act;
            task.read.insert(strip.act.read);
            task.read_alone.insert(strip.act.read_alone);
            task.write.insert(strip.act.write);
            task.write_alone.insert(strip.act.write_alone);
            task.discard.insert(strip.act.discard);
            task.drain.insert(strip.act.drain);
            task.result = strip.op_result();
            task.written = strip.written();
            task.cached = strip.cached();
            task.second = (task.second & view) | s.st.second(strip).minus(view);
        }
        for part in s.parts.iter_mut().filter(|part| part.is_write()) {
            part.due.insert(part.todo & tasks[part.slot].acts.drain);
        }
        (tasks, ops)
    }

    /// Nothing new is to be done, but what was left.
    fn carry_left(&mut self, i: usize) {
        let s = &mut self.stripes[i];
        s.mem.pending = false;
        let mut tasks = std::mem::take(&mut s.tasks);
        for task in &mut tasks {
            task.acts = Default::default();
        }
        tell!(self, "stripe {i}: what was left is tried again");
        let s = &mut self.stripes[i];
        s.carry = Some(Carry {
            acts: Actions::default(),
            tasks,
            ops: std::mem::take(&mut s.ops),
            lacking: RowMask::EMPTY,
            ready: RowMask::EMPTY,
            phase: Phase::Ends,
            append: RowMask::EMPTY,
            bad: RowMask::EMPTY,
            failed: RowMask::EMPTY,
            out: s.st.out(),
            fua: s.st.fua(),
            early: RowMask::EMPTY,
            seen: s.seen,
        });
    }

    /// Counts the stripe as idle if it is; then every row of it must be right.
    fn settle(&mut self, i: usize) {
        let policy = self.policy();
        let s = &mut self.stripes[i];
        if !s.active
            || !s.parts.is_empty()
            || !s.incoming.is_empty()
            || !s.st.is_idle(&s.strips, &policy)
        {
            return;
        }
        s.active = false;
        s.parked = false;
        s.excused = RowMask::EMPTY;
        self.judge_nothing_left(i);
        self.excuse(i);
        judge!(
            self,
            self.ios.iter().all(|io| io.stripe != i),
            "idle with I/O under way",
            "stripe {i}"
        );
        self.judge_stripe(i);
    }

    /// Judges all rows of an idle stripe.
    pub(crate) fn judge_stripe(&mut self, i: usize) {
        let good = self.good();
        let log = &self.bad;
        for row in 0..self.c.rows {
            let at = self.row_at(i, row);
            let s = &self.stripes[i];
            if s.dirty().has(row) && s.excused.has(row) {
                continue;
            }
            let cached = |slot: usize| {
                let has = s.strips[slot].cached().has(row);
                has.then(|| s.pages[slot][row as usize])
            };
            let judged = self.hw.judge_row(
                at,
                (&good, log, &cached),
                &self.model,
                (self.now, Eyes::Up),
                |_, _| {},
            );
            if let Err(fault) = judged {
                self.fault.get_or_insert(fault);
            }
        }
    }

    /// Does the next part of what the handler carries out.
    pub(crate) fn carry_out(&mut self, i: usize) {
        let Some(mut carry) = self.stripes[i].carry.take() else {
            return;
        };
        let acts = carry.acts;
        loop {
            let phase = carry.phase;
            let worked = match phase {
                Phase::Ends => self.carry_ends(i, &carry),
                Phase::Writes => self.issue(i, &mut carry, true),
                Phase::Reads => {
                    carry.lacking = self.provide(i, &carry);
                    self.issue(i, &mut carry, false)
                }
                Phase::Append => {
                    if self.append_next(i, &mut carry) {
                        break;
                    }
                    false
                }
                Phase::Ops => {
                    carry.ready = carry.ops.all().minus(carry.lacking);
                    let ops = carry.ops.take(carry.ready);
                    let left = std::mem::replace(&mut carry.ops, ops);
                    if carry.ready.any() {
                        (carry.bad, carry.failed) = self.run_ops(i, &carry);
                    }
                    carry.ops = left;
                    for task in &mut carry.tasks {
                        task.drain.remove(carry.ready);
                    }
                    carry.ready.any()
                }
                Phase::OpsDone => {
                    if carry.ready.any() {
                        let (bad, failed) = (carry.bad, carry.failed);
                        let left = !carry.ready;
                        self.event(i, Event::OpsDone { bad, failed, left });
                    }
                    carry.ready.any()
                }
                Phase::Syncs => {
                    self.report_sync(i, &acts);
                    let s = &mut self.stripes[i];
                    s.again = true;
                    s.mem.handling = true;
                    s.tasks = carry.tasks;
                    s.ops = carry.ops;
                    self.return_pages(i);
                    return;
                }
            };
            carry.phase = match phase {
                Phase::Ends => Phase::Writes,
                Phase::Writes => Phase::Reads,
                Phase::Reads => Phase::Append,
                Phase::Append => Phase::Ops,
                Phase::Ops => Phase::OpsDone,
                Phase::OpsDone | Phase::Syncs => Phase::Syncs,
            };
            if worked {
                break;
            }
        }
        self.stripes[i].carry = Some(carry);
    }

    /// Ends of rows and of the parts that they belong to; reads that memory serves.
    fn carry_ends(&mut self, i: usize, carry: &Carry) -> bool {
        let acts = &carry.acts;
        self.judge_failures(i, acts, carry);
        self.stats.cached += u64::from(acts.cache.count());
        let release = match self.bug {
            // Not before the unit is stable: the log would notice.
            Some(Bug::EarlyRelease) => acts.landed | acts.complete.minus(carry.early),
            _ => acts.landed,
        };
        for row in release.iter() {
            for unit in std::mem::take(&mut self.stripes[i].units[row as usize]) {
                self.row_done(unit);
            }
        }
        for row in acts.fail_write.iter() {
            // The unit is over.
            if !carry.tasks.iter().any(|t| t.cached.has(row)) {
                self.stripes[i].units[row as usize].clear();
            }
        }
        self.record_lost(i, carry);
        judge!(
            self,
            acts.stuck.is_empty() || self.unrecordable,
            "cached data cannot be written out for no reason",
            "stripe {i}, rows {}",
            rows_of(acts.stuck)
        );
        self.drop_second(i, acts.landed);
        let due = |p: &Part| (p.due & acts.fail_waiting).any();
        judge!(
            self,
            !self.stripes[i].parts.iter().any(due),
            "a write ended whose op is left",
            "stripe {i}"
        );
        let s = &mut self.stripes[i];
        for part in &mut s.parts {
            if part.is_write() {
                let cached = carry.tasks[part.slot].cached;
                for row in (part.busy & acts.fail_write)
                    .minus(cached | carry.seen)
                    .iter()
                {
                    for (n, _) in part.span(row) {
                        self.model
                            .withdraw(part.write, part.at + n as u64, self.now);
                    }
                }
                part.failed |=
                    (part.busy & acts.fail_write).any() || (part.todo & acts.fail_waiting).any();
                part.early.insert(part.busy & acts.complete & carry.early);
                part.busy.remove(acts.complete | acts.fail_write);
                part.todo.remove(acts.fail_waiting);
                continue;
            }
            let task = &carry.tasks[part.slot].acts;
            let rows = part.todo & task.fail_read;
            part.failed |= rows.any();
            part.todo.remove(rows);
            for row in (part.todo & task.fill).iter() {
                for (n, k) in part.span(row) {
                    part.data[n] = s.pages[part.slot][row as usize][k];
                }
                part.todo.remove(RowMask::single(row));
            }
        }
        let parts = std::mem::take(&mut s.parts);
        let (done, left): (Vec<_>, _) = parts
            .into_iter()
            .partition(|p| (p.todo | p.busy).is_empty());
        s.parts = left;
        let ended = !done.is_empty();
        for part in done {
            self.end_part(i, part);
        }
        ended
    }

    /// Requests fail only for a reason.
    fn judge_failures(&mut self, i: usize, acts: &Actions, carry: &Carry) {
        let met = self.stripes[i].excused;
        judge!(
            self,
            acts.fail_write.minus(met).is_empty() || self.journal_faulty,
            "a write under way failed for no reason",
            "stripe {i}, rows {}",
            rows_of(acts.fail_write)
        );
        judge!(
            self,
            acts.fail_waiting.minus(met).is_empty() || self.journal_faulty,
            "a write failed for no reason",
            "stripe {i}, rows {}",
            rows_of(acts.fail_waiting)
        );
        judge!(
            self,
            carry
                .tasks
                .iter()
                .all(|t| t.acts.fail_read.minus(met).is_empty()),
            "a read failed for no reason",
            "stripe {i}"
        );
        judge!(
            self,
            acts.mismatch.is_empty(),
            "a check found wrong parity",
            "stripe {i}, rows {}",
            rows_of(acts.mismatch)
        );
    }

    /// The user learns how a part of a request went.
    pub(crate) fn end_part(&mut self, i: usize, part: Part) {
        let n = part.data.len() as u64;
        let (what, how) = (
            if part.is_write() {
                format!("write {}", part.write)
            } else {
                "read".to_owned()
            },
            if part.failed { "FAILED" } else { "done" },
        );
        tell!(
            self,
            "{what} of array sectors {}+{n} (stripe {i}, member {}): {how}",
            part.at,
            part.slot
        );
        self.stats.errors += u64::from(part.failed);
        if part.is_write() {
            self.end_write(&part);
        } else if !part.failed {
            self.judge_read(&part);
        }
    }

    fn judge_read(&mut self, part: &Part) {
        for (n, value) in part.data.iter().enumerate() {
            if let Err(why) = self
                .model
                .explain(part.at + n as u64, *value, part.start, Eyes::Up)
            {
                judge!(self, false, "a read returned what it may not", "{why}");
            }
        }
    }
}
