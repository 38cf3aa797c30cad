// SPDX-License-Identifier: GPL-2.0

//! What survives a power cut, more or less: the disks and the superblock on them.

use crate::badblocks::RowSet;
use crate::block::{crc32c, Block, Page, SEED};
use crate::disk::{Disk, Sectors};
use crate::gf::{p_of, q_of, Row};
use crate::journal::format::{JournalBlock, MetaBuilder, BLOCK_SIZE};
use crate::model::{Eyes, Model};
use crate::raid::geometry::Geometry;
use crate::raid::units::{DevSector, Slot};
use crate::setup::Setup;
use crate::story::{Fault, Story};
use crate::tape::Tape;
use std::rc::Rc;

/// What md's superblocks say, taken as one that is written at once or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    /// The journal's tail, as a block.
    pub(crate) tail: u64,
    /// Members that have all data.
    pub(crate) in_sync: Vec<bool>,
    /// The journal works.
    pub(crate) journal: bool,
    /// The bad-block logs of the members, each of which is in its own.
    pub(crate) bad: Vec<RowSet>,
}

/// What is cached of a member's row.
pub(crate) type Cached<'a> = &'a dyn Fn(usize) -> Option<Page>;

/// The disks.
#[derive(Clone)]
pub(crate) struct Hardware {
    pub(crate) geo: Geometry,
    pub(crate) journal: Disk<Block>,
    pub(crate) members: Vec<Disk<Page>>,
    pub(crate) sb: Superblock,
    /// The superblock that is being written.
    pub(crate) sb_writing: Option<Superblock>,
    /// What a flush of each member covers that comes before its own, if the logs change.
    pub(crate) sb_stamps: Vec<u64>,
    /// Rows of members that can be neither read nor written.
    pub(crate) dead: Vec<RowSet>,
}

impl Hardware {
    /// A clean array that holds what the model says.
    pub(crate) fn new(c: &Setup, geo: Geometry, model: &Model) -> Self {
        let rows = c.stripes * c.rows as usize;
        let mut members: Vec<Vec<Page>> = vec![vec![[0; 8]; rows]; c.disks as usize];
        for row in 0..rows {
            for (slot, member) in members.iter_mut().enumerate() {
                for (k, sector) in member[row].iter_mut().enumerate() {
                    let dev = DevSector::new((row * 8 + k) as u64);
                    if let Some(at) = geo.unmap(dev, Slot::new(slot as u16)) {
                        *sector = model.first(at.get());
                    }
                }
            }
            let place = geo.placement(DevSector::new(row as u64 * 8));
            let data: Vec<Page> = (0..members.len())
                .filter(|s| !place.is_parity(Slot::new(*s as u16)))
                .map(|s| members[s][row])
                .collect();
            members[place.p.index()][row] = p_of(&data);
            if let Some(q) = place.q {
                members[q.index()][row] = q_of(&data);
            }
        }
        let mut journal = vec![Block::zero(); c.blocks as usize];
        journal[c.tail as usize] = empty_unit(1, c.tail);
        Self {
            geo,
            journal: Disk::new(journal, c.cache != crate::journal::log::JournalCache::None),
            members: members
                .into_iter()
                .map(|m| Disk::new(m, c.volatile))
                .collect(),
            sb: Superblock {
                tail: c.tail,
                in_sync: vec![true; c.disks as usize],
                journal: true,
                bad: vec![RowSet::new(); c.disks as usize],
            },
            sb_writing: None,
            sb_stamps: Vec::new(),
            dead: vec![RowSet::new(); c.disks as usize],
        }
    }

    /// The power is cut.
    pub(crate) fn power_cut(&mut self, tape: &mut Tape, story: &mut Story) {
        self.cut(tape, story, Disk::power_cut, Disk::power_cut);
    }

    /// The machine stops, and the disks keep their power.
    pub(crate) fn stop(&mut self, tape: &mut Tape, story: &mut Story) {
        self.cut(tape, story, Disk::stop, Disk::stop);
    }

    fn cut(
        &mut self,
        tape: &mut Tape,
        story: &mut Story,
        block: impl Fn(&mut Disk<Block>, &mut Tape) -> String,
        page: impl Fn(&mut Disk<Page>, &mut Tape) -> String,
    ) {
        if let Some(new) = self.sb_writing.take() {
            let (old, logs) = (self.sb.clone(), new.bad.clone());
            match tape.below(4) {
                0 | 1 => story.tell(|| "  the superblock on its way is lost".to_owned()),
                2 => {
                    story.tell(|| format!("  the superblock on its way is there: {new:?}"));
                    self.sb = new;
                }
                _ => {
                    // The tail is in the journal device's own superblock. If that is the newest it
                    // is believed about the members too, but not the other way round.
                    story.tell(|| {
                        format!("  but for the tail the superblock on its way is there: {new:?}")
                    });
                    let tail = self.sb.tail;
                    self.sb = Superblock { tail, ..new };
                }
            }
            self.cut_logs((&old, &logs), tape, story);
        }
        let what = block(&mut self.journal, tape);
        story.tell(|| format!("  journal: {what}"));
        for (slot, member) in self.members.iter_mut().enumerate() {
            let what = page(member, tape);
            story.tell(|| format!("  member {slot}: {what}"));
        }
    }

    /// The row's pages, as far as members in `good` have them; data in the order of the slots.
    fn row(&self, row: usize, good: &[bool]) -> Row {
        let place = self.geo.placement(DevSector::new(row as u64 * 8));
        let page = |slot: usize| good[slot].then(|| *self.members[slot].read(row));
        Row {
            data: (0..self.members.len())
                .filter(|s| !place.is_parity(Slot::new(*s as u16)))
                .map(page)
                .collect(),
            p: page(place.p.index()),
            q: place.q.and_then(|q| page(q.index())),
        }
    }

    /// The row's data with the slots that they belong to, computed where members are lost; and
    /// whether parity is right.
    pub(crate) fn data(&self, row: usize, good: &[bool]) -> Option<(Vec<(usize, Page)>, bool)> {
        let known = self.row(row, good);
        let data = known.solve()?;
        let mut right = known.p.is_none_or(|p| p == p_of(&data));
        right &= known.q.is_none_or(|q| q == q_of(&data));
        let place = self.geo.placement(DevSector::new(row as u64 * 8));
        let slots = (0..self.members.len()).filter(|s| !place.is_parity(Slot::new(*s as u16)));
        Some((slots.zip(data).collect(), right))
    }

    /// Judges a row that nothing is done to: its parity, and every sector of its data, also those of
    /// lost members, as `eyes` see it. Gives each sector to `settle`. Where something is cached
    /// that is newer, data is that. Of a row of which too much is dead or in the `log`s, only what the
    /// other members have.
    pub(crate) fn judge_row(
        &self,
        row: usize,
        (here, log, cached): (&[bool], &[RowSet], Cached<'_>),
        model: &Model,
        (now, eyes): (u64, Eyes),
        mut settle: impl FnMut(u64, u64),
    ) -> Result<(), Fault> {
        let good = &self.having(row, here, log);
        let gone = |all: &[bool]| all.iter().filter(|g| !**g).count();
        let parity = self.geo.parity_disks() as usize;
        if gone(here) <= parity && gone(good) > parity {
            return self.judge_data(row, (good, cached), model, (now, eyes), settle);
        }
        let Some((data, right)) = self.data(row, good) else {
            return Err(Fault {
                kind: "too many members lost",
                text: format!("row {row}"),
            });
        };
        for (slot, page) in data {
            let page = cached(slot).unwrap_or(page);
            let how = if good[slot] {
                ""
            } else {
                ", computed from the others"
            };
            self.judge_page(row, slot, (&page, how), model, (now, eyes), &mut settle)?;
        }
        if right {
            return Ok(());
        }
        Err(Fault {
            kind: "parity does not agree with data",
            text: format!("row {row}"),
        })
    }

    /// Judges a row's data on the members that are `here`, and no more.
    pub(crate) fn judge_data(
        &self,
        row: usize,
        (here, cached): (&[bool], Cached<'_>),
        model: &Model,
        judged: (u64, Eyes),
        mut settle: impl FnMut(u64, u64),
    ) -> Result<(), Fault> {
        let place = self.geo.placement(DevSector::new(row as u64 * 8));
        for slot in 0..self.members.len() {
            let page = cached(slot).or_else(|| here[slot].then(|| *self.members[slot].read(row)));
            let data = page.filter(|_| !place.is_parity(Slot::new(slot as u16)));
            if let Some(page) = data {
                self.judge_page(row, slot, (&page, ""), model, judged, &mut settle)?;
            }
        }
        Ok(())
    }

    /// Judges every sector of a page of data.
    fn judge_page(
        &self,
        row: usize,
        slot: usize,
        (page, how): (&Page, &str),
        model: &Model,
        (now, eyes): (u64, Eyes),
        settle: &mut impl FnMut(u64, u64),
    ) -> Result<(), Fault> {
        for (k, value) in page.iter().enumerate() {
            let dev = DevSector::new((row * 8 + k) as u64);
            let Some(at) = self.geo.unmap(dev, Slot::new(slot as u16)) else {
                continue;
            };
            model
                .explain(at.get(), *value, now, eyes)
                .map_err(|why| Fault {
                    kind: "data is lost or wrong",
                    text: format!("{why}; member {slot}, row {row}{how}"),
                })?;
            settle(at.get(), *value);
        }
        Ok(())
    }
}

/// The block of a unit without entries.
pub(crate) fn empty_unit(seq: u64, at: u64) -> Block {
    let mut meta = [0; BLOCK_SIZE];
    MetaBuilder::new(&mut meta, seq, JournalBlock::new(at)).finish(SEED, crc32c);
    Rc::new(meta)
}
