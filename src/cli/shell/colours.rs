//! What a word of a line is, for the eye: commands, options, quoted text, numbers, JSON.

use super::complete::{commands, follow, option_of};
use super::dot::DOTS;
use super::words::{Kind, Open, Word, split};
use clap::Command;
use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

/// Colours lines as they are typed.
pub struct Colours {
    commands: Command,
}

impl Colours {
    /// With the commands of a line.
    pub fn new() -> Colours {
        Colours { commands: commands() }
    }

    fn style(&self, words: &[Word], index: usize) -> Style {
        let (text, before) = (words[index].text.as_str(), &words[..index]);
        let dot = words.first().filter(|word| word.text.starts_with('.'));
        if dot.is_some() {
            let is_known = DOTS.iter().any(|(name, ..)| *name == text);
            return if 0 < index { Style::new() } else { command(is_known) };
        }
        let is_ours = index == 0 && text == "sochdb";
        let start = usize::from(words.first().is_some_and(|word| word.text == "sochdb"));
        if is_ours {
            return command(true);
        }
        let place = follow(&self.commands, &before[start..]);
        let takes_commands = place.command.has_subcommands() && place.values.is_empty();
        match words[index].kind {
            _ if place.option.is_some() => value(&words[index]),
            Kind::Plain if text.starts_with('-') && text.parse::<f64>().is_err() => {
                let is_known = option_of(place.command, text).is_some();
                if is_known { Color::Blue.normal() } else { Color::Red.normal() }
            }
            Kind::Plain if takes_commands => command(place.command.find_subcommand(text).is_some()),
            _ => value(&words[index]),
        }
    }
}

fn command(is_known: bool) -> Style {
    if is_known { Color::Cyan.bold() } else { Color::Red.normal() }
}

fn value(word: &Word) -> Style {
    match word.kind {
        Kind::Quoted => Color::Green.normal(),
        _ if word.text.parse::<f64>().is_ok() => Color::Magenta.normal(),
        _ => Style::new(),
    }
}

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        if line.trim_start().starts_with('#') {
            styled.push((Color::DarkGray.normal(), line.to_owned()));
            return styled;
        }
        let (words, open) = split(line);
        let mut at = 0;
        for (index, word) in words.iter().enumerate() {
            let (before, text) = (&line[at..word.span.start], &line[word.span.clone()]);
            styled.push((Style::new(), before.to_owned()));
            match word.kind {
                Kind::Json => json(text, &mut styled),
                _ => styled.push((self.style(&words, index), text.to_owned())),
            }
            at = word.span.end;
        }
        let rest =
            if open == Some(Open::Backslash) { Color::DarkGray.normal() } else { Style::new() };
        styled.push((rest, line[at..].to_owned()));
        styled.buffer.retain(|(_, text)| !text.is_empty());
        styled
    }
}

/// JSON, as far as it is typed: keys, strings, numbers and the words of the language.
fn json(text: &str, styled: &mut StyledText) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_end(rest),
            c if c.is_alphanumeric() || c == '-' => rest
                .find(|c: char| !c.is_alphanumeric() && !"+-._".contains(c))
                .unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let style = match first {
            '"' if after.trim_start().starts_with(':') => Color::Blue.normal(),
            '"' => Color::Green.normal(),
            _ if token.parse::<f64>().is_ok() => Color::Magenta.normal(),
            _ if matches!(token, "true" | "false" | "null") => Color::Yellow.normal(),
            _ => Style::new(),
        };
        styled.push((style, token.to_owned()));
        rest = after;
    }
}

/// Where the string that `text` begins with ends.
fn string_end(text: &str) -> usize {
    let mut after_backslash = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !after_backslash => return at + 1,
            '\\' => after_backslash = !after_backslash,
            _ => after_backslash = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coloured(line: &str) -> Vec<(Option<Color>, String)> {
        let styled = Colours::new().highlight(line, 0);
        let whole: String = styled.buffer.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(whole, line, "nothing is lost");
        let words = styled.buffer.into_iter().filter(|(_, text)| !text.trim().is_empty());
        words.map(|(style, text)| (style.foreground, text)).collect()
    }

    fn of(line: &str) -> Vec<(Option<Color>, &'static str)> {
        let leak = |text: String| -> &'static str { text.leak() };
        coloured(line).into_iter().map(|(colour, text)| (colour, leak(text))).collect()
    }

    #[test]
    fn a_word_has_the_colour_of_what_it_is() {
        use Color::{Blue, Cyan, Green, Magenta, Red};
        let expected =
            [(Some(Cyan), "scan"), (None, "words"), (Some(Blue), "--limit"), (Some(Magenta), "3")];
        assert_eq!(of("scan words --limit 3"), expected);
        assert_eq!(of("table list"), [(Some(Cyan), "table"), (Some(Cyan), "list")]);
        assert_eq!(of("scn words"), [(Some(Red), "scn"), (None, "words")]);
        let expected =
            [(Some(Cyan), "get"), (None, "words"), (Some(Magenta), "-7"), (Some(Red), "--nothing")];
        assert_eq!(of("get words -7 --nothing"), expected);
        assert_eq!(
            of("put t k 'a b"),
            [(Some(Cyan), "put"), (None, "t"), (None, "k"), (Some(Green), "'a b")]
        );
        assert_eq!(of(".mode csv"), [(Some(Cyan), ".mode"), (None, "csv")]);
        assert_eq!(of(".mod"), [(Some(Red), ".mod")]);
        assert_eq!(of("# a remark")[0].0, Some(Color::DarkGray));
    }

    #[test]
    fn json_is_coloured_while_it_is_typed() {
        let words = coloured(r#"put t {"a": [1, true], "b": "x"#);
        let of = |text: &str| words.iter().find(|(_, word)| word == text).unwrap().0;
        assert_eq!(of("\"a\""), Some(Color::Blue));
        assert_eq!((of("1"), of("true")), (Some(Color::Magenta), Some(Color::Yellow)));
        assert_eq!((of("\"b\""), of("\"x")), (Some(Color::Blue), Some(Color::Green)));
    }
}
