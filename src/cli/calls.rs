//! `call`: procedures of plugins, by name.

use super::args::Call;
use super::failure::{Failure, Outcome};
use super::{Access, Session};
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};
use sochdb::ProcedureInfo;
use std::fmt::Display;
use std::io::Read;

/// Calls a procedure and prints what it answers, or lists all of them.
pub fn call(session: &mut Session, args: &Call) -> Outcome {
    let Some(name) = &args.name else { return list(session) };
    let text = match args.args.as_str() {
        "-" if session.database.is_some() => return Err(no_input()),
        "-" => input()?,
        text => text.to_owned(),
    };
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
        return Err(no_json(error));
    }
    let db = session.open(Access::Write)?;
    let answer = db.call(name, &text);
    db.close()?;
    session.screen.line(answer?)
}

/// All of standard input.
fn input() -> Outcome<String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| Failure::io("standard input", &error))?;
    String::from_utf8(bytes).map_err(|error| no_json(error.utf8_error()))
}

/// In a shell.
fn no_input() -> Failure {
    Failure::invalid("standard input is where the shell reads its lines")
        .help("write the arguments into the line")
}

fn no_json(error: impl Display) -> Failure {
    Failure::invalid(format!("the arguments are no JSON: {error}"))
        .help("put them in single quotes, such as '{\"id\": 7}'; `-` reads standard input")
}

fn list(session: &mut Session) -> Outcome {
    let db = session.open(Access::Read)?;
    let procedures = db.procedures();
    if session.screen.json {
        let each = procedures.iter().map(|(plugin, info)| {
            let schema = |text: &str| serde_json::from_str::<Json>(text).unwrap_or_default();
            json!({
                "plugin": plugin,
                "name": info.name,
                "description": info.description,
                "args": schema(&info.args_schema),
                "result": schema(&info.result_schema),
                "read_only": info.read_only,
            })
        });
        return session.screen.object(&json!({ "procedures": each.collect::<Vec<_>>() }));
    }
    if procedures.is_empty() && !session.screen.mode().is_for_rows() {
        return session.screen.line(
            "No plugin of this database has procedures. `sochdb plugin install MANIFEST` adds one.",
        );
    }
    let header = ["procedure", "what it does", "writes", "arguments"].map(String::from);
    let row = |(plugin, info): &(String, ProcedureInfo)| {
        let writes = if info.read_only { "no" } else { "yes" };
        [
            format!("{plugin}.{}", info.name),
            info.description.clone(),
            writes.to_owned(),
            info.args_schema.split_whitespace().collect::<Vec<_>>().join(" "),
        ]
    };
    session.screen.table(header, procedures.iter().map(row))
}
