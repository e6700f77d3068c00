//! The simulated disk: a disk in memory that loses power, fails, lies and rots, all from one seed.
//!
//! This file owns the handle and its controls; what the disk is made of stands in the others: `state`, `inode`, `names`
//! and `content` are the disk, `crash`, `fate` and `outcome` what a power cut leaves of it, `fault`, `damage` and `gate`
//! what else can go wrong.
#![forbid(unsafe_code)]

mod content;
mod crash;
mod damage;
mod fate;
mod fault;
mod gate;
mod graves;
mod handles;
mod injections;
mod inode;
mod names;
mod operation;
mod outcome;
mod random;
mod state;

pub use crash::CrashPoints;
pub use fault::{Calls, Failure, Fault, Times};
pub use gate::FlushGate;
pub use injections::{Injection, Injections};
pub use operation::{Operation, OperationKind};
pub use outcome::{Outcome, Outcomes};

use crate::io::{Directory, Disk};
use gate::Gates;
use handles::SimulatedDirectory;
use state::State;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Called before an operation takes effect.
pub type Observer = Box<dyn FnMut(&Operation, &SimulatedDisk) + Send>;

/// A disk in memory that loses power, fails, lies and rots on demand, and does it again from the same seed. Clones are
/// handles to the same disk.
///
/// It assumes of a disk what [the module](crate::io) does, and takes every liberty that leaves. It is for tests: those of
/// this crate, and those of anybody whose node keeps a log.
///
/// # What a power cut can leave
///
/// | unflushed | each alone, independent of all others, comes out |
/// |---|---|
/// | a sector of 512 bytes | old; new; as any write since the last flush left it; torn, with new bytes before or behind some byte; garbage; bytes of a removed file |
/// | the other sectors of its 4 KiB block | unchanged, or garbage |
/// | a file's growth by writes | the old size, the new one, or one between; without its sectors it reads as zero or, as they do, as garbage |
/// | a [`prewrite`](crate::io::File::prewrite) or [`allocate`](crate::io::File::allocate) | not there; zeros; the size with garbage; the size with bytes of a removed file |
/// | a created, removed or renamed name | old, new, or any state between; the two names of a rename independently, so that both may lead to the file, or neither |
/// | a created directory | there, or lost with all that is in it, until its own first sync |
///
/// `sync_data` settles a file's bytes and size, not its name; `Directory::sync` settles a directory's names. A flush
/// settles what was written before it was called, and no more. What was written past the page cache is unflushed as well.
/// Such a write fails with EIO where the page cache is dirty, since between two flushes a block is written one way or the
/// other.
///
/// [`SimulatedDisk::crash_points`] tells all this for one moment; [`SimulatedDisk::kill`] is the death of the process
/// alone. Both give new disks and let the old one go on. [`SimulatedDisk::on_operation`] is the place to ask for it
/// before every operation.
///
/// ```
/// use duramen::io::{Directory, Disk, File, SimulatedDisk};
///
/// # fn main() -> std::io::Result<()> {
/// let disk = SimulatedDisk::new(7);
/// let directory = disk.open_directory("/node".as_ref(), true)?;
/// let file = directory.create("vote")?;
/// directory.sync()?;
/// file.write_all_at(0, b"term 1")?;
/// file.sync_data()?;
/// file.write_all_at(0, b"term 2")?;
///
/// let crash = disk.crash_points();
/// let mut seen = std::collections::BTreeSet::new();
/// for outcome in crash.outcomes(1_024, 0) {
///     let after = crash.disk_after(&outcome);
///     let vote = after.open_directory("/node".as_ref(), false)?.open("vote", duramen::io::Access::Read)?;
///     let mut bytes = [0; 6];
///     vote.read_exact_at(0, &mut bytes)?;
///     // To see one outcome again: `crash.disk_after(&"1,0".parse::<Outcome>()?)`.
///     seen.insert((bytes, outcome.to_string(), crash.explain(&outcome)));
/// }
/// assert!(seen.iter().any(|(bytes, ..)| bytes == b"term 1"));
/// assert!(seen.iter().any(|(bytes, ..)| bytes == b"term 2"));
/// assert!(seen.iter().any(|(bytes, _, words)| !bytes.starts_with(b"term") && words.contains("garbage")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

struct Shared {
    /// Tells this disk from every other one of this process.
    instance: u64,
    state: Mutex<State>,
    gates: Gates,
    is_observed: AtomicBool,
    observer: Mutex<Option<Observer>>,
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedDisk {}", self.shared.instance)
    }
}

impl SimulatedDisk {
    /// An empty disk that holds the root directory. All its chances come from the seed.
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    fn from_state(state: State) -> Self {
        static NEXT_INSTANCE: AtomicU64 = AtomicU64::new(1);
        let shared = Shared {
            instance: NEXT_INSTANCE.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(state),
            gates: Gates::default(),
            is_observed: AtomicBool::new(false),
            observer: Mutex::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What a power cut at this moment can leave.
    pub fn crash_points(&self) -> CrashPoints {
        CrashPoints::of(&self.state())
    }

    /// The disk as it is found when the process dies at this moment: what was written is in the page cache, what was
    /// pending is pending, and every lock is free. Observer, gates and faults to come stay behind, as after a power cut.
    pub fn kill(&self) -> Self {
        let state = self.state();
        state.counters.count(Injection::Kill);
        Self::from_state(state.killed())
    }

    /// Calls `observer` before every operation that can change what a power cut leaves, from the thread that asks for
    /// it; no lock is held that the observer could need. Operations of the observer itself, on this disk, are not
    /// observed. None stops it.
    ///
    /// # Panics
    ///
    /// When an observer calls it for the disk that it observes.
    pub fn on_operation(&self, observer: Option<Observer>) {
        assert!(!self.is_observing(), "an observer cannot be replaced while it is called");
        self.shared.is_observed.store(observer.is_some(), Ordering::Release);
        *self.shared.observer.lock().unwrap_or_else(PoisonError::into_inner) = observer;
    }

    /// How many operations that change the disk there were. The number of the last one.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many calls of any kind there were; [`Fault::nth`] with [`Calls::Any`] counts these.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Makes a call fail.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Takes back all failures that are still to come.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Interrupts one read or write in so many, or cuts it short, by chance. None stops it.
    ///
    /// # Panics
    ///
    /// When `one_in` is less than 2, since then no call would ever succeed.
    pub fn disturb_one_in(&self, one_in: Option<usize>) {
        assert!(one_in.is_none_or(|one_in| one_in > 1), "every call would fail for ever");
        self.state().disturbed_one_in = one_in;
    }

    /// Leaves so many bytes free on the disk; none means that there is always room. Files take whole blocks of 4 KiB.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.state().free_bytes = free;
    }

    /// How many bytes are free, where that is limited.
    pub fn free_bytes(&self) -> Option<u64> {
        self.state().free_bytes
    }

    /// Answers `sync_data` with `Ok` and makes nothing stable: a disk that lies.
    pub fn ignore_flushes(&self, ignore: bool) {
        self.state().ignore_flushes = ignore;
    }

    /// Answers `Directory::sync` with `Ok` and makes nothing stable.
    pub fn ignore_directory_syncs(&self, ignore: bool) {
        self.state().ignore_directory_syncs = ignore;
    }

    /// Lets no file be written past the page cache: a file system without direct writes. `takes_direct_writes` says so, and
    /// such writes fail with EINVAL.
    pub fn refuse_direct_writes(&self, refuse: bool) {
        self.state().refuse_direct_writes = refuse;
    }

    /// Lets stores on this disk use a thread of their own, which they otherwise do not: then everything happens in calls,
    /// and a run is the same every time.
    pub fn run_in_background(&self, run: bool) {
        self.state().run_in_background = run;
    }

    /// The number of the last write or growth of any file, for [`SimulatedDisk::settle_up_to`].
    pub fn flush_mark(&self) -> u64 {
        self.state().sequence
    }

    /// Has every `sync_data` make stable only what was written up to this mark, and leave pending what came behind it,
    /// until this is called with none. So a test that makes calls one after the other can have a flush that was issued before
    /// a write and carried out behind it. Stays behind, as faults do, at a power cut or a kill.
    pub fn settle_up_to(&self, mark: Option<u64>) {
        self.state().settle_up_to = mark;
    }

    /// Makes every `sync_data` wait until the gate is dropped.
    pub fn block_flushes(&self) -> FlushGate {
        FlushGate::new(self.clone())
    }

    /// How often each kind of fault was injected into this disk, into the one it came from by power cut or kill, and
    /// into all that came from that.
    pub fn injections(&self) -> Injections {
        self.state().counters.snapshot()
    }

    fn instance(&self) -> u64 {
        self.shared.instance
    }

    fn gates(&self) -> &Gates {
        &self.shared.gates
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call that has no way to fail but to do nothing.
    fn call(&self, operation: Operation) -> io::Result<()> {
        self.begin(operation).map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Counts the call, tells the observer, and says how it is to fail.
    fn begin(&self, mut operation: Operation) -> Option<Failure> {
        self.state().number(&mut operation);
        if operation.kind.changes_the_disk() && self.shared.is_observed.load(Ordering::Acquire) {
            self.observe(&operation);
        }
        self.state().strike(&operation)
    }

    fn observe(&self, operation: &Operation) {
        if self.is_observing() {
            return;
        }
        let mut observer = self.shared.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let _observing = Observing::begin(self.instance());
        if let Some(observer) = observer.as_mut() {
            observer(operation, self);
        }
    }

    /// Whether this thread is inside an observer of this disk.
    fn is_observing(&self) -> bool {
        OBSERVED.with_borrow(|observed| observed.contains(&self.instance()))
    }
}

thread_local! {
    /// The disks whose observers this thread is inside of.
    static OBSERVED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// This thread is inside an observer for as long as this value lives.
struct Observing;

impl Observing {
    fn begin(instance: u64) -> Self {
        OBSERVED.with_borrow_mut(|observed| observed.push(instance));
        Self
    }
}

impl Drop for Observing {
    fn drop(&mut self) {
        OBSERVED.with_borrow_mut(Vec::pop);
    }
}

impl Disk for SimulatedDisk {
    fn open_directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Directory>> {
        let name = path.to_string_lossy().into();
        self.call(Operation::new(OperationKind::OpenDirectory, &name))?;
        let id = self.state().open_directory(path, create)?;
        Ok(Arc::new(SimulatedDirectory::new(self.clone(), id)))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let name = path.to_string_lossy().into();
        self.call(Operation::new(OperationKind::Remove, &name))?;
        self.state().remove_directory(path)
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        self.state().random.fill(&mut bytes);
        Ok(bytes)
    }

    fn runs_in_background(&self) -> bool {
        self.state().run_in_background
    }
}
