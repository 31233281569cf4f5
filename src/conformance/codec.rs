//! Codecs: every block comes back as it was, from whichever instance, and no bytes harm anybody.

use super::hurtful::{BLOCK_BYTES_MAX, Block, blocks, damaged};
use super::judge::{During, Finding, Tally, answered, wrong};
use super::reload::reload;
use super::room::Room;
use super::storage::{Keeper, answers_as_a_model};
use super::{Kit, Planned, planned};
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::Arc;

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "round-trip",
        "what it compresses it restores: blocks of every kind, of up to a mebibyte",
        round_trip,
    ),
    planned(
        "damage",
        "blocks that were cut, spoiled or made up are refused, or give the bytes that were asked for",
        damage,
    ),
    planned(
        "determinism",
        "another instance writes the same bytes, and restores those of the first",
        determinism,
    ),
    planned(
        "tables",
        "tables that it compresses answer as a model does, after checkpoints, reloads and crashes",
        tables,
    ),
    planned("reload", "versions of it take over from each other while it is used", reloaded),
];

/// Stored blocks longer than this are not damaged: they take long, and teach no more.
const DAMAGED_BYTES_MAX: usize = 4096;
/// How often each is damaged.
const DAMAGES: usize = 24;

pub(super) fn codec(room: &Room, name: &str) -> KernelResult<Arc<dyn CompressionExtension>> {
    room.db().plugins().compression(name)
}

/// `block` as it is stored, or nothing when the codec does not want it.
fn stored(codec: &dyn CompressionExtension, block: &Block) -> Finding<Option<Vec<u8>>> {
    let Block { words, bytes } = block;
    let what = || format!("compressing {} bytes, {words}", bytes.len());
    Ok(answered(what(), codec.compress(bytes))?.ok())
}

fn restore(codec: &dyn CompressionExtension, block: &Block, stored: &[u8]) -> Finding {
    let Block { words, bytes } = block;
    let what = format!("{} bytes, {words}, stored in {}", bytes.len(), stored.len());
    let restored = codec.decompress(stored, bytes.len()).during(format!("restoring {what}"))?;
    match restored.iter().zip(bytes).position(|(found, wanted)| found != wanted) {
        None => Ok(()),
        Some(at) => wrong(format!(
            "{what}: byte {at} comes back as {:#04x}, not as {:#04x}",
            restored[at], bytes[at]
        )),
    }
}

fn round_trip(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let codec = codec(&room, kit.name())?;
    let mut rng = kit.rng();
    let (mut raw, mut kept) = (0, 0);
    for _ in 0..kit.times(1) {
        for block in blocks(&mut rng) {
            let Some(stored) = stored(&*codec, &block)? else {
                tally.count("refused", 1);
                continue;
            };
            restore(&*codec, &block, &stored)?;
            tally.count("blocks", 1);
            raw += block.bytes.len();
            kept += stored.len().min(block.bytes.len());
        }
        room.gather();
    }
    if tally.of("blocks") == 0 {
        return wrong("it refuses to compress anything");
    }
    tally.note(format!("stored in {:.1} % of their size", 100.0 * kept as f64 / raw.max(1) as f64));
    room.close()
}

fn damage(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let codec = codec(&room, kit.name())?;
    let mut rng = kit.rng();
    for block in blocks(&mut rng) {
        let Some(good) = stored(&*codec, &block)? else { continue };
        if DAMAGED_BYTES_MAX < good.len() {
            continue;
        }
        let len = block.bytes.len();
        let asked = [len, len + 1, len.saturating_sub(1), 0, 2 * len + 100, BLOCK_BYTES_MAX];
        for asked in asked {
            spoiled(&*codec, &good, asked, tally)?;
        }
        for _ in 0..kit.times(DAMAGES) {
            let bad = damaged(&good, &mut rng);
            let asked = asked[if rng.u8(..4) == 0 { rng.usize(..asked.len()) } else { 0 }];
            spoiled(&*codec, &bad, asked, tally)?;
        }
        room.gather();
    }
    room.close()
}

/// Bytes that may be no block. The host sees to it that an answer has the length that was asked for.
fn spoiled(
    codec: &dyn CompressionExtension,
    bytes: &[u8],
    asked: usize,
    tally: &mut Tally,
) -> Finding {
    let what = || {
        let shown = bytes[..bytes.len().min(40)].escape_ascii();
        format!("restoring {asked} bytes from {} spoiled ones, {shown}", bytes.len())
    };
    match codec.decompress(bytes, asked) {
        // Half of the answers: the host has compared the length.
        Ok(_) => tally.count("restored", 1),
        result => {
            if answered(what(), result)?.is_err() {
                tally.count("refused", 1);
            }
        }
    }
    Ok(())
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let (one, other) = (kit.room()?, kit.room()?);
    let (first, mut second) = (codec(&one, kit.name())?, codec(&other, kit.name())?);
    let mut all = blocks(&mut kit.rng());
    all.retain(|block| block.bytes.len() <= 70_000);
    let kept = all.iter().map(|block| stored(&*first, block)).collect::<Finding<Vec<_>>>()?;
    // Another host, the other way round, and half-way with fresh instances.
    for (at, (block, kept)) in all.iter().zip(&kept).enumerate().rev() {
        if at == all.len() / 2 {
            other.reload()?;
            second = codec(&other, kit.name())?;
        }
        if stored(&*second, block)? != *kept {
            let Block { words, bytes } = block;
            return wrong(format!(
                "{} bytes, {words}, were compressed to other bytes by another instance",
                bytes.len()
            ));
        }
        if let Some(kept) = kept {
            restore(&*second, block, kept)?;
        }
        tally.count("blocks", 1);
    }
    one.close()?;
    other.close()
}

fn tables(kit: &Kit, tally: &mut Tally) -> Finding {
    answers_as_a_model(kit, tally, Keeper { storage: None, codec: Some(kit.name()) })
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let mut all = blocks(&mut kit.rng());
    all.retain(|block| (1..5_000).contains(&block.bytes.len()));
    let name = kit.name();
    reload(kit, &room, tally, &|db, round| {
        let Block { words, bytes } = &all[round as usize % all.len()];
        let codec = db.plugins().compression(name)?;
        let stored = codec.compress(bytes)?;
        match codec.decompress(&stored, bytes.len())? == *bytes {
            true => Ok(()),
            // Not an answer of the plugin's, so that it counts.
            false => Err(KernelError::unavailable(format!("{words} came back as other bytes"))),
        }
    })?;
    room.close()
}
