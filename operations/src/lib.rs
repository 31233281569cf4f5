//! What an operator does with a database: open it, watch its health, check it, back it up, follow it.
//!
//! Everything here stands on the kernel's public API, so the kernel stays small enough to audit.
//!
//! | room           | what it is                                                                     |
//! |----------------|--------------------------------------------------------------------------------|
//! | `orchestrator` | [`BootOrchestrator`]: opens with budgets, progress, a warm cache, a fallback    |
//! | `boot`         | [`BootStateMachine`]: the states of opening, for whoever watches                |
//! | `health`       | [`KernelHealth`]: how a database is, in one word and the reasons                |
//! | `contracts`    | [`KernelStorage`] and its kin: traits to write code against                     |
//! | `namespaced`   | [`Namespaced`]: a transaction that shows a tenant its own tables only           |
//! | `check`        | [`check()`]: reads everything and says what is wrong                              |
//! | `walk`         | the walk over pages, values and segments that check and backup share            |
//! | `beside`       | [`Beside`]: reading a database that another process has open                |
//! | `patient`      | [`Patient`]: waiting for another process to close a database                 |
//! | `backup`       | [`backup()`] and [`restore`]: a hot copy, and a way back to any moment since       |
//! | `repository`   | [`Repository`]: backups that share what they have in common, listed, verified, pruned |
//! | `moment`       | [`Moment`]: where a restore goes to, a commit or a time                          |
//! | `times`        | [`CommitTimes`]: when commits were made                                         |
//! | `repair`       | [`repair()`]: saves what can be saved of a broken database into a new one        |
//! | `fresh`        | a directory in which a database is being made, and which is none until then      |
//! | `changes`      | [`changes()`]: committed changes in commit order                                  |
//! | `convert`      | [`convert()`]: a table moved to another storage while others use it               |
//! | `dump`         | [`DumpWriter`], [`DumpReader`]: tables and rows as a portable file              |
//! | `expire`       | [`Ttl`]: which rows of a table have had their time                              |
//! | `log`          | the log's files, wherever they lie                                              |
//! | `archive`      | [`compress_archive`]: the archived log, compressed                              |
//! | `samples`      | [`codec_samples`]: what a codec is given of a table                              |
//! | `size`         | [`table_size`]: how much a table takes on disk                                  |
//! | `progress`     | how far a long operation is                                                     |

mod archive;
mod backup;
mod beside;
mod boot;
mod changes;
mod check;
mod contracts;
mod convert;
mod dump;
mod expire;
mod fresh;
mod health;
mod log;
mod log_reader;
mod moment;
mod namespaced;
mod orchestrator;
mod patient;
mod progress;
mod repair;
mod repository;
mod samples;
mod size;
mod times;
mod unmake;
mod walk;

pub use archive::{ArchiveReport, compress_archive};
pub use backup::{BackupReport, backup, restore, restore_to, restore_with};
pub use beside::{Beside, READERS_DIR, has_readers};
pub use boot::{BootSnapshot, BootState, BootStateMachine, BootStep, BootWatch, PhaseProgress};
pub use changes::{Change, Changes, RowChange, TableChange, changes};
pub use check::{CheckOptions, CheckReport, check, check_with};
pub use contracts::{KernelCatalog, KernelRecovery, KernelStorage, KernelTransaction, RestartCost};
pub use convert::{
    ConvertReport, Quiet, TableChanges, convert, hidden_namespace, loading_table, remove_unfinished,
};
pub use dump::{DUMP_MAGIC, DumpItem, DumpReader, DumpRows, DumpTable, DumpWriter};
pub use expire::{Expired, TTL, TTL_COLUMN, Ttl, expired};
pub use health::{HealthStatus, KernelHealth};
pub use moment::{Moment, Reached, RestoreError, utc_text};
pub use namespaced::Namespaced;
pub use orchestrator::{
    BootBudgets, BootError, BootMetrics, BootOrchestrator, Booted, PreloadHints, WarmupEnd,
};
pub use patient::Patient;
pub use progress::{OnProgress, Progress};
pub use repair::{
    LostCommits, LostRows, Register, RepairOptions, RepairReport, RepairedTable, repair,
};
pub use repository::{
    BackupInfo, Keep, PruneReport, Repository, SaveReport, VerifiedBackup, VerifyReport,
};
pub use samples::codec_samples;
pub use size::{TableSize, table_size};
pub use sochdb_kernel::{BootPhase, RecoveryMode};
pub use times::{CommitTimes, Recorded};
pub use unmake::unmake;
