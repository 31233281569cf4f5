//! A database of this project as a contender, opened as an embedder opens it: plugins, hooks, background thread and all.
//!
//! One table, `docs`, with the columns `id` (its key), `part`, `pos`, `lex` and `vector`, in the kernel's tree, and one
//! index, `meaning`. Commits are not synced one by one. A search is a transaction of its own; where rates are measured,
//! all queries are one call and one transaction, as with the peers.

use super::contender::{Ask, Batch, Built, IndexSettings, Job, Opened, Single};
use super::recall::K;
use super::scenarios::{self, Filter};
use super::set::Set;
use super::vectors::Vectors;
use crate::Result;
use crate::meter::Meter;
use serde_json::Value as Json;
use sochdb::{
    Column, ColumnType, Comparison, Condition, Database, Durability, IndexOptions, Options, Schema,
    Search, TableOptions, Value,
};
use std::io::Write;
use std::num::NonZero;
use std::path::Path;
use std::time::Instant;

/// The table, the index, the indexed column.
const TABLE: &str = "docs";
const INDEX: &str = "meaning";
const VECTOR: &str = "vector";
/// Values of the column `part`: a filter by it takes a share of the rows in two-hundredths.
pub const PARTS: i64 = 200;
/// Rows of a transaction that loads.
const BATCH_ROWS: usize = 1_000;
/// Checkpoints after which something must have gone wrong.
const CHECKPOINTS_MAX: usize = 10_000;

/// A row to insert.
pub struct NewRow<'a> {
    /// Its key.
    pub id: i64,
    part: i64,
    pos: &'a str,
    lex: &'a str,
    vector: &'a [f32],
}

impl NewRow<'_> {
    /// Row `row` of `set` after it was replaced `generation` times: its key modulo the number of rows is `row`.
    pub fn of(set: &Set, row: usize, generation: u32) -> NewRow<'_> {
        let attributes = &set.rows[row];
        NewRow {
            id: row as i64 + i64::from(generation) * set.base.len() as i64,
            part: row as i64 % PARTS,
            pos: &attributes.pos,
            lex: &attributes.lex,
            vector: set.base.row(row),
        }
    }
}

/// An open database.
pub struct Ours {
    db: Database,
    schema: Schema,
}

impl Ours {
    /// Opens the database in `folder`, made if there is none, with an index of `settings`.
    ///
    /// # Errors
    /// What the database says.
    pub fn open(folder: &Path, dim: usize, settings: &IndexSettings) -> Result<Ours> {
        let options = Options {
            background_checkpoints: true,
            durability: Durability::None,
            ..Options::default()
        };
        let column =
            |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
        let columns = vec![
            column("id", ColumnType::Int64),
            column("part", ColumnType::Int64),
            column("pos", ColumnType::String),
            column("lex", ColumnType::String),
            column(VECTOR, ColumnType::Vector(u32::try_from(dim)?)),
        ];
        let schema = Schema::new(columns, &["id"])?;
        let db = Database::builder().options(options).open(folder.join("database"))?;
        if !db.begin_read()?.tables()?.iter().any(|table| table.name == TABLE) {
            let schema = Some(schema.clone());
            db.create_table(TABLE, TableOptions { schema, ..TableOptions::default() })?;
            let set =
                |options: IndexOptions, (name, value): (&String, &String)| options.set(name, value);
            let options = settings.iter().fold(IndexOptions::default(), set);
            db.create_index(TABLE, INDEX, VECTOR, &options, &mut |_| {})?;
        }
        Ok(Ours { db, schema })
    }

    /// Inserts `rows` in one transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn insert(&self, rows: &[NewRow<'_>]) -> Result<()> {
        let encoded = |row: &NewRow<'_>| {
            let values = [
                Value::Int64(row.id),
                Value::Int64(row.part),
                Value::String(row.pos.to_owned()),
                Value::String(row.lex.to_owned()),
                Value::Vector(row.vector.to_vec()),
            ];
            Ok((self.schema.encode_key(&values)?, self.schema.encode_row(&values)?))
        };
        let rows = rows.iter().map(encoded).collect::<Result<Vec<_>>>()?;
        let put = |tx: &mut sochdb::Transaction| {
            rows.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value))
        };
        Ok(self.db.run(put)?)
    }

    /// Inserts `rows` in transactions of [`BATCH_ROWS`].
    ///
    /// # Errors
    /// What the database says.
    pub fn insert_all(&self, rows: &[NewRow<'_>]) -> Result<()> {
        rows.chunks(BATCH_ROWS).try_for_each(|batch| self.insert(batch))
    }

    /// Deletes the rows with these keys.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_all(&self, ids: &[i64]) -> Result<()> {
        for batch in ids.chunks(BATCH_ROWS) {
            let key = |id: &i64| self.schema.encode_key_values(&[Value::Int64(*id)]);
            let keys = batch.iter().map(key).collect::<std::result::Result<Vec<_>, _>>()?;
            self.db.run(|tx| keys.iter().try_for_each(|key| tx.delete(TABLE, key)))?;
        }
        Ok(())
    }

    /// Waits until nothing is left to do: flushed, merged, graphs built.
    ///
    /// # Errors
    /// What the database says, when it never settles, and when a plugin did not build: what is measured then would be
    /// something else.
    pub fn settle(&self) -> Result<()> {
        for _ in 0..CHECKPOINTS_MAX {
            let report = self.db.checkpoint()?;
            if let Some((_, why)) = report.failed.first() {
                return Err(format!("a checkpoint failed: {why}").into());
            }
            if !report.unsettled {
                let trouble = self.db.index_stats(TABLE, INDEX)?.trouble;
                return trouble.map_or(Ok(()), |why| Err(why.into()));
            }
        }
        Err(format!("unsettled after {CHECKPOINTS_MAX} checkpoints").into())
    }

    /// What a search looks like, but for its vector.
    ///
    /// # Errors
    /// When the filter does not fit the columns.
    pub fn searching(&self, effort: usize, filter: Option<&Filter>) -> Result<Searching<'_>> {
        let condition =
            |column, comparison, value| Condition::new(&self.schema, column, comparison, value);
        let text = |value: &String| Value::String(value.clone());
        let condition = match filter {
            None => None,
            Some(Filter::Part(bound)) => {
                Some(condition("part", Comparison::Less, Value::Int64(*bound))?)
            }
            Some(Filter::Pos(value)) => Some(condition("pos", Comparison::Equal, text(value))?),
            Some(Filter::Lex(value)) => Some(condition("lex", Comparison::Equal, text(value))?),
        };
        Ok(Searching { ours: self, effort, condition })
    }

    /// Bytes of the index on disk.
    ///
    /// # Errors
    /// What the database says.
    pub fn index_bytes(&self) -> Result<f64> {
        Ok(self.db.index_stats(TABLE, INDEX)?.bytes as f64)
    }

    /// Fuel that plugins have used since the database was opened.
    fn fuel(&self) -> f64 {
        self.db.plugins_loaded().iter().map(|plugin| plugin.usage.fuel as f64).sum()
    }

    fn close(self) -> Result<()> {
        Ok(self.db.close()?)
    }
}

/// Searches of one kind.
pub struct Searching<'a> {
    ours: &'a Ours,
    effort: usize,
    condition: Option<Condition>,
}

impl Searching<'_> {
    /// The keys of the rows found, nearest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn ids(&self, query: &[f32]) -> Result<Vec<i64>> {
        let found = self.search().near(query).run()?;
        found.iter().map(|found| self.id(&found.key)).collect()
    }

    /// The same for each of `queries`, by so many threads.
    ///
    /// # Errors
    /// What the database says.
    pub fn ids_each(&self, queries: &[&[f32]], threads: usize) -> Result<Vec<Vec<i64>>> {
        let threads = NonZero::new(threads).ok_or("no threads")?;
        let found = self.search().threads(threads).run_each(queries)?;
        let ids = |found: Vec<sochdb::Neighbour>| {
            found.iter().map(|found| self.id(&found.key)).collect::<Result<Vec<i64>>>()
        };
        found.into_iter().map(ids).collect()
    }

    fn search(&self) -> Search<'_> {
        let search = self.ours.db.search(TABLE).index(INDEX).k(K).effort(self.effort);
        match &self.condition {
            Some(condition) => search.condition(condition.clone()),
            None => search,
        }
    }

    fn id(&self, key: &[u8]) -> Result<i64> {
        match self.ours.schema.key_values(key)?.first() {
            Some(Value::Int64(id)) => Ok(*id),
            _ => Err("a key without its number".into()),
        }
    }
}

/// The child: for each line of standard input a step, whose answer becomes a line.
///
/// # Errors
/// When the lines are no steps. What a step says becomes its answer.
pub fn child(job: &Job) -> Result<()> {
    let mut state = State { job, set: None, queries: Vectors::read(&job.queries)?, ours: None };
    say(&serde_json::json!({ "version": sochdb::KERNEL_VERSION }))?;
    for line in std::io::stdin().lines() {
        let answer = match state.step(&serde_json::from_str(&line?)?) {
            Ok(answer) => answer,
            Err(error) => serde_json::json!({ "error": error.to_string() }),
        };
        say(&answer)?;
    }
    state.ours.map_or(Ok(()), Ours::close)
}

fn say(answer: &Json) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

struct State<'a> {
    job: &'a Job,
    /// Read when it is needed, so that it is no memory of a process that only searches.
    set: Option<Set>,
    queries: Vectors,
    ours: Option<Ours>,
}

impl State<'_> {
    fn step(&mut self, ask: &Ask) -> Result<Json> {
        let (threads, seed) = (available(), self.job.seed);
        Ok(match *ask {
            Ask::Build { .. } => serde_json::to_value(self.build()?)?,
            Ask::Open { effort } => serde_json::to_value(self.open(effort)?)?,
            Ask::Batch { effort, threads, seconds_min } => {
                serde_json::to_value(self.batch(effort, threads, seconds_min)?)?
            }
            Ask::Single { effort } => serde_json::to_value(self.single(effort)?)?,
            Ask::Filters { effort } => {
                let (ours, set) = self.both()?;
                serde_json::to_value(scenarios::filters(ours, set, effort, threads)?)?
            }
            Ask::Inserts { effort } => {
                let (ours, set) = self.both()?;
                serde_json::to_value(scenarios::inserts(ours, set, effort)?)?
            }
            Ask::Churn { effort, cycles } => {
                let (ours, set) = self.both()?;
                serde_json::to_value(scenarios::churn(ours, set, effort, cycles, seed)?)?
            }
        })
    }

    /// The open database and the set.
    fn both(&mut self) -> Result<(&Ours, &Set)> {
        if self.set.is_none() {
            self.set = Some(Set::read(&self.job.set)?);
        }
        if self.ours.is_none() {
            let settings = self.job.settings.clone().unwrap_or_default();
            self.ours = Some(Ours::open(&self.job.folder, self.queries.dim(), &settings)?);
        }
        Ok((self.ours.as_ref().expect("opened above"), self.set.as_ref().expect("read above")))
    }

    fn build(&mut self) -> Result<Built> {
        let (ours, set) = self.both()?;
        let rows: Vec<NewRow<'_>> =
            (0..set.base.len()).map(|row| NewRow::of(set, row, 0)).collect();
        let (before, meter) = (anonymous_bytes(), Meter::start());
        ours.insert_all(&rows)?;
        ours.settle()?;
        Ok(Built {
            seconds: meter.seconds(),
            cpu_seconds: meter.cpu_us() / 1e6,
            resident_bytes: anonymous_bytes() - before,
            file_bytes: ours.index_bytes()?,
        })
    }

    fn open(&mut self, effort: usize) -> Result<Opened> {
        let settings = self.job.settings.clone().unwrap_or_default();
        let (before, start) = (anonymous_bytes(), Instant::now());
        let ours = Ours::open(&self.job.folder, self.queries.dim(), &settings)?;
        ours.searching(effort, None)?.ids(self.queries.row(0))?;
        let seconds = start.elapsed().as_secs_f64();
        let queries: Vec<&[f32]> = self.queries.rows().collect();
        ours.searching(effort, None)?.ids_each(&queries, 1)?;
        let resident_bytes = anonymous_bytes() - before;
        self.ours = Some(ours);
        Ok(Opened { seconds, resident_bytes })
    }

    fn opened(&self) -> Result<&Ours> {
        Ok(self.ours.as_ref().ok_or("nothing is open")?)
    }

    fn batch(&self, effort: usize, threads: usize, seconds_min: f64) -> Result<Batch> {
        let ours = self.opened()?;
        let searching = ours.searching(effort, None)?;
        let queries: Vec<&[f32]> = self.queries.rows().collect();
        let ids = searching.ids_each(&queries, threads)?;
        let (mut passes, meter, fuel) = (0, Meter::start(), ours.fuel());
        while passes == 0 || meter.seconds() < seconds_min {
            searching.ids_each(&queries, threads)?;
            passes += 1;
        }
        let (seconds, cpu_us, passes) = (meter.seconds(), meter.cpu_us(), f64::from(passes));
        let fuel = (ours.fuel() - fuel) / passes / self.queries.len() as f64;
        let (seconds, cpu_seconds) = (seconds / passes, cpu_us / 1e6 / passes);
        Ok(Batch { seconds, cpu_seconds, ids, fuel: Some(fuel) })
    }

    fn single(&self, effort: usize) -> Result<Single> {
        let searching = self.opened()?.searching(effort, None)?;
        let one = |query: &[f32]| {
            let start = Instant::now();
            searching.ids(query)?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        };
        Ok(Single { micros: self.queries.rows().map(one).collect::<Result<_>>()? })
    }
}

fn available() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}

/// Memory of this process that no file backs; 0 where the system does not tell.
fn anonymous_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0
}
