//! Stores as they lay on disk when format 1 was written down, in `tests/fixtures`: every release must read them, and find in
//! them what their dumps say. The reader that knows nothing but FORMAT.md must find the same.
//!
//! None of them ever changes. `cargo test -p duramen --test fixtures make_fixtures -- --ignored` makes those that are listed
//! here and not there yet.
#![forbid(unsafe_code)]

#[path = "support/model.rs"]
mod model;
#[allow(dead_code, reason = "it reads, and nothing is counted")]
#[path = "reader/reader.rs"]
mod reader;
#[allow(dead_code, reason = "only what is left of a store is shown")]
#[path = "reader/shown.rs"]
mod shown;

mod run {
    pub(crate) type Checked<T = ()> = Result<T, String>;
}

use duramen::io::{Disk, SimulatedDisk};
use duramen::{Batch, Entry, HardState, Loss, Options, Store};
use reader::Reader;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIRECTORY: &str = "/store";
const SEGMENT_BYTES: u64 = 16 << 10;
const DUMP: &str = "dump.jsonl";

/// The name of a fixture, how it is made, the exit status of the reader, and what must occur in it.
type Fixture = (&'static str, fn() -> SimulatedDisk, u64, &'static [&'static str]);

const FIXTURES: &[Fixture] = &[
    ("closed", closed, 0, &["clean"]),
    ("torn", torn, 0, &["torn"]),
    ("footers", footers, 0, &["footers"]),
    ("snapshots", snapshots, 0, &["snapshots", "records of kind 13"]),
    (
        "losses",
        losses,
        1,
        &["records of kind 14", "records of kind 16", "records of kind 17", "records of kind 18", "damaged groups"],
    ),
    ("indexes", indexes, 0, &["records of kind 5", "records of kind 15"]),
];

// ---------------------------------------------------------------------------------------------------------- the tests

#[test]
fn this_release_reads_them() {
    for_each(|name, directory, dump| {
        let store = Store::open_read_only(directory).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shown::lines_of_damaged(&store).unwrap(), dump, "{name}");
        let writer = open_real(directory);
        assert_eq!(shown::differs(&writer, &store).unwrap(), None, "{name}");
        // Writing goes on, and what was there stays.
        writer.log(99).append(&[Entry::new(1, 1, b"written now")]).unwrap();
        writer.close().unwrap();
        let lines = shown::lines_of_damaged(&Store::open_read_only(directory).unwrap()).unwrap();
        let is_other = |line: &String| !line.starts_with("{\"group\":99,");
        assert_eq!(lines.into_iter().filter(is_other).collect::<Vec<_>>(), dump, "{name}");
    });
}

#[test]
fn the_independent_reader_reads_them() {
    let mut reader = Reader::start();
    for_each(|name, directory, dump| {
        let answer = reader.read(directory);
        answer.compare_lines(&dump).unwrap_or_else(|what| panic!("{name}: {what}\n{}", answer.end));
        let (_, _, status, _) = FIXTURES.iter().find(|(known, ..)| *known == name).expect("every fixture is listed");
        assert_eq!(answer.status, *status, "{name}: {}", answer.end);
    });
}

/// Each in a copy of its own.
fn for_each(mut check: impl FnMut(&str, &Path, Vec<String>)) {
    for (name, ..) in FIXTURES {
        let (folder, from) = (folder(), fixtures().join(name));
        let directory = folder.path().join("store");
        fs::create_dir(&directory).unwrap();
        for file in fs::read_dir(&from).unwrap().map(Result::unwrap).filter(|file| file.file_name() != DUMP) {
            fs::copy(file.path(), directory.join(file.file_name())).unwrap();
        }
        let dump = fs::read_to_string(from.join(DUMP)).unwrap();
        check(name, &directory, dump.lines().map(str::to_owned).collect());
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/v1")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room for a directory")
}

fn open_real(directory: &Path) -> Store {
    Options::new().segment_bytes(SEGMENT_BYTES).open(directory).unwrap()
}

// ----------------------------------------------------------------------------------------------------- how they are made

#[test]
#[ignore = "it writes tests/fixtures"]
fn make_fixtures() {
    for (name, make, status, has) in FIXTURES {
        let to = fixtures().join(name);
        if to.exists() {
            continue;
        }
        let disk = make();
        fs::create_dir_all(&to).unwrap();
        for file in names(&disk) {
            fs::write(to.join(&file), disk.contents(DIRECTORY, &file).unwrap()).unwrap();
        }
        let mut reader = Reader::start();
        let answer = reader.read(&to);
        assert_eq!(answer.status, *status, "{name}: {}", answer.end);
        has.iter().for_each(|what| assert!(reader.met.count(what) > 0, "{name} has no {what}\n{}", reader.met));
        let lines = shown::lines_of_damaged(&Store::open_read_only(&to).unwrap()).unwrap();
        answer.compare_lines(&lines).unwrap_or_else(|what| panic!("{name}: {what}\n{}", answer.end));
        fs::write(to.join(DUMP), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    disk.open_directory(DIRECTORY.as_ref(), false).unwrap().list().unwrap()
}

fn open(disk: &SimulatedDisk) -> Store {
    Options::new().disk(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES).cache_bytes(0).open(DIRECTORY).unwrap()
}

/// As a power cut leaves it that keeps everything.
fn crashed(disk: &SimulatedDisk) -> SimulatedDisk {
    let points = disk.crash_points();
    points.disk_after(&points.all_new())
}

fn entries(group: u64, first: u64, count: u64, term: u64, bytes: usize) -> Vec<Entry> {
    let data = |index: u64| {
        let mut data = format!("group {group} index {index} term {term} ").into_bytes();
        data.resize(bytes.max(data.len()), b'.');
        data
    };
    (first..first + count)
        .map(|index| Entry::new(index, term, data(index)).with_kind(u8::try_from(index % 3).unwrap()))
        .collect()
}

fn hard_state(term: u64, vote: Option<u64>, commit: Option<u64>) -> HardState {
    HardState { term, vote, commit }
}

/// All kinds of writes.
fn write_all(store: &Store) {
    store
        .write(
            Batch::new()
                .log(0, |log| log.append(&entries(0, 1, 4, 1, 60)).set_hard_state(hard_state(1, Some(2), None)))
                .log(7, |log| log.append(&entries(7, 1, 3, 1, 0)).set_meta("node", b"a:1").set_meta("id", &[0, 255])),
        )
        .unwrap();
    let log = store.log(0);
    log.append(&entries(0, 5, 3, 2, 100)).unwrap();
    log.replace_from(6, &entries(0, 6, 4, 3, 20)).unwrap();
    log.truncate_from(9).unwrap();
    log.purge(2, 1, b"a blob").unwrap();
    log.set_hard_state(hard_state(3, None, Some(7))).unwrap();
    log.note_commit(8).unwrap();
    let other = store.log(7);
    other.remove(2..3).unwrap();
    other.put(&entries(7, 6, 2, 2, 10)).unwrap();
    other.delete_meta("node").unwrap();
    store.log(8).append(&entries(8, 1, 2, 1, 5)).unwrap();
    store.log(8).drop_group().unwrap();
    store.log(9).append(&entries(9, 1, 2, 1, 5)).unwrap();
    store.log(9).reset(Some(40)).unwrap();
}

fn closed() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk);
    write_all(&store);
    store.close().unwrap();
    disk.kill()
}

/// The last write is not whole.
fn torn() -> SimulatedDisk {
    let disk = SimulatedDisk::new(2);
    let store = open(&disk);
    write_all(&store);
    let text = "the end of a write that never came to its end";
    store.log(0).append(&[Entry::new(9, 3, [&[b' '; 4500], text.as_bytes()].concat())]).unwrap();
    let disk = crashed(&disk);
    spoil(&disk, text.as_bytes(), |found| found.fill(0));
    disk
}

/// Overwrites the bytes of every place where these stand.
fn spoil(disk: &SimulatedDisk, find: &[u8], how: impl Fn(&mut [u8])) {
    let mut count = 0;
    for name in names(disk).into_iter().filter(|name| name.ends_with(".seg")) {
        let bytes = disk.contents(DIRECTORY, &name).unwrap();
        for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(find)) {
            let mut here = find.to_vec();
            how(&mut here);
            disk.overwrite_durable(DIRECTORY, &name, at as u64, &here).unwrap();
            count += 1;
        }
    }
    assert!(count > 0, "{:?} stands nowhere", String::from_utf8_lossy(find));
}

/// Some segments are sealed, and some were released.
fn footers() -> SimulatedDisk {
    let disk = SimulatedDisk::new(3);
    let store = open(&disk);
    write_all(&store);
    fill(&store, 20);
    store.maintain().unwrap();
    crashed(&disk)
}

/// One group goes on until older segments are full, and forgets all but the last entries.
fn fill(store: &Store, count: u64) {
    let log = store.log(1);
    let next = log.bounds().unwrap().map_or(1, |bounds| bounds.end);
    for index in next..next + count {
        log.append(&entries(1, index, 1, 1, 1000)).unwrap();
    }
    log.purge(next + count - 3, 1, b"far").unwrap();
    store.maintain().unwrap();
}

fn snapshots() -> SimulatedDisk {
    let disk = SimulatedDisk::new(4);
    let store = open(&disk);
    let taken = |group: u64, index: u64, term: u64, bytes: usize| {
        let mut writer = store.log(group).snapshot_writer().unwrap();
        writer.write_all(&vec![index.to_le_bytes()[0]; bytes]).unwrap();
        writer.finish(index, term, format!("configuration {index}").as_bytes()).unwrap()
    };
    write_all(&store);
    store.log(0).save_snapshot(taken(0, 4, 1, 3000)).unwrap();
    store.log(7).install_snapshot(taken(7, 3, 1, 0)).unwrap();
    store.log(5).append(&entries(5, 1, 3, 1, 30)).unwrap();
    store.log(5).install_snapshot(taken(5, 1 << 40, 9, 10_000)).unwrap();
    store.log(5).append(&entries(5, (1 << 40) + 1, 2, 9, 30)).unwrap();
    store.close().unwrap();
    disk.kill()
}

/// What a damage took is told once more, some of it is given up, and what proved it is released.
fn losses() -> SimulatedDisk {
    let disk = SimulatedDisk::new(5);
    let store = open(&disk);
    write_all(&store);
    let ballot =
        |log: duramen::LogBatch, group: u64| log.set_hard_state(hard_state(0x1122_3344_5566_7788, Some(group), None));
    for group in 2..5 {
        let append =
            |log: duramen::LogBatch| log.append(&entries(group, 1, 5, 1, 50)).set_meta("key", b"some metadata");
        store.write(Batch::new().log(group, append)).unwrap();
        store.write(Batch::new().log(group, |log| ballot(log, group))).unwrap();
        store.log(group).purge(1, 1, b"blob of a boundary").unwrap();
    }
    store.log(0).append(&entries(0, 9, 2, 3, 20)).unwrap();
    store.close().unwrap();
    let disk = disk.kill();
    let letter = |found: &mut [u8]| found[0] ^= 1;
    for text in
        ["group 2 index 3", "group 3 index 2", "group 3 index 4", "group 4 index 5", "some metadata", "blob of a b"]
    {
        spoil(&disk, text.as_bytes(), letter);
    }
    spoil(&disk, &0x1122_3344_5566_7788_u64.to_le_bytes(), letter);
    let store = open(&disk);
    store.log(2).accept_loss(Loss::Metadata).unwrap();
    store.log(3).repair(&entries(3, 4, 1, 1, 50)).unwrap();
    store.log(3).accept_loss(Loss::HardState).unwrap();
    store.log(3).set_hard_state(hard_state(9, None, None)).unwrap();
    fill(&store, 30);
    store.close().unwrap();
    // Then batches are lost of which nobody knows.
    let disk = disk.kill();
    let last = names(&disk).into_iter().rfind(|name| {
        let is_begun = |bytes: Vec<u8>| bytes[8192..].starts_with(b"dBat");
        name.ends_with(".seg") && is_begun(disk.contents(DIRECTORY, name).unwrap())
    });
    let last = last.expect("a segment holds batches");
    let bytes = disk.contents(DIRECTORY, &last).unwrap();
    let at = (0..bytes.len()).step_by(64).rfind(|at| bytes[*at..].starts_with(b"dBat")).expect("it has batches");
    disk.overwrite_durable(DIRECTORY, &last, at as u64, &[0; 64]).unwrap();
    let store = open(&disk);
    store.log(4).accept_loss(Loss::Batches { first: 1, last: 1 }).unwrap();
    fill(&store, 30);
    fill(&store, 30);
    store.close().unwrap();
    disk.kill()
}

/// The lowest and the highest index, with holes, and logs that go on where nothing is.
fn indexes() -> SimulatedDisk {
    let disk = SimulatedDisk::new(6);
    let store = open(&disk);
    store.log(0).append(&entries(0, 0, 2, 1, 10)).unwrap();
    store.log(0).put(&entries(0, 5, 1, 2, 10)).unwrap();
    store.log(u64::MAX).put(&entries(u64::MAX, u64::MAX - 1, 1, u64::MAX, 10)).unwrap();
    store.log(u64::MAX).put(&entries(u64::MAX, u64::MAX - 9, 3, 1, 10)).unwrap();
    store.log(3).put(&entries(3, 1 << 63, 1, 1, 0)).unwrap();
    store.log(3).put(&entries(3, 0, 1, 1, 0)).unwrap();
    store.log(4).reset(Some(77)).unwrap();
    store.log(5).purge(u64::MAX - 1, 3, b"").unwrap();
    fill(&store, 20);
    fill(&store, 20);
    store.close().unwrap();
    disk.kill()
}
