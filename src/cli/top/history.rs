//! The samples of the last minutes, as far as they are shown.

use super::sample::{Sample, add};
use sochdb_telemetry::Histogram;
use std::collections::VecDeque;

/// More than the widest screen shows.
const RATES_MAX: usize = 512;
/// What "the last minute" is.
const WINDOW_S: f64 = 60.0;

/// What the screen is drawn from.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The newest sample.
    pub latest: Option<Sample>,
    /// Commits a second, the newest last; `None` where nothing is known.
    pub commits: VecDeque<Option<f64>>,
    /// The last checkpoint that was seen.
    pub checkpoint: Option<Checkpoint>,
    /// Why there is no newer sample.
    pub lost: Option<Lost>,
    /// When the program was last seen to have been started anew, in seconds since 1970.
    pub restarted_unix_s: Option<f64>,
    spreads: VecDeque<(f64, Histogram)>,
}

/// A checkpoint that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Checkpoint {
    pub took_s: Option<f64>,
    /// When it was seen to be done, in seconds since 1970.
    pub unix_s: f64,
}

/// Why there are no numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Lost {
    pub why: String,
    /// When that was first and last seen, in seconds since 1970.
    pub from_unix_s: f64,
    pub to_unix_s: f64,
}

impl History {
    /// Adds what is newest.
    pub fn push(&mut self, sample: Sample) {
        self.lost = None;
        if sample.restarted {
            self.restarted_unix_s = Some(sample.unix_s);
        }
        // The first sample has no rates: there is nothing to draw yet.
        if sample.elapsed_s.is_some() {
            self.rate(sample.commits);
        }
        if let (Some(elapsed_s), Some(latency)) = (sample.elapsed_s, &sample.latency) {
            self.spreads.push_back((elapsed_s, latency.clone()));
            while 1 < self.spreads.len() && WINDOW_S < self.window_s() {
                self.spreads.pop_front();
            }
        }
        if sample.checkpoints.new.is_some_and(|new| 0.0 < new) {
            let (took_s, unix_s) = (sample.checkpoints.took_s, sample.unix_s);
            self.checkpoint = Some(Checkpoint { took_s, unix_s });
        }
        self.latest = Some(sample);
    }

    /// There is no new sample.
    pub fn lose(&mut self, why: String, unix_s: f64) {
        let from_unix_s = self.lost.take().map_or(unix_s, |lost| lost.from_unix_s);
        self.lost = Some(Lost { why, from_unix_s, to_unix_s: unix_s });
        self.rate(None);
    }

    /// How long commits took in the last minute.
    pub fn minute(&self) -> Option<Histogram> {
        let mut all = Histogram::default();
        // The newest first: should bounds ever change, theirs count.
        self.spreads.iter().rev().for_each(|(_, spread)| add(&mut all, spread));
        (!all.counts.is_empty()).then_some(all)
    }

    /// How many seconds the last minute has so far.
    pub fn window_s(&self) -> f64 {
        self.spreads.iter().map(|(elapsed_s, _)| elapsed_s).sum()
    }

    fn rate(&mut self, rate: Option<f64>) {
        self.commits.push_back(rate);
        if RATES_MAX < self.commits.len() {
            self.commits.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(elapsed_s: f64, count: u64) -> Sample {
        let latency =
            Histogram { bounds: vec![1.0], counts: vec![count, count], ..Histogram::default() };
        let (latency, elapsed_s) = (Some(latency), Some(elapsed_s));
        Sample { latency, elapsed_s, commits: Some(count as f64), ..Sample::default() }
    }

    #[test]
    fn the_last_minute_forgets_what_is_older() {
        let mut history = History::default();
        assert_eq!(history.minute(), None);
        (0..10).for_each(|_| history.push(taken(10.0, 1)));
        assert_eq!(history.minute().map(|all| all.counts), Some(vec![6, 6]));
        assert_eq!(history.window_s(), 60.0);
        history.push(taken(1000.0, 7));
        assert_eq!(history.minute().map(|all| all.counts), Some(vec![7, 7]));
    }

    #[test]
    fn what_was_lost_is_a_gap_until_there_is_a_sample() {
        let mut history = History::default();
        history.push(Sample::default());
        history.push(taken(1.0, 3));
        history.lose("gone".into(), 5.0);
        history.lose("still gone".into(), 6.0);
        let lost = Lost { why: "still gone".into(), from_unix_s: 5.0, to_unix_s: 6.0 };
        assert_eq!(history.lost, Some(lost));
        assert_eq!(history.commits, [Some(3.0), None, None]);
        history.push(taken(1.0, 4));
        assert_eq!((history.lost.is_none(), history.commits.len()), (true, 4));
        (0..2_000).for_each(|_| history.push(taken(1.0, 4)));
        assert_eq!(history.commits.len(), RATES_MAX);
    }
}
