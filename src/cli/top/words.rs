//! Numbers and names as they stand on the screen: short, and harmless.

use crate::cli::screen::{bytes_text, micros_text, thousands};

/// What is not known.
pub const UNKNOWN: &str = "-";

fn known(value: Option<f64>, text: impl FnOnce(f64) -> String) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| UNKNOWN.to_owned(), text)
}

/// `0.5`, `12`, `1,234`, `12.3 k`, `4.0 M`.
pub fn count(value: Option<f64>) -> String {
    known(value, |value| match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 0.05 => "< 0.1".to_owned(),
        value if value < 9.95 => format!("{value:.1}").replace(".0", ""),
        value if value < 9_999.5 => thousands(value.round() as u64),
        value => {
            let steps = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
            let step = steps.into_iter().find(|(size, _)| *size <= value);
            let (size, unit) = step.unwrap_or((1e3, "k"));
            format!("{:.1} {unit}", value / size)
        }
    })
}

/// The same by the second.
pub fn rate(value: Option<f64>) -> String {
    known(value, |value| format!("{}/s", count(Some(value))))
}

/// `3.1 MB`.
pub fn bytes(value: Option<f64>) -> String {
    known(value, |value| bytes_text(value.round() as u64))
}

/// `3.1 MB/s`.
pub fn bytes_rate(value: Option<f64>) -> String {
    known(value, |value| format!("{}/s", bytes_text(value.round() as u64)))
}

/// A duration of at most some minutes: `3.1 ms`.
pub fn seconds(value: Option<f64>) -> String {
    known(value, |value| micros_text((value * 1e6).round() as u64))
}

/// `98.3 %`.
pub fn share(value: Option<f64>) -> String {
    known(value, |value| format!("{:.1} %", value * 100.0))
}

/// A long time: `41 s`, `3 min`, `2 h 7 min`, `12 d 3 h`.
pub fn age(value: Option<f64>) -> String {
    known(value, |value| match value.max(0.0) as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s @ 3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        s => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    })
}

/// The text with a sign for each character that would move the cursor, turn the text or be nowhere.
pub fn harmless(text: &str) -> String {
    let is_unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if is_unseen(c) { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_the_unknown_is_a_dash() {
        let counts = [0.0, 0.01, 0.5, 7.01, 9.96, 12.3, 1234.4, 9999.6, 12_345.0, 4e6, 1e21];
        assert_eq!(
            counts.map(|value| count(Some(value))),
            [
                "0", "< 0.1", "0.5", "7", "10", "12", "1,234", "10.0 k", "12.3 k", "4.0 M",
                "1000.0 E"
            ]
        );
        assert_eq!([None, Some(f64::NAN), Some(f64::INFINITY)].map(count), ["-"; 3]);
        assert_eq!([rate(Some(5.0)), rate(None)], ["5/s", "-"]);
        assert_eq!([bytes(Some(1.5e6)), bytes_rate(Some(1.5e6))], ["1.5 MB", "1.5 MB/s"]);
        assert_eq!([seconds(Some(0.0015)), share(Some(0.983))], ["1.5 ms", "98.3 %"]);
        assert_eq!(
            [5.0, 65.0, 7_620.0, 1_047_600.0].map(|value| age(Some(value))),
            ["5 s", "1 min", "2 h 7 min", "12 d 3 h"]
        );
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}d é 漢"), "a·[2Jb···c·d é 漢");
    }
}
