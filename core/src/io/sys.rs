//! The few calls to the operating system that the standard library does not offer: files named relative to an open
//! directory, allocation, direct calls, the page cache, chance, signals, and forks.
//!
//! The only file of the crate with unsafe code. Nearly every block is one call to libc with arguments that live longer
//! than the call; file descriptors come in borrowed, so they are open, and go out owned.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// How [`open_at`] opens a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Read,
    ReadWrite,
    /// It must not exist.
    Create,
    /// It may exist.
    OpenOrCreate,
}

impl How {
    fn flags(self) -> libc::c_int {
        match self {
            Self::Read => libc::O_RDONLY,
            Self::ReadWrite => libc::O_RDWR,
            Self::Create => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            Self::OpenOrCreate => libc::O_RDWR | libc::O_CREAT,
        }
    }
}

/// Opens a file by its name in `directory`. Symbolic links are refused, children of this process do not inherit it, and
/// a pipe that nobody writes to does not hold it up. A created file is private.
pub(super) fn open_at(directory: BorrowedFd<'_>, name: &str, how: How) -> io::Result<File> {
    let flags = how.flags() | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    open_with(directory, &c_name(name)?, flags).map(File::from)
}

/// Opens the directory that holds `directory`.
pub(super) fn open_parent(directory: BorrowedFd<'_>) -> io::Result<File> {
    open_with(directory, c"..", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC).map(File::from)
}

fn open_with(directory: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    const PRIVATE: libc::mode_t = 0o600;
    // SAFETY: `name` ends in a NUL; the mode is there for the flags that create a file.
    let fd = uninterrupted(|| unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, PRIVATE) })?;
    // SAFETY: the call has just opened this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Removes a file by its name in `directory`.
pub(super) fn unlink_at(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = c_name(name)?;
    // SAFETY: `name` ends in a NUL.
    uninterrupted(|| unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// Renames a file inside `directory`, replacing the target.
pub(super) fn rename_at(directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
    let (from, to, fd) = (c_name(from)?, c_name(to)?, directory.as_raw_fd());
    // SAFETY: both names end in a NUL.
    uninterrupted(|| unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) }).map(drop)
}

/// Where a file ends for which [`allocate`] took room.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Where it did.
    Kept,
    /// Behind the room that was taken, if that is further on.
    Moved,
}

/// Takes room on the disk for the bytes of a file from `from` up to `to`; they read as zero where none were written.
pub(super) fn allocate(file: BorrowedFd<'_>, from: u64, to: u64, end: End) -> io::Result<()> {
    let mode = match end {
        End::Kept => libc::FALLOC_FL_KEEP_SIZE,
        End::Moved => 0,
    };
    let (offset, length) = (file_offset(from)?, file_offset(to - from)?);
    // SAFETY: no memory is passed.
    uninterrupted(|| unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) }).map(drop)
}

/// What the memory and the offset of a direct call on this file must be multiples of, in bytes; 0 where the file takes none.
/// Nothing, where the system does not tell: before Linux 6.1, and for some file systems.
pub(super) fn direct_alignments(file: BorrowedFd<'_>) -> Option<[u32; 2]> {
    let mut status = MaybeUninit::<libc::statx>::zeroed();
    let (flags, wanted) = (libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN);
    // SAFETY: the empty path ends in a NUL, and the call writes at most one record to where `status` lies.
    let code = unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, wanted, status.as_mut_ptr()) };
    // SAFETY: the record is plain numbers, for which zeros are a value.
    let status = unsafe { status.assume_init() };
    (code == 0 && status.stx_mask & wanted != 0).then_some([status.stx_dio_mem_align, status.stx_dio_offset_align])
}

/// Asks for the clean pages of the whole file to leave the page cache.
pub(super) fn drop_cached_pages(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Has the system begin to write dirty pages of a file to the disk. It does not wait for any, so it takes no error away from the
/// next flush, which tells of a page that could not be written.
pub(super) fn begin_writeback(file: BorrowedFd<'_>, bytes: Range<u64>) {
    let (Ok(offset), Ok(length)) = (file_offset(bytes.start), file_offset(bytes.end - bytes.start)) else { return };
    // SAFETY: no memory is passed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Sixteen bytes that nobody can guess.
pub(super) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0_u8; 16];
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the call writes at most `rest.len()` bytes to where `rest` lies.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => done += count,
            Err(_) => or_interrupted(io::Error::last_os_error())?,
        }
    }
    Ok(bytes)
}

/// The names in a directory, without `.` and `..`. What is not UTF-8 is not a name of ours; it shows with replacement
/// characters.
pub(super) fn list(directory: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut stream = DirectoryStream::open(directory)?;
    let mut names = Vec::new();
    while let Some(name) = stream.next()? {
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// A directory being read, with a place of its own to read from.
struct DirectoryStream(NonNull<libc::DIR>);

impl DirectoryStream {
    fn open(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = open_with(directory, c".", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
        // SAFETY: the descriptor is an open directory that nobody else uses.
        let stream = NonNull::new(unsafe { libc::fdopendir(fd.as_raw_fd()) }).ok_or_else(io::Error::last_os_error)?;
        // The stream owns the descriptor from here on.
        let _ = fd.into_raw_fd();
        Ok(Self(stream))
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        // SAFETY: the location of errno is this thread's own and always there. Null is both the end and an error, told
        // apart by whether errno was set.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open.
        let Some(entry) = NonNull::new(unsafe { libc::readdir(self.0.as_ptr()) }) else {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(0) { Ok(None) } else { Err(error) };
        };
        // SAFETY: the entry lives until the next call on this stream, its name ends in a NUL, and no reference to the
        // whole record, which may be shorter than its type, is made.
        let name = unsafe { CStr::from_ptr((&raw const (*entry.as_ptr()).d_name).cast()) };
        Ok(Some(name.to_string_lossy().into_owned()))
    }
}

impl Drop for DirectoryStream {
    fn drop(&mut self) {
        // SAFETY: the stream is open and not used after this.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// Has functions called around every fork: before it, and after it in the parent and in the child. The one for the
/// child may only do what a signal handler may.
pub(super) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> io::Result<()> {
    // SAFETY: functions live as long as the program, or as the library that holds them, with which they are forgotten.
    match unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Has this thread take no signals but those of its own mistakes: handlers of the program around us may want a thread that
/// they know.
pub(crate) fn block_signals() -> io::Result<()> {
    const OWN: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set lies on this stack. It is filled before it is used, and each call is given a signal that exists.
    let code = unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in OWN {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), ptr::null_mut())
    };
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Closes a forked child's copy of a descriptor, whose owner knows of the fork and will not touch it. For the handler
/// of [`at_fork`] alone.
pub(super) fn close_copy(fd: RawFd) {
    // SAFETY: no memory is passed. The number is on the list of the handler, so it is that of an open file, and its
    // owner compares generations before it uses it.
    unsafe { libc::close(fd) };
}

/// A value of this process. A forked child gets a fresh one, without a look at its parent's, which other threads may
/// have locked or half changed at the fork.
#[derive(Debug)]
pub(crate) struct PerProcess<T>(AtomicPtr<(u64, T)>);

impl<T: Default + Send + Sync + 'static> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value of the process with this generation, which is the caller's own. It is never freed: there is one for
    /// each process.
    pub(crate) fn get(&self, generation: u64) -> &'static T {
        let found = self.0.load(Ordering::Acquire);
        // SAFETY: it is null, or was leaked below, and is only ever shared from then on.
        match unsafe { found.as_ref() } {
            Some((of, value)) if *of == generation => value,
            _ => self.replace(found, generation),
        }
    }

    fn replace(&self, old: *mut (u64, T), generation: u64) -> &'static T {
        let fresh = Box::into_raw(Box::new((generation, T::default())));
        let current = match self.0.compare_exchange(old, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(faster) => {
                // SAFETY: it was made above and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                faster
            }
        };
        // SAFETY: either value was leaked, by us or by a thread of this process that was faster, and is only ever
        // shared from then on.
        unsafe { &(*current).1 }
    }
}

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn file_offset(bytes: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn uninterrupted(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match call() {
            -1 => or_interrupted(io::Error::last_os_error())?,
            done => return Ok(done),
        }
    }
}

/// An interrupted call is made again.
fn or_interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;

    #[test]
    fn every_process_has_one_value_and_does_not_see_that_of_another() {
        static VALUE: PerProcess<Mutex<u32>> = PerProcess::new();
        let _held_at_the_fork = VALUE.get(0).lock().unwrap();
        assert!(ptr::eq(VALUE.get(0), VALUE.get(0)));
        let count = || (0..1000).for_each(|_| *VALUE.get(1).lock().unwrap() += 1);
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(count))));
        assert_eq!(*VALUE.get(1).lock().unwrap(), 4000);
    }
}
