//! The settings of both kinds of graph, with their defaults and bounds.

use crate::{Error, Result};

/// The most links that an entry may have.
pub const LINKS_MAX: u32 = 256;
/// The longest list of candidates while a graph is built.
const BEAM_MAX: u32 = 4096;
/// A larger `alpha` keeps links that no walk needs.
const ALPHA_MAX: f32 = 4.0;

/// Which kind of graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Hierarchical navigable small world.
    Hnsw,
    /// The graph of DiskANN.
    Vamana,
}

/// The settings of an HNSW graph, named as in its paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hnsw {
    /// Links that a new entry chooses on each layer, and the most it has on an upper one. 2 to [`LINKS_MAX`].
    pub m: u32,
    /// The most links of an entry on the ground layer: `m` to [`LINKS_MAX`].
    pub m0: u32,
    /// How many candidates an insertion looks for: 1 to 4,096.
    pub ef_construction: u32,
    /// What layers and the order of insertion follow from.
    pub seed: u64,
}

impl Default for Hnsw {
    fn default() -> Self {
        Hnsw { m: 16, m0: 32, ef_construction: 200, seed: 0 }
    }
}

/// The settings of a Vamana graph, named as in its paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vamana {
    /// The most links of an entry: 2 to [`LINKS_MAX`].
    pub r: u32,
    /// How many candidates an insertion looks for: 1 to 4,096.
    pub l: u32,
    /// By which factor a link may be longer than the way round by another: 1 to 4. More means longer links, more
    /// of them, and shorter walks.
    pub alpha: f32,
    /// What the order of insertion follows from.
    pub seed: u64,
}

impl Default for Vamana {
    fn default() -> Self {
        Vamana { r: 64, l: 100, alpha: 1.2, seed: 0 }
    }
}

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Options {
    /// As HNSW.
    Hnsw(Hnsw),
    /// As Vamana.
    Vamana(Vamana),
}

/// What both kinds of settings come down to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub kind: Kind,
    /// The most links on the ground layer, and on an upper one.
    pub slots: usize,
    pub upper_slots: usize,
    /// Links that a new entry chooses.
    pub chosen: usize,
    /// How many candidates an insertion looks for.
    pub beam: usize,
    pub alpha: f32,
    pub seed: u64,
}

impl Options {
    /// Which kind of graph these are for.
    pub fn kind(&self) -> Kind {
        match self {
            Options::Hnsw(_) => Kind::Hnsw,
            Options::Vamana(_) => Kind::Vamana,
        }
    }

    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the setting, what it is and what it may be.
    pub fn check(&self) -> Result<()> {
        match *self {
            Options::Hnsw(Hnsw { m, m0, ef_construction, .. }) => {
                bounded("m", m, 2, LINKS_MAX)?;
                bounded("m0", m0, m, LINKS_MAX)?;
                bounded("ef_construction", ef_construction, 1, BEAM_MAX)
            }
            Options::Vamana(Vamana { r, l, alpha, .. }) => {
                bounded("r", r, 2, LINKS_MAX)?;
                bounded("l", l, 1, BEAM_MAX)?;
                if (1.0..=ALPHA_MAX).contains(&alpha) {
                    return Ok(());
                }
                Err(Error::Invalid(format!("alpha is {alpha}; it may be 1 to {ALPHA_MAX}")))
            }
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match *self {
            Options::Hnsw(Hnsw { m, m0, ef_construction, seed }) => Shape {
                kind: Kind::Hnsw,
                slots: m0 as usize,
                upper_slots: m as usize,
                chosen: m as usize,
                beam: ef_construction as usize,
                alpha: 1.0,
                seed,
            },
            Options::Vamana(Vamana { r, l, alpha, seed }) => Shape {
                kind: Kind::Vamana,
                slots: r as usize,
                upper_slots: 0,
                chosen: r as usize,
                beam: l as usize,
                alpha,
                seed,
            },
        }
    }
}

fn bounded(name: &str, value: u32, min: u32, max: u32) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{name} is {value}; it may be {min} to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds() {
        assert!(Options::Hnsw(Hnsw::default()).check().is_ok());
        assert!(Options::Vamana(Vamana::default()).check().is_ok());
    }

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        let refused = |options: Options, name: &str| {
            let why = options.check().expect_err("it is out of bounds").to_string();
            assert!(why.contains(&format!("{name} is")), "{why}");
        };
        refused(Options::Hnsw(Hnsw { m: 1, ..Hnsw::default() }), "m");
        refused(Options::Hnsw(Hnsw { m0: 8, ..Hnsw::default() }), "m0");
        refused(Options::Hnsw(Hnsw { ef_construction: 0, ..Hnsw::default() }), "ef_construction");
        refused(Options::Vamana(Vamana { r: 1000, ..Vamana::default() }), "r");
        refused(Options::Vamana(Vamana { l: 0, ..Vamana::default() }), "l");
        refused(Options::Vamana(Vamana { alpha: 0.9, ..Vamana::default() }), "alpha");
        refused(Options::Vamana(Vamana { alpha: f32::NAN, ..Vamana::default() }), "alpha");
    }
}
