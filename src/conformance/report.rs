//! What came of a test, for people and programs.

use super::Planned;
use super::judge::{Finding, Flaw, Tally};
use super::usage::UsageReport;
use serde::Serialize;
use sochdb_host_abi::PluginKind;
use std::collections::BTreeMap;
use std::fmt;

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub kind: PluginKind,
    /// What all random choices followed from: the same seed asks the same again.
    pub seed: u64,
    /// What was checked, in this order.
    pub checks: Vec<Check>,
    /// What its calls used, of what they may use.
    pub usage: UsageReport,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, such as `round-trip`.
    pub name: &'static str,
    /// What holds when it has passed.
    pub about: &'static str,
    /// Whether it has.
    pub verdict: Verdict,
    /// What is wrong, why it was left out, or what else is worth a word; empty when there is nothing to say.
    pub detail: String,
    /// How much was tried.
    pub counts: BTreeMap<&'static str, u64>,
    /// How long it took.
    pub micros: u64,
}

/// Whether a check has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has.
    Passed,
    /// The plugin is wrong.
    Failed,
    /// There was nothing to check, or no way to.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        })
    }
}

impl Check {
    pub(super) fn of(planned: &Planned, found: Finding, tally: Tally, micros: u64) -> Check {
        let Tally { counts, notes } = tally;
        let (verdict, detail) = match found {
            Ok(()) => (Verdict::Passed, notes.join("; ")),
            Err(Flaw::Wrong(what)) => {
                let all = [what].into_iter().chain(notes).collect::<Vec<_>>();
                (Verdict::Failed, all.join("\n"))
            }
            Err(Flaw::Skipped(why)) => (Verdict::Skipped, why),
        };
        let &Planned { name, about, .. } = planned;
        Check { name, about, verdict, detail, counts, micros }
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }

    /// How much was tried, in words.
    pub fn counted(&self) -> String {
        let counts = self.counts.iter().filter(|(_, count)| 0 < **count);
        counts.map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn has_passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.verdict == Verdict::Failed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { plugin, version, kind, seed, checks, .. } = self;
        writeln!(f, "{plugin} {version}, {kind}, seed {seed}")?;
        for check in checks {
            let Check { name, verdict, detail, .. } = check;
            writeln!(f, "  {verdict:7}  {name:12}  {}", check.counted())?;
            detail.lines().try_for_each(|line| writeln!(f, "           {line}"))?;
        }
        Ok(())
    }
}
