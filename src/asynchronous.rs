//! A database for async programs: calls that wait for a disk run on threads of their own, and never on the runtime's.
//!
//! ```text
//!   run, read, with ──▶ one of CALLS_MAX permits ──▶ spawn_blocking ──▶ Database
//!   stream ── asked for more? ──▶ the same, for BATCH items ──▶ a buffer ──▶ the reader
//! ```
//!
//! - **Bounded.** At most so many calls are in threads at once; others wait their turn as futures, which cost nothing.
//! - **Backpressure.** A stream reads a batch when somebody asks for an item and the last batch is used up. Between
//!   two batches it holds its snapshot, but neither thread nor permit: a slow reader is in nobody's way.
//! - **Cancellation.** A future that is dropped before its turn has done nothing. One that is dropped later leaves its
//!   work to the thread: the transaction ends as it would have, committed or rolled back as a whole, and nobody hears
//!   how. A stream that is dropped ends its snapshot.
//!
//! ```
//! use sochdb::asynchronous::AsyncDatabase;
//!
//! # fn main() -> sochdb::KernelResult<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().to_owned();
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let db = AsyncDatabase::open(path).await?;
//! db.run(|tx| {
//!     tx.create_table("notes", Default::default())?;
//!     tx.put("notes", b"1", b"buy tea")
//! })
//! .await?;
//! let mut notes = db.scan("notes", ..);
//! while let Some(note) = notes.next().await {
//!     println!("{}", note?.1.escape_ascii());
//! }
//! db.close().await
//! # })
//! # }
//! ```

use crate::database::Database;
use futures_core::Stream;
use sochdb_encoding::columns::ColumnBatch;
use sochdb_encoding::select::Condition;
use sochdb_host_abi::Transaction;
use sochdb_kernel::{KernelError, KernelResult, KeyRange, Slice, Timestamp};
use sochdb_operations::Change;
use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Sleep, sleep};

/// Calls in threads at once, where nobody says. Commits that wait for one disk share its syncs, so more of them than
/// the machine has cores make sense; and each costs a thread.
pub const CALLS_MAX: usize = 32;
/// Items that a stream reads at once.
pub const BATCH: usize = 256;

/// A [`Database`] for async programs; a handle that clones as cheaply. Made inside of a Tokio runtime or outside, and
/// used inside.
#[derive(Clone)]
pub struct AsyncDatabase {
    shared: Arc<Shared>,
}

const _: fn() = || {
    fn is_handle<T: Clone + Send + Sync + 'static>() {}
    is_handle::<AsyncDatabase>();
};

struct Shared {
    /// There until this is dropped.
    db: Option<Database>,
    permits: Arc<Semaphore>,
}

/// To close a database is to wait for its disk: not here, if there is a runtime.
impl Drop for Shared {
    fn drop(&mut self) {
        if let (Some(db), Ok(runtime)) = (self.db.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(db));
        }
    }
}

impl AsyncDatabase {
    /// As [`Database::open`].
    ///
    /// # Errors
    /// As there.
    pub async fn open(path: impl AsRef<Path>) -> KernelResult<AsyncDatabase> {
        let path = path.as_ref().to_owned();
        in_thread(move || Database::open(path)).await.map(AsyncDatabase::new)
    }

    /// The same database, for async callers: at most [`CALLS_MAX`] of their calls are in threads at once. A builder's
    /// database is opened with [`tokio::task::spawn_blocking`], or before the runtime is started.
    pub fn new(db: Database) -> AsyncDatabase {
        AsyncDatabase::with_calls_max(db, CALLS_MAX)
    }

    /// As [`new`](Self::new), with at most so many calls at once: at least one, and no more than Tokio's semaphores
    /// count.
    pub fn with_calls_max(db: Database, calls_max: usize) -> AsyncDatabase {
        let permits = Arc::new(Semaphore::new(calls_max.clamp(1, Semaphore::MAX_PERMITS)));
        AsyncDatabase { shared: Arc::new(Shared { db: Some(db), permits }) }
    }

    /// The database, for calls that do not wait: they look at memory, as [`Database::telemetry`] does.
    pub fn database(&self) -> &Database {
        self.shared.db.as_ref().expect("it is there as long as a handle is")
    }

    /// Anything that a [`Database`] can do, in a thread.
    ///
    /// # Errors
    /// What `work` returns; `Closed` when the runtime ends before.
    ///
    /// # Panics
    /// When `work` does.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> KernelResult<T> + Send + 'static,
    ) -> KernelResult<T> {
        let permit = self.shared.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| KernelError::Closed("the database is".to_owned()))?;
        let db = self.database().clone();
        in_thread(move || {
            let done = work(&db);
            drop(db);
            drop(permit);
            done
        })
        .await
    }

    /// As [`Database::run`]: runs `f` in a transaction and commits it; after a conflict, both again.
    ///
    /// # Errors
    /// As there.
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnMut(&mut Transaction) -> KernelResult<T> + Send + 'static,
    ) -> KernelResult<T> {
        self.with(move |db| db.run(f)).await
    }

    /// Reads in one snapshot.
    ///
    /// # Errors
    /// What `f` returns, and `Closed`.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Transaction) -> KernelResult<T> + Send + 'static,
    ) -> KernelResult<T> {
        self.with(move |db| f(&db.begin_read()?)).await
    }

    /// The rows of `range` in growing order of keys, in a snapshot that begins when the first is asked for.
    pub fn scan(&self, table: &str, range: impl Into<KeyRange>) -> AsyncStream<(Vec<u8>, Slice)> {
        let (table, range) = (table.to_owned(), range.into());
        self.stream(move |db| db.begin_read()?.scan(&table, range))
    }

    /// As [`Transaction::scan_columns`], a batch of columns at a time.
    pub fn scan_columns(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        columns: &[&str],
        conditions: Vec<Condition>,
    ) -> AsyncStream<ColumnBatch> {
        let (table, range) = (table.to_owned(), range.into());
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        self.stream_by(1, move |db| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            db.begin_read()?.scan_columns(&table, range, &columns, conditions)
        })
    }

    /// As [`Database::changes`]: the changes committed after `since` up to now.
    pub fn changes(&self, since: Timestamp) -> AsyncStream<Change> {
        self.stream(move |db| db.changes(since))
    }

    /// The changes committed after `since`, and those that are still to come: at its end the log is looked at again
    /// every `interval`. The stream ends with the database. The runtime needs its timer enabled.
    pub fn follow(&self, since: Timestamp, interval: Duration) -> AsyncStream<Change> {
        AsyncStream { interval: Some(interval), ..self.changes(since) }
    }

    /// What an iterator yields that `begin` makes in a thread, where it is also asked for its items: rows of a typed
    /// table, for instance.
    ///
    /// ```
    /// # use sochdb::{Database, KernelResult, Table, asynchronous::{AsyncDatabase, AsyncStream}};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct User { id: u32 }
    /// fn all(db: &AsyncDatabase, users: Table<User>) -> AsyncStream<User> {
    ///     db.stream(move |db| users.scan(&db.begin_read()?, ..))
    /// }
    /// ```
    pub fn stream<T, I>(
        &self,
        begin: impl FnOnce(&Database) -> KernelResult<I> + Send + 'static,
    ) -> AsyncStream<T>
    where
        I: Iterator<Item = KernelResult<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.stream_by(BATCH, begin)
    }

    /// The same, reading `batch` items at once.
    fn stream_by<T, I>(
        &self,
        batch: usize,
        begin: impl FnOnce(&Database) -> KernelResult<I> + Send + 'static,
    ) -> AsyncStream<T>
    where
        I: Iterator<Item = KernelResult<T>> + Send + 'static,
        T: Send + 'static,
    {
        let begin: Begin<T> = Box::new(move |db| Ok(Box::new(begin(db)?)));
        let (db, buffer) = (self.clone(), VecDeque::new());
        AsyncStream { db, batch, buffer, interval: None, state: State::New(begin) }
    }

    /// As [`Database::close`].
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> KernelResult<()> {
        let db = self.database().clone();
        in_thread(move || db.close()).await
    }
}

/// Does `work` in a thread of the runtime's that may wait.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> KernelResult<T> + Send + 'static,
) -> KernelResult<T> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(KernelError::Closed("the runtime ends before the call began".to_owned())),
    }
}

type Items<T> = Box<dyn Iterator<Item = KernelResult<T>> + Send>;
type Begin<T> = Box<dyn FnOnce(&Database) -> KernelResult<Items<T>> + Send>;
type Batch<T> = (Items<T>, VecDeque<KernelResult<T>>);
type Fetch<T> = Pin<Box<dyn Future<Output = KernelResult<Batch<T>>> + Send>>;

/// Items that are read in batches, in threads, when they are asked for.
pub struct AsyncStream<T> {
    db: AsyncDatabase,
    batch: usize,
    buffer: VecDeque<KernelResult<T>>,
    /// How long to wait at the end before asking again; without, the end is the end.
    interval: Option<Duration>,
    state: State<T>,
}

enum State<T> {
    New(Begin<T>),
    Idle(Items<T>),
    Fetching(Fetch<T>),
    Waiting(Items<T>, Pin<Box<Sleep>>),
    Ended,
}

/// Nothing in it is pinned but what is in boxes.
impl<T> Unpin for AsyncStream<T> {}

impl<T: Send + 'static> AsyncStream<T> {
    /// The next item; `None` at the end.
    pub async fn next(&mut self) -> Option<KernelResult<T>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn fetch(
        &self,
        begin: impl FnOnce(&Database) -> KernelResult<Items<T>> + Send + 'static,
    ) -> State<T> {
        let (db, batch) = (self.db.clone(), self.batch);
        State::Fetching(Box::pin(async move {
            let read = move |db: &Database| {
                let (mut items, mut read) = (begin(db)?, VecDeque::new());
                while read.len() < batch && !matches!(read.back(), Some(Err(_))) {
                    let Some(item) = items.next() else { break };
                    read.push_back(item);
                }
                Ok((items, read))
            };
            db.with(read).await
        }))
    }

    /// What follows a batch: another one, or at the end a rest or nothing.
    fn after(&mut self, (items, read): Batch<T>) -> State<T> {
        let (is_end, is_failed) = (read.is_empty(), matches!(read.back(), Some(Err(_))));
        self.buffer = read;
        match self.interval {
            Some(interval) if is_end => State::Waiting(items, Box::pin(sleep(interval))),
            // What is followed has no next change after one that could not be read.
            Some(_) if is_failed => State::Ended,
            None if is_end => State::Ended,
            _ => State::Idle(items),
        }
    }
}

impl<T: Send + 'static> Stream for AsyncStream<T> {
    type Item = KernelResult<T>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<KernelResult<T>>> {
        loop {
            if let Some(item) = self.buffer.pop_front() {
                return Poll::Ready(Some(item));
            }
            self.state = match std::mem::replace(&mut self.state, State::Ended) {
                State::New(begin) => self.fetch(begin),
                State::Idle(items) => self.fetch(move |_| Ok(items)),
                State::Fetching(mut fetch) => match fetch.as_mut().poll(context) {
                    Poll::Ready(Ok(batch)) => self.after(batch),
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => {
                        self.state = State::Fetching(fetch);
                        return Poll::Pending;
                    }
                },
                State::Waiting(items, mut rest) => match rest.as_mut().poll(context) {
                    Poll::Ready(()) => self.fetch(move |_| Ok(items)),
                    Poll::Pending => {
                        self.state = State::Waiting(items, rest);
                        return Poll::Pending;
                    }
                },
                State::Ended => return Poll::Ready(None),
            };
        }
    }
}
