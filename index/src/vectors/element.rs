//! How exactly an index keeps vectors.

use sochdb_kernel::KernelError;
use std::fmt;
use std::str::FromStr;

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

    /// Adds `vector` to `out`.
    pub fn encode(self, vector: &[f32], out: &mut Vec<u8>) {
        match self {
            Element::F32 => vector.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
            Element::F16 => {
                vector.iter().for_each(|x| {
                    out.extend_from_slice(&half::f16::from_f32(*x).to_le_bytes());
                });
            }
            Element::I8 => {
                let greatest = vector.iter().fold(0f32, |max, x| max.max(x.abs()));
                let scale = greatest / 127.0;
                out.extend_from_slice(&scale.to_le_bytes());
                let code = |x: &f32| if scale == 0.0 { 0 } else { (x / scale).round() as i8 };
                out.extend(vector.iter().map(|x| code(x).to_le_bytes()[0]));
            }
        }
    }

    /// The vector that `row` holds, into `out`; `row` has [`row_bytes`](Self::row_bytes) for as many values.
    pub fn decode(self, row: &[u8], out: &mut [f32]) {
        match self {
            Element::F32 => {
                let (values, _) = row.as_chunks::<4>();
                out.iter_mut().zip(values).for_each(|(x, bytes)| *x = f32::from_le_bytes(*bytes));
            }
            Element::F16 => {
                let (values, _) = row.as_chunks::<2>();
                let value = |bytes: &[u8; 2]| half::f16::from_le_bytes(*bytes).to_f32();
                out.iter_mut().zip(values).for_each(|(x, bytes)| *x = value(bytes));
            }
            Element::I8 => {
                let Some((scale, codes)) = row.split_first_chunk::<4>() else { return };
                let scale = f32::from_le_bytes(*scale);
                let value = |code: u8| f32::from(i8::from_le_bytes([code])) * scale;
                out.iter_mut().zip(codes).for_each(|(x, code)| *x = value(*code));
            }
        }
    }
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
