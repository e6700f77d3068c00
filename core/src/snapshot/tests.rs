//! A snapshot's file on the simulated disk: it comes back whole, or an error says what became of it; what fails leaves
//! nothing; a crash leaves nothing that passes for a snapshot.
#![forbid(unsafe_code)]

use super::{PIECE_BYTES, SnapshotReader, SnapshotWriter};
use crate::error::{Code, Error, Result};
use crate::format::golden::STORE;
use crate::format::snapshot::{
    CONFIG_BYTES_MAX, HEADER_BYTES, SnapshotHeader, SnapshotMeta, SnapshotPoint, snapshot_name,
};
use crate::io::{
    Access, Calls, Directory, Disk, Failure, Fault, File, Injection, OperationKind, RealDisk, SimulatedDisk,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::{BufReader, ErrorKind, Read};
use std::sync::{Arc, Mutex};

const FOLDER: &str = "/store";
const NUMBER: u64 = 0x2a;
const POINT: SnapshotPoint = SnapshotPoint { group: 5, index: 10, term: 3 };
const CONFIG: &[u8] = b"three voters";

/// A disk with an empty directory whose name is stable.
fn disk() -> (SimulatedDisk, Arc<dyn Directory>) {
    let disk = SimulatedDisk::new(7);
    let directory = open(&disk);
    directory.sync().expect("the directory's name is made stable");
    (disk, directory)
}

fn open(disk: &SimulatedDisk) -> Arc<dyn Directory> {
    disk.open_directory(FOLDER.as_ref(), true).expect("the directory opens")
}

/// Data in which no two places look alike.
fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

/// Streams `data` in pieces of `piece` bytes, and names the file.
fn write(directory: &Arc<dyn Directory>, data: &[u8], piece: usize) -> Result<SnapshotMeta> {
    let mut writer = SnapshotWriter::create(directory, NUMBER, STORE)?;
    for piece in data.chunks(piece) {
        writer.write(piece)?;
    }
    assert_eq!(writer.data_bytes(), data.len() as u64);
    Ok(writer.finish(POINT, CONFIG)?.named().clone())
}

fn read(directory: &dyn Directory, meta: &SnapshotMeta) -> Result<Vec<u8>> {
    SnapshotReader::open(directory, STORE, POINT, meta)?.read_all()
}

fn file(directory: &dyn Directory) -> Arc<dyn File> {
    directory.open(&snapshot_name(NUMBER), Access::ReadWrite).expect("the file is there")
}

fn names(directory: &dyn Directory) -> Vec<String> {
    directory.list().expect("the directory is listed")
}

/// The detail of damage.
fn damage(result: Result<impl Sized>) -> String {
    match result.map(|_| ()) {
        Err(Error::Corrupt { file, detail, .. }) if file == snapshot_name(NUMBER) => detail,
        other => panic!("expected damage in the snapshot's file: {other:?}"),
    }
}

// --------------------------------------------------------------------------------------------------- what comes back

#[test]
fn data_of_every_size_comes_back_in_pieces_of_every_size() {
    let sizes = [0, 1, 4095, 4096, 4097, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 << 20];
    for bytes in sizes {
        for piece in [1 + bytes / 7, 4096, 2 * PIECE_BYTES, 4 << 20] {
            let ((_, directory), data) = (disk(), data(bytes));
            let meta = write(&directory, &data, piece).expect("it is written");
            let expected = SnapshotMeta {
                file: NUMBER,
                bytes: bytes as u64,
                crc: crc32fast::hash(&data),
                config: CONFIG.to_vec(),
            };
            assert_eq!(meta, expected);
            assert!(read(&*directory, &meta).expect("it is read") == data, "{bytes} bytes in pieces of {piece}");
        }
    }
}

#[test]
fn data_comes_back_through_the_reader_of_the_standard_library() {
    for bytes in [0, 1, 5000, 3 << 20] {
        let ((_, directory), data) = (disk(), data(bytes));
        let meta = write(&directory, &data, 7000).expect("it is written");
        let reader = || SnapshotReader::open(&*directory, STORE, POINT, &meta).expect("it opens");
        assert_eq!(reader().data_bytes(), bytes as u64);
        let mut found = Vec::new();
        reader().read_to_end(&mut found).expect("it is read");
        assert!(found == data, "{bytes} bytes");
        let mut exactly = vec![0; bytes];
        reader().read_exact(&mut exactly).expect("all of it is there");
        assert!(exactly == data, "{bytes} bytes");
        let bites: Vec<u8> = BufReader::new(reader()).bytes().collect::<Result<_, _>>().expect("it is read");
        assert!(bites == data, "{bytes} bytes");
        let mut ended = reader();
        std::io::copy(&mut ended, &mut std::io::sink()).expect("it is read");
        assert_eq!(ended.read(&mut [0; 8]).expect("the end is no error, however often it is asked for"), 0);
    }
}

#[test]
fn interrupted_and_short_calls_change_nothing() {
    let ((disk, directory), data) = (disk(), data(600_000));
    disk.disturb_one_in(Some(2));
    let meta = write(&directory, &data, 10_000).expect("it is written");
    assert!(read(&*directory, &meta).expect("it is read") == data);
    assert!(disk.injections().never_fired(&[Injection::ShortWrite, Injection::ShortRead]).is_empty());
}

#[test]
fn the_real_disk_keeps_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = RealDisk.open_directory(folder.path(), false).expect("it opens");
    let data = data(PIECE_BYTES + 5000);
    let meta = write(&directory, &data, 10_000).expect("it is written");
    assert!(read(&*directory, &meta).expect("it is read") == data);
    assert_eq!(names(&*directory), [snapshot_name(NUMBER)]);
}

#[test]
fn the_file_says_itself_what_it_is() {
    let ((disk, directory), data) = (disk(), data(5000));
    let meta = write(&directory, &data, 100).expect("it is written");
    let bytes = disk.contents(FOLDER, &snapshot_name(NUMBER)).expect("the file is there");
    assert_eq!(SnapshotHeader::decode(&bytes), Ok(SnapshotHeader::new(STORE, POINT, &meta)));
    assert_eq!(bytes[4096..], [&data[..], CONFIG].concat());
}

#[test]
fn nothing_larger_than_a_piece_is_written_or_read_at_once() {
    let ((disk, directory), data) = (disk(), data(3 << 20));
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lengths);
    disk.on_operation(Some(Box::new(move |operation, _| {
        if operation.kind == OperationKind::Write {
            seen.lock().expect("no panic").push(operation.length);
        }
    })));
    write(&directory, &data, 100_000).expect("it is written");
    disk.on_operation(None);
    let mut expected = vec![PIECE_BYTES as u64; (3 << 20) / PIECE_BYTES];
    expected.extend([CONFIG.len() as u64, 4096]);
    assert_eq!(*lengths.lock().expect("no panic"), expected);
}

// ---------------------------------------------------------------------------------------------------- what is removed

#[test]
fn a_file_that_no_batch_comes_to_name_is_removed() {
    let (disk, directory) = disk();
    disk.set_free_bytes(Some(10 << 20));
    let started = || {
        let mut writer = SnapshotWriter::create(&directory, NUMBER, STORE).expect("it is created");
        writer.write(&data(PIECE_BYTES + 1)).expect("it is written");
        assert_eq!(names(&*directory), [snapshot_name(NUMBER)]);
        writer
    };
    drop(started());
    assert_eq!((names(&*directory).len(), disk.free_bytes()), (0, Some(10 << 20)), "dropped in the middle");
    drop(started().finish(POINT, CONFIG).expect("it is finished"));
    assert_eq!((names(&*directory).len(), disk.free_bytes()), (0, Some(10 << 20)), "finished and dropped");
    started().finish(POINT, CONFIG).expect("it is finished").named();
    assert_eq!(names(&*directory), [snapshot_name(NUMBER)], "finished and named");
}

#[test]
fn what_cannot_be_a_snapshot_is_refused_and_removed() {
    let (_, directory) = disk();
    let writer = || SnapshotWriter::create(&directory, NUMBER, STORE).expect("it is created");
    let error = writer().finish(SnapshotPoint { index: u64::MAX, ..POINT }, CONFIG).expect_err("no such index");
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = writer().finish(POINT, &vec![0; CONFIG_BYTES_MAX + 1]).expect_err("too large");
    assert_eq!(error.code(), Code::TooLarge);
    assert_eq!(names(&*directory).len(), 0);
    let config = data(CONFIG_BYTES_MAX);
    let meta = writer().finish(POINT, &config).expect("as large as it may be").named().clone();
    assert!(meta.config == config);
    assert_eq!(read(&*directory, &meta).expect("it is read"), b"");
}

#[test]
fn a_number_that_a_file_has_is_refused_and_the_file_stays() {
    let (_, directory) = disk();
    let meta = write(&directory, b"first", 10).expect("it is written");
    let error = SnapshotWriter::create(&directory, NUMBER, STORE).expect_err("the number is taken");
    assert_eq!(error.code(), Code::Io);
    assert_eq!(read(&*directory, &meta).expect("the file is what it was"), b"first");
}

#[test]
fn a_call_that_finds_no_space_leaves_no_file_and_gives_the_space_back() {
    let data = data(2 * PIECE_BYTES + 5000);
    for nth in 1.. {
        let (disk, directory) = disk();
        disk.set_free_bytes(Some(10 << 20));
        disk.fail(Fault::new(Calls::Any, Failure::NoSpace).nth(nth));
        let Err(error) = write(&directory, &data, 100_000) else {
            assert_eq!(nth, 8, "there are seven calls: one to create it, three pieces, the header, two flushes");
            return;
        };
        assert_eq!(error.code(), Code::NoSpace, "call {nth}: {error}");
        disk.clear_faults();
        assert_eq!(names(&*directory).len(), 0, "call {nth}");
        assert_eq!(disk.free_bytes(), Some(10 << 20), "call {nth}");
        let meta = write(&directory, &data, 100_000).expect("there is space again");
        assert!(read(&*directory, &meta).expect("it is read") == data, "call {nth}");
    }
}

#[test]
fn a_disk_too_small_for_the_snapshot_is_what_it_was_before() {
    let data = data(100_000);
    let needed_blocks = 1 + 25;
    for blocks in 0..=needed_blocks {
        let (disk, directory) = disk();
        disk.set_free_bytes(Some(blocks * 4096));
        match write(&directory, &data, 3000) {
            Ok(meta) => {
                assert_eq!(blocks, needed_blocks);
                assert!(read(&*directory, &meta).expect("it is read") == data);
            }
            Err(error) => {
                assert_eq!(error.code(), Code::NoSpace, "{blocks} blocks: {error}");
                assert_eq!(disk.free_bytes(), Some(blocks * 4096));
                assert_eq!(names(&*directory).len(), 0, "{blocks} blocks");
            }
        }
    }
}

#[test]
fn a_writer_that_failed_gives_the_same_error_for_ever() {
    let (disk, directory) = disk();
    let mut writer = SnapshotWriter::create(&directory, NUMBER, STORE).expect("it is created");
    disk.fail(Fault::new(Calls::Only(OperationKind::Write), Failure::InputOutput));
    let first = writer.write(&data(PIECE_BYTES)).expect_err("the disk fails");
    assert_eq!(first.code(), Code::Io);
    assert_eq!(names(&*directory).len(), 0, "the file is removed at once");
    assert_eq!(writer.write(b"more").expect_err("it failed").to_string(), first.to_string());
    assert_eq!(writer.finish(POINT, CONFIG).expect_err("it failed").to_string(), first.to_string());
}

#[test]
fn a_file_that_cannot_be_removed_either_is_left_and_nothing_panics() {
    for nth in 2..=7 {
        let (disk, directory) = disk();
        disk.fail(Fault::new(Calls::Any, Failure::InputOutput).nth(nth).for_ever());
        let error = write(&directory, &data(2 * PIECE_BYTES), 100_000).expect_err("the disk fails");
        assert_eq!(error.code(), Code::Io, "call {nth}");
        disk.clear_faults();
        assert_eq!(names(&*directory), [snapshot_name(NUMBER)]);
    }
}

// ----------------------------------------------------------------------------------------------- what is not believed

#[test]
fn a_file_that_is_missing_is_damage_and_named() {
    let (_, directory) = disk();
    let meta = write(&directory, b"data", 10).expect("it is written");
    directory.remove(&snapshot_name(NUMBER)).expect("it is removed");
    let detail = damage(read(&*directory, &meta));
    assert!(detail.contains("missing") && detail.contains("group 5 at index 10 in term 3"), "{detail}");
}

#[test]
fn a_file_that_is_not_the_one_the_log_names_is_damage_with_both_values() {
    let (_, directory) = disk();
    let meta = write(&directory, b"data", 10).expect("it is written");
    let open = |store, point, meta: &SnapshotMeta| damage(SnapshotReader::open(&*directory, store, point, meta));
    let says = |detail: String, words: &str| assert_eq!(detail, format!("the snapshot's {words}"));
    says(open(STORE, SnapshotPoint { group: 6, ..POINT }, &meta), "group is 5, expected 6");
    says(open(STORE, SnapshotPoint { index: 11, ..POINT }, &meta), "index is 10, expected 11");
    says(open(STORE, SnapshotPoint { term: 4, ..POINT }, &meta), "term is 3, expected 4");
    says(open(STORE, POINT, &SnapshotMeta { bytes: 5, ..meta.clone() }), "size is 4, expected 5");
    says(
        open(STORE, POINT, &SnapshotMeta { bytes: 1 << 62, ..meta.clone() }),
        &format!("size is 4, expected {}", 1_u64 << 62),
    );
    says(open(STORE, POINT, &SnapshotMeta { crc: 1, ..meta.clone() }), "crc is adf3f363, expected 00000001");
    let config = b"four voters".to_vec();
    says(open(STORE, POINT, &SnapshotMeta { config, ..meta.clone() }), "configuration's size is 12, expected 11");
    let config = b"THREE VOTERS".to_vec();
    let detail = open(STORE, POINT, &SnapshotMeta { config, ..meta.clone() });
    assert!(detail.starts_with("the snapshot's configuration's crc is "), "{detail}");
    let detail = open([9; 16], POINT, &meta);
    assert!(detail.starts_with("the snapshot's store is [00, 01, "), "{detail}");
    // Somebody renamed another snapshot's file.
    let other = SnapshotMeta { file: NUMBER + 1, ..meta };
    directory.rename(&snapshot_name(NUMBER), &snapshot_name(NUMBER + 1)).expect("it is renamed");
    let error = SnapshotReader::open(&*directory, STORE, POINT, &other).expect_err("it is another file");
    assert!(error.to_string().contains("number is 42, expected 43"), "{error}");
}

#[test]
fn a_newer_file_is_told_from_a_damaged_one() {
    let (_, directory) = disk();
    let meta = write(&directory, b"data", 10).expect("it is written");
    let mut header = SnapshotHeader::new(STORE, POINT, &meta).encode();
    header[12] = 2;
    let crc = crc32fast::hash(&header[12..HEADER_BYTES]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    file(&*directory).write_all_at(0, &header).expect("it is written");
    assert_eq!(read(&*directory, &meta).expect_err("it is newer").code(), Code::UnsupportedFormat);
}

#[test]
fn every_flipped_bit_of_a_snapshot_is_noticed() {
    let (disk, directory) = disk();
    let meta = write(&directory, b"some data", 10).expect("it is written");
    let name = snapshot_name(NUMBER);
    let size = disk.contents(FOLDER, &name).expect("the file is there").len() as u64;
    let places = (0..HEADER_BYTES as u64).chain(4096..size);
    for (place, bit) in places.flat_map(|place| (0..8).map(move |bit| (place, bit))) {
        disk.flip_bit(FOLDER, &name, place, bit).expect("the file is that long");
        damage(read(&*directory, &meta));
        disk.flip_bit(FOLDER, &name, place, bit).expect("the file is that long");
    }
    assert_eq!(read(&*directory, &meta).expect("it is whole again"), b"some data");
}

#[test]
fn a_file_of_another_size_is_damage() {
    let (disk, directory) = disk();
    let meta = write(&directory, &data(5000), 10_000).expect("it is written");
    let file = file(&*directory);
    let whole = file.len().expect("it has a size");
    file.write_all_at(whole, b"!").expect("it grows");
    damage(read(&*directory, &meta));
    for size in [whole - 1, whole - CONFIG.len() as u64, 9000, 4096, 4095, 127, 0] {
        disk.cut_file(FOLDER, &snapshot_name(NUMBER), size).expect("it is cut");
        damage(read(&*directory, &meta));
    }
}

#[test]
fn damaged_data_is_told_with_its_last_bytes_and_again_when_asked_again() {
    let (_, directory) = disk();
    let meta = write(&directory, &data(10_000), 10_000).expect("it is written");
    file(&*directory).write_all_at(4096 + 17, b"rotten").expect("it is written");
    let mut reader = SnapshotReader::open(&*directory, STORE, POINT, &meta).expect("the header is right");
    let mut buffer = vec![0; 6000];
    assert_eq!(reader.read(&mut buffer).expect("nothing is known yet"), 6000);
    for _ in 0..3 {
        let error = reader.read(&mut buffer).expect_err("the end is not handed out");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let inner = error.into_inner().expect("an error of this crate").downcast::<Error>().expect("of this type");
        assert!(damage(Err::<(), Error>(*inner)).contains("the snapshot's crc is "));
    }
    damage(reader.read_all());
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_damage() {
    let (disk, directory) = disk();
    let meta = write(&directory, &data(10_000), 10_000).expect("it is written");
    let mut reader = SnapshotReader::open(&*directory, STORE, POINT, &meta).expect("it is whole");
    assert_eq!(reader.read(&mut [0; 100]).expect("it is read"), 100);
    disk.cut_file(FOLDER, &snapshot_name(NUMBER), 5000).expect("it is cut");
    let detail = damage(reader.read_all());
    assert!(detail.contains("the file ends here"), "{detail}");
}

#[test]
fn a_read_that_failed_can_be_made_again() {
    let ((disk, directory), data) = (disk(), data(10_000));
    let meta = write(&directory, &data, 10_000).expect("it is written");
    let mut reader = SnapshotReader::open(&*directory, STORE, POINT, &meta).expect("it is whole");
    let mut first = vec![0; 4000];
    reader.read_exact(&mut first).expect("it is read");
    disk.fail(Fault::new(Calls::Only(OperationKind::Read), Failure::InputOutput));
    let error = reader.read(&mut [0; 1000]).expect_err("the disk fails");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).expect("an error of this crate");
    assert_eq!(inner.code(), Code::Io);
    let rest = reader.read_all().expect("the disk works again");
    assert!([first, rest].concat() == data);
}

// ------------------------------------------------------------------------------------------------ what a crash leaves

/// Looks at what a power cut before every operation of `work`, and one after it, can leave.
fn crash_everywhere(disk: &SimulatedDisk, outcomes: usize, check: fn(&SimulatedDisk), work: impl FnOnce()) {
    let look = move |disk: &SimulatedDisk| {
        let crash = disk.crash_points();
        crash.outcomes(outcomes, disk.operations()).for_each(|outcome| check(&crash.disk_after(&outcome)));
    };
    disk.on_operation(Some(Box::new(move |_, disk| {
        // A writer that a panic drops removes its file; a second panic there would hide the first.
        if !std::thread::panicking() {
            look(disk);
        }
    })));
    work();
    disk.on_operation(None);
    look(disk);
}

/// What a crash left of the file, seen by somebody who knows how it should be.
fn classify(disk: &SimulatedDisk, data: &[u8]) -> &'static str {
    let directory = open(disk);
    let (bytes, crc) = (data.len() as u64, crc32fast::hash(data));
    let meta = SnapshotMeta { file: NUMBER, bytes, crc, config: CONFIG.to_vec() };
    match read(&*directory, &meta) {
        Ok(found) => {
            assert!(found == data, "a partial file was taken for the snapshot");
            "whole"
        }
        Err(error) => {
            assert_eq!(error.code(), Code::Corrupt, "{error}");
            if names(&*directory).is_empty() { "nothing" } else { "partial" }
        }
    }
}

#[test]
fn a_crash_leaves_nothing_or_a_part_that_is_never_accepted_or_the_whole() {
    static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    const BYTES: usize = PIECE_BYTES + 10_000;
    let (disk, directory) = disk();
    let check = |disk: &SimulatedDisk| {
        SEEN.lock().expect("no panic").insert(classify(disk, &data(BYTES)));
    };
    crash_everywhere(&disk, 200, check, || {
        write(&directory, &data(BYTES), 60_000).expect("it is written");
    });
    assert_eq!(*SEEN.lock().expect("no panic"), BTreeSet::from(["nothing", "partial", "whole"]));
    let crash = disk.crash_points();
    assert!(crash.is_empty(), "all of it is stable when it is finished: {crash}");
}

#[test]
fn a_crash_after_a_failure_or_a_drop_leaves_nothing_that_passes_for_the_snapshot() {
    let (disk, directory) = disk();
    let check = |disk: &SimulatedDisk| {
        classify(disk, &data(5000));
        let whatever = SnapshotWriter::create(&open(disk), NUMBER + 1, STORE);
        whatever.expect("another number is free").finish(POINT, CONFIG).expect("it is written").named();
    };
    crash_everywhere(&disk, 200, check, || {
        disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput));
        write(&directory, &data(5000), 1000).expect_err("the flush fails");
        let mut writer = SnapshotWriter::create(&directory, NUMBER, STORE).expect("the name is free again");
        writer.write(&data(4000)).expect("it is written");
        drop(writer);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_pieces_the_data_comes_back(
        pieces in vec(0..70_000_usize, 0..12),
        config in vec(any::<u8>(), 0..6000),
        bite in 1..100_000_usize,
    ) {
        let (_, directory) = disk();
        let data = data(pieces.iter().sum());
        let mut writer = SnapshotWriter::create(&directory, NUMBER, STORE).unwrap();
        let mut rest = &data[..];
        for piece in pieces {
            let (now, later) = rest.split_at(piece);
            writer.write(now).unwrap();
            rest = later;
        }
        let meta = writer.finish(POINT, &config).unwrap().named().clone();
        prop_assert_eq!(&meta.config, &config);
        let mut reader = SnapshotReader::open(&*directory, STORE, POINT, &meta).unwrap();
        let (mut found, mut buffer) = (Vec::new(), vec![0; bite]);
        loop {
            let count = reader.read(&mut buffer).unwrap();
            found.extend_from_slice(&buffer[..count]);
            if count == 0 { break }
        }
        prop_assert!(found == data);
    }

    #[test]
    fn whatever_is_overwritten_only_the_data_comes_back(
        bytes in 0..9000_usize,
        damages in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 1..600)), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let ((disk, directory), data) = (disk(), data(bytes));
        let meta = write(&directory, &data, 1000).unwrap();
        let file = file(&*directory);
        let size = usize::try_from(file.len().unwrap()).unwrap();
        for (place, garbage) in damages {
            file.write_all_at(place.index(size) as u64, &garbage).unwrap();
        }
        if let Some(cut) = cut {
            disk.cut_file(FOLDER, &snapshot_name(NUMBER), cut.index(size) as u64).unwrap();
        }
        match read(&*directory, &meta) {
            Ok(found) => prop_assert!(found == data, "only the padding was hit"),
            Err(error) => prop_assert!(matches!(error.code(), Code::Corrupt | Code::UnsupportedFormat), "{error}"),
        }
    }
}
