//! `search`: the rows of a table whose vectors are nearest to one.

use super::args::Search as Args;
use super::failure::{Failure, Outcome};
use super::import::read_vectors;
use super::rows::{column_position, key_range, whole_key};
use super::screen::{Mode, Screen};
use super::text::{JsonRow, cell_text, field_text, value_from_text};
use super::{Access, Session};
use serde::Serialize;
use sochdb::{Comparison, Condition, Neighbour, Schema, Search, Value};

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
    let conditions = args.filters.iter().map(|text| condition(text, &schema, table));
    let conditions = conditions.collect::<Outcome<Vec<_>>>()?;
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

/// A condition as the command line says it: `pos=n`, `id<1000`, `text^=a`.
fn condition(text: &str, schema: &Schema, table: &str) -> Outcome<Condition> {
    use Comparison::{
        Equal, Greater, GreaterOrEqual, IsNotNull, IsNull, Less, LessOrEqual, NotEqual, StartsWith,
    };
    let operators = [
        ("!=", NotEqual),
        ("<=", LessOrEqual),
        (">=", GreaterOrEqual),
        ("^=", StartsWith),
        ("=", Equal),
        ("<", Less),
        (">", Greater),
    ];
    // The first place where any operator stands; of those there the longest.
    let mut places = (0..text.len()).filter(|at| text.is_char_boundary(*at));
    let found = places.find_map(|at| {
        let operator = operators.iter().find(|(sign, _)| text[at..].starts_with(sign))?;
        Some((at, operator))
    });
    let Some((at, (sign, comparison))) = found else {
        return Err(Failure::invalid(format!("--filter '{text}' is not COLUMN=VALUE"))
            .help("such as pos=n, 'id<1000' or 'text^=a'; also !=, <=, > and >="));
    };
    let (name, value) = (&text[..at], &text[at + sign.len()..]);
    let position = column_position(schema, name, table)?;
    let column = &schema.columns[position];
    let value = value_from_text(value, column)
        .map_err(|what| Failure::invalid(format!("--filter '{text}': {what}")))?;
    let (comparison, values) = match (comparison, value) {
        (Equal, Value::Null) => (IsNull, vec![]),
        (NotEqual, Value::Null) => (IsNotNull, vec![]),
        (comparison, value) => (*comparison, vec![value]),
    };
    Ok(Condition::at(schema, position, comparison, values)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::text::parse_column;

    #[test]
    fn filters_read_as_they_look() {
        let columns = ["id:int64", "text:string?", "a-b:string"].map(|c| parse_column(c).unwrap());
        let schema = Schema::new(columns.to_vec(), &["id"]).unwrap();
        let of = |text: &str| {
            let condition = condition(text, &schema, "t").map_err(|failure| failure.message)?;
            Ok::<_, String>((condition.comparison(), condition.values().to_vec()))
        };
        let text = |text: &str| vec![Value::String(text.into())];
        assert_eq!(of("id<1000").unwrap(), (Comparison::Less, vec![Value::Int64(1000)]));
        assert_eq!(of("id>=-1").unwrap(), (Comparison::GreaterOrEqual, vec![Value::Int64(-1)]));
        assert_eq!(of("text=a=b").unwrap(), (Comparison::Equal, text("a=b")));
        assert_eq!(of("text!=<").unwrap(), (Comparison::NotEqual, text("<")));
        assert_eq!(of("text^=ä").unwrap(), (Comparison::StartsWith, text("ä")));
        assert_eq!(of("text=").unwrap(), (Comparison::IsNull, vec![]));
        assert_eq!(of("a-b=").unwrap(), (Comparison::Equal, text("")));
        for (wrong, word) in [("id", "COLUMN=VALUE"), ("no=1", "'no'"), ("id=x", "int64")] {
            assert!(of(wrong).unwrap_err().contains(word), "{wrong}");
        }
    }
}
