//! Loops over vectors and codes, compiled once for each family of CPUs.
//!
//! Each function is a plain loop over blocks of a fixed size, which the compiler turns into SIMD. It is
//! compiled for x86-64 with AVX-512, with AVX2, and for whatever the program was built for; the first call
//! chooses. NEON is always there on AArch64. Whatever such a function calls must be inlined into it, or it is
//! compiled without SIMD: so the bodies are loops, and do not hand closures to functions of `Vec`.
//!
//! Sums of floats are kept in [`LANES`] parts, whose number does not depend on the CPU, and no multiplication
//! is fused with an addition. So a result is the same on every machine, whatever its registers hold.

use super::{Element, Metric, groups};

/// Parts of a sum of floats: enough to keep four registers of eight busy.
const LANES: usize = 32;

/// Compiles functions for each family of CPUs.
macro_rules! for_each_cpu {
    ($($function:item)*) => {
        $(
            #[multiversion::multiversion(targets(
                "x86_64+avx+avx2+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx512vpopcntdq+bmi1+bmi2+fma+lzcnt+popcnt",
                "x86_64+avx+avx2+bmi1+bmi2+fma+lzcnt+popcnt",
            ))]
            $function
        )*
    };
}
pub(super) use for_each_cpu;

for_each_cpu! {
    /// The inner product.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        sums(a, b, |a, b| [a * b])[0]
    }

    /// What `metric` needs of `a` and `b`: see [`compared`].
    pub fn compare(metric: Metric, a: &[f32], b: &[f32]) -> [f32; 2] {
        compared(metric, a, b, |b| b)
    }

    /// What `metric` needs of `a` and of the vector that `row` is as `element`s.
    pub fn compare_row(metric: Metric, a: &[f32], element: Element, row: &[u8]) -> [f32; 2] {
        match element {
            Element::F32 => compared(metric, a, row.as_chunks::<4>().0, f32::from_le_bytes),
            Element::F16 => compared(metric, a, row.as_chunks::<2>().0, half_value),
            Element::I8 => {
                let Some((scale, codes)) = row.split_first_chunk::<4>() else { return [0.0; 2] };
                let scale = f32::from_le_bytes(*scale);
                compared(metric, a, codes, |code| byte_value(code) * scale)
            }
        }
    }

    /// The greatest absolute value.
    pub fn greatest(values: &[f32]) -> f32 {
        let mut greatest = [0f32; LANES];
        for values in values.chunks(LANES) {
            for (greatest, x) in greatest.iter_mut().zip(values) {
                *greatest = if *greatest < x.abs() { x.abs() } else { *greatest };
            }
        }
        greatest.into_iter().fold(0.0, f32::max)
    }

    /// Each value over `scale`, rounded, at most `limit` either way; zeros if `scale` is zero.
    pub fn rounded(values: &[f32], scale: f32, limit: i16) -> Vec<i16> {
        let mut codes = vec![0; values.len()];
        if scale != 0.0 {
            let limit = f32::from(limit);
            for (code, x) in codes.iter_mut().zip(values) {
                *code = (x / scale).round_ties_even().clamp(-limit, limit) as i32 as i16;
            }
        }
        codes
    }

    /// The inner product of signed numbers with the signed bytes of each of `rows` from `from` on, into `out`.
    pub fn dot_rows(a: &[i16], rows: &[&[u8]], from: usize, out: &mut [i32]) {
        groups::fetch_first(rows);
        for (at, (row, out)) in rows.iter().zip(out).enumerate() {
            groups::fetch_after(rows, at);
            let codes = &row[from.min(row.len())..];
            let mut sum = 0;
            for (&a, &b) in a.iter().zip(codes) {
                sum += i32::from(a) * i32::from(b.cast_signed());
            }
            *out = sum;
        }
    }
}

/// The sums that make a distance: for cosine the inner product and the square of `b`'s length, for the others
/// the distance's absolute value, and 0.
#[inline(always)]
fn compared<T: Copy>(
    metric: Metric,
    a: &[f32],
    b: &[T],
    value: impl Fn(T) -> f32 + Copy,
) -> [f32; 2] {
    match metric {
        Metric::Cosine => sums(a, b, |a, b| [a * value(b), value(b) * value(b)]),
        Metric::InnerProduct => [sums(a, b, |a, b| [a * value(b)])[0], 0.0],
        Metric::SquaredEuclidean => {
            let square = |a: f32, b: T| [(a - value(b)) * (a - value(b))];
            [sums(a, b, square)[0], 0.0]
        }
    }
}

/// `S` sums of `terms` of each pair, for functions that are compiled [`for_each_cpu`].
#[inline(always)]
pub fn sums<T: Copy, const S: usize>(
    a: &[f32],
    b: &[T],
    terms: impl Fn(f32, T) -> [f32; S],
) -> [f32; S] {
    let mut sums = [[0f32; LANES]; S];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let terms = terms(a[lane], b[lane]);
            for (sum, term) in sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        for (sum, term) in sums.iter_mut().zip(terms(a, b)) {
            sum[lane] += term;
        }
    }
    sums.map(total)
}

/// The sum of `lanes`.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let mut eight = [0f32; 8];
    for (lane, sum) in eight.iter_mut().enumerate() {
        *sum = (lanes[lane] + lanes[lane + 8]) + (lanes[lane + 16] + lanes[lane + 24]);
    }
    let [a, b, c, d, e, f, g, h] = eight;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The value of a half-precision number, which is finite.
#[inline(always)]
pub fn half_value(bytes: [u8; 2]) -> f32 {
    /// The smallest normal one, as bits of an f32.
    const NORMAL: u32 = (127 - 14) << 23;
    let bits = u16::from_le_bytes(bytes);
    // The exponent's base moves from 15 to 127. A subnormal one has an exponent of 0 where it should have 1,
    // and no leading 1: it gets both, and then what is too much is taken away.
    let moved = (u32::from(bits & 0x7fff) << 13) + ((127 - 15) << 23);
    let subnormal = f32::from_bits(moved + (1 << 23)) - f32::from_bits(NORMAL);
    let value = if bits & 0x7c00 == 0 { subnormal } else { f32::from_bits(moved) };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

/// The value of a signed byte.
#[inline(always)]
pub fn byte_value(code: u8) -> f32 {
    f32::from(code.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::SquaredEuclidean];

    fn random(seed: u64, dim: usize) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..dim).map(|_| random.f32() - 0.5).collect()
    }

    /// A sum in as many parts, one term after the other: what the fast loops must equal, bit for bit.
    fn plain(terms: impl Iterator<Item = f32>) -> f32 {
        let mut sums = [0f32; LANES];
        terms.enumerate().for_each(|(index, term)| sums[index % LANES] += term);
        total(sums)
    }

    #[test]
    fn sums_equal_their_plain_twins_on_every_cpu() {
        for dim in [0, 1, 3, 31, 32, 33, 100, 384, 4096] {
            let (a, b) = (random(1, dim), random(2, dim));
            let pairs = || a.iter().zip(&b);
            let product = plain(pairs().map(|(a, b)| a * b));
            let squares = plain(b.iter().map(|b| b * b));
            let differences = plain(pairs().map(|(a, b)| (a - b) * (a - b)));
            assert_eq!(dot(&a, &b), product);
            let [cosine, inner, euclidean] = METRICS.map(|metric| compare(metric, &a, &b));
            assert_eq!(cosine, [product, squares]);
            assert_eq!(inner, [product, 0.0]);
            assert_eq!(euclidean, [differences, 0.0]);
        }
    }

    #[test]
    fn the_sum_of_a_known_vector_is_this_on_every_cpu() {
        let vector = |factor: u16, modulus: u16| -> Vec<f32> {
            let value = |index| f32::from(index * factor % modulus) / f32::from(modulus) - 0.5;
            (0..384).map(value).collect()
        };
        let product = dot(&vector(37, 101), &vector(53, 97));
        assert_eq!(product.to_bits(), 0x3f90_92be, "{product}");
    }

    #[test]
    fn products_of_bytes_equal_those_of_whole_numbers() {
        let mut random = fastrand::Rng::with_seed(3);
        for dim in [0, 1, 7, 384, 4096] {
            let limit = 4000;
            let a: Vec<i16> = (0..dim).map(|_| random.i16(-limit..=limit)).collect();
            let rows: Vec<Vec<u8>> =
                (0..20).map(|_| (0..4 + dim).map(|_| random.u8(..)).collect()).collect();
            let product = |row: &Vec<u8>| -> i32 {
                a.iter().zip(&row[4..]).map(|(&a, &b)| i32::from(a) * i32::from(b as i8)).sum()
            };
            let mut found = vec![1; rows.len()];
            let slices: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            dot_rows(&a, &slices, 4, &mut found);
            assert_eq!(found, rows.iter().map(product).collect::<Vec<_>>());
        }
        let dot_bytes = |a: &[i16], row: &[u8]| {
            let mut out = [1];
            dot_rows(a, &[row], 0, &mut out);
            out[0]
        };
        // What neighbouring products of bytes would overflow in sixteen bits.
        assert_eq!(dot_bytes(&[-127; 64], &[0x81; 64]), 64 * 127 * 127);
        assert_eq!(dot_bytes(&[i16::MAX; 384], &[0x81; 384]), -384 * 127 * 32767);
        assert_eq!(dot_bytes(&[1; 3], &[]), 0);
    }

    #[test]
    fn every_half_precision_number_has_its_value() {
        for bits in 0..=u16::MAX {
            let value = half::f16::from_bits(bits);
            if value.is_finite() {
                let found = half_value(bits.to_le_bytes());
                assert_eq!(found.to_bits(), value.to_f32().to_bits(), "{bits:04x}");
            }
        }
    }

    #[test]
    fn rounding_keeps_to_its_limit() {
        assert_eq!(rounded(&[-9.0, -1.1, 0.4, 0.6, 1e30, f32::MAX], 1.0, 7), [-7, -1, 0, 1, 7, 7]);
        assert_eq!(rounded(&[1.0, -0.0], 0.0, 7), [0, 0]);
        assert_eq!(rounded(&[1e-45, f32::MAX], 1e-45, 127), [1, 127]);
        assert_eq!(greatest(&random(1, 0)), 0.0);
        assert_eq!(greatest(&[[0.5; 40].as_slice(), &[-3.0]].concat()), 3.0);
    }
}
