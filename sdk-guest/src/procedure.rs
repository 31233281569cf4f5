//! A plugin whose procedures are called by name.
//!
//! Arguments and answers are JSON. [`json`] turns them into the procedure's own types:
//!
//! ```
//! use sochdb_guest::prelude::*;
//! use sochdb_guest::procedure;
//!
//! struct Stock;
//!
//! #[derive(serde::Deserialize)]
//! struct Take {
//!     article: String,
//!     #[serde(default)]
//!     count: i64,
//! }
//!
//! impl Stock {
//!     /// Takes some of an article; answers how many are left.
//!     fn take(&mut self, tx: &Transaction<'_>, args: &Take) -> Result<i64> {
//!         let stock = tx.open("stock")?;
//!         let present = stock.get(args.article.as_bytes())?.unwrap_or_default();
//!         let left = str::from_utf8(&present)?.parse::<i64>()? - args.count;
//!         if left < 0 {
//!             return Err(Error::invalid(format!("{} of '{}' are missing", -left, args.article)));
//!         }
//!         stock.put(args.article.as_bytes(), left.to_string().as_bytes())?;
//!         Ok(left)
//!     }
//! }
//!
//! impl Procedure for Stock {
//!     fn init() -> Result<Self> {
//!         Ok(Stock)
//!     }
//!
//!     fn describe(&self) -> Vec<ProcedureInfo> {
//!         let schema = r#"{"type": "object", "required": ["article"], "properties":
//!             {"article": {"type": "string"}, "count": {"type": "integer"}}}"#;
//!         vec![ProcedureInfo::new("take", "Takes some of an article.").args(schema)]
//!     }
//!
//!     fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
//!         match name {
//!             "take" => procedure::json(args, |args: Take| self.take(tx, &args)),
//!             other => procedure::unknown(other),
//!         }
//!     }
//! }
//!
//! sochdb_guest::export!(procedure: Stock);
//!
//! // A test:
//! # fn main() -> Result<()> {
//! use sochdb_guest::{serde_json::json, testing::Database};
//!
//! let mut db = Database::new();
//! db.table("stock").procedure::<Stock>("stock")?;
//! db.put("stock", b"tea", b"5")?;
//! assert_eq!(db.call("stock", "take", json!({ "article": "tea", "count": 3 }))?, json!(2));
//! assert!(db.call("stock", "take", json!({ "article": "tea", "count": 3 })).is_err());
//! assert!(db.call("stock", "take", json!({ "count": "three" })).is_err());
//! assert_eq!(db.get("stock", b"tea").as_deref(), Some(&b"2"[..]));
//! # Ok(())
//! # }
//! ```

use crate::bindings::lifecycle;
use crate::error::{Error, Result};
use crate::rows::Transaction;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// Procedures, called from the program or by other plugins, in a transaction that commits only when they
/// succeed.
///
/// ```
/// use sochdb_guest::rows::Transaction;
/// use sochdb_guest::{Error, Procedure, ProcedureInfo, Result};
///
/// /// Says whether an account exists.
/// struct Accounts;
///
/// impl Procedure for Accounts {
///     fn init() -> Result<Self> {
///         Ok(Accounts)
///     }
///
///     fn describe(&self) -> Vec<ProcedureInfo> {
///         vec![
///             ProcedureInfo::new("exists", "Says whether an account exists.")
///                 .args(r#"{"type": "string"}"#)
///                 .result(r#"{"type": "boolean"}"#)
///                 .reads_only(),
///         ]
///     }
///
///     fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
///         let account = args.trim().trim_matches('"');
///         match name {
///             "exists" => Ok(tx.open("accounts")?.get(account.as_bytes())?.is_some().to_string()),
///             other => Err(Error::not_found(format!("there is no procedure '{other}'"))),
///         }
///     }
/// }
///
/// sochdb_guest::export!(procedure: Accounts);
///
/// // A test:
/// # fn main() -> Result<()> {
/// let mut db = sochdb_guest::testing::Database::new();
/// db.table("accounts").procedure::<Accounts>("accounts")?;
/// db.put("accounts", b"ada", b"100")?;
/// assert_eq!(db.call("accounts", "exists", "ada")?, true);
/// assert_eq!(db.call("accounts", "exists", "bob")?, false);
/// # Ok(())
/// # }
/// ```
pub trait Procedure: Sized {
    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Every procedure of this plugin. Asked when it is loaded.
    fn describe(&self) -> Vec<ProcedureInfo>;

    /// Runs the procedure `name`. `args` and the answer are JSON.
    ///
    /// # Errors
    /// [`Error::invalid`](crate::Error::invalid) for arguments that its schema does not allow, and any other.
    /// What it wrote is undone.
    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String>;

    /// Whether the plugin works at all; called when it is loaded.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One procedure, as it is listed for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureInfo {
    /// Lower-case letters, digits, `-` and `_`, first a letter; at most 64 bytes, unique in the plugin.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The JSON Schema of the arguments; what it does not allow, the procedure refuses.
    pub args_schema: String,
    /// The JSON Schema of the result.
    pub result_schema: String,
    /// Whether it never writes; then writes are refused.
    pub read_only: bool,
}

impl ProcedureInfo {
    /// A procedure that may write, with any arguments and any result.
    pub fn new(name: &str, description: &str) -> ProcedureInfo {
        ProcedureInfo {
            name: name.to_owned(),
            description: description.to_owned(),
            args_schema: "true".to_owned(),
            result_schema: "true".to_owned(),
            read_only: false,
        }
    }

    /// The JSON Schema of its arguments.
    pub fn args(mut self, schema: &str) -> ProcedureInfo {
        schema.clone_into(&mut self.args_schema);
        self
    }

    /// The JSON Schema of its result.
    pub fn result(mut self, schema: &str) -> ProcedureInfo {
        schema.clone_into(&mut self.result_schema);
        self
    }

    /// It never writes.
    pub fn reads_only(mut self) -> ProcedureInfo {
        self.read_only = true;
        self
    }
}

/// Runs `procedure` with `args` as its own type, and gives its answer as JSON. What its type does not take, such as
/// a missing field, is `Invalid` and names it.
///
/// # Errors
/// `Invalid` for arguments that make no sense, and whatever `procedure` answers.
pub fn json<A: DeserializeOwned, R: Serialize>(
    args: &str,
    procedure: impl FnOnce(A) -> Result<R>,
) -> Result<String> {
    let args = serde_json::from_str(args)
        .map_err(|error| Error::invalid(format!("the arguments make no sense: {error}")))?;
    Ok(serde_json::to_string(&procedure(args)?)?)
}

/// The answer to a name that no procedure has.
///
/// # Errors
/// `NotFound`, always.
pub fn unknown(name: &str) -> Result<String> {
    Err(Error::not_found(format!("there is no procedure '{name}'")))
}

/// Turns calls of the contract into calls of [`Procedure`].
#[doc(hidden)]
pub struct ProcedureGlue<P>(PhantomData<P>);

lifecycle!(ProcedureGlue: Procedure);

#[cfg(not(all(feature = "testing", not(target_family = "wasm"))))]
mod exports {
    use super::*;
    use crate::bindings::procedure::exports::sochdb::plugin::procedure as contract;
    use crate::bindings::{Instance, types};
    use crate::imports::rows as host;

    impl<P: Procedure + Instance> contract::Guest for ProcedureGlue<P> {
        fn describe() -> std::result::Result<Vec<contract::ProcedureInfo>, types::Error> {
            P::with(|procedure| {
                let infos = procedure.describe().into_iter().map(|info| contract::ProcedureInfo {
                    name: info.name,
                    description: info.description,
                    args_schema: info.args_schema,
                    result_schema: info.result_schema,
                    read_only: info.read_only,
                });
                Ok(infos.collect())
            })
        }

        fn call(
            tx: &host::Transaction,
            name: String,
            args: String,
        ) -> std::result::Result<String, types::Error> {
            P::with(|procedure| procedure.call(&Transaction::new(tx), &name, &args))
        }
    }
}
