//! `search`: the rows of a table whose vectors are nearest to one.

use super::args::Search as Args;
use super::failure::{Failure, Outcome};
use super::filter::conditions;
use super::import::read_vectors;
use super::rows::{column_position, key_range, whole_key};
use super::screen::{Mode, Screen};
use super::text::{JsonRow, cell_text, field_text};
use super::{Access, Session};
use serde::Serialize;
use sochdb::{Neighbour, Schema, Search};

/// Runs `search`.
pub fn search(session: &mut Session, args: &Args) -> Outcome {
    let db = session.open(Access::Read)?;
    let tx = db.begin_read()?;
    let table = args.table.as_str();
    let untyped = || Failure::invalid(format!("table '{table}' is untyped: it has no vectors"));
    let schema = tx.table(table)?.options.schema.ok_or_else(untyped)?;
    let position = |name: &String| column_position(&schema, name, table);
    let columns = match args.columns.is_empty() {
        true => (0..schema.columns.len()).collect(),
        false => args.columns.iter().map(position).collect::<Outcome<Vec<_>>>()?,
    };
    let conditions = conditions(&args.filters, Some(&schema), table)?;
    let range = key_range(&args.range, Some(&schema), false, table)?;
    let begin = || {
        let search = tx.search(table).k(args.k).exact(args.exact).range(range.clone()).rows(true);
        let search = args.index.iter().fold(search, |search, name| search.index(name));
        let search = args.effort.into_iter().fold(search, Search::effort);
        conditions.iter().cloned().fold(search, Search::condition)
    };
    let show = Show { schema: &schema, columns: &columns };
    if let Some(file) = &args.target.vector_file {
        let answers = begin().run_each(&read_vectors(file)?)?;
        return show.all(&mut session.screen, &answers);
    }
    let found = match &args.target.vector {
        Some(text) => begin().near(&vector(text)?).run()?,
        None => {
            let key = whole_key(Some(&schema), &args.target.like_key, false, table)?;
            begin().like(&key).run()?
        }
    };
    show.all(&mut session.screen, &[found])
}

fn vector(text: &str) -> Outcome<Vec<f32>> {
    serde_json::from_str(text)
        .map_err(|error| Failure::invalid(format!("--vector is no JSON array of numbers: {error}")))
}

/// A row that was found, for a program.
#[derive(Serialize)]
struct Hit<'a> {
    /// The number of the search, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<usize>,
    distance: f32,
    row: JsonRow<'a>,
}

/// How rows are shown.
struct Show<'a> {
    schema: &'a Schema,
    columns: &'a [usize],
}

impl Show<'_> {
    fn all(&self, screen: &mut Screen, answers: &[Vec<Neighbour>]) -> Outcome {
        let is_batch = answers.len() != 1;
        let text = if screen.mode() == Mode::Csv { field_text } else { cell_text };
        screen.begin_rows()?;
        let mut rows = Vec::new();
        for (query, answer) in answers.iter().enumerate() {
            let query = is_batch.then_some(query);
            for found in answer {
                let value = found.value.as_deref().expect("asked for");
                let row = self.schema.decode(&found.key, value)?;
                if screen.json {
                    let columns = self.columns;
                    let row = JsonRow { schema: self.schema, row: &row, columns };
                    screen.object(&Hit { query, distance: found.distance, row })?;
                    continue;
                }
                let numbers = query.map(|query| query.to_string()).into_iter();
                let numbers = numbers.chain([format!("{:.4}", found.distance)]);
                let cells = self.columns.iter().map(|&position| text(&row[position]));
                rows.push(numbers.chain(cells).collect::<Vec<_>>());
            }
        }
        if screen.json {
            return screen.end_rows();
        }
        if rows.is_empty() && !screen.mode().is_for_rows() {
            return screen.line("no rows");
        }
        let names = self.columns.iter().map(|&column| self.schema.columns[column].name.clone());
        let query = is_batch.then(|| "query".to_owned()).into_iter();
        screen.table(query.chain(["distance".to_owned()]).chain(names), rows)
    }
}
