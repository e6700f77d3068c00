//! JSON for machines: one object on a line, keys in a fixed order, nothing behind ':' or ','. Bytes are lower-case
//! hexadecimal digits, what is absent is null. Metadata keys ascend by their bytes and are written in UTF-8.
#![forbid(unsafe_code)]

use duramen::{Entry, Error, HardState, ReadOnlyLog};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

/// Writes a value on a line of its own.
pub(crate) fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Bytes that are written as hexadecimal digits, without a copy of all of them.
#[derive(Debug)]
pub(crate) struct Hex<B>(pub(crate) B);

impl<B: AsRef<[u8]>> fmt::Display for Hex<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for part in self.0.as_ref().chunks(64) {
            let mut digits = [0; 128];
            for (pair, byte) in digits.chunks_exact_mut(2).zip(part) {
                pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            f.write_str(str::from_utf8(&digits[..2 * part.len()]).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl<B: AsRef<[u8]>> Serialize for Hex<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// All of a group but its entries.
#[derive(Debug, Serialize)]
pub(crate) struct GroupLine {
    pub(crate) group: u64,
    pub(crate) first: Option<u64>,
    pub(crate) next: Option<u64>,
    pub(crate) entries: u64,
    pub(crate) boundary: Option<BoundaryValue>,
    pub(crate) hard_state: Option<HardStateValue>,
    pub(crate) commit: Option<u64>,
    pub(crate) meta: BTreeMap<String, Hex<Vec<u8>>>,
    pub(crate) snapshot: Option<SnapshotValue>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BoundaryValue {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) blob: Hex<Vec<u8>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HardStateValue {
    pub(crate) term: u64,
    pub(crate) vote: Option<u64>,
    pub(crate) commit: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SnapshotValue {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) bytes: u64,
    pub(crate) config: Hex<Vec<u8>>,
}

impl GroupLine {
    /// From memory.
    pub(crate) fn of(log: &ReadOnlyLog) -> duramen::Result<GroupLine> {
        let bounds = log.bounds()?;
        let mut meta = BTreeMap::new();
        for key in log.meta_keys()? {
            let value = log.meta(&key)?.unwrap_or_default();
            meta.insert(key, Hex(value));
        }
        Ok(GroupLine {
            group: log.group(),
            first: bounds.as_ref().map(|bounds| bounds.start),
            next: bounds.as_ref().map(|bounds| bounds.end),
            entries: log.count()?,
            boundary: log.boundary()?.map(|boundary| BoundaryValue {
                index: boundary.index,
                term: boundary.term,
                blob: Hex(boundary.blob),
            }),
            hard_state: log.hard_state()?.map(|HardState { term, vote, commit }| HardStateValue { term, vote, commit }),
            commit: log.commit()?,
            meta,
            snapshot: log.snapshot_meta()?.map(|snapshot| SnapshotValue {
                index: snapshot.index,
                term: snapshot.term,
                bytes: snapshot.data_bytes,
                config: Hex(snapshot.config),
            }),
        })
    }
}

/// One entry.
#[derive(Debug, Serialize)]
pub(crate) struct EntryLine<'a> {
    group: u64,
    index: u64,
    term: u64,
    kind: u8,
    data: Hex<&'a [u8]>,
}

impl<'a> EntryLine<'a> {
    pub(crate) fn of(group: u64, entry: &Entry<&'a [u8]>) -> EntryLine<'a> {
        EntryLine { group, index: entry.index, term: entry.term, kind: entry.kind, data: Hex(entry.data) }
    }
}

/// An entry that cannot be read.
#[derive(Debug, Serialize)]
pub(crate) struct BadEntryLine {
    group: u64,
    index: u64,
    term: u64,
    error: &'static str,
}

impl BadEntryLine {
    pub(crate) fn of(group: u64, index: u64, term: u64, error: &Error) -> BadEntryLine {
        BadEntryLine { group, index, term, error: error.code().name() }
    }
}
