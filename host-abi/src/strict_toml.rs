//! TOML that people write, read strictly: whatever is wrong is named with file, line and column, and an
//! unknown key with the nearest one that exists.
//!
//! [Manifests](crate::plugin_manifest) and [policies](crate::policy) are read with it.

use serde::de::DeserializeOwned;
use sochdb_kernel::{KernelError, KernelResult};
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use toml::Spanned;

/// Edits between a wrong key and the one that is proposed instead.
const NEAR_EDITS_MAX: usize = 3;

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
pub(crate) fn read<Raw: DeserializeOwned, Checked>(
    file: &str,
    text: &str,
    check: impl FnOnce(Raw) -> Result<Checked, Wrong>,
) -> Result<Checked, ManifestError> {
    let raw = toml::from_str(text)
        .map_err(|error| Wrong { span: error.span(), message: with_nearest_key(error.message()) });
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
        let what = "the size of a manifest or policy in bytes";
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

/// Adds the nearest valid key to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match quoted.next().filter(|_| is_unknown).and_then(|wrong| nearest(wrong, quoted)) {
        Some(near) => format!("{message}; did you mean '{near}'?"),
        None => message.to_owned(),
    }
}

/// Which of the known words `wrong` was meant to be, if one is near.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (strsim::damerau_levenshtein(wrong, known), known)).min()?;
    (near.0 <= NEAR_EDITS_MAX).then_some(near.1)
}
