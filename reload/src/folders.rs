//! What lies in a folder of plugins: its manifests, and a fingerprint of each.
//!
//! The manifests are the files `*.toml` in the folder itself, but for those that [`is_manifest`] leaves out. The
//! [`Print`] of one stays the same just as long as what it would load does. It is the BLAKE3 hash of three parts:
//!
//! | part      | file                                | read up to | links        |
//! |-----------|-------------------------------------|-----------:|--------------|
//! | manifest  | `NAME.toml`                         |      1 MiB | followed     |
//! | signature | `NAME.toml.minisig`                 |      1 MiB | followed     |
//! | component | the one that the manifest names     |     64 MiB | not followed |
//!
//! Each is a tag and what else is to be said of the file:
//!
//! | offset | size | type  | field  | meaning                                                              |
//! |-------:|-----:|-------|--------|----------------------------------------------------------------------|
//! |      0 |    1 | u8    | `tag`  | 0 none, 1 read, 2 too large, 3 link, 4 no file, 5 unreadable, 6 outside |
//! |      1 |    8 | u64   | `len`  | tags 1 and 2: the size of the file in bytes; else zero               |
//! |      9 |   32 | bytes | `hash` | tag 1: BLAKE3 of its bytes; tag 2: of the date of its last change; else zero |
//!
//! Integers are little-endian. Links to manifests are followed because that is how a cluster's manager mounts
//! configuration; a link to a component is refused by whoever loads it, and so is all that has no tag 1.
//!
//! A file is read again only when its stamp (size, dates, number) is another one, or when that was first seen less
//! than two seconds before the file was last read: file systems date changes coarsely, so that the stamp may hide a
//! second change. Nothing but a regular file is ever opened, and never in a way that waits for somebody.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// One mebibyte: more than whoever loads manifests accepts.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// 64 MiB, as much as whoever loads components accepts.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// A thousand times what anybody has: a folder with more of them is not a folder of plugins.
const MANIFESTS_MAX: usize = 10_000;
/// The coarsest date of a change that file systems keep; FAT has it.
const GRAIN: Duration = Duration::from_secs(2);
/// How much of a file is in memory at a time.
const CHUNK_BYTES: usize = 64 << 10;

const PART_BYTES: usize = 1 + 8 + 32;

/// The fingerprint of what a manifest would load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Print([u8; 32]);

impl Print {
    pub(crate) fn of(bytes: &[u8]) -> Print {
        Print(*blake3::hash(bytes).as_bytes())
    }
}

impl std::fmt::Debug for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex()[..16])
    }
}

/// Whether a file of this name is a manifest: `*.toml`, but neither hidden nor what editors leave beside a file.
pub fn is_manifest(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.as_encoded_bytes()) else { return false };
    path.extension().is_some_and(|extension| extension == "toml")
        && name[0] != b'.'
        && name[0] != b'#'
}

/// Looks into one folder, again and again.
pub struct Scanner {
    folder: PathBuf,
    component_of: ComponentOf,
    files: Files,
}

type ComponentOf = Box<dyn Fn(&str) -> Option<String> + Send>;

impl Scanner {
    /// A scanner of `folder`. `component_of` finds in a manifest's text the component that it names: a path
    /// relative to the folder, and inside it, or none.
    pub fn new(
        folder: PathBuf,
        component_of: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Scanner {
        Scanner { folder, component_of: Box::new(component_of), files: Files::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every manifest, sorted by name, each with the fingerprint of what it would load now. None when there is no
    /// such folder. A file that cannot be read has a fingerprint too, which says so.
    ///
    /// # Errors
    /// The operating system's word when the folder cannot be read; `InvalidData` when it holds more than 10,000
    /// manifests.
    pub fn scan(&mut self) -> io::Result<BTreeMap<PathBuf, Print>> {
        let manifests = match manifests(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        self.files.begin();
        let prints = manifests.into_iter().filter_map(|manifest| {
            let print = self.print(&manifest)?;
            Some((manifest, print))
        });
        Ok(prints.collect())
    }

    /// `None` when the manifest has gone.
    fn print(&mut self, manifest: &Path) -> Option<Print> {
        let found = self.files.look(manifest, Role::Manifest, &self.component_of);
        if found.part == Part::Missing {
            return None;
        }
        let mut signature = OsString::from(manifest);
        signature.push(".minisig");
        let signature = self.files.look(Path::new(&signature), Role::Signature, &|_| None).part;
        let component = match found.names {
            Some(name) => self.component(&name),
            None => Part::Missing,
        };
        let parts = [found.part.encode(), signature.encode(), component.encode()];
        Some(Print::of(parts.as_flattened()))
    }

    fn component(&mut self, name: &str) -> Part {
        let mut path = self.folder.clone();
        let mut steps = Path::new(name).components().filter(|step| *step != Component::CurDir);
        let mut next = steps.next();
        while let Some(Component::Normal(step)) = next {
            path.push(step);
            next = steps.next();
            if next.is_none() {
                return self.files.look(&path, Role::Component, &|_| None).part;
            }
            if path.is_symlink() {
                return Part::Link;
            }
        }
        Part::Outside
    }
}

fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if is_manifest(&path) {
            found.push(path);
        }
        if MANIFESTS_MAX < found.len() {
            let text = format!("{} holds more than {MANIFESTS_MAX} manifests", folder.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    found.sort();
    Ok(found)
}

/// What a file is to the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Manifest,
    Signature,
    Component,
}

impl Role {
    fn bytes_max(self) -> u64 {
        match self {
            Role::Manifest | Role::Signature => TEXT_BYTES_MAX,
            Role::Component => COMPONENT_BYTES_MAX,
        }
    }

    fn follows_links(self) -> bool {
        self != Role::Component
    }
}

/// What is to be said of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Missing,
    Read { len: u64, hash: [u8; 32] },
    TooLarge { len: u64, changed: Option<SystemTime> },
    Link,
    NoFile,
    Unreadable,
    Outside,
}

impl Part {
    fn encode(&self) -> [u8; PART_BYTES] {
        let (tag, len, hash) = match *self {
            Part::Missing => (0, 0, [0; 32]),
            Part::Read { len, hash } => (1, len, hash),
            Part::TooLarge { len, changed } => (2, len, Print::of(&date(changed)).0),
            Part::Link => (3, 0, [0; 32]),
            Part::NoFile => (4, 0, [0; 32]),
            Part::Unreadable => (5, 0, [0; 32]),
            Part::Outside => (6, 0, [0; 32]),
        };
        let mut bytes = [0; PART_BYTES];
        bytes[0] = tag;
        bytes[1..9].copy_from_slice(&u64::to_le_bytes(len));
        bytes[9..].copy_from_slice(&hash);
        bytes
    }

    fn too_large(found: &Metadata) -> Part {
        Part::TooLarge { len: found.len(), changed: found.modified().ok() }
    }
}

/// Nanoseconds from the epoch of Unix, and whether they lie before it.
fn date(time: Option<SystemTime>) -> [u8; 17] {
    let since = time.map(|time| time.duration_since(SystemTime::UNIX_EPOCH));
    let (is_before, distance) = match since {
        Some(Ok(after)) => (0, after),
        Some(Err(before)) => (1, before.duration()),
        None => (2, Duration::ZERO),
    };
    let mut bytes = [is_before; 17];
    bytes[1..].copy_from_slice(&distance.as_nanos().to_le_bytes());
    bytes
}

/// What the operating system says of a file without reading it. As long as it says the same, nobody has written
/// to the file; but for what two seconds hides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    system: System,
}

/// Device, file number, and when it last changed in any way, which no program sets: seconds, nanoseconds.
#[cfg(unix)]
type System = (u64, u64, i64, i64);
/// When the file came to be.
#[cfg(not(unix))]
type System = Option<SystemTime>;

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp { len: found.len(), modified: found.modified().ok(), system: system(found) }
    }
}

#[cfg(unix)]
fn system(found: &Metadata) -> System {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino(), found.ctime(), found.ctime_nsec())
}

#[cfg(not(unix))]
fn system(found: &Metadata) -> System {
    found.created().ok()
}

/// Which folder a path leads to now; none when to no folder. Another one of the same name is another one.
#[cfg(unix)]
pub(crate) fn folder_id(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(folder).ok().filter(|found| found.is_dir())?;
    Some((found.dev(), found.ino()))
}

/// Which folder a path leads to now; none when to no folder. Another one of the same name is another one.
#[cfg(not(unix))]
pub(crate) fn folder_id(folder: &Path) -> Option<SystemTime> {
    let found = std::fs::metadata(folder).ok().filter(|found| found.is_dir())?;
    Some(found.created().unwrap_or(SystemTime::UNIX_EPOCH))
}

/// A file that was read.
struct Known {
    stamp: Stamp,
    /// When this stamp was first seen.
    since: Instant,
    /// When the file was last read.
    read: Instant,
    part: Part,
    /// The component that it names, if it is a manifest.
    names: Option<String>,
}

impl Known {
    /// Whether a file with that stamp surely has the same bytes.
    fn holds(&self, stamp: &Stamp) -> bool {
        self.stamp == *stamp && GRAIN < self.read.saturating_duration_since(self.since)
    }

    fn found(&self) -> Found {
        Found { part: self.part, names: self.names.clone() }
    }
}

/// What was found at one path.
struct Found {
    part: Part,
    names: Option<String>,
}

impl From<Part> for Found {
    fn from(part: Part) -> Found {
        Found { part, names: None }
    }
}

/// The files of this scan, each looked at once, and what is left of the one before.
#[derive(Default)]
struct Files {
    known: HashMap<(PathBuf, Role), Known>,
    before: HashMap<(PathBuf, Role), Known>,
}

impl Files {
    /// Begins a scan: files that are not met in it are forgotten with the next one.
    fn begin(&mut self) {
        self.before = std::mem::take(&mut self.known);
    }

    fn look(&mut self, path: &Path, role: Role, names: &dyn Fn(&str) -> Option<String>) -> Found {
        self.try_look(path, role, names).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Part::Missing.into(),
            _ => Part::Unreadable.into(),
        })
    }

    fn try_look(
        &mut self,
        path: &Path,
        role: Role,
        names: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<Found> {
        let found = match role.follows_links() {
            true => std::fs::metadata(path)?,
            false => std::fs::symlink_metadata(path)?,
        };
        // Asked before opening, because opening a device may do something.
        if let Some(part) = unread(&found, role) {
            return Ok(part.into());
        }
        let key = (path.to_owned(), role);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.found());
        }
        let before = self.before.remove(&key);
        let known = match before {
            Some(known) if known.holds(&Stamp::of(&found)) => known,
            before => {
                let file = open(path, role)?;
                let found = file.metadata()?;
                if let Some(part) = unread(&found, role) {
                    return Ok(part.into());
                }
                let (stamp, read) = (Stamp::of(&found), Instant::now());
                let since = before.filter(|known| known.stamp == stamp).map(|known| known.since);
                let (part, text) = read_all(file, &found, role)?;
                let names = text.and_then(|text| names(&text));
                Known { stamp, since: since.unwrap_or(read), read, part, names }
            }
        };
        let found = known.found();
        self.known.insert(key, known);
        Ok(found)
    }
}

/// What is said of a file that is not to be read.
fn unread(found: &Metadata, role: Role) -> Option<Part> {
    if found.is_symlink() {
        Some(Part::Link)
    } else if !found.is_file() {
        Some(Part::NoFile)
    } else if role.bytes_max() < found.len() {
        Some(Part::too_large(found))
    } else {
        None
    }
}

/// Hashes the file; returns its text too, if it is a manifest and that is text.
fn read_all(file: File, found: &Metadata, role: Role) -> io::Result<(Part, Option<String>)> {
    let mut hasher = blake3::Hasher::new();
    let mut kept = Vec::new();
    let mut file = file.take(role.bytes_max() + 1);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&chunk[..count]);
                if role == Role::Manifest {
                    kept.extend_from_slice(&chunk[..count]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let len = hasher.count();
    if role.bytes_max() < len {
        return Ok((Part::too_large(found), None));
    }
    let text = String::from_utf8(kept).ok().filter(|_| role == Role::Manifest);
    Ok((Part::Read { len, hash: *hasher.finalize().as_bytes() }, text))
}

/// Opens a file that was regular a moment ago; whatever it is by now, that waits for nobody.
fn open(path: &Path, role: Role) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let links = if role.follows_links() { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | links;
        options.custom_flags(flags.bits().cast_signed());
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        /// `FILE_FLAG_OPEN_REPARSE_POINT`: a link is opened itself.
        const LINK_ITSELF: u32 = 0x0020_0000;
        options.custom_flags(if role.follows_links() { 0 } else { LINK_ITSELF });
    }
    #[cfg(not(any(unix, windows)))]
    let _ = role;
    options.open(path)
}

#[cfg(test)]
mod tests;
