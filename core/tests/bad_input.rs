//! What cannot be done is refused by name, with the numbers that disagree, and leaves no trace: not in the store, and not on
//! the disk.

#[path = "support/model.rs"]
mod model;

use duramen::io::{Calls, Disk, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{
    Batch, Code, Durability, Entry, Error, HardState, Health, Limit, Log, Loss, Options, Position, Result, Store,
};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const DIRECTORY: &str = "/store";
const ENTRY_BYTES_MAX: u64 = 1_000;
const BATCH_BYTES_MAX: u64 = 2_500;

// ------------------------------------------------------------------------------------------------- calls on a store

/// What is called, the error's code, and what its message must say.
type Case = (&'static str, Code, &'static [&'static str], fn(&Store) -> Result<()>);

/// Log 1 holds the entries 5 to 7, log 2 the last index there is, and with log 3 there are as many groups as may be.
const CASES: &[Case] = &[
    ("append with a gap", Code::NotContiguous, &["group 1", "expected index 8", "got 9"], |store| {
        append(&store.log(1), &[9])
    }),
    ("append with an overlap", Code::NotContiguous, &["group 1", "expected index 8", "got 7"], |store| {
        append(&store.log(1), &[7, 8])
    }),
    ("append below the first", Code::NotContiguous, &["expected index 8", "got 0"], |store| {
        append(&store.log(1), &[0])
    }),
    ("append with a gap inside", Code::NotContiguous, &["group 1", "expected index 9", "got 10"], |store| {
        append(&store.log(1), &[8, 10])
    }),
    ("append of duplicate indexes", Code::NotContiguous, &["expected index 9", "got 8"], |store| {
        append(&store.log(1), &[8, 8])
    }),
    ("append of descending indexes", Code::NotContiguous, &["expected index 10", "got 8"], |store| {
        append(&store.log(1), &[8, 9, 8])
    }),
    ("append of 2^64-1", Code::InvalidArgument, &["18446744073709551615", "2^64-2"], |store| {
        append(&store.log(2), &[u64::MAX])
    }),
    ("append up to 2^64-1", Code::InvalidArgument, &["18446744073709551615"], |store| {
        append(&store.log(4), &[u64::MAX - 1, u64::MAX])
    }),
    ("replace_from above the next index", Code::NotContiguous, &["expected index 8", "got 10"], |store| {
        store.log(1).replace_from(10, &[entry(10, 1)]).map(drop_position)
    }),
    ("replace_from with another first index", Code::NotContiguous, &["expected index 6", "got 7"], |store| {
        store.log(1).replace_from(6, &[entry(7, 1)]).map(drop_position)
    }),
    ("replace_from at 2^64-1", Code::InvalidArgument, &["18446744073709551615"], |store| {
        store.log(2).replace_from(u64::MAX, &[entry(u64::MAX, 1)]).map(drop_position)
    }),
    ("an entry that is too large", Code::TooLarge, &["1001", "1000", "entry_bytes_max"], |store| {
        store.log(1).append(&[entry(8, 1_001)]).map(drop_position)
    }),
    ("a batch that is too large", Code::TooLarge, &["2501", "2500", "batch_bytes_max"], |store| {
        store.log(1).append(&[entry(8, 1_000), entry(9, 1_000), entry(10, 501)]).map(drop_position)
    }),
    ("a joint batch that is too large", Code::TooLarge, &["2501", "2500"], |store| {
        let one = Batch::new().log(1, |log| log.append(&[entry(8, 1_000), entry(9, 1_000)]));
        store.write(one.log(2, |log| log.replace_from(7, &[entry(7, 501)]))).map(drop_position)
    }),
    ("one group too many", Code::TooLarge, &["4", "3", "groups_max"], |store| append(&store.log(4), &[1])),
    ("a joint batch whose last part is wrong", Code::NotContiguous, &["group 1", "expected index 9"], |store| {
        let sound = Batch::new().log(3, |log| log.truncate_from(0)).log(1, |log| log.append(&[entry(8, 1)]));
        store.write(sound.log(1, |log| log.append(&[entry(10, 1)]))).map(drop_position)
    }),
    ("a buffered write that is wrong", Code::NotContiguous, &["expected index 8", "got 9"], |store| {
        store.log(1).append_with(&[entry(9, 1)], Durability::Buffered).map(drop_position)
    }),
    ("waiting for a position never issued", Code::InvalidArgument, &["1000000"], |store| {
        store.wait(Position(1_000_000), Duration::ZERO)
    }),
    ("get at the end", Code::NotFound, &["group 1", "entry 8", "next index is 8"], |store| {
        store.log(1).get(8).map(drop)
    }),
    ("get in an empty log", Code::NotFound, &["group 9", "entry 0", "empty"], |store| store.log(9).get(0).map(drop)),
    ("get below the first", Code::Hole, &["group 1", "index 4"], |store| store.log(1).get(4).map(drop)),
    ("get of 2^64-1", Code::InvalidArgument, &["18446744073709551615"], |store| store.log(1).get(u64::MAX).map(drop)),
    ("term at the end", Code::NotFound, &["entry 8"], |store| store.log(1).term(8).map(drop)),
    ("term below the first", Code::Hole, &["index 0"], |store| store.log(1).term(0).map(drop)),
    ("read from below the first", Code::Hole, &["index 3"], |store| store.log(1).read(3..7, Limit::none()).map(drop)),
    ("read past the end", Code::NotFound, &["entry 8"], |store| store.log(1).read(5..9, Limit::none()).map(drop)),
];

#[test]
fn a_refused_call_leaves_no_trace() {
    let disk = SimulatedDisk::new(1);
    {
        let store = prepared_store(&disk);
        CASES.iter().for_each(|case| check(case, &store, &disk));
        store.close().unwrap();
    }
    // The first calls of an opening, after a clean stop and after a kill.
    for disk in [disk.clone(), disk.kill()] {
        let store = open(&disk).unwrap();
        CASES.iter().for_each(|case| check(case, &store, &disk));
        drop(store);
        let names = names(&disk);
        let contents = || names.iter().map(|name| disk.contents(DIRECTORY, name).unwrap()).collect::<Vec<_>>();
        let before = contents();
        CASES.iter().for_each(|case| check(case, &open(&disk).unwrap(), &disk));
        assert_eq!(contents(), before, "some file changed");
    }
    println!("{} bad calls refused, each in five situations", CASES.len());
}

fn check((what, code, words, call): &Case, store: &Store, disk: &SimulatedDisk) {
    let state = |store: &Store| (model::dump(store).unwrap(), store.accepted().unwrap(), store.durable().unwrap());
    let (before, operations) = (state(store), disk.operations());
    let error = call(store).expect_err(what);
    assert_eq!(error.code(), *code, "{what}: {error}");
    words.iter().for_each(|word| assert!(error.to_string().contains(word), "{what}: {word:?} is not in: {error}"));
    assert_eq!(disk.operations(), operations, "{what}: something was written");
    assert_eq!(state(store), before, "{what}");
}

#[test]
fn the_limits_themselves_are_accepted() {
    let disk = SimulatedDisk::new(1);
    let store = prepared_store(&disk);
    store.log(1).append(&[entry(8, 1_000)]).unwrap();
    store.log(1).append(&[entry(9, 1_000), entry(10, 1_000), entry(11, 500)]).unwrap();
    store.log(2).replace_from(u64::MAX - 1, &[entry(u64::MAX - 1, 0)]).unwrap();
    store.log(2).truncate_from(u64::MAX).expect("past the end it does nothing");
    assert_eq!(store.log(2).bounds().unwrap(), Some(u64::MAX - 1..u64::MAX));
    assert_eq!(store.log(1).read(5..5, Limit::none()).unwrap().len(), 0, "an empty range is an empty page");
    let second = open(&disk).unwrap();
    assert_eq!(model::dump(&second).unwrap(), model::dump(&store).unwrap());
}

#[test]
fn a_closed_store_says_so() {
    let disk = SimulatedDisk::new(1);
    let store = prepared_store(&disk);
    let (log, clone) = (store.log(1), store.clone());
    store.close().unwrap();
    let operations = disk.operations();
    let state = HardState::default();
    let results: [(&str, Option<Code>); 37] = [
        ("append", code(log.append(&[entry(8, 1)]))),
        ("append_with", code(log.append_with(&[entry(8, 1)], Durability::Buffered))),
        ("append nothing", code(log.append::<Vec<u8>>(&[]))),
        ("replace_from", code(log.replace_from(6, &[entry(6, 1)]))),
        ("truncate_from", code(log.truncate_from(6))),
        ("put", code(log.put(&[entry(8, 1)]))),
        ("remove", code(log.remove(5..6))),
        ("remove nothing", code(log.remove(5..5))),
        ("purge", code(log.purge(5, 1, b""))),
        ("reset", code(log.reset(None))),
        ("drop_group", code(log.drop_group())),
        ("set_meta", code(log.set_meta("key", b""))),
        ("delete_meta", code(log.delete_meta("key"))),
        ("note_commit", code(log.note_commit(5))),
        ("read_present", code(log.read_present(5..6, Limit::none()))),
        ("boundary", code(log.boundary())),
        ("range_of_term", code(log.range_of_term(1))),
        ("commit", code(log.commit())),
        ("meta", code(log.meta("key"))),
        ("on_durable", code(clone.on_durable(Position(0), |_| panic!("it was called")))),
        ("set_hard_state", code(log.set_hard_state(state))),
        ("get", code(log.get(5))),
        ("read", code(log.read(5..6, Limit::none()))),
        ("read nothing", code(log.read(5..5, Limit::none()))),
        ("iter", code(log.iter(5..6).next().unwrap())),
        ("term", code(log.term(5))),
        ("bounds", code(log.bounds())),
        ("last", code(log.last())),
        ("count", code(log.count())),
        ("hard_state", code(log.hard_state())),
        ("sync", code(log.sync())),
        ("accepted", code(clone.accepted())),
        ("durable", code(clone.durable())),
        ("wait", code(clone.wait(Position(0), Duration::ZERO))),
        ("groups", code(clone.groups())),
        ("write", code(clone.write(Batch::new().log(1, |log| log.truncate_from(0))))),
        ("close", code(clone.close())),
    ];
    for (call, found) in results {
        assert_eq!(found, Some(Code::Closed), "{call}");
    }
    assert_eq!(disk.operations(), operations, "a closed store wrote something");
    assert_eq!(open(&disk).unwrap().log(1).bounds().unwrap(), Some(5..8));
}

// -------------------------------------------------------------------------------------------------------- options

#[test]
fn options_out_of_range_are_refused_before_anything_is_made() {
    let disk = SimulatedDisk::new(1);
    let too_many = (1 << 20) + 1;
    for (option, value, options) in [
        ("segment_bytes", 16_383, Options::new().segment_bytes(16_383)),
        ("segment_bytes", (1 << 30) + 1, Options::new().segment_bytes((1 << 30) + 1)),
        ("entry_bytes_max", 0, Options::new().entry_bytes_max(0)),
        ("entry_bytes_max", (1 << 30) + 1, Options::new().entry_bytes_max((1 << 30) + 1)),
        ("batch_bytes_max", 0, Options::new().batch_bytes_max(0)),
        ("batch_bytes_max", u64::MAX, Options::new().batch_bytes_max(u64::MAX)),
        ("blob_bytes_max", 0, Options::new().blob_bytes_max(0)),
        ("blob_bytes_max", (16 << 20) + 1, Options::new().blob_bytes_max((16 << 20) + 1)),
        ("meta_bytes_max", 0, Options::new().meta_bytes_max(0)),
        ("meta_bytes_max", (256 << 20) + 1, Options::new().meta_bytes_max((256 << 20) + 1)),
        ("cache_bytes", (1 << 30) + 1, Options::new().cache_bytes((1 << 30) + 1)),
        ("groups_max", 0, Options::new().groups_max(0)),
        ("groups_max", too_many, Options::new().groups_max(usize::try_from(too_many).unwrap())),
    ] {
        let error = options.disk(Arc::new(disk.clone())).open(DIRECTORY).expect_err(option);
        assert_eq!(error.code(), Code::InvalidArgument, "{option}: {error}");
        let text = error.to_string();
        assert!(text.contains(option) && text.contains(&value.to_string()), "{option} = {value}: {error}");
    }
    assert_eq!(disk.calls(), 0, "the disk was touched");
}

#[test]
fn a_second_opening_with_other_options_is_refused_by_name() {
    let disk = SimulatedDisk::new(1);
    let store = prepared_store(&disk);
    for (option, open, asked, options) in [
        ("segment_bytes", "65536", "131072", options(&disk).segment_bytes(128 << 10)),
        ("entry_bytes_max", "1000", "999", options(&disk).entry_bytes_max(999)),
        ("batch_bytes_max", "2500", "2501", options(&disk).batch_bytes_max(2_501)),
        ("blob_bytes_max", "65536", "9", options(&disk).blob_bytes_max(9)),
        ("meta_bytes_max", "1048576", "8", options(&disk).meta_bytes_max(8)),
        ("cache_bytes", "16777216", "0", options(&disk).cache_bytes(0)),
        ("groups_max", "3", "4", options(&disk).groups_max(4)),
    ] {
        let before = disk.operations();
        let error = options.open(DIRECTORY).expect_err(option);
        assert_eq!(error.code(), Code::OptionsConflict, "{error}");
        assert!([option, open, asked].iter().all(|word| error.to_string().contains(word)), "{error}");
        assert_eq!(disk.operations(), before);
    }
    append(&store.log(1), &[8]).expect("the store goes on");
}

#[test]
fn an_exclusive_opening_shares_with_nobody() {
    let disk = SimulatedDisk::new(1);
    let own = Some(std::process::id());
    let locked = |result: Result<Store>| matches!(result, Err(Error::Locked { pid, .. }) if pid == own);
    let store = prepared_store(&disk);
    assert!(locked(options(&disk).exclusive(true).open(DIRECTORY)), "the first opening is there already");
    store.close().unwrap();
    let exclusive = options(&disk).exclusive(true).open(DIRECTORY).unwrap();
    assert!(locked(open(&disk)), "the first opening is exclusive");
    assert!(locked(options(&disk).exclusive(true).open(DIRECTORY)), "both are");
    append(&exclusive.log(1), &[8]).expect("the store goes on");
    drop(exclusive);
    assert_eq!(open(&disk).unwrap().log(1).bounds().unwrap(), Some(5..9));
}

// ---------------------------------------------------------------------------------------------------------- paths

#[test]
fn a_path_that_is_a_file_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "somebody's text").unwrap();
    for options in [Options::new(), Options::new().create(false)] {
        not_a_store(options.open(&path), "file");
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's text");
    }
    let below = Options::new().open(path.join("store")).expect_err("its parent is a file");
    assert!(matches!(below.code(), Code::NotAStore | Code::Io), "{below}");
}

#[test]
fn a_directory_whose_parent_is_missing_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path().join("missing/store")).expect_err("the parent is missing");
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound), "{error}");
    assert_eq!(entries_of(folder.path()), Vec::<String>::new());
}

#[test]
fn without_create_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new().create(false);
    not_a_store(options.open(folder.path().join("missing")), "no such directory");
    not_a_store(options.open(folder.path()), "empty");
    assert_eq!(entries_of(folder.path()), Vec::<String>::new());
    Store::open(folder.path()).unwrap().log(1).append(&[entry(1, 1)]).unwrap();
    assert_eq!(options.open(folder.path()).unwrap().log(1).count().unwrap(), 1, "a store that is there opens");
}

/// Whatever lies there, nothing is created, changed or removed.
#[test]
fn a_directory_of_something_else_is_left_alone() {
    let sets: [&[(&str, &str)]; 5] = [
        &[("notes.txt", "text")],
        &[("LOCK", ""), ("CURRENT", "MANIFEST-000002\n"), ("MANIFEST-000002", "level"), ("000003.log", "")],
        &[("MANIFEST", "Manifest-Version: 1.0\n"), ("classes.jar", "PK")],
        &[("MANIFEST", "Manifest-Version: 1.0\n")],
        &[("segment.new", "somebody else's"), ("other", "")],
    ];
    for files in sets {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        for options in [Options::new(), Options::new().create(false)] {
            not_a_store(options.open(folder.path()), "");
        }
        let mut names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(entries_of(folder.path()), names, "something was created or removed");
        for (name, text) in files {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), *text, "{name} was changed");
        }
    }
}

#[test]
fn a_read_only_disk_refuses_and_nothing_changes() {
    for (failure, kind) in
        [(Failure::ReadOnly, ErrorKind::ReadOnlyFilesystem), (Failure::PermissionDenied, ErrorKind::PermissionDenied)]
    {
        let disk = SimulatedDisk::new(1);
        disk.open_directory(DIRECTORY.as_ref(), true).unwrap();
        let refused = |what: &str, calls: Calls| {
            disk.fail(Fault::new(calls, failure).for_ever());
            let error = open(&disk).expect_err(what);
            assert!(matches!(&error, Error::Io { source, .. } if source.kind() == kind), "{what}: {error}");
            disk.clear_faults();
        };
        refused("an empty directory", Calls::Only(OperationKind::Lock));
        assert_eq!(names(&disk), Vec::<String>::new());
        refused("an empty directory with a lock", Calls::Changing);
        assert_eq!(names(&disk), ["LOCK"]);
        drop(prepared_store(&disk));
        let before: Vec<_> = names(&disk).iter().map(|name| disk.contents(DIRECTORY, name).unwrap()).collect();
        refused("a store", Calls::Only(OperationKind::Lock));
        let after: Vec<_> = names(&disk).iter().map(|name| disk.contents(DIRECTORY, name).unwrap()).collect();
        assert_eq!(before, after);
        assert_eq!(open(&disk).unwrap().log(1).bounds().unwrap(), Some(5..8));
    }
}

// --------------------------------------------------------------------------------------------- what stands on disk

/// A structure on disk whose format or features are newer: the file, where the structure begins, its size, the byte that
/// is changed and what to.
const NEWER: &[(&str, usize, usize, usize, u8, &str)] = &[
    ("MANIFEST", 0, 128, 12, 2, "format"),
    ("MANIFEST", 4096, 128, 12, 2, "format of the other slot"),
    ("MANIFEST", 0, 128, 16, 1, "feature bit"),
    ("MANIFEST", 0, 128, 88, 4, "flag"),
    ("0000000000000001.seg", 0, 96, 12, 2, "format"),
    ("0000000000000001.seg", 0, 96, 20, 1, "feature bit"),
    ("0000000000000001.seg", 0, 96, 73, 0x20, "block size"),
];

#[test]
fn a_newer_format_is_refused_by_name() {
    for (file, at, size, byte, value, what) in NEWER {
        let disk = SimulatedDisk::new(1);
        prepared_store(&disk).close().unwrap();
        let mut structure = disk.contents(DIRECTORY, file).unwrap()[*at..at + size].to_vec();
        structure[*byte] = *value;
        let crc = crc32fast::hash(&structure[12..]);
        structure[8..12].copy_from_slice(&crc.to_le_bytes());
        disk.overwrite_durable(DIRECTORY, file, *at as u64, &structure).unwrap();
        let operations = disk.operations();
        match open(&disk) {
            Err(Error::UnsupportedFormat { file: named, supported, .. }) => {
                assert_eq!((named.as_str(), supported.as_str()), (*file, "1"), "{what}");
            }
            other => panic!("{file}, {what}: {other:?}"),
        }
        assert_eq!(disk.operations(), operations, "{file}, {what}: something was written");
    }
}

#[test]
fn segments_without_a_manifest_are_corrupt_and_not_a_new_store() {
    for what in ["no manifest", "no valid slot"] {
        let disk = SimulatedDisk::new(1);
        prepared_store(&disk).close().unwrap();
        match what {
            "no manifest" => disk.lose_file(DIRECTORY, "MANIFEST").unwrap(),
            _ => [50, 4096 + 50].iter().for_each(|at| disk.flip_bit(DIRECTORY, "MANIFEST", *at, 1).unwrap()),
        }
        let (names_before, operations) = (names(&disk), disk.operations());
        for options in [options(&disk), options(&disk).create(false)] {
            match options.open(DIRECTORY) {
                Err(Error::Corrupt { file, .. }) => assert_eq!(file, "MANIFEST", "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
        assert_eq!((names(&disk), disk.operations()), (names_before, operations), "{what}: something was made");
    }
}

#[test]
fn a_lost_manifest_is_made_anew_for_who_asks() {
    for (what, clean) in [("no manifest", true), ("no manifest", false), ("no valid slot", true)] {
        let disk = SimulatedDisk::new(1);
        let store = prepared_store(&disk);
        let whole = (store.log(0).bounds().unwrap(), store.log(0).hard_state().unwrap(), store.groups().unwrap());
        match clean {
            true => store.close().unwrap(),
            false => drop(store.sync().unwrap()),
        }
        let disk = disk.kill();
        match what {
            "no manifest" => disk.lose_file(DIRECTORY, "MANIFEST").unwrap(),
            _ => [50, 4096 + 50].iter().for_each(|at| disk.flip_bit(DIRECTORY, "MANIFEST", *at, 1).unwrap()),
        }
        open(&disk).expect_err("nobody asked for it");
        let store = options(&disk).rebuild_manifest(true).open(DIRECTORY).unwrap();
        assert!(store.damage().unwrap().is_empty() && store.recovery_report().damaged.is_empty(), "{what}");
        let log = store.log(0);
        assert_eq!((log.bounds().unwrap(), log.hard_state().unwrap(), store.groups().unwrap()), whole, "{what}");
        store.log(1).append(&[entry(8, 1)]).unwrap();
        store.close().unwrap();
        assert!(open(&disk).unwrap().recovery_report().clean, "{what}");
    }
}

#[test]
fn a_missing_segment_is_named() {
    let disk = SimulatedDisk::new(1);
    prepared_store(&disk).close().unwrap();
    disk.lose_file(DIRECTORY, "0000000000000001.seg").unwrap();
    let store = open(&disk).unwrap();
    let damaged = &store.recovery_report().damaged[0];
    assert_eq!((damaged.file.as_str(), damaged.known), ("0000000000000001.seg", false), "{damaged:?}");
    assert!(matches!(store.damage().unwrap()[0].loss, Loss::Batches { first: 1, .. }));
    assert_eq!(store.log(0).health().unwrap(), Health::Unknown);
    assert_eq!(store.log(0).hard_state().unwrap_err().code(), Code::Corrupt);
}

// ------------------------------------------------------------------------------------------------- two processes

const CHILD: &str = "DURAMEN_OPEN_AND_WAIT";

/// Not a test of its own: what the second process does.
#[test]
fn child_opens_a_store() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    match Store::open(Path::new(&path)) {
        Ok(_store) => {
            println!("child: opened");
            // Until the parent goes away or kills this process.
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        Err(Error::Locked { pid, .. }) => println!("child: locked by {}", pid.unwrap_or(0)),
        Err(error) => println!("child: {error}"),
    }
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    append(&store.log(1), &[1]).unwrap();
    let mut child = OtherProcess::spawn(folder.path());
    assert_eq!(child.says(), format!("child: locked by {}", std::process::id()));
    child.end();
    append(&store.log(1), &[2]).expect("the first goes on");
    drop(store);

    let mut child = OtherProcess::spawn(folder.path());
    assert_eq!(child.says(), "child: opened");
    match Store::open(folder.path()) {
        Err(Error::Locked { pid, path }) => assert_eq!((pid, &*path), (Some(child.process.id()), folder.path())),
        other => panic!("{other:?}"),
    }
    child.process.kill().unwrap();
    child.end();
    assert_eq!(Store::open(folder.path()).unwrap().log(1).bounds().unwrap(), Some(1..3), "its lock died with it");
}

/// This test binary once more.
struct OtherProcess {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl OtherProcess {
    fn spawn(path: &Path) -> OtherProcess {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child_opens_a_store", "--nocapture"]).env(CHILD, path);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        OtherProcess { process, lines }
    }

    /// What it says first; the test harness may have begun the line.
    fn says(&mut self) -> String {
        let mut lines = self.lines.by_ref().map(|line| line.unwrap());
        lines.find_map(|line| line.find("child:").map(|at| line[at..].to_owned())).expect("it says something")
    }

    fn end(mut self) {
        self.lines.by_ref().for_each(drop);
        self.process.wait().unwrap();
    }
}

// ------------------------------------------------------------------------------------------------------- helpers

fn options(disk: &SimulatedDisk) -> Options {
    let options = Options::new().segment_bytes(64 << 10).groups_max(3);
    options.entry_bytes_max(ENTRY_BYTES_MAX).batch_bytes_max(BATCH_BYTES_MAX).disk(Arc::new(disk.clone()))
}

fn open(disk: &SimulatedDisk) -> Result<Store> {
    options(disk).open(DIRECTORY)
}

/// See [`CASES`].
fn prepared_store(disk: &SimulatedDisk) -> Store {
    let store = open(disk).unwrap();
    store.log(1).append(&[entry(5, 10), entry(6, 20), entry(7, 30)]).unwrap();
    store.log(2).append(&[entry(u64::MAX - 1, 1)]).unwrap();
    store.log(3).set_hard_state(HardState { term: 1, vote: Some(2), commit: None }).unwrap();
    store
}

fn entry(index: u64, bytes: usize) -> Entry {
    Entry::new(index, 1, vec![b'x'; bytes])
}

fn append(log: &Log, indexes: &[u64]) -> Result<()> {
    log.append(&indexes.iter().map(|index| entry(*index, 1)).collect::<Vec<_>>()).map(drop_position)
}

fn drop_position(_: Position) {}

fn code<T>(result: Result<T>) -> Option<Code> {
    result.err().map(|error| error.code())
}

fn not_a_store(result: Result<Store>, word: &str) {
    match result {
        Err(error @ Error::NotAStore { .. }) => assert!(error.to_string().contains(word), "{word}: {error}"),
        other => panic!("{word}: {other:?}"),
    }
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.open_directory(DIRECTORY.as_ref(), false).unwrap().list().unwrap();
    names.sort_unstable();
    names
}

fn entries_of(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
