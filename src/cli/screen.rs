//! Where the command writes: standard output for results, standard error for everything else.
//!
//! Colours appear on a terminal only, and never when `NO_COLOR` is set; `console` sees to both.

use super::failure::Outcome;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{self, BufWriter, Stdout, StdoutLock, Write};

/// Standard output, buffered, in one of two voices.
pub struct Screen {
    /// Whether a program reads.
    pub json: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Screen {
    /// Standard output, for a program if `json`.
    pub fn new(json: bool) -> Screen {
        let stdout: Stdout = io::stdout();
        Screen { json, out: BufWriter::with_capacity(64 << 10, stdout.lock()) }
    }

    /// One line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Outcome {
        Ok(writeln!(self.out, "{}", text.as_ref())?)
    }

    /// One JSON value on a line of its own.
    pub fn object(&mut self, value: &impl Serialize) -> Outcome {
        serde_json::to_writer(&mut self.out, value)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.out.write_all(bytes)?)
    }

    /// A table for people.
    pub fn table<R: IntoIterator<Item = String>>(
        &mut self,
        header: impl IntoIterator<Item = String>,
        rows: impl IntoIterator<Item = R>,
    ) -> Outcome {
        let mut table = grid();
        table.set_header(header);
        for row in rows {
            table.add_row(row);
        }
        self.line(lines(&table))
    }

    /// Names and values for people, below one another.
    pub fn pairs<N: Into<String>, V: Into<String>>(
        &mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Outcome {
        let pairs: Vec<(String, String)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in pairs {
            self.line(format!("{name:width$}  {value}").trim_end())?;
        }
        Ok(())
    }

    /// Sends on what is buffered.
    pub fn flush(&mut self) -> Outcome {
        Ok(self.out.flush()?)
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line under the header and nothing else: rows are what there is to see.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table in our style, as wide as the terminal or 100 characters.
pub fn grid() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let width = console::Term::stdout().size_checked().map_or(100, |(_, columns)| columns);
    table.set_width(width.max(40));
    table
}

/// The table's lines without the blanks at their ends.
pub fn lines(table: &Table) -> String {
    table.trim_fmt()
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for people: `3.1 MB`, in powers of ten.
pub fn bytes_text(bytes: u64) -> String {
    let steps = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match steps.iter().find(|(size, _)| bytes as f64 >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / size),
        None => format!("{bytes} B"),
    }
}

/// A duration for people: `3.1 ms`.
pub fn micros_text(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(thousands)[..]
        );
        assert_eq!(
            ["0 B", "999 B", "1.0 kB", "3.1 MB"],
            [0, 999, 1000, 3_072_024].map(bytes_text)[..]
        );
        assert_eq!(["7 µs", "1.5 ms", "2.00 s"], [7, 1_500, 2_000_000].map(micros_text)[..]);
    }
}
