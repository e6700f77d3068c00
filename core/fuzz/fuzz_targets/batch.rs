//! Any bytes as a batch.

#![no_main]

use duramen_fuzz::{DECODER, watched};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| watched(DECODER, duramen::fuzzing::batch, bytes));
