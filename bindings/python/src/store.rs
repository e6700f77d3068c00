//! `duramen.Store` and `duramen.open`.
#![forbid(unsafe_code)]

use crate::entry::Number;
use crate::error::{call, invalid, look};
use crate::log::Log;
use crate::opening::Opening;
use duramen::Options;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One open directory: one write-ahead log on disk, shared by many groups, owned by one process.
#[pyclass(frozen, module = "duramen")]
pub(crate) struct Store {
    opening: Arc<Opening>,
}

impl Store {
    pub(crate) fn of(opening: Arc<Opening>) -> Store {
        Store { opening }
    }
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (dir, *, create = true, exclusive = false, segment_bytes = None, entry_bytes_max = None,
        batch_bytes_max = None, groups_max = None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
    fn new(
        py: Python<'_>,
        dir: PathBuf,
        create: bool,
        exclusive: bool,
        segment_bytes: Option<Number>,
        entry_bytes_max: Option<Number>,
        batch_bytes_max: Option<Number>,
        groups_max: Option<Number>,
    ) -> PyResult<Store> {
        let mut options = Options::new().create(create).exclusive(exclusive);
        if let Some(Number(bytes)) = segment_bytes {
            options = options.segment_bytes(bytes);
        }
        if let Some(Number(bytes)) = entry_bytes_max {
            options = options.entry_bytes_max(bytes);
        }
        if let Some(Number(bytes)) = batch_bytes_max {
            options = options.batch_bytes_max(bytes);
        }
        if let Some(Number(groups)) = groups_max {
            // What does not fit is above the ceiling, which core names.
            options = options.groups_max(usize::try_from(groups).unwrap_or(usize::MAX));
        }
        Ok(Store { opening: Arc::new(Opening::open(py, dir, &options)?) })
    }

    /// The log of one group; it comes into being with its first write.
    #[pyo3(signature = (group = Number(0)), text_signature = "($self, group=0)")]
    fn log(&self, group: Number) -> Log {
        Log::of(Arc::clone(&self.opening), group.0)
    }

    /// The groups that have entries or state, ascending.
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        look(py, || self.opening.store()?.groups())
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.opening.path().into()
    }

    /// Makes everything that is accepted durable; returns that position.
    fn sync(&self, py: Python<'_>) -> PyResult<u64> {
        call(py, || self.opening.store()?.sync()).map(|position| position.0)
    }

    /// The position up to which writes are sequenced.
    #[getter]
    fn accepted(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.opening.store()?.accepted()).map(|position| position.0)
    }

    /// The position up to which writes can be read and are safe against the death of the process.
    #[getter]
    fn written(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.opening.store()?.written()).map(|position| position.0)
    }

    /// The position up to which writes survive a power cut.
    #[getter]
    fn durable(&self, py: Python<'_>) -> PyResult<u64> {
        look(py, || self.opening.store()?.durable()).map(|position| position.0)
    }

    /// Waits until everything accepted so far is durable, at most `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.opening.wait(py, seconds(py, timeout)?)
    }

    /// Flushes, reports what could not be flushed, and ends this opening with all its logs.
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
        format!("<duramen.Store {}>", described(&self.opening))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_picklable("Store"))
    }
}

/// Opens the store in `dir` and returns the log of group 0, whose `close` closes the store.
#[pyfunction]
#[pyo3(signature = (dir, *, create = true, exclusive = false, segment_bytes = None, entry_bytes_max = None,
    batch_bytes_max = None, groups_max = None))]
#[expect(clippy::too_many_arguments, reason = "they are Python's keywords")]
pub(crate) fn open(
    py: Python<'_>,
    dir: PathBuf,
    create: bool,
    exclusive: bool,
    segment_bytes: Option<Number>,
    entry_bytes_max: Option<Number>,
    batch_bytes_max: Option<Number>,
    groups_max: Option<Number>,
) -> PyResult<Log> {
    Store::new(py, dir, create, exclusive, segment_bytes, entry_bytes_max, batch_bytes_max, groups_max)
        .map(|store| store.log(Number(0)))
}

/// A timeout as Python gives it: seconds, none for no end. What is below zero is over at once, as in `threading`.
pub(crate) fn seconds(py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    match timeout {
        Some(seconds) if seconds.is_nan() => Err(invalid(py, "the timeout is not a number")),
        // Longer than any duration is no end.
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
        None => Ok(None),
    }
}

/// The part of `repr` that all handles share.
pub(crate) fn described(opening: &Opening) -> String {
    let closed = if opening.is_closed() { " closed" } else { "" };
    format!("path={:?}{closed}", opening.path().display().to_string())
}

pub(crate) fn not_picklable(class: &str) -> PyErr {
    let text =
        format!("cannot pickle or copy a duramen.{class}: it belongs to this process; pass the directory instead");
    PyTypeError::new_err(text)
}
