//! What a storage engine must show before it serves a database: that it opens every segment of its tables.
//!
//! A new version of an engine that cannot read what an old one wrote is refused when it is loaded; what served
//! before goes on serving.

use sochdb_kernel::inspect::Segment;
use sochdb_kernel::plugin::{Extension, SegmentRead, StorageExtension};
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use std::sync::Arc;

/// Opens the segments of all tables of `kernel` that `engine` keeps, by its name, with it.
///
/// # Errors
/// `Plugin` that names the engine's version and the first table that it cannot read.
pub fn check(kernel: &Kernel, engine: &dyn StorageExtension) -> KernelResult<()> {
    let info = Extension::info(engine);
    let mut tables = kernel.begin_read()?.tables()?;
    tables.retain(|table| table.options.storage.as_deref() == Some(&*info.name));
    if tables.is_empty() {
        return Ok(());
    }
    let held = kernel.hold()?;
    for table in tables {
        let Some(base) = held.bases.get(&table.id) else { continue };
        let open = |meta: &sochdb_kernel::inspect::SegmentMeta| {
            Arc::new(Segment::new(meta.clone(), held.access().clone())) as Arc<dyn SegmentRead>
        };
        let segments: Vec<_> = base.segments.iter().map(open).collect();
        if let Err(error) = engine.open(&table.context(), &segments) {
            let (version, table) = (&info.version, &table.name);
            let text = format!("version {version} cannot read the table '{table}': {error}");
            return Err(KernelError::plugin(&info.name, PluginFault::Refused, text));
        }
    }
    Ok(())
}
