//! What crosses crates: the real binary end to end, crashes of real processes, and the rules about
//! this repository that a machine can check.

mod authors;
mod backups;
mod bad_input;
mod book;
mod bulk_imports;
mod codecs;
mod collector;
mod columns;
mod commands;
mod conformance;
mod contract;
mod crash;
mod demo;
mod dumps;
mod examples;
mod filters;
mod fixtures;
#[cfg(feature = "parquet")]
mod formats;
mod golden;
mod guide;
mod imports;
mod index_commands;
mod indexes;
mod kit;
mod observers;
mod packages;
mod page;
mod plugins;
mod policy;
mod program;
mod programs;
mod python;
mod reload;
mod rows;
mod shell;
#[allow(dead_code, reason = "the kernel's own tests use all of it")]
#[path = "../../kernel/tests/sim/sim_disk.rs"]
mod sim_disk;
#[allow(dead_code, reason = "the same")]
#[path = "../../kernel/tests/sim/sim_vfs.rs"]
mod sim_vfs;
mod tables;
mod tenants;
mod tidy;
mod upkeep;
