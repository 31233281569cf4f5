//! Which functions a benchmark's instructions are in.

use crate::count::{Counter, said};
use crate::{Micro, Result};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::process::Command;

/// The `lines` functions of `micro` with the most instructions of their own, or with those of all that they call where
/// `with_callees`: instructions, share, name.
///
/// What was inlined from several files is one function again, so callees of one file may be counted in another.
///
/// # Errors
/// When valgrind or its `callgrind_annotate` fails.
pub fn profile(
    counter: &Counter,
    micro: &Micro,
    lines: usize,
    with_callees: bool,
) -> Result<String> {
    let file = counter.record(micro)?;
    let inclusive = if with_callees { "yes" } else { "no" };
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--auto=no", "--show-percs=no", "--threshold=100"]);
    let text = said(annotate.arg(format!("--inclusive={inclusive}")).arg(file))?;
    // With callees, each part of a function that was inlined from several files has what all of it calls.
    let functions = functions(&text, if with_callees { u64::max } else { u64::saturating_add });
    let total = match with_callees {
        true => functions.iter().map(|(count, _)| *count).max(),
        false => Some(functions.iter().map(|(count, _)| *count).sum()),
    };
    let share = |count| 100.0 * count as f64 / total.unwrap_or(1).max(1) as f64;
    let line =
        |(count, name): &(u64, &str)| format!("{count:>12} {:>5.1} %  {name}", share(*count));
    Ok(functions.iter().take(lines).map(line).collect::<Vec<_>>().join("\n"))
}

/// Functions and their instructions, most first. What a function has in several files is put `together`.
fn functions(text: &str, together: fn(u64, u64) -> u64) -> Vec<(u64, &str)> {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (count, name) in text.lines().filter_map(function) {
        let sum = sums.entry(name).or_default();
        *sum = together(*sum, count);
    }
    let mut functions: Vec<_> = sums.into_iter().map(|(name, count)| (count, name)).collect();
    functions.sort_unstable_by_key(|&(count, name)| (Reverse(count), name));
    functions
}

/// A line of a function: its instructions and its name, without its file and its program.
fn function(line: &str) -> Option<(u64, &str)> {
    let (count, place) = line.trim_start().split_once("  ")?;
    let count = count.trim_end().replace(',', "").parse().ok()?;
    let place = place.rsplit_once(" [").map_or(place, |(place, _)| place);
    // A file ends with a colon; paths of Rust have two.
    let ends = [".rs:", ".c:", ".S:", ".h:", "???:"];
    let name = ends.iter().find_map(|end| place.split_once(end)).map(|(_, name)| name)?;
    // What was monomorphised twice is one function.
    Some((count, name.trim_end_matches("'2")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_functions_are_added_up_by_name() {
        let text = "\
Profile data file 'x' (creator: callgrind-3.19.0)
Ir
1,300  PROGRAM TOTALS
--------
  200  /rustc/x/library/core/src/a.rs:kernel::find [/home/bench-micro]
1,000  kernel/src/b.rs:kernel::find [/home/bench-micro]
  100  ???:_int_malloc [/lib/libc.so.6]";
        let own = functions(text, u64::saturating_add);
        assert_eq!(own, [(1_200, "kernel::find"), (100, "_int_malloc")]);
        assert_eq!(functions(text, u64::max)[0], (1_000, "kernel::find"));
    }
}
