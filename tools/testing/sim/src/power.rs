// SPDX-License-Identifier: GPL-2.0

//! The power switch: what a cut at this moment would leave, and the recovery from it.

use crate::hardware::{Cached, Hardware};
use crate::journal::recovery::EndKind;
use crate::memory::Memory;
use crate::model::Eyes;
use crate::reclaim::Reclaim;
use crate::recover::{recover, Recovered, Troubles};
use crate::story::{tell, Fault};
use crate::units::Journal;
use crate::world::World;

impl World {
    /// Cuts the power and assembles the array again: `real`, or only to see what would be, while the
    /// run goes on as if it had not been.
    pub(crate) fn crash(&mut self, real: bool) {
        let twice = !real && self.tape.chance(30);
        // What recovery finds stays: a second cut takes nothing more.
        let model = twice.then(|| self.model.clone());
        self.cut(real, twice);
        if let Some(model) = model {
            self.model = model;
        }
    }

    fn cut(&mut self, real: bool, twice: bool) {
        let lines = self.story.lines.len();
        tell!(self, "THE POWER IS CUT");
        let mut hw = self.hw.clone();
        for again in [false, true] {
            if again && !twice {
                break;
            }
            if again {
                tell!(self, "THE POWER IS CUT again, right after recovery");
            }
            self.stats.crashes += 1;
            let troubles = Troubles {
                parity: self.parity(),
                missing: self.c.missing,
                cut: 0,
                fail: self.c.fail * 3,
                odd: self.c.odd * 5,
                stops: self.c.stops,
            };
            let stop = troubles.strike(&mut hw, &mut self.tape, &mut self.story);
            self.stats.stops += u64::from(stop);
            if !hw.sb.journal {
                tell!(
                    self,
                    "the journal is gone for good: only flushes promise anything"
                );
                if let Err(fault) = self.judge_bare(&hw) {
                    self.fault = self.fault.take().or(Some(fault));
                }
                self.over = real;
                return;
            }
            let eyes = if stop { Eyes::Stopped } else { Eyes::Cut };
            let troubles = Troubles {
                cut: if self.tape.chance(25) { 50 } else { 0 },
                ..troubles
            };
            let wb = self.c.write_back || self.c.toggle;
            let array = (self.ring, self.dev_sectors(), self.bug, wb);
            let up = recover(&mut hw, array, &troubles, &mut self.tape, &mut self.story);
            let settle = real || (twice && !again);
            let judged =
                up.and_then(|up| (self.judge_recovery(&hw, &up, (eyes, settle))).map(|()| up));
            match judged {
                Err(fault) => self.fault = self.fault.take().or(Some(fault)),
                Ok(up) if real => return self.start_over(hw, &up),
                Ok(_) => {}
            }
            if self.fault.is_some() {
                return;
            }
        }
        self.story.lines.truncate(lines);
    }

    fn judge_recovery(
        &mut self,
        hw: &Hardware,
        r: &Recovered,
        (eyes, settle): (Eyes, bool),
    ) -> Result<(), Fault> {
        self.stats.crashes += r.cuts;
        self.stats.recovery_cuts += r.cuts;
        self.stats.stops += r.stops;
        self.stats.given_up += r.given_up;
        self.stats.degraded_recoveries += u64::from(r.here.contains(&false));
        self.stats.replayed += r.up.report.replayed_rows;
        self.stats.finished += r.up.finished;
        self.stats.torn += u64::from(r.up.report.end_reason.kind() == EndKind::Torn);
        let mut found = Vec::new();
        for row in 0..self.c.stripes * self.c.rows as usize {
            let judged = (self.now, eyes);
            hw.judge_row(
                row,
                (&r.here, &hw.sb.bad, &|_| None),
                &self.model,
                judged,
                |at, value| {
                    if settle {
                        found.push((at, value));
                    }
                },
            )?;
        }
        if settle {
            self.model.lose_sight(&found, self.now, eyes);
        }
        for (at, value) in found {
            self.model.settle(at, value);
        }
        Ok(())
    }

    /// What the members hold after a power cut when there is no journal: flushes that began without
    /// it were kept all the same. Parity need not agree, and what is lost cannot be computed, where
    /// something was under way.
    fn judge_bare(&self, hw: &Hardware) -> Result<(), Fault> {
        if !self.c.early {
            return Ok(());
        }
        let here = &hw.sb.in_sync;
        let recorded = *here == self.good();
        for row in 0..self.c.stripes * self.c.rows as usize {
            let s = &self.stripes[row / self.c.rows as usize];
            let rested = !s.active
                && s.dirty().is_empty()
                && self.hw.members.iter().all(|m| !m.is_risky(row));
            let judged = (self.now, Eyes::Bare);
            if recorded && rested {
                let members: (&[bool], &[_], Cached<'_>) = (here, &hw.sb.bad, &|_| None);
                hw.judge_row(row, members, &self.model, judged, |_, _| {})?;
            } else {
                let has = hw.having(row, here, &hw.sb.bad);
                hw.judge_data(row, (&has, &|_| None), &self.model, judged, |_, _| {})?;
            }
        }
        Ok(())
    }

    /// Goes on with the recovered array and an empty memory.
    fn start_over(&mut self, hw: Hardware, r: &Recovered) {
        tell!(self, "the array is up again; members in sync: {:?}", r.here);
        self.hw = hw;
        self.faulty = r.here.iter().map(|here| !here).collect();
        self.in_sync.clone_from(&r.here);
        self.bad.clone_from(&self.hw.sb.bad);
        self.write_error.clone_from(&r.write_error);
        self.journal_faulty = false;
        self.tail = r.up.tail.block.get();
        self.sync = None;
        self.ios.clear();
        self.directs.clear();
        self.user_flushes.clear();
        self.journal = Journal::new(&self.c, self.geo, self.ring, r.up.tail, r.up.head);
        self.write_back = self.c.write_back;
        self.reclaim = Reclaim::Idle;
        self.suspended = false;
        self.memory = Memory::new(&self.c);
        for i in 0..self.stripes.len() {
            self.stripes[i] = self.new_stripe(i);
        }
    }
}
