//! A simulated disk on which one read or write can be held that has begun and has not yet moved its bytes.

use duramen::io::{Access, Directory, Disk, File, Lock, SimulatedDisk};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Holds one call of a [`GatedDisk`]. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closed(Held),
    Holding,
}

/// The call that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The next read.
    Read,
    /// The next write that begins at this offset of its file.
    WriteAt(u64),
}

impl Gate {
    /// The next such call, and no other, waits until the gate is opened.
    pub(crate) fn close(&self, held: Held) {
        *self.gate() = State::Closed(held);
    }

    pub(crate) fn open(&self) {
        *self.gate() = State::Open;
        self.0.1.notify_all();
    }

    /// Waits until a call is held.
    pub(crate) fn wait_until_blocked(&self) {
        let mut gate = self.gate();
        while matches!(*gate, State::Closed(_)) {
            gate = self.0.1.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pass(&self, call: Held) {
        let mut gate = self.gate();
        if *gate != State::Closed(call) {
            return;
        }
        *gate = State::Holding;
        self.0.1.notify_all();
        while *gate == State::Holding {
            gate = self.0.1.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn gate(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A simulated disk behind a gate.
#[derive(Debug)]
pub(crate) struct GatedDisk {
    pub(crate) disk: SimulatedDisk,
    pub(crate) gate: Gate,
}

impl Disk for GatedDisk {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let directory = self.disk.open_directory(path, create)?;
        Ok(Arc::new(GatedDirectory { directory, gate: self.gate.clone() }))
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
struct GatedDirectory {
    directory: Arc<dyn Directory>,
    gate: Gate,
}

impl GatedDirectory {
    fn gated(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(GatedFile { file, gate: self.gate.clone() })
    }
}

impl Directory for GatedDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        self.directory.identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.directory.open(name, access).map(|file| self.gated(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.directory.create(name).map(|file| self.gated(file))
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
struct GatedFile {
    file: Arc<dyn File>,
    gate: Gate,
}

impl File for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.gate.pass(Held::Read);
        self.file.read_at(offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_durable_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.gate.pass(Held::WriteAt(offset));
        self.file.write_at(offset, bytes)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        self.file.takes_direct_writes()
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        self.gate.pass(Held::WriteAt(offset));
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
