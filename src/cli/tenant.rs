//! `tenant add`, `list`, `quota`, `usage` and `remove`: tenants that the database keeps.

use super::args::{Tenant, TenantQuota};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{bytes_text, thousands};
use super::{Access, Session};
use serde_json::{Value as Json, json};
use sochdb::{Database, Kernel, TenantOptions, TenantUsage};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// The word for no bound, and for no plugins.
const NONE: &str = "none";

/// Runs one `tenant` command.
pub fn tenant(session: &mut Session, command: Tenant) -> Outcome {
    match command {
        Tenant::Add { name, quota } => add(session, &name, &quota),
        Tenant::List => list(session),
        Tenant::Quota { name, quota } => self::quota(session, &name, &quota),
        Tenant::Usage { name } => usage(session, name.as_deref()),
        Tenant::Remove { name } => remove(session, &name),
    }
}

fn add(session: &mut Session, name: &str, quota: &TenantQuota) -> Outcome {
    let options = changed(TenantOptions::default(), quota)?;
    let db = session.open(Access::Create)?;
    if kept(&db, name)?.is_some() {
        return Err(Failure::invalid(format!("tenant '{name}' is kept already"))
            .help(format!("`sochdb tenant quota {name}` shows and changes what it may use")));
    }
    db.keep_tenant(name, options.clone())?;
    db.close()?;
    match session.screen.json {
        true => session.screen.object(&options_json(name, &options)),
        false => session.screen.line(format!("the database keeps tenant '{name}'")),
    }
}

fn list(session: &mut Session) -> Outcome {
    let tenants = session.open(Access::Read)?.tenants_kept()?;
    if session.screen.json {
        let tenants: Vec<_> =
            tenants.iter().map(|(name, options)| options_json(name, options)).collect();
        return session.screen.object(&json!({ "tenants": tenants }));
    }
    if tenants.is_empty() && !session.screen.mode().is_for_rows() {
        return session.screen.line("the database keeps no tenants");
    }
    let header = ["tenant", "fuel per second", "memory", "calls at once", "rows", "plugins"];
    let rows = tenants.iter().map(|(name, options)| {
        let [fuel, memory, calls, storage, plugins] = options_text(options).map(|(_, text)| text);
        [name.clone(), fuel, memory, calls, storage, plugins]
    });
    session.screen.table(header.map(String::from), rows)
}

/// What a tenant may use, changed if anything is said.
fn quota(session: &mut Session, name: &str, quota: &TenantQuota) -> Outcome {
    let is_asked = !is_said(quota);
    let db = session.open(if is_asked { Access::Read } else { Access::Write })?;
    let before = kept(&db, name)?.ok_or_else(|| not_kept(name))?;
    let options = changed(before, quota)?;
    if !is_asked {
        db.keep_tenant(name, options.clone())?;
    }
    db.close()?;
    if session.screen.json {
        return session.screen.object(&options_json(name, &options));
    }
    let named = [("tenant", name.to_owned())];
    session.screen.pairs(named.into_iter().chain(options_text(&options)))
}

fn remove(session: &mut Session, name: &str) -> Outcome {
    let db = session.open(Access::Write)?;
    let was_kept = db.forget_tenant(name)?;
    db.close()?;
    match (was_kept, session.screen.json) {
        (false, _) => Err(not_kept(name)),
        (true, true) => session.screen.object(&json!({ "tenant": name, "removed": true })),
        (true, false) => {
            session.screen.line(format!("removed tenant '{name}'; its tables and rows stay"))
        }
    }
}

/// What a tenant uses: its name, its tables, the bytes of their rows, and its counters.
struct Used {
    name: String,
    tables: usize,
    bytes: u64,
    bytes_max: Option<u64>,
    counted: TenantUsage,
}

fn usage(session: &mut Session, name: Option<&str>) -> Outcome {
    let db = session.open(Access::Read)?;
    let mut used = all_used(&db)?;
    if let Some(name) = name {
        used.retain(|used| used.name == name);
        if used.is_empty() {
            return Err(not_kept(name));
        }
    }
    if session.screen.json {
        let tenants: Vec<_> = used.iter().map(used_json).collect();
        return session.screen.object(&json!({ "tenants": tenants }));
    }
    if used.is_empty() && !session.screen.mode().is_for_rows() {
        return session.screen.line("there are no tenants");
    }
    let header = ["tenant", "tables", "rows", "of", "fuel", "calls", "refused", "memory"];
    let row = |used: &Used| {
        let Used { name, tables, bytes, bytes_max, counted } = used;
        [
            name.clone(),
            thousands(*tables as u64),
            bytes_text(*bytes),
            bytes_max.map_or_else(|| "no bound".to_owned(), bytes_text),
            thousands(counted.fuel),
            thousands(counted.calls),
            thousands(counted.refused),
            bytes_text(counted.memory_bytes),
        ]
    };
    session.screen.table(header.map(String::from), used.iter().map(row))
}

/// Tenants that are kept, and those that have tables.
fn all_used(db: &Database) -> Outcome<Vec<Used>> {
    let kept: BTreeMap<_, _> = db.tenants_kept()?.into_iter().collect();
    let tables = Kernel::begin_read(db)?.tables()?;
    let owners: Vec<_> =
        tables.iter().filter_map(|table| Some(table.name.split_once('/')?.0.to_owned())).collect();
    let names: BTreeSet<_> = kept.keys().chain(&owners).cloned().collect();
    let is_tenant = |name: &String| !name.is_empty() && !name.starts_with("sochdb.");
    let mut all = Vec::new();
    for name in names.into_iter().filter(is_tenant) {
        let tenant = db.tenant(&name)?;
        all.push(Used {
            tables: owners.iter().filter(|owner| **owner == name).count(),
            bytes: tenant.begin_read()?.bytes()?,
            bytes_max: kept.get(&name).and_then(|options| options.storage_bytes_max),
            counted: tenant.usage(),
            name,
        });
    }
    Ok(all)
}

fn used_json(used: &Used) -> Json {
    let Used { name, tables, bytes, bytes_max, counted } = used;
    json!({
        "tenant": name,
        "tables": tables,
        "bytes": bytes,
        "storage_bytes_max": bytes_max,
        "fuel": counted.fuel,
        "calls": counted.calls,
        "refused": counted.refused,
        "memory_bytes": counted.memory_bytes,
        "waited_us": counted.waited_us,
    })
}

fn kept(db: &Database, name: &str) -> Outcome<Option<TenantOptions>> {
    Ok(sochdb::host::kept_tenants::get(db, name)?)
}

fn not_kept(name: &str) -> Failure {
    Failure::new(Exit::NotFound, format!("the database keeps no tenant '{name}'"))
        .help("`sochdb tenant list` shows which it keeps, `sochdb tenant add` makes one")
}

fn is_said(quota: &TenantQuota) -> bool {
    let TenantQuota { fuel_per_second, memory_bytes, calls, storage_bytes, plugins } = quota;
    [fuel_per_second, memory_bytes, calls, storage_bytes].iter().any(|said| said.is_some())
        || !plugins.is_empty()
}

/// `options` with what is said.
fn changed(mut options: TenantOptions, quota: &TenantQuota) -> Outcome<TenantOptions> {
    let TenantQuota { fuel_per_second, memory_bytes, calls, storage_bytes, plugins } = quota;
    set(&mut options.fuel_per_second, fuel_per_second.as_deref(), "--fuel-per-second")?;
    set(&mut options.memory_bytes_max, memory_bytes.as_deref(), "--memory-bytes")?;
    set(&mut options.calls_max, calls.as_deref(), "--calls")?;
    set(&mut options.storage_bytes_max, storage_bytes.as_deref(), "--storage-bytes")?;
    if !plugins.is_empty() {
        options.plugins = plugins.iter().filter(|name| *name != NONE).cloned().collect();
    }
    Ok(options)
}

fn set<T: FromStr>(bound: &mut Option<T>, said: Option<&str>, option: &str) -> Outcome {
    match said {
        None => {}
        Some(NONE) => *bound = None,
        Some(text) => {
            let wrong = |_| {
                Failure::invalid(format!("{option} {text} is no number"))
                    .help(format!("say a whole number, or `{option} none` for no bound"))
            };
            *bound = Some(text.parse().map_err(wrong)?);
        }
    }
    Ok(())
}

fn options_text(options: &TenantOptions) -> [(&'static str, String); 5] {
    let TenantOptions { fuel_per_second, memory_bytes_max, calls_max, storage_bytes_max, plugins } =
        options;
    let bound = |text: Option<String>| text.unwrap_or_else(|| "no bound".to_owned());
    let names = plugins.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    [
        ("fuel per second", bound(fuel_per_second.map(thousands))),
        ("memory", bound(memory_bytes_max.map(bytes_text))),
        ("calls at once", bound(calls_max.map(|calls| thousands(calls.into())))),
        ("rows", bound(storage_bytes_max.map(bytes_text))),
        ("plugins", if names.is_empty() { NONE.to_owned() } else { names }),
    ]
}

fn options_json(name: &str, options: &TenantOptions) -> Json {
    let mut object = json!({ "tenant": name });
    let options = serde_json::to_value(options).expect("options have text keys alone");
    for (key, value) in options.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}
