//! A crate into a component: cargo, for wasm32-wasip2.

use super::{absolute, tool};
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::new;
use serde_json::Value as Json;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip2";
const INSTALL_RUST: &str = "install Rust as https://rustup.rs says, and run the command again";

/// Compiles the crate in `folder`, and returns its component.
pub fn build(folder: &Path) -> Outcome<Vec<u8>> {
    let folder = absolute(folder)?;
    install_target(&folder)?;
    let mut cargo = Command::new(cargo());
    cargo.current_dir(&folder).args(["build", "--release", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    // Where it was built is nobody's business, and makes no other component.
    cargo.arg("--config").arg(remapped(&folder));
    cargo.env_remove("CARGO_BUILD_TARGET");
    let output = tool::run(&mut cargo, INSTALL_RUST)?;
    if !output.status.success() {
        let shown = format!("cargo build --release --target {TARGET}");
        let text = format!("the crate in {} does not build", folder.display());
        let help = format!("mend what `{shown}` shows there");
        return Err(Failure::new(Exit::Failed, text).help(help));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(component) = component(&said, &folder.join("Cargo.toml")) else {
        let text = format!("the crate in {} makes no component", folder.display());
        let help = "its Cargo.toml must say: [lib] crate-type = [\"cdylib\"]";
        return Err(Failure::invalid(text).help(help));
    };
    fs::read(&component)
        .map_err(|error| Failure::io(format!("cannot read {}", component.display()), &error))
}

fn cargo() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What cargo said it made of the package with this manifest.
fn component(said: &str, manifest: &Path) -> Option<PathBuf> {
    let artifacts = said.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let mut own = artifacts.filter(|line| {
        line["reason"] == "compiler-artifact"
            && line["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
    });
    own.find_map(|line| {
        let files = line["filenames"].as_array()?.iter().filter_map(Json::as_str);
        files.map(PathBuf::from).find(|file| file.extension().is_some_and(|it| it == "wasm"))
    })
}

/// Asks rustup for the target where the compiler has it not. Both are those of the crate's folder, which may
/// choose a toolchain.
fn install_target(folder: &Path) -> Outcome {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let args = ["--print", "target-libdir", "--target", TARGET];
    let rustc = Path::new(&rustc);
    let libdir = tool::answer(rustc, &args, folder)
        .map_err(|error| tool::not_run(&Command::new(rustc), &error, INSTALL_RUST))?;
    if libdir.is_some_and(|libdir| Path::new(&libdir).is_dir()) {
        return Ok(());
    }
    let by_hand = format!("rustup target add {TARGET}");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(folder).stdin(Stdio::null());
    let missing = |why: String| {
        let text = format!("plugins need the Rust target {TARGET}, which is not installed: {why}");
        Failure::new(Exit::NotFound, text).help(format!("install it with `{by_hand}`"))
    };
    match rustup.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(_) => Err(missing("rustup could not install it".to_owned())),
        Err(error) => Err(missing(format!("rustup could not be run: {error}"))),
    }
}

/// The setting of cargo by which the folders of this machine are left out of what it builds.
fn remapped(folder: &Path) -> String {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = Vec::new();
    let mut remap = |from: &Path, to: &str| {
        flags.push(new::quoted(&format!("--remap-path-prefix={}={to}", from.display())));
    };
    if let Some(sdk) = new::sdk_folder() {
        remap(sdk.parent().unwrap_or(&sdk), "sochdb");
    }
    if let Some(home) = home.and_then(|home| home.canonicalize().ok()) {
        remap(&home, "cargo");
        // Of several that fit the last counts: where a dependency came from is left out too.
        let sources = fs::read_dir(home.join("registry/src"));
        sources.into_iter().flatten().flatten().for_each(|source| remap(&source.path(), "cargo"));
    }
    remap(folder, ".");
    format!("target.{TARGET}.rustflags=[{}]", flags.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_one_of_this_package() {
        let artifact = |manifest: &str, file: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{manifest}\",\"filenames\":[\"{file}\"]}}\n"
            )
        };
        let said = [
            "no JSON\n".to_owned(),
            artifact("/a/dep/Cargo.toml", "/t/dep.wasm"),
            artifact("/a/Cargo.toml", "/t/liba.rlib"),
            artifact("/a/Cargo.toml", "/t/a.wasm"),
            "{\"reason\":\"build-finished\",\"success\":true}\n".to_owned(),
        ];
        let found = component(&said.concat(), Path::new("/a/Cargo.toml"));
        assert_eq!(found, Some("/t/a.wasm".into()));
        assert_eq!(component(&said.concat(), Path::new("/b/Cargo.toml")), None);
    }

    #[test]
    fn folders_with_any_name_are_remapped_by_a_setting_that_cargo_reads() {
        let setting = remapped(Path::new("/it's \"here\"/\\x"));
        let parsed: toml::Table = setting.parse().unwrap();
        let flags = parsed["target"][TARGET]["rustflags"].as_array().unwrap();
        let last = flags.last().and_then(toml::Value::as_str).unwrap();
        assert_eq!(last, "--remap-path-prefix=/it's \"here\"/\\x=.");
    }
}
