//! The kernel on a real file system: power cuts below ext4, and a small disk that is really full.
//!
//! | room           | question                                                                 |
//! |----------------|--------------------------------------------------------------------------|
//! | `mounts`       | loop devices and mounts that are always given back                       |
//! | `block_device` | a disk served through FUSE that remembers what was not flushed           |
//! | `power_cut`    | does every acknowledged commit survive, below the file system?           |
//! | `disk_full`    | does a full disk lose nothing, and is it over when there is space again? |
//! | `sim_disk`     | the simulator's own model of a disk that forgets and tears               |
//!
//! They need root, loop devices and, the first one, FUSE. Elsewhere they say loudly that nothing was
//! proved, and with `SOCHDB_PROOF=release` that is a failure.

#![cfg(target_os = "linux")]

mod block_device;
mod disk_full;
mod mounts;
mod power_cut;
#[allow(dead_code, reason = "the simulator needs more of it than a block device")]
#[path = "../sim/sim_disk.rs"]
mod sim_disk;

/// Whether the long form was asked for.
fn is_release_proof() -> bool {
    std::env::var("SOCHDB_PROOF").is_ok_and(|value| value == "release")
}

/// `short` in a pull request, `long` before a release, or as many times `short` as was asked for.
fn size(short: u64, long: u64) -> u64 {
    match std::env::var("SOCHDB_PROOF") {
        _ if is_release_proof() => long,
        Ok(times) => {
            short * times.parse::<u64>().expect("SOCHDB_PROOF is 'release' or a whole number")
        }
        Err(_) => short,
    }
}

/// The seed of this run: `SOCHDB_SEED`, or always the same. Threads and the operating system do the rest,
/// so a seed shows the same cuts, not the same moments.
fn seed() -> u64 {
    std::env::var("SOCHDB_SEED")
        .ok()
        .map_or(20_261_121, |value| value.parse().expect("SOCHDB_SEED is a whole number"))
}

/// Says that a test proved nothing, and why.
fn skip(test: &str, why: &str) {
    let text = format!("SKIPPED: {test} PROVED NOTHING HERE: {why}");
    assert!(!is_release_proof(), "{text}");
    // Past the harness's capture, so that nobody takes a skipped proof for one.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("\n{text}\n"));
}
