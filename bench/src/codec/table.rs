//! The table: medians of the rounds, and how the sandbox does.

use super::{Case, Figures, Rates, Settings};
use crate::chart::{Chart, Shape};
use crate::meter::some_median;
use crate::outcome::{Sheet, Summary, words};
use crate::report::show;
use std::collections::BTreeSet;

/// The share of native speed that the sandbox is to reach.
const GOAL: f64 = 0.5;

/// The table, and below it what it was made with.
pub fn sheet(cases: &[Case], settings: &Settings) -> Sheet {
    let head = words([
        "data",
        "block",
        "codec",
        "stored",
        "stored by C",
        "direction",
        "sandbox, MB/s",
        "native, MB/s",
        "C, MB/s",
        "sandbox : native",
        "sandbox : C",
    ]);
    let cell = |figure: Option<f64>| figure.map_or_else(String::new, show);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let row = |line: Line<'_>| {
        let case = line.case;
        vec![
            case.data.name().to_owned(),
            format!("{} KiB", case.block_kib),
            case.codec.name().to_owned(),
            percent(case.stored[0]),
            line.rate(2).map_or_else(String::new, |_| percent(case.stored[1])),
            line.direction.to_owned(),
            cell(line.rate(0)),
            cell(line.rate(1)),
            cell(line.rate(2)),
            cell(line.ratio(1)),
            cell(line.ratio(2)),
        ]
    };
    let rows: Vec<_> = lines(cases).map(row).collect();
    let reached =
        lines(cases).filter_map(|line| line.ratio(1)).filter(|ratio| GOAL <= *ratio).count();
    let c = match cfg!(feature = "c-codecs") {
        true => "",
        false => " The C libraries: build with --features c-codecs.",
    };
    let note = format!(
        "{} KiB of each kind of data; median of {} rounds, contenders interleaved; a megabyte is 10^6 raw \
         bytes. A ratio is the median of the rounds' ratios; the goal, {GOAL} of native speed, is reached by \
         {reached} of {} lines.{c}",
        settings.data_kib,
        settings.rounds,
        rows.len()
    );
    let (name, title) = ("codec".to_owned(), String::new());
    Sheet { name, title, head, words: 3, rows, note }
}

/// The share of native speed that each line has, by data, block, codec and direction; and the least and the median of all.
pub fn summary(cases: &[Case]) -> Summary {
    let figure = |line: Line<'_>| Some((line.name(), line.ratio(1)?));
    let mut summary: Summary = lines(cases).filter_map(figure).collect();
    let all: Vec<f64> = summary.values().copied().collect();
    let least = all.iter().copied().min_by(f64::total_cmp);
    summary.extend(least.map(|least| ("least".to_owned(), least)));
    summary.extend(some_median(all).map(|middle| ("median".to_owned(), middle)));
    summary
}

/// The shares of native speed as a picture.
pub fn chart(cases: &[Case]) -> Chart {
    let codecs: BTreeSet<&str> = cases.iter().map(|case| case.codec.name()).collect();
    let mut groups: Vec<(String, Vec<Option<f64>>)> = Vec::new();
    for line in lines(cases) {
        let name =
            format!("{} of {} KiB, {}", line.case.data.name(), line.case.block_kib, line.direction);
        let at =
            codecs.iter().position(|codec| *codec == line.case.codec.name()).expect("it is one");
        let group = match groups.iter_mut().find(|group| group.0 == name) {
            Some(group) => group,
            None => {
                groups.push((name, vec![None; codecs.len()]));
                groups.last_mut().expect("it was pushed")
            }
        };
        group.1[at] = line.ratio(1);
    }
    let series = codecs.into_iter().map(str::to_owned).collect();
    let axis = "share of the speed of the same code compiled natively".to_owned();
    let shape = Shape::Bars { axis, from: 1.0, goal: Some(GOAL), series, groups };
    let title = "share of native speed in the sandbox".to_owned();
    Chart { name: "ratios".to_owned(), title, shape }
}

/// Every case in both directions.
fn lines(cases: &[Case]) -> impl Iterator<Item = Line<'_>> {
    cases.iter().flat_map(|case| {
        DIRECTIONS.into_iter().map(move |(direction, rates)| Line { case, direction, rates })
    })
}

/// Which way, and where its figures are.
type Direction = (&'static str, fn(&Figures) -> &Rates);
const DIRECTIONS: [Direction; 2] =
    [("compress", |figures| &figures.compress), ("restore", |figures| &figures.restore)];

/// The figures of one case in one direction.
struct Line<'a> {
    case: &'a Case,
    direction: &'static str,
    rates: fn(&Figures) -> &Rates,
}

impl Line<'_> {
    fn name(&self) -> String {
        let Case { data, block_kib, codec, .. } = self.case;
        format!("{} {block_kib} {} {}", data.name(), codec.name(), self.direction)
    }

    /// The median rate of one contender: 0 the sandbox, 1 native, 2 C.
    fn rate(&self, who: usize) -> Option<f64> {
        let rates = self.case.rounds.iter().filter_map(|round| (self.rates)(round)[who]);
        some_median(rates.collect())
    }

    /// How much of the speed of `peer` the sandbox has: the median of the rounds' ratios.
    fn ratio(&self, peer: usize) -> Option<f64> {
        let ratio = |round| {
            let rates = (self.rates)(round);
            Some(rates[0]? / rates[peer]?)
        };
        some_median(self.case.rounds.iter().filter_map(ratio).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::blocks::Data;
    use crate::codec::contender::Codec;

    #[test]
    fn a_ratio_is_the_share_of_the_peers_speed() {
        let round = |sandbox, native| Figures {
            compress: [Some(sandbox), Some(native), None],
            restore: [Some(1.0), Some(1.0), None],
        };
        let rounds = vec![round(50.0, 100.0), round(60.0, 100.0), round(10.0, 5.0)];
        let (data, codec) = (Data::Logs, Codec::Zstd3);
        let case = Case { data, block_kib: 4, codec, stored: [0.3, 0.3], rounds };
        let (direction, rates) = DIRECTIONS[0];
        let line = Line { case: &case, direction, rates };
        assert_eq!((line.rate(0), line.rate(1), line.rate(2)), (Some(50.0), Some(100.0), None));
        assert_eq!((line.ratio(1), line.ratio(2)), (Some(0.6), None));
    }
}
