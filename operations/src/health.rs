//! How a database is, in one word and the reasons for it.
//!
//! | status     | what it means                                  | what to do                                   |
//! |------------|------------------------------------------------|----------------------------------------------|
//! | `Healthy`  | everything works                               | nothing                                      |
//! | `Degraded` | it serves, but something does not get on       | mend the disk or the plugin that is named    |
//! | `ReadOnly` | it serves reads only, as it was opened         | if by force: restore or repair               |
//! | `Failed`   | it was closed, or its log cannot be written    | open it again                                |

use sochdb_kernel::Kernel;
use std::fmt;

/// How a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// It serves, but something does not get on, and if that lasts writes will be refused.
    Degraded {
        /// Each trouble in a sentence.
        why: Vec<String>,
    },
    /// It serves reads only, as it was opened.
    ReadOnly {
        /// What is missing because it was opened by force; empty when it was merely asked for.
        lost: Vec<String>,
    },
    /// It serves no writes, and perhaps no reads, until it is opened again.
    Failed {
        /// What failed.
        why: String,
    },
}

impl HealthStatus {
    /// Whether writes are accepted.
    pub fn accepts_writes(&self) -> bool {
        matches!(self, HealthStatus::Healthy | HealthStatus::Degraded { .. })
    }

    /// The status in one word, as a monitor wants it: `healthy`, `degraded`, `read-only` or `failed`.
    pub fn word(&self) -> &'static str {
        match self {
            HealthStatus::Healthy => "healthy",
            HealthStatus::Degraded { .. } => "degraded",
            HealthStatus::ReadOnly { .. } => "read-only",
            HealthStatus::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            HealthStatus::Healthy => Ok(()),
            HealthStatus::Degraded { why: reasons } | HealthStatus::ReadOnly { lost: reasons } => {
                let mut before = ": ";
                for reason in reasons {
                    write!(f, "{before}{reason}")?;
                    before = "; ";
                }
                Ok(())
            }
            HealthStatus::Failed { why } => write!(f, ": {why}"),
        }
    }
}

/// Whoever can say how it is.
///
/// ```
/// use sochdb_kernel::{Kernel, Options};
/// use sochdb_operations::{HealthStatus, KernelHealth};
///
/// # fn main() -> sochdb_kernel::KernelResult<()> {
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// assert_eq!(kernel.health(), HealthStatus::Healthy);
/// kernel.close()?;
/// assert_eq!(kernel.health().word(), "failed");
/// # Ok(())
/// # }
/// ```
pub trait KernelHealth {
    /// How it is now. Cheap enough to be asked every second: no file is touched.
    fn health(&self) -> HealthStatus;
}

impl KernelHealth for Kernel {
    fn health(&self) -> HealthStatus {
        if let Some(why) = self.failure() {
            return HealthStatus::Failed {
                why: format!("the log failed, writes are refused: {why}"),
            };
        }
        if let Err(closed) = self.begin_read() {
            return HealthStatus::Failed { why: closed.to_string() };
        }
        if self.options().read_only {
            return HealthStatus::ReadOnly { lost: self.recovery().lost.clone() };
        }
        let (checkpoints, tables) = self.troubles();
        let mut why: Vec<String> =
            checkpoints.iter().map(|why| format!("checkpoints fail: {why}")).collect();
        let storage =
            |(name, why): (String, String)| format!("the storage of table '{name}' fails: {why}");
        why.extend(tables.into_iter().map(storage));
        if why.is_empty() { HealthStatus::Healthy } else { HealthStatus::Degraded { why } }
    }
}
