//! Two sets of counts, side by side.
//!
//! | a benchmark is      | when                                            | and then                     |
//! |---------------------|-------------------------------------------------|------------------------------|
//! | `slower`            | it takes more than the tolerance above the base | the comparison fails         |
//! | `faster`            | it takes as much less                           | worth a new baseline         |
//! | `same`              | neither                                         |                              |
//! | `new`               | the base does not have it                       | nothing: nothing to compare  |
//! | `gone`              | only the base has it                            | the comparison fails         |
//!
//! A benchmark that is gone fails, because whoever renames one would otherwise lose what it guards.
//! Where the settings differ nothing fails: the table is shown and says so.

use crate::baseline::Baseline;
use crate::find;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::collections::BTreeSet;

/// What became of one benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// More instructions than the tolerance allows.
    Slower,
    /// Fewer by as much.
    Faster,
    /// About as many.
    Same,
    /// Not in the base.
    New,
    /// Only in the base.
    Gone,
}

/// One benchmark, then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Instructions of one run in the base.
    pub base: Option<u64>,
    /// Instructions of one run now.
    pub now: Option<u64>,
    /// Now to then.
    pub ratio: Option<f64>,
    /// What that means.
    pub verdict: Verdict,
}

impl Line {
    fn new(name: &str, base: Option<u64>, now: Option<u64>, tolerance: f64) -> Line {
        let ratio = base.zip(now).map(|(base, now)| now as f64 / base.max(1) as f64);
        let verdict = match (base, now, ratio) {
            (_, _, Some(ratio)) if 1.0 + tolerance < ratio => Verdict::Slower,
            (_, _, Some(ratio)) if ratio < 1.0 / (1.0 + tolerance) => Verdict::Faster,
            (_, None, _) => Verdict::Gone,
            (None, _, _) => Verdict::New,
            _ => Verdict::Same,
        };
        Line { name: name.to_owned(), base, now, ratio, verdict }
    }

    fn fails(&self) -> bool {
        matches!(self.verdict, Verdict::Slower | Verdict::Gone)
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What the counts were compared with.
    pub base: String,
    /// By what share more instructions are too many.
    pub tolerance: f64,
    /// In what the settings differ: name, base, now. Where they do, nothing fails.
    pub differences: Vec<(&'static str, String, String)>,
    /// All benchmarks: first those that are there now, in their order.
    pub lines: Vec<Line>,
}

impl Comparison {
    /// Compares `now` with `then`, whose name is `base`: the benchmarks that `wants` them.
    pub fn new(
        base: &str,
        then: &Baseline,
        now: &Baseline,
        tolerance: f64,
        wants: impl Fn(&str) -> bool,
    ) -> Comparison {
        let (before, after) = (&then.instructions, &now.instructions);
        let ours = crate::all().map(|micro| micro.name);
        let others = before.keys().chain(after.keys()).map(String::as_str);
        let others: BTreeSet<&str> = others.filter(|name| find(name).is_none()).collect();
        let line = |name: &str| {
            let (base, now) = (before.get(name).copied(), after.get(name).copied());
            (base.is_some() || now.is_some()).then(|| Line::new(name, base, now, tolerance))
        };
        let lines = ours.chain(others).filter(|name| wants(name)).filter_map(line).collect();
        let differences = then.setting.differences(&now.setting).into_iter();
        let differences = differences.map(|(name, then, now)| (name, then.into(), now.into()));
        Comparison { base: base.to_owned(), tolerance, differences: differences.collect(), lines }
    }

    /// Whether it is one at all: both were counted in the same setting.
    pub fn is_comparable(&self) -> bool {
        self.differences.is_empty()
    }

    /// The benchmarks that make it fail.
    pub fn failures(&self) -> Vec<&Line> {
        self.lines.iter().filter(|line| self.is_comparable() && line.fails()).collect()
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["instructions for one", "base", "now", "now : base", ""]);
        for line in &self.lines {
            let operations = find(&line.name).map_or(1, |micro| micro.operations);
            let shown = |count: Option<u64>| {
                count.map_or_else(String::new, |count| each(count, operations))
            };
            let ratio = line.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            let verdict = match line.verdict {
                Verdict::Slower => "SLOWER",
                Verdict::Faster => "faster",
                Verdict::Same => "",
                Verdict::New => "new",
                Verdict::Gone => "GONE",
            };
            table.add_row([
                line.name.clone(),
                shown(line.base),
                shown(line.now),
                ratio,
                verdict.to_owned(),
            ]);
        }
        (1..4).for_each(|column| {
            let column = table.column_mut(column).expect("there are five");
            column.set_cell_alignment(CellAlignment::Right);
        });
        table.to_string()
    }

    /// What to make of it, in words.
    pub fn summary(&self) -> String {
        let percent = self.tolerance * 100.0;
        if !self.is_comparable() {
            let different = self.differences.iter();
            let different: Vec<String> = different
                .map(|(name, base, now)| format!("  {name}: {base:?} there, {now:?} here\n"))
                .collect();
            return format!(
                "NOT COMPARABLE with {}: it was counted elsewhere\n{}\
                 help: name a revision as the base, which is counted here; or --set, to count the base here",
                self.base,
                different.concat()
            );
        }
        let failures: Vec<&str> = self.failures().iter().map(|line| line.name.as_str()).collect();
        let faster = self.lines.iter().filter(|line| line.verdict == Verdict::Faster).count();
        let compared = self.lines.iter().filter(|line| line.ratio.is_some()).count();
        match failures[..] {
            [] => format!(
                "{compared} compared with {}: none takes {percent} % more instructions, {faster} as many less",
                self.base
            ),
            _ => format!(
                "{} of {} compared with {} take over {percent} % more instructions or are gone: {}\n\
                 help: bench-micro profile NAME shows where they are; if it must be so, accept it with --set and say \
                 why in the commit",
                failures.len(),
                self.lines.len(),
                self.base,
                failures.join(", ")
            ),
        }
    }
}

/// `count` instructions for `operations`, for one of them.
fn each(count: u64, operations: u64) -> String {
    let each = count as f64 / operations as f64;
    if each < 100.0 { format!("{each:.1}") } else { format!("{each:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::Setting;

    const TOLERANCE: f64 = 0.05;

    fn counts(counts: &[(&str, u64)]) -> Baseline {
        let text = |text: &str| text.to_owned();
        let setting = Setting {
            rustc: text("rustc 1"),
            profile: text("release"),
            valgrind: text("valgrind-3"),
            libc: text("glibc 2"),
            processor: text("x86_64"),
        };
        let instructions = counts.iter().map(|(name, count)| (text(name), *count)).collect();
        Baseline { setting, instructions }
    }

    fn compared(then: &Baseline, now: &Baseline) -> Comparison {
        Comparison::new("base", then, now, TOLERANCE, |_| true)
    }

    #[test]
    fn five_in_a_hundred_are_borne_and_no_more() {
        let then = counts(&[("a", 1_000), ("b", 1_000), ("c", 1_000), ("d", 1_000)]);
        let now = counts(&[("a", 1_050), ("b", 1_051), ("c", 953), ("d", 952)]);
        let compared = compared(&then, &now);
        let verdicts: Vec<Verdict> = compared.lines.iter().map(|line| line.verdict).collect();
        assert_eq!(verdicts, [Verdict::Same, Verdict::Slower, Verdict::Same, Verdict::Faster]);
        assert_eq!(compared.failures().len(), 1);
        let summary = compared.summary();
        assert!(summary.starts_with("1 of 4") && summary.contains(": b\nhelp:"), "{summary}");
        assert!(compared.table().contains("SLOWER"));
    }

    #[test]
    fn what_is_new_passes_and_what_is_gone_fails() {
        let compared = compared(&counts(&[("old", 7)]), &counts(&[("young", 7)]));
        let found: Vec<_> =
            compared.lines.iter().map(|line| (&line.name[..], line.verdict)).collect();
        assert_eq!(found, [("old", Verdict::Gone), ("young", Verdict::New)]);
        assert_eq!(compared.failures().len(), 1);
    }

    #[test]
    fn nothing_fails_that_was_counted_elsewhere() {
        let (then, mut now) = (counts(&[("a", 1)]), counts(&[("a", 1_000)]));
        now.setting.rustc = "rustc 2".to_owned();
        let compared = compared(&then, &now);
        assert!(!compared.is_comparable() && compared.failures().is_empty());
        let summary = compared.summary();
        assert!(summary.contains("NOT COMPARABLE") && summary.contains("rustc 2"), "{summary}");
    }

    #[test]
    fn only_what_is_wanted_is_compared() {
        let counts = counts(&[("a.a", 1), ("b.b", 1)]);
        let compared = Comparison::new("base", &counts, &counts, 0.05, |name| name.contains("b"));
        assert_eq!(compared.lines.len(), 1);
        assert_eq!(compared.lines[0].name, "b.b");
    }

    #[test]
    fn a_benchmark_without_instructions_divides_by_nothing() {
        let line = Line::new("a", Some(0), Some(10), TOLERANCE);
        assert_eq!((line.ratio, line.verdict), (Some(10.0), Verdict::Slower));
    }

    #[test]
    fn the_table_shows_the_instructions_of_one_operation() {
        assert_eq!(each(12_345, 1), "12345");
        assert_eq!(each(5_000, 1_000), "5.0");
        let kernel = counts(&[("kernel.get-tree", 123_400)]);
        assert!(compared(&kernel, &kernel).table().contains(" 1234 "));
    }
}
