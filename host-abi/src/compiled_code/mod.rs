//! From a component's bytes to code that runs: looked up, or compiled and kept.
//!
//! ```text
//!   bytes ─▶ hash ─▶ cache ── there, its seal holds ──────────────────────────▶ artifact ─▶ code
//!                      │ not there                                                 ▲
//!                      ▼                                                           │
//!                    shape ─▶ compiler: in this process, or in a child with limits ┘─▶ cache
//! ```
//!
//! | file               | what it is                                                               |
//! |--------------------|--------------------------------------------------------------------------|
//! | `artifact`         | compiled code as bytes, sealed with a key; the only code that loads it    |
//! | `cache`            | a folder of sealed artifacts, trusted only while it is ours alone         |
//! | `child`            | the host's side of a compiler in a process with limits                   |
//! | `compiler_process` | the other side: [`compile_child`]                                        |
//! | `memory_file`      | where what a cache kept lies while it runs                               |
//! | `shape`            | how many functions, types and nested components there may be             |
//!
//! Compiling is the one thing no fuel pays for, and a compiler is no sandbox: what strangers wrote is best
//! compiled by a [`Compiler::Child`]. The plugins that were built into this program come from whoever
//! built it, and are compiled here.

mod artifact;
#[cfg(unix)]
mod cache;
#[cfg(not(unix))]
#[path = "no_cache.rs"]
mod cache;
mod child;
mod compiler_process;
#[cfg(target_os = "linux")]
mod memory_file;
mod shape;

pub use cache::CodeCache;
pub use child::{ChildCompiler, CompileLimits};
pub use compiler_process::compile_child;

use crate::component::Wasm;
use crate::wasm_runtime::Runtime;
use artifact::{Artifact, CodeId};
use sochdb_kernel::{KernelError, KernelResult};
use std::time::Instant;
use wasmtime::component::Component;

pub(crate) use artifact::EngineKey;

/// How a host comes by compiled code. Without more said: nothing is cached, all is compiled in this process.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// Where compiled code is kept; several hosts may share one.
    pub cache: Option<CodeCache>,
    /// Who compiles components that were not built into this program.
    pub compiler: Compiler,
}

/// Who compiles components that were not built into this program.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// This process. Quickest; a component that is made for it can take its memory and hours of its time.
    #[default]
    InProcess,
    /// A process of its own for each component, with limits.
    Child(ChildCompiler),
}

/// Where a component comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was built into this program.
    Bundled,
    /// From a file, a database: whoever wrote it is not known.
    Stranger,
}

/// Compiled code of the component `wasm`, whose hash is `hash`. `shown` names it in errors.
///
/// # Errors
/// `Invalid` when it is no component, or uses a proposal that plugins do not get; `Limit` when there is
/// too much of something in it; `Plugin` with `Exhausted` when compiling met a limit of the compiler's
/// process; `Unavailable` when that process cannot be had.
pub(crate) fn load(
    runtime: &Runtime,
    shown: &str,
    wasm: Wasm<'_>,
    hash: &blake3::Hash,
) -> KernelResult<Component> {
    let (engine, options) = (runtime.engine(), runtime.compile_options());
    let id = CodeId::new(runtime.engine_key(), hash);
    let cached = options.cache.as_ref().and_then(|cache| cache.load(&id));
    if let Some(artifact) = cached {
        match artifact.load(engine) {
            Ok(code) => {
                tracing::debug!(target: "sochdb::plugin", shown, "found compiled");
                return Ok(code);
            }
            Err(error) => {
                tracing::warn!(target: "sochdb::plugin", shown, "cached code does not load: {error:#}");
            }
        }
    }
    let bytes = &*wasm.bytes();
    shape::check(shown, bytes)?;
    let keep = |artifact: &Artifact| {
        if let Some(cache) = &options.cache {
            cache.store(&id, artifact);
        }
    };
    let began = Instant::now();
    let code = match (&options.compiler, wasm.origin()) {
        (Compiler::Child(child), Origin::Stranger) => {
            let artifact = child.compile(runtime.engine_key(), &id, shown, bytes)?;
            let code = artifact.load(engine).map_err(|error| {
                KernelError::unavailable(format!("load the code compiled for {shown}: {error:#}"))
            })?;
            keep(&artifact);
            code
        }
        (Compiler::InProcess, _) | (_, Origin::Bundled) => {
            let code = Component::from_binary(engine, bytes).map_err(|error| {
                KernelError::invalid(format!("{shown} is not a valid component: {error:#}"))
            })?;
            if options.cache.is_some() {
                match Artifact::of(&code) {
                    Ok(artifact) => keep(&artifact),
                    Err(error) => {
                        tracing::warn!(target: "sochdb::plugin", shown, "code is not cached: {error:#}");
                    }
                }
            }
            code
        }
    };
    let ms = began.elapsed().as_millis();
    tracing::debug!(target: "sochdb::plugin", shown, ms, "compiled");
    Ok(code)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_cached_artifact_that_does_not_load_is_compiled_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&folder.path().join("code")).unwrap();
        let options = CompileOptions { cache: Some(cache.clone()), ..CompileOptions::default() };
        let runtime = Runtime::new(options).unwrap();
        let bytes = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let hash = blake3::hash(&bytes);
        let id = CodeId::new(runtime.engine_key(), &hash);
        cache.store(&id, &Artifact::of_bytes(b"sealed by us, and yet no code"));
        let wasm = Wasm::Bytes(&bytes, Origin::Stranger);
        assert!(load(&runtime, "it", wasm, &hash).is_ok());
        assert!(cache.load(&id).unwrap().load(runtime.engine()).is_ok());
    }

    #[test]
    fn what_is_found_compiled_imports_and_exports_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let options = || CompileOptions {
            cache: Some(CodeCache::open(&folder.path().join("code")).unwrap()),
            ..CompileOptions::default()
        };
        for plugin in crate::bundled::PLUGINS {
            let names = |options| {
                let runtime = Runtime::new(options).unwrap();
                let wasm = Wasm::Bundled(plugin.component);
                let code = load(&runtime, "it", wasm, &wasm.hash()).unwrap();
                let (engine, signature) = (runtime.engine(), code.component_type());
                let imports = signature.imports(engine).map(|(name, _)| name.to_owned());
                let exports = signature.exports(engine).map(|(name, _)| name.to_owned());
                imports.chain(exports).collect::<Vec<_>>()
            };
            let compiled = names(options());
            assert!(!compiled.is_empty());
            assert_eq!(names(options()), compiled);
        }
    }
}
