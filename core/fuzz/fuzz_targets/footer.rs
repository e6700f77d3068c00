//! Any bytes as the footer of a sealed segment.

#![no_main]

use duramen_fuzz::{STORE, watched};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| watched(STORE, duramen::fuzzing::footer, bytes));
