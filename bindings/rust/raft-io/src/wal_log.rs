//! The log of one raft-io node: group 0 of a duramen store, with the meanings that raft-io gives to its calls.
//!
//! raft-io writes, then calls `sync`, then sends. So writes are buffered here (the death of the process does not lose
//! them) and `sync` is the one flush.
//!
//! raft-io's snapshot is at once the state and the place where the log begins. So it is installed, never saved and
//! purged: one batch names its file and drops the prefix, and no crash can come between the two.
#![forbid(unsafe_code)]

use duramen::{Damaged, Durability, Entry, EntryId, Limit, Log, Loss, Options, UnnamedSnapshot};
use raft_io::{EntryKind, Error, HardState, Index, LogEntry, NodeId, RaftLog, Result, Snapshot, Term};
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

/// The group of the store that holds the log.
const GROUP: u64 = 0;
/// raft-io counts entries from 1; 0, with term 0, is its place before the first one.
const BEFORE_ALL: EntryId = EntryId { index: 0, term: 0 };
/// A snapshot is checked in pieces of so many bytes.
const PIECE_BYTES: usize = 256 << 10;
const APPLYING: &str = "applying a snapshot";

/// A [`RaftLog`] that survives kills and power cuts, over [duramen].
///
/// What raft-io asks of a log, and what this one does:
///
/// - `append`, `truncate` and `set_hard_state` return when the operating system has the bytes: the death of the process
///   loses none of them. `sync` returns when they survive a power cut as well.
/// - A batch that is given to `append` is there after a crash as a whole, or not at all. A batch that does not follow the
///   log without a gap is refused, and nothing of it is written.
/// - After a failed write or flush no call that writes succeeds any more, until the log is opened again. raft-io takes
///   any such error as the end of the node, and so should its caller.
/// - `apply_snapshot` writes the data to a file of its own, of any size, and flushes it; then one batch names it and
///   drops the entries that it covers. After a crash there is the new snapshot, or the one before with all its entries.
///   The space of what is dropped comes back behind the `sync` that follows.
/// - Terms, the last index and the hard state are answered from memory, entries and snapshots from the disk.
///
/// A path can be opened any number of times in one process: all openings share one log. Another process is refused while
/// one has it open.
///
/// # Panics
///
/// raft-io's reading methods have no way to report an error. An entry that should be there and cannot be read must not
/// look like one that was never written, or the node would act on a log that it does not have. So they panic, with the
/// error's text: when the disk fails, when it does not give back what was written, and when the entry's kind is none that
/// raft-io knows.
#[derive(Debug)]
pub struct WalLog {
    log: Log,
}

impl WalLog {
    /// Opens the log at `path`, a directory that is created if it is missing; its parent must exist.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if `path` is a file, or a directory of something else, or in use by another process; if opening
    /// finds something of the log lost, which the error names: then [`WalLog::open_for_repair`]; if it holds a log that no
    /// raft-io node can have written; or if the disk fails.
    pub fn open(path: impl AsRef<Path>) -> Result<WalLog> {
        WalLog::open_with(&Options::default(), path)
    }

    /// Opens the log at `path` with other options than the default ones: another disk, other limits.
    ///
    /// # Errors
    ///
    /// As [`WalLog::open`]; and if the log is open in this process with other options.
    pub fn open_with(options: &Options, path: impl AsRef<Path>) -> Result<WalLog> {
        let doing = "opening the log";
        let log = options.open(path).map_err(failed(doing))?.log(GROUP);
        if let Some(lost) = lost_in(&log).map_err(failed(doing))? {
            return Err(Error::storage(doing, lost));
        }
        if let Some(strange) = strange_to_raft_io(&log).map_err(failed(doing))? {
            return Err(Error::storage(doing, strange));
        }
        check_snapshot(&log).map_err(failed(doing))?;
        Ok(WalLog { log })
    }

    /// Opens the log at `path` whatever it has lost, to mend it through [`WalLog::log`]. What is lost tells
    /// [`duramen::Log::damage`]. [`duramen::Log::repair`] takes lost entries back from another node's copy: a command is of
    /// kind 0, a configuration of kind 1. [`duramen::Log::accept_loss`] gives something up. A snapshot of the leader's that
    /// covers all that is lost, installed by [`duramen::Log::install_snapshot`], mends entries and snapshot at once. A node
    /// gets a log from [`WalLog::open`], when that takes it: in this one, reads of what is lost panic.
    ///
    /// A lost vote stays lost. A node that goes on with another one may vote twice in a term: set the hard state to a term
    /// that the node has surely not seen, or take the node out of the cluster.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if there is no log that can be opened, or the disk fails.
    pub fn open_for_repair(path: impl AsRef<Path>) -> Result<WalLog> {
        WalLog::open_for_repair_with(&Options::default(), path)
    }

    /// [`WalLog::open_for_repair`] with other options than the default ones.
    ///
    /// # Errors
    ///
    /// As [`WalLog::open_for_repair`]; and if the log is open in this process with other options.
    pub fn open_for_repair_with(options: &Options, path: impl AsRef<Path>) -> Result<WalLog> {
        let store = options.open(path).map_err(failed("opening the log for repair"))?;
        Ok(WalLog { log: store.log(GROUP) })
    }

    /// The duramen log underneath, for what raft-io's trait does not have: positions, the recovery report. Writing through
    /// it while a node runs makes the node's view of its own log wrong.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What the current snapshot covers. The log begins behind it.
    fn base(&self) -> EntryId {
        readable("the snapshot's index", self.log.snapshot_id()).unwrap_or(BEFORE_ALL)
    }

    fn holds(&self, index: Index) -> bool {
        self.base().index < index && index <= self.last_index()
    }

    /// Writes a snapshot to a file of its own. Nothing names it yet.
    fn stage(&self, snapshot: &Snapshot) -> Result<UnnamedSnapshot> {
        let Snapshot { index, term, config, data } = snapshot;
        let mut writer = self.log.snapshot_writer().map_err(failed(APPLYING))?;
        writer.write_all(data).map_err(failed(APPLYING))?;
        writer.finish(*index, *term, &config_to_bytes(config)).map_err(failed(APPLYING))
    }
}

impl RaftLog for WalLog {
    fn last_index(&self) -> Index {
        let bounds = readable("the last index", self.log.bounds());
        bounds.map_or(BEFORE_ALL.index, |bounds| bounds.end - 1)
    }

    fn last_term(&self) -> Term {
        let last = readable("the last term", self.log.last());
        last.unwrap_or_else(|| self.base()).term
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        let base = self.base();
        if index == base.index {
            return Some(base.term);
        }
        self.holds(index).then(|| readable(format_args!("the term at {index}"), self.log.term(index)))
    }

    fn entry(&self, index: Index) -> Option<LogEntry> {
        self.holds(index).then(|| from_stored(readable(format_args!("entry {index}"), self.log.get(index))))
    }

    fn entries(&self, from: Index, to: Index) -> Vec<LogEntry> {
        let (first, last) = (from.max(self.base().index + 1), to.min(self.last_index()));
        if from == 0 || first > last {
            return Vec::new();
        }
        let page = readable(format_args!("entries {first} to {last}"), self.log.read(first..last + 1, Limit::none()));
        page.iter().map(|entry| from_stored(entry.to_owned())).collect()
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<()> {
        let doing = "appending entries";
        let mut expected = self.last_index() + 1;
        for LogEntry { index: got, .. } in entries {
            if *got != expected {
                return Err(Error::storage(doing, format!("not contiguous: expected index {expected}, got {got}")));
            }
            // duramen refuses the highest number there is, which nothing can follow.
            expected = expected.saturating_add(1);
        }
        if entries.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry<&[u8]>> = entries.iter().map(to_stored).collect();
        self.log.append_with(&entries, Durability::Buffered).map(drop).map_err(failed(doing))
    }

    fn truncate(&mut self, from: Index) -> Result<()> {
        let doing = "truncating the log";
        let base = self.base().index;
        if from <= base {
            return Err(Error::storage(doing, format!("index {from} cannot be removed, the log begins behind {base}")));
        }
        self.log.truncate_from_with(from, Durability::Buffered).map(drop).map_err(failed(doing))
    }

    fn hard_state(&self) -> HardState {
        let stored = readable("the hard state", self.log.hard_state());
        stored.map_or_else(HardState::default, |state| HardState { term: state.term, voted_for: state.vote })
    }

    fn set_hard_state(&mut self, state: HardState) -> Result<()> {
        let state = duramen::HardState { term: state.term, vote: state.voted_for, commit: None };
        let written = self.log.set_hard_state_with(state, Durability::Buffered);
        written.map(drop).map_err(failed("saving the hard state"))
    }

    fn sync(&mut self) -> Result<()> {
        self.log.sync().map(drop).map_err(failed("flushing the log"))
    }

    fn snapshot_index(&self) -> Index {
        self.base().index
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let stored = readable("the snapshot", self.log.snapshot())?;
        let (index, term, config) = (stored.index(), stored.term(), config_from_bytes(stored.config()));
        let config = config.unwrap_or_else(|strange| panic!("the snapshot at {index} cannot be read: {strange}"));
        let data = readable(format_args!("the snapshot at {index}"), data_of(stored));
        Some(Snapshot::with_config(index, term, config, data))
    }

    fn apply_snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        if snapshot.index <= self.base().index {
            return Ok(());
        }
        let staged = self.stage(snapshot)?;
        self.log.install_snapshot_with(staged, Durability::Buffered).map(drop).map_err(failed(APPLYING))
    }
}

/// What the log has lost, and where the first damage lies, if there is any.
fn lost_in(log: &Log) -> duramen::Result<Option<String>> {
    let lost: Vec<String> = log.damage()?.into_iter().map(describe_loss).collect();
    if lost.is_empty() {
        return Ok(None);
    }
    let (group, lost) = (log.group(), lost.join(", "));
    let store = log.store();
    let place =
        store.recovery_report().damaged.first().map_or_else(String::new, |Damaged { file, offset, detail, .. }| {
            format!(" ({file} at offset {offset}: {detail})")
        });
    Ok(Some(format!("corrupt: group {group} has lost {lost}{place}; mend it through `WalLog::open_for_repair`")))
}

fn describe_loss(loss: Loss) -> String {
    match loss {
        Loss::Entries { first, last, term } => format!("entries {first} to {last} of term {term}"),
        Loss::HardState => "its term and vote".to_owned(),
        Loss::Metadata => "its metadata".to_owned(),
        Loss::BoundaryBlob => "the bytes kept with its boundary".to_owned(),
        Loss::Log => "nobody knows which entries".to_owned(),
        Loss::Snapshot => "its snapshot".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Why no raft-io node can have written this log, if so.
fn strange_to_raft_io(log: &Log) -> duramen::Result<Option<String>> {
    let boundary = log.boundary()?.map(|boundary| EntryId { index: boundary.index, term: boundary.term });
    let snapshot = log.snapshot_id()?;
    if boundary != snapshot {
        let [purged, snapshot] = [boundary, snapshot].map(describe_place);
        return Ok(Some(format!(
            "it is purged up to {purged}, and its snapshot is of {snapshot}; raft-io has one place"
        )));
    }
    let first = snapshot.unwrap_or(BEFORE_ALL).index + 1;
    let (bounds, count) = (log.bounds()?.unwrap_or(first..first), log.count()?);
    let is_usual = bounds.start == first && count == bounds.end - first;
    Ok((!is_usual).then(|| {
        let found = format!("it has {count} entries in {}..{}", bounds.start, bounds.end);
        format!("{found}; raft-io's begin at {first}, without a gap")
    }))
}

fn describe_place(place: Option<EntryId>) -> String {
    place.map_or("nothing".to_owned(), |EntryId { index, term }| format!("index {index} in term {term}"))
}

/// Finds damage while it can still be reported.
fn check_snapshot(log: &Log) -> io::Result<()> {
    let Some(mut stored) = log.snapshot().map_err(io::Error::other)? else { return Ok(()) };
    config_from_bytes(stored.config()).map_err(io::Error::other)?;
    let mut piece = vec![0; PIECE_BYTES];
    while stored.read(&mut piece)? > 0 {}
    Ok(())
}

/// The data of a snapshot, put into memory once.
fn data_of(mut stored: duramen::Snapshot) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(stored.data_bytes()).map_err(io::Error::other)?;
    let mut data = vec![0; bytes];
    stored.read_exact(&mut data)?;
    Ok(data)
}

/// The members' numbers, eight bytes each, little-endian, in raft-io's order.
fn config_to_bytes(members: &[NodeId]) -> Vec<u8> {
    members.iter().flat_map(|member| member.to_le_bytes()).collect()
}

fn config_from_bytes(bytes: &[u8]) -> std::result::Result<Vec<NodeId>, String> {
    let (members, rest) = bytes.as_chunks();
    match rest {
        [] => Ok(members.iter().map(|member| NodeId::from_le_bytes(*member)).collect()),
        _ => Err(format!("its members take {} bytes, each one takes 8", bytes.len())),
    }
}

fn failed<E: fmt::Display>(doing: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::storage(doing, error)
}

/// What was read; see [`WalLog`] about the panic.
fn readable<T, E: fmt::Display>(what: impl fmt::Display, read: std::result::Result<T, E>) -> T {
    read.unwrap_or_else(|error| panic!("{what} cannot be read: {error}"))
}

fn to_stored(entry: &LogEntry) -> Entry<&[u8]> {
    let kind = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::Config => 1,
    };
    Entry::new(entry.index, entry.term, entry.command.as_slice()).with_kind(kind)
}

fn from_stored(entry: Entry) -> LogEntry {
    let kind = match entry.kind {
        0 => EntryKind::Normal,
        1 => EntryKind::Config,
        kind => panic!("entry {} cannot be read: it is of kind {kind}, raft-io knows 0 and 1", entry.index),
    };
    LogEntry { term: entry.term, index: entry.index, kind, command: entry.data }
}
