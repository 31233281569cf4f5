//! A database that a command makes for what it is to hold, and takes away again when nothing comes of it.

use super::audit;
use super::failure::{Exit, Outcome};
use super::opened::Opened;
use super::{Access, Session};
use sochdb::Environment;
use sochdb::operations::unmake;
use std::fs;
use std::path::{Path, PathBuf};

/// What was there before.
pub struct Made {
    directory: PathBuf,
    /// The directory, if there was none, and those around it, the innermost first.
    folders: Vec<PathBuf>,
    had_log: bool,
    /// The files of audit trails.
    trails: Vec<PathBuf>,
}

impl Made {
    /// Opens the database, which is made if there is none; then the other half says what was there before.
    pub fn open(session: &Session) -> Outcome<(Opened, Option<Made>)> {
        match session.open(Access::Write) {
            Ok(db) => Ok((db, None)),
            Err(missing) if missing.exit == Exit::NotFound => {
                let made = Made::before(&session.common.directory);
                Ok((session.open(Access::Create)?, Some(made)))
            }
            Err(other) => Err(other),
        }
    }

    fn before(directory: &Path) -> Made {
        let around = directory.ancestors().filter(|folder| !folder.as_os_str().is_empty());
        Made {
            directory: directory.to_owned(),
            folders: around.take_while(|folder| !folder.exists()).map(Path::to_owned).collect(),
            had_log: directory.join("wal").exists(),
            trails: trails(directory),
        }
    }

    /// Takes `db` away, and folders that have nothing else in them. What cannot be removed stays: an empty database.
    pub fn undo(self, db: Opened) {
        if db.close().is_err() || unmake(&*Environment::disk(&self.directory).vfs).is_err() {
            return;
        }
        let is_new = |trail: &PathBuf| !self.trails.contains(trail);
        for trail in trails(&self.directory).into_iter().filter(is_new) {
            let _ = fs::remove_file(trail);
        }
        // A folder in which somebody else has put something stays.
        if !self.had_log {
            let _ = fs::remove_dir(self.directory.join("wal"));
        }
        for folder in self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The audit trail of the database in `directory`, and what is kept beside it.
fn trails(directory: &Path) -> Vec<PathBuf> {
    let trail = audit::file(directory).into_os_string();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_one =
        |path: &PathBuf| path.as_os_str().as_encoded_bytes().starts_with(trail.as_encoded_bytes());
    entries.map(|entry| entry.path()).filter(is_one).collect()
}
