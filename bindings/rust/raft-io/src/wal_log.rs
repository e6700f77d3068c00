//! The log of one raft-io node: group 0 of a duramen store, with the meanings that raft-io gives to its calls.
//!
//! raft-io writes, then calls `sync`, then sends. So writes are buffered here (the death of the process does not lose
//! them) and `sync` is the one flush.
#![forbid(unsafe_code)]

use duramen::{Durability, Entry, Limit, Log, Options};
use raft_io::{EntryKind, Error, HardState, Index, LogEntry, RaftLog, Result, Snapshot, Term};
use std::fmt;
use std::path::Path;

/// The group of the store that holds the log.
const GROUP: u64 = 0;
/// raft-io counts entries from 1; 0 is its place before the first one.
const FIRST_INDEX: Index = 1;

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
/// - Terms, the last index and the hard state are answered from memory, entries from the disk.
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
    /// [`Error::Storage`] if `path` is a file, or a directory of something else, or in use by another process; if what it
    /// holds is damaged; if it holds a log that no raft-io node can have written; or if the disk fails.
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
        let bounds = log.bounds().map_err(failed(doing))?.unwrap_or(FIRST_INDEX..FIRST_INDEX);
        let count = log.count().map_err(failed(doing))?;
        if bounds.start != FIRST_INDEX || count != bounds.end - bounds.start {
            let found = format!("{count} entries in {}..{}", bounds.start, bounds.end);
            return Err(Error::storage(
                doing,
                format!("it has {found}; raft-io's begin at {FIRST_INDEX}, without a gap"),
            ));
        }
        Ok(WalLog { log })
    }

    /// The duramen log underneath, for what raft-io's trait does not have: positions, the recovery report. Writing through
    /// it while a node runs makes the node's view of its own log wrong.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl RaftLog for WalLog {
    fn last_index(&self) -> Index {
        let last = readable("the last index", self.log.last());
        last.map_or(0, |last| last.index)
    }

    fn last_term(&self) -> Term {
        let last = readable("the last term", self.log.last());
        last.map_or(0, |last| last.term)
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        match index {
            0 => Some(0),
            _ if index > self.last_index() => None,
            _ => Some(readable(format_args!("the term at {index}"), self.log.term(index))),
        }
    }

    fn entry(&self, index: Index) -> Option<LogEntry> {
        if index == 0 || index > self.last_index() {
            return None;
        }
        Some(from_stored(readable(format_args!("entry {index}"), self.log.get(index))))
    }

    fn entries(&self, from: Index, to: Index) -> Vec<LogEntry> {
        let to = to.min(self.last_index());
        if from == 0 || from > to {
            return Vec::new();
        }
        let page = readable(format_args!("entries {from} to {to}"), self.log.read(from..to + 1, Limit::none()));
        page.iter().map(|entry| from_stored(entry.to_owned())).collect()
    }

    fn append(&mut self, entries: &[LogEntry]) -> Result<()> {
        let doing = "appending entries";
        for (expected, entry) in (self.last_index() + 1..).zip(entries) {
            if entry.index != expected {
                let got = entry.index;
                return Err(Error::storage(doing, format!("not contiguous: expected index {expected}, got {got}")));
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry<&[u8]>> = entries.iter().map(to_stored).collect();
        self.log.append_with(&entries, Durability::Buffered).map(drop).map_err(failed(doing))
    }

    fn truncate(&mut self, from: Index) -> Result<()> {
        let doing = "truncating the log";
        if from == 0 {
            return Err(Error::storage(doing, "index 0 lies before the first entry and cannot be removed"));
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

    fn apply_snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        if snapshot.index <= self.snapshot_index() {
            return Ok(());
        }
        Err(Error::storage("applying a snapshot", "snapshots are not supported yet; leave the snapshot threshold at 0"))
    }
}

fn failed(doing: &'static str) -> impl Fn(duramen::Error) -> Error {
    move |error| Error::storage(doing, error)
}

/// What was read; see [`WalLog`] about the panic.
fn readable<T>(what: impl fmt::Display, read: duramen::Result<T>) -> T {
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
