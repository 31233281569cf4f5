//! A module in Python into a component, with the interpreter in it: componentize-py, in a virtual environment.

use super::{absolute, tool};
use crate::cli::failure::{Exit, Failure, Outcome};
use sochdb::host::PluginKind;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a plugin in Python is known by.
pub const SOURCE: &str = "app.py";
const TOOL: &str = "componentize-py";
/// What is installed where the plugin does not say.
const TOOL_VERSION: &str = "componentize-py==0.25.1";
const REQUIREMENTS: &str = "requirements.txt";
/// The SDK's package, which lies in the plugin's folder.
const SDK: &str = "sochdb_guest";
const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };
const INSTALL_PYTHON: &str = "install Python 3.11 or later, and run the command again";

/// The module of the plugin `name` in `folder`, if it is one in Python.
pub fn source(folder: &Path, name: &str) -> Option<PathBuf> {
    let own = format!("{}.py", name.replace('-', "_"));
    [SOURCE, &own].map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
}

/// Builds the plugin of this kind from its `module`, and returns its component.
pub fn build(module: &Path, kind: PluginKind, venv: Option<&Path>) -> Outcome<Vec<u8>> {
    let module = absolute(module)?;
    let folder = module.parent().expect("a file lies in a folder");
    let python = installed(folder, venv)?;
    let failed = |error| Failure::io("cannot make a folder to build in", &error);
    let out = tempfile::tempdir().map_err(failed)?;
    let out = out.path().join("plugin.wasm");
    let mut command = Command::new(python);
    command.current_dir(folder).args(["-m", "sochdb_guest", "build", &kind.to_string()]);
    command.arg(&module).arg("--out").arg(&out).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some((sdk, contract)) = sdk_of_this_program().filter(|_| !folder.join(SDK).is_dir()) {
        command.arg("--wit").arg(contract).env("PYTHONPATH", sdk);
    }
    let output = tool::run(&mut command, INSTALL_PYTHON)?;
    if !output.status.success() {
        let text = format!("the plugin in {} does not build", folder.display());
        return Err(Failure::new(Exit::Failed, text).help("mend what is said above"));
    }
    fs::read(&out).map_err(|error| Failure::io(format!("{TOOL} left no component"), &error))
}

/// The SDK for Python that this program was built beside, and the contract.
fn sdk_of_this_program() -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (sdk, contract) = (root.join("sdk-python"), root.join("wit"));
    sdk.join(SDK).is_dir().then_some((sdk, contract))
}

/// A Python that has componentize-py: of the environment that is named, the plugin's own, the system's; otherwise
/// of a new environment in the plugin's folder.
fn installed(folder: &Path, venv: Option<&Path>) -> Outcome<PathBuf> {
    let has_tool = |python: &Path| {
        let args = ["-c", "import componentize_py"];
        tool::answer(python, &args, folder).is_ok_and(|answer| answer.is_some())
    };
    if let Some(venv) = venv {
        let python = program_of(&absolute(venv)?, "python");
        if has_tool(&python) {
            return Ok(python);
        }
        let text = format!("there is no {TOOL} in {}", venv.display());
        let help = format!("`{} -m pip install {TOOL_VERSION}` puts it there", python.display());
        return Err(Failure::new(Exit::NotFound, text).help(help));
    }
    let own = folder.join(".venv");
    let candidates = [program_of(&own, "python"), PathBuf::from(PYTHON)];
    match candidates.into_iter().find(|python| has_tool(python)) {
        Some(python) => Ok(python),
        None => make(folder, &own).map(|()| program_of(&own, "python")),
    }
}

/// Makes a virtual environment with componentize-py in it.
fn make(folder: &Path, venv: &Path) -> Outcome {
    eprintln!("{TOOL} is not installed: making {} with it", venv.display());
    let mut command = Command::new(PYTHON);
    command.args(["-m", "venv"]).arg(venv);
    if !tool::run(&mut command, INSTALL_PYTHON)?.status.success() {
        let help = "Python's module `venv` makes it; some systems have it in a package of its own";
        return Err(tool::failed("no virtual environment", &command, help));
    }
    let mut command = Command::new(program_of(venv, "python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    match folder.join(REQUIREMENTS).is_file() {
        true => command.arg("-r").arg(folder.join(REQUIREMENTS)),
        false => command.arg(TOOL_VERSION),
    };
    if !tool::run(&mut command, INSTALL_PYTHON)?.status.success() {
        let help = format!(
            "it comes from PyPI, over the network; --venv names an environment that has {TOOL} already"
        );
        return Err(tool::failed(&format!("{TOOL} could not be installed"), &command, &help));
    }
    Ok(())
}

/// A program of a virtual environment.
fn program_of(venv: &Path, name: &str) -> PathBuf {
    let folder = venv.join(if cfg!(windows) { "Scripts" } else { "bin" });
    folder.join(name).with_extension(std::env::consts::EXE_EXTENSION)
}
