//! A simulated disk that tells how much is read from its files as the page cache shows them.

use duramen::io::{Access, Directory, Disk, File, Lock, SimulatedDisk};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was read since it was last asked. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    furthest: AtomicU64,
}

impl Reads {
    /// How many bytes were read, and how far into a file; both begin anew.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.0.bytes.swap(0, Ordering::Relaxed), self.0.furthest.swap(0, Ordering::Relaxed))
    }

    fn count(&self, offset: u64, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.furthest.fetch_max(offset + bytes as u64, Ordering::Relaxed);
    }
}

/// A simulated disk whose reads are counted.
#[derive(Debug)]
pub(crate) struct CountingDisk {
    pub(crate) disk: SimulatedDisk,
    pub(crate) reads: Reads,
}

impl Disk for CountingDisk {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let directory = self.disk.open_directory(path, create)?;
        Ok(Arc::new(CountingDirectory { directory, reads: self.reads.clone() }))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }

    fn runs_in_background(&self) -> bool {
        self.disk.runs_in_background()
    }
}

#[derive(Debug)]
struct CountingDirectory {
    directory: Arc<dyn Directory>,
    reads: Reads,
}

impl CountingDirectory {
    fn counted(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(CountingFile { file, reads: self.reads.clone() })
    }
}

impl Directory for CountingDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        self.directory.identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.directory.open(name, access).map(|file| self.counted(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.directory.create(name).map(|file| self.counted(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        self.directory.lock(name)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    reads: Reads,
}

impl File for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.count(offset, buffer.len());
        self.file.read_at(offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_durable_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(offset, bytes)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        self.file.takes_direct_writes()
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        self.file.write_direct_at(offset, blocks)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.file.allocate(size)
    }

    fn prewrite(&self, size: u64) -> io::Result<()> {
        self.file.prewrite(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
