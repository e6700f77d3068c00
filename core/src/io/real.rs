//! The operating system's disk.
//!
//! Directories are private (0700) and so are files (0600), whatever the umask. Files are named relative to the open
//! directory, so a directory that was renamed or replaced in the meantime is still the one that was opened.
#![forbid(unsafe_code)]

use super::direct::DirectFile;
use super::sys::{self, End, How};
use super::{Access, DIRECT_ALIGN_BYTES, Directory, Disk, File, Lock, lock_file, name};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// As much as one call writes of a prewrite. Nobody writes to it, so it takes no memory.
static ZEROS: Zeros = Zeros([0; 1024 * 1024]);

/// Zeros that may be written past the page cache.
#[repr(align(4096))]
struct Zeros([u8; 1024 * 1024]);

const _: () = assert!(align_of::<Zeros>() == DIRECT_ALIGN_BYTES);

/// The operating system's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let directory = match open_directory(path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => create_directory(path)?,
            opened => opened?,
        };
        Ok(Arc::new(RealDirectory { directory, parent_is_synced: AtomicBool::new(false) }))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        sys::random()
    }
}

fn open_directory(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
}

fn create_directory(path: &Path) -> io::Result<fs::File> {
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        // Somebody was faster; the directory is theirs and keeps its mode.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_directory(path),
        created => {
            created?;
            let directory = open_directory(path)?;
            directory.set_permissions(fs::Permissions::from_mode(DIRECTORY_MODE))?;
            Ok(directory)
        }
    }
}

/// One open directory.
#[derive(Debug)]
struct RealDirectory {
    directory: fs::File,
    /// Whether the directory's own name is stable, as far as we can make it so.
    parent_is_synced: AtomicBool,
}

impl RealDirectory {
    fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Makes the directory's own name stable: it may have been created a moment ago, by us or by a process that died
    /// before it came to this. A parent that we may not read was not ours to create anything in.
    fn sync_parent(&self) -> io::Result<()> {
        match sys::open_parent(self.fd()) {
            Ok(parent) => parent.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Directory for RealDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.directory.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        sys::list(self.fd())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        name::check(name)?;
        let how = match access {
            Access::Read => How::Read,
            Access::ReadWrite => How::ReadWrite,
        };
        let file = sys::open_at(self.fd(), name, how)?;
        check_regular(&file, name)?;
        Ok(Arc::new(RealFile::new(file, access)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        name::check(name)?;
        let file = sys::open_at(self.fd(), name, How::Create)?;
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        Ok(Arc::new(RealFile::new(file, Access::ReadWrite)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        name::check(name)?;
        sys::unlink_at(self.fd(), name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        name::check(from)?;
        name::check(to)?;
        sys::rename_at(self.fd(), from, to)
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync_all()?;
        if !self.parent_is_synced.load(Ordering::Acquire) {
            self.sync_parent()?;
            self.parent_is_synced.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        name::check(name)?;
        lock_file::lock(self.fd(), name)
    }
}

/// Refuses directories, pipes and devices: reading them means something else, or waits for ever.
pub(super) fn check_regular(file: &fs::File, name: &str) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not a regular file")));
    }
    Ok(())
}

/// One open file.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    direct: DirectFile,
}

impl RealFile {
    fn new(file: fs::File, access: Access) -> Self {
        Self { file, direct: DirectFile::new(access) }
    }

    /// Makes the file longer by `grow`, or leaves it as it was.
    fn grow(&self, size: u64, grow: impl FnOnce(u64) -> io::Result<()>) -> io::Result<()> {
        let before = self.len()?;
        if before >= size {
            return Ok(());
        }
        let grown = grow(before);
        if grown.is_err() {
            // A file system that took part of the room keeps it, behind the file's end, until the file is cut there. That
            // this fails too changes nothing about the first error.
            let _ = self.file.set_len(before);
        }
        grown
    }

    /// Takes the room first, where the file system can: then a full disk shows before anything is written.
    fn take_room(&self, from: u64, to: u64) -> io::Result<()> {
        match sys::allocate(self.file.as_fd(), from, to, End::Kept) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            taken => taken,
        }
    }

    /// The size grows with the zeros that are written, so that a process that dies half way leaves a file that is
    /// shorter, and the next one goes on from there. Whole blocks are written past the page cache, where that is possible.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let blocks = if self.takes_direct_writes()? { whole_blocks(from, to) } else { to..to };
        in_pieces(from..blocks.start, |at, zeros| self.write_all_at(at, zeros))?;
        in_pieces(blocks.clone(), |at, zeros| self.write_direct_all_at(at, zeros))?;
        in_pieces(blocks.end..to, |at, zeros| self.write_all_at(at, zeros))
    }
}

/// The whole blocks between two places of a file.
fn whole_blocks(from: u64, to: u64) -> Range<u64> {
    let block = DIRECT_ALIGN_BYTES as u64;
    let start = from.next_multiple_of(block).min(to);
    start..(to - to % block).max(start)
}

/// Calls `write` with zeros for one piece of the range after the other.
fn in_pieces(range: Range<u64>, write: impl Fn(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let Zeros(zeros) = &ZEROS;
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).map_or(zeros.len(), |rest| rest.min(zeros.len()));
        write(at, &zeros[..count])?;
        at += count as u64;
    }
    Ok(())
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.direct.read_at(&self.file, offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        self.direct.takes_writes(&self.file)
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        self.direct.write_at(&self.file, offset, blocks)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let allocated = self.grow(size, |before| sys::allocate(self.file.as_fd(), before, size, End::Moved));
        match allocated {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => self.prewrite(size),
            allocated => allocated,
        }
    }

    fn prewrite(&self, size: u64) -> io::Result<()> {
        self.grow(size, |before| {
            self.take_room(before, size)?;
            self.write_zeros(before, size)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn begin_writeback(&self, bytes: Range<u64>) {
        sys::begin_writeback(self.file.as_fd(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_lie_between_both_ends() {
        let cases = [
            (0..8192, 0..8192),
            (1..8192, 4096..8192),
            (0..8191, 0..4096),
            (1..4095, 4095..4095),
            (4095..4097, 4096..4096),
            (5000..6000, 6000..6000),
            (5000..20_000, 8192..16_384),
        ];
        for (range, blocks) in cases {
            assert_eq!(whole_blocks(range.start, range.end), blocks, "{range:?}");
        }
    }

    #[test]
    fn zeros_are_written_through_the_page_cache_where_there_is_no_way_past_it() {
        for size in [4096, 10_000, 3_000_000] {
            let file = RealFile { file: tempfile::tempfile().unwrap(), direct: DirectFile::refused() };
            assert!(!file.takes_direct_writes().unwrap());
            file.write_all_at(0, &[7; 100]).unwrap();
            file.prewrite(size).unwrap();
            file.sync_data().unwrap();
            let mut bytes = vec![9; usize::try_from(size).unwrap()];
            file.read_durable_exact_at(0, &mut bytes).unwrap();
            assert_eq!(file.len().unwrap(), size);
            assert!(bytes[..100] == [7; 100] && bytes[100..].iter().all(|byte| *byte == 0));
        }
    }
}
