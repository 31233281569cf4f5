//! Events: typed rows as an application would log them, and what is asked about them.
//!
//! | column     | type            | its values                                                     |
//! |------------|-----------------|----------------------------------------------------------------|
//! | `id`       | int64, the key  | 0, 1, 2, ...                                                   |
//! | `at`       | timestamp       | grows with `id`, about a second a row, with jitter             |
//! | `customer` | int64           | random, below [`CUSTOMERS`]                                    |
//! | `status`   | int64           | one of five, most often the first                              |
//! | `price`    | float64         | two decimals                                                   |
//! | `score`    | float64         | random in 0 to 1, all 53 bits                                  |
//! | `country`  | string          | one of 200 names, most often the first ones                    |
//! | `note`     | string          | 3 to 12 words of 1,000                                         |
//! | `url`      | string          | a common beginning, a section, a word, a number                |
//! | `paid`     | bool, nullable  | null in every tenth row                                        |
//!
//! An event follows from its number alone, so whoever reads one knows what it must be.

use crate::Result;
use fastrand::Rng;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};

/// Events have customers below this.
pub const CUSTOMERS: i64 = 1_000_000;
/// 2025-01-01, in microseconds since 1970.
const START_US: i64 = 1_735_689_600_000_000;
/// Between an event and the next.
const STEP_US: i64 = 1_000_000;
const COUNTRIES: u64 = 200;
const WORDS: u64 = 1_000;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The key.
    pub id: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Whose.
    pub customer: i64,
    /// 0 to 4.
    pub status: i64,
    /// With two decimals.
    pub price: f64,
    /// 0 to 1.
    pub score: f64,
    /// One of few.
    pub country: String,
    /// Words.
    pub note: String,
    /// An address.
    pub url: String,
    /// Known or not.
    pub paid: Option<bool>,
}

/// The columns' names, in order.
pub const NAMES: [&str; 10] =
    ["id", "at", "customer", "status", "price", "score", "country", "note", "url", "paid"];
/// Where `at` stands among them.
pub const AT: usize = 1;
/// Where `customer` stands.
pub const CUSTOMER: usize = 2;
/// Where `price` stands.
pub const PRICE: usize = 4;

/// A word of the language that notes are written in: `number` below 1,000.
fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "den", "ka", "lor", "mi", "nes", "po", "ra", "sil", "ta", "ven", "wo", "ur", "ing",
        "el", "sta",
    ];
    let mut rng = Rng::with_seed(number);
    (0..2 + number % 3).map(|_| SYLLABLES[rng.usize(0..SYLLABLES.len())]).collect()
}

/// Small numbers below `count` far more often than large ones.
fn skewed(rng: &mut Rng, count: u64) -> u64 {
    let uniform = rng.f64();
    (uniform * uniform * uniform * count as f64) as u64
}

/// All of 1,000 words.
pub struct Language(Vec<String>);

impl Language {
    /// Always the same.
    pub fn new() -> Language {
        Language((0..WORDS).map(word).collect())
    }

    /// Event `number`.
    pub fn event(&self, number: u64) -> Event {
        let mut rng = Rng::with_seed(number ^ 0xe7e7);
        let id = number as i64;
        let words = rng.usize(3..=12);
        let some_word = |rng: &mut Rng| self.0[skewed(rng, WORDS) as usize].as_str();
        let note: Vec<&str> = (0..words).map(|_| some_word(&mut rng)).collect();
        let country = skewed(&mut rng, COUNTRIES);
        let (section, page) = (skewed(&mut rng, 12), some_word(&mut rng));
        Event {
            id,
            at: START_US + id * STEP_US + rng.i64(0..STEP_US),
            customer: rng.i64(0..CUSTOMERS),
            status: skewed(&mut rng, 5) as i64,
            price: (skewed(&mut rng, 100_000) as f64) / 100.0,
            score: rng.f64(),
            country: format!("{} {country}", self.0[country as usize]),
            note: note.join(" "),
            url: format!("https://shop.example/section-{section}/{page}?item={}", rng.u32(..)),
            paid: (!number.is_multiple_of(10)).then(|| rng.bool()),
        }
    }
}

/// The events' columns; `id` is the key.
pub fn schema() -> Schema {
    let kinds = [
        ColumnType::Int64,
        ColumnType::Timestamp,
        ColumnType::Int64,
        ColumnType::Int64,
        ColumnType::Float64,
        ColumnType::Float64,
        ColumnType::String,
        ColumnType::String,
        ColumnType::String,
        ColumnType::Bool,
    ];
    let column = |(name, kind): (&str, ColumnType)| {
        let nullable = name == "paid";
        Column { name: name.to_owned(), kind, nullable, default: None }
    };
    let columns = NAMES.into_iter().zip(kinds).map(column).collect();
    Schema::new(columns, &["id"]).expect("a good schema")
}

impl Event {
    /// As typed values, in the schema's order.
    pub fn values(&self) -> Vec<Value> {
        vec![
            Value::Int64(self.id),
            Value::Timestamp(self.at),
            Value::Int64(self.customer),
            Value::Int64(self.status),
            Value::Float64(self.price),
            Value::Float64(self.score),
            Value::String(self.country.clone()),
            Value::String(self.note.clone()),
            Value::String(self.url.clone()),
            self.paid.map_or(Value::Null, Value::Bool),
        ]
    }

    /// Bytes of its values, as a user counts them.
    pub fn bytes(&self) -> usize {
        6 * 8 + self.country.len() + self.note.len() + self.url.len() + 1
    }
}

/// What is asked of one column: it must lie in `from..to`.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// The column's position: [`AT`] or [`CUSTOMER`].
    pub column: usize,
    /// The least value that fits.
    pub from: i64,
    /// The first that does not.
    pub to: i64,
}

impl Filter {
    /// A hundredth of `rows` events that follow each other, from the middle.
    pub fn clustered(rows: u64) -> Filter {
        let from = START_US + (rows / 2) as i64 * STEP_US;
        Filter { column: AT, from, to: from + (rows / 100) as i64 * STEP_US }
    }

    /// The events of a hundredth of the customers.
    pub fn random() -> Filter {
        Filter { column: CUSTOMER, from: CUSTOMERS / 2, to: CUSTOMERS / 2 + CUSTOMERS / 100 }
    }

    /// What `event` has in the column.
    fn of(&self, event: &Event) -> i64 {
        match self.column {
            AT => event.at,
            _ => event.customer,
        }
    }

    /// Whether `number` lies inside.
    pub fn holds(&self, number: i64) -> bool {
        (self.from..self.to).contains(&number)
    }
}

/// The answer to a question about events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Rows that were counted.
    pub rows: u64,
    /// Their customers, added up; 0 where nobody asked.
    pub customers: i64,
    /// Their prices, added up.
    pub prices: f64,
}

impl Sums {
    /// The answer for `rows` events: with `filter` rows and prices, without it customers as well.
    pub fn expected(rows: u64, filter: Option<Filter>) -> Sums {
        let language = Language::new();
        let mut sums = Sums::default();
        for event in (0..rows).map(|number| language.event(number)) {
            match filter {
                Some(filter) if !filter.holds(filter.of(&event)) => continue,
                Some(_) => {}
                None => sums.customers += event.customer,
            }
            sums.rows += 1;
            sums.prices += event.price;
        }
        sums
    }

    /// Fails unless this is `expected`; sums of floats may differ by what the order of adding makes.
    ///
    /// # Errors
    /// Says both.
    pub fn check(&self, expected: &Sums) -> Result<()> {
        let near = (self.prices - expected.prices).abs() <= expected.prices.abs() * 1e-9;
        match (self.rows, self.customers) == (expected.rows, expected.customers) && near {
            true => Ok(()),
            false => Err(format!("{self:?} were found, {expected:?} are there").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_always_the_same_and_survives_its_encoding() {
        let (language, schema) = (Language::new(), schema());
        for number in [0, 1, 10, 12_345] {
            let event = language.event(number);
            assert_eq!(event, Language::new().event(number));
            let values = event.values();
            let key = schema.encode_key(&values).expect("good values");
            let row = schema.encode_row(&values).expect("good values");
            assert_eq!(schema.decode(&key, &row).expect("a good row"), values);
        }
    }

    #[test]
    fn each_filter_finds_about_a_hundredth() {
        for filter in [Filter::clustered(20_000), Filter::random()] {
            let found = Sums::expected(20_000, Some(filter)).rows;
            assert!((120..=280).contains(&found), "{found} of 20,000");
        }
    }
}
