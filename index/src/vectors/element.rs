//! How exactly an index keeps vectors: a row of bytes for each.
//!
//! | element | row                                                                                          |
//! |---------|----------------------------------------------------------------------------------------------|
//! | `f32`   | the values, four bytes each                                                                  |
//! | `f16`   | the values, rounded to IEEE 754 half precision, two bytes each; at most 65,504 either way    |
//! | `i8`    | a scale, which is an `f32`; then a signed byte for each value, -127 to 127: value over scale |
//!
//! Everything is little-endian.

use super::lanes;
use sochdb_kernel::KernelError;
use std::fmt;
use std::str::FromStr;

/// The greatest code of a value in a signed byte: the range is symmetric.
pub(super) const BYTE_MAX: f32 = 127.0;

/// How exactly an index keeps vectors, which is how exactly it knows distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// As they are.
    F32,
    /// Half precision.
    F16,
    /// Bytes and one scale for each vector.
    I8,
}

impl Element {
    /// Bytes of one vector.
    pub fn row_bytes(self, dim: usize) -> usize {
        match self {
            Element::F32 => 4 * dim,
            Element::F16 => 2 * dim,
            Element::I8 => dim + 4,
        }
    }

    /// Adds `vector`, whose values are finite, to `out`.
    pub fn encode(self, vector: &[f32], out: &mut Vec<u8>) {
        match self {
            Element::F32 => out.extend(vector.iter().flat_map(|x| x.to_le_bytes())),
            Element::F16 => {
                let greatest = half::f16::MAX.to_f32();
                let code = |x: &f32| half::f16::from_f32(x.clamp(-greatest, greatest));
                out.extend(vector.iter().flat_map(|x| code(x).to_le_bytes()));
            }
            Element::I8 => {
                let scale = byte_scale(vector);
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend(vector.iter().map(|&x| byte_code(x, scale).cast_unsigned()));
            }
        }
    }

    /// The vector that `row` holds, into `out`; `row` has [`row_bytes`](Self::row_bytes) for as many values.
    pub fn decode(self, row: &[u8], out: &mut [f32]) {
        match self {
            Element::F32 => fill(out, row.as_chunks::<4>().0, f32::from_le_bytes),
            Element::F16 => fill(out, row.as_chunks::<2>().0, lanes::half_value),
            Element::I8 => {
                let Some((scale, codes)) = row.split_first_chunk::<4>() else { return };
                let scale = f32::from_le_bytes(*scale);
                fill(out, codes, |code| lanes::byte_value(code) * scale);
            }
        }
    }
}

fn fill<T: Copy>(out: &mut [f32], from: &[T], value: impl Fn(T) -> f32) {
    out.iter_mut().zip(from).for_each(|(x, from)| *x = value(*from));
}

/// What `vector`'s codes in bytes are multiplied by: 0 if it is zero.
pub(super) fn byte_scale(vector: &[f32]) -> f32 {
    let greatest = vector.iter().fold(0f32, |max, x| max.max(x.abs()));
    // The greatest code times the scale, rounded, must not be infinite.
    greatest.min(f32::MAX * 0.999_999) / BYTE_MAX
}

/// The code of `x` in a byte: `x` over `scale`, rounded.
pub(super) fn byte_code(x: f32, scale: f32) -> i8 {
    if scale == 0.0 { 0 } else { (x / scale).round().clamp(-BYTE_MAX, BYTE_MAX) as i8 }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "f32",
            Element::F16 => "f16",
            Element::I8 => "i8",
        })
    }
}

impl FromStr for Element {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Element, KernelError> {
        match text {
            "f32" => Ok(Element::F32),
            "f16" => Ok(Element::F16),
            "i8" => Ok(Element::I8),
            _ => Err(KernelError::Invalid(format!(
                "'store' is f32, f16 or i8, but {text:?} was given"
            ))),
        }
    }
}
