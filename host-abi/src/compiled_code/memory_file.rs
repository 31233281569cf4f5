//! A file in memory, without a name: written once, then closed to changes for good.
//!
//! ```text
//!   new ── write ──▶ only this process has it ── seal ──▶ mapped, read, changed by nobody
//! ```
//!
//! What is mapped from it takes no second copy, and pages that nobody touches take no room in the process.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

pub(super) struct MemoryFile(File);

impl MemoryFile {
    /// An empty one.
    pub(super) fn new() -> io::Result<MemoryFile> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(MemoryFile(memfd_create("sochdb-code", flags)?.into()))
    }

    /// From now on it is what it is, whoever has a handle of it.
    pub(super) fn seal(&self) -> io::Result<()> {
        let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        Ok(fcntl_add_seals(&self.0, all)?)
    }

    /// Where this process can open it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// All that is in it.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let (mut file, mut bytes) = (&self.0, Vec::new());
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn once_sealed_nobody_changes_it() {
        let mut memory = MemoryFile::new().unwrap();
        memory.write_all(b"code").unwrap();
        let mut other = OpenOptions::new().read(true).write(true).open(memory.path()).unwrap();
        other.write_all(b"mode").unwrap();
        memory.seal().unwrap();
        assert!(memory.write_all(b"more").is_err());
        other.rewind().unwrap();
        assert!(other.write_all(b"node").is_err());
        assert!(other.set_len(2).is_err() && other.set_len(9).is_err());
        let again = fcntl_add_seals(&memory.0, SealFlags::FUTURE_WRITE);
        assert!(again.is_err(), "the seals themselves are sealed");
        assert_eq!(memory.read().unwrap(), b"mode");
    }
}
