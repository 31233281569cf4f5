//! A codec that stores the length of a run of equal bytes instead of the run.

use sochdb_guest::{Codec, Error, Result};

/// The first byte of a block says how the rest is stored.
const AS_IT_IS: u8 = 0;
const RUNS: u8 = 1;

/// The codec. Any instance restores what any other compressed, so it keeps nothing between calls.
struct MyPlugin;

impl Codec for MyPlugin {
    fn init() -> Result<Self> {
        Ok(MyPlugin)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        let runs = input
            .chunk_by(|a, b| a == b)
            .flat_map(|run| run.chunks(255));
        let runs: Vec<u8> = runs.flat_map(|run| [run.len() as u8, run[0]]).collect();
        if runs.len() < input.len() {
            Ok([&[RUNS], &runs[..]].concat())
        } else {
            Ok([&[AS_IT_IS], input].concat())
        }
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        match input.split_first() {
            Some((&AS_IT_IS, raw)) if raw.len() == raw_bytes => Ok(raw.to_vec()),
            Some((&RUNS, runs)) => restore(runs, raw_bytes),
            _ => Err(wrong()),
        }
    }
}

fn restore(runs: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(raw_bytes);
    for pair in runs.chunks(2) {
        let &[len, byte] = pair else {
            return Err(wrong());
        };
        raw.resize(raw.len() + usize::from(len), byte);
        // Bytes may be damaged: never restore more than was asked for.
        if len == 0 || raw_bytes < raw.len() {
            return Err(wrong());
        }
    }
    if raw.len() == raw_bytes {
        Ok(raw)
    } else {
        Err(wrong())
    }
}

fn wrong() -> Error {
    Error::corrupt("this is no block of this codec")
}

sochdb_guest::export!(codec: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_a_round_trip() -> Result<()> {
        let mut codec = MyPlugin::init()?;
        for block in [
            vec![],
            b"abc".to_vec(),
            b"aaabbc".to_vec(),
            vec![7; 100_000],
        ] {
            let stored = codec.compress(&block)?;
            assert_eq!(codec.decompress(&stored, block.len())?, block);
        }
        codec.self_test()
    }

    #[test]
    fn damaged_blocks_are_refused() -> Result<()> {
        let mut codec = MyPlugin::init()?;
        for damaged in [
            &b""[..],
            b"\x00a",
            b"\x01\x03",
            b"\x01\x02a",
            b"\x01\xffa\xffa",
            b"\x02abc",
        ] {
            assert!(codec.decompress(damaged, 3).is_err(), "{damaged:?}");
        }
        Ok(())
    }
}
