//! Symbol tables: strings as codes of one byte, each for up to eight bytes that occur often.
//!
//! | offset | size | type  | field    | meaning                                                        |
//! |-------:|-----:|-------|----------|----------------------------------------------------------------|
//! |      0 |    8 | u8 each | `counts` | symbols of 1, 2 ... 8 bytes; together at most 255              |
//! |      8 |    . | bytes | `symbols` | their bytes, one after the other: codes 0, 1, 2...             |
//!
//! In a compressed string each byte is a code, but 255, which says that the next byte stands for itself. A code
//! without a symbol stands for nothing. Every string is compressed on its own and can be read on its own.
//!
//! A table is learned from a sample in a few rounds: compress the sample with the table so far, then keep the
//! symbols, and the pairs of neighbours as new symbols, that covered most bytes. The encoder takes the longest
//! symbol that fits, finding it with at most three look-ups.
//!
//! Source: FSST, by Boncz, Neumann and Leis 2020, algorithms 1 to 3. The crate `fsst-rs` builds tables for
//! megabytes of text: a counter of 2 MiB and an index of 128 KiB for each; chunks here are some kilobytes, their
//! table must pay for its own bytes, and its decoder writes through raw pointers.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;

/// Says that the next byte stands for itself.
const ESCAPE: u8 = 255;
/// Symbols of one table: every code but the escape.
const SYMBOLS_MAX: usize = 255;
/// Bytes of the longest symbol.
const SYMBOL_BYTES_MAX: usize = 8;
/// Bytes of the sample that a table is learned from.
const SAMPLE_BYTES: usize = 8 << 10;
/// Rounds of learning: a symbol may double its length in each, and three make eight bytes of one.
const ROUNDS: usize = 5;

/// Slots for symbols of three bytes and more, by a hash of the first three; one symbol per slot.
const LONG_SLOTS: usize = 2_048;
/// Slots for symbols of two bytes, by a hash of them.
const PAIR_SLOTS: usize = 1_024;
/// Slots to count pairs of symbols in; pairs that find none near their hash are not counted.
const COUNT_SLOTS: usize = 16_384;
const NONE: u16 = u16::MAX;

/// For one string of so many codes it pays to make a table of all symbols.
const TABLE_CODES_MIN: usize = 128;

/// Up to eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Symbol {
    len: usize,
    /// The bytes, the first lowest, then zeros.
    word: u64,
}

impl Symbol {
    fn of_byte(byte: u8) -> Symbol {
        Symbol { len: 1, word: u64::from(byte) }
    }

    fn then(self, next: Symbol) -> Option<Symbol> {
        let len = self.len + next.len;
        (len <= SYMBOL_BYTES_MAX)
            .then(|| Symbol { len, word: self.word | next.word << (self.len * 8) })
    }

    /// Whether the `left` next bytes, which `next` begins with, begin with it.
    fn begins(self, next: u64, left: usize) -> bool {
        self.len <= left && (next ^ self.word) << (64 - self.len * 8) == 0
    }
}

/// A symbol table for compressing.
#[derive(Debug, Clone)]
pub struct Encoder {
    symbols: Vec<Symbol>,
    /// The code of the symbol that is this byte.
    bytes: [u16; 256],
    pairs: Vec<u16>,
    longs: Vec<u16>,
}

fn long_slot(word: u64) -> usize {
    (hash(word & 0xff_ffff) >> 32) as usize % LONG_SLOTS
}

fn pair_slot(word: u64) -> usize {
    (hash(word & 0xffff) >> 32) as usize % PAIR_SLOTS
}

/// Spreads up to 24 bits over the upper half of the word.
fn hash(bits: u64) -> u64 {
    bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The eight bytes of `data` from `at` on, with zeros past its end.
fn next_word(data: &[u8], at: usize) -> u64 {
    match data[at..].first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let mut word = [0; 8];
            word[..data.len() - at].copy_from_slice(&data[at..]);
            u64::from_le_bytes(word)
        }
    }
}

impl Encoder {
    /// The table of these symbols, the best first; one whose slot is taken is left out.
    fn new(symbols: impl Iterator<Item = Symbol>) -> Encoder {
        let (pairs, longs) = (vec![NONE; PAIR_SLOTS], vec![NONE; LONG_SLOTS]);
        let mut made = Encoder { symbols: Vec::new(), bytes: [NONE; 256], pairs, longs };
        for symbol in symbols {
            if made.symbols.len() == SYMBOLS_MAX {
                break;
            }
            let slot = match symbol.len {
                1 => &mut made.bytes[symbol.word as usize & 255],
                2 => &mut made.pairs[pair_slot(symbol.word)],
                _ => &mut made.longs[long_slot(symbol.word)],
            };
            if *slot == NONE {
                *slot = made.symbols.len() as u16;
                made.symbols.push(symbol);
            }
        }
        made
    }

    /// The longest symbol that the `left` next bytes, which `next` begins with, begin with.
    fn find(&self, next: u64, left: usize) -> Option<(u16, usize)> {
        for code in [self.longs[long_slot(next)], self.pairs[pair_slot(next)]] {
            if let Some(symbol) = self.symbols.get(usize::from(code))
                && symbol.begins(next, left)
            {
                return Some((code, symbol.len));
            }
        }
        let code = self.bytes[next as usize & 255];
        (code != NONE).then_some((code, 1))
    }

    /// Appends `data[start..end]`, compressed.
    pub fn compress(&self, data: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
        let mut at = start;
        while at < end {
            match self.find(next_word(data, at), end - at) {
                Some((code, len)) => {
                    out.push(code as u8);
                    at += len;
                }
                None => {
                    out.extend([ESCAPE, data[at]]);
                    at += 1;
                }
            }
        }
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        SYMBOL_BYTES_MAX + self.symbols.iter().map(|symbol| symbol.len).sum::<usize>()
    }

    /// Appends the table.
    pub fn put(&self, out: &mut Vec<u8>) {
        // The symbols are ordered by their lengths.
        let count = |len| self.symbols.iter().filter(|symbol| symbol.len == len).count() as u8;
        out.extend((1..=SYMBOL_BYTES_MAX).map(count));
        for symbol in &self.symbols {
            out.extend_from_slice(&symbol.word.to_le_bytes()[..symbol.len]);
        }
    }

    /// Learns a table from a sample of `count` strings; `slice` says where in `data` each lies.
    pub fn learn(
        data: &[u8],
        count: usize,
        slice: impl Fn(usize) -> (usize, usize),
    ) -> Option<Encoder> {
        let sample = Sample::new(data, count, slice);
        let mut table = Encoder::new(std::iter::empty());
        let mut counts = Counts::new();
        for _ in 0..ROUNDS {
            counts.clear();
            sample.count(&table, true, &mut counts);
            table = Encoder::new(counts.best(&table).into_iter());
        }
        counts.clear();
        sample.count(&table, false, &mut counts);
        let pays = |(code, symbol): &(usize, &Symbol)| {
            // Without it its bytes would be an escape, or perhaps half as many codes.
            let saved = u64::from(counts.single[256 + code]) * (symbol.len as u64).div_ceil(2);
            symbol.len as u64 * (sample.bytes as u64) < saved * data.len() as u64
        };
        let paying = table.symbols.iter().enumerate().filter(pays).map(|(_, symbol)| *symbol);
        let mut paying: Vec<Symbol> = paying.collect();
        paying.sort_unstable();
        (!paying.is_empty()).then(|| Encoder::new(paying.into_iter()))
    }

    /// Compressed bytes per 1,000 bytes of a sample.
    pub fn ratio(
        &self,
        data: &[u8],
        count: usize,
        slice: impl Fn(usize) -> (usize, usize),
    ) -> usize {
        let sample = Sample::new(data, count, slice);
        let mut out = Vec::with_capacity(sample.bytes);
        for &(start, end) in &sample.parts {
            self.compress(data, start, end, &mut out);
        }
        out.len() * 1_000 / sample.bytes.max(1)
    }
}

/// Some of the strings, from all over the chunk.
struct Sample<'a> {
    data: &'a [u8],
    parts: Vec<(usize, usize)>,
    bytes: usize,
}

impl<'a> Sample<'a> {
    fn new(data: &'a [u8], count: usize, slice: impl Fn(usize) -> (usize, usize)) -> Sample<'a> {
        let step = data.len().div_ceil(SAMPLE_BYTES).max(1);
        let mut sample = Sample { data, parts: Vec::new(), bytes: 0 };
        for (start, end) in (0..count).step_by(step).map(slice) {
            let end = end.min(start + SAMPLE_BYTES / 4);
            if SAMPLE_BYTES * 2 < sample.bytes {
                break;
            }
            sample.bytes += end - start;
            sample.parts.push((start, end));
        }
        sample
    }

    /// Counts symbols, and pairs of neighbours, in the sample as `table` would compress it. `and_firsts`: the
    /// first byte of a longer symbol counts as well, so that it is still there when the symbol is dropped.
    fn count(&self, table: &Encoder, and_firsts: bool, counts: &mut Counts) {
        for &(start, end) in &self.parts {
            let (mut at, mut before) = (start, None);
            while at < end {
                let next = next_word(self.data, at);
                let (id, len) = match table.find(next, end - at) {
                    Some((code, len)) => (256 + usize::from(code), len),
                    None => (next as usize & 255, 1),
                };
                counts.single[id] += 1;
                if and_firsts && 1 < len {
                    let code = table.bytes[next as usize & 255];
                    let own = 256 + usize::from(code);
                    counts.single[if code == NONE { next as usize & 255 } else { own }] += 1;
                }
                if let Some(before) = before {
                    counts.add_pair(before, id);
                }
                (at, before) = (at + len, Some(id));
            }
        }
    }
}

/// How often symbols occurred: 0 to 255 are bytes that have none, 256 and on the codes.
struct Counts {
    single: [u32; 256 + SYMBOLS_MAX],
    /// Of pairs: what pair, and how often; empty while that is 0.
    pairs: Vec<(u32, u32)>,
    used: Vec<u32>,
}

impl Counts {
    fn new() -> Counts {
        let (single, pairs) = ([0; 256 + SYMBOLS_MAX], vec![(0, 0); COUNT_SLOTS]);
        Counts { single, pairs, used: Vec::new() }
    }

    fn clear(&mut self) {
        self.single.fill(0);
        self.used.drain(..).for_each(|slot| self.pairs[slot as usize] = (0, 0));
    }

    fn add_pair(&mut self, first: usize, second: usize) {
        let pair = (first << 16 | second) as u32;
        let slot = (hash(u64::from(pair)) >> 40) as usize;
        for near in 0..4 {
            let slot = (slot + near) % COUNT_SLOTS;
            let (known, count) = &mut self.pairs[slot];
            if *count == 0 {
                self.used.push(slot as u32);
                *known = pair;
            }
            if *known == pair {
                *count += 1;
                return;
            }
        }
    }

    /// The symbols of `table` and those that pairs of them make, by the bytes that they cover, most first.
    fn best(&self, table: &Encoder) -> Vec<Symbol> {
        let symbol = |id: usize| match id.checked_sub(256) {
            None => Symbol::of_byte(id as u8),
            Some(code) => table.symbols[code],
        };
        let singles = self.single.iter().enumerate().filter(|(_, count)| **count != 0);
        let singles = singles.map(|(id, count)| (symbol(id), *count));
        let pairs = self.used.iter().map(|slot| self.pairs[*slot as usize]);
        let pairs = pairs.filter(|(_, count)| 1 < *count).filter_map(|(pair, count)| {
            let (first, second) = (symbol(pair as usize >> 16), symbol(pair as usize & 0xffff));
            first.then(second).map(|both| (both, count))
        });
        // A byte alone saves the escape, so it counts more than one byte of a longer symbol.
        let gain = |(symbol, count): (Symbol, u32)| match symbol.len {
            1 => (symbol, count * 2),
            len => (symbol, count * len as u32),
        };
        let mut all: Vec<(Symbol, u32)> = singles.chain(pairs).map(gain).collect();
        all.sort_unstable();
        all.dedup_by(|again, first| {
            let same = again.0 == first.0;
            first.1 += if same { again.1 } else { 0 };
            same
        });
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(SYMBOLS_MAX * 2);
        all.into_iter().map(|(symbol, _)| symbol).collect()
    }
}

/// A symbol table as it lies in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Symbols<'a> {
    counts: [u8; SYMBOL_BYTES_MAX],
    bytes: &'a [u8],
}

/// A symbol table for decompressing: the word and the length of each code.
#[derive(Debug, Clone)]
pub struct Decoder([(u64, u32); 256]);

impl<'a> Symbols<'a> {
    pub fn read(reader: &mut Reader<'a>) -> EncodingResult<Symbols<'a>> {
        let counts: [u8; SYMBOL_BYTES_MAX] = reader.array()?;
        let count = counts.iter().map(|count| usize::from(*count)).sum::<usize>();
        if SYMBOLS_MAX < count {
            return Err(reader.corrupt("at most 255 symbols", format!("{count}")));
        }
        let bytes = counts.iter().zip(1..).map(|(count, len)| usize::from(*count) * len).sum();
        Ok(Symbols { counts, bytes: reader.bytes(bytes)? })
    }

    /// The bytes that `code` stands for, as a word, and how many they are.
    fn symbol(&self, code: u8) -> (u64, u32) {
        let (mut code, mut at) = (usize::from(code), 0);
        for (&count, len) in self.counts.iter().zip(1..) {
            let count = usize::from(count);
            if code < count {
                let word = next_word(self.bytes, at + code * len);
                return (word & (u64::MAX >> (64 - len * 8)), len as u32);
            }
            (code, at) = (code - count, at + count * len);
        }
        (0, 0)
    }

    /// Makes `out` what `codes` stand for, up to `bytes_max` bytes.
    pub fn decompress(&self, codes: &[u8], bytes_max: usize, out: &mut Vec<u8>) {
        out.resize(bytes_max.min(codes.len().saturating_mul(SYMBOL_BYTES_MAX)) + 8, 0);
        let (mut rest, mut at) = (codes, 0);
        if codes.len() < TABLE_CODES_MIN {
            while let Some(next) = step(|code| self.symbol(code), rest, at, out) {
                (rest, at) = next;
            }
        } else {
            at = self.decoder().decompress(codes, 0, out);
        }
        out.truncate(at);
    }

    /// The table for many strings.
    pub fn decoder(&self) -> Decoder {
        let (mut table, mut code, mut at) = ([(0, 0); 256], 0, 0);
        for (&count, len) in self.counts.iter().zip(1..) {
            for _ in 0..count {
                let mut word = [0; SYMBOL_BYTES_MAX];
                word[..len].copy_from_slice(&self.bytes[at..][..len]);
                table[code] = (u64::from_le_bytes(word), len as u32);
                (code, at) = (code + 1, at + len);
            }
        }
        Decoder(table)
    }
}

impl Decoder {
    /// Writes what `codes` stand for to `out` from `at` on and returns where it ends. Stops at eight bytes
    /// before the end of `out`: what does not fit is left out.
    pub fn decompress(&self, codes: &[u8], mut at: usize, out: &mut [u8]) -> usize {
        let mut rest = codes;
        loop {
            // Four codes at a time, as long as none is an escape.
            while let Some((four, after)) = rest.split_first_chunk::<4>()
                && let Some(room) = out.get_mut(at..).and_then(|out| out.first_chunk_mut())
                && !four.contains(&ESCAPE)
            {
                at += self.four(*four, room);
                rest = after;
            }
            match step(|code| self.0[usize::from(code)], rest, at, out) {
                Some(next) => (rest, at) = next,
                None => return at,
            }
        }
    }

    /// Writes what four codes stand for and returns how many bytes that is. The room is a power of two, so that
    /// no place in it has to be checked, and eight more.
    fn four(&self, codes: [u8; 4], room: &mut [u8; 32 + 8]) -> usize {
        let mut at = 0;
        for code in codes {
            let (word, len) = self.0[usize::from(code)];
            room[at & 31..][..8].copy_from_slice(&word.to_le_bytes());
            at += len as usize;
        }
        at
    }
}

/// Writes what the first of `codes` stands for to `out` from `at` on, and returns the codes behind it and where
/// it ends; nothing at the end of the codes, or with less than eight bytes of room.
#[inline(always)]
fn step<'c>(
    symbol: impl Fn(u8) -> (u64, u32),
    codes: &'c [u8],
    at: usize,
    out: &mut [u8],
) -> Option<(&'c [u8], usize)> {
    let (&code, rest) = codes.split_first()?;
    let room = out.get_mut(at..)?.first_chunk_mut::<8>()?;
    if code == ESCAPE {
        let (&byte, rest) = rest.split_first()?;
        room[0] = byte;
        return Some((rest, at + 1));
    }
    let (word, len) = symbol(code);
    *room = word.to_le_bytes();
    Some((rest, at + len as usize))
}
