//! Keys and values of tables without a schema, of the kinds that hurt.

use fastrand::Rng;

/// The longest key there is. Databases take no longer ones.
const KEY_BYTES_MAX: usize = 1 << 10;
/// A value that does not fit into a block of 64 KiB, and not into one read of 256 KiB.
const LARGE_BYTES: usize = 300 << 10;

/// Which keys there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keys {
    /// Up to three bytes of five, the empty key and all beginnings of others among them.
    Short,
    /// Long beginnings in common, and small differences behind them.
    Prefixed,
    /// Eight bytes, mostly growing.
    Numbers,
    /// Up to 1 KiB that hardly differ, and some that differ in the first byte.
    Long,
    /// A few that are written again and again.
    Hot,
    /// Decimal numbers of different lengths, as text.
    Decimal,
}

impl Keys {
    pub(super) const ALL: [Keys; 6] =
        [Keys::Short, Keys::Prefixed, Keys::Numbers, Keys::Long, Keys::Hot, Keys::Decimal];

    pub(super) fn words(self) -> &'static str {
        match self {
            Keys::Short => "keys of 0 to 3 bytes",
            Keys::Prefixed => "keys that share long beginnings",
            Keys::Numbers => "keys of 8 bytes",
            Keys::Long => "keys of up to 1 KiB",
            Keys::Hot => "few keys",
            Keys::Decimal => "decimal numbers as keys",
        }
    }

    /// Any key; `next` counts those that were made, for keys in order.
    pub(super) fn key(self, rng: &mut Rng, next: u64) -> Vec<u8> {
        match self {
            Keys::Short => {
                (0..rng.usize(..4)).map(|_| [0, 1, b'a', 0xfe, 0xff][rng.usize(..5)]).collect()
            }
            Keys::Prefixed => {
                let mut key = b"/shop/orders/2026/".repeat(rng.usize(1..4));
                key.extend((0..rng.usize(..6)).map(|_| b'a' + rng.u8(..3)));
                key
            }
            Keys::Numbers => {
                let number = if rng.u8(..4) == 0 { rng.u64(..2 * next + 1) } else { next };
                number.to_be_bytes().to_vec()
            }
            Keys::Long => {
                let mut key = vec![b'k'; rng.usize(..KEY_BYTES_MAX + 1)];
                for _ in 0..rng.usize(..3) {
                    if let Some(at) = key.len().checked_sub(1) {
                        key[rng.usize(..=at)] = rng.u8(..);
                    }
                }
                key
            }
            Keys::Hot => format!("hot {}", rng.u8(..20)).into_bytes(),
            Keys::Decimal => {
                let below = 10_u64.pow(rng.u32(1..6));
                rng.u64(..below).to_string().into_bytes()
            }
        }
    }
}

/// A key that is close to `key` and probably not there: one byte more, less, or another last one.
pub(super) fn near(rng: &mut Rng, key: &[u8]) -> Vec<u8> {
    let mut near = key.to_vec();
    let has_room = key.len() < KEY_BYTES_MAX;
    match (rng.u8(..4), near.last_mut()) {
        (0, _) | (_, None) if has_room => near.push(0),
        (1, Some(last)) => *last = last.wrapping_add(1),
        (2, Some(last)) => *last = last.wrapping_sub(1),
        _ => drop(near.pop()),
    }
    near
}

/// Which values there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values {
    /// None to a few bytes.
    Small,
    /// Text that compresses.
    Text,
    /// Any bytes, some of them many.
    Large,
    /// The same few again and again.
    Repeated,
}

impl Values {
    pub(super) const ALL: [Values; 4] =
        [Values::Small, Values::Text, Values::Large, Values::Repeated];

    pub(super) fn words(self) -> &'static str {
        match self {
            Values::Small => "small values",
            Values::Text => "values of text",
            Values::Large => "some large values",
            Values::Repeated => "values that repeat",
        }
    }

    pub(super) fn value(self, rng: &mut Rng) -> Vec<u8> {
        match self {
            Values::Small => (0..rng.usize(..12)).map(|_| rng.u8(..)).collect(),
            Values::Text => text(rng, 40).into_bytes(),
            Values::Large => {
                let len = match rng.u8(..60) {
                    0 => rng.usize(..LARGE_BYTES),
                    1..8 => rng.usize(..20_000),
                    _ => rng.usize(..400),
                };
                let mut value = vec![0; len];
                rng.fill(&mut value);
                value
            }
            Values::Repeated => [&b""[..], b"0", b"yes", &[7; 500]][rng.usize(..4)].to_vec(),
        }
    }
}

/// Up to `words_max` words.
pub(super) fn text(rng: &mut Rng, words_max: usize) -> String {
    let words =
        ["", "a", "of", "sea", "plant", "genus", "Straße", "日本", "quality", "\0", "e\u{301}"];
    let words: Vec<_> =
        (0..rng.usize(..=words_max)).map(|_| words[rng.usize(..words.len())]).collect();
    words.join(" ")
}
