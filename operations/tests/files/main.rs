//! Databases that are checked, backed up, damaged and repaired, all in memory.

mod backup;
mod check;
mod engine;
mod forgetful;
mod repair;
mod world;
