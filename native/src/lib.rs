//! Native plugins: shared libraries behind a versioned C interface, loaded only when the embedder vouches
//! for them.
//!
//! **There is no sandbox here.** A native plugin is part of the process. It can read and change every
//! byte of the database and of the program around it, never return, or end the process. What a
//! WebAssembly plugin is kept from by construction, a native one is only asked not to do:
//!
//! | | WebAssembly plugin | native plugin |
//! |-----------------------------------|---------------------|------------------------------------------|
//! | memory of host and other plugins  | out of reach        | open                                     |
//! | files, network, environment       | only what's granted | everything that the process may          |
//! | fuel, time and memory limits      | enforced            | none; a call that hangs holds its caller |
//! | a crash                           | an error            | ends the process                         |
//! | tenants, audit, quarantine        | yes                 | no                                       |
//! | replaced while the database runs  | yes                 | no; its code stays loaded                |
//!
//! So nothing is loaded that a [`Trust`] does not cover, and saying so takes `unsafe`. What is done:
//!
//! ```text
//!   file ── read once ──▶ bytes ── blake3 ──▶ Trust ──▶ sealed copy ── dlopen ──▶ table ──▶ instance
//!                                              │ no: Denied, and nothing ran        │
//!                                              ▼                                    └─ checked once
//! ```
//!
//! 1. Trust is asked before the library is opened, because opening runs its constructors.
//! 2. The bytes that are loaded are those that were hashed: the system is given a private copy of them,
//!    never the file's name again. The other libraries that a library needs are found by the system and
//!    are not hashed.
//! 3. A library once opened stays for the life of the process; loading the same bytes again finds it.
//! 4. Each database has its own instance, which ends when the database closes; no call reaches it later.
//! 5. Answers are checked as those of WebAssembly plugins are: null pointers, lengths, UTF-8, names,
//!    bounds, writes just past a buffer. A pointer that is wrong without being null cannot be noticed.
//!
//! `native/README.md` tells how to write a plugin, `native/include/sochdb_plugin.h` is the interface, and
//! `native/example` has a codec in Rust and the same in C.

#![deny(unsafe_code)]

mod elf;
#[allow(unsafe_code, reason = "calls the functions of a table; nothing else is there")]
mod instance;
mod json;
#[allow(unsafe_code, reason = "opens the library and reads its table; nothing else is there")]
mod library;
mod plugin;
mod private_copy;
mod trust;

pub use plugin::NativePlugin;
pub use sochdb_native_abi as abi;
pub use trust::Trust;

#[cfg(test)]
mod tests;
