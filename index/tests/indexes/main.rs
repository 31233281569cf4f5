//! Indexes against a model: whatever happens to a table, a search finds what a look at every row finds.

mod bad_input;
mod crashes;
mod model;
mod ordered;
mod rig;
mod together;

#[allow(dead_code, reason = "the simulator's tests use more of it")]
#[path = "../../../kernel/tests/sim/sim_disk.rs"]
mod sim_disk;
#[allow(dead_code, reason = "the simulator's tests use more of it")]
#[path = "../../../kernel/tests/sim/sim_vfs.rs"]
mod sim_vfs;
