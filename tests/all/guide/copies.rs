//! What the guide copies from the sources, and whether it is still the same.
//!
//! Between two marks stands what the first one says; `UPDATE_EXPECT=1 cargo test --test all guide` writes it anew.
//!
//! | mark                                          | what follows, up to the mark `end`                     |
//! |-----------------------------------------------|--------------------------------------------------------|
//! | `<!-- from FILE, "FIRST" to "LAST" -->`       | the module docs of FILE from the line that begins with FIRST to before the one that begins with LAST, or all when that is empty |
//! | `<!-- limits of FILE -->`                     | a table of its public constants: value, reason         |
//! | `<!-- end -->`                                | the end of what is copied                              |

use super::{book, chapters, root};
use std::fmt::Write as _;
use std::fs;

const END: &str = "<!-- end -->";

#[test]
fn the_tables_of_the_guide_are_those_of_the_sources() {
    let mut copied = 0;
    for (name, text) in chapters() {
        let (fresh, count) = renew(&text);
        copied += count;
        if fresh == text {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE_EXPECT").is_some(),
            "{name} differs from the sources; UPDATE_EXPECT=1 cargo test --test all guide mends it"
        );
        fs::write(book().join("src").join(&name), fresh).expect("written");
    }
    println!("{copied} pieces of the guide are copied from the sources");
    assert!(10 < copied, "only {copied} pieces are copied");
}

/// The text with all that is between marks made anew, and how many pieces that are.
fn renew(text: &str) -> (String, usize) {
    let (mut fresh, mut count) = (String::new(), 0);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        fresh.push_str(line);
        fresh.push('\n');
        let Some(piece) = piece(line) else { continue };
        assert!(lines.any(|line| line == END), "'{line}' has no end");
        let _ = write!(fresh, "\n{}\n\n{END}\n", piece.trim());
        count += 1;
    }
    (fresh, count)
}

/// What stands behind the mark `line`, if it is one.
fn piece(line: &str) -> Option<String> {
    let mark = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    let source = |file: &str| {
        fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    if let Some(file) = mark.strip_prefix("limits of ") {
        return Some(limits(&source(file)));
    }
    let (file, ends) = mark.strip_prefix("from ")?.split_once(", ")?;
    let (first, last) = ends.strip_prefix('"')?.strip_suffix('"')?.split_once("\" to \"")?;
    Some(docs(&source(file), first, last))
}

/// The module docs of a source, from one line to before another.
fn docs(source: &str, first: &str, last: &str) -> String {
    let docs = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut lines = docs.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let begin = lines.by_ref().find(|line| line.starts_with(first));
    let begin = begin.unwrap_or_else(|| panic!("no line begins with '{first}'"));
    let mut text = unlinked(begin);
    let mut ended = last.is_empty();
    for line in lines {
        if !last.is_empty() && line.starts_with(last) {
            ended = true;
            break;
        }
        text.push('\n');
        text.push_str(&unlinked(line));
    }
    assert!(ended, "no line after '{first}' begins with '{last}'");
    text
}

/// A line of docs whose links to items are only their names: [`x`] and [`x`](y) become `x`.
fn unlinked(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once("[`") {
        let Some((name, after)) = behind.split_once("`]") else { break };
        let _ = write!(text, "{before}`{name}`");
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    text + rest
}

/// The public constants of a source as a table: name, value, reason.
fn limits(source: &str) -> String {
    let mut table = String::from("| bound | value | why |\n|---|---:|---|\n");
    let mut reason = String::new();
    for line in source.lines() {
        if let Some(doc) = line.strip_prefix("/// ") {
            let _ = write!(reason, "{}{doc}", if reason.is_empty() { "" } else { " " });
            continue;
        }
        if let Some((name, value)) = constant(line) {
            let value = readable(name, value);
            let _ = writeln!(table, "| `{name}` | {value} | {} |", unlinked(&reason));
        }
        reason.clear();
    }
    table
}

/// Name and value of a public constant at the left edge.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
    Some((name, rest.split_once(" = ")?.1.strip_suffix(';')?))
}

/// A value as people write it, where it is a number of bytes.
fn readable(name: &str, value: &str) -> String {
    let units = [("10", "KiB"), ("20", "MiB"), ("30", "GiB"), ("40", "TiB")];
    let shifted = value.split_once(" << ").filter(|_| name.contains("BYTES"));
    let unit = shifted.and_then(|(count, shift)| {
        Some((count, units.iter().find(|(power, _)| *power == shift)?.1))
    });
    match unit {
        Some((count, unit)) => format!("{count} {unit}"),
        None if value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        None => format!("`{value}`"),
    }
}

#[test]
fn docs_are_copied_without_their_marks_and_links() {
    let source = "//! Head.\n//!\n//! | a | [`b`] |\n//! |---|---|\n//! | c | [`d`](crate::d), e |\n//!\n//! Tail.\nuse x;\n";
    assert_eq!(docs(source, "| a", "Tail"), "| a | `b` |\n|---|---|\n| c | `d`, e |\n");
    assert_eq!(docs(source, "Tail", ""), "Tail.");
}

#[test]
fn constants_become_a_table_with_their_reasons() {
    let source = "/// A key,\n/// see [`X`].\npub const KEY_BYTES_MAX: usize = 4 << 10;\nconst NO: u8 = 1;\n/// Range.\npub const R: A<u64> = 1..=9;\n";
    let rows: Vec<_> = limits(source).lines().skip(2).map(str::to_owned).collect();
    assert_eq!(
        rows,
        ["| `KEY_BYTES_MAX` | 4 KiB | A key, see `X`. |", "| `R` | `1..=9` | Range. |"]
    );
}

#[test]
fn what_is_between_marks_is_made_anew_and_nothing_else() {
    let text = "a\n<!-- limits of kernel/src/limits.rs -->\n~old~\n<!-- end -->\nb\n";
    let (fresh, count) = renew(text);
    assert!(
        fresh.starts_with("a\n<!-- limits") && fresh.ends_with("\n<!-- end -->\nb\n"),
        "{fresh}"
    );
    assert!(fresh.contains("| `PAGE_BYTES` | 4096 |") && !fresh.contains("~old~"), "{fresh}");
    assert_eq!((count, renew(&fresh)), (1, (fresh.clone(), 1)));
}
