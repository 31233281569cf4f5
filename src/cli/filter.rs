//! Conditions on columns, as the command line says them: `pos=n`, `id<1000`, `text^=a`.

use super::failure::{Failure, Outcome};
use super::rows::column_position;
use super::text::value_from_text;
use sochdb::{Comparison, Condition, Schema, Value};

/// The conditions that `filters` are, on columns of `table`.
///
/// # Errors
/// `Invalid` when the table has no such column, or no columns at all.
pub fn conditions(
    filters: &[String],
    schema: Option<&Schema>,
    table: &str,
) -> Outcome<Vec<Condition>> {
    match schema {
        None if filters.is_empty() => Ok(Vec::new()),
        None => Err(Failure::invalid(format!(
            "table '{table}' is untyped: it has no columns to filter by"
        ))
        .help("--prefix, --from and --to of `scan` choose rows by their keys")),
        Some(schema) => filters.iter().map(|text| condition(text, schema, table)).collect(),
    }
}

/// Whether a row fulfils all `conditions`.
///
/// # Errors
/// `Corrupt` when the bytes are no row of `schema`.
pub fn hold(
    conditions: &[Condition],
    schema: Option<&Schema>,
    key: &[u8],
    value: &[u8],
) -> Outcome<bool> {
    let Some(schema) = schema else { return Ok(true) };
    for condition in conditions {
        if !condition.holds(schema, key, value)? {
            return Ok(false);
        }
    }
    Ok(true)
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
