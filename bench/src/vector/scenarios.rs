//! What else happens to an index: filters, inserts while somebody searches, rows replaced again and again.
//!
//! All of it happens in the child. True answers are found by looking at everything, apart for each filter.
//!
//! | filter                | its share of the rows          | related to the vectors |
//! |-----------------------|--------------------------------|------------------------|
//! | `part < n`            | 0.9, 0.5, 0.1, 0.02, 0.005     | no: `part` is the row's number modulo 200 |
//! | `pos = ...`           | whatever each value has        | yes                    |
//! | `lex = ...`           | near 0.1, 0.02 and 0.005       | yes                    |
//!
//! Churn deletes a random tenth of the rows and inserts the same vectors under new keys, so that the true answers stay
//! what they are, and waits until nothing is left to do.

use super::contender::{Ask, Built, Contender};
use super::exact::nearest;
use super::ours::{NewRow, Ours, PARTS};
use super::recall::{K, recall};
use super::set::Set;
use super::{Part, Progress, Run};
use crate::Result;
use crate::meter::quantile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Rows of a transaction in `inserts`.
const SMALL_BATCH: usize = 100;

/// Which rows an answer may have.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Those whose `part` is below.
    Part(i64),
    /// Those of a `pos`.
    Pos(String),
    /// Those of a `lex`.
    Lex(String),
}

impl Filter {
    /// What the tables call it.
    pub fn name(&self) -> String {
        match self {
            Filter::Part(bound) => format!("part < {bound}"),
            Filter::Pos(value) => format!("pos = {value}"),
            Filter::Lex(value) => format!("lex = {value}"),
        }
    }

    /// Whether it takes row `row` of `set`.
    pub fn takes(&self, set: &Set, row: usize) -> bool {
        match self {
            Filter::Part(bound) => (row as i64 % PARTS) < *bound,
            Filter::Pos(value) => set.rows[row].pos == *value,
            Filter::Lex(value) => set.rows[row].lex == *value,
        }
    }

    /// All of the table above.
    pub fn all(set: &Set) -> Vec<Filter> {
        let shares = [0.9, 0.5, 0.1, 0.02, 0.005];
        let part = |share: f64| Filter::Part((share * PARTS as f64).round() as i64);
        let mut all: Vec<Filter> = shares.map(part).into();
        let count = |value: fn(&super::set::Attributes) -> &String| {
            let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
            set.rows.iter().for_each(|row| *counts.entry(value(row)).or_default() += 1);
            let mut counts: Vec<(&String, usize)> = counts.into_iter().collect();
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            counts
        };
        let pos = count(|row| &row.pos);
        all.extend(pos.into_iter().take(4).map(|(value, _)| Filter::Pos(value.clone())));
        let lex = count(|row| &row.lex);
        let mut taken: Vec<&String> = Vec::new();
        for share in [0.1, 0.02, 0.005] {
            let wanted = (share * set.base.len() as f64) as usize;
            let free = lex.iter().filter(|(value, _)| !taken.contains(value));
            taken.extend(free.min_by_key(|(_, count)| count.abs_diff(wanted)).map(|found| found.0));
        }
        all.extend(taken.into_iter().map(|value| Filter::Lex(value.clone())));
        all
    }
}

/// What one of our indexes did.
#[derive(Debug, Serialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// By filter.
    pub filters: Vec<Filtered>,
    /// Inserts while somebody searched.
    pub inserts: Option<Inserted>,
    /// By cycle, beginning with the fresh index.
    pub churn: Vec<Cycle>,
}

/// Searches through one filter.
#[derive(Debug, Serialize, Deserialize)]
pub struct Filtered {
    /// The filter.
    pub filter: String,
    /// The share of rows that it takes.
    pub share: f64,
    /// The share found of what there is to find.
    pub recall: f64,
    /// Answers with fewer rows than there are, at most ten.
    pub short: usize,
    /// Queries a second, one thread.
    pub rate: f64,
    /// Microseconds of a query: the middle.
    pub p50_us: f64,
    /// The slowest of a hundred.
    pub p99_us: f64,
}

/// Inserts while somebody searched.
#[derive(Debug, Serialize, Deserialize)]
pub struct Inserted {
    /// Rows inserted.
    pub rows: usize,
    /// Rows a second until the last was committed.
    pub rate: f64,
    /// Rows a second until nothing was left to do.
    pub settled_rate: f64,
    /// Searches a second meanwhile, one thread.
    pub searches: f64,
    /// Microseconds of a search meanwhile: the middle.
    pub p50_us: f64,
    /// The slowest of a hundred.
    pub p99_us: f64,
    /// The same before anything was inserted.
    pub idle_p50_us: f64,
    /// The same.
    pub idle_p99_us: f64,
    /// The share found of all rows at the end.
    pub recall: f64,
}

/// A tenth of the rows was replaced.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cycle {
    /// How often before, and this time; 0 is the fresh index.
    pub cycle: usize,
    /// Microseconds for each row inserted, until nothing was left to do.
    pub us_per_row: f64,
    /// The share found.
    pub recall: f64,
    /// Queries a second, one thread.
    pub rate: f64,
    /// Bytes of the index.
    pub bytes: f64,
}

/// Measures what the settings ask for, of all indexes of ours.
///
/// # Errors
/// When a child fails.
pub fn measure(run: &Run<'_>) -> Result<Vec<Scenario>> {
    let settings = run.settings;
    let parts = [Part::Filters, Part::Inserts, Part::Churn];
    let parts: Vec<Part> = parts.into_iter().filter(|part| settings.shows(*part)).collect();
    let ours = settings.ours();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let progress = Progress::new((ours.len() * parts.len()) as u64);
    ours.iter().map(|contender| one(run, contender, &parts, &progress)).collect()
}

fn one(
    run: &Run<'_>,
    contender: &Contender,
    parts: &[Part],
    progress: &Progress,
) -> Result<Scenario> {
    let (name, effort) = (contender.name(), run.settings.effort);
    let (filters, churn) = (Vec::new(), Vec::new());
    let mut scenario = Scenario { name: name.clone(), filters, inserts: None, churn };
    for part in parts {
        progress.say(format!("{part:?}: {name}").to_lowercase());
        let folder = run.fresh()?;
        let started = run.start(contender, folder.path())?;
        let (mut process, _) = started.ok_or("this program is gone")?;
        match part {
            Part::Curves => unreachable!("it is no scenario"),
            Part::Filters => {
                let _: Built = process.ask(&Ask::Build { threads: run.threads })?;
                scenario.filters = process.ask(&Ask::Filters { effort })?;
            }
            Part::Inserts => scenario.inserts = Some(process.ask(&Ask::Inserts { effort })?),
            Part::Churn => {
                let cycles = run.settings.cycles;
                scenario.churn = process.ask(&Ask::Churn { effort, cycles })?;
            }
        }
        process.end()?;
        progress.step();
    }
    Ok(scenario)
}

/// The answers to all queries, one by one, and the microseconds of each.
type Answers = (Vec<Vec<i64>>, Vec<f64>);

fn ask_all(ours: &Ours, set: &Set, effort: usize, filter: Option<&Filter>) -> Result<Answers> {
    let search = ours.searching(effort, filter)?;
    search.ids(set.queries.row(0))?;
    let (mut found, mut micros) = (Vec::new(), Vec::new());
    for query in set.queries.rows() {
        let start = Instant::now();
        let ids = search.ids(query)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        found.push(ids.into_iter().map(|id| id % set.base.len() as i64).collect());
    }
    Ok((found, micros))
}

fn rate(micros: &[f64]) -> f64 {
    micros.len() as f64 / micros.iter().sum::<f64>() * 1e6
}

/// Searches `ours`, which holds the set, through every filter.
///
/// # Errors
/// What the database says, and when an answer has a row that the filter does not take.
pub fn filters(ours: &Ours, set: &Set, effort: usize, threads: usize) -> Result<Vec<Filtered>> {
    let mut done = Vec::new();
    for filter in Filter::all(set) {
        let takes = |row: usize| filter.takes(set, row);
        let visible = (0..set.base.len()).filter(|row| takes(*row)).count();
        if visible == 0 {
            continue;
        }
        let exact = nearest(&set.base, &set.queries, K, threads, takes)?;
        let (found, mut micros) = ask_all(ours, set, effort, Some(&filter))?;
        if found.iter().flatten().any(|row| !takes(*row as usize)) {
            return Err(format!("a row was found that is not {}", filter.name()).into());
        }
        done.push(Filtered {
            filter: filter.name(),
            share: visible as f64 / set.base.len() as f64,
            recall: recall(set, &exact, &found)?.all,
            short: found.iter().filter(|found| found.len() < K.min(visible)).count(),
            rate: rate(&micros),
            p50_us: quantile(&mut micros, 0.5),
            p99_us: quantile(&mut micros, 0.99),
        });
    }
    Ok(done)
}

/// Fills `ours` with half of the set, then inserts the other half while a thread searches.
///
/// # Errors
/// What the database says, and when an answer is short.
pub fn inserts(ours: &Ours, set: &Set, effort: usize) -> Result<Inserted> {
    let rows: Vec<NewRow<'_>> = (0..set.base.len()).map(|row| NewRow::of(set, row, 0)).collect();
    let (before, after) = rows.split_at(rows.len() / 2);
    ours.insert_all(before)?;
    ours.settle()?;
    let (_, mut idle) = ask_all(ours, set, effort, None)?;
    let is_done = AtomicBool::new(false);
    let (written, searched) = std::thread::scope(|scope| {
        let searcher = scope.spawn(|| -> Result<(f64, Vec<f64>)> {
            let (start, mut micros) = (Instant::now(), Vec::new());
            let search = ours.searching(effort, None)?;
            for query in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                let asked = Instant::now();
                let found = search.ids(set.queries.row(query % set.queries.len()))?;
                micros.push(asked.elapsed().as_secs_f64() * 1e6);
                if found.len() < K.min(before.len()) {
                    return Err(format!("an answer has only {} rows", found.len()).into());
                }
            }
            Ok((start.elapsed().as_secs_f64(), micros))
        });
        let write = || -> Result<(f64, f64)> {
            let start = Instant::now();
            after.chunks(SMALL_BATCH).try_for_each(|batch| ours.insert(batch))?;
            let committed = start.elapsed().as_secs_f64();
            ours.settle()?;
            Ok((committed, start.elapsed().as_secs_f64()))
        };
        let written = write();
        is_done.store(true, Ordering::Relaxed);
        (written, searcher.join().expect("no thread panics"))
    });
    let ((committed, settled), (searching, mut micros)) = (written?, searched?);
    let (found, _) = ask_all(ours, set, effort, None)?;
    Ok(Inserted {
        rows: after.len(),
        rate: after.len() as f64 / committed,
        settled_rate: after.len() as f64 / settled,
        searches: micros.len() as f64 / searching,
        p50_us: quantile(&mut micros, 0.5),
        p99_us: quantile(&mut micros, 0.99),
        idle_p50_us: quantile(&mut idle, 0.5),
        idle_p99_us: quantile(&mut idle, 0.99),
        recall: recall(set, &set.exact, &found)?.all,
    })
}

/// Fills `ours` with the set, then replaces a tenth of the rows `cycles` times.
///
/// # Errors
/// What the database says.
pub fn churn(
    ours: &Ours,
    set: &Set,
    effort: usize,
    cycles: usize,
    seed: u64,
) -> Result<Vec<Cycle>> {
    let count = set.base.len();
    // A row's key tells how often it was replaced: all keys are different, and the row is the rest.
    let mut generations = vec![0u32; count];
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut done = Vec::new();
    for cycle in 0..=cycles {
        let tenth = if cycle == 0 { count } else { count.div_ceil(10) };
        let rows = rng.choose_multiple(0..count, tenth);
        let start = Instant::now();
        if cycle != 0 {
            let old = rows.iter().map(|row| NewRow::of(set, *row, generations[*row]).id);
            ours.delete_all(&old.collect::<Vec<_>>())?;
            rows.iter().for_each(|row| generations[*row] += 1);
        }
        let new = rows.iter().map(|row| NewRow::of(set, *row, generations[*row]));
        ours.insert_all(&new.collect::<Vec<_>>())?;
        ours.settle()?;
        let us_per_row = start.elapsed().as_secs_f64() * 1e6 / tenth as f64;
        let (found, micros) = ask_all(ours, set, effort, None)?;
        let recall = recall(set, &set.exact, &found)?.all;
        let (rate, bytes) = (rate(&micros), ours.index_bytes()?);
        done.push(Cycle { cycle, us_per_row, recall, rate, bytes });
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Mixture;
    use super::*;

    #[test]
    fn filters_have_the_shares_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = Mixture { rows: 10_000, dim: 8, queries: 4, seed: 1 };
        let set = Set::read(&Set::synthetic(dir.path(), &mixture, 2).unwrap()).unwrap();
        let all = Filter::all(&set);
        let share = |filter: &Filter| {
            (0..set.base.len()).filter(|row| filter.takes(&set, *row)).count() as f64 / 1e4
        };
        let parts: Vec<f64> = all[..5].iter().map(share).collect();
        assert_eq!(parts, [0.9, 0.5, 0.1, 0.02, 0.005]);
        let pos: f64 = all[5..9].iter().map(share).sum();
        assert!((pos - 1.0).abs() < 1e-9, "the four values of pos have all rows: {pos}");
        for (filter, wanted) in all[9..].iter().zip([0.1, 0.02, 0.005]) {
            let share = share(filter);
            assert!((0.5..2.0).contains(&(share / wanted)), "{}: {share}", filter.name());
        }
        assert_eq!(all.len(), 12);
    }
}
