//! Threads that call a plugin while it is replaced, again and again.
//!
//! A call is at a swap when any moment of it lies between the time at which the new version had been prepared and
//! tried, and the time at which calls that began before had ended. It is while a version is prepared when it lies
//! before that, in a reload; and otherwise no reload is near.
//!
//! ```text
//!   reload called ─── prepared, tried ───▶│◀─── swapped, drained ───▶ reload returned
//!                 while one is prepared   │         at a swap
//! ```
//!
//! What a swap made a call wait is at most the longest call at a swap, less a usual one.

use super::worlds::{Subject, World};
use crate::Result;
use crate::chart::{Chart, Shape};
use crate::meter::quantile;
use crate::outcome::{Sheet, Summary, words};
use crate::report::show;
use serde::Serialize;
use sochdb::reload::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const READERS: u64 = 2;
/// So that there are calls with no reload near.
const BETWEEN_SWAPS: Duration = Duration::from_millis(30);
/// Steps of a record are in whole microseconds, and there are several.
const ROUNDING_NS: u64 = 10_000;
/// No call should wait longer for a swap.
const TARGET_MS: f64 = 1.0;
const SUBJECTS: [Subject; 5] =
    [Subject::Identity, Subject::Lz4, Subject::Lscs, Subject::Hnsw, Subject::Ledger];

/// What the calls of one plugin came to.
#[derive(Debug, Serialize)]
pub struct Line {
    plugin: &'static str,
    calls: &'static str,
    swaps: usize,
    quiet: Figures,
    preparing: Figures,
    at_swap: Figures,
    /// The longest call at a swap, less a usual one.
    longest_wait_ms: f64,
    /// Calls that failed, or were answered wrongly.
    pub failed: u64,
    swapping_us: f64,
    draining_us: f64,
    draining_max_us: f64,
}

/// Calls of one phase.
#[derive(Debug, Serialize)]
struct Figures {
    count: usize,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// Powers of two in microseconds, and how many calls took up to that and more than half of it.
    histogram: Vec<(f64, usize)>,
}

/// One call, in nanoseconds since the threads began.
#[derive(Clone, Copy)]
struct Call {
    began: u64,
    ended: u64,
    went_well: bool,
}

/// One reload, in nanoseconds since the threads began.
#[derive(Clone, Copy)]
struct Reload {
    began: u64,
    swap_began: u64,
    ended: u64,
}

/// Where a call lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Quiet,
    Preparing,
    AtSwap,
}

/// Measures each plugin.
pub fn measure(swaps: usize, pause_us: u64) -> Result<Vec<Line>> {
    SUBJECTS.iter().map(|subject| line(*subject, swaps, Duration::from_micros(pause_us))).collect()
}

fn line(subject: Subject, swaps: usize, pause: Duration) -> Result<Line> {
    let cache = tempfile::tempdir()?;
    let world = World::new(subject, &cache.path().join("code"))?;
    // Both versions are compiled before anybody is measured.
    world.reload(1)?;
    world.reload(0)?;
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    let now = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let make = |work: &dyn Fn(u64) -> sochdb::KernelResult<bool>| {
        let (mut calls, mut turn) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let began = now();
            let went_well = work(turn).unwrap_or(false);
            calls.push(Call { began, ended: now(), went_well });
            turn += 1;
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        calls
    };
    let (make, world) = (&make, &world);
    let (calls, reloads) = thread::scope(|scope| {
        let reader = |first: u64| move || make(&|turn| world.read(turn + first));
        let mut threads: Vec<_> =
            (0..READERS).map(|first| scope.spawn(reader(first * 331))).collect();
        threads.push(scope.spawn(move || make(&|turn| world.write(turn))));
        let reloads = replace(world, swaps, &now);
        stop.store(true, Ordering::Relaxed);
        let calls: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        (calls.concat(), reloads)
    });
    let (reloads, mut swapping, mut draining) = reloads?;
    let figures = |phase| {
        let of = calls.iter().filter(|call| phase_of(**call, &reloads) == phase);
        Figures::of(of.map(|call| (call.ended - call.began) as f64 / 1e3).collect())
    };
    let (quiet, preparing, at_swap) =
        (figures(Phase::Quiet), figures(Phase::Preparing), figures(Phase::AtSwap));
    let failed = calls.iter().filter(|call| !call.went_well).count() as u64;
    Ok(Line {
        plugin: subject.name(),
        calls: subject.calls(),
        swaps,
        longest_wait_ms: (at_swap.max_us - quiet.p50_us).max(0.0) / 1e3,
        quiet,
        preparing,
        at_swap,
        failed,
        swapping_us: quantile(&mut swapping, 0.5),
        draining_us: quantile(&mut draining, 0.5),
        draining_max_us: quantile(&mut draining, 1.0),
    })
}

type Replaced = (Vec<Reload>, Vec<f64>, Vec<f64>);

/// Replaces the plugin so many times: when, and how long each was swapped and drained, in microseconds.
fn replace(world: &World, swaps: usize, now: &dyn Fn() -> u64) -> Result<Replaced> {
    let (mut reloads, mut swapping, mut draining) = (Vec::new(), Vec::new(), Vec::new());
    for swap in 0..swaps {
        thread::sleep(BETWEEN_SWAPS);
        let began = now();
        let report = world.reload((swap + 1) % 2)?;
        let ended = now();
        let lasted = |state| {
            let step = report.record.steps.iter().find(|step| step.state == state);
            step.map_or(0, |step| step.took_us)
        };
        let (swap_us, drain_us) = (lasted(State::Swapping), lasted(State::Draining));
        let after = (swap_us + drain_us + lasted(State::Probation)) * 1_000 + ROUNDING_NS;
        reloads.push(Reload { began, swap_began: ended.saturating_sub(after).max(began), ended });
        swapping.push(swap_us as f64);
        draining.push(drain_us as f64);
    }
    thread::sleep(BETWEEN_SWAPS);
    Ok((reloads, swapping, draining))
}

/// `reloads` are in the order of time, and none overlaps another.
fn phase_of(call: Call, reloads: &[Reload]) -> Phase {
    let first = reloads.partition_point(|reload| reload.ended < call.began);
    // A long call may begin in one reload and end in another.
    let touched = reloads[first..].iter().take_while(|reload| reload.began <= call.ended);
    let phases = touched.map(|reload| match reload.swap_began <= call.ended {
        true => Phase::AtSwap,
        false => Phase::Preparing,
    });
    phases.max_by_key(|phase| *phase == Phase::AtSwap).unwrap_or(Phase::Quiet)
}

impl Figures {
    fn of(mut us: Vec<f64>) -> Figures {
        Figures {
            count: us.len(),
            p50_us: quantile(&mut us, 0.5),
            p99_us: quantile(&mut us, 0.99),
            max_us: quantile(&mut us, 1.0),
            histogram: histogram(&us),
        }
    }

    fn cells(&self) -> [String; 4] {
        [self.count.to_string(), show(self.p50_us), show(self.p99_us), show(self.max_us)]
    }
}

fn histogram(us: &[f64]) -> Vec<(f64, usize)> {
    let mut buckets: BTreeMap<i32, usize> = BTreeMap::new();
    us.iter().for_each(|us| *buckets.entry(us.max(1e-3).log2().ceil() as i32).or_default() += 1);
    let Some((&first, &last)) = buckets.keys().next().zip(buckets.keys().next_back()) else {
        return Vec::new();
    };
    let count = |power| (f64::from(power).exp2(), buckets.get(&power).copied().unwrap_or_default());
    (first..=last).map(count).collect()
}

/// For people: times of calls in microseconds, no reload near, and at a swap.
pub fn sheet(lines: &[Line]) -> Sheet {
    let wait = format!("longest wait by a swap, ms (target: {TARGET_MS:.0})");
    let head = words([
        "plugin",
        "calls",
        "quiet",
        "p50 us",
        "p99",
        "max",
        "preparing",
        "p50",
        "p99",
        "max",
        "at a swap",
        "p50",
        "p99",
        "max",
        &wait,
        "failed",
        "swap us",
        "drain us",
        "longest drain",
    ]);
    let rows = lines.iter().map(|line| {
        let mut row = vec![line.plugin.to_owned(), line.calls.to_owned()];
        row.extend(
            [&line.quiet, &line.preparing, &line.at_swap].into_iter().flat_map(Figures::cells),
        );
        row.extend([show(line.longest_wait_ms), line.failed.to_string()]);
        row.extend([line.swapping_us, line.draining_us, line.draining_max_us].map(show));
        row
    });
    let (name, title) = ("swaps".to_owned(), "Calls while a plugin is replaced:".to_owned());
    Sheet { name, title, head, words: 2, rows: rows.collect(), note: String::new() }
}

/// The longest waits, and how many calls failed.
pub fn summary(lines: &[Line]) -> Summary {
    let longest = |line: &Line| (format!("{}_longest_wait_ms", line.plugin), line.longest_wait_ms);
    let mut summary: Summary = lines.iter().map(longest).collect();
    let most = summary.values().copied().fold(0.0, f64::max);
    summary.insert("longest_wait_ms".to_owned(), most);
    summary.insert("failed".to_owned(), lines.iter().map(|line| line.failed as f64).sum());
    summary
}

/// How long calls at a swap took: what share of them lies in each bucket.
pub fn chart(lines: &[Line]) -> Chart {
    let points = |line: &Line| {
        let count = line.at_swap.count.max(1) as f64;
        line.at_swap
            .histogram
            .iter()
            .map(|(us, calls)| (*us, 100.0 * *calls as f64 / count))
            .collect()
    };
    let series =
        lines.iter().map(|line| (format!("{}, {}", line.plugin, line.calls), points(line)));
    let (x, y) = ("a call took up to, us".to_owned(), "% of the calls at a swap".to_owned());
    let shape = Shape::Lines { x, y, log_x: true, log_y: false, series: series.collect() };
    let title = "how long calls took at the moment at which their plugin was replaced".to_owned();
    Chart { name: "waits".to_owned(), title, shape }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_a_power_of_two() {
        let buckets = histogram(&[3.0, 4.0, 4.1, 30.0]);
        assert_eq!(buckets, [(4.0, 2), (8.0, 1), (16.0, 0), (32.0, 1)]);
        assert_eq!(histogram(&[]), []);
    }

    #[test]
    fn a_call_is_at_a_swap_when_any_moment_of_it_is() {
        let reloads = [(100, 150, 160), (200, 250, 260)].map(|(began, swap_began, ended)| Reload {
            began,
            swap_began,
            ended,
        });
        let phase = |began, ended| phase_of(Call { began, ended, went_well: true }, &reloads);
        assert_eq!(phase(0, 99), Phase::Quiet);
        assert_eq!(phase(0, 100), Phase::Preparing);
        assert_eq!(phase(120, 149), Phase::Preparing);
        assert_eq!(phase(120, 150), Phase::AtSwap);
        assert_eq!(phase(160, 170), Phase::AtSwap);
        assert_eq!(phase(161, 199), Phase::Quiet);
        assert_eq!(phase(155, 210), Phase::AtSwap);
        assert_eq!(phase(0, 1000), Phase::AtSwap);
        assert_eq!(phase(261, 300), Phase::Quiet);
    }
}
