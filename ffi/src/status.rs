//! The numbers that functions return and the error struct that belongs to the caller.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use duramen::Error;
use std::ffi::{CStr, c_char};

/// What a function returns: DURAMEN_OK, or one of the numbers below. Numbers keep their meaning for ever, and new ones may
/// come: treat one that you do not know as a failure.
pub type duramen_status = i32;

/// The call did what it says.
pub const DURAMEN_OK: duramen_status = 0;
/// The call can never succeed as it is; nothing was changed.
pub const DURAMEN_INVALID_ARGUMENT: duramen_status = 1;
/// There is no entry at this index: it lies at or past the end of the log.
pub const DURAMEN_NOT_FOUND: duramen_status = 2;
/// The index lies at or below the boundary: the entry was purged.
pub const DURAMEN_COMPACTED: duramen_status = 3;
/// An append must begin at the next index and go on without a gap or an overlap; nothing was changed.
pub const DURAMEN_NOT_CONTIGUOUS: duramen_status = 4;
/// A limit of the options would be passed; nothing was changed.
pub const DURAMEN_TOO_LARGE: duramen_status = 5;
/// Bytes that were acknowledged as durable are not there any more, or not as they were written.
pub const DURAMEN_CORRUPT: duramen_status = 6;
/// An earlier write or flush failed, so nothing more is written. Reads go on; opening the store again heals it.
pub const DURAMEN_POISONED: duramen_status = 7;
/// Another process, or an exclusive opening in this one, owns the directory.
pub const DURAMEN_LOCKED: duramen_status = 8;
/// The store was closed; open it again.
pub const DURAMEN_CLOSED: duramen_status = 9;
/// The disk is full; nothing was changed, and the store goes on by itself when space returns.
pub const DURAMEN_NO_SPACE: duramen_status = 10;
/// The operating system reported an error.
pub const DURAMEN_IO: duramen_status = 11;
/// The store was written by a newer version, or uses a feature that this version does not know.
pub const DURAMEN_UNSUPPORTED_FORMAT: duramen_status = 12;
/// The path does not hold a store.
pub const DURAMEN_NOT_A_STORE: duramen_status = 13;
/// What was waited for did not happen in time; it may still happen.
pub const DURAMEN_TIMEOUT: duramen_status = 14;
/// The handle belongs to the parent process; open the store again in this one.
pub const DURAMEN_FORKED: duramen_status = 15;
/// Memory could not be allocated; nothing was changed.
pub const DURAMEN_NO_MEMORY: duramen_status = 16;
/// The index lies inside the log but no entry was ever put there, or it was removed.
pub const DURAMEN_HOLE: duramen_status = 17;
/// The store is open in this process with another value of an option.
pub const DURAMEN_OPTIONS_CONFLICT: duramen_status = 18;
/// An internal error was caught. If a write was under way, the store is poisoned.
pub const DURAMEN_PANIC: duramen_status = 99;

const MESSAGE_BYTES: usize = 508;

/// What went wrong. It belongs to the caller, usually on the stack, and there is nothing to free. A function that takes
/// one fills it in any case, with DURAMEN_OK and an empty message after success; NULL is allowed where the message is not
/// wanted. Always 512 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct duramen_error {
    /// The status that the function returned.
    pub code: duramen_status,
    /// What happened, where, and what can be done: UTF-8, one line, ending with a zero byte. What does not fit is left out
    /// in the middle.
    pub message: [c_char; 508],
}

const _: () = assert!(size_of::<duramen_error>() == 512 && MESSAGE_BYTES == 508);

impl duramen_error {
    pub(crate) fn none() -> Self {
        duramen_error { code: DURAMEN_OK, message: [0; MESSAGE_BYTES] }
    }

    pub(crate) fn describe(error: &Error) -> Self {
        let text = shortened(error.to_string().replace(['\0', '\n', '\r'], " "), MESSAGE_BYTES - 1);
        let mut described = duramen_error { code: error.code() as duramen_status, ..duramen_error::none() };
        for (to, from) in described.message.iter_mut().zip(text.bytes()) {
            *to = from as c_char;
        }
        described
    }
}

/// The text in at most so many bytes. The middle goes, because a message begins with what happened and often ends with
/// why, with a long path between them.
fn shortened(text: String, bytes_max: usize) -> String {
    const CUT: &str = " ... ";
    if text.len() <= bytes_max {
        return text;
    }
    let kept = (bytes_max - CUT.len()) / 2;
    let (head, tail) = (text.floor_char_boundary(kept), text.ceil_char_boundary(text.len() - kept));
    [&text[..head], CUT, &text[tail..]].concat()
}

/// The name of a status in lower case, the same in every language: "ok", "not_found" and so on; "unknown" for a number that this
/// version does not know. Never NULL, never to be freed. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_status_name(status: duramen_status) -> *const c_char {
    name_of(status).as_ptr()
}

fn name_of(status: duramen_status) -> &'static CStr {
    match status {
        DURAMEN_OK => c"ok",
        DURAMEN_INVALID_ARGUMENT => c"invalid_argument",
        DURAMEN_NOT_FOUND => c"not_found",
        DURAMEN_COMPACTED => c"compacted",
        DURAMEN_NOT_CONTIGUOUS => c"not_contiguous",
        DURAMEN_TOO_LARGE => c"too_large",
        DURAMEN_CORRUPT => c"corrupt",
        DURAMEN_POISONED => c"poisoned",
        DURAMEN_LOCKED => c"locked",
        DURAMEN_CLOSED => c"closed",
        DURAMEN_NO_SPACE => c"no_space",
        DURAMEN_IO => c"io",
        DURAMEN_UNSUPPORTED_FORMAT => c"unsupported_format",
        DURAMEN_NOT_A_STORE => c"not_a_store",
        DURAMEN_TIMEOUT => c"timeout",
        DURAMEN_FORKED => c"forked",
        DURAMEN_NO_MEMORY => c"no_memory",
        DURAMEN_HOLE => c"hole",
        DURAMEN_OPTIONS_CONFLICT => c"options_conflict",
        DURAMEN_PANIC => c"panic",
        _ => c"unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duramen::Code;

    #[test]
    fn every_code_has_its_name() {
        for code in Code::ALL {
            assert_eq!(name_of(code as duramen_status).to_str(), Ok(code.name()));
        }
        assert_eq!((name_of(0), name_of(-1), name_of(98)), (c"ok", c"unknown", c"unknown"));
    }
}
