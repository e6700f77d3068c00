//! The extension module `duramen._duramen`: the public API of the crate `duramen` as Python's classes.
//!
//! Every method is three moves: take the arguments apart, call core, translate what came back. Three rules hold for all:
//!
//! - A call that may block on the disk or on another thread detaches from the interpreter first ([`error::call`]); what
//!   it needs of Python's objects it holds by then.
//! - No panic leaves the module as pyo3's `PanicException`, which `except Exception` does not catch: each becomes
//!   `PanicError` ([`error::caught`]).
//! - Classes are frozen, and what changes inside them is behind an atomic or a lock, so that they are safe without the
//!   global interpreter lock, too.
#![forbid(unsafe_code)]

mod entry;
mod error;
mod iterator;
mod log;
mod opening;
mod store;

use duramen::{Code, Error, Result};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

#[pymodule]
fn _duramen(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("_CODES", codes(module.py())?)?;
    module.add_class::<entry::Entry>()?;
    module.add_class::<entry::HardState>()?;
    module.add_class::<iterator::EntryIterator>()?;
    module.add_class::<log::Log>()?;
    module.add_class::<store::Store>()?;
    module.add_function(wrap_pyfunction!(store::open, module)?)?;
    module.add_function(wrap_pyfunction!(panic, module)?)?;
    when_forked(&wrap_pyfunction!(opening::forked, module)?)
}

fn when_forked(in_child: &Bound<'_, PyCFunction>) -> PyResult<()> {
    let py = in_child.py();
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", in_child)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks)).map(|_| ())
}

/// The table of codes, by name, for the test that compares it with the classes in `_errors.py`.
fn codes(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let codes = PyDict::new(py);
    for code in Code::ALL {
        codes.set_item(code.name(), code as i32)?;
    }
    Ok(codes)
}

/// Panics behind the border, for the test that no panic passes it.
#[pyfunction]
#[pyo3(name = "_panic")]
fn panic(py: Python<'_>, message: &str) -> PyResult<()> {
    error::call(py, || -> Result<(), Error> { panic!("{message}") })
}
