//! Where the command writes: standard output for results, standard error for everything else.
//!
//! Colours appear on a terminal only, and never when `NO_COLOR` is set; `console` sees to both.

use super::failure::Outcome;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{self, BufWriter, Write};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Mode {
    /// For people: columns below one another, long values cut.
    #[default]
    Table,
    /// For programs: rows as one JSON array.
    Json,
    /// For programs: rows as one JSON object a line, as --json.
    Jsonl,
    /// Comma-separated values, whole; the first line names the columns. Only where rows are printed.
    Csv,
    /// A table in Markdown. Only where rows are printed.
    Markdown,
}

impl Mode {
    /// The word for it, as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Table => "table",
            Mode::Json => "json",
            Mode::Jsonl => "jsonl",
            Mode::Csv => "csv",
            Mode::Markdown => "markdown",
        }
    }

    /// Whether only rows can be printed so.
    pub fn is_for_rows(self) -> bool {
        matches!(self, Mode::Csv | Mode::Markdown)
    }
}

/// Where results go, buffered, in one of several voices.
pub struct Screen {
    /// Whether a program reads JSON.
    pub json: bool,
    mode: Mode,
    /// How many objects of an array were written, while one is open.
    array: Option<usize>,
    out: BufWriter<Box<dyn Write>>,
}

impl Screen {
    /// Standard output.
    pub fn new(mode: Mode) -> Screen {
        let out = buffered(Box::new(io::stdout().lock()));
        Screen { json: matches!(mode, Mode::Json | Mode::Jsonl), mode, array: None, out }
    }

    /// How results are printed.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Prints the next results so.
    pub fn set_mode(&mut self, mode: Mode) {
        (self.mode, self.array) = (mode, None);
        self.json = matches!(mode, Mode::Json | Mode::Jsonl);
    }

    /// Sends on what is buffered, and from now on writes to `out`.
    pub fn redirect(&mut self, out: Box<dyn Write>) -> Outcome {
        let sent = self.out.flush();
        // What could not be written is not to be written once more when this goes.
        let (_old, _lost) = std::mem::replace(&mut self.out, buffered(out)).into_parts();
        Ok(sent?)
    }

    /// Rows as objects begin; each is given to [`object`](Self::object).
    pub fn begin_rows(&mut self) -> Outcome {
        if self.mode == Mode::Json {
            self.array = Some(0);
            self.out.write_all(b"[")?;
        }
        Ok(())
    }

    /// The last row was given.
    pub fn end_rows(&mut self) -> Outcome {
        match self.array.take() {
            Some(0) => self.line("]"),
            Some(_) => self.line("\n]"),
            None => Ok(()),
        }
    }

    /// One line.
    pub fn line(&mut self, text: impl AsRef<str>) -> Outcome {
        Ok(writeln!(self.out, "{}", text.as_ref())?)
    }

    /// One JSON value on a line of its own.
    pub fn object(&mut self, value: &impl Serialize) -> Outcome {
        if let Some(count) = &mut self.array {
            self.out.write_all(if *count == 0 { b"\n" } else { b",\n" })?;
            *count += 1;
            return Ok(serde_json::to_writer(&mut self.out, value)?);
        }
        serde_json::to_writer(&mut self.out, value)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.out.write_all(bytes)?)
    }

    /// A table: for people, or in the mode that was asked for.
    pub fn table<R: IntoIterator<Item = String>>(
        &mut self,
        header: impl IntoIterator<Item = String>,
        rows: impl IntoIterator<Item = R>,
    ) -> Outcome {
        if self.mode.is_for_rows() {
            self.row(header, true)?;
            return rows.into_iter().try_for_each(|row| self.row(row, false));
        }
        let mut table = grid();
        table.set_header(header);
        for row in rows {
            table.add_row(row);
        }
        self.line(lines(&table))
    }

    /// One row of CSV or Markdown; what is below a header in Markdown comes with it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>, is_header: bool) -> Outcome {
        if self.mode == Mode::Csv {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(cells.into_iter().map(String::into_bytes)).map_err(io::Error::from)?;
            let line = csv.into_inner().map_err(|error| error.into_error())?;
            return self.bytes(&line);
        }
        let cells: Vec<_> = cells.into_iter().map(|cell| markdown_cell(&cell)).collect();
        self.line(format!("| {} |", cells.join(" | ")))?;
        if is_header {
            self.line(format!("|{}", " --- |".repeat(cells.len())))?;
        }
        Ok(())
    }

    /// Names and values for people, below one another; as a table of one row where rows are asked for.
    pub fn pairs<N: Into<String>, V: Into<String>>(
        &mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Outcome {
        let pairs: Vec<(String, String)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if self.mode.is_for_rows() {
            let (names, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            return self.table(names, [values]);
        }
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

fn buffered(out: Box<dyn Write>) -> BufWriter<Box<dyn Write>> {
    BufWriter::with_capacity(64 << 10, out)
}

/// Text that neither ends a cell nor its line.
fn markdown_cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
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

/// A number of things, such as `1 commit` and `2,000 commits`; `one` is a noun that takes -s, -es or -ies.
pub fn counted(number: u64, one: &str) -> String {
    let (stem, end) = match one.strip_suffix('y') {
        _ if number == 1 => (one, ""),
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => (stem, "ies"),
        _ if one.ends_with(['x', 's', 'h']) => (one, "es"),
        _ => (one, "s"),
    };
    format!("{} {stem}{end}", thousands(number))
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
        let things = ["commit", "index", "entry", "key"];
        assert_eq!(
            ["1 commit", "1 index", "1 entry", "1 key"],
            things.map(|one| counted(1, one))[..]
        );
        assert_eq!(
            ["0 commits", "2,000 indexes", "2 entries", "2 keys"],
            [(0, "commit"), (2000, "index"), (2, "entry"), (2, "key")]
                .map(|(n, one)| counted(n, one))[..]
        );
        assert_eq!(["7 µs", "1.5 ms", "2.00 s"], [7, 1_500, 2_000_000].map(micros_text)[..]);
    }
}
