//! The bytes on disk: encoding and decoding, no files. `FORMAT.md` is the promise; these modules repeat it as code.
//!
//! All integers are little-endian. Every structure begins with a magic number, because zero is never a valid record.
//! Every reserved byte is zero when written and checked when read. Nothing that stands in a structure is believed before
//! the structure's checksum.
#![forbid(unsafe_code)]

use crate::number::size;

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod directory;
pub(crate) mod fields;
pub(crate) mod footer;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod manifest;
pub(crate) mod merged;
pub(crate) mod name;
pub(crate) mod piece;
#[cfg(test)]
mod properties;
pub(crate) mod segment;
pub(crate) mod snapshot;
pub(crate) mod supplement;

/// The unit in which a disk write may be torn without hurting its neighbours: durable writes begin on a new one.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// The same as a size in memory.
pub(crate) const BLOCK_SIZE: usize = size(BLOCK_BYTES);

/// Batches begin at multiples of this inside a disk write.
pub(crate) const BATCH_ALIGN_BYTES: u64 = 64;

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Random bytes that tell one life of a segment file from every other.
pub(crate) type Salt = [u8; 16];

/// Rounds up to a multiple of `align`, which is a power of two.
pub(crate) fn round_up(value: u64, align: u64) -> u64 {
    debug_assert!(align.is_power_of_two(), "{align} is not a power of two");
    (value + (align - 1)) & !(align - 1)
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    /// They are damaged, torn, or something else entirely; with what was seen.
    Damaged(String),
    /// They are whole, but of a format or with a feature that this version does not know.
    Newer(String),
}

pub(crate) type Decoded<T> = Result<T, Bad>;

/// `Damaged` with both values that disagree.
pub(crate) fn mismatch<T: std::fmt::Debug>(what: &str, expected: T, found: T) -> Bad {
    Bad::Damaged(format!("{what} is {found:x?}, expected {expected:x?}"))
}
