//! Bytes of anybody into a package.

use super::ustar::{self, BLOCK_BYTES};
use super::{
    Entry, HEAD_BYTES, HEAD_NAME, LICENSE_BYTES_MAX, LICENSE_NAMES, PACKAGE_BYTES_MAX,
    PACKAGE_VERSION, PackageError, PluginPackage, README_BYTES_MAX, README_NAME, Result, check_pin,
    component_name, head,
};
use crate::limits::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::plugin_manifest::PluginManifest;
use crate::signature::SIGNATURE_BYTES_MAX;

/// The head's block and its bytes, then a manifest's block, a component's, and two of zeros.
const BYTES_MIN: usize = 6 * BLOCK_BYTES;
/// One of each that may be there.
const ENTRIES_MAX: usize = 3 + LICENSE_NAMES.len() + 1;
const _: () = assert!(ENTRIES_MAX == 8, "the lines of the table but the head");

/// As [`PluginPackage::decode`].
///
/// # Errors
/// As there.
pub fn decode(file: &str, bytes: Vec<u8>) -> Result<PluginPackage> {
    let reading = Reading { file, bytes: &bytes };
    reading.check_head()?;
    let entries = reading.entries()?;
    let text = |entry: &Entry| {
        str::from_utf8(&bytes[entry.at.clone()])
            .map_err(|error| reading.damaged(entry.at.start + error.valid_up_to(), "no UTF-8"))
    };
    let [first, .., last] = entries.as_slice() else {
        return Err(reading.refused("it has a manifest and a component, and this has not"));
    };
    let manifest = text(first)?.to_owned();
    let parsed = PluginManifest::parse(&format!("{file}/{}", first.name), &manifest)?;
    let component = component_name(&parsed).map_err(|why| reading.refused(why))?;
    // An order in which each name has one place, so that none can be there twice.
    let mut places = vec![
        (format!("{}.toml", parsed.name), MANIFEST_BYTES_MAX),
        (format!("{}.toml.minisig", parsed.name), SIGNATURE_BYTES_MAX),
        (README_NAME.to_owned(), README_BYTES_MAX),
    ];
    places.extend(LICENSE_NAMES.map(|name| (name.to_owned(), LICENSE_BYTES_MAX)));
    places.push((component.to_owned(), COMPONENT_BYTES_MAX));
    if first.name != places[0].0 || last.name != component {
        let (first, last) = (&first.name, &last.name);
        return Err(reading.refused(format!(
            "it begins with '{first}' and ends with '{last}', where '{}' and '{component}' belong",
            places[0].0
        )));
    }
    let mut free = places.iter();
    for (index, entry) in entries.iter().enumerate() {
        let place = free.by_ref().find(|(name, _)| *name == entry.name);
        let Some((_, bytes_max)) = place else {
            return Err(reading.refused(format!("'{}' does not belong where it is", entry.name)));
        };
        if *bytes_max < entry.at.len() as u64 {
            let (name, len) = (&entry.name, entry.at.len());
            return Err(reading.refused(format!("'{name}' has {len} bytes, more than {bytes_max}")));
        }
        if index + 1 < entries.len() {
            text(entry)?;
        }
    }
    check_pin(&parsed, &bytes[last.at.clone()]).map_err(|why| reading.refused(why))?;
    let (name, version) = (parsed.name, parsed.version.to_string());
    Ok(PluginPackage { bytes, manifest, name, version, entries })
}

struct Reading<'a> {
    file: &'a str,
    bytes: &'a [u8],
}

impl Reading<'_> {
    /// Checks what is there, that it is a package that this program reads, and that nothing happened to it.
    fn check_head(&self) -> Result<()> {
        let not_one = |why| PackageError::NotOne { file: self.file.to_owned(), why };
        let (Some(block), Some(text)) = (
            self.bytes.first_chunk::<BLOCK_BYTES>(),
            self.bytes.get(BLOCK_BYTES..BLOCK_BYTES + HEAD_BYTES),
        ) else {
            return Err(not_one("it is too short"));
        };
        let is_ours = ustar::read(block).is_ok_and(|(name, _)| name == HEAD_NAME);
        let version = text.strip_prefix(HEAD_NAME.as_bytes()).and_then(|rest| {
            let line = rest.strip_prefix(b" ")?.split(|&byte| byte == b'\n').next()?;
            str::from_utf8(line).ok()?.parse::<u32>().ok()
        });
        match version.filter(|_| is_ours) {
            None => return Err(not_one("it does not begin with the entry 'sochdb-plugin'")),
            Some(PACKAGE_VERSION) => {}
            Some(version) => {
                return Err(PackageError::Newer { file: self.file.to_owned(), version });
            }
        }
        let len = self.bytes.len();
        if PACKAGE_BYTES_MAX < len as u64 {
            return Err(self.refused(format!("it has more than {PACKAGE_BYTES_MAX} bytes")));
        }
        if len < BYTES_MIN || !len.is_multiple_of(BLOCK_BYTES) {
            return Err(self.damaged(len, format!("{len} bytes are not all of it")));
        }
        let found = head(&blake3::hash(&self.bytes[2 * BLOCK_BYTES..]));
        if found.as_bytes() != text {
            let why = "what follows has another hash than the one that stands here";
            return Err(self.damaged(BLOCK_BYTES, why));
        }
        if ustar::block(HEAD_NAME, HEAD_BYTES) != *block {
            return Err(self.damaged(0, "not the first block of a package"));
        }
        self.check_zeros(BLOCK_BYTES + HEAD_BYTES, 2 * BLOCK_BYTES)
    }

    /// What is in it behind the head.
    fn entries(&self) -> Result<Vec<Entry>> {
        let (mut at, end) = (2 * BLOCK_BYTES, self.bytes.len() - 2 * BLOCK_BYTES);
        self.check_zeros(end, self.bytes.len())?;
        let mut entries = Vec::new();
        while at < end {
            if entries.len() == ENTRIES_MAX {
                return Err(self.refused(format!("it has more than {ENTRIES_MAX} files")));
            }
            let block = self.bytes[at..].first_chunk().expect("whole blocks up to the end");
            let (name, size) = ustar::read(block).map_err(|why| self.refused(why))?;
            let from = at + BLOCK_BYTES;
            if end - from < size {
                return Err(self.damaged(at, format!("'{name}' has {size} bytes, the rest fewer")));
            }
            at = (from + size).next_multiple_of(BLOCK_BYTES);
            self.check_zeros(from + size, at)?;
            entries.push(Entry { name: name.to_owned(), at: from..from + size });
        }
        Ok(entries)
    }

    fn check_zeros(&self, from: usize, to: usize) -> Result<()> {
        match self.bytes[from..to].iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(index) => Err(self.damaged(from + index, "there are zeros in a package")),
        }
    }

    fn refused(&self, why: impl Into<String>) -> PackageError {
        PackageError::Refused { file: self.file.to_owned(), why: why.into() }
    }

    fn damaged(&self, offset: usize, why: impl Into<String>) -> PackageError {
        PackageError::Damaged { file: self.file.to_owned(), offset, why: why.into() }
    }
}
