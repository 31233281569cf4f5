//! Where a run took place, and the versions of what ran: figures without them compare with nothing.

use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What this program was built from; the versions in it are those that are linked.
const LOCK: &str = include_str!("../../../Cargo.lock");
/// Contenders that are crates, by the names of the tables.
const CRATES: [(&str, &str); 8] = [
    ("fjall", "fjall"),
    ("heed, for LMDB", "heed"),
    ("parquet", "parquet"),
    ("redb", "redb"),
    ("rocksdb, the crate", "rocksdb"),
    ("rusqlite, for SQLite", "rusqlite"),
    ("sochdb", "sochdb"),
    ("wasmtime", "wasmtime"),
];

/// The machine and the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// What programs may use of it.
    pub cores: usize,
    /// Mebibytes of memory.
    pub memory_mib: u64,
    /// Name and release of the operating system.
    pub system: String,
    /// Where databases live while they are measured.
    pub file_system: String,
    /// The commit, and whether something was changed since.
    pub commit: String,
    /// The day on which the run began, UTC.
    pub date: String,
    /// The compiler.
    pub rustc: String,
    /// Features of the benchmark.
    pub features: Vec<String>,
    /// By name.
    pub versions: BTreeMap<String, String>,
}

impl Machine {
    /// This one, now; databases live in `dir`, or where temporary files do.
    ///
    /// # Errors
    /// When that folder is not there.
    pub fn here(dir: Option<&Path>) -> Result<Machine> {
        let temporary = std::env::temp_dir();
        let dir = dir.unwrap_or(&temporary);
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        let cpu = proc("cpuinfo", "model name");
        let memory =
            proc("meminfo", "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse().ok());
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let features = [
            (cfg!(feature = "rocksdb"), "rocksdb"),
            (cfg!(feature = "parquet"), "parquet"),
            (cfg!(feature = "c-codecs"), "c-codecs"),
        ];
        let features: String =
            features.iter().filter(|(has, _)| *has).map(|(_, name)| format!("{name} ")).collect();
        Ok(Machine {
            processor: cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            memory_mib: memory.map_or(0, |kib: u64| kib >> 10),
            system: said("uname", &["-sr"]).unwrap_or_else(|| std::env::consts::OS.to_owned()),
            file_system: file_system(&dir).unwrap_or_default(),
            commit: commit(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            rustc: said("rustc", &["--version"]).unwrap_or_default(),
            features: words(&features),
            versions: versions(),
        })
    }

    /// What makes a build like this one, behind `-p bench`.
    pub fn features(&self) -> String {
        match self.features.is_empty() {
            true => String::new(),
            false => format!(" --features {}", self.features.join(",")),
        }
    }

    /// In a line, for the small print of a picture.
    pub fn line(&self) -> String {
        format!(
            "{} cores, {}, {}, {}; commit {}, {}",
            self.cores, self.processor, self.system, self.file_system, self.commit, self.date
        )
    }
}

/// The first line of a file of `/proc` whose name is `name`.
fn proc(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc").join(file)).ok()?;
    let (_, value) =
        text.lines().find_map(|line| line.split_once(':').filter(|pair| pair.0.trim() == name))?;
    Some(value.trim().to_owned())
}

/// What a command says in one line, if it can.
fn said(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn commit() -> String {
    let Some(commit) = said("git", &["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    match changed.is_some_and(|changed| !changed.is_empty()) {
        true => format!("{commit} with changes"),
        false => commit,
    }
}

/// The kind of the file system at `dir`: the one of the mount point that is the longest beginning of it.
fn file_system(dir: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let here = mounts.filter(|(point, _)| dir.starts_with(point));
    here.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

fn versions() -> BTreeMap<String, String> {
    let locked =
        CRATES.iter().filter_map(|(name, package)| Some(((*name).to_owned(), locked(package)?)));
    let mut versions: BTreeMap<String, String> = locked.collect();
    let lmdb = heed::lmdb_version();
    versions.insert("LMDB".to_owned(), format!("{}.{}.{}", lmdb.major, lmdb.minor, lmdb.patch));
    versions.insert("SQLite".to_owned(), rusqlite::version().to_owned());
    if cfg!(feature = "rocksdb") {
        versions.insert("RocksDB".to_owned(), rocksdb());
    }
    let optional =
        [(cfg!(feature = "rocksdb"), "rocksdb, the crate"), (cfg!(feature = "parquet"), "parquet")];
    optional.iter().filter(|(has, _)| !has).for_each(|(_, name)| drop(versions.remove(*name)));
    versions
}

/// The version of `package` that is locked.
fn locked(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

/// Of the shared library if there is one in this process, else of the one that the crate brings.
fn rocksdb() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let file = maps.lines().filter_map(|line| line.rsplit('/').next());
    let installed = file.filter_map(|file| file.strip_prefix("librocksdb.so.")).next();
    if let Some(version) = installed {
        return format!("{version}, of the system");
    }
    let brought = locked("librocksdb-sys").unwrap_or_default();
    brought.split_once('+').map_or(brought.clone(), |(_, version)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine::here(Some(folder.path())).expect("a machine");
        assert!(0 < machine.cores && machine.line().contains(&machine.commit), "{machine:?}");
        for name in ["redb", "fjall", "SQLite", "LMDB", "wasmtime", "sochdb"] {
            let version = &machine.versions[name];
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{name} {version}");
        }
        assert_eq!(machine.versions["sochdb"], env!("CARGO_PKG_VERSION"));
        if cfg!(target_os = "linux") {
            assert!(!machine.file_system.is_empty() && 100 < machine.memory_mib, "{machine:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_machine() {
        let error =
            Machine::here(Some(Path::new("/not/there"))).expect_err("no folder").to_string();
        assert!(error.contains("/not/there"), "{error}");
    }
}
