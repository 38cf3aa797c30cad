// SPDX-License-Identifier: GPL-2.0

//! The kernel's `crc32c()` on the host.

/// Continues a crc32c as the kernel does: no inversion, neither before nor after.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[test]
fn composes_and_agrees_with_the_standard() {
    // The check value of CRC-32C (RFC 3720 appendix B.4 has more).
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    assert_eq!(
        crc32c(crc32c(7, b"12345"), b"6789"),
        crc32c(7, b"123456789")
    );
}
