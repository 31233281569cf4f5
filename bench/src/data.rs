//! Keys, values, and which of them a skewed workload asks for.

use crate::engine::Row;
use clap::ValueEnum;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;
/// Rows of one batch.
pub const BATCH_ROWS: u64 = 1_000;

/// The key of row `number`. Distinct numbers below 2^63 have distinct keys, in random order.
pub fn key(number: u64) -> Vec<u8> {
    // Multiplying by an odd number is a permutation.
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (u64::MAX >> 1);
    format!("user:{number:019}").into_bytes()
}

/// What values are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// Random letters and digits: no codec makes them much smaller
    Random,
    /// An object of short fields and a note of words, as programs store them
    Json,
}

/// The least that a JSON object of ours fits into.
pub const JSON_BYTES_MIN: usize = 128;

const NAMES: [&str; 16] = [
    "Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Jim",
    "Karen", "Leslie", "Margaret", "Niklaus", "Radia", "Tony",
];
const WORDS: [&str; 24] = [
    "about", "after", "again", "between", "called", "customer", "delivery", "every", "found",
    "given", "harbour", "invoice", "journey", "letter", "morning", "nothing", "order", "paid",
    "quiet", "returned", "shipped", "the", "under", "window",
];

/// The values of a run, all of one kind and size.
#[derive(Debug, Clone, Copy)]
pub struct Values {
    /// What they are made of.
    pub kind: ValueKind,
    /// Bytes of each.
    pub bytes: usize,
}

impl Values {
    /// The value of row `number` after it was written `version` times over.
    pub fn value(self, number: u64, version: u64) -> Vec<u8> {
        let mut rng = Rng::with_seed(number ^ (version << 40));
        match self.kind {
            ValueKind::Random => (0..self.bytes).map(|_| rng.alphanumeric() as u8).collect(),
            ValueKind::Json => self.json(number, version, &mut rng),
        }
    }

    fn json(self, number: u64, version: u64, rng: &mut Rng) -> Vec<u8> {
        let pick = |rng: &mut Rng| NAMES[rng.usize(..NAMES.len())];
        let (first, last) = (pick(rng), pick(rng));
        let (amount, active) = (rng.u32(..1_000_000), rng.bool());
        let mut json = format!(
            r#"{{"id":{number},"version":{version},"name":"{first} {last}","amount":{}.{:02},"active":{active},"note":""#,
            amount / 100,
            amount % 100
        );
        while json.len() < self.bytes {
            json.push_str(WORDS[rng.usize(..WORDS.len())]);
            json.push(' ');
        }
        json.truncate(self.bytes - 2);
        json.push_str("\"}");
        json.into_bytes()
    }

    /// Row `number` after it was written `version` times over.
    pub fn row(self, number: u64, version: u64) -> Row {
        (key(number), self.value(number, version))
    }

    /// Bytes of a row, as the user counts them.
    pub fn row_bytes(self) -> f64 {
        (KEY_BYTES + self.bytes) as f64
    }

    /// Rows `numbers`, cut into batches.
    pub fn batches(self, numbers: &[u64], version: u64) -> Vec<Vec<Row>> {
        let batch = |part: &[u64]| part.iter().map(|&number| self.row(number, version)).collect();
        numbers.chunks(BATCH_ROWS as usize).map(batch).collect()
    }
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
    fn a_value_is_always_the_same_has_its_size_and_changes_with_its_version() {
        for kind in [ValueKind::Random, ValueKind::Json] {
            let values = Values { kind, bytes: 300 };
            assert_eq!(values.value(7, 1), values.value(7, 1));
            assert_ne!(values.value(7, 1), values.value(7, 2));
            assert!((0..100).all(|number| values.value(number, 3).len() == 300));
        }
    }

    #[test]
    fn a_json_value_is_json_however_short_it_may_be() {
        for bytes in [JSON_BYTES_MIN, 1_000] {
            for (number, version) in [(0, 0), (u64::MAX >> 1, 200_000)] {
                let value = Values { kind: ValueKind::Json, bytes }.value(number, version);
                let json: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
                assert_eq!((json["id"].as_u64(), value.len()), (Some(number), bytes));
            }
        }
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
