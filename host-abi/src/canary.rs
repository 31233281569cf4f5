//! What a storage engine must show before it serves a database: that it opens every segment of its tables.
//!
//! A new version of an engine that cannot read what an old one wrote is refused when it is loaded; what served
//! before goes on serving.

use sochdb_kernel::inspect::{Held, Segment, SegmentMeta};
use sochdb_kernel::plugin::{Extension, SegmentRead, StorageExtension};
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault, TableInfo};
use std::sync::Arc;

/// Opens the segments of all tables of `kernel` that `engine` keeps, by its name, with it.
///
/// # Errors
/// `Plugin` that names the engine's version and the first table that it cannot read.
pub fn check(kernel: &Kernel, engine: &dyn StorageExtension) -> KernelResult<()> {
    open_all(&Tables::of_engine(kernel, &Extension::info(engine).name)?, engine)
}

/// Opens the segments of `tables` with `engine`.
///
/// # Errors
/// As [`check`].
pub(crate) fn open_all(tables: &Tables, engine: &dyn StorageExtension) -> KernelResult<()> {
    for (table, segments) in tables.iter() {
        if let Err(error) = engine.open(&table.context(), &segments) {
            let (info, table) = (Extension::info(engine), &table.name);
            let text = format!("version {} cannot read the table '{table}': {error}", info.version);
            return Err(KernelError::plugin(&info.name, PluginFault::Refused, text));
        }
    }
    Ok(())
}

/// Some tables, with their segments as the last checkpoint left them. They stay while this lives; commits and
/// checkpoints go on.
pub(crate) struct Tables {
    held: Option<Held>,
    tables: Vec<TableInfo>,
}

impl Tables {
    /// The tables that the engine `name` keeps.
    ///
    /// # Errors
    /// `Closed`, and what keeps the catalog from being read.
    pub(crate) fn of_engine(kernel: &Kernel, name: &str) -> KernelResult<Tables> {
        let mut tables = kernel.begin_read()?.tables()?;
        tables.retain(|table| table.options.storage.as_deref() == Some(name));
        let held = if tables.is_empty() { None } else { Some(kernel.hold()?) };
        Ok(Tables { held, tables })
    }

    /// Each that has been in a checkpoint.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TableInfo, Vec<Arc<dyn SegmentRead>>)> {
        self.tables.iter().filter_map(|table| {
            let held = self.held.as_ref()?;
            let base = held.bases.get(&table.id)?;
            let open = |meta: &SegmentMeta| {
                Arc::new(Segment::new(meta.clone(), held.access().clone())) as Arc<dyn SegmentRead>
            };
            Some((table, base.segments.iter().map(open).collect()))
        })
    }
}
