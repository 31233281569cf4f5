//! The command line: see the library for how it works.

#![forbid(unsafe_code)]

use bench_micro::baseline::{self, Baseline, Setting};
use bench_micro::compare::Comparison;
use bench_micro::count::Counter;
use bench_micro::{Error, Micro, Result, all, find, measured, profile, revision};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bench-micro compare                       with the counts in bench/micro/baseline.json
  bench-micro compare HEAD~3                with an earlier revision, built below target/compare
  bench-micro compare --only kernel.        only what is named so
  bench-micro compare --set                 accept what is counted now as the new baseline
  bench-micro profile kernel.commit-1-row   where the instructions are
  cargo bench -p bench-micro                the same functions by the clock";

/// Small pieces of SochDB, measured by the instructions they take
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Count, and fail where something takes more instructions than in the base
    #[command(after_help = EXAMPLES)]
    Compare(Compare),
    /// Count, and print the counts as JSON
    Counts(Chosen),
    /// The functions that a benchmark's instructions are in
    #[command(after_help = EXAMPLES)]
    Profile {
        /// A benchmark; `list` has them
        name: String,
        /// How many functions
        #[arg(long, default_value_t = 25)]
        lines: usize,
        /// Add to each function what the functions take that it calls
        #[arg(long)]
        callees: bool,
    },
    /// The names of all benchmarks
    List(Chosen),
    /// One benchmark, for valgrind
    #[command(hide = true)]
    Run { name: String },
    /// What programs choose their code by
    #[command(hide = true)]
    Processor,
}

#[derive(Args)]
struct Chosen {
    /// Only benchmarks whose names contain this
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
}

#[derive(Args)]
struct Compare {
    /// A file of counts, or a revision of this repository [default: bench/micro/baseline.json]
    base: Option<String>,
    /// Write what is counted to the file, instead of comparing
    #[arg(long)]
    set: bool,
    /// How many per cent more instructions are borne
    #[arg(long, default_value_t = 5.0)]
    tolerance: f64,
    #[command(flatten)]
    chosen: Chosen,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Chosen {
    fn micros(&self) -> Result<Vec<&'static Micro>> {
        let micros: Vec<_> = all().filter(|micro| micro.name.contains(&self.only)).collect();
        match micros[..] {
            [] => Err(Error::new(
                format!("no benchmark is called '{}'", self.only),
                "`list` has their names",
            )),
            _ => Ok(micros),
        }
    }

    /// Their counts now, of this program.
    fn count(&self) -> Result<Baseline> {
        let (counter, micros) = (Counter::new()?, self.micros()?);
        let setting = Setting::here(&counter)?;
        Ok(Baseline { setting, instructions: counter.count_all(&micros)? })
    }
}

impl Compare {
    /// Whether all is well.
    fn run(&self) -> Result<bool> {
        let file = revision::root().join("bench/micro/baseline.json");
        let file = self.base.as_ref().map_or(file, PathBuf::from);
        let name = self.base.as_deref().unwrap_or("bench/micro/baseline.json");
        if self.set {
            return self.set(&file, name);
        }
        let base = match (file.is_file(), &self.base) {
            (false, Some(name)) => Err(revision::commit(name)?),
            _ => Ok(Baseline::read(&file)?),
        };
        let now = self.chosen.count()?;
        let base = base.or_else(|commit| revision::counts(&commit, &self.chosen.only))?;
        let wants = |name: &str| name.contains(&self.chosen.only);
        let compared = Comparison::new(name, &base, &now, self.tolerance / 100.0, wants);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&compared).expect("strings and numbers"));
        } else {
            println!("{}\n", compared.table());
        }
        eprintln!("{}", compared.summary());
        Ok(compared.failures().is_empty())
    }

    /// Writes the counts of now. Those that were not asked for stay, if they were counted alike.
    fn set(&self, file: &Path, name: &str) -> Result<bool> {
        let mut now = self.chosen.count()?;
        if let (false, Ok(old)) = (self.chosen.only.is_empty(), Baseline::read(file)) {
            if old.setting != now.setting {
                let what = format!("{name} was counted elsewhere, so only all of it can be set");
                return Err(Error::new(what, "leave --only out"));
            }
            for (name, count) in old.instructions {
                now.instructions.entry(name).or_insert(count);
            }
        }
        now.write(file)?;
        eprintln!(
            "{name} has {} counts now; commit it with why they changed",
            now.instructions.len()
        );
        Ok(true)
    }
}

fn named(name: &str) -> Result<&'static Micro> {
    find(name).ok_or_else(|| {
        Error::new(format!("no benchmark is called '{name}'"), "`list` has their names")
    })
}

/// Whether all is well.
fn run(what: What) -> Result<bool> {
    match what {
        What::Compare(compare) => return compare.run(),
        What::Counts(chosen) => {
            println!(
                "{}",
                serde_json::to_string_pretty(&chosen.count()?).expect("strings and numbers")
            );
        }
        What::Profile { name, lines, callees } => {
            println!("{}", profile::profile(&Counter::new()?, named(&name)?, lines, callees)?);
        }
        What::List(chosen) => chosen.micros()?.iter().for_each(|micro| println!("{}", micro.name)),
        What::Run { name } => {
            let mut run = (named(&name)?.prepare)();
            measured(&mut *run);
        }
        What::Processor => println!("{}", baseline::processor()),
    }
    Ok(true)
}

fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
