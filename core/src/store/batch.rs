//! A batch under construction: operations on one or many groups, encoded as they are added.
#![forbid(unsafe_code)]

use crate::commit::Sealed;
use crate::entry::{Entry, HardState};
use crate::error::{Error, Result};
use crate::format::batch::{Content, Spot};
use crate::format::body::{ENTRY_HEADER_BYTES, encode_entry, encode_hard_state};
use crate::format::directory::{Kind, RECORD_BYTES, Record};
use crate::format::fields::Writer;
use crate::number::within_segment;
use crate::options::{DATA_BYTES_CEILING, Options};

/// The encoding of one batch, in bytes; below the 4 GiB that a position in a segment can name.
const ENCODED_BYTES_CEILING: u64 = 3 << 30;

/// Several operations, over one or many groups, that become durable together or not at all.
///
/// Operations apply in order, each checked against those before it when the batch is written with
/// [`Store::write`](crate::Store::write). What is wrong with an operation is reported there, too.
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// # let store = duramen::Store::open(directory.path().join("store"))?;
/// use duramen::{Batch, Entry, HardState};
///
/// let vote = HardState { term: 2, vote: Some(1), commit: None };
/// store.write(
///     Batch::new()
///         .log(7, |log| log.append(&[Entry::new(1, 2, b"a")]).set_hard_state(vote))
///         .log(9, |log| log.append(&[Entry::new(1, 1, b"b")])),
/// )?;
/// # Ok::<(), duramen::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    contents: Vec<Content>,
    bodies: Writer,
    data_bytes: u64,
    entry_bytes: u64,
    error: Option<Error>,
}

impl Batch {
    /// A batch without operations; writing it does nothing.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Adds operations on one group.
    pub fn log(self, group: u64, add: impl FnOnce(LogBatch) -> LogBatch) -> Self {
        add(LogBatch { group, batch: self }).batch
    }

    /// Whether no operation was added.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.error.is_none()
    }

    /// The finished encoding, if every operation was sound and no limit is passed.
    pub(crate) fn seal(self, options: &Options) -> Result<Sealed> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.check_encoded(0)?;
        for (what, size, limit) in [
            ("entry data in bytes (entry_bytes_max)", self.entry_bytes, options.entry_bytes_max),
            ("batch data in bytes (batch_bytes_max)", self.data_bytes, options.batch_bytes_max),
        ] {
            if size > limit {
                return Err(Error::TooLarge { what, size, limit });
            }
        }
        let mut directory = Writer::default();
        self.records.iter().for_each(|record| record.encode(&mut directory));
        Ok(Sealed {
            directory_crc: crc32fast::hash(&directory.bytes),
            directory: directory.bytes,
            records: self.records,
            contents: self.contents,
            bodies: self.bodies.bytes,
        })
    }

    /// Refuses an encoding that no segment could hold, with so many more bytes in its bodies.
    fn check_encoded(&self, more: usize) -> Result<()> {
        let encoded = self.bodies.bytes.len().saturating_add(more).saturating_add(self.records.len() * RECORD_BYTES);
        match encoded as u64 {
            size if size > ENCODED_BYTES_CEILING => {
                let what = "encoded batch in bytes (an entry takes 40 beside its data)";
                Err(Error::TooLarge { what, size, limit: ENCODED_BYTES_CEILING })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, record: Record, content: Content) {
        self.records.push(record);
        self.contents.push(content);
    }

    fn try_append<D: AsRef<[u8]>>(&mut self, group: u64, entries: &[Entry<D>]) -> Result<()> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.check_entries(first.index, entries)?;
        for run in entries.chunk_by(|a, b| a.term == b.term) {
            let (body_at, mut sum) = (self.bodies.bytes.len(), crc32fast::Hasher::new());
            let mut spots = Vec::with_capacity(run.len());
            for entry in run {
                let (at, length) = (self.bodies.bytes.len(), entry.data.as_ref().len());
                let crc = encode_entry(&mut self.bodies, group, &entry.borrowed(), within_segment(length));
                sum.update(&crc.to_le_bytes());
                spots.push(Spot { offset: within_segment(at), bytes: within_segment(self.bodies.bytes.len() - at) });
            }
            let record = Record {
                group,
                first: run[0].index,
                term: run[0].term,
                body_bytes: (self.bodies.bytes.len() - body_at) as u64,
                count: within_segment(run.len()),
                sum: sum.finalize(),
                kind: Kind::Append,
            };
            self.add(record, Content::Entries(spots));
        }
        Ok(())
    }

    /// Checks what does not depend on the log, before anything is copied.
    fn check_entries<D: AsRef<[u8]>>(&mut self, first: u64, entries: &[Entry<D>]) -> Result<()> {
        let (mut bytes, mut expected) = (0usize, first);
        for Entry { index, data, .. } in entries {
            if *index == u64::MAX {
                return Err(Error::invalid(format!("index {index} (2^64-1) is reserved; the highest is 2^64-2")));
            }
            if *index != expected {
                // The group is filled in by the caller, which knows it.
                return Err(Error::NotContiguous { group: 0, expected, got: *index });
            }
            expected += 1;
            let size = data.as_ref().len() as u64;
            if size > DATA_BYTES_CEILING {
                let what = "entry data in bytes (the ceiling of entry_bytes_max)";
                return Err(Error::TooLarge { what, size, limit: DATA_BYTES_CEILING });
            }
            self.entry_bytes = self.entry_bytes.max(size);
            self.data_bytes += size;
            bytes = bytes.saturating_add(ENTRY_HEADER_BYTES + data.as_ref().len());
        }
        self.check_encoded(bytes)?;
        self.bodies.bytes.try_reserve(bytes).map_err(|_| Error::NoMemory { bytes: bytes as u64 })
    }
}

/// The operations that one group gets in a [`Batch`].
#[derive(Debug)]
pub struct LogBatch {
    group: u64,
    batch: Batch,
}

impl LogBatch {
    /// As [`Log::append`](crate::Log::append).
    pub fn append<D: AsRef<[u8]>>(mut self, entries: &[Entry<D>]) -> Self {
        let added = self.batch.try_append(self.group, entries);
        self.note(added)
    }

    /// As [`Log::replace_from`](crate::Log::replace_from).
    pub fn replace_from<D: AsRef<[u8]>>(mut self, index: u64, entries: &[Entry<D>]) -> Self {
        let got = entries.first().map_or(index, |first| first.index);
        if got != index {
            return self.note(Err(Error::NotContiguous { group: 0, expected: index, got }));
        }
        self = self.truncate_from(index);
        self.append(entries)
    }

    /// As [`Log::truncate_from`](crate::Log::truncate_from).
    pub fn truncate_from(mut self, index: u64) -> Self {
        let (group, first) = (self.group, index);
        let record = Record { group, first, term: 0, body_bytes: 0, count: 0, sum: 0, kind: Kind::Truncate };
        self.batch.add(record, Content::Truncate);
        self
    }

    /// As [`Log::set_hard_state`](crate::Log::set_hard_state).
    pub fn set_hard_state(mut self, state: HardState) -> Self {
        let at = self.batch.bodies.bytes.len();
        encode_hard_state(&mut self.batch.bodies, &state);
        let body = &self.batch.bodies.bytes[at..];
        let (body_bytes, sum) = (body.len() as u64, crc32fast::hash(body));
        let record = Record { group: self.group, first: 0, term: 0, body_bytes, count: 0, sum, kind: Kind::HardState };
        self.batch.add(record, Content::HardState(state));
        self
    }

    /// Keeps the first error for the write.
    fn note(mut self, added: Result<()>) -> Self {
        let added = added.map_err(|error| match error {
            Error::NotContiguous { expected, got, .. } => Error::NotContiguous { group: self.group, expected, got },
            other => other,
        });
        self.batch.error = self.batch.error.take().or(added.err());
        self
    }
}
