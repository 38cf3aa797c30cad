// SPDX-License-Identifier: GPL-2.0

//! Target `sysfs`: what users write to attributes, held against the C driver's rules.

use crate::parse::{cache_rows, number, JournalMode};

/// `kstrtoul(text, 10)`, by another way.
fn expected_number(text: &[u8]) -> Option<u64> {
    if text.len() > 4095 {
        return None;
    }
    let end = text
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(text.len());
    let text = std::str::from_utf8(&text[..end]).ok()?;
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let tail = &text[digits.len()..];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || tail.len() > 1 {
        return None;
    }
    let zeroes = digits.trim_start_matches('0');
    (tail.is_empty() || tail == "\n")
        .then(|| format!("0{zeroes}"))
        .filter(|digits| digits.len() < 30)
        .and_then(|digits| digits.parse::<u128>().ok())
        .and_then(|value| u64::try_from(value).ok())
}

/// `r5c_journal_mode_store()`, by its own way.
fn expected_mode(text: &[u8]) -> Option<usize> {
    let mut len = text.len();
    if len < 2 {
        return None;
    }
    if text[len - 1] == b'\n' {
        len -= 1;
    }
    ["write-through", "write-back"]
        .iter()
        .position(|mode| mode.len() == len && mode.as_bytes() == &text[..len])
}

/// Any text, to all parsers.
pub fn sysfs(data: &[u8]) {
    let value = number(data);
    assert_eq!(value, expected_number(data));
    if let Some(value) = value {
        let rows = cache_rows(value);
        assert_eq!(rows.is_some(), value > 16 && value <= 32768);
        assert!(rows.is_none_or(|rows| rows as u64 == value));
    }
    let mode = JournalMode::parse(data).map(|mode| match mode {
        JournalMode::WriteThrough => 0,
        JournalMode::WriteBack => 1,
    });
    assert_eq!(mode, expected_mode(data));
}
