//! One opening of a store: shared by the `Store`, `Log` and iterator objects that came from one `open`.
//!
//! - It ends by `close`, which is told to all of them, or when the last of them is collected. Then it ends without a flush,
//!   and Python's user gets a `ResourceWarning`.
//! - In a forked child it is dead: a child has the parent's memory and file descriptors but not its threads, and two
//!   processes that write one log destroy it. Its handles answer `ForkedError`, and their end touches nothing. What core
//!   knows of open stores was copied, too, so a process forked while a store was open cannot open one at all.
#![forbid(unsafe_code)]

use crate::error::{call, caught};
use duramen::{Error, Options, Result, Store};
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// The process that counts in [`LIVE`]; 0 before the first opening.
static HOME: AtomicU32 = AtomicU32::new(0);
/// How many openings of that process have not ended.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How long a wait goes on before it looks for signals, so that it can be interrupted.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Opening {
    /// None only while it is dropped.
    store: Option<Store>,
    path: PathBuf,
    pid: u32,
    closed: AtomicBool,
}

impl Opening {
    pub(crate) fn open(py: Python<'_>, path: PathBuf, options: &Options) -> PyResult<Opening> {
        call(py, || {
            let live = Live::begin()?;
            let store = Some(options.open(&path)?);
            let opening = Opening { store, path, pid: process::id(), closed: AtomicBool::new(false) };
            live.goes_on();
            Ok(opening)
        })
    }

    /// The store, unless this is not the process that opened it.
    pub(crate) fn store(&self) -> Result<&Store> {
        match &self.store {
            Some(store) if self.pid == process::id() => Ok(store),
            _ => Err(Error::Forked),
        }
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
        if self.pid != process::id() {
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

/// An opening that is about to begin, counted from before to after.
struct Live;

impl Live {
    fn begin() -> Result<Live> {
        let (pid, home) = (process::id(), HOME.load(Ordering::Acquire));
        if home != pid && LIVE.load(Ordering::Acquire) > 0 {
            return Err(Error::Forked);
        }
        HOME.store(pid, Ordering::Release);
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
