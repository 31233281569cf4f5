//! A compiler in a process of its own: the side that compiles.
//!
//! It lowers its own limits first, for good, then reads the component, compiles it with the same engine
//! configuration that the host has, and writes the sealed artifact. Request, answer and limits are tables in
//! `child.rs`.

use super::artifact::{Artifact, CodeId, EngineKey};
use super::child::exit;
use super::child::request::{HEADER_BYTES, Request};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::wasm_runtime;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use wasmtime::Engine;

/// Compiles the component on standard input for a host that has this program as its
/// [`ChildCompiler`](super::ChildCompiler), and returns what the process has to exit with.
///
/// Standard output is the host's alone: nothing else may be written there before or after. Limits on
/// memory and time are in force from here on, so the process is of no other use.
///
/// ```no_run
/// use sochdb_host_abi::compiled_code::compile_child;
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if std::env::args().nth(1).is_some_and(|argument| argument == "compile-component") {
///         return compile_child();
///     }
///     // What the program is for.
///     ExitCode::SUCCESS
/// }
/// ```
pub fn compile_child() -> ExitCode {
    match answer(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal { code, why }) => {
            // The host may be gone, and nobody left to be told.
            let _ = io::stdout().write_all(why.as_bytes()).and_then(|()| io::stdout().flush());
            ExitCode::from(code)
        }
    }
}

/// An exit code of the table, and its reason.
struct Refusal {
    code: u8,
    why: String,
}

fn unserved(why: impl Into<String>) -> Refusal {
    Refusal { code: exit::UNSERVED, why: why.into() }
}

fn answer(input: &mut impl Read, output: &mut impl Write) -> Result<(), Refusal> {
    let io = |what: &'static str| {
        move |error: io::Error| match error.kind() {
            io::ErrorKind::OutOfMemory => Refusal { code: exit::MEMORY, why: what.to_owned() },
            _ => unserved(format!("{what}: {error}")),
        }
    };
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header).map_err(io("read the request"))?;
    let request = Request::decode(&header)
        .ok_or_else(|| unserved("the request is of another version, or none"))?;
    if COMPONENT_BYTES_MAX < request.len {
        return Err(unserved("the component is too large"));
    }
    limit(&request)?;
    let mut component = Vec::new();
    input.take(request.len).read_to_end(&mut component).map_err(io("read the component"))?;
    if component.len() as u64 != request.len {
        return Err(unserved("the component is cut off"));
    }
    let engine =
        Engine::new(&wasm_runtime::config()).map_err(|error| compile_error(&error, true))?;
    let engine_key = EngineKey::of(&engine);
    if engine_key != request.engine {
        return Err(unserved(
            "this program's engine is not the host's; both must be of one version",
        ));
    }
    let artifact =
        Artifact::compile(&engine, &component).map_err(|error| compile_error(&error, false))?;
    let id = CodeId::new(&engine_key, &blake3::hash(&component));
    output
        .write_all(&artifact.header(&request.key, &id))
        .and_then(|()| output.write_all(artifact.artifact()))
        .and_then(|()| output.flush())
        .map_err(io("write the artifact"))
}

fn compile_error(error: &wasmtime::Error, ours: bool) -> Refusal {
    let no_memory = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<wasmtime::OutOfMemory>()
            || cause
                .downcast_ref()
                .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::OutOfMemory)
    };
    let code = match error.chain().any(no_memory) {
        true => exit::MEMORY,
        false if ours => exit::UNSERVED,
        false => exit::INVALID,
    };
    Refusal { code, why: format!("{error:#}") }
}

/// Lowers the limits of this process, never to be raised again.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn limit(request: &Request) -> Result<(), Refusal> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let set = |resource: Resource, soft: u64, hard: u64| {
        // Whoever started the host may have set less; nobody can set more.
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
        setrlimit(resource, limit)
            .map_err(|error| unserved(format!("set the limit {resource:?}: {error}")))
    };
    set(Resource::Core, 0, 0)?;
    set(Resource::Fsize, 0, 0)?;
    // At the first the system tells it, at the second it kills it.
    set(Resource::Cpu, request.cpu_s, request.cpu_s.saturating_add(1))?;
    set(Resource::As, request.address_space_bytes, request.address_space_bytes)
}

/// Where memory has no bound, no host asks; see `child.rs`.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn limit(_: &Request) -> Result<(), Refusal> {
    Err(unserved("this system does not bound a process's memory"))
}
