//! The WebAssembly host of SochDB: plugins under fuel, memory and time limits, that see only what they
//! were granted.
//!
//! ```text
//!   manifest.toml ─▶ plugin_manifest ─▶ who, what, how much
//!   plugin.wasm   ─▶ component       ─▶ hashed, compiled ─▶ capability: asked for = allowed?
//!                                                                │
//!   kernel trait  ─▶ wasm_host_abi   ─▶ pool: an instance, its fuel, its deadline ─▶ guest
//!                          ▲                                                           │
//!                          └ rows, segments, codecs, config ..., checked, charged, audited ◀──┘
//! ```
//!
//! | file               | what it is                                                             |
//! |--------------------|------------------------------------------------------------------------|
//! | `plugin_host`      | loads plugins, registers them with a kernel, tells about them          |
//! | `adapter`          | what a database knows a plugin by                                      |
//! | `plugin_hot_reload`| replacing a plugin while the database serves                           |
//! | `plugin_manifest`  | the TOML, strict                                                       |
//! | `component`        | a file, read once, hashed, compiled                                    |
//! | `compiled_code`    | the compiler in its process, the cache of what it made                 |
//! | `kept`             | plugins kept in the database itself                                    |
//! | `disabled`         | plugins that are switched off                                          |
//! | `plugin_package`   | a plugin in one file, to be handed on                                  |
//! | `signature`        | who vouches for a plugin                                               |
//! | `policy`           | what the operator allows, and the grant that a plugin gets of it       |
//! | `glob`             | patterns over the names of tables and plugins                          |
//! | `strict_toml`      | TOML with the place of whatever is wrong                               |
//! | `capability`       | what a component asks for against what it may have                     |
//! | `limits`           | every bound, and who enforces it                                       |
//! | `wasm_runtime`     | the engine, and the clock that stops runaways                          |
//! | `pools`, `pool`    | the instances of a plugin for each tenant; every call into a guest     |
//! | `transaction`      | a transaction, seen through hooks, procedures and tenants              |
//! | `programs`         | the hooks and procedures there are                                     |
//! | `indexes`          | the indexes of tables, as transactions mark rows in them               |
//! | `spread`           | what all threads look at, without sharing a cache line                 |
//! | `search`           | what is looked for in an index, put together                           |
//! | `versions`         | the versions of a plugin behind what the kernel was given                |
//! | `chain`            | calls of guests that lead to calls of guests                           |
//! | `audit`            | what guests did, and what came of it                                   |
//! | `tenant`           | what each tenant may use, and has used                                 |
//! | `quarantine`       | what becomes of a plugin that keeps failing                            |
//! | `wasm_host_abi`    | the contract: one file per interface                                   |
//! | `plugin_telemetry` | what plugins log and count                                             |
//! | `bundled`          | the plugins that were built into this program                          |
//! | `side_by_side`     | the same done to many things, by as many threads as help               |
//!
//! ```
//! use sochdb_kernel::plugin::PluginManager;
//!
//! let (host, plugins) = (sochdb_host_abi::PluginHost::new()?, PluginManager::default());
//! host.load_bundled(&plugins)?;
//! # if cfg!(feature = "bundled") {
//! let lz4 = plugins.compression("lz4")?;
//! let block = b"a row and a row and a row and a row".repeat(100);
//! let stored = lz4.compress(&block)?;
//! assert!(stored.len() < block.len() / 10);
//! assert_eq!(lz4.decompress(&stored, block.len())?, block);
//! # }
//! # Ok::<(), sochdb_kernel::KernelError>(())
//! ```
//!
//! Whatever a guest does, the host answers a typed error
//! ([`KernelError::Plugin`](sochdb_kernel::KernelError::Plugin), with whose fault it was) and goes on; the
//! next call gets a fresh instance.

#![deny(unsafe_code)]

pub mod address;
pub mod audit;
pub mod bundled;
pub mod canary;
pub mod capability;
pub mod compiled_code;
pub mod disabled;
pub mod glob;
pub mod kept;
pub mod kept_tenants;
pub mod limits;
pub mod plugin_hot_reload;
pub mod plugin_manifest;
pub mod plugin_package;
pub mod policy;
pub mod signature;

mod adapter;
mod chain;
mod column_scan;
mod component;
mod indexes;
mod observed;
mod plugin;
mod plugin_host;
mod plugin_telemetry;
mod pool;
mod pools;
mod programs;
mod quarantine;
mod search;
mod side_by_side;
mod spread;
mod strict_toml;
mod tenant;
mod timings;
mod transaction;
mod versions;
mod wasm_host_abi;
mod wasm_runtime;

pub use audit::{AuditFilter, AuditLog, AuditRecord};
pub use capability::CONTRACT_VERSION;
pub use chain::in_background;
pub use column_scan::{ColumnScan, SelectedScan};
pub use plugin_host::{
    HostOptions, Inspection, NotLoaded, PluginHost, PluginInfo, UsageInfo, component_named,
    dependents, manifests_in,
};
pub use plugin_hot_reload::{ReloadOptions, ReloadReport, TrialReport};
pub use plugin_manifest::{ManifestError, PluginKind, PluginManifest};
pub use policy::{Grant, Policy};
pub use programs::{Alone, Programs};
pub use quarantine::{Health, TenantHealth};
pub use search::{Neighbour, Search};
pub use signature::{Signatures, Signer};
pub use tenant::{Tenant, TenantInfo, TenantOptions, TenantUsage, Tenants};
pub use transaction::{RowWrite, Transaction};
pub use wasm_host_abi::{
    ProcedureInfo, WasmCodec, WasmColumnCursor, WasmHooks, WasmIndex, WasmObserver, WasmProcedures,
    WasmReader, WasmStorage, columns_of,
};
