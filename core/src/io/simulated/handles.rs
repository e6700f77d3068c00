//! What an open simulated directory, file and lock do: count and announce the call, fail where a fault says so, then act.
#![forbid(unsafe_code)]

use super::SimulatedDisk;
use super::content::{PAGE_BYTES, SECTOR_BYTES, in_memory};
use super::fault::Failure;
use super::injections::Injection;
use super::operation::{Operation, OperationKind};
use super::random::SplitMix64;
use crate::io::{Access, Directory, File, Lock, LockGuard, aligned, name};
use std::io;
use std::sync::Arc;

/// One open directory.
#[derive(Debug)]
pub(super) struct SimulatedDirectory {
    disk: SimulatedDisk,
    id: u64,
    path: Arc<str>,
}

impl SimulatedDirectory {
    pub(super) fn new(disk: SimulatedDisk, id: u64) -> Self {
        let path = format!("/{}", disk.state().directory(id).path.display()).into();
        Self { disk, id, path }
    }

    /// A call about a name in this directory.
    fn call(&self, kind: OperationKind, name: &str) -> io::Result<Arc<str>> {
        name::check(name)?;
        let name: Arc<str> = name.into();
        self.disk.call(Operation::new(kind, &name))?;
        Ok(name)
    }

    fn file(&self, id: u64, access: Access) -> Arc<dyn File> {
        Arc::new(SimulatedFile { disk: self.disk.clone(), id, access })
    }
}

impl Directory for SimulatedDirectory {
    fn identity(&self) -> io::Result<(u64, u64)> {
        Ok((self.disk.instance(), self.id))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.call(Operation::new(OperationKind::List, &self.path))?;
        Ok(self.disk.state().list(self.id))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let name = self.call(OperationKind::Open, name)?;
        let id = self.disk.state().open(self.id, &name)?;
        Ok(self.file(id, access))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let name = self.call(OperationKind::Create, name)?;
        let id = self.disk.state().create(self.id, &name)?;
        Ok(self.file(id, Access::ReadWrite))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = self.call(OperationKind::Remove, name)?;
        self.disk.state().remove(self.id, &name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        name::check(from)?;
        name::check(to)?;
        let (from, to): (Arc<str>, Arc<str>) = (from.into(), to.into());
        self.disk.call(Operation::new(OperationKind::Rename, &from).renaming_to(&to))?;
        self.disk.state().rename(self.id, &from, &to)
    }

    fn sync(&self) -> io::Result<()> {
        let failure = self.disk.begin(Operation::new(OperationKind::SyncDirectory, &self.path));
        let mut state = self.disk.state();
        match failure {
            Some(Failure::Interrupted) => return Err(Failure::Interrupted.error()),
            Some(failure) => {
                state.fail_directory_sync(self.id);
                return Err(failure.error());
            }
            None if state.ignore_directory_syncs => state.counters.count(Injection::DirectorySyncIgnored),
            None => state.sync_directory(self.id),
        }
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Lock> {
        let name = self.call(OperationKind::Lock, name)?;
        let (id, taken) = self.disk.state().lock(self.id, &name)?;
        Ok(match taken {
            true => Lock::Taken(Box::new(SimulatedLock { disk: self.disk.clone(), id })),
            false => Lock::Held(Some(std::process::id())),
        })
    }
}

/// A held lock.
#[derive(Debug)]
struct SimulatedLock {
    disk: SimulatedDisk,
    id: u64,
}

impl LockGuard for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.id);
    }
}

/// One open file.
#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
    access: Access,
}

impl SimulatedFile {
    fn operation(&self, kind: OperationKind, offset: u64, length: u64) -> Operation {
        Operation::new(kind, &self.disk.state().inode(self.id).name).spanning(offset, length)
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    fn read(&self, kind: OperationKind, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let failure = self.disk.begin(self.operation(kind, offset, buffer.len() as u64));
        let mut state = self.disk.state();
        let wanted = match failure {
            None => buffer.len(),
            Some(Failure::Short) => 1 + state.chance.below(buffer.len() - 1),
            Some(failure) => return Err(failure.error()),
        };
        let inode = state.inode(self.id);
        Ok(match kind {
            OperationKind::ReadDurable => inode.read_durable(offset, &mut buffer[..wanted]),
            _ => inode.cache.read(offset, &mut buffer[..wanted]),
        })
    }

    fn write(&self, operation: Operation, bytes: &[u8]) -> io::Result<usize> {
        self.check_writable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let (offset, direct) = (operation.offset, operation.direct);
        let failure = self.disk.begin(operation);
        let mut state = self.disk.state();
        let failure = match failure {
            None => return state.write(self.id, offset, bytes, direct),
            Some(Failure::Short) => {
                let part = shortened(bytes.len(), direct, &mut state.chance);
                return state.write(self.id, offset, &bytes[..part], direct);
            }
            Some(failure) => failure,
        };
        let part = in_units(state.chance.below(bytes.len()), direct);
        if failure.leaves_a_part() && part > 0 {
            // Even that part may find no room; the error is the fault's either way.
            let _ = state.write(self.id, offset, &bytes[..part], direct);
        }
        Err(failure.error())
    }

    /// Makes the file longer, with zeros.
    fn lengthen(&self, kind: OperationKind, size: u64) -> io::Result<()> {
        self.check_writable()?;
        let failure = self.disk.begin(self.operation(kind, 0, size));
        let mut state = self.disk.state();
        let Some(failure) = failure else { return state.prewrite(self.id, size) };
        let before = state.inode(self.id).cache.size();
        let pages = in_memory(size.saturating_sub(before)) / PAGE_BYTES;
        if failure.leaves_a_part() && pages > 0 {
            let part = before + (state.chance.below(pages) * PAGE_BYTES) as u64;
            // Even that part may find no room; the error is the fault's either way.
            let _ = state.prewrite(self.id, part);
        }
        Err(failure.error())
    }
}

/// How much a write moves that is cut short: a direct one at least a block.
fn shortened(length: usize, direct: bool, chance: &mut SplitMix64) -> usize {
    let least = if direct { PAGE_BYTES } else { 1 };
    in_units(least + chance.below(length - least), direct)
}

/// A direct write ends at a sector.
fn in_units(bytes: usize, direct: bool) -> usize {
    if direct { bytes - bytes % SECTOR_BYTES } else { bytes }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.state().close(self.id);
    }
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.call(self.operation(OperationKind::Length, 0, 0))?;
        Ok(self.disk.state().inode(self.id).cache.size())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(OperationKind::Read, offset, buffer)
    }

    fn read_durable_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(OperationKind::ReadDurable, offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.write(self.operation(OperationKind::Write, offset, bytes.len() as u64), bytes)
    }

    fn takes_direct_writes(&self) -> io::Result<bool> {
        Ok(self.access == Access::ReadWrite && !self.disk.state().refuse_direct_writes)
    }

    fn write_direct_at(&self, offset: u64, blocks: &[u8]) -> io::Result<usize> {
        aligned::check(offset, blocks)?;
        if self.disk.state().refuse_direct_writes {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.write(self.operation(OperationKind::Write, offset, blocks.len() as u64).past_page_cache(), blocks)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.lengthen(OperationKind::Allocate, size)
    }

    fn prewrite(&self, size: u64) -> io::Result<()> {
        self.lengthen(OperationKind::Prewrite, size)
    }

    fn sync_data(&self) -> io::Result<()> {
        let failure = self.disk.begin(self.operation(OperationKind::SyncData, 0, 0));
        if failure == Some(Failure::Interrupted) {
            return Err(Failure::Interrupted.error());
        }
        let sequence = self.disk.state().sequence_to_settle();
        let was_blocked = self.disk.gates().pass();
        let mut state = self.disk.state();
        if was_blocked {
            state.counters.count(Injection::FlushBlocked);
        }
        match failure {
            Some(failure) => {
                state.fail_flush(self.id, sequence);
                return Err(failure.error());
            }
            None if state.ignore_flushes => state.counters.count(Injection::FlushIgnored),
            None => state.flush(self.id, sequence),
        }
        Ok(())
    }
}
