// SPDX-License-Identifier: GPL-2.0

//! Finishing data-only rows, as `rust/engine/finish.rs` does it.

use crate::block::{block_of, crc32c, page_of, Block, Page, SEED};
use crate::disk::{Disk, Sectors};
use crate::gf::{p_of, q_of, Row};
use crate::journal::finish::{way, Strip, Way};
use crate::journal::format::{MetaBuilder, BLOCK_SIZE};
use crate::journal::recovery::{Entry, Pending, ScanReport};
use crate::journal::unit::Position;
use crate::raid::units::{DevSector, Slot};
use crate::recover::{wrong, Assembly, Down, Power, Table};
use crate::setup::Bug;
use crate::story::Story;
use std::rc::Rc;

impl Assembly<'_> {
    /// Makes parity of data-only rows, adds it to the log, and writes them to the members. Rows whose
    /// parity nobody believes come last: they may have no room in the log of their own.
    pub(crate) fn finish(
        &mut self,
        report: &mut ScanReport,
        tail: Position,
        rows: &mut Table,
        power: &Power,
        story: &mut Story,
    ) -> Result<(), Down> {
        let mut entries = vec![Entry::NONE; self.here.len()];
        let mut bare = Table::default();
        while let Some(row) = rows.first() {
            let n = rows.take(row, &mut entries).unwrap_or(0);
            if self.has_parity(row) {
                self.finish_row(report, tail, (row, &entries[..n]), true, power, story)?;
                continue;
            }
            for entry in &entries[..n] {
                let Ok(()) = bare.insert(row, *entry) else {
                    continue;
                };
            }
        }
        while let Some(row) = bare.first() {
            let n = bare.take(row, &mut entries).unwrap_or(0);
            self.finish_row(report, tail, (row, &entries[..n]), false, power, story)?;
        }
        Ok(())
    }

    /// Whether the row's parity may be believed, of some member that is here or may come back.
    fn has_parity(&self, row: DevSector) -> bool {
        let at = (row.get() / 8) as usize;
        let place = self.hw.geo.placement(row);
        let mut parity = [Some(place.p), place.q].into_iter().flatten();
        parity.any(|s| self.in_sync[s.index()] && !self.bad[s.index()].contains(&at))
    }

    fn finish_row(
        &mut self,
        report: &mut ScanReport,
        tail: Position,
        (row, entries): (DevSector, &[Entry]),
        believed: bool,
        power: &Power,
        story: &mut Story,
    ) -> Result<(), Down> {
        let at = (row.get() / 8) as usize;
        let logged: Vec<(usize, Option<Page>)> = (entries.iter())
            .map(|e| {
                (
                    e.slot.index(),
                    page_of(self.hw.journal.read(e.block.get() as usize)),
                )
            })
            .collect();
        story.tell(|| {
            let slots: Vec<_> = logged.iter().map(|(slot, _)| slot).collect();
            format!("    row {at} has data of members {slots:?} and no parity")
        });
        let row_pages = match self.make_row(at, &logged) {
            Err(Down::Lost(_)) if self.may_give_up() => {
                story.tell(|| format!("    too much of row {at} is lost, it gets no parity"));
                self.given_up += 1;
                self.forgo(row, &logged, power, story)?;
                report.row_finished();
                return Ok(());
            }
            pages => pages?,
        };
        let place = self.hw.geo.placement(row);
        let parity: Vec<usize> = (0..self.here.len())
            .filter(|s| place.is_parity(Slot::new(*s as u16)))
            .collect();
        if self.bug != Some(Bug::BareFinish) {
            let done = self.log_parity(report, tail, row, &row_pages, power)?;
            if !done && believed {
                return wrong("no room for the parity of a cached row", report.to_string());
            }
            if !done {
                story.tell(|| format!("    there is no room for parity of row {at}"));
                self.write_unlogged(row, &logged, power, story)?;
                report.row_finished();
                return Ok(());
            }
        }
        let mut missed = false;
        for slot in logged.iter().map(|(slot, _)| *slot).chain(parity) {
            let (mut takers, _) = self.takers();
            if !takers.here[slot] {
                continue;
            }
            power.on().map_err(|()| Down::Cut)?;
            let id = takers.members[slot].submit(at, vec![row_pages[slot]], false);
            power.on().map_err(|()| Down::Cut)?;
            missed |= !takers.end((slot, at), id, true, story);
        }
        if missed && self.takers().0.is_lost(at, &[]) {
            if !self.may_give_up() {
                return Err(Down::Lost(at));
            }
            self.given_up += 1;
        }
        report.row_finished();
        Ok(())
    }

    /// Whether a row is given up of which too much is lost. A missing member may have more of it.
    pub(crate) fn may_give_up(&self) -> bool {
        self.force || !self.here.contains(&false)
    }

    /// A row goes to the members without parity: md records first that they have none.
    fn forgo(
        &mut self,
        row: DevSector,
        logged: &[(usize, Option<Page>)],
        power: &Power,
        story: &mut Story,
    ) -> Result<(), Down> {
        let at = (row.get() / 8) as usize;
        let place = self.hw.geo.placement(row);
        let here = |slot: &usize| self.here[*slot] && self.bug != Some(Bug::BelievedParity);
        let parity: Vec<usize> = (0..self.here.len())
            .filter(|s| place.is_parity(Slot::new(*s as u16)))
            .filter(here)
            .collect();
        for slot in parity {
            self.bad[slot].insert(at);
        }
        self.record(power, story)?;
        self.write_logged(at, logged, power, story).map(drop)
    }

    /// Writes what the log has of a row; whether some member did not take it.
    fn write_logged(
        &mut self,
        at: usize,
        logged: &[(usize, Option<Page>)],
        power: &Power,
        story: &mut Story,
    ) -> Result<bool, Down> {
        let mut missed = false;
        for (slot, page) in logged {
            let (mut takers, _) = self.takers();
            let Some(page) = page.filter(|_| takers.here[*slot]) else {
                continue;
            };
            power.on().map_err(|()| Down::Cut)?;
            let id = takers.members[*slot].submit(at, vec![page], false);
            power.on().map_err(|()| Down::Cut)?;
            missed |= !takers.end((*slot, at), id, true, story);
        }
        Ok(missed)
    }

    /// A row whose old parity nobody believes goes to the members without a new one.
    fn write_unlogged(
        &mut self,
        row: DevSector,
        logged: &[(usize, Option<Page>)],
        power: &Power,
        story: &mut Story,
    ) -> Result<(), Down> {
        let at = (row.get() / 8) as usize;
        if logged.iter().any(|(slot, _)| !self.here[*slot]) {
            return Err(Down::Lost(at));
        }
        self.record(power, story)?;
        let missed = self.write_logged(at, logged, power, story)?;
        if missed && self.takers().0.is_lost(at, &[]) {
            if !self.may_give_up() {
                return Err(Down::Lost(at));
            }
            self.given_up += 1;
        }
        Ok(())
    }

    /// The row as it will be, by slot.
    fn make_row(&self, at: usize, logged: &[(usize, Option<Page>)]) -> Result<Vec<Page>, Down> {
        let place = self.hw.geo.placement(DevSector::new(at as u64 * 8));
        let slots = 0..self.here.len();
        let is_parity = |slot: usize| place.is_parity(Slot::new(slot as u16));
        let is_logged = |slot: usize| logged.iter().any(|(l, _)| *l == slot);
        let has = self.hw.having(at, &self.here, &self.bad);
        let how = way(slots.clone().map(|slot| Strip {
            parity: is_parity(slot),
            logged: is_logged(slot),
            readable: has[slot],
        }));
        let data: Vec<usize> = slots.clone().filter(|s| !is_parity(*s)).collect();
        let page = |slot: usize| has[slot].then(|| *self.hw.members[slot].read(at));
        let mut pages: Vec<Page> = match how {
            Way::Lost => return self.lose(at, &has, is_logged),
            Way::Read => data.iter().map(|s| page(*s).unwrap_or_default()).collect(),
            Way::Compute => {
                let known = Row {
                    data: data.iter().map(|s| page(*s)).collect(),
                    p: page(place.p.index()),
                    q: place.q.and_then(|q| page(q.index())),
                };
                known.solve().unwrap_or_default()
            }
        };
        for (slot, logged) in logged {
            let Some(page) = logged else {
                return wrong("a page that is no page is in the log", format!("row {at}"));
            };
            let nth = data.iter().position(|d| d == slot);
            pages[nth.expect("a data strip")] = *page;
        }
        let mut out = vec![Page::zero(); self.here.len()];
        for (slot, page) in data.iter().zip(&pages) {
            out[*slot] = *page;
        }
        out[place.p.index()] = p_of(&pages);
        if let Some(q) = place.q {
            out[q.index()] = q_of(&pages);
        }
        Ok(out)
    }

    /// A row is given up of which too much cannot be read, and not only what the log has.
    fn lose<T>(
        &self,
        at: usize,
        has: &[bool],
        is_logged: impl Fn(usize) -> bool,
    ) -> Result<T, Down> {
        let gone = || (0..has.len()).filter(|slot| !has[*slot]);
        let there = gone().filter(|slot| self.here[*slot]).count();
        let parity = self.hw.geo.parity_disks() as usize;
        if there > 0 && gone().count() > parity && gone().any(|slot| !is_logged(slot)) {
            return Err(Down::Lost(at));
        }
        wrong("a row without parity is lost", format!("row {at}"))
    }

    /// False if there is no room.
    fn log_parity(
        &mut self,
        report: &mut ScanReport,
        tail: Position,
        row: DevSector,
        pages: &[Page],
        power: &Power,
    ) -> Result<bool, Down> {
        let place = self.hw.geo.placement(row);
        let slots: Vec<usize> = [Some(place.p), place.q]
            .into_iter()
            .flatten()
            .map(|s| s.index())
            .collect();
        let Some(longer) = report.extend(self.ring, tail, slots.len() as u64) else {
            return Ok(false);
        };
        let next = longer.next().get() as usize;
        put(&mut self.hw.journal, next, vec![Block::zero()], true, power)?;
        let wiped = longer.next_wiped();
        let unit = wiped.unit();
        let blocks: Vec<Block> = slots.iter().map(|s| block_of(&pages[*s])).collect();
        let mut sums = blocks.iter().map(|b| crc32c(SEED, &b[..]));
        let mut meta = [0; BLOCK_SIZE];
        let mut builder = MetaBuilder::new(&mut meta, unit.seq, unit.block);
        let (p, q) = (sums.next().unwrap_or(0), sums.next());
        builder.parity(row, p, q).expect("one entry fits");
        builder.finish(SEED, crc32c);
        for (nth, block) in std::iter::once(Rc::new(meta)).chain(blocks).enumerate() {
            let at = self.ring.add(unit.block, nth as u64).get() as usize;
            put(&mut self.hw.journal, at, vec![block], true, power)?;
        }
        wiped.unit_written(report);
        Ok(true)
    }
}

/// Writes pages; the power may go before, meanwhile or after.
fn put<P: Sectors>(
    disk: &mut Disk<P>,
    at: usize,
    pages: Vec<P>,
    fua: bool,
    power: &Power,
) -> Result<(), Down> {
    power.on().map_err(|()| Down::Cut)?;
    let id = disk.submit(at, pages, fua);
    power.on().map_err(|()| Down::Cut)?;
    disk.complete(id);
    Ok(())
}
