//! What crosses crates: the real binary end to end, crashes of real processes, and the rules about
//! this repository that a machine can check.

mod bad_input;
mod codecs;
mod collector;
mod columns;
mod commands;
mod conformance;
mod contract;
mod crash;
mod demo;
mod fixtures;
mod golden;
mod index_commands;
mod indexes;
mod observers;
mod plugins;
mod policy;
mod program;
mod reload;
#[allow(dead_code, reason = "the kernel's own tests use all of it")]
#[path = "../../kernel/tests/sim/sim_disk.rs"]
mod sim_disk;
#[allow(dead_code, reason = "the same")]
#[path = "../../kernel/tests/sim/sim_vfs.rs"]
mod sim_vfs;
mod tables;
mod tidy;
