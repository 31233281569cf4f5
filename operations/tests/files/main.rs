//! Databases that are checked, backed up, damaged and repaired, all in memory.

mod archive;
mod backup;
mod beside;
mod check;
mod codecs;
mod engine;
mod forgetful;
mod repair;
mod repository;
mod world;
