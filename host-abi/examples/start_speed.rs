//! How long the bundled plugins take to be ready: compiled, compiled by a child process, from a cache.
//!
//! `cargo run --release -p sochdb-host-abi --example start_speed [ROUNDS]`
//!
//! The time counts from making a host to having every plugin registered, its self-test passed.

use sochdb_host_abi::compiled_code::{
    ChildCompiler, CodeCache, CompileOptions, Compiler, compile_child,
};
use sochdb_host_abi::{HostOptions, PluginHost, bundled};
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::PluginManager;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("compile-component") {
        return compile_child();
    }
    let rounds = argument.and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    match measure(rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize) -> KernelResult<()> {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let cached = |number: usize| CodeCache::open(&folder.path().join(number.to_string()));
    let with = |compile| PluginHost::with(HostOptions { compile, ..HostOptions::default() });
    let load = |options: CompileOptions| {
        let host = with(options)?;
        host.load_bundled(&PluginManager::default()).map(|names| names.len())
    };
    println!("{} plugins, {rounds} rounds; milliseconds, least and median", bundled::PLUGINS.len());
    timed("compiled", rounds, |_| load(CompileOptions::default()).map(drop))?;
    timed("compiled and kept", rounds, |number| {
        load(CompileOptions { cache: Some(cached(number)?), ..Default::default() }).map(drop)
    })?;
    timed("from the cache", rounds, |number| {
        load(CompileOptions { cache: Some(cached(number)?), ..Default::default() }).map(drop)
    })?;
    println!("one component, by itself");
    for plugin in bundled::PLUGINS {
        let path = folder.path().join(plugin.name).with_extension("wasm");
        std::fs::write(&path, plugin.component.to_vec())
            .expect("there is room for temporary files");
        let inspect =
            |cache, compiler| with(CompileOptions { cache, compiler })?.inspect(&path).map(drop);
        let name = plugin.name;
        timed(&format!("{name}, in this process"), rounds, |_| inspect(None, Compiler::InProcess))?;
        timed(&format!("{name}, in a child"), rounds, |_| {
            inspect(None, Compiler::Child(ChildCompiler::this_program()?))
        })?;
        timed(&format!("{name}, from the cache"), rounds, |_| {
            inspect(Some(cached(0)?), Compiler::InProcess)
        })?;
    }
    Ok(())
}

fn timed(what: &str, rounds: usize, work: impl Fn(usize) -> KernelResult<()>) -> KernelResult<()> {
    let mut took = Vec::new();
    for number in 0..rounds.max(1) {
        let began = Instant::now();
        work(number)?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    println!("  {what:<32} {:>9.2} {:>9.2}", took[0], took[took.len() / 2]);
    Ok(())
}
