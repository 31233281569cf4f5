//! Plugins that the operator has switched off, remembered in the database until they are switched on again.
//!
//! A table of the host's own, `sochdb.disabled`, made when the first plugin is switched off. A row's key is the
//! plugin's name; there need not be such a plugin. Its value:
//!
//! | offset | size | type | field   | meaning                                                        |
//! |-------:|-----:|------|---------|----------------------------------------------------------------|
//! |      0 |    4 | u32  | version | 1                                                              |
//! |      4 |    8 | u64  | since   | when it was switched off, in milliseconds since 1970 began     |
//!
//! Integers are little-endian. No plugin can be granted a table whose name begins with `sochdb.`.

use sochdb_kernel::{Kernel, KernelError, KernelResult, TableOptions, Transaction, limits};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The table of plugins that are switched off.
pub const DISABLED_TABLE: &str = "sochdb.disabled";

const VERSION: u32 = 1;
const AT_SINCE: usize = 4;
const ROW_BYTES: usize = AT_SINCE + 8;
const _: () = assert!(ROW_BYTES == 12, "the table above says 12");

/// Remembers that the plugin `name` is switched off. One that is off already stays off since then.
///
/// # Errors
/// `Invalid` when it has no name, or one too long for a key; what a transaction may end with otherwise.
pub fn disable(kernel: &Kernel, name: &str) -> KernelResult<()> {
    if !is_name(name) {
        return Err(KernelError::invalid(format!(
            "the name of a plugin has 1 to {} bytes, this one {}",
            limits::KEY_BYTES_MAX,
            name.len()
        )));
    }
    // So it may be said again on a read-only database.
    if row(&kernel.begin_read()?, name)?.is_some() {
        return Ok(());
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    kernel.run(|tx| {
        if !exists(tx)? {
            tx.create_table(DISABLED_TABLE, TableOptions::default())?;
        }
        match row(tx, name)? {
            Some(_) => Ok(()),
            None => tx.put(DISABLED_TABLE, name.as_bytes(), &encode(since)),
        }
    })
}

/// Forgets that the plugin `name` is switched off; says whether it was. A row that cannot be read is forgotten too.
///
/// # Errors
/// What a transaction may end with.
pub fn enable(kernel: &Kernel, name: &str) -> KernelResult<bool> {
    if row(&kernel.begin_read()?, name)?.is_none() {
        return Ok(false);
    }
    kernel.run(|tx| {
        let is_disabled = row(tx, name)?.is_some();
        if is_disabled {
            tx.delete(DISABLED_TABLE, name.as_bytes())?;
        }
        Ok(is_disabled)
    })
}

/// The names of all plugins that are switched off.
///
/// # Errors
/// `Corrupt` when a row is not what was written; what a read may end with otherwise.
pub fn list(kernel: &Kernel) -> KernelResult<BTreeSet<String>> {
    let tx = kernel.begin_read()?;
    if !exists(&tx)? {
        return Ok(BTreeSet::new());
    }
    tx.scan(DISABLED_TABLE, ..)?
        .map(|row| {
            let (key, value) = row?;
            decode(&value)?;
            String::from_utf8(key).map_err(|_| corrupt(0, "a name in UTF-8", "other bytes"))
        })
        .collect()
}

/// Since when the plugin `name` is switched off, if it is.
///
/// # Errors
/// `Corrupt` when its row is not what was written; what a read may end with otherwise.
pub fn since(kernel: &Kernel, name: &str) -> KernelResult<Option<SystemTime>> {
    let row = row(&kernel.begin_read()?, name)?;
    let since = row.map(|row| decode(&row)).transpose()?;
    let since = since.map(|since| {
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(since));
        time.ok_or_else(|| corrupt(AT_SINCE, "a time", format!("{since} ms")))
    });
    since.transpose()
}

fn is_name(name: &str) -> bool {
    (1..=limits::KEY_BYTES_MAX).contains(&name.len())
}

fn exists(tx: &Transaction) -> KernelResult<bool> {
    match tx.table(DISABLED_TABLE) {
        Ok(_) => Ok(true),
        Err(KernelError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn row(tx: &Transaction, name: &str) -> KernelResult<Option<Vec<u8>>> {
    match is_name(name) && exists(tx)? {
        true => Ok(tx.get(DISABLED_TABLE, name.as_bytes())?.map(|row| row.to_vec())),
        false => Ok(None),
    }
}

fn encode(since: u64) -> [u8; ROW_BYTES] {
    let mut row = [0; ROW_BYTES];
    row[..AT_SINCE].copy_from_slice(&VERSION.to_le_bytes());
    row[AT_SINCE..].copy_from_slice(&since.to_le_bytes());
    row
}

fn decode(row: &[u8]) -> KernelResult<u64> {
    let Ok(row) = <&[u8; ROW_BYTES]>::try_from(row) else {
        return Err(corrupt(0, "12 bytes", format!("{} bytes", row.len())));
    };
    let version = u32::from_le_bytes(row[..AT_SINCE].try_into().expect("four bytes"));
    if version != VERSION {
        return Err(corrupt(0, "version 1", format!("version {version}")));
    }
    Ok(u64::from_le_bytes(row[AT_SINCE..].try_into().expect("eight bytes")))
}

fn corrupt(offset: usize, expected: &str, found: impl Into<String>) -> KernelError {
    KernelError::corrupt(&format!("the table {DISABLED_TABLE}"), offset as u64, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_kernel::{Environment, ErrorKind, Options};

    fn open(world: &Environment) -> Kernel {
        Kernel::open(world.clone(), Options::default()).unwrap()
    }

    fn names(kernel: &Kernel) -> Vec<String> {
        list(kernel).unwrap().into_iter().collect()
    }

    #[test]
    fn what_is_switched_off_is_so_until_it_is_switched_on() {
        let world = sochdb_sim::memory();
        let kernel = open(&world);
        assert!(names(&kernel).is_empty() && !enable(&kernel, "p").unwrap());
        assert!(kernel.begin_read().unwrap().tables().unwrap().is_empty());
        disable(&kernel, "q").unwrap();
        disable(&kernel, "p").unwrap();
        let off_since = since(&kernel, "p").unwrap().unwrap();
        disable(&kernel, "p").unwrap();
        assert_eq!(since(&kernel, "p").unwrap(), Some(off_since));
        kernel.close().unwrap();
        let kernel = open(&world);
        assert_eq!(names(&kernel), ["p", "q"]);
        assert_eq!(since(&kernel, "p").unwrap(), Some(off_since));
        assert!(enable(&kernel, "p").unwrap() && !enable(&kernel, "p").unwrap());
        assert_eq!(names(&kernel), ["q"]);
        assert_eq!(since(&kernel, "p").unwrap(), None);
    }

    #[test]
    fn a_read_only_database_refuses_what_would_be_a_change() {
        let world = sochdb_sim::memory();
        let kernel = open(&world);
        disable(&kernel, "p").unwrap();
        kernel.close().unwrap();
        let options = Options { read_only: true, ..Options::default() };
        let kernel = Kernel::open(world, options).unwrap();
        disable(&kernel, "p").unwrap();
        assert!(!enable(&kernel, "q").unwrap());
        assert!(disable(&kernel, "q").is_err() && enable(&kernel, "p").is_err());
        assert_eq!(names(&kernel), ["p"]);
    }

    #[test]
    fn a_name_that_can_be_no_key_is_refused() {
        let kernel = open(&sochdb_sim::memory());
        for name in [String::new(), "n".repeat(limits::KEY_BYTES_MAX + 1)] {
            assert_eq!(disable(&kernel, &name).unwrap_err().kind(), ErrorKind::Invalid);
            assert!(!enable(&kernel, &name).unwrap());
            assert_eq!(since(&kernel, &name).unwrap(), None);
        }
        disable(&kernel, &"n".repeat(limits::KEY_BYTES_MAX)).unwrap();
    }

    #[test]
    fn a_rotten_row_is_corrupt_until_it_is_switched_on() {
        let rotten: [&[u8]; 4] = [b"", b"short", &[0; ROW_BYTES], &[1; ROW_BYTES + 1]];
        for row in rotten {
            let kernel = open(&sochdb_sim::memory());
            disable(&kernel, "p").unwrap();
            kernel.run(|tx| tx.put(DISABLED_TABLE, b"p", row)).unwrap();
            assert_eq!(list(&kernel).unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(since(&kernel, "p").unwrap_err().kind(), ErrorKind::Corrupt);
            assert!(enable(&kernel, "p").unwrap());
            assert!(names(&kernel).is_empty());
        }
        let kernel = open(&sochdb_sim::memory());
        disable(&kernel, "p").unwrap();
        kernel.run(|tx| tx.put(DISABLED_TABLE, b"\xFF", &encode(1))).unwrap();
        assert_eq!(list(&kernel).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_row_has_these_bytes() {
        assert_eq!(encode(0x0102_0304_0506), [1, 0, 0, 0, 6, 5, 4, 3, 2, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_row_comes_back_and_arbitrary_bytes_never_panic(
            since: u64, noise in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            prop_assert_eq!(decode(&encode(since)).unwrap(), since);
            let _ = decode(&noise);
        }
    }
}
