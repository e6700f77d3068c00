//! Forks. A child gets a copy of the memory and of every descriptor, but none of the other threads: whatever they had
//! locked stays locked in it, and whatever they were changing stays half changed. Two things keep it away from what is
//! its parent's:
//!
//! - **The generation** is another number in every child than in its parent. What remembers the generation it was made
//!   in knows whether this process made it.
//! - **The list of locks.** A `flock` belongs to the open file, which a child shares, so a child that kept it open
//!   would keep the lock after its parent's death. The fork handler closes the child's copies before the child does
//!   anything.
//!
//! The child's handler calls nothing but `close`, and waits for nobody. No lock and no `Once` is used here: one that
//! another thread held at the fork would be held for ever in the child.
//!
//! Not noticed: a child made by a bare system call, which runs no handlers, and a fork that was under way when the
//! first lock of the process was taken.
#![forbid(unsafe_code)]

use super::sys;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// More locks than this are not listed: a child keeps those open until it ends.
const LISTED_MAX: usize = 1024;

/// What stands in a place of the list that is not taken.
const FREE: i32 = -1;

/// How long an opening waits for forks that are under way, in all a second. Not for ever: whoever forks may be waiting
/// for a lock that the opening thread holds.
const WAITS_MAX: usize = 1000;
const WAIT: Duration = Duration::from_millis(1);

static GENERATION: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Forks of this process that have begun, and those that are over. All is quiet where they are the same.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
/// The descriptors that a child closes.
static LISTED: [AtomicI32; LISTED_MAX] = [const { AtomicI32::new(FREE) }; LISTED_MAX];

/// A number that grows from parent to child, once [`watch`] was called.
pub(crate) fn generation() -> u64 {
    // Changed only where the process has a single thread.
    GENERATION.load(Ordering::Relaxed)
}

/// Sees to it that forks are noticed from now on, and returns the generation of this process.
pub(crate) fn watch() -> io::Result<u64> {
    // Two threads may both come to this. The handlers may be called twice.
    if !WATCHED.load(Ordering::Acquire) {
        sys::at_fork(before, after_in_parent, after_in_child)?;
        WATCHED.store(true, Ordering::Release);
    }
    Ok(generation())
}

extern "C" fn before() {
    BEGUN.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn after_in_parent() {
    ENDED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn after_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for place in &LISTED {
        // Only what is taken is written, so that the child need not copy the page.
        let fd = place.load(Ordering::SeqCst);
        if fd != FREE {
            place.store(FREE, Ordering::SeqCst);
            sys::close_copy(fd);
        }
    }
    // Forks of other threads that were under way are not under way here.
    ENDED.store(BEGUN.load(Ordering::SeqCst), Ordering::SeqCst);
}

/// An open file of which forked children have no copy.
#[derive(Debug)]
pub(super) struct Unshared {
    /// None only while it is dropped.
    file: Option<File>,
    /// Where it is listed; none where the list was full.
    place: Option<&'static AtomicI32>,
    generation: u64,
}

impl Unshared {
    /// Opens a file in such a way that no child has it: one that was forked between the opening and the listing keeps a
    /// copy, so another open file is made then.
    pub(super) fn open(open: impl Fn() -> io::Result<File>) -> io::Result<Unshared> {
        let generation = watch()?;
        for _ in 0..WAITS_MAX {
            let ended = ENDED.load(Ordering::SeqCst);
            let file = Unshared::of(open()?, generation);
            if BEGUN.load(Ordering::SeqCst) == ended {
                return Ok(file);
            }
            drop(file);
            thread::sleep(WAIT);
        }
        // A child may keep the lock after our death, which refuses too much rather than too little.
        Ok(Unshared::of(open()?, generation))
    }

    pub(super) fn of(file: File, generation: u64) -> Unshared {
        let fd = file.as_raw_fd();
        let take = |place: &&AtomicI32| place.compare_exchange(FREE, fd, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        Unshared { file: Some(file), place: LISTED.iter().find(take), generation }
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("only dropping takes it")
    }

    /// Whether this process opened it, rather than one that it was forked from.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == generation()
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        match self.place {
            // The handler has closed it, and by now the number may be another file's.
            Some(_) if !self.is_ours() => {
                let _ = file.into_raw_fd();
            }
            // Off the list before the number is free, or a child would close the next file that gets it.
            Some(place) => {
                place.store(FREE, Ordering::SeqCst);
                drop(file);
            }
            None => drop(file),
        }
    }
}
