//! The calls into a plugin, and what is checked of each answer.
//!
//! A block's output goes to memory of the host, followed by guard bytes that show whether the plugin
//! wrote past its end. A text is memory of the plugin: it is copied and given back at once.

use crate::library::{Functions, Table};
use parking_lot::RwLock;
use sochdb_kernel::plugin::ExtensionInfo;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_native_abi::{Bytes, CodecFn, FreeTextFn, ShutdownFn, Text, status};
use std::ffi::c_void;
use std::ptr::null_mut;

/// 16 MiB. A page of that size has a hundred thousand series.
const PAGE_BYTES_MAX: usize = 16 << 20;
const ERROR_TEXT_BYTES_MAX: usize = 4096;
/// What is looked at behind a block's output: a cache line, which is what a loop one step too long writes.
const GUARD: [u8; 64] = [0xA5; 64];

/// A plugin at work for one database, until it is shut down.
pub(crate) struct Instance {
    pub(crate) info: ExtensionInfo,
    functions: Functions,
    free_text: FreeTextFn,
    /// Calls share it, and shutting down takes what is inside.
    handle: RwLock<Option<Handle>>,
}

/// What `init` made, until `shutdown` got it.
struct Handle {
    instance: *mut c_void,
    shutdown: ShutdownFn,
}

// SAFETY: rule 3 of sochdb_plugin.h: every thread may call with an instance, and several at once. The host
// never looks behind the pointer.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Instance {
    /// Makes an instance.
    ///
    /// # Errors
    /// `Plugin` with `Refused` when the plugin does not want to.
    ///
    /// # Safety
    /// The functions of `table` keep the rules of sochdb_plugin.h, and their code stays loaded.
    pub(crate) unsafe fn init(table: &Table) -> KernelResult<Instance> {
        let mut instance = null_mut();
        let mut error = NO_TEXT;
        // SAFETY: by this function's contract; both pointers are to locals that live through the call.
        let status = unsafe { (table.init)(&raw mut instance, &raw mut error) };
        let made = Instance {
            info: table.info.clone(),
            functions: table.functions,
            free_text: table.free_text,
            handle: RwLock::new(None),
        };
        made.answer("init", status, error)?;
        *made.handle.write() = Some(Handle { instance, shutdown: table.shutdown });
        Ok(made)
    }

    /// Ends the instance when the calls in flight are through. Again, it does nothing.
    ///
    /// # Errors
    /// `Plugin` with `Refused` and the plugin's words; the instance is gone all the same.
    pub(crate) fn shutdown(&self) -> KernelResult<()> {
        let Some(Handle { instance, shutdown }) = self.handle.write().take() else {
            return Ok(());
        };
        let mut error = NO_TEXT;
        // SAFETY: `init` vouched for the function; the handle was taken under the exclusive lock, so no
        // call with this instance is running, none comes after, and nobody shuts it down twice.
        let status = unsafe { shutdown(instance, &raw mut error) };
        self.answer("shutdown", status, error)
    }

    /// Compresses or restores `input` into at most `room` bytes.
    ///
    /// # Errors
    /// `Plugin`: `Refused`, `Lied`, or `Missing` when it is no codec. `Closed` after `shutdown`.
    pub(crate) fn code(&self, call: CodecCall, input: &[u8], room: usize) -> KernelResult<Vec<u8>> {
        let Functions::Codec { compress, decompress } = self.functions else {
            return Err(self.is_no("codec"));
        };
        let (name, function): (_, CodecFn) = match call {
            CodecCall::Compress => ("compress", compress),
            CodecCall::Decompress => ("decompress", decompress),
        };
        let mut output = vec![0; room];
        output.extend(GUARD);
        // A plugin that forgets to say how long its answer is, is noticed.
        let mut out_len = usize::MAX;
        let mut error = NO_TEXT;
        let status = self.call(|instance| {
            // SAFETY: `init` vouched for the function. `input` is `len` readable bytes and `output` has
            // `room` writable bytes, initialised, for the whole call; the others are locals.
            unsafe {
                let input = Bytes { data: input.as_ptr(), len: input.len() };
                let (out_len, error) = (&raw mut out_len, &raw mut error);
                function(instance, input, output.as_mut_ptr(), room, out_len, error)
            }
        })?;
        let answer = self.answer(name, status, error);
        if output[room..] != GUARD {
            let message = format!("{name} wrote past the {room} bytes it was given");
            return Err(self.lied(message));
        }
        answer?;
        if room < out_len {
            return Err(self.lied(format!("{name} answered {out_len} bytes where {room} fit")));
        }
        output.truncate(out_len);
        Ok(output)
    }

    /// Hands one batch to an observer.
    ///
    /// # Errors
    /// As [`code`](Self::code).
    pub(crate) fn ingest(&self, json: &[u8]) -> KernelResult<()> {
        let Functions::Observer { ingest, .. } = self.functions else {
            return Err(self.is_no("observer"));
        };
        let mut error = NO_TEXT;
        let status = self.call(|instance| {
            let json = Bytes { data: json.as_ptr(), len: json.len() };
            // SAFETY: `init` vouched for the function; `json` is `len` readable bytes for the whole call.
            unsafe { ingest(instance, json, &raw mut error) }
        })?;
        self.answer("ingest", status, error)
    }

    /// What an observer shows.
    ///
    /// # Errors
    /// As [`code`](Self::code).
    pub(crate) fn render(&self) -> KernelResult<String> {
        let Functions::Observer { render, .. } = self.functions else {
            return Err(self.is_no("observer"));
        };
        let mut page = NO_TEXT;
        // SAFETY: `init` vouched for the function; the page is a local.
        let status = self.call(|instance| unsafe { render(instance, &raw mut page) })?;
        if status != status::OK {
            self.answer("render", status, page)?;
        }
        let bytes = self.take(page, PAGE_BYTES_MAX);
        let bytes = bytes.map_err(|why| self.lied(format!("the page of render {why}")))?;
        String::from_utf8(bytes).map_err(|error| {
            self.lied(format!("the page of render is not UTF-8: {}", error.utf8_error()))
        })
    }

    fn call<T>(&self, call: impl FnOnce(*mut c_void) -> T) -> KernelResult<T> {
        match &*self.handle.read() {
            Some(handle) => Ok(call(handle.instance)),
            None => {
                let name = &self.info.name;
                Err(KernelError::Closed(format!("the native plugin '{name}' was shut down")))
            }
        }
    }

    /// A status and an error's text as a result.
    fn answer(&self, function: &str, status: u32, error: Text) -> KernelResult<()> {
        // Read and freed even when all is well: a plugin may have changed its mind.
        let text = self.take(error, ERROR_TEXT_BYTES_MAX);
        if status == status::OK {
            return Ok(());
        }
        let bytes = text.map_err(|why| self.lied(format!("the error of {function} {why}")))?;
        let code = match status {
            status::INVALID => "invalid",
            status::LIMIT => "limit",
            status::CORRUPT => "corrupt",
            _ => "internal",
        };
        // Escaped, so that it can neither fill a log nor write to a terminal.
        let words = String::from_utf8_lossy(&bytes);
        let mut shown = String::with_capacity(words.len());
        for c in words.chars() {
            if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
        }
        let message = format!("{function}: {shown} ({code})");
        Err(KernelError::plugin(&self.info.name, PluginFault::Refused, message))
    }

    /// Copies a text of at most `bytes_max` bytes and gives it back to the plugin.
    fn take(&self, text: Text, bytes_max: usize) -> Result<Vec<u8>, String> {
        if text.len == 0 {
            return Ok(Vec::new());
        }
        if text.data.is_null() {
            return Err(format!("is a null pointer with {} bytes", text.len));
        }
        let copy = if text.len <= bytes_max {
            // SAFETY: not null, and the plugin says that `len` bytes are there; bytes need no alignment, and
            // both bounds that come in here are below isize::MAX.
            Ok(unsafe { std::slice::from_raw_parts(text.data, text.len) }.to_vec())
        } else {
            Err(format!("has {} bytes, at most {bytes_max} are allowed", text.len))
        };
        // SAFETY: `init` vouched for the function; it gets back what the plugin handed out, once.
        unsafe { (self.free_text)(text.data, text.len) };
        copy
    }

    fn lied(&self, message: String) -> KernelError {
        KernelError::plugin(&self.info.name, PluginFault::Lied, message)
    }

    fn is_no(&self, kind: &str) -> KernelError {
        KernelError::plugin(&self.info.name, PluginFault::Missing, format!("it is no {kind}"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::warn!(plugin = self.info.name, %error, "native plugin did not shut down well");
        }
    }
}

/// The two calls of a codec, which have one shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CodecCall {
    Compress,
    Decompress,
}

const NO_TEXT: Text = Text { data: null_mut(), len: 0 };
const _: () = assert!(PAGE_BYTES_MAX <= isize::MAX as usize, "a slice's length");
const _: () = assert!(ERROR_TEXT_BYTES_MAX <= isize::MAX as usize, "a slice's length");
