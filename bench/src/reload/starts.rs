//! From the wish for another version to its first answer, with nobody else at work.
//!
//! A cold code cache has no code of the new version: it is compiled. A warm one has it from another database before,
//! as after a restart, or where many databases get the same version.

use super::worlds::{Subject, World};
use crate::Result;
use crate::meter::median;
use crate::outcome::{Sheet, words};
use crate::report::show;
use serde::Serialize;
use sochdb::reload::State;
use std::path::Path;
use std::time::Instant;

const SUBJECTS: [Subject; 4] = [Subject::Identity, Subject::Lz4, Subject::Hnsw, Subject::Lscs];
/// The states to tell of, in their order.
const STATES: [State; 4] = [State::Preparing, State::Canary, State::Swapping, State::Draining];

/// One plugin with one code cache. Times are medians in milliseconds.
#[derive(Debug, Serialize)]
pub struct Line {
    plugin: &'static str,
    code_cache: &'static str,
    reload_ms: f64,
    preparing_ms: f64,
    trial_ms: f64,
    swapping_ms: f64,
    draining_ms: f64,
    first_call_ms: f64,
    to_first_call_ms: f64,
}

/// One start: the whole reload, its states, the first call, in milliseconds.
type Start = [f64; STATES.len() + 2];

/// Measures each plugin.
pub fn measure(rounds: usize) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for subject in SUBJECTS {
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let folder = tempfile::tempdir()?;
            let cache = folder.path().join("code");
            cold.push(start(subject, &cache)?);
            warm.push(start(subject, &cache)?);
        }
        lines.extend([line(subject, "cold", &cold), line(subject, "warm", &warm)]);
    }
    Ok(lines)
}

/// A new database, whose first version may be compiled or not; then the second one takes over.
fn start(subject: Subject, cache: &Path) -> Result<Start> {
    let world = World::new(subject, cache)?;
    world.read(0)?;
    let began = Instant::now();
    let report = world.reload(1)?;
    let reload = began.elapsed();
    let began = Instant::now();
    if !world.read(1)? {
        return Err(format!("{} answered wrongly", subject.name()).into());
    }
    let first = began.elapsed();
    let mut start = [0.0; STATES.len() + 2];
    start[0] = reload.as_secs_f64() * 1e3;
    for (at, state) in STATES.into_iter().enumerate() {
        let step = report.record.steps.iter().find(|step| step.state == state);
        start[at + 1] = step.map_or(0.0, |step| step.took_us as f64 / 1e3);
    }
    start[STATES.len() + 1] = first.as_secs_f64() * 1e3;
    world.db.close()?;
    Ok(start)
}

fn line(subject: Subject, code_cache: &'static str, starts: &[Start]) -> Line {
    let of = |figure: &dyn Fn(&Start) -> f64| median(starts.iter().map(figure).collect());
    let at = |index: usize| of(&|start| start[index]);
    Line {
        plugin: subject.name(),
        code_cache,
        reload_ms: at(0),
        preparing_ms: at(1),
        trial_ms: at(2),
        swapping_ms: at(3),
        draining_ms: at(4),
        first_call_ms: at(5),
        to_first_call_ms: of(&|start| start[0] + start[5]),
    }
}

/// For people.
pub fn sheet(lines: &[Line]) -> Sheet {
    let head = words([
        "plugin",
        "code cache",
        "to first call, ms",
        "reload",
        "prepared",
        "tried",
        "swapped",
        "drained",
        "first call",
    ]);
    let rows = lines.iter().map(|line| {
        let figures = [
            line.to_first_call_ms,
            line.reload_ms,
            line.preparing_ms,
            line.trial_ms,
            line.swapping_ms,
            line.draining_ms,
            line.first_call_ms,
        ];
        let names = [line.plugin, line.code_cache].map(str::to_owned);
        names.into_iter().chain(figures.map(show)).collect()
    });
    let (name, title) = ("starts".to_owned(), "From the wish to the first answer:".to_owned());
    Sheet { name, title, head, words: 2, rows: rows.collect(), note: String::new() }
}
