//! The ordered map on copy-on-write pages: the catalog's home and the default storage of tables.
//!
//! A tree is a [`TreeRoot`]: the page to begin at, the height, and the count of rows. Pages never change;
//! a checkpoint merges a sorted run into the tree in one pass ([`write::apply`]), writes new pages for
//! every path it touched, and yields a new root. Old roots stay readable as long as somebody holds them.
//!
//! [`node`] is a page as bytes, [`read`] finds one key or walks many, [`write`] merges.

pub mod node;
pub mod read;
pub mod write;

use crate::error::{KernelError, KernelResult};
use crate::limits::TREE_HEIGHT_MAX;
use crate::page::{DATA_FILE, PageRef};
use sochdb_encoding::wire_structs;

wire_structs! {
    /// One state of a tree.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct TreeRoot {
        /// The root page; without meaning while `height` is 0.
        pub page: PageRef,
        /// Levels of pages: 0 for an empty tree, 1 for a single leaf.
        pub height: u8,
        /// Rows in the leaves.
        pub rows: u64,
    }
}

impl TreeRoot {
    /// A tree without rows.
    pub const EMPTY: TreeRoot = TreeRoot { page: PageRef { page: 0, crc: 0 }, height: 0, rows: 0 };

    /// Refuses what no checkpoint can have written.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn check(self, at: u64) -> KernelResult<TreeRoot> {
        if TREE_HEIGHT_MAX < self.height || (self.height == 0 && self != TreeRoot::EMPTY) {
            return Err(KernelError::corrupt(DATA_FILE, at, "a tree's root", format!("{self:?}")));
        }
        Ok(self)
    }
}
