//! The values a Raft group keeps: entries, their ids, and the hard state. Plain data; it knows neither bytes on disk
//! nor files.
#![forbid(unsafe_code)]

/// One entry of a Raft log.
///
/// `D` is whatever holds the bytes: a borrowed slice when appending, `Vec<u8>` when an entry is returned on its own,
/// a slice of the page when it is read from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry<D = Vec<u8>> {
    /// The entry's place in its log. 0 is an ordinary index; `u64::MAX` is refused.
    pub index: u64,
    /// The term in which the entry was created.
    pub term: u64,
    /// The caller's own tag; the log stores it and gives it no meaning.
    pub kind: u8,
    /// The payload.
    pub data: D,
}

impl<D> Entry<D> {
    /// An entry of kind 0.
    pub fn new(index: u64, term: u64, data: D) -> Self {
        Entry { index, term, kind: 0, data }
    }

    /// The same entry with another kind.
    pub fn with_kind(self, kind: u8) -> Self {
        Entry { kind, ..self }
    }

    /// The entry's index and term.
    pub fn id(&self) -> EntryId {
        EntryId { index: self.index, term: self.term }
    }
}

impl<D: AsRef<[u8]>> Entry<D> {
    /// The same entry with its bytes borrowed.
    pub fn borrowed(&self) -> Entry<&[u8]> {
        Entry { index: self.index, term: self.term, kind: self.kind, data: self.data.as_ref() }
    }

    /// The same entry with bytes of its own.
    pub fn to_owned(&self) -> Entry {
        Entry { index: self.index, term: self.term, kind: self.kind, data: self.data.as_ref().to_vec() }
    }
}

/// What identifies an entry among all logs of its group: its index and its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
}

/// The small state that a Raft node must find again after a restart (Raft paper, figure 2: `currentTerm`, `votedFor`;
/// and the commit index, which many libraries keep beside them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HardState {
    /// The latest term the node has seen.
    pub term: u64,
    /// Whom the node voted for in that term; no number stands for "nobody".
    pub vote: Option<u64>,
    /// The highest index known to be committed, where the caller keeps it.
    pub commit: Option<u64>,
}

/// Where a log begins after a purge: the last index that is gone, with its term, and what the caller keeps with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Boundary {
    /// The last purged index.
    pub index: u64,
    /// The term of the entry that was there.
    pub term: u64,
    /// The caller's own bytes.
    pub blob: Vec<u8>,
}
