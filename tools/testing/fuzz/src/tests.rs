// SPDX-License-Identifier: GPL-2.0

//! The targets without a fuzzer; and whether they would notice.

use crate::disk::{Checked, Disk};
use crate::journal::format::JournalBlock;
use crate::journal::recovery::{EndKind, Source};
use crate::seeds::seeds;
use crate::shell::recover;

/// Numbers that look random, always the same (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn play(target: fn(&[u8]), runs: u64, max_len: u64) {
    let mut state = 1;
    for _ in 0..runs {
        let len = random(&mut state) % max_len;
        let few = random(&mut state) % 2 == 0;
        let bytes: Vec<u8> = (0..len)
            .map(|_| random(&mut state) as u8)
            .map(|byte| if few { byte & 0x13 } else { byte })
            .collect();
        target(&bytes);
    }
}

#[test]
fn random_bytes() {
    play(crate::scan, 5000, 2000);
    play(crate::scan_real, 2000, 100);
    play(crate::payload, 5000, 5000);
    play(crate::sysfs, 20_000, 24);
    play(crate::sysfs, 100, 5000);
}

/// What both modules wrote before the power went is all there.
#[test]
fn real_journals_are_read_to_their_end() {
    for (nth, seed) in seeds().iter().enumerate() {
        let disk = Disk::new(seed.blocks, Some(&seed.base));
        let (report, effects) = recover(&seed.sb, &disk).expect("a tail that is refused");
        println!("{}: {report}", seed.name);
        // The last unit that was kept may have been cut, by `harvest` or by the power.
        let units = seed.units.len() as u64;
        assert!(report.units >= units - 1 && units > 3, "{}", seed.name);
        assert_ne!(report.end_reason.kind(), EndKind::Corrupt, "{}", seed.name);
        assert!(effects.replayed.len() + effects.pending.len() > 10);
        let back = seed.name.contains("write-back");
        assert_eq!(report.data_only_rows > 0, back, "{}", seed.name);
        crate::scan_real(&[nth as u8, 0]);
    }
    let flushed = |seed: &&crate::seeds::Seed| {
        let disk = Disk::new(seed.blocks, Some(&seed.base));
        recover(&seed.sb, &disk).is_some_and(|(report, _)| report.dropped_by_flush > 0)
    };
    println!("{} with flushes", seeds().iter().filter(flushed).count());
}

#[test]
#[should_panic(expected = "read of block 16 of 16")]
fn a_read_outside_is_seen() {
    let disk = Disk::new(16, None);
    let mut page = [0; 4096];
    let _ = (&Checked::new(&disk)).read(JournalBlock::new(16), &mut page);
}

#[test]
#[should_panic(expected = "it reads on and on")]
fn an_endless_loop_is_seen() {
    let disk = Disk::new(16, None);
    let source = Checked::new(&disk);
    let mut page = [0; 4096];
    for nth in 0.. {
        let _ = (&source).read(JournalBlock::new(nth % 16), &mut page);
    }
}
