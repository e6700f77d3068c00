//! Conversions between sizes. They state what the compiler cannot know, so that no cast elsewhere can lose anything.
#![forbid(unsafe_code)]

/// A size in memory. On 64-bit systems, the only ones this crate builds for, nothing can be lost.
#[allow(clippy::cast_possible_truncation, reason = "usize has 64 bits on every supported system")]
pub(crate) const fn size(value: u64) -> usize {
    value as usize
}

/// A size or an offset inside one segment, which is smaller than 4 GiB.
pub(crate) fn within_segment(value: usize) -> u32 {
    u32::try_from(value).expect("a segment, and so everything in it, is smaller than 4 GiB")
}
