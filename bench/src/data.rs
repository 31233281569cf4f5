//! Keys, values, and which of them a skewed workload asks for.

use crate::engine::Row;
use fastrand::Rng;

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;
/// Bytes of a row, as the user counts them.
pub const ROW_BYTES: f64 = (KEY_BYTES + VALUE_BYTES) as f64;
/// Rows of one batch.
pub const BATCH_ROWS: u64 = 1_000;

/// The key of row `number`. Distinct numbers below 2^63 have distinct keys, in random order.
pub fn key(number: u64) -> Vec<u8> {
    // Multiplying by an odd number is a permutation.
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (u64::MAX >> 1);
    format!("user:{number:019}").into_bytes()
}

/// The value of row `number` after it was written `version` times over.
pub fn value(number: u64, version: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number ^ (version << 40));
    (0..VALUE_BYTES).map(|_| rng.alphanumeric() as u8).collect()
}

/// Row `number` after it was written `version` times over.
pub fn row(number: u64, version: u64) -> Row {
    (key(number), value(number, version))
}

/// Rows `numbers`, cut into batches.
pub fn batches(numbers: &[u64], version: u64) -> Vec<Vec<Row>> {
    let batch = |part: &[u64]| part.iter().map(|&number| row(number, version)).collect();
    numbers.chunks(BATCH_ROWS as usize).map(batch).collect()
}

/// Numbers from 0 to `count - 1`, of which small ones are asked for far more often.
///
/// The keys of neighbouring numbers lie far apart, so the hot rows are spread over the whole database.
///
/// Source: Gray and others 1994, "Quickly generating billion-record synthetic databases"; the skew is YCSB's.
pub struct Zipfian {
    count: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

/// YCSB's skew.
const THETA: f64 = 0.99;

impl Zipfian {
    /// Over `count` numbers.
    pub fn new(count: u64) -> Zipfian {
        let zeta = |count: u64| (1..=count).map(|i| (i as f64).powf(-THETA)).sum::<f64>();
        let (all, two) = (zeta(count), zeta(2));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - two / all);
        Zipfian { count: count as f64, alpha: 1.0 / (1.0 - THETA), zeta: all, eta }
    }

    /// The next number.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        let uniform = rng.f64();
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5_f64.powf(THETA) {
            return 1.min(self.count as u64 - 1);
        }
        let number = self.count * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        (number as u64).min(self.count as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_distinct_and_of_one_size() {
        let keys: BTreeSet<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
    }

    #[test]
    fn a_value_is_always_the_same_and_changes_with_its_version() {
        assert_eq!(value(7, 1), value(7, 1));
        assert_ne!(value(7, 1), value(7, 2));
    }

    #[test]
    fn the_first_numbers_of_a_zipfian_draw_take_their_share() {
        let (zipfian, mut rng) = (Zipfian::new(10_000), Rng::with_seed(1));
        let draws: Vec<_> = (0..100_000).map(|_| zipfian.draw(&mut rng)).collect();
        assert!(draws.iter().all(|&number| number < 10_000));
        let zeros = draws.iter().filter(|&&number| number == 0).count();
        // 1 / zeta(10,000, 0.99) is 0.0975.
        assert!((9_000..10_500).contains(&zeros), "{zeros} of 100,000");
    }
}
