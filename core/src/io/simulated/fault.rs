//! Failures that a test asks for: which call fails, how often, and how.
#![forbid(unsafe_code)]

use super::injections::Injection;
use super::operation::{Operation, OperationKind};
use std::io;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// EIO. A write, an allocation or a prewrite may have done part of its work. A flush leaves of everything unflushed
    /// whatever it likes on the disk, calls some of the pages clean, and goes on showing the new bytes; where they went past
    /// the page cache it may show what the disk has.
    InputOutput,
    /// ENOSPC. A write, an allocation or a prewrite may have done part of its work; a flush is as with `InputOutput`.
    NoSpace,
    /// EDQUOT, otherwise as `NoSpace`.
    QuotaExceeded,
    /// EINTR, with nothing done: the call may be made again.
    Interrupted,
    /// No error: a read or a write of more than one byte moves fewer than it was asked for; a direct write of more than one
    /// block, fewer sectors. Selects no other call.
    Short,
    /// EROFS; a flush is as with `InputOutput`.
    ReadOnly,
    /// EMFILE.
    TooManyOpenFiles,
    /// EACCES.
    PermissionDenied,
}

impl Failure {
    /// The error that the caller gets.
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::InputOutput | Self::Short => libc::EIO,
            Self::NoSpace => libc::ENOSPC,
            Self::QuotaExceeded => libc::EDQUOT,
            Self::Interrupted => libc::EINTR,
            Self::ReadOnly => libc::EROFS,
            Self::TooManyOpenFiles => libc::EMFILE,
            Self::PermissionDenied => libc::EACCES,
        })
    }

    /// Whether the call may have done part of its work.
    pub(super) fn leaves_a_part(self) -> bool {
        matches!(self, Self::InputOutput | Self::NoSpace | Self::QuotaExceeded)
    }

    pub(super) fn injection(self, kind: OperationKind) -> Injection {
        match (self, kind) {
            (Self::Short, OperationKind::Write) => Injection::ShortWrite,
            (Self::Short, _) => Injection::ShortRead,
            (Self::InputOutput, OperationKind::Write) => Injection::EioWrite,
            (Self::InputOutput, OperationKind::Read | OperationKind::ReadDurable) => Injection::EioRead,
            (Self::InputOutput, OperationKind::SyncData) => Injection::EioFlush,
            (Self::InputOutput, OperationKind::SyncDirectory) => Injection::EioDirectorySync,
            (Self::InputOutput, _) => Injection::EioOther,
            (Self::NoSpace, _) => Injection::NoSpace,
            (Self::QuotaExceeded, _) => Injection::QuotaExceeded,
            (Self::Interrupted, _) => Injection::Interrupted,
            (Self::ReadOnly, _) => Injection::ReadOnly,
            (Self::TooManyOpenFiles, _) => Injection::TooManyOpenFiles,
            (Self::PermissionDenied, _) => Injection::PermissionDenied,
        }
    }
}

/// How many of the selected calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// One.
    Once,
    /// It and all after it.
    ForEver,
}

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// All of them.
    Any,
    /// Those that can change what a power cut leaves.
    Changing,
    /// Those of one kind.
    Only(OperationKind),
}

/// A failure to come. `Fault::new(Calls::Only(OperationKind::Write), Failure::InputOutput)` makes the next write fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The calls it selects.
    pub calls: Calls,
    /// Only calls about a file whose name contains this; for a directory, about its path.
    pub name_contains: Option<String>,
    /// Which of the selected calls from now on fails first; 1 is the next one.
    pub nth: u64,
    /// How many fail.
    pub times: Times,
    /// How they fail.
    pub failure: Failure,
}

impl Fault {
    /// The next such call fails, once.
    pub fn new(calls: Calls, failure: Failure) -> Self {
        Self { calls, name_contains: None, nth: 1, times: Times::Once, failure }
    }

    /// Only calls about names that contain `part`.
    pub fn named(self, part: &str) -> Self {
        Self { name_contains: Some(part.to_owned()), ..self }
    }

    /// The `nth` such call from now on; 1 is the next one.
    pub fn nth(self, nth: u64) -> Self {
        Self { nth, ..self }
    }

    /// That call and all such calls after it.
    pub fn for_ever(self) -> Self {
        Self { times: Times::ForEver, ..self }
    }

    fn selects(&self, operation: &Operation) -> bool {
        let kind = match self.calls {
            Calls::Any => true,
            Calls::Changing => operation.kind.changes_the_disk(),
            Calls::Only(kind) => kind == operation.kind,
        };
        let possible = self.failure != Failure::Short || operation.may_be_short();
        let named = self.name_contains.as_deref().is_none_or(|part| operation.name.contains(part));
        kind && possible && named
    }
}

/// The failures still to come.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts this call for every fault that selects it; the first one whose turn it is decides.
    pub(super) fn strike(&mut self, operation: &Operation) -> Option<Failure> {
        let mut failure = None;
        self.0.retain_mut(|fault| {
            if !fault.selects(operation) {
                return true;
            }
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth > 0 || failure.is_some() {
                return true;
            }
            failure = Some(fault.failure);
            fault.times == Times::ForEver
        });
        failure
    }
}
