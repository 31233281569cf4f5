//! The host against guests: those we ship, those that are wrong, and those that mean harm.

mod database;
mod directories;
mod guest;
mod hostile;
mod index;
mod log_files;
mod outbox;
mod quarantine;
mod refused;
mod reload;
mod shipped;
mod storage;
mod void;
mod zstd;
