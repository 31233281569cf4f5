//! One block as one Zstandard frame.
//!
//! The frame says how long its content is and carries no checksum: the host keeps one beside it. Made with
//! a [`Dictionary`], it says with which. Any Zstandard library restores it, whatever the level it was made
//! with, if it is given that dictionary.
//!
//! Nothing of a frame is believed. A content that is not announced with the length asked for is refused
//! before anything is reserved, and the decoder writes into a buffer of that length, never beyond. So
//! four stored bytes that stand for 128 KiB cost what the caller asked for, and not more.
//!
//! The crate looks at a sample of each block's bytes, and where they are spread evenly it stores the block without a
//! search for repetitions. Rows of numbers, hashes and ciphers look like that and may well repeat. So what comes
//! back no smaller is tried once more, with the search over long distances, which leaves the sample alone.
//!
//! Source: RFC 8878, by way of the crate `structured-zstd`. It is one of the few that have the format's
//! levels without any C, and uses `unsafe` for speed; a plugin keeps that inside the sandbox.

use crate::dictionary::Dictionary;
use std::ops::RangeInclusive;
use structured_zstd::decoding::FrameDecoder;
use structured_zstd::encoding::{CompressionLevel, CompressionParameters, FrameCompressor};

/// The levels offered. Those above need more memory than a block is worth; those below compress less
/// than LZ4, and slower.
pub const LEVELS: RangeInclusive<i32> = 1..=19;

/// The most that one byte of a frame can stand for: a block of 128 KiB that repeats one byte takes four.
const EXPANSION_MAX: usize = (128 << 10) / 4;

/// Shorter blocks are searched by the crate, whatever they look like.
const SEARCHED_BYTES: usize = 512;

/// Compresses blocks at one level.
pub struct Compressor {
    usual: FrameCompressor,
    /// The one that always searches, made when it is needed first. A dictionary keeps the usual one searching.
    thorough: Option<FrameCompressor>,
    level: CompressionLevel,
    has_dictionary: bool,
}

impl Compressor {
    /// A compressor of `level`, one of [`LEVELS`], with a dictionary or without.
    pub fn new(level: i32, dictionary: Option<&Dictionary>) -> Compressor {
        assert!(LEVELS.contains(&level), "level {level} is not one of {LEVELS:?}");
        let level = CompressionLevel::from_level(level);
        let mut usual = FrameCompressor::new(level);
        if let Some(dictionary) = dictionary {
            let set = usual.set_encoder_dictionary(dictionary.encoder.clone());
            set.expect("a dictionary that was read has no distance of zero");
        }
        Compressor { usual, thorough: None, level, has_dictionary: dictionary.is_some() }
    }

    /// Compresses `input` into one frame. It does not depend on what was compressed before.
    pub fn compress(&mut self, input: &[u8]) -> Vec<u8> {
        let frame = self.usual.compress_independent_frame(input);
        if self.has_dictionary || frame.len() < input.len() || input.len() < SEARCHED_BYTES {
            return frame;
        }
        let level = self.level;
        let thorough = self.thorough.get_or_insert_with(|| searching(level));
        let searched = thorough.compress_independent_frame(input);
        if searched.len() < frame.len() { searched } else { frame }
    }
}

/// A compressor that stores nothing unsearched.
fn searching(level: CompressionLevel) -> FrameCompressor {
    let parameters = CompressionParameters::builder(level).enable_long_distance_matching(true);
    let mut compressor = FrameCompressor::new(level);
    compressor.set_parameters(&parameters.build().expect("no number is set"));
    compressor
}

/// Restores exactly `raw_bytes` bytes from `input`, or says why that cannot be done: also when `input` was
/// made with another dictionary than this.
///
/// # Errors
/// What is wrong with `input`, for people.
pub fn decompress(
    input: &[u8],
    raw_bytes: usize,
    dictionary: Option<&Dictionary>,
) -> Result<Vec<u8>, String> {
    let refused = |what: &dyn std::fmt::Display| {
        format!("{} bytes are no Zstandard frame of {raw_bytes}: {what}", input.len())
    };
    if input.len().saturating_mul(EXPANSION_MAX) < raw_bytes {
        return Err(refused(&"no frame of that size holds so many"));
    }
    let wanted = dictionary_id(input);
    let named = dictionary.filter(|_| wanted != 0);
    let has = dictionary.map_or(0, Dictionary::id);
    if wanted != 0 && wanted != has {
        let text = match has {
            0 => format!("it was made with dictionary {wanted}, this codec has none"),
            has => format!("it was made with dictionary {wanted}, this codec has {has}"),
        };
        return Err(refused(&text));
    }
    let mut decoder = FrameDecoder::new();
    let reset = match named {
        Some(dictionary) => decoder.reset_with_dict_handle(input, &dictionary.decoder),
        None => decoder.reset(input),
    };
    reset.map_err(|error| refused(&error))?;
    if decoder.content_size() != raw_bytes as u64 {
        return Err(refused(&format!("it says {}", decoder.content_size())));
    }
    let mut raw = vec![0; raw_bytes];
    let decoded = match named {
        Some(dictionary) => {
            decoder.decode_all_with_dict_handle(input, &mut raw, &dictionary.decoder)
        }
        None => decoder.decode_all(input, &mut raw),
    };
    match decoded {
        Ok(len) if len == raw_bytes => Ok(raw),
        Ok(len) => Err(refused(&format!("it holds {len}"))),
        Err(error) => Err(refused(&error)),
    }
}

/// The number of the dictionary that the frame `input` begins with was made with; 0 for none, or where
/// there is no frame.
///
/// | offset | size       | field                                                                    |
/// |-------:|-----------:|--------------------------------------------------------------------------|
/// |      0 |          4 | magic                                                                    |
/// |      4 |          1 | bits 0, 1: the number's size of 0, 1, 2 or 4 bytes; bit 5: no window byte |
/// |      5 |     0 or 1 | window                                                                   |
/// |        | 0, 1, 2, 4 | the number                                                               |
fn dictionary_id(input: &[u8]) -> u32 {
    let Some(&descriptor) = input.get(4) else { return 0 };
    let at = if descriptor & 0x20 == 0 { 6 } else { 5 };
    let size = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let bytes = input.get(at..at + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |id, &byte| id << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compress(level: i32, input: &[u8]) -> Vec<u8> {
        Compressor::new(level, None).compress(input)
    }

    fn decompress(input: &[u8], raw_bytes: usize) -> Result<Vec<u8>, String> {
        super::decompress(input, raw_bytes, None)
    }

    /// Words in no order: what entropy coding gains on and LZ4 does not.
    fn prose(bytes: usize) -> Vec<u8> {
        let words =
            ["sea", "of", "a", "plant", "having", "genus", "state", "the", "quality", "who"];
        let mut seed = 1_u32;
        let mut text = Vec::new();
        while text.len() < bytes {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.extend_from_slice(words[(seed >> 16) as usize % words.len()].as_bytes());
            text.push(b' ');
        }
        text.truncate(bytes);
        text
    }

    #[test]
    fn a_frame_is_one_of_the_format() {
        let stored = compress(3, &[b'a'; 20]);
        // The magic, one byte of length, and a last block: a literal and a match, or a repeated byte.
        assert_eq!(stored[..6], [0x28, 0xb5, 0x2f, 0xfd, 0x20, 20], "{stored:02x?}");
        let repeated = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 20, (20 << 3) | 3, 0, 0, b'a'];
        assert_eq!(decompress(&repeated, 20).unwrap(), [b'a'; 20]);
        let plain = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, (3 << 3) | 1, 0, 0][..], b"abc"].concat();
        assert_eq!(decompress(&plain, 3).unwrap(), b"abc");
    }

    #[test]
    fn every_level_brings_blocks_back() {
        let text = prose(64 << 10);
        let noise: Vec<u8> =
            (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for level in LEVELS {
            for block in [&b""[..], b"a", &text, &noise, &[7; 300_000]] {
                let stored = compress(level, block);
                assert!(decompress(&stored, block.len()).unwrap() == block, "level {level}");
            }
        }
    }

    #[test]
    fn a_higher_level_makes_text_smaller() {
        let text = prose(64 << 10);
        let sizes = [1, 9, 19].map(|level| compress(level, &text).len());
        assert!(sizes.is_sorted_by(|low, high| low > high), "{sizes:?}");
        assert!(sizes[0] * 3 < text.len(), "{sizes:?}");
    }

    #[test]
    fn repetitions_among_bytes_that_look_like_noise_are_found() {
        let mut seed = 1_u64;
        let mut noise = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        };
        let mut rows = Vec::new();
        while rows.len() < 64 << 10 {
            let half: Vec<u8> = (0..50).map(|_| noise()).collect();
            rows.extend([&half[..], &half].concat());
        }
        let plain: Vec<u8> = (0..64 << 10).map(|_| noise()).collect();
        for level in [1, 3, 9] {
            let stored = compress(level, &rows);
            assert!(stored.len() * 100 < rows.len() * 55, "level {level}: {} bytes", stored.len());
            assert!(decompress(&stored, rows.len()).unwrap() == rows, "level {level}");
            assert!(compress(level, &plain).len() < plain.len() + 20, "level {level}");
        }
    }

    #[test]
    fn a_frame_does_not_depend_on_the_blocks_before_it() {
        for level in LEVELS {
            let mut compressor = Compressor::new(level, None);
            for bytes in [70_000, 10, 3000, 200_000, 0, 70_000] {
                let block = prose(bytes);
                assert_eq!(compressor.compress(&block), compress(level, &block), "level {level}");
            }
        }
    }

    #[test]
    fn another_length_is_refused() {
        let stored = compress(3, b"twelve bytes");
        for wrong in [0, 11, 13, 1 << 20, usize::MAX] {
            decompress(&stored, wrong).unwrap_err();
        }
        decompress(b"", 12).unwrap_err();
        decompress(b"", 0).unwrap_err();
        let twice = [&stored[..], &stored].concat();
        decompress(&twice, 24).unwrap_err();
        decompress(&twice, 12).unwrap_err();
    }

    #[test]
    fn no_part_of_a_frame_is_a_frame() {
        for block in [prose(3000), b"twelve bytes".to_vec(), vec![9; 100_000]] {
            let stored = compress(3, &block);
            for len in 0..stored.len() {
                decompress(&stored[..len], block.len()).unwrap_err();
            }
            decompress(&[&stored[..], b"x"].concat(), block.len()).unwrap_err();
        }
    }

    #[test]
    fn a_bomb_gives_nothing_but_an_error() {
        // One byte repeated 128 KiB, again and again: 100,000 blocks are 12 GiB in 400 KB.
        let block = [(((128 << 10) << 3) | 2) as u8, 0x00, 0x10, 0];
        for announced in [4096_u64, 12 << 30, u64::MAX] {
            let mut bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &announced.to_le_bytes()].concat();
            bomb.extend(block.repeat(100_000));
            for raw_bytes in [4096, 1 << 20] {
                decompress(&bomb, raw_bytes).unwrap_err();
            }
        }
        // A frame that announces nothing but a window of 128 MiB and more.
        for window in [0x88, 0xa8, 0xff] {
            decompress(&[0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0], 4096).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            raw in proptest::collection::vec(0..4_u8, 0..5000),
            level in LEVELS,
        ) {
            prop_assert_eq!(decompress(&compress(level, &raw), raw.len()).unwrap(), raw);
        }

        #[test]
        fn arbitrary_bytes_never_panic_nor_grow(mut bytes: Vec<u8>, raw_bytes in 0..10_000_usize, len: bool) {
            let header = [0x28, 0xb5, 0x2f, 0xfd, 0x60, raw_bytes as u8, (raw_bytes >> 8) as u8];
            if len {
                bytes.splice(0..0, header);
            }
            if let Ok(raw) = decompress(&bytes, raw_bytes) {
                prop_assert_eq!(raw.len(), raw_bytes);
            }
        }

        #[test]
        fn damaged_frames_never_panic_nor_grow(
            seed in 0..3000_usize,
            level in LEVELS,
            at: proptest::sample::Index,
            flip in 1..=255_u8,
        ) {
            let block = prose(2000 + seed);
            let mut stored = compress(level, &block);
            let at = at.index(stored.len());
            stored[at] ^= flip;
            if let Ok(raw) = decompress(&stored, block.len()) {
                prop_assert_eq!(raw.len(), block.len());
            }
        }
    }
}
