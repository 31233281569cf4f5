//! What hooks and procedures need, all at once: `use sochdb_guest::prelude::*;`.

pub use crate::error::{Error, ErrorCode, Result};
pub use crate::hooks::{Change, ChangeKind, Decision, Hooks};
pub use crate::procedure::{Procedure, ProcedureInfo};
pub use crate::record::Record;
pub use crate::rows::{Condition, ScanOptions, Table, Transaction};
pub use sochdb_encoding::range::KeyRange;
pub use sochdb_encoding::row::Value;
pub use sochdb_encoding::select::Comparison;
