//! Where the plugins of these tests come from.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The library of the package `sochdb-native-example`. Cargo builds it before this program, because this
/// program depends on it, and leaves it in the same folder.
pub fn example() -> PathBuf {
    let name = format!("{DLL_PREFIX}sochdb_native_example{DLL_SUFFIX}");
    let path = std::env::current_exe().expect("known").with_file_name(name);
    assert!(path.is_file(), "cargo did not leave {}", path.display());
    path
}

/// Something compiled from C, removed when dropped.
pub struct Built {
    folder: TempDir,
}

impl Built {
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("built")
    }
}

/// Compiles a C file of this package to a library; `None`, said loudly, where there is no C compiler.
pub fn built_from_c(source: &str, flags: &[&str]) -> Option<Built> {
    let mut all = vec!["-shared", "-fPIC", "-fvisibility=hidden"];
    all.extend(flags);
    compile(source, &all)
}

/// Compiles a C file of this package with warnings as errors.
pub fn compile(source: &str, flags: &[&str]) -> Option<Built> {
    let built = Built { folder: tempfile::tempdir().expect("a folder") };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut command = Command::new(&compiler);
    command.args(["-O1", "-Wall", "-Wextra", "-Werror"]).args(flags).arg("-I");
    command.arg(package.join("include")).arg("-o").arg(built.path()).arg(package.join(source));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            // Not by `eprintln!`, which is not shown for a test that passes.
            let why = format!("SKIPPED: {source} needs {compiler}, which does not run: {error}");
            writeln!(std::io::stderr(), "{why}").expect("standard error");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(built)
}
