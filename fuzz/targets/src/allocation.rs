//! Counts what a thread allocates, so that a decoder which believes a length before it has checked it is
//! caught.
//!
//! Every binary that links this crate allocates through [`Counting`]. It counts per thread, so that tests
//! which run side by side do not see each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// No input may make a decoder hold more bytes at once than this many times its own length.
pub const BYTES_PER_INPUT_BYTE: usize = 16;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
pub struct Counting;

fn count(bytes: isize) {
    // A thread that ends frees its last bytes when its counters are gone.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches two integers of the
// thread, which need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        count(new as isize - layout.size() as isize);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(at, layout, new) }
    }
}

/// Runs `f`, which was given `input` bytes and needs `constant` bytes whatever it is given.
///
/// # Panics
/// When it held more at once than [`BYTES_PER_INPUT_BYTE`] times its input and the constant.
pub fn bounded<T>(input: usize, constant: usize, f: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    MOST.set(before);
    let result = f();
    let most = MOST.get() - before;
    let bound = input * BYTES_PER_INPUT_BYTE + constant;
    assert!(
        most <= bound as isize,
        "{most} bytes allocated for {input} bytes of input, at most {bound}"
    );
    result
}
