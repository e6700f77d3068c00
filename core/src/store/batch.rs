//! A batch under construction: operations on one or many groups, encoded as they are added.
#![forbid(unsafe_code)]

use super::damage::Loss;
use super::snapshot::UnnamedSnapshot;
use super::spare::Spare;
use crate::commit::Sealed;
use crate::entry::{Boundary, Entry, HardState};
use crate::error::{Error, Result};
use crate::format::batch::Content;
use crate::format::body::{
    ENTRY_HEADER_BYTES, META_KEY_BYTES_MAX, encode_entry, encode_hard_state, encode_meta, encode_meta_key,
};
use crate::format::directory::{Kind, RECORD_BYTES, Record};
use crate::format::fields::Writer;
use crate::format::piece::Cutter;
use crate::format::snapshot::{SnapshotMeta, SnapshotPoint};
use crate::index::Payload;
use crate::number::within_segment;
use crate::options::{BLOB_BYTES_CEILING, DATA_BYTES_CEILING, Options};
use crate::replay::meta_of;
use crate::state::{Aspect, Group, Holding, LostBatches, Mark, Outcome};
use std::ops::Range;
use std::sync::Arc;

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
    /// The largest entry, and the largest blob.
    entry_bytes: u64,
    blob_bytes: u64,
    /// Each with the place of its operation.
    snapshots: Vec<(usize, UnnamedSnapshot)>,
    /// Do its entries take the places of damaged ones?
    repairs: bool,
    /// Where it gets memory from.
    spare: Option<Arc<Spare>>,
    error: Option<Error>,
}

impl Batch {
    /// A batch without operations; writing it does nothing.
    pub fn new() -> Self {
        Batch::default()
    }

    /// A batch without operations, in memory of batches that were written.
    pub(super) fn in_memory_of(spare: &Arc<Spare>) -> Self {
        Batch { spare: Some(Arc::clone(spare)), ..Batch::default() }
    }

    /// Adds operations on one group.
    pub fn log(self, group: u64, add: impl FnOnce(LogBatch) -> LogBatch) -> Self {
        add(LogBatch { group, batch: self }).batch
    }

    /// Entries that take the places of damaged ones.
    pub(super) fn repair<D: AsRef<[u8]>>(group: u64, entries: &[Entry<D>]) -> Self {
        let batch = Batch { repairs: true, ..Batch::default() };
        batch.log(group, |log| log.put(entries))
    }

    /// Whether no operation was added.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.error.is_none()
    }

    /// What directory and bodies take so far, in bytes.
    pub(super) fn encoded_bytes(&self) -> u64 {
        (self.records.len() * RECORD_BYTES + self.bodies.bytes.len()) as u64
    }

    /// The files that the batch names, each with the place of its operation.
    pub(super) fn take_snapshots(&mut self) -> Vec<(usize, UnnamedSnapshot)> {
        std::mem::take(&mut self.snapshots)
    }

    /// The finished encoding, if every operation was sound and no limit is passed.
    pub(crate) fn seal(self, options: &Options) -> Result<Sealed> {
        let limits = [
            ("entry data in bytes (entry_bytes_max)", self.entry_bytes, options.entry_bytes_max),
            ("blob in bytes (blob_bytes_max)", self.blob_bytes, options.blob_bytes_max),
            ("batch data in bytes (batch_bytes_max)", self.data_bytes, options.batch_bytes_max),
        ];
        if let Some((what, size, limit)) = limits.into_iter().find(|(_, size, limit)| size > limit)
            && self.error.is_none()
        {
            return Err(Error::TooLarge { what, size, limit });
        }
        self.seal_unlimited()
    }

    /// The finished encoding, whatever the options say.
    pub(super) fn seal_unlimited(self) -> Result<Sealed> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.check_encoded(0)?;
        let mut directory = Writer::default();
        self.records.iter().for_each(|record| record.encode(&mut directory));
        Ok(Sealed {
            directory_crc: crc32fast::hash(&directory.bytes),
            directory: directory.bytes,
            records: self.records,
            contents: self.contents,
            bodies: self.bodies.bytes,
            repairs: self.repairs,
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

    /// Adds an operation whose body was encoded from `at` on.
    fn add_with_body(&mut self, record: Record, content: Content, at: usize) {
        let body = &self.bodies.bytes[at..];
        let (body_bytes, sum) = (body.len() as u64, crc32fast::hash(body));
        self.add(Record { body_bytes, sum, ..record }, content);
    }

    /// Adds one record for each run of entries that follow each other in one term; the first one is of kind `first`.
    fn add_entries<D: AsRef<[u8]>>(&mut self, group: u64, first: Kind, rest: Kind, entries: &[Entry<D>]) {
        let mut kind = first;
        for run in entries.chunk_by(|a, b| a.term == b.term && a.index.checked_add(1) == Some(b.index)) {
            self.add_run(group, kind, run);
            kind = rest;
        }
    }

    fn add_run<D: AsRef<[u8]>>(&mut self, group: u64, kind: Kind, run: &[Entry<D>]) {
        let (body_at, mut sum) = (self.bodies.bytes.len(), crc32fast::Hasher::new());
        let mut cutter = Cutter::default();
        for entry in run {
            let (at, length) = (self.bodies.bytes.len(), entry.data.as_ref().len());
            let crc = encode_entry(&mut self.bodies, group, &entry.borrowed(), within_segment(length));
            sum.update(&crc.to_le_bytes());
            cutter.add(at, self.bodies.bytes.len() - at);
        }
        let record = Record {
            first: run[0].index,
            term: run[0].term,
            body_bytes: (self.bodies.bytes.len() - body_at) as u64,
            count: within_segment(run.len()),
            sum: sum.finalize(),
            ..Record::of(group, kind)
        };
        self.add(record, Content::Entries(cutter.pieces()));
    }

    /// Entries that follow each other from `first` on.
    fn try_contiguous<D: AsRef<[u8]>>(
        &mut self,
        group: u64,
        first: u64,
        kind: Kind,
        entries: &[Entry<D>],
    ) -> Result<()> {
        for (expected, entry) in (first..=u64::MAX).zip(entries) {
            if entry.index != expected {
                return Err(Error::NotContiguous { group, expected, got: entry.index });
            }
        }
        self.check_entries(entries)?;
        self.add_entries(group, kind, Kind::Append, entries);
        Ok(())
    }

    fn try_put<D: AsRef<[u8]>>(&mut self, group: u64, entries: &[Entry<D>]) -> Result<()> {
        self.check_entries(entries)?;
        self.add_entries(group, Kind::Put, Kind::Put, entries);
        Ok(())
    }

    fn try_remove(&mut self, group: u64, indexes: Range<u64>) -> Result<()> {
        if indexes.is_empty() {
            return Ok(());
        }
        let record = Record { first: indexes.start, term: indexes.end - 1, ..Record::of(group, Kind::Remove) };
        self.add(record, Content::Nothing);
        Ok(())
    }

    fn try_purge(&mut self, group: u64, upto: u64, term: u64, blob: &[u8]) -> Result<()> {
        check_index(upto)?;
        self.check_blob("blob in bytes", blob)?;
        let at = self.bodies.bytes.len();
        self.bodies.bytes(blob);
        let record = Record { first: upto, term, ..Record::of(group, Kind::Purge) };
        self.add_with_body(record, Content::Blob(blob.to_vec()), at);
        Ok(())
    }

    fn try_set_meta(&mut self, group: u64, key: &str, value: &[u8]) -> Result<()> {
        check_key(key)?;
        self.check_blob("metadata value in bytes", value)?;
        let at = self.bodies.bytes.len();
        encode_meta(&mut self.bodies, key, value);
        let content = Content::Meta { key: key.into(), value: value.to_vec() };
        self.add_with_body(Record::of(group, Kind::SetMeta), content, at);
        Ok(())
    }

    fn try_delete_meta(&mut self, group: u64, key: &str) -> Result<()> {
        check_key(key)?;
        let at = self.bodies.bytes.len();
        encode_meta_key(&mut self.bodies, key);
        self.add_with_body(Record::of(group, Kind::DeleteMeta), Content::MetaKey(key.into()), at);
        Ok(())
    }

    /// `outcome` says whether it is saved; what becomes of the log at an installation is decided when the batch is accepted.
    fn try_snapshot(&mut self, group: u64, snapshot: UnnamedSnapshot, outcome: Outcome) -> Result<()> {
        let point = snapshot.point();
        if point.group != group {
            let of = point.group;
            return Err(Error::invalid(format!("a snapshot of group {of} was given to group {group}")));
        }
        let place = self.records.len();
        self.add_snapshot(point, snapshot.meta(), outcome);
        self.snapshots.push((place, snapshot));
        Ok(())
    }

    fn add_snapshot(&mut self, point: SnapshotPoint, meta: &SnapshotMeta, outcome: Outcome) {
        let SnapshotPoint { group, index, term } = point;
        let at = self.bodies.bytes.len();
        self.bodies.bytes(&meta.encode());
        let record = Record { first: index, term, count: outcome as u32, ..Record::of(group, Kind::Snapshot) };
        self.add_with_body(record, Content::Snapshot(meta.clone()), at);
    }

    fn check_blob(&mut self, what: &'static str, blob: &[u8]) -> Result<()> {
        let size = blob.len() as u64;
        if size > BLOB_BYTES_CEILING {
            return Err(Error::TooLarge { what, size, limit: BLOB_BYTES_CEILING });
        }
        self.blob_bytes = self.blob_bytes.max(size);
        self.data_bytes += size;
        self.check_encoded(blob.len())
    }

    /// Checks what does not depend on the log, before anything is copied.
    fn check_entries<D: AsRef<[u8]>>(&mut self, entries: &[Entry<D>]) -> Result<()> {
        let mut bytes = 0usize;
        for Entry { index, data, .. } in entries {
            check_index(*index)?;
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
        if let Some(spare) = self.spare.as_ref().filter(|_| self.bodies.bytes.is_empty()) {
            self.bodies.bytes = spare.take(bytes);
        }
        self.bodies.bytes.try_reserve(bytes).map_err(|_| Error::NoMemory { bytes: bytes as u64 })
    }
}

/// The highest number is no index.
pub(super) fn check_index(index: u64) -> Result<()> {
    match index {
        u64::MAX => Err(Error::invalid(format!("index {index} (2^64-1) is reserved; the highest is 2^64-2"))),
        _ => Ok(()),
    }
}

fn check_key(key: &str) -> Result<()> {
    match key.len() {
        1..=META_KEY_BYTES_MAX => Ok(()),
        bytes => {
            Err(Error::invalid(format!("a metadata key of {bytes} bytes; it must have 1 to {META_KEY_BYTES_MAX}")))
        }
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
    pub fn append<D: AsRef<[u8]>>(self, entries: &[Entry<D>]) -> Self {
        let first = entries.first().map_or(0, |first| first.index);
        self.add(|batch, group| batch.try_contiguous(group, first, Kind::Append, entries))
    }

    /// As [`Log::replace_from`](crate::Log::replace_from).
    pub fn replace_from<D: AsRef<[u8]>>(self, index: u64, entries: &[Entry<D>]) -> Self {
        match entries {
            [] => self.truncate_from(index),
            _ => self.add(|batch, group| batch.try_contiguous(group, index, Kind::Replace, entries)),
        }
    }

    /// As [`Log::put`](crate::Log::put).
    pub fn put<D: AsRef<[u8]>>(self, entries: &[Entry<D>]) -> Self {
        self.add(|batch, group| batch.try_put(group, entries))
    }

    /// As [`Log::truncate_from`](crate::Log::truncate_from).
    pub fn truncate_from(self, index: u64) -> Self {
        let first = index;
        self.add_plain(|group| Record { first, ..Record::of(group, Kind::Truncate) })
    }

    /// As [`Log::remove`](crate::Log::remove).
    pub fn remove(self, indexes: Range<u64>) -> Self {
        self.add(|batch, group| batch.try_remove(group, indexes))
    }

    /// As [`Log::purge`](crate::Log::purge).
    pub fn purge(self, upto: u64, term: u64, blob: &[u8]) -> Self {
        self.add(|batch, group| batch.try_purge(group, upto, term, blob))
    }

    /// As [`Log::set_hard_state`](crate::Log::set_hard_state).
    pub fn set_hard_state(mut self, state: HardState) -> Self {
        let at = self.batch.bodies.bytes.len();
        encode_hard_state(&mut self.batch.bodies, &state);
        self.batch.add_with_body(Record::of(self.group, Kind::HardState), Content::HardState(state), at);
        self
    }

    /// As [`Log::set_meta`](crate::Log::set_meta).
    pub fn set_meta(self, key: &str, value: &[u8]) -> Self {
        self.add(|batch, group| batch.try_set_meta(group, key, value))
    }

    /// As [`Log::delete_meta`](crate::Log::delete_meta).
    pub fn delete_meta(self, key: &str) -> Self {
        self.add(|batch, group| batch.try_delete_meta(group, key))
    }

    /// As [`Log::save_snapshot`](crate::Log::save_snapshot).
    pub fn save_snapshot(self, snapshot: UnnamedSnapshot) -> Self {
        self.add(|batch, group| batch.try_snapshot(group, snapshot, Outcome::Saved))
    }

    /// As [`Log::install_snapshot`](crate::Log::install_snapshot).
    pub fn install_snapshot(self, snapshot: UnnamedSnapshot) -> Self {
        self.add(|batch, group| batch.try_snapshot(group, snapshot, Outcome::Kept))
    }

    /// As [`Log::reset`](crate::Log::reset).
    pub fn reset(self, next: Option<u64>) -> Self {
        let (first, count) = (next.unwrap_or(0), u32::from(next.is_some()));
        match check_index(first) {
            Ok(()) => self.add_plain(|group| Record { first, count, ..Record::of(group, Kind::Reset) }),
            refused => self.add(|_, _| refused),
        }
    }

    /// As [`Log::drop_group`](crate::Log::drop_group).
    pub fn drop_group(self) -> Self {
        self.add_plain(|group| Record::of(group, Kind::DropGroup))
    }

    /// As [`Log::accept_loss`](crate::Log::accept_loss), for anything but entries: those are given up with
    /// [`LogBatch::remove`].
    pub fn accept_loss(self, loss: Loss) -> Self {
        match loss.aspect() {
            Some(aspect) => self.number(Kind::Accept, aspect as u64),
            None => self.add(|_, _| Err(Error::invalid("lost entries are given up by removing them"))),
        }
    }

    /// Gives up all batches that are lost, for every group.
    pub(super) fn accept_lost_batches(self) -> Self {
        self.number(Kind::Accept, Aspect::AllBatches as u64)
    }

    /// Tells lost batches again. They belong to no group.
    pub(super) fn lost_batches(self, lost: &LostBatches) -> Self {
        let LostBatches { first, last, .. } = *lost;
        self.add_plain(|_| Record { first, term: last, ..Record::of(0, Kind::LostBatches) })
    }

    /// Writes a piece of small state again, as it is. Entries come with [`LogBatch::put`].
    pub(super) fn again<P: Payload>(self, log: &Group<P>, holding: &Holding) -> Self {
        let extras = log.extras();
        match holding {
            Holding::Entries { .. } => self,
            Holding::LostEntries { first, count, term } => self.lost_entries(*first, *count, *term),
            Holding::Lost(aspect) => self.number(Kind::LostState, *aspect as u64),
            Holding::Batches => self,
            Holding::Sure => self.number(Kind::Accept, Aspect::Batches as u64),
            // Its commit index would win over one that was noted later, so that one comes along.
            Holding::HardState => {
                let batch = log.hard_state.iter().fold(self, |batch, kept| batch.set_hard_state(kept.value));
                batch.again(log, &Holding::NotedCommit)
            }
            Holding::Boundary => extras.boundary.iter().fold(self, |batch, kept| {
                let Boundary { index, term, blob } = &kept.value;
                batch.purge(*index, *term, blob)
            }),
            Holding::Next => extras.told_next.iter().fold(self, |batch, kept| batch.number(Kind::Next, kept.value)),
            Holding::NotedCommit => {
                extras.noted_commit.iter().fold(self, |batch, kept| batch.number(Kind::NoteCommit, kept.value))
            }
            Holding::Snapshot => extras.snapshot.iter().fold(self, |batch, kept| batch.mark(&kept.value)),
            Holding::Meta(key) => {
                extras.meta.get(key).into_iter().fold(self, |batch, kept| batch.set_meta(key, &kept.value))
            }
        }
    }

    /// Damaged entries, told again: as many records as the count needs.
    fn lost_entries(self, first: u64, count: u64, term: u64) -> Self {
        let most = u64::from(u32::MAX);
        (0..count.div_ceil(most)).fold(self, |batch, part| {
            let (first, left) = (first + part * most, count - part * most);
            let count = u32::try_from(left).unwrap_or(u32::MAX);
            batch.add_plain(|group| Record { first, term, count, ..Record::of(group, Kind::Lost) })
        })
    }

    fn mark(mut self, mark: &Mark) -> Self {
        let point = SnapshotPoint { group: self.group, index: mark.index, term: mark.term };
        self.batch.add_snapshot(point, &meta_of(mark), Outcome::Saved);
        self
    }

    fn number(self, kind: Kind, first: u64) -> Self {
        self.add_plain(|group| Record { first, ..Record::of(group, kind) })
    }

    fn add_plain(mut self, record: impl FnOnce(u64) -> Record) -> Self {
        self.batch.add(record(self.group), Content::Nothing);
        self
    }

    /// Keeps the first error for the write.
    fn add(mut self, add: impl FnOnce(&mut Batch, u64) -> Result<()>) -> Self {
        let added = add(&mut self.batch, self.group);
        self.batch.error = self.batch.error.take().or(added.err());
        self
    }
}
