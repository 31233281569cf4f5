//! The rows of claims, as bytes.
//!
//! A queue's table:
//!
//! | key                                          | value                                               |
//! |----------------------------------------------|-----------------------------------------------------|
//! | `m`                                          | `sochdb claims`, u8 what the table holds, u8 format |
//! | `j`, job (12)                                | the job's state, the truth: below                   |
//! | `p`, job (12)                                | the payload, written once                           |
//! | `q`, class u8, due u64 big-endian, job (12)  | u8 state: the order of claims; not for dead jobs    |
//! | `x`, job (12)                                | empty: the list of dead jobs                        |
//!
//! A job's number is the number of the transaction that enqueued it, u64 big-endian, and a count within it,
//! u32 big-endian. Its class is 127 minus the priority, so that the urgent come first. One row of a
//! job's state:
//!
//! | size | type  | field      | meaning                                                              |
//! |-----:|-------|------------|----------------------------------------------------------------------|
//! |    1 | u8    | `format`   | 1                                                                    |
//! |    1 | u8    | `state`    | 1 ready, 2 claimed, 3 dead                                           |
//! |    1 | u8    | `class`    | 127 minus the priority                                               |
//! |    8 | u64   | `due`      | when it may be claimed; while claimed: when its lease ends           |
//! |    8 | u64   | `fence`    | the newest claim's fencing number, 0 before the first                |
//! |    4 | u32   | `attempts` | claims so far                                                        |
//! |    8 | u64   | `enqueued` | when it was enqueued                                                 |
//! |    n | text  | `owner`    | the newest claim's owner: a varint length, then UTF-8                |
//! |    n | text  | `why`      | why it was released or died                                          |
//!
//! A table of leases has the row `m` and, for each name that was ever claimed and not released, one row
//! `l`, name:
//!
//! | size | type  | field      | meaning                                                              |
//! |-----:|-------|------------|----------------------------------------------------------------------|
//! |    1 | u8    | `format`   | 1                                                                    |
//! |    8 | u64   | `until`    | when the lease ends                                                  |
//! |    8 | u64   | `fence`    | the claim's fencing number                                           |
//! |    8 | u64   | `since`    | when it was claimed                                                  |
//! |    n | text  | `owner`    | who holds it                                                         |
//!
//! Times are microseconds since 1970. Integers in values are little-endian.
//!
//! Invariants:
//! 1. A job that is not dead has exactly one row `q`, with the class, due time and state of its row `j`.
//! 2. A dead job has a row `x` and no row `q`.

use sochdb_encoding::codec::{Reader, Wire};
use sochdb_encoding::wire_structs;
use sochdb_kernel::{KernelError, KernelResult};
use std::fmt;

const FORMAT: u8 = 1;
const MAGIC: &[u8] = b"sochdb claims";
/// The key of the row that says what a table holds.
pub(crate) const META_KEY: &[u8] = b"m";
/// The table holds a queue.
pub(crate) const QUEUE: u8 = 1;
/// The table holds leases.
pub(crate) const LEASES: u8 = 2;

/// The states of a job.
pub(crate) const READY: u8 = 1;
pub(crate) const CLAIMED: u8 = 2;
pub(crate) const DEAD: u8 = 3;

const JOB_BYTES: usize = 8 + 4;
const INDEX_KEY_BYTES: usize = 1 + 1 + 8 + JOB_BYTES;

/// A job's number, unique over the database's whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The number of the transaction that enqueued it.
    pub transaction: u64,
    /// Its number within that transaction.
    pub number: u32,
}

impl JobId {
    /// The number as bytes whose order is the order of numbers.
    pub fn to_bytes(self) -> [u8; JOB_BYTES] {
        let mut bytes = [0; JOB_BYTES];
        bytes[..8].copy_from_slice(&self.transaction.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// The number whose bytes these are.
    pub fn from_bytes(bytes: [u8; JOB_BYTES]) -> JobId {
        let (transaction, number) = bytes.split_at(8);
        JobId {
            transaction: u64::from_be_bytes(transaction.try_into().expect("eight bytes")),
            number: u32::from_be_bytes(number.try_into().expect("four bytes")),
        }
    }

    /// The key of one of this job's rows: `j`, `p` or `x`.
    pub(crate) fn key(self, room: u8) -> Vec<u8> {
        [&[room], &self.to_bytes()[..]].concat()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.transaction, self.number)
    }
}

wire_structs! {
    /// A job's state.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct JobRow {
        pub format: u8,
        pub state: u8,
        pub class: u8,
        pub due: u64,
        pub fence: u64,
        pub attempts: u32,
        pub enqueued: u64,
        pub owner: String,
        pub why: String,
    }

    /// A lease.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct LeaseRow {
        pub format: u8,
        pub until: u64,
        pub fence: u64,
        pub since: u64,
        pub owner: String,
    }
}

impl JobRow {
    /// A job nobody has claimed yet.
    pub fn new(class: u8, due: u64, enqueued: u64) -> JobRow {
        let (owner, why) = Default::default();
        JobRow {
            format: FORMAT,
            state: READY,
            class,
            due,
            fence: 0,
            attempts: 0,
            enqueued,
            owner,
            why,
        }
    }

    pub fn decode(table: &str, bytes: &[u8]) -> KernelResult<JobRow> {
        let row: JobRow = decode(table, bytes)?;
        match row.state {
            READY | CLAIMED | DEAD => Ok(row),
            other => Err(corrupt(table, "a job's state from 1 to 3", format!("{other}"))),
        }
    }

    /// The place of the job `id` in the order of claims.
    pub fn place(&self, id: JobId) -> Place {
        Place { class: self.class, due: self.due, job: id }
    }
}

impl LeaseRow {
    pub fn new(until: u64, fence: u64, since: u64, owner: &str) -> LeaseRow {
        LeaseRow { format: FORMAT, until, fence, since, owner: owner.to_owned() }
    }

    pub fn decode(table: &str, bytes: &[u8]) -> KernelResult<LeaseRow> {
        decode(table, bytes)
    }
}

/// A job's place in the order of claims: the row `q`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub class: u8,
    pub due: u64,
    pub job: JobId,
}

impl Place {
    /// Before every job of `class`.
    pub fn first_of(class: u8) -> Place {
        Place { class, due: 0, job: JobId { transaction: 0, number: 0 } }
    }

    pub fn key(&self) -> Vec<u8> {
        let mut key = vec![b'q', self.class];
        key.extend_from_slice(&self.due.to_be_bytes());
        key.extend_from_slice(&self.job.to_bytes());
        key
    }

    pub fn decode(table: &str, key: &[u8]) -> KernelResult<Place> {
        let [b'q', class, rest @ ..] = key else {
            return Err(corrupt(table, "a key of a queue's order", format!("{key:02x?}")));
        };
        if key.len() != INDEX_KEY_BYTES {
            let expected = format!("a key of {INDEX_KEY_BYTES} bytes");
            return Err(corrupt(table, &expected, format!("{key:02x?}")));
        }
        let (due, job) = rest.split_at(8);
        Ok(Place {
            class: *class,
            due: u64::from_be_bytes(due.try_into().expect("eight bytes")),
            job: JobId::from_bytes(job.try_into().expect("twelve bytes are left")),
        })
    }
}

fn decode<T: Wire>(table: &str, bytes: &[u8]) -> KernelResult<T> {
    if bytes.first() != Some(&FORMAT) {
        return Err(corrupt(table, "a row of format 1", format!("{:?}", bytes.first())));
    }
    let file = format!("table {table}");
    let mut reader = Reader::new(&file, 0, bytes);
    let row = T::take(&mut reader)?;
    reader.end()?;
    Ok(row)
}

/// `Corrupt`: a row of `table` is not what this crate writes.
pub(crate) fn corrupt(table: &str, expected: &str, found: String) -> KernelError {
    KernelError::corrupt(&format!("table {table}"), 0, expected, found)
}

/// The row that says what a table holds.
pub(crate) fn meta(kind: u8) -> Vec<u8> {
    [MAGIC, &[kind, FORMAT]].concat()
}

/// Refuses a table that holds something else.
///
/// # Errors
/// `Invalid`, or `Unavailable` when a newer version wrote it.
pub(crate) fn check_meta(table: &str, row: Option<&[u8]>, kind: u8) -> KernelResult<()> {
    let what = ["a queue", "leases"][usize::from(kind - QUEUE)];
    match row.and_then(|row| row.strip_prefix(MAGIC)) {
        Some(&[found, FORMAT]) if found == kind => Ok(()),
        Some(&[found, format]) if found == kind => Err(KernelError::unavailable(format!(
            "open {what} in table '{table}': it has format {format}, this version knows {FORMAT}"
        ))),
        _ => {
            Err(KernelError::Invalid(format!("table '{table}' is there and does not hold {what}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: &Expect) {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        expected.assert_eq(&hex.join(" "));
    }

    fn job_row() -> JobRow {
        JobRow {
            state: CLAIMED,
            fence: 0x0708,
            attempts: 3,
            owner: "ada".to_owned(),
            why: "late".to_owned(),
            ..JobRow::new(127, 0x0102_0304, 0x0506)
        }
    }

    #[test]
    fn a_queues_rows_have_these_bytes() {
        let id = JobId { transaction: 0x0a0b, number: 2 };
        check(&meta(QUEUE), &expect!["73 6f 63 68 64 62 20 63 6c 61 69 6d 73 01 01"]);
        check(&id.key(b'j'), &expect!["6a 00 00 00 00 00 00 0a 0b 00 00 00 02"]);
        check(
            &job_row().place(id).key(),
            &expect!["71 7f 00 00 00 00 01 02 03 04 00 00 00 00 00 00 0a 0b 00 00 00 02"],
        );
        check(
            &job_row().to_wire(),
            &expect![
                "01 02 7f 04 03 02 01 00 00 00 00 08 07 00 00 00 00 00 00 03 00 00 00 06 05 00 00 00 00 00 00 03 61 64 61 04 6c 61 74 65"
            ],
        );
    }

    #[test]
    fn a_leases_row_has_these_bytes() {
        check(
            &LeaseRow::new(1000, 0x0102, 7, "ada").to_wire(),
            &expect![
                "01 e8 03 00 00 00 00 00 00 02 01 00 00 00 00 00 00 07 00 00 00 00 00 00 00 03 61 64 61"
            ],
        );
    }

    #[test]
    fn rows_of_another_format_state_or_length_are_corrupt() {
        let good = job_row().to_wire();
        assert_eq!(JobRow::decode("t", &good).unwrap(), job_row());
        for (index, byte) in [(0, 2), (1, 0), (1, 4)] {
            let mut bad = good.clone();
            bad[index] = byte;
            let error = JobRow::decode("t", &bad).unwrap_err();
            assert!(matches!(error, KernelError::Corrupt { .. }), "{error}");
        }
        for cut in 0..good.len() {
            assert!(JobRow::decode("t", &good[..cut]).is_err(), "cut at {cut}");
        }
        assert!(JobRow::decode("t", &[&good[..], &[0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn keys_have_the_order_of_their_places(a: (u8, u64, u64, u32), b: (u8, u64, u64, u32)) {
            let place = |(class, due, transaction, number): (u8, u64, u64, u32)| Place {
                class, due, job: JobId { transaction, number },
            };
            let (a, b) = (place(a), place(b));
            prop_assert_eq!(a.cmp(&b), a.key().cmp(&b.key()));
            prop_assert_eq!(Place::decode("t", &a.key()).unwrap(), a);
        }

        #[test]
        fn arbitrary_rows_and_keys_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1..80)) {
            let _ = JobRow::decode("t", &bytes);
            let _ = LeaseRow::decode("t", &bytes);
            let _ = Place::decode("t", &bytes);
            let _ = check_meta("t", Some(&bytes), QUEUE);
        }
    }
}
