//! A component: read once, hashed, compiled from the very bytes that were hashed.
//!
//! A file is opened in its folder, through a handle to the folder, without following links: a name in a
//! manifest cannot lead out of the manifest's folder. It must be a regular file below
//! [`COMPONENT_BYTES_MAX`](crate::limits::COMPONENT_BYTES_MAX), and is read into memory once. Hash,
//! compiler and everything after use that buffer, so nobody can change the file in between.

use crate::bundled::Packed;
use crate::capability::{self, Import};
use crate::compiled_code::{self, Origin};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::plugin_manifest::PluginKind;
use crate::wasm_runtime::Runtime;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use sochdb_kernel::{KernelError, KernelResult};
use std::borrow::Cow;
use std::io::{self, Read};
use std::path::Path;

/// The first bytes of every WebAssembly binary, then version and layer of a component.
const MAGIC: &[u8] = b"\0asm";
const MODULE_VERSION: &[u8] = &[1, 0, 0, 0];

/// A compiled component and what is known about it. Cheap to clone but for the names.
#[derive(Clone)]
pub(crate) struct Component {
    pub(crate) code: wasmtime::component::Component,
    pub(crate) blake3: blake3::Hash,
    pub(crate) bytes: u64,
    /// In the component's order.
    pub(crate) imports: Vec<Import>,
    /// Full names, in the component's order.
    pub(crate) exports: Vec<String>,
}

/// A component as WebAssembly, before it is compiled.
#[derive(Clone, Copy)]
pub(crate) enum Wasm<'a> {
    /// Part of this program, whose build knew the hash; unpacked only to be compiled.
    Bundled(Packed),
    /// From a file, a database.
    Bytes(&'a [u8], Origin),
}

impl<'a> Wasm<'a> {
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Wasm::Bundled(_) => Origin::Bundled,
            Wasm::Bytes(_, origin) => *origin,
        }
    }

    pub(crate) fn bytes(&self) -> Cow<'a, [u8]> {
        match self {
            Wasm::Bundled(packed) => Cow::Owned(packed.to_vec()),
            Wasm::Bytes(bytes, _) => Cow::Borrowed(bytes),
        }
    }

    pub(crate) fn hash(&self) -> blake3::Hash {
        match self {
            Wasm::Bundled(packed) => packed.blake3(),
            Wasm::Bytes(bytes, _) => blake3::hash(bytes),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Wasm::Bundled(packed) => packed.bytes(),
            Wasm::Bytes(bytes, _) => bytes.len() as u64,
        }
    }
}

/// Reads the file `name` in `folder`.
///
/// # Errors
/// `NotFound`, `Limit` when it is too large, `Invalid` when it is no regular file or leads out of the
/// folder, `Unavailable` with the operating system's word.
pub(crate) fn read(folder: &Path, name: &str) -> KernelResult<Vec<u8>> {
    let shown = folder.join(name);
    let shown = shown.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            KernelError::NotFound { kind: "component", name: shown.to_string() }
        }
        _ => KernelError::io(format!("read the component {shown}"), error),
    };
    let not_regular = || {
        KernelError::invalid(format!(
            "the component {shown} is not a regular file; links are not followed, so name the file itself"
        ))
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(failed)?;
    // Asked before opening, because opening a named pipe would wait for its writer.
    if !dir.symlink_metadata(name).map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No);
    let file = dir.open_with(name, &options).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(not_regular());
    }
    let mut bytes = Vec::new();
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let what = "the size of a component in bytes";
        return Err(KernelError::Limit {
            what,
            got: bytes.len() as u64,
            bound: COMPONENT_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Checks that `bytes` can be a component at all. `shown` names them in errors.
fn check_header(shown: &str, bytes: &[u8]) -> KernelResult<()> {
    if !bytes.starts_with(MAGIC) {
        return Err(KernelError::invalid(format!(
            "{shown} is not WebAssembly: it does not begin with \\0asm"
        )));
    }
    if bytes[MAGIC.len()..].starts_with(MODULE_VERSION) {
        return Err(KernelError::invalid(format!(
            "{shown} is a WebAssembly module, not a component; build it for the target wasm32-wasip2"
        )));
    }
    Ok(())
}

impl Component {
    /// Compiles `wasm`, or finds it compiled. `shown` names it in errors, `blake3` is its hash.
    ///
    /// # Errors
    /// `Invalid` when it is no component, or uses a proposal that plugins do not get; `Limit` when there
    /// is too much of something in it; `Plugin` when compiling it met a limit.
    pub(crate) fn compile(
        runtime: &Runtime,
        shown: &str,
        wasm: Wasm<'_>,
        blake3: blake3::Hash,
    ) -> KernelResult<Component> {
        if let Wasm::Bytes(bytes, _) = wasm {
            check_header(shown, bytes)?;
        }
        let code = compiled_code::load(runtime, shown, wasm, &blake3)?;
        let (engine, signature) = (runtime.engine(), code.component_type());
        let exports: Vec<_> = signature.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let kind = PluginKind::of(&capability::short_exports(&exports));
        let imports = signature.imports(engine).map(|(name, _)| name.to_owned());
        let imports =
            imports.map(|name| Import { answer: capability::answer(&name, kind), name }).collect();
        Ok(Component { blake3, bytes: wasm.len(), imports, exports, code })
    }
}
