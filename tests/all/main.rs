//! What crosses crates: the real binary end to end, crashes of real processes, and the rules about
//! this repository that a machine can check.

mod authors;
mod bad_input;
mod book;
mod codecs;
mod collector;
mod columns;
mod commands;
mod conformance;
mod contract;
mod crash;
mod demo;
mod examples;
mod fixtures;
mod golden;
mod index_commands;
mod indexes;
mod kit;
mod observers;
mod packages;
mod plugins;
mod policy;
mod program;
mod python;
mod reload;
#[allow(dead_code, reason = "the kernel's own tests use all of it")]
#[path = "../../kernel/tests/sim/sim_disk.rs"]
mod sim_disk;
#[allow(dead_code, reason = "the same")]
#[path = "../../kernel/tests/sim/sim_vfs.rs"]
mod sim_vfs;
mod tables;
mod tidy;
