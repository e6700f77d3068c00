//! Buffered writes do not pile up in the page cache: what they have filled is sent on piece by piece, so that the flush of a
//! full segment, for which the next one waits, is short.
#![forbid(unsafe_code)]

#[path = "support/hooked.rs"]
mod hooked;

use duramen::io::SimulatedDisk;
use duramen::{Durability, Entry, Options, Store};
use hooked::{Call, Hook, HookedDisk};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

const PIECE_BYTES: u64 = 4 << 20;

/// Which bytes of which file were sent on.
#[derive(Debug, Default, Clone)]
struct Sent(Arc<Mutex<BTreeMap<String, Vec<Range<u64>>>>>);

impl Hook for Sent {
    fn before(&self, _call: &Call<'_>) {}

    fn before_writeback(&self, name: &str, bytes: &Range<u64>) {
        self.0.lock().unwrap().entry(name.to_owned()).or_default().push(bytes.clone());
    }
}

fn open() -> (Store, Sent) {
    let sent = Sent::default();
    let disk = HookedDisk::new(SimulatedDisk::new(1), sent.clone());
    (Options::new().segment_bytes(16 << 20).disk(Arc::new(disk)).open("/store").unwrap(), sent)
}

fn append(store: &Store, bytes: usize, count: u64, durability: Durability) {
    let log = store.log(1);
    let first = log.bounds().unwrap().map_or(1, |bounds| bounds.end);
    for index in first..first + count {
        log.append_with(&[Entry::new(index, 1, vec![7; bytes])], durability).unwrap();
    }
}

#[test]
fn every_piece_that_is_full_is_sent_on_once() {
    let (store, sent) = open();
    // The first segments are smaller than a piece. Writes that are smaller, too, and one that is larger than two of them.
    append(&store, 30_000, 3_000, Durability::Buffered);
    append(&store, 9 << 20, 1, Durability::Buffered);
    let sent = sent.0.lock().unwrap().clone();
    let pieces: Vec<u64> = sent.values().map(|ranges| ranges.last().unwrap().end / PIECE_BYTES).collect();
    assert!(pieces.len() >= 3 && pieces.iter().sum::<u64>() >= 8, "{sent:?}");
    for (name, ranges) in sent {
        let mut end = 0;
        for range in ranges {
            assert_eq!((range.start, range.end % PIECE_BYTES), (end, 0), "of {name}");
            end = range.end;
        }
    }
}

#[test]
fn what_is_durable_already_and_what_is_little_is_left_alone() {
    let (store, sent) = open();
    append(&store, 30_000, 300, Durability::Durable);
    append(&store, 300, 1_000, Durability::Buffered);
    assert!(sent.0.lock().unwrap().is_empty());
}
