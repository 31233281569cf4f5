//! Hooks and procedures through the real host: what they may do, what they cannot, and whose transaction it is.

mod audit;
mod hooks;
mod indexes;
mod procedures;
mod quotas;
mod tenants;
mod world;
