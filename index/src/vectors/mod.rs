//! Vectors: how near two are, how exactly they are kept, and the codes they are compared by on the way.

mod codes;
mod element;
mod metric;

pub use codes::{CodeKind, CodeQuery, Codebook};
pub use element::Element;
pub use metric::Metric;
