// SPDX-License-Identifier: GPL-2.0

use super::*;

fn b(block: u64) -> JournalBlock {
    JournalBlock::new(block)
}

#[test]
fn sizes() {
    assert_eq!(Ring::new(3), None);
    assert!(Ring::new(4).is_some());
    assert_eq!(Ring::new(u64::MAX), None);
    assert_eq!(Ring::new(40).map(|r| r.reclaim_threshold()), Some(10));
    let tib = Ring::new(1 << 28).unwrap();
    assert_eq!(tib.reclaim_threshold() * 4096, 10 << 30);
}

#[test]
fn the_least_ring_has_room_for_a_row_in_a_unit() {
    for pages in 2..=203 {
        let least = Ring::least_blocks(pages);
        let room = |blocks| Ring::new(blocks).unwrap().max_unit_blocks();
        assert_eq!(room(least), u64::from(pages) + 1);
        assert!(room(least - 1) <= u64::from(pages));
    }
}

#[test]
fn agrees_with_counting() {
    for blocks in 4..20 {
        let ring = Ring::new(blocks).unwrap();
        for from in 0..blocks {
            let mut at = from;
            for n in 0..=blocks {
                assert_eq!(ring.add(b(from), n), b(at));
                if n < blocks {
                    assert_eq!(ring.distance(b(from), b(at)), n);
                    assert_eq!(ring.free(b(at), b(from)), blocks - 1 - n);
                }
                let pieces = ring.extents(b(from), n);
                let mut listed: Vec<u64> = Vec::new();
                for (start, len) in core::iter::once(pieces.first).chain(pieces.second) {
                    assert!(start.get() + len <= blocks);
                    listed.extend(start.get()..start.get() + len);
                }
                let counted: Vec<u64> = (0..n).map(|i| (from + i) % blocks).collect();
                assert_eq!(listed, counted);
                at = if at + 1 == blocks { 0 } else { at + 1 };
            }
        }
    }
}

#[test]
fn the_largest_ring_does_not_overflow() {
    let blocks = u64::MAX / 8;
    let ring = Ring::new(blocks).unwrap();
    assert_eq!(ring.add(b(blocks - 1), blocks - 1), b(blocks - 2));
    assert_eq!(ring.distance(b(blocks - 1), b(blocks - 2)), blocks - 1);
    assert_eq!(ring.add(b(u64::MAX), u64::MAX), b((u64::MAX % blocks) * 2));
}
