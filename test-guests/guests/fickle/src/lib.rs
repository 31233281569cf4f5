//! A codec that keeps blocks as they are, behind a header, and is careless as its setting `mood` says.
//!
//! | offset | size | type  | field   | meaning                          |
//! |-------:|-----:|-------|---------|----------------------------------|
//! |      0 |    1 | u8    | `magic` | `F`                              |
//! |      1 |    4 | u32   | `len`   | of the block, little-endian      |
//! |      5 |    1 | u8    | `note`  | 0, or what it remembers          |
//! |      6 |    n | bytes | `block` | as it was given                  |
//!
//! | mood        | what it does                                                          |
//! |-------------|-----------------------------------------------------------------------|
//! | `remembers` | notes how many blocks the instance has had before                     |
//! | `trusts`    | makes room for as many bytes as the header says, before it looks       |
//! | `slices`    | takes the header from the block without asking whether there is one   |
//! | `spins`     | looks for the header without end where there is none                  |
//! | `pads`      | gives a block of another length than it was asked for                 |

use sochdb_guest::{Codec, Error, Result, config};
use std::hint::black_box;

const MAGIC: u8 = b'F';
const HEADER_BYTES: usize = 6;

struct Fickle {
    mood: String,
    blocks: u8,
}

impl Codec for Fickle {
    fn init() -> Result<Self> {
        Ok(Fickle { mood: config::text("mood").unwrap_or_default(), blocks: 0 })
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        let note = if self.mood == "remembers" { self.blocks } else { 0 };
        self.blocks = self.blocks.wrapping_add(1);
        let mut stored = vec![MAGIC];
        stored.extend_from_slice(&(input.len() as u32).to_le_bytes());
        stored.push(note);
        stored.extend_from_slice(input);
        Ok(stored)
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        if self.mood == "slices" {
            return whole(&input[HEADER_BYTES..], raw_bytes);
        }
        let Some((&[magic, a, b, c, d, _], block)) = input.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(Error::corrupt("no whole header"));
        };
        if self.mood == "spins" && magic != MAGIC {
            loop {
                black_box(magic);
            }
        }
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if self.mood == "trusts" {
            let mut room = vec![1; len];
            black_box(&mut room);
        }
        if self.mood == "pads" && len != raw_bytes {
            return Ok(block.to_vec());
        }
        if magic != MAGIC || len != block.len() {
            return Err(Error::corrupt("a header that does not fit its block"));
        }
        whole(block, raw_bytes)
    }
}

fn whole(block: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
    match block.len() == raw_bytes {
        true => Ok(block.to_vec()),
        false => Err(Error::corrupt(format!("{} bytes instead of {raw_bytes}", block.len()))),
    }
}

sochdb_guest::export!(codec: Fickle);
