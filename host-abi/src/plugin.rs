//! A plugin that was loaded: its manifest, its component, and what it has used so far.

use crate::audit::AuditLog;
use crate::component::Component;
use crate::plugin_manifest::{PluginKind, PluginManifest};
use crate::plugin_telemetry::PluginTelemetry;
use crate::policy::Grant;
use crate::programs::Programs;
use crate::quarantine::Healths;
use crate::signature::Signer;
use crate::tenant::Tenants;
use crate::wasm_host_abi::Directories;
use crate::wasm_runtime::Runtime;
use sochdb_kernel::plugin::{ExtensionCapability, ExtensionInfo};
use sochdb_observability::{Durations, Outbox, Tracer};
use sochdb_reload::Meter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// What all instances of one loaded plugin share.
pub(crate) struct Plugin {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) manifest: PluginManifest,
    /// What it may do and use: what its manifest asks for, as far as the operator allows it.
    pub(crate) grant: Arc<Grant>,
    /// The directories it was granted.
    pub(crate) directories: Directories,
    /// What errors and lists call the manifest's and the component's place.
    pub(crate) source: String,
    /// Who vouches for it.
    pub(crate) signer: Option<Signer>,
    pub(crate) component: Component,
    pub(crate) telemetry: PluginTelemetry,
    pub(crate) usage: Usage,
    /// Whether it is called, for each tenant.
    pub(crate) healths: Healths,
    /// The host's audit trail.
    pub(crate) audit: Arc<AuditLog>,
    /// The host's tenants.
    pub(crate) tenants: Tenants,
    /// Where its calls' spans begin.
    pub(crate) tracer: Tracer,
    /// What it sends to addresses.
    pub(crate) outbox: Arc<Outbox>,
    /// The plugins that this one may call; weak, because they hold this one.
    pub(crate) programs: Weak<Programs>,
    /// How its calls go, to be compared with another version's.
    pub(crate) meter: Meter,
    /// Why it serves no longer, if it was taken off its trial.
    pub(crate) taken_out: OnceLock<String>,
}

impl Plugin {
    /// The same plugin for somebody who tries it: what these calls use, log and fail is not counted with others',
    /// and none may take longer than so many milliseconds.
    pub(crate) fn apart(&self, timeout_ms_max: u64) -> Arc<Plugin> {
        let mut grant = Grant::clone(&self.grant);
        let limits = &mut grant.limits;
        limits.timeout_ms = limits.timeout_ms.min(timeout_ms_max);
        if let Some(background) = &mut limits.background {
            background.timeout_ms = background.timeout_ms.min(timeout_ms_max);
        }
        Arc::new(Plugin {
            runtime: self.runtime.clone(),
            manifest: self.manifest.clone(),
            grant: Arc::new(grant),
            directories: self.directories.clone(),
            source: self.source.clone(),
            component: self.component.clone(),
            telemetry: PluginTelemetry::default(),
            usage: Usage::default(),
            healths: Healths::default(),
            audit: self.audit.clone(),
            tenants: self.tenants.clone(),
            tracer: self.tracer.clone(),
            outbox: self.outbox.clone(),
            programs: self.programs.clone(),
            meter: Meter::default(),
            taken_out: OnceLock::new(),
            signer: self.signer.clone(),
        })
    }

    /// Turns the switch between its versions, while no transaction begins.
    pub(crate) fn turn(&self, turn: &mut dyn FnMut()) {
        match self.programs.upgrade() {
            Some(programs) => programs.turn(turn),
            None => turn(),
        }
    }

    /// Its trial is over, and why. The first word counts.
    pub(crate) fn taken_out(&self, why: String) {
        let (plugin, version) = (&self.manifest.name, &self.manifest.version);
        tracing::warn!(target: "sochdb::plugin", plugin, %version, why, "taken back");
        let _ = self.taken_out.set(why);
    }

    /// Why its trial ended, if it did not end well.
    pub(crate) fn why_taken_out(&self) -> Option<&str> {
        self.taken_out.get().map(String::as_str)
    }

    pub(crate) fn extension_info(&self) -> ExtensionInfo {
        let manifest = &self.manifest;
        ExtensionInfo {
            name: manifest.name.clone(),
            version: manifest.version.to_string(),
            description: manifest.description.clone(),
            author: manifest.author.clone(),
            capabilities: match manifest.kind {
                PluginKind::Codec => vec![ExtensionCapability::Compression],
                PluginKind::Observer => vec![ExtensionCapability::Observability],
                PluginKind::Storage => vec![ExtensionCapability::Storage],
                // The kernel has never heard of these; others call them.
                PluginKind::Hooks | PluginKind::Procedure | PluginKind::Index => Vec::new(),
            },
        }
    }
}

/// Counted since the plugin was loaded.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) calls: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) instances_started: AtomicU64,
    pub(crate) fuel: AtomicU64,
    /// How long calls took, waiting for an instance included.
    pub(crate) took: Durations,
    pub(crate) instances: AtomicU64,
    /// Bytes of memories and tables of all instances.
    pub(crate) memory: Arc<AtomicU64>,
}

pub(crate) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
