//! How the command fails: one line that says what happened, one that says the way out, and an exit
//! code for scripts.
//!
//! | code | name       | meaning                                                             |
//! |-----:|------------|---------------------------------------------------------------------|
//! |    0 |            | done                                                                |
//! |    1 | `Failed`   | the disk, the system or a verification failed                       |
//! |    2 | `Invalid`  | the command line, a directory, a row or an input makes no sense     |
//! |    3 | `NotFound` | the database, table, row or plugin named is not there               |
//! |    4 | `Busy`     | another process has the database, or another transaction came first |
//! |    5 | `Corrupt`  | bytes are not what was written, or a newer version wrote them       |
//! |    6 | `Plugin`   | a plugin is missing, was denied something, or failed                |
//! |  130 | `Cancelled`| somebody pressed Ctrl-C while a line of the shell ran               |

use sochdb::operations::RestoreError;
use sochdb::{EncodingError, ErrorKind, KernelError, PluginFault};
use std::fmt::Display;
use std::io;

/// The exit codes, zero aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// See the table of this module.
    Failed = 1,
    /// See the table of this module.
    Invalid = 2,
    /// See the table of this module.
    NotFound = 3,
    /// See the table of this module.
    Busy = 4,
    /// See the table of this module.
    Corrupt = 5,
    /// See the table of this module.
    Plugin = 6,
    /// See the table of this module.
    Cancelled = 130,
}

/// The table above, for `--help`.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0  done
  1  the disk, the system or a verification failed
  2  the command line, a directory, a row or an input makes no sense
  3  the database, table, row or plugin named is not there
  4  another process has the database, or another transaction came first
  5  bytes are not what was written, or a newer version wrote them
  6  a plugin is missing, was denied something, or failed
130  cancelled with Ctrl-C, in the shell";

/// Why the command ends early.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// What happened to which thing.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// The reader of our output went away; nothing is wrong and nobody is there to be told.
    pub is_broken_pipe: bool,
    /// Whoever is to know of it has been told.
    pub is_told: bool,
}

/// What every step of the command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure without a way out to show.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), help: None, is_broken_pipe: false, is_told: false }
    }

    /// The command line or an input makes no sense.
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Invalid, message)
    }

    /// The same failure with a way out.
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// The operating system failed while we tried to do `what`.
    pub fn io(what: impl Display, error: &io::Error) -> Failure {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{what}: {error}"))
    }
}

/// Writing to standard output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        let is_broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Failure {
            is_broken_pipe,
            ..Failure::new(Exit::Failed, format!("standard output: {error}"))
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}

impl From<EncodingError> for Failure {
    fn from(error: EncodingError) -> Failure {
        Failure::from(KernelError::from(error))
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Failure {
        let text = without_advice(&error);
        let (exit, help) = match error.kind() {
            ErrorKind::Conflict => (Exit::Busy, Some("run the command again")),
            ErrorKind::Invalid | ErrorKind::Limit => (Exit::Invalid, None),
            ErrorKind::NotFound => (Exit::NotFound, Some(missing_help(&error))),
            ErrorKind::Corrupt => (
                Exit::Corrupt,
                Some(
                    "`sochdb check` lists what is damaged; restore a backup, or save the rest with \
                     `sochdb repair`",
                ),
            ),
            // The kernel has one kind for what another attempt or another program may mend; a script
            // wants to know which. A test holds these words and the kernel's together.
            ErrorKind::Unavailable if text.contains("another process or handle has it open") => (
                Exit::Busy,
                Some(
                    "wait for the other process to end, as --wait SECONDS does; commands that only read work \
                     meanwhile",
                ),
            ),
            ErrorKind::Unavailable if text.contains("made a checkpoint meanwhile") => (
                Exit::Busy,
                Some("run the command again; `sochdb backup` makes a copy to read for longer"),
            ),
            ErrorKind::Unavailable if text.contains("is newer than this program's") => {
                (Exit::Corrupt, Some("`sochdb --version` shows which version this is"))
            }
            ErrorKind::Unavailable | ErrorKind::Closed => (Exit::Failed, None),
            ErrorKind::Plugin => (Exit::Plugin, plugin_help(&error)),
        };
        // The exit code and `error:` say that already.
        let message =
            text.strip_prefix("invalid: ").or(text.strip_prefix("unavailable: ")).unwrap_or(&text);
        let failure = Failure::new(exit, message);
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Failure {
        let text = error.to_string();
        let (exit, help) = match error {
            RestoreError::Kernel(error) => return Failure::from(error),
            RestoreError::Ambiguous { .. } => (
                Exit::Invalid,
                "name the last commit with --to-commit; `sochdb backup list` shows some",
            ),
            RestoreError::Unrecorded { .. } => (
                Exit::NotFound,
                "--log names a directory with `archive/times`, which databases with an archive have; \
                 --to-commit goes without",
            ),
            _ => (
                Exit::NotFound,
                "name a time in between, an older backup, or more of the log with --log; without a time \
                 all that the log has is restored",
            ),
        };
        Failure::new(exit, text).help(help)
    }
}

/// What happened, without the way out that the kernel tells programs of damage: `help:` has one for this command.
pub fn without_advice(error: &KernelError) -> String {
    let text = error.to_string();
    match text.rsplit_once("; restore a backup, `sochdb check`") {
        Some((happened, _)) if error.kind() == ErrorKind::Corrupt => happened.to_owned(),
        _ => text,
    }
}

/// Who knows what is there.
fn missing_help(error: &KernelError) -> &'static str {
    match error {
        KernelError::NotFound { kind, .. } if kind.contains("plugin") => {
            "`sochdb plugin list --why` shows what is there"
        }
        KernelError::NotFound { kind, .. } if kind.contains("backup") => {
            "`sochdb backup list REPO` shows what is there; `sochdb backup --into REPO` makes one"
        }
        KernelError::NotFound { kind: "commit in the log", .. } => {
            "--log names more of the log; without a moment all that there is is restored"
        }
        _ => "`sochdb table list` shows what is there",
    }
}

/// The way out of a plugin's failure. What a plugin refuses, it explains itself.
fn plugin_help(error: &KernelError) -> Option<&'static str> {
    let KernelError::Plugin { fault, .. } = error else { return None };
    match fault {
        PluginFault::Missing => {
            Some("`sochdb plugin list` shows what is loaded; --plugin-dir adds a folder")
        }
        PluginFault::Denied => {
            Some("`sochdb plugin inspect` shows what it wants and what it is granted")
        }
        PluginFault::Exhausted => Some(
            "its manifest's [resources] say how much it may use, and --policy how much at most",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_with_one_way_out() {
        let damage = || KernelError::Corrupt {
            file: "data.soch".to_owned(),
            offset: 4096,
            expected: "a page".to_owned(),
            found: "nothing".to_owned(),
        };
        assert!(damage().to_string().contains("`sochdb check`"), "the kernel tells programs");
        let failure = Failure::from(damage());
        let said = "corrupt: data.soch at byte 4096: expected a page, found nothing";
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Corrupt, said));
        assert!(failure.help.is_some_and(|help| help.contains("`sochdb check`")));
        let other = KernelError::invalid("a name; restore a backup, `sochdb check`");
        assert!(without_advice(&other).ends_with("`sochdb check`"), "only damage has that advice");
    }
}
