//! `put`, `get`, `delete`, `scan` and `expire`: rows by their keys, typed or as plain bytes.

use super::args::{Delete, Get, Put, Range, Scan};
use super::failure::{Exit, Failure, Outcome};
use super::filter;
use super::screen::{Mode, Screen, counted, grid, lines};
use super::tables::key_names;
use super::text::{
    CELL_CHARS, JsonPair, JsonRow, Wrong, absent, cell_text, field_text, hex, parse_hex,
    row_from_json, shorten, value_from_text,
};
use super::{Access, Session, cancel, progress_bar};
use indicatif::ProgressBar;
use serde_json::json;
use sochdb::{
    Condition, Database, KernelError, KernelResult, KeyRange, Schema, Slice, Transaction, Value,
};
use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows of a human-readable scan that are laid out together: a table's columns need to see each other.
const SCAN_TABLE_ROWS: usize = 500;
/// Rows of a range that one commit deletes.
const DELETE_BATCH: usize = 10_000;

/// Writes one row.
pub fn put(session: &mut Session, args: &Put) -> Outcome {
    let db = session.open(Access::Write)?;
    let schema = db.begin_read()?.table(&args.table)?.options.schema;
    let (key, value) = match &schema {
        None => untyped_row(args)?,
        Some(schema) => {
            let row = typed_row(args, schema)?;
            (schema.encode_key(&row)?, schema.encode_row(&row)?)
        }
    };
    db.run(|tx| tx.put(&args.table, &key, &value))?;
    db.close()?;
    match session.screen.json {
        true => session.screen.object(&json!({ "table": args.table, "rows_put": 1 })),
        false => Ok(()),
    }
}

fn untyped_row(args: &Put) -> Outcome<(Vec<u8>, Vec<u8>)> {
    match args.row.as_slice() {
        [key, value] => Ok((bytes(key, args.hex)?, bytes(value, args.hex)?)),
        other => Err(Failure::invalid(format!(
            "table '{}' is untyped and takes a key and a value, not {} words",
            args.table,
            other.len()
        ))
        .help(format!("sochdb put {} KEY VALUE; quote what holds blanks", args.table))),
    }
}

fn typed_row(args: &Put, schema: &Schema) -> Outcome<Vec<Value>> {
    let at = |(column, what): Wrong| match column {
        Some(column) => Failure::invalid(format!("column '{column}': {what}")),
        None => Failure::invalid(what),
    };
    if let [object] = args.row.as_slice()
        && object.starts_with('{')
    {
        let object = serde_json::from_str(object)
            .map_err(|error| Failure::invalid(format!("the row is not a JSON object: {error}")))?;
        return row_from_json(&object, schema).map_err(at);
    }
    let mut row: Vec<Option<Value>> = vec![None; schema.columns.len()];
    for word in &args.row {
        let (name, text) = word.split_once('=').ok_or_else(|| {
            Failure::invalid(format!("'{word}' is not COLUMN=VALUE")).help(format!(
                "table '{}' is typed; give COLUMN=VALUE for each column, or one JSON object",
                args.table
            ))
        })?;
        let position = column_position(schema, name, &args.table)?;
        let column = &schema.columns[position];
        let value =
            value_from_text(text, column).map_err(|what| at((Some(column.name.clone()), what)))?;
        row[position] = Some(value);
    }
    let filled = row.into_iter().zip(&schema.columns);
    filled
        .map(|(value, column)| value.map_or_else(|| absent(column), Ok))
        .collect::<Result<_, _>>()
        .map_err(at)
}

pub fn column_position(schema: &Schema, name: &str, table: &str) -> Outcome<usize> {
    schema.columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        Failure::invalid(format!("table '{table}' has no column '{name}'"))
            .help(format!("its columns are {}", names.join(", ")))
    })
}

/// Prints one row.
pub fn get(session: &mut Session, args: &Get) -> Outcome {
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let schema = tx.table(&args.table)?.options.schema;
    let key = whole_key(schema.as_ref(), &args.key, args.hex, &args.table)?;
    let value = tx.get(&args.table, &key)?.ok_or_else(|| no_row(&args.table, &args.key))?;
    let screen = &mut session.screen;
    if args.raw {
        return screen.bytes(&value);
    }
    if screen.mode().is_for_rows() {
        let columns: Vec<usize> =
            (0..schema.as_ref().map_or(0, |schema| schema.columns.len())).collect();
        let show = Show { schema: schema.as_ref(), columns: &columns, hex: args.hex };
        show.begin(screen)?;
        let is_csv = screen.mode() == Mode::Csv;
        let found = Found::of(schema.as_ref(), key, value)?;
        let cells = if is_csv { show.fields(&found) } else { show.cells(&found) };
        return screen.row(cells, false);
    }
    match schema {
        None if screen.json => screen.object(&JsonPair { key: &key, value: &value, hex: args.hex }),
        None => screen.line(bytes_text(&value, args.hex)),
        Some(schema) => {
            let row = schema.decode(&key, &value)?;
            let columns: Vec<usize> = (0..row.len()).collect();
            if screen.json {
                return screen.object(&JsonRow { schema: &schema, row: &row, columns: &columns });
            }
            let name = |position: &usize| schema.columns[*position].name.clone();
            screen
                .pairs(columns.iter().map(|position| (name(position), cell_text(&row[*position]))))
        }
    }
}

/// Removes one row, or a range of them.
pub fn delete(session: &mut Session, args: &Delete) -> Outcome {
    let db = session.open(Access::Write)?;
    let schema = db.begin_read()?.table(&args.table)?.options.schema;
    if args.key.is_empty() {
        let range = key_range(&args.range, schema.as_ref(), args.hex, &args.table)?;
        let bar = progress_bar(None, "{spinner} {pos} rows deleted  {msg}  {elapsed}");
        let deleted = match args.at_once {
            true => cancel::or(db.run(|tx| delete_at_once(tx, &args.table, range.clone(), &bar)))?,
            false => delete_in_batches(&db, &args.table, range, &bar)?,
        };
        bar.finish_and_clear();
        db.close()?;
        return deleted_rows(session, Some(&args.table), deleted);
    }
    let key = whole_key(schema.as_ref(), &args.key, args.hex, &args.table)?;
    let was_there = db.run(|tx| {
        let was_there = tx.get(&args.table, &key)?.is_some();
        if was_there {
            tx.delete(&args.table, &key)?;
        }
        Ok(was_there)
    })?;
    db.close()?;
    match (was_there, session.screen.json) {
        (false, _) => Err(no_row(&args.table, &args.key)),
        (true, true) => session.screen.object(&json!({ "table": args.table, "rows_deleted": 1 })),
        (true, false) => Ok(()),
    }
}

/// In one transaction; nothing of it stays when Ctrl-C ends it.
fn delete_at_once(
    tx: &mut Transaction,
    table: &str,
    range: KeyRange,
    bar: &ProgressBar,
) -> KernelResult<u64> {
    let (mut rest, mut deleted) = (Some(range), 0);
    while let Some(range) = rest {
        cancel::check().map_err(|cancelled| KernelError::invalid(cancelled.message))?;
        let (count, left) = tx.delete_first(table, range, DELETE_BATCH)?;
        deleted += count;
        rest = left;
        bar.set_position(deleted);
    }
    Ok(deleted)
}

/// In commits of some thousand rows each; Ctrl-C finds a place between two.
fn delete_in_batches(
    db: &Database,
    table: &str,
    range: KeyRange,
    bar: &ProgressBar,
) -> Outcome<u64> {
    bar.set_message(format!("table '{table}'"));
    let (mut rest, mut deleted) = (Some(range), 0);
    while let Some(range) = rest {
        cancel::check().map_err(|cancelled| {
            let were = if deleted == 1 { "was" } else { "were" };
            cancelled.help(format!("{} {were} deleted before", counted(deleted, "row")))
        })?;
        let (count, left) = db.run(|tx| tx.delete_first(table, range.clone(), DELETE_BATCH))?;
        deleted += count;
        rest = left;
        bar.set_position(deleted);
    }
    Ok(deleted)
}

/// Removes rows whose time is over.
pub fn expire(session: &mut Session, table: Option<&str>) -> Outcome {
    let db = session.open(Access::Write)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let deleted = match table {
        Some(table) => db.expire_table(table, now_us)?,
        None => db.expire(now_us)?,
    };
    db.close()?;
    deleted_rows(session, table, deleted)
}

fn deleted_rows(session: &mut Session, table: Option<&str>, count: u64) -> Outcome {
    match session.screen.json {
        true => session.screen.object(&json!({ "table": table, "rows_deleted": count })),
        false => session.screen.line(format!("deleted {}", counted(count, "row"))),
    }
}

fn no_row(table: &str, key: &[String]) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("table '{table}' has no row with the key {}", key.join(" ")),
    )
}

/// Prints rows in key order.
pub fn scan(session: &mut Session, args: &Scan) -> Outcome {
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let schema = tx.table(&args.table)?.options.schema;
    let columns = named_columns(schema.as_ref(), &args.columns, &args.table)?;
    let conditions = filter::conditions(&args.filters, schema.as_ref(), &args.table)?;
    let show = Show { schema: schema.as_ref(), columns: &columns, hex: args.hex };
    let (screen, mut chunk) = (&mut session.screen, Vec::new());
    let rows = found(&tx, args, &show, conditions)?;
    show.begin(screen)?;
    for row in rows.take(args.limit.unwrap_or(usize::MAX)) {
        let row = row?;
        match screen.mode() {
            Mode::Json | Mode::Jsonl => show.object(screen, &row)?,
            Mode::Csv => screen.row(show.fields(&row), false)?,
            Mode::Markdown => screen.row(show.cells(&row), false)?,
            Mode::Table => chunk.push(show.cells(&row)),
        }
        if chunk.len() == SCAN_TABLE_ROWS {
            show.table(screen, &mut chunk)?;
        }
    }
    if !chunk.is_empty() {
        show.table(screen, &mut chunk)?;
    }
    screen.end_rows()
}

/// A row that was found: as bytes, or the values of all columns.
enum Found {
    Bytes(Vec<u8>, Slice),
    Values(Vec<Value>),
}

impl Found {
    fn of(schema: Option<&Schema>, key: Vec<u8>, value: Slice) -> Outcome<Found> {
        Ok(match schema {
            None => Found::Bytes(key, value),
            Some(schema) => Found::Values(schema.decode(&key, &value)?),
        })
    }
}

/// The rows that a scan is to show. A storage plugin reads no more columns than these and the conditions need; what
/// others keep is looked at row by row, so that Ctrl-C finds a place.
fn found<'a>(
    tx: &Transaction,
    args: &Scan,
    show: &Show<'a>,
    conditions: Vec<Condition>,
) -> Outcome<Box<dyn Iterator<Item = Outcome<Found>> + 'a>> {
    let (table, schema) = (args.table.as_str(), show.schema);
    let range = key_range(&args.range, schema, args.hex, table)?;
    let has_plugin = tx.table(table)?.options.storage.is_some();
    if let Some(schema) = schema.filter(|_| has_plugin) {
        let mut columns = show.columns.to_vec();
        columns.sort_unstable();
        columns.dedup();
        let names: Vec<_> = columns.iter().map(|at| schema.columns[*at].name.as_str()).collect();
        let rows = tx.scan_selected(table, range, &names, conditions, args.reverse)?;
        return Ok(Box::new(rows.map(move |row| {
            cancel::check()?;
            let (_, some) = row?;
            let mut all = vec![Value::Null; schema.columns.len()];
            columns.iter().zip(some).for_each(|(at, value)| all[*at] = value);
            Ok(Found::Values(all))
        })));
    }
    let rows = match args.reverse {
        true => tx.scan_reverse(table, range)?,
        false => tx.scan(table, range)?,
    };
    let wanted = move |(key, value): (Vec<u8>, Slice)| {
        cancel::check()?;
        let holds = filter::hold(&conditions, schema, &key, &value)?;
        holds.then(|| Found::of(schema, key, value)).transpose()
    };
    Ok(Box::new(
        rows.filter_map(move |row| row.map_err(Failure::from).and_then(&wanted).transpose()),
    ))
}

pub fn key_range(
    range: &Range,
    schema: Option<&Schema>,
    is_hex: bool,
    table: &str,
) -> Outcome<KeyRange> {
    let part = |words: &[String]| match (schema, words) {
        (Some(schema), words) => typed_key(schema, words, table),
        (None, [word]) => bytes(word, is_hex),
        (None, _) => Err(Failure::invalid(format!("the keys of table '{table}' have one part"))
            .help("give --prefix, --from and --to once")),
    };
    let Range { prefix, from, to } = range;
    if !prefix.is_empty() {
        return Ok(KeyRange::prefix(&part(prefix)?));
    }
    let start = if from.is_empty() { Bound::Unbounded } else { Bound::Included(part(from)?) };
    let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(part(to)?) };
    Ok(KeyRange { start, end })
}

/// Positions of the columns of `schema` that are named, all if none is.
pub fn named_columns(
    schema: Option<&Schema>,
    names: &[String],
    table: &str,
) -> Outcome<Vec<usize>> {
    match schema {
        None if names.is_empty() => Ok(Vec::new()),
        None => {
            let help = "leave --columns out: an untyped table has a key and a value";
            Err(Failure::invalid(format!("table '{table}' has no columns")).help(help))
        }
        Some(schema) if names.is_empty() => Ok((0..schema.columns.len()).collect()),
        Some(schema) => names.iter().map(|name| column_position(schema, name, table)).collect(),
    }
}

/// How a scan shows its rows.
struct Show<'a> {
    schema: Option<&'a Schema>,
    columns: &'a [usize],
    hex: bool,
}

impl Show<'_> {
    fn begin(&self, screen: &mut Screen) -> Outcome {
        screen.begin_rows()?;
        if screen.mode().is_for_rows() { screen.row(self.names(), true) } else { Ok(()) }
    }

    fn names(&self) -> Vec<String> {
        match self.schema {
            None => vec!["key".to_owned(), "value".to_owned()],
            Some(schema) => self.columns.iter().map(|&c| schema.columns[c].name.clone()).collect(),
        }
    }

    /// A row as CSV has it: whole.
    fn fields(&self, row: &Found) -> Vec<String> {
        match row {
            Found::Bytes(key, value) => {
                [&key[..], &value[..]].map(|b| bytes_text(b, self.hex)).into()
            }
            Found::Values(row) => self.columns.iter().map(|at| field_text(&row[*at])).collect(),
        }
    }

    fn object(&self, screen: &mut Screen, row: &Found) -> Outcome {
        match (row, self.schema) {
            (Found::Values(row), Some(schema)) => {
                screen.object(&JsonRow { schema, row, columns: self.columns })
            }
            (Found::Bytes(key, value), _) => screen.object(&JsonPair { key, value, hex: self.hex }),
            (Found::Values(_), None) => unreachable!("values have columns"),
        }
    }

    fn cells(&self, row: &Found) -> Vec<String> {
        let cell = |bytes: &[u8]| shorten(&bytes_text(bytes, self.hex), CELL_CHARS);
        match row {
            Found::Bytes(key, value) => [&key[..], &value[..]].map(cell).into(),
            Found::Values(row) => self.columns.iter().map(|at| cell_text(&row[*at])).collect(),
        }
    }

    fn table(&self, screen: &mut Screen, rows: &mut Vec<Vec<String>>) -> Outcome {
        let mut table = grid();
        table.set_header(self.names());
        table.add_rows(rows.drain(..));
        screen.line(lines(&table))
    }
}

fn bytes(text: &str, is_hex: bool) -> Outcome<Vec<u8>> {
    match is_hex {
        true => parse_hex(text).map_err(Failure::invalid),
        false => Ok(text.as_bytes().to_vec()),
    }
}

/// Bytes for people: as they are where they are text, otherwise escaped.
fn bytes_text(bytes: &[u8], is_hex: bool) -> String {
    match std::str::from_utf8(bytes) {
        _ if is_hex => hex(bytes),
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => {
            text.to_owned()
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

pub fn whole_key(
    schema: Option<&Schema>,
    words: &[String],
    is_hex: bool,
    table: &str,
) -> Outcome<Vec<u8>> {
    match (schema, words) {
        (None, [word]) => bytes(word, is_hex),
        (None, _) => Err(Failure::invalid(format!(
            "the keys of table '{table}' have one part, not {}",
            words.len()
        ))
        .help("quote a key that holds blanks")),
        (Some(schema), words) if words.len() == schema.key.len() => typed_key(schema, words, table),
        (Some(schema), words) => Err(Failure::invalid(format!(
            "the keys of table '{table}' have {} parts, not {}",
            schema.key.len(),
            words.len()
        ))
        .help(format!("give the values of: {}", key_names(schema).join(", ")))),
    }
}

/// The bytes of the key whose first columns have these values.
fn typed_key(schema: &Schema, words: &[String], table: &str) -> Outcome<Vec<u8>> {
    if words.len() > schema.key.len() {
        return Err(Failure::invalid(format!(
            "the keys of table '{table}' have only {} parts",
            schema.key.len()
        ))
        .help(format!("they are: {}", key_names(schema).join(", "))));
    }
    let value = |(word, &position): (&String, &usize)| {
        let column = &schema.columns[position];
        value_from_text(word, column)
            .map_err(|what| Failure::invalid(format!("column '{}': {what}", column.name)))
    };
    let values = words.iter().zip(&schema.key).map(value).collect::<Outcome<Vec<_>>>()?;
    Ok(schema.encode_key_values(&values)?)
}
