//! The simulated disk when calls fail, lie, wait or find rot, and that every kind of fault it knows can be made to happen.
#![forbid(unsafe_code)]

use duramen::io::{
    Access, AlignedBuffer, Calls, Directory, Disk, Failure, Fault, File, Injection, Lock, OperationKind, SimulatedDisk,
};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::thread;

const STORE: &str = "/store";

fn open(disk: &SimulatedDisk) -> Arc<dyn Directory> {
    disk.open_directory(STORE.as_ref(), false).unwrap()
}

fn disk_with_directory(seed: u64) -> (SimulatedDisk, Arc<dyn Directory>) {
    let disk = SimulatedDisk::new(seed);
    let directory = disk.open_directory(STORE.as_ref(), true).unwrap();
    directory.sync().unwrap();
    (disk, directory)
}

fn flushed_file(directory: &Arc<dyn Directory>, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = directory.create(name).unwrap();
    file.write_all_at(0, bytes).unwrap();
    file.sync_data().unwrap();
    directory.sync().unwrap();
    file
}

/// So many bytes of one value, as direct writes take them.
fn blocks(length: usize, value: u8) -> AlignedBuffer {
    let mut blocks = AlignedBuffer::new();
    blocks.resize(length, value);
    blocks
}

fn on(kind: OperationKind, failure: Failure) -> Fault {
    Fault::new(Calls::Only(kind), failure)
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn assert_fired(disk: &SimulatedDisk, expected: &[Injection]) {
    assert_eq!(disk.injections().never_fired(expected), [], "{}", disk.injections());
}

#[test]
fn every_call_can_fail_with_every_error_and_then_changes_nothing_it_must_not() {
    use OperationKind as Kind;
    let errors = [
        (Failure::InputOutput, libc::EIO),
        (Failure::NoSpace, libc::ENOSPC),
        (Failure::QuotaExceeded, libc::EDQUOT),
        (Failure::Interrupted, libc::EINTR),
        (Failure::ReadOnly, libc::EROFS),
        (Failure::TooManyOpenFiles, libc::EMFILE),
        (Failure::PermissionDenied, libc::EACCES),
    ];
    for (failure, expected) in errors {
        let (disk, directory) = disk_with_directory(1);
        let file = flushed_file(&directory, "log", &[1; 512]);
        let fails = |kind| disk.fail(on(kind, failure));
        fails(Kind::OpenDirectory);
        assert_eq!(code(disk.open_directory(STORE.as_ref(), false)), Some(expected));
        fails(Kind::List);
        assert_eq!(code(directory.list()), Some(expected));
        fails(Kind::Open);
        assert_eq!(code(directory.open("log", Access::Read)), Some(expected));
        fails(Kind::Create);
        assert_eq!(code(directory.create("new")), Some(expected));
        fails(Kind::Remove);
        assert_eq!(code(directory.remove("log")), Some(expected));
        fails(Kind::Rename);
        assert_eq!(code(directory.rename("log", "new")), Some(expected));
        fails(Kind::Lock);
        assert_eq!(code(directory.lock("LOCK")), Some(expected));
        fails(Kind::Length);
        assert_eq!(code(file.len()), Some(expected));
        fails(Kind::Read);
        assert_eq!(code(file.read_at(0, &mut [0; 4])), Some(expected));
        fails(Kind::ReadDurable);
        assert_eq!(code(file.read_durable_at(0, &mut [0; 4])), Some(expected));
        assert!(disk.crash_points().is_empty(), "{failure:?}");
        assert_eq!(directory.list().unwrap(), ["log"]);
        fails(Kind::Write);
        assert_eq!(code(file.write_at(0, &[2; 512])), Some(expected));
        fails(Kind::Write);
        assert_eq!(code(file.write_direct_at(0, &blocks(8192, 2))), Some(expected));
        fails(Kind::Allocate);
        assert_eq!(code(file.allocate(8192)), Some(expected));
        fails(Kind::Prewrite);
        assert_eq!(code(file.prewrite(8192)), Some(expected));
        fails(Kind::SyncData);
        assert_eq!(code(file.sync_data()), Some(expected));
        fails(Kind::SyncDirectory);
        assert_eq!(code(directory.sync()), Some(expected));
        file.write_all_at(0, &[3; 512]).unwrap();
        assert_eq!(disk.contents(STORE, "log").unwrap()[..512], [3; 512]);
    }
}

#[test]
fn the_nth_call_about_a_named_file_fails_once_or_for_ever() {
    let (disk, directory) = disk_with_directory(2);
    let (one, two) = (flushed_file(&directory, "one", b""), flushed_file(&directory, "two", b""));
    disk.fail(on(OperationKind::Write, Failure::InputOutput).named("tw").nth(2));
    for (file, succeeds) in [(&one, true), (&two, true), (&one, true), (&two, false), (&two, true)] {
        assert_eq!(file.write_at(0, b"x").is_ok(), succeeds);
    }
    disk.fail(Fault::new(Calls::Changing, Failure::ReadOnly).nth(2).for_ever());
    assert!(one.write_at(0, b"x").is_ok());
    for _ in 0..3 {
        assert!(one.write_at(0, b"x").is_err());
        assert!(directory.create("three").is_err());
        assert!(one.len().is_ok());
    }
    disk.clear_faults();
    assert!(one.write_at(0, b"x").is_ok());
    disk.fail(Fault::new(Calls::Any, Failure::TooManyOpenFiles).nth(2));
    assert!(one.len().is_ok());
    assert!(one.len().is_err());
}

#[test]
fn a_failed_write_has_written_none_or_a_part() {
    let mut written = BTreeSet::new();
    for seed in 0..20 {
        let (disk, directory) = disk_with_directory(seed);
        let file = flushed_file(&directory, "log", &[1; 4]);
        disk.fail(on(OperationKind::Write, Failure::InputOutput));
        file.write_at(0, &[2; 4]).unwrap_err();
        let contents = disk.contents(STORE, "log").unwrap();
        let part = contents.iter().take_while(|byte| **byte == 2).count();
        assert!(contents[part..].iter().all(|byte| *byte == 1));
        written.insert(part);
        assert_fired(&disk, &[Injection::EioWrite]);
    }
    assert_eq!(written, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn a_failed_prewrite_or_allocation_has_grown_the_file_not_at_all_or_by_a_part() {
    for kind in [OperationKind::Prewrite, OperationKind::Allocate] {
        let lengthen = |file: &Arc<dyn File>| match kind {
            OperationKind::Prewrite => file.prewrite(12_288),
            _ => file.allocate(12_288),
        };
        let mut grown = BTreeSet::new();
        for seed in 0..20 {
            let (disk, directory) = disk_with_directory(seed);
            let file = flushed_file(&directory, "log", b"");
            disk.fail(on(kind, Failure::NoSpace));
            lengthen(&file).unwrap_err();
            grown.insert(file.len().unwrap());
            lengthen(&file).unwrap();
        }
        assert_eq!(grown, BTreeSet::from([0, 4096, 8192]), "{kind:?}");
    }
}

#[test]
fn a_failed_direct_write_has_written_a_part_in_whole_sectors() {
    let mut written = BTreeSet::new();
    for seed in 0..40 {
        let (disk, directory) = disk_with_directory(seed);
        let file = flushed_file(&directory, "log", &[1; 8192]);
        disk.fail(on(OperationKind::Write, Failure::InputOutput));
        file.write_direct_at(4096, &blocks(4096, 2)).unwrap_err();
        let contents = disk.contents(STORE, "log").unwrap();
        let part = contents[4096..].iter().take_while(|byte| **byte == 2).count();
        assert_eq!(contents, [vec![1; 4096], vec![2; part], vec![1; 4096 - part]].concat());
        written.insert(part);
    }
    assert_eq!(written, (0..8).map(|sectors| sectors * 512).collect());
}

#[test]
fn what_went_past_the_page_cache_may_be_lost_by_a_failed_flush_before_all_eyes() {
    let (mut lost, mut stale) = (0, 0);
    for seed in 0..40 {
        let (disk, directory) = disk_with_directory(seed);
        let file = flushed_file(&directory, "log", &[1; 4096]);
        file.write_direct_at(0, &blocks(4096, 2)).unwrap();
        disk.fail(on(OperationKind::SyncData, Failure::InputOutput));
        file.sync_data().unwrap_err();
        let (shown, durable) = (disk.contents(STORE, "log").unwrap(), disk.durable_contents(STORE, "log").unwrap());
        if disk.injections().count(Injection::FlushFailedLost) == 1 {
            assert_eq!(shown, durable);
            lost += u32::from(shown != [2; 4096]);
        } else {
            // A reader had it in the page cache, or the device may still write it.
            assert_eq!(shown, [2; 4096]);
            let is_clean = disk.injections().count(Injection::FlushFailedClean) == 1;
            stale += u32::from(is_clean && durable != [2; 4096]);
        }
    }
    assert!(lost > 3 && stale > 3, "lost {lost}, stale {stale}");
}

#[test]
fn a_direct_write_of_more_than_one_block_may_be_cut_short_and_goes_on_at_a_block() {
    let (disk, directory) = disk_with_directory(3);
    let file = flushed_file(&directory, "log", &[1; 40_960]);
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let told = Arc::clone(&seen);
    disk.on_operation(Some(Box::new(move |operation, _| {
        told.lock().unwrap().insert((operation.direct, operation.offset % 4096));
    })));
    disk.disturb_one_in(Some(2));
    for round in 0..50 {
        file.write_direct_all_at(4096, &blocks(32_768, round)).unwrap();
        let expected = [vec![1; 4096], vec![round; 32_768], vec![1; 4096]].concat();
        assert_eq!(disk.contents(STORE, "log").unwrap(), expected);
        match file.write_direct_at(0, &blocks(4096, 1)) {
            Ok(count) => assert_eq!(count, 4096, "one block is never cut short"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    }
    disk.on_operation(None);
    assert_eq!(*seen.lock().unwrap(), BTreeSet::from([(true, 0)]));
    assert_fired(&disk, &[Injection::ShortWrite, Injection::Interrupted]);
    disk.disturb_one_in(None);
    disk.fail(on(OperationKind::Write, Failure::Short));
    assert_eq!(file.write_direct_at(0, &blocks(4096, 2)).unwrap(), 4096);
    let count = file.write_direct_at(0, &blocks(40_960, 2)).unwrap();
    assert!((4096..40_960).contains(&count) && count.is_multiple_of(512), "{count}");
}

#[test]
fn after_a_failed_flush_the_page_cache_and_the_disk_disagree_and_a_later_flush_mends_only_dirty_pages() {
    let (mut clean_lost, mut dirty_mended, mut kept) = (0, 0, 0);
    for seed in 0..60 {
        let (disk, directory) = disk_with_directory(seed);
        let file = flushed_file(&directory, "log", &[1; 8192]);
        file.write_all_at(0, &[2; 512]).unwrap();
        file.write_all_at(4096, &[2; 512]).unwrap();
        disk.fail(on(OperationKind::SyncData, Failure::InputOutput));
        file.sync_data().unwrap_err();
        assert_eq!(disk.contents(STORE, "log").unwrap()[4096..4608], [2; 512]);
        let failed = disk.durable_contents(STORE, "log").unwrap();
        file.sync_data().unwrap();
        assert!(disk.crash_points().is_empty());
        let after = disk.durable_contents(STORE, "log").unwrap();
        let mut shown = vec![0; 8192];
        file.read_durable_exact_at(0, &mut shown).unwrap();
        assert_eq!(shown, after);
        for page in [0..512, 4096..4608] {
            clean_lost += u32::from(after[page.clone()] != [2; 512]);
            dirty_mended += u32::from(failed[page.clone()] != [2; 512] && after[page.clone()] == [2; 512]);
            kept += u32::from(failed[page] == [2; 512]);
        }
    }
    println!("clean and lost {clean_lost}, dirty and mended {dirty_mended}, kept {kept}");
    assert!(clean_lost > 0 && dirty_mended > 0 && kept > 0);
}

#[test]
fn bytes_written_and_flushed_after_a_failed_flush_are_stable() {
    for seed in 0..60 {
        let (disk, directory) = disk_with_directory(seed);
        let file = flushed_file(&directory, "log", b"");
        file.prewrite(8192).unwrap();
        file.write_all_at(0, &[1; 10_000]).unwrap();
        disk.fail(on(OperationKind::SyncData, Failure::InputOutput));
        file.sync_data().unwrap_err();
        file.write_all_at(4096, &[2; 4096]).unwrap();
        file.sync_data().unwrap();
        let crash = disk.crash_points();
        for outcome in crash.outcomes(64, seed) {
            assert_eq!(crash.disk_after(&outcome).contents(STORE, "log").unwrap()[4096..8192], [2; 4096]);
        }
    }
}

#[test]
fn a_failed_directory_sync_leaves_any_state_and_a_later_one_may_not_mend_it() {
    let mut found = BTreeSet::new();
    for seed in 0..40 {
        let (disk, directory) = disk_with_directory(seed);
        directory.create("log").unwrap();
        disk.fail(on(OperationKind::SyncDirectory, Failure::InputOutput));
        directory.sync().unwrap_err();
        directory.sync().unwrap();
        assert_eq!(directory.list().unwrap(), ["log"]);
        let crash = disk.crash_points();
        found.insert(open(&crash.disk_after(&crash.all_new())).list().unwrap().len());
    }
    assert_eq!(found, BTreeSet::from([0, 1]));
}

#[test]
fn a_full_disk_refuses_growth_and_names_and_takes_overwrites() {
    let (disk, directory) = disk_with_directory(3);
    let file = flushed_file(&directory, "log", &[1; 4096]);
    disk.set_free_bytes(Some(8192));
    assert_eq!(code(file.prewrite(16_384)), Some(libc::ENOSPC));
    assert_eq!(file.len().unwrap(), 4096, "a prewrite that does not fit does nothing");
    assert_eq!(file.write_at(4096, &[2; 10_000]).unwrap(), 8192, "a write goes as far as there is room");
    assert_eq!(disk.free_bytes(), Some(0));
    assert_eq!(code(file.write_at(12_288, &[2; 1])), Some(libc::ENOSPC));
    assert_eq!(code(directory.create("new")), Some(libc::ENOSPC));
    file.write_all_at(0, &[3; 12_288]).unwrap();
    file.sync_data().unwrap();
    assert!(matches!(directory.lock("LOCK").unwrap(), Lock::Taken(_)));
    assert_fired(&disk, &[Injection::NoSpace, Injection::ShortWrite]);
}

#[test]
fn removing_a_file_gives_its_room_back_when_nobody_has_it_open_any_more() {
    let (disk, directory) = disk_with_directory(4);
    disk.set_free_bytes(Some(20_480));
    let file = flushed_file(&directory, "log", &[1; 5000]);
    assert_eq!(disk.free_bytes(), Some(12_288));
    directory.remove("log").unwrap();
    assert_eq!(disk.free_bytes(), Some(12_288));
    drop(file);
    assert_eq!(disk.free_bytes(), Some(20_480));
    let crash = disk.crash_points();
    assert_eq!(crash.disk_after(&crash.all_new()).free_bytes(), Some(20_480));
    assert_eq!(crash.disk_after(&crash.all_old()).free_bytes(), Some(12_288), "the file that came back takes its room");
    assert_eq!(disk.kill().free_bytes(), Some(20_480));
}

#[test]
fn reads_and_writes_disturbed_by_chance_still_do_everything_in_the_end() {
    let (disk, directory) = disk_with_directory(5);
    disk.disturb_one_in(Some(2));
    let file = directory.create("log").unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    for (step, chunk) in bytes.chunks(1000).enumerate() {
        file.write_all_at(step as u64 * 1000, chunk).unwrap();
    }
    for (step, chunk) in bytes.chunks(1000).enumerate() {
        let mut read = vec![0; 1000];
        file.read_exact_at(step as u64 * 1000, &mut read).unwrap();
        assert_eq!(read, chunk);
        file.read_durable_exact_at(step as u64 * 1000, &mut read).unwrap();
        assert_eq!(read, chunk);
    }
    assert_fired(&disk, &[Injection::ShortWrite, Injection::ShortRead, Injection::Interrupted]);
}

#[test]
fn a_reader_and_a_writer_go_on_while_a_flush_is_held_back_and_it_settles_only_what_came_before_it() {
    let (disk, directory) = disk_with_directory(6);
    let file = flushed_file(&directory, "log", &[1; 8192]);
    file.write_all_at(0, &[2; 512]).unwrap();
    file.write_all_at(4096, &[2; 512]).unwrap();
    let gate = disk.block_flushes();
    thread::scope(|scope| {
        let flushing = scope.spawn(|| file.sync_data());
        gate.wait_until_blocked();
        assert_eq!(gate.blocked(), 1);
        let mut bytes = [0; 4];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [2; 4]);
        file.write_all_at(0, &[3; 512]).unwrap();
        file.write_all_at(512, &[3; 512]).unwrap();
        assert!(!disk.crash_points().is_empty(), "nothing is stable yet");
        assert_eq!(disk.durable_contents(STORE, "log").unwrap(), [1; 8192]);
        drop(gate);
        flushing.join().unwrap().unwrap();
    });
    let expected = [vec![2; 512], vec![1; 3584], vec![2; 512], vec![1; 3584]].concat();
    assert_eq!(disk.durable_contents(STORE, "log").unwrap(), expected);
    file.sync_data().unwrap();
    let expected = [vec![3; 1024], vec![1; 3072], vec![2; 512], vec![1; 3584]].concat();
    assert_eq!(disk.durable_contents(STORE, "log").unwrap(), expected);
    assert_fired(&disk, &[Injection::FlushBlocked]);
}

#[test]
fn two_flushes_held_back_by_two_gates_wait_for_both() {
    let (disk, directory) = disk_with_directory(7);
    let file = flushed_file(&directory, "log", b"");
    let (first, second) = (disk.block_flushes(), disk.block_flushes());
    thread::scope(|scope| {
        let flushing = [scope.spawn(|| file.sync_data()), scope.spawn(|| file.sync_data())];
        first.wait_until_blocked_by(2);
        drop(first);
        assert_eq!(second.blocked(), 2);
        drop(second);
        flushing.into_iter().for_each(|flush| flush.join().unwrap().unwrap());
    });
}

#[test]
fn a_lying_disk_answers_ok_and_makes_nothing_stable() {
    let (disk, directory) = disk_with_directory(8);
    disk.ignore_flushes(true);
    disk.ignore_directory_syncs(true);
    let file = flushed_file(&directory, "log", &[1; 512]);
    let crash = disk.crash_points();
    assert_eq!(open(&crash.disk_after(&crash.all_old())).list().unwrap(), [""; 0]);
    disk.ignore_directory_syncs(false);
    directory.sync().unwrap();
    let crash = disk.crash_points();
    let after = crash.disk_after(&crash.all_old());
    assert_eq!(after.contents(STORE, "log").unwrap(), b"");
    let file_after = open(&after).open("log", Access::ReadWrite).unwrap();
    file_after.write_all_at(0, b"x").unwrap();
    file_after.sync_data().unwrap();
    assert!(!after.crash_points().is_empty(), "it lies after a power cut too");
    disk.ignore_flushes(false);
    file.sync_data().unwrap();
    assert!(disk.crash_points().is_empty());
    assert_fired(&disk, &[Injection::FlushIgnored, Injection::DirectorySyncIgnored]);
}

#[test]
fn rot_shows_at_once_everywhere_and_is_not_pending() {
    let (disk, directory) = disk_with_directory(9);
    let file = flushed_file(&directory, "log", &[0; 10_000]);
    disk.flip_bit(STORE, "log", 9_999, 7).unwrap();
    disk.overwrite_durable(STORE, "log", 4_000, &[5; 200]).unwrap();
    assert!(disk.crash_points().is_empty());
    let mut cached = vec![0; 10_000];
    file.read_exact_at(0, &mut cached).unwrap();
    let mut durable = vec![0; 10_000];
    file.read_durable_exact_at(0, &mut durable).unwrap();
    let expected = [vec![0; 4_000], vec![5; 200], vec![0; 5_799], vec![128]].concat();
    assert_eq!((&cached, &durable), (&expected, &expected));

    disk.cut_file(STORE, "log", 4_100).unwrap();
    assert_eq!(disk.kill().contents(STORE, "log").unwrap(), expected[..4_100]);
    disk.lose_file(STORE, "log").unwrap();
    assert!(disk.crash_points().is_empty());
    assert_eq!(directory.list().unwrap(), [""; 0]);

    flushed_file(&directory, "log", b"text");
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(disk.flip_bit(STORE, "none", 0, 0)), ErrorKind::NotFound);
    assert_eq!(kind(disk.flip_bit(STORE, "log", 4, 0)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(disk.flip_bit(STORE, "log", 0, 8)), ErrorKind::InvalidInput);
    assert_eq!(kind(disk.overwrite_durable(STORE, "log", 1, b"text")), ErrorKind::UnexpectedEof);
    assert_eq!(kind(disk.cut_file(STORE, "log", 5)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(disk.lose_file(STORE, "none")), ErrorKind::NotFound);
    use Injection::{BitFlip, FileCut, FileLost, Overwrite};
    assert_fired(&disk, &[BitFlip, Overwrite, FileCut, FileLost]);
}

#[test]
fn a_lock_is_held_until_its_guard_is_dropped_and_lost_with_its_file() {
    let (_disk, directory) = disk_with_directory(10);
    let Lock::Taken(guard) = directory.lock("LOCK").unwrap() else { panic!("nobody has it") };
    assert!(matches!(directory.lock("LOCK").unwrap(), Lock::Held(Some(id)) if id == std::process::id()));
    assert!(matches!(directory.lock("OTHER").unwrap(), Lock::Taken(_)));
    directory.remove("LOCK").unwrap();
    let Lock::Taken(_second) = directory.lock("LOCK").unwrap() else { panic!("this is another file") };
    drop(guard);
    assert!(matches!(directory.lock("LOCK").unwrap(), Lock::Held(_)));
}

#[test]
fn the_same_seed_fails_in_the_same_way() {
    let run = |seed| {
        let (disk, directory) = disk_with_directory(seed);
        disk.disturb_one_in(Some(4));
        let file = directory.create("log").unwrap();
        for step in 0..50 {
            file.write_all_at(step * 300, &[7; 700]).unwrap();
            disk.fail(on(OperationKind::SyncData, Failure::InputOutput));
            file.sync_data().unwrap_err();
        }
        (disk.durable_contents(STORE, "log").unwrap(), disk.injections())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

/// One run that has everything in it. A kind of fault that this cannot make happen is dead.
#[test]
fn every_kind_of_fault_fires() {
    let disk = SimulatedDisk::new(12);
    let directory = disk.open_directory(STORE.as_ref(), true).unwrap();
    let cut_power = || {
        let crash = disk.crash_points();
        crash.outcomes(1_024, 0).for_each(|outcome| drop(crash.disk_after(&outcome)));
    };
    cut_power();
    flushed_file(&directory, "removed", &[9; 16_384]);
    directory.remove("removed").unwrap();
    directory.create("removed").unwrap();
    let file = flushed_file(&directory, "log", &[1; 4096]);
    directory.remove("removed").unwrap();
    directory.rename("log", "renamed").unwrap();
    file.write_all_at(0, &[2; 512]).unwrap();
    file.write_all_at(0, &[3; 512]).unwrap();
    file.write_all_at(4096, &[3; 512]).unwrap();
    file.write_all_at(4608, &[3; 512]).unwrap();
    let prewritten = directory.create("prewritten").unwrap();
    prewritten.prewrite(8192).unwrap();
    directory.remove("prewritten").unwrap();
    cut_power();
    drop(disk.kill());

    for kind in [OperationKind::Write, OperationKind::Read, OperationKind::SyncData, OperationKind::SyncDirectory] {
        disk.fail(on(kind, Failure::InputOutput));
    }
    disk.fail(on(OperationKind::Length, Failure::InputOutput));
    file.write_at(0, &[4; 512]).unwrap_err();
    file.read_at(0, &mut [0; 8]).unwrap_err();
    for page in 0..16 {
        file.write_all_at(page * 4096, &[4; 512]).unwrap();
    }
    file.sync_data().unwrap_err();
    directory.sync().unwrap_err();
    file.len().unwrap_err();
    let direct = flushed_file(&directory, "direct", &[1; 65_536]);
    direct.write_direct_all_at(0, &blocks(65_536, 2)).unwrap();
    disk.fail(on(OperationKind::SyncData, Failure::InputOutput));
    direct.sync_data().unwrap_err();
    direct.write_at(0, &[3; 512]).unwrap();
    direct.write_direct_at(0, &blocks(4096, 4)).unwrap_err();
    let others = [
        Failure::NoSpace,
        Failure::QuotaExceeded,
        Failure::Interrupted,
        Failure::Short,
        Failure::ReadOnly,
        Failure::TooManyOpenFiles,
        Failure::PermissionDenied,
    ];
    for failure in others {
        disk.fail(Fault::new(Calls::Any, failure));
        let written = file.write_at(0, &[5; 512]);
        assert_eq!(written.is_ok(), failure == Failure::Short);
    }
    disk.fail(on(OperationKind::Read, Failure::Short));
    assert!(file.read_at(0, &mut [0; 8]).unwrap() < 8);
    disk.flip_bit(STORE, "renamed", 0, 0).unwrap();
    disk.overwrite_durable(STORE, "renamed", 0, b"rot").unwrap();
    disk.cut_file(STORE, "renamed", 100).unwrap();
    disk.lose_file(STORE, "renamed").unwrap();
    let gate = disk.block_flushes();
    thread::scope(|scope| {
        scope.spawn(|| file.sync_data());
        gate.wait_until_blocked();
        drop(gate);
    });
    disk.ignore_flushes(true);
    disk.ignore_directory_syncs(true);
    file.sync_data().unwrap();
    directory.sync().unwrap();
    println!("{}", disk.injections());
    assert_fired(&disk, Injection::ALL);
    assert_eq!(disk.injections().iter().count(), Injection::ALL.len());
}
