//! `ReadOnlyStore::verify_batches`: finds what a footer hides from opening, says nothing of what was told already, and nothing
//! of a sound store.

use duramen::io::SimulatedDisk;
use duramen::{Damaged, Entry, Options, ReadOnlyStore};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT_BYTES: u64 = 64 << 10;
const ENTRY_BYTES: usize = 4_000;
/// Where the batches of a segment begin.
const SEGMENT_START: u64 = 8 << 10;

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES)
}

fn data(index: u8) -> Vec<u8> {
    vec![0x80 | index; ENTRY_BYTES]
}

/// A store that was closed and of whose segments all but two have footers.
fn sealed_store() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open("/store").expect("a new store");
    for index in 1..=60 {
        store.log(1).append(&[Entry::new(index.into(), 1, data(index))]).expect("it is appended");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.stats().expect("numbers").sealed < 3 {
        assert!(Instant::now() < deadline, "{:?}", store.stats());
        thread::sleep(Duration::from_millis(5));
    }
    store.close().expect("it is closed");
    disk
}

fn look(disk: &SimulatedDisk) -> ReadOnlyStore {
    options(disk).open_read_only("/store").expect("damage is survived")
}

/// The names of the segments with batches, oldest first. Space comes back, so the oldest one need not be the first.
fn begun(disk: &SimulatedDisk) -> Vec<String> {
    let segments = look(disk).layout().segments;
    segments.into_iter().filter(|segment| segment.is_begun).map(|segment| segment.file).collect()
}

fn damaged_batches(store: &ReadOnlyStore) -> Vec<Damaged> {
    store.verify_batches(|_| {}).expect("damage is no error")
}

#[test]
fn a_sound_store_is_read_to_its_end() {
    let disk = sealed_store();
    let store = look(&disk);
    assert!(store.recovery_report().footers >= 3, "{:?}", store.recovery_report());
    let mut read = 0;
    assert_eq!(store.verify_batches(|bytes| read += bytes).expect("it can be read"), []);
    let files = store.layout().segments.iter().filter_map(|segment| segment.bytes).sum();
    assert!((60 * ENTRY_BYTES as u64..files).contains(&read), "{read} of {files} bytes");
}

#[test]
fn every_damaged_byte_of_a_sealed_batch_is_found() {
    let disk = sealed_store();
    let first = &begun(&disk)[0];
    let contents = disk.contents("/store", first).expect("a file can be read");
    let is_entry = |window: &[u8]| window.iter().all(|byte| *byte == window[0] && *byte & 0x80 != 0);
    let last = contents.windows(ENTRY_BYTES).rposition(is_entry).expect("the file holds entries");
    let written = (0_u64..).zip(&contents).take(last + ENTRY_BYTES).filter(|(offset, _)| *offset >= SEGMENT_START);
    let (mut found, mut batches) = (0, BTreeSet::new());
    for (offset, _) in written.filter(|(offset, byte)| **byte != 0 && (offset % 4096 < 400 || offset % 97 == 0)) {
        let damaged = disk.kill();
        damaged.flip_bit("/store", first, offset, 3).expect("a bit to flip");
        let store = look(&damaged);
        assert_eq!((store.recovery_report().damaged.len(), store.damage().expect("from memory").len()), (0, 0));
        let [batch] = &damaged_batches(&store)[..] else {
            panic!("offset {offset}: {:?}", damaged_batches(&store));
        };
        assert_eq!(
            (batch.file.as_str(), batch.first_batch),
            (first.as_str(), batch.last_batch),
            "offset {offset}: {batch:?}"
        );
        assert!(batch.known && batch.offset <= offset, "offset {offset}: {batch:?}");
        found += 1;
        batches.insert(batch.first_batch);
    }
    println!("{found} bits in {} batches", batches.len());
    assert!(found > 200 && batches.len() >= 3, "{found} bits in {batches:?}");
}

#[test]
fn what_opening_told_is_not_told_again() {
    let disk = sealed_store();
    // No footer counts for the last segments: opening has read their batches.
    let segments = begun(&disk);
    disk.flip_bit("/store", &segments[segments.len() - 1], SEGMENT_START + 20, 3).expect("a bit to flip");
    let store = look(&disk);
    assert!(!store.recovery_report().damaged.is_empty());
    assert_eq!(damaged_batches(&store), []);
}

#[test]
fn a_segment_that_is_missing_hides_no_damage_in_the_others() {
    let disk = sealed_store();
    let segments = begun(&disk);
    disk.lose_file("/store", &segments[1]).expect("a file to lose");
    disk.flip_bit("/store", &segments[2], SEGMENT_START + 20, 3).expect("a bit to flip");
    let store = look(&disk);
    let told: Vec<Damaged> = store.recovery_report().damaged.iter().cloned().chain(damaged_batches(&store)).collect();
    for file in &segments[1..3] {
        assert!(told.iter().any(|damaged| damaged.file == *file), "{file} is not among {told:#?}");
    }
}

#[test]
fn damage_since_opening_is_found_too() {
    let disk = sealed_store();
    let store = look(&disk);
    let segments = begun(&disk);
    let newest = &segments[segments.len() - 1];
    disk.flip_bit("/store", newest, SEGMENT_START + 20, 3).expect("a bit to flip");
    let [batch] = &damaged_batches(&store)[..] else { panic!("{:?}", damaged_batches(&store)) };
    assert_eq!((&batch.file, batch.offset), (newest, SEGMENT_START));
}
