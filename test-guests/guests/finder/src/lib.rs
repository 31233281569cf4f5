//! Procedures that search the indexes of tables.

use serde_json::{Value as Json, json};
use sochdb_guest::row::Value;
use sochdb_guest::rows::{Condition, Transaction};
use sochdb_guest::search::{Index, Search};
use sochdb_guest::select::Comparison;
use sochdb_guest::{Error, Procedure, ProcedureInfo, Result};
use std::ops::Bound;

struct Finder;

impl Procedure for Finder {
    fn init() -> Result<Self> {
        Ok(Finder)
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![
            ProcedureInfo::new("near", "The rows nearest to a vector.").reads_only(),
            ProcedureInfo::new("lookup", "The rows with a value.").reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        let args: Json =
            serde_json::from_str(args).map_err(|error| Error::invalid(error.to_string()))?;
        let text = |key: &str| args[key].as_str().unwrap_or_default();
        let index = Index::open(&tx.open(text("table"))?, text("index"))?;
        let answer = match name {
            "near" => {
                let numbers = args["vector"].as_array().cloned().unwrap_or_default();
                let vector: Vec<f32> =
                    numbers.iter().filter_map(Json::as_f64).map(|x| x as f32).collect();
                let k = args["k"].as_u64().unwrap_or(10) as u32;
                let mut search = Search { k, ..Search::default() };
                if let Some(town) = args["town"].as_str() {
                    let town = Value::String(town.into());
                    search.filter.push(Condition::new("town", Comparison::Equal, town));
                }
                let found = index.near(&vector, &search)?;
                let found = found.iter().map(|found| json!([hex(&found.key), found.distance]));
                found.collect::<Vec<_>>()
            }
            _ => {
                let value = || Bound::Included(Value::String(text("value").into()));
                let keys = index.lookup(value(), value(), args["reverse"] == json!(true), 100)?;
                keys.iter().map(|key| json!(hex(key))).collect()
            }
        };
        Ok(json!(answer).to_string())
    }
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

sochdb_guest::export!(procedure: Finder);
