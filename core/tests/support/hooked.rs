//! A disk that tells a hook of every call that reads or changes something, before the call is made. What the hook does with
//! that, holds it, counts it or breaks it, is the test's.

use duramen::io::{Access, Directory, Disk, File, Lock, OperationKind};
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each test looks at a part")]
pub(crate) struct Call<'a> {
    pub(crate) kind: OperationKind,
    /// That of a file is the name that it has by now.
    pub(crate) name: &'a str,
    /// Where it begins and how much it moves, of a read or a write; zero otherwise.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// What is told. It may keep the call waiting.
pub(crate) trait Hook: Debug + Send + Sync {
    fn before(&self, call: &Call<'_>);

    /// These bytes of a file are to be sent on by the page cache, which changes nothing that can be seen.
    fn before_writeback(&self, _name: &str, _bytes: &Range<u64>) {}
}

/// A disk with a hook.
#[derive(Debug)]
pub(crate) struct HookedDisk<D> {
    disk: D,
    hook: Arc<dyn Hook>,
}

impl<D: Disk> HookedDisk<D> {
    pub(crate) fn new(disk: D, hook: impl Hook + 'static) -> Self {
        Self { disk, hook: Arc::new(hook) }
    }
}

impl<D: Disk> Disk for HookedDisk<D> {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let directory = self.disk.open_directory(path, create)?;
        Ok(Arc::new(HookedDirectory { directory, hook: Arc::clone(&self.hook), names: Names::default() }))
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

/// The names of the files that are or were open.
type Names = Mutex<Vec<Arc<Mutex<String>>>>;

#[derive(Debug)]
struct HookedDirectory {
    directory: Arc<dyn Directory>,
    hook: Arc<dyn Hook>,
    names: Names,
}

impl HookedDirectory {
    fn call(&self, kind: OperationKind, name: &str) {
        self.hook.before(&Call { kind, name, offset: 0, bytes: 0 });
    }

    fn hooked(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        let name = Arc::new(Mutex::new(name.to_owned()));
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&name));
        Arc::new(HookedFile { file, name, hook: Arc::clone(&self.hook) })
    }
}

impl Directory for HookedDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        self.directory.identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.directory.open(name, access).map(|file| self.hooked(name, file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.call(OperationKind::Create, name);
        self.directory.create(name).map(|file| self.hooked(name, file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(OperationKind::Remove, name);
        self.directory.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(OperationKind::Rename, from);
        self.directory.rename(from, to)?;
        for name in self.names.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let mut name = name.lock().unwrap_or_else(PoisonError::into_inner);
            if *name == from {
                *name = to.to_owned();
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.call(OperationKind::SyncDirectory, "");
        self.directory.sync()
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        self.directory.lock(name)
    }
}

#[derive(Debug)]
struct HookedFile {
    file: Arc<dyn File>,
    name: Arc<Mutex<String>>,
    hook: Arc<dyn Hook>,
}

impl HookedFile {
    fn call(&self, kind: OperationKind, offset: u64, bytes: usize) {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.hook.before(&Call { kind, name: &name, offset, bytes });
    }
}

impl File for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(OperationKind::Read, offset, buffer.len());
        self.file.read_at(offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(OperationKind::ReadDurable, offset, buffer.len());
        self.file.read_durable_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.call(OperationKind::Write, offset, bytes.len());
        self.file.write_at(offset, bytes)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        self.file.takes_direct_writes()
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        self.call(OperationKind::Write, offset, blocks.len());
        self.file.write_direct_at(offset, blocks)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.call(OperationKind::Allocate, 0, 0);
        self.file.allocate(size)
    }

    fn prewrite(&self, size: u64) -> io::Result<()> {
        self.call(OperationKind::Prewrite, 0, 0);
        self.file.prewrite(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(OperationKind::SyncData, 0, 0);
        self.file.sync_data()
    }

    fn begin_writeback(&self, bytes: Range<u64>) {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.hook.before_writeback(&name, &bytes);
        self.file.begin_writeback(bytes);
    }
}
