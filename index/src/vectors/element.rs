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
const BYTE_MAX: i16 = 127;

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
                let (scale, codes) = bytes_of(vector);
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend(codes.into_iter().map(|code| code as u8));
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

/// The scale of `vector`'s codes in bytes, 0 if it is zero, and the codes.
pub(super) fn bytes_of(vector: &[f32]) -> (f32, Vec<i16>) {
    // The greatest code times the scale, rounded, must not be infinite.
    let scale = lanes::greatest(vector).min(f32::MAX * 0.999_999) / f32::from(BYTE_MAX);
    (scale, lanes::rounded(vector, scale, BYTE_MAX))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ELEMENTS: [Element; 3] = [Element::F32, Element::F16, Element::I8];

    fn through(element: Element, vector: &[f32]) -> Vec<f32> {
        let mut row = vec![9];
        element.encode(vector, &mut row);
        assert_eq!(row.len(), 1 + element.row_bytes(vector.len()));
        let mut decoded = vec![f32::NAN; vector.len()];
        element.decode(&row[1..], &mut decoded);
        decoded
    }

    #[test]
    fn rows_have_these_bytes() {
        let bytes = |element: Element| {
            let mut row = Vec::new();
            element.encode(&[127.0, -1.5], &mut row);
            row
        };
        assert_eq!(bytes(Element::F32), [0, 0, 0xfe, 0x42, 0, 0, 0xc0, 0xbf]);
        assert_eq!(bytes(Element::F16), [0xf0, 0x57, 0, 0xbe]);
        assert_eq!(bytes(Element::I8), [0, 0, 0x80, 0x3f, 127, 0xfe]);
    }

    #[test]
    fn zeros_and_the_greatest_values_stay_finite() {
        for element in ELEMENTS {
            assert_eq!(through(element, &[]), []);
            assert_eq!(through(element, &[0.0, -0.0]), [0.0, 0.0]);
            assert_eq!(through(element, &[1.0, -1.0]), [1.0, -1.0]);
            let great = through(element, &[f32::MAX, f32::MIN, 1e-45]);
            assert!(great.iter().all(|x| x.is_finite()), "{element}: {great:?}");
            assert!(60_000.0 < great[0] && great[1] < -60_000.0, "{element}: {great:?}");
        }
    }

    #[test]
    fn names_come_back() {
        for element in ELEMENTS {
            assert_eq!(element.to_string().parse::<Element>().unwrap(), element);
        }
        assert!("f64".parse::<Element>().is_err());
    }

    proptest! {
        #[test]
        fn values_come_back_as_exactly_as_promised(
            vector in proptest::collection::vec(-60_000f32..60_000.0, 1..100),
        ) {
            prop_assert_eq!(&through(Element::F32, &vector), &vector);
            let greatest = vector.iter().fold(0f32, |max, x| max.max(x.abs()));
            let (halves, bytes) = (through(Element::F16, &vector), through(Element::I8, &vector));
            for ((x, half), byte) in vector.iter().zip(halves).zip(bytes) {
                prop_assert!((x - half).abs() <= x.abs() / 2048.0 + 3.1e-8);
                prop_assert!((x - byte).abs() <= greatest / 127.0 * 0.501);
            }
        }
    }
}
