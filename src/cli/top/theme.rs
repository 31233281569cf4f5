//! Colours that can be read on dark and on light terminals, and how to do without.
//!
//! Numbers and names have the terminal's own colour. The others are of the 256 that terminals know, in the middle
//! between black and white: a test holds that each has a contrast of 3 or more with both. Nothing is said by colour
//! alone, so without colours only the looks are lost.

use ratatui::style::{Color, Modifier, Style};

/// What something is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours at all.
    pub colours: bool,
}

const TEAL: u8 = 30;
const GREEN: u8 = 28;
const ORANGE: u8 = 166;
const RED: u8 = 160;
const GREY: u8 = 243;

impl Theme {
    fn paint(self, colour: u8) -> Style {
        if self.colours { Style::new().fg(Color::Indexed(colour)) } else { Style::new() }
    }

    /// What a number is, rules, keys.
    pub fn quiet(self) -> Style {
        self.paint(GREY)
    }

    /// Numbers.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Bars of now.
    pub fn bar(self) -> Style {
        self.paint(TEAL)
    }

    /// Bars of the last minute.
    pub fn shadow(self) -> Style {
        if self.colours { self.quiet() } else { Style::new().add_modifier(Modifier::DIM) }
    }

    /// What is chosen.
    pub fn chosen(self) -> Style {
        self.paint(TEAL).add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.paint(GREEN)
    }

    pub fn warning(self) -> Style {
        self.paint(ORANGE)
    }

    pub fn bad(self) -> Style {
        self.paint(RED).add_modifier(Modifier::BOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: WCAG 2.1, "relative luminance" and "contrast ratio"; the cube and the greys of xterm's 256 colours.
    fn luminance(colour: u8) -> f64 {
        let step = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        let rgb = match colour {
            16..232 => [36, 6, 1].map(|by| step((colour - 16) / by % 6)),
            grey => [8 + 10 * (grey - 232); 3],
        };
        let linear = rgb.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn colours_are_readable_on_black_and_on_white() {
        for colour in [TEAL, GREEN, ORANGE, RED, GREY] {
            let light = luminance(colour) + 0.05;
            assert!(3.0 <= light / 0.05 && 3.0 <= 1.05 / light, "{colour}: {light}");
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let theme = Theme { colours: false };
        let all = [
            theme.quiet(),
            theme.strong(),
            theme.bar(),
            theme.shadow(),
            theme.chosen(),
            theme.good(),
            theme.warning(),
            theme.bad(),
        ];
        assert!(all.iter().all(|style| style.fg.is_none() && style.bg.is_none()));
    }
}
