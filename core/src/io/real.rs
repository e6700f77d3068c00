//! The operating system's disk.
//!
//! Directories are private (0700) and so are files (0600), whatever the umask. Files are named relative to the open
//! directory, so a directory that was renamed or replaced in the meantime is still the one that was opened.
#![forbid(unsafe_code)]

use super::direct::DirectReader;
use super::sys::{self, How};
use super::{Access, Directory, Disk, File, Lock, lock_file, name};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// As much as one call writes of a prewrite.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

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
        Ok(Arc::new(RealFile::of(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        name::check(name)?;
        let file = sys::open_at(self.fd(), name, How::Create)?;
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        Ok(Arc::new(RealFile::of(file)))
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
    direct: DirectReader,
}

impl RealFile {
    fn of(file: fs::File) -> Self {
        Self { file, direct: DirectReader::default() }
    }

    /// Takes the room first, where the file system can: then a full disk shows before anything is written.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        match sys::allocate(self.file.as_fd(), from, to - from) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            allocated => allocated,
        }
    }

    /// The size grows with the zeros that are written, so that a process that dies half way leaves a file that is
    /// shorter, and the next one goes on from there.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let count = usize::try_from(to - at).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
            self.write_all_at(at, &ZEROS[..count])?;
            at += count as u64;
        }
        Ok(())
    }
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

    fn prewrite(&self, size: u64) -> io::Result<()> {
        let before = self.len()?;
        if before >= size {
            return Ok(());
        }
        let prewritten = self.allocate(before, size).and_then(|()| self.write_zeros(before, size));
        if prewritten.is_err() {
            // A file system that took part of the room keeps it, behind the file's end, until the file is cut there. That
            // this fails too changes nothing about the first error.
            let _ = self.file.set_len(before);
        }
        prewritten
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
