//! `plugin install`, `remove`, `disable`, `enable` and `history`: what a database keeps, and what became of it.

use super::args::{PluginHistory, PluginInstall};
use super::failure::{Exit, Failure, Outcome};
use super::package::Placed;
use super::screen::{Screen, micros_text};
use super::{Access, Opened, Session, plugins};
use serde_json::json;
use sochdb::host::bundled;
use sochdb::reload::{self, History, Record, Rules, Step, VersionId};
use sochdb::{ReloadOptions, ReloadReport};
use std::time::Duration;

/// Hexadecimal digits of a hash that tell two components of one version apart.
const HASH_DIGITS: usize = 8;

/// Tests the plugin and lets the database keep it, in the place of the version that it has.
pub fn install(session: &mut Session, args: &PluginInstall) -> Outcome {
    let PluginInstall { manifest, widen, one_way } = args;
    let placed = Placed::open(manifest)?;
    // First without the database, which is not made for a plugin that does not work.
    let host = plugins::host(session)?;
    let name = placed.load(&host)?;
    // Nobody calls it here, so there is nothing to watch it by; what it must show before stays.
    let usual = host.policy().reload_rules(&name);
    let rules = Rules { probation: Duration::ZERO, steps: Vec::new(), ..usual };
    drop(host);
    let options = ReloadOptions {
        widen: *widen,
        one_way: *one_way,
        rules: Some(rules),
        ..ReloadOptions::default()
    };
    let db = session.open(Access::Create)?;
    let report =
        db.reload_plugin(placed.manifest(), &options).map_err(|e| placed.named(e.into()))?;
    let kept = db.kept_plugins()?.into_iter().find(|plugin| plugin.name == name);
    db.close()?;
    let blake3 = kept.map(|plugin| plugin.blake3).unwrap_or_default();
    installed(&mut session.screen, &report, &blake3)
}

fn installed(screen: &mut Screen, report: &ReloadReport, blake3: &str) -> Outcome {
    let ReloadReport { plugin: name, record, trial, .. } = report;
    let is_new = record.outcome == reload::Outcome::Added;
    let is_same = !is_new && !record.steps.iter().any(|step| step.state == reload::State::Canary);
    if screen.json {
        let replaced = record.from.as_ref().filter(|_| !is_same);
        let version = record.to.as_ref().map(|to| &to.version);
        return screen.object(&json!({
            "installed": name,
            "version": version,
            "blake3": blake3,
            "replaced": replaced,
            "trial": replaced.map(|_| trial),
            "changed": !is_same,
        }));
    }
    let (Some(from), Some(to)) = (&record.from, &record.to) else {
        return screen.line(format!("installed '{name}', blake3 {blake3}"));
    };
    if is_same {
        return screen
            .line(format!("'{name}' {to} is what is there already", to = short(to, None)));
    }
    let (before, after) = (short(from, Some(to)), short(to, Some(from)));
    screen.line(format!("installed '{name}', version {before} to {after}, blake3 {blake3}"))?;
    screen.line(format!("it was tried first: {}", trial.summary()))
}

/// Lets the database keep the plugin no longer. Works also when the plugin itself does not.
pub fn remove(session: &mut Session, name: &str) -> Outcome {
    let db = without_kept(session)?;
    db.remove_plugin(name)?;
    db.close()?;
    if session.screen.json {
        return session.screen.object(&json!({ "removed": name }));
    }
    let rest = match bundled::find(name) {
        Some(_) => "; the one that is part of this program is in its place",
        None => "",
    };
    session.screen.line(format!("removed '{name}'{rest}"))
}

/// Takes the plugin out of service. Works also when the plugin itself does not.
pub fn disable(session: &mut Session, name: &str) -> Outcome {
    let db = without_kept(session)?;
    db.disable_plugin(name)?;
    db.close()?;
    if session.screen.json {
        return session.screen.object(&json!({ "disabled": name }));
    }
    session.screen.line(format!("disabled '{name}'; `sochdb plugin enable {name}` undoes it"))
}

/// Puts the plugin back into service.
pub fn enable(session: &mut Session, name: &str) -> Outcome {
    let db = without_kept(session)?;
    let was_disabled = db.enable_plugin(name)?;
    db.close()?;
    if !was_disabled {
        let text = format!("the plugin '{name}' is not disabled");
        let help = "`sochdb plugin list --why` shows which are";
        return Err(Failure::new(Exit::NotFound, text).help(help));
    }
    if session.screen.json {
        return session.screen.object(&json!({ "enabled": name }));
    }
    session.screen.line(format!("enabled '{name}'"))
}

/// The database, without a plugin that it keeps and that may not work.
fn without_kept(session: &Session) -> Outcome<Opened> {
    let builder = session.common.builder(Access::Write)?.kept_plugins(false).watch_plugins(false);
    session.open_with(builder)
}

/// What became of plugins, the newest first.
pub fn history(session: &mut Session, args: &PluginHistory) -> Outcome {
    let kernel = session.kernel()?;
    let history = History::new();
    let loaded = history.load(&kernel);
    kernel.close()?;
    loaded?;
    let records = history.list(args.name.as_deref()).into_iter();
    // Nobody has the database open beside this program.
    let mut records: Vec<_> = records.map(Record::left_behind).collect();
    records.truncate(args.limit);
    let screen = &mut session.screen;
    if screen.json {
        return records.iter().try_for_each(|record| screen.object(record));
    }
    if records.is_empty() {
        return screen.line(match &args.name {
            Some(name) => format!("nothing has become of a plugin '{name}' here"),
            None => "nothing has become of any plugin here".to_owned(),
        });
    }
    if !args.steps {
        let header = ["when", "plugin", "from", "to", "asked by", "outcome", "reason"];
        return screen.table(header.map(String::from), records.iter().map(row));
    }
    records.iter().try_for_each(|record| with_steps(screen, record))
}

fn row(record: &Record) -> [String; 7] {
    let Record { from, to, .. } = record;
    let version = |of: &Option<VersionId>, beside: &Option<VersionId>| {
        of.as_ref().map(|of| short(of, beside.as_ref())).unwrap_or_default()
    };
    [
        when(record.began_unix_ms, "%m-%d %H:%M:%S"),
        record.plugin.clone(),
        version(from, to),
        version(to, from),
        record.asked_by.clone(),
        words(record.outcome.name()),
        record.reason.clone(),
    ]
}

/// One record, and below it the states it was in.
fn with_steps(screen: &mut Screen, record: &Record) -> Outcome {
    let [when, plugin, from, to, asked_by, outcome, reason] = row(record);
    let versions = match (from.is_empty(), to.is_empty()) {
        (false, false) => format!(" {from} to {to}"),
        _ => format!(" {from}{to}").trim_end().to_owned(),
    };
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    screen.line(format!("{when}  {plugin}{versions}, asked by {asked_by}: {outcome}{reason}"))?;
    if !record.steps.is_empty() {
        let header = ["state", "began", "lasted", "note"].map(String::from);
        screen.table(header, record.steps.iter().map(step_row))?;
    }
    screen.line("")
}

fn step_row(step: &Step) -> [String; 4] {
    // The last one is where it is still.
    let lasted = if step.took_us == 0 { String::new() } else { micros_text(step.took_us) };
    let began = when(step.unix_ms, "%H:%M:%S%.3f");
    [format!("  {}", words(step.state.name())), began, lasted, step.note.clone()]
}

/// `rolled_back` as people say it.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A version, with its hash where `beside` is another component of the same version.
fn short(version: &VersionId, beside: Option<&VersionId>) -> String {
    let VersionId { version, blake3 } = version;
    match beside.is_some_and(|beside| beside.version == *version && beside.blake3 != *blake3) {
        true => format!("{version} ({})", blake3.get(..HASH_DIGITS).unwrap_or(blake3)),
        false => version.clone(),
    }
}

fn when(unix_ms: u64, format: &str) -> String {
    let when =
        i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    when.map_or_else(|| unix_ms.to_string(), |when| when.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: &str, blake3: &str) -> VersionId {
        VersionId { version: version.into(), blake3: blake3.into() }
    }

    #[test]
    fn two_components_of_one_version_are_told_apart_by_their_hashes() {
        let (old, new) = (version("1.0.0", "0123456789ab"), version("1.0.0", "ba9876543210"));
        assert_eq!(short(&old, Some(&new)), "1.0.0 (01234567)");
        assert_eq!(short(&old, Some(&version("1.1.0", "ba98"))), "1.0.0");
        assert_eq!(short(&old, Some(&old)), "1.0.0");
        assert_eq!(short(&version("1.0.0", "ä"), Some(&new)), "1.0.0 (ä)");
    }

    #[test]
    fn times_that_no_clock_shows_are_shown_as_they_are() {
        assert_eq!(when(0, "%m-%d %H:%M:%S"), "01-01 00:00:00");
        assert_eq!(when(u64::MAX, "%m"), u64::MAX.to_string());
    }
}
