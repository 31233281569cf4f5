//! Plugins kept in the database itself, so that a backup carries the code that its tables need, and a host
//! runs without the folder that a plugin was installed from.
//!
//! Two tables of the host's own, `sochdb.plugins` and `sochdb.components`, made when the first plugin is
//! kept. No plugin can be granted a table whose name begins with `sochdb.`. A row of `sochdb.plugins` has
//! the plugin's name as its key, and as its value:
//!
//! | offset | size | type  | field       | meaning                                                             |
//! |-------:|-----:|-------|-------------|---------------------------------------------------------------------|
//! |      0 |    4 | u32   | version     | 2                                                                   |
//! |      4 |   32 | bytes | `blake3`    | the hash of its component                                           |
//! |     36 |    8 | u64   | `bytes`     | the size of its component                                           |
//! |     44 |    4 | u32   | m           | the size of the manifest                                            |
//! |     48 |    m | text  | manifest    | as it was written, in UTF-8                                         |
//! | 48 + m | rest | text  | `signature` | of the manifest, as it was written, in UTF-8; nothing: there is none |
//!
//! Rows of version 1 are read too. They have no signature, and at offset 44 the manifest, to the end of the row. Such a
//! row stays as it is until the plugin is kept in another form.
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
use crate::signature::SIGNATURE_BYTES_MAX;
use sochdb_kernel::{
    IsolationLevel, Kernel, KernelError, KernelResult, TableOptions, Transaction,
    TransactionOptions, limits,
};
use std::borrow::Cow;

/// The table of plugins.
pub const PLUGINS_TABLE: &str = "sochdb.plugins";
/// The table of their components, in pieces.
pub const COMPONENTS_TABLE: &str = "sochdb.components";

const VERSION: u32 = 2;
const VERSION_UNSIGNED: u32 = 1;
const AT_HASH: usize = 4;
const AT_BYTES: usize = AT_HASH + 32;
const AT_MANIFEST_BYTES: usize = AT_BYTES + 8;
const AT_MANIFEST: usize = AT_MANIFEST_BYTES + 4;
const _: () = assert!(AT_MANIFEST == 48, "the table above says 48");
/// 256 KiB: a few rows a component, none of them large for the log or a backup.
const PIECE_BYTES: usize = 256 << 10;
const _: () = assert!(PIECE_BYTES <= limits::VALUE_BYTES_MAX, "a piece is one value");
const _: () = assert!(
    AT_MANIFEST + (MANIFEST_BYTES_MAX + SIGNATURE_BYTES_MAX) as usize <= limits::VALUE_BYTES_MAX,
    "a manifest is in one value, with its signature"
);
const _: () = assert!(COMPONENT_BYTES_MAX < u32::MAX as u64, "pieces are counted in four bytes");

/// A plugin with all that is needed to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPlugin<'a> {
    /// What it is called; the manifest says so too.
    pub name: String,
    /// Its manifest, as it was written.
    pub manifest: String,
    /// The [signature](crate::signature) of the manifest, as it was written. An empty one is none.
    pub signature: Option<String>,
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
    /// The [signature](crate::signature) of the manifest, as it was written.
    pub signature: Option<String>,
    /// The BLAKE3 hash of its component, in hex.
    pub blake3: String,
    /// The size of its component.
    pub component_bytes: u64,
}

/// Keeps `plugin`, in the place of an older one of its name; says whether anything changed.
///
/// # Errors
/// `Invalid` when it has no name, or one too long for a key; `Limit` when manifest, signature or component are
/// too large; what a transaction may end with otherwise. A read-only database refuses what is not kept already.
pub fn keep(kernel: &Kernel, plugin: &KeptPlugin<'_>) -> KernelResult<bool> {
    let KeptPlugin { name, manifest, signature, component } = plugin;
    let signature = signature.as_deref().unwrap_or_default();
    check_name(name)?;
    bound("the size of a manifest in bytes", manifest.len(), MANIFEST_BYTES_MAX)?;
    bound("the size of a signature in bytes", signature.len(), SIGNATURE_BYTES_MAX)?;
    bound("the size of a component in bytes", component.len(), COMPONENT_BYTES_MAX)?;
    let bytes = component.len() as u64;
    let record = Record { blake3: blake3::hash(component), bytes, manifest, signature };
    let is_kept = |tx: &Transaction| -> KernelResult<bool> {
        let row = if exists(tx)? { tx.get(PLUGINS_TABLE, name.as_bytes())? } else { None };
        // A row that cannot be read is written anew.
        Ok(row.is_some_and(|row| Record::decode(&row).is_ok_and(|kept| kept == record)))
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
        tx.put(PLUGINS_TABLE, name.as_bytes(), &record.encode())?;
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
            let record = Record::decode(&value)?;
            Ok(KeptInfo {
                name,
                manifest: record.manifest.to_owned(),
                signature: record.signature(),
                blake3: record.blake3.to_string(),
                component_bytes: record.bytes,
            })
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
    Ok(KeptPlugin {
        name: name.to_owned(),
        manifest: record.manifest.to_owned(),
        signature: record.signature(),
        component: Cow::Owned(read_component(&tx, &record)?),
    })
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
#[derive(PartialEq)]
struct Record<'a> {
    blake3: blake3::Hash,
    bytes: u64,
    manifest: &'a str,
    /// Empty when there is none.
    signature: &'a str,
}

impl<'a> Record<'a> {
    fn signature(&self) -> Option<String> {
        (!self.signature.is_empty()).then(|| self.signature.to_owned())
    }

    fn encode(&self) -> Vec<u8> {
        let manifest_bytes = u32::try_from(self.manifest.len()).expect("a manifest is bounded");
        let mut row = Vec::with_capacity(AT_MANIFEST + self.manifest.len() + self.signature.len());
        row.extend_from_slice(&VERSION.to_le_bytes());
        row.extend_from_slice(self.blake3.as_bytes());
        row.extend_from_slice(&self.bytes.to_le_bytes());
        row.extend_from_slice(&manifest_bytes.to_le_bytes());
        row.extend_from_slice(self.manifest.as_bytes());
        row.extend_from_slice(self.signature.as_bytes());
        row
    }

    fn decode(row: &'a [u8]) -> KernelResult<Record<'a>> {
        let wrong = |offset: usize, expected: &str, found: String| {
            corrupt(PLUGINS_TABLE, offset as u64, expected, found)
        };
        let Some((fixed, rest)) = row.split_at_checked(AT_MANIFEST_BYTES) else {
            return Err(wrong(0, "44 bytes and a manifest", format!("{} bytes", row.len())));
        };
        let version = u32::from_le_bytes(fixed[..AT_HASH].try_into().expect("four bytes"));
        let (at_manifest, manifest, signature) = match version {
            VERSION_UNSIGNED => (AT_MANIFEST_BYTES, rest, &[][..]),
            VERSION => {
                let parts = rest.split_first_chunk().and_then(|(bytes, texts)| {
                    texts.split_at_checked(u32::from_le_bytes(*bytes) as usize)
                });
                let Some((manifest, signature)) = parts else {
                    let expected = "the size of a manifest, and the manifest";
                    return Err(wrong(
                        AT_MANIFEST_BYTES,
                        expected,
                        format!("{} bytes", rest.len()),
                    ));
                };
                (AT_MANIFEST, manifest, signature)
            }
            _ => return Err(wrong(0, "version 1 or 2", format!("version {version}"))),
        };
        let bytes = u64::from_le_bytes(fixed[AT_BYTES..].try_into().expect("eight bytes"));
        if COMPONENT_BYTES_MAX < bytes {
            return Err(wrong(AT_BYTES, "a component of at most 64 MiB", format!("{bytes} bytes")));
        }
        let text = |at: usize, text: &'a [u8]| {
            std::str::from_utf8(text).map_err(|error| wrong(at, "text in UTF-8", error.to_string()))
        };
        let at_signature = at_manifest + manifest.len();
        let (manifest, signature) = (text(at_manifest, manifest)?, text(at_signature, signature)?);
        let blake3 = blake3::Hash::from_slice(&fixed[AT_HASH..AT_BYTES]).expect("32 bytes");
        Ok(Record { blake3, bytes, manifest, signature })
    }
}

#[cfg(test)]
mod tests;
