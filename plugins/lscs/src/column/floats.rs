//! Chunks of 64-bit floats: their bits as integers, or decimals.
//!
//! The bits take every encoding of [`super::ints`] but differences; `decimal` is [`super::decimal`]. All of
//! them give back each bit: the payload of NaN, the sign of zero.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;

use super::decimal::{self, Decimal};
use super::filter::FloatTest;
use super::ints::{self, Ints};
use super::{Encoding, gives_up};

/// Floats that are unpacked at a time.
const BATCH: usize = 256;

/// Floats as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub enum Floats<'a> {
    Bits(Ints<'a>),
    Decimal(Decimal<'a>),
}

/// Appends the encoding's tag and `values`, 1 or more.
pub fn put(out: &mut Vec<u8>, values: &[f64]) {
    let is_constant = values.iter().all(|value| value.to_bits() == values[0].to_bits());
    let decimal = if is_constant { None } else { decimal::choose(values) };
    let decimal = match decimal {
        // Then the integers are smaller than the bits in any encoding.
        Some(exact) if exact.is_exact() && exact.bytes() < gives_up(values.len() * 8) => {
            out.push(Encoding::Decimal as u8);
            return exact.put(out);
        }
        other => other,
    };
    let bits: Vec<i64> = values.iter().map(|value| value.to_bits() as i64).collect();
    let choice = ints::choose(&bits, false);
    match decimal {
        Some(decimal) if decimal.bytes() < gives_up(choice.bytes) => {
            out.push(Encoding::Decimal as u8);
            decimal.put(out);
        }
        _ => {
            out.push(choice.encoding as u8);
            ints::put(out, &bits, choice);
        }
    }
}

impl<'a> Floats<'a> {
    pub fn read(
        reader: &mut Reader<'a>,
        rows: usize,
        encoding: Encoding,
    ) -> EncodingResult<Floats<'a>> {
        Ok(match encoding {
            Encoding::Decimal => Floats::Decimal(Decimal::read(reader, rows)?),
            _ => Floats::Bits(Ints::read(reader, rows, encoding)?),
        })
    }

    pub fn distinct(&self) -> Option<usize> {
        match self {
            Floats::Bits(bits) => bits.distinct(),
            Floats::Decimal(_) => None,
        }
    }

    pub fn get(&self, row: usize) -> f64 {
        match self {
            Floats::Bits(bits) => f64::from_bits(bits.get(row) as u64),
            Floats::Decimal(decimal) => decimal.get(row),
        }
    }

    /// Unpacks the values from `start` on.
    pub fn unpack(&self, start: usize, out: &mut [f64]) {
        let mut ints = [0; BATCH];
        // A dictionary is made a table once for all.
        let mut all = Vec::new();
        let dictionary = matches!(self.ints(), Ints::Dictionary { .. });
        let batch = if dictionary && BATCH < out.len() { out.len() } else { BATCH };
        let ints = match batch {
            BATCH => &mut ints[..],
            _ => {
                all.resize(batch, 0);
                &mut all[..]
            }
        };
        for (index, out) in out.chunks_mut(batch).enumerate() {
            let (start, ints) = (start + index * batch, &mut ints[..out.len()]);
            match self {
                Floats::Bits(bits) => {
                    bits.unpack(start, ints);
                    let floats = ints.iter().map(|bits| f64::from_bits(*bits as u64));
                    out.iter_mut().zip(floats).for_each(|(to, from)| *to = from);
                }
                Floats::Decimal(decimal) => decimal.unpack(start, ints, out),
            }
        }
    }

    fn ints(&self) -> &Ints<'a> {
        match self {
            Floats::Bits(ints) | Floats::Decimal(Decimal { ints, .. }) => ints,
        }
    }

    /// Clears the bits of `mask` whose values are not accepted.
    pub fn filter(&self, test: &FloatTest, rows: usize, mask: &mut [u64]) {
        match self {
            Floats::Bits(bits) => bits.filter(test, rows, mask),
            Floats::Decimal(decimal) => decimal.filter(test, rows, mask),
        }
    }
}
