//! duramen, as its users call it.

use super::window::Window;
use super::{Counters, Durability, Log, Page, Setup, each_accepted};
use crate::payload::Payload;
use anyhow::Result;
use duramen::{Batch, Entry, Limit, Options, Stats, Store};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TERM: u64 = 1;

struct Duramen {
    store: Store,
    segment_bytes: u64,
}

pub(super) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let store = Options::new().segment_bytes(setup.segment_bytes).open(setup.directory.join("store"))?;
    Ok(Box::new(Duramen { store, segment_bytes: setup.segment_bytes }))
}

impl Duramen {
    fn stats(&self) -> Stats {
        self.store.stats().unwrap_or_default()
    }
}

impl Log for Duramen {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let durability = match durability {
            Durability::Durable => duramen::Durability::Durable,
            Durability::Buffered => duramen::Durability::Buffered,
        };
        let log = self.store.log(group);
        match entries {
            [data] => log.append_with(&[Entry::new(first, TERM, data)], durability)?,
            _ => {
                let entries: Vec<_> =
                    (first..).zip(entries).map(|(index, data)| Entry::new(index, TERM, data)).collect();
                log.append_with(&entries, durability)?
            }
        };
        Ok(())
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let batch = (0..groups).fold(Batch::new(), |batch, group| {
            batch.log(group, |log| log.append(&[Entry::new(index, TERM, payload.entry(group, index))]))
        });
        self.store.write(batch)?;
        Ok(())
    }

    /// The store makes durable what is submitted; its callbacks make room in the window.
    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()> {
        let (log, window) = (self.store.log(0), Arc::new(Window::new(in_flight)));
        for index in first..first + count {
            window.enter()?;
            let entry = Entry::new(index, TERM, payload.entry(0, index));
            let position = log.append_with(&[entry], duramen::Durability::Submitted)?;
            let entered = Arc::clone(&window);
            self.store.on_durable(position, move |result| entered.leave(result.map_err(anyhow::Error::from)))?;
        }
        window.wait_until_empty()
    }

    fn sync(&self) -> Result<()> {
        self.store.sync()?;
        Ok(())
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.store.log(0).truncate_from(from)?;
        Ok(())
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let batch = (0..groups).fold(Batch::new(), |batch, group| batch.log(group, |log| log.purge(upto, TERM, b"")));
        self.store.write(batch)?;
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        Ok(Box::new(self.store.log(group).read(range, Limit::none())?))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        Ok(self.store.log(group).get(index)?.data)
    }

    fn term(&self, group: u64, index: u64) -> Result<u64> {
        Ok(self.store.log(group).term(index)?)
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(self.store.log(group).bounds()?.unwrap_or(0..0))
    }

    fn counters(&self) -> Option<Counters> {
        let Stats { writes, flushes, .. } = self.stats();
        Some(Counters { writes, flushes })
    }

    /// One segment is kept back, and one is made ready ahead once the active one is half full.
    fn settle(&self) {
        let begun = Instant::now();
        while self.stats().prepared < 2 && begun.elapsed() < Duration::from_millis(10) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the store would give back on its own in a moment is given back here.
    fn is_steady(&self) -> bool {
        let maintained = self.store.maintain().is_ok();
        let Stats { segments, segment_bytes, pool_files, pool_bytes, .. } = self.stats();
        let are_full = |files, bytes| files > 0 && bytes == files * self.segment_bytes;
        maintained && are_full(pool_files, pool_bytes) && are_full(segments, segment_bytes)
    }

    fn is_direct(&self) -> bool {
        self.stats().direct_writes
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close()?;
        Ok(())
    }
}

impl Page for duramen::Page {
    fn len(&self) -> usize {
        duramen::Page::len(self)
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.iter().map(|entry| entry.data), accept)
    }
}
