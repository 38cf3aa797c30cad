// SPDX-License-Identifier: GPL-2.0

//! The exhaustive driver finds what it should, and nothing else.

use raid5c_sim::{exhaust, Bug, Scope};

/// Every mistake that the shell can make on purpose breaks a promise, and the story ends with it.
#[test]
fn every_bug_is_found() {
    // Users do not read here, recovery is not cut, disks keep no power, the journal does not fail, no
    // write has a flush before it, and what hangs has no story that ends with a power cut; the small
    // scope has no dead rows, and memory for all.
    let not_here = [
        "stale-read",
        "bare-finish",
        "new-view",
        "trusted-cache",
        "undrained-flush",
        "dry-flush",
        "unrecorded-flush",
        "early-preflush",
        "idle-flush",
        "unrecorded-row",
        "forgotten-row",
        "late-record",
        "hasty-loss",
        "believed-parity",
        "mended-parity",
        "late-parts",
        "early-free",
        "lost-left",
        "no-reserve",
    ];
    for name in Bug::names().filter(|n| !not_here.contains(n)) {
        let scope = Scope {
            bug: Some(name.parse().unwrap()),
            threads: 1,
            ..Scope::small()
        };
        let (counts, wrong) = exhaust(&scope, |_| {});
        let wrong = wrong.unwrap_or_else(|| panic!("{name} was not found"));
        println!(
            "{name}: after {} workloads and {} recoveries: {}: {}",
            counts.workloads, counts.recoveries, wrong.kind, wrong.text
        );
        let told = |what: &str| wrong.story.iter().any(|line| line.contains(what));
        assert!(told("THE POWER IS CUT"));
        let last = wrong.story.last().unwrap();
        assert!(last.ends_with(&format!("WRONG: {}: {}", wrong.kind, wrong.text)));
        assert!(wrong.story.len() < 300);
    }
}

/// No violation, and the numbers are those of the scope, however many threads there are.
#[test]
fn sound_code_passes_a_small_scope() {
    let (counts, wrong) = exhaust(&Scope::small(), |line| println!("{line}"));
    for (name, n) in counts.list() {
        println!("{name:20} {n:12}");
    }
    assert!(wrong.is_none(), "{wrong:#?}");
    // Five arrays; of one write 10, of two 6 * 6.
    assert_eq!(counts.workloads, 5 * (10 + 6 * 6));
    // A way in each of the four orders for each time that the last write may come, at least.
    assert!(counts.courses > 5 * (10 * 4 + 36 * 4 * 2));
    assert!(counts.degraded > counts.recoveries / 2);

    let mut one = Scope::small();
    one.tiers.truncate(1);
    let again = Scope {
        threads: 1,
        ..one.clone()
    };
    let (two, one) = (exhaust(&one, |_| {}).0, exhaust(&again, |_| {}).0);
    assert_eq!(one.list(), two.list());
}
