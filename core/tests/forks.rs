//! Forks, with real processes on the real file system: a child cannot use its parent's handles and does its store no
//! harm, whatever other threads were doing at the fork; it does not keep the parent's lock; and it can open stores of
//! its own.
//!
//! What a child checks it checks by panicking, which its parent sees. A child that waits for ever is ended by its
//! alarm.

#[path = "support/random.rs"]
mod random;

use duramen::io::{Disk, Lock, RealDisk};
use duramen::{Batch, Durability, Entry, Error, Limit, Log, Options, Result, Store};
use random::data_of;
use std::fs;
use std::io::{Read, Write, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const FORKS: u64 = 200;
const WRITERS: u64 = 3;

/// Seconds; far longer than anything here takes, unless it waits for ever.
const PATIENCE: u32 = 60;

#[test]
fn a_child_cannot_use_the_handles_of_its_parent_which_goes_on() {
    let _alone = alone();
    let folder = folder();
    let store = open(folder.path()).unwrap();
    let log = store.log(1);
    log.append(&[entry(1, 1)]).unwrap();
    fork(|| all_are_forked(&store, &log)).succeeds();
    fork(|| fork(|| all_are_forked(&store, &log)).succeeds()).succeeds();
    log.append(&[entry(1, 2)]).unwrap();
    store.close().unwrap();
    fork(|| all_are_forked(&store, &log)).succeeds();
    assert!(matches!(log.last(), Err(Error::Closed)));
    assert_eq!(holds(&open(folder.path()).unwrap(), 1), 2);
}

#[test]
fn a_child_that_drops_the_handles_leaves_the_store_and_its_lock_alone() {
    let _alone = alone();
    let folder = folder();
    let mut store = Some(open(folder.path()).unwrap());
    let mut log = Some(store.as_ref().unwrap().log(1));
    log.as_ref().unwrap().append(&[entry(1, 1)]).unwrap();
    // The worker counts one that it prepares in the manifest; then it has nothing more to do.
    while store.as_ref().unwrap().stats().unwrap().prepared < 2 {
        thread::yield_now();
    }
    let before = fs::read(folder.path().join("MANIFEST")).unwrap();
    // Here they are the last ones, so that dropping them in the parent would mark the store clean and release the lock.
    fork(|| drop((log.take(), store.take()))).succeeds();
    assert_eq!(fs::read(folder.path().join("MANIFEST")).unwrap(), before);
    fork(|| is_locked(folder.path(), parent())).succeeds();
    log.unwrap().append(&[entry(1, 2)]).unwrap();
    assert_eq!(fs::read(folder.path().join("MANIFEST")).unwrap(), before);
    drop(store);
    assert_ne!(fs::read(folder.path().join("MANIFEST")).unwrap(), before, "dropping marks nothing clean anyway");
    let store = open(folder.path()).unwrap();
    assert!(store.recovery_report().clean);
    assert_eq!(holds(&store, 1), 2);
}

#[test]
fn a_child_opens_the_store_when_its_parent_has_closed_it_and_not_before() {
    let _alone = alone();
    let folder = folder();
    let store = open(folder.path()).unwrap();
    store.log(1).append(&[entry(1, 1)]).unwrap();
    let (mut refused, tell_refused) = pipe().unwrap();
    let (closed, mut tell_closed) = pipe().unwrap();
    let child = fork(|| {
        is_locked(folder.path(), parent());
        (&tell_refused).write_all(b".").unwrap();
        (&closed).read_exact(&mut [0]).unwrap();
        let own = open(folder.path()).unwrap();
        own.log(1).append(&[entry(1, 2)]).unwrap();
        let again = open(folder.path()).unwrap();
        again.log(1).append(&[entry(1, 3)]).unwrap();
        own.close().unwrap();
        again.close().unwrap();
        all_are_forked(&store, &store.log(1));
    });
    drop(tell_refused);
    refused.read_exact(&mut [0]).unwrap();
    store.close().unwrap();
    tell_closed.write_all(b".").unwrap();
    child.succeeds();
    assert_eq!(holds(&open(folder.path()).unwrap(), 1), 3);
}

#[test]
fn the_lock_dies_with_the_parent_and_not_with_its_children() {
    let _alone = alone();
    let folder = folder();
    let (mut told, mut tell) = pipe().unwrap();
    let (mut wait, go) = pipe().unwrap();
    let (mut begun, mut begins) = pipe().unwrap();
    let parent = fork(|| {
        let store = open(folder.path()).unwrap();
        store.log(1).append(&[entry(1, 1)]).unwrap();
        fork(|| {
            begins.write_all(b".").unwrap();
            wait.read_exact(&mut [0]).unwrap();
            all_are_forked(&store, &store.log(1));
            let own = open(folder.path()).unwrap();
            own.log(1).append(&[entry(1, 3)]).unwrap();
            own.close().unwrap();
            tell.write_all(b"written by the child").unwrap();
        });
        begun.read_exact(&mut [0]).unwrap();
        kill_myself();
    });
    parent.ends_killed();
    // The child lives and waits; this process comes first.
    let store = open(folder.path()).unwrap();
    store.log(1).append(&[entry(1, 2)]).unwrap();
    store.close().unwrap();
    (&go).write_all(b".").unwrap();
    drop(tell);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written by the child");
    assert_eq!(holds(&open(folder.path()).unwrap(), 1), 3);
}

#[test]
fn a_child_forked_while_a_lock_is_being_taken_does_not_keep_it() {
    const LOCKS: usize = 60;
    const CHILDREN: usize = 60;
    let _alone = alone();
    for _ in 0..4 {
        let folder = folder();
        let name = |number| format!("LOCK-{number}");
        let (mut end, ended) = pipe().unwrap();
        let (mut begun, mut begins) = pipe().unwrap();
        let mut ended = Some(ended);
        let parent = fork(|| {
            // The children live until the one end is gone that is not in their line.
            ended.take();
            let directory = RealDisk.open_directory(folder.path(), false).unwrap();
            let taken = thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..CHILDREN {
                        fork(|| {
                            begins.write_all(b".").unwrap();
                            drop(end.read(&mut [0]));
                        });
                        thread::sleep(Duration::from_micros(200));
                    }
                });
                let take = |number| directory.lock(&name(number)).unwrap();
                (0..LOCKS).map(take).collect::<Vec<_>>()
            });
            assert!(taken.iter().all(|lock| matches!(lock, Lock::Taken(_))));
            begun.read_exact(&mut [0; CHILDREN]).unwrap();
            kill_myself();
        });
        parent.ends_killed();
        let directory = RealDisk.open_directory(folder.path(), false).unwrap();
        for number in 0..LOCKS {
            assert!(matches!(directory.lock(&name(number)).unwrap(), Lock::Taken(_)), "a child keeps {}", name(number));
        }
    }
}

#[test]
fn a_child_forked_while_others_write_open_and_close_waits_for_nobody() {
    let _alone = alone();
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    ["shared", "reopened", "child"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
    let store = open(&path("shared")).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _done = WhenDropped(&done);
        for group in 1..=WRITERS {
            let (log, done) = (store.log(group), &done);
            scope.spawn(move || write_until(&log, done));
        }
        scope.spawn(|| open_and_end_until(&path("reopened"), &done));
        for round in 0..FORKS {
            let (mut last, log) = (Some(store.clone()), store.log(0));
            fork(|| {
                all_are_forked(&store, &log);
                is_locked(&path("shared"), parent());
                drop(last.take());
                let own = open(&path("child")).unwrap();
                own.log(0).append_with(&[entry(0, round + 1)], Durability::Buffered).unwrap();
                own.close().unwrap();
            })
            .succeeds();
        }
    });
    let written: u64 = (1..=WRITERS).map(|group| holds(&store, group)).sum();
    println!("{FORKS} forks, {written} writes by others meanwhile");
    assert!(written > FORKS, "only {written} writes: the forks met nobody");
    store.close().unwrap();
    assert_eq!((1..=WRITERS).map(|group| holds(&open(&path("shared")).unwrap(), group)).sum::<u64>(), written);
    assert_eq!(holds(&open(&path("child")).unwrap(), 0), FORKS);
}

/// The parent's worker is in the middle of something at the fork. The child has none, and waits for none.
#[test]
fn a_child_forked_while_the_worker_prepares_a_segment_waits_for_nobody() {
    let _alone = alone();
    let folder = folder();
    fs::create_dir(folder.path().join("child")).unwrap();
    let large = Entry::new(1, 1, vec![7; 24 << 20]);
    for round in 1..=4 {
        let path = folder.path().join(format!("store-{round}"));
        let mut store = Some(Store::open(&path).unwrap());
        // Half of its segment is full now, so the next one, which is as large, is written ahead.
        store.as_ref().unwrap().log(0).append(std::slice::from_ref(&large)).unwrap();
        while !path.join("segment.ahead").exists() {
            thread::yield_now();
        }
        fork(|| {
            all_are_forked(store.as_ref().unwrap(), &store.as_ref().unwrap().log(1));
            drop(store.take());
            let own = open(&folder.path().join("child")).unwrap();
            own.log(0).append(&[entry(0, round)]).unwrap();
            own.close().unwrap();
        })
        .succeeds();
        store.as_ref().unwrap().log(1).append(&[entry(1, 1)]).unwrap();
        store.unwrap().close().unwrap();
        assert!(open(&path).unwrap().recovery_report().clean);
    }
    assert_eq!(holds(&open(&folder.path().join("child")).unwrap(), 0), 4);
}

fn write_until(log: &Log, done: &AtomicBool) {
    for index in 1.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let durability = if index % 16 == 0 { Durability::Durable } else { Durability::Buffered };
        log.append_with(&[entry(log.group(), index)], durability).unwrap();
        log.get(index).unwrap();
    }
}

fn open_and_end_until(path: &Path, done: &AtomicBool) {
    for index in 1.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        let store = open(path).unwrap();
        store.log(0).append_with(&[entry(0, index)], Durability::Buffered).unwrap();
        if index % 2 == 0 {
            store.close().unwrap();
        }
    }
}

// ------------------------------------------------------------------------------------------------ what a child checks

fn all_are_forked(store: &Store, log: &Log) {
    let forked = |name: &str, answer: Result<()>| match answer {
        Err(Error::Forked) => {}
        other => panic!("{name} answers {other:?}"),
    };
    forked("append", log.append(&[entry(1, 9)]).map(drop));
    forked("buffered", log.append_with(&[entry(1, 9)], Durability::Buffered).map(drop));
    forked("empty batch", store.write(Batch::new()).map(drop));
    forked("truncate_from", log.truncate_from(1).map(drop));
    forked("get", log.get(1).map(drop));
    forked("read", log.read(1..2, Limit::none()).map(drop));
    forked("iter", log.iter(1..2).next().expect("an error is an item").map(drop));
    forked("term", log.term(1).map(drop));
    forked("bounds", log.bounds().map(drop));
    forked("hard_state", log.hard_state().map(drop));
    forked("groups", store.groups().map(drop));
    forked("accepted", store.accepted().map(drop));
    forked("durable", store.durable().map(drop));
    forked("sync", store.sync().map(drop));
    forked("wait", store.wait(duramen::Position::default(), Duration::from_secs(1)));
    forked("close", store.close());
    forked("close of the log", log.close());
}

fn is_locked(path: &Path, holder: u32) {
    match open(path) {
        Err(Error::Locked { pid: Some(pid), .. }) if pid == holder => {}
        other => panic!("opening {path:?}, which {holder} has open, answers {other:?}"),
    }
}

// ------------------------------------------------------------------------------------------------------- processes

/// One test at a time: a child of another test would hold the ends of this one's pipes.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process forked from this one. Nobody waits for it if nobody asks.
struct Child(libc::pid_t);

/// Forks a child that does as it is told and exits, without returning and without dropping what it has not used.
fn fork(act: impl FnOnce()) -> Child {
    // SAFETY: the child calls what is written in Rust, malloc, which works in a child of glibc, and system calls.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
        0 => act_as_child(act),
        pid => Child(pid),
    }
}

fn act_as_child(act: impl FnOnce()) -> ! {
    // SAFETY: no memory is passed.
    unsafe { libc::alarm(PATIENCE) };
    let status = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(()) => 0,
        Err(payload) => {
            // What the panic printed lies in memory that the parent does not see.
            let text = payload.downcast_ref::<String>().map_or("a child panicked", String::as_str);
            let text = format!("{text}\n");
            // SAFETY: the text lives longer than the call.
            unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            101
        }
    };
    // SAFETY: it does not return, and takes no locks that another thread of the parent may have held.
    unsafe { libc::_exit(status) }
}

impl Child {
    fn succeeds(self) {
        let status = self.wait();
        assert!(!hung(status), "the child waits for ever");
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child failed, status {status:#x}");
    }

    fn ends_killed(self) {
        let status = self.wait();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "status {status:#x}");
    }

    fn wait(self) -> i32 {
        let mut status = 0;
        // SAFETY: the status lives longer than the call.
        while unsafe { libc::waitpid(self.0, &raw mut status, 0) } == -1 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
        }
        status
    }
}

fn hung(status: i32) -> bool {
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM
}

fn kill_myself() {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(libc::SIGKILL) };
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

// ------------------------------------------------------------------------------------------------------- helpers

/// Sets a flag, also when the thread panics that would have set it.
struct WhenDropped<'a>(&'a AtomicBool);

impl Drop for WhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn open(path: &Path) -> Result<Store> {
    Options::new().segment_bytes(32 << 10).open(path)
}

fn entry(group: u64, index: u64) -> Entry {
    Entry::new(index, 1, data_of(120, &[group, index]))
}

/// How many entries a group has, every one compared.
fn holds(store: &Store, group: u64) -> u64 {
    let log = store.log(group);
    let bounds = log.bounds().unwrap().expect("the group has entries");
    for index in bounds.clone() {
        assert_eq!(log.get(index).unwrap(), entry(group, index), "group {group}");
    }
    bounds.end - 1
}
