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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{DURAMEN_OK, DURAMEN_PANIC};
    use std::panic::panic_any;

    /// Status, code and message of a guarded call.
    fn guarded(body: impl FnOnce() -> Result<()>) -> (duramen_status, duramen_status, String) {
        let mut error = Box::new_uninit();
        let status = guard(Some(&mut *error), body);
        // SAFETY: a guarded call fills the error in any case.
        let error = unsafe { error.assume_init() };
        // SAFETY: a message ends with a zero byte.
        let message = unsafe { CStr::from_ptr(error.message.as_ptr()) };
        (status, error.code, message.to_str().expect("a message is UTF-8").to_owned())
    }

    #[test]
    fn success_leaves_an_empty_message() {
        assert_eq!(guarded(|| Ok(())), (DURAMEN_OK, DURAMEN_OK, String::new()));
        assert_eq!(guard(None, || Ok(())), DURAMEN_OK);
    }

    #[test]
    fn panic_becomes_a_status_with_its_message() {
        let panicked = |message: &str| (DURAMEN_PANIC, DURAMEN_PANIC, format!("internal error: {message}"));
        assert_eq!(guarded(|| panic!("an index of {}", 7)), panicked("an index of 7"));
        assert_eq!(guarded(|| panic!("an index")), panicked("an index"));
        assert_eq!(guarded(|| panic_any(7)), panicked("a panic without a message"));
        assert_eq!(guard(None, || panic!("unseen")), DURAMEN_PANIC);
        assert_eq!(guard_or(7, || panic!("unseen")), 7);
    }

    #[test]
    fn panic_whose_payload_panics_again_is_contained() {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        assert_eq!(guarded(|| panic_any(Again)).0, DURAMEN_PANIC);
    }

    #[test]
    fn long_message_loses_its_middle() {
        let path = "ü".repeat(600);
        let (_, _, message) = guarded(|| Err(invalid(format!("{path}\nwhy\0"))));
        assert!((505..=507).contains(&message.len()), "{}", message.len());
        assert!(message.starts_with("invalid argument: ü") && message.ends_with("ü why "), "{message}");
        assert!(message.contains("ü ... ü"), "{message}");
        let exact = "x".repeat(507 - "invalid argument: ".len());
        assert_eq!(guarded(|| Err(invalid(exact.clone()))).2, format!("invalid argument: {exact}"));
    }

    #[test]
    fn arrays_are_checked_before_they_are_used() {
        let bytes = [1, 2, 3];
        assert_eq!(slice(bytes.as_ptr(), 3, "bytes").ok(), Some(&bytes[..]));
        assert_eq!(slice::<u8>(std::ptr::null(), 0, "bytes").ok(), Some(&[][..]));
        for (first, len) in [(std::ptr::null(), 1), (bytes.as_ptr(), usize::MAX), (bytes.as_ptr(), 1 << 63)] {
            assert!(slice(first, len, "bytes").is_err(), "{len}");
            assert!(slice_to_fill(first.cast_mut(), len, "bytes").is_err(), "{len}");
        }
    }
}
