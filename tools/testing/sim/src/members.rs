// SPDX-License-Identifier: GPL-2.0

//! Members' I/O, failures and spares, and md's syncs.

use crate::disk::Disk;
use crate::raid::mask::RowMask;
use crate::raid::stripe::{Access, Actions, Event};
use crate::story::{judge, tell};
use crate::stripe::{rows_of, Carry, Task};
use crate::world::{Direct, Io, Sync, World};

impl World {
    /// Issues the reads or the writes of all members.
    pub(crate) fn issue(&mut self, i: usize, carry: &mut Carry, write: bool) -> bool {
        let mut any = false;
        for slot in 0..carry.tasks.len() {
            let task = carry.tasks[slot];
            let lacking = carry.lacking;
            let (rows, alone) = if write {
                (task.write | task.discard, task.write_alone)
            } else {
                (task.read.minus(lacking), task.read_alone.minus(lacking))
            };
            any |= (rows | alone).any();
            let (mut left, mut left_alone) = (RowMask::EMPTY, RowMask::EMPTY);
            for (start, n) in rows.runs() {
                let rows = RowMask::range(start, n);
                if self.lacks_bio() {
                    left.insert(rows);
                } else {
                    self.issue_run(i, (slot, &task), rows, write);
                }
            }
            for row in alone.iter() {
                if self.lacks_bio() {
                    left_alone.insert(RowMask::single(row));
                } else {
                    self.issue_run(i, (slot, &task), RowMask::single(row), write);
                }
            }
            let task = &mut carry.tasks[slot];
            if write {
                task.write = task.write & left;
                task.discard = task.discard & left;
                task.write_alone = left_alone;
            } else {
                task.read = (task.read & lacking) | left;
                task.read_alone = (task.read_alone & lacking) | left_alone;
            }
            self.stats.left += u64::from((left | left_alone).count());
            self.stripes[i].mem.pending |= (left | left_alone).any();
        }
        any
    }

    fn issue_run(&mut self, i: usize, (slot, task): (usize, &Task), rows: RowMask, write: bool) {
        if self.faulty[slot] || !write && self.access(slot) != Access::Full {
            return self.event(i, end_event(slot, rows, write, false));
        }
        let mut pages = Vec::new();
        for row in rows.iter() {
            judge!(
                self,
                !self.hw.members[slot].is_written(self.row_at(i, row)),
                "I/O while a write of the same page is under way",
                "stripe {i} member {slot} row {row}"
            );
            self.judge_page(i, slot, row, !write && task.second.has(row));
            let garbage = self.model.garbage();
            let s = &mut self.stripes[i];
            let from = if !write && task.second.has(row) {
                &mut s.second
            } else {
                &mut s.pages
            };
            if !write {
                from[slot][row as usize] = [garbage; 8];
            }
            pages.push(from[slot][row as usize]);
        }
        if write {
            self.stripes[i].seen.insert(rows);
        }
        let at = self.row_at(i, rows.lowest().unwrap_or(0));
        let write = write.then(|| self.hw.members[slot].submit(at, pages.clone(), false));
        judge!(
            self,
            write.is_some() || self.access(slot) == Access::Full,
            "a member without the data is read",
            "stripe {i} member {slot}"
        );
        self.ios.push(Io {
            stripe: i,
            slot,
            rows,
            second: if write.is_some() {
                RowMask::EMPTY
            } else {
                task.second & rows
            },
            write,
            pages,
        });
    }

    /// Whether one member more may fail.
    pub(crate) fn may_fail(&self) -> bool {
        !self.quiet && self.degraded() < self.parity()
    }

    /// A member's I/O ends.
    pub(crate) fn io_done(&mut self, k: usize) {
        let io = self.ios.swap_remove(k);
        for (row, page) in io.rows.iter().zip(&io.pages) {
            judge!(
                self,
                *self.stripes[io.stripe].page(io.slot, row, io.second.has(row)) == *page,
                "a page changed under I/O",
                "stripe {} member {} row {row}",
                io.stripe,
                io.slot
            );
        }
        let ok = match io.write {
            Some(id) => self.write_done(&io, id),
            None => self.read_done(&io),
        };
        tell!(
            self,
            "stripe {} member {}: {} of rows {} {}",
            io.stripe,
            io.slot,
            if io.write.is_some() { "write" } else { "read" },
            rows_of(io.rows),
            if ok { "done" } else { "FAILED" }
        );
        self.event(
            io.stripe,
            end_event(io.slot, io.rows, io.write.is_some(), ok),
        );
    }

    fn write_done(&mut self, io: &Io, id: u64) -> bool {
        if !self.faulty[io.slot] && self.is_refused(io, id) {
            return false;
        }
        let fails = if self.faulty[io.slot] {
            self.tape.chance(50)
        } else {
            self.may_fail() && self.tape.rare(self.c.fail)
        };
        if fails {
            self.hw.members[io.slot].fail(id, &mut self.tape);
            self.fail_member(io.slot);
        } else {
            self.hw.members[io.slot].complete(id);
            self.stripes[io.stripe].unreadable[io.slot].remove(io.rows);
            self.rows_written(io);
        }
        !fails
    }

    /// Whether the rows can be had without this member.
    fn may_not_read(&self, io: &Io) -> bool {
        self.may_fail()
            && io
                .rows
                .iter()
                .all(|row| self.lost(io.stripe, row) < self.parity())
    }

    /// Members that cannot give the row now.
    pub(crate) fn lost(&self, i: usize, row: u32) -> usize {
        let lost = |slot: &usize| {
            self.access(*slot) != Access::Full
                || self.stripes[i].unreadable[*slot].has(row)
                || self.is_gone(*slot, self.row_at(i, row))
        };
        (0..self.faulty.len()).filter(lost).count()
    }

    fn read_done(&mut self, io: &Io) -> bool {
        let gone = (io.rows.iter()).any(|row| self.is_gone(io.slot, self.row_at(io.stripe, row)));
        if self.faulty[io.slot] {
            return false;
        }
        if gone || self.may_not_read(io) && self.tape.rare(self.c.read_error) {
            if io.rows.count() == 1 {
                // After a longer read each row is tried alone.
                self.stripes[io.stripe].unreadable[io.slot].insert(io.rows);
            }
            return false;
        }
        for row in io.rows.iter() {
            let at = self.row_at(io.stripe, row);
            *self.stripes[io.stripe].page(io.slot, row, io.second.has(row)) =
                *self.hw.members[io.slot].read(at);
        }
        true
    }

    /// What md and the personality do when a member has failed.
    pub(crate) fn fail_member(&mut self, slot: usize) {
        if self.faulty[slot] {
            return;
        }
        tell!(self, "member {slot} is failed");
        self.stats.failures += 1;
        self.faulty[slot] = true;
        self.in_sync[slot] = false;
        for i in 0..self.stripes.len() {
            let rows = (0..self.c.rows).filter(|row| self.lost(i, *row) > self.parity());
            let rows = rows.fold(RowMask::EMPTY, |all, row| all | RowMask::single(row));
            self.stripes[i].excused.insert(rows);
        }
        if let Some(sync) = &mut self.sync {
            // Interrupted: nothing more is asked for.
            sync.failed = true;
            sync.next = sync.end;
        }
        self.end_sync();
    }

    /// A role without a device, to which nothing is under way.
    pub(crate) fn empty_role(&self) -> Option<usize> {
        (0..self.faulty.len()).find(|s| {
            self.faulty[*s]
                && !self.hw.sb.in_sync[*s]
                && self.hw.sb_writing.is_none()
                && self.ios.iter().all(|io| io.slot != *s)
                && self.directs.iter().all(|d| d.part.slot != *s)
        })
    }

    /// A spare takes the role; what it holds is anything.
    pub(crate) fn add_spare(&mut self, slot: usize) {
        tell!(self, "a spare takes the role of member {slot}");
        let garbage = self.model.garbage();
        let pages = vec![[garbage; 8]; self.c.stripes * self.c.rows as usize];
        self.hw.members[slot] = Disk::new(pages, self.c.volatile);
        self.faulty[slot] = false;
        self.in_sync[slot] = false;
        self.hw.dead[slot].clear();
        self.hw.sb.bad[slot].clear();
        self.bad[slot].clear();
        self.write_error[slot] = false;
    }

    // ---- syncs ----

    /// A rebuild if there is a spare, or else a check or repair of a part.
    pub(crate) fn sync_start(&mut self) {
        let n = self.c.stripes;
        let rebuild = (0..self.faulty.len()).any(|s| self.access(s) == Access::WriteOnly);
        if !rebuild && (!self.c.sync || self.degraded() >= self.parity()) {
            return;
        }
        let next = if rebuild { 0 } else { self.tape.pick(n) };
        let repair = rebuild || self.tape.chance(50);
        tell!(
            self,
            "a {} begins",
            if rebuild { "rebuild" } else { "check" }
        );
        self.sync = Some(Sync {
            rebuild,
            repair,
            next,
            end: if rebuild { n } else { next + 1 },
            out: vec![RowMask::EMPTY; n],
            failed: false,
        });
    }

    /// md asks for the next stripe.
    pub(crate) fn sync_next(&mut self) {
        let rows = RowMask::first(self.c.rows);
        let Some(sync) = self.sync.as_mut().filter(|s| s.next < s.end) else {
            return;
        };
        let i = sync.next;
        sync.next += 1;
        let s = &mut self.stripes[i];
        let new = s.st.want_sync(rows);
        sync.out[i].insert(new);
        s.again = true;
        s.active = true;
    }

    pub(crate) fn report_sync(&mut self, i: usize, acts: &Actions) {
        let both = acts.sync_done | acts.sync_failed;
        if both.is_empty() {
            return;
        }
        if self.c.dead > 0 && self.sync.as_ref().is_some_and(|s| s.rebuild) {
            self.record_holes(i, acts.sync_failed);
        }
        let excused = self.stripes[i].excused.any() || self.journal_faulty;
        let Some(sync) = &mut self.sync else {
            judge!(
                self,
                false,
                "a sync ended that nobody waited for",
                "stripe {i}"
            );
            return;
        };
        sync.failed |= acts.sync_failed.any() && !(sync.rebuild && self.c.dead > 0);
        sync.out[i].remove(both);
        let failed = sync.failed && !sync.rebuild && self.good().iter().all(|g| *g);
        judge!(
            self,
            !failed || excused,
            "a sync failed for no reason",
            "stripe {i}"
        );
        self.end_sync();
    }

    fn end_sync(&mut self) {
        let over = |s: &Sync| s.next >= s.end && s.out.iter().all(|rows| rows.is_empty());
        if !self.sync.as_ref().is_some_and(over) {
            return;
        }
        let sync = self.sync.take();
        if !sync.is_some_and(|s| s.rebuild && !s.failed) {
            return;
        }
        for slot in 0..self.faulty.len() {
            if self.access(slot) == Access::WriteOnly {
                tell!(self, "member {slot} is rebuilt");
                // md flushes a member before its superblock calls it good.
                self.hw.members[slot].flush();
                self.in_sync[slot] = true;
                self.stats.rebuilds += 1;
            }
        }
    }

    // ---- reads that go straight to a member ----

    pub(crate) fn end_direct(&mut self, k: usize) {
        let Direct {
            stripe: i,
            mut part,
        } = self.directs.swap_remove(k);
        let slot = part.slot;
        let error = self.may_fail() && self.tape.rare(self.c.read_error);
        let gone = (part.todo.iter()).any(|row| self.is_gone(slot, self.row_at(i, row)));
        if self.faulty[slot] || error || gone {
            tell!(
                self,
                "a read of member {slot} failed, and goes through stripe {i}"
            );
            let s = &mut self.stripes[i];
            s.st.attach_read(&mut s.strips, slot, part.todo);
            s.incoming.push(part);
            s.again = true;
            s.active = true;
            return;
        }
        for row in part.todo.iter() {
            let page = self.hw.members[slot].read(self.row_at(i, row));
            for (n, k) in part.span(row) {
                part.data[n] = page[k];
            }
        }
        self.end_part(i, part);
    }
}

fn end_event(slot: usize, rows: RowMask, write: bool, ok: bool) -> Event {
    if write {
        Event::WriteDone { slot, rows, ok }
    } else {
        Event::ReadDone { slot, rows, ok }
    }
}
