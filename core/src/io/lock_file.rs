//! The lock on a directory: `flock` on a file in it, which the operating system releases with the process.
//!
//! 1. Open the lock file, creating it if it is missing.
//! 2. Take the lock, without waiting.
//! 3. See that the name still leads to the file that was locked. Between 1 and 2 somebody may have removed the file, and
//!    then somebody else may hold a lock on a file of the same name. If so, begin again.
//! 4. Write the process id into it, for people and for the one that is refused. A full disk is no reason to fail here.
//!
//! The lock file is never removed: that would let two processes lock two files of the same name.
//!
//! A fork shares the lock. So the process that took it releases it expressly, rather than by closing the file, which a
//! child that some other thread is just starting would hold open a moment longer; a forked child closes its copy at
//! once, so that the lock ends with the parent; and dropping the guard there does nothing, since to release the lock
//! would release the parent's.
#![forbid(unsafe_code)]

use super::forks::Unshared;
use super::real::check_regular;
use super::sys::{self, How};
use super::{Lock, LockGuard};
use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process;

/// More often than this nobody removes the file at the very moment.
const ATTEMPTS_MAX: usize = 16;

/// Takes the lock, or tells who has it.
pub(super) fn lock(directory: BorrowedFd<'_>, name: &str) -> io::Result<Lock> {
    for _ in 0..ATTEMPTS_MAX {
        let lock = RealLock { file: Unshared::open(|| open(directory, name))? };
        let file = lock.file.file();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Lock::Held(holder(file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_still_named(file, directory, name)? {
            write_holder(file);
            return Ok(Lock::Taken(Box::new(lock)));
        }
    }
    Err(io::Error::other(format!("the lock file {name} is removed again and again")))
}

/// A held lock.
#[derive(Debug)]
struct RealLock {
    file: Unshared,
}

impl LockGuard for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        if self.file.is_ours() {
            // Should it fail, closing the file releases the lock too.
            let _ = self.file.file().unlock();
        }
    }
}

fn open(directory: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    match sys::open_at(directory, name, How::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = sys::open_at(directory, name, How::OpenOrCreate)?;
            check_regular(&file, name)?;
            Ok(file)
        }
        created => {
            let file = created?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            Ok(file)
        }
    }
}

fn is_still_named(file: &File, directory: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let named = match sys::open_at(directory, name, How::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        named => named?.metadata()?,
    };
    let locked = file.metadata()?;
    Ok((locked.dev(), locked.ino()) == (named.dev(), named.ino()))
}

/// The new text is written before what is left of the old one is cut off, so that a reader always finds one.
fn write_holder(file: &File) {
    let text = format!("{}\n", process::id());
    if file.write_at(text.as_bytes(), 0).is_ok() {
        // Without it an old, longer text shows below ours.
        let _ = file.set_len(text.len() as u64);
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let count = file.read_at(&mut text, 0).ok()?;
    let line = text[..count].split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::forks::generation;
    use super::*;
    use std::fs;
    use std::os::fd::{AsFd, AsRawFd};

    #[test]
    fn a_lock_file_that_was_removed_or_replaced_since_it_was_opened_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = File::open(folder.path()).unwrap();
        let file = open(directory.as_fd(), "LOCK").unwrap();
        assert!(is_still_named(&file, directory.as_fd(), "LOCK").unwrap());
        fs::remove_file(folder.path().join("LOCK")).unwrap();
        assert!(!is_still_named(&file, directory.as_fd(), "LOCK").unwrap());
        fs::write(folder.path().join("LOCK"), "").unwrap();
        assert!(!is_still_named(&file, directory.as_fd(), "LOCK").unwrap());
    }

    /// A lock, and a second descriptor for it, as a forked child has one that was not told of the fork.
    fn locked_and_forked(directory: &File, generation: u64) -> (RealLock, File) {
        let file = open(directory.as_fd(), "LOCK").unwrap();
        file.try_lock().unwrap();
        let forked = file.try_clone().unwrap();
        (RealLock { file: Unshared::of(file, generation) }, forked)
    }

    #[test]
    fn the_owner_releases_the_lock_though_a_child_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let directory = File::open(folder.path()).unwrap();
        let (guard, _forked) = locked_and_forked(&directory, generation());
        drop(guard);
        assert!(matches!(lock(directory.as_fd(), "LOCK").unwrap(), Lock::Taken(_)));
    }

    #[test]
    fn a_forked_child_does_not_release_the_lock_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let directory = File::open(folder.path()).unwrap();
        let (guard, _forked) = locked_and_forked(&directory, generation() + 1);
        let number = guard.file.file().as_raw_fd();
        drop(guard);
        let still_open = fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        assert!(still_open.ends_with("LOCK"), "the number may be another file's: {still_open:?}");
        assert!(matches!(lock(directory.as_fd(), "LOCK").unwrap(), Lock::Held(_)));
    }
}
