//! Procedures that tell which version of them was called.
//!
//! | procedure | what it does                                                                       |
//! |-----------|------------------------------------------------------------------------------------|
//! | `version` | answers `{"version": N}`                                                           |
//! | `bump`    | adds one to the row `key` of `table`, and answers `{"version": N, "count": C}`     |
//! | `linger`  | counts in `teller_lingering_total`, waits for a row `go` in `table`, then `version` |
//!
//! Besides the moods of `mood.rs`, for which a call is about its arguments:
//!
//! | mood   | what it does                     |
//! |--------|----------------------------------|
//! | `lies` | answers something that is no JSON |

#[allow(dead_code, reason = "no guest uses all of it")]
#[path = "../../../mood.rs"]
mod mood;

use mood::Mood;
use serde_json::{Value as Json, json};
use sochdb_guest::rows::Transaction;
use sochdb_guest::{Error, Procedure, ProcedureInfo, Result, telemetry};

struct Teller {
    mood: Mood,
}

impl Procedure for Teller {
    fn init() -> Result<Self> {
        Ok(Teller { mood: Mood::read()? })
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![
            ProcedureInfo::new("version", "Tells which version was called.").reads_only(),
            ProcedureInfo::new("bump", "Adds one to a row."),
            ProcedureInfo::new("linger", "Waits for a row.").reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        self.mood.call(args.as_bytes())?;
        if self.mood.is("lies") {
            return Ok("no JSON at all".to_owned());
        }
        let version = self.mood.version;
        let args: Json =
            serde_json::from_str(args).map_err(|error| Error::invalid(error.to_string()))?;
        let text = |name: &str| {
            args[name].as_str().ok_or_else(|| Error::invalid(format!("'{name}' is no text")))
        };
        let answer = match name {
            "version" => json!({ "version": version }),
            "bump" => {
                let (table, key) = (tx.open(text("table")?)?, text("key")?.as_bytes());
                let present = table.get(key)?.unwrap_or_default();
                let count = str::from_utf8(&present).ok().and_then(|text| text.parse().ok());
                let count = count.unwrap_or(0_u64) + 1;
                table.put(key, count.to_string().as_bytes())?;
                json!({ "version": version, "count": count })
            }
            "linger" => {
                telemetry::count("teller_lingering_total", &[], 1.0)?;
                let table = tx.open(text("table")?)?;
                while table.get(b"go")?.is_none() {}
                json!({ "version": version })
            }
            other => return Err(Error::not_found(format!("there is no procedure '{other}'"))),
        };
        Ok(answer.to_string())
    }

    fn self_test(&mut self) -> Result<()> {
        self.mood.self_test()
    }

    fn export_state(&mut self) -> Result<Vec<u8>> {
        self.mood.export()
    }

    fn import_state(&mut self, state: Vec<u8>, _version: &str) -> Result<()> {
        self.mood.import(&state)
    }
}

sochdb_guest::export!(procedure: Teller);
