//! Plugins kept in the database itself, so that a backup carries the code that its tables need, and a host
//! runs without the folder that a plugin was installed from.
//!
//! Two tables of the host's own, `sochdb.plugins` and `sochdb.components`, made when the first plugin is
//! kept. No plugin can be granted a table whose name begins with `sochdb.`. A row of `sochdb.plugins` has
//! the plugin's name as its key, and as its value:
//!
//! | offset | size | type  | field    | meaning                                         |
//! |-------:|-----:|-------|----------|-------------------------------------------------|
//! |      0 |    4 | u32   | version  | 1                                               |
//! |      4 |   32 | bytes | `blake3` | the hash of its component                       |
//! |     36 |    8 | u64   | `bytes`  | the size of its component                       |
//! |     44 |    n | text  | manifest | as it was written, in UTF-8                     |
//!
//! A row of `sochdb.components` is a piece of a component:
//!
//! | where | size  | type  | field  | meaning                                                 |
//! |-------|------:|-------|--------|---------------------------------------------------------|
//! | key   |    32 | bytes | hash   | of the whole component                                  |
//! | key   |     4 | u32   | number | of the piece, from 0, big-endian so that they are in order |
//! | value | 1 to 262,144 | bytes | piece | all but the last have the full size             |
//!
//! Other integers are little-endian.
//!
//! 1. The pieces of a component are there while a plugin refers to its hash, and go with the last that does.
//! 2. What [`load`] returns has the hash that was kept; anything else is `Corrupt`.
//!
//! The kernel compresses neither table: code that decompresses may lie in them.

use crate::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use sochdb_kernel::{
    IsolationLevel, Kernel, KernelError, KernelResult, TableOptions, Transaction,
    TransactionOptions, limits,
};
use std::borrow::Cow;

/// The table of plugins.
pub const PLUGINS_TABLE: &str = "sochdb.plugins";
/// The table of their components, in pieces.
pub const COMPONENTS_TABLE: &str = "sochdb.components";

const VERSION: u32 = 1;
const AT_HASH: usize = 4;
const AT_BYTES: usize = AT_HASH + 32;
const AT_MANIFEST: usize = AT_BYTES + 8;
const _: () = assert!(AT_MANIFEST == 44, "the table above says 44");
/// 256 KiB: a few rows a component, none of them large for the log or a backup.
const PIECE_BYTES: usize = 256 << 10;
const _: () = assert!(PIECE_BYTES <= limits::VALUE_BYTES_MAX, "a piece is one value");
const _: () = assert!(
    AT_MANIFEST + MANIFEST_BYTES_MAX as usize <= limits::VALUE_BYTES_MAX,
    "a manifest is in one value"
);
const _: () = assert!(COMPONENT_BYTES_MAX < u32::MAX as u64, "pieces are counted in four bytes");

/// A plugin with all that is needed to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPlugin<'a> {
    /// What it is called; the manifest says so too.
    pub name: String,
    /// Its manifest, as it was written.
    pub manifest: String,
    /// Its component.
    pub component: Cow<'a, [u8]>,
}

/// What is known of a kept plugin without reading its component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptInfo {
    /// What it is called.
    pub name: String,
    /// Its manifest, as it was written.
    pub manifest: String,
    /// The BLAKE3 hash of its component, in hex.
    pub blake3: String,
    /// The size of its component.
    pub component_bytes: u64,
}

/// Keeps `plugin`, in the place of an older one of its name; says whether anything changed.
///
/// # Errors
/// `Invalid` when it has no name, or one too long for a key; `Limit` when manifest or component are too
/// large; what a transaction may end with otherwise. A read-only database refuses what is not kept already.
pub fn keep(kernel: &Kernel, plugin: &KeptPlugin<'_>) -> KernelResult<bool> {
    let KeptPlugin { name, manifest, component } = plugin;
    check_name(name)?;
    bound("the size of a manifest in bytes", manifest.len(), MANIFEST_BYTES_MAX)?;
    bound("the size of a component in bytes", component.len(), COMPONENT_BYTES_MAX)?;
    let record =
        Record { blake3: blake3::hash(component), bytes: component.len() as u64, manifest };
    let encoded = record.encode();
    let is_kept = |tx: &Transaction| -> KernelResult<bool> {
        Ok(exists(tx)? && tx.get(PLUGINS_TABLE, name.as_bytes())?.is_some_and(|row| row == encoded))
    };
    if is_kept(&kernel.begin_read()?)? {
        return Ok(false);
    }
    change(kernel, |tx| {
        if is_kept(tx)? {
            return Ok(false);
        }
        if !exists(tx)? {
            tx.create_table(PLUGINS_TABLE, TableOptions::default())?;
            tx.create_table(COMPONENTS_TABLE, TableOptions::default())?;
        }
        let old = hash_of(tx, name)?;
        if !is_referred_to(tx, &record.blake3)? {
            for (number, piece) in component.chunks(PIECE_BYTES).enumerate() {
                tx.put(COMPONENTS_TABLE, &piece_key(&record.blake3, number), piece)?;
            }
        }
        tx.put(PLUGINS_TABLE, name.as_bytes(), &encoded)?;
        remove_unreferred(tx, old)?;
        Ok(true)
    })
}

/// Every kept plugin, sorted by name.
///
/// # Errors
/// `Corrupt` when a row is not what was written; what a read may end with otherwise.
pub fn list(kernel: &Kernel) -> KernelResult<Vec<KeptInfo>> {
    let tx = kernel.begin_read()?;
    if !exists(&tx)? {
        return Ok(Vec::new());
    }
    tx.scan(PLUGINS_TABLE, ..)?
        .map(|row| {
            let (key, value) = row?;
            let name = String::from_utf8(key)
                .map_err(|_| corrupt(PLUGINS_TABLE, 0, "a name in UTF-8", "other bytes"))?;
            let Record { blake3, bytes, manifest } = Record::decode(&value)?;
            let (manifest, blake3) = (manifest.to_owned(), blake3.to_string());
            Ok(KeptInfo { name, manifest, blake3, component_bytes: bytes })
        })
        .collect()
}

/// The kept plugin `name`.
///
/// # Errors
/// `NotFound`; `Corrupt` when its row or its component is not what was written; what a read may end with
/// otherwise.
pub fn load(kernel: &Kernel, name: &str) -> KernelResult<KeptPlugin<'static>> {
    let tx = kernel.begin_read()?;
    let row = match exists(&tx)? && check_name(name).is_ok() {
        true => tx.get(PLUGINS_TABLE, name.as_bytes())?,
        false => None,
    };
    let row = row.ok_or_else(|| not_found(name))?;
    let record = Record::decode(&row)?;
    let component = read_component(&tx, &record)?;
    let manifest = record.manifest.to_owned();
    Ok(KeptPlugin { name: name.to_owned(), manifest, component: Cow::Owned(component) })
}

/// Keeps the plugin `name` no longer, nor its component if no other plugin has the same.
///
/// # Errors
/// `NotFound`; what a transaction may end with otherwise.
pub fn remove(kernel: &Kernel, name: &str) -> KernelResult<()> {
    if check_name(name).is_err() || !exists(&kernel.begin_read()?)? {
        return Err(not_found(name));
    }
    change(kernel, |tx| {
        if tx.get(PLUGINS_TABLE, name.as_bytes())?.is_none() {
            return Err(not_found(name));
        }
        let hash = hash_of(tx, name)?;
        tx.delete(PLUGINS_TABLE, name.as_bytes())?;
        remove_unreferred(tx, hash)
    })
}

/// Runs a transaction that decides by what others refer to, and so must see what others commit.
fn change<T>(
    kernel: &Kernel,
    work: impl FnMut(&mut Transaction) -> KernelResult<T>,
) -> KernelResult<T> {
    let isolation = IsolationLevel::Serializable;
    kernel.run_with(TransactionOptions { isolation, ..TransactionOptions::default() }, work)
}

fn exists(tx: &Transaction) -> KernelResult<bool> {
    let found = |name| match tx.table(name) {
        Ok(_) => Ok(true),
        Err(KernelError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    match (found(PLUGINS_TABLE)?, found(COMPONENTS_TABLE)?) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        _ => Err(corrupt(
            PLUGINS_TABLE,
            0,
            "a table beside sochdb.components",
            "one without the other",
        )),
    }
}

/// The component that the plugin `name` refers to. A row that cannot be read refers to none.
fn hash_of(tx: &Transaction, name: &str) -> KernelResult<Option<blake3::Hash>> {
    let row = tx.get(PLUGINS_TABLE, name.as_bytes())?;
    Ok(row.and_then(|row| Record::decode(&row).ok().map(|record| record.blake3)))
}

fn is_referred_to(tx: &Transaction, hash: &blake3::Hash) -> KernelResult<bool> {
    for row in tx.scan(PLUGINS_TABLE, ..)? {
        if Record::decode(&row?.1).is_ok_and(|record| record.blake3 == *hash) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the pieces of `hash` unless somebody refers to it.
fn remove_unreferred(tx: &mut Transaction, hash: Option<blake3::Hash>) -> KernelResult<()> {
    let Some(hash) = hash else { return Ok(()) };
    if is_referred_to(tx, &hash)? {
        return Ok(());
    }
    let (first, last) = (&hash.as_bytes()[..], piece_key(&hash, u32::MAX as usize));
    let pieces = tx.scan(COMPONENTS_TABLE, first..=&last[..])?;
    let keys = pieces.map(|row| row.map(|(key, _)| key)).collect::<KernelResult<Vec<_>>>()?;
    keys.iter().try_for_each(|key| tx.delete(COMPONENTS_TABLE, key))
}

fn read_component(tx: &Transaction, record: &Record<'_>) -> KernelResult<Vec<u8>> {
    let size = usize::try_from(record.bytes).expect("a record's size is below its bound");
    let mut component = Vec::with_capacity(size);
    for number in 0..size.div_ceil(PIECE_BYTES) {
        let expected = PIECE_BYTES.min(size - component.len());
        let piece = tx.get(COMPONENTS_TABLE, &piece_key(&record.blake3, number))?;
        let found = piece.as_ref().map_or(0, |piece| piece.len());
        match piece {
            Some(piece) if found == expected => component.extend_from_slice(&piece),
            _ => {
                let expected = format!("piece {number} of {}, {expected} bytes", record.blake3);
                let at = component.len() as u64;
                return Err(corrupt(COMPONENTS_TABLE, at, expected, format!("{found} bytes")));
            }
        }
    }
    let found = blake3::hash(&component);
    if found != record.blake3 {
        let expected = format!("a component with the BLAKE3 hash {}", record.blake3);
        return Err(corrupt(COMPONENTS_TABLE, 0, expected, format!("one with {found}")));
    }
    Ok(component)
}

fn piece_key(hash: &blake3::Hash, number: usize) -> [u8; 36] {
    let number = u32::try_from(number).expect("a component has few pieces");
    let mut key = [0; 36];
    key[..32].copy_from_slice(hash.as_bytes());
    key[32..].copy_from_slice(&number.to_be_bytes());
    key
}

fn check_name(name: &str) -> KernelResult<()> {
    if name.is_empty() || limits::KEY_BYTES_MAX < name.len() {
        return Err(KernelError::invalid(format!(
            "the name of a kept plugin has 1 to {} bytes, this one {}",
            limits::KEY_BYTES_MAX,
            name.len()
        )));
    }
    Ok(())
}

fn bound(what: &'static str, got: usize, bound: u64) -> KernelResult<()> {
    let got = got as u64;
    if got <= bound { Ok(()) } else { Err(KernelError::Limit { what, got, bound }) }
}

fn not_found(name: &str) -> KernelError {
    KernelError::NotFound { kind: "kept plugin", name: name.to_owned() }
}

fn corrupt(
    table: &str,
    offset: u64,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> KernelError {
    KernelError::corrupt(&format!("the table {table}"), offset, expected, found)
}

/// A row of the table of plugins.
struct Record<'a> {
    blake3: blake3::Hash,
    bytes: u64,
    manifest: &'a str,
}

impl<'a> Record<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(AT_MANIFEST + self.manifest.len());
        row.extend_from_slice(&VERSION.to_le_bytes());
        row.extend_from_slice(self.blake3.as_bytes());
        row.extend_from_slice(&self.bytes.to_le_bytes());
        row.extend_from_slice(self.manifest.as_bytes());
        row
    }

    fn decode(row: &'a [u8]) -> KernelResult<Record<'a>> {
        let wrong = |offset: usize, expected: &str, found: String| {
            corrupt(PLUGINS_TABLE, offset as u64, expected, found)
        };
        let Some((fixed, manifest)) = row.split_at_checked(AT_MANIFEST) else {
            return Err(wrong(0, "44 bytes and a manifest", format!("{} bytes", row.len())));
        };
        let version = u32::from_le_bytes(fixed[..AT_HASH].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(wrong(0, "version 1", format!("version {version}")));
        }
        let bytes = u64::from_le_bytes(fixed[AT_BYTES..].try_into().expect("eight bytes"));
        if COMPONENT_BYTES_MAX < bytes {
            return Err(wrong(AT_BYTES, "a component of at most 64 MiB", format!("{bytes} bytes")));
        }
        let manifest = std::str::from_utf8(manifest)
            .map_err(|error| wrong(AT_MANIFEST, "a manifest in UTF-8", error.to_string()))?;
        let blake3 = blake3::Hash::from_slice(&fixed[AT_HASH..AT_BYTES]).expect("32 bytes");
        Ok(Record { blake3, bytes, manifest })
    }
}

#[cfg(test)]
mod tests;
