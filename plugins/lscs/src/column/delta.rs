//! Integers as differences to the one before, with a restart each 64 rows.
//!
//! | offset | size | type   | field      | meaning                                                          |
//! |-------:|-----:|--------|------------|------------------------------------------------------------------|
//! |      0 |    . | packed | `restarts` | the values of rows 0, 64, 128...                                 |
//! |      . |    . | packed | `deltas`   | for each row its value less that of the row before it; at a restart any number |
//!
//! Sums and differences wrap around, so two values may be any distance apart. One row costs the sum of at most
//! 63 differences, or one multiplication when all differences are equal.

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;

use super::packed::{self, Packed};

/// Rows from one restart to the next.
const RESTART_ROWS: usize = 64;

/// Differences as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    restarts: Packed<'a>,
    deltas: Packed<'a>,
}

/// Bytes of `len` values, of which those at restarts are `span` apart at most, and the differences `steps`.
pub fn size(len: usize, span: u64, steps: u64) -> usize {
    packed::size(len.div_ceil(RESTART_ROWS), span) + packed::size(len, steps)
}

/// Appends `values`; their differences are from `least` to `most`.
pub fn put(out: &mut Vec<u8>, values: &[i64], least: i64, most: i64) {
    let restarts: Vec<i64> = values.iter().step_by(RESTART_ROWS).copied().collect();
    let (min, max) = restarts
        .iter()
        .fold((i64::MAX, i64::MIN), |(min, max), value| (min.min(*value), max.max(*value)));
    packed::put(out, &restarts, min, max);
    let mut deltas = Vec::with_capacity(values.len());
    for rows in values.chunks(RESTART_ROWS) {
        deltas.push(least);
        deltas.extend(rows.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    }
    packed::put(out, &deltas, least, most);
}

impl<'a> Delta<'a> {
    pub fn read(reader: &mut Reader<'a>, rows: usize) -> EncodingResult<Delta<'a>> {
        let restarts = Packed::read(reader, rows.div_ceil(RESTART_ROWS))?;
        Ok(Delta { restarts, deltas: Packed::read(reader, rows)? })
    }

    pub fn get(&self, row: usize) -> i64 {
        let (group, steps) = (row / RESTART_ROWS, row % RESTART_ROWS);
        let start = self.restarts.get(group);
        if self.deltas.width() == 0 {
            return start.wrapping_add(self.deltas.base().wrapping_mul(steps as i64));
        }
        let mut deltas = [0; RESTART_ROWS];
        let deltas = &mut deltas[..steps + 1];
        self.deltas.unpack(group * RESTART_ROWS, deltas);
        deltas[1..].iter().fold(start, |sum, delta| sum.wrapping_add(*delta))
    }

    /// Unpacks the values from `start` on.
    pub fn unpack(&self, start: usize, out: &mut [i64]) {
        let before = start % RESTART_ROWS;
        if before != 0 {
            let head = (RESTART_ROWS - before).min(out.len());
            let mut group = [0; RESTART_ROWS];
            self.unpack(start - before, &mut group[..before + head]);
            out[..head].copy_from_slice(&group[before..][..head]);
            if head < out.len() {
                self.unpack(start + head, &mut out[head..]);
            }
            return;
        }
        if self.deltas.width() == 0 {
            for (group, values) in out.chunks_mut(RESTART_ROWS).enumerate() {
                let mut value = self.restarts.get(start / RESTART_ROWS + group);
                for to in values {
                    *to = value;
                    value = value.wrapping_add(self.deltas.base());
                }
            }
            return;
        }
        self.deltas.unpack(start, out);
        for (group, values) in out.chunks_mut(RESTART_ROWS).enumerate() {
            values[0] = self.restarts.get(start / RESTART_ROWS + group);
            sum_up(values);
        }
    }
}

/// Makes each value the sum of those up to it.
fn sum_up(values: &mut [i64]) {
    let mut sum = 0i64;
    let (eights, rest) = values.as_chunks_mut::<8>();
    for eight in eights {
        for value in eight {
            sum = sum.wrapping_add(*value);
            *value = sum;
        }
    }
    for value in rest {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
}
