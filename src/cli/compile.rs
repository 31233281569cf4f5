//! `compile-component`: the process in which a host compiles a stranger's component.
//!
//! Hidden, since nobody types it: the host starts it with the component on standard input, and reads the
//! compiled code from standard output. Its exit codes are the host's, not those of `failure.rs`.

use sochdb::host::compiled_code::compile_child;
use std::process::ExitCode;

/// Compiles one component, with limits, and returns what the process exits with.
pub fn compile() -> ExitCode {
    compile_child()
}
