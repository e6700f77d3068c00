//! The real disk, on the file system that holds the temporary folder.
//!
//! What needs a second process, or a umask of its own, starts this test program again for one of the tests called
//! `child_…`, which do nothing otherwise.
#![forbid(unsafe_code)]

use duramen::io::{Access, AlignedBuffer, Directory, Disk, File, Lock, RealDisk};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

const CHILD_FOLDER: &str = "DURAMEN_TEST_CHILD_FOLDER";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Arc<dyn Directory> {
    RealDisk.open_directory(path, false).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Bytes that repeat nowhere within a block.
fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

/// So many bytes of one value, as direct writes take them.
fn blocks(length: usize, value: u8) -> AlignedBuffer {
    let mut blocks = AlignedBuffer::new();
    blocks.resize(length, value);
    blocks
}

/// What the page cache shows of a file and what lies behind it are these bytes.
fn assert_holds(file: &dyn File, expected: &[u8]) {
    assert_eq!(file.len().unwrap(), expected.len() as u64);
    let mut read = vec![0; expected.len()];
    file.read_exact_at(0, &mut read).unwrap();
    assert!(read == expected, "in the page cache");
    file.read_durable_exact_at(0, &mut read).unwrap();
    assert!(read == expected, "past the page cache");
}

/// Starts this program for one test with a umask of its own.
fn start_child(test: &str, folder: &Path, umask: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
    shell.args(["--exact", test, "--nocapture"]).env(CHILD_FOLDER, folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The folder to work in, when this process is such a child.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

/// What the child says after `marker`, at the first line that has it.
fn answer(child: &mut Child, marker: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.contains(marker)).expect("the child answers");
    line.split_once(marker).unwrap().1.trim().to_owned()
}

#[test]
fn a_created_directory_and_its_files_are_private_whatever_the_umask() {
    for umask in ["000", "022", "077", "277"] {
        let folder = folder();
        let child = start_child("child_creates_a_store", folder.path(), umask);
        assert!(child.wait_with_output().unwrap().status.success());
        assert_eq!(mode(&folder.path().join("store")), 0o700, "umask {umask}");
        for name in ["log", "LOCK"] {
            assert_eq!(mode(&folder.path().join("store").join(name)), 0o600, "{name}, umask {umask}");
        }
    }
}

#[test]
fn child_creates_a_store() {
    let Some(folder) = child_folder() else { return };
    let directory = RealDisk.open_directory(&folder.join("store"), true).unwrap();
    directory.create("log").unwrap();
    assert!(matches!(directory.lock("LOCK").unwrap(), Lock::Taken(_)));
}

#[test]
fn opening_a_directory_creates_it_only_when_asked_and_only_below_an_existing_one() {
    let folder = folder();
    let kind = |path: &str, create| RealDisk.open_directory(&folder.path().join(path), create).unwrap_err().kind();
    assert_eq!(kind("none", false), ErrorKind::NotFound);
    assert_eq!(kind("none/store", true), ErrorKind::NotFound);
    fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(kind("file", true), ErrorKind::NotADirectory);
    assert_eq!(kind("file", false), ErrorKind::NotADirectory);
    assert_eq!(kind("file/store", true), ErrorKind::NotADirectory);
    let created = RealDisk.open_directory(&folder.path().join("store"), true).unwrap();
    created.sync().unwrap();
    created.sync().unwrap();
    let opened = RealDisk.open_directory(&folder.path().join("store"), true).unwrap();
    assert_eq!(created.identity().unwrap(), opened.identity().unwrap());
    assert_ne!(created.identity().unwrap(), open(folder.path()).identity().unwrap());
}

#[test]
fn an_existing_directory_keeps_its_mode() {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
    RealDisk.open_directory(folder.path(), true).unwrap();
    assert_eq!(mode(folder.path()), 0o750);
}

#[test]
fn a_place_where_nothing_may_be_created_says_so() {
    // Not even root creates anything in /sys; elsewhere root may do anything.
    let error = RealDisk.open_directory("/sys/duramen".as_ref(), true).unwrap_err();
    let expected = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem];
    assert!(expected.contains(&error.kind()), "{error}");
}

#[test]
fn names_are_listed_created_renamed_and_removed() {
    let folder = folder();
    let directory = open(folder.path());
    for name in ["one", "two", "three"] {
        directory.create(name).unwrap();
    }
    assert_eq!(directory.create("one").unwrap_err().kind(), ErrorKind::AlreadyExists);
    directory.rename("one", "two").unwrap();
    directory.remove("three").unwrap();
    assert_eq!(directory.remove("three").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(directory.rename("three", "one").unwrap_err().kind(), ErrorKind::NotFound);
    directory.create("four").unwrap();
    fs::create_dir(folder.path().join("inner")).unwrap();
    for _ in 0..2 {
        let names: BTreeSet<String> = directory.list().unwrap().into_iter().collect();
        assert_eq!(names, ["two", "four", "inner"].map(String::from).into());
    }
}

#[test]
fn a_long_directory_is_listed_to_its_end() {
    let folder = folder();
    let names: BTreeSet<String> = (0..2_000).map(|number| format!("a-file-with-a-longer-name-{number}")).collect();
    names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
    assert_eq!(open(folder.path()).list().unwrap().into_iter().collect::<BTreeSet<_>>(), names);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let folder = folder();
    let directory = open(folder.path());
    directory.create("log").unwrap();
    for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0b"] {
        let kinds = [
            directory.open(name, Access::Read).unwrap_err().kind(),
            directory.create(name).unwrap_err().kind(),
            directory.remove(name).unwrap_err().kind(),
            directory.rename("log", name).unwrap_err().kind(),
            directory.rename(name, "log").unwrap_err().kind(),
            directory.lock(name).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::InvalidInput; 6], "{name:?}");
    }
    assert_eq!(directory.create(&"x".repeat(256)).unwrap_err().kind(), ErrorKind::InvalidFilename);
}

#[test]
fn symbolic_links_pipes_and_directories_are_not_opened_as_files() {
    let (folder, elsewhere) = (folder(), folder());
    fs::write(elsewhere.path().join("secret"), "text").unwrap();
    let directory = open(folder.path());
    symlink(elsewhere.path().join("secret"), folder.path().join("link")).unwrap();
    symlink(elsewhere.path().join("new"), folder.path().join("dangling")).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(directory.open("link", access).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }
    assert_eq!(directory.lock("link").unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert_eq!(directory.create("dangling").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(!elsewhere.path().join("new").exists());
    fs::create_dir(folder.path().join("inner")).unwrap();
    assert_eq!(directory.open("inner", Access::Read).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(directory.open("inner", Access::ReadWrite).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    assert_eq!(directory.open("pipe", Access::Read).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(directory.lock("pipe").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_directory_that_was_renamed_and_replaced_is_still_the_one_that_was_opened() {
    let folder = folder();
    let path = folder.path().join("store");
    let directory = RealDisk.open_directory(&path, true).unwrap();
    let file = directory.create("log").unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    fs::create_dir(&path).unwrap();
    directory.create("new").unwrap();
    file.write_all_at(0, b"text").unwrap();
    directory.rename("log", "renamed").unwrap();
    directory.sync().unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "the successor is untouched");
    assert_eq!(fs::read(folder.path().join("moved/renamed")).unwrap(), b"text");
    assert_eq!(directory.list().unwrap().len(), 2);
}

#[test]
fn bytes_are_read_back_from_the_page_cache_and_past_it_at_any_offset_and_length() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    let bytes = pattern(3_000_001);
    file.write_all_at(0, &bytes).unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.len().unwrap(), 3_000_001);
    for (offset, length) in [(0, 1), (0, 4096), (1, 4095), (4095, 2), (511, 10_000), (8192, 65_536), (7, 2_999_994)] {
        let expected = &bytes[offset..offset + length];
        let mut read = vec![0; length];
        file.read_exact_at(offset as u64, &mut read).unwrap();
        assert!(read == expected, "{offset}+{length}");
        read.fill(0);
        file.read_durable_exact_at(offset as u64, &mut read).unwrap();
        assert!(read == expected, "{offset}+{length} past the page cache");
    }
}

#[test]
fn reading_ends_at_the_files_end() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    let bytes = pattern(5000);
    file.write_all_at(0, &bytes).unwrap();
    let mut buffer = [0; 10_000];
    for read in [File::read_at, File::read_durable_at] {
        assert_eq!(read(&*file, 0, &mut buffer).unwrap(), 5000);
        assert_eq!(read(&*file, 4999, &mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], bytes[4999]);
        assert_eq!(read(&*file, 5000, &mut buffer).unwrap(), 0);
        assert_eq!(read(&*file, 9000, &mut buffer).unwrap(), 0);
        assert_eq!(read(&*file, 1 << 40, &mut buffer).unwrap(), 0);
        assert_eq!(read(&*file, 0, &mut []).unwrap(), 0);
    }
    assert_eq!(file.read_exact_at(4000, &mut buffer).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_durable_exact_at(4000, &mut buffer).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_removed_or_renamed_file_is_still_read_past_the_page_cache() {
    let folder = folder();
    let directory = open(folder.path());
    let (removed, renamed) = (directory.create("removed").unwrap(), directory.create("renamed").unwrap());
    removed.write_all_at(0, &pattern(5000)).unwrap();
    renamed.write_all_at(0, &pattern(6000)).unwrap();
    directory.remove("removed").unwrap();
    directory.rename("renamed", "removed").unwrap();
    for (file, length) in [(removed, 5000), (renamed, 6000)] {
        let mut read = vec![0; length as usize];
        file.read_durable_exact_at(0, &mut read).unwrap();
        assert_eq!(read, pattern(length));
    }
}

#[test]
fn a_file_opened_for_reading_cannot_be_written_and_is_read_past_the_page_cache() {
    let folder = folder();
    let directory = open(folder.path());
    directory.create("log").unwrap().write_all_at(0, b"text").unwrap();
    let file = directory.open("log", Access::Read).unwrap();
    assert_eq!(file.write_at(0, b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert!(file.prewrite(100).is_err());
    let mut bytes = [0; 4];
    file.read_durable_exact_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"text");
}

#[test]
fn the_page_cache_is_bypassed_on_a_file_system_without_direct_reads_too() {
    // /proc refuses O_DIRECT, and so takes the other way; a file there cannot be written, but it reads the same twice.
    let file = open("/proc/self".as_ref()).open("cmdline", Access::Read).unwrap();
    let (mut cached, mut durable) = (vec![0; 4096], vec![0; 4096]);
    let count = file.read_at(0, &mut cached).unwrap();
    assert!(count > 0);
    assert_eq!(file.read_durable_at(0, &mut durable).unwrap(), count);
    assert_eq!(durable, cached);
}

#[test]
fn a_prewrite_lengthens_with_zeros_that_take_their_room_and_never_shortens() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    file.write_all_at(0, &pattern(5000)).unwrap();
    file.prewrite(1_000_001).unwrap();
    let metadata = fs::metadata(folder.path().join("log")).unwrap();
    assert_eq!(metadata.len(), 1_000_001);
    assert!(metadata.blocks() * 512 >= 1_000_001, "{} blocks", metadata.blocks());
    file.prewrite(10).unwrap();
    file.prewrite(1_000_001).unwrap();
    file.sync_data().unwrap();
    let mut read = vec![9; 1_000_001];
    file.read_durable_exact_at(0, &mut read).unwrap();
    assert_eq!(read[..5000], pattern(5000));
    assert!(read[5000..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_prewrite_from_any_size_to_any_other_adds_zeros_and_nothing_else() {
    let folder = folder();
    let directory = open(folder.path());
    let cases =
        [(0, 1), (0, 4096), (1, 4095), (5000, 6000), (4095, 4097), (4096, 8192), (8192, 8193), (5000, 3_000_001)];
    for (before, after) in cases {
        let file = directory.create(&format!("{before}-{after}")).unwrap();
        file.write_all_at(0, &vec![7; before]).unwrap();
        file.prewrite(after as u64).unwrap();
        assert_holds(&*file, &[vec![7; before], vec![0; after - before]].concat());
        file.sync_data().unwrap();
        assert_holds(&*file, &[vec![7; before], vec![0; after - before]].concat());
    }
}

#[test]
fn an_allocation_lengthens_with_zeros_that_take_their_room_and_never_shortens() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    file.write_all_at(0, &[7; 5000]).unwrap();
    file.allocate(1_000_001).unwrap();
    let metadata = fs::metadata(folder.path().join("log")).unwrap();
    assert_eq!(metadata.len(), 1_000_001);
    assert!(metadata.blocks() * 512 >= 1_000_001, "{} blocks", metadata.blocks());
    file.allocate(10).unwrap();
    file.allocate(1_000_001).unwrap();
    file.sync_data().unwrap();
    assert_holds(&*file, &[vec![7; 5000], vec![0; 995_001]].concat());
    file.write_all_at(8192, &[8; 100]).unwrap();
    file.sync_data().unwrap();
    assert_holds(&*file, &[vec![7; 5000], vec![0; 3192], vec![8; 100], vec![0; 991_709]].concat());
    assert!(open(folder.path()).open("log", Access::Read).unwrap().allocate(2_000_000).is_err());
}

#[test]
fn an_allocation_of_more_than_any_file_may_have_fails_and_leaves_the_file_as_it_was() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    file.write_all_at(0, b"text").unwrap();
    file.allocate(u64::MAX).unwrap_err();
    file.allocate(i64::MAX as u64).unwrap_err();
    assert_eq!(file.len().unwrap(), 4);
}

/// A file in which direct writes can be tested. Where the temporary folder refuses them there is none, and the tests of them
/// prove only that it says so.
fn file_for_direct_writes(folder: &TempDir) -> Option<Arc<dyn File>> {
    let file = open(folder.path()).create("log").unwrap();
    if file.takes_direct_writes().unwrap() {
        return Some(file);
    }
    assert_eq!(file.write_direct_at(0, &blocks(4096, 1)).unwrap_err().kind(), ErrorKind::InvalidInput);
    println!("{} refuses direct writes", folder.path().display());
    None
}

#[test]
fn a_direct_write_is_read_back_through_the_page_cache_and_past_it() {
    let folder = folder();
    let Some(file) = file_for_direct_writes(&folder) else { return };
    let mut expected = pattern(1_000_000);
    file.write_all_at(0, &expected).unwrap();
    file.sync_data().unwrap();
    // Now the page cache has all of it.
    assert_holds(&*file, &expected);
    for (offset, length, value) in [(0, 4096, 1), (8192, 65_536, 2), (409_600, 4096, 3), (4096, 4096, 4)] {
        assert_eq!(file.write_direct_at(offset as u64, &blocks(length, value)).unwrap(), length);
        expected[offset..offset + length].fill(value);
        assert_holds(&*file, &expected);
    }
    file.sync_data().unwrap();
    assert_holds(&*file, &expected);
    assert_eq!(fs::read(folder.path().join("log")).unwrap(), expected);
}

#[test]
fn direct_and_cached_writes_to_neighbouring_blocks_stay_what_they_are() {
    let folder = folder();
    let Some(file) = file_for_direct_writes(&folder) else { return };
    file.prewrite(64 * 4096).unwrap();
    let mut expected = vec![0; 64 * 4096];
    for round in 1..=20_u8 {
        for block in 0..64 {
            // A block that was written one way is written the other way after the flush.
            let (at, is_direct) = (block * 4096, (block + usize::from(round)) % 2 == 0);
            let end = if is_direct { at + 4096 } else { at + 4000 };
            match is_direct {
                true => file.write_direct_all_at(at as u64, &blocks(4096, round)).unwrap(),
                false => file.write_all_at(at as u64, &[round; 4000]).unwrap(),
            }
            expected[at..end].fill(round);
        }
        file.sync_data().unwrap();
        assert_holds(&*file, &expected);
    }
}

#[test]
fn direct_and_cached_writes_of_two_threads_to_neighbouring_blocks_do_not_disturb_each_other() {
    let folder = folder();
    let Some(file) = file_for_direct_writes(&folder) else { return };
    file.prewrite(64 * 4096).unwrap();
    let write = |first: usize, write: &dyn Fn(u64, u8)| {
        for round in 1..=10 {
            (first..64).step_by(2).for_each(|block| write(block as u64 * 4096, round));
            file.sync_data().unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| write(0, &|at, round| file.write_direct_all_at(at, &blocks(4096, round)).unwrap()));
        write(1, &|at, round| file.write_all_at(at, &[round; 4096]).unwrap());
    });
    assert_holds(&*file, &[10; 64 * 4096]);
}

#[test]
fn a_direct_write_lengthens_the_file_and_fills_allocated_room() {
    let folder = folder();
    let Some(file) = file_for_direct_writes(&folder) else { return };
    file.write_direct_all_at(4096, &blocks(8192, 1)).unwrap();
    file.allocate(5 * 4096).unwrap();
    file.write_direct_all_at(4 * 4096, &blocks(4096, 2)).unwrap();
    file.sync_data().unwrap();
    assert_holds(&*file, &[vec![0; 4096], vec![1; 8192], vec![0; 4096], vec![2; 4096]].concat());
}

#[test]
fn a_direct_write_takes_whole_blocks_and_a_file_open_for_writing() {
    let folder = folder();
    let Some(file) = file_for_direct_writes(&folder) else { return };
    file.write_all_at(0, &[1; 8192]).unwrap();
    file.sync_data().unwrap();
    let blocks = blocks(8192, 2);
    for (offset, bytes) in [(512, &blocks[..4096]), (0, &blocks[..512]), (0, &blocks[512..4608]), (1, &blocks[..4096])]
    {
        assert_eq!(file.write_direct_at(offset, bytes).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(file.write_direct_at(0, &[]).unwrap(), 0);
    let reader = open(folder.path()).open("log", Access::Read).unwrap();
    assert!(!reader.takes_direct_writes().unwrap());
    assert_eq!(reader.write_direct_at(0, &blocks).unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_holds(&*file, &[1; 8192]);
}

#[test]
fn a_removed_or_renamed_file_is_still_written_past_the_page_cache() {
    let folder = folder();
    let Some(removed) = file_for_direct_writes(&folder) else { return };
    let directory = open(folder.path());
    let renamed = directory.create("renamed").unwrap();
    directory.rename("renamed", "log").unwrap();
    for (file, value) in [(removed, 1), (renamed, 2)] {
        file.write_direct_all_at(0, &blocks(4096, value)).unwrap();
        assert_holds(&*file, &[value; 4096]);
    }
    assert_eq!(fs::read(folder.path().join("log")).unwrap(), [2; 4096]);
}

#[test]
fn a_file_system_without_direct_writes_says_so() {
    // /proc refuses O_DIRECT, also for a file that may be opened for writing.
    let file = open("/proc/thread-self".as_ref()).open("comm", Access::ReadWrite).unwrap();
    for _ in 0..2 {
        assert!(!file.takes_direct_writes().unwrap());
        assert_eq!(file.write_direct_at(0, &blocks(4096, 1)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}

#[test]
fn a_file_in_memory_is_written_whether_or_not_the_kernel_lets_it_past_the_page_cache() {
    // tmpfs refuses O_DIRECT up to Linux 6.5. Without /dev/shm there is nothing to see.
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    let file = open(folder.path()).create("log").unwrap();
    file.prewrite(10_000).unwrap();
    file.allocate(20_480).unwrap();
    let mut expected = vec![0; 20_480];
    if let Some(file) = file_for_direct_writes(&tempfile::tempdir_in("/dev/shm").unwrap()) {
        file.write_direct_all_at(0, &blocks(8192, 1)).unwrap();
        assert_holds(&*file, &[1; 8192]);
    }
    file.write_all_at(4096, &[2; 4096]).unwrap();
    expected[4096..8192].fill(2);
    file.sync_data().unwrap();
    assert_holds(&*file, &expected);
}

#[test]
fn a_prewrite_of_more_than_any_file_may_have_fails_and_leaves_the_file_as_it_was() {
    let folder = folder();
    let file = open(folder.path()).create("log").unwrap();
    file.write_all_at(0, b"text").unwrap();
    file.prewrite(u64::MAX).unwrap_err();
    file.prewrite(i64::MAX as u64).unwrap_err();
    assert_eq!(file.len().unwrap(), 4);
}

#[test]
fn random_bytes_differ() {
    let bytes: BTreeSet<[u8; 16]> = (0..100).map(|_| RealDisk.random().unwrap()).collect();
    assert_eq!(bytes.len(), 100);
}

#[test]
fn a_lock_is_held_against_the_same_process_until_the_guard_is_dropped() {
    let folder = folder();
    let Lock::Taken(guard) = open(folder.path()).lock("LOCK").unwrap() else { panic!("nobody has it") };
    assert!(matches!(open(folder.path()).lock("LOCK").unwrap(), Lock::Held(Some(id)) if id == std::process::id()));
    drop(guard);
    assert!(folder.path().join("LOCK").exists(), "the lock file stays");
    assert!(matches!(open(folder.path()).lock("LOCK").unwrap(), Lock::Taken(_)));
}

#[test]
fn a_lock_is_held_against_another_process_which_learns_our_id() {
    let folder = folder();
    fs::write(folder.path().join("LOCK"), "4294967295\nsomething longer from before").unwrap();
    let Lock::Taken(_guard) = open(folder.path()).lock("LOCK").unwrap() else { panic!("nobody has it") };
    let mut child = start_child("child_takes_the_lock", folder.path(), "022");
    assert_eq!(answer(&mut child, "lock:"), format!("held by {}", std::process::id()));
    child.wait().unwrap();
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let folder = folder();
    let mut child = start_child("child_takes_the_lock", folder.path(), "022");
    assert_eq!(answer(&mut child, "lock:"), "taken");
    assert!(matches!(open(folder.path()).lock("LOCK").unwrap(), Lock::Held(Some(id)) if id == child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(open(folder.path()).lock("LOCK").unwrap(), Lock::Taken(_)));
}

#[test]
fn child_takes_the_lock() {
    let Some(folder) = child_folder() else { return };
    match open(&folder).lock("LOCK").unwrap() {
        Lock::Held(id) => println!("lock: held by {}", id.unwrap()),
        Lock::Taken(_guard) => {
            println!("lock: taken");
            // Holds it until the parent goes away.
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn a_program_that_we_start_inherits_no_file_of_ours() {
    let folder = folder();
    let directory = open(folder.path());
    let Lock::Taken(_guard) = directory.lock("LOCK").unwrap() else { panic!("nobody has it") };
    let file = directory.create("log").unwrap();
    file.write_all_at(0, b"text").unwrap();
    file.read_durable_exact_at(0, &mut [0; 4]).unwrap();
    let listing = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(!listing.contains(folder.path().to_str().unwrap()), "{listing}");
}
