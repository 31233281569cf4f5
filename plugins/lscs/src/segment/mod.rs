//! Segments: what one flush or merge writes, and what is never changed afterwards.
//!
//! `format` has the bytes, `writer` turns sorted rows into them, `reader` finds rows in them again.

mod format;
mod reader;
mod writer;

pub use format::{BlockEntry, FOOTER_BYTES, Properties};
pub use reader::SegmentReader;
pub(crate) use reader::Wanted;
pub use writer::SegmentWriter;
