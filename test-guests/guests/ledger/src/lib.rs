//! Procedures that move amounts between accounts, read tables in every way, and call others.

use serde_json::{Value as Json, json};
use sochdb_guest::blocks::BlockCodec;
use sochdb_guest::row::Value;
use sochdb_guest::rows::{Condition, ScanOptions, Transaction};
use sochdb_guest::select::{Comparison, Projection};
use sochdb_guest::{Error, KeyRange, Procedure, ProcedureInfo, Result, RowBatch};

struct Ledger;

impl Procedure for Ledger {
    fn init() -> Result<Self> {
        Ok(Ledger)
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        let transfer = ProcedureInfo::new("transfer", "Moves an amount between two accounts.").args(
            r#"{"type": "object", "required": ["from", "to", "amount"], "properties":
                {"from": {"type": "string"}, "to": {"type": "string"}, "amount": {"type": "integer"}}}"#,
        );
        vec![
            transfer,
            ProcedureInfo::new("empty", "Does nothing."),
            ProcedureInfo::new("sum", "Adds up all accounts.").reads_only(),
            ProcedureInfo::new("sum-by-keys", "The same, key by key, by number of keys.")
                .reads_only(),
            ProcedureInfo::new("get", "Reads one key so many times.").reads_only(),
            ProcedureInfo::new("write", "Writes one value."),
            ProcedureInfo::new("write-read-only", "Tries to write where it may not.").reads_only(),
            ProcedureInfo::new("write-many", "Writes rows in one call."),
            ProcedureInfo::new("towns", "Names by town, through a filter and a projection.")
                .reads_only(),
            ProcedureInfo::new("call", "Calls another plugin's procedure."),
            ProcedureInfo::new("codec", "Compresses with another plugin, and restores.")
                .reads_only(),
            ProcedureInfo::new("fail", "Writes, then fails."),
            ProcedureInfo::new("ping", "Asks the host the least there is to ask, so many times.")
                .reads_only(),
            ProcedureInfo::new("scans", "Has so many scans open at once.").reads_only(),
            ProcedureInfo::new("spin", "Never ends by itself.").reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        let args: Json =
            serde_json::from_str(args).map_err(|error| Error::invalid(error.to_string()))?;
        let answer = match name {
            "transfer" => transfer(tx, &args)?,
            "empty" => Json::Null,
            "sum" => sum(tx, &args)?,
            "sum-by-keys" => sum_by_keys(tx, &args)?,
            "get" => {
                let table = tx.open(text(&args, "table")?)?;
                let key = text(&args, "key")?.as_bytes();
                let mut bytes = 0;
                for _ in 0..args["times"].as_u64().unwrap_or(1) {
                    bytes = table.get(key)?.map_or(0, |value| value.len());
                }
                json!(bytes)
            }
            "write" | "write-read-only" => {
                let table = tx.open(text(&args, "table")?)?;
                table.put(text(&args, "key")?.as_bytes(), text(&args, "value")?.as_bytes())?;
                Json::Null
            }
            "write-many" => {
                let mut rows = RowBatch::default();
                for n in 0..args["rows"].as_u64().unwrap_or(0) {
                    rows.push(format!("{n:08}").as_bytes(), Some(b"1"));
                }
                tx.open(text(&args, "table")?)?.write(rows)?;
                Json::Null
            }
            "towns" => towns(tx, &args)?,
            "call" => {
                let inner = args["args"].to_string();
                let (plugin, procedure) = (text(&args, "plugin")?, text(&args, "procedure")?);
                let answer = match tx.call_plugin(plugin, procedure, &inner) {
                    // A caller that copes with its callee's failure.
                    Err(error) if args["cope"] == json!(true) => json!(error.text).to_string(),
                    answer => answer?,
                };
                serde_json::from_str(&answer).map_err(|error| Error::internal(error.to_string()))?
            }
            "codec" => {
                let codec = BlockCodec::open(text(&args, "codec")?)?;
                let raw = text(&args, "text")?.repeat(100);
                let stored = codec.compress(raw.as_bytes())?;
                let back = codec.decompress(&stored, raw.len())?;
                json!({ "raw": raw.len(), "stored": stored.len(), "same": back == raw.as_bytes() })
            }
            "fail" => {
                tx.open(text(&args, "table")?)?.put(b"left behind", b"by a failure")?;
                return Err(Error::invalid("as it was told"));
            }
            "ping" => {
                let times = args["times"].as_u64().unwrap_or(1);
                json!((0..times).filter(|_| tx.is_read_only()).count())
            }
            "scans" => {
                let table = tx.open(text(&args, "table")?)?;
                let scans = (0..args["scans"].as_u64().unwrap_or(1))
                    .map(|_| table.scan(KeyRange::all(), ScanOptions::default()))
                    .collect::<Result<Vec<_>>>()?;
                json!(scans.len())
            }
            "spin" => loop {
                std::hint::black_box(&args);
            },
            other => return Err(Error::not_found(format!("there is no procedure '{other}'"))),
        };
        Ok(answer.to_string())
    }
}

fn text<'a>(args: &'a Json, name: &str) -> Result<&'a str> {
    args[name].as_str().ok_or_else(|| Error::invalid(format!("'{name}' is missing or no string")))
}

fn number(bytes: &[u8]) -> i64 {
    str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn transfer(tx: &Transaction<'_>, args: &Json) -> Result<Json> {
    let accounts = tx.open("accounts")?;
    let amount = args["amount"].as_i64().ok_or_else(|| Error::invalid("'amount' is no integer"))?;
    let (from, to) = (text(args, "from")?.as_bytes(), text(args, "to")?.as_bytes());
    let balance = |key| Ok::<_, Error>(accounts.get(key)?.map_or(0, |value| number(&value)));
    let left = balance(from)? - amount;
    accounts.put(from, left.to_string().as_bytes())?;
    accounts.put(to, (balance(to)? + amount).to_string().as_bytes())?;
    if left < 0 {
        return Err(Error::invalid(format!("the account would have {left}")));
    }
    Ok(json!({ "left": left }))
}

fn sum(tx: &Transaction<'_>, args: &Json) -> Result<Json> {
    let table = tx.open(args["table"].as_str().unwrap_or("accounts"))?;
    let options = ScanOptions { limit: args["limit"].as_u64(), ..ScanOptions::default() };
    let mut rows = table.scan(KeyRange::all(), options)?;
    let (mut sum, mut count) = (0, 0);
    while let Some((_, value)) = rows.next()? {
        sum += number(value);
        count += 1;
    }
    Ok(json!({ "sum": sum, "rows": count }))
}

fn sum_by_keys(tx: &Transaction<'_>, args: &Json) -> Result<Json> {
    let table = tx.open(args["table"].as_str().unwrap_or("accounts"))?;
    let keys: Vec<_> =
        (0..args["rows"].as_u64().unwrap_or(0)).map(|n| format!("{n:08}").into_bytes()).collect();
    let mut sum = 0;
    for keys in keys.chunks(1000) {
        let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
        sum += table.get_many(&keys)?.iter().flatten().map(|value| number(value)).sum::<i64>();
    }
    Ok(json!({ "sum": sum }))
}

fn towns(tx: &Transaction<'_>, args: &Json) -> Result<Json> {
    let people = tx.open("people")?;
    let schema = people.schema()?.ok_or_else(|| Error::invalid("'people' is not typed"))?;
    let town = Value::String(text(args, "town")?.to_owned());
    let options = ScanOptions {
        columns: vec!["name".into(), "id".into()],
        filter: vec![Condition::new("town", Comparison::Equal, town)],
        limit: None,
        reverse: args["reverse"] == json!(true),
    };
    let projection = Projection::new(&schema, &["name", "id"])?;
    let mut rows = people.scan(KeyRange::all(), options)?;
    let mut names = Vec::new();
    while let Some((_, value)) = rows.next()? {
        match &projection.decode(value)?[..] {
            [Value::String(name), Value::Int64(id)] => names.push(json!([id, name])),
            other => return Err(Error::internal(format!("{other:?}"))),
        }
    }
    Ok(json!(names))
}

sochdb_guest::export!(procedure: Ledger);
