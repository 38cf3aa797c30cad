// SPDX-License-Identifier: GPL-2.0

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
