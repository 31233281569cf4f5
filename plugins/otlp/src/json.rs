//! Where OTLP's JSON is not what `serde` writes by itself.
//!
//! | what                    | in JSON                                                      |
//! |-------------------------|--------------------------------------------------------------|
//! | an integer of 64 bits   | a text of decimal digits                                     |
//! | trace and span ids      | a text of hexadecimal digits; other bytes we do not have     |
//! | a double                | a number, or the texts `NaN`, `Infinity` and `-Infinity`     |
//!
//! Source: the specification of OTLP, "JSON Protobuf Encoding"; the JSON mapping of proto3.

use serde::Serializer;
use std::fmt::{self, Display};

/// As text.
pub fn integer<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// As text.
pub fn some_integer<S: Serializer>(value: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Each as text.
pub fn integers<S: Serializer>(values: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(u64::to_string))
}

/// As a number if JSON has it.
pub fn double<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        None => serializer.serialize_none(),
        Some(value) if value.is_nan() => serializer.serialize_str("NaN"),
        Some(f64::INFINITY) => serializer.serialize_str("Infinity"),
        Some(f64::NEG_INFINITY) => serializer.serialize_str("-Infinity"),
        Some(value) => serializer.serialize_f64(value),
    }
}

/// In lower-case hexadecimal digits.
pub fn id<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    struct Hex<'a>(&'a [u8]);
    impl Display for Hex<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
    serializer.collect_str(&Hex(bytes))
}

/// Whether a count may be left out.
pub fn is_zero(count: &u32) -> bool {
    *count == 0
}
