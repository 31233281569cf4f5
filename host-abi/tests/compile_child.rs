//! Compiling in a process with limits, and starting with compiled code at hand: what needs processes.
//!
//! This program is its own compiler, so it has no harness but the one below: started with the argument
//! `compile-component` it compiles, otherwise it runs the tests whose names contain the argument.

use sochdb_host_abi::compiled_code::{
    ChildCompiler, CodeCache, CompileLimits, CompileOptions, Compiler, compile_child,
};
use sochdb_host_abi::{HostOptions, PluginHost, Policy, bundled};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::{ErrorKind, KernelError, KernelResult, PluginFault};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TESTS: &[(&str, fn())] = &[
    ("a_child_compiles_what_this_process_compiles", a_child_compiles_what_this_process_compiles),
    ("what_is_no_component_is_invalid", what_is_no_component_is_invalid),
    ("a_bomb_that_needs_memory_is_stopped", a_bomb_that_needs_memory_is_stopped),
    ("a_bomb_that_needs_time_is_stopped", a_bomb_that_needs_time_is_stopped),
    ("a_child_that_hangs_is_killed", a_child_that_hangs_is_killed),
    (
        "a_child_that_ends_early_or_talks_nonsense_is_no_compiler",
        a_child_that_ends_early_or_talks_nonsense_is_no_compiler,
    ),
    ("a_child_that_never_stops_talking_is_killed", a_child_that_never_stops_talking_is_killed),
    (
        "a_program_that_cannot_be_started_is_unavailable",
        a_program_that_cannot_be_started_is_unavailable,
    ),
    (
        "a_program_that_is_no_compiler_does_not_start_itself_for_ever",
        a_program_that_is_no_compiler_does_not_start_itself_for_ever,
    ),
    ("what_a_child_compiled_is_cached", what_a_child_compiled_is_cached),
    ("what_was_built_in_is_compiled_here", what_was_built_in_is_compiled_here),
    ("a_plugin_loaded_through_a_child_works", a_plugin_loaded_through_a_child_works),
    ("processes_that_start_at_once_share_one_cache", processes_that_start_at_once_share_one_cache),
    ("a_damaged_cache_only_costs_time", a_damaged_cache_only_costs_time),
];

/// The argument with which this program loads all bundled plugins, with the cache in a folder.
const WARM: &str = "load-with-cache";

/// The argument with which this program does not notice that it was started as a compiler.
const FORGETFUL: &str = "forgetful";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [first, ..] if first == "compile-component" => return compile_child(),
        [first, dir] if first == WARM => {
            load_bundled(Some(CodeCache::open(Path::new(dir)).unwrap()), Compiler::InProcess);
            return ExitCode::SUCCESS;
        }
        [first] if first == FORGETFUL => {
            // A program that is not written to be a compiler, and goes on as always.
            let error = compile(compiler(), &component("")).unwrap_err();
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    let wanted = arguments.iter().filter(|argument| !argument.starts_with('-')).collect::<Vec<_>>();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(&part[..]));
    let list = arguments.iter().any(|argument| argument == "--list");
    for (name, test) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        if list {
            println!("{name}: test");
            continue;
        }
        // A panic ends the program with its own exit code and words.
        print!("test {name} ... ");
        let began = Instant::now();
        test();
        println!("ok ({} ms)", began.elapsed().as_millis());
    }
    ExitCode::SUCCESS
}

/// A folder with one component in it.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.wasm");
    std::fs::write(&path, bytes).unwrap();
    File { _folder: folder, path }
}

fn component(text: &str) -> File {
    file(&wat::parse_str(format!("(component {text})")).unwrap())
}

fn compiler() -> ChildCompiler {
    ChildCompiler::this_program().unwrap()
}

fn with_limits(limits: CompileLimits) -> ChildCompiler {
    ChildCompiler { limits, ..compiler() }
}

fn shell(script: &str) -> ChildCompiler {
    let args = vec!["-c".into(), script.into()];
    let limits = CompileLimits { wall_s: 1, ..CompileLimits::default() };
    ChildCompiler { program: "/bin/sh".into(), args, limits }
}

fn host(compiler: ChildCompiler) -> PluginHost {
    host_with(None, Compiler::Child(compiler))
}

/// A host that comes by compiled code like this.
fn host_with(cache: Option<CodeCache>, compiler: Compiler) -> PluginHost {
    let compile = CompileOptions { cache, compiler };
    PluginHost::with(HostOptions { compile, ..HostOptions::default() }).unwrap()
}

fn compile(compiler: ChildCompiler, file: &File) -> KernelResult<()> {
    host(compiler).inspect(&file.path).map(drop)
}

fn load_bundled(cache: Option<CodeCache>, compiler: Compiler) -> Duration {
    let host = host_with(cache, compiler);
    let began = Instant::now();
    host.load_bundled(&PluginManager::default()).unwrap();
    began.elapsed()
}

/// Asserts that the component's limits were met, and that the error says which.
fn assert_exhausted(result: KernelResult<()>, words: &str) {
    match result.unwrap_err() {
        KernelError::Plugin { plugin, fault: PluginFault::Exhausted, message } => {
            assert!(plugin.ends_with("it.wasm"), "{plugin}");
            assert!(message.contains(words), "{message}");
        }
        other => panic!("{other}"),
    }
}

fn assert_unavailable(result: KernelResult<()>, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// `count` functions, each with `statements` that keep a compiler busy.
fn bomb(count: usize, statements: usize) -> File {
    let mut text = String::new();
    for number in 0..statements {
        let (to, from) = (number % 50, (number * 7 + 3) % 50);
        let _ = write!(
            text,
            "(if (i64.eqz (local.get {from})) (then (local.set {to} (i64.add (local.get {from}) \
             (i64.load (i32.wrap_i64 (local.get {to})))))))"
        );
    }
    let function = format!("(func (local {}) {text})", "i64 ".repeat(50));
    component(&format!("(core module (memory 1) {})", function.repeat(count)))
}

fn a_child_compiles_what_this_process_compiles() {
    let here = PluginHost::new().unwrap();
    for text in ["", "(core module (func (export \"f\")))", "(import \"a:b/c@1.0.0\" (instance))"] {
        let file = component(text);
        let inspection = host(compiler()).inspect(&file.path).unwrap();
        assert_eq!(inspection, here.inspect(&file.path).unwrap());
    }
    for plugin in bundled::PLUGINS {
        let file = file(&plugin.component.to_vec());
        let inspection = host(compiler()).inspect(&file.path).unwrap();
        assert_eq!(inspection, here.inspect(&file.path).unwrap());
        assert!(inspection.loadable);
    }
}

fn what_is_no_component_is_invalid() {
    let here = PluginHost::new().unwrap();
    let wrong = [
        component("(core module (func (result i32)))"),
        component("(core module (memory i64 1))"),
        component("(core module (import \"a\" \"b\" (func))) (core instance (instantiate 0))"),
        file(b"\0asm\x0d\0\x01\0\x01\x05\0asm"),
    ];
    for file in wrong {
        let error = compile(compiler(), &file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), here.inspect(&file.path).unwrap_err().to_string());
    }
}

fn a_bomb_that_needs_memory_is_stopped() {
    let limits = CompileLimits { address_space_bytes: 300 << 20, ..CompileLimits::default() };
    compile(with_limits(limits), &component("(core module (func))")).unwrap();
    assert_exhausted(
        compile(with_limits(limits), &bomb(4, 14_000)),
        "more memory than the 300 MiB",
    );
    // Not even the program itself fits.
    let limits = CompileLimits { address_space_bytes: 1 << 20, ..limits };
    assert!(compile(with_limits(limits), &component("")).is_err());
}

fn a_bomb_that_needs_time_is_stopped() {
    let bomb = bomb(150, 2_000);
    let limits = CompileLimits { cpu_s: 1, ..CompileLimits::default() };
    assert_exhausted(compile(with_limits(limits), &bomb), "more than 1 s of processor time");
    let limits = CompileLimits { wall_s: 1, ..CompileLimits::default() };
    let began = Instant::now();
    assert_exhausted(compile(with_limits(limits), &bomb), "took longer than 1 s");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

fn a_child_that_hangs_is_killed() {
    let file = component("");
    for script in [
        "sleep 100",
        "cat > /dev/null; sleep 100",
        // Closes everything and stays; leaves somebody behind who holds the pipes.
        "exec > /dev/null 2> /dev/null < /dev/null; sleep 100",
        "sleep 100 & sleep 100",
    ] {
        let began = Instant::now();
        assert_exhausted(compile(shell(script), &file), "took longer than 1 s");
        assert!(began.elapsed() < Duration::from_secs(20), "{script}: {:?}", began.elapsed());
    }
    // It ends in time, and what it left behind is killed.
    let began = Instant::now();
    assert_unavailable(compile(shell("sleep 100 & exit 3"), &file), "is no compiler of components");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

fn a_child_that_ends_early_or_talks_nonsense_is_no_compiler() {
    let file = component("");
    for script in ["exit 0", "cat > /dev/null; echo hello", "cat"] {
        assert_unavailable(compile(shell(script), &file), "it must call `compile_child`");
    }
    assert_unavailable(
        compile(shell("echo cannot >&2; exit 1"), &file),
        "(exit status: 1): cannot",
    );
    assert_unavailable(compile(shell("echo no room; exit 66"), &file), "no room");
    let error = compile(shell("kill -SEGV $$"), &file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("breaks down over it"), "{error}");
    assert_exhausted(compile(shell("kill -KILL $$"), &file), "the system killed the compiler");
}

fn a_child_that_never_stops_talking_is_killed() {
    let mut compiler = shell("cat /dev/zero");
    compiler.limits.wall_s = 60;
    let error = compile(compiler, &component("")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let mut noisy = shell("cat /dev/zero >&2");
    noisy.limits.wall_s = 1;
    assert_exhausted(compile(noisy, &component("")), "took longer than 1 s");
}

fn a_program_that_cannot_be_started_is_unavailable() {
    let compiler = ChildCompiler { program: "/nowhere/sochdb".into(), ..compiler() };
    assert_unavailable(compile(compiler, &component("")), "start the compiler /nowhere/sochdb");
}

fn a_program_that_is_no_compiler_does_not_start_itself_for_ever() {
    let forgetful = ChildCompiler { args: vec![FORGETFUL.into()], ..compiler() };
    assert_unavailable(compile(forgetful, &component("")), "did not call `compile_child`");
}

fn what_a_child_compiled_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(&folder.path().join("code")).unwrap();
    let file = component("(core module (func (export \"f\")))");
    let with = |compiler| host_with(Some(cache.clone()), compiler).inspect(&file.path);
    let first = with(Compiler::Child(compiler())).unwrap();
    // No compiler is needed any more.
    let nowhere = ChildCompiler { program: "/nowhere".into(), ..compiler() };
    assert_eq!(with(Compiler::Child(nowhere)).unwrap(), first);
}

fn what_was_built_in_is_compiled_here() {
    let nowhere = ChildCompiler { program: "/nowhere".into(), ..compiler() };
    load_bundled(None, Compiler::Child(nowhere));
}

fn a_plugin_loaded_through_a_child_works() {
    let Some(lz4) = bundled::find("lz4") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lz4.wasm"), lz4.component.to_vec()).unwrap();
    let manifest = lz4.manifest.replace("bundled = \"lz4\"", "path = \"lz4.wasm\"");
    assert_ne!(manifest, lz4.manifest);
    std::fs::write(folder.path().join("lz4.toml"), manifest).unwrap();
    let plugins = PluginManager::default();
    let host = host(compiler());
    host.load_manifest(&folder.path().join("lz4.toml"), &plugins).unwrap();
    let codec = plugins.compression("lz4").unwrap();
    let data = b"a row and another row ".repeat(100);
    let packed = codec.compress(&data).unwrap();
    assert_eq!(codec.decompress(&packed, data.len()).unwrap(), data);
}

fn processes_that_start_at_once_share_one_cache() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("code");
    let start = || {
        let program = std::env::current_exe().unwrap();
        std::process::Command::new(program).arg(WARM).arg(&dir).spawn().unwrap()
    };
    for child in &mut [start(), start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    // The key, and one entry for each plugin that does not wait for a grant.
    let entries = std::fs::read_dir(&dir).unwrap().count();
    let wakes = |plugin: &&bundled::Bundled| Policy::default().wakes(&plugin.manifest().unwrap());
    assert_eq!(entries, 1 + bundled::PLUGINS.iter().filter(wakes).count());
}

fn a_damaged_cache_only_costs_time() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("code");
    load_bundled(Some(CodeCache::open(&dir).unwrap()), Compiler::InProcess);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    // Entries that do not hold, under a key that changed; then under their own key again.
    for _ in 0..2 {
        load_bundled(Some(CodeCache::open(&dir).unwrap()), Compiler::InProcess);
    }
}
