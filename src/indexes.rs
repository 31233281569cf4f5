//! Indexes: made while others write, dropped, looked at, searched.
//!
//! ```text
//!   create_index ── its table, alone for a moment ──▶ writers mark their rows from now on
//!                └─ marks for the rows there were, in steps, each a commit ──▶ finish, alone for a moment
//!   a crash in between ── the next opening ──▶ the background thread goes on with the steps
//! ```
//!
//! Alone: no transaction is committing meanwhile, so each that has written to the table either came before, or
//! finds the index there when it commits, and runs again ([`Programs::change_indexes`]).

use crate::database::{Database, TenantDatabase};
use parking_lot::Mutex;
use sochdb_host_abi::policy::HOST_TABLES;
use sochdb_host_abi::{Programs, Search, in_background};
use sochdb_index::definition::parse_index_table_name;
use sochdb_index::{
    IndexDefinition, IndexState, IndexStats, Verified, backfill_step, create, finish, indexes_of,
};
use sochdb_kernel::{ErrorKind, Kernel, KernelError, KernelResult, TableId, TableInfo};
use sochdb_operations::{OnProgress, Progress, table_size};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How an index is built. What is not said has the default that
/// [`IndexDefinition::new`](sochdb_index::IndexDefinition::new) lists.
///
/// ```
/// use sochdb::IndexOptions;
///
/// let options = IndexOptions::default().using("hnsw").metric("euclidean").set("m", "32");
/// # assert_eq!(options, options.clone());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexOptions {
    settings: BTreeMap<String, String>,
}

impl IndexOptions {
    /// The plugin that builds it; `auto` for whichever suits the number of rows.
    pub fn using(self, plugin: &str) -> IndexOptions {
        self.set("using", plugin)
    }

    /// How near two vectors are: `cosine`, `inner-product` or `euclidean`.
    pub fn metric(self, metric: &str) -> IndexOptions {
        self.set("metric", metric)
    }

    /// How exactly the index keeps vectors: `f32`, `f16` or `i8`.
    pub fn store(self, element: &str) -> IndexOptions {
        self.set("store", element)
    }

    /// What vectors are compared by on the way: `sq8`, `rabitq4`, `rabitq2`, `rabitq1` or `pq`.
    pub fn codes(self, codes: &str) -> IndexOptions {
        self.set("codes", codes)
    }

    /// Any setting, of the index or of its plugin.
    pub fn set(mut self, name: &str, value: &str) -> IndexOptions {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// An index whose rows are being marked.
struct Build {
    /// Its table, whatever that is called by now.
    id: TableId,
    /// Where the next step begins.
    from: Option<Vec<u8>>,
    rows: u64,
}

impl Build {
    fn new(id: TableId) -> Build {
        Build { id, from: None, rows: 0 }
    }

    /// Marks some rows; after the last ones the index is ready. Returns whether it is.
    fn step(&mut self, kernel: &Kernel, programs: &Programs) -> KernelResult<bool> {
        let index = self.definition(kernel)?;
        let done = match backfill_step(kernel, &index, self.from.as_deref()) {
            // It was renamed with its table, or dropped: then there is no definition.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let index = self.definition(kernel)?;
                backfill_step(kernel, &index, self.from.as_deref())?
            }
            done => done?,
        };
        self.rows += done.rows;
        self.from = done.next;
        if self.from.is_some() {
            return Ok(false);
        }
        programs.change_indexes(|| finish(kernel, &self.definition(kernel)?))?;
        Ok(true)
    }

    fn definition(&self, kernel: &Kernel) -> KernelResult<IndexDefinition> {
        let all = kernel.begin_read()?.tables()?;
        let own = all.iter().find(|info| info.id == self.id);
        let named = own.and_then(|info| parse_index_table_name(&info.name));
        let gone = || KernelError::NotFound {
            kind: "index",
            name: "of this number, which was dropped while it was built".to_owned(),
        };
        let (name, table) = named.ok_or_else(gone)?;
        let mut of_table = indexes_of(Some(table), &all)?.into_iter().map(|(index, _)| index);
        of_table.find(|index| index.name == name).ok_or_else(gone)
    }
}

/// The indexes that a crash left half-built: the background thread goes on with them.
pub(crate) struct Unfinished {
    kernel: Kernel,
    programs: Arc<Programs>,
    builds: Mutex<VecDeque<Build>>,
}

impl Unfinished {
    /// Those that there are in a database that was just opened.
    pub(crate) fn new(kernel: Kernel, programs: Arc<Programs>) -> KernelResult<Unfinished> {
        let all = kernel.begin_read()?.tables()?;
        let is_building = |info: &&TableInfo| {
            info.name.starts_with(sochdb_index::definition::BUILDING)
                && parse_index_table_name(&info.name).is_some()
        };
        let builds = all.iter().filter(is_building).map(|info| Build::new(info.id)).collect();
        Ok(Unfinished { kernel, programs, builds: Mutex::new(builds) })
    }

    /// Does one step. Returns whether there are more to do. An index that cannot be built is left as it is,
    /// which is right but slow, until the next opening or until it is dropped.
    pub(crate) fn step(&self) -> bool {
        let mut builds = self.builds.lock();
        let Some(build) = builds.front_mut() else { return false };
        match build.step(&self.kernel, &self.programs) {
            Ok(false) => return true,
            Ok(true) => tracing::info!(rows = build.rows, "an index is complete"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "an index cannot be completed"),
        }
        builds.pop_front();
        !builds.is_empty()
    }

    /// All that is left.
    fn finish(&self, progress: OnProgress<'_>) -> KernelResult<u64> {
        let mut builds = self.builds.lock();
        let mut finished = 0;
        while let Some(build) = builds.front_mut() {
            progress(Progress::new(build.rows, build.rows, "an index"));
            match build.step(&self.kernel, &self.programs) {
                Ok(false) => continue,
                Ok(true) => finished += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            builds.pop_front();
        }
        Ok(finished)
    }
}

impl Database {
    /// Makes the index `name` of `column` of `table`, while others read and write it; a tenant's table is named
    /// in full. Rows are found from the moment this returns; `progress` counts rows. Transactions that wrote to
    /// the table, began before the index and commit after its beginning conflict, and run again.
    ///
    /// The plugin builds in the background, at checkpoints; until it has, searches look at the rows one by one.
    /// [`index_stats`](Self::index_stats) tells how far it is.
    ///
    /// # Errors
    /// `Invalid` when the index is there already, the column is not, a setting makes no sense, or a row has a
    /// value that cannot be indexed, such as a vector with a NaN; `Plugin` when the plugin is missing or refuses.
    /// Nothing is left then.
    ///
    /// ```
    /// use sochdb::{Column, ColumnType, Database, IndexOptions, Schema, TableOptions, Value};
    ///
    /// # fn main() -> sochdb::KernelResult<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let db = Database::open(directory.path())?;
    /// let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    /// let columns = vec![column("id", ColumnType::Int64), column("v", ColumnType::Vector(2))];
    /// let schema = Schema::new(columns, &["id"])?;
    /// db.create_table("docs", TableOptions { schema: Some(schema.clone()), ..Default::default() })?;
    /// db.create_index("docs", "meaning", "v", &IndexOptions::default(), &mut |_| {})?;
    /// db.run(|tx| {
    ///     let row = [Value::Int64(7), Value::Vector(vec![0.6, 0.8])];
    ///     tx.put("docs", &schema.encode_key(&row)?, &schema.encode_row(&row)?)
    /// })?;
    /// let found = db.search("docs").near(&[3.0, 4.0]).k(1).run()?;
    /// assert_eq!(schema.key_values(&found[0].key)?, [Value::Int64(7)]);
    /// assert!(found[0].distance < 1e-6);
    /// # db.close()
    /// # }
    /// ```
    pub fn create_index(
        &self,
        table: &str,
        name: &str,
        column: &str,
        options: &IndexOptions,
        progress: OnProgress<'_>,
    ) -> KernelResult<()> {
        if table.starts_with(HOST_TABLES) {
            let text = format!("'{table}' is a table of the database itself, and has no indexes");
            return Err(KernelError::Invalid(text));
        }
        let kernel: &Kernel = self;
        let rows = kernel.begin_read()?.table(table)?;
        let schema = rows.options.schema.as_ref();
        let index = IndexDefinition::new(table, name, column, schema, &options.settings)?;
        // Compiles the plugin now, not while commits wait.
        self.programs.indexes().check(&index)?;
        let id = self.programs.change_indexes(|| {
            kernel.run(|tx| {
                if tx.table(table)?.options.schema != rows.options.schema {
                    let text = format!("table '{table}' was replaced by one with other columns");
                    return Err(KernelError::Invalid(text));
                }
                create(tx, &index)?;
                Ok(tx.table(&index.building_table())?.id)
            })
        })?;
        let mut build = Build::new(id);
        let total = table_size(kernel, rows.id)?.rows;
        let what = format!("index '{name}' of table '{table}'");
        let built = loop {
            progress(Progress::new(build.rows, total.max(build.rows), &what));
            match build.step(kernel, &self.programs) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = built {
            // Where even this fails, the next opening goes on building, and fails as this did.
            let _ = self.drop_index_table(|info| info.id == id);
            return Err(error);
        }
        progress(Progress::new(build.rows, total.max(build.rows), &what));
        Ok(())
    }

    /// Drops the index `name` of `table`. Transactions that have written to the table and are not committed
    /// conflict, and run again.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn drop_index(&self, table: &str, name: &str) -> KernelResult<()> {
        let is_it = |info: &TableInfo| parse_index_table_name(&info.name) == Some((name, table));
        match self.drop_index_table(is_it)? {
            true => Ok(()),
            false => {
                let name = format!("{name}' of table '{table}");
                Err(KernelError::NotFound { kind: "index", name })
            }
        }
    }

    fn drop_index_table(&self, is_it: impl Fn(&TableInfo) -> bool) -> KernelResult<bool> {
        let kernel: &Kernel = self;
        self.programs.change_indexes(|| {
            kernel.run(|tx| match tx.tables()?.into_iter().find(|info| is_it(info)) {
                Some(found) => tx.drop_table(&found.name).map(|()| true),
                None => Ok(false),
            })
        })
    }

    /// The indexes of `table`, or of all tables, by full names: sorted by table and name, with whether each is
    /// ready or still being built.
    ///
    /// # Errors
    /// `NotFound` for the table.
    pub fn indexes(&self, table: Option<&str>) -> KernelResult<Vec<(IndexDefinition, IndexState)>> {
        let tx = Kernel::begin_read(self)?;
        if let Some(table) = table {
            tx.table(table)?;
        }
        let mut found = indexes_of(table, &tx.tables()?)?;
        found.sort_by(|(a, _), (b, _)| (&a.table, &a.name).cmp(&(&b.table, &b.name)));
        Ok(found)
    }

    /// What there is to know of the index `name` of `table`: its segments, who built them, and what waits.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn index_stats(&self, table: &str, name: &str) -> KernelResult<IndexStats> {
        self.begin_read()?.index_stats(table, name)
    }

    /// Compares the index `name` of `table` with the rows.
    ///
    /// # Errors
    /// `NotFound`, and what keeps rows from being read.
    pub fn verify_index(&self, table: &str, name: &str) -> KernelResult<Verified> {
        self.begin_read()?.verify_index(table, name)
    }

    /// Completes the indexes that a crash left half-built, and returns how many. The background thread does the
    /// same by itself.
    ///
    /// # Errors
    /// As [`create_index`](Self::create_index); the index stays, half-built.
    pub fn finish_indexes(&self, progress: OnProgress<'_>) -> KernelResult<u64> {
        in_background(|| self.unfinished.finish(progress))
    }

    /// A search for the rows of `table` that are nearest to a vector, in a snapshot of its own.
    ///
    /// ```no_run
    /// use sochdb::{Comparison, Database, Value};
    ///
    /// # fn main() -> sochdb::KernelResult<()> {
    /// # let (db, vector) = (Database::open("data")?, vec![0.0; 384]);
    /// let nouns = db
    ///     .search("words")
    ///     .near(&vector)
    ///     .k(5)
    ///     .effort(200)
    ///     .filter("pos", Comparison::Equal, Value::String("n".into()))
    ///     .run()?;
    /// for found in nouns {
    ///     println!("{} {}", found.distance, found.key.escape_ascii());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn search<'a>(&'a self, table: &'a str) -> Search<'a> {
        Search::fresh(self, &self.programs, None, table)
    }
}

impl TenantDatabase {
    /// As [`Database::search`], in a table of the tenant.
    pub fn search<'a>(&'a self, table: &'a str) -> Search<'a> {
        let (database, tenant) = self.parts();
        Search::fresh(database, &database.programs, Some(tenant), table)
    }
}
