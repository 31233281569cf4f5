//! What a storage engine tells of the rows it keeps: for operators to look at and for planners to count with.

use crate::row::Value;

/// What one table has in its storage, without what is only in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StorageStats {
    /// Levels from the youngest rows to the oldest.
    pub levels: Vec<LevelStats>,
    /// Columns in the table's order; none for a table of plain keys and values.
    pub columns: Vec<ColumnStats>,
}

/// One level: rows that are sorted among themselves. A younger level hides an older one's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Segments.
    pub segments: u64,
    /// Rows, those included that say that their key was deleted.
    pub rows: u64,
    /// Rows that say that their key was deleted.
    pub deleted: u64,
    /// Bytes as the engine wrote them, before a codec.
    pub bytes: u64,
}

/// One column, over all levels: a row that was overwritten counts as often as it is still kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnStats {
    /// Its name.
    pub name: String,
    /// Values and nulls.
    pub rows: u64,
    /// Nulls.
    pub nulls: u64,
    /// Bytes of the values as a row has them.
    pub raw_bytes: u64,
    /// Bytes of the values as the engine wrote them.
    pub bytes: u64,
    /// About how many different values there are, if the engine knows.
    pub distinct: Option<u64>,
    /// A value that none is less than, if the engine knows one. Not always a value that is there.
    pub minimum: Option<Value>,
    /// A value that none is greater than, if the engine knows one. Not always a value that is there.
    pub maximum: Option<Value>,
    /// How the values are written.
    pub encodings: Vec<EncodingStats>,
}

/// How often an encoding was chosen for a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodingStats {
    /// The encoding's name.
    pub name: String,
    /// Pieces of the column that are written so.
    pub chunks: u64,
    /// Bytes of their values as rows have them.
    pub raw_bytes: u64,
    /// Bytes of them as they were written.
    pub bytes: u64,
}
