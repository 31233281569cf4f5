//! What tenants may use, remembered in the database.
//!
//! A table of the host's own, `sochdb.tenants`, made when the first tenant is kept. No plugin can be granted a
//! table whose name begins with `sochdb.`. A row's key is the tenant's name in UTF-8; its value:
//!
//! | offset | size | type | field   | meaning                                                       |
//! |-------:|-----:|------|---------|---------------------------------------------------------------|
//! |      0 |    4 | u32  | version | 1, little-endian                                              |
//! |      4 |    n | text | options | [`TenantOptions`] as JSON in UTF-8, at most 65,536 bytes      |
//!
//! 1. A key that is no tenant's name, and a value that is not as above, is `Corrupt`, and hides no other row.
//! 2. Unknown fields are refused: a newer version's bound must not be passed over as if it were not there.

use crate::tenant::{TenantOptions, check_name};
use sochdb_kernel::{Kernel, KernelError, KernelResult, TableOptions, Transaction};

/// The table of tenants.
pub const TENANTS_TABLE: &str = "sochdb.tenants";

const VERSION: u32 = 1;
const AT_OPTIONS: usize = 4;
const OPTIONS_BYTES_MAX: usize = 64 << 10;

/// Remembers what the tenant `name` may use, in the place of what was remembered of it.
///
/// # Errors
/// `Invalid` when `name` is no tenant's; `Limit` when it has too many plugins; what a transaction may end with
/// otherwise, on a read-only database its refusal.
pub fn keep(kernel: &Kernel, name: &str, options: &TenantOptions) -> KernelResult<()> {
    check_name(name)?;
    let row = encode(options)?;
    kernel.run(|tx| {
        if !exists(tx)? {
            tx.create_table(TENANTS_TABLE, TableOptions::default())?;
        }
        tx.put(TENANTS_TABLE, name.as_bytes(), &row)
    })
}

/// Forgets the tenant `name`; says whether it was remembered. A row that cannot be read is forgotten too.
///
/// # Errors
/// What a transaction may end with.
pub fn forget(kernel: &Kernel, name: &str) -> KernelResult<bool> {
    if row(&kernel.begin_read()?, name)?.is_none() {
        return Ok(false);
    }
    kernel.run(|tx| {
        let is_kept = row(tx, name)?.is_some();
        if is_kept {
            tx.delete(TENANTS_TABLE, name.as_bytes())?;
        }
        Ok(is_kept)
    })
}

/// What is remembered of the tenant `name`, if anything is.
///
/// # Errors
/// `Corrupt` when its row is not what was written; what a read may end with otherwise.
pub fn get(kernel: &Kernel, name: &str) -> KernelResult<Option<TenantOptions>> {
    row(&kernel.begin_read()?, name)?.map(|row| decode(&row)).transpose()
}

/// A tenant that is remembered: its name, and what it may use, as far as that can be read.
pub type Kept = (String, KernelResult<TenantOptions>);

/// Every tenant that is remembered, in the order of names. A key that is no name is read as far as it is one.
///
/// # Errors
/// What a read may end with.
pub fn list(kernel: &Kernel) -> KernelResult<Vec<Kept>> {
    let tx = kernel.begin_read()?;
    if !exists(&tx)? {
        return Ok(Vec::new());
    }
    let kept = |row: KernelResult<(Vec<u8>, sochdb_kernel::Slice)>| {
        let (key, value) = row?;
        let name = String::from_utf8_lossy(&key).into_owned();
        let is_name = name.as_bytes() == key && check_name(&name).is_ok();
        let options = if is_name { decode(&value) } else { Err(no_name(&name)) };
        Ok((name, options))
    };
    tx.scan(TENANTS_TABLE, ..)?.map(kept).collect()
}

fn no_name(name: &str) -> KernelError {
    corrupt(0, "a tenant's name as the key", format!("{name:?}"))
}

fn exists(tx: &Transaction) -> KernelResult<bool> {
    match tx.table(TENANTS_TABLE) {
        Ok(_) => Ok(true),
        Err(KernelError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn row(tx: &Transaction, name: &str) -> KernelResult<Option<Vec<u8>>> {
    match !name.is_empty() && exists(tx)? {
        true => Ok(tx.get(TENANTS_TABLE, name.as_bytes())?.map(|row| row.to_vec())),
        false => Ok(None),
    }
}

fn encode(options: &TenantOptions) -> KernelResult<Vec<u8>> {
    let text = serde_json::to_vec(options).expect("options have text keys alone");
    if OPTIONS_BYTES_MAX < text.len() {
        let what = "the size of a tenant's options in bytes";
        let (got, bound) = (text.len() as u64, OPTIONS_BYTES_MAX as u64);
        return Err(KernelError::Limit { what, got, bound });
    }
    Ok([&VERSION.to_le_bytes()[..], &text].concat())
}

fn decode(row: &[u8]) -> KernelResult<TenantOptions> {
    let Some((version, text)) = row.split_first_chunk::<AT_OPTIONS>() else {
        return Err(corrupt(0, "4 bytes and a tenant's options", format!("{} bytes", row.len())));
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(corrupt(0, "version 1", format!("version {version}")));
    }
    if OPTIONS_BYTES_MAX < text.len() {
        let found = format!("{} bytes", text.len());
        return Err(corrupt(AT_OPTIONS, "options of at most 65,536 bytes", found));
    }
    serde_json::from_slice(text)
        .map_err(|error| corrupt(AT_OPTIONS, "a tenant's options in JSON", error.to_string()))
}

fn corrupt(offset: usize, expected: &str, found: impl Into<String>) -> KernelError {
    KernelError::corrupt(&format!("the table {TENANTS_TABLE}"), offset as u64, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_kernel::{ErrorKind, Options};

    fn options() -> TenantOptions {
        TenantOptions {
            fuel_per_second: Some(5),
            storage_bytes_max: Some(0),
            plugins: ["audit".to_owned()].into(),
            ..TenantOptions::default()
        }
    }

    #[test]
    fn what_is_kept_is_there_after_opening_again_until_it_is_forgotten() {
        let world = sochdb_sim::memory();
        let kernel = Kernel::open(world.clone(), Options::default()).unwrap();
        assert!(list(&kernel).unwrap().is_empty() && !forget(&kernel, "acme").unwrap());
        assert!(kernel.begin_read().unwrap().tables().unwrap().is_empty());
        keep(&kernel, "acme", &TenantOptions::default()).unwrap();
        keep(&kernel, "zoo", &TenantOptions::default()).unwrap();
        keep(&kernel, "acme", &options()).unwrap();
        kernel.close().unwrap();
        let kernel = Kernel::open(world, Options::default()).unwrap();
        assert_eq!(get(&kernel, "acme").unwrap(), Some(options()));
        let names: Vec<_> = list(&kernel).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["acme", "zoo"]);
        assert!(forget(&kernel, "acme").unwrap() && !forget(&kernel, "acme").unwrap());
        assert_eq!(get(&kernel, "acme").unwrap(), None);
    }

    #[test]
    fn a_name_that_is_no_tenants_is_refused() {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        for name in ["", "a/b", "a\nb", "sochdb.x"] {
            let error = keep(&kernel, name, &options()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
        }
        assert!(kernel.begin_read().unwrap().tables().unwrap().is_empty());
    }

    #[test]
    fn a_rotten_row_is_corrupt_and_hides_no_other_one() {
        let rotten: [&[u8]; 5] =
            [b"", b"\x01\0\0", b"\x02\0\0\0{}", b"\x01\0\0\0{", b"\x01\0\0\0{\"new_max\":1}"];
        for row in rotten {
            let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
            keep(&kernel, "acme", &options()).unwrap();
            kernel.run(|tx| tx.put(TENANTS_TABLE, b"bad", row)).unwrap();
            assert_eq!(get(&kernel, "bad").unwrap_err().kind(), ErrorKind::Corrupt);
            let kept = list(&kernel).unwrap();
            assert_eq!(kept[0].1.as_ref().unwrap(), &options());
            assert_eq!(kept[1].1.as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
            assert!(forget(&kernel, "bad").unwrap());
        }
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        keep(&kernel, "acme", &options()).unwrap();
        kernel.run(|tx| tx.put(TENANTS_TABLE, b"\xFF", &encode(&options())?)).unwrap();
        assert_eq!(list(&kernel).unwrap()[1].1.as_ref().unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_row_has_these_bytes() {
        let text = br#"{"fuel_per_second":5,"memory_bytes_max":null,"calls_max":null,"storage_bytes_max":0,"plugins":["audit"]}"#;
        assert_eq!(encode(&options()).unwrap(), [&[1, 0, 0, 0][..], text].concat());
        let many = (0..10_000).map(|n| format!("plugin-{n}")).collect();
        let error = encode(&TenantOptions { plugins: many, ..options() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }

    proptest! {
        #[test]
        fn a_row_comes_back_and_arbitrary_bytes_never_panic(
            fuel: Option<u64>, calls: Option<u32>, noise in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let options = TenantOptions { fuel_per_second: fuel, calls_max: calls, ..options() };
            prop_assert_eq!(decode(&encode(&options).unwrap()).unwrap(), options);
            let _ = decode(&noise);
            let _ = decode(&[&[1, 0, 0, 0][..], &noise].concat());
        }
    }
}
