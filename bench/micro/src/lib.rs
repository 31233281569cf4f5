//! Small pieces of SochDB, each a function that does the same every time, measured by the instructions it takes.
//!
//! Time on a machine that others use is no measure for a change of a few in a hundred; the number of instructions is.
//! `valgrind --tool=callgrind` counts them on a processor of its own, while one function of ours is entered and until
//! it is left: [`measured`].
//!
//! ```text
//!   bench-micro compare BASE
//!     ├─ BASE is a file of counts            baseline    what they were, and where they were counted
//!     ├─ or a revision of this repository    revision    built below target/, counted by its own program
//!     ├─ one process for each benchmark      count       valgrind ─▶ bench-micro run NAME ─▶ measured(...)
//!     └─ a table; exit status 1 beyond the tolerance     compare
//! ```
//!
//! | room       | what it is                                                              |
//! |------------|-------------------------------------------------------------------------|
//! | `set/`     | the benchmarks                                                          |
//! | `count`    | one benchmark in valgrind                                               |
//! | `baseline` | counts in a file, and what they depend on besides the code              |
//! | `revision` | the counts of another revision                                          |
//! | `compare`  | two sets of counts, side by side                                        |
//! | `profile`  | which functions a benchmark's instructions are in                       |
//!
//! A benchmark knows no clock, no thread and no randomness but what a fixed seed gives. Its database lives in memory.
//! `cargo bench -p bench-micro` runs the same functions by the clock.

#![forbid(unsafe_code)]

pub mod baseline;
pub mod compare;
pub mod count;
pub mod profile;
pub mod revision;
pub mod set;

pub use set::{Micro, all, find};

/// What everything here returns. Its errors are for people, each with a way out.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program or a file that is needed is not there, or does not do what it should.
    #[error("{what}\nhelp: {help}")]
    Failed {
        /// What happened to which thing.
        what: String,
        /// The way out.
        help: String,
    },
}

impl Error {
    /// `what` happened; `help` is the way out.
    pub fn new(what: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Failed { what: what.into(), help: help.into() }
    }
}

/// The name by which valgrind knows [`measured`].
pub const MEASURED: &str = "*bench_micro*measured*";

/// Calls `run`. Valgrind counts what happens between the call and the return of this function, which therefore is
/// neither inlined nor ends with a jump.
#[inline(never)]
pub fn measured(run: &mut dyn FnMut()) {
    run();
    std::hint::black_box(());
}
