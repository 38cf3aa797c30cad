// SPDX-License-Identifier: GPL-2.0

//! What users write to sysfs, as values; pure, so that it is tested and fuzzed on the host.
//!
//! Text comes as it was written, usually with a newline at its end. What is accepted and what is
//! not is as the C driver has it; each `None` is its `EINVAL`.
//!
//! Facts: `kstrtoul()` in `lib/kstrtox.c`, `raid5_store_stripe_cache_size()` and
//! `raid5_set_cache_size()` and the other `raid5_store_*()` in `drivers/md/raid5.c`,
//! `r5c_journal_mode_store()` in `drivers/md/raid5-cache.c`.

#![forbid(unsafe_code)]

/// Bytes that sysfs hands over at most; text of as many is refused.
const PAGE_SIZE: usize = 4096;

/// Bounds of `stripe_cache_size`, in 4-KiB rows.
const CACHE_ROWS: core::ops::RangeInclusive<u64> = 17..=32768;

/// Bound of `group_thread_cnt`.
const MAX_THREADS: u32 = 8192;

/// Reads a decimal number as `kstrtoul(text, 10)` does: perhaps a plus sign, digits, perhaps one
/// newline, and nothing else; a NUL ends the text.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.len() >= PAGE_SIZE {
        return None;
    }
    let text = text.split(|&byte| byte == 0).next()?;
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Checks a number that was written to `stripe_cache_size`; in 4-KiB rows.
///
/// The C driver takes the lowest 32 bits of larger numbers; here they are out of bounds.
pub(crate) fn cache_rows(number: u64) -> Option<usize> {
    CACHE_ROWS
        .contains(&number)
        .then_some(number)
        .and_then(|rows| usize::try_from(rows).ok())
}

/// Checks a number that was written to `group_thread_cnt`; threads per node.
pub(crate) fn threads(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|&n| n <= MAX_THREADS)
}

/// A value of `journal_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalMode {
    /// Writes complete when they are on the members.
    WriteThrough,
    /// Writes complete when they are in the journal.
    WriteBack,
}

impl JournalMode {
    /// Reads what was written to `journal_mode`: a mode's name, perhaps with one newline.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        match text.strip_suffix(b"\n").unwrap_or(text) {
            b"write-through" => Some(Self::WriteThrough),
            b"write-back" => Some(Self::WriteBack),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `lib/test-kstrtox.c` that concern base 10, and what users type.
    #[test]
    fn numbers_as_kstrtoul() {
        let good: [(&[u8], u64); 9] = [
            (b"0", 0),
            (b"17\n", 17),
            (b"+17\n", 17),
            (b"0017", 17),
            (b"256\0\n", 256),
            (b"256\n\0junk", 256),
            (b"+0", 0),
            (b"18446744073709551615\n", u64::MAX),
            (b"0000000000000000000000000000000000000000001", 1),
        ];
        for (text, value) in good {
            assert_eq!(number(text), Some(value), "{text:?}");
        }
        let bad: [&[u8]; 20] = [
            b"",
            b"\n",
            b"+",
            b"++1",
            b"-1",
            b"-0",
            b" 1",
            b"1 ",
            b"1\n\n",
            b"1\r\n",
            b"\n1",
            b"0x10",
            b"1k",
            b"1_0",
            b"1.0",
            b"\x001",
            b"18446744073709551616",
            b"99999999999999999999999",
            "\u{661}".as_bytes(),
            b"\xff",
        ];
        for text in bad {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_page_of_text_is_too_long() {
        let mut text = [b'0'; PAGE_SIZE];
        assert_eq!(number(&text), None);
        text[PAGE_SIZE - 2] = b'7';
        assert_eq!(number(&text[..PAGE_SIZE - 1]), Some(7));
    }

    #[test]
    fn cache_sizes_have_bounds() {
        for (rows, taken) in [(16, false), (17, true), (32768, true), (32769, false)] {
            assert_eq!(cache_rows(rows).is_some(), taken, "{rows}");
        }
        assert_eq!(cache_rows(256), Some(256));
        // Not 17.
        assert_eq!(cache_rows((1 << 32) + 17), None);
    }

    #[test]
    fn threads_have_a_bound() {
        assert_eq!(threads(0), Some(0));
        assert_eq!(threads(8192), Some(8192));
        assert_eq!(threads(8193), None);
        assert_eq!(threads(1 << 32), None);
    }

    #[test]
    fn modes_are_whole_words() {
        use JournalMode::{WriteBack, WriteThrough};
        for (text, mode) in [("write-through", WriteThrough), ("write-back", WriteBack)] {
            let line = |end: &str| JournalMode::parse(format!("{text}{end}").as_bytes());
            assert_eq!(line(""), Some(mode));
            assert_eq!(line("\n"), Some(mode));
            for end in ["\n\n", " ", "x", "\0", "\r\n"] {
                assert_eq!(line(end), None, "{end:?}");
            }
        }
        let bad: [&[u8]; 6] = [
            b"",
            b"\n",
            b"write",
            b"[write-back]",
            b"Write-back",
            b"\xff",
        ];
        for text in bad {
            assert_eq!(JournalMode::parse(text), None, "{text:?}");
        }
    }
}
