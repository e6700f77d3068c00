//! commitlog: a log that finds an entry by its offset in an index file, and keeps nothing in memory for it.
//!
//! Its `flush` does not reach the disk: it flushes a buffer that a file does not have. So no append and no cut is durable,
//! and what was only buffered is flushed from outside.

use super::groups::Groups;
use super::{NO_TERMS, Purges};
use crate::log::{Durability, Log, Page, Setup, Unsupported};
use crate::payload::Payload;
use anyhow::{Context, Result, bail, ensure};
use commitlog::message::{HEADER_SIZE, MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

const NOT_DURABLE: Unsupported = Unsupported("its flush does not reach the disk, so nothing it does is durable");

const MESSAGES_BYTES_MAX: usize = 64 << 20;
const FOLDER: &str = "from-";

struct Commitlog {
    groups: Groups<One>,
    purges: Purges,
}

/// The log of one group. Offsets begin at 0, so a log that was purged is a new one in a folder with its first index.
struct One {
    directory: PathBuf,
    segment_bytes: usize,
    first: u64,
    log: CommitLog,
    /// Of the largest entry that was seen, or more.
    data_bytes: usize,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let segment_bytes = usize::try_from(setup.segment_bytes)?;
    let groups = Groups::open(&setup.directory, move |path| One::open(path, segment_bytes))?;
    Ok(Box::new(Commitlog { groups, purges: Purges::default() }))
}

impl One {
    fn open(directory: &Path, segment_bytes: usize) -> Result<One> {
        fs::create_dir_all(directory)?;
        let mut first = 1;
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            first = name.strip_prefix(FOLDER).context("a folder that is not its own")?.parse()?;
        }
        One::at(directory, segment_bytes, first)
    }

    fn at(directory: &Path, segment_bytes: usize, first: u64) -> Result<One> {
        let mut options = LogOptions::new(directory.join(format!("{FOLDER}{first}")));
        options.segment_max_bytes(segment_bytes).message_max_bytes(MESSAGES_BYTES_MAX);
        Ok(One { directory: directory.to_owned(), segment_bytes, first, log: CommitLog::new(options)?, data_bytes: 0 })
    }

    fn append(&mut self, first: u64, entries: &[&[u8]]) -> Result<()> {
        if self.log.next_offset() == 0 {
            self.begin_at(first)?;
        }
        ensure!(self.bounds().end == first, "{first} does not follow {:?}", self.bounds());
        self.data_bytes = entries.iter().map(|data| data.len()).fold(self.data_bytes, usize::max);
        let mut messages: MessageBuf = entries.iter().collect();
        self.log.append(&mut messages)?;
        Ok(())
    }

    /// Drops all entries.
    fn begin_at(&mut self, first: u64) -> Result<()> {
        if self.first == first {
            return Ok(());
        }
        let old = self.directory.join(format!("{FOLDER}{}", self.first));
        *self = One::at(&self.directory, self.segment_bytes, first)?;
        Ok(fs::remove_dir_all(old)?)
    }

    fn bounds(&self) -> Range<u64> {
        self.first..self.first + self.log.next_offset()
    }

    /// A read ends with a segment, and takes as many bytes at most as entries of the largest size that was seen.
    fn read(&mut self, range: Range<u64>) -> Result<Messages> {
        let mut messages = Messages { sets: Vec::new(), count: usize::try_from(range.end - range.start)? };
        let mut next = range.start;
        while next < range.end {
            let bytes = usize::try_from(range.end - next)? * (self.data_bytes + HEADER_SIZE);
            match self.log.read(next - self.first, ReadLimit::max_bytes(bytes.min(MESSAGES_BYTES_MAX))) {
                Ok(set) if set.len() > 0 => {
                    ensure!(set.verify_hashes().is_ok(), "a message of those from {next} on is damaged");
                    next += set.len() as u64;
                    messages.sets.push(set);
                }
                _ if self.data_bytes < MESSAGES_BYTES_MAX => self.data_bytes = 2 * self.data_bytes + HEADER_SIZE,
                _ => bail!("there is no entry {next}"),
            }
        }
        Ok(messages)
    }

    fn sync(&mut self) -> Result<()> {
        self.log.flush()?;
        for file in fs::read_dir(self.directory.join(format!("{FOLDER}{}", self.first)))? {
            File::open(file?.path())?.sync_data()?;
        }
        Ok(())
    }
}

impl Log for Commitlog {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => Err(NOT_DURABLE.into()),
            Durability::Buffered => self.groups.with(group, |log| log.append(first, entries)),
        }
    }

    fn append_to_groups(&self, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(NOT_DURABLE.into())
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(NOT_DURABLE.into())
    }

    fn sync(&self) -> Result<()> {
        self.groups.each(|_, log| log.sync())
    }

    fn truncate(&self, _: u64) -> Result<()> {
        Err(NOT_DURABLE.into())
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        self.groups.each(|group, log| match (group < groups, log.bounds().end > upto + 1) {
            (false, _) => Ok(()),
            (true, false) => log.begin_at(upto + 1),
            (true, true) => Err(Unsupported("it drops nothing from the front").into()),
        })
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        self.groups.with(group, |log| Ok(Box::new(log.read(range)?) as Box<dyn Page>))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let messages = self.groups.with(group, |log| log.read(index..index + 1))?;
        let message = messages.sets.first().and_then(|set| set.iter().next());
        Ok(message.with_context(|| format!("there is no entry {index}"))?.payload().to_vec())
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        self.groups.with(group, |log| Ok(log.bounds()))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

/// Messages of several reads; the last one may have more than were asked for.
struct Messages {
    sets: Vec<MessageBuf>,
    count: usize,
}

impl Page for Messages {
    fn len(&self) -> usize {
        self.count
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        let mut messages = self.sets.iter().flat_map(MessageSet::iter).take(self.count);
        match (0..).zip(&mut messages).find(|(_, message)| !accept(message.payload())) {
            Some((place, _)) => Err(place),
            None => Ok(()),
        }
    }
}
