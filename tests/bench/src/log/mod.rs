//! What a log must be able to do to be measured, and which logs there are.

mod duramen;
#[cfg(feature = "peers")]
mod peer;
mod raw;
mod shortest;
mod window;

use crate::file::Path2Disk;
use crate::payload::Payload;
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many bytes of data a comparison reads at a time.
const VERIFY_BYTES: u64 = 4 << 20;

/// When an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When a flush that covers it has returned.
    Durable,
    /// Before that.
    Buffered,
}

/// The error of a log that cannot do what it was asked, with the reason.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsupported(pub(crate) &'static str);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unsupported {}

/// What a log has asked of the operating system since it was opened, by its own account.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) writes: u64,
    pub(crate) flushes: u64,
}

impl Counters {
    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Counters) -> Counters {
        Counters { writes: self.writes - before.writes, flushes: self.flushes - before.flushes }
    }

    pub(crate) fn plus(&self, more: &Counters) -> Counters {
        Counters { writes: self.writes + more.writes, flushes: self.flushes + more.flushes }
    }
}

/// How a log is opened.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) directory: PathBuf,
    /// The size that segments have, or grow to.
    pub(crate) segment_bytes: u64,
    /// What the workload writes at most before it purges, in bytes on the disk.
    pub(crate) room_bytes: u64,
}

/// A log of many groups; the first index of each is 1.
///
/// A method that a log does not offer answers [`Unsupported`]; the workload is then left out and the table says why.
pub(crate) trait Log: Send + Sync {
    /// Appends entries behind the last one of the group, as one batch.
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()>;

    /// Appends to each of the groups `0..groups` one entry at `index`, and makes them durable together.
    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()>;

    /// Appends `count` entries one by one from one thread, up to `in_flight` of them before the first is durable. Returns
    /// when all are durable.
    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()>;

    /// As many threads as there are groups, each appending `count` entries to its group, one after the other. Returns how
    /// long it took.
    fn append_from_threads(
        &self,
        threads: u64,
        first: u64,
        count: u64,
        payload: &Payload,
        durability: Durability,
    ) -> Result<Duration> {
        let start = Barrier::new(usize::try_from(threads)? + 1);
        let append = |group| {
            start.wait();
            (first..first + count)
                .try_for_each(|index| self.append(group, index, &[payload.entry(group, index)], durability))
        };
        std::thread::scope(|scope| {
            let append = &append;
            let threads: Vec<_> = (0..threads).map(|group| scope.spawn(move || append(group))).collect();
            start.wait();
            let started = Instant::now();
            for thread in threads {
                thread.join().expect("a thread that appends does not panic")?;
            }
            Ok(started.elapsed())
        })
    }

    /// Makes durable what was appended.
    fn sync(&self) -> Result<()>;

    /// Drops the entries of group 0 from `from` on. Durable.
    fn truncate(&self, from: u64) -> Result<()>;

    /// Drops the entries up to `upto` of the groups `0..groups`. Durable.
    fn purge(&self, groups: u64, upto: u64) -> Result<()>;

    /// Reads all entries of a range, which must exist.
    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>>;

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>>;

    /// The term of an entry, from memory; every entry is appended in term 1. One that does not exist is an error.
    fn term(&self, group: u64, index: u64) -> Result<u64>;

    /// The indexes that a group holds; empty if it holds none.
    fn bounds(&self, group: u64) -> Result<Range<u64>>;

    /// None if the log does not count; what the device counts then has to do.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// Refuses, where an append cannot return before it is durable. Who asks for that is served nevertheless.
    fn check_buffers(&self) -> Result<()> {
        Ok(())
    }

    /// Whether all segments that are to come are recycled ones of full size.
    fn is_steady(&self) -> bool;

    /// Waits until what it does on its own for writes to come is done, 10 ms at most.
    fn settle(&self) {}

    /// Whether its writes pass by the page cache. If so the cache must forget what a comparison has read.
    fn is_direct(&self) -> bool {
        false
    }

    /// Reads what is there and compares it with what was appended. Returns how many entries were compared.
    fn verify(&self, group: u64, range: Range<u64>, payload: &Payload) -> Result<u64> {
        let step = (VERIFY_BYTES / payload.entry_bytes() as u64).max(1);
        let mut next = range.start;
        while next < range.end {
            let upto = range.end.min(next + step);
            let page = self.read(group, next..upto)?;
            ensure!(page.len() as u64 == upto - next, "{} entries read of {next}..{upto}", page.len());
            let mut index = next;
            page.each(&mut |data| {
                let as_appended = data == payload.entry(group, index);
                index += 1;
                as_appended
            })
            .map_err(|place| anyhow::anyhow!("entry {} of group {group} is not as appended", next + place))?;
            next = upto;
        }
        Ok(range.end - range.start)
    }

    fn close(self: Box<Self>) -> Result<()>;
}

/// Entries that were read and checked, in whatever form the log hands them out.
pub(crate) trait Page {
    fn len(&self) -> usize;

    /// Shows each entry's data, in order; ends with the place of the first one that is not accepted.
    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64>;
}

/// Looks at every entry of a page, so that a log that decodes only what is looked at has done so. Returns the sum
/// of their lengths and first bytes.
pub(crate) fn look_at_each(page: &dyn Page) -> u64 {
    let mut sum = 0;
    let _ = page.each(&mut |data| {
        sum += data.len() as u64 + u64::from(data.first().copied().unwrap_or_default());
        true
    });
    sum
}

/// Shows pieces of data to `accept` until one is not accepted; its place is the error.
fn each_accepted<'a>(pieces: impl Iterator<Item = &'a [u8]>, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
    for (place, data) in (0..).zip(pieces) {
        if !accept(data) {
            return Err(place);
        }
    }
    Ok(())
}

/// What a log stands for in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What the disk can do; others are compared with it.
    Raw,
    /// What a log can do that does nothing else; others are compared with it.
    Shortest,
    /// A log.
    Measured,
    /// A log or a store of others; the fastest one is compared with.
    Peer,
}

/// A log that can be measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Whether it differs from another one only where many wait for a write.
    pub(crate) for_many_only: bool,
    /// Whether it knows where each entry lies without searching for it.
    pub(crate) keeps_index: bool,
    open: fn(&Setup) -> Result<Box<dyn Log>>,
}

const fn kind(name: &'static str, role: Role, open: fn(&Setup) -> Result<Box<dyn Log>>) -> Kind {
    Kind { name, role, for_many_only: false, keeps_index: true, open }
}

const fn for_many(kind: Kind) -> Kind {
    Kind { for_many_only: true, ..kind }
}

#[cfg(feature = "peers")]
const fn without_index(kind: Kind) -> Kind {
    Kind { keeps_index: false, ..kind }
}

/// Every log, in the order of the table.
pub(crate) const KINDS: &[Kind] = &[
    kind("raw-dio", Role::Raw, |setup| raw::open(setup, Path2Disk::Direct, 1)),
    for_many(kind("raw-dio2", Role::Raw, |setup| raw::open(setup, Path2Disk::Direct, 2))),
    kind("raw-buf", Role::Raw, |setup| raw::open(setup, Path2Disk::Cached, 1)),
    kind("shortest-dio", Role::Shortest, |setup| shortest::open(setup, Path2Disk::Direct, 1)),
    for_many(kind("shortest-dio2", Role::Shortest, |setup| shortest::open(setup, Path2Disk::Direct, 2))),
    kind("shortest-buf", Role::Shortest, |setup| shortest::open(setup, Path2Disk::Cached, 1)),
    kind("duramen", Role::Measured, duramen::open),
    #[cfg(feature = "peers")]
    kind("raft-engine", Role::Peer, |setup| peer::raft_engine::open(setup, false)),
    #[cfg(feature = "peers")]
    kind("raft-engine-prefilled", Role::Peer, |setup| peer::raft_engine::open(setup, true)),
    #[cfg(feature = "peers")]
    kind("okaywal", Role::Peer, peer::okaywal::open),
    #[cfg(feature = "peers")]
    kind("wal-db", Role::Peer, peer::wal_db::open),
    #[cfg(feature = "peers")]
    without_index(kind("nodedb-wal", Role::Peer, peer::nodedb_wal::open)),
    #[cfg(feature = "peers")]
    kind("raft-io", Role::Peer, peer::raft_io::open),
    #[cfg(feature = "peers")]
    kind("raft-log", Role::Peer, |setup| peer::raft_log::open(setup, Duration::ZERO)),
    #[cfg(feature = "peers")]
    kind("raft-log-50us", Role::Peer, |setup| peer::raft_log::open(setup, Duration::from_micros(50))),
    #[cfg(feature = "peers")]
    without_index(kind("commitlog", Role::Peer, peer::commitlog::open)),
    #[cfg(feature = "d-engine")]
    kind("d-engine", Role::Peer, peer::d_engine::open),
    #[cfg(feature = "peers")]
    kind("redb", Role::Peer, peer::redb::open),
    #[cfg(feature = "peers")]
    kind("fjall", Role::Peer, peer::fjall::open),
    #[cfg(feature = "rocksdb")]
    kind("rocksdb", Role::Peer, peer::rocksdb::open),
    #[cfg(feature = "peers")]
    kind("sqlite", Role::Peer, peer::sqlite::open),
];

impl Kind {
    pub(crate) fn named(name: &str) -> Result<Kind> {
        match KINDS.iter().find(|kind| kind.name == name) {
            Some(kind) => Ok(*kind),
            None => bail!("there is no log named {name}"),
        }
    }

    /// Opens the log in its directory, which must exist; an empty one becomes a new log.
    pub(crate) fn open(&self, setup: &Setup) -> Result<Box<dyn Log>> {
        (self.open)(setup)
    }
}

/// The path of a file in the directory of a log.
fn file_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT_BYTES: u64 = 1 << 20;

    fn setup(directory: &tempfile::TempDir) -> Setup {
        Setup { directory: directory.path().to_owned(), segment_bytes: SEGMENT_BYTES, room_bytes: 8 << 20 }
    }

    /// Runs a test on every log; one that the file system refuses, or a peer that cannot do all of it, is left out.
    fn on_every_log(test: impl Fn(&Kind, &Setup, Box<dyn Log>) -> Result<()>) {
        for kind in KINDS {
            let directory = tempfile::tempdir().expect("a directory");
            let setup = setup(&directory);
            match kind.open(&setup) {
                Err(error) if error.is::<Unsupported>() => {}
                opened => match opened.and_then(|log| test(kind, &setup, log)) {
                    Err(error) if kind.role == Role::Peer && error.is::<Unsupported>() => {}
                    tested => tested.unwrap_or_else(|error| panic!("{}: {error:#}", kind.name)),
                },
            }
        }
    }

    fn append(log: &dyn Log, group: u64, range: Range<u64>, payload: &Payload, durability: Durability) -> Result<()> {
        let mut entries = Vec::new();
        payload.batch(group, range.start, range.end - range.start, &mut entries);
        log.append(group, range.start, &entries, durability)
    }

    #[test]
    fn everything_comes_back_after_opening_again() {
        let payload = Payload::new(300);
        on_every_log(|kind, setup, log| {
            append(&*log, 0, 1..2, &payload, Durability::Durable)?;
            append(&*log, 0, 2..102, &payload, Durability::Durable)?;
            append(&*log, 0, 102..202, &payload, Durability::Buffered)?;
            match log.append_in_flight(202, 300, 64, &payload) {
                Err(error) if kind.role == Role::Peer && error.is::<Unsupported>() => {
                    append(&*log, 0, 202..502, &payload, Durability::Durable)?;
                }
                appended => appended?,
            }
            assert_eq!(log.verify(0, 1..502, &payload)?, 501);
            log.close()?;
            let log = kind.open(setup)?;
            assert_eq!((log.bounds(0)?, log.verify(0, 1..502, &payload)?), (1..502, 501));
            log.close()
        });
    }

    #[test]
    fn threads_and_groups_keep_their_entries_apart() {
        let payload = Payload::new(300);
        on_every_log(|kind, setup, log| {
            log.append_from_threads(8, 1, 20, &payload, Durability::Durable)?;
            match log.append_to_groups(8, 21, &payload) {
                Err(error) if kind.role == Role::Peer && error.is::<Unsupported>() => {
                    log.append_from_threads(8, 21, 1, &payload, Durability::Durable)?;
                }
                appended => appended?,
            }
            let next = match log.append_from_threads(8, 22, 20, &payload, Durability::Buffered) {
                Err(error) if error.is::<Unsupported>() => 22,
                appended => appended.map(|_| 42)?,
            };
            log.close()?;
            let log = kind.open(setup)?;
            for group in 0..8 {
                assert_eq!(log.verify(group, 1..next, &payload)?, next - 1);
            }
            log.close()
        });
    }

    #[test]
    fn what_was_cut_stays_so() {
        let payload = Payload::new(300);
        on_every_log(|kind, setup, log| {
            append(&*log, 0, 1..1001, &payload, Durability::Buffered)?;
            log.truncate(901)?;
            log.purge(1, 100)?;
            assert_eq!(log.bounds(0)?, 101..901);
            log.close()?;
            let log = kind.open(setup)?;
            assert_eq!((log.bounds(0)?, log.verify(0, 101..901, &payload)?), (101..901, 800));
            log.close()
        });
    }

    #[test]
    fn recycled_segments_show_nothing_of_their_earlier_lives() {
        let payload = Payload::new(4096);
        on_every_log(|kind, setup, log| {
            let mut next = 1;
            for _ in 0..12 {
                for _ in 0..20 {
                    append(&*log, 0, next..next + 40, &payload, Durability::Buffered)?;
                    next += 40;
                }
                log.purge(1, next - 1)?;
            }
            assert!(log.is_steady());
            append(&*log, 0, next..next + 40, &payload, Durability::Durable)?;
            log.close()?;
            let log = kind.open(setup)?;
            assert_eq!((log.bounds(0)?, log.verify(0, next..next + 40, &payload)?), (next..next + 40, 40));
            log.close()
        });
    }

    #[test]
    fn another_payload_than_was_appended_is_noticed() {
        on_every_log(|kind, _, log| {
            append(&*log, 0, 1..101, &Payload::new(300), Durability::Durable)?;
            // The raw file holds no entries; what it compares is its own writes.
            let noticed = log.verify(0, 1..101, &Payload::new(301)).is_err();
            assert!(noticed || kind.role == Role::Raw);
            log.close()
        });
    }

    #[test]
    fn only_entries_that_exist_have_a_term() {
        on_every_log(|_, _, log| {
            append(&*log, 0, 1..101, &Payload::new(300), Durability::Durable)?;
            log.truncate(91)?;
            match log.term(0, 90) {
                Err(error) if error.is::<Unsupported>() => {}
                term => {
                    assert_eq!(term?, 1);
                    assert!(log.term(0, 91).is_err());
                }
            }
            log.close()
        });
    }

    #[test]
    fn looking_at_a_page_reads_every_entry() {
        let payload = Payload::new(300);
        let sum_of = |index| 300 + u64::from(payload.entry(0, index)[0]);
        on_every_log(|kind, _, log| {
            append(&*log, 0, 1..101, &payload, Durability::Durable)?;
            let sum = look_at_each(&*log.read(0, 11..91)?);
            // The raw file shows the bytes where the entries would be as one piece.
            assert!(sum == (11..91).map(sum_of).sum::<u64>() || kind.role == Role::Raw && sum >= 80 * 300);
            log.close()
        });
    }

    #[test]
    fn every_durable_append_is_flushed() {
        let payload = Payload::new(300);
        on_every_log(|kind, _, log| {
            let flushes = || log.counters().map(|counters| counters.flushes);
            let before = flushes();
            for index in 1..51 {
                append(&*log, 0, index..index + 1, &payload, Durability::Durable)?;
            }
            assert!(flushes() >= before.map(|before| before + 50), "{}", kind.name);
            log.close()
        });
    }
}
