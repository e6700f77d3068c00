//! Fields in the bytes of an input: read where there are enough, and made right.
#![forbid(unsafe_code)]

use std::ops::Range;

pub(super) fn u32_of(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

pub(super) fn u64_of(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

pub(super) fn set(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// The crc of what `covered` names, put at `at`.
pub(super) fn set_crc(bytes: &mut [u8], at: usize, covered: Range<usize>) -> u32 {
    let crc = crc32fast::hash(&bytes[covered]);
    set(bytes, at, &crc.to_le_bytes());
    crc
}

/// The choices with which an input begins, absent ones as zero, and what stands behind them.
pub(super) fn choices<const N: usize>(input: &[u8]) -> ([u8; N], &[u8]) {
    let mut choices = [0; N];
    let (head, rest) = input.split_at(input.len().min(N));
    choices[..head.len()].copy_from_slice(head);
    (choices, rest)
}
