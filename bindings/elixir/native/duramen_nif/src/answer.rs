//! How a call ends: `:ok`, `{:ok, value}` or `{:error, %Duramen.Error{}}`, whatever happens inside.
#![forbid(unsafe_code)]

use duramen::{Error, Result};
use rustler::{Atom, Encoder, Env, NifException, Term, types::atom};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[derive(NifException)]
#[module = "Duramen.Error"]
struct ErrorTerm {
    code: Atom,
    message: String,
}

thread_local! {
    /// What the panic hook was told last.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics off the VM's standard error; their message goes into the error instead. It is the hook of this library's
/// own copy of the Rust runtime, no other library is affected.
pub(crate) fn print_no_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.to_string().replace('\n', " ");
        // Nothing to be done where the thread is ending already.
        let _ = PANIC.try_with(|last| last.replace(Some(message)));
    }));
}

/// `{:ok, value}` or `{:error, error}`.
pub(crate) fn answer<'a, T: Encoder>(env: Env<'a>, call: impl FnOnce() -> Result<T>) -> Term<'a> {
    guarded(env, || call().map(|value| (atom::ok(), value).encode(env)))
}

/// `:ok` or `{:error, error}`.
pub(crate) fn done<'a>(env: Env<'a>, call: impl FnOnce() -> Result<()>) -> Term<'a> {
    guarded(env, || call().map(|()| atom::ok().encode(env)))
}

fn guarded<'a>(env: Env<'a>, call: impl FnOnce() -> Result<Term<'a>>) -> Term<'a> {
    // What a panic leaves half done is the library's own, and it poisons the store.
    let result = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        let detail = PANIC.take().unwrap_or_else(|| "a panic without a message".into());
        Err(Error::Panic { detail })
    });
    result.unwrap_or_else(|error| (atom::error(), error_term(env, &error)).encode(env))
}

fn error_term(env: Env<'_>, error: &Error) -> ErrorTerm {
    let code = Atom::from_str(env, error.code().name()).unwrap_or_else(|_| atom::error());
    ErrorTerm { code, message: error.to_string() }
}
