//! The database that a command works on: opened for it alone, or the one that its shell has open.
//!
//! A command closes what it was given when it is done with it; for a shell's database that does nothing.

use super::failure::Outcome;
use super::{Access, Session, not_opened};
use sochdb::{Database, DatabaseBuilder, Kernel, KernelResult};
use std::ops::Deref;

/// A database that a command was given.
pub enum Opened {
    /// It is the command's own.
    Own(Database),
    /// It is the shell's.
    Shared(Database),
}

impl Opened {
    /// Closes a database of the command's own.
    pub fn close(self) -> KernelResult<()> {
        match self {
            Opened::Own(database) => database.close(),
            Opened::Shared(_) => Ok(()),
        }
    }
}

impl Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        match self {
            Opened::Own(database) => database,
            Opened::Shared(database) => database,
        }
    }
}

/// The kernel of a database whose plugins are not wanted.
pub struct OpenedKernel {
    kernel: Kernel,
    is_shared: bool,
}

impl OpenedKernel {
    /// Closes a kernel of the command's own.
    pub fn close(self) -> KernelResult<()> {
        if self.is_shared { Ok(()) } else { self.kernel.close() }
    }
}

impl Deref for OpenedKernel {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}

impl Session {
    /// The database that the command line names.
    pub fn open(&self, access: Access) -> Outcome<Opened> {
        match &self.database {
            Some(database) => Ok(Opened::Shared(database.clone())),
            None => Ok(Opened::Own(self.common.open(access)?)),
        }
    }

    /// The same, opened as `builder` says unless it is open already.
    pub fn open_with(&self, builder: DatabaseBuilder) -> Outcome<Opened> {
        self.try_open_with(builder).map_err(not_opened)
    }

    /// The same, with the kernel's own words when it cannot be opened.
    pub fn try_open_with(&self, builder: DatabaseBuilder) -> KernelResult<Opened> {
        match &self.database {
            Some(database) => Ok(Opened::Shared(database.clone())),
            None => Ok(Opened::Own(builder.open(&self.common.directory)?)),
        }
    }

    /// The database that the command line names without any plugin, to read what it says of them.
    pub fn kernel(&self) -> Outcome<OpenedKernel> {
        Ok(match &self.database {
            Some(database) => OpenedKernel { kernel: Kernel::clone(database), is_shared: true },
            None => OpenedKernel { kernel: self.common.kernel()?, is_shared: false },
        })
    }
}
