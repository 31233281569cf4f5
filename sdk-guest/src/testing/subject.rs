//! What is judged: anything that keeps rows.

use super::operation::Scan;
use crate::row::{Schema, Value};
use std::collections::BTreeMap;
use std::error::Error;

/// What a subject answers. Every error is a wrong answer: nothing the kit does is forbidden.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// An answer, or that the subject has no such thing; the kit then goes on without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<T> {
    /// Done, and this is the answer.
    Done(T),
    /// There is no such thing here.
    NotSupported,
}

/// What a subject is made for.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Different for each sequence of one run.
    pub number: usize,
    /// The schema of the rows; without one, keys and values are any bytes.
    pub schema: Option<Schema>,
    /// The settings of the table.
    pub settings: BTreeMap<String, String>,
    /// What keys and values there are, in words.
    pub words: String,
}

/// What can be read: of the newest rows, or of a snapshot.
pub trait Reads {
    /// The value of `key`.
    ///
    /// # Errors
    /// Any.
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>>;

    /// The values of `keys`, which may repeat, in their order. By default asked one after the other.
    ///
    /// # Errors
    /// Any.
    fn multi_get(&mut self, keys: &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// The rows that `scan` asks for, in its order, values in the encoding of its projection if it has one.
    ///
    /// # Errors
    /// Any.
    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>>;

    /// The columns that `scan` projects, row by row. It runs forward, has a selection with a projection,
    /// and no limit.
    ///
    /// # Errors
    /// Any.
    fn scan_columns(&mut self, _scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        Ok(Reply::NotSupported)
    }
}

/// Something that keeps rows. What it has answered `Ok` to is there until it is overwritten.
pub trait Subject: Reads {
    /// Writes a row.
    ///
    /// # Errors
    /// Any.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()>;

    /// Deletes a row, which need not be there.
    ///
    /// # Errors
    /// Any.
    fn delete(&mut self, key: &[u8]) -> Outcome<()>;

    /// Writes and deletes (`None`) rows in their order, all or none. By default one after the other.
    ///
    /// # Errors
    /// Any.
    fn write(&mut self, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Outcome<()> {
        rows.iter().try_for_each(|(key, value)| match value {
            Some(value) => self.put(key, value),
            None => self.delete(key),
        })
    }

    /// Everything written so far goes into segments.
    ///
    /// # Errors
    /// Any.
    fn flush(&mut self) -> Outcome<Reply<()>> {
        Ok(Reply::NotSupported)
    }

    /// Segments are merged: those that the engine would merge now, or `all` of them.
    ///
    /// # Errors
    /// Any.
    fn merge(&mut self, _all: bool) -> Outcome<Reply<()>> {
        Ok(Reply::NotSupported)
    }

    /// The engine's code is replaced by a fresh copy; what is open goes on.
    ///
    /// # Errors
    /// Any.
    fn reload(&mut self) -> Outcome<Reply<()>> {
        Ok(Reply::NotSupported)
    }

    /// Closed in order, and opened again. Snapshots end before.
    ///
    /// # Errors
    /// Any.
    fn reopen(&mut self) -> Outcome<Reply<()>> {
        Ok(Reply::NotSupported)
    }

    /// The power goes, and it is opened again. Snapshots end before.
    ///
    /// # Errors
    /// Any.
    fn crash(&mut self) -> Outcome<Reply<()>> {
        Ok(Reply::NotSupported)
    }

    /// What is there now, to be read while the subject goes on.
    ///
    /// # Errors
    /// Any.
    fn snapshot(&mut self) -> Outcome<Reply<Box<dyn Reads>>> {
        Ok(Reply::NotSupported)
    }
}
