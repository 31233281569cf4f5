//! What crosses crates: the real binary end to end, crashes of real processes, and the rules about
//! this repository that a machine can check.

mod bad_input;
mod commands;
mod contract;
mod crash;
mod demo;
mod fixtures;
mod golden;
mod plugins;
mod policy;
mod program;
mod tidy;
