//! The trial of a codec: blocks of late and made-up ones, stored by each version and restored by each.

use super::Trial;
use super::samples::Samples;
use crate::wasm_host_abi::WasmCodec;
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of the blocks that are made up: from a lonely one to a whole block of the kernel's.
const SIZES: [usize; 4] = [1, 100, 4096, 64 << 10];

/// A block of late.
pub(crate) struct Block {
    /// Whose it is.
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) raw: Vec<u8>,
    /// What a version that served made of it.
    pub(crate) stored: Vec<u8>,
}

/// The blocks of late of a codec.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) stored: Samples<Block>,
    pub(crate) restored: Samples<Block>,
}

/// Tries the new version beside the old one. `pair` makes instances of both that have seen nothing.
pub(super) fn try_all(
    trial: &mut Trial,
    blocks: &Blocks,
    pair: impl Fn() -> KernelResult<(WasmCodec, WasmCodec)>,
) -> KernelResult<()> {
    let of_late = [blocks.stored.list(trial.samples), blocks.restored.list(trial.samples)].concat();
    let mut by_tenant = BTreeMap::<_, Vec<_>>::new();
    of_late.iter().for_each(|block| by_tenant.entry(&block.tenant).or_default().push(block));
    for blocks in by_tenant.into_values() {
        let (old, new) = pair()?;
        for block in blocks {
            trial.report.replayed += 1;
            try_stored(trial, "that is there", &new, block)?;
            try_raw(trial, &old, &new, &block.raw)?;
        }
    }
    let (old, new) = pair()?;
    patterns().try_for_each(|raw| try_raw(trial, &old, &new, &raw))
}

/// Whether a codec restores what it stores.
pub(super) fn check_round_trips(trial: &Trial, new: &dyn CompressionExtension) -> KernelResult<()> {
    patterns().try_for_each(|raw| {
        let Some(stored) = kept_plain(new.compress(&raw))? else { return Ok(()) };
        let what = format!("stores a block of {} bytes so that it does not restore it", raw.len());
        match new.decompress(&stored, raw.len()) {
            Ok(restored) if restored == raw => Ok(()),
            Ok(_) => Err(trial.lied(what)),
            Err(error) => Err(trial.lied(format!("{what}: {error}"))),
        }
    })
}

/// A block that a codec refuses is stored plain.
fn kept_plain(stored: KernelResult<Vec<u8>>) -> KernelResult<Option<Vec<u8>>> {
    match stored {
        Err(KernelError::Plugin { fault: PluginFault::Refused, .. }) => Ok(None),
        stored => stored.map(Some),
    }
}

/// The new version restores what an old one stored.
fn try_stored(
    trial: &Trial,
    which: &str,
    new: &dyn CompressionExtension,
    block: &Block,
) -> KernelResult<()> {
    let Block { raw, stored, .. } = block;
    let what = format!("a block of {} bytes {which} ({} stored)", raw.len(), stored.len());
    let restored = new.decompress(stored, raw.len());
    match restored.map_err(|error| trial.failed(&what, error))? == *raw {
        true => Ok(()),
        false => Err(trial.lied(format!("{what} is restored to other bytes"))),
    }
}

/// Each version stores `raw`, and each restores what the other one stored.
fn try_raw(
    trial: &mut Trial,
    old: &dyn CompressionExtension,
    new: &dyn CompressionExtension,
    raw: &[u8],
) -> KernelResult<()> {
    let len = raw.len();
    // The measure is what the old version restores itself.
    let measure = old
        .compress(raw)
        .ok()
        .filter(|stored| old.decompress(stored, len).is_ok_and(|restored| restored == raw));
    if let Some(stored) = &measure {
        let block = Block { tenant: None, raw: raw.to_vec(), stored: stored.clone() };
        try_stored(trial, &format!("that version {} stores", trial.old), new, &block)?;
    }
    let stored = match kept_plain(new.compress(raw)) {
        Ok(Some(stored)) => stored,
        Ok(None) => {
            if measure.is_some() {
                trial
                    .differs(format!("refuses a block of {len} bytes, which is then stored plain"));
            }
            return Ok(());
        }
        Err(_) if measure.is_none() => return Ok(()),
        Err(error) => return Err(trial.failed(format!("a block of {len} bytes"), error)),
    };
    let wrong = |who: &str, restored: KernelResult<Vec<u8>>| {
        let why = match restored {
            Ok(restored) if restored == raw => return Ok(()),
            Ok(_) => "other bytes come back".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(trial.lied(format!(
            "stores a block of {len} bytes so that {who} does not restore it: {why}"
        )))
    };
    wrong("it", new.decompress(&stored, len))?;
    if trial.one_way {
        return Ok(());
    }
    wrong(&format!("version {}", trial.old), old.decompress(&stored, len))
}

/// Blocks of all sizes and kinds: nothing, rows that repeat, numbers that grow, and noise.
fn patterns() -> impl Iterator<Item = Vec<u8>> {
    let kinds: [fn(usize) -> Vec<u8>; 4] = [
        |len| vec![0; len],
        |len| b"a row and a row and another row; ".iter().copied().cycle().take(len).collect(),
        |len| (0_u64..).flat_map(|number| (number * 37).to_le_bytes()).take(len).collect(),
        |len| {
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            };
            std::iter::repeat_with(next).take(len).collect()
        },
    ];
    SIZES.into_iter().flat_map(move |len| kinds.into_iter().map(move |kind| kind(len)))
}

#[cfg(test)]
mod tests {
    use super::super::of_versions;
    use super::*;
    use sochdb_kernel::plugin::{Extension, ExtensionInfo};

    /// Adds `shift` to each byte, and `tail` bytes.
    struct Shifts(u8, usize);

    impl Extension for Shifts {
        fn info(&self) -> ExtensionInfo {
            let (version, description, author) = Default::default();
            let capabilities = Vec::new();
            ExtensionInfo { name: "guest".to_owned(), version, description, author, capabilities }
        }
    }

    impl CompressionExtension for Shifts {
        fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
            let mut out: Vec<u8> = input.iter().map(|byte| byte.wrapping_add(self.0)).collect();
            out.resize(input.len() + self.1, self.0);
            Ok(out)
        }

        fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
            let shift = if self.1 == 0 { self.0 } else { input[input.len() - 1] };
            Ok(input[..raw_bytes].iter().map(|byte| byte.wrapping_sub(shift)).collect())
        }
    }

    fn check(old: Shifts, new: Shifts, one_way: bool) -> Result<(), String> {
        let mut trial = of_versions("1.0.0", "2.0.0");
        trial.one_way = one_way;
        let tried = patterns().try_for_each(|raw| try_raw(&mut trial, &old, &new, &raw));
        tried.map_err(|error| error.to_string())
    }

    #[test]
    fn each_version_must_restore_what_the_other_one_stores() {
        check(Shifts(1, 0), Shifts(1, 0), false).unwrap();
        let error = check(Shifts(1, 0), Shifts(2, 0), false).unwrap_err();
        for words in
            ["version 2.0.0", "a block of 1 bytes that version 1.0.0 stores", "other bytes"]
        {
            assert!(error.contains(words), "{error}");
        }
        // What follows the bytes says how to restore them: the old version knows of no such thing.
        let error = check(Shifts(0, 0), Shifts(1, 1), false).unwrap_err();
        assert!(error.contains("other bytes"), "{error}");
    }

    #[test]
    fn there_need_be_no_way_back_when_that_is_said() {
        struct Newer(Shifts);
        impl Extension for Newer {
            fn info(&self) -> ExtensionInfo {
                self.0.info()
            }
        }
        // Reads what the old one stores, and stores a byte more.
        impl CompressionExtension for Newer {
            fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
                Shifts(7, 1).compress(input)
            }
            fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
                match input.len() == raw_bytes {
                    true => self.0.decompress(input, raw_bytes),
                    false => Shifts(7, 1).decompress(input, raw_bytes),
                }
            }
        }
        let (old, new) = (Shifts(1, 0), Newer(Shifts(1, 0)));
        let mut trial = of_versions("1.0.0", "2.0.0");
        let error = try_raw(&mut trial, &old, &new, b"block").unwrap_err().to_string();
        let words = "stores a block of 5 bytes so that version 1.0.0 does not restore it";
        assert!(error.contains(words), "{error}");
        trial.one_way = true;
        try_raw(&mut trial, &old, &new, b"block").unwrap();
        check_round_trips(&trial, &new).unwrap();
    }
}
