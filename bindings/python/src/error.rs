//! The border between core's errors and Python's: which class is raised, with which attributes.
//!
//! The classes themselves are in `_errors.py`, because most have two bases, and Rust can only create classes with one.
#![forbid(unsafe_code)]

use duramen::{Error, Result};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls core while other Python threads run. For whatever may block.
pub(crate) fn call<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| caught(work)).map_err(|error| raised(py, error))
}

/// Calls core without letting other Python threads run. For what is answered from memory.
pub(crate) fn look<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    caught(work).map_err(|error| raised(py, error))
}

/// A panic becomes an error like every other.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::Panic { detail: message(&*panic) }))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// An argument that Python's types let through and the log does not take.
pub(crate) fn invalid(py: Python<'_>, detail: impl Into<String>) -> PyErr {
    raised(py, Error::InvalidArgument { detail: detail.into() })
}

/// An index that no log can have, as a subscript.
pub(crate) fn no_such_index(py: Python<'_>, detail: &str) -> PyErr {
    let details = PyDict::new(py);
    exception(py, duramen::Code::NotFound as i32, detail, &details).unwrap_or_else(|error| error)
}

/// The Python exception for an error of core.
pub(crate) fn raised(py: Python<'_>, error: Error) -> PyErr {
    try_raised(py, &error).unwrap_or_else(|error| error)
}

fn try_raised(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let raised = exception(py, error.code() as i32, &error.to_string(), &details(py, error)?)?;
    if let Error::Poisoned { cause } = error {
        raised.set_cause(py, Some(try_raised(py, cause)?));
    }
    Ok(raised)
}

fn exception(py: Python<'_>, code: i32, message: &str, details: &Bound<'_, PyDict>) -> PyResult<PyErr> {
    static FROM_CODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let from_code = FROM_CODE.import(py, "duramen._errors", "from_code")?;
    Ok(PyErr::from_value(from_code.call((code, message), Some(details))?))
}

/// The fields of an error, which become attributes of the exception.
fn details<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyDict>> {
    let details = PyDict::new(py);
    match error {
        Error::NotFound { group, index, next } => {
            details.set_item("group", group)?;
            details.set_item("index", index)?;
            details.set_item("next", next)?;
        }
        Error::Compacted { group, index, boundary } => {
            details.set_item("group", group)?;
            details.set_item("index", index)?;
            details.set_item("boundary", boundary)?;
        }
        Error::Hole { group, index } => {
            details.set_item("group", group)?;
            details.set_item("index", index)?;
        }
        Error::NotContiguous { group, expected, got } => {
            details.set_item("group", group)?;
            details.set_item("expected", expected)?;
            details.set_item("got", got)?;
        }
        Error::TooLarge { what, size, limit } => {
            details.set_item("what", what)?;
            details.set_item("size", size)?;
            details.set_item("limit", limit)?;
        }
        Error::Corrupt { file, offset, batch, .. } => {
            details.set_item("filename", file)?;
            details.set_item("offset", offset)?;
            details.set_item("batch", batch)?;
        }
        Error::EntryLost { group, index, term, file, offset, .. } => {
            details.set_item("group", group)?;
            details.set_item("index", index)?;
            details.set_item("term", term)?;
            details.set_item("filename", file)?;
            details.set_item("offset", offset)?;
            details.set_item("batch", None::<u64>)?;
        }
        Error::StateLost { group, .. } => {
            details.set_item("group", group)?;
            details.set_item("filename", None::<&str>)?;
            details.set_item("offset", None::<u64>)?;
            details.set_item("batch", None::<u64>)?;
        }
        Error::Locked { path, pid } => {
            details.set_item("filename", path.as_os_str())?;
            details.set_item("pid", pid)?;
        }
        Error::NoSpace { op, file, source } | Error::Io { op, file, source } => {
            details.set_item("op", op)?;
            details.set_item("filename", file)?;
            add_errno(&details, source)?;
        }
        Error::UnsupportedFormat { file, found, supported } => {
            details.set_item("filename", file)?;
            details.set_item("found", found)?;
            details.set_item("supported", supported)?;
        }
        Error::NotAStore { path, .. } => details.set_item("filename", path.as_os_str())?,
        Error::Timeout { waited } => details.set_item("waited", waited.as_secs_f64())?,
        Error::NoMemory { bytes } => details.set_item("bytes", bytes)?,
        Error::OptionsConflict { option, open, asked } => {
            details.set_item("option", option)?;
            details.set_item("open", open)?;
            details.set_item("asked", asked)?;
        }
        // InvalidArgument, Poisoned, Closed, Forked, Panic: the message says all. A later variant: so far the same.
        _ => {}
    }
    Ok(details)
}

fn add_errno(details: &Bound<'_, PyDict>, source: &io::Error) -> PyResult<()> {
    details.set_item("errno", source.raw_os_error())?;
    details.set_item("strerror", source.to_string())
}
