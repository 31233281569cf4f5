//! Masks: a bit for each row of a block, set while the row may belong to the answer.
//!
//! A mask is words, the least bit first; bits past the last row are zero. A test only ever clears bits.

/// Rows that are unpacked at a time for a test.
const BATCH: usize = 256;

/// Clears bits of `mask` by their values. `unpack` fetches the values from a row on, `word` tests 64 of them.
/// Values of rows that are out already are not fetched, unless their neighbours are.
pub fn retain(
    mask: &mut [u64],
    rows: usize,
    unpack: impl Fn(usize, &mut [i64]),
    word: impl Fn(&[i64; 64]) -> u64,
) {
    let mut values = [0; BATCH];
    for (index, words) in mask.chunks_mut(BATCH / 64).enumerate() {
        if words.iter().all(|word| *word == 0) {
            continue;
        }
        let start = index * BATCH;
        unpack(start, &mut values[..BATCH.min(rows - start)]);
        for (bits, values) in words.iter_mut().zip(values.as_chunks().0) {
            *bits &= word(values);
        }
    }
}

/// The rows of `mask` whose bits are set, one after the other; each may be cleared.
pub fn retain_rows(mask: &mut [u64], mut accept: impl FnMut(usize) -> bool) {
    for (index, word) in mask.iter_mut().enumerate() {
        let mut left = *word;
        while left != 0 {
            let bit = left.trailing_zeros();
            if !accept(index * 64 + bit as usize) {
                *word &= !(1 << bit);
            }
            left &= left - 1;
        }
    }
}

/// Clears the bits from `start` to before `end`.
pub fn clear(mask: &mut [u64], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        let (bit, len) = (at % 64, (64 - at % 64).min(end - at));
        mask[at / 64] &= !((u64::MAX >> (64 - len)) << bit);
        at += len;
    }
}

/// Whether the bit of `row` is set.
pub fn is_set(mask: &[u64], row: usize) -> bool {
    mask[row / 64] >> (row % 64) & 1 == 1
}

/// 64 answers as bits. Written so that it becomes straight code: eight answers at a time.
#[inline(always)]
pub fn word_of(values: &[i64; 64], accept: impl Fn(i64) -> bool) -> u64 {
    let mut word = 0;
    for (index, eight) in values.as_chunks::<8>().0.iter().enumerate() {
        let mut byte = 0;
        for (bit, &value) in eight.iter().enumerate() {
            byte |= u64::from(accept(value)) << bit;
        }
        word |= byte << (index * 8);
    }
    word
}
