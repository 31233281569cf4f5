//! About how many different values a column has: a HyperLogLog of 1,024 registers, which is wrong by 3% or so.
//!
//! A value's hash names a register with its upper ten bits; the register keeps the longest run of zeros, plus
//! one, that the bits behind them began with. Two sketches become that of both their values by taking the
//! greater of each pair of registers.
//!
//! | size | type | field   | meaning                                                            |
//! |-----:|------|---------|--------------------------------------------------------------------|
//! |    2 | u16  | `count` | registers that are not zero                                        |
//! |    . |      |         | up to 341 of them: each as u16 index and u8 value, indices ascending |
//! |    . |      |         | more: all 1,024, one byte each                                     |
//!
//! Source: Flajolet et al. 2007, "HyperLogLog", with its correction for small numbers.

use sochdb_guest::encoding::codec::{Reader, put_u16};
use sochdb_guest::encoding::columns::{ColumnBuilder, Values};
use twox_hash::XxHash64;

use crate::Result;

const REGISTERS: usize = 1 << 10;
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// More than these are written as all registers, which is shorter then.
const SPARSE_MAX: usize = REGISTERS / 3;
/// No register is greater: bits of a hash behind the index, plus one.
const RANK_MAX: u8 = (64 - INDEX_BITS + 1) as u8;

/// What is remembered of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch(Box<[u8; REGISTERS]>);

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch(Box::new([0; REGISTERS]))
    }
}

impl Sketch {
    fn add(&mut self, hash: u64) {
        let index = (hash >> (64 - INDEX_BITS)) as usize;
        // The bit that is set ends a run of zeros where the hash ends.
        let rank = (hash << INDEX_BITS | 1 << (INDEX_BITS - 1)).leading_zeros() as u8 + 1;
        self.0[index] = self.0[index].max(rank);
    }

    /// Adds the values of `column`, without its nulls.
    pub fn add_column(&mut self, column: &ColumnBuilder) {
        let validity = column.validity();
        let rows = (0..column.rows()).filter(|row| validity.is_none_or(|bits| bits.get(*row)));
        match &column.values {
            Values::Bool(bits) => rows.for_each(|row| self.add(mix(bits.get(row).into()))),
            Values::Int64(numbers) => rows.for_each(|row| self.add(mix(numbers[row] as u64))),
            Values::Float64(numbers) => rows.for_each(|row| self.add(mix(numbers[row].to_bits()))),
            Values::Bytes { offsets, data } => rows.for_each(|row| {
                let bytes = &data[offsets[row] as usize..offsets[row + 1] as usize];
                self.add(XxHash64::oneshot(0, bytes));
            }),
            // Nobody counts the different vectors.
            Values::Vector(_) => {}
        }
    }

    /// Adds the values of another sketch.
    pub fn merge(&mut self, other: &Sketch) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(a, b)| *a = (*a).max(*b));
    }

    /// About how many different values were added.
    pub fn estimate(&self) -> u64 {
        let registers = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|rank| 0.5f64.powi(i32::from(*rank))).sum();
        let alpha = 0.7213 / (1.0 + 1.079 / registers);
        let estimate = alpha * registers * registers / sum;
        let zeros = self.0.iter().filter(|rank| **rank == 0).count();
        if estimate <= 2.5 * registers && zeros != 0 {
            return (registers * (registers / zeros as f64).ln()).round() as u64;
        }
        estimate.round() as u64
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        let set = self.0.iter().enumerate().filter(|(_, rank)| **rank != 0);
        let count = set.clone().count();
        put_u16(out, count as u16);
        if SPARSE_MAX < count {
            out.extend_from_slice(&self.0[..]);
            return;
        }
        for (index, rank) in set {
            put_u16(out, index as u16);
            out.push(*rank);
        }
    }

    pub fn take(reader: &mut Reader<'_>) -> Result<Sketch> {
        let mut sketch = Sketch::default();
        let count = usize::from(reader.u16()?);
        if SPARSE_MAX < count {
            *sketch.0 = reader.array()?;
        } else {
            for _ in 0..count {
                let (index, rank) = (usize::from(reader.u16()?), reader.u8()?);
                match sketch.0.get_mut(index) {
                    Some(register) => *register = rank,
                    None => {
                        return Err(reader.corrupt("a register", format!("number {index}")).into());
                    }
                }
            }
        }
        let good = sketch.0.iter().all(|rank| *rank <= RANK_MAX)
            && sketch.0.iter().filter(|rank| **rank != 0).count() == count;
        if !good {
            return Err(reader.corrupt("the registers of a sketch", "others").into());
        }
        Ok(sketch)
    }
}

/// A hash of a number: the finaliser of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut hash = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::encoding::row::ColumnType;

    fn sketch(range: std::ops::Range<i64>) -> Sketch {
        let mut column = ColumnBuilder::new(ColumnType::Int64);
        let Values::Int64(numbers) = &mut column.values else { unreachable!("it holds int64") };
        numbers.extend(range.clone());
        column.filled(range.count(), None);
        let mut sketch = Sketch::default();
        sketch.add_column(&column);
        sketch
    }

    #[test]
    fn estimates_are_near_and_sketches_merge_and_come_back() {
        for count in [0, 1, 10, 1_000, 5_000, 200_000] {
            let (mut low, high) = (sketch(0..count / 2), sketch(count / 2..count));
            low.merge(&high);
            assert_eq!(low, sketch(0..count));
            let error = (low.estimate() as f64 - count as f64).abs();
            assert!(error <= count as f64 * 0.1, "{} for {count}", low.estimate());
            let mut bytes = Vec::new();
            low.put(&mut bytes);
            assert!(bytes.len() <= 2 + REGISTERS);
            let mut reader = Reader::new("", 0, &bytes);
            assert_eq!(Sketch::take(&mut reader).unwrap(), low);
            reader.end().unwrap();
        }
    }
}
