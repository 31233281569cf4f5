//! The contract of `wit/`, from the host's side: guest call in, kernel trait out.
//!
//! The only place with generated bindings. One file per interface:
//!
//! | file        | interface                 | what it does                                         |
//! |-------------|---------------------------|------------------------------------------------------|
//! | `types`     | `types`                   | errors and log levels, between contract and kernel   |
//! | `telemetry` | `telemetry` (import)      | metrics and log lines of the guest, bounded          |
//! | `config`    | `config` (import)         | the settings of the manifest                         |
//! | `segments`  | `segments` (import)       | runs and segments of the kernel, as handles          |
//! | `entries`   | `entries` (import)        | entries of indexes, compared for the guest           |
//! | `rows`      | `rows` (import)           | tables, inside the caller's transaction              |
//! | `search`    | `search` (import)         | indexes of those tables                              |
//! | `codecs`    | `codecs` (import)         | blocks through another plugin                        |
//! | `calls`     | `plugins` (import)        | procedures of other plugins                          |
//! | `outbox`    | `outbox` (import)         | payloads to addresses, for observers                 |
//! | `wasi`      | WASI 0.2 (import)         | linked with nothing in it but what was granted       |
//! | `lifecycle` | `lifecycle` (export)      | what every instance goes through                     |
//! | `codec`     | `codec` (export)          | [`WasmCodec`], a `CompressionExtension`              |
//! | `observer`  | `observer` (export)       | [`WasmObserver`], an `ObservabilityExtension`        |
//! | `hooks`     | `hooks` (export)          | [`WasmHooks`], before and after rows change          |
//! | `procedure` | `procedure` (export)      | [`WasmProcedures`], called by name                   |
//! | `storage`   | `storage-engine` (export) | [`WasmStorage`], a `StorageExtension`                |
//! | `index`     | `index` (export)          | [`WasmIndex`], an `IndexExtension`                   |
//!
//! A new kind of plugin adds its world to `wit/`, a `bindgen!` of its one export below, and a file
//! with an adapter: a type that implements [`Exports`] and turns calls of the kernel's trait into
//! [`Pool::call`](crate::pool::Pool::call).
//!
//! Every import charges fuel for itself and the bytes it carries before it does anything, and no
//! import leads back into the instance that called: a run may be read through another one.

mod calls;
mod codec;
mod codecs;
mod config;
mod entries;
mod flat;
mod handles;
mod hooks;
mod index;
mod lifecycle;
mod observer;
mod outbox;
mod procedure;
mod rows;
mod search;
mod segments;
mod storage;
mod telemetry;
mod typed;
mod types;
mod wasi;

pub use codec::WasmCodec;
pub use hooks::WasmHooks;
pub use index::WasmIndex;
pub use observer::WasmObserver;
pub use procedure::{ProcedureInfo, WasmProcedures};
pub use storage::{WasmColumnCursor, WasmReader, WasmStorage, columns_of};

pub(crate) use base_bindings::sochdb::plugin::types::Error as GuestError;
pub(crate) use hooks::{Change, ChangeKind, Decision};
pub(crate) use lifecycle::Lifecycle;
pub(crate) use observer::NewestBatch;
pub(crate) use types::{clean, code};
pub(crate) use wasi::{Directories, is_linked as is_linked_wasi};

use crate::audit::{Entries, Outcome, Who};
use crate::chain;
use crate::limits::{MemoryLimiter, fuel};
use crate::plugin::Plugin;
use crate::tenant::Tenant;
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{Access, HasData, Instance, InstancePre, Linker};
use wasmtime::{AsContextMut, Store, Trap};

/// What is imported by every world, and the export of every instance's life.
#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod base_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world base {
                import sochdb:plugin/telemetry@0.1.0;
                import sochdb:plugin/config@0.1.0;
                import sochdb:plugin/segments@0.1.0;
                import sochdb:plugin/entries@0.1.0;
                import sochdb:plugin/rows@0.1.0;
                import sochdb:plugin/search@0.1.0;
                import sochdb:plugin/codecs@0.1.0;
                import sochdb:plugin/plugins@0.1.0;
                import sochdb:plugin/outbox@0.1.0;
                export sochdb:plugin/lifecycle@0.1.0;
            }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/base",
        imports: { default: trappable | store },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod codec_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world codec { export sochdb:plugin/codec@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/codec",
        with: { "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod observer_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world observer { export sochdb:plugin/observer@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/observer",
        with: { "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod storage_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world storage { export sochdb:plugin/storage-engine@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/storage",
        with: {
            "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types,
            "sochdb:plugin/segments@0.1.0": super::base_bindings::sochdb::plugin::segments,
        },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod index_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world index { export sochdb:plugin/index@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/index",
        with: {
            "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types,
            "sochdb:plugin/segments@0.1.0": super::base_bindings::sochdb::plugin::segments,
            "sochdb:plugin/entries@0.1.0": super::base_bindings::sochdb::plugin::entries,
        },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod hooks_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world hooks { export sochdb:plugin/hooks@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/hooks",
        with: {
            "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types,
            "sochdb:plugin/rows@0.1.0": super::base_bindings::sochdb::plugin::rows,
        },
    });
}

#[allow(missing_docs, reason = "generated; the contract in `wit/` has the documentation")]
pub(crate) mod procedure_bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sochdb:host;
            world procedure { export sochdb:plugin/procedure@0.1.0; }
        ",
        path: "../wit/0.1.0",
        world: "sochdb:host/procedure",
        with: {
            "sochdb:plugin/types@0.1.0": super::base_bindings::sochdb::plugin::types,
            "sochdb:plugin/rows@0.1.0": super::base_bindings::sochdb::plugin::rows,
        },
    });
}

/// What a store holds beside the guest: whose instance it is, and what its present call has used.
pub(crate) struct GuestState {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) memory: MemoryLimiter,
    /// When the present call must have ended.
    pub(crate) deadline: Instant,
    /// What the present call has said.
    pub(crate) said: telemetry::Said,
    /// The kernel's things that the guest holds handles of.
    pub(crate) segments: segments::Segments,
    /// The entries that the guest holds handles of, and what the present call looks for.
    pub(crate) indexes: entries::Indexes,
    /// The transaction of the present call, and what is open in it.
    pub(crate) rows: rows::Rows,
    /// Codecs of other plugins that the guest holds handles of.
    codecs: codecs::Codecs,
    /// Addresses that the guest holds handles of.
    addresses: outbox::Addresses,
    /// What kept the host from serving the present call, if it was not the guest's own mistake. When the
    /// guest then gives up, this is the reason.
    failure: Option<KernelError>,
    /// What the present call did.
    pub(crate) audit: Entries,
    wasi: wasi::Wasi,
}

impl GuestState {
    pub(crate) fn new(
        plugin: Arc<Plugin>,
        tenant: Option<Arc<Tenant>>,
        who: Arc<Who>,
    ) -> GuestState {
        GuestState {
            audit: Entries::new(plugin.audit.clone(), who),
            memory: MemoryLimiter::new(
                plugin.grant.limits.memory_bytes_max,
                tenant,
                plugin.usage.memory.clone(),
            ),
            deadline: Instant::now(),
            said: telemetry::Said::default(),
            segments: segments::Segments::default(),
            indexes: entries::Indexes::default(),
            rows: rows::Rows::default(),
            codecs: codecs::Codecs::default(),
            addresses: outbox::Addresses::default(),
            failure: None,
            wasi: wasi::Wasi::new(&plugin.manifest.name, &plugin.grant, &plugin.directories),
            plugin,
        }
    }

    /// Forgets what the call before has used. This one has so much time and fuel.
    pub(crate) fn begin_call(&mut self, deadline: Instant, fuel_max: u64) {
        self.deadline = deadline;
        self.said = telemetry::Said::default();
        self.memory.take_refused();
        self.failure = None;
        self.wasi.begin_call(deadline, fuel_max);
    }

    /// What files have cost in the present call, in fuel that was not taken from the store.
    pub(crate) fn file_fuel(&self) -> u64 {
        self.wasi.fuel()
    }

    /// What kept the host from serving the present call.
    pub(crate) fn take_failure(&mut self) -> Option<KernelError> {
        self.failure.take()
    }

    /// The answer to a guest of what the kernel did for it.
    fn answer<R>(&mut self, result: KernelResult<R>) -> Result<R, GuestError> {
        result.map_err(|error| {
            let (answer, is_guests_mistake) = GuestError::of(&error);
            if !is_guests_mistake {
                self.failure.get_or_insert(error);
            }
            answer
        })
    }

    /// The end of what the guest wrote to standard error since this was last asked.
    pub(crate) fn take_standard_error(&mut self) -> String {
        clean(&self.wasi.take_standard_error())
    }
}

/// The exports of one kind of plugin, beside `lifecycle`.
pub(crate) trait Exports: Send + Sized + 'static {
    /// Looks the exports up, before there is an instance: whether they are there and of the right type.
    fn check(component: &InstancePre<GuestState>) -> wasmtime::Result<()>;

    /// The exports of `instance`.
    fn new(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<Self>;
}

/// Provides everything that a component may import.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    use base_bindings::sochdb::plugin;
    plugin::types::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::telemetry::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::config::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::segments::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::entries::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::rows::add_to_linker::<_, Host>(linker, |state| state)?;
    rows::link(linker)?;
    plugin::search::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::codecs::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::plugins::add_to_linker::<_, Host>(linker, |state| state)?;
    plugin::outbox::add_to_linker::<_, Host>(linker, |state| state)?;
    wasi::link(linker)
}

/// Implements the contract's imports.
pub(crate) struct Host;

impl HasData for Host {
    type Data<'a> = &'a mut GuestState;
}

/// Does the work of an import, and notes it in the audit trail as `function`. Its outcome is what it answers;
/// when it ends the guest, the outcome of the guest's call is also its own.
fn audited<'a, T, R: Answered>(
    mut host: Access<'a, T, Host>,
    function: &'static str,
    work: impl FnOnce(&mut Access<'a, T, Host>) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    host.get().audit.begin(function);
    let answer = work(&mut host)?;
    host.get().audit.end(answer.outcome());
    Ok(answer)
}

/// What an import answers.
trait Answered {
    fn outcome(&self) -> Outcome;
}

impl<R> Answered for Result<R, GuestError> {
    fn outcome(&self) -> Outcome {
        self.as_ref().map_or_else(|error| Outcome::of_code(error.code), |_| Outcome::Ok)
    }
}

/// What cannot fail.
macro_rules! answered {
    ($($answer:ty),*) => { $(impl Answered for $answer {
        fn outcome(&self) -> Outcome {
            Outcome::Ok
        }
    })* };
}
answered!(
    (),
    bool,
    String,
    base_bindings::sochdb::plugin::segments::SegmentInfo,
    base_bindings::sochdb::plugin::outbox::OutboxStatus
);

/// Takes the fuel for a host call that carries `bytes`, and for the guests that earlier ones led to.
///
/// # Errors
/// A trap when there is not enough left. Fuel alone would not stop the guest before its next loop.
fn charge<T>(host: &mut Access<'_, T, Host>, bytes: usize) -> wasmtime::Result<()> {
    let mut store = host.as_context_mut();
    let cost = fuel::CALL + fuel::BYTE * bytes as u64;
    let fuel = store.get_fuel()?;
    let left = chain::pay(fuel, cost);
    store.set_fuel(left.unwrap_or(0))?;
    host.get().audit.charged(fuel - left.unwrap_or(0), bytes);
    left.map(drop).ok_or_else(|| Trap::OutOfFuel.into())
}
