//! The C interface of duramen. `include/duramen.h` is generated from these files and is the manual.
//!
//! An exported function is three moves: check, call core, translate. Ownership shows in the signature: `Option<&T>`
//! borrows, `Option<Box<T>>` consumes, `Option<&mut MaybeUninit<T>>` is filled on success; NULL arrives as `None`. What
//! these types cannot say, a C string or an array with its length, is turned into a slice by `guard.rs`, the only
//! file with unsafe code. No panic leaves a function; `guard` there makes a status of it.
//!
//! `#[unsafe(no_mangle)]` counts as unsafe code for the compiler, so files that export cannot forbid it, and cbindgen
//! does not look into macros that could write the attribute for them. They allow it at their top, and
//! `core/tests/house_rules.rs` finds every other use of the word outside `guard.rs`.
#![deny(unsafe_code)]
#![allow(non_camel_case_types, reason = "types have the same names in Rust and C")]

pub mod entries;
mod guard;
pub mod hard_state;
pub mod log;
pub mod options;
pub mod status;
pub mod store;
pub mod version;
