//! LSCS, judged natively by the conformance kit. `tests/all/conformance` judges it inside the sandbox.

use sochdb_guest::testing::{self, Kit};
use sochdb_plugin_lscs::Lscs;

#[test]
fn lscs_is_a_storage_engine() {
    testing::storage::<Lscs>();
}

#[test]
fn lscs_with_small_segments_is_a_storage_engine() {
    Kit::default().setting("segment_mb", "1").storage::<Lscs>();
}
