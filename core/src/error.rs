//! The one error type, and the one table of codes that all five languages are built from.
//!
//! Variants are named for what the caller does next. Messages say what happened, where, with both values that disagree,
//! and what can be done.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The stable number of each error, the same in every language. Numbers are never given a new meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each code is described by the error variant of the same name")]
pub enum Code {
    InvalidArgument = 1,
    NotFound = 2,
    Compacted = 3,
    NotContiguous = 4,
    TooLarge = 5,
    Corrupt = 6,
    Poisoned = 7,
    Locked = 8,
    Closed = 9,
    NoSpace = 10,
    Io = 11,
    UnsupportedFormat = 12,
    NotAStore = 13,
    Timeout = 14,
    Forked = 15,
    NoMemory = 16,
    Hole = 17,
    OptionsConflict = 18,
    Panic = 99,
}

impl Code {
    /// Every code, in the order of its number.
    pub const ALL: [Code; 19] = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::Compacted,
        Code::NotContiguous,
        Code::TooLarge,
        Code::Corrupt,
        Code::Poisoned,
        Code::Locked,
        Code::Closed,
        Code::NoSpace,
        Code::Io,
        Code::UnsupportedFormat,
        Code::NotAStore,
        Code::Timeout,
        Code::Forked,
        Code::NoMemory,
        Code::Hole,
        Code::OptionsConflict,
        Code::Panic,
    ];

    /// The code's name in lower case with underscores, the same in every language.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid_argument",
            Code::NotFound => "not_found",
            Code::Compacted => "compacted",
            Code::NotContiguous => "not_contiguous",
            Code::TooLarge => "too_large",
            Code::Corrupt => "corrupt",
            Code::Poisoned => "poisoned",
            Code::Locked => "locked",
            Code::Closed => "closed",
            Code::NoSpace => "no_space",
            Code::Io => "io",
            Code::UnsupportedFormat => "unsupported_format",
            Code::NotAStore => "not_a_store",
            Code::Timeout => "timeout",
            Code::Forked => "forked",
            Code::NoMemory => "no_memory",
            Code::Hole => "hole",
            Code::OptionsConflict => "options_conflict",
            Code::Panic => "panic",
        }
    }
}

/// What went wrong. [`Error::code`] gives the number that all languages share.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call can never succeed as it is; nothing was changed.
    #[error("invalid argument: {detail}")]
    InvalidArgument {
        /// What is wrong with it.
        detail: String,
    },

    /// There is no entry at this index: it lies at or past the end of the log.
    #[error("group {group} has no entry {index}: {}", describe_next(.next))]
    NotFound {
        /// The group that was asked.
        group: u64,
        /// The index that was asked for.
        index: u64,
        /// The index that an append would take; none when the log is empty and any is accepted.
        next: Option<u64>,
    },

    /// The index lies at or below the boundary: the entry was purged.
    #[error("group {group}: index {index} is compacted, the log was purged up to and including {boundary}")]
    Compacted {
        /// The group that was asked.
        group: u64,
        /// The index that was asked for.
        index: u64,
        /// The last purged index.
        boundary: u64,
    },

    /// An append must begin at the next index and go on without a gap or an overlap; nothing was changed.
    #[error("group {group}: not contiguous: expected index {expected}, got {got}")]
    NotContiguous {
        /// The group that was written.
        group: u64,
        /// The index that would have been accepted.
        expected: u64,
        /// The index that was given.
        got: u64,
    },

    /// A limit of the options would be passed; nothing was changed.
    #[error("{what} is too large: {size}, the limit is {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit, in the same unit; an option of the same name sets it.
        limit: u64,
    },

    /// Bytes that were acknowledged as durable are not there any more, or not as they were written.
    #[error("corrupt: {file} at offset {offset}: {detail}; restore this node from its peers or a backup")]
    Corrupt {
        /// The damaged file's name inside the store's directory.
        file: String,
        /// Where in the file, in bytes.
        offset: u64,
        /// The sequence number of the damaged batch, where it is known.
        batch: Option<u64>,
        /// What was found, with both values that disagree.
        detail: String,
    },

    /// An entry that was acknowledged as durable is damaged, by name. All others can be read.
    #[error(
        "corrupt: entry {index} of group {group}: {detail}, in {file} at offset {offset}; it has term {term}: give a peer's copy \
         to `repair`, or accept the loss"
    )]
    EntryLost {
        /// The group that was asked.
        group: u64,
        /// The index of the damaged entry.
        index: u64,
        /// Its term.
        term: u64,
        /// The file that holds what is left of it.
        file: String,
        /// Where in the file, in bytes; 0 where nobody knows.
        offset: u64,
        /// What was found.
        detail: String,
    },

    /// Something of a group that is no entry was acknowledged as durable and is damaged, or in doubt because nobody knows what a
    /// damaged batch did.
    #[error(
        "corrupt: the {what} of group {group} is lost or in doubt; set it anew from what is known elsewhere, or accept the loss"
    )]
    StateLost {
        /// The group that was asked.
        group: u64,
        /// What is lost.
        what: &'static str,
    },

    /// An earlier write or flush failed, so nothing more is written. Reads go on; reopening the store heals it.
    #[error("the store is poisoned by an earlier failure ({cause}); close it and open it again")]
    Poisoned {
        /// The first failure.
        cause: Arc<Error>,
    },

    /// Another process, or an exclusive opening in this one, owns the directory.
    #[error("{} is locked by {}", path.display(), describe_holder(.pid))]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process that holds it, where the lock file tells.
        pid: Option<u32>,
    },

    /// The store was closed; open it again.
    #[error("the store is closed")]
    Closed,

    /// The disk is full; nothing was changed, and the store goes on by itself when space returns.
    #[error("no space left on the device: {op} {file}: {source}")]
    NoSpace {
        /// What was attempted.
        op: &'static str,
        /// The file's name inside the store's directory.
        file: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// The operating system reported an error.
    #[error("{op} {file}: {source}")]
    Io {
        /// What was attempted.
        op: &'static str,
        /// The path, or the file's name inside the store's directory.
        file: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },

    /// The store was written by a newer version, or uses a feature that this version does not know.
    #[error("{file} has format {found}, this version reads {supported}; open it with a newer version")]
    UnsupportedFormat {
        /// The file's name inside the store's directory.
        file: String,
        /// What stands in the file.
        found: String,
        /// What this version reads.
        supported: String,
    },

    /// The path does not hold a store.
    #[error("{} is not a store: {detail}", path.display())]
    NotAStore {
        /// The path that was opened.
        path: PathBuf,
        /// What was found there.
        detail: String,
    },

    /// What was waited for did not happen in time; it may still happen.
    #[error("timed out after {waited:?}")]
    Timeout {
        /// How long was waited.
        waited: Duration,
    },

    /// The handle belongs to the parent process; open the store again in this one.
    #[error("this handle was opened by the parent process; open the store again after a fork")]
    Forked,

    /// Memory could not be allocated; nothing was changed.
    #[error("out of memory: {bytes} bytes could not be allocated")]
    NoMemory {
        /// How many bytes were asked for.
        bytes: u64,
    },

    /// The index lies inside the log but no entry was ever put there, or it was removed.
    #[error("group {group} has a hole at index {index}")]
    Hole {
        /// The group that was asked.
        group: u64,
        /// The index that was asked for.
        index: u64,
    },

    /// The store is open in this process with another value of an option.
    #[error("the store is already open in this process with {option} = {open}, this opening asks for {asked}")]
    OptionsConflict {
        /// The option's name.
        option: &'static str,
        /// Its value in the store that is open.
        open: String,
        /// Its value in this opening.
        asked: String,
    },

    /// A panic was caught inside; the store is poisoned.
    #[error("internal error: {detail}")]
    Panic {
        /// The panic's message.
        detail: String,
    },
}

impl Error {
    /// The error's stable number.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument { .. } => Code::InvalidArgument,
            Error::NotFound { .. } => Code::NotFound,
            Error::Compacted { .. } => Code::Compacted,
            Error::NotContiguous { .. } => Code::NotContiguous,
            Error::TooLarge { .. } => Code::TooLarge,
            Error::Corrupt { .. } | Error::EntryLost { .. } | Error::StateLost { .. } => Code::Corrupt,
            Error::Poisoned { .. } => Code::Poisoned,
            Error::Locked { .. } => Code::Locked,
            Error::Closed => Code::Closed,
            Error::NoSpace { .. } => Code::NoSpace,
            Error::Io { .. } => Code::Io,
            Error::UnsupportedFormat { .. } => Code::UnsupportedFormat,
            Error::NotAStore { .. } => Code::NotAStore,
            Error::Timeout { .. } => Code::Timeout,
            Error::Forked => Code::Forked,
            Error::NoMemory { .. } => Code::NoMemory,
            Error::Hole { .. } => Code::Hole,
            Error::OptionsConflict { .. } => Code::OptionsConflict,
            Error::Panic { .. } => Code::Panic,
        }
    }

    /// Is it that of a read through a [`ReadOnlyStore`](crate::ReadOnlyStore) whose writer has given back meanwhile what was
    /// asked for? It says nothing about the store: after a [refresh](crate::ReadOnlyStore::refresh) the read may be made again.
    pub fn is_stale(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::StaleNetworkFileHandle)
    }

    /// See [`Error::is_stale`].
    pub(crate) fn stale(file: &str) -> Error {
        let why = "its space was given back since the store was opened for reading; refresh and read again";
        Error::io("read", file, io::Error::new(io::ErrorKind::StaleNetworkFileHandle, why))
    }

    /// An operating-system error, told apart by what the caller can do: a full disk is [`Error::NoSpace`].
    pub(crate) fn io(op: &'static str, file: impl Into<String>, source: io::Error) -> Error {
        let (file, full) =
            (file.into(), matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
        let source = Arc::new(source);
        if full { Error::NoSpace { op, file, source } } else { Error::Io { op, file, source } }
    }

    /// The error as one of the standard library's, for a reader or a writer; `otherwise` is its kind where the operating
    /// system named none.
    pub(crate) fn into_io(self, otherwise: io::ErrorKind) -> io::Error {
        let kind = match &self {
            Error::Io { source, .. } | Error::NoSpace { source, .. } => source.kind(),
            _ => otherwise,
        };
        io::Error::new(kind, self)
    }

    pub(crate) fn io_path(op: &'static str, path: &Path, source: io::Error) -> Error {
        Error::io(op, path.display().to_string(), source)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Error {
        Error::InvalidArgument { detail: detail.into() }
    }
}

fn describe_next(next: &Option<u64>) -> String {
    next.map_or("the log is empty".into(), |next| format!("the next index is {next}"))
}

fn describe_holder(pid: &Option<u32>) -> String {
    pid.map_or("another process".into(), |pid| format!("process {pid}"))
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
