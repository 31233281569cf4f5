//! A procedure that counts the rows of a table.

use serde::{Deserialize, Serialize};
use sochdb_guest::prelude::*;
use sochdb_guest::procedure;

/// The procedures. Their manifest says which tables they see.
struct MyPlugin;

/// The arguments of `count`, from JSON.
#[derive(Deserialize)]
struct Count {
    table: String,
}

/// Its answer, as JSON.
#[derive(Serialize)]
struct Counted {
    rows: u64,
}

fn count(tx: &Transaction, args: &Count) -> Result<Counted> {
    let mut rows = tx
        .open(&args.table)?
        .scan(KeyRange::all(), ScanOptions::default())?;
    let mut counted = Counted { rows: 0 };
    while rows.next()?.is_some() {
        counted.rows += 1;
    }
    Ok(counted)
}

impl Procedure for MyPlugin {
    fn init() -> Result<Self> {
        Ok(MyPlugin)
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        let args = r#"{"type": "object", "required": ["table"], "properties": {"table": {"type": "string"}}}"#;
        let result = r#"{"type": "object", "required": ["rows"], "properties": {"rows": {"type": "integer"}}}"#;
        let count = ProcedureInfo::new("count", "Counts the rows of a table.");
        vec![count.args(args).result(result).reads_only()]
    }

    fn call(&mut self, tx: &Transaction, name: &str, args: &str) -> Result<String> {
        match name {
            "count" => procedure::json(args, |args: Count| count(tx, &args)),
            other => procedure::unknown(other),
        }
    }
}

sochdb_guest::export!(procedure: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::serde_json::json;
    use sochdb_guest::testing::Database;

    #[test]
    fn rows_are_counted() -> Result<()> {
        let mut db = Database::new();
        db.table("notes").manifest(include_str!("../my-plugin.toml"))?;
        db.procedure::<MyPlugin>("my-plugin")?;
        db.put("notes", b"a", b"one")?;
        db.put("notes", b"b", b"two")?;
        let args = json!({ "table": "notes" });
        assert_eq!(db.call("my-plugin", "count", args)?, json!({ "rows": 2 }));
        assert!(db.call("my-plugin", "count", json!({})).is_err());
        Ok(())
    }
}
