//! How a command ends: the exit codes, and what is told when it could not do its work.
#![forbid(unsafe_code)]

use duramen::{Code, Error};
use std::io;
use std::path::Path;

/// The exit code. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Sound = 0,
    Damaged = 1,
    Usage = 2,
    Io = 3,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store could not be opened or read.
    Store(Error),
    /// Standard output takes nothing more; what was found by then.
    Output(io::Error, Status),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Store(error)
    }
}

/// Standard output is all that a command writes to.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error, Status::Sound)
    }
}

impl Failure {
    /// The exit code, and what is to be told about the store in `dir`.
    pub(crate) fn explain(&self, dir: &Path) -> (Status, Option<String>) {
        match self {
            Failure::Store(error) => (status_of(error.code()), Some(describe(dir, error))),
            // Who stops reading, as `head` does, has what he wanted.
            Failure::Output(error, found) if error.kind() == io::ErrorKind::BrokenPipe => (*found, None),
            Failure::Output(error, _) => (Status::Io, Some(format!("cannot write to standard output: {error}"))),
        }
    }
}

fn status_of(code: Code) -> Status {
    match code {
        Code::Corrupt => Status::Damaged,
        Code::InvalidArgument | Code::NotFound | Code::Compacted | Code::Hole => Status::Usage,
        _ => Status::Io,
    }
}

fn describe(dir: &Path, error: &Error) -> String {
    let (number, name) = (error.code() as i32, error.code().name());
    let (dir, what) = (dir.display().to_string(), error.to_string());
    // Some errors name the directory themselves.
    let place = if what.contains(&dir) { String::new() } else { format!("{dir}: ") };
    let advice = advice(error).map_or(String::new(), |advice| format!("; {advice}"));
    format!("{place}error {number} ({name}): {what}{advice}")
}

/// What to do, where the error does not say it itself.
fn advice(error: &Error) -> Option<&'static str> {
    match error {
        error if error.is_stale() => Some("run the command again"),
        Error::Timeout { .. } => {
            Some("its writer gave space back all the time, run the command again when it is less busy")
        }
        Error::NotAStore { .. } => Some("name the directory that holds the file MANIFEST"),
        Error::Io { .. } => Some("see to the permissions and the disk"),
        Error::NotFound { .. } | Error::Compacted { .. } | Error::Hole { .. } => {
            Some("`duramen inspect` shows which entries there are")
        }
        _ => None,
    }
}
