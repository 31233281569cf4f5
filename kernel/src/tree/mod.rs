//! The ordered map on copy-on-write pages: the catalog's home and the default storage of tables.
//!
//! A tree is a [`TreeRoot`]: the page to begin at, the height, and the count of rows. Pages never change;
//! a checkpoint merges a sorted run into the tree in one pass ([`write::apply`]), writes new pages for
//! every path it touched, and yields a new root. Old roots stay readable as long as somebody holds them.
//!
//! [`node`] is a page as bytes, [`read`] finds one key or walks many, [`write`] merges.

pub(crate) mod node;
pub(crate) mod read;
pub(crate) mod write;

use crate::error::KernelResult;
use crate::limits::TREE_HEIGHT_MAX;
use crate::page::PageRef;
use sochdb_encoding::codec::{self, Reader};

/// One state of a tree. On disk: page u64, crc u32, height u8, rows u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeRoot {
    /// The root page; without meaning while `height` is 0.
    pub page: PageRef,
    /// Levels of pages: 0 for an empty tree, 1 for a single leaf.
    pub height: u8,
    /// Rows in the leaves.
    pub rows: u64,
}

impl TreeRoot {
    /// A tree without rows.
    pub const EMPTY: TreeRoot = TreeRoot { page: PageRef { page: 0, crc: 0 }, height: 0, rows: 0 };

    pub fn encode(&self, out: &mut Vec<u8>) {
        codec::put_u64(out, self.page.page);
        codec::put_u32(out, self.page.crc);
        out.push(self.height);
        codec::put_u64(out, self.rows);
    }

    pub fn decode(reader: &mut Reader<'_>) -> KernelResult<TreeRoot> {
        let page = PageRef { page: reader.u64()?, crc: reader.u32()? };
        let root = TreeRoot { page, height: reader.u8()?, rows: reader.u64()? };
        if TREE_HEIGHT_MAX < root.height || (root.height == 0 && root != TreeRoot::EMPTY) {
            return Err(reader.corrupt("a tree's root", format!("{root:?}")).into());
        }
        Ok(root)
    }
}
