//! One opening of a store: shared by the `Store`, `Log` and iterator objects that came from one `open`.
//!
//! - It ends by `close`, which is told to all of them, or when the last of them is collected. Then it ends without a flush,
//!   and Python's user gets a `ResourceWarning`.
//! - In a forked child it is dead: a child has the parent's memory and file descriptors but not its threads, and two
//!   processes that write one log destroy it. Its handles answer `ForkedError`, and their end touches nothing. What core
//!   knows of open stores was copied, too, so a process forked while a store was open cannot open one at all. Python tells
//!   a child that it is one ([`forked`]); to ask the operating system in every call would cost more than the calls that
//!   are answered from memory.
#![forbid(unsafe_code)]

use crate::error::{call, caught};
use duramen::{Error, Options, Result, Store};
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How often this process's line was forked since the module was loaded.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// How many openings of this process have not ended.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Was there one in the parent when this process was forked?
static INHERITED: AtomicBool = AtomicBool::new(false);

/// How long a wait goes on before it looks for signals, so that it can be interrupted.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Opening {
    /// None only while it is dropped.
    store: Option<Store>,
    path: PathBuf,
    /// [`FORKS`] when it was opened.
    forks: u64,
    closed: AtomicBool,
}

impl Opening {
    pub(crate) fn open(py: Python<'_>, path: PathBuf, options: &Options) -> PyResult<Opening> {
        call(py, || {
            let live = Live::begin()?;
            let store = Some(options.open(&path)?);
            let opening = Opening { store, path, forks: FORKS.load(Ordering::Acquire), closed: AtomicBool::new(false) };
            live.goes_on();
            Ok(opening)
        })
    }

    /// The store, unless this is not the process that opened it.
    pub(crate) fn store(&self) -> Result<&Store> {
        match &self.store {
            Some(store) if self.is_ours() => Ok(store),
            _ => Err(Error::Forked),
        }
    }

    fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Like a file of Python, it can be closed twice.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        call(py, || {
            let store = self.store()?;
            match self.closed.swap(true, Ordering::AcqRel) {
                true => Ok(()),
                false => {
                    let _ended = Ended;
                    store.close()
                }
            }
        })
    }

    /// Fails where `with` is used on something closed.
    pub(crate) fn enter(&self) -> Result<()> {
        self.store()?;
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Waits until everything accepted so far is durable; forever, if `timeout` is none. Signals are handled meanwhile.
    pub(crate) fn wait(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<()> {
        let position = call(py, || self.store()?.accepted())?;
        let mut left = timeout.unwrap_or(Duration::MAX);
        loop {
            let step = left.min(SIGNALS_EVERY);
            let reached = call(py, || match self.store()?.wait(position, step) {
                Ok(()) => Ok(true),
                Err(Error::Timeout { .. }) if step < left => Ok(false),
                Err(Error::Timeout { .. }) => Err(Error::Timeout { waited: timeout.unwrap_or_default() }),
                Err(error) => Err(error),
            })?;
            if reached {
                return Ok(());
            }
            py.check_signals()?;
            left -= step;
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some(store) = self.store.take() else { return };
        if !self.is_ours() {
            std::mem::forget(store);
            return;
        }
        let unclosed = !self.closed.swap(true, Ordering::AcqRel);
        let end = move || {
            let _ended = unclosed.then_some(Ended);
            let _ = caught(|| {
                drop(store);
                Ok(())
            });
        };
        // Objects are dropped while attached, but for the last ones of an interpreter that ends.
        let mut end = Some(end);
        Python::try_attach(|py| {
            if unclosed {
                warn_unclosed(py, &self.path);
            }
            if let Some(end) = end.take() {
                py.detach(end);
            }
        });
        if let Some(end) = end {
            end();
        }
    }
}

/// What Python calls in a forked child, before anything else runs there.
#[pyfunction]
#[pyo3(name = "_forked")]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Ordering::AcqRel);
    if LIVE.swap(0, Ordering::AcqRel) > 0 {
        INHERITED.store(true, Ordering::Release);
    }
}

/// An opening that is about to begin, counted from before to after.
struct Live;

impl Live {
    fn begin() -> Result<Live> {
        if INHERITED.load(Ordering::Acquire) {
            return Err(Error::Forked);
        }
        LIVE.fetch_add(1, Ordering::AcqRel);
        Ok(Live)
    }

    fn goes_on(self) {
        std::mem::forget(self);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        drop(Ended);
    }
}

/// An opening that ends, however its end goes.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::AcqRel);
    }
}

fn warn_unclosed(py: Python<'_>, path: &Path) {
    // This runs wherever an object is collected: an exception that is on its way must not be lost.
    let on_its_way = PyErr::take(py);
    let text = CString::new(format!("unclosed duramen store {}", path.display())).unwrap_or_default();
    if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &text, 1) {
        error.write_unraisable(py, None);
    }
    if let Some(error) = on_its_way {
        error.restore(py);
    }
}
