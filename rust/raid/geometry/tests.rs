// SPDX-License-Identifier: GPL-2.0

//! The layouts against tables written out by hand for five members, and properties for all sizes.

use super::*;

/// Five chunk rows of five members; numbers are the array's chunks.
type Table = [&'static str; 5];

/// From the diagrams of md(4), mdadm's `--layout` and the DDF specification.
const RAID5: [(i32, Table); 6] = [
    (
        0,
        [
            " 0  1  2  3  P",
            " 4  5  6  P  7",
            " 8  9  P 10 11",
            "12  P 13 14 15",
            " P 16 17 18 19",
        ],
    ),
    (
        1,
        [
            " P  0  1  2  3",
            " 4  P  5  6  7",
            " 8  9  P 10 11",
            "12 13 14  P 15",
            "16 17 18 19  P",
        ],
    ),
    (
        2,
        [
            " 0  1  2  3  P",
            " 5  6  7  P  4",
            "10 11  P  8  9",
            "15  P 12 13 14",
            " P 16 17 18 19",
        ],
    ),
    (
        3,
        [
            " P  0  1  2  3",
            " 7  P  4  5  6",
            "10 11  P  8  9",
            "13 14 15  P 12",
            "16 17 18 19  P",
        ],
    ),
    (
        4,
        [
            " P  0  1  2  3",
            " P  4  5  6  7",
            " P  8  9 10 11",
            " P 12 13 14 15",
            " P 16 17 18 19",
        ],
    ),
    (
        5,
        [
            " 0  1  2  3  P",
            " 4  5  6  7  P",
            " 8  9 10 11  P",
            "12 13 14 15  P",
            "16 17 18 19  P",
        ],
    ),
];

const RAID6: [(i32, Table); 14] = [
    (
        0,
        [
            " Q  0  1  2  P",
            " 3  4  5  P  Q",
            " 6  7  P  Q  8",
            " 9  P  Q 10 11",
            " P  Q 12 13 14",
        ],
    ),
    (
        1,
        [
            " P  Q  0  1  2",
            " 3  P  Q  4  5",
            " 6  7  P  Q  8",
            " 9 10 11  P  Q",
            " Q 12 13 14  P",
        ],
    ),
    (
        2,
        [
            " Q  0  1  2  P",
            " 3  4  5  P  Q",
            " 7  8  P  Q  6",
            "11  P  Q  9 10",
            " P  Q 12 13 14",
        ],
    ),
    (
        3,
        [
            " P  Q  0  1  2",
            " 5  P  Q  3  4",
            " 7  8  P  Q  6",
            " 9 10 11  P  Q",
            " Q 12 13 14  P",
        ],
    ),
    (
        4,
        [
            " P  Q  0  1  2",
            " P  Q  3  4  5",
            " P  Q  6  7  8",
            " P  Q  9 10 11",
            " P  Q 12 13 14",
        ],
    ),
    (
        5,
        [
            " 0  1  2  P  Q",
            " 3  4  5  P  Q",
            " 6  7  8  P  Q",
            " 9 10 11  P  Q",
            "12 13 14  P  Q",
        ],
    ),
    (
        8,
        [
            " P  Q  0  1  2",
            " 3  P  Q  4  5",
            " 6  7  P  Q  8",
            " 9 10 11  P  Q",
            " Q 12 13 14  P",
        ],
    ),
    (
        9,
        [
            " 0  1  2  P  Q",
            " 3  4  P  Q  5",
            " 6  P  Q  7  8",
            " P  Q  9 10 11",
            " Q 12 13 14  P",
        ],
    ),
    (
        10,
        [
            " 0  1  2  Q  P",
            " 4  5  Q  P  3",
            " 8  Q  P  6  7",
            " Q  P  9 10 11",
            " P 12 13 14  Q",
        ],
    ),
    (
        16,
        [
            " 0  1  2  P  Q",
            " 3  4  P  5  Q",
            " 6  P  7  8  Q",
            " P  9 10 11  Q",
            "12 13 14  P  Q",
        ],
    ),
    (
        17,
        [
            " P  0  1  2  Q",
            " 3  P  4  5  Q",
            " 6  7  P  8  Q",
            " 9 10 11  P  Q",
            " P 12 13 14  Q",
        ],
    ),
    (
        18,
        [
            " 0  1  2  P  Q",
            " 4  5  P  3  Q",
            " 8  P  6  7  Q",
            " P  9 10 11  Q",
            "12 13 14  P  Q",
        ],
    ),
    (
        19,
        [
            " P  0  1  2  Q",
            " 5  P  3  4  Q",
            " 7  8  P  6  Q",
            " 9 10 11  P  Q",
            " P 12 13 14  Q",
        ],
    ),
    (
        20,
        [
            " P  0  1  2  Q",
            " P  3  4  5  Q",
            " P  6  7  8  Q",
            " P  9 10 11  Q",
            " P 12 13 14  Q",
        ],
    ),
];

const CHUNK: u32 = 128;

fn slot(index: usize) -> Slot {
    Slot::new(u16::try_from(index).unwrap())
}

fn check_table(level: i32, layout: i32, table: &Table) {
    let geometry = Geometry::new(level, layout, 5, CHUNK).unwrap();
    let data_disks = geometry.data_disks();
    for (row, line) in table.iter().enumerate() {
        let row = row as u64;
        // Also far away: 20 rows are a whole number of turns, of 4 members and of 5.
        for lap in [0, 20, 20_000_000_000] {
            let dev = DevSector::new((row + lap) * u64::from(CHUNK) + 17);
            let place = geometry.placement(dev);
            assert_eq!(place.q.is_some(), level == 6);
            for (member, cell) in line.split_whitespace().enumerate() {
                let member = slot(member);
                let what = format!("level {level} layout {layout} row {row} member {member}");
                match cell {
                    "P" => assert_eq!(place.p, member, "{what}"),
                    "Q" => assert_eq!(place.q, Some(member), "{what}"),
                    number => {
                        let chunk = number.parse::<u64>().unwrap() + lap * u64::from(data_disks);
                        let sector = ArraySector::new(chunk * u64::from(CHUNK) + 17);
                        assert_eq!(geometry.map(sector), (dev, member), "{what}");
                        assert_eq!(geometry.unmap(dev, member), Some(sector), "{what}");
                        let index = u32::try_from(chunk % u64::from(data_disks)).unwrap();
                        assert_eq!(geometry.data_index(dev, member), Some(index), "{what}");
                        assert_eq!(geometry.data_slot(dev, index), member, "{what}");
                        continue;
                    }
                }
                assert_eq!(geometry.unmap(dev, member), None, "{what}");
                assert_eq!(geometry.data_index(dev, member), None, "{what}");
            }
        }
    }
}

#[test]
fn layouts_are_as_drawn() {
    for (layout, table) in &RAID5 {
        check_table(5, *layout, table);
    }
    for (layout, table) in &RAID6 {
        check_table(6, *layout, table);
    }
    // Level 4 is parity-last, whatever its layout says.
    for layout in [-1, 0, 2, 5, 99] {
        check_table(4, layout, &RAID5[5].1);
    }
}

/// All geometries that the tests below look at.
fn geometries() -> impl Iterator<Item = Geometry> {
    let raid5 = (0..=5).map(|layout| (5, layout));
    let raid6 = [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20].map(|layout| (6, layout));
    core::iter::once((4, 0))
        .chain(raid5)
        .chain(raid6)
        .flat_map(|(level, layout)| {
            let least = if level == 6 { 4 } else { 2 };
            (least..=16).flat_map(move |disks| {
                // 4 KiB to 1 MiB.
                (3..=11).map(move |shift| Geometry::new(level, layout, disks, 1 << shift).unwrap())
            })
        })
}

#[test]
fn map_and_unmap_are_inverse() {
    for geometry in geometries() {
        let chunk = u64::from(geometry.chunk_sectors());
        let n = u64::from(geometry.raid_disks()) * u64::from(geometry.data_disks()) * 2;
        for number in (0..n).chain((1 << 40)..(1 << 40) + n) {
            for offset in [0, 1, chunk - 1] {
                let sector = ArraySector::new(number * chunk + offset);
                let (dev, slot) = geometry.map(sector);
                assert_eq!(dev.get() % chunk, offset);
                assert_eq!(dev.get() / chunk, number / u64::from(geometry.data_disks()));
                assert!(u32::from(slot.get()) < geometry.raid_disks());
                assert!(!geometry.placement(dev).is_parity(slot));
                assert_eq!(geometry.unmap(dev, slot), Some(sector), "{geometry:?}");
            }
        }
    }
}

#[test]
fn every_member_of_a_row_has_one_role() {
    for geometry in geometries() {
        let chunk = u64::from(geometry.chunk_sectors());
        for row in 0..u64::from(geometry.raid_disks()) * 2 {
            let dev = DevSector::new(row * chunk);
            let place = geometry.placement(dev);
            let mut roles = vec![0; geometry.raid_disks() as usize];
            roles[place.p.index()] += 1;
            if let Some(q) = place.q {
                roles[q.index()] += 1;
            }
            for index in 0..geometry.data_disks() {
                let slot = geometry.data_slot(dev, index);
                assert_eq!(geometry.data_index(dev, slot), Some(index));
                roles[slot.index()] += 1;
            }
            assert!(roles.iter().all(|&count| count == 1), "{geometry:?}");
            let beyond = slot(geometry.raid_disks() as usize);
            assert_eq!(geometry.data_index(dev, beyond), None);
            assert_eq!(geometry.unmap(dev, beyond), None);
        }
    }
}

/// The walk that `raid6_d0()` and `raid6_idx_to_slot()` describe, from the drawn table.
#[test]
fn syndrome_order_is_the_walk_around_q() {
    for (layout, table) in &RAID6 {
        let geometry = Geometry::new(6, *layout, 5, CHUNK).unwrap();
        let ddf = (8..=10).contains(layout);
        assert_eq!(geometry.syndrome_disks(), if ddf { 5 } else { 3 });
        for (row, line) in table.iter().enumerate() {
            let dev = DevSector::new(row as u64 * u64::from(CHUNK));
            let cells: Vec<&str> = line.split_whitespace().collect();
            let is_data = |member: &usize| cells[*member] != "P" && cells[*member] != "Q";
            let expected: Vec<(u16, Slot)> = if ddf {
                (0..5)
                    .filter(is_data)
                    .map(|member| (member as u16, slot(member)))
                    .collect()
            } else {
                let q = cells.iter().position(|cell| *cell == "Q").unwrap();
                (q + 1..q + 6)
                    .map(|member| member % 5)
                    .filter(is_data)
                    .enumerate()
                    .map(|(position, member)| (position as u16, slot(member)))
                    .collect()
            };
            let order: Vec<_> = geometry.syndrome_order(dev).collect();
            assert_eq!(order, expected, "layout {layout} row {row}");
        }
    }
}

#[test]
fn syndrome_order_for_all_sizes() {
    for geometry in geometries() {
        for row in 0..u64::from(geometry.raid_disks()) {
            let dev = DevSector::new(row * u64::from(geometry.chunk_sectors()));
            let order: Vec<_> = geometry.syndrome_order(dev).collect();
            assert_eq!(order.len(), geometry.data_disks() as usize);
            assert!(order.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (position, slot) in order {
                assert!(u32::from(position) < geometry.syndrome_disks());
                assert!(geometry.data_index(dev, slot).is_some());
            }
        }
    }
}

/// In md's own layouts that continue after Q, Q counts data in array order.
#[test]
fn symmetric_raid6_counts_in_array_order() {
    let geometry = Geometry::new(6, 2, 7, 8).unwrap();
    for row in 0..7 {
        let dev = DevSector::new(row * 8);
        for (position, slot) in geometry.syndrome_order(dev) {
            assert_eq!(geometry.data_slot(dev, u32::from(position)), slot);
        }
    }
}

#[test]
fn sizes() {
    let geometry = Geometry::new(5, 2, 4, 1024).unwrap();
    assert_eq!(geometry.raid_disks(), 4);
    assert_eq!(geometry.data_disks(), 3);
    assert_eq!(geometry.parity_disks(), 1);
    assert_eq!(geometry.chunk_sectors(), 1024);
    assert_eq!(geometry.rows_per_stripe(), 64);
    assert_eq!(geometry.strip_sectors(), 512);
    assert_eq!(geometry.row_sectors(), 3072);
    assert_eq!(geometry.array_sectors(10_000), 9 * 3072);
    assert_eq!(geometry.array_sectors(u64::MAX), u64::MAX);
    let geometry = Geometry::new(6, 2, 6, 64).unwrap();
    assert_eq!(geometry.parity_disks(), 2);
    assert_eq!(geometry.rows_per_stripe(), 8);
    assert_eq!(geometry.strip_sectors(), 64);
}

#[test]
fn bitmap_range_covers_whole_chunk_rows() {
    let range = |start, sectors| {
        let geometry = Geometry::new(5, 2, 4, 128).unwrap();
        let (start, sectors) = geometry.bitmap_range(ArraySector::new(start), sectors);
        (start.get(), sectors)
    };
    assert_eq!(range(0, 384), (0, 128));
    assert_eq!(range(0, 385), (0, 256));
    assert_eq!(range(383, 1), (0, 128));
    assert_eq!(range(383, 2), (0, 256));
    assert_eq!(range(384, 1), (128, 128));
    assert_eq!(range(1000, 0), (256, 128));
    assert_eq!(range(768, 0), (256, 0));
    // No overflow, whatever comes.
    assert_eq!(range(u64::MAX, u64::MAX).1, 128);
}

#[test]
fn the_largest_sectors_do_not_overflow() {
    for geometry in geometries() {
        let (dev, slot) = geometry.map(ArraySector::new(u64::MAX));
        assert_eq!(geometry.unmap(dev, slot), Some(ArraySector::new(u64::MAX)));
        let last = DevSector::new(u64::MAX);
        for member in 0..geometry.raid_disks() {
            let slot = Slot::new(member as u16);
            if let Some(sector) = geometry.unmap(last, slot) {
                assert_eq!(geometry.map(sector), (last, slot));
            }
        }
    }
}

#[test]
fn impossible_arrays_are_refused() {
    let refused = |level, layout, disks, chunk| Geometry::new(level, layout, disks, chunk).err();
    assert_eq!(refused(0, 0, 4, 8), Some(GeometryError::Level(0)));
    for (level, layout) in [
        (5, 6),
        (5, -1),
        (5, 16),
        (6, 6),
        (6, 7),
        (6, 11),
        (6, 15),
        (6, 21),
    ] {
        let error = GeometryError::Layout { level, layout };
        assert_eq!(refused(level, layout, 5, 8), Some(error));
    }
    for (level, raid_disks) in [
        (4, 1),
        (5, 0),
        (5, 1),
        (6, 3),
        (6, 2),
        (5, 4097),
        (5, u32::MAX),
    ] {
        let error = GeometryError::Disks { level, raid_disks };
        assert_eq!(refused(level, 2, raid_disks, 8), Some(error));
    }
    for chunk in [0, 1, 4, 7, 12, 24, 1000, u32::MAX] {
        assert_eq!(refused(5, 2, 5, chunk), Some(GeometryError::Chunk(chunk)));
    }
    assert!(Geometry::new(5, 2, 4096, 1 << 31).is_ok());
    assert_eq!(
        GeometryError::Chunk(7).to_string(),
        "a chunk of 7 sectors is not a power of two of at least 4 KiB"
    );
    assert_eq!(
        refused(6, 2, 3, 8).unwrap().to_string(),
        "level 6 cannot have 3 members"
    );
    assert_eq!(
        refused(5, 7, 3, 8).unwrap().to_string(),
        "level 5 has no layout 7"
    );
    assert_eq!(
        refused(1, 7, 3, 8).unwrap().to_string(),
        "level 1 is not 4, 5 or 6"
    );
}

/// Against the definition: parity in every row of two turns.
#[test]
fn members_with_nothing_but_parity() {
    for (level, layouts) in [(4, 0..=0), (5, 0..=5), (6, 0..=20)] {
        for layout in layouts {
            for disks in 3..8 {
                let Ok(geo) = Geometry::new(level, layout, disks, 8) else {
                    continue;
                };
                for slot in 0..disks as u16 {
                    let always = (0..2 * u64::from(disks)).all(|row| {
                        let place = geo.placement(DevSector::new(row * 8));
                        place.is_parity(Slot::new(slot))
                    });
                    assert_eq!(
                        geo.is_parity_only(Slot::new(slot)),
                        always,
                        "level {level}, layout {layout}, {disks} members, member {slot}"
                    );
                }
            }
        }
    }
}
