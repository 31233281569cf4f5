//! The data: dictionary entries and log lines, cut into blocks.

use fastrand::Rng;
use serde::Serialize;

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// 4,000 entries of WordNet as JSON lines: text that hardly repeats.
    WordNet,
    /// Lines of a server's log, as JSON: much that repeats, and numbers that do not.
    Logs,
}

/// Blocks, the last of which may be shorter.
pub type Blocks = Vec<Vec<u8>>;

impl Data {
    /// All there is.
    pub const ALL: [Data; 2] = [Data::WordNet, Data::Logs];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Data::WordNet => "wordnet",
            Data::Logs => "logs",
        }
    }

    /// `data_kib` KiB of it, in blocks of `block_kib`.
    pub fn blocks(self, data_kib: usize, block_kib: usize) -> Blocks {
        let mut bytes = match self {
            Data::WordNet => {
                let rows = include_bytes!("../../../data/wordnet-4k.base.jsonl");
                // It has 638 KiB; more of it is the same again, in other blocks.
                rows.iter().copied().cycle().take(data_kib << 10).collect()
            }
            Data::Logs => logs(data_kib << 10),
        };
        bytes.truncate(data_kib << 10);
        bytes.chunks(block_kib << 10).map(<[u8]>::to_vec).collect()
    }
}

/// At least `bytes` bytes of log, always the same.
fn logs(bytes: usize) -> Vec<u8> {
    const LEVELS: [&str; 8] = ["INFO", "INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
    const METHODS: [&str; 4] = ["GET", "GET", "POST", "DELETE"];
    const PATHS: [&str; 6] =
        ["/orders", "/orders/items", "/customers", "/search", "/health", "/invoices/pdf"];
    let mut rng = Rng::with_seed(7);
    let (mut text, mut at_us) = (String::new(), 1_735_689_600_000_000_u64);
    while text.len() < bytes {
        at_us += rng.u64(200..40_000);
        let (level, method) = (LEVELS[rng.usize(..8)], METHODS[rng.usize(..4)]);
        let (path, took) = (PATHS[rng.usize(..6)], rng.f64() * rng.f64() * 90.0);
        let (status, customer) = (if level == "ERROR" { 500 } else { 200 }, rng.u32(..50_000));
        text += &format!(
            r#"{{"at":{at_us},"level":"{level}","target":"shop::http","message":"request served","#
        );
        text += &format!(
            r#""method":"{method}","path":"{path}","status":{status},"customer":{customer},"#
        );
        let trace = rng.u64(..);
        text += &format!(r#""took_ms":{took:.3},"trace":"{trace:016x}"}}"#);
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_large_as_asked_for_and_always_the_same() {
        for data in Data::ALL {
            let blocks = data.blocks(1000, 36);
            let lens: Vec<_> = blocks.iter().map(Vec::len).collect();
            assert_eq!(lens.iter().sum::<usize>(), 1000 << 10);
            assert!(lens[..lens.len() - 1].iter().all(|&len| len == 36 << 10));
            assert!(blocks == data.blocks(1000, 36), "{}", data.name());
        }
    }

    #[test]
    fn every_line_of_the_log_is_json() {
        let bytes = logs(10_000);
        let lines = std::str::from_utf8(&bytes).expect("text").lines();
        assert!(lines.map(serde_json::from_str::<serde_json::Value>).all(|line| line.is_ok()));
    }
}
