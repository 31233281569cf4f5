//! The settings of an index that graphs are built for.
//!
//! | setting           | values             | default | meaning                                               |
//! |-------------------|--------------------|--------:|-------------------------------------------------------|
//! | `m`               | 2 to 256           |      16 | HNSW: links that a new entry chooses on each layer    |
//! | `m0`              | `m` to 256         | 2 `m`   | HNSW: the most links of an entry on the ground layer  |
//! | `ef_construction` | 1 to 4,096         |     200 | HNSW: candidates that an insertion looks for          |
//! | `ef_search`       | 1 to 65,536        |     100 | HNSW: the effort of a search that names none          |
//! | `r`               | 2 to 256           |      64 | Vamana: the most links of an entry                    |
//! | `l`               | 1 to 4,096         |     100 | Vamana: candidates of an insertion, and the effort of a search that names none |
//! | `alpha`           | 1 to 4             |     1.2 | Vamana: by which factor a link may be longer than the way round |
//! | `seed`            | 0 to 2^64 - 1      |       0 | what layers and the order of insertion follow from    |
//!
//! Both plugins check all of them, because `using = auto` gives them to whichever suits the number of entries. The
//! host's own settings pass; any other is refused.

use sochdb_graph::{Hnsw, Kind, LINKS_MAX, Options, Vamana};
use sochdb_guest::{Definition, Error, Result};
use std::str::FromStr;

/// What the plugins know.
pub const NAMES: [&str; 8] = ["m", "m0", "ef_construction", "ef_search", "r", "l", "alpha", "seed"];
/// What only the host reads.
pub const HOST_NAMES: [&str; 8] =
    ["column", "using", "metric", "store", "codes", "flat_max", "hnsw_max", "compress_min"];
/// The greatest `ef_search`.
const EF_SEARCH_MAX: usize = 1 << 16;

/// The settings of one index.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    hnsw: Hnsw,
    vamana: Vamana,
    ef_search: usize,
}

impl Settings {
    /// Those of `index`, checked.
    ///
    /// # Errors
    /// `Invalid` that names the setting that is unknown, or not what it may be.
    pub fn of(index: &Definition) -> Result<Settings> {
        for name in index.options.keys() {
            if !NAMES.contains(&&**name) && !HOST_NAMES.contains(&&**name) {
                let known = NAMES.join(", ");
                return Err(Error::invalid(format!(
                    "there is no setting '{name}'; there are {known}"
                )));
            }
        }
        let (hnsw, vamana) = (Hnsw::default(), Vamana::default());
        let seed = value(index, "seed", "a whole number", hnsw.seed)?;
        let m = whole(index, "m", hnsw.m)?;
        let twice = m.saturating_mul(2).min(LINKS_MAX);
        let settings = Settings {
            hnsw: Hnsw {
                m,
                m0: whole(index, "m0", twice)?,
                ef_construction: whole(index, "ef_construction", hnsw.ef_construction)?,
                seed,
            },
            vamana: Vamana {
                r: whole(index, "r", vamana.r)?,
                l: whole(index, "l", vamana.l)?,
                alpha: value(index, "alpha", "a number", vamana.alpha)?,
                seed,
            },
            ef_search: index.number("ef_search", 100, 1..=EF_SEARCH_MAX)?,
        };
        for kind in [Kind::Hnsw, Kind::Vamana] {
            settings.options(kind).check().map_err(crate::outside::error)?;
        }
        Ok(settings)
    }

    /// How a graph of this kind is built.
    pub fn options(&self, kind: Kind) -> Options {
        match kind {
            Kind::Hnsw => Options::Hnsw(self.hnsw),
            Kind::Vamana => Options::Vamana(self.vamana),
        }
    }

    /// The effort of a search that names none.
    pub fn effort(&self, kind: Kind) -> usize {
        match kind {
            Kind::Hnsw => self.ef_search,
            Kind::Vamana => self.vamana.l as usize,
        }
    }
}

fn whole(index: &Definition, name: &str, default: u32) -> Result<u32> {
    value(index, name, "a whole number", default)
}

/// The setting `name`, or `default`.
fn value<T: FromStr>(index: &Definition, name: &str, what: &str, default: T) -> Result<T> {
    let Some(text) = index.options.get(name) else { return Ok(default) };
    let no = |_| Error::invalid(format!("'{name}' is {what}, but {text:?} was given"));
    text.parse().map_err(no)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Result<Settings> {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Settings::of(&Definition { options: options.collect(), ..Definition::default() })
    }

    #[test]
    fn without_settings_there_are_defaults() {
        let settings = of(&[]).expect("nothing is wrong");
        assert_eq!(settings.options(Kind::Hnsw), Options::Hnsw(Hnsw::default()));
        assert_eq!(settings.options(Kind::Vamana), Options::Vamana(Vamana::default()));
        assert_eq!((settings.effort(Kind::Hnsw), settings.effort(Kind::Vamana)), (100, 100));
    }

    #[test]
    fn each_setting_is_used_and_the_hosts_own_pass() {
        let settings = of(&[
            ("m", "8"),
            ("ef_construction", "50"),
            ("ef_search", "70"),
            ("r", "32"),
            ("l", "60"),
            ("alpha", "1.5"),
            ("seed", "18446744073709551615"),
            ("using", "auto"),
            ("codes", "sq8"),
        ])
        .expect("nothing is wrong");
        let seed = u64::MAX;
        let hnsw = Hnsw { m: 8, m0: 16, ef_construction: 50, seed };
        assert_eq!(settings.options(Kind::Hnsw), Options::Hnsw(hnsw));
        let vamana = Vamana { r: 32, l: 60, alpha: 1.5, seed };
        assert_eq!(settings.options(Kind::Vamana), Options::Vamana(vamana));
        assert_eq!((settings.effort(Kind::Hnsw), settings.effort(Kind::Vamana)), (70, 60));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            ("m", "1"),
            ("m", "many"),
            ("m0", "3"),
            ("ef_construction", "0"),
            ("ef_search", "-1"),
            ("r", "257"),
            ("l", "5000"),
            ("alpha", "0.5"),
            ("alpha", "NaN"),
            ("seed", "x"),
        ] {
            let error = of(&[(name, value)]).expect_err(name);
            assert!(error.text.contains(name), "{name} = {value}: {}", error.text);
        }
        let error = of(&[("ef", "100")]).expect_err("it is not known");
        assert!(error.text.contains("'ef'") && error.text.contains("ef_search"), "{}", error.text);
    }
}
