//! raft-log: a log of one group, whose thread writes and flushes for all who wait and then calls back.
//!
//! It waits a while for more before it flushes; of that time there are two variants. Where many groups append at the same
//! time they share one log, as only there a flush can serve several: its entries carry group and index, and its user keeps
//! where they lie.

use super::places::Places;
use super::{Buffers, Purges, TERM};
use crate::log::window::Window;
use crate::log::{Durability, Log, Page, Setup, Unsupported};
use crate::payload::Payload;
use anyhow::{Context, Result};
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::{Callback, Config, RaftLog, Types, chunked_wal};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of an entry of the shared log: group and index in front of the data.
const HEAD_BYTES: usize = 16;
/// As much of what is only buffered is handed to the thread at a time.
const HANDED_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct OneGroup;

impl Types for OneGroup {
    /// Term and index.
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    type Vote = (u64, u64);
    type Callback = WhenDurable;
    type UserData = String;

    fn log_index(id: &(u64, u64)) -> u64 {
        id.1
    }

    fn payload_size(payload: &Vec<u8>) -> u64 {
        payload.len() as u64
    }
}

/// Who is told that something is durable.
enum WhenDurable {
    Caller(SyncSender<io::Result<()>>),
    Window(Arc<Window>),
}

impl Callback for WhenDurable {
    fn send(self, result: io::Result<()>) {
        match self {
            WhenDurable::Caller(caller) => caller.send(result),
            WhenDurable::Window(window) => window.leave(result.map_err(anyhow::Error::from)),
        }
    }
}

struct Peer {
    own: Mutex<One>,
    shared: Mutex<Shared>,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup, wait: Duration) -> Result<Box<dyn Log>> {
    let own = One::open(&setup.directory.join("own"), setup, wait)?;
    let one = One::open(&setup.directory.join("shared"), setup, wait)?;
    let mut places = Places::default();
    for entry in one.log.read(0, u64::MAX) {
        let ((_, place), payload) = entry?;
        let number = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        let (group, index) = number(0).zip(number(8)).context("an entry without a head")?;
        places.add(group, index, place)?;
    }
    let shared = Shared { one, places };
    Ok(Box::new(Peer { own: Mutex::new(own), shared: Mutex::new(shared), purges: Purges::default() }))
}

struct One {
    log: RaftLog<OneGroup>,
    not_handed_bytes: u64,
}

struct Shared {
    one: One,
    places: Places<u64>,
}

impl One {
    fn open(directory: &Path, setup: &Setup, wait: Duration) -> Result<One> {
        std::fs::create_dir_all(directory)?;
        let wal = chunked_wal::Config {
            chunk_max_size: Some(usize::try_from(setup.segment_bytes)?),
            flush_batch_wait: Some(wait),
            ..chunked_wal::Config::new(directory.display())
        };
        let config = Config { wal, ..Config::default() };
        Ok(One { log: RaftLog::open(Arc::new(config))?, not_handed_bytes: 0 })
    }

    /// What the caller waits for when it has let go of the lock.
    fn flush(&mut self) -> Result<impl FnOnce() -> Result<()> + use<>> {
        let (caller, told) = sync_channel(1);
        self.log.flush(true, Some(WhenDurable::Caller(caller)))?;
        self.not_handed_bytes = 0;
        Ok(move || Ok(told.recv()??))
    }

    fn append_buffered(&mut self, first: u64, payloads: impl Iterator<Item = Vec<u8>>) -> Result<()> {
        let mut bytes = 0;
        let sized = payloads.inspect(|payload| bytes += payload.len() as u64);
        self.log.append((first..).map(|index| (TERM, index)).zip(sized))?;
        self.not_handed_bytes += bytes;
        if self.not_handed_bytes >= HANDED_BYTES {
            self.log.flush(false, None)?;
            self.not_handed_bytes = 0;
        }
        Ok(())
    }

    fn bounds(&self) -> Range<u64> {
        let state = self.log.log_state();
        let next = |id: Option<&(u64, u64)>| id.map_or(1, |id| id.1 + 1);
        next(state.purged())..next(state.last())
    }
}

impl Shared {
    fn append_buffered<'a>(&mut self, entries: impl Iterator<Item = (u64, u64, &'a [u8])>) -> Result<()> {
        let first = self.one.bounds().end;
        let (places, mut place) = (&mut self.places, first);
        let mut added = Ok(());
        let payloads = entries.map(|(group, index, data)| {
            if added.is_ok() {
                added = places.add(group, index, place);
            }
            place += 1;
            [group.to_le_bytes().as_slice(), index.to_le_bytes().as_slice(), data].concat()
        });
        self.one.append_buffered(first, payloads)?;
        added
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    fn append_shared(&self, group: u64, index: u64, data: &[u8], durability: Durability) -> Result<()> {
        let mut shared = lock(&self.shared);
        shared.append_buffered([(group, index, data)].into_iter())?;
        if durability == Durability::Durable {
            let wait = shared.one.flush()?;
            drop(shared);
            wait()?;
        }
        Ok(())
    }
}

impl Log for Peer {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        if group > 0 {
            let mut numbered = (first..).zip(entries);
            return numbered.try_for_each(|(index, data)| self.append_shared(group, index, data, durability));
        }
        let mut own = lock(&self.own);
        own.append_buffered(first, entries.iter().map(|data| data.to_vec()))?;
        if durability == Durability::Durable {
            let wait = own.flush()?;
            drop(own);
            wait()?;
        }
        Ok(())
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let mut shared = lock(&self.shared);
        shared.append_buffered((0..groups).map(|group| (group, index, payload.entry(group, index))))?;
        let wait = shared.one.flush()?;
        drop(shared);
        wait()
    }

    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()> {
        let (mut own, window) = (lock(&self.own), Arc::new(Window::new(in_flight)));
        for index in first..first + count {
            window.enter()?;
            own.log.append([((TERM, index), payload.entry(0, index).to_vec())])?;
            own.log.flush(true, Some(WhenDurable::Window(Arc::clone(&window))))?;
        }
        window.wait_until_empty()
    }

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
                .try_for_each(|index| self.append_shared(group, index, payload.entry(group, index), durability))
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

    fn sync(&self) -> Result<()> {
        lock(&self.own).flush()?()?;
        lock(&self.shared).one.flush()?()
    }

    fn truncate(&self, from: u64) -> Result<()> {
        let mut own = lock(&self.own);
        own.log.truncate(from)?;
        own.flush()?()
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        let mut own = lock(&self.own);
        own.log.purge((TERM, upto))?;
        own.flush()?()?;
        let mut shared = lock(&self.shared);
        shared.places.purge(groups, upto);
        let end = shared.one.bounds().end;
        if end > 1 {
            let first = shared.places.firsts().min().unwrap_or(end);
            shared.one.log.purge((TERM, first - 1))?;
            shared.one.flush()?()?;
        }
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let shared = lock(&self.shared);
        if shared.places.bounds(group).is_empty() {
            let own = lock(&self.own);
            let payloads = own.log.read(range.start, range.end).map(|entry| Ok(entry?.1));
            return Ok(Box::new(Buffers::<Vec<u8>> { buffers: payloads.collect::<Result<_>>()?, head_bytes: 0 }));
        }
        let mut buffers = Vec::new();
        for place in shared.places.of(group, &range)? {
            for entry in shared.one.log.read(place, place + 1) {
                buffers.push(entry?.1);
            }
        }
        Ok(Box::new(Buffers { buffers, head_bytes: HEAD_BYTES }))
    }

    fn read_one(&self, _: u64, index: u64) -> Result<Vec<u8>> {
        let entry = lock(&self.own).log.read(index, index + 1).next();
        Ok(entry.with_context(|| format!("there is no entry {index}"))??.1)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(Unsupported("it tells a term only together with the data").into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        let shared = lock(&self.shared).places.bounds(group);
        Ok(if shared.is_empty() && group == 0 { lock(&self.own).bounds() } else { shared })
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
