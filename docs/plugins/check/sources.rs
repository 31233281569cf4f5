//! The chapters as they are written.

use crate::{Report, files, normal, shown};
use std::fs;
use std::io;
use std::path::Path;

/// What code is written in. A block of one of these only has includes; commands, drawings and what a program
/// says may be typed.
const CODE: &[&str] = &["rust", "python", "toml", "json", "yaml", "wit"];

/// Looks at all chapters in `src`.
pub fn check(src: &Path, report: &mut Report) -> io::Result<()> {
    let summary = fs::read_to_string(src.join("SUMMARY.md"))?;
    for file in files(src)?.iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
        let name = shown(file, src);
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            report.problems.push(format!("{name}: SUMMARY.md does not have it"));
        }
        chapter(file, &name, &fs::read_to_string(file)?, report);
    }
    Ok(())
}

fn chapter(file: &Path, name: &str, text: &str, report: &mut Report) {
    let mut code: Option<&str> = None;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            code = match code {
                Some(_) => None,
                None => Some(fence.split([',', ' ']).next().unwrap_or_default()),
            };
            continue;
        }
        let include =
            line.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
        match include {
            Some(include) => {
                if let Err(problem) = follow(file, include, report) {
                    report.problems.push(format!("{place}: {problem}"));
                }
            }
            None if line.contains("{{#") => {
                report.problems.push(format!("{place}: an include stands alone on its line"));
            }
            None if code.is_some_and(|code| CODE.contains(&code)) => {
                report
                    .problems
                    .push(format!("{place}: this code is typed, not included: {}", line.trim()));
            }
            None => {}
        }
    }
    if code.is_some() {
        report.problems.push(format!("{name}: a block of code does not end"));
    }
}

/// Looks for what an include names: a file, or the part of it between two anchors.
fn follow(chapter: &Path, include: &str, report: &mut Report) -> Result<(), String> {
    let (path, anchor) = match include.split_once(':') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (include, None),
    };
    let file = normal(&chapter.parent().unwrap_or(chapter).join(path));
    let text = fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
    if let Some(anchor) = anchor {
        let line_of = |word: &str| {
            let named = |line: &str| {
                let name = line.split_once(word).map(|(_, name)| name.trim_start());
                name.and_then(|name| name.split_whitespace().next()) == Some(anchor)
            };
            let lines: Vec<_> = text.lines().enumerate().filter(|(_, line)| named(line)).collect();
            match lines[..] {
                [(number, _)] => Ok(number),
                _ => Err(format!("{path}: {} lines with '{word} {anchor}'", lines.len())),
            }
        };
        let (start, end) = (line_of("ANCHOR:")?, line_of("ANCHOR_END:")?);
        if end <= start + 1 {
            return Err(format!("{path}: nothing lies between the anchors '{anchor}'"));
        }
    }
    if !report.included.contains(&file) {
        report.included.push(file);
    }
    Ok(())
}
