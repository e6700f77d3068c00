//! One call to the simulated disk, as observers see it and faults select it.
#![forbid(unsafe_code)]

use super::content::PAGE_BYTES;
use std::fmt;
use std::sync::Arc;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// Opens a directory, creating it where that was asked for.
    OpenDirectory,
    /// Lists a directory.
    List,
    /// Opens a file.
    Open,
    /// Creates a file.
    Create,
    /// Removes a file or a directory.
    Remove,
    /// Renames a file.
    Rename,
    /// Makes a directory's names stable.
    SyncDirectory,
    /// Takes a lock.
    Lock,
    /// Asks for a file's size.
    Length,
    /// Reads what the page cache shows.
    Read,
    /// Reads what the disk holds.
    ReadDurable,
    /// Writes.
    Write,
    /// Lengthens a file and takes the room for it.
    Allocate,
    /// Lengthens a file with zeros.
    Prewrite,
    /// Makes a file's bytes stable.
    SyncData,
}

impl OperationKind {
    /// Whether the call can change what a power cut leaves. These are the operations that observers see.
    pub fn changes_the_disk(self) -> bool {
        use OperationKind::{Allocate, Create, Prewrite, Remove, Rename, SyncData, SyncDirectory, Write};
        matches!(self, Create | Remove | Rename | SyncDirectory | Write | Allocate | Prewrite | SyncData)
    }

    /// Whether the call moves bytes.
    pub(super) fn moves_bytes(self) -> bool {
        matches!(self, Self::Read | Self::ReadDurable | Self::Write)
    }

    fn verb(self) -> &'static str {
        match self {
            Self::OpenDirectory => "open directory",
            Self::List => "list",
            Self::Open => "open",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::SyncDirectory => "sync directory",
            Self::Lock => "lock",
            Self::Length => "length of",
            Self::Read => "read",
            Self::ReadDurable => "read durable",
            Self::Write => "write",
            Self::Allocate => "allocate",
            Self::Prewrite => "prewrite",
            Self::SyncData => "sync",
        }
    }
}

/// One call to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Counts the calls that change the disk, from 1 on. A call that does not has the number of the last that did.
    pub number: u64,
    /// What the call does.
    pub kind: OperationKind,
    /// The file it is about; for a directory, its path.
    pub name: Arc<str>,
    /// The new name, of a rename.
    pub new_name: Option<Arc<str>>,
    /// Where it begins, of a read or a write; zero otherwise.
    pub offset: u64,
    /// How many bytes were asked for; of an allocation or a prewrite, the size asked for; zero otherwise.
    pub length: u64,
    /// Whether it is a write past the page cache.
    pub direct: bool,
}

impl Operation {
    pub(super) fn new(kind: OperationKind, name: &Arc<str>) -> Self {
        Self { number: 0, kind, name: Arc::clone(name), new_name: None, offset: 0, length: 0, direct: false }
    }

    pub(super) fn renaming_to(self, name: &Arc<str>) -> Self {
        Self { new_name: Some(Arc::clone(name)), ..self }
    }

    pub(super) fn spanning(self, offset: u64, length: u64) -> Self {
        Self { offset, length, ..self }
    }

    pub(super) fn past_page_cache(self) -> Self {
        Self { direct: true, ..self }
    }

    /// Whether the call may be cut short: it then moves a byte at least; a direct write a block.
    pub(super) fn may_be_short(&self) -> bool {
        let least = if self.direct { PAGE_BYTES as u64 } else { 1 };
        self.kind.moves_bytes() && self.length > least
    }
}

/// One line, such as `#12 write wal-1 4096+512` or `#13 write direct wal-1 4096+4096`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direct = if self.direct { " direct" } else { "" };
        write!(f, "#{} {}{direct} {}", self.number, self.kind.verb(), self.name)?;
        match (&self.new_name, self.kind) {
            (Some(name), _) => write!(f, " to {name}"),
            (None, OperationKind::Allocate | OperationKind::Prewrite) => write!(f, " to {}", self.length),
            (None, kind) if kind.moves_bytes() => write!(f, " {}+{}", self.offset, self.length),
            (None, _) => Ok(()),
        }
    }
}
