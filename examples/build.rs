//! Builds the example plugins.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Crates that examples share; those of the examples themselves are watched anyway.
    println!("cargo::rerun-if-changed=rust/bm25/core");
    println!("cargo::rerun-if-changed=rust/geo/core");
    if let Err(error) = build() {
        sochdb_guest_build::report(&*error);
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets the folder")?);
    let (mut list, mut all) = (String::new(), String::new());
    for guest in sochdb_guest_build::build("examples/rust", "sochdb-example")? {
        let (name, component) = (&guest.name, guest.component);
        let upper = name.to_uppercase().replace('-', "_");
        let manifest = root.join("rust").join(name).join("manifest.toml");
        writeln!(
            list,
            "/// The component of `rust/{name}`.\npub const {upper}: &[u8] = include_bytes!({component:?});",
        )?;
        writeln!(
            all,
            "Example {{ name: {name:?}, component: {upper}, manifest: include_str!({manifest:?}) }},"
        )?;
    }
    writeln!(list, "/// All of them, by their names.\npub const ALL: &[Example] = &[{all}];")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    Ok(fs::write(out.join("examples.rs"), list)?)
}
