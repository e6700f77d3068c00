//! `duramen.Log`: the log of one Raft group.
#![forbid(unsafe_code)]

use crate::entry::{Entry, HardState, Kind, NewEntry, Number, held};
use crate::error::{call, look, no_such_index};
use crate::iterator::EntryIterator;
use crate::opening::Opening;
use crate::store::{Store, described, not_picklable, seconds};
use duramen::{Durability, Error, Limit, Page, Result};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange, PySlice, PyTuple};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Data of one page of `read`, in bytes, where the caller does not say.
const READ_BYTES: u64 = 16 << 20;

/// The entries and small state of one Raft group in a store. May be used by many threads at once.
#[pyclass(frozen, module = "duramen")]
pub(crate) struct Log {
    opening: Arc<Opening>,
    group: u64,
}

impl Log {
    pub(crate) fn of(opening: Arc<Opening>, group: u64) -> Log {
        Log { opening, group }
    }

    fn core(&self) -> Result<duramen::Log> {
        Ok(self.opening.store()?.log(self.group))
    }

    fn bounds_from_memory(&self, py: Python<'_>) -> PyResult<Option<Range<u64>>> {
        look(py, || self.core()?.bounds())
    }

    /// The range that a caller means: what is not given is where the log begins and ends now.
    fn range(&self, py: Python<'_>, start: Option<u64>, stop: Option<u64>) -> PyResult<Range<u64>> {
        Ok(match (start, stop) {
            (Some(start), Some(stop)) => start..stop,
            (start, stop) => {
                let bounds = self.bounds_from_memory(py)?.unwrap_or_default();
                start.unwrap_or(bounds.start)..stop.unwrap_or(bounds.end)
            }
        })
    }

    fn read_page<'py>(&self, py: Python<'py>, range: Range<u64>, limit: Limit) -> PyResult<Bound<'py, PyList>> {
        let page = call(py, || self.core()?.read(range, limit))?;
        Entry::list_of(py, &page)
    }

    /// Appends behind the last entry, wherever that is. Returns the last index; none if there is none.
    ///
    /// Choosing the index and taking it are one step: where another writer of the group came first (a thread, another
    /// handle, another language in this process), core refuses the index, tells the one to take, and this tries again.
    /// So nobody holds a lock while another one's write is flushed, and writers share flushes.
    fn append_next(&self, py: Python<'_>, mut entries: Vec<NewEntry>, durable: bool) -> PyResult<Option<u64>> {
        call(py, || {
            let log = self.core()?;
            let mut first = log.bounds()?.map_or(1, |bounds| bounds.end);
            loop {
                number(&mut entries, first)?;
                match log.append_with(&entries, durability(durable)) {
                    Err(Error::NotContiguous { expected, .. }) if expected != first => first = expected,
                    appended => break appended.and_then(|_| last_index(&log, &entries)),
                }
            }
        })
    }
}

fn number(entries: &mut [NewEntry], first: u64) -> Result<()> {
    for (entry, ahead) in entries.iter_mut().zip(0..) {
        let index = first.checked_add(ahead);
        entry.index = index.ok_or_else(|| Error::InvalidArgument { detail: "the log has no indexes left".into() })?;
    }
    Ok(())
}

fn last_index(log: &duramen::Log, appended: &[NewEntry]) -> Result<Option<u64>> {
    match appended.last() {
        Some(entry) => Ok(Some(entry.index)),
        None => Ok(log.last()?.map(|last| last.index)),
    }
}

fn durability(durable: bool) -> Durability {
    if durable { Durability::Durable } else { Durability::Buffered }
}

#[pymethods]
impl Log {
    #[getter]
    fn group(&self) -> u64 {
        self.group
    }

    #[getter]
    fn store(&self) -> Store {
        Store::of(Arc::clone(&self.opening))
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.opening.path().into()
    }

    // -- writing

    /// Appends one entry behind the last one (at 1 in an untouched log) and returns its index.
    #[pyo3(
        signature = (data, *, term, kind = Kind(0), durable = true),
        text_signature = "($self, data, *, term, kind=0, durable=True)"
    )]
    fn append(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        term: Number,
        kind: Kind,
        durable: bool,
    ) -> PyResult<Option<u64>> {
        let entry = NewEntry { index: 0, term: term.0, kind: kind.0, data: held(data)? };
        self.append_next(py, vec![entry], durable)
    }

    /// Appends pairs of a term and a bytes-like object, all or none of them, and returns the last index of the log.
    #[pyo3(
        signature = (pairs, *, kind = Kind(0), durable = true),
        text_signature = "($self, pairs, *, kind=0, durable=True)"
    )]
    fn extend(&self, py: Python<'_>, pairs: &Bound<'_, PyAny>, kind: Kind, durable: bool) -> PyResult<Option<u64>> {
        let mut entries = Vec::new();
        for pair in pairs.try_iter()? {
            let pair = pair?;
            let Some((term, data)) = pair.cast::<PyTuple>().ok().and_then(pair_of) else {
                let found = pair.get_type().name()?.to_string();
                return Err(PyTypeError::new_err(format!("extend() takes pairs (term, data), got {found}")));
            };
            entries.push(NewEntry { index: 0, term: term.extract::<Number>()?.0, kind: kind.0, data: held(&data)? });
        }
        self.append_next(py, entries, durable)
    }

    /// Appends entries that name their indexes: the first must be the next one (any, in an empty log), the others must
    /// follow without a gap. All or none of them. Returns the last index of the log.
    #[pyo3(signature = (entries, *, durable = true))]
    fn append_entries(&self, py: Python<'_>, entries: &Bound<'_, PyAny>, durable: bool) -> PyResult<Option<u64>> {
        let mut new = Vec::new();
        for entry in entries.try_iter()? {
            new.push(entry?.cast::<Entry>()?.get().to_new(py));
        }
        call(py, || {
            let log = self.core()?;
            log.append_with(&new, durability(durable))?;
            last_index(&log, &new)
        })
    }

    // -- reading entries

    /// One entry by its index, or a list of entries by a slice. A slice is never shortened in silence.
    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = key.cast::<PySlice>() {
            let number = |name| slice.getattr(name)?.extract::<Option<Number>>().map(|n| n.map(|n| n.0));
            if !matches!(number("step")?, None | Some(1)) {
                return Err(PyValueError::new_err("a log is read forwards, one by one: the step must be 1"));
            }
            let range = self.range(py, number("start")?, number("stop")?)?;
            return Ok(self.read_page(py, range, Limit::none())?.into_any());
        }
        if key.lt(0).unwrap_or(false) {
            return Err(no_such_index(py, "a log counts by its own indexes, never from the end; see log.last"));
        }
        let Number(index) = key.extract()?;
        let page = call(py, || {
            let log = self.core()?;
            match index.checked_add(1) {
                Some(end) => log.read(index..end, Limit::none()),
                // `get` says what is wrong with the highest number.
                None => log.get(index).map(|_| Page::default()),
            }
        })?;
        Entry::list_of(py, &page)?.get_item(0)
    }

    /// The entries from `start` on, up to `stop` or the limit: at most so many bytes of data, at least one entry.
    #[pyo3(
        signature = (start, stop = None, limit_bytes = Some(Number(READ_BYTES))),
        text_signature = "($self, start, stop=None, limit_bytes=16777216)"
    )]
    fn read<'py>(
        &self,
        py: Python<'py>,
        start: Number,
        stop: Option<Number>,
        limit_bytes: Option<Number>,
    ) -> PyResult<Bound<'py, PyList>> {
        let limit = limit_bytes.map_or(Limit::none(), |bytes| Limit::bytes(bytes.0));
        self.read_page(py, self.range(py, Some(start.0), stop.map(|stop| stop.0))?, limit)
    }

    /// The entries from `start` to `stop`, by default all that are there now, read page by page.
    #[pyo3(signature = (start = None, stop = None))]
    fn iter(&self, py: Python<'_>, start: Option<Number>, stop: Option<Number>) -> PyResult<EntryIterator> {
        let range = self.range(py, start.map(|start| start.0), stop.map(|stop| stop.0))?;
        Ok(EntryIterator::of(Arc::clone(&self.opening), self.group, range))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<EntryIterator> {
        self.iter(py, None, None)
    }

    // Python would answer these two by reading the whole log, the second with the wrong indexes.

    fn __contains__(&self, _item: &Bound<'_, PyAny>) -> PyResult<bool> {
        Err(PyTypeError::new_err("a log does not search; for an index ask log.bounds"))
    }

    fn __reversed__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a log is read forwards"))
    }

    // -- from memory

    /// How many entries there are.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let count = look(py, || self.core()?.count())?;
        Ok(usize::try_from(count)?)
    }

    /// The term of the entry at `index`.
    fn term(&self, py: Python<'_>, index: Number) -> PyResult<u64> {
        look(py, || self.core()?.term(index.0))
    }

    /// The lowest index that is there; None while nothing is.
    #[getter]
    fn first(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.bounds_from_memory(py)?.map(|bounds| bounds.start))
    }

    /// The index behind the last one; None while any is accepted.
    #[getter]
    fn next(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.bounds_from_memory(py)?.map(|bounds| bounds.end))
    }

    /// The last index; None while there is none.
    #[getter]
    fn last(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(look(py, || self.core()?.last())?.map(|last| last.index))
    }

    /// `range(first, next)`; None while nothing is there.
    #[getter]
    fn bounds<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(bounds) = self.bounds_from_memory(py)? else { return Ok(None) };
        py.get_type::<PyRange>().call1((bounds.start, bounds.end)).map(Some)
    }

    /// Term, vote and commit; None if they were never set. Setting it is durable when it returns.
    #[getter]
    fn hard_state(&self, py: Python<'_>) -> PyResult<Option<HardState>> {
        Ok(look(py, || self.core()?.hard_state())?.map(HardState::from_core))
    }

    #[setter(hard_state)]
    fn hard_state_set(&self, py: Python<'_>, state: &Bound<'_, HardState>) -> PyResult<()> {
        self.set_hard_state(py, state, true)
    }

    /// Sets the hard state; the last one wins.
    #[pyo3(signature = (state, *, durable = true))]
    fn set_hard_state(&self, py: Python<'_>, state: &Bound<'_, HardState>, durable: bool) -> PyResult<()> {
        let state = state.get().to_core();
        call(py, || self.core()?.set_hard_state_with(state, durability(durable))).map(|_| ())
    }

    // -- durability, of the whole store

    /// Makes everything that is accepted durable; returns that position.
    fn sync(&self, py: Python<'_>) -> PyResult<u64> {
        call(py, || self.core()?.sync()).map(|position| position.0)
    }

    /// The position up to which writes are sequenced.
    #[getter]
    fn accepted(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.core()?.accepted()).map(|position| position.0)
    }

    /// The position up to which writes can be read and are safe against the death of the process.
    #[getter]
    fn written(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.core()?.written()).map(|position| position.0)
    }

    /// The position up to which writes survive a power cut.
    #[getter]
    fn durable(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.core()?.durable()).map(|position| position.0)
    }

    /// Waits until everything accepted so far is durable, at most `timeout` seconds. It asks for no flush.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.opening.wait(py, seconds(py, timeout)?)
    }

    // -- the end

    /// Closes the store that the log lies in, with all logs that came from the same opening.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.opening.close(py)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.opening.is_closed()
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        look(slf.py(), || slf.get().opening.enter())?;
        Ok(slf)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _type: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.opening.close(py)
    }

    fn __repr__(&self) -> String {
        format!("<duramen.Log group={} {}>", self.group, described(&self.opening))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_picklable("Log"))
    }
}

fn pair_of<'py>(tuple: &Bound<'py, PyTuple>) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    match tuple.len() {
        2 => Some((tuple.get_item(0).ok()?, tuple.get_item(1).ok()?)),
        _ => None,
    }
}
