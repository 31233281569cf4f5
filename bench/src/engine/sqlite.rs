//! SQLite: a B-tree with a write-ahead log, one writer at a time.
//!
//! A connection serves one thread, so there is a pool of them. Writers queue up at a lock of ours: at
//! SQLite's own they would sleep and try again, which is slower.

use super::{Change, Engine, Reader, Row, Setup, Store};
use crate::Result;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;
use std::path::PathBuf;
use std::time::Duration;

const MAKE: &str =
    "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
const PUT: &str =
    "INSERT INTO rows VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const GET: &str = "SELECT value FROM rows WHERE key = ?1";
const SCAN: &str = "SELECT key, value FROM rows WHERE ?1 <= key ORDER BY key LIMIT ?2";

pub struct Sqlite {
    file: PathBuf,
    cache_kib: usize,
    synchronous: &'static str,
    /// Connections that nobody uses right now; the one used last is taken first.
    idle: Mutex<Vec<Connection>>,
    writing: Mutex<()>,
}

impl Sqlite {
    pub fn open(setup: &Setup<'_>) -> Result<Sqlite> {
        let sqlite = Sqlite {
            file: setup.path.join("data.sqlite"),
            cache_kib: setup.cache_bytes >> 10,
            synchronous: if setup.synced { "FULL" } else { "NORMAL" },
            idle: Mutex::default(),
            writing: Mutex::default(),
        };
        sqlite.with(|connection| Ok(connection.execute_batch(MAKE)?))?;
        Ok(sqlite)
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.file)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", self.synchronous)?;
        connection.pragma_update(None, "cache_size", format!("-{}", self.cache_kib))?;
        Ok(connection)
    }

    /// Runs `f` on a connection of its own.
    fn with<T>(&self, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let connection = idle.map_or_else(|| self.connect(), Ok)?;
        let result = f(&connection)?;
        self.idle.lock().push(connection);
        Ok(result)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }
}

/// Runs `f` between `begin` and COMMIT.
fn transaction<T>(
    connection: &Connection,
    begin: &str,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    connection.prepare_cached(begin)?.execute([])?;
    let result = f()?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(result)
}

fn put(connection: &Connection, rows: &[Row]) -> Result<()> {
    let mut put = connection.prepare_cached(PUT)?;
    for (key, value) in rows {
        put.execute([key, value])?;
    }
    Ok(())
}

impl Store for Sqlite {
    fn put(&self, rows: &[Row]) -> Result<()> {
        let _turn = self.turn();
        self.with(|connection| match rows {
            // One statement is a transaction.
            [_] => put(connection, rows),
            _ => transaction(connection, "BEGIN IMMEDIATE", || put(connection, rows)),
        })
    }

    fn read(&self, f: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        self.with(|connection| transaction(connection, "BEGIN", || f(&mut Snapshot(connection))))
    }

    fn settle(&self) -> Result<()> {
        self.with(|connection| {
            let mut fold = connection.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?;
            let busy: i64 = fold.query_row([], |row| row.get(0))?;
            if busy != 0 {
                return Err("a reader stopped the checkpoint".into());
            }
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Engine for Sqlite {
    fn modify(&self, key: &[u8], change: &Change<'_>) -> Result<()> {
        let _turn = self.turn();
        self.with(|connection| {
            transaction(connection, "BEGIN IMMEDIATE", || {
                let mut value: Option<Vec<u8>> = None;
                Snapshot(connection).get(key, &mut |found| value = Some(found.to_vec()))?;
                put(connection, &[(key.to_vec(), change(value.as_deref()))])
            })
        })
    }

    fn bulk_load(&self, rows: &[Row]) -> Result<()> {
        self.put(rows)
    }
}

struct Snapshot<'a>(&'a Connection);

impl Reader for Snapshot<'_> {
    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut get = self.0.prepare_cached(GET)?;
        let mut rows = get.query([key])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        seen(row.get_ref(0)?.as_blob()?);
        Ok(true)
    }

    fn scan(&mut self, from: &[u8], rows: usize, seen: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scan = self.0.prepare_cached(SCAN)?;
        let mut rows = scan.query((from, i64::try_from(rows)?))?;
        while let Some(row) = rows.next()? {
            seen(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }
}
