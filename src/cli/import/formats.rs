//! Which format a file has, by its name or as the command line says, and the reader for it.

use super::reader::Reader;
use super::row::Rows;
use super::source::Source;
use super::vectors;
use crate::cli::args::Format;
use crate::cli::compression::{self, Compression};
use crate::cli::failure::{Failure, Outcome};
use std::ffi::OsStr;
use std::path::Path;

/// The format that the command line or the file's name says, and how the name says it is compressed.
pub fn format_of(file: &Path, said: Option<Format>) -> Outcome<(Format, Compression)> {
    let (compression, inner) = compression::of_name(file);
    if let Some(format) = said {
        return Ok((format, compression));
    }
    let end = inner.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let format = match end.as_deref() {
        Some("jsonl" | "ndjson" | "json") => Format::Jsonl,
        Some("csv") => Format::Csv,
        Some("parquet" | "pq") => Format::Parquet,
        Some("arrow" | "feather" | "ipc") => Format::Arrow,
        Some("arrows") => Format::ArrowStream,
        Some("npy") => Format::Npy,
        Some("fvecs") => Format::Fvecs,
        Some("f32bin" | "fbin") => Format::F32bin,
        _ => {
            let text = format!("the name {} does not say the file's format", file.display());
            let help =
                "say it: --format jsonl, csv, parquet, arrow, arrow-stream, npy, fvecs or f32bin";
            return Err(Failure::invalid(text).help(help));
        }
    };
    Ok((format, compression))
}

/// Opens the file for reading.
pub fn open(file: &Path, said: Option<Format>) -> Outcome<Box<dyn Rows>> {
    let (format, compression) = format_of(file, said)?;
    match format {
        Format::Jsonl | Format::Csv => {
            Ok(Box::new(Reader::new(Source::open(file, format, compression)?)))
        }
        _ if compression != Compression::None => {
            let text = format!("{} is compressed, and only text is read so", file.display());
            Err(Failure::invalid(text).help("uncompress it first, with gunzip or unzstd"))
        }
        Format::Npy | Format::Fvecs | Format::F32bin => {
            Ok(Box::new(vectors::Source::open(file, format)?))
        }
        Format::Parquet | Format::Arrow | Format::ArrowStream => columnar(file, format),
    }
}

#[cfg(feature = "parquet")]
fn columnar(file: &Path, format: Format) -> Outcome<Box<dyn Rows>> {
    Ok(Box::new(super::columnar::Source::open(file, format)?))
}

#[cfg(not(feature = "parquet"))]
fn columnar(_: &Path, _: Format) -> Outcome<Box<dyn Rows>> {
    Err(left_out())
}

/// Why a program without the feature does not know a format.
#[cfg(not(feature = "parquet"))]
pub fn left_out() -> Failure {
    Failure::invalid("this program was built without Parquet and Arrow")
        .help("build it with --features parquet, or use JSONL or CSV")
}
