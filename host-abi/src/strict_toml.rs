//! TOML that people write, read strictly: whatever is wrong is named with file, line and column, and an
//! unknown word with the way out.
//!
//! | what is wrong                      | what is said beside it                             |
//! |------------------------------------|----------------------------------------------------|
//! | a key that another section has     | it belongs below [resources]                       |
//! | any other unknown key              | did you mean the nearest one that this place knows |
//! | a word that is none of those known | did you mean the nearest of them                   |
//!
//! [Manifests](crate::plugin_manifest) and [policies](crate::policy) are read with it.

use crate::plugin_manifest::schema;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use sochdb_kernel::{KernelError, KernelResult};
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use toml::Spanned;

/// Edits between a wrong word and the one that is proposed instead.
const NEAR_EDITS_MAX: usize = 3;
/// Characters of words that are compared: the time that takes is the product of both lengths.
const NEAR_CHARS_MAX: usize = 64;
/// Characters of a wrong word that is looked for within those that exist.
const WITHIN_CHARS_MIN: usize = 4;

/// What is wrong with a manifest or a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

impl From<ManifestError> for KernelError {
    fn from(error: ManifestError) -> KernelError {
        KernelError::invalid(error.to_string())
    }
}

/// Something wrong at a place in the text.
pub(crate) struct Wrong {
    pub(crate) span: Option<Range<usize>>,
    pub(crate) message: String,
}

pub(crate) fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    Wrong { span: Some(at.span()), message: message.into() }
}

/// Reads `text` as a `Raw`, which refuses unknown keys, and lets `check` make sense of it.
///
/// # Errors
/// The first thing that is wrong, with its place in `file`.
pub(crate) fn read<Raw: DeserializeOwned + JsonSchema, Checked>(
    file: &str,
    text: &str,
    check: impl FnOnce(Raw) -> Result<Checked, Wrong>,
) -> Result<Checked, ManifestError> {
    let raw = toml::from_str(text).map_err(|error| Wrong {
        span: error.span(),
        message: with_way_out::<Raw>(error.message()),
    });
    raw.and_then(check).map_err(|Wrong { span, message }| {
        let before = &text[..span.map_or(0, |span| span.start).min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ManifestError {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
        }
    })
}

/// The text of the file `path`, which is a `kind` of file such as "manifest".
///
/// # Errors
/// `NotFound`; `Limit` when it has more than `bytes_max`; `Invalid` when it is no file, or no text in
/// UTF-8; `Unavailable` with the operating system's word.
pub(crate) fn read_file(kind: &'static str, path: &Path, bytes_max: u64) -> KernelResult<String> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KernelError::NotFound { kind, name: shown.to_string() },
        _ => KernelError::io(format!("read the {kind} {shown}"), error),
    };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(KernelError::invalid(format!("the {kind} {shown} is not a file")));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes_max < bytes.len() as u64 {
        let what = "the size of a manifest, its signature or a policy in bytes";
        return Err(KernelError::Limit { what, got: bytes.len() as u64, bound: bytes_max });
    }
    String::from_utf8(bytes)
        .map_err(|_| KernelError::invalid(format!("the {kind} {shown} is not text in UTF-8")))
}

/// The value, when it lies in `range`.
pub(crate) fn in_range(
    key: &str,
    value: Spanned<u64>,
    range: RangeInclusive<u64>,
) -> Result<u64, Wrong> {
    if range.contains(value.get_ref()) {
        return Ok(value.into_inner());
    }
    let (least, most) = range.into_inner();
    let message = format!("{key} = {} is out of range: {least} to {most}", value.get_ref());
    Err(wrong(&value, message))
}

/// The number, when it lies in `range`.
pub(crate) fn float_in_range(
    key: &str,
    value: &Spanned<f64>,
    range: RangeInclusive<f64>,
) -> Result<f64, Wrong> {
    if range.contains(value.get_ref()) {
        return Ok(*value.get_ref());
    }
    let (least, most) = range.into_inner();
    let message = format!("{key} = {} is out of range: {least} to {most}", value.get_ref());
    Err(wrong(value, message))
}

/// Adds the way out to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_way_out<Raw: JsonSchema>(message: &str) -> String {
    let is_field = message.starts_with("unknown field");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let word = quoted.next().filter(|_| is_field || message.starts_with("unknown variant"));
    let Some(word) = word else { return message.to_owned() };
    if let Some(section) = is_field.then(|| section_with::<Raw>(word)).flatten() {
        return format!("{message}; '{word}' belongs below [{section}]");
    }
    format!("{message}{}", did_you_mean(word, quoted))
}

/// The first section that has the key `key`.
fn section_with<Raw: JsonSchema>(key: &str) -> Option<String> {
    let schema = schema::of::<Raw>();
    let sections = schema["properties"].as_object()?;
    let mut sections = sections.iter().filter(|(_, section)| {
        section["properties"].as_object().is_some_and(|keys| keys.contains_key(key))
    });
    sections.next().map(|(name, _)| name.clone())
}

/// What to add to a message about the word `wrong`, of which one of `known` was meant.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(wrong, known).map_or(String::new(), |near| format!("; did you mean '{near}'?"))
}

/// Which of the known words `wrong` was meant to be, if one is near: some edits away, or with `wrong` in it.
fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let chars = wrong.chars().count();
    if NEAR_CHARS_MAX < chars {
        return None;
    }
    let compared = known.filter(|known| known.chars().count() <= NEAR_CHARS_MAX);
    let near = compared.filter_map(|known| {
        let word = plain(known);
        let edits = strsim::damerau_levenshtein(&wrong, &word);
        let is_within = WITHIN_CHARS_MIN <= chars && word.contains(&wrong);
        // Of a word of three letters two are something else.
        let is_near = edits <= NEAR_EDITS_MAX && edits * 2 < chars.max(2);
        (is_near || is_within).then_some((!is_near, edits, known))
    });
    near.min().map(|(_, _, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_that_was_meant() {
        let keys = ["memory_limit_mb", "fuel_limit", "timeout_ms", "background_timeout_ms", "min"];
        for (wrong, meant) in [
            ("timeout_sm", Some("timeout_ms")),
            ("Timeout-MS", Some("timeout_ms")),
            ("timeout", Some("timeout_ms")),
            ("memory", Some("memory_limit_mb")),
            ("limit_mb", Some("memory_limit_mb")),
            ("feul_limit", Some("fuel_limit")),
            ("mn", None),
            ("mim", Some("min")),
            ("xyz", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(wrong, keys.into_iter()), meant, "{wrong}");
        }
        let long = "k".repeat(NEAR_CHARS_MAX + 1);
        assert_eq!(nearest(&long, [&long[..]].into_iter()), None);
    }
}
