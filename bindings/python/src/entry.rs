//! The plain values: entries, hard state, and how numbers and bytes come from Python.
#![forbid(unsafe_code)]

use crate::error::invalid;
use duramen::Page;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PyTuple, PyType};

/// An entry as core takes it: its bytes held by the Python object they came in.
pub(crate) type NewEntry = duramen::Entry<PyBackedBytes>;

/// One entry of a log: its place, the term it was created in, the caller's own tag, and its bytes.
#[pyclass(frozen, module = "duramen")]
pub(crate) struct Entry {
    #[pyo3(get)]
    index: u64,
    #[pyo3(get)]
    term: u64,
    #[pyo3(get)]
    kind: u8,
    data: Py<PyBytes>,
}

#[pymethods]
impl Entry {
    #[classattr]
    #[pyo3(name = "__match_args__")]
    const MATCH_ARGS: (&'static str, &'static str, &'static str, &'static str) = ("index", "term", "data", "kind");

    #[new]
    #[pyo3(signature = (index, term, data, kind = Kind(0)), text_signature = "(index, term, data, kind=0)")]
    fn new(index: Number, term: Number, data: &Bound<'_, PyAny>, kind: Kind) -> PyResult<Entry> {
        Ok(Entry { index: index.0, term: term.0, kind: kind.0, data: to_bytes(data)?.unbind() })
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> &Bound<'py, PyBytes> {
        self.data.bind(py)
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Entry>() else { return Ok(py.NotImplemented()) };
        let other = other.get();
        let head = |entry: &Entry| (entry.index, entry.term, entry.kind);
        let equal = head(self) == head(other) && self.data.bind(py).as_bytes() == other.data.bind(py).as_bytes();
        Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.index, self.term, self.kind, self.data(py)).into_pyobject(py)?.hash()
    }

    /// Without the bytes: what is printed ends in logs.
    fn __repr__(&self, py: Python<'_>) -> String {
        let (bytes, Entry { index, term, kind, .. }) = (self.data.bind(py).as_bytes().len(), self);
        format!("Entry(index={index}, term={term}, kind={kind}, data=<{bytes} bytes>)")
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Rebuild<'py>> {
        let (py, entry) = (slf.py(), slf.get());
        let arguments = (entry.index, entry.term, entry.data(py), entry.kind).into_pyobject(py)?;
        Ok((slf.get_type(), arguments))
    }
}

/// How `pickle` and `copy` make a value again.
type Rebuild<'py> = (Bound<'py, PyType>, Bound<'py, PyTuple>);

impl Entry {
    pub(crate) fn to_new(&self, py: Python<'_>) -> NewEntry {
        let data = PyBackedBytes::from(self.data.bind(py).clone());
        NewEntry { index: self.index, term: self.term, kind: self.kind, data }
    }

    /// The entries of a page, each with bytes of its own.
    pub(crate) fn all_of(py: Python<'_>, page: &Page) -> PyResult<Vec<Py<Entry>>> {
        page.iter().map(|entry| Py::new(py, Entry::from_core(py, &entry)?)).collect()
    }

    pub(crate) fn list_of<'py>(py: Python<'py>, page: &Page) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, Entry::all_of(py, page)?)
    }

    fn from_core(py: Python<'_>, entry: &duramen::Entry<&[u8]>) -> PyResult<Entry> {
        // NB: `PyBytes::new` would panic where there is no memory.
        let data = PyBytes::new_with(py, entry.data.len(), |bytes| {
            bytes.copy_from_slice(entry.data);
            Ok(())
        })?;
        Ok(Entry { index: entry.index, term: entry.term, kind: entry.kind, data: data.unbind() })
    }
}

/// What a Raft node must find again: the latest term, the vote in it (None: nobody), the commit index where it is kept.
#[pyclass(frozen, eq, hash, get_all, module = "duramen")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct HardState {
    term: u64,
    vote: Option<u64>,
    commit: Option<u64>,
}

#[pymethods]
impl HardState {
    #[classattr]
    #[pyo3(name = "__match_args__")]
    const MATCH_ARGS: (&'static str, &'static str, &'static str) = ("term", "vote", "commit");

    #[new]
    #[pyo3(signature = (term, vote = None, commit = None))]
    fn new(term: Number, vote: Option<Number>, commit: Option<Number>) -> HardState {
        HardState { term: term.0, vote: vote.map(|vote| vote.0), commit: commit.map(|commit| commit.0) }
    }

    fn __repr__(&self) -> String {
        let number = |number: Option<u64>| number.map_or("None".into(), |number| number.to_string());
        format!("HardState(term={}, vote={}, commit={})", self.term, number(self.vote), number(self.commit))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Rebuild<'py>> {
        let state = slf.get();
        Ok((slf.get_type(), (state.term, state.vote, state.commit).into_pyobject(slf.py())?))
    }
}

impl HardState {
    pub(crate) fn to_core(&self) -> duramen::HardState {
        duramen::HardState { term: self.term, vote: self.vote, commit: self.commit }
    }

    pub(crate) fn from_core(state: duramen::HardState) -> HardState {
        HardState { term: state.term, vote: state.vote, commit: state.commit }
    }
}

/// A Python integer from 0 to 2^64-1; another integer is an `InvalidArgumentError`, anything else a `TypeError`.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Number> {
        object.extract::<u64>().map(Number).map_err(|error| not_in_range(object, error, "2^64-1"))
    }
}

/// The caller's tag of an entry: a Python integer from 0 to 255.
#[derive(Clone, Copy)]
pub(crate) struct Kind(pub(crate) u8);

impl<'py> FromPyObject<'_, 'py> for Kind {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Kind> {
        object.extract::<u8>().map(Kind).map_err(|error| not_in_range(object, error, "255"))
    }
}

fn not_in_range(object: Borrowed<'_, '_, PyAny>, error: PyErr, highest: &str) -> PyErr {
    let py = object.py();
    match error.is_instance_of::<PyOverflowError>(py) {
        true => invalid(py, format!("the number does not lie in 0..={highest}: {}", short(&object))),
        false => error,
    }
}

/// A number as text; some are too long to print.
fn short(object: &Bound<'_, PyAny>) -> String {
    object.str().map(|text| text.to_string()).unwrap_or_else(|_| "a very large number".into())
}

/// The bytes of a bytes-like object. `bytes` cannot change, so they are held; anything else is copied.
pub(crate) fn held(data: &Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    Ok(PyBackedBytes::from(to_bytes(data)?))
}

fn to_bytes<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let copied = PyMemoryView::from(data)?.call_method0("tobytes")?;
    copied.cast_into().map_err(|_| PyTypeError::new_err("memoryview.tobytes() did not return bytes"))
}
