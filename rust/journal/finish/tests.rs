// SPDX-License-Identifier: GPL-2.0

use super::super::recovery::tests::{data, parity, Bench};
use super::*;

/// Strips of a row: `D` data, `L` data that the log has, `P` parity; in lower case it cannot be read.
fn row(text: &str) -> Way {
    way(text.chars().map(|c| Strip {
        parity: c.eq_ignore_ascii_case(&'P'),
        logged: c.eq_ignore_ascii_case(&'L'),
        readable: c.is_uppercase(),
    }))
}

#[test]
fn what_is_to_be_written_need_not_be_read() {
    for text in ["DLDP", "DlDP", "DLDp", "DlDp", "llP", "DlDpp", "lllpp"] {
        assert_eq!(row(text), Way::Read, "{text}");
    }
}

#[test]
fn what_must_be_read_and_cannot_is_computed() {
    for text in ["dLDP", "dlDPP", "dLDpP", "ddLPP"] {
        assert_eq!(row(text), Way::Compute, "{text}");
    }
}

#[test]
fn more_than_parity_can_give_is_lost() {
    for text in ["dlDP", "dLDp", "ddLP", "ddlPP", "dLdpP", "dlDpP"] {
        assert_eq!(row(text), Way::Lost, "{text}");
    }
}

/// A row's parity is added to the end of the log; a unit that lies behind it by chance, and would
/// verify there, is not taken for its successor.
#[test]
fn a_data_only_row_is_finished_at_the_end_of_the_log() {
    let mut bench = Bench::raid5();
    bench.unit(&[data(1, 0, 1)]);
    let end = bench.head;
    // A unit of the length that the new one will have, and one behind it.
    bench.unit(&[data(2, 0, 9)]);
    let stale = bench.unit(&[data(3, 0, 9), parity(3, 9)]);
    bench.block(end.block).fill(0);
    let mut report = bench.scan();
    assert_eq!((report.end, report.data_only_rows), (end, 1));
    assert_eq!(report.begin(), None, "the row is only in the old log");
    let longer = report.extend(bench.ring, bench.tail, 1).unwrap();
    assert_eq!(longer.next(), stale.block);
    bench.block(stale.block).fill(0);
    let wiped = longer.next_wiped();
    bench.head = wiped.unit();
    bench.unit(&[parity(1, 5)]);
    wiped.unit_written(&mut report);
    assert_eq!(report.end, bench.head);
    report.row_finished();
    assert!(report.begin().is_some());
    let again = bench.scan();
    assert_eq!((again.end, again.data_only_rows), (report.end, 0));
    assert_eq!(bench.row(1), [1, 0, 0, 5]);
    assert_eq!(bench.row(3), [0, 0, 0, 0]);
}

/// The block that a log keeps free is not given away.
#[test]
fn a_full_log_is_not_made_longer() {
    let mut bench = Bench::new(6, 5, 16);
    for row in 0..5 {
        bench.unit(&[data(row, 0, 1)]);
    }
    let report = bench.scan();
    assert_eq!(report.extend(bench.ring, bench.tail, 4), None);
    let longer = report.extend(bench.ring, bench.tail, 3).unwrap();
    let ring = bench.ring;
    assert_eq!(ring.distance(longer.next(), bench.tail.block), 1);
}
