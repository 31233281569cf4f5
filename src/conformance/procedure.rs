//! Procedures: what they say of themselves is true, and no arguments harm anybody.
//!
//! Arguments are made up from the JSON Schema that a procedure gives; calls that its author gives as samples must be
//! answered. A call that fails leaves nothing behind, and one that only reads writes nothing.

use super::hurtful;
use super::judge::{Finding, Tally, answered, skipped, wrong};
use super::reload::reload;
use super::room::{Dump, Room};
use super::{Kit, Planned, planned};
use crate::database::Database;
use fastrand::Rng;
use jsonschema::Validator;
use serde_json::{Map, Value as Json, json};
use sochdb_host_abi::audit::AuditKind;
use sochdb_host_abi::{AuditFilter, ProcedureInfo};
use sochdb_kernel::KernelResult;

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "describe",
        "its procedures have words for people, and schemas that are JSON Schema",
        describe,
    ),
    planned("samples", "the calls that its author gives are answered as they say", samples),
    planned(
        "arguments",
        "calls with arguments of its schema are answered by its result schema, or refused without a trace",
        arguments,
    ),
    planned(
        "hostile",
        "arguments that its schema does not allow are refused, and junk does no harm",
        hostile,
    ),
    planned("read-only", "procedures that say they only read never try to write", read_only),
    planned("determinism", "another instance answers the same, and writes the same", determinism),
    planned("reload", "versions of it take over from each other while it is called", reloaded),
];

/// Calls of each procedure with arguments of its schema.
const CALLS: usize = 25;
/// How deep made-up arguments nest.
const DEPTH_MAX: usize = 6;
/// What a procedure writes with.
const WRITES: [&str; 3] =
    ["rows.table.soch-write", "rows.table.soch-write-many", "rows.table.soch-delete"];

/// A procedure, and its schemas as they can be used.
pub(super) struct Procedure {
    pub(super) full_name: String,
    info: ProcedureInfo,
    pub(super) args: Json,
    args_checker: Validator,
    result_checker: Validator,
}

pub(super) fn procedures(kit: &Kit, room: &Room) -> Finding<Vec<Procedure>> {
    let mine = room.db().procedures().into_iter().filter(|(plugin, _)| plugin == kit.name());
    let procedure = |(plugin, info): (String, ProcedureInfo)| -> Finding<Procedure> {
        let full_name = format!("{plugin}.{}", info.name);
        let (args, args_checker) = schema(&full_name, "arguments", &info.args_schema)?;
        let (_, result_checker) = schema(&full_name, "result", &info.result_schema)?;
        Ok(Procedure { full_name, info, args, args_checker, result_checker })
    };
    mine.map(procedure).collect()
}

fn schema(procedure: &str, what: &str, text: &str) -> Finding<(Json, Validator)> {
    let bad = |why: String| format!("the schema of the {what} of '{procedure}' {why}");
    let schema: Json = match serde_json::from_str(text) {
        Ok(schema) => schema,
        Err(error) => return wrong(bad(format!("is no JSON: {error}"))),
    };
    if let Err(error) = jsonschema::meta::validate(&schema) {
        return wrong(bad(format!("is no JSON Schema: {error}")));
    }
    match jsonschema::validator_for(&schema) {
        Ok(validator) => Ok((schema, validator)),
        Err(error) => wrong(bad(format!("cannot be used: {error}"))),
    }
}

fn describe(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    for procedure in procedures(kit, &room)? {
        if procedure.info.description.trim().is_empty() {
            return wrong(format!("'{}' has no description", procedure.full_name));
        }
        tally.count("procedures", 1);
    }
    room.close()
}

/// Calls a procedure. What it answers fits its schema; when it refuses, everything is as it was.
fn call(
    room: &Room,
    procedure: &Procedure,
    args: &Json,
    tally: &mut Tally,
) -> Finding<Result<Json, String>> {
    let before = room.dump()?;
    let (name, args) = (&procedure.full_name, args.to_string());
    let shown = &args[..args.floor_char_boundary(200)];
    tally.count("calls", 1);
    let called = room.db().call(name, &args);
    match answered(format!("{name} {shown}"), called)? {
        Ok(answer) => {
            tally.count("answered", 1);
            let answer: Json = match serde_json::from_str(&answer) {
                Ok(answer) => answer,
                Err(error) => return wrong(format!("{name} {shown} answers no JSON: {error}")),
            };
            match procedure.result_checker.validate(&answer) {
                Ok(()) => Ok(Ok(answer)),
                Err(error) => wrong(format!(
                    "{name} {shown} answers what its result schema does not allow: {error}"
                )),
            }
        }
        Err(why) => match room.dump()? == before {
            true => Ok(Err(why)),
            false => wrong(format!("{name} {shown} failed ({why}) and left something behind")),
        },
    }
}

fn samples(kit: &Kit, tally: &mut Tally) -> Finding {
    let samples = &kit.options.samples.calls;
    if samples.is_empty() {
        return skipped("there are none; a file of samples would say which calls it must answer");
    }
    let room = Room::furnished(kit)?;
    let procedures = procedures(kit, &room)?;
    for sample in samples {
        let found = procedures.iter().find(|procedure| procedure.info.name == sample.procedure);
        let Some(procedure) = found else {
            return wrong(format!("there is no procedure '{}'", sample.procedure));
        };
        let name = &procedure.full_name;
        match (call(&room, procedure, &sample.args, tally)?, &sample.answer) {
            (Ok(answer), Some(wanted)) if answer != *wanted => {
                return wrong(format!("{name} {} answers {answer}, not {wanted}", sample.args));
            }
            (Ok(_), _) => {}
            (Err(why), _) => return wrong(format!("{name} {}: {why}", sample.args)),
        }
    }
    room.close()
}

fn arguments(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = Room::furnished(kit)?;
    let mut rng = kit.rng();
    let mut refusal = String::new();
    for procedure in procedures(kit, &room)? {
        for _ in 0..kit.times(CALLS) {
            let args = instance(&procedure.args, &procedure.args, &mut rng, 0);
            if !procedure.args_checker.is_valid(&args) {
                tally.count("not made up", 1);
                continue;
            }
            if let Err(why) = call(&room, &procedure, &args, tally)? {
                refusal = why;
            }
        }
        room.gather();
    }
    room.close()?;
    if tally.of("answered") == 0 {
        return skipped(format!(
            "every call was refused, such as: {refusal}; samples of tables and calls would tell more"
        ));
    }
    if !refusal.is_empty() {
        tally.note(format!("it refuses, such as: {refusal}"));
    }
    Ok(())
}

/// Arguments of no schema.
fn junk(rng: &mut Rng) -> Vec<Json> {
    let mut deep = Json::Null;
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let mut many = Map::new();
    for number in 0..2_000 {
        many.insert(format!("key{number}"), json!(number));
    }
    let mut all = vec![
        Json::Null,
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("\u{0}\u{10ffff}"),
        json!("x".repeat(100_000)),
        json!([]),
        json!({}),
        json!([{}, [], null]),
        json!({ "": null }),
        deep,
        Json::Object(many),
    ];
    all.extend((0..10).map(|_| anything(rng, 0)));
    all
}

/// Any JSON.
fn anything(rng: &mut Rng, depth: usize) -> Json {
    match rng.u8(..if depth < DEPTH_MAX { 8 } else { 5 }) {
        0 => Json::Null,
        1 => json!(rng.bool()),
        2 => json!(hurtful::int(rng)),
        3 => json!(rng.f64() * 1e9),
        4 => json!(hurtful::text(rng)),
        5 => (0..rng.usize(..4)).map(|_| anything(rng, depth + 1)).collect(),
        _ => {
            let entry = |rng: &mut Rng| (hurtful::text(rng), anything(rng, depth + 1));
            Json::Object((0..rng.usize(..4)).map(|_| entry(rng)).collect())
        }
    }
}

fn hostile(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = Room::furnished(kit)?;
    let mut rng = kit.rng();
    for procedure in procedures(kit, &room)? {
        let mut all = junk(&mut rng);
        // Almost right: one value of another type, one that is missing, one too many.
        for _ in 0..kit.times(10) {
            let mut args = instance(&procedure.args, &procedure.args, &mut rng, 0);
            spoil(&mut args, &mut rng);
            all.push(args);
        }
        for args in all {
            let is_allowed = procedure.args_checker.is_valid(&args);
            if call(&room, &procedure, &args, tally)?.is_ok() && !is_allowed {
                let (name, args) = (&procedure.full_name, args.to_string());
                return wrong(format!(
                    "{name} answers {}, which its own schema does not allow",
                    &args[..args.floor_char_boundary(200)]
                ));
            }
        }
        room.gather();
    }
    room.close()
}

/// Changes one thing about some arguments.
fn spoil(args: &mut Json, rng: &mut Rng) {
    let Json::Object(object) = args else {
        *args = anything(rng, DEPTH_MAX - 1);
        return;
    };
    let keys: Vec<String> = object.keys().cloned().collect();
    match (rng.u8(..3), keys.is_empty()) {
        (0, false) => drop(object.remove(&keys[rng.usize(..keys.len())])),
        (1, false) => {
            object.insert(keys[rng.usize(..keys.len())].clone(), anything(rng, DEPTH_MAX - 1));
        }
        _ => drop(object.insert("nobody-asked-for-this".to_owned(), json!(1))),
    }
}

fn read_only(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = Room::furnished(kit)?;
    let mut rng = kit.rng();
    let mut all = procedures(kit, &room)?;
    all.retain(|procedure| procedure.info.read_only);
    if all.is_empty() {
        room.close()?;
        return skipped("none of its procedures says so");
    }
    for procedure in &all {
        let samples = kit.options.samples.calls.iter();
        let samples = samples.filter(|sample| sample.procedure == procedure.info.name);
        let made_up =
            (0..kit.times(CALLS)).map(|_| instance(&procedure.args, &procedure.args, &mut rng, 0));
        let args: Vec<Json> = samples.map(|sample| sample.args.clone()).chain(made_up).collect();
        let before = (room.dump()?, writes(kit, room.db()));
        for args in &args {
            let _ = call(&room, procedure, args, tally)?;
        }
        if (room.dump()?, writes(kit, room.db())) != before {
            return wrong(format!(
                "'{}' says that it only reads, and tries to write",
                procedure.full_name
            ));
        }
        tally.count("procedures", 1);
    }
    room.close()
}

/// How often the plugin has tried to write, as far as that is remembered.
fn writes(kit: &Kit, db: &Database) -> usize {
    let of = |function: &str| {
        let filter = AuditFilter {
            plugin: Some(kit.name().to_owned()),
            kind: Some(AuditKind::Import),
            function: Some(function.to_owned()),
            ..AuditFilter::default()
        };
        db.audit().recent(&filter, usize::MAX).len()
    };
    WRITES.into_iter().map(of).sum()
}

/// Answers, or why there are none, and what is there in the end.
type Told = (Vec<Result<Json, String>>, Dump);

/// What the same calls answer and leave behind; with fresh instances now and then.
fn told(kit: &Kit, is_fresh: bool) -> Finding<Told> {
    let room = Room::furnished(kit)?;
    let mut rng = kit.rng();
    let (mut told, mut tally) = (Vec::new(), Tally::default());
    let procedures = procedures(kit, &room)?;
    for sample in &kit.options.samples.calls {
        if let Some(procedure) =
            procedures.iter().find(|procedure| procedure.info.name == sample.procedure)
        {
            told.push(call(&room, procedure, &sample.args, &mut tally)?);
        }
    }
    for (number, procedure) in procedures.iter().cycle().take(kit.times(CALLS)).enumerate() {
        let args = instance(&procedure.args, &procedure.args, &mut rng, 0);
        told.push(call(&room, procedure, &args, &mut tally)?);
        if is_fresh && number % 7 == 3 {
            room.reload()?;
        }
    }
    let dump = room.dump()?;
    room.close()?;
    Ok((told, dump))
}

/// The first difference in words.
fn differs(how: &str, one: &Told, other: &Told) -> String {
    let first = one.0.iter().zip(&other.0).position(|(one, other)| one != other);
    match first {
        Some(at) => {
            format!("call {at}, {how}, ended with {:?}, then with {:?}", one.0[at], other.0[at])
        }
        None => format!("the same calls, {how}, left other rows behind"),
    }
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let (first, second, fresh) = (told(kit, false)?, told(kit, false)?, told(kit, true)?);
    tally.count("calls", first.0.len() as u64);
    if first != second {
        return wrong(differs("made twice from the beginning", &first, &second));
    }
    match first == fresh {
        true => Ok(()),
        false => wrong(differs("with fresh instances now and then", &first, &fresh)),
    }
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = Room::furnished(kit)?;
    let procedures = procedures(kit, &room)?;
    let Some(last) = procedures.len().checked_sub(1) else { return wrong("it has no procedures") };
    let (names, schemas): (Vec<_>, Vec<_>) =
        procedures.iter().map(|one| (one.full_name.clone(), one.args.clone())).unzip();
    reload(kit, &room, tally, &|db, round| -> KernelResult<()> {
        let at = round as usize % (last + 1);
        let args = instance(&schemas[at], &schemas[at], &mut Rng::with_seed(round), 0);
        db.call(&names[at], &args.to_string()).map(drop)
    })
    .and_then(|()| room.close())
}

/// A value that `schema`, a part of `root`, allows, as far as its usual words are understood.
pub(super) fn instance(schema: &Json, root: &Json, rng: &mut Rng, depth: usize) -> Json {
    let Json::Object(words) = schema else { return anything(rng, DEPTH_MAX - 2) };
    if let Some(value) = words.get("const") {
        return value.clone();
    }
    for list in ["enum", "examples"] {
        if let Some(choices) =
            words.get(list).and_then(Json::as_array).filter(|all| !all.is_empty())
        {
            return choices[rng.usize(..choices.len())].clone();
        }
    }
    if let Some(target) = words.get("$ref").and_then(Json::as_str)
        && depth < 4 * DEPTH_MAX
        && let Some(target) = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        return instance(target, root, rng, depth + 1);
    }
    for list in ["anyOf", "oneOf"] {
        if let Some(choices) =
            words.get(list).and_then(Json::as_array).filter(|all| !all.is_empty())
        {
            // The last is as a rule the simplest, such as null.
            let at = if DEPTH_MAX < depth { choices.len() - 1 } else { rng.usize(..choices.len()) };
            return instance(&choices[at], root, rng, depth + 1);
        }
    }
    if let Some(all) = words.get("allOf").and_then(Json::as_array) {
        let mut merged = words.clone();
        merged.remove("allOf");
        for part in all.iter().filter_map(Json::as_object) {
            part.iter().for_each(|(word, value)| merge(&mut merged, word, value));
        }
        return instance(&Json::Object(merged), root, rng, depth + 1);
    }
    let kind = match words.get("type") {
        Some(Json::String(kind)) => kind.as_str(),
        Some(Json::Array(kinds)) if !kinds.is_empty() => {
            kinds[rng.usize(..kinds.len())].as_str().unwrap_or_default()
        }
        _ if words.contains_key("properties") || words.contains_key("required") => "object",
        _ if words.contains_key("items") => "array",
        _ => "",
    };
    match kind {
        "null" => Json::Null,
        "boolean" => json!(rng.bool()),
        "integer" => integer(words, rng),
        "number" => number(words, rng),
        "string" => string(words, rng),
        "array" => array(words, root, rng, depth),
        "object" => object(words, root, rng, depth),
        _ => anything(rng, DEPTH_MAX - 2),
    }
}

fn merge(into: &mut Map<String, Json>, word: &str, value: &Json) {
    match (into.get_mut(word), value) {
        (Some(Json::Object(there)), Json::Object(more)) => there.extend(more.clone()),
        (Some(Json::Array(there)), Json::Array(more)) => there.extend(more.iter().cloned()),
        _ => drop(into.insert(word.to_owned(), value.clone())),
    }
}

fn bound(words: &Map<String, Json>, word: &str) -> Option<f64> {
    words.get(word).and_then(Json::as_f64)
}

fn integer(words: &Map<String, Json>, rng: &mut Rng) -> Json {
    // Floats are exact enough for bounds that people write.
    let least =
        bound(words, "minimum").or(bound(words, "exclusiveMinimum").map(|least| least + 1.0));
    let most = bound(words, "maximum").or(bound(words, "exclusiveMaximum").map(|most| most - 1.0));
    let (least, most) = match (least, most) {
        (Some(least), Some(most)) => (least.ceil() as i64, most.floor() as i64),
        (Some(least), None) => (least.ceil() as i64, (least.ceil() as i64).saturating_add(100)),
        (None, Some(most)) => ((most.floor() as i64).saturating_sub(100), most.floor() as i64),
        (None, None) => return json!(hurtful::int(rng)),
    };
    let step = bound(words, "multipleOf").map_or(1, |step| (step as i64).max(1));
    match rng.u8(..4) {
        0 => json!(least),
        1 => json!(most),
        _ if least < most => json!(rng.i64(least..=most) / step * step),
        _ => json!(least),
    }
}

fn number(words: &Map<String, Json>, rng: &mut Rng) -> Json {
    let least = bound(words, "minimum").or(bound(words, "exclusiveMinimum"));
    let most = bound(words, "maximum").or(bound(words, "exclusiveMaximum"));
    let least = least.unwrap_or_else(|| most.map_or(-1e6, |most| most - 1e3));
    let most = most.unwrap_or(least + 1e6);
    json!(least + (most - least) * rng.f64().clamp(0.001, 0.999))
}

fn string(words: &Map<String, Json>, rng: &mut Rng) -> Json {
    let least = bound(words, "minLength").unwrap_or(0.0) as usize;
    let most = bound(words, "maxLength").map(|most| most as usize);
    let text = match words.get("format").and_then(Json::as_str) {
        Some("date-time") => "2026-01-31T12:00:00Z".to_owned(),
        Some("date") => "2026-01-31".to_owned(),
        Some("time") => "12:00:00Z".to_owned(),
        Some("email") => "ada@example.org".to_owned(),
        Some("uri") => "https://example.org/a".to_owned(),
        Some("uuid") => "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned(),
        _ => hurtful::text(rng),
    };
    let mut text: Vec<char> = text.chars().collect();
    while text.len() < least {
        text.push('a');
    }
    json!(text.into_iter().take(most.unwrap_or(usize::MAX)).collect::<String>())
}

fn array(words: &Map<String, Json>, root: &Json, rng: &mut Rng, depth: usize) -> Json {
    let least = bound(words, "minItems").unwrap_or(0.0) as usize;
    let most = bound(words, "maxItems").map_or(least + 4, |most| most as usize).min(least + 1_000);
    let count = if DEPTH_MAX < depth { least } else { rng.usize(least..=most.max(least)) };
    let anything = Json::Bool(true);
    let item = words.get("items").unwrap_or(&anything);
    (0..count).map(|_| instance(item, root, rng, depth + 1)).collect()
}

fn object(words: &Map<String, Json>, root: &Json, rng: &mut Rng, depth: usize) -> Json {
    let required: Vec<&str> = match words.get("required").and_then(Json::as_array) {
        Some(required) => required.iter().filter_map(Json::as_str).collect(),
        None => Vec::new(),
    };
    let mut object = Map::new();
    if let Some(properties) = words.get("properties").and_then(Json::as_object) {
        for (name, schema) in properties {
            let is_wanted = required.contains(&name.as_str()) || (depth <= DEPTH_MAX && rng.bool());
            if is_wanted {
                object.insert(name.clone(), instance(schema, root, rng, depth + 1));
            }
        }
    }
    for name in required {
        if !object.contains_key(name) {
            object.insert(name.to_owned(), anything(rng, DEPTH_MAX - 1));
        }
    }
    Json::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_fits_its_schema() {
        let schemas = [
            json!({}),
            json!({ "type": "integer", "minimum": 3, "maximum": 9 }),
            json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }),
            json!({ "type": "string", "minLength": 2, "maxLength": 5 }),
            json!({ "enum": ["a", 7, null] }),
            json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 3 }),
            json!({ "type": ["null", "integer"] }),
            json!({ "anyOf": [{ "type": "string" }, { "const": 7 }] }),
            json!({
                "type": "object", "required": ["from", "amount"], "additionalProperties": false,
                "properties": {
                    "from": { "$ref": "#/$defs/name" },
                    "amount": { "type": "integer", "minimum": 1 },
                    "note": { "type": "string" },
                },
                "$defs": { "name": { "type": "string", "minLength": 1 } },
            }),
            json!({
                "allOf": [
                    { "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } },
                    { "required": ["b"], "properties": { "b": { "type": "null" } } },
                ],
            }),
        ];
        let mut rng = Rng::with_seed(3);
        for schema in schemas {
            let checker = jsonschema::validator_for(&schema).unwrap();
            for _ in 0..50 {
                let made = instance(&schema, &schema, &mut rng, 0);
                assert!(checker.is_valid(&made), "{schema} does not allow {made}");
            }
        }
    }

    #[test]
    fn a_schema_without_an_end_is_no_trouble() {
        let schema = json!({
            "$ref": "#/$defs/tree",
            "$defs": { "tree": {
                "type": "object", "required": ["next"],
                "properties": { "next": { "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] } },
            } },
        });
        let checker = jsonschema::validator_for(&schema).unwrap();
        let mut rng = Rng::with_seed(3);
        for _ in 0..50 {
            assert!(checker.is_valid(&instance(&schema, &schema, &mut rng, 0)));
        }
        let endless = json!({ "$ref": "#" });
        instance(&endless, &endless, &mut rng, 0);
    }
}
