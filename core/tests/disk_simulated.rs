//! The simulated disk when the power fails or the process dies: what each open question can come to, that nothing else
//! changes, and that a seed repeats it.
#![forbid(unsafe_code)]

use duramen::io::{Access, AlignedBuffer, CrashPoints, Directory, Disk, File, Injection, Lock, Outcome, SimulatedDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

const STORE: &str = "/store";

fn open(disk: &SimulatedDisk) -> Arc<dyn Directory> {
    disk.open_directory(STORE.as_ref(), false).unwrap()
}

/// A disk with a directory that no power cut takes away.
fn disk_with_directory(seed: u64) -> (SimulatedDisk, Arc<dyn Directory>) {
    let disk = SimulatedDisk::new(seed);
    let directory = disk.open_directory(STORE.as_ref(), true).unwrap();
    directory.sync().unwrap();
    (disk, directory)
}

/// A file, name and bytes flushed.
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

fn all_outcomes(crash: &CrashPoints) -> Vec<SimulatedDisk> {
    assert!(crash.states() <= 200_000, "{crash}");
    crash.outcomes(200_000, 0).map(|outcome| crash.disk_after(&outcome)).collect()
}

/// Every content that a file can have after a power cut; none where the file is gone.
fn contents_after_power_cut(disk: &SimulatedDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    all_outcomes(&disk.crash_points()).iter().map(|after| after.contents(STORE, name).ok()).collect()
}

fn assert_fired(disk: &SimulatedDisk, expected: &[Injection]) {
    assert_eq!(disk.injections().never_fired(expected), [], "{}", disk.injections());
}

fn sizes(contents: &BTreeSet<Option<Vec<u8>>>) -> BTreeSet<usize> {
    contents.iter().flatten().map(Vec::len).collect()
}

#[test]
fn a_disk_without_pending_changes_has_one_outcome() {
    let (disk, directory) = disk_with_directory(1);
    flushed_file(&directory, "log", &[7; 10_000]);
    let crash = disk.crash_points();
    assert!(crash.is_empty());
    assert_eq!(crash.states(), 1);
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([Some(vec![7; 10_000])]));
}

#[test]
fn an_unflushed_sector_comes_out_old_new_earlier_torn_or_garbage() {
    let (disk, directory) = disk_with_directory(2);
    let file = flushed_file(&directory, "log", &[1; 512]);
    file.write_all_at(0, &[2; 512]).unwrap();
    file.write_all_at(0, &[3; 512]).unwrap();
    let contents: BTreeSet<Vec<u8>> = contents_after_power_cut(&disk, "log").into_iter().flatten().collect();
    for byte in [1, 2, 3] {
        assert!(contents.contains(&vec![byte; 512]), "all {byte}");
    }
    let torn = |first: u8, last: u8| {
        contents.iter().any(|bytes| {
            let at = bytes.iter().position(|byte| *byte != first).unwrap_or(512);
            at > 0 && at < 512 && bytes[at..].iter().all(|byte| *byte == last)
        })
    };
    assert!(torn(3, 1), "new, then old");
    assert!(torn(1, 3), "old, then new");
    assert!(contents.iter().any(|bytes| bytes.iter().collect::<BTreeSet<_>>().len() > 16), "garbage");
    assert_eq!(contents.len(), 6);
    use Injection::{SectorEarlier, SectorGarbage, SectorNew, SectorOld, SectorTorn};
    assert_fired(&disk, &[SectorOld, SectorNew, SectorEarlier, SectorTorn, SectorGarbage]);
}

#[test]
fn the_sectors_of_one_write_come_out_independently() {
    let (disk, directory) = disk_with_directory(3);
    let file = flushed_file(&directory, "log", &[1; 4096]);
    file.write_all_at(0, &[2; 1536]).unwrap();
    let contents = contents_after_power_cut(&disk, "log");
    for corner in 0..8_u8 {
        let mut expected = vec![1; 4096];
        for sector in (0..3_usize).filter(|sector| corner >> sector & 1 == 1) {
            expected[sector * 512..(sector + 1) * 512].fill(2);
        }
        assert!(contents.contains(&Some(expected)), "corner {corner:03b}");
    }
}

#[test]
fn the_other_sectors_of_a_block_being_written_may_come_out_as_garbage_and_other_blocks_never() {
    let (disk, directory) = disk_with_directory(4);
    let file = flushed_file(&directory, "log", &[1; 12_288]);
    file.write_all_at(5000, &[2; 100]).unwrap();
    let mut spoiled = 0;
    for contents in contents_after_power_cut(&disk, "log").into_iter().flatten() {
        assert_eq!(contents[..4096], [1; 4096]);
        assert_eq!(contents[8192..], [1; 4096]);
        spoiled += u32::from(contents[4096..4608] != [1; 512] && contents[7680..8192] != [1; 512]);
    }
    assert!(spoiled > 0);
    assert_fired(&disk, &[Injection::NeighboursGarbage]);
}

#[test]
fn a_growing_file_keeps_or_loses_size_and_bytes_independently() {
    let (disk, directory) = disk_with_directory(5);
    let file = flushed_file(&directory, "log", b"");
    file.write_all_at(0, &[1; 600]).unwrap();
    file.write_all_at(600, &[1; 400]).unwrap();
    let contents = contents_after_power_cut(&disk, "log");
    assert_eq!(sizes(&contents), BTreeSet::from([0, 600, 1000]));
    assert!(contents.contains(&Some(vec![0; 1000])), "the size without the bytes");
    assert!(contents.contains(&Some(vec![1; 1000])));
    use Injection::{DataWithoutSize, SizeEarlier, SizeKept, SizeLost, SizeWithoutData};
    assert_fired(&disk, &[SizeLost, SizeKept, SizeEarlier, SizeWithoutData, DataWithoutSize]);
}

#[test]
fn bytes_beyond_a_lost_size_do_not_come_back_when_the_file_grows_again() {
    for flushed in [0, 10] {
        let (disk, directory) = disk_with_directory(6);
        let file = flushed_file(&directory, "log", &vec![7; flushed]);
        file.write_all_at(flushed as u64, &[1; 100]).unwrap();
        let crash = disk.crash_points();
        let outcome: Outcome = "0,1".parse().unwrap();
        assert_eq!(crash.explain(&outcome), "log: sector 0 new");
        let after = crash.disk_after(&outcome);
        let file = open(&after).open("log", Access::ReadWrite).unwrap();
        assert_eq!(file.len().unwrap(), flushed as u64);
        file.write_all_at(200, b"x").unwrap();
        assert_eq!(after.contents(STORE, "log").unwrap()[flushed..200], vec![0; 200 - flushed]);
    }
}

#[test]
fn a_prewrite_is_lost_or_zero_or_garbage_and_what_is_written_over_it_has_fates_of_its_own() {
    let (disk, directory) = disk_with_directory(7);
    let file = flushed_file(&directory, "log", b"");
    file.prewrite(16_384).unwrap();
    let contents = contents_after_power_cut(&disk, "log");
    assert_eq!(contents.len(), 3);
    assert_eq!(sizes(&contents), BTreeSet::from([0, 16_384]));
    assert!(contents.contains(&Some(vec![0; 16_384])));

    file.write_all_at(4096, &[0; 512]).unwrap();
    let mut zeros_in_garbage = false;
    for contents in contents_after_power_cut(&disk, "log").into_iter().flatten().filter(|bytes| !bytes.is_empty()) {
        zeros_in_garbage |= contents[4096..4608] == [0; 512] && contents[4608..5120] != [0; 512];
    }
    assert!(zeros_in_garbage, "written zeros that are kept, in a prewrite whose own zeros are not");
    use Injection::{PrewriteGarbage, PrewriteLost, PrewriteZeros};
    assert_fired(&disk, &[PrewriteLost, PrewriteZeros, PrewriteGarbage]);
}

#[test]
fn an_allocation_is_lost_or_there_until_it_is_flushed_and_then_zero() {
    let (disk, directory) = disk_with_directory(31);
    let file = flushed_file(&directory, "log", &[1; 4096]);
    file.allocate(12_288).unwrap();
    file.allocate(100).unwrap();
    assert_eq!(file.len().unwrap(), 12_288);
    assert_eq!(sizes(&contents_after_power_cut(&disk, "log")), BTreeSet::from([4096, 12_288]));
    file.write_direct_all_at(8192, &blocks(4096, 2)).unwrap();
    file.sync_data().unwrap();
    let expected = [vec![1; 4096], vec![0; 4096], vec![2; 4096]].concat();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([Some(expected)]));
    assert_eq!(directory.open("log", Access::Read).unwrap().allocate(1).unwrap_err().raw_os_error(), Some(libc::EBADF));
}

#[test]
fn a_direct_write_is_shown_at_once_and_has_the_fates_of_any_other_until_it_is_flushed() {
    let (disk, directory) = disk_with_directory(32);
    let file = flushed_file(&directory, "log", &[1; 12_288]);
    assert!(file.takes_direct_writes().unwrap());
    assert_eq!(file.write_direct_at(4096, &blocks(4096, 2)).unwrap(), 4096);
    let new = [vec![1; 4096], vec![2; 4096], vec![1; 4096]].concat();
    for read in [File::read_exact_at, File::read_durable_exact_at] {
        let mut bytes = vec![0; 12_288];
        read(&*file, 0, &mut bytes).unwrap();
        assert_eq!(bytes, new);
    }
    let crash = disk.crash_points();
    assert_eq!(crash.disk_after(&crash.all_old()).contents(STORE, "log").unwrap(), [1; 12_288]);
    assert_eq!(crash.disk_after(&crash.all_new()).contents(STORE, "log").unwrap(), new);
    crash.outcomes(1_024, 0).for_each(|outcome| drop(crash.disk_after(&outcome)));
    use Injection::{SectorGarbage, SectorNew, SectorOld, SectorTorn};
    assert_fired(&disk, &[SectorOld, SectorNew, SectorTorn, SectorGarbage]);
    file.sync_data().unwrap();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([Some(new)]));
}

#[test]
fn a_direct_write_is_refused_where_the_page_cache_is_dirty() {
    let (disk, directory) = disk_with_directory(33);
    let file = flushed_file(&directory, "log", &[1; 12_288]);
    let refused = |offset, length| file.write_direct_at(offset, &blocks(length, 2)).unwrap_err().raw_os_error();
    file.write_all_at(5000, b"x").unwrap();
    let before = disk.contents(STORE, "log").unwrap();
    assert_eq!(refused(4096, 4096), Some(libc::EIO));
    assert_eq!(refused(0, 12_288), Some(libc::EIO));
    assert_eq!(disk.contents(STORE, "log").unwrap(), before);
    assert_eq!(disk.injections().count(Injection::DirectOnDirty), 2);
    file.write_direct_all_at(0, &blocks(4096, 2)).unwrap();
    file.write_direct_all_at(8192, &blocks(4096, 2)).unwrap();
    file.write_direct_all_at(8192, &blocks(4096, 3)).unwrap();

    file.sync_data().unwrap();
    file.write_direct_all_at(4096, &blocks(4096, 4)).unwrap();
    file.write_all_at(8191, b"x").unwrap();
    assert_eq!(refused(4096, 4096), Some(libc::EIO), "the last write to the block went through the page cache");
    assert_eq!(disk.injections().count(Injection::DirectOnDirty), 3);
}

#[test]
fn a_prewrite_leaves_its_ends_dirty_where_they_lie_inside_a_block() {
    let (_disk, directory) = disk_with_directory(34);
    let file = flushed_file(&directory, "log", &[1; 100]);
    file.prewrite(12_388).unwrap();
    for (block, is_dirty) in [(0, true), (1, false), (2, false), (3, true)] {
        assert_eq!(file.write_direct_at(block * 4096, &blocks(4096, 2)).is_err(), is_dirty, "block {block}");
    }
    file.sync_data().unwrap();
    file.write_direct_all_at(0, &blocks(16_384, 3)).unwrap();
    assert_eq!(file.len().unwrap(), 16_384);
}

#[test]
fn a_direct_write_takes_whole_blocks_and_a_file_open_for_writing() {
    let (disk, directory) = disk_with_directory(35);
    let file = flushed_file(&directory, "log", &[1; 8192]);
    let blocks = blocks(8192, 2);
    for (offset, bytes) in [(512, &blocks[..4096]), (0, &blocks[..512]), (0, &blocks[512..4608])] {
        assert_eq!(file.write_direct_at(offset, bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(file.write_direct_at(0, &[]).unwrap(), 0);
    let reader = directory.open("log", Access::Read).unwrap();
    assert!(!reader.takes_direct_writes().unwrap());
    assert_eq!(reader.write_direct_at(0, &blocks).unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(disk.contents(STORE, "log").unwrap(), [1; 8192]);
}

#[test]
fn a_disk_that_refuses_direct_writes_does_so_after_a_power_cut_and_a_kill_too() {
    let (disk, directory) = disk_with_directory(36);
    let file = flushed_file(&directory, "log", &[1; 4096]);
    disk.refuse_direct_writes(true);
    let crash = disk.crash_points();
    for disk in [disk.clone(), disk.kill(), crash.disk_after(&crash.all_old())] {
        let file = open(&disk).open("log", Access::ReadWrite).unwrap();
        assert!(!file.takes_direct_writes().unwrap());
        assert_eq!(file.write_direct_at(0, &blocks(4096, 2)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(disk.contents(STORE, "log").unwrap(), [1; 4096]);
    }
    disk.refuse_direct_writes(false);
    assert!(file.takes_direct_writes().unwrap());
    file.write_direct_all_at(0, &blocks(4096, 2)).unwrap();
}

#[test]
fn stores_run_in_the_background_only_where_that_was_asked_for_also_after_a_power_cut_and_a_kill() {
    let (disk, _directory) = disk_with_directory(37);
    let copies = |disk: &SimulatedDisk| {
        let crash = disk.crash_points();
        [disk.clone(), disk.kill(), crash.disk_after(&crash.all_old())]
    };
    assert!(copies(&disk).iter().all(|disk| !disk.runs_in_background()));
    disk.run_in_background(true);
    assert!(copies(&disk).iter().all(Disk::runs_in_background));
    disk.run_in_background(false);
    assert!(!disk.runs_in_background());
}

#[test]
fn a_flush_settles_up_to_its_mark_and_leaves_what_came_behind_it_pending() {
    let (disk, directory) = disk_with_directory(38);
    let file = flushed_file(&directory, "log", &[1; 8192]);
    file.write_direct_all_at(0, &blocks(4096, 2)).unwrap();
    let mark = disk.flush_mark();
    assert!(mark > 0);
    assert_eq!(disk.flush_mark(), mark, "looking changes nothing");
    file.write_direct_all_at(0, &blocks(4096, 3)).unwrap();
    file.write_all_at(4096, &[4; 512]).unwrap();
    file.prewrite(12_288).unwrap();
    disk.settle_up_to(Some(mark));
    for _ in 0..2 {
        file.sync_data().unwrap();
        let crash = disk.crash_points();
        let settled = [vec![2; 4096], vec![1; 4096]].concat();
        assert_eq!(crash.disk_after(&crash.all_old()).contents(STORE, "log").unwrap(), settled);
        let all = [vec![3; 4096], vec![4; 512], vec![1; 3584], vec![0; 4096]].concat();
        assert_eq!(crash.disk_after(&crash.all_new()).contents(STORE, "log").unwrap(), all);
    }
    assert_eq!(file.write_direct_at(4096, &blocks(4096, 5)).unwrap_err().raw_os_error(), Some(libc::EIO));
    open(&disk.kill()).open("log", Access::ReadWrite).unwrap().sync_data().unwrap();
    disk.settle_up_to(None);
    file.sync_data().unwrap();
    assert!(disk.crash_points().is_empty());
    disk.settle_up_to(Some(u64::MAX));
    file.write_all_at(0, &[6; 512]).unwrap();
    file.sync_data().unwrap();
    assert!(disk.crash_points().is_empty(), "a mark ahead of everything holds nothing back");
}

#[test]
fn a_flushed_prewrite_is_zero_and_stays() {
    let (disk, directory) = disk_with_directory(8);
    let file = flushed_file(&directory, "log", &[1; 100]);
    file.prewrite(10_000).unwrap();
    file.prewrite(5_000).unwrap();
    file.sync_data().unwrap();
    let expected = [vec![1; 100], vec![0; 9_900]].concat();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([Some(expected)]));
}

#[test]
fn the_bytes_of_a_removed_file_show_in_unflushed_places_of_a_new_one() {
    let (disk, directory) = disk_with_directory(9);
    flushed_file(&directory, "old", &[9; 8192]);
    directory.remove("old").unwrap();
    let file = flushed_file(&directory, "new", b"");
    file.prewrite(8192).unwrap();
    assert!(contents_after_power_cut(&disk, "new").contains(&Some(vec![9; 8192])));
    file.sync_data().unwrap();
    file.write_all_at(0, &[1; 512]).unwrap();
    let stale = [vec![9; 512], vec![0; 7680]].concat();
    assert!(contents_after_power_cut(&disk, "new").contains(&Some(stale)));
    assert_fired(&disk, &[Injection::PrewriteStale, Injection::SectorStale]);
}

#[test]
fn a_flush_does_not_make_the_name_stable_and_a_directory_sync_not_the_bytes() {
    let (disk, directory) = disk_with_directory(10);
    let file = directory.create("log").unwrap();
    file.write_all_at(0, &[1; 100]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([None, Some(vec![1; 100])]));
    directory.sync().unwrap();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([Some(vec![1; 100])]));
    file.write_all_at(0, &[2; 100]).unwrap();
    directory.sync().unwrap();
    assert!(contents_after_power_cut(&disk, "log").contains(&Some(vec![1; 100])));
    assert_fired(&disk, &[Injection::EntryLost, Injection::EntryKept]);
}

#[test]
fn a_removed_file_may_come_back_until_the_directory_is_synced() {
    let (disk, directory) = disk_with_directory(11);
    drop(flushed_file(&directory, "log", b"here"));
    directory.remove("log").unwrap();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([None, Some(b"here".to_vec())]));
    directory.sync().unwrap();
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from([None]));
    assert_fired(&disk, &[Injection::RemovalUndone]);
}

#[test]
fn a_renamed_file_may_be_found_under_either_name_both_or_neither() {
    let (disk, directory) = disk_with_directory(12);
    flushed_file(&directory, "from", b"moved");
    flushed_file(&directory, "to", b"replaced");
    directory.rename("from", "to").unwrap();
    let found: BTreeSet<_> = all_outcomes(&disk.crash_points())
        .iter()
        .map(|after| (after.contents(STORE, "from").ok(), after.contents(STORE, "to").ok()))
        .collect();
    let (moved, replaced) = (Some(b"moved".to_vec()), Some(b"replaced".to_vec()));
    let expected = [
        (None, moved.clone()),
        (None, replaced.clone()),
        (moved.clone(), moved.clone()),
        (moved.clone(), replaced.clone()),
    ];
    assert_eq!(found, BTreeSet::from(expected));
    assert_fired(&disk, &[Injection::RenameLeftBoth, Injection::RenameLeftNeither]);
}

#[test]
fn a_file_under_two_names_is_one_file_and_renaming_one_to_the_other_keeps_both() {
    let (disk, directory) = disk_with_directory(13);
    flushed_file(&directory, "from", b"text");
    directory.rename("from", "to").unwrap();
    let crash = disk.crash_points();
    let after = crash.outcomes(4, 0).map(|outcome| crash.disk_after(&outcome));
    let after = after.filter(|after| open(after).list().unwrap().len() == 2).last().expect("one outcome keeps both");
    let directory = open(&after);
    directory.open("from", Access::ReadWrite).unwrap().write_all_at(0, b"TEXT").unwrap();
    assert_eq!(after.contents(STORE, "to").unwrap(), b"TEXT");
    directory.rename("from", "to").unwrap();
    assert_eq!(directory.list().unwrap().len(), 2);
    directory.remove("from").unwrap();
    assert_eq!(after.contents(STORE, "to").unwrap(), b"TEXT");
}

#[test]
fn a_name_changed_twice_may_be_found_between_the_two_changes() {
    let (disk, directory) = disk_with_directory(14);
    flushed_file(&directory, "log", b"one");
    directory.remove("log").unwrap();
    let file = directory.create("log").unwrap();
    file.write_all_at(0, b"two").unwrap();
    file.sync_data().unwrap();
    let expected = [Some(b"one".to_vec()), None, Some(b"two".to_vec())];
    assert_eq!(contents_after_power_cut(&disk, "log"), BTreeSet::from(expected));
    assert_fired(&disk, &[Injection::EntryEarlier]);
}

#[test]
fn a_created_directory_may_be_lost_until_it_is_synced() {
    let disk = SimulatedDisk::new(15);
    let directory = disk.open_directory(STORE.as_ref(), true).unwrap();
    let is_there = |disk: &SimulatedDisk| disk.open_directory(STORE.as_ref(), false).is_ok();
    let found: BTreeSet<bool> = all_outcomes(&disk.crash_points()).iter().map(is_there).collect();
    assert_eq!(found, BTreeSet::from([false, true]));
    assert_fired(&disk, &[Injection::DirectoryLost]);
    directory.sync().unwrap();
    assert!(all_outcomes(&disk.crash_points()).iter().all(is_there));
}

#[test]
fn a_lock_file_is_there_at_once_and_adds_no_outcome() {
    let (disk, directory) = disk_with_directory(16);
    let Lock::Taken(_guard) = directory.lock("LOCK").unwrap() else { panic!("nobody has it") };
    assert!(disk.crash_points().is_empty());
    assert_eq!(directory.list().unwrap(), ["LOCK"]);
}

#[test]
fn the_disk_that_came_out_of_a_power_cut_is_another_and_can_lose_power_again() {
    let (disk, directory) = disk_with_directory(17);
    let Lock::Taken(_guard) = directory.lock("LOCK").unwrap() else { panic!("nobody has it") };
    let file = flushed_file(&directory, "log", &[1; 512]);
    file.write_all_at(0, &[2; 512]).unwrap();
    let crash = disk.crash_points();
    let after = crash.disk_after(&crash.all_new());
    let directory_after = open(&after);
    assert_ne!(directory.identity().unwrap(), directory_after.identity().unwrap());
    assert!(matches!(directory_after.lock("LOCK").unwrap(), Lock::Taken(_)));
    assert!(after.crash_points().is_empty());

    let file_after = directory_after.open("log", Access::ReadWrite).unwrap();
    file_after.write_all_at(0, &[3; 512]).unwrap();
    let twice = after.crash_points();
    assert_eq!(twice.disk_after(&twice.all_old()).contents(STORE, "log").unwrap(), [2; 512]);
    assert_eq!(twice.disk_after(&twice.all_new()).contents(STORE, "log").unwrap(), [3; 512]);
    assert_eq!(disk.contents(STORE, "log").unwrap(), [2; 512], "the first disk goes on as it was");
    assert_eq!(crash.disk_after(&crash.all_old()).contents(STORE, "log").unwrap(), [1; 512]);
}

#[test]
fn a_killed_process_leaves_the_page_cache_and_frees_the_locks() {
    let (disk, directory) = disk_with_directory(18);
    let Lock::Taken(_guard) = directory.lock("LOCK").unwrap() else { panic!("nobody has it") };
    assert!(matches!(directory.lock("LOCK").unwrap(), Lock::Held(Some(_))));
    let file = flushed_file(&directory, "log", &[1; 512]);
    file.write_all_at(0, &[2; 512]).unwrap();
    let unnamed = directory.create("unnamed").unwrap();
    directory.remove("unnamed").unwrap();
    unnamed.write_all_at(0, b"still readable").unwrap();

    let after = disk.kill();
    let directory_after = open(&after);
    assert_eq!(
        directory_after.list().unwrap().into_iter().collect::<BTreeSet<_>>(),
        ["LOCK", "log"].map(String::from).into()
    );
    assert!(matches!(directory_after.lock("LOCK").unwrap(), Lock::Taken(_)));
    assert_eq!(after.contents(STORE, "log").unwrap(), [2; 512]);
    assert!(contents_after_power_cut(&after, "log").contains(&Some(vec![1; 512])), "what was pending is pending");
    directory_after.open("log", Access::ReadWrite).unwrap().sync_data().unwrap();
    assert_eq!(contents_after_power_cut(&after, "log"), BTreeSet::from([Some(vec![2; 512])]));
    assert!(contents_after_power_cut(&disk, "log").len() > 1, "the old disk goes on as it was");
    assert_fired(&disk, &[Injection::Kill]);
}

#[test]
fn a_killed_process_leaves_what_it_wrote_past_the_page_cache_pending_and_clean() {
    let (disk, directory) = disk_with_directory(39);
    let file = flushed_file(&directory, "log", &[1; 8192]);
    file.write_direct_all_at(0, &blocks(4096, 2)).unwrap();
    file.write_all_at(4096, &[3; 4096]).unwrap();
    let after = disk.kill();
    assert_eq!(after.contents(STORE, "log").unwrap(), [vec![2; 4096], vec![3; 4096]].concat());
    let crash = after.crash_points();
    assert_eq!(crash.disk_after(&crash.all_old()).contents(STORE, "log").unwrap(), [1; 8192]);
    let file = open(&after).open("log", Access::ReadWrite).unwrap();
    assert_eq!(file.write_direct_at(4096, &blocks(4096, 4)).unwrap_err().raw_os_error(), Some(libc::EIO));
    file.write_direct_all_at(0, &blocks(4096, 4)).unwrap();
}

#[test]
fn reading_past_the_page_cache_shows_dirty_bytes_as_the_operating_system_writes_them_first() {
    let (disk, directory) = disk_with_directory(19);
    let file = flushed_file(&directory, "log", &[1; 2048]);
    file.write_all_at(700, &[2; 700]).unwrap();
    file.prewrite(5000).unwrap();
    let mut bytes = vec![9; 6000];
    assert_eq!(file.read_durable_at(3, &mut bytes).unwrap(), 4997);
    assert_eq!(bytes[..4997], disk.contents(STORE, "log").unwrap()[3..]);
    assert!(contents_after_power_cut(&disk, "log").contains(&Some(vec![1; 2048])), "and they are not stable by that");
}

#[test]
fn an_outcome_that_was_printed_gives_the_same_disk_again() {
    let run = || {
        let (disk, directory) = disk_with_directory(20);
        let file = flushed_file(&directory, "log", &[1; 20_000]);
        file.write_all_at(3000, &[2; 9000]).unwrap();
        disk.crash_points()
    };
    let (one, two) = (run(), run());
    for outcome in one.outcomes(100, 5) {
        let again: Outcome = outcome.to_string().parse().unwrap();
        assert_eq!(again, outcome);
        assert_eq!(one.explain(&outcome), two.explain(&again));
        let contents = |crash: &CrashPoints, outcome| crash.disk_after(outcome).contents(STORE, "log").unwrap();
        assert_eq!(contents(&one, &outcome), contents(&two, &again), "{outcome}: {}", one.explain(&outcome));
    }
}

#[test]
fn outcomes_are_all_of_them_or_a_limited_sample_and_each_is_legal() {
    let (disk, directory) = disk_with_directory(21);
    let file = flushed_file(&directory, "log", &[1; 20_000]);
    file.write_all_at(0, &[2; 512]).unwrap();
    let few = disk.crash_points();
    let all: BTreeSet<String> = few.outcomes(1_024, 0).map(|outcome| outcome.to_string()).collect();
    assert_eq!(all.len() as u128, few.states());
    file.write_all_at(0, &[3; 20_000]).unwrap();
    let many = disk.crash_points();
    assert!(many.states() > 1_000_000);
    assert_eq!(many.to_string(), format!("{} states of {} questions after operation 7", many.states(), many.len()));
    assert_eq!(many.operation(), disk.operations());
    let sample: Vec<Outcome> = many.outcomes(1_024, 0).collect();
    assert_eq!(sample.len(), 1_024);
    assert!(sample.contains(&many.all_old()) && sample.contains(&many.all_new()));
    sample.iter().for_each(|outcome| drop(many.disk_after(outcome)));
    assert_eq!(sample, many.outcomes(1_024, 0).collect::<Vec<_>>());
    assert_ne!(sample, many.outcomes(1_024, 1).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "an outcome of 1 answers for 0 questions")]
fn an_outcome_of_another_moment_is_refused() {
    SimulatedDisk::new(22).crash_points().disk_after(&[0]);
}

#[test]
#[should_panic(expected = "question 0 has 2 answers, but the outcome says 2")]
fn an_answer_that_does_not_exist_is_refused() {
    let disk = SimulatedDisk::new(23);
    disk.open_directory(STORE.as_ref(), true).unwrap();
    disk.crash_points().disk_after(&[2]);
}

#[test]
fn looking_at_crash_points_does_not_change_the_run() {
    let run = |look: bool| {
        let (disk, directory) = disk_with_directory(24);
        disk.disturb_one_in(Some(3));
        let file = directory.create("log").unwrap();
        let mut trace = Vec::new();
        for step in 0..200 {
            trace.push(format!("{:?}", file.write_at(step * 100, &[1; 1000])));
            if look {
                let crash = disk.crash_points();
                crash.outcomes(3, step).for_each(|outcome| drop(crash.disk_after(&outcome)));
            }
        }
        (trace, disk.random().unwrap(), disk.contents(STORE, "log").unwrap())
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn random_bytes_come_from_the_seed_and_differ_after_every_power_cut_and_kill() {
    let random = |disk: &SimulatedDisk| disk.random().unwrap();
    let (one, two) = (SimulatedDisk::new(25), SimulatedDisk::new(25));
    assert_eq!([random(&one), random(&one)], [random(&two), random(&two)]);
    one.open_directory(STORE.as_ref(), true).unwrap();
    let crash = one.crash_points();
    let others =
        [SimulatedDisk::new(25), SimulatedDisk::new(26), crash.disk_after(&[0]), crash.disk_after(&[1]), one.kill()];
    let bytes: BTreeSet<[u8; 16]> = others.iter().map(random).collect();
    assert_eq!(bytes.len(), others.len());
}

#[test]
fn an_observer_is_told_every_change_before_it_happens() {
    let (disk, directory) = disk_with_directory(27);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    disk.on_operation(Some(Box::new(move |operation, disk| {
        let size = disk.contents(STORE, "log").map(|bytes| bytes.len()).ok();
        // An operation of the observer itself is not observed.
        open(disk).sync().unwrap();
        told.lock().unwrap().push((operation.to_string(), size, disk.crash_points().len()));
    })));
    let file = directory.create("log").unwrap();
    file.write_all_at(0, &[1; 100]).unwrap();
    file.prewrite(4096).unwrap();
    file.read_exact_at(0, &mut [0; 10]).unwrap();
    file.sync_data().unwrap();
    file.write_direct_all_at(0, &blocks(4096, 1)).unwrap();
    file.sync_data().unwrap();
    file.allocate(8192).unwrap();
    file.sync_data().unwrap();
    directory.rename("log", "sealed").unwrap();
    directory.remove("sealed").unwrap();
    disk.on_operation(None);
    directory.sync().unwrap();
    let expected = [
        ("#2 create log", None, 0),
        ("#4 write log 0+100", Some(0), 0),
        ("#6 prewrite log to 4096", Some(100), 2),
        ("#8 sync log", Some(4096), 3),
        ("#10 write direct log 0+4096", Some(4096), 0),
        ("#12 sync log", Some(4096), 8),
        ("#14 allocate log to 8192", Some(4096), 0),
        ("#16 sync log", Some(8192), 1),
        ("#18 rename log to sealed", Some(8192), 0),
        ("#20 remove sealed", None, 0),
    ];
    let expected = expected.map(|(operation, size, questions)| (operation.to_owned(), size, questions));
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(disk.operations(), 22);
    assert!(disk.calls() > disk.operations());
}

#[test]
fn names_and_paths_mean_what_they_mean_on_a_real_disk() {
    let (disk, directory) = disk_with_directory(28);
    let kind = |result: std::io::Result<Arc<dyn Directory>>| result.unwrap_err().kind();
    assert_eq!(kind(disk.open_directory("/nowhere".as_ref(), false)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open_directory("/nowhere/store".as_ref(), true)), ErrorKind::NotFound);
    assert_eq!(kind(disk.open_directory("/store/../store".as_ref(), true)), ErrorKind::InvalidInput);
    flushed_file(&directory, "log", b"text");
    assert_eq!(kind(disk.open_directory("/store/log".as_ref(), true)), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.open_directory("/store/log/x".as_ref(), true)), ErrorKind::NotADirectory);
    let again = disk.open_directory("store/./".as_ref(), false).unwrap();
    assert_eq!(again.identity().unwrap(), directory.identity().unwrap());

    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(directory.create(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(directory.rename("log", name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(directory.create(&"x".repeat(256)).unwrap_err().kind(), ErrorKind::InvalidFilename);
    assert_eq!(directory.create("log").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(directory.open("none", Access::Read).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(directory.remove("none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(directory.rename("none", "log").unwrap_err().kind(), ErrorKind::NotFound);

    disk.open_directory("/store/inner".as_ref(), true).unwrap();
    assert_eq!(directory.open("inner", Access::Read).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(directory.create("inner").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(directory.list().unwrap(), ["log", "inner"]);
}

#[test]
fn a_file_opened_for_reading_cannot_be_written() {
    let (_disk, directory) = disk_with_directory(29);
    flushed_file(&directory, "log", b"text");
    let file = directory.open("log", Access::Read).unwrap();
    assert_eq!(file.write_at(0, b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(file.prewrite(100).unwrap_err().raw_os_error(), Some(libc::EBADF));
    let mut bytes = [0; 4];
    file.read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"text");
    assert_eq!(file.read_exact_at(1, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at(100, &mut bytes).unwrap(), 0);
}

#[test]
fn an_open_file_goes_on_without_its_name_and_under_a_new_one() {
    let (disk, directory) = disk_with_directory(30);
    let file = flushed_file(&directory, "log", b"text");
    directory.rename("log", "moved").unwrap();
    file.write_all_at(0, b"TEXT").unwrap();
    assert_eq!(disk.contents(STORE, "moved").unwrap(), b"TEXT");
    directory.remove("moved").unwrap();
    file.write_all_at(4, b"!").unwrap();
    let mut bytes = [0; 5];
    file.read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"TEXT!");
}

/// What must be there of one file after any power cut.
#[derive(Default, Clone)]
struct Promise {
    flushed: Vec<u8>,
    /// The blocks written since.
    touched: BTreeSet<usize>,
    name_is_stable: bool,
}

impl Promise {
    fn check(&self, name: &str, after: &SimulatedDisk) {
        let Ok(contents) = after.contents(STORE, name) else {
            assert!(!self.name_is_stable, "{name} is gone");
            return;
        };
        assert!(contents.len() >= self.flushed.len(), "{name} is shorter than it was flushed");
        for (block, bytes) in self.flushed.chunks(4096).enumerate() {
            let is_same = contents[block * 4096..][..bytes.len()] == *bytes;
            assert!(is_same || self.touched.contains(&block), "block {block} of {name} changed");
        }
    }
}

#[test]
fn whatever_is_done_flushed_blocks_survive_every_outcome() {
    let mut outcomes = 0;
    for seed in 0..40 {
        let (disk, directory) = disk_with_directory(1_000 + seed);
        let mut files: BTreeMap<String, (Arc<dyn File>, Promise)> = BTreeMap::new();
        let mut chance = disk.random().unwrap().into_iter().cycle().zip((0..).map(|step: usize| step * 37));
        let mut below =
            |bound: usize| chance.next().map(|(byte, step)| (usize::from(byte) * 131 + step) % bound).unwrap();
        for step in 0..120 {
            let name = format!("file-{}", below(3));
            let (file, promise) =
                files.entry(name.clone()).or_insert_with(|| (directory.create(&name).unwrap(), Promise::default()));
            match below(10) {
                0..4 => {
                    let (offset, length) = (below(20_000), 1 + below(6_000));
                    let value = u8::try_from(step).unwrap();
                    file.write_all_at(offset as u64, &vec![value; length]).unwrap();
                    promise.touched.extend(offset / 4096..(offset + length).div_ceil(4096));
                }
                4 => file.prewrite(8_192 * below(5) as u64).unwrap(),
                7 => file.allocate(6_000 * below(5) as u64).unwrap(),
                8 => {
                    let (first, count) = (below(5), 1 + below(2));
                    let value = blocks(count * 4096, u8::try_from(step).unwrap());
                    match file.write_direct_all_at(first as u64 * 4096, &value) {
                        Ok(()) => promise.touched.extend(first..first + count),
                        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO), "dirty pages"),
                    }
                }
                5 | 6 => {
                    file.sync_data().unwrap();
                    promise.flushed = disk.contents(STORE, &name).unwrap();
                    promise.touched.clear();
                }
                _ => {
                    directory.sync().unwrap();
                    files.values_mut().for_each(|(_, promise)| promise.name_is_stable = true);
                }
            }
            let crash = disk.crash_points();
            for outcome in crash.outcomes(16, step) {
                let after = crash.disk_after(&outcome);
                files.iter().for_each(|(name, (_, promise))| promise.check(name, &after));
                outcomes += 1;
            }
        }
    }
    println!("{outcomes} outcomes");
    assert!(outcomes > 50_000);
}
