//! Dictionaries: what small blocks of one table have in common, said once.
//!
//! A block of a few KiB is too short to learn from: most of what it repeats was said in other blocks. A
//! dictionary holds that, and entropy tables that fit it. It is one of the format: `zstd --train` makes
//! such, and `zstd -d -D FILE` restores with it what a block stored. Each frame names its dictionary by a
//! number, and here the number is a checksum of all the rest: a frame that was made with another dictionary,
//! or with this one before somebody changed it, is refused instead of restored to something else.
//!
//! | offset | size | field                                                                      |
//! |-------:|-----:|----------------------------------------------------------------------------|
//! |      0 |    4 | magic, `37 a4 30 ec`                                                       |
//! |      4 |    4 | its number: CRC-32C of all after it, brought into the range below          |
//! |      8 |    n | Huffman and FSE tables, and three distances to begin with                  |
//! |        |    n | the content: what blocks may refer to, the most useful at the end          |
//!
//! The format leaves the numbers from 32,768 to 2^31 to everybody; the checksum's remainder picks one of them.
//!
//! In a manifest it is text, in the base64 of RFC 4648 with its padding: so it is kept in the database with
//! the manifest, and travels with every backup.
//!
//! With the feature `train` there is `train`, for programs that make dictionaries; the plugin does not.
//!
//! Source: RFC 8878, section 5; what goes into the content is chosen by FastCOVER of the crate
//! `structured-zstd` (Liao, Petri, Moffat and Wirth 2016: "Effective construction of relative Lempel-Ziv
//! dictionaries").

use sochdb_guest::encoding::codec::crc;
use structured_zstd::decoding::DictionaryHandle;
use structured_zstd::encoding::EncoderDictionary;

/// As text it must fit into a manifest of 256 KiB and leave room for the rest of it.
pub const BYTES_MAX: usize = 112 << 10;
/// How large a dictionary is if nothing is said: a larger one gains a percent or two, and every instance of the
/// plugin reads it anew.
pub const BYTES_DEFAULT: usize = 32 << 10;
/// What the trainer reads at most: a hundred times the largest dictionary, as it wants.
#[cfg(any(test, feature = "train"))]
pub const SAMPLE_BYTES_MAX: usize = 100 * BYTES_MAX;
/// As few samples as the trainer can part into those it learns from and those it scores by.
#[cfg(any(test, feature = "train"))]
const SAMPLES_MIN: usize = 8;

/// The least and the greatest number that is nobody else's, half open.
const NUMBERS: std::ops::Range<u32> = 1 << 15..1 << 31;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A dictionary, ready for both directions.
#[derive(Clone)]
pub struct Dictionary {
    pub(crate) encoder: EncoderDictionary,
    pub(crate) decoder: DictionaryHandle,
}

impl Dictionary {
    /// Reads the bytes of a dictionary.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn new(bytes: &[u8]) -> Result<Dictionary, String> {
        let broken = |what: &dyn std::fmt::Display| {
            format!("{} bytes are no Zstandard dictionary: {what}", bytes.len())
        };
        if BYTES_MAX < bytes.len() {
            return Err(broken(&format!("it may have {BYTES_MAX} at most")));
        }
        let decoder = DictionaryHandle::decode_dict(bytes).map_err(|error| broken(&error))?;
        let number = number_of(&bytes[8..]);
        if decoder.id() != number {
            let found = decoder.id();
            return Err(broken(&format!("its number is {found}, by its content it is {number}")));
        }
        let encoder = EncoderDictionary::from_bytes(bytes).map_err(|error| broken(&error))?;
        Ok(Dictionary { encoder, decoder })
    }

    /// Reads a dictionary from the text of a manifest.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_text(text: &str) -> Result<Dictionary, String> {
        Dictionary::new(&from_text(text)?)
    }

    /// The number by which frames refer to it.
    pub fn id(&self) -> u32 {
        self.decoder.id()
    }
}

/// The number of a dictionary that has `rest` behind it.
fn number_of(rest: &[u8]) -> u32 {
    NUMBERS.start + crc(rest) % (NUMBERS.end - NUMBERS.start)
}

/// A dictionary that another program made, with the number that it must have here. Frames that were made
/// with it under its old number are another dictionary's.
///
/// # Errors
/// What is wrong with `bytes`, for people.
pub fn renumbered(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some((head, rest)) = bytes.split_at_mut_checked(8) else {
        return Err(format!("{} bytes are no Zstandard dictionary", bytes.len()));
    };
    head[4..].copy_from_slice(&number_of(rest).to_le_bytes());
    Dictionary::new(&bytes)?;
    Ok(bytes)
}

/// `bytes` as the text of a manifest.
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*piece.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= piece.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

/// The bytes that [`to_text`] wrote as `text`.
fn from_text(text: &str) -> Result<Vec<u8>, String> {
    if BYTES_MAX.div_ceil(3) * 4 < text.len() {
        return Err(format!("{} letters are more than a dictionary has", text.len()));
    }
    if !text.len().is_multiple_of(4) {
        return Err(format!("{} letters are no base64: it has groups of four", text.len()));
    }
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if 2 < padding {
        return Err(format!("a base64 ends with two '=' at most, not {padding}"));
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0_u32;
    for (at, digit) in digits.bytes().chain(std::iter::repeat_n(b'A', padding)).enumerate() {
        let value = DIGITS.iter().position(|&known| known == digit);
        let value = value.ok_or_else(|| format!("letter {at} is none of base64"))?;
        bits = bits << 6 | value as u32;
        if at % 4 == 3 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    if bytes.split_off(bytes.len() - padding).iter().any(|&bits| bits != 0) {
        return Err("the last letter says more than the base64 holds".to_owned());
    }
    Ok(bytes)
}

/// Makes a dictionary of at most `bytes_max` bytes for blocks like `samples`, for compressing at `level`.
///
/// A few hundred samples are enough, and a hundred times the size of the dictionary in all is plenty; what is
/// beyond [`SAMPLE_BYTES_MAX`] is left out. The same samples give the same dictionary.
///
/// # Errors
/// Why these samples make none, for people: too few of them, too little in common, a size beyond [`BYTES_MAX`].
#[cfg(any(test, feature = "train"))]
pub fn train(samples: &[&[u8]], bytes_max: usize, level: i32) -> Result<Vec<u8>, String> {
    use structured_zstd::dictionary::{FastCoverOptions, FinalizeOptions, optimize_fastcover_dict};

    assert!(crate::block::LEVELS.contains(&level), "level {level} is none");
    if BYTES_MAX < bytes_max {
        return Err(format!("a dictionary has at most {BYTES_MAX} bytes here, not {bytes_max}"));
    }
    let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
    for sample in samples.iter().filter(|sample| !sample.is_empty()) {
        if SAMPLE_BYTES_MAX < bytes.len() + sample.len() {
            break;
        }
        bytes.extend_from_slice(sample);
        sizes.push(sample.len());
    }
    if sizes.len() < SAMPLES_MIN {
        return Err(format!(
            "{} samples are too few to make a dictionary: {SAMPLES_MIN} are the least",
            sizes.len()
        ));
    }
    let options = FastCoverOptions::default();
    let finalize = FinalizeOptions { level, ..FinalizeOptions::default() };
    let (dictionary, _) = optimize_fastcover_dict(&bytes, &sizes, bytes_max, &options, finalize)
        .map_err(|error| format!("{} samples make no dictionary: {error}", sizes.len()))?;
    renumbered(dictionary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Compressor, LEVELS, decompress};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Made by `zstd --train --maxdict=512` of 200 rows as [`order`] makes them, and [`renumbered`].
    const ORDERS: &str = include_str!("../fixtures/orders.dictionary.txt");

    fn order(key: u32) -> Vec<u8> {
        format!("tenant=demo table=orders key={key} region=eu status=shipped\n").into_bytes()
    }

    fn blocks(count: u32) -> Vec<Vec<u8>> {
        let words = ["sea", "genus", "having", "plant", "state", "quality", "family", "small"];
        let block = |block: u32| {
            let mut seed = block.wrapping_mul(2_654_435_761);
            let word = |_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                format!("{}-{} ", words[(seed >> 16) as usize % words.len()], seed >> 22)
            };
            (0..60).map(word).collect::<String>().into_bytes()
        };
        (0..count).map(block).collect()
    }

    fn trained(count: u32, bytes_max: usize) -> Result<Vec<u8>, String> {
        let blocks = blocks(count);
        let samples: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        train(&samples, bytes_max, 3)
    }

    static MADE: LazyLock<Dictionary> =
        LazyLock::new(|| Dictionary::new(&trained(300, 4 << 10).unwrap()).unwrap());

    #[test]
    fn a_frame_that_another_program_made_with_a_dictionary_is_restored() {
        // `zstd -D orders.dictionary -3 --no-check`, of one row.
        let frame =
            from_text("KLUv/SPnCdY5OvUAALA3Nzc9dXMgc3RhdHVzPXdhaXRpbmcKAvzwQPwK4A==").unwrap();
        let row = b"tenant=demo table=orders key=777 region=us status=waiting\n";
        let orders = Dictionary::from_text(ORDERS).unwrap();
        assert_eq!(orders.id(), 970_328_551);
        assert_eq!(decompress(&frame, row.len(), Some(&orders)).unwrap(), row);
    }

    #[test]
    fn a_dictionary_makes_small_blocks_smaller_at_every_level() {
        for level in LEVELS {
            let mut plain = Compressor::new(level, None);
            let mut trained = Compressor::new(level, Some(&*MADE));
            let (mut without, mut with) = (0, 0);
            for block in blocks(400).into_iter().skip(300) {
                let stored = trained.compress(&block);
                assert_eq!(decompress(&stored, block.len(), Some(&*MADE)).unwrap(), block);
                with += stored.len();
                without += plain.compress(&block).len();
            }
            assert!(with * 10 < without * 9, "level {level}: {with} with, {without} without");
        }
    }

    #[test]
    fn the_same_samples_make_the_same_dictionary() {
        let made = trained(300, 4 << 10).unwrap();
        assert!(made.len() <= 4 << 10, "{} bytes", made.len());
        assert_eq!(made, trained(300, 4 << 10).unwrap());
        assert_eq!(made[..4], [0x37, 0xa4, 0x30, 0xec]);
    }

    #[test]
    fn samples_that_make_no_dictionary_are_refused() {
        assert!(trained(7, 4 << 10).unwrap_err().contains("7 samples are too few"));
        assert!(trained(0, 4 << 10).unwrap_err().contains("too few"));
        assert!(trained(300, BYTES_MAX + 1).unwrap_err().contains("at most"));
        for bytes_max in [0, 1, 100] {
            assert!(trained(300, bytes_max).unwrap_err().contains("make no dictionary"));
        }
        let empty: Vec<&[u8]> = vec![b""; 100];
        train(&empty, 4 << 10, 3).unwrap_err();
    }

    #[test]
    fn a_frame_of_another_dictionary_is_refused_by_both_numbers() {
        let orders = Dictionary::from_text(ORDERS).unwrap();
        let row = order(5);
        let stored = Compressor::new(3, Some(&orders)).compress(&row);
        let refused = decompress(&stored, row.len(), Some(&*MADE)).unwrap_err();
        let numbers = format!("dictionary {}, this codec has {}", orders.id(), MADE.id());
        assert!(refused.ends_with(&numbers), "{refused}");
        let refused = decompress(&stored, row.len(), None).unwrap_err();
        assert!(refused.ends_with("this codec has none"), "{refused}");
    }

    #[test]
    fn with_a_dictionary_a_bomb_gives_nothing_but_an_error() {
        let block = [(((128 << 10) << 3) | 2) as u8, 0x00, 0x10, 0];
        for announced in [4096_u64, 12 << 30, u64::MAX] {
            let mut bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe3][..], &MADE.id().to_le_bytes()].concat();
            bomb.extend(announced.to_le_bytes());
            bomb.extend(block.repeat(100_000));
            for raw_bytes in [4096, 1 << 20] {
                decompress(&bomb, raw_bytes, Some(&*MADE)).unwrap_err();
            }
        }
    }

    #[test]
    fn no_part_of_a_frame_with_a_dictionary_is_a_frame() {
        let block = &blocks(301)[300];
        let stored = Compressor::new(9, Some(&*MADE)).compress(block);
        for len in 0..stored.len() {
            decompress(&stored[..len], block.len(), Some(&*MADE)).unwrap_err();
        }
    }

    #[test]
    fn text_is_base64_and_nothing_else_is() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
        ] {
            assert_eq!(to_text(bytes), text);
            assert_eq!(from_text(text).unwrap(), bytes);
        }
        for wrong in
            ["Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zg==Zg==", "Zm 9", "Zm-v", "\u{fc}xy"]
        {
            from_text(wrong).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_text(bytes: Vec<u8>) {
            prop_assert_eq!(from_text(&to_text(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn any_text_is_bytes_or_an_error(text: String) {
            if let Ok(bytes) = from_text(&text) {
                prop_assert_eq!(to_text(&bytes), text);
            }
        }

        #[test]
        fn blocks_of_anything_come_back(
            raw in proptest::collection::vec(0..40_u8, 0..5000),
            repeats in 1..30_usize,
            level in LEVELS,
        ) {
            let raw = raw.repeat(repeats);
            let stored = Compressor::new(level, Some(&*MADE)).compress(&raw);
            prop_assert_eq!(decompress(&stored, raw.len(), Some(&*MADE)).unwrap(), raw);
        }

        #[test]
        fn damaged_frames_never_panic_nor_grow(
            number in 0..1000_u32,
            level in LEVELS,
            at: proptest::sample::Index,
            flip in 1..=255_u8,
        ) {
            let block = &blocks(number + 1)[number as usize];
            let mut stored = Compressor::new(level, Some(&*MADE)).compress(block);
            let at = at.index(stored.len());
            stored[at] ^= flip;
            if let Ok(raw) = decompress(&stored, block.len(), Some(&*MADE)) {
                prop_assert_eq!(raw.len(), block.len());
            }
        }

        #[test]
        fn a_damaged_dictionary_is_refused(at: proptest::sample::Index, flip in 1..=255_u8) {
            let mut bytes = from_text(ORDERS).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Dictionary::new(&bytes).is_err());
            prop_assert!(Dictionary::new(&bytes[..at]).is_err());
        }

        /// Made to look whole it is another dictionary: what it stores it restores, or refuses.
        #[test]
        fn a_damaged_dictionary_that_is_given_a_number_never_panics(
            at: proptest::sample::Index,
            flip in 1..=255_u8,
            level in LEVELS,
        ) {
            let mut bytes = from_text(ORDERS).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(bytes) = renumbered(bytes) {
                let dictionary = Dictionary::new(&bytes).unwrap();
                let rows = [order(7), order(70).repeat(50)].concat();
                let stored = Compressor::new(level, Some(&dictionary)).compress(&rows);
                if let Ok(raw) = decompress(&stored, rows.len(), Some(&dictionary)) {
                    prop_assert_eq!(raw.len(), rows.len());
                }
            }
        }

        #[test]
        fn arbitrary_bytes_are_hardly_a_dictionary(bytes: Vec<u8>, begins: bool) {
            let magic: &[u8] = if begins { &[0x37, 0xa4, 0x30, 0xec] } else { &[] };
            let _ = renumbered([magic, &bytes].concat());
        }
    }
}
