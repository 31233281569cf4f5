//! Who runs, each in a process of its own, and what such a process is asked.
//!
//! Ours are processes of this program, peers run `peers/vector.py`; both speak the same lines of JSON, which that
//! file has the table of. A process sleeps while another has its turn.

use crate::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The peers, as `peers/vector.py` knows them; the first is the one that others are compared with.
pub const PEERS: &[&str] =
    &[HNSWLIB, "usearch-f32", "usearch-f16", "usearch-i8", "faiss-hnsw", "faiss-hnsw-sq8", FLAT];
/// The peer that ratios refer to.
pub const HNSWLIB: &str = "hnswlib";
/// The peer that looks at everything, so that no effort makes a difference.
pub const FLAT: &str = "faiss-flat";

/// Settings of one of our indexes, as `create_index` takes them.
pub type IndexSettings = BTreeMap<String, String>;

/// Who runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Contender {
    /// An index of ours, by its settings.
    Ours(IndexSettings),
    /// A peer.
    Peer(String),
}

impl Contender {
    /// Reads `auto`, or settings `name=value` separated by commas.
    ///
    /// # Errors
    /// When it is neither.
    pub fn ours(text: &str) -> std::result::Result<Contender, String> {
        if text == "auto" {
            return Ok(Contender::Ours(IndexSettings::new()));
        }
        let pair = |pair: &str| {
            let (name, value) =
                pair.split_once('=').ok_or(format!("{pair:?} is not name=value"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        text.split(',').map(pair).collect::<std::result::Result<_, _>>().map(Contender::Ours)
    }

    /// Its name in the tables.
    pub fn name(&self) -> String {
        match self {
            Contender::Peer(name) => name.clone(),
            Contender::Ours(settings) if settings.is_empty() => "sochdb auto".to_owned(),
            Contender::Ours(settings) => {
                let short = |(name, value): (&String, &String)| match name.as_str() {
                    "using" => value.clone(),
                    _ => format!("{name}={value}"),
                };
                let mut parts: Vec<String> = settings.iter().map(short).collect();
                parts.sort_by_key(|part| part.contains('='));
                format!("sochdb {}", parts.join(" "))
            }
        }
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        matches!(self, Contender::Ours(_))
    }
}

/// What a process is for. Peers know the fields that they need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The contender: a peer's name, or what ours is called in the tables.
    pub contender: String,
    /// Our settings; none for a peer.
    pub settings: Option<IndexSettings>,
    /// The folder of the set.
    pub set: PathBuf,
    /// The vectors that are stored.
    pub base: PathBuf,
    /// The vectors that are asked for.
    pub queries: PathBuf,
    /// Where the index lives.
    pub folder: PathBuf,
    /// Neighbours of a node of a peer's graph.
    pub m: usize,
    /// Candidates while a peer's graph is built.
    pub ef_construction: usize,
    /// Neighbours asked for.
    pub k: usize,
    /// What random choices are made of.
    pub seed: u64,
}

/// A step that a process is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Ask {
    /// Builds the index anew and saves it; [`Built`].
    Build {
        /// Threads that may build.
        threads: usize,
    },
    /// All queries, over and over; [`Batch`].
    Batch {
        /// The length of the candidate list.
        effort: usize,
        /// Threads that may search.
        threads: usize,
        /// For at least so long.
        seconds_min: f64,
    },
    /// All queries, one by one; [`Single`].
    Single {
        /// The length of the candidate list.
        effort: usize,
    },
    /// Opens what another process built; [`Opened`].
    Open {
        /// The length of the candidate list.
        effort: usize,
    },
    /// Searches among some of the rows; a list of [`Filtered`](super::scenarios::Filtered). Ours only.
    Filters {
        /// The length of the candidate list.
        effort: usize,
    },
    /// Inserts while somebody searches; [`Inserted`](super::scenarios::Inserted). Ours only.
    Inserts {
        /// The length of the candidate list.
        effort: usize,
    },
    /// Replaces rows over and over; a list of [`Cycle`](super::scenarios::Cycle). Ours only.
    Churn {
        /// The length of the candidate list.
        effort: usize,
        /// How often a tenth is replaced.
        cycles: usize,
    },
}

/// An index was built.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Built {
    /// Until it was complete.
    pub seconds: f64,
    /// Processor time of all threads for it.
    pub cpu_seconds: f64,
    /// How much anonymous memory grew.
    pub resident_bytes: f64,
    /// The index on disk.
    pub file_bytes: f64,
}

/// All queries were answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// Per pass over all of them.
    pub seconds: f64,
    /// Processor time of all threads, per pass.
    pub cpu_seconds: f64,
    /// The rows found for each, nearest first; negative where there was none.
    pub ids: Vec<Vec<i64>>,
    /// Fuel per query, where somebody counts.
    #[serde(default)]
    pub fuel: Option<f64>,
}

/// All queries were answered one by one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Single {
    /// Microseconds of each.
    pub micros: Vec<f64>,
}

/// An index was opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    /// Until the first answer.
    pub seconds: f64,
    /// How much anonymous memory grew until every query was answered once.
    pub resident_bytes: f64,
}

/// The first line of a process.
#[derive(Deserialize)]
struct Hello {
    version: Option<String>,
    missing: Option<String>,
}

/// Why a peer does not run.
pub struct Missing(pub String);

/// A running process.
pub struct Process {
    name: String,
    process: Child,
    turns: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the process for `job`, with its version; `Missing` when the peer, or `python` itself, is not installed.
    ///
    /// # Errors
    /// When it does not begin as it should.
    pub fn start(
        job: &Job,
        python: &Path,
    ) -> Result<std::result::Result<(Process, String), Missing>> {
        let mut command = if job.settings.is_some() {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("vector-child");
            command
        } else {
            let mut command = Command::new(python);
            // The program itself, so that the benchmark runs wherever it lies.
            command.args(["-c", include_str!("../../peers/vector.py")]);
            command
        };
        command.arg(serde_json::to_string(job)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) if job.settings.is_none() => {
                return Ok(Err(Missing(format!("{}: {error}", python.display()))));
            }
            Err(error) => return Err(error.into()),
        };
        let turns = process.stdin.take().expect("piped");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut process = Process { name: job.contender.clone(), process, turns, said };
        let hello: Hello = process.answer()?;
        match (hello.version, hello.missing) {
            (Some(version), _) => Ok(Ok((process, version))),
            (None, Some(missing)) => {
                process.end()?;
                Ok(Err(Missing(missing)))
            }
            (None, None) => Err(format!("{} did not say its version", process.name).into()),
        }
    }

    /// Lets it do a step; its answer.
    ///
    /// # Errors
    /// When the step failed, or the process ended; what it said went to standard error.
    pub fn ask<T: DeserializeOwned>(&mut self, ask: &Ask) -> Result<T> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.turns.write_all(line.as_bytes())?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let Some(line) = self.said.next() else {
            let status = self.process.wait()?;
            return Err(format!("the run of {} ended with {status}", self.name).into());
        };
        let answer: Value = serde_json::from_str(&line?)?;
        if let Some(error) = answer.get("error") {
            return Err(format!("{}: {error}", self.name).into());
        }
        Ok(serde_json::from_value(answer)?)
    }

    /// Lets it end.
    ///
    /// # Errors
    /// When it did not end well.
    pub fn end(self) -> Result<()> {
        let Process { name, mut process, turns, .. } = self;
        drop(turns);
        let status = process.wait()?;
        if !status.success() {
            return Err(format!("the run of {name} ended with {status}").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_ours_are_read_and_shown() {
        let name = |text| Contender::ours(text).map(|contender| contender.name());
        assert_eq!(name("auto"), Ok("sochdb auto".to_owned()));
        assert_eq!(name("using=hnsw"), Ok("sochdb hnsw".to_owned()));
        assert_eq!(name("store=f16,using=vamana"), Ok("sochdb vamana store=f16".to_owned()));
        assert!(Contender::ours("hnsw").is_err());
    }

    #[test]
    fn a_peer_without_its_interpreter_is_missing_and_no_error() {
        let job = Job {
            contender: HNSWLIB.to_owned(),
            settings: None,
            set: PathBuf::new(),
            base: PathBuf::new(),
            queries: PathBuf::new(),
            folder: PathBuf::new(),
            m: 16,
            ef_construction: 200,
            k: 10,
            seed: 0,
        };
        let started = Process::start(&job, Path::new("/no/such/python")).unwrap();
        assert!(matches!(started, Err(Missing(why)) if why.contains("/no/such/python")));
    }

    #[test]
    fn steps_are_the_lines_that_the_script_knows() {
        let line = serde_json::to_string(&Ask::Batch { effort: 64, threads: 2, seconds_min: 0.5 });
        let expected = r#"{"step":"batch","effort":64,"threads":2,"seconds_min":0.5}"#;
        assert_eq!(line.unwrap(), expected);
    }
}
