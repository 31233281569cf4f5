//! Builds the plugins that we ship and embeds them with their manifests: compressed, because where their compiled code
//! is cached nobody needs more of them than their hash.
//!
//! It is the build script of this crate and not of the root package, because this crate's tests run
//! the same plugins and a crate cannot ask for what a build script above it made.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_none() {
        fs::write(out.join("bundled.rs"), "&[]").expect("cargo gave us this folder to write to");
        return;
    }
    if let Err(error) = build(&out) {
        sochdb_guest_build::report(&*error);
    }
}

fn build(out: &Path) -> Result<(), Box<dyn Error>> {
    // Of this very run: the compiled script may be one from before the repository was moved.
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    let root = Path::new(&package).join("..").canonicalize()?;
    let mut list = String::from("&[\n");
    for guest in sochdb_guest_build::build("plugins", "sochdb-plugin")? {
        let (name, component) = (guest.name, guest.component);
        let manifest = root.join("manifests").join(&name).with_extension("toml");
        if !manifest.is_file() {
            let why = format!("the plugin '{name}' has no manifest: write {}", manifest.display());
            return Err(why.into());
        }
        let bytes = fs::read(&component)?;
        let packed = component.with_extension("packed");
        fs::write(&packed, pack(&bytes)?)?;
        let (len, hash) = (bytes.len(), blake3::hash(&bytes));
        list += &format!(
            "    Bundled {{ name: {name:?}, manifest: include_str!({manifest:?}), \
             component: Packed {{ deflated: include_bytes!({packed:?}), len: {len}, blake3: {hash:?} }} }},\n",
            hash = hash.as_bytes()
        );
    }
    list += "]";
    fs::write(out.join("bundled.rs"), list)?;
    Ok(())
}

/// As `bundled.rs` unpacks it.
fn pack(component: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(component)?;
    packer.finish()
}
