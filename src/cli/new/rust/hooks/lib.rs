//! Hooks that let nobody write an empty value.

use sochdb_guest::prelude::*;

/// The hooks. Their manifest says of which tables and changes.
struct MyPlugin;

impl Hooks for MyPlugin {
    fn init() -> Result<Self> {
        Ok(MyPlugin)
    }

    fn before_each(&mut self, _: &Transaction, table: &Table, change: &Change) -> Result<Decision> {
        Ok(match &change.new {
            Some(value) if value.is_empty() => {
                Decision::Abort(format!("'{}' takes no empty values", table.name()))
            }
            _ => Decision::Continue,
        })
    }
}

sochdb_guest::export!(hooks: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::testing::Database;

    #[test]
    fn empty_values_are_refused() -> Result<()> {
        let mut db = Database::new();
        db.table("notes").manifest(include_str!("../my-plugin.toml"))?;
        db.hooks::<MyPlugin>("notes")?;
        db.put("notes", b"a", b"one")?;
        assert!(db.put("notes", b"b", b"").is_err());
        assert_eq!(db.get("notes", b"a").as_deref(), Some(&b"one"[..]));
        assert_eq!(db.get("notes", b"b"), None);
        Ok(())
    }
}
