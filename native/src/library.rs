//! Opens a library and reads its table. After this module everything about a plugin is checked, except
//! that its functions do what they should.

use crate::elf;
use crate::private_copy::PrivateCopy;
use blake3::Hash;
use parking_lot::Mutex;
use sochdb_kernel::plugin::{ExtensionCapability, ExtensionInfo};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_native_abi::{
    ABI_VERSION, Bytes, CodecFn, FreeTextFn, IngestFn, InitFn, PluginFunction, PluginTable,
    RenderFn, SYMBOL, ShutdownFn, kind,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

const NAME_BYTES_MAX: usize = 64;
const VERSION_BYTES_MAX: usize = 64;
const PROSE_BYTES_MAX: usize = 1024;

/// The libraries in this process. One that was opened is never closed: its threads, handlers and
/// thread-local destructors may run at any time.
static OPEN: Mutex<BTreeMap<[u8; 32], &'static Library>> = Mutex::new(BTreeMap::new());

/// An open library.
pub(crate) struct Library {
    code: libloading::Library,
    #[cfg(target_os = "linux")]
    _copy: PrivateCopy,
}

/// What a table says, checked.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) info: ExtensionInfo,
    pub(crate) init: InitFn,
    pub(crate) shutdown: ShutdownFn,
    pub(crate) free_text: FreeTextFn,
    pub(crate) functions: Functions,
}

/// The functions of one kind of plugin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Functions {
    Codec { compress: CodecFn, decompress: CodecFn },
    Observer { ingest: IngestFn, render: RenderFn },
}

impl Library {
    /// Opens the library that `bytes` are, or finds it open. `path` names it in errors.
    ///
    /// # Errors
    /// `Invalid` when it is no library that this process can load, `Unavailable` when it cannot be copied.
    ///
    /// # Safety
    /// As for `Trust::by_hash`, for these bytes.
    pub(crate) unsafe fn open(
        path: &Path,
        hash: &Hash,
        bytes: &[u8],
    ) -> KernelResult<&'static Library> {
        let mut open = OPEN.lock();
        if let Some(library) = open.get(hash.as_bytes()) {
            return Ok(library);
        }
        if !elf::is_whole(bytes) {
            return Err(KernelError::invalid(format!(
                "{} cannot be loaded as a library: it is shorter than its headers say",
                path.display()
            )));
        }
        let name = path.file_name().unwrap_or(OsStr::new("sochdb-plugin"));
        let copy = PrivateCopy::new(name, bytes)
            .map_err(|error| KernelError::io("copy a native plugin before opening it", error))?;
        // SAFETY: opening runs the library's constructors; the caller vouches for them.
        let code = unsafe { open_now(&copy.path()) }.map_err(|error| {
            let why = error.to_string().replace(&copy.path().display().to_string(), "it");
            KernelError::invalid(format!("{} cannot be loaded as a library: {why}", path.display()))
        })?;
        #[cfg(target_os = "linux")]
        let library = Library { code, _copy: copy.opened() };
        #[cfg(not(target_os = "linux"))]
        let library = {
            copy.opened();
            Library { code }
        };
        let library: &'static Library = Box::leak(Box::new(library));
        open.insert(*hash.as_bytes(), library);
        Ok(library)
    }

    /// Asks the library for its table.
    ///
    /// # Errors
    /// `Invalid` when it is no plugin, or one for another version of the interface; `Plugin` with `Lied`
    /// when the table fails its checks.
    ///
    /// # Safety
    /// As for `Trust::by_hash`, for this library.
    pub(crate) unsafe fn table(&self, path: &Path) -> KernelResult<Table> {
        let shown = path.display().to_string();
        // SAFETY: the interface gives the symbol of this name this type, and the caller vouches that the
        // library keeps to the interface.
        let function = unsafe { self.code.get::<PluginFunction>(SYMBOL) }.map_err(|_| {
            KernelError::invalid(format!(
                "{shown} exports no function {SYMBOL}: it is no plugin of SochDB, or one for another \
                 version of the interface than {ABI_VERSION}"
            ))
        })?;
        // SAFETY: as above; the function takes nothing and may be called at any time.
        let table = unsafe { function() };
        // SAFETY: as above: what it answers is null or a table that lives as long as the process.
        unsafe { check(&shown, table) }
    }
}

/// Opens a library with all its symbols, or not at all, and shows them to nobody else.
///
/// # Safety
/// The library's constructors run.
unsafe fn open_now(path: &Path) -> Result<libloading::Library, libloading::Error> {
    #[cfg(unix)]
    {
        use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
        // SAFETY: handed on to the caller.
        unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
    }
    #[cfg(not(unix))]
    {
        // SAFETY: handed on to the caller.
        unsafe { libloading::Library::new(path) }
    }
}

/// Copies a table and checks all that can be checked of it. `shown` names the plugin in errors.
///
/// # Safety
/// `table` is null, or begins with two `u32`: version and size. If they say that it is a table of this
/// version, it is one, and its texts are what their lengths say; all may be read for as long as this runs.
pub(crate) unsafe fn check(shown: &str, table: *const PluginTable) -> KernelResult<Table> {
    let lied = |message: String| KernelError::plugin(shown, PluginFault::Lied, message);
    if table.is_null() {
        return Err(lied(format!("{SYMBOL} answered a null pointer")));
    }
    if !table.is_aligned() {
        return Err(lied(format!("{SYMBOL} answered a pointer that no table can have")));
    }
    // SAFETY: not null, aligned, and by this function's contract two u32 are there.
    let [version, bytes] = unsafe { table.cast::<[u32; 2]>().read() };
    if version != ABI_VERSION {
        return Err(KernelError::invalid(format!(
            "{shown} was built for version {version} of the plugin interface, this host has version \
             {ABI_VERSION}; build it with this host's sochdb_plugin.h"
        )));
    }
    if bytes < PluginTable::BYTES {
        let (wanted, why) = (PluginTable::BYTES, "is it initialised with sizeof?");
        return Err(lied(format!("its table has {bytes} bytes instead of {wanted}; {why}")));
    }
    // SAFETY: not null, aligned, and as large as it must be. Any bits are a valid `PluginTable`.
    let table = unsafe { table.read() };
    if table.reserved != 0 {
        return Err(lied("the reserved field of its table is not zero".to_owned()));
    }
    let read = |field: &str, bytes: Bytes, bytes_max: usize| {
        // SAFETY: by this function's contract a text is what its length says.
        unsafe { text(bytes, bytes_max) }.map_err(|why| lied(format!("its {field} {why}")))
    };
    let name = read("name", table.name, NAME_BYTES_MAX)?;
    if !is_name(&name) {
        let rule = "a letter, then letters, digits, '-' and '_', all lower case";
        return Err(lied(format!("{name:?} is no plugin name: {rule}")));
    }
    let version = read("version", table.version, VERSION_BYTES_MAX)?;
    if version.is_empty() {
        return Err(lied("its version is empty".to_owned()));
    }
    let missing = |function: &str| lied(format!("its table lacks the function {function}"));
    let (capability, functions) = match table.kind {
        kind::CODEC => {
            if table.ingest.is_some() || table.render.is_some() {
                return Err(lied("it is a codec and has functions of an observer".to_owned()));
            }
            let compress = table.compress.ok_or_else(|| missing("compress"))?;
            let decompress = table.decompress.ok_or_else(|| missing("decompress"))?;
            (ExtensionCapability::Compression, Functions::Codec { compress, decompress })
        }
        kind::OBSERVER => {
            if table.compress.is_some() || table.decompress.is_some() {
                return Err(lied("it is an observer and has functions of a codec".to_owned()));
            }
            let ingest = table.ingest.ok_or_else(|| missing("ingest"))?;
            let render = table.render.ok_or_else(|| missing("render"))?;
            (ExtensionCapability::Observability, Functions::Observer { ingest, render })
        }
        other => return Err(lied(format!("{other} is no kind of plugin"))),
    };
    Ok(Table {
        info: ExtensionInfo {
            name,
            version,
            description: read("description", table.description, PROSE_BYTES_MAX)?,
            author: read("author", table.author, PROSE_BYTES_MAX)?,
            capabilities: vec![capability],
        },
        init: table.init.ok_or_else(|| missing("init"))?,
        shutdown: table.shutdown.ok_or_else(|| missing("shutdown"))?,
        free_text: table.free_text.ok_or_else(|| missing("free_text"))?,
        functions,
    })
}

/// Copies a text of at most `bytes_max` bytes, or says what is wrong with it.
///
/// # Safety
/// If its pointer is not null and its length is within the bound, as many bytes can be read there.
unsafe fn text(bytes: Bytes, bytes_max: usize) -> Result<String, String> {
    if bytes.len == 0 {
        return Ok(String::new());
    }
    if bytes.data.is_null() {
        return Err(format!("is a null pointer with {} bytes", bytes.len));
    }
    if bytes.len > bytes_max {
        return Err(format!("has {} bytes, at most {bytes_max} are allowed", bytes.len));
    }
    // SAFETY: not null, and within the bound, so by this function's contract readable; bytes need no
    // alignment, and the bound is far below isize::MAX.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) };
    let text = std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))?;
    if text.contains(char::is_control) {
        return Err("has control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}
