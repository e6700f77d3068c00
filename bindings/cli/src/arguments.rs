//! The command line: what can be asked, and what `--help` says of it.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "\
Exit codes:
  0  sound: everything that was looked at is as it was written
  1  damaged: something that was acknowledged is lost or not as it was written, or the store cannot be opened for that
  2  usage: bad arguments, or an entry that is not in the log
  3  io: not a store, a format of a newer version, no permission, a disk that fails, or a writer that is too busy

What was under way when a writer died is no damage. Codes of errors: core/ERRORS.md in the sources of duramen.";

const VERIFY: &str = "\
Reads every batch, every entry and every snapshot, and reports what is damaged: batches by file, offset and number, and what
is lost with them by group, indexes and term. Shows on a terminal how far it has come.

It reads through the page cache, where a live writer's bytes are. What the disk itself gives back shows when the operating
system has not read these files for a while, or after `echo 1 > /proc/sys/vm/drop_caches`.";

const LONG_ABOUT: &str = "\
Looks into a duramen store: a directory with the write-ahead log of one or many Raft groups.

All commands only read. They take no lock and change nothing, so they may be used while a process writes the store; they
show one state of it, with everything that was durable when the command was started.";

/// Looks into a duramen store, beside the process that writes it, and changes nothing.
#[derive(Debug, Parser)]
#[command(name = "duramen", version, about, long_about = LONG_ABOUT, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Files, groups and what opening found
    #[command(after_help = EXIT_CODES)]
    Inspect(Inspect),
    /// Everything in the store: the state and all entries of every group
    #[command(after_help = EXIT_CODES)]
    Dump(Dump),
    /// The bytes of one entry
    #[command(after_help = EXIT_CODES)]
    Get(Get),
    /// Reads every batch, entry and snapshot, and reports what is damaged
    #[command(long_about = VERIFY, after_help = EXIT_CODES)]
    Verify(Verify),
}

impl Command {
    /// The directory of the store that it is about.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Command::Inspect(Inspect { dir, .. })
            | Command::Dump(Dump { dir, .. })
            | Command::Get(Get { dir, .. })
            | Command::Verify(Verify { dir, .. }) => dir,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// One JSON object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// This group only
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<u64>,
    /// Entries from this index on
    #[arg(long, value_name = "I", default_value_t = 0)]
    pub(crate) from: u64,
    /// Entries below this index
    #[arg(long, value_name = "I", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) to: u64,
    /// One JSON object for each group and each entry, on a line each
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The entry's index
    pub(crate) index: u64,
    /// The group
    #[arg(long, value_name = "G", default_value_t = 0)]
    pub(crate) group: u64,
    /// One JSON object instead of the bytes
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// One JSON object for each damage, and one for the sum of it, on a line each
    #[arg(long)]
    pub(crate) json: bool,
}
