//! A database in memory with the plugin at work in it.

use super::Kit;
use super::judge::{During, Finding, Flaw};
use crate::database::{Database, DatabaseBuilder};
use crate::indexes::IndexOptions;
use sochdb_host_abi::glob::{Glob, Globs};
use sochdb_host_abi::policy::HOST_TABLES;
use sochdb_kernel::{
    Environment, Kernel, KernelError, KernelResult, KeyRange, Options, TableOptions,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Small, so that checkpoints come in between by themselves.
const MEMTABLE_BYTES_MAX: usize = 1 << 20;
const WAL_SEGMENT_BYTES: usize = 256 << 10;

/// The rows of every table, by the table's name.
pub(super) type Dump = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A database in memory.
pub(super) struct Room {
    kit: Kit,
    vfs: MemoryVfs,
    /// None only while it is closed.
    db: Option<Database>,
}

impl Room {
    /// An empty one, whose plugin has been loaded.
    pub(super) fn open(kit: &Kit) -> Finding<Room> {
        let room = Room::bare(kit)?;
        kit.usage.begin();
        room.db().install_plugin(kit.subject.path())?;
        Ok(room)
    }

    /// An empty one without the plugin.
    pub(super) fn bare(kit: &Kit) -> Finding<Room> {
        let vfs = MemoryVfs::new();
        let db = builder(kit).open_in(environment(&vfs)).during("a database in memory")?;
        Ok(Room { kit: kit.clone(), vfs, db: Some(db) })
    }

    /// One with the tables that the plugin is about and those of the samples, with the samples' rows and indexes.
    pub(super) fn furnished(kit: &Kit) -> Finding<Room> {
        let room = Room::open(kit)?;
        room.make_tables()?;
        let samples = &kit.options.samples;
        for table in &samples.tables {
            let put = |tx: &mut sochdb_kernel::Transaction| {
                table.rows.iter().try_for_each(|(key, value)| tx.put(&table.name, key, value))
            };
            // As the kernel does it: no hook is asked.
            let kernel: &Kernel = room.db();
            kernel.run(put).during(format!("the sample rows of '{}'", table.name))?;
        }
        for index in &samples.indexes {
            let set =
                |options: IndexOptions, (name, value): (&String, &String)| options.set(name, value);
            let options = index.settings.iter().fold(IndexOptions::default(), set);
            let (table, name, column) = (&index.table, &index.name, &index.column);
            let made = room.db().create_index(table, name, column, &options, &mut |_| {});
            made.during(format!("the sample index '{name}' of '{table}'"))?;
        }
        Ok(room)
    }

    /// The tables that the plugin is about and those of the samples, without rows.
    pub(super) fn make_tables(&self) -> Finding {
        let samples = &self.kit.options.samples.tables;
        for table in samples {
            let options = TableOptions { schema: table.schema.clone(), ..TableOptions::default() };
            self.db()
                .create_table(&table.name, options)
                .during(format!("the sample table '{}'", table.name))?;
        }
        for name in self.kit.tables() {
            if samples.iter().all(|table| table.name != name) {
                self.db().create_table(&name, TableOptions::default()).during(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn db(&self) -> &Database {
        self.db.as_ref().expect("open between the steps of a check")
    }

    /// Loads the plugin once more: every instance is a fresh one.
    pub(super) fn reload(&self) -> KernelResult<()> {
        self.gather();
        self.kit.usage.begin();
        let host = self.db().plugin_host()?;
        host.load_manifest(&self.kit.subject.path(), self.db().plugins()).map(drop)
    }

    /// Closes the database in order and opens it again.
    pub(super) fn reopen(&mut self) -> KernelResult<()> {
        self.gather();
        self.db.take().expect("open between the steps of a check").close()?;
        self.open_again()
    }

    /// Ends as a process does that is killed, and opens what is there then.
    pub(super) fn crash(&mut self) -> KernelResult<()> {
        self.gather();
        let left = self.vfs.fork();
        drop(self.db.take());
        self.vfs = left;
        self.open_again()
    }

    fn open_again(&mut self) -> KernelResult<()> {
        self.kit.usage.begin();
        self.db = Some(builder(&self.kit).open_in(environment(&self.vfs))?);
        Ok(())
    }

    /// A checkpoint of which no table fails.
    pub(super) fn checkpoint(&self) -> KernelResult<()> {
        let report = self.db().checkpoint()?;
        match report.failed.first() {
            None => Ok(()),
            Some((table, why)) => {
                Err(KernelError::invalid(format!("a checkpoint of the table '{table}': {why}")))
            }
        }
    }

    /// Every row that somebody may see.
    pub(super) fn dump(&self) -> KernelResult<Dump> {
        let tx = self.db().begin_read()?;
        let mut dump = Dump::new();
        let all = tx.tables()?.into_iter();
        for table in all.filter(|table| !table.name.starts_with(HOST_TABLES)) {
            let rows = tx.scan(&table.name, KeyRange::all())?;
            let rows = rows.map(|row| row.map(|(key, value)| (key, value.to_vec())));
            dump.insert(table.name, rows.collect::<KernelResult<_>>()?);
        }
        Ok(dump)
    }

    /// Notes what was used so far.
    pub(super) fn gather(&self) {
        if let Some(db) = &self.db
            && let Err(error) = self.kit.usage.gather(db, self.kit.name())
        {
            tracing::debug!(%error, "what a plugin used is not known");
        }
    }

    /// Ends it in order.
    pub(super) fn close(mut self) -> Finding {
        self.gather();
        self.db.take().expect("open between the steps of a check").close().during("closing")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gather();
    }
}

impl Kit {
    /// Names of tables that the plugin is about, one for each pattern of its manifest.
    pub(super) fn tables(&self) -> Vec<String> {
        let manifest = &self.subject.manifest;
        let capabilities = &manifest.capabilities;
        let hooked = manifest.hooks.iter().map(|hooks| &hooks.tables);
        let all = hooked.chain([&capabilities.can_read_table, &capabilities.can_write_table]);
        let mut names: Vec<String> = all.flat_map(examples).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether the plugin needs others, so that those that come with this program must be there.
    fn needs_others(&self) -> bool {
        let capabilities = &self.subject.manifest.capabilities;
        !capabilities.codecs.is_empty()
            || !capabilities.can_call_plugin.is_empty()
            || !self.options.samples.indexes.is_empty()
    }

    /// Whether what it answers may depend on more than what it is asked, because it was granted that.
    pub(super) fn check_is_closed(&self) -> Finding {
        let capabilities = &self.subject.manifest.capabilities;
        let open = [
            ("clock", capabilities.clock),
            ("random", capabilities.random),
            ("directories", !capabilities.directories.is_empty()),
        ];
        match open.iter().find(|(_, is_open)| *is_open) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Flaw::Skipped(format!("its answers may depend on what `{name}` grants it")))
            }
        }
    }
}

/// One name for each pattern.
pub(super) fn examples(globs: &Globs) -> impl Iterator<Item = String> + '_ {
    globs.iter().filter_map(example)
}

fn example(glob: &Glob) -> Option<String> {
    let name = glob.as_str().replace("**", "a").replace(['*', '?'], "a");
    (glob.matches(&name) && !name.starts_with(HOST_TABLES)).then_some(name)
}

fn builder(kit: &Kit) -> DatabaseBuilder {
    let options = Options {
        memtable_bytes_max: MEMTABLE_BYTES_MAX,
        wal_segment_bytes: WAL_SEGMENT_BYTES,
        ..Options::default()
    };
    Database::builder()
        .options(options)
        .bundled_plugins(kit.needs_others())
        .background(false)
        .telemetry_interval(Duration::ZERO)
        .policy(kit.options.policy.clone())
        .compile(kit.options.compile.clone())
}

fn environment(vfs: &MemoryVfs) -> Environment {
    Environment::with_vfs(Arc::new(vfs.clone()))
}
