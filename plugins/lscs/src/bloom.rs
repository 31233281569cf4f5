//! The bloom filter: "surely not in this segment", for the price of one cache line.
//!
//! Split-block layout: the filter is an array of 32-byte blocks, each eight little-endian `u32` words.
//! A key's XXH64 hash (seed 0) picks one block with its upper half, and one bit in each of the eight
//! words with its lower half and eight odd constants. So the bytes are the same on every machine, and
//! a reader can be written from the source below.
//!
//! At [`BITS_PER_KEY`] about one absent key in a hundred is let through.
//!
//! Source: the split block bloom filter of the Apache Parquet format specification (`BloomFilter.md`).

use twox_hash::XxHash64;

/// Bits spent on each key.
const BITS_PER_KEY: usize = 10;
/// Bytes of one block; a filter's length is a multiple of it.
pub(crate) const BLOCK_BYTES: usize = 32;
/// From the specification.
const SALT: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// The hash a key is filed under.
pub(crate) fn hash(key: &[u8]) -> u64 {
    XxHash64::oneshot(0, key)
}

/// A filter that contains every one of `hashes`.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let blocks = (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8).max(1);
    let mut filter = vec![0; blocks * BLOCK_BYTES];
    for &hash in hashes {
        let start = block_start(filter.len(), hash);
        for (index, bit) in bits(hash) {
            filter[start + index] |= bit;
        }
    }
    filter
}

/// Whether a key with `hash` may be among those `filter` was built from; an empty filter says yes.
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    if filter.len() < BLOCK_BYTES {
        return true;
    }
    let start = block_start(filter.len(), hash);
    bits(hash).all(|(index, bit)| filter[start + index] & bit != 0)
}

/// Where the block of `hash` begins in a filter of `bytes` bytes.
fn block_start(bytes: usize, hash: u64) -> usize {
    let blocks = (bytes / BLOCK_BYTES) as u64;
    (((hash >> 32) * blocks) >> 32) as usize * BLOCK_BYTES
}

/// The byte of each word's bit inside the block, and the bit in it.
fn bits(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    SALT.iter().enumerate().map(move |(word, salt)| {
        let bit = (hash as u32).wrapping_mul(*salt) >> 27;
        (word * 4 + bit as usize / 8, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_few_others() {
        let hashes: Vec<_> = (0..10_000u32).map(|i| hash(&i.to_be_bytes())).collect();
        let filter = build(&hashes);
        assert_eq!(filter.len(), (10_000 * BITS_PER_KEY).div_ceil(256) * BLOCK_BYTES);
        assert!(hashes.iter().all(|&hash| may_contain(&filter, hash)));
        let wrong = (10_000..20_000u32).filter(|i| may_contain(&filter, hash(&i.to_be_bytes())));
        let wrong = wrong.count();
        assert!(wrong < 200, "{wrong} of 10,000 absent keys are let through");
    }

    #[test]
    fn the_hash_and_the_bits_are_those_of_the_specification() {
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
        // One block: each word holds exactly one bit, at (low half * salt) >> 27.
        let filter = build(&[1]);
        let words: Vec<_> =
            filter.as_chunks().0.iter().map(|w| u32::from_le_bytes(*w).trailing_zeros()).collect();
        assert_eq!(words, SALT.map(|salt| salt >> 27));
    }
}
