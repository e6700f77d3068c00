//! Iteration over a log: page after page, so that memory is bounded and the border is crossed once per page.
#![forbid(unsafe_code)]

use crate::entry::Entry;
use crate::error::{call, invalid};
use crate::opening::Opening;
use duramen::Limit;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Data of one page, in bytes.
const PAGE_BYTES: u64 = 1 << 20;
/// Entries of one page: small ones take far more memory as objects than as bytes.
const PAGE_ENTRIES: u64 = 4096;

/// What `iter(log)` returns. It holds the store open, like every handle, and ends after the first error.
#[pyclass(frozen, module = "duramen")]
pub(crate) struct EntryIterator {
    opening: Arc<Opening>,
    group: u64,
    ahead: Mutex<Ahead>,
}

struct Ahead {
    page: VecDeque<Py<Entry>>,
    rest: Range<u64>,
}

impl EntryIterator {
    pub(crate) fn of(opening: Arc<Opening>, group: u64, rest: Range<u64>) -> EntryIterator {
        EntryIterator { opening, group, ahead: Mutex::new(Ahead { page: VecDeque::new(), rest }) }
    }

    /// The next page of the range, and where to go on.
    fn read(&self, py: Python<'_>, rest: Range<u64>) -> PyResult<(VecDeque<Py<Entry>>, u64)> {
        // Core's limit is either in bytes or in entries, so the range itself is cut.
        let end = rest.end.min(rest.start.saturating_add(PAGE_ENTRIES));
        let page = call(py, || self.opening.store()?.log(self.group).read(rest.start..end, Limit::bytes(PAGE_BYTES)))?;
        Ok((Entry::all_of(py, &page)?.into(), page.next()))
    }
}

#[pymethods]
impl EntryIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Entry>>> {
        let ahead = self.ahead.lock_py_attached(py);
        let mut ahead = ahead.map_err(|_| invalid(py, "an earlier step of this iterator failed in the middle"))?;
        if ahead.page.is_empty() && !ahead.rest.is_empty() {
            let rest = ahead.rest.clone();
            ahead.rest.start = rest.end;
            let (page, next) = self.read(py, rest)?;
            (ahead.page, ahead.rest.start) = (page, next);
        }
        Ok(ahead.page.pop_front())
    }
}
