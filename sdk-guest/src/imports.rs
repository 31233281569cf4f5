//! What plugins import that work with rows: the host's, or natively the fakes of `testing`,
//! which have the same methods.

#[cfg(not(all(feature = "testing", not(target_family = "wasm"))))]
pub(crate) use crate::bindings::data::sochdb::plugin::{codecs, plugins, rows, search};
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub(crate) use crate::testing::imports::{codecs, plugins, rows, search};
