//! One directory, and what is done with the files in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A flat directory. Files are named by their names in it, and nothing stays open between two calls, so that
/// whoever moves a file away (logrotate does) is not written to any more.
pub trait Disk {
    /// How errors call the directory.
    fn path(&self) -> &Path;

    /// Whether the directory is there.
    fn check(&self) -> io::Result<()>;

    /// The names of all that is in it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file's size in bytes; nothing if there is none.
    fn size(&self, name: &str) -> io::Result<Option<u64>>;

    /// Whether the last byte of a file that has bytes is a line feed.
    fn ends_line(&self, name: &str) -> io::Result<bool>;

    /// Adds bytes to the end of a file, which is made if there is none.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Returns when a file's bytes are on the disk.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A directory of the machine, or for a guest one that it was granted.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Directory {
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Disk for Directory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn check(&self) -> io::Result<()> {
        match fs::metadata(&self.0)?.is_dir() {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string()));
        // A name that is not UTF-8 is not one of ours.
        names.filter_map(|name| name.map(Result::ok).transpose()).collect()
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.at(name)) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ends_line(&self, name: &str) -> io::Result<bool> {
        let mut file = File::open(self.at(name))?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).create(true).open(self.at(name))?.write_all(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.at(name))?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
