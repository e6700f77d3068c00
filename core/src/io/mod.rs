//! The disk as the log sees it: three small traits, the real disk behind them, and a simulated one.
//!
//! The traits know files and directories, not logs. Nothing above this module calls the operating system. What is
//! assumed of a disk, and nothing more:
//!
//! 1. A 4 KiB block that is not being written does not change by a crash; one that is being written may come out old,
//!    new, torn at any byte, or garbage.
//! 2. When [`File::sync_data`] returns `Ok`, the bytes written before it was called, and what is needed to read them,
//!    are stable.
//! 3. A directory entry is stable when [`Directory::sync`] has returned `Ok`.
//! 4. Before that, writes, sizes and directory entries reach the disk in any subset and order.
//! 5. After a failed flush nothing is known about anything since the last good one, and the operating system may call
//!    dirty pages clean.
#![deny(unsafe_code)]

mod aligned;
mod direct;
mod forks;
mod lock_file;
mod name;
mod read_only;
mod real;
#[cfg(feature = "simulation")]
mod simulated;
mod sys;

pub use aligned::{AlignedBuffer, DIRECT_ALIGN_BYTES};
pub(crate) use forks::{generation, watch};
pub(crate) use read_only::ReadOnlyDirectory;
pub use real::RealDisk;
#[cfg(feature = "simulation")]
pub use simulated::{
    Calls, CrashPoints, Failure, Fault, FlushGate, Injection, Injections, Observer, Operation, OperationKind, Outcome,
    Outcomes, SimulatedDisk, Times,
};
pub(crate) use sys::{PerProcess, block_signals};

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A file system. [`RealDisk`] is the operating system's.
pub trait Disk: Debug + Send + Sync {
    /// Opens the directory at `path`, first creating it with mode 0700 when `create` is set and it is missing (its
    /// parent must exist). A path that is not a directory is [`io::ErrorKind::NotADirectory`].
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>>;

    /// Removes the directory at `path`, which must be empty. One that is open stays open, without a name. Whether a power cut
    /// brings it back, empty, is not said.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Sixteen bytes that nobody can guess (from a seed on a simulated disk, so that a run can be repeated).
    fn random(&self) -> io::Result<[u8; 16]>;

    /// Whether stores on this disk may use a thread of their own. Not on a simulated disk whose runs are to be repeated.
    fn runs_in_background(&self) -> bool {
        true
    }
}

/// One open directory. Names are plain file names that the program made itself; they are resolved relative to the
/// directory that was opened, whatever its path names by now.
pub trait Directory: Debug + Send + Sync {
    /// What tells this directory from every other one of this process: device and inode.
    fn identity(&self) -> io::Result<(u64, u64)>;

    /// The names in the directory, in no particular order, without `.` and `..`.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing regular file for reading and writing, or for reading only. Symbolic links are refused.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;

    /// Creates a file with mode 0600 that must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes a file, unless there is none of that name.
    fn remove_if_there(&self, name: &str) -> io::Result<()> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes created, removed and renamed names stable.
    fn sync(&self) -> io::Result<()>;

    /// Takes the exclusive lock named `name`, creating its file if it is missing and writing this process's id into it.
    /// The lock ends when the returned guard is dropped or the process dies, whatever children it has forked. Never
    /// waits.
    fn lock(&self, name: &str) -> io::Result<Lock>;
}

/// What [`Directory::lock`] found.
#[derive(Debug)]
pub enum Lock {
    /// The lock is ours until the guard is dropped.
    Taken(Box<dyn LockGuard>),
    /// Another process holds it; its id, where the lock file tells.
    Held(Option<u32>),
}

/// Holds a lock; dropping it releases the lock.
pub trait LockGuard: Debug + Send + Sync {}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One open file. All methods take a position, so a file may be shared by threads. Methods block on the disk.
///
/// Reads and writes may be short or interrupted, as the operating system's are; the provided `_exact_at` and `_all_at`
/// methods go on until everything is done.
#[allow(clippy::len_without_is_empty, reason = "a size that may fail to be read is not a collection's")]
pub trait File: Debug + Send + Sync {
    /// The file's size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `buffer.len()` bytes at `offset`, as the operating system shows them. 0 means the file's end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads as [`File::read_at`] does, but what is on the disk, past the page cache, which after a failed flush may
    /// show bytes that the disk does not have.
    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at most `bytes.len()` bytes at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Whether the file system lets this file be written past the page cache. Asks it once and remembers the answer. A file
    /// that is open for reading only does not take such writes.
    fn takes_direct_writes(&self) -> io::Result<bool>;

    /// Writes at most `blocks.len()` bytes at `offset`, past the page cache. Offset, length and the memory's address are
    /// multiples of [`DIRECT_ALIGN_BYTES`]; anything else, and a file that takes no direct writes, is
    /// [`io::ErrorKind::InvalidInput`]. When it returns the bytes are with the device and every read shows them, but they
    /// are not yet stable: [`File::sync_data`] makes them so, as it does any others.
    ///
    /// None of these blocks may be dirty in the page cache, nor become so meanwhile: between two flushes a block is
    /// written one way or the other. Linux writes dirty pages first and then drops them from the page cache; where it cannot
    /// drop one, because it was made dirty again, the page cache shows old bytes that may be written over the new ones,
    /// and the next flush fails with EIO.
    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize>;

    /// Makes the file at least `size` bytes long and takes the room for that on the disk, without writing it: it reads as
    /// zero. A full disk is an error here, not later. Writing there is slower than where bytes were written before; see
    /// [`File::prewrite`]. A file system that cannot do so prewrites.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Makes the file at least `size` bytes long, allocated, every byte from the old end on written once with zero. A
    /// full disk is an error here, not later. Leaves no whole block dirty in the page cache where the file takes direct
    /// writes.
    fn prewrite(&self, size: u64) -> io::Result<()>;

    /// Makes written bytes, and the size, stable.
    fn sync_data(&self) -> io::Result<()>;

    /// Has the page cache send what is dirty of these bytes to the disk now, so that a later [`File::sync_data`] finds less to
    /// do. Waits for nothing and promises nothing; a failure shows in that flush. Does nothing where there is no such thing.
    fn begin_writeback(&self, _bytes: Range<u64>) {}

    /// Fills `buffer` from `offset`. A file that ends before is [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_all(offset, buffer, |at, rest| self.read_at(at, rest))
    }

    /// As [`File::read_exact_at`], past the page cache.
    fn read_durable_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_all(offset, buffer, |at, rest| self.read_durable_at(at, rest))
    }

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all(offset, bytes, |at, rest| self.write_at(at, rest))
    }

    /// Writes all of `blocks` at `offset`, as [`File::write_direct_at`] does. After a write that ended inside a block it goes
    /// on where that block begins; one that did not get as far as the next block is [`io::ErrorKind::WriteZero`].
    fn write_direct_all_at(&self, offset: u64, blocks: &[u8]) -> io::Result<()> {
        write_all(offset, blocks, |at, rest| {
            let count = self.write_direct_at(at, rest)?;
            Ok(count - count % DIRECT_ALIGN_BYTES)
        })
    }
}

fn read_all(
    offset: u64,
    buffer: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match read(offset + done as u64, &mut buffer[done..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(offset: u64, bytes: &[u8], mut write: impl FnMut(u64, &[u8]) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(offset + done as u64, &bytes[done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A file of which a direct write moves as many bytes as it was told, and nothing else works.
    #[derive(Debug)]
    struct ShortFile {
        counts: Mutex<Vec<usize>>,
        offsets: Mutex<Vec<u64>>,
    }

    impl File for ShortFile {
        fn write_direct_at(&self, offset: u64, _blocks: &[u8]) -> io::Result<usize> {
            self.offsets.lock().unwrap().push(offset);
            match self.counts.lock().unwrap().remove(0) {
                usize::MAX => Err(io::ErrorKind::Interrupted.into()),
                count => Ok(count),
            }
        }

        fn len(&self) -> io::Result<u64> {
            unreachable!()
        }

        fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }

        fn read_durable_at(&self, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }

        fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
            unreachable!()
        }

        fn takes_direct_writes(&self) -> io::Result<bool> {
            unreachable!()
        }

        fn allocate(&self, _size: u64) -> io::Result<()> {
            unreachable!()
        }

        fn prewrite(&self, _size: u64) -> io::Result<()> {
            unreachable!()
        }

        fn sync_data(&self) -> io::Result<()> {
            unreachable!()
        }
    }

    /// Writes four blocks, where the single writes move so many bytes; what came of it, and where each began.
    fn write_four_blocks(counts: &[usize]) -> (Option<io::ErrorKind>, Vec<u64>) {
        let file = ShortFile { counts: Mutex::new(counts.to_vec()), offsets: Mutex::default() };
        let written = file.write_direct_all_at(8192, &[0; 16_384]);
        (written.err().map(|error| error.kind()), file.offsets.into_inner().unwrap())
    }

    #[test]
    fn a_direct_write_goes_on_after_interruptions_at_the_block_that_it_did_not_finish() {
        assert_eq!(write_four_blocks(&[16_384]), (None, vec![8192]));
        assert_eq!(write_four_blocks(&[usize::MAX, 5000, usize::MAX, 8191, 8192]), {
            (None, vec![8192, 8192, 12_288, 12_288, 16_384])
        });
    }

    #[test]
    fn a_direct_write_that_finishes_no_block_has_made_no_progress() {
        for count in [0, 512, 4095] {
            assert_eq!(write_four_blocks(&[count]), (Some(io::ErrorKind::WriteZero), vec![8192]));
            assert_eq!(write_four_blocks(&[4096, count]), (Some(io::ErrorKind::WriteZero), vec![8192, 12_288]));
        }
    }
}
