//! Recall against queries a second, and what an index costs.
//!
//! Every contender builds in a process that ends when it has built; a round begins with new processes that open what
//! was built. So memory is what a process needs that searches, not what one keeps that built.

use super::contender::{Ask, Batch, Built, Contender, FLAT, Opened, Process, Single};
use super::recall::{Recall, recall};
use super::{Progress, Run};
use crate::Result;
use crate::meter::{median, quantile};
use serde::Serialize;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// What was measured of one contender.
#[derive(Debug, Serialize)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is ours.
    pub is_ours: bool,
    /// What building took, by the number of threads.
    pub built: BTreeMap<usize, Built>,
    /// By round.
    pub rounds: Vec<Round>,
}

/// One round of one contender.
#[derive(Debug, Default, Serialize)]
pub struct Round {
    /// What opening took.
    pub opened: Option<Opened>,
    /// By effort, ascending.
    pub points: Vec<Point>,
}

/// What was measured at one effort.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The length of the candidate list.
    pub effort: usize,
    /// The share found.
    pub recall: Recall,
    /// Queries a second, one thread.
    pub rate: f64,
    /// Queries a second, all cores.
    pub rate_all: f64,
    /// Microseconds of processor time that a query takes, one thread.
    pub cpu_us: f64,
    /// Microseconds of a query, one by one: the middle.
    pub p50_us: f64,
    /// The slowest of a hundred.
    pub p99_us: f64,
    /// Fuel of a query, where somebody counts.
    pub fuel: Option<f64>,
}

impl Curve {
    /// The figure of every round, and their median; `None` when a round has none.
    pub fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.rounds.iter().map(figure).collect();
        figures.filter(|figures| !figures.is_empty()).map(median)
    }

    /// The medians of the rounds, effort by effort.
    pub fn points(&self) -> Vec<Point> {
        let Some(first) = self.rounds.first() else { return Vec::new() };
        let middle = |index: usize, figure: fn(&Point) -> f64| {
            median(self.rounds.iter().map(|round| figure(&round.points[index])).collect())
        };
        let point = |(index, point): (usize, &Point)| Point {
            rate: middle(index, |point| point.rate),
            rate_all: middle(index, |point| point.rate_all),
            cpu_us: middle(index, |point| point.cpu_us),
            p50_us: middle(index, |point| point.p50_us),
            p99_us: middle(index, |point| point.p99_us),
            ..point.clone()
        };
        first.points.iter().enumerate().map(point).collect()
    }
}

/// A contender between its turns.
struct Runner {
    contender: Contender,
    folder: TempDir,
    curve: Curve,
}

/// Measures all contenders.
///
/// # Errors
/// When one fails.
pub fn measure(run: &Run<'_>) -> Result<Vec<Curve>> {
    let settings = run.settings;
    let mut runners = Vec::new();
    for contender in settings.contenders() {
        let folder = run.fresh()?;
        // A process that only says hello: whether the peer is there.
        let Some((process, version)) = run.start(&contender, folder.path())? else { continue };
        process.end()?;
        let (name, is_ours) = (contender.name(), contender.is_ours());
        let (built, rounds) = (BTreeMap::new(), Vec::new());
        let curve = Curve { name, version, is_ours, built, rounds };
        runners.push(Runner { contender, folder, curve });
    }
    let efforts = |runner: &Runner| runner.efforts(run).len();
    let searches: usize = runners.iter().map(efforts).sum::<usize>() * settings.rounds;
    let builds: usize = runners.iter().map(|runner| runner.builds(run).len()).sum();
    let progress = Progress::new((searches + builds) as u64);
    for runner in &mut runners {
        for threads in runner.builds(run) {
            progress.say(format!("build, {threads} threads: {}", runner.curve.name));
            let mut process = runner.start(run)?;
            let built = process.ask(&Ask::Build { threads })?;
            runner.curve.built.insert(threads, built);
            process.end()?;
            progress.step();
        }
    }
    for round in 0..settings.rounds {
        let mut searching = Vec::new();
        for runner in &mut runners {
            let mut process = runner.start(run)?;
            let opened = process.ask(&Ask::Open { effort: settings.effort })?;
            runner.curve.rounds.push(Round { opened: Some(opened), points: Vec::new() });
            searching.push((runner, process));
        }
        for &effort in &settings.efforts {
            for (runner, process) in &mut searching {
                if !runner.efforts(run).contains(&effort) {
                    continue;
                }
                let (name, rounds) = (&runner.curve.name, settings.rounds);
                progress.say(format!("round {} of {rounds}: effort {effort}: {name}", round + 1));
                let point = point(run, process, effort)?;
                let round = runner.curve.rounds.last_mut().expect("it was pushed above");
                round.points.push(point);
                progress.step();
            }
        }
        searching.into_iter().try_for_each(|(_, process)| process.end())?;
    }
    Ok(runners.into_iter().map(|runner| runner.curve).collect())
}

impl Runner {
    /// The numbers of threads to build with, the one that is searched last. Ours decides for itself, so it builds
    /// once; what a core does follows from the processor time.
    fn builds(&self, run: &Run<'_>) -> Vec<usize> {
        let mut builds = vec![run.threads, 1];
        builds.dedup();
        if self.contender.is_ours() || run.settings.no_single_thread_builds {
            builds.truncate(1);
        }
        builds
    }

    /// Who looks at everything needs no more than one.
    fn efforts<'a>(&self, run: &'a Run<'_>) -> &'a [usize] {
        let all = &run.settings.efforts;
        if self.curve.name == FLAT { &all[..1] } else { all }
    }

    fn start(&self, run: &Run<'_>) -> Result<Process> {
        let started = run.start(&self.contender, self.folder.path())?;
        Ok(started.ok_or_else(|| format!("{} is gone", self.curve.name))?.0)
    }
}

fn point(run: &Run<'_>, process: &mut Process, effort: usize) -> Result<Point> {
    let (threads, seconds_min) = (run.threads, run.settings.seconds);
    let batch = |threads| Ask::Batch { effort, threads, seconds_min };
    let one: Batch = process.ask(&batch(1))?;
    let Single { mut micros } = process.ask(&Ask::Single { effort })?;
    let all: Batch = process.ask(&batch(threads))?;
    let set = run.set;
    let found = recall(set, &set.exact, &one.ids)?;
    let found_by_all = recall(set, &set.exact, &all.ids)?;
    if 5e-3 < (found.all - found_by_all.all).abs() {
        return Err("one thread finds other rows than many".into());
    }
    let rate = |batch: &Batch| set.queries.len() as f64 / batch.seconds;
    Ok(Point {
        effort,
        recall: found,
        rate: rate(&one),
        rate_all: rate(&all),
        cpu_us: one.cpu_seconds * 1e6 / set.queries.len() as f64,
        p50_us: quantile(&mut micros, 0.5),
        p99_us: quantile(&mut micros, 0.99),
        fuel: one.fuel,
    })
}
