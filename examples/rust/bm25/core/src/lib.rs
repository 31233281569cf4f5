//! What the hook `bm25` and the procedures of `bm25-search` share.
//!
//! ```text
//!   text ──words──▶ Document ──Index::apply──▶ postings, counters    (the hook, at each write)
//!   query ─words──▶ postings ──Index::search─▶ the best k            (the procedure `search`)
//! ```
//!
//! Two components come of it, since one component is of one kind: a hook hears of changes, a procedure is called.
//! Both see the same rows of one ordinary table, so a search in a transaction finds what that transaction sees.

mod index;
mod score;
mod texts;
mod words;

pub use index::{Edit, Hit, INDEX_SUFFIX, Index, Query, get_all, index_of};
pub use score::Bm25;
pub use texts::Texts;
pub use words::{Document, WORD_BYTES_MAX, words};
