//! Counts in a file, and what they depend on besides the code.
//!
//! ```text
//! { "setting": { "rustc": "rustc 1.95.0 (...)", "valgrind": "valgrind-3.19.0", ... },
//!   "instructions": { "kernel.get-tree": 123456, ... } }
//! ```
//!
//! Another compiler makes other code, another C library copies bytes by other instructions, another processor lets a
//! program choose others. Counts of different settings therefore are no comparison.

use crate::count::{Counter, Counts, said};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// Counts, and where they were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What they depend on besides the code.
    pub setting: Setting,
    /// Instructions of one run of each benchmark, by its name.
    pub instructions: Counts,
}

/// What counts depend on besides the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The compiler, and the host it runs on.
    pub rustc: String,
    /// Optimised or not.
    pub profile: String,
    /// What counts.
    pub valgrind: String,
    /// The C library, which copies and compares bytes.
    pub libc: String,
    /// What the processor has, as far as programs choose their code by it. It is valgrind's processor, which has at
    /// most what the real one has.
    pub processor: String,
}

impl Setting {
    /// Of this program on this machine.
    ///
    /// # Errors
    /// When one of the programs that are asked does not answer.
    pub fn here(counter: &Counter) -> Result<Setting> {
        let rustc =
            said(Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("-vV"))?;
        let line = |name: &str| rustc.lines().find_map(|line| line.strip_prefix(name));
        let first = rustc.lines().next().unwrap_or_default();
        Ok(Setting {
            rustc: format!("{first} {}", line("host: ").unwrap_or_default()),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned(),
            valgrind: counter.version()?,
            libc: said(Command::new("getconf").arg("GNU_LIBC_VERSION"))
                .unwrap_or("other".to_owned()),
            processor: counter.processor()?,
        })
    }

    /// What is not the same in `other`: its name, here, there.
    pub fn differences<'a>(&'a self, other: &'a Setting) -> Vec<(&'static str, &'a str, &'a str)> {
        let fields = [
            ("rustc", &self.rustc, &other.rustc),
            ("profile", &self.profile, &other.profile),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("libc", &self.libc, &other.libc),
            ("processor", &self.processor, &other.processor),
        ];
        let different = fields.into_iter().filter(|(_, here, there)| here != there);
        different.map(|(name, here, there)| (name, here.as_str(), there.as_str())).collect()
    }
}

impl Baseline {
    /// Reads `file`.
    ///
    /// # Errors
    /// When it is not there or is something else.
    pub fn read(file: &Path) -> Result<Baseline> {
        let help = "--set writes it anew, from what is counted here";
        let wrong =
            |why: &dyn std::fmt::Display| Error::new(format!("{}: {why}", file.display()), help);
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
        serde_json::from_str(&text).map_err(|error| wrong(&error))
    }

    /// Writes `file`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).expect("strings and numbers");
        text.push('\n');
        std::fs::write(file, text).map_err(|error| {
            Error::new(format!("{}: {error}", file.display()), "name a file that can be written")
        })
    }
}

/// What this process may choose its code by.
pub fn processor() -> String {
    let mut has: Vec<&str> = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! features {
            ($($name:tt)*) => {
                $(if std::arch::is_x86_feature_detected!($name) { has.push($name); })*
            };
        }
        features!("sse4.2" "pclmulqdq" "popcnt" "avx" "avx2" "bmi1" "bmi2" "fma" "lzcnt" "f16c" "avx512f" "ermsb");
    }
    has.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        let text = |text: &str| text.to_owned();
        Setting {
            rustc: text("rustc 1"),
            profile: text("release"),
            valgrind: text("valgrind-3"),
            libc: text("glibc 2"),
            processor: text("x86_64 avx"),
        }
    }

    #[test]
    fn a_file_of_counts_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        let baseline =
            Baseline { setting: setting(), instructions: [("a.b".to_owned(), 7)].into() };
        baseline.write(&file).expect("there is room");
        assert_eq!(Baseline::read(&file).expect("as written"), baseline);
    }

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("baseline.json");
        let missing = Baseline::read(&file).expect_err("missing").to_string();
        assert!(missing.contains("baseline.json") && missing.contains("help: --set"), "{missing}");
        std::fs::write(&file, "{\"setting\": 3}").expect("there is room");
        let wrong = Baseline::read(&file).expect_err("something else").to_string();
        assert!(wrong.contains("baseline.json") && wrong.contains("line 1"), "{wrong}");
    }

    #[test]
    fn another_compiler_is_another_setting() {
        let (here, mut there) = (setting(), setting());
        assert_eq!(here.differences(&there), []);
        there.rustc = "rustc 2".to_owned();
        there.libc = "musl".to_owned();
        let expected = [("rustc", "rustc 1", "rustc 2"), ("libc", "glibc 2", "musl")];
        assert_eq!(here.differences(&there), expected);
    }

    #[test]
    fn the_processor_says_what_it_is() {
        assert!(processor().starts_with(std::env::consts::ARCH));
    }
}
