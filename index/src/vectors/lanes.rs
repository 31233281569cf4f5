//! Loops over vectors and codes, compiled once for each family of CPUs.
//!
//! Each function is a plain loop over blocks of a fixed size, which the compiler turns into SIMD. It is
//! compiled for x86-64 with AVX-512, with AVX2, and for whatever the program was built for; the first call
//! chooses. NEON is always there on AArch64.
//!
//! Sums of floats are kept in [`LANES`] parts, whose number does not depend on the CPU, and no multiplication
//! is fused with an addition. So a result is the same on every machine, whatever its registers hold.

use super::{Element, Metric};

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

    /// The inner product of signed numbers with signed bytes.
    pub fn dot_bytes(a: &[i16], codes: &[u8]) -> i32 {
        a.iter().zip(codes).map(|(&a, &b)| i32::from(a) * i32::from(b.cast_signed())).sum()
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

/// `S` sums of `terms` of each pair.
#[inline(always)]
fn sums<T: Copy, const S: usize>(
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
