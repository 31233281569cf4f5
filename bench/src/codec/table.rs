//! The table: medians of the rounds, and how the sandbox does.

use super::{Case, Figures, Rates, Settings};
use crate::meter::median;
use crate::report::show;
use comfy_table::{CellAlignment, Table, presets};

/// The share of native speed that the sandbox is to reach.
const GOAL: f64 = 0.5;

/// Prints the table, and below it what it was made with.
pub fn print(cases: &[Case], settings: &Settings) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
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
    let (mut reached, mut lines) = (0, 0);
    for case in cases {
        for (direction, rates) in DIRECTIONS {
            let line = Line { case, rates };
            let cell = |figure: Option<f64>| figure.map_or_else(String::new, show);
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let against_native = line.ratio(1);
            lines += 1;
            reached += usize::from(against_native.is_some_and(|ratio| GOAL <= ratio));
            table.add_row([
                case.data.name().to_owned(),
                format!("{} KiB", case.block_kib),
                case.codec.name().to_owned(),
                percent(case.stored[0]),
                line.rate(2).map_or_else(String::new, |_| percent(case.stored[1])),
                direction.to_owned(),
                cell(line.rate(0)),
                cell(line.rate(1)),
                cell(line.rate(2)),
                cell(against_native),
                cell(line.ratio(2)),
            ]);
        }
    }
    for column in [1, 3, 4, 6, 7, 8, 9, 10] {
        table.column_mut(column).expect("there").set_cell_alignment(CellAlignment::Right);
    }
    let c = match cfg!(feature = "c-codecs") {
        true => "",
        false => " The C libraries: build with --features c-codecs.",
    };
    println!(
        "{table}\n\n{} KiB of each kind of data; median of {} rounds, contenders interleaved; a megabyte is 10^6 raw \
         bytes. A ratio is the median of the rounds' ratios; the goal, {GOAL} of native speed, is reached by \
         {reached} of {lines} lines.{c}",
        settings.data_kib, settings.rounds
    );
}

/// Which way, and where its figures are.
type Direction = (&'static str, fn(&Figures) -> &Rates);
const DIRECTIONS: [Direction; 2] =
    [("compress", |figures| &figures.compress), ("restore", |figures| &figures.restore)];

/// The figures of one case in one direction.
struct Line<'a> {
    case: &'a Case,
    rates: fn(&Figures) -> &Rates,
}

impl Line<'_> {
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

fn some_median(figures: Vec<f64>) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
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
        let line = Line { case: &case, rates: DIRECTIONS[0].1 };
        assert_eq!((line.rate(0), line.rate(1), line.rate(2)), (Some(50.0), Some(100.0), None));
        assert_eq!((line.ratio(1), line.ratio(2)), (Some(0.6), None));
    }
}
