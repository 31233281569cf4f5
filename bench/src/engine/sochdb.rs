//! This project's kernel, with a thread that runs checkpoints as the facade's does.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use sochdb_kernel::{
    Durability, Environment, Kernel, KernelResult, Options, TableOptions, Transaction,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const TABLE: &str = "rows";
/// How often the thread looks whether a checkpoint is due, as in the facade.
const TICK: Duration = Duration::from_millis(25);

pub struct Sochdb {
    kernel: Kernel,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sochdb {
    pub fn open(setup: &Setup<'_>) -> Result<Sochdb> {
        let options = Options {
            cache_bytes_max: setup.cache_bytes,
            memtable_bytes_max: setup.memtable_bytes,
            background_checkpoints: true,
            durability: if setup.synced { Durability::Fsync } else { Durability::None },
            ..Options::default()
        };
        let kernel = Kernel::open(Environment::disk(setup.path), options)?;
        if kernel.begin_read()?.tables()?.is_empty() {
            kernel.create_table(TABLE, TableOptions::default())?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let background = (kernel.clone(), stop.clone());
        let thread = std::thread::spawn(move || serve(&background.0, &background.1));
        Ok(Sochdb { kernel, stop, thread: Some(thread) })
    }

    fn run(&self, f: impl Fn(&mut Transaction) -> KernelResult<()>) -> Result<()> {
        Ok(self.kernel.run(f)?)
    }
}

fn serve(kernel: &Kernel, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(TICK);
        if kernel.checkpoint_due()
            && let Err(error) = kernel.checkpoint()
        {
            eprintln!("sochdb: a checkpoint failed: {error}");
        }
    }
}

impl Drop for Sochdb {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Store for Sochdb {
    fn put(&self, rows: &[Row]) -> Result<()> {
        self.run(|tx| rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        f(&mut Snapshot(self.kernel.begin_read()?))
    }

    fn settle(&self) -> Result<()> {
        self.kernel.checkpoint()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.kernel.close()?)
    }
}

impl Engine for Sochdb {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        self.run(|tx| {
            let value = tx.get(TABLE, key)?;
            tx.put(TABLE, key, &change(value.as_deref()))
        })
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        // It makes the table.
        self.run(|tx| tx.drop_table(TABLE))?;
        self.kernel.bulk_load(TABLE, TableOptions::default(), rows.iter().cloned().map(Ok))?;
        Ok(())
    }
}

struct Snapshot(Transaction);

impl Reader for Snapshot {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get(TABLE, key)?.inspect(|value| seen(value)).is_some())
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for row in self.0.scan(TABLE, from..)?.take(rows) {
            let (key, value) = row?;
            seen(&key, &value);
        }
        Ok(())
    }
}
