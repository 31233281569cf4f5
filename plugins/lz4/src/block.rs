//! One block in the LZ4 block format.
//!
//! A block has no header: the host keeps codec, raw length and checksum beside it, and none of them
//! is worth storing twice. What is stored is a plain sequence of LZ4 literals and matches, which any
//! LZ4 library restores when it is told the raw length.
//!
//! Source: the block format's description in the LZ4 project, by way of the crate `lz4_flex` in its
//! safe variant (no `unsafe`, every access checked).

/// Compresses `input` into one block.
pub fn compress(input: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(input)
}

/// Restores exactly `raw_bytes` bytes from `input`, or says why that cannot be done.
///
/// # Errors
/// What is wrong with `input`, for people.
pub fn decompress(input: &[u8], raw_bytes: usize) -> Result<Vec<u8>, String> {
    let raw = lz4_flex::block::decompress(input, raw_bytes)
        .map_err(|error| format!("{} bytes are no LZ4 block: {error}", input.len()))?;
    if raw.len() == raw_bytes {
        Ok(raw)
    } else {
        Err(format!("the LZ4 block holds {} bytes, {raw_bytes} were expected", raw.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_shrinks_and_comes_back() {
        let text = b"to be, or not to be: that is the question. ".repeat(100);
        let stored = compress(&text);
        assert!(stored.len() < text.len() / 10, "{} of {} bytes", stored.len(), text.len());
        assert_eq!(decompress(&stored, text.len()).unwrap(), text);
    }

    #[test]
    fn bytes_of_a_block_are_those_of_the_format() {
        // One literal `a`, a match of 4 + 9 bytes at distance 1, and six closing literals.
        let stored = [0x19, b'a', 1, 0, 0x60, b'a', b'a', b'a', b'a', b'a', b'a'];
        assert_eq!(compress(&[b'a'; 20]), stored);
        assert_eq!(decompress(&stored, 20).unwrap(), [b'a'; 20]);
        assert_eq!(compress(b""), [0]);
    }

    #[test]
    fn another_length_is_refused() {
        let stored = compress(b"twelve bytes");
        for wrong in [0, 11, 13, 1 << 20] {
            decompress(&stored, wrong).unwrap_err();
        }
        decompress(b"", 12).unwrap_err();
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(raw in proptest::collection::vec(0..4_u8, 0..5000)) {
            prop_assert_eq!(decompress(&compress(&raw), raw.len()).unwrap(), raw);
        }

        #[test]
        fn arbitrary_bytes_never_panic_nor_grow(bytes: Vec<u8>, raw_bytes in 0..10_000_usize) {
            if let Ok(raw) = decompress(&bytes, raw_bytes) {
                prop_assert_eq!(raw.len(), raw_bytes);
            }
        }
    }
}
