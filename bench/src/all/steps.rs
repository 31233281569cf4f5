//! Which workloads `bench all` runs, with which settings: so that all of them end within half an hour on two quiet cores.

/// One workload with settings.
pub struct Step {
    /// What its page and its JSON are called.
    pub name: &'static str,
    /// What stands above its page.
    pub title: &'static str,
    /// The subcommand.
    pub command: &'static str,
    /// What its page says above the tables.
    pub about: &'static str,
    usual: &'static str,
    quick: &'static str,
}

impl Step {
    /// What stands behind the subcommand.
    pub fn arguments(&self, quick: bool) -> Vec<String> {
        let arguments = if quick { self.quick } else { self.usual };
        arguments.split_whitespace().map(str::to_owned).collect()
    }
}

/// The step called `name`.
pub fn find(name: &str) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.name == name)
}

/// Their names, for the command line.
pub fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// All of them, in the order in which they run.
pub const STEPS: &[Step] = &[
    Step {
        name: "kv",
        title: "Keys and values",
        command: "kv",
        about: "Keys and values: loading, reading, durable commits, skewed mixes, counters, crashes, space, memory.",
        usual: "--rounds 3 --commits 1000",
        quick: "--rounds 1 --rows 3000 --commits 30 --operations 1000 --cache-bytes 200000 --memtable-bytes 400000",
    },
    Step {
        name: "kv-json",
        title: "JSON values",
        command: "kv",
        about: "The same with JSON objects of a kilobyte as values, of which the cache holds a quarter.",
        usual: "--rounds 2 --value json --value-bytes 1000 --rows 60000 --cache-bytes 15728640 --memtable-bytes 15728640 \
                --operations 50000 --only load,sequential,get,scan,ycsb,overwrite,bulk,memory",
        quick: "--rounds 1 --value json --value-bytes 1000 --rows 1000 --operations 500 --cache-bytes 200000 \
                --memtable-bytes 400000 --engines redb --only load,get,scan,ycsb",
    },
    Step {
        name: "scaling",
        title: "Threads",
        command: "scaling",
        about: "How point reads scale with threads.",
        usual: "--rounds 3 --reads 60000",
        quick: "--quick --rows 10000 --reads 2000 --threads 1,2,4 --engines redb,lmdb",
    },
    Step {
        name: "lscs",
        title: "Columns",
        command: "lscs",
        about: "The column store beside row stores, Parquet, and itself without a sandbox.",
        usual: "--rows 200000 --rounds 3 --gets 5000 --scans 1000",
        quick: "--rounds 1 --rows 2000 --gets 20 --scans 5 --cache-bytes 100000 --memtable-bytes 200000",
    },
    Step {
        name: "codec",
        title: "Codecs",
        command: "codec",
        about: "The codecs in the sandbox, beside the same code compiled natively, and the C libraries.",
        usual: "--rounds 3 --each-ms 40",
        quick: "--quick --only lz4,zstd-1",
    },
    Step {
        name: "boundary",
        title: "The boundary",
        command: "boundary",
        about: "What crossing into a guest and back costs, beside the same work done without one.",
        usual: "--rounds 9",
        quick: "--quick",
    },
    Step {
        name: "reload",
        title: "Reload",
        command: "reload",
        about: "What calls notice when a plugin is replaced, and how soon the new version answers.",
        usual: "--swaps 50 --rounds 5",
        quick: "--quick",
    },
    Step {
        name: "tenants",
        title: "Tenants",
        command: "tenants",
        about: "What one tenant at its limits does to another.",
        usual: "--seconds 5",
        quick: "--quick",
    },
    Step {
        name: "observers",
        title: "Observers",
        command: "observers",
        about: "What commits notice of observers, good and bad.",
        usual: "--seconds 5 --rounds 3 --interval 1000",
        quick: "--quick",
    },
    Step {
        name: "import",
        title: "Import",
        command: "import",
        about: "Files of rows into tables and back, beside what the bare disk writes.",
        usual: "--rounds 3 --rows 500000",
        quick: "--quick --rows 3000",
    },
    Step {
        name: "vector",
        title: "Vectors",
        command: "vector",
        about: "Nearest neighbours: recall, queries a second, memory, beside hnswlib, usearch and faiss.",
        usual: "--rounds 2",
        quick: "--quick",
    },
    Step {
        name: "overhead",
        title: "Overhead",
        command: "overhead",
        about: "What all bundled plugins cost work that needs none of them: the database beside its bare kernel.",
        usual: "--rounds 7",
        quick: "--quick --rows 20000 --commits 300 --operations 5000",
    },
    Step {
        name: "footprint",
        title: "Footprint",
        command: "footprint",
        about: "What the database weighs: its binary, a start, an idle process.",
        usual: "",
        quick: "--quick --rows 1000",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn every_step_is_a_command_line_that_is_understood() {
        for step in STEPS {
            for quick in [true, false] {
                let arguments = step.arguments(quick);
                let line = ["bench", step.command].map(str::to_owned).into_iter().chain(arguments);
                let parsed = crate::Args::try_parse_from(line);
                assert!(parsed.is_ok(), "{}: {}", step.name, parsed.err().expect("an error"));
            }
            assert!(crate::Args::command().find_subcommand(step.command).is_some());
        }
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let mut all = names();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), STEPS.len());
    }
}
