//! The largest entry there may be is written and read again; one byte above a limit is refused with both numbers.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{Counting, measure};
use duramen::{Batch, Entry, Error, Limit, Options, Store};
use std::path::Path;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GIB: u64 = 1 << 30;

/// Memory, in entries of 1 GiB, the caller's own copy not counted: writing holds the encoded batch and the disk write that is
/// made of it; reading the page, and `get` a copy of the data out of it.
const WRITING_MAX: isize = 2 << 30;
const READING_MAX: isize = 1 << 30;
const GETTING_MAX: isize = 2 << 30;
const SLACK: isize = 16 << 20;

#[test]
#[ignore = "it takes 1 GiB of disk and 3 GiB of memory"]
fn an_entry_of_one_gibibyte_is_written_and_read_again() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("store");
    let data = pattern(usize::try_from(GIB).unwrap());
    let store = open(&path);
    let begun = Instant::now();
    let (_, held, peak) = measure(|| store.log(0).append(&[Entry::new(1, 7, &data[..])]).unwrap());
    println!("written in {:?}, {peak} bytes of memory at most, {held} held", begun.elapsed());
    assert!(peak < WRITING_MAX + SLACK && held < SLACK, "{peak} bytes, {held} held");
    store.log(0).append(&[Entry::new(2, 7, b"behind")]).unwrap();
    check(&store, &data);
    store.close().unwrap();

    let begun = Instant::now();
    let (store, held, peak) = measure(|| open(&path));
    println!("opened in {:?}, {peak} bytes of memory at most, {held} held", begun.elapsed());
    assert!(peak < READING_MAX + SLACK && held < SLACK, "{peak} bytes, {held} held");
    check(&store, &data);
    // Its space comes back, though no segment of that size is kept.
    store.log(0).purge(2, 7, b"").unwrap();
    store.log(0).append(&[Entry::new(3, 7, b"small")]).unwrap();
    store.maintain().unwrap();
    let size: u64 = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("{size} bytes of disk after a purge, {:?}", store.stats());
    assert!(size < GIB, "{size} bytes of disk");
}

fn check(store: &Store, data: &[u8]) {
    let begun = Instant::now();
    let (entry, _, peak) = measure(|| store.log(0).get(1).unwrap());
    println!("got in {:?}, {peak} bytes of memory at most", begun.elapsed());
    assert!(entry.data == data, "the data is another");
    assert!(peak < GETTING_MAX + SLACK, "{peak} bytes");
    drop(entry);
    let (page, _, peak) = measure(|| store.log(0).read(1..3, Limit::bytes(1)).unwrap());
    println!("read with {peak} bytes of memory at most");
    assert_eq!((page.len(), page.next()), (1, 2));
    assert!(page.iter().next().unwrap().data == data);
    assert!(peak < READING_MAX + SLACK, "{peak} bytes");
    assert_eq!(store.log(0).get(2).unwrap().data, b"behind");
}

#[test]
fn one_byte_above_a_limit_is_refused_with_both_numbers_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options::new().entry_bytes_max(1_000).batch_bytes_max(3_000).blob_bytes_max(500);
    let store = options().open(folder.path().join("store")).unwrap();
    let log = store.log(0);
    let entries = |sizes: &[usize]| -> Vec<Entry> {
        (1..).zip(sizes).map(|(index, size)| Entry::new(index, 1, pattern(*size))).collect()
    };
    let refused = |what: &str, result: Result<(), Error>, wanted: (u64, u64)| {
        let Err(Error::TooLarge { what: named, size, limit }) = &result else { panic!("{what}: {result:?}") };
        assert_eq!((*size, *limit), wanted, "{what}");
        assert!(named.contains(what), "{what}: {named}");
        let text = result.as_ref().unwrap_err().to_string();
        assert!(text.contains(&wanted.0.to_string()) && text.contains(&wanted.1.to_string()), "{text}");
        assert_eq!((store.accepted().unwrap().0, store.groups().unwrap()), (0, vec![]), "{what}: something changed");
    };
    let calls =
        [log.append(&entries(&[1_001])), log.put(&entries(&[1_001])), log.replace_from(1, &entries(&[7, 1_001]))];
    for result in calls {
        refused("entry_bytes_max", result.map(|_| ()), (1_001, 1_000));
    }
    refused("batch_bytes_max", log.append(&entries(&[1_000, 1_000, 1_000, 1])).map(|_| ()), (3_001, 3_000));
    let joint = (0..4).fold(Batch::new(), |batch, group| batch.log(group, |log| log.append(&entries(&[751]))));
    refused("batch_bytes_max", store.write(joint).map(|_| ()), (3_004, 3_000));
    refused("blob_bytes_max", log.set_meta("key", &pattern(501)).map(|_| ()), (501, 500));
    refused("blob_bytes_max", log.purge(1, 1, &pattern(501)).map(|_| ()), (501, 500));
    let snapshot = log.snapshot_writer().unwrap().finish(1, 1, &pattern(501)).map(drop);
    refused("blob_bytes_max", snapshot, (501, 500));

    log.append(&entries(&[1_000, 1_000, 1_000])).unwrap();
    log.set_meta("key", &pattern(500)).unwrap();
    log.purge(1, 1, &pattern(500)).unwrap();
    let accepted = store.accepted().unwrap().0;
    assert_eq!(accepted, 3, "each limit itself is allowed");
}

#[test]
fn one_byte_above_the_ceiling_is_refused_whatever_the_options_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for (name, options) in [
        ("entry_bytes_max", Options::new().entry_bytes_max(GIB + 1)),
        ("batch_bytes_max", Options::new().batch_bytes_max(GIB + 1)),
        ("blob_bytes_max", Options::new().blob_bytes_max((16 << 20) + 1)),
        ("meta_bytes_max", Options::new().meta_bytes_max((256 << 20) + 1)),
        ("groups_max", Options::new().groups_max((1 << 20) + 1)),
        ("segment_bytes", Options::new().segment_bytes(GIB + 1)),
    ] {
        let refused = options.open(&path).map(drop);
        let Err(Error::InvalidArgument { detail }) = &refused else { panic!("{name}: {refused:?}") };
        assert!(detail.contains(name), "{detail}");
    }
    assert!(!path.exists(), "nothing was made");
    let store = Options::new().meta_bytes_max(100).open(&path).unwrap();
    let refused = store.log(0).set_meta("key", &[7; 98]);
    assert!(matches!(refused, Err(Error::TooLarge { size: 101, limit: 100, .. })), "{refused:?}");
    store.log(0).set_meta("key", &[7; 97]).unwrap();
}

fn open(path: &Path) -> Store {
    Options::new().entry_bytes_max(GIB).batch_bytes_max(GIB).open(path).unwrap()
}

/// Bytes that tell their place.
fn pattern(size: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(size + 8);
    let mut at = 0u64;
    while data.len() < size {
        data.extend_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        at += 1;
    }
    data.truncate(size);
    data
}
