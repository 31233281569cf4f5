//! Hooks and procedures through the real host: what they may do, what they cannot, and whose transaction it is.

mod hooks;
mod procedures;
mod tenants;
mod world;
