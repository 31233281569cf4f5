//! Does the health say what is wrong, and only then? And what a restart would take.

use crate::sim_vfs::{EIO, Fault, Lasts};
use crate::{disk, fill, open, options, quick};
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionCapability, ExtensionInfo, RunCursor, SegmentRead, SegmentSink,
    Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, Options, PluginFault, SegmentId, Slice,
    TableOptions,
};
use sochdb_operations::{HealthStatus, KernelCatalog, KernelHealth, KernelRecovery, RestartCost};
use sochdb_sim::merge_by_flush;
use std::sync::Arc;

#[test]
fn a_failed_sync_of_the_log_is_failed_health_until_the_database_is_opened_again() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "t", 3, 10);
    assert_eq!(kernel.health(), HealthStatus::Healthy);
    // The write of the next commit succeeds, its sync does not.
    let at = vfs.calls() + 2;
    vfs.set_fault(Some(Fault { at, allocating: false, lasts: Lasts::Once, errno: EIO }));
    kernel.run(|tx| tx.put("t", b"k", b"v")).unwrap_err();
    let (_, call) = vfs.fired().unwrap();
    assert!(call.starts_with("sync wal/"), "{call}");
    let health = kernel.health();
    assert!(matches!(&health, HealthStatus::Failed { why } if why.contains("log")), "{health}");
    assert!(!health.accepts_writes());
    drop(kernel);
    vfs.set_fault(None);
    vfs.restart();
    assert_eq!(open(&vfs).health(), HealthStatus::Healthy);
}

#[test]
fn failing_checkpoints_degrade_health_until_one_succeeds() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "t", 50, 100);
    let at = vfs.allocations() + 1;
    vfs.set_fault(Some(Fault { at, allocating: true, lasts: Lasts::All, errno: EIO }));
    kernel.checkpoint().unwrap_err();
    let health = kernel.health();
    assert!(matches!(&health, HealthStatus::Degraded { why } if why.len() == 1), "{health}");
    assert!(health.to_string().starts_with("degraded: checkpoints fail: "), "{health}");
    assert!(health.accepts_writes());
    vfs.set_fault(None);
    kernel.checkpoint().unwrap();
    assert_eq!(kernel.health(), HealthStatus::Healthy);
}

#[test]
fn a_closed_database_has_failed_and_a_read_only_one_is_read_only() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "t", 1, 1);
    kernel.close().unwrap();
    assert_eq!(kernel.health().word(), "failed");
    let kernel = Kernel::open(quick(&vfs), Options { read_only: true, ..options() }).unwrap();
    assert_eq!(kernel.health(), HealthStatus::ReadOnly { lost: Vec::new() });
    assert_eq!(kernel.health().to_string(), "read-only");
    assert!(!kernel.health().accepts_writes());
}

#[test]
fn a_checkpoint_makes_the_next_start_cheap() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "t", 100, 100);
    let cost = kernel.restart_cost();
    assert!(10_000 < cost.log_bytes && 10_000 < cost.memtable_bytes, "{cost:?}");
    assert!(kernel.last_recovery().created);
    KernelRecovery::checkpoint(&kernel).unwrap();
    let RestartCost { log_bytes, memtable_bytes, checkpoint_due } = kernel.restart_cost();
    assert!(log_bytes < 1_000 && memtable_bytes < 1_000, "{log_bytes} {memtable_bytes}");
    assert!(!checkpoint_due);
}

#[test]
fn a_database_is_a_catalog() {
    let mut kernel = open(&disk());
    KernelCatalog::create_table(&mut kernel, "a", Default::default()).unwrap();
    kernel.rename_table("a", "b").unwrap();
    assert_eq!(KernelCatalog::table(&kernel, "b").unwrap().name, "b");
    assert!(KernelCatalog::table(&kernel, "a").is_err());
    kernel.drop_table("b").unwrap();
    assert!(KernelCatalog::tables(&kernel).unwrap().is_empty());
}

/// A storage engine that takes nothing.
struct Broken;

impl Extension for Broken {
    fn info(&self) -> ExtensionInfo {
        let text = |text: &str| text.to_owned();
        ExtensionInfo {
            name: text("broken"),
            version: text("1"),
            description: text("for tests"),
            author: text("nobody"),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }
}

impl StorageExtension for Broken {
    fn flush(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
        _: Box<dyn RunCursor>,
        _: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        Err(KernelError::plugin("broken", PluginFault::Refused, "not today"))
    }

    fn plan_compaction(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        Ok(None)
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        merge_by_flush(self, table, segments, drop_deleted, sink)
    }

    fn open(
        &self,
        _: &TableContext,
        _: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        Ok(Arc::new(NoRows))
    }
}

/// Reads the segments that there are: none.
struct NoRows;

impl StorageReader for NoRows {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        Ok(vec![None; keys.len()])
    }

    fn scan(
        &self,
        _: &KeyRange,
        _: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        Err(KernelError::plugin("broken", PluginFault::Refused, "there are no rows"))
    }
}

#[test]
fn a_table_whose_storage_fails_degrades_health_by_its_name() {
    let kernel = open(&disk());
    kernel.plugins().register_storage(Arc::new(Broken));
    let storage = Some("broken".to_owned());
    kernel.create_table("poor", TableOptions { storage, ..TableOptions::default() }).unwrap();
    fill(&kernel, "poor", 3, 10);
    fill(&kernel, "fine", 3, 10);
    assert_eq!(kernel.health(), HealthStatus::Healthy);
    assert_eq!(kernel.checkpoint().unwrap().failed.len(), 1);
    let health = kernel.health().to_string();
    assert!(health.starts_with("degraded: the storage of table 'poor' fails: "), "{health}");
    assert!(health.contains("not today"), "{health}");
    kernel.run(|tx| tx.drop_table("poor")).unwrap();
    kernel.checkpoint().unwrap();
    assert_eq!(kernel.health(), HealthStatus::Healthy);
}
