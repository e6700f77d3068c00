//! nodedb-wal: segments that only grow, and a committer where callers that meet share a flush.
//!
//! Past the page cache each flush begins a new block, and its readers stop at the gap before it; so it is used through the
//! page cache, where there are no gaps. It reads from the beginning of a segment on, and nothing else: whatever is read here
//! is scanned for. Its user rolls the segments of a writer that the committer shares, and keeps what was purged in a record
//! of its own. Its second file for torn writes is off: no byte that was acknowledged is written again with another value.

use super::places::Places;
use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM};
use crate::log::{Durability, Log, Page, Setup, Unsupported};
use crate::payload::Payload;
use anyhow::{Context, Result, ensure};
use nodedb_wal::group_commit::PendingWrite;
use nodedb_wal::mmap_reader::MmapWalReader;
use nodedb_wal::record::HEADER_SIZE;
use nodedb_wal::segment::{SegmentMeta, discover_segments, fsync_directory, segment_path, truncate_segments};
use nodedb_wal::writer::WalWriterConfig;
use nodedb_wal::{DwbMode, GroupCommitter, RecordType, WalRecord, WalWriter};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of group and index, where it has a tenant and a database.
const ENTRY: u32 = RecordType::Put as u32;
/// That so many groups were purged up to an index.
const PURGED: u32 = RecordType::Delete as u32;

struct NodedbWal {
    directory: PathBuf,
    segment_bytes: u64,
    writer: Mutex<WalWriter>,
    committer: GroupCommitter,
    /// The first number of the newest segment.
    active: AtomicU64,
    /// Bytes of the newest segment, so that who submits need not wait for the writer to know them.
    filled: AtomicU64,
    state: Mutex<State>,
    purges: Purges,
}

struct State {
    /// No number of a record is larger than that which it has.
    places: Places<u64>,
    /// Goes on where the last read ended; none when something was appended.
    scan: Option<Scan>,
}

fn config() -> WalWriterConfig {
    WalWriterConfig { use_direct_io: false, dwb_mode: Some(DwbMode::Off), ..WalWriterConfig::default() }
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let directory = setup.directory.join("wal");
    std::fs::create_dir_all(&directory)?;
    let segments = discover_segments(&directory)?;
    let mut places = Places::default();
    for segment in &segments {
        for record in MmapWalReader::open(&segment.path)?.records() {
            let WalRecord { header, .. } = record?;
            match header.record_type {
                PURGED => places.purge(header.tenant_id, header.database_id),
                _ => places.add(header.tenant_id, header.database_id, header.lsn)?,
            }
        }
    }
    let (active, writer) = match segments.last() {
        // It takes the first number of an empty segment for 1.
        Some(SegmentMeta { first_lsn, path, file_size: 1.. }) => (*first_lsn, WalWriter::open(path, config())?),
        last => begin(&directory, last.map_or(1, |segment| segment.first_lsn))?,
    };
    Ok(Box::new(NodedbWal {
        directory,
        segment_bytes: setup.segment_bytes,
        filled: AtomicU64::new(writer.file_offset()),
        writer: Mutex::new(writer),
        committer: GroupCommitter::new(),
        active: AtomicU64::new(active),
        state: Mutex::new(State { places, scan: None }),
        purges: Purges::default(),
    }))
}

/// Begins a segment with the record of that number.
fn begin(directory: &Path, first: u64) -> Result<(u64, WalWriter)> {
    let writer = WalWriter::open_with_start_lsn(&segment_path(directory, first), config(), first)?;
    fsync_directory(directory)?;
    Ok((first, writer))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodedbWal {
    /// Makes room for so many bytes, in a new segment if this one is full.
    fn roll(&self, bytes: u64) -> Result<()> {
        if self.filled.fetch_add(bytes, Ordering::Relaxed) < self.segment_bytes {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        if self.filled.load(Ordering::Relaxed) >= self.segment_bytes {
            writer.seal()?;
            let (active, new) = begin(&self.directory, writer.next_lsn())?;
            *writer = new;
            self.active.store(active, Ordering::Relaxed);
            self.filled.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Appends records one after the other. They share a flush, with nobody else.
    fn write<'a>(
        &self,
        entries: impl Iterator<Item = (u64, u64, &'a [u8])> + Clone,
        durability: Durability,
    ) -> Result<()> {
        self.roll(entries.clone().map(|(.., data)| (HEADER_SIZE + data.len()) as u64).sum())?;
        let mut writer = lock(&self.writer);
        let mut added = Vec::new();
        for (group, index, data) in entries {
            added.push((group, index, writer.append(ENTRY, group, TERM as u32, index, data)?));
        }
        if durability == Durability::Durable {
            writer.sync()?;
        }
        drop(writer);
        self.add(added)
    }

    /// Appends a record by the committer, that does not tell its number.
    fn submit(&self, group: u64, index: u64, data: &[u8]) -> Result<()> {
        self.roll((HEADER_SIZE + data.len()) as u64)?;
        let number_min = self.committer.durable_lsn();
        let write = PendingWrite {
            record_type: ENTRY,
            tenant_id: group,
            vshard_id: TERM as u32,
            database_id: index,
            payload: data.to_vec(),
        };
        let committed = self.committer.submit(&self.writer, write)?;
        ensure!(committed.durable, "entry {index} of group {group} is not durable");
        self.add(vec![(group, index, number_min)])
    }

    fn add(&self, added: Vec<(u64, u64, u64)>) -> Result<()> {
        let mut state = lock(&self.state);
        state.scan = None;
        added.into_iter().try_for_each(|(group, index, number)| state.places.add(group, index, number))
    }

    /// Scans for entries: from where the last scan ended, or from the beginning of the segment that has the first one.
    fn read_from(&self, group: u64, range: Range<u64>) -> Result<Vec<Vec<u8>>> {
        // Its readers see what is in the file.
        lock(&self.writer).sync()?;
        let mut state = lock(&self.state);
        let place = state.places.of(group, &(range.start..range.start + 1))?[0];
        let of_one_group = state.places.are_of_one_group();
        let mut scan = match state.scan.take() {
            Some(scan) if scan.has(group, range.start) => scan,
            _ => Scan::from(&self.directory, group, &range, place)?,
        };
        let records = if of_one_group { scan.go_on(&range)? } else { scan.take(group, &range)? };
        state.scan = Some(scan);
        Ok(records)
    }
}

/// A way through the segments.
struct Scan {
    segments: std::vec::IntoIter<SegmentMeta>,
    reader: Option<MmapWalReader>,
    group: u64,
    /// The entry of the group that comes next.
    next: u64,
    /// What else was found on the way, where many groups append: one way for all of them.
    found: HashMap<(u64, u64), Vec<u8>>,
}

impl Scan {
    fn from(directory: &Path, group: u64, range: &Range<u64>, place: u64) -> Result<Scan> {
        let mut segments = discover_segments(directory)?;
        segments.drain(..segments.partition_point(|segment| segment.first_lsn <= place).saturating_sub(1));
        let segments = segments.into_iter();
        Ok(Scan { segments, reader: None, group, next: range.start, found: HashMap::new() })
    }

    /// Whether the entry was found before or is what comes next.
    fn has(&self, group: u64, index: u64) -> bool {
        self.found.contains_key(&(group, index)) || (self.group, self.next) == (group, index)
    }

    fn next_entry(&mut self) -> Result<Option<WalRecord>> {
        loop {
            let record = self.reader.as_mut().map(MmapWalReader::next_record).transpose()?.flatten();
            match record {
                Some(record) if record.header.record_type == ENTRY => return Ok(Some(record)),
                Some(_) => {}
                None => match self.segments.next() {
                    Some(segment) => self.reader = Some(MmapWalReader::open(&segment.path)?),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Goes on to the end of the range, in a log of one group.
    fn go_on(&mut self, range: &Range<u64>) -> Result<Vec<Vec<u8>>> {
        let mut records = Vec::new();
        while self.next < range.end {
            let record = self.next_entry()?.with_context(|| format!("entry {} was not found", self.next))?;
            if record.header.database_id == self.next {
                self.next += 1;
                records.push(record.payload);
            }
        }
        Ok(records)
    }

    /// Takes a range out of what is found on the way to the end.
    fn take(&mut self, group: u64, range: &Range<u64>) -> Result<Vec<Vec<u8>>> {
        while let Some(record) = self.next_entry()? {
            self.found.insert((record.header.tenant_id, record.header.database_id), record.payload);
        }
        let mut take =
            |index| self.found.remove(&(group, index)).with_context(|| format!("entry {index} was not found"));
        range.clone().map(&mut take).collect()
    }
}

impl Log for NodedbWal {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        match (entries, durability) {
            ([data], Durability::Durable) => self.submit(group, first, data),
            _ => self.write((first..).zip(entries).map(|(index, data)| (group, index, *data)), durability),
        }
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        self.write((0..groups).map(|group| (group, index, payload.entry(group, index))), Durability::Durable)
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    fn sync(&self) -> Result<()> {
        Ok(lock(&self.writer).sync()?)
    }

    fn truncate(&self, _: u64) -> Result<()> {
        Err(Unsupported("it drops whole segments only, from the oldest on").into())
    }

    /// The newest segment always stays.
    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut writer = lock(&self.writer);
        let purged = writer.append(PURGED, groups, TERM as u32, upto, &[])?;
        writer.sync()?;
        drop(writer);
        let mut state = lock(&self.state);
        state.scan = None;
        state.places.purge(groups, upto);
        let first = state.places.firsts().min().unwrap_or(purged);
        truncate_segments(&self.directory, first.min(purged), self.active.load(Ordering::Relaxed))?;
        self.purges.count();
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        Ok(Box::new(Buffers { buffers: self.read_from(group, range)?, head_bytes: 0 }))
    }

    fn read_one(&self, _: u64, _: u64) -> Result<Vec<u8>> {
        Err(Unsupported("it finds a single entry only by reading its segment from the beginning on").into())
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(lock(&self.state).places.bounds(group))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
