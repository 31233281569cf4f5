//! A codec of runs that writes them in one of two ways, by its version, and reads both.
//!
//! | offset | size | type | field     | meaning                                                         |
//! |-------:|-----:|------|-----------|-----------------------------------------------------------------|
//! |      0 |    1 | u8   | `way`     | 1: length before byte; 2: byte before length; 3: as 1, inverted |
//! |      1 |    4 | u32  | `version` | who wrote it, little-endian                                     |
//! |      5 |   2n |      | runs      | of 1 to 255 equal bytes each                                    |
//!
//! Odd versions write the first way, even ones the second. Besides the moods of `mood.rs`:
//!
//! | mood      | what it does                                                       |
//! |-----------|--------------------------------------------------------------------|
//! | `lies`    | restores blocks with another last byte                             |
//! | `one-way` | writes the third way, which only those in this mood read           |
//! | `blind`   | restores nothing that another version wrote                        |

#[allow(dead_code, reason = "no guest uses all of it")]
#[path = "../../../mood.rs"]
mod mood;

use mood::Mood;
use sochdb_guest::{Codec, Error, Result};

const HEADER_BYTES: usize = 5;
const LENGTH_FIRST: u8 = 1;
const BYTE_FIRST: u8 = 2;
const INVERTED: u8 = 3;

struct Shifty {
    mood: Mood,
}

impl Shifty {
    fn write(&self, block: &[u8]) -> Vec<u8> {
        let way = match self.mood.version % 2 {
            _ if self.mood.is("one-way") => INVERTED,
            0 => BYTE_FIRST,
            _ => LENGTH_FIRST,
        };
        let mut stored = vec![way];
        stored.extend_from_slice(&self.mood.version.to_le_bytes());
        for run in block.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            let (len, byte) = (run.len() as u8, run[0]);
            stored.extend_from_slice(&match way {
                LENGTH_FIRST => [len, byte],
                BYTE_FIRST => [byte, len],
                _ => [!len, byte],
            });
        }
        stored
    }

    fn read(&self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        let Some((&[way, ref version @ ..], runs)) = stored.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(Error::corrupt("no whole header"));
        };
        let version = u32::from_le_bytes(*version);
        if self.mood.is_ever("blind") && version != self.mood.version {
            return Err(Error::corrupt(format!("version {version} wrote this")));
        }
        let mut raw = Vec::with_capacity(raw_bytes);
        for run in runs.chunks(2) {
            let &[first, second] = run else { return Err(Error::corrupt("half a run")) };
            let (len, byte) = match way {
                LENGTH_FIRST => (first, second),
                BYTE_FIRST => (second, first),
                INVERTED if self.mood.is_ever("one-way") => (!first, second),
                _ => return Err(Error::corrupt(format!("runs written in way {way}"))),
            };
            raw.resize((raw.len() + usize::from(len)).min(raw_bytes + 1), byte);
        }
        match raw.len() == raw_bytes {
            true => Ok(raw),
            false => Err(Error::corrupt(format!("{} bytes instead of {raw_bytes}", raw.len()))),
        }
    }
}

impl Codec for Shifty {
    fn init() -> Result<Self> {
        Ok(Shifty { mood: Mood::read()? })
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        self.mood.call(input)?;
        Ok(self.write(input))
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        let mut raw = self.read(input, raw_bytes)?;
        self.mood.call(&raw)?;
        if let Some(last) = raw.last_mut().filter(|_| self.mood.is("lies")) {
            *last = !*last;
        }
        Ok(raw)
    }

    fn self_test(&mut self) -> Result<()> {
        let block = b"aaaaaaaabccccccc";
        match self.read(&self.write(block), block.len())? == block {
            true => self.mood.self_test(),
            false => Err(Error::internal("a block did not survive")),
        }
    }

    fn export_state(&mut self) -> Result<Vec<u8>> {
        self.mood.export()
    }

    fn import_state(&mut self, state: Vec<u8>, _version: &str) -> Result<()> {
        self.mood.import(&state)
    }
}

sochdb_guest::export!(codec: Shifty);
