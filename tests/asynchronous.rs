//! A database under a runtime of one thread: whatever waits in here on that thread hangs the test.

use serde::{Deserialize, Serialize};
use sochdb::asynchronous::{AsyncDatabase, BATCH};
use sochdb::{Database, ErrorKind, KernelError, KernelResult, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{spawn, yield_now};

/// So long a thread waits for its sign before it takes the test for broken.
const PATIENCE: Duration = Duration::from_secs(120);

fn on_one_thread(test: impl Future<Output = KernelResult<()>>) {
    Builder::new_current_thread().enable_time().build().unwrap().block_on(test).unwrap();
}

fn database(calls_max: usize) -> (AsyncDatabase, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    db.create_table("notes", Default::default()).unwrap();
    (AsyncDatabase::with_calls_max(db, calls_max), directory)
}

/// A transaction that says when it runs, writes `key`, and ends when it is told to.
struct Held {
    ended: tokio::task::JoinHandle<KernelResult<()>>,
    runs: oneshot::Receiver<()>,
    end: mpsc::Sender<()>,
}

fn hold(db: &AsyncDatabase, key: &'static [u8]) -> Held {
    let (say, runs) = oneshot::channel();
    let (end, told) = mpsc::channel::<()>();
    let (db, mut say) = (db.clone(), Some(say));
    let ended = spawn(async move {
        db.run(move |tx| {
            say.take().into_iter().for_each(|say| say.send(()).unwrap_or(()));
            tx.put("notes", key, b"")?;
            told.recv_timeout(PATIENCE).map_err(|_| KernelError::invalid("nobody told it to end"))
        })
        .await
    });
    Held { ended, runs, end }
}

#[test]
fn the_runtime_goes_on_while_a_transaction_is_long() {
    on_one_thread(async {
        let (db, _directory) = database(4);
        let Held { ended, runs, end } = hold(&db, b"1");
        runs.await.unwrap();
        // The transaction waits for what happens behind these ticks, on the runtime's only thread.
        let ticks = Arc::new(AtomicUsize::new(0));
        let ticking = ticks.clone();
        spawn(async move {
            for _ in 0..1_000 {
                ticking.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        })
        .await
        .unwrap();
        assert!(!ended.is_finished());
        assert_eq!(ticks.load(Ordering::Relaxed), 1_000);
        // Others read meanwhile, and do not see it yet.
        assert!(db.read(|tx| tx.get("notes", b"1")).await?.is_none());
        end.send(()).unwrap();
        ended.await.unwrap()?;
        assert!(db.read(|tx| tx.get("notes", b"1")).await?.is_some());
        db.close().await
    });
}

#[test]
fn no_more_calls_are_in_threads_than_were_permitted() {
    on_one_thread(async {
        let (db, _directory) = database(1);
        let Held { ended, runs, end } = hold(&db, b"1");
        runs.await.unwrap();
        let began = Arc::new(AtomicBool::new(false));
        let begins = began.clone();
        let second = {
            let db = db.clone();
            spawn(async move { db.with(move |_| Ok(begins.store(true, Ordering::SeqCst))).await })
        };
        for _ in 0..1_000 {
            yield_now().await;
        }
        assert!(!began.load(Ordering::SeqCst), "the only permit is taken");
        end.send(()).unwrap();
        ended.await.unwrap()?;
        second.await.unwrap()?;
        assert!(began.load(Ordering::SeqCst));
        db.close().await
    });
}

#[test]
fn a_call_whose_future_is_dropped_ends_as_it_would_have() {
    on_one_thread(async {
        let (db, _directory) = database(1);
        let Held { ended, runs, end } = hold(&db, b"1");
        runs.await.unwrap();
        // Waits for its turn, and never gets one.
        let waiting = hold(&db, b"2");
        yield_now().await;
        waiting.ended.abort();
        assert!(waiting.ended.await.unwrap_err().is_cancelled());
        ended.abort();
        assert!(ended.await.unwrap_err().is_cancelled());
        end.send(()).unwrap();
        // The permit is free when the first has committed.
        let keys = db.read(|tx| {
            tx.scan("notes", ..)?
                .map(|row| row.map(|(key, _)| key))
                .collect::<KernelResult<Vec<_>>>()
        });
        assert_eq!(keys.await?, [b"1"]);
        db.close().await
    });
}

#[test]
fn a_stream_reads_no_further_than_its_reader_and_holds_no_thread() {
    on_one_thread(async {
        // One permit: a stream that kept it would keep everybody else out.
        let (db, _directory) = database(1);
        let made = Arc::new(AtomicUsize::new(0));
        let making = made.clone();
        let mut numbers = db.stream(move |_| {
            Ok((0..).map(move |number: usize| {
                making.store(number + 1, Ordering::SeqCst);
                Ok(number)
            }))
        });
        assert_eq!(made.load(Ordering::SeqCst), 0, "nobody has asked yet");
        for wanted in 0..BATCH {
            assert_eq!(numbers.next().await.unwrap()?, wanted);
            db.read(|_| Ok(())).await?;
            assert_eq!(made.load(Ordering::SeqCst), BATCH);
        }
        assert_eq!(numbers.next().await.unwrap()?, BATCH);
        assert_eq!(made.load(Ordering::SeqCst), 2 * BATCH);
        drop(numbers);
        db.close().await
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number {
    id: u32,
}

#[test]
fn rows_bytes_and_columns_are_streamed_in_one_snapshot() {
    on_one_thread(async {
        let (db, _directory) = database(4);
        let rows = 3 * BATCH as u32 + 7;
        let numbers = db.with(|db| db.typed_table::<Number>("numbers", &["id"])).await?;
        let table = numbers.clone();
        db.run(move |tx| (0..rows).try_for_each(|id| table.put(tx, &Number { id }))).await?;
        let mut stream = db.stream(move |db| numbers.scan(&db.begin_read()?, ..));
        let (mut bytes, mut seen) = (db.scan("numbers", ..), 0);
        while let Some(number) = stream.next().await {
            assert_eq!(number?, Number { id: seen });
            assert!(bytes.next().await.unwrap().is_ok());
            if seen == 0 {
                // Not in a snapshot that has begun.
                db.run(|tx| tx.delete_range("numbers", ..)).await?;
            }
            seen += 1;
        }
        assert_eq!(seen, rows);
        assert!(bytes.next().await.is_none() && bytes.next().await.is_none());
        let mut batches = db.scan_columns("numbers", .., &["id"], vec![]);
        assert!(batches.next().await.is_none());
        let missing = db.scan("nothing", ..).next().await.unwrap();
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        db.close().await
    });
}

#[test]
fn changes_are_streamed_and_followed() {
    on_one_thread(async {
        let (db, _directory) = database(1);
        db.run(|tx| tx.put("notes", b"1", b"")).await?;
        let since = db.read(|tx| tx.snapshot()).await?;
        db.run(|tx| tx.put("notes", b"2", b"")).await?;
        let key = |change: sochdb::Change| change.rows[0].key.clone();
        let mut changes = db.changes(since);
        assert_eq!(key(changes.next().await.unwrap()?), b"2");
        assert!(changes.next().await.is_none());

        let mut followed = db.follow(since, Duration::from_millis(1));
        assert_eq!(key(followed.next().await.unwrap()?), b"2");
        let writer = db.clone();
        let later = spawn(async move { writer.run(|tx| tx.put("notes", b"3", b"")).await });
        assert_eq!(key(followed.next().await.unwrap()?), b"3");
        later.await.unwrap()?;
        db.close().await
    });
}

#[test]
fn a_panic_reaches_the_caller_and_gives_the_permit_back() {
    on_one_thread(async {
        let (db, _directory) = database(1);
        let panics = db.clone();
        let call =
            spawn(
                async move { panics.with(|_| -> KernelResult<()> { panic!("on purpose") }).await },
            );
        assert!(call.await.unwrap_err().is_panic());
        db.read(|_| Ok(())).await?;
        let refused = db.run(|_| -> KernelResult<()> { Err(KernelError::invalid("no")) }).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        db.close().await
    });
}

#[test]
fn clones_of_a_closed_database_answer_closed_and_a_dropped_one_can_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    on_one_thread(async {
        let db = AsyncDatabase::open(&path).await?;
        let other = db.clone();
        db.close().await?;
        assert_eq!(other.read(|_| Ok(())).await.unwrap_err().kind(), ErrorKind::Closed);
        drop(other);
        // Dropped on the runtime, closed in a thread of it.
        drop(AsyncDatabase::open(&path).await?);
        Ok(())
    });
    Database::open(&path).unwrap().close().unwrap();
}

// ANCHOR: guide
async fn notes(db: &AsyncDatabase) -> KernelResult<usize> {
    // In a thread; again after a conflict. The runtime's own threads wait for no disk.
    db.run(|tx| {
        tx.put("notes", b"1", b"buy tea")?;
        tx.put("notes", b"2", b"drink it")
    })
    .await?;

    // One snapshot, read in batches when somebody asks for more.
    let (mut notes, mut bytes) = (db.scan("notes", ..), 0);
    while let Some(note) = notes.next().await {
        let (_key, value) = note?;
        bytes += value.len();
    }
    Ok(bytes)
}

async fn tables(db: &AsyncDatabase) -> KernelResult<usize> {
    // Whatever else a `Database` can do.
    db.with(|db| Ok(db.begin_read()?.tables()?.len())).await
}
// ANCHOR_END: guide

// ANCHOR: follow
/// Tells of every commit after `since`, the next `n` of them; looks for new ones ten times a second.
async fn follow(db: &AsyncDatabase, since: Timestamp, n: usize) -> KernelResult<Vec<Timestamp>> {
    let mut changes = db.follow(since, Duration::from_millis(100));
    let mut told = Vec::new();
    while told.len() < n {
        let Some(change) = changes.next().await else { break }; // the database was closed
        told.push(change?.timestamp);
    }
    Ok(told)
}
// ANCHOR_END: follow

#[test]
fn the_guides_chapter_on_async_programs_does_what_it_says() {
    on_one_thread(async {
        let (db, _directory) = database(4);
        let since = db.read(|tx| tx.snapshot()).await?;
        assert_eq!(notes(&db).await?, 15);
        assert!(0 < tables(&db).await?);
        db.run(|tx| tx.put("notes", b"3", b"")).await?;
        let told = follow(&db, since, 2).await?;
        assert!(since < told[0] && told[0] < told[1], "{told:?}");
        db.close().await
    });
}
