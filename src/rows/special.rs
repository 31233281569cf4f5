//! The two kinds of values that Rust has no type for: a moment, and a vector of a certain dimension.

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How this room recognises a [`Moment`].
pub(crate) const MOMENT: &str = "$sochdb::Moment";

/// A moment, in microseconds since 1970-01-01T00:00:00Z: what a column of type timestamp holds.
///
/// ```
/// use sochdb::rows::Moment;
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let moment = Moment::from(UNIX_EPOCH + Duration::from_secs(1));
/// assert_eq!(moment, Moment(1_000_000));
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename = "$sochdb::Moment")]
pub struct Moment(pub i64);

impl Moment {
    /// As the system's clock has it.
    pub fn now() -> Moment {
        SystemTime::now().into()
    }
}

/// Moments that 64 bits do not reach, some 300,000 years from now, become the last one, or the first.
impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Moment {
        let us = |since: Duration| i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Moment(us(since)),
            Err(before) => Moment(-us(before.duration())),
        }
    }
}

/// So many numbers: what a column of type `vector(DIM)` holds. It is a slice of `f32` wherever one is wanted.
///
/// ```
/// use sochdb::rows::Vector;
///
/// let vector = Vector::from([0.5, 0.25]);
/// assert_eq!(vector.iter().sum::<f32>(), 0.75);
/// assert!(Vector::<3>::try_from(vec![1.0]).is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Vector<const DIM: usize>(Box<[f32; DIM]>);

impl<const DIM: usize> Default for Vector<DIM> {
    /// Zeros.
    fn default() -> Vector<DIM> {
        Vector(Box::new([0.0; DIM]))
    }
}

impl<const DIM: usize> Deref for Vector<DIM> {
    type Target = [f32; DIM];

    fn deref(&self) -> &[f32; DIM] {
        &self.0
    }
}

impl<const DIM: usize> DerefMut for Vector<DIM> {
    fn deref_mut(&mut self) -> &mut [f32; DIM] {
        &mut self.0
    }
}

impl<const DIM: usize> From<[f32; DIM]> for Vector<DIM> {
    fn from(floats: [f32; DIM]) -> Vector<DIM> {
        Vector(Box::new(floats))
    }
}

/// What is not as long is given back.
impl<const DIM: usize> TryFrom<Vec<f32>> for Vector<DIM> {
    type Error = Vec<f32>;

    fn try_from(floats: Vec<f32>) -> Result<Vector<DIM>, Vec<f32>> {
        floats.try_into().map(Vector)
    }
}

impl<const DIM: usize> Serialize for Vector<DIM> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(DIM)?;
        self.0.iter().try_for_each(|float| tuple.serialize_element(float))?;
        tuple.end()
    }
}

impl<'de, const DIM: usize> Deserialize<'de> for Vector<DIM> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vector<DIM>, D::Error> {
        deserializer.deserialize_tuple(DIM, Floats)
    }
}

struct Floats<const DIM: usize>;

impl<'de, const DIM: usize> Visitor<'de> for Floats<DIM> {
    type Value = Vector<DIM>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a vector of {DIM} numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vector<DIM>, A::Error> {
        let mut floats = Vec::with_capacity(DIM);
        while floats.len() < DIM {
            match seq.next_element()? {
                Some(float) => floats.push(float),
                None => return Err(A::Error::invalid_length(floats.len(), &self)),
            }
        }
        Ok(Vector::try_from(floats).expect("as many as were counted"))
    }
}
