//! Everything one simulated disk knows, behind its lock: directories, files, space, chance, and what fails next.
#![forbid(unsafe_code)]

use super::content::PAGE_BYTES;
use super::fault::{Failure, Faults};
use super::graves::Graves;
use super::injections::{Counters, Injection};
use super::inode::Inode;
use super::names::Names;
use super::operation::Operation;
use super::random::{SplitMix64, mix};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What a simulated disk is made of. A copy shares all file content.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) counters: Arc<Counters>,
    pub(super) seed: u64,
    /// For names that nobody can guess; apart from `chance`, so that a fault does not change them.
    pub(super) random: SplitMix64,
    pub(super) chance: SplitMix64,
    pub(super) directories: BTreeMap<u64, Directory>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) graves: Graves,
    /// The locked files.
    pub(super) locks: BTreeSet<u64>,
    pub(super) faults: Faults,
    /// One read or write in so many is interrupted or cut short.
    pub(super) disturbed_one_in: Option<usize>,
    pub(super) free_bytes: Option<u64>,
    pub(super) ignore_flushes: bool,
    pub(super) ignore_directory_syncs: bool,
    pub(super) refuse_direct_writes: bool,
    pub(super) run_in_background: bool,
    /// Flushes leave pending what was written after this number of the sequence.
    pub(super) settle_up_to: Option<u64>,
    pub(super) operations: u64,
    pub(super) calls: u64,
    /// The number of the last write or growth.
    pub(super) sequence: u64,
    next_id: u64,
}

/// Where directories are that have no name any more; no path leads there, because a name cannot have a slash in it.
const NAMELESS: &str = "/";

/// One directory.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Whether a power cut leaves it; its first sync makes it so.
    pub(super) stable: bool,
    pub(super) names: Names,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let root = Directory { path: PathBuf::new(), stable: true, names: Names::default() };
        Self {
            counters: Arc::new(Counters::new()),
            seed,
            random: SplitMix64::new(mix(&[seed, 1])),
            chance: SplitMix64::new(mix(&[seed, 2])),
            directories: BTreeMap::from([(0, root)]),
            inodes: BTreeMap::new(),
            graves: Graves::default(),
            locks: BTreeSet::new(),
            faults: Faults::default(),
            disturbed_one_in: None,
            free_bytes: None,
            ignore_flushes: false,
            ignore_directory_syncs: false,
            refuse_direct_writes: false,
            run_in_background: false,
            settle_up_to: None,
            operations: 0,
            calls: 0,
            sequence: 0,
            next_id: 1,
        }
    }

    /// Counts the call; an operation that changes the disk gets a number of its own.
    pub(super) fn number(&mut self, operation: &mut Operation) {
        self.calls += 1;
        self.operations += u64::from(operation.kind.changes_the_disk());
        operation.number = self.operations;
    }

    /// Whether, and how, this call fails.
    pub(super) fn strike(&mut self, operation: &Operation) -> Option<Failure> {
        let asked_for = self.faults.strike(operation);
        let failure = asked_for.or_else(|| self.disturb(operation))?;
        self.counters.count(failure.injection(operation.kind));
        Some(failure)
    }

    fn disturb(&mut self, operation: &Operation) -> Option<Failure> {
        let one_in = self.disturbed_one_in.filter(|_| operation.kind.moves_bytes())?;
        if !self.chance.once_in(one_in) {
            return None;
        }
        let interrupt = !operation.may_be_short() || self.chance.once_in(2);
        Some(if interrupt { Failure::Interrupted } else { Failure::Short })
    }

    pub(super) fn directory(&self, id: u64) -> &Directory {
        self.directories.get(&id).expect("a directory is never removed while it is open")
    }

    pub(super) fn directory_mut(&mut self, id: u64) -> &mut Directory {
        self.directories.get_mut(&id).expect("a directory is never removed while it is open")
    }

    pub(super) fn inode(&self, id: u64) -> &Inode {
        self.inodes.get(&id).expect("a file with a name or an open file is never dropped")
    }

    pub(super) fn inode_mut(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("a file with a name or an open file is never dropped")
    }

    pub(super) fn open_directory(&mut self, path: &Path, create: bool) -> io::Result<u64> {
        let path = plain(path)?;
        if let Some(id) = self.find_directory(&path) {
            return Ok(id);
        }
        if self.find_file(&path).is_some() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let parent = path.parent().expect("the root is always there");
        if !create || self.find_directory(parent).is_none() {
            let through_a_file = self.find_file(parent).is_some();
            let kind = if through_a_file { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
            return Err(kind.into());
        }
        let id = self.fresh_id();
        self.directories.insert(id, Directory { path, stable: false, names: Names::default() });
        Ok(id)
    }

    /// Takes an empty directory's name away, at once and for good: that a power cut brings it back empty is what was there
    /// before. Those who have it open keep one without a name.
    pub(super) fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        let path = plain(path)?;
        let id = self.find_directory(&path).ok_or(io::ErrorKind::NotFound)?;
        if id == 0 || !self.list(id).is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let directory = self.directory_mut(id);
        directory.names.sync();
        (directory.path, directory.stable) = (Path::new(NAMELESS).join(id.to_string()), true);
        Ok(())
    }

    /// The file's number, for those who damage it by path.
    pub(super) fn file_at(&self, directory: &Path, name: &str) -> io::Result<u64> {
        self.find_file(&plain(directory)?.join(name)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find_directory(&self, path: &Path) -> Option<u64> {
        self.directories.iter().find(|(_, directory)| directory.path == path).map(|(id, _)| *id)
    }

    fn find_file(&self, path: &Path) -> Option<u64> {
        let directory = self.directory(self.find_directory(path.parent()?)?);
        directory.names.get(path.file_name()?.to_str()?)
    }

    pub(super) fn list(&self, directory: u64) -> Vec<String> {
        let Directory { path, names, .. } = self.directory(directory);
        let children = self.directories.values().filter(|child| child.path.parent() == Some(path));
        let directories = children.filter_map(|child| Some(child.path.file_name()?.to_str()?.to_owned()));
        names.shown().map(|(name, _)| name.to_string()).chain(directories).collect()
    }

    /// What the name leads to; that must be a file.
    pub(super) fn look_up(&self, directory: u64, name: &str) -> io::Result<u64> {
        if self.find_directory(&self.directory(directory).path.join(name)).is_some() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.directory(directory).names.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn open(&mut self, directory: u64, name: &Arc<str>) -> io::Result<u64> {
        let id = self.look_up(directory, name)?;
        let inode = self.inode_mut(id);
        inode.name = Arc::clone(name);
        inode.opens += 1;
        Ok(id)
    }

    pub(super) fn create(&mut self, directory: u64, name: &Arc<str>) -> io::Result<u64> {
        self.check_absent(directory, name)?;
        if self.free_bytes == Some(0) {
            return Err(self.no_space());
        }
        let id = self.add_inode(name);
        self.directory_mut(directory).names.set(name, Some(id));
        self.inode_mut(id).opens = 1;
        Ok(id)
    }

    fn check_absent(&self, directory: u64, name: &str) -> io::Result<()> {
        match self.look_up(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Takes the lock of that name; false when it is held. The lock file is stable at once: nothing depends on it, and
    /// losing it would only multiply the outcomes of every power cut.
    pub(super) fn lock(&mut self, directory: u64, name: &Arc<str>) -> io::Result<(u64, bool)> {
        let id = match self.look_up(directory, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = self.add_inode(name);
                self.directory_mut(directory).names.settle(name, Some(id));
                id
            }
            found => found?,
        };
        Ok((id, self.locks.insert(id)))
    }

    pub(super) fn remove(&mut self, directory: u64, name: &Arc<str>) -> io::Result<()> {
        let id = self.look_up(directory, name)?;
        self.directory_mut(directory).names.set(name, None);
        self.release(id);
        Ok(())
    }

    /// The name vanishes for good.
    pub(super) fn lose(&mut self, path: &Path, name: &str) -> io::Result<()> {
        let id = self.file_at(path, name)?;
        let directory = self.find_directory(&plain(path)?).expect("it holds the file");
        self.directory_mut(directory).names.settle(&name.into(), None);
        self.release(id);
        Ok(())
    }

    pub(super) fn rename(&mut self, directory: u64, from: &Arc<str>, to: &Arc<str>) -> io::Result<()> {
        let id = self.look_up(directory, from)?;
        let replaced = match self.look_up(directory, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        // As rename(2) has it: two names of one file both stay.
        if replaced == Some(id) {
            return Ok(());
        }
        self.directory_mut(directory).names.rename(from, to, id);
        self.inode_mut(id).name = Arc::clone(to);
        replaced.into_iter().for_each(|replaced| self.release(replaced));
        Ok(())
    }

    /// Writes as much as there is room for, past the page cache if it is `direct`.
    pub(super) fn write(&mut self, id: u64, offset: u64, bytes: &[u8], direct: bool) -> io::Result<usize> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let inode = self.inode(id);
        if direct && inode.is_dirty_between(offset, end) {
            self.counters.count(Injection::DirectOnDirty);
            return Err(Failure::InputOutput.error());
        }
        let room_to = self.free_bytes.map_or(u64::MAX, |free| inode.charged.saturating_add(free - free % PAGE));
        let end = end.min(room_to.max(inode.cache.size()));
        let count = usize::try_from(end.saturating_sub(offset)).map_or(0, |count| count.min(bytes.len()));
        if count == 0 {
            return Err(self.no_space());
        }
        if count < bytes.len() {
            self.counters.count(Injection::ShortWrite);
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.inode_mut(id).write(offset, &bytes[..count], direct, sequence);
        self.charge(id, end);
        Ok(count)
    }

    /// Lengthens a file with zeros that take their room. An allocation is no more: what a power cut makes of unwritten room
    /// it may make of unflushed zeros too.
    pub(super) fn prewrite(&mut self, id: u64, size: u64) -> io::Result<()> {
        let wanted = size.next_multiple_of(PAGE).saturating_sub(self.inode(id).charged);
        if self.free_bytes.is_some_and(|free| free < wanted) {
            return Err(self.no_space());
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.inode_mut(id).prewrite(size, sequence);
        self.charge(id, size);
        Ok(())
    }

    fn charge(&mut self, id: u64, size: u64) {
        let inode = self.inode_mut(id);
        let charged = size.next_multiple_of(PAGE).max(inode.charged);
        let taken = charged - inode.charged;
        inode.charged = charged;
        if let Some(free) = &mut self.free_bytes {
            *free = free.saturating_sub(taken);
        }
    }

    fn no_space(&self) -> io::Error {
        self.counters.count(Injection::NoSpace);
        Failure::NoSpace.error()
    }

    pub(super) fn close(&mut self, id: u64) {
        self.inode_mut(id).opens -= 1;
        self.release(id);
    }

    pub(super) fn sync_directory(&mut self, id: u64) {
        let directory = self.directory_mut(id);
        directory.stable = true;
        directory.names.sync();
        self.forget_unreachable();
    }

    pub(super) fn fail_directory_sync(&mut self, id: u64) {
        let Self { directories, chance, .. } = self;
        let directory = directories.get_mut(&id).expect("a directory is never removed while it is open");
        directory.names.fail_sync(chance);
        directory.stable |= chance.once_in(2);
        self.forget_unreachable();
    }

    /// What a flush that is called now makes stable.
    pub(super) fn sequence_to_settle(&self) -> u64 {
        self.settle_up_to.map_or(self.sequence, |mark| mark.min(self.sequence))
    }

    pub(super) fn flush(&mut self, id: u64, sequence: u64) {
        self.inode_mut(id).flush(sequence);
    }

    pub(super) fn fail_flush(&mut self, id: u64, sequence: u64) {
        let Self { inodes, chance, graves, counters, .. } = self;
        let inode = inodes.get_mut(&id).expect("an open file is never dropped");
        inode.fail_flush(sequence, chance, graves, counters);
    }

    /// A file that nobody can reach any more gives its space back, and its blocks to whoever comes next.
    fn release(&mut self, id: u64) {
        let named = self.directories.values().any(|directory| directory.names.shown().any(|(_, inode)| inode == id));
        let inode = self.inode_mut(id);
        if named || inode.opens > 0 {
            return;
        }
        let freed = std::mem::take(&mut inode.charged);
        let content = Arc::clone(&inode.cache);
        self.graves.bury(&content);
        if let Some(free) = &mut self.free_bytes {
            *free += freed;
        }
        self.forget_unreachable();
    }

    /// Drops the files that nothing leads to, not even after a power cut.
    fn forget_unreachable(&mut self) {
        let directories = &self.directories;
        let may_be_named = |id| directories.values().any(|directory| directory.names.may_lead_to(id));
        self.inodes.retain(|id, inode| inode.opens > 0 || may_be_named(*id));
    }

    fn add_inode(&mut self, name: &Arc<str>) -> u64 {
        let id = self.fresh_id();
        self.inodes.insert(id, Inode::new(name));
        id
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The disk as a power cut leaves it when it loses all that is pending. Directories that may be lost are still there.
    pub(super) fn without_pending(&self) -> Self {
        let directories = self.directories.iter().map(|(id, directory)| {
            let names = directory.names.without_pending();
            (*id, Directory { path: directory.path.clone(), stable: true, names })
        });
        let inodes = self.inodes.iter().map(|(id, inode)| (*id, inode.without_pending()));
        self.restarted(directories.collect(), inodes.collect())
    }

    /// The disk as it is found when the process has died.
    pub(super) fn killed(&self) -> Self {
        let mut inodes = self.inodes.clone();
        inodes.values_mut().for_each(|inode| inode.opens = 0);
        let mut state = self.restarted(self.directories.clone(), inodes);
        state.start_again(mix(&[self.seed, self.operations, 3]));
        state
    }

    /// These files on a disk that nobody has open: no locks, no faults to come, nothing counted, and, until
    /// `start_again`, no space taken.
    fn restarted(&self, directories: BTreeMap<u64, Directory>, inodes: BTreeMap<u64, Inode>) -> Self {
        let taken: u64 = self.inodes.values().map(|inode| inode.charged).sum();
        Self {
            counters: Arc::clone(&self.counters),
            directories,
            inodes,
            graves: self.graves.clone(),
            disturbed_one_in: self.disturbed_one_in,
            free_bytes: self.free_bytes.map(|free| free.saturating_add(taken)),
            ignore_flushes: self.ignore_flushes,
            ignore_directory_syncs: self.ignore_directory_syncs,
            refuse_direct_writes: self.refuse_direct_writes,
            run_in_background: self.run_in_background,
            sequence: self.sequence,
            next_id: self.next_id,
            ..Self::new(self.seed)
        }
    }

    /// Settles who is reachable and what is free, after `restarted`, and gives the disk chances of its own.
    pub(super) fn start_again(&mut self, seed: u64) {
        self.seed = seed;
        self.random = SplitMix64::new(mix(&[seed, 1]));
        self.chance = SplitMix64::new(mix(&[seed, 2]));
        let mut shown = BTreeSet::new();
        self.directories.values().for_each(|directory| shown.extend(directory.names.shown().map(|(_, id)| id)));
        for (id, inode) in &mut self.inodes {
            let took_space = std::mem::take(&mut inode.charged) > 0;
            if shown.contains(id) {
                inode.charged = inode.cache.size().next_multiple_of(PAGE);
            } else if took_space {
                self.graves.bury(&inode.cache);
            }
            if let Some(free) = &mut self.free_bytes {
                *free = free.saturating_sub(inode.charged);
            }
        }
        self.forget_unreachable();
    }
}

const PAGE: u64 = PAGE_BYTES as u64;

/// The path from the root, without `.`, since a simulated disk knows no current directory.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(plain)
}
