//! RocksDB: a log-structured merge tree with background threads of its own.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use rocksdb::{
    BlockBasedOptions, Cache, ErrorKind, FlushOptions, OptimisticTransactionDB,
    OptimisticTransactionOptions, Options, SnapshotWithThreadMode, SstFileWriter,
    WriteBatchWithTransaction, WriteOptions,
};
use std::path::PathBuf;
use std::time::Duration;

/// Bits per key, as its tuning guide advises.
const BLOOM_BITS: f64 = 10.0;
/// Properties that are zero once nothing goes on in the background.
const BUSY: [&str; 2] = ["rocksdb.compaction-pending", "rocksdb.num-running-compactions"];

pub struct Rocksdb {
    database: OptimisticTransactionDB,
    options: Options,
    write: WriteOptions,
    path: PathBuf,
}

impl Rocksdb {
    pub fn open(setup: &Setup<'_>) -> Result<Rocksdb> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(setup.cache_bytes));
        blocks.set_bloom_filter(BLOOM_BITS, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        options.set_write_buffer_size(setup.memtable_bytes);
        options.set_compression_type(match setup.zstd {
            true => rocksdb::DBCompressionType::Zstd,
            false => rocksdb::DBCompressionType::Lz4,
        });
        let database = OptimisticTransactionDB::open(&options, setup.path)?;
        let mut write = WriteOptions::default();
        write.set_sync(setup.synced);
        Ok(Rocksdb { database, options, write, path: setup.path.to_path_buf() })
    }

    fn number(&self, property: &str) -> Option<u64> {
        self.database.property_int_value(property).ok().flatten()
    }
}

impl Store for Rocksdb {
    fn put(&self, rows: &[Row]) -> Result<()> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        rows.iter().for_each(|(key, value)| batch.put(key, value));
        Ok(self.database.write_opt(batch, &self.write)?)
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot(self.database.snapshot()))
    }

    fn settle(&self) -> Result<()> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.database.flush_opt(&flush)?;
        // Older libraries of a distribution have no call that waits.
        while BUSY.iter().any(|name| self.number(name) != Some(0)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Engine for Rocksdb {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        loop {
            let options = OptimisticTransactionOptions::default();
            let tx = self.database.transaction_opt(&self.write, &options);
            let value = change(tx.get_for_update(key, true)?.as_deref());
            tx.put(key, value)?;
            match tx.commit() {
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TryAgain) => {}
                done => return Ok(done?),
            }
        }
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        let file = self.path.join("bulk.sst");
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(&file)?;
        rows.iter().try_for_each(|(key, value)| writer.put(key, value))?;
        writer.finish()?;
        let mut options = rocksdb::IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.database.ingest_external_file_opts(&options, vec![&file])?;
        std::fs::remove_file(&file).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        Ok(())
    }
}

struct Snapshot<'a>(SnapshotWithThreadMode<'a, OptimisticTransactionDB>);

impl Reader for Snapshot<'_> {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get_pinned(key)?.inspect(|value| seen(value)).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut cursor = self.0.raw_iterator();
        cursor.seek(from);
        for _ in 0..rows {
            let Some((key, value)) = cursor.item() else { break };
            seen(key, value);
            cursor.next();
        }
        Ok(cursor.status()?)
    }
}
