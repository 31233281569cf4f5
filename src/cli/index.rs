//! `index create`, `index list`, `index drop`, `index stats` and `index check`.

use super::args::{Index, IndexCreate};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, counted, micros_text, thousands};
use super::tables::key_value;
use super::{Access, Session, progress_bar};
use serde_json::{Value as Json, json};
use sochdb::index::SegmentStats;
use sochdb::{Database, IndexDefinition, IndexKind, IndexOptions, IndexState, IndexStats};
use std::time::Instant;

/// Slices of building before the command leaves the rest to whoever opens the database next.
const SLICES_MAX: usize = 100_000;

/// Runs one `index` command.
pub fn index(session: &mut Session, command: Index) -> Outcome {
    match command {
        Index::Create(args) => create(session, &args),
        Index::List { table } => list(session, table.as_deref()),
        Index::Drop { table, name } => {
            let db = session.open(Access::Write)?;
            db.drop_index(&table, &name)?;
            db.close()?;
            match session.screen.json {
                true => session
                    .screen
                    .object(&json!({ "table": table, "index": name, "dropped": true })),
                false => session.screen.line(format!("dropped index '{name}' of table '{table}'")),
            }
        }
        Index::Stats { table, name } => {
            let stats = session.open(Access::Read)?.index_stats(&table, &name)?;
            match session.screen.json {
                true => session.screen.object(&stats_json(&table, &name, &stats)),
                false => print_stats(session, &table, &name, &stats),
            }
        }
        Index::Check { table, name } => check(session, &table, &name),
    }
}

fn create(session: &mut Session, args: &IndexCreate) -> Outcome {
    let started = Instant::now();
    let mut options = IndexOptions::default();
    for setting in &args.settings {
        let (key, value) = key_value(setting)?;
        options = options.set(key, value);
    }
    let IndexCreate { table, column, using, metric, store, codes, .. } = args;
    let said = [("using", using), ("metric", metric), ("store", store), ("codes", codes)];
    for (name, value) in said {
        if let Some(value) = value {
            options = options.set(name, value);
        }
    }
    let name = args.name.as_ref().unwrap_or(column);
    let db = session.open(Access::Write)?;
    let bar = progress_bar(Some(0), "{bar:32} {pos} of {len} rows  {msg}  {elapsed}");
    let mut rows = 0;
    db.create_index(table, name, column, &options, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
        rows = progress.done_bytes;
    })?;
    bar.set_message("building");
    settle(&db)?;
    bar.finish_and_clear();
    let stats = db.index_stats(table, name)?;
    db.close()?;
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if session.screen.json {
        let mut object = stats_json(table, name, &stats);
        object["column"] = column.as_str().into();
        object["rows"] = rows.into();
        object["micros"] = micros.into();
        return session.screen.object(&object);
    }
    session.screen.line(format!(
        "created index '{name}' of column '{column}' of table '{table}': {}, {}, in {}",
        counted(stats.entries, "entry"),
        bytes_text(stats.bytes),
        micros_text(micros),
    ))
}

/// Lets the plugin build, slice by slice, all that it would build in the background.
fn settle(db: &Database) -> Outcome {
    for _ in 0..SLICES_MAX {
        super::cancel::check()?;
        if !db.checkpoint()?.unsettled {
            break;
        }
    }
    Ok(())
}

fn list(session: &mut Session, table: Option<&str>) -> Outcome {
    let db = session.open(Access::Read)?;
    let all = db.indexes(table)?;
    if session.screen.json {
        let all: Vec<_> = all.iter().map(|(index, state)| index_json(index, *state)).collect();
        return session.screen.object(&json!({ "indexes": all }));
    }
    if all.is_empty() && !session.screen.mode().is_for_rows() {
        return session.screen.line("no indexes");
    }
    let header = ["table", "index", "column", "using", "finds", "state"].map(String::from);
    let row = |(index, state): &(IndexDefinition, IndexState)| {
        let IndexDefinition { name, table, column, using, .. } = index.clone();
        [table, name, column, using, finds_text(index), state_text(*state).to_owned()]
    };
    session.screen.table(header, all.iter().map(row))
}

fn finds_text(index: &IndexDefinition) -> String {
    match index.kind {
        IndexKind::Ordered => "values".to_owned(),
        IndexKind::Vector { dim, metric, element, codes } => {
            format!("{metric} of {dim}, {element} by {codes}")
        }
    }
}

fn state_text(state: IndexState) -> &'static str {
    match state {
        IndexState::Building => "building",
        IndexState::Ready => "ready",
    }
}

fn index_json(index: &IndexDefinition, state: IndexState) -> Json {
    let IndexDefinition { name, table, column, using, settings, .. } = index;
    let mut object = json!({
        "table": table,
        "index": name,
        "column": column,
        "using": using,
        "state": state_text(state),
        "settings": settings,
    });
    if let IndexKind::Vector { dim, metric, element, codes } = index.kind {
        object["dimensions"] = dim.into();
        object["metric"] = metric.to_string().into();
        object["store"] = element.to_string().into();
        object["codes"] = codes.to_string().into();
    }
    object
}

fn stats_json(table: &str, name: &str, stats: &IndexStats) -> Json {
    let segment = |segment: &SegmentStats| {
        let graph = segment.graph.iter().map(|(name, value)| (name.clone(), Json::from(*value)));
        json!({
            "entries": segment.entries,
            "visible": segment.visible,
            "bytes": segment.bytes,
            "plugin": segment.plugin,
            "codes": segment.codes,
            "graph": graph.collect::<serde_json::Map<_, _>>(),
        })
    };
    json!({
        "table": table,
        "index": name,
        "state": state_text(stats.state),
        "entries": stats.entries,
        "waiting": stats.waiting,
        "flat": stats.flat,
        "bytes": stats.bytes,
        "resident_bytes": stats.resident_bytes,
        "trouble": stats.trouble,
        "segments": stats.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}

fn print_stats(session: &mut Session, table: &str, name: &str, stats: &IndexStats) -> Outcome {
    let IndexStats { entries, waiting, flat, bytes, resident_bytes, trouble, segments, .. } = stats;
    let mut pairs = vec![
        ("table", table.to_owned()),
        ("index", name.to_owned()),
        ("state", state_text(stats.state).to_owned()),
        ("entries", thousands(*entries)),
        ("not flushed", format!("{}, looked at one by one", thousands(*waiting))),
        ("without a graph", format!("{}, looked at one by one", thousands(*flat))),
        ("on disk", bytes_text(*bytes)),
        ("in memory", bytes_text(*resident_bytes)),
    ];
    if let Some(trouble) = trouble {
        pairs.push(("trouble", trouble.clone()));
    }
    session.screen.pairs(pairs)?;
    if segments.is_empty() {
        return Ok(());
    }
    let header = ["segment", "entries", "visible", "bytes", "built by", "codes", "graph"];
    let row = |(at, segment): (usize, &SegmentStats)| {
        let graph = segment.graph.iter().map(|(name, value)| format!("{name} {value}"));
        [
            (at + 1).to_string(),
            thousands(segment.entries),
            thousands(segment.visible),
            bytes_text(segment.bytes),
            segment.plugin.clone().unwrap_or_else(|| "nobody".to_owned()),
            segment.codes.clone(),
            graph.collect::<Vec<_>>().join(", "),
        ]
    };
    session.screen.table(header.map(String::from), segments.iter().enumerate().map(row))
}

fn check(session: &mut Session, table: &str, name: &str) -> Outcome {
    let found = session.open(Access::Read)?.verify_index(table, name)?;
    let keys: Vec<_> = found.keys.iter().map(|key| key.escape_ascii().to_string()).collect();
    match session.screen.json {
        true => session.screen.object(&json!({
            "table": table,
            "index": name,
            "ok": found.wrong == 0,
            "rows": found.rows,
            "wrong": found.wrong,
            "keys": keys,
        }))?,
        false => session.screen.line(format!(
            "{} of table '{table}' compared with index '{name}'",
            counted(found.rows, "row")
        ))?,
    }
    if found.wrong == 0 {
        return Ok(());
    }
    let text = format!(
        "index '{name}' of table '{table}' differs in {}, the first with the keys {}",
        counted(found.wrong, "row"),
        keys.join(", ")
    );
    let help = "drop the index and create it again: somebody wrote past it";
    Err(Failure::new(Exit::Corrupt, text).help(help))
}
