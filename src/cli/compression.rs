//! Text that is compressed, by the end of its name: `.gz` and `.zst`, read as if it were not.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use structured_zstd::decoding::StreamingDecoder;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As gzip does, one member or several.
    Gzip,
    /// As Zstandard does, one frame or several.
    Zstd,
}

/// How the file is compressed, and its name without the end that says so.
pub fn of_name(file: &Path) -> (Compression, PathBuf) {
    let end = file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    match end.as_deref() {
        Some("gz") => (Compression::Gzip, file.with_extension("")),
        Some("zst") => (Compression::Zstd, file.with_extension("")),
        _ => (Compression::None, file.to_owned()),
    }
}

/// What is in `input`.
pub fn reader(compression: Compression, input: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
    match compression {
        Compression::None => input,
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(StreamingDecoder::new(input)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn names_say_how_a_file_is_compressed() {
        let of = |name: &str| of_name(Path::new(name));
        assert_eq!(of("a/t.csv.gz"), (Compression::Gzip, "a/t.csv".into()));
        assert_eq!(of("t.jsonl.ZST"), (Compression::Zstd, "t.jsonl".into()));
        assert_eq!(of("t.csv"), (Compression::None, "t.csv".into()));
    }

    #[test]
    fn what_was_compressed_is_read_and_what_is_cut_is_not() {
        let text = "some lines\n".repeat(5000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = structured_zstd::encoding::compress_to_vec(
            text.as_bytes(),
            structured_zstd::encoding::CompressionLevel::Fastest,
        );
        for (how, bytes) in [(Compression::Gzip, gzip.finish().unwrap()), (Compression::Zstd, zstd)]
        {
            let read = |bytes: Vec<u8>| {
                let mut found = String::new();
                let input: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(bytes));
                reader(how, input).read_to_string(&mut found).map(|_| found)
            };
            // Two files one behind the other are one.
            assert_eq!(read([&bytes[..], &bytes].concat()).unwrap(), text.repeat(2), "{how:?}");
            assert!(read(bytes[..bytes.len() - 3].to_vec()).is_err(), "{how:?}");
        }
    }
}
