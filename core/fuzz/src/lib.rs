//! What all fuzz targets share: a watch over memory. A decoder may make no allocation whose size comes from a number that
//! nothing has proven yet.
//!
//! While an input is tried, one allocation may be 64 times as large as the input (decoded values are larger than their
//! bytes), and so much besides as the target allows: 64 KiB for a decoder, more where a store is opened.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a decoder may allocate at once, beside what the input allows, in bytes.
pub const DECODER: usize = 64 << 10;
/// And what an open store may: it reads pieces of files.
pub const STORE: usize = 1 << 20;

/// Tries an input.
pub fn watched(besides: usize, target: fn(&[u8]), bytes: &[u8]) {
    LIMIT_BYTES.store(64 * bytes.len() + besides, Ordering::Relaxed);
    target(bytes);
    LIMIT_BYTES.store(usize::MAX, Ordering::Relaxed);
}

/// The largest single allocation allowed now.
static LIMIT_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static WATCHED: Watched = Watched;

/// The system's allocator, which refuses what is above [`LIMIT_BYTES`].
struct Watched;

impl Watched {
    fn check(size_bytes: usize) {
        // A panic on its way out allocates for its backtrace; it is reported, not this.
        if size_bytes > LIMIT_BYTES.load(Ordering::Relaxed) && !std::thread::panicking() {
            let limit_bytes = LIMIT_BYTES.swap(usize::MAX, Ordering::Relaxed);
            panic!("the target asked for {size_bytes} bytes at once, {limit_bytes} are allowed for this input");
        }
    }
}

// SAFETY: every call is passed on unchanged. A size above the limit ends the process: libFuzzer's panic hook aborts
// before anything unwinds.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        // SAFETY: the caller's promise is the same as the one asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size_bytes: usize) -> *mut u8 {
        Self::check(size_bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size_bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
