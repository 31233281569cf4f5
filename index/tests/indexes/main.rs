//! Indexes against a model: whatever happens to a table, a search finds what a look at every row finds.

mod bad_input;
mod model;
mod ordered;
mod rig;
mod together;
