//! JSON for machines: one object on a line, keys in a fixed order, nothing behind ':' or ','. Bytes are lower-case
//! hexadecimal digits, what is absent is null, what is lost is `{"error":"corrupt"}`. Metadata keys ascend by their bytes and
//! are written in UTF-8.
#![forbid(unsafe_code)]

use duramen::{Boundary, Code, Damaged, Entry, Error, HardState, Loss, ReadOnlyLog, SnapshotMeta};
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
    pub(crate) boundary: Told<Option<BoundaryValue>>,
    pub(crate) hard_state: Told<Option<HardStateValue>>,
    pub(crate) commit: Option<u64>,
    pub(crate) meta: Told<BTreeMap<String, Hex<Vec<u8>>>>,
    pub(crate) snapshot: Told<Option<SnapshotValue>>,
    /// Only where what became of the log is in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<Told<()>>,
}

/// What may be lost.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Told<T> {
    Known(T),
    Lost { error: &'static str },
}

impl<T> Told<T> {
    fn of(read: duramen::Result<T>) -> duramen::Result<Told<T>> {
        match read {
            Err(error) if error.code() == Code::Corrupt => Ok(Told::lost()),
            read => read.map(Told::Known),
        }
    }

    fn lost() -> Told<T> {
        Told::Lost { error: Code::Corrupt.name() }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Told<U> {
        match self {
            Told::Known(value) => Told::Known(change(value)),
            Told::Lost { error } => Told::Lost { error },
        }
    }
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
        let (bounds, losses) = (log.bounds()?, log.damage()?);
        let has_lost = |loss| losses.contains(&loss);
        Ok(GroupLine {
            group: log.group(),
            first: bounds.as_ref().map(|bounds| bounds.start),
            next: bounds.as_ref().map(|bounds| bounds.end),
            entries: log.count()?,
            boundary: Told::of(log.boundary())?.map(|boundary| {
                boundary.map(|Boundary { index, term, blob }| BoundaryValue { index, term, blob: Hex(blob) })
            }),
            hard_state: Told::of(log.hard_state())?
                .map(|state| state.map(|HardState { term, vote, commit }| HardStateValue { term, vote, commit })),
            commit: log.commit()?,
            meta: Told::of(meta_of(log))?,
            snapshot: match has_lost(Loss::Snapshot) {
                true => Told::lost(),
                false => Told::Known(log.snapshot_meta()?.map(SnapshotValue::of)),
            },
            log: has_lost(Loss::Log).then(Told::lost),
        })
    }
}

impl SnapshotValue {
    fn of(meta: SnapshotMeta) -> SnapshotValue {
        let SnapshotMeta { index, term, data_bytes, config, .. } = meta;
        SnapshotValue { index, term, bytes: data_bytes, config: Hex(config) }
    }
}

fn meta_of(log: &ReadOnlyLog) -> duramen::Result<BTreeMap<String, Hex<Vec<u8>>>> {
    let mut meta = BTreeMap::new();
    for key in log.meta_keys()? {
        let value = log.meta(&key)?.unwrap_or_default();
        meta.insert(key, Hex(value));
    }
    Ok(meta)
}

/// Something that is lost of a group.
#[derive(Debug, Serialize)]
#[serde(tag = "lost", rename_all = "snake_case")]
pub(crate) enum LossValue {
    Entries {
        first: u64,
        next: u64,
        term: u64,
    },
    HardState,
    Metadata,
    BoundaryBlob,
    Log,
    Snapshot,
    /// What a later version of the library tells of, and this command does not know.
    Unknown,
}

impl LossValue {
    pub(crate) fn of(loss: Loss) -> LossValue {
        match loss {
            Loss::Entries { first, last, term } => LossValue::Entries { first, next: last + 1, term },
            Loss::HardState => LossValue::HardState,
            Loss::Metadata => LossValue::Metadata,
            Loss::BoundaryBlob => LossValue::BoundaryBlob,
            Loss::Log => LossValue::Log,
            Loss::Snapshot => LossValue::Snapshot,
            _ => LossValue::Unknown,
        }
    }
}

/// Damaged bytes of a segment, and the batches that they held.
#[derive(Debug, Serialize)]
pub(crate) struct BatchesValue {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) known: bool,
    pub(crate) detail: String,
}

impl BatchesValue {
    pub(crate) fn of(damaged: &Damaged) -> BatchesValue {
        let Damaged { file, offset, first_batch, last_batch, known, detail, .. } = damaged;
        let (first, next) = (*first_batch, *last_batch + 1);
        BatchesValue { file: file.clone(), offset: *offset, first, next, known: *known, detail: detail.clone() }
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
