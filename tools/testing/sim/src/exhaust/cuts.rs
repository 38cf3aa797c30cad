// SPDX-License-Identifier: GPL-2.0

//! Everything that a power cut at one moment may leave, up to a bound.

use crate::block::{mix, Block, Page};
use crate::disk::{Disk, Sectors};
use crate::hardware::{Hardware, Superblock};

/// Sectors of a page that are new, of a write that is torn: the first half; all but the first.
const TEARS: [u8; 2] = [0x0f, 0xfe];

/// A page of some disk.
#[derive(Clone)]
enum Content {
    Block(Block),
    Page(Page),
}

/// A page that the power cut may change, and what it may hold afterwards.
struct Atom {
    /// Zero is the journal; the members follow.
    disk: usize,
    at: usize,
    /// What it may hold, with the change of the image's mark: what is safe, the versions that are not,
    /// oldest first, and then torn ones.
    options: Vec<(Content, u64)>,
    /// Options that are not torn.
    whole: usize,
}

/// For every page at risk, which option it holds.
pub(super) type Choice = Vec<u8>;

/// What a power cut may leave.
pub(super) struct Cut {
    /// With everything lost that can be.
    dry: Hardware,
    mark: u64,
    atoms: Vec<Atom>,
    /// What the superblock may be, with the change of the mark.
    superblocks: Vec<(Superblock, u64)>,
}

fn place(disk: usize, at: usize, mark: u64) -> u64 {
    mix(mix(disk as u64, at as u64), mark)
}

fn mark_of(sb: &Superblock) -> u64 {
    let bits = sb.in_sync.iter().fold(1, |all, s| all << 1 | u64::from(*s));
    let start = mix(mix(sb.tail, u64::from(sb.journal)), bits);
    let logs = sb.bad.iter().enumerate();
    let bad = logs.flat_map(|(slot, log)| log.iter().map(move |at| place(slot, *at, 0)));
    bad.fold(start, mix)
}

fn atoms_of<P: Sectors>(
    disk: &Disk<P>,
    nth: usize,
    wrap: impl Fn(P) -> Content,
    atoms: &mut Vec<Atom>,
) {
    for (at, versions) in disk.at_risk() {
        let old = &disk.platter()[at];
        let was = place(nth, at, old.mark());
        let mut options = vec![(wrap(old.clone()), 0)];
        let mut add = |page: P| {
            let change = was ^ place(nth, at, page.mark());
            options.push((wrap(page), change));
        };
        let newest = versions.last().cloned();
        let whole = versions.len() + 1;
        versions.into_iter().for_each(&mut add);
        for (mask, new) in TEARS.iter().zip(newest.iter().cycle()) {
            add(P::mix(old, new, *mask));
        }
        atoms.push(Atom {
            disk: nth,
            at,
            options,
            whole,
        });
    }
}

fn mark_disk<P: Sectors>(disk: &Disk<P>, nth: usize) -> u64 {
    let pages = disk.platter().iter().enumerate();
    pages.fold(0, |all, (at, page)| all ^ place(nth, at, page.mark()))
}

impl Cut {
    /// The power is cut now.
    pub(super) fn of(hw: &Hardware) -> Self {
        let mut atoms = Vec::new();
        atoms_of(&hw.journal, 0, Content::Block, &mut atoms);
        let mut mark = mark_disk(&hw.journal, 0);
        for (slot, member) in hw.members.iter().enumerate() {
            atoms_of(member, slot + 1, Content::Page, &mut atoms);
            mark ^= mark_disk(member, slot + 1);
        }
        let mut dry = hw.clone();
        dry.journal.lose_all();
        dry.members.iter_mut().for_each(Disk::lose_all);
        let mut superblocks = vec![dry.sb.clone()];
        if let Some(new) = dry.sb_writing.take() {
            // The newest is believed, but for the tail, which is in the journal device's own.
            let tail = dry.sb.tail;
            superblocks.push(Superblock {
                tail,
                ..new.clone()
            });
            // Each member's log is in its own.
            superblocks.push(Superblock {
                bad: dry.sb.bad.clone(),
                ..new.clone()
            });
            superblocks.push(new);
        }
        superblocks.dedup();
        let old = mark_of(&dry.sb);
        let change = |sb: Superblock| {
            let change = old ^ mark_of(&sb);
            (sb, change)
        };
        Self {
            mark: mark ^ old,
            atoms,
            superblocks: superblocks.into_iter().map(change).collect(),
            dry,
        }
    }

    /// The same for all moments at which the same may be left.
    pub(super) fn mark(&self) -> u64 {
        let options = self.atoms.iter().flat_map(|a| {
            let name = mix(a.disk as u64, a.at as u64);
            a.options.iter().map(move |o| mix(name, o.1))
        });
        let superblocks = self.superblocks.iter().map(|s| s.1);
        options.chain(superblocks).fold(self.mark, mix)
    }

    /// Pages at risk.
    pub(super) fn pages(&self) -> usize {
        self.atoms.len()
    }

    /// What the superblock may be.
    pub(super) fn superblocks(&self) -> usize {
        self.superblocks.len()
    }

    /// Which members the superblock calls good.
    pub(super) fn in_sync(&self, sb: usize) -> &[bool] {
        &self.superblocks[sb].0.in_sync
    }

    fn combinations(&self, free: impl Fn(&Atom) -> bool) -> u64 {
        let whole = self
            .atoms
            .iter()
            .filter(|a| free(a))
            .map(|a| a.whole as u64);
        whole.fold(1, u64::saturating_mul)
    }

    /// Adds `start` with every combination of whole pages of the `free` ones.
    fn combine(&self, start: Choice, free: impl Fn(&Atom) -> bool, out: &mut Vec<Choice>) {
        let mut choice = start;
        for (at, _) in self.atoms.iter().enumerate().filter(|a| free(a.1)) {
            choice[at] = 0;
        }
        loop {
            out.push(choice.clone());
            let mut over = true;
            for (at, atom) in self.atoms.iter().enumerate().filter(|a| free(a.1)) {
                choice[at] += 1;
                if usize::from(choice[at]) < atom.whole {
                    over = false;
                    break;
                }
                choice[at] = 0;
            }
            if over {
                return;
            }
        }
    }

    /// What may become of the pages: all combinations of whole pages if they are not more than `most`,
    /// or else a sample; then every page torn, with all others lost and with all others there. Also
    /// whether it is all combinations.
    pub(super) fn choices(&self, most: u64) -> (Vec<Choice>, bool) {
        let newest = |a: &Atom| (a.whole - 1) as u8;
        let none: Choice = vec![0; self.atoms.len()];
        let all: Choice = self.atoms.iter().map(newest).collect();
        let mut out = Vec::new();
        let whole = self.combinations(|_| true) <= most;
        if whole {
            self.combine(none.clone(), |_| true, &mut out);
        } else {
            for rest in [&none, &all] {
                // All of the journal's pages, or the members', if those are not too many; or one.
                for of_journal in [true, false] {
                    let free = |a: &Atom| (a.disk == 0) == of_journal;
                    if self.combinations(free) <= most {
                        self.combine(rest.clone(), free, &mut out);
                    }
                }
                for only in 0..self.atoms.len() {
                    let (disk, at) = (self.atoms[only].disk, self.atoms[only].at);
                    self.combine(rest.clone(), |a| (a.disk, a.at) == (disk, at), &mut out);
                }
            }
        }
        for rest in [&none, &all] {
            for (at, atom) in self.atoms.iter().enumerate() {
                for torn in atom.whole..atom.options.len() {
                    let mut choice = rest.clone();
                    choice[at] = torn as u8;
                    out.push(choice);
                }
            }
        }
        (out, whole)
    }

    /// The mark of an image.
    pub(super) fn mark_image(&self, sb: usize, choice: &Choice) -> u64 {
        let start = self.mark ^ self.superblocks[sb].1;
        let chosen = self.atoms.iter().zip(choice);
        chosen.fold(start, |all, (a, n)| all ^ a.options[usize::from(*n)].1)
    }

    /// The disks as they were left.
    pub(super) fn image(&self, sb: usize, choice: &Choice) -> Hardware {
        let mut hw = self.dry.clone();
        hw.sb.clone_from(&self.superblocks[sb].0);
        for (atom, n) in self.atoms.iter().zip(choice).filter(|c| *c.1 != 0) {
            match &atom.options[usize::from(*n)].0 {
                Content::Block(block) => hw.journal.put(atom.at, block.clone()),
                Content::Page(page) => hw.members[atom.disk - 1].put(atom.at, *page),
            }
        }
        hw
    }

    /// In words.
    pub(super) fn describe(&self, sb: usize, choice: &Choice) -> Vec<String> {
        let mut lines = Vec::new();
        if self.superblocks.len() > 1 {
            lines.push(format!("the superblock is {:?}", self.superblocks[sb].0));
        }
        for (atom, n) in self.atoms.iter().zip(choice) {
            let n = usize::from(*n);
            let what = if n == 0 {
                "is lost".to_owned()
            } else if n + 1 == atom.whole {
                "is there".to_owned()
            } else if n < atom.whole {
                format!("is there as it was {} writes ago", atom.whole - 1 - n)
            } else {
                format!("is torn, sectors {:#04x} are new", TEARS[n - atom.whole])
            };
            let disk = match atom.disk {
                0 => "journal block".to_owned(),
                slot => format!("member {} row", slot - 1),
            };
            lines.push(format!("{disk} {}: what was at risk {what}", atom.at));
        }
        lines
    }
}
