//! Takes a database away that was made for something that came to nothing.
//!
//! The data file gets the name of an unfinished one first. So a crash in between leaves what opening takes for an
//! attempt to make a database, and makes anew.

use sochdb_kernel::inspect::{DATA_FILE, LOCK_FILE, NEW_DATA_FILE, WAL_DIR};
use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{KernelError, KernelResult};
use std::io;

/// Removes the files of the database in `vfs`: data, log and lock, and nothing else. For who has just made it and closed
/// it again, and knows that nobody uses it.
///
/// # Errors
/// `Unavailable` when another process has it open, or the disk refuses.
pub fn unmake(vfs: &dyn Vfs) -> KernelResult<()> {
    let what = || format!("remove the database in {}", vfs.root());
    let io = |error: io::Error| KernelError::io(what(), error);
    let lock = vfs.lock(LOCK_FILE).map_err(io)?;
    let lock = lock.ok_or_else(|| KernelError::unavailable(format!("{}: it is in use", what())))?;
    let remove = || -> io::Result<()> {
        if !vfs.list("")?.iter().any(|name| name == DATA_FILE) {
            return Ok(());
        }
        vfs.rename(DATA_FILE, NEW_DATA_FILE)?;
        vfs.sync_dir("")?;
        for name in vfs.list(WAL_DIR)? {
            vfs.remove(&format!("{WAL_DIR}/{name}"))?;
        }
        vfs.remove(NEW_DATA_FILE)
    };
    remove().map_err(io)?;
    drop(lock);
    // Not every file system has a file for it.
    match vfs.list("").map_err(io)?.iter().any(|name| name == LOCK_FILE) {
        true => vfs.remove(LOCK_FILE).map_err(io),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_kernel::{ErrorKind, Kernel, Options, TableOptions};

    #[test]
    fn what_is_unmade_was_never_there_and_can_be_made_again() {
        let env = sochdb_sim::memory();
        for _ in 0..2 {
            let kernel = Kernel::open(env.clone(), Options::default()).unwrap();
            kernel.create_table("t", TableOptions::default()).unwrap();
            assert_eq!(unmake(&*env.vfs).unwrap_err().kind(), ErrorKind::Unavailable, "in use");
            kernel.close().unwrap();
            unmake(&*env.vfs).unwrap();
            assert_eq!(env.vfs.list("").unwrap(), [""; 0]);
            assert_eq!(env.vfs.list(WAL_DIR).unwrap(), [""; 0]);
        }
        let no = Options { create: false, ..Options::default() };
        assert_eq!(Kernel::open(env, no).err().unwrap().kind(), ErrorKind::NotFound);
    }
}
