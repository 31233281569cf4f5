//! The check of a whole database, on the kernel of the models: the sources of `sochdb-operations`, of
//! which only this room is needed here.

#![allow(dead_code, unused_imports, reason = "other rooms of `sochdb-operations` use the rest")]

#[path = "../../../../operations/src/archive/mod.rs"]
mod archive;
#[path = "../../../../operations/src/check.rs"]
mod check;
#[path = "../../../../operations/src/log.rs"]
mod log;
#[path = "../../../../operations/src/log_reader.rs"]
mod log_reader;
#[path = "../../../../operations/src/progress.rs"]
mod progress;
#[path = "../../../../operations/src/walk.rs"]
mod walk;

pub use check::check;
