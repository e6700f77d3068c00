//! Which library this is, so that a program can compare it with the header it was compiled against.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use std::ffi::{CStr, c_char};

/// The version of the binary interface that this header describes. Within one version functions, statuses and options are
/// only added.
pub const DURAMEN_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version contains no zero byte"),
};

/// The version of the library, such as "0.1.0"; compare it with DURAMEN_VERSION. Never NULL, never to be freed. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The version of the library's binary interface. A program that was compiled with another DURAMEN_ABI_VERSION must not go
/// on. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_abi_version() -> u32 {
    DURAMEN_ABI_VERSION
}
