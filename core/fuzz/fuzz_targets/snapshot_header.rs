//! Any bytes as the header of a snapshot.

#![no_main]

use duramen_fuzz::{STORE, watched};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| watched(STORE, duramen::fuzzing::snapshot_header, bytes));
