//! Rows from memory side by side, and not one after the other.
//!
//! A search compares a few rows that lie anywhere. While one is compared, the next ones are on their way already: the
//! processor is asked for all their cache lines, and does not wait for them. Where it cannot be asked so, a byte of
//! each line is read, which does not wait for the others either.

/// How many rows are on their way: of 388 bytes, the most usual code, 56 lines, more than a core can wait for.
pub const AHEAD: usize = 8;
const CACHE_LINE_BYTES: usize = 64;

/// Adds the `distance` of each of `rows` to `out`: [`f32::MAX`] for one that is NaN, and none is infinite.
#[inline]
pub fn distances(rows: &[&[u8]], out: &mut Vec<f32>, distance: impl Fn(&[u8]) -> f32) {
    out.reserve(rows.len());
    fetch_first(rows);
    for (at, row) in rows.iter().enumerate() {
        fetch_after(rows, at);
        out.push(bounded(distance(row)));
    }
}

/// Lets the first of `rows` come.
#[inline(always)]
pub fn fetch_first(rows: &[&[u8]]) {
    rows.iter().take(AHEAD).for_each(|row| fetch(row));
}

/// Lets the row come that is needed some time after the one at `at`.
#[inline(always)]
pub fn fetch_after(rows: &[&[u8]], at: usize) {
    if let Some(row) = rows.get(at + AHEAD) {
        fetch(row);
    }
}

/// Lets `row` come.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch(row: &[u8]) {
    let (lines, rest) = row.as_chunks::<CACHE_LINE_BYTES>();
    for line in lines {
        safe_arch::prefetch_t0(&line[0]);
    }
    if let Some(byte) = rest.first() {
        safe_arch::prefetch_t0(byte);
    }
}

/// Lets `row` come.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn fetch(row: &[u8]) {
    std::hint::black_box(row.iter().step_by(CACHE_LINE_BYTES).fold(0, |all, byte| all | byte));
}

/// `distance`, but neither NaN nor infinite.
#[inline(always)]
pub fn bounded(distance: f32) -> f32 {
    // The lesser of NaN and a number is the number.
    let distance = distance.min(f32::MAX);
    if distance < f32::MIN { f32::MIN } else { distance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_distance_in_its_place() {
        for count in [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 5 * AHEAD] {
            let bytes: Vec<u8> = (0..count as u8).collect();
            let rows: Vec<&[u8]> = bytes.chunks(1).collect();
            let mut out = vec![-1.0];
            distances(&rows, &mut out, |row| f32::from(row[0]));
            assert_eq!(out[0], -1.0);
            assert!(out[1..].iter().copied().eq((0..count as u8).map(f32::from)));
        }
    }

    #[test]
    fn rows_of_any_length_can_come() {
        let bytes = [1; 3 * CACHE_LINE_BYTES];
        let rows: Vec<&[u8]> = (0..bytes.len()).map(|len| &bytes[len..]).collect();
        fetch_first(&[]);
        fetch_first(&[&[]]);
        (0..rows.len()).for_each(|at| fetch_after(&rows, at));
    }

    #[test]
    fn what_is_no_number_is_far_and_what_is_infinite_is_not() {
        let given = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5];
        assert_eq!(given.map(bounded), [f32::MAX, f32::MAX, f32::MIN, -0.5]);
    }
}
