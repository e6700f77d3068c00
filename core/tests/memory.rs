//! Memory follows the number of batches and of entries, never the size of an index, of the data, or of a number that stands
//! on disk. Data is kept in the cache alone, which has a bound; most tests here do without it.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;
#[path = "support/random.rs"]
mod random;

use counting_allocator::{Counting, measure};
use duramen::fuzzing;
use duramen::io::SimulatedDisk;
use duramen::{Durability, Entry, Limit, Log, Options, Store};
use random::Random;
use std::path::Path;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH_ENTRIES: u64 = 1_000;

#[test]
fn an_entry_at_a_huge_index_costs_what_one_at_a_small_index_costs() {
    cost_of_one_entry(5); // What a process allocates once is allocated now.
    let costs: Vec<_> = [5, (1 << 63) - 1, u64::MAX - 1].map(cost_of_one_entry).into_iter().collect();
    println!("index, bytes held by its append, by opening, at most while opening: {costs:?}");
    for (index, append, open, peak) in &costs {
        // Hash maps differ by chance, by less than this.
        for (bytes, small) in [(append, costs[0].1), (open, costs[0].2), (peak, costs[0].3)] {
            assert!((bytes - small).abs() < 256, "index {index}: {bytes} bytes, at index 5 {small}");
        }
    }
}

fn cost_of_one_entry(index: u64) -> (u64, isize, isize, isize) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (_, append, _) = measure(|| store.log(1).append(&[Entry::new(index, 1, b"x")]).unwrap());
    drop(store);
    let (store, open, peak) = measure(|| open(folder.path()));
    assert_eq!(store.log(1).get(index).unwrap().data, b"x");
    (index, append, open, peak)
}

#[test]
fn memory_follows_the_number_of_entries_and_not_their_data() {
    for bytes in [0, 500] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let log = store.log(1);
        append_many(&log, 1, 2 * BATCH_ENTRIES, bytes);
        for count in [10_000, 100_000] {
            let next = log.bounds().unwrap().unwrap().end;
            let (_, held, _) = measure(|| append_many(&log, next, count, bytes));
            let per_entry = held as f64 / count as f64;
            println!("{count} more entries of {bytes} bytes: {per_entry:.2} bytes of memory each");
            // Twelve bytes for each piece, as much for growth, and segments.
            assert!(per_entry < 1.0, "{per_entry:.2} bytes for each of {count} entries of {bytes} bytes");
        }
        let entries = log.count().unwrap();
        drop((log, store));
        let (_store, held, peak) = measure(|| open(folder.path()));
        println!("opening {entries} of them: {held} bytes held, {peak} at most");
        assert!(held.unsigned_abs() as u64 <= 16_000 + entries / 4, "{held} bytes for {entries} entries");
    }
}

/// A batch has twelve bytes for its place, an entry that is alone in its batch six; no room for more is kept after opening.
#[test]
fn an_index_takes_six_bytes_for_a_batch_of_one_and_twelve_for_another() {
    for (entries_of, most_written, most_opened) in [(1, 13.0, 6.5), (2, 26.0, 12.5), (100, 26.0, 12.5)] {
        // Until the segment is sealed, what its footer will say of the batch: 20 bytes, and room for growth.
        let most_written = most_written + 24.0;
        let folder = tempfile::tempdir().unwrap();
        let store = Options::new().cache_bytes(0).open(folder.path()).unwrap();
        append_batches(&store.log(1), 1, 100, entries_of, 10);
        let (_, empty, _) = measure(|| drop(store));
        let store = Options::new().cache_bytes(0).open(folder.path()).unwrap();
        let batches = 50_000;
        let (_, written, _) = measure(|| append_batches(&store.log(1), 1 + 100 * entries_of, batches, entries_of, 10));
        drop(store);
        let (store, opened, _) = measure(|| Options::new().cache_bytes(0).open(folder.path()).unwrap());
        let (written, opened) = (written as f64 / batches as f64, (opened + empty) as f64 / batches as f64);
        println!("batches of {entries_of}: {written:.2} bytes a batch, {opened:.2} after opening");
        assert!(written < most_written && opened < most_opened, "batches of {entries_of}: {written} and {opened}");
        let (_, freed, _) = measure(|| store.log(1).truncate_from(1).unwrap());
        let freed = -freed as f64 / batches as f64;
        assert!(freed > opened - 0.5, "truncating all gives back {freed:.2} of {opened:.2} bytes a batch");
    }
}

/// What is read from memory was kept in bounds, whatever was written.
#[test]
fn the_cache_takes_no_more_than_its_bound() {
    const CACHE_BYTES: isize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let open =
        |bytes| Options::new().segment_bytes(16 << 20).cache_bytes(bytes).open(folder.path().join(bytes.to_string()));
    let (with, without) = (open(CACHE_BYTES.unsigned_abs() as u64).unwrap(), open(0).unwrap());
    let (mut random, mut most) = (Random::new(1), 0);
    let (mut held_with, mut held_without) = (0, 0);
    for round in 0..400 {
        let bytes = [0, 100, 5_000, 60_000, 300_000][usize::try_from(random.below(5)).unwrap()];
        for (store, held) in [(&with, &mut held_with), (&without, &mut held_without)] {
            let log = store.log(round % 3);
            let next = log.bounds().unwrap().map_or(1, |bounds| bounds.end);
            *held += measure(|| append_batches(&log, next, 5, 3, bytes)).1;
            assert_eq!(log.get(next + 14).unwrap().data.len(), bytes);
        }
        most = most.max(held_with - held_without);
    }
    println!("at most {most} bytes more with a cache of {CACHE_BYTES}");
    assert!(most <= CACHE_BYTES, "{most} bytes in a cache of {CACHE_BYTES}");
    assert!(most > CACHE_BYTES / 2, "the cache keeps nothing: {most} bytes");
}

#[test]
fn bytes_of_released_segments_leave_the_cache() {
    // Counted by thread, so this one must do all of it: on the simulated disk a store has no worker. What that disk itself
    // holds is in both.
    let held_and_purged = |cache_bytes| {
        let options = Options::new().segment_bytes(256 << 10).cache_bytes(cache_bytes);
        let store = options.disk(Arc::new(SimulatedDisk::new(1))).open("/store").unwrap();
        let log = store.log(1);
        let (_, held, _) = measure(|| append_batches(&log, 1, 400, 10, 1_000));
        let (_, purged, _) = measure(|| {
            log.purge(4_000, 1, b"").unwrap();
            store.maintain().unwrap();
        });
        assert!(store.stats().unwrap().segments < 4);
        (held, purged)
    };
    let (with, without) = (held_and_purged(64 << 20), held_and_purged(0));
    let (held, purged) = (with.0 - without.0, with.1 - without.1);
    assert!(held > 4 << 20, "the cache keeps nothing: {held} bytes");
    assert!(-purged > held - (1 << 20), "{} of {held} bytes given back", -purged);
}

#[test]
fn many_terms_cost_a_run_each_and_many_groups_a_log_each() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let terms: Vec<Entry<&[u8]>> = (1..=10_000).map(|index| Entry::new(index, index, &b""[..])).collect();
    // The memory of a write is kept for the next one.
    store.log(2).append_with(&terms, Durability::Buffered).unwrap();
    let (_, held, _) = measure(|| store.log(1).append_with(&terms, Durability::Buffered).unwrap());
    let per_run = held / 10_000;
    let (_, held, _) = measure(|| {
        for group in 0..10_000 {
            store.log(100 + group).append_with(&[Entry::new(1 << 60, 1, b"x")], Durability::Buffered).unwrap();
        }
    });
    let per_group = held / 10_000;
    // Until the segment is sealed, what its footer will say of each is kept, too.
    println!("{per_run} bytes for an entry that begins a term, {per_group} for a group with one entry");
    assert!(per_run < 500, "{per_run} bytes for each run");
    assert!(per_group < 2_000, "{per_group} bytes for each group");
}

#[test]
fn a_read_takes_what_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let log = store.log(1);
    append_many(&log, 1, 20 * BATCH_ENTRIES, 100);
    let (entry, _, peak) = measure(|| log.get(10_000).unwrap());
    assert_eq!(entry.data.len(), 100);
    assert!(peak < 4_096, "{peak} bytes to read one entry of 100");
    let (page, _, peak) = measure(|| log.read(1..20_001, Limit::bytes(100_000)).unwrap());
    assert_eq!(page.len(), 1_000);
    assert!(peak < 400_000, "{peak} bytes to read 100,000");
    let (_, held, _) = measure(|| (1..20_000).for_each(|index| assert_eq!(log.term(index).unwrap(), 1)));
    assert_eq!(held, 0, "looking into memory keeps something");
    let (count, _, peak) = measure(|| log.iter(1..20_001).count());
    assert_eq!(count, 20_000);
    assert!(peak < 8 << 20, "{peak} bytes to go through all");
}

// ------------------------------------------------------------------------------------------------- hostile bytes

/// Whatever the lengths and counts in it say, a decoder takes memory for bytes that are there.
#[test]
fn decoding_never_allocates_by_an_unproven_length() {
    let batch = batch_on_disk();
    let (mut most, mut runs, mut random) = (0.0f64, 0, Random::new(1));
    let mut check = |bytes: &[u8]| {
        let (_, held, peak) = measure(|| fuzzing::batch(bytes));
        let allowed = 8 * bytes.len().cast_signed() + 4_096;
        assert!(held == 0 && peak < allowed, "{peak} bytes for {} bytes: {bytes:02x?}", bytes.len());
        (most, runs) = (most.max(peak as f64 / bytes.len().max(1) as f64), runs + 1);
    };
    // Each field of four and of eight bytes, as every kind of large number.
    for at in (0..batch.len() - 8).step_by(4) {
        for value in [u64::MAX, 1 << 63, 1 << 40, u64::from(u32::MAX), 1 << 31, 1 << 20] {
            let mut bytes = batch.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            check(&bytes);
            bytes[at..at + 8].copy_from_slice(&batch[at..at + 8]);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes()[..4]);
            check(&bytes);
        }
    }
    for _ in 0..20_000 {
        let mut bytes = batch.clone();
        for _ in 0..1 + random.below(4) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] = random.next().to_le_bytes()[0];
        }
        check(&bytes);
    }
    println!("{runs} damaged batches of {} bytes: at most {most:.1} bytes of memory for a byte", batch.len());
}

/// The first batch of a segment that follows another: with a link, an echo, several records and entries.
fn batch_on_disk() -> Vec<u8> {
    let disk = SimulatedDisk::new(1);
    let store = Options::new().segment_bytes(16 << 10).disk(Arc::new(disk.clone())).open("/store").unwrap();
    let name = "0000000000000002.seg";
    while !disk.contents("/store", name).is_ok_and(|segment| segment[8192..8196] == *b"dBat") {
        let next = store.log(1).bounds().unwrap().map_or(1, |bounds| bounds.end);
        let entries: Vec<Entry> = (0..3).map(|more| Entry::new(next + more, next + more / 2, vec![7; 20])).collect();
        store.log(1).append(&entries).unwrap();
    }
    let segment = disk.contents("/store", name).unwrap();
    let field = |at: usize| u32::from_le_bytes(segment[8192 + at..8192 + at + 4].try_into().unwrap()) as usize;
    let bytes = 96 + field(76) * 48 + field(84) + field(64);
    segment[8192..8192 + bytes].to_vec()
}

/// Numbers in a manifest or a segment header, with the checksum made right, that promise what is not there.
#[test]
fn opening_never_allocates_by_a_number_on_disk() {
    // The file, the places of its copies, the size of the structure, the field and its new value.
    let cases: [(&str, &[usize], usize, usize, u64); 6] = [
        ("MANIFEST", &[0, 4096], 128, 56, u64::MAX),
        ("MANIFEST", &[0, 4096], 128, 56, 1 << 40),
        ("MANIFEST", &[0, 4096], 128, 64, u64::MAX),
        ("MANIFEST", &[0, 4096], 128, 48, u64::MAX),
        ("0000000000000001.seg", &[0, 4096], 96, 64, !4095),
        ("0000000000000001.seg", &[0, 4096], 96, 64, (1 << 32) - 4096),
    ];
    for (file, copies, size, field, value) in cases {
        let disk = SimulatedDisk::new(1);
        let open = || Options::new().segment_bytes(16 << 10).disk(Arc::new(disk.clone())).open("/store");
        let store = open().unwrap();
        append_many(&store.log(1), 1, BATCH_ENTRIES, 10);
        drop(store);
        for at in copies {
            let mut structure = disk.contents("/store", file).unwrap()[*at..at + size].to_vec();
            structure[field..field + 8].copy_from_slice(&value.to_le_bytes());
            let crc = crc32fast::hash(&structure[12..]);
            structure[8..12].copy_from_slice(&crc.to_le_bytes());
            disk.overwrite_durable("/store", file, *at as u64, &structure).unwrap();
        }
        let (opened, _, peak) = measure(open);
        let verdict = opened.map(|_| "opened").map_err(|error| error.to_string());
        println!("{file}, bytes {field} to {}: {value}: {peak} bytes, {verdict:?}", field + 8);
        assert!(peak < 2 << 20, "{file}: {peak} bytes for {value} at {field}");
    }
}

// ------------------------------------------------------------------------------------------------------- helpers

fn open(path: &Path) -> Store {
    Options::new().segment_bytes(16 << 20).cache_bytes(0).open(path).unwrap()
}

/// Batches of so many entries each, all of one size.
fn append_batches(log: &Log, first: u64, batches: u64, entries_of: u64, bytes: usize) {
    let data = vec![7; bytes];
    for batch in 0..batches {
        let start = first + batch * entries_of;
        let entries: Vec<Entry<&[u8]>> =
            (start..start + entries_of).map(|index| Entry::new(index, 1, &data[..])).collect();
        log.append_with(&entries, Durability::Buffered).unwrap();
    }
}

fn append_many(log: &Log, first: u64, count: u64, bytes: usize) {
    let data = vec![7; bytes];
    for start in (first..first + count).step_by(usize::try_from(BATCH_ENTRIES).unwrap()) {
        let entries: Vec<Entry<&[u8]>> =
            (start..start + BATCH_ENTRIES).map(|index| Entry::new(index, 1, &data[..])).collect();
        log.append_with(&entries, Durability::Buffered).unwrap();
    }
}
