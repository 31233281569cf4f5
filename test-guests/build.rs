//! Builds the guests of tests and benchmarks.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=mood.rs");
    if let Err(error) = build() {
        sochdb_guest_build::report(&*error);
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let mut list = String::new();
    for guest in sochdb_guest_build::build("test-guests/guests", "sochdb-test-guest")? {
        let (name, component) = (guest.name.to_uppercase(), guest.component);
        list += &format!(
            "/// The component of `guests/{}`.\npub const {name}: &[u8] = include_bytes!({component:?});\n",
            guest.name
        );
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    Ok(fs::write(out.join("guests.rs"), list)?)
}
