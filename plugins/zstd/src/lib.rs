//! The Zstandard codec as a plugin: glue between the contract and `block`.
//!
//! | module       | what it is                                                           |
//! |--------------|----------------------------------------------------------------------|
//! | `block`      | one block as one frame, and back                                     |
//! | `dictionary` | what blocks have in common: read from the manifest, made of samples  |

pub mod block;
pub mod dictionary;

use block::{Compressor, LEVELS};
use dictionary::Dictionary;
use sochdb_guest::{Codec, Error, ErrorCode, Result, config};

/// The plugin: a compressor of the level that the manifest sets, with tables kept from block to block, and
/// the manifest's dictionary if it has one.
pub struct Zstd {
    compressor: Compressor,
    dictionary: Option<Dictionary>,
}

impl Zstd {
    /// The codec with the settings of a manifest.
    ///
    /// # Errors
    /// `Invalid`: there is no such level, or the dictionary is none.
    pub fn new(level: i64, dictionary: &str) -> Result<Zstd> {
        let found = i32::try_from(level).ok().filter(|level| LEVELS.contains(level));
        let level = found.ok_or_else(|| {
            Error::invalid(format!(
                "the setting 'level' is {level}, Zstandard has {} to {} here",
                LEVELS.start(),
                LEVELS.end()
            ))
        })?;
        let read = |text| {
            Dictionary::from_text(text)
                .map_err(|why| Error::invalid(format!("the setting 'dictionary' is broken: {why}")))
        };
        let dictionary = Some(dictionary).filter(|text| !text.is_empty()).map(read).transpose()?;
        Ok(Zstd { compressor: Compressor::new(level, dictionary.as_ref()), dictionary })
    }
}

impl Codec for Zstd {
    fn init() -> Result<Self> {
        let dictionary = match config::text("dictionary") {
            // A manifest that was installed before there were dictionaries.
            Err(Error { code: ErrorCode::NotFound, .. }) => String::new(),
            other => other?,
        };
        Zstd::new(config::integer("level")?, &dictionary)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(self.compressor.compress(input))
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        block::decompress(input, raw_bytes, self.dictionary.as_ref()).map_err(Error::corrupt)
    }
}

sochdb_guest::export!(codec: Zstd);

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = include_str!("../fixtures/orders.dictionary.txt");

    #[test]
    fn a_manifest_sets_level_and_dictionary() {
        let row = b"tenant=demo table=orders key=5 region=eu status=shipped\n";
        let mut plain = Zstd::new(3, "").unwrap();
        let mut trained = Zstd::new(19, ORDERS).unwrap();
        let stored = trained.compress(row).unwrap();
        assert!(stored.len() < plain.compress(row).unwrap().len(), "{} bytes", stored.len());
        assert_eq!(trained.decompress(&stored, row.len()).unwrap(), row);
        let refused = plain.decompress(&stored, row.len()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Corrupt);
        assert!(refused.text.contains("970328551, this codec has none"), "{}", refused.text);
        let stored = plain.compress(row).unwrap();
        assert_eq!(trained.decompress(&stored, row.len()).unwrap(), row, "none needed");
    }

    #[test]
    fn a_setting_that_is_none_keeps_the_plugin_from_starting() {
        let refused = |level, dictionary: &str| {
            let error = Zstd::new(level, dictionary).err().expect("it must be refused");
            assert_eq!(error.code, ErrorCode::Invalid);
            error.text
        };
        for level in [i64::MIN, -5, 0, 20, i64::from(u32::MAX) + 2] {
            assert!(refused(level, "").contains(&format!("'level' is {level}")));
        }
        for broken in
            ["N6Qw", "N6Qw7", "Ümlaut!!", "====", &ORDERS[4..], &ORDERS[..ORDERS.len() - 400]]
        {
            let text = refused(3, broken);
            assert!(text.starts_with("the setting 'dictionary' is broken: "), "{text}");
        }
        let huge = dictionary::to_text(&vec![7; dictionary::BYTES_MAX + 3]);
        assert!(refused(3, &huge).contains("more than a dictionary has"));
    }
}
