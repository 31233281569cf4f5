//! How much one table takes on disk, without reading its rows.

use sochdb_kernel::inspect::{Access, PageRef, Segment, TreeRoot, node};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::{Kernel, KernelResult, TableId};

/// What a table had on disk at the last checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Rows. In a storage plugin as they were counted while they were flushed: what was overwritten or deleted
    /// since is among them until segments are merged.
    pub rows: u64,
    /// Segments of a storage plugin.
    pub segments: u64,
    /// Bytes of the segments before a codec; 0 for a tree.
    pub raw_bytes: u64,
    /// Bytes of the data file's pages: of the segments, or of the tree without large values.
    pub stored_bytes: u64,
}

/// The size of the table `id`; zeros when no checkpoint has seen it.
///
/// # Errors
/// `Closed`, `Corrupt` when a page or index is broken.
pub fn table_size(kernel: &Kernel, id: TableId) -> KernelResult<TableSize> {
    let held = kernel.hold()?;
    let Some(base) = held.bases.get(&id) else { return Ok(TableSize::default()) };
    let access = held.access();
    let mut size = TableSize { rows: base.tree.rows.max(base.rows), ..TableSize::default() };
    for meta in &base.segments {
        size.segments += 1;
        size.raw_bytes += meta.raw;
        let extents = Segment::new(meta.clone(), access.clone()).pages()?;
        size.stored_bytes +=
            extents.iter().map(|(_, pages)| pages * PAGE_BYTES as u64).sum::<u64>();
    }
    let TreeRoot { page, height, .. } = base.tree;
    if let Some(level) = height.checked_sub(1) {
        size.stored_bytes += pages(access, page, level)? * PAGE_BYTES as u64;
    }
    Ok(size)
}

/// The pages of the tree below `at`; the leaves need not be read to be counted.
fn pages(access: &Access, at: PageRef, level: u8) -> KernelResult<u64> {
    if level == 0 {
        return Ok(1);
    }
    let page = access.pager.page(at, level)?;
    let count = node::count(&page);
    if level == 1 {
        return Ok(1 + count as u64);
    }
    (0..count)
        .try_fold(1, |sum, index| Ok(sum + pages(access, node::child(&page, index), level - 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_kernel::{Options, TableOptions};

    #[test]
    fn a_tree_is_as_large_as_its_pages() {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        kernel.create_table("t", TableOptions::default()).unwrap();
        let id = kernel.begin_read().unwrap().table("t").unwrap().id;
        assert_eq!(table_size(&kernel, id).unwrap(), TableSize::default());
        let rows = |n: u32| (n.to_be_bytes(), [7; 100]);
        kernel
            .run(|tx| (0..5_000).map(rows).try_for_each(|(key, value)| tx.put("t", &key, &value)))
            .unwrap();
        kernel.checkpoint().unwrap();
        let size = table_size(&kernel, id).unwrap();
        assert_eq!((size.rows, size.segments, size.raw_bytes), (5_000, 0, 0));
        let raw = 5_000 * 104;
        assert!(raw < size.stored_bytes && size.stored_bytes < raw * 2, "{size:?}");
    }
}
