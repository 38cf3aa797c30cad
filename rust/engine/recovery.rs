// SPDX-License-Identifier: GPL-2.0

//! Starting a journal: what a crash left in it goes to the members.

use super::{
    array::{Array, JournalState},
    finish::Finisher,
    journal::{seed, Journal},
    journal_io::EmptyUnit,
    replay::{take_end, Replay},
    window::Window,
};
use crate::{
    journal::{
        format::{JournalBlock, BLOCK_SECTORS, BLOCK_SIZE},
        recovery::{
            scan, tail_check, EndKind, Entry, Journal as Log, Pending, ScanReport, Scratch, Sink,
            Source, TailState,
        },
        ring::Ring,
        tail::Flushed,
        unit::Position,
    },
    lib::{
        checksum::crc32c,
        page::Page,
        show::Show,
        trace::{trace, ReplayScanned},
    },
    md::{
        mddev::{Flag, Mddev, Recovery},
        rdev::{Rdev, RdevFlag},
    },
    raid::units::DevSector,
};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::Arc,
};

/// Members that a journal's meta block has room for a full row of.
const MAX_DISKS: u32 = 203;

impl Source for Window<'_> {
    type Error = Error;

    fn read(&mut self, block: JournalBlock, buf: &mut [u8; BLOCK_SIZE]) -> Result {
        self.block(block)?.read(buf);
        Ok(())
    }
}

/// Writes a recovered row's page to a member, and to what replaces it, if they are there. False if one
/// of them did not take it, which is noted.
pub(super) fn write_member(array: &Array, slot: usize, row: DevSector, page: &Page) -> bool {
    let mut taken = true;
    for member in array.members.both(slot).into_iter().flatten() {
        let ok = member.page_io(row.get(), page, true, false).is_ok();
        take_end(array, &member, row, ok, true);
        taken &= ok;
    }
    taken
}

impl Array {
    /// Recovery gives up what is `lost` of a row, by slots: more than parity makes up for. An error, so
    /// that the log is kept, if a member is missing, with which there may be more of it; or while nothing
    /// can be recorded.
    pub(super) fn give_up(&self, row: DevSector, lost: impl Fn(usize) -> bool) -> Result {
        let name = self.mddev.name();
        if self.mddev.ro() != 0 {
            pr_crit!("{}: the recovered row at member sector {} is lost in part, which cannot be recorded while the array is read-only\n", name, row.get());
            return Err(EROFS);
        }
        if self.members.any_missing() && self.mddev.ok_start_degraded() == 0 {
            pr_crit!("{}: too much of the recovered row at member sector {} is lost without the missing members; to start without it, set the parameter start_dirty_degraded of md_mod\n", name, row.get());
            return Err(EIO);
        }
        self.report_row(row, lost);
        Ok(())
    }
}

/// Rows with data in the log and no parity yet.
pub(super) struct Table {
    tree: RBTree<u64, KVec<Entry>>,
    rows: u64,
    /// Any row may be there.
    any: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            tree: RBTree::new(),
            rows: 0,
            any: false,
        }
    }

    /// Whether the row may be there.
    pub(super) fn may_have(&self, row: DevSector) -> bool {
        self.any || self.has(row)
    }

    /// Whether the row is there.
    pub(super) fn has(&self, row: DevSector) -> bool {
        self.tree.get(&row.get()).is_some()
    }
}

/// Writes nothing.
struct Nowhere;

impl Sink for Nowhere {
    type Error = Error;

    fn complete_row(&mut self, _: DevSector, _: &[Entry]) -> Result {
        Ok(())
    }
}

impl Pending for Table {
    type Error = Error;

    fn insert(&mut self, row: DevSector, entry: Entry) -> Result {
        if let Some(entries) = self.tree.get_mut(&row.get()) {
            match entries.iter_mut().find(|e| e.slot == entry.slot) {
                Some(old) => *old = entry,
                None => entries.push(entry, GFP_KERNEL)?,
            }
            return Ok(());
        }
        let mut entries = KVec::new();
        entries.push(entry, GFP_KERNEL)?;
        let node = RBTreeNode::new(row.get(), entries, GFP_KERNEL)?;
        self.tree.insert(node);
        self.rows = self.rows.wrapping_add(1);
        Ok(())
    }

    fn take(&mut self, row: DevSector, out: &mut [Entry]) -> Result<usize> {
        let Some(node) = self.tree.remove_node(&row.get()) else {
            return Ok(0);
        };
        let (_, entries) = node.to_key_value();
        self.rows = self.rows.wrapping_sub(1);
        out.get_mut(..entries.len())
            .ok_or(EINVAL)?
            .copy_from_slice(&entries);
        Ok(entries.len())
    }

    fn remove(&mut self, row: DevSector) -> Result<bool> {
        let was = self.tree.remove_node(&row.get()).is_some();
        if was {
            self.rows = self.rows.wrapping_sub(1);
        }
        Ok(was)
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn first(&self) -> Option<DevSector> {
        let (row, _) = self.tree.iter().next()?;
        Some(DevSector::new(*row))
    }
}

/// The ring on `rdev`, if it is large enough for rows of that many pages.
fn find_ring(mddev: &Mddev, rdev: &Rdev, pages: u32) -> Result<Ring> {
    let blocks = rdev.sectors() / BLOCK_SECTORS;
    let least = Ring::least_blocks(pages);
    Ring::new(blocks)
        .filter(|_| blocks >= least)
        .ok_or_else(|| {
            pr_err!(
                "{}: {}: a journal of {} KiB is too small for this array, which needs at least {} KiB\n",
                mddev.name(),
                rdev.name(),
                blocks.saturating_mul(4),
                least.saturating_mul(4)
            );
            EINVAL
        })
}

impl Array {
    /// Recovers the journal on `rdev` and takes it into use. With md's lock of
    /// the array held, and no I/O under way.
    pub(super) fn load_journal(this: &Arc<Self>, mddev: &Mddev, rdev: &Rdev) -> Result {
        if this.geo.raid_disks() > MAX_DISKS {
            pr_err!(
                "{}: a journal works with at most {} members\n",
                mddev.name(),
                MAX_DISKS
            );
            return Err(EINVAL);
        }
        let ring = find_ring(mddev, rdev, this.geo.raid_disks())?;
        let mut empty = EmptyUnit::new()?;
        // What an earlier journal left in the cache is not this one's.
        this.drain();
        let tail = this.find_tail(rdev, ring)?;
        let flushed = this.replay_journal(rdev, ring, tail)?;
        if mddev.sb_pending() && mddev.ro() == 0 {
            // What members did not take is recorded before the log forgets it.
            mddev.update_sb_locked();
        }
        let unit = flushed.unit();
        let written = empty.write(rdev, unit.block, unit.seq, seed(this));
        written.inspect_err(|_| {
            pr_err!(
                "{}: {}: cannot write to the journal\n",
                mddev.name(),
                rdev.name()
            );
        })?;
        let begun = flushed.unit_written(ring);
        rdev.set_journal_tail(begun.tail.block.sector());
        mddev.set_flag(Flag::HasJournal);
        mddev.want_sb_write(false);
        if mddev.ro() == 0 {
            mddev.update_sb_locked();
        }
        let journal = Journal::new(this, rdev, ring, (begun.tail, begun.head), empty)?;
        Self::start_journal(this, mddev, journal)?;
        if crate::starts_write_back() {
            // Refused, with a message, while members are missing.
            let _ = this.enter_write_back();
        }
        Ok(())
    }

    /// The log's tail, if there is a log.
    fn find_tail(&self, rdev: &Rdev, ring: Ring) -> Result<Position> {
        let Some(block) =
            JournalBlock::from_sector(rdev.journal_tail()).filter(|b| ring.contains(*b))
        else {
            pr_crit!(
                "{}: {}: the superblock says that the journal's tail is at sector {}, which is not in the journal\n",
                self.mddev.name(),
                rdev.name(),
                rdev.journal_tail()
            );
            return Err(EINVAL);
        };
        let mut buf = KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?;
        let page = Page::new()?;
        rdev.page_io(block.sector(), &page, false, false)?;
        page.read(&mut buf);
        match tail_check(&buf, block, seed(self), crc32c) {
            TailState::Valid { seq } => Ok(Position { block, seq }),
            TailState::Unusable(why) => {
                pr_crit!(
                    "{}: {}: the journal has no valid block at its tail, sector {}: {}\n",
                    self.mddev.name(),
                    rdev.name(),
                    block.sector(),
                    Show(why)
                );
                pr_crit!(
                    "{}: what was acknowledged and is only in the journal would be lost, so no new log is made; see \"A journal that cannot be read\" in the administrator's guide\n",
                    self.mddev.name()
                );
                Err(EINVAL)
            }
        }
    }

    /// Replays the log, if the array may start with it, and flushes the members.
    fn replay_journal(
        self: &Arc<Self>,
        rdev: &Rdev,
        ring: Ring,
        tail: Position,
    ) -> Result<Flushed> {
        let mut rows = Table::new();
        // After a crash without a power cut, what is read may be in the device's
        // cache only; no member may see it before it is stable.
        rdev.flush()?;
        let mut report = self.scan_journal(rdev, ring, tail, &mut rows)?;
        self.tell(rdev, &report);
        Finisher::new(self, rdev, ring, tail, seed(self))?.run(&mut report, &mut rows)?;
        let replayed = report.begin().ok_or(EINVAL)?;
        if !self.flush_members() {
            return Err(EIO);
        }
        Ok(replayed.members_flushed())
    }

    /// Scans the log; complete rows go to the members, data-only rows to `rows`.
    fn scan_journal(
        self: &Arc<Self>,
        rdev: &Rdev,
        ring: Ring,
        tail: Position,
        rows: &mut Table,
    ) -> Result<ScanReport> {
        let mut open = Table::new();
        // What came to be a bad block after the log's beginning is to be told from what the log mends.
        if self.members.any_badblock() {
            let known = self.scan_into(rdev, ring, tail, &mut open, &mut Nowhere);
            // What comes before something that cannot be read is replayed all the same.
            open.any = known.is_err();
        }
        let unknown = open.any;
        let replayed = Replay::new(self, rdev, ring, open).and_then(|mut replay| {
            let report = self.scan_into(rdev, ring, tail, rows, &mut replay);
            // Also if there is something that cannot be read: it may never be.
            let written = replay.flush();
            report.and_then(|report| written.map(|()| report))
        });
        // The log is kept, too, if it could be read now: parity was not believed that may be needed.
        let replayed = match unknown {
            true => replayed.and(Err(EIO)),
            false => replayed,
        };
        replayed.inspect_err(|_| {
            pr_crit!(
                "{}: {}: recovery of the journal failed; nothing in it is lost: stop the array, and assemble it again when the device works\n",
                self.mddev.name(),
                rdev.name()
            );
        })
    }

    /// Scans the log; complete rows go to `sink`, data-only rows to `rows`.
    fn scan_into(
        &self,
        rdev: &Rdev,
        ring: Ring,
        tail: Position,
        rows: &mut Table,
        sink: &mut impl Sink,
    ) -> Result<ScanReport> {
        let mut meta = KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?;
        let mut page = KBox::new([0u8; BLOCK_SIZE], GFP_KERNEL)?;
        let mut entries = KVec::from_elem(Entry::NONE, self.members.len(), GFP_KERNEL)?;
        let log = Log {
            geometry: self.geo,
            dev_sectors: self.mddev.dev_sectors(),
            ring,
            tail,
            seed: seed(self),
        };
        let mut window = Window::new(rdev, ring)?;
        let scratch = Scratch {
            meta: &mut meta,
            page: &mut page,
            entries: &mut entries,
        };
        scan(&log, &mut window, sink, rows, scratch, crc32c).map_err(|_| EIO)
    }

    /// Says what was found.
    fn tell(&self, rdev: &Rdev, report: &ScanReport) {
        trace(|| ReplayScanned {
            dev: self.mddev.dev(),
            report: *report,
        });
        pr_info!(
            "{}: {}: journal recovery: {}\n",
            self.mddev.name(),
            rdev.name(),
            Show(report)
        );
        if matches!(report.end_reason.kind(), EndKind::Corrupt) {
            pr_warn!(
                "{}: {}: the journal's last unit was written but makes no sense; what came before it was replayed\n",
                self.mddev.name(),
                rdev.name()
            );
        }
    }

    /// Starts the journal of an array that has one.
    pub(super) fn start_with_journal(this: &Arc<Self>, mddev: &Mddev) -> Result {
        let Some(rdev) = mddev
            .rdevs()
            .find(|r| r.flag(RdevFlag::Journal) && !r.flag(RdevFlag::Faulty))
        else {
            return Ok(());
        };
        // md does not look at the result of `start`: what must not be written
        // has to be made so here. The superblock keeps its tail.
        Self::load_journal(this, mddev, rdev).inspect_err(|_| {
            pr_crit!(
                "{}: the journal is not in use, so the array is read-only and may show old data\n",
                mddev.name()
            );
            mddev.force_read_only();
        })
    }

    /// Has the array go on without the journal that was lost, and was taken out: from now on a resync
    /// makes parity right after a crash. `EINVAL` if none was lost; `EBUSY` if it is still there.
    pub(super) fn forget_journal(&self, mddev: &Mddev) -> Result {
        if self.journal_state() != JournalState::Lost {
            pr_err!(
                "{}: the consistency policy can be changed only when the journal is lost\n",
                mddev.name()
            );
            return Err(EINVAL);
        }
        if mddev.has_journal_device() || !self.is_written_out() || self.has_stuck() {
            pr_err!(
                "{}: the journal, or what was in it, is still there: remove it first (mdadm --remove)\n",
                mddev.name()
            );
            return Err(EBUSY);
        }
        // The superblock of a dirty array would else say that it needs no resync.
        mddev.clear_flag(Flag::JournalClean);
        mddev.clear_flag(Flag::HasJournal);
        self.set_journal_state(JournalState::None);
        if !mddev.recovery(Recovery::Running) {
            // Rows may have been half-written when the journal was lost.
            mddev.set_resync_offset(0);
            mddev.set_recovery(Recovery::Needed);
        }
        mddev.update_sb_locked();
        pr_info!(
            "{}: the array has no journal any more; a resync makes parity right\n",
            mddev.name()
        );
        Ok(())
    }

    /// Takes the journal on `rdev` out of use.
    pub(super) fn remove_journal(&self, rdev: &Rdev) -> Result {
        let Some(journal) = self.journal().filter(|j| j.is_on(rdev)) else {
            return Ok(());
        };
        if !journal.is_removable() {
            return Err(EBUSY);
        }
        // What is acknowledged and not stuck is in their caches at most. A member that cannot is
        // failed; flushes that come later wait until that is recorded.
        self.flush_members();
        journal.detach(rdev)?;
        drop(journal);
        self.set_journal_state(JournalState::Lost);
        self.stop_journal();
        Ok(())
    }
}
