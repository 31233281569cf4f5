//! Reads every chunk that backups are made of, and checks the databases they make.

use super::manifest::{Manifest, decode_list, log_pieces, names};
use super::view::View;
use super::{Hash, NOTHING, Opened, Repository};
use crate::check::{CheckOptions, check_with};
use crate::progress::{Meter, OnProgress};
use sochdb_kernel::{Environment, Kernel, KernelError, KernelResult, Options};
use std::collections::HashSet;
use std::sync::Arc;

/// Problems that are listed of a backup; those beyond are counted.
const PROBLEMS_MAX: usize = 100;

/// What [`Repository::verify`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Each backup that was asked for, by name.
    pub backups: Vec<VerifiedBackup>,
    /// Packs that are broken, whether or not a backup needs anything of them.
    pub packs: Vec<KernelError>,
}

/// How a backup is.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifiedBackup {
    /// Its name.
    pub name: String,
    /// Chunks that it names.
    pub chunks: u64,
    /// Rows in trees of the database that it makes.
    pub rows: u64,
    /// What is wrong; empty for a good backup.
    pub problems: Vec<KernelError>,
    /// How many more problems there are than `problems` lists.
    pub problems_unlisted: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.packs.is_empty() && self.backups.iter().all(|backup| backup.problems.is_empty())
    }
}

impl VerifiedBackup {
    fn add(&mut self, problem: KernelError) {
        match self.problems.len() < PROBLEMS_MAX {
            true => self.problems.push(problem),
            false => self.problems_unlisted += 1,
        }
    }

    fn keep<T>(&mut self, result: KernelResult<T>) -> Option<T> {
        result.map_err(|problem| self.add(problem)).ok()
    }
}

impl Repository {
    /// Reads every chunk of the backup `name`, or of all of them, compares it with its hash, opens the database
    /// that each backup makes, where it lies, and checks that as [`check`](crate::check) does.
    ///
    /// # Errors
    /// `NotFound`, or `Unavailable` when the disk refuses or somebody else works in the repository. What is broken
    /// is no error but part of the report.
    pub fn verify(
        &self,
        name: Option<&str>,
        progress: OnProgress<'_>,
    ) -> KernelResult<VerifyReport> {
        let mut opened = Opened::new(&self.vfs)?;
        let packs = std::mem::take(&mut opened.chunks.broken);
        let opened = Arc::new(opened);
        let mut report = VerifyReport { backups: Vec::new(), packs };
        let mut found = Vec::new();
        for name in self.names_of(name)? {
            match Manifest::read(&*self.vfs, &name) {
                Err(error @ KernelError::NotFound { .. }) => return Err(error),
                read => found.push((name, read)),
            }
        }
        let bytes = |manifest: &Manifest| {
            sochdb_kernel::inspect::offset(manifest.pages) + manifest.log_end - manifest.log_start
        };
        // Each is read chunk by chunk, and then as the database that it makes.
        let total: u64 = found.iter().flat_map(|(_, read)| read).map(|m| 2 * bytes(m)).sum();
        let mut meter = Meter::new(total, progress);
        let mut good = HashSet::new();
        for (name, read) in found {
            meter.begin(name.clone());
            let mut verified = VerifiedBackup { name, ..VerifiedBackup::default() };
            if let Some(manifest) = verified.keep(read) {
                verified.chunks(&opened, &manifest, &mut good);
                meter.add(bytes(&manifest));
                if verified.problems.is_empty() {
                    let view = View::new(&self.vfs.root(), opened.clone(), manifest.clone());
                    verified.database(view, &manifest);
                }
                meter.add(bytes(&manifest));
            }
            report.backups.push(verified);
        }
        meter.end();
        Ok(report)
    }

    fn names_of(&self, name: Option<&str>) -> KernelResult<Vec<String>> {
        name.map_or_else(|| names(&*self.vfs), |name| Ok(vec![name.to_owned()]))
    }
}

impl VerifiedBackup {
    /// Reads each chunk that is not among the `good` ones yet.
    fn chunks(&mut self, opened: &Opened, manifest: &Manifest, good: &mut HashSet<Hash>) {
        for hash in manifest.regions.iter().filter(|hash| **hash != NOTHING) {
            self.chunks += 1;
            let list = opened.chunks.read(hash).and_then(|list| decode_list(&list));
            for piece in self.keep(list).unwrap_or_default() {
                self.chunk(opened, &piece.hash, Some(u64::from(piece.bytes)), good);
            }
        }
        let pieces = log_pieces(manifest.log_start, manifest.log_end).zip(&manifest.log);
        for (range, hash) in pieces {
            self.chunk(opened, hash, Some(range.end - range.start), good);
        }
        for hash in &manifest.times {
            self.chunk(opened, hash, None, good);
        }
    }

    /// Reads the chunk, which must have so many bytes.
    fn chunk(
        &mut self,
        opened: &Opened,
        hash: &Hash,
        bytes: Option<u64>,
        good: &mut HashSet<Hash>,
    ) {
        self.chunks += 1;
        if good.contains(hash) {
            return;
        }
        let Some(chunk) = self.keep(opened.chunks.read(hash)) else { return };
        match bytes.filter(|bytes| *bytes != chunk.len() as u64) {
            None => drop(good.insert(*hash)),
            Some(bytes) => {
                let expected = format!("a chunk of {bytes} bytes");
                let found = format!("one of {}", chunk.len());
                self.add(KernelError::corrupt(&self.name, 0, expected, found));
            }
        }
    }

    /// Opens the database and checks it.
    fn database(&mut self, view: View, manifest: &Manifest) {
        let environment = Environment::with_vfs(Arc::new(view.clone()));
        let options = Options { read_only: true, create: false, ..Options::default() };
        let checked = Kernel::open(environment, options).and_then(|kernel| {
            let commit = kernel.begin_read()?.snapshot().0;
            if commit != manifest.commit {
                let expected = format!("commit {}", manifest.commit);
                let found = format!("commit {commit}");
                return Err(KernelError::corrupt(&self.name, 0, expected, found));
            }
            check_with(&kernel, CheckOptions::default(), &mut |_| {})
        });
        let checked = checked.map_err(|error| view.trouble().unwrap_or(error));
        let Some(report) = self.keep(checked) else { return };
        self.rows = report.rows;
        self.problems_unlisted += report.problems_unlisted;
        report.problems.into_iter().for_each(|problem| self.add(problem));
    }
}
