//! Vectors: how near two are, how exactly they are kept, and the codes they are compared by on the way.
//!
//! ```text
//!   metric    the distance of two vectors                 element   a vector as a row of bytes
//!   lanes     loops that become SIMD                      exact     a query against such rows
//!   groups    many rows, from memory side by side         codes/    short forms: sq8, rabitq, pq
//! ```

mod codes;
mod element;
mod exact;
mod groups;
mod lanes;
mod metric;

pub use codes::{CodeKind, CodeQuery, Codebook};
pub use element::Element;
pub use exact::ExactQuery;
pub use metric::{Metric, dot, norm};
