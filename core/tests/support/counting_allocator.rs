//! An allocator that counts what each thread holds, the most it held, and what all threads hold together.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// The system's allocator, counted.
pub(crate) struct Counting;

static HELD_BY_ALL: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells without a destructor, which
// neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it is moved, both are held.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: the pointer came from `alloc` above, with this layout; the caller keeps the promises about `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: isize) {
    HELD_BY_ALL.fetch_add(bytes, Ordering::Relaxed);
    // A thread that ends may allocate after its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

/// How many bytes more all threads hold after `act` than before: of a store whose own thread gives back what a writer took. No
/// other test may run meanwhile.
#[allow(dead_code, reason = "most tests count their own thread")]
pub(crate) fn measure_all<T>(act: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD_BY_ALL.load(Ordering::Relaxed);
    let result = act();
    (result, HELD_BY_ALL.load(Ordering::Relaxed) - before)
}

/// How many bytes more this thread holds after `act` than before, and at most while it ran.
pub(crate) fn measure<T>(act: impl FnOnce() -> T) -> (T, isize, isize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = act();
    (result, HELD.get() - before, PEAK.get() - before)
}
