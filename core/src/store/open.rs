//! Opening: find or make the store, or share the one that is open in this process already.
#![forbid(unsafe_code)]

use super::callbacks::Callbacks;
use super::followers::{Followers, Waiting};
use super::maintain::{Outlook, Seals};
use super::recent::Recent;
use super::shared::{Core, Maintenance, Opening, Readable, Resumable, Shared};
use super::snapshot::Staged;
use super::stats::Counters;
use super::worker::Worker;
use crate::commit::{Commit, Start};
use crate::error::{Error, Result};
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::{BLOCK_BYTES, round_up};
use crate::io::{Directory, Lock, LockGuard, watch};
use crate::options::{Options, SEGMENT_BYTES_FIRST};
use crate::planted::Bug;
use crate::recovery::{Recovered, has_segments, rebuild_slot, recover};
use crate::registry::{Registry, lock_until};
use crate::segment::NEW_SEGMENT_NAME;
use crate::segment::manifest::{Found, Manifest, NEW_MANIFEST_NAME};
use crate::state::State;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, Weak};
use std::time::{Duration, Instant};

pub(super) const LOCK_NAME: &str = "LOCK";

static STORES: Registry<Shared> = Registry::new();

/// Opens the store at `path`, or joins the one that is open already.
pub(super) fn open(options: &Options, path: &Path) -> Result<Opening> {
    options.check()?;
    let generation = watch().map_err(|error| Error::io_path("watch for forks of", path, error))?;
    let deadline = Deadline::of(options);
    loop {
        let (opening, is_shared) = open_or_join(options, path, generation, &deadline)?;
        if !is_shared {
            return Ok(opening);
        }
        match opening.shared.wait_until_written(&deadline) {
            Ok(()) => return Ok(opening),
            Err(Error::Poisoned { .. } | Error::Closed) => {} // It ended meanwhile: another one takes its place.
            Err(error) => {
                opening.give_up();
                return Err(error);
            }
        }
    }
}

/// Tells, too, whether the store was open already.
fn open_or_join(options: &Options, path: &Path, generation: u64, deadline: &Deadline) -> Result<(Opening, bool)> {
    let directory = open_directory(options, path)?;
    let identity = directory.identity().map_err(|error| Error::io_path("identify", path, error))?;
    retire_replaced(path, identity);
    let slot = STORES.slot(identity);
    let mut registered = deadline.lock(&slot)?;
    let (shared, is_shared) = match registered.upgrade() {
        Some(shared) if shared.is_healthy() => {
            shared.join(options, path)?;
            (shared, true)
        }
        stale => {
            // A poisoned store reads on, but only a fresh recovery may write.
            stale.iter().try_for_each(|retired| retired.retire_until(deadline))?;
            let predecessors = stale.map_or(Vec::new(), |retired| retired.with_predecessors());
            let shared = Shared::open(options, path, directory, predecessors)?;
            *registered = Arc::downgrade(&shared);
            (shared, false)
        }
    };
    drop(registered);
    Ok((Opening { shared, slot, generation, closed: AtomicBool::new(false) }, is_shared))
}

/// When an opening has waited long enough for others.
#[derive(Debug)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) waited: Duration,
}

impl Deadline {
    pub(super) fn of(options: &Options) -> Deadline {
        let (now, waited) = (Instant::now(), options.open_timeout);
        // A timeout that no clock reaches is as good as a year.
        Deadline { at: now.checked_add(waited).unwrap_or(now + Duration::from_secs(365 * 24 * 3600)), waited }
    }

    pub(super) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> Result<MutexGuard<'a, T>> {
        lock_until(mutex, self.at).ok_or(self.passed())
    }

    /// Waits for the next change of a store, unless the deadline has passed.
    pub(super) fn watch<'a>(&self, shared: &Shared, core: MutexGuard<'a, Core>) -> Result<MutexGuard<'a, Core>> {
        match self.at.saturating_duration_since(Instant::now()) {
            left if left.is_zero() => Err(self.passed()),
            left => Ok(shared.watch(core, Some(left))),
        }
    }

    pub(super) fn passed(&self) -> Error {
        Error::Timeout { waited: self.waited }
    }
}

/// The slot of a directory, for who opens, closes or destroys what lies in it.
pub(super) fn slot_of(identity: (u64, u64)) -> Arc<Mutex<Weak<Shared>>> {
    STORES.slot(identity)
}

/// Retires the stores that were opened under this path in another directory than the one that stands there now. They cannot
/// write into their successor, but what they would still acknowledge nobody would find again. A directory of another device
/// is none of theirs: every simulated disk has a device of its own, and the same paths.
pub(super) fn retire_replaced(path: &Path, standing: (u64, u64)) {
    let absolute = absolute(path);
    for shared in STORES.living().into_iter().filter(|shared| shared.absolute == absolute) {
        let own = shared.directory.identity();
        if own.is_ok_and(|own| own.0 == standing.0 && own != standing) {
            shared.retire_now();
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

pub(super) fn open_directory(options: &Options, path: &Path) -> Result<Arc<dyn Directory>> {
    options.disk.open_directory(path, options.create).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotADirectory => {
            Error::NotAStore { path: path.into(), detail: "it is a file, not a directory".into() }
        }
        std::io::ErrorKind::NotFound if !options.create => {
            Error::NotAStore { path: path.into(), detail: "there is no such directory".into() }
        }
        _ => Error::io_path("open", path, error),
    })
}

/// Everything that a store is made of when it is opened.
struct Opened {
    directory: Arc<dyn Directory>,
    lock: Box<dyn LockGuard>,
    manifest: Manifest,
    recovered: Recovered,
    direct: bool,
    predecessors: Vec<Weak<Shared>>,
}

impl Shared {
    /// One more opening of a store that is open.
    fn join(&self, options: &Options, path: &Path) -> Result<()> {
        if options.exclusive || self.options.exclusive {
            return Err(Error::Locked { path: path.into(), pid: Some(std::process::id()) });
        }
        options.check_same(&self.options)?;
        self.core().openings += 1;
        Ok(())
    }

    /// The stores of this process that may still read files of the directory when another one takes this one's place.
    fn with_predecessors(self: &Arc<Self>) -> Vec<Weak<Shared>> {
        let alive = self.predecessors.iter().filter(|predecessor| predecessor.strong_count() > 0).cloned();
        alive.chain([Arc::downgrade(self)]).collect()
    }

    fn is_healthy(&self) -> bool {
        self.core().check_writable().is_ok()
    }

    fn open(
        options: &Options,
        path: &Path,
        directory: Arc<dyn Directory>,
        predecessors: Vec<Weak<Shared>>,
    ) -> Result<Arc<Shared>> {
        check_directory(options, path, &*directory)?;
        let lock = take_lock(path, &*directory)?;
        let mut manifest = open_manifest(options, path, &*directory)?;
        let recovered = recover(&*directory, &manifest, options.bugs)?;
        if !recovered.report.clean && recovered.durable > manifest.slot.watermark {
            // The tail was flushed and read back: it is durable now, and no later opening may call it torn.
            manifest.write(|slot| (slot.clean, slot.watermark) = (false, recovered.durable))?;
        }
        let direct = manifest.takes_direct_writes()?;
        let found = Opened { directory, lock, manifest, recovered, direct, predecessors };
        Ok(Shared::assemble(options, path, found))
    }

    fn assemble(options: &Options, path: &Path, found: Opened) -> Arc<Shared> {
        let Opened { directory, lock, manifest, recovered, direct, predecessors } = found;
        let Recovered { state, chain, mut prepared, report, end, has_rest, .. } = recovered;
        let Recovered { footer_bytes, sealed, unechoed, unechoed_link, .. } = recovered;
        let highest = manifest.slot.highest_created;
        let last = chain.last().map_or(0, |segment| segment.header.number);
        let newest_number = prepared.last_key_value().map_or(last, |(number, _)| *number).max(highest);
        let newest = prepared.values().flatten().next_back().or(chain.last());
        let first = SEGMENT_BYTES_FIRST.min(round_up(options.segment_bytes, BLOCK_BYTES));
        let newest_capacity = newest.map_or(first, |segment| segment.header.capacity);
        let active = chain.last().filter(|_| report.clean).map(|segment| segment.header);
        let last_header = chain.last().map(|segment| segment.header);
        let last_header = last_header.filter(|header| !report.clean && header.number == end.segment);
        let resumable = last_header.map(|header| Resumable { header, footer_bytes, end: end.end, has_rest });
        let mut segments: BTreeMap<_, _> = chain.into_iter().map(|segment| (segment.header.number, segment)).collect();
        let mut commit = Commit::new(
            Start { sequence: end.sequence, link: end, active, footer_bytes, unechoed, unechoed_link },
            options.bugs,
        );
        // A file that the manifest does not count may have lost its name's flush: it is made anew, under a new name.
        prepared.iter_mut().filter(|(number, _)| **number > highest).for_each(|(_, uncounted)| *uncounted = None);
        // After a clean stop the prepared segments hold nothing, so they may be used as they are.
        while let Some(entry) = prepared.first_entry() {
            match (report.clean && *entry.key() <= highest, entry.get()) {
                (true, Some(_)) => {
                    let segment = entry.remove().expect("looked at just now");
                    commit.add_prepared(segment.header);
                    segments.insert(segment.header.number, segment);
                }
                _ => break,
            }
        }
        Arc::new_cyclic(|this| Shared {
            this: this.clone(),
            path: path.into(),
            absolute: absolute(path),
            options: options.clone(),
            store: manifest.slot.store,
            directory,
            report,
            maintenance: Mutex::new(Maintenance {
                manifest,
                unused: prepared,
                newest: newest_number,
                newest_capacity,
                pool: Vec::new(),
                filling: None,
                doomed: Vec::new(),
                resumable,
                swept: false,
                lock: Some(lock),
            }),
            core: Mutex::new(Core {
                commit,
                accepted: State::from(&state),
                noted: BTreeMap::new(),
                callbacks: Callbacks::default(),
                drivers: 0,
                driving: 0,
                returned: Vec::new(),
                spent: Vec::new(),
                buffers: Vec::new(),
                waiting: Waiting::default(),
                woken: 0,
                watching: 0,
                ready: false,
                closed: false,
                openings: 1,
                displaced: Vec::new(),
                outlook: Outlook::default(),
                seals: Seals::of(sealed),
                unprepared_in: None,
                stats: Counters::default(),
            }),
            changed: Condvar::new(),
            followers: Followers::default(),
            readable: RwLock::new(Readable {
                state,
                segments,
                written: end.sequence,
                recent: Recent::new(options.cache_bytes),
                unsealed: BTreeMap::new(),
                suspects: BTreeMap::new(),
            }),
            staged: Staged::default(),
            spare: Arc::default(),
            direct,
            predecessors,
            worker: Worker::default(),
        })
    }
}

/// Refuses a directory of something else, or one in which nothing may be made, before the lock is put into it. A store with
/// segments is judged under the lock.
fn check_directory(options: &Options, path: &Path, directory: &dyn Directory) -> Result<()> {
    let names = list(path, directory)?;
    if !has_segments(&names) {
        find_manifest(options, path, directory, &names)?;
    }
    Ok(())
}

pub(super) fn list(path: &Path, directory: &dyn Directory) -> Result<Vec<String>> {
    directory.list().map_err(|error| Error::io_path("list", path, error))
}

pub(super) fn take_lock(path: &Path, directory: &dyn Directory) -> Result<Box<dyn LockGuard>> {
    match directory.lock(LOCK_NAME).map_err(|error| Error::io_path("lock", path, error))? {
        Lock::Taken(guard) => Ok(guard),
        Lock::Held(pid) => Err(Error::Locked { path: path.into(), pid }),
    }
}

/// The manifest of the store that is there, or of a new one.
fn open_manifest(options: &Options, path: &Path, directory: &dyn Directory) -> Result<Manifest> {
    let names = list(path, directory)?;
    match find_manifest(options, path, directory, &names) {
        Ok(Some(manifest)) => return Ok(manifest),
        Ok(None) => {}
        Err(lost @ Error::Corrupt { .. }) if options.rebuild_manifest => {
            let slot = rebuild_slot(directory, &names)?.ok_or(lost)?;
            return Manifest::create(directory, slot, !options.bugs.has(Bug::DirectoryFlushLeftOut));
        }
        Err(error) => return Err(error),
    }
    let store = options.disk.random().map_err(|error| Error::io("read random bytes for", "the store's id", error))?;
    Manifest::create(directory, Slot::new(store), !options.bugs.has(Bug::DirectoryFlushLeftOut))
}

/// The manifest of the store that is there; none where a new one may be made. Segments without a valid manifest are never a
/// new store. A manifest gets its name when it is whole, so one that is not valid is damaged, or somebody else's.
pub(super) fn find_manifest(
    options: &Options,
    path: &Path,
    directory: &dyn Directory,
    names: &[String],
) -> Result<Option<Manifest>> {
    let not_a_store = |detail| Err(Error::NotAStore { path: path.into(), detail });
    let is_ours = |name: &String| [LOCK_NAME, NEW_MANIFEST_NAME, NEW_SEGMENT_NAME].contains(&name.as_str());
    let foreign = names.iter().find(|name| !is_ours(name));
    match Manifest::open(directory)? {
        Found::Valid(manifest) => Ok(Some(manifest)),
        Found::Invalid | Found::Nothing if has_segments(names) => Err(Error::Corrupt {
            file: MANIFEST_NAME.into(),
            offset: 0,
            batch: None,
            detail:
                "there are segments, but neither manifest slot is valid (the option rebuild_manifest makes a new one)"
                    .into(),
        }),
        Found::Invalid => not_a_store(format!("its {MANIFEST_NAME} is not that of a store")),
        Found::Nothing => match foreign {
            Some(name) => not_a_store(format!("it holds {name:?} and no manifest")),
            None if !options.create => not_a_store("it is empty".into()),
            None => Ok(None),
        },
    }
}
