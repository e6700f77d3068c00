//! The border to C: no panic crosses it, and every pointer that a Rust type cannot describe is turned into a slice here.
//!
//! This is the only file with unsafe code. Each function trusts the caller in C with what the header asks of it, that a
//! pointer leads to so many readable or writable values while the call lasts, and checks everything that can be checked.
#![allow(unsafe_code, reason = "the only file that needs it")]

use crate::entries::{duramen_entry, duramen_entry_ref};
use crate::status::{duramen_error, duramen_status};
use duramen::{Error, Result};
use std::any::Any;
use std::ffi::{CStr, OsStr, c_char};
use std::fmt::Display;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs the body of an exported function and translates what comes of it. A panic becomes `DURAMEN_PANIC`. Nothing is
/// left half done by it: core poisons a store whose write it interrupts, and outputs are filled last.
pub(crate) fn guard(
    error: Option<&mut MaybeUninit<duramen_error>>,
    body: impl FnOnce() -> Result<()>,
) -> duramen_status {
    let described = match catching(body) {
        Ok(()) => duramen_error::none(),
        Err(failure) => duramen_error::describe(&failure),
    };
    fill(error, described);
    described.code
}

/// Runs the body of an exported function that cannot fail; `otherwise` is its answer after a panic.
pub(crate) fn guard_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    let mut answer = otherwise;
    let _ = catching(|| {
        answer = body();
        Ok(())
    });
    answer
}

fn catching(body: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let detail = message_of(&*payload);
        // Dropping it could panic again, and nothing would catch that.
        std::mem::forget(payload);
        Err(Error::Panic { detail })
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// The argument `name`, which may not be NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T> {
    argument.ok_or_else(|| invalid(format!("{name} is NULL")))
}

/// Fills an output that the caller may leave out.
pub(crate) fn fill<T>(output: Option<&mut MaybeUninit<T>>, value: T) {
    if let Some(output) = output {
        output.write(value);
    }
}

pub(crate) fn invalid(detail: String) -> Error {
    Error::InvalidArgument { detail }
}

/// A path from C.
pub(crate) fn path<'a>(path: *const c_char, name: &str) -> Result<&'a Path> {
    if path.is_null() {
        return Err(invalid(format!("{name} is NULL")));
    }
    // SAFETY: it is not NULL, and the header asks for a string that ends with a zero byte and is not changed meanwhile.
    let text = unsafe { CStr::from_ptr(path) };
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// Values that C may hand over in arrays: whatever bytes lie there are one of them.
pub(crate) trait Plain {}

impl Plain for u8 {}
impl Plain for duramen_entry {}
impl Plain for duramen_entry_ref {}

/// An array from C that is only read. NULL is allowed for an empty one.
pub(crate) fn slice<'a, T: Plain>(first: *const T, len: usize, name: impl Display) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_array::<T>(first.cast::<u8>(), len, name)?;
    // SAFETY: it is not NULL, aligned, and no larger than memory can be; the header asks for so many values that are not
    // changed meanwhile. All bytes are a valid T.
    Ok(unsafe { std::slice::from_raw_parts(first, len) })
}

/// An array from C that is to be filled. NULL is allowed for an empty one.
pub(crate) fn slice_to_fill<'a, T: Plain>(
    first: *mut T,
    len: usize,
    name: impl Display,
) -> Result<&'a mut [MaybeUninit<T>]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_array::<T>(first.cast::<u8>(), len, name)?;
    // SAFETY: as in `slice`, and the header asks that nothing else uses the array meanwhile. `MaybeUninit` promises
    // nothing about what stands in it.
    Ok(unsafe { std::slice::from_raw_parts_mut(first.cast::<MaybeUninit<T>>(), len) })
}

fn check_array<T>(first: *const u8, len: usize, name: impl Display) -> Result<()> {
    let (size, align) = (size_of::<T>(), align_of::<T>());
    if first.is_null() {
        return Err(invalid(format!("{name} is NULL, its length is {len}")));
    }
    if !first.cast::<T>().is_aligned() {
        return Err(invalid(format!("{name} lies at {first:p}, which is not a multiple of {align}")));
    }
    match len.checked_mul(size) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(()),
        _ => Err(invalid(format!("{name} cannot have {len} elements of {size} bytes"))),
    }
}

/// Copies `from` to the beginning of `to`, which is at least as long.
pub(crate) fn copy<T: Copy>(from: &[T], to: &mut [MaybeUninit<T>]) {
    for (from, to) in from.iter().zip(to) {
        to.write(*from);
    }
}
