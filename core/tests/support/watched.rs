//! A disk that writes down every call that changes it, and by whom, and can hold or break one that a store's worker makes.

use duramen::io::{Access, Directory, Disk, File, Lock, OperationKind};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What the workers' threads are called.
pub(crate) const WORKER: &str = "duramen";

/// One call. That of a file has the name that the file has by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: OperationKind,
    pub(crate) name: String,
    pub(crate) by_worker: bool,
}

/// How long a call is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of the next call of the worker that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Held,
    Panics,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    fate: Option<(OperationKind, String, Fate)>,
    is_holding: bool,
    /// Of the files that are or were open.
    names: Vec<Arc<Mutex<String>>>,
}

/// Watches the calls of one disk. Clones share it. Dropping a clone lets go of a call that is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<(Mutex<State>, Condvar)>);

impl Watch {
    /// The worker's next call of this kind with a name that contains this waits until [`Watch::let_go`].
    pub(crate) fn hold(&self, kind: OperationKind, name: &str) {
        self.state().fate = Some((kind, name.into(), Fate::Held));
    }

    /// The worker's next call of this kind with a name that contains this panics.
    pub(crate) fn panic_at(&self, kind: OperationKind, name: &str) {
        self.state().fate = Some((kind, name.into(), Fate::Panics));
    }

    pub(crate) fn wait_until_held(&self) {
        assert!(self.is_held_within(PATIENCE), "no such call: {:?}", self.state());
    }

    pub(crate) fn is_held_within(&self, patience: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.state(), patience, |state| !state.is_holding);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        (state.fate, state.is_holding) = (None, false);
        self.0.1.notify_all();
    }

    /// The calls since this was last asked.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn call(&self, kind: OperationKind, name: &str) {
        let by_worker = thread::current().name() == Some(WORKER);
        let mut state = self.state();
        state.calls.push(Call { kind, name: name.into(), by_worker });
        let is_meant = |(meant, part, _): &mut (OperationKind, String, Fate)| *meant == kind && name.contains(&**part);
        match state.fate.take_if(|fate| by_worker && is_meant(fate)) {
            None => return,
            Some((_, _, Fate::Panics)) => {
                drop(state);
                panic!("a test breaks {kind:?} of {name}");
            }
            Some((_, _, Fate::Held)) => state.is_holding = true,
        }
        self.0.1.notify_all();
        while state.is_holding {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn named(&self, name: &str) -> Arc<Mutex<String>> {
        let named = Arc::new(Mutex::new(name.to_owned()));
        self.state().names.push(Arc::clone(&named));
        named
    }

    fn rename(&self, from: &str, to: &str) {
        for name in &self.state().names {
            let mut name = name.lock().unwrap_or_else(PoisonError::into_inner);
            if *name == from {
                *name = to.to_owned();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A disk whose calls are watched.
#[derive(Debug, Clone)]
pub(crate) struct WatchedDisk<D> {
    pub(crate) disk: D,
    pub(crate) watch: Watch,
}

impl<D: Disk> Disk for WatchedDisk<D> {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let directory = self.disk.open_directory(path, create)?;
        Ok(Arc::new(WatchedDirectory { directory, watch: self.watch.clone() }))
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
struct WatchedDirectory {
    directory: Arc<dyn Directory>,
    watch: Watch,
}

impl WatchedDirectory {
    fn watched(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile { file, name: self.watch.named(name), watch: self.watch.clone() })
    }
}

impl Directory for WatchedDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        self.directory.identity()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.directory.open(name, access).map(|file| self.watched(name, file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.watch.call(OperationKind::Create, name);
        self.directory.create(name).map(|file| self.watched(name, file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.watch.call(OperationKind::Remove, name);
        self.directory.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.watch.call(OperationKind::Rename, from);
        self.directory.rename(from, to)?;
        self.watch.rename(from, to);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.call(OperationKind::SyncDirectory, "");
        self.directory.sync()
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        self.directory.lock(name)
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    name: Arc<Mutex<String>>,
    watch: Watch,
}

impl WatchedFile {
    fn call(&self, kind: OperationKind) {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.watch.call(kind, &name);
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_durable_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.call(OperationKind::Write);
        self.file.write_at(offset, bytes)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        self.file.takes_direct_writes()
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        self.call(OperationKind::Write);
        self.file.write_direct_at(offset, blocks)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.call(OperationKind::Allocate);
        self.file.allocate(size)
    }

    fn prewrite(&self, size: u64) -> io::Result<()> {
        self.call(OperationKind::Prewrite);
        self.file.prewrite(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(OperationKind::SyncData);
        self.file.sync_data()
    }
}
