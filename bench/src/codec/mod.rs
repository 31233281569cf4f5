//! `bench codec`: the codecs in the sandbox, beside the same code compiled natively, and the C libraries.
//!
//! ```text
//!   data ── cut into blocks ──▶ rounds; in each, every case once: sandbox, native and C in turn ──▶ medians ──▶ a table
//! ```
//!
//! | file        | what it is                                                 |
//! |-------------|------------------------------------------------------------|
//! | `blocks`    | the data: dictionary entries and log lines, cut into blocks |
//! | `contender` | a codec in the sandbox, natively, in C                     |
//! | `native_c`  | the C libraries (feature `c-codecs`)                       |
//! | `table`     | the table                                                  |
//!
//! The sandbox is called as the kernel calls it when it stores a block: through the host, fuel and deadline on, the
//! answer's length checked. Every contender's blocks are restored and compared before anything is measured, and the
//! sandbox's are those of the native code, byte for byte; of LZ4 another choice of as many matches, because that crate looks
//! for them by a table that depends on the width of a pointer.

mod blocks;
mod contender;
#[cfg(feature = "c-codecs")]
mod native_c;
mod table;

use crate::Result;
use crate::outcome::Outcome;
use blocks::{Blocks, Data};
use clap::{Args, ValueEnum};
use contender::{Codec, Contender, Sandbox};
use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The sizes of blocks: a large value of a row, some pages, and two blocks of a segment.
const BLOCK_KIB: [usize; 3] = [4, 36, 128];

/// How long, and how it is printed.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Rounds; a cell is their median
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Kibibytes of each kind of data
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(128..=65_536))]
    pub data_kib: u32,
    /// Milliseconds that each figure of a round is measured for, at least
    #[arg(long, default_value_t = 60)]
    pub each_ms: u64,
    /// Only these codecs, separated by commas
    #[arg(long, value_delimiter = ',', value_enum)]
    pub only: Vec<Codec>,
    /// Whether it works: one short round
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// One codec on blocks of one size and kind.
#[derive(Debug, Clone, Serialize)]
struct Case {
    data: Data,
    block_kib: usize,
    codec: Codec,
    /// Stored bytes per raw byte: in the sandbox and natively, which are the same, and in C.
    stored: [f64; 2],
    /// By round.
    rounds: Vec<Figures>,
}

/// MB/s of one round, by [`Contender`]; `None` where there is none.
type Rates = [Option<f64>; 3];

/// What one round found.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    compress: Rates,
    restore: Rates,
}

/// Measures everything.
///
/// # Errors
/// When a codec fails, or does not bring a block back.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let settings = settings.clone().scaled();
    let codecs = Codec::value_variants().iter().copied();
    let codecs: Vec<_> =
        codecs.filter(|codec| settings.only.is_empty() || settings.only.contains(codec)).collect();
    let sandbox = Sandbox::new(&codecs)?;
    let mut cases = Vec::new();
    for data in Data::ALL {
        for block_kib in BLOCK_KIB {
            let blocks = data.blocks(settings.data_kib as usize, block_kib);
            for &codec in &codecs {
                let stored = check(&sandbox, codec, &blocks)?;
                let case = Case { data, block_kib, codec, stored, rounds: Vec::new() };
                cases.push((case, blocks.clone()));
            }
        }
    }
    for round in 0..settings.rounds {
        for (case, blocks) in &mut cases {
            eprintln!(
                "round {} of {}: {} of {} KiB, {}",
                round + 1,
                settings.rounds,
                case.data.name(),
                case.block_kib,
                case.codec.name()
            );
            case.rounds.push(measure(&sandbox, case.codec, blocks, settings.each_ms)?);
        }
    }
    let cases: Vec<_> = cases.into_iter().map(|(case, _)| case).collect();
    let mut outcome = Outcome::of(&cases)?;
    outcome.sheets.push(table::sheet(&cases, &settings));
    outcome.charts.push(table::chart(&cases));
    outcome.summary = table::summary(&cases);
    Ok(outcome)
}

/// Has every contender compress and restore every block. Returns what share of the bytes is stored: ours, C's.
fn check(sandbox: &Sandbox, codec: Codec, blocks: &Blocks) -> Result<[f64; 2]> {
    let mut stored = [0; 3];
    let mut first: Vec<Vec<u8>> = Vec::new();
    for (at, contender) in Contender::all(sandbox, codec)?.iter_mut().enumerate() {
        let Some(contender) = contender else { continue };
        let packed = blocks.iter().map(|block| contender.compress(block));
        let packed = packed.collect::<Result<Vec<_>>>()?;
        for (packed, block) in packed.iter().zip(blocks) {
            if contender.restore(packed, block.len())? != *block {
                return Err(format!("{} did not bring a block back", codec.name()).into());
            }
        }
        // The format is one: what the sandbox stored everybody restores.
        for (packed, block) in first.iter().zip(blocks) {
            if contender.restore(packed, block.len())? != *block {
                return Err(format!("{} is stored in a format of its own", codec.name()).into());
            }
        }
        stored[at] = packed.iter().map(Vec::len).sum();
        if first.is_empty() {
            first = packed;
        } else if at == 1 && codec.is_one_on_all_machines() && first != packed {
            return Err(format!("{} stores something else in the sandbox", codec.name()).into());
        }
    }
    let raw: usize = blocks.iter().map(Vec::len).sum();
    Ok([stored[0], stored[2]].map(|stored| stored as f64 / raw as f64))
}

/// One round of one case: the contenders in turn, first there, then back.
fn measure(sandbox: &Sandbox, codec: Codec, blocks: &Blocks, each_ms: u64) -> Result<Figures> {
    let mut contenders = Contender::all(sandbox, codec)?;
    let (mut compress, mut restore) = (Rates::default(), Rates::default());
    for (rate, contender) in compress.iter_mut().zip(&mut contenders) {
        let Some(contender) = contender else { continue };
        let work = |block: &[u8]| contender.compress(block);
        *rate = Some(mb_per_second(blocks, each_ms, work)?);
    }
    for (rate, contender) in restore.iter_mut().zip(&mut contenders) {
        let Some(contender) = contender else { continue };
        let packed = blocks.iter().map(|block| contender.compress(block));
        let packed = packed.collect::<Result<Vec<_>>>()?;
        let mut at = (0..packed.len()).cycle();
        let work = |block: &[u8]| {
            contender.restore(&packed[at.next().expect("there are blocks")], block.len())
        };
        *rate = Some(mb_per_second(blocks, each_ms, work)?);
    }
    Ok(Figures { compress, restore })
}

/// How many megabytes of `blocks` a second `work` deals with. All blocks once to warm up, then as often as fits
/// into the time, and at least once.
fn mb_per_second(
    blocks: &Blocks,
    each_ms: u64,
    mut work: impl FnMut(&[u8]) -> Result<Vec<u8>>,
) -> Result<f64> {
    let mut turn = || -> Result<usize> {
        let mut bytes = 0;
        for block in blocks {
            black_box(work(black_box(block))?);
            bytes += block.len();
        }
        Ok(bytes)
    };
    turn()?;
    let (began, enough, mut bytes) = (Instant::now(), Duration::from_millis(each_ms), 0);
    while bytes == 0 || began.elapsed() < enough {
        bytes += turn()?;
    }
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}

impl Settings {
    /// The settings with `quick` and the bounds applied.
    fn scaled(mut self) -> Settings {
        if self.quick {
            (self.rounds, self.data_kib, self.each_ms) = (1, 128, 1);
        }
        self.rounds = self.rounds.max(1);
        self
    }
}
