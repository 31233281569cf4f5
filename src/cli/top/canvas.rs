//! Putting text, bars and titles into the cells of a screen. Nothing is ever put outside of it.

use super::theme::Theme;
use super::words::harmless;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

/// Longer texts are never on a screen.
const CHARS_MAX: usize = 1024;
const HORIZONTAL: [&str; 8] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];
const VERTICAL: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// A screen, and what it is drawn with.
pub struct Canvas<'a> {
    pub buffer: &'a mut Buffer,
    pub theme: Theme,
}

impl Canvas<'_> {
    /// Puts `text` at the left end of `width` columns. Returns how many it has.
    pub fn left(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        if !self.buffer.area.contains((x, y).into()) {
            return 0;
        }
        let text = fitting(text, width);
        self.buffer.set_stringn(x, y, text, usize::from(width), style).0 - x
    }

    /// Puts `text` at the right end of `width` columns. Returns how many are left before it.
    pub fn right(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let text = fitting(text, width);
        let before = width.saturating_sub(columns(&text));
        self.left(x.saturating_add(before), y, width - before, &text, style);
        before
    }

    /// A rule over the whole of `area`'s first row with a title in it, and `notes` near its right end.
    pub fn title(&mut self, area: Rect, title: &str, notes: &[(String, Style)], is_chosen: bool) {
        let Rect { x, y, width, .. } = area;
        let (rule, style) = match is_chosen {
            true => ("━", self.theme.chosen()),
            false => ("─", self.theme.quiet()),
        };
        self.left(x, y, width, &rule.repeat(usize::from(width)), style);
        let title_style = if is_chosen { style } else { self.theme.strong() };
        let used =
            2 + self.left(x + 2, y, width.saturating_sub(2), &format!(" {title} "), title_style);
        let mut end = width.saturating_sub(2);
        for (note, style) in notes.iter().rev() {
            let note = format!(" {} ", harmless(note));
            // A note that does not fit is left out whole.
            let Some(start) = end.checked_sub(columns(&note)).filter(|start| used < *start) else {
                break;
            };
            self.left(x + start, y, columns(&note), &note, *style);
            end = start.saturating_sub(1);
        }
    }

    /// A bar from the left, as long as its share of `width`; whatever is there at all is seen.
    pub fn bar(&mut self, x: u16, y: u16, width: u16, share: f64, style: Style) {
        let eighths = eighths(share, width);
        let (whole, part) = (eighths / 8, eighths % 8);
        let mut text = HORIZONTAL[7].repeat(whole);
        if 0 < part {
            text.push_str(HORIZONTAL[part - 1]);
        }
        self.left(x, y, width, &text, style);
    }

    /// A column from the bottom row of `area`, as high as its share of it. A hatched one is drawn in halves.
    pub fn column(&mut self, area: Rect, share: f64, is_hatched: bool, style: Style) {
        let eighths = eighths(share, area.height);
        for row in 0..area.height {
            let within = eighths.saturating_sub(usize::from(row) * 8).min(8);
            let symbol = match (within, is_hatched) {
                (0, _) => continue,
                (_, true) if within < 4 && 0 < row => continue,
                (1..4, true) => "░",
                (_, true) => "▒",
                (_, false) => VERTICAL[within - 1],
            };
            let y = area.bottom() - 1 - row;
            self.left(area.x, y, area.width, &symbol.repeat(usize::from(area.width)), style);
        }
    }
}

/// How many columns a text has.
pub fn columns(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// As much of `text` as has room, harmless, and an ellipsis where it was cut.
pub fn fitting(text: &str, width: u16) -> String {
    let short: String = text.chars().take(CHARS_MAX).collect();
    let text = harmless(&short);
    if columns(&text) <= width {
        return text;
    }
    let (mut cut, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += columns(c.encode_utf8(&mut [0; 4]));
        if width < used {
            break;
        }
        cut.push(c);
    }
    if 0 < width {
        cut.push('…');
    }
    cut
}

/// Eighths of cells, at least one for whatever is there.
fn eighths(share: f64, cells: u16) -> usize {
    if share.is_nan() || share <= 0.0 {
        return 0;
    }
    let most = usize::from(cells) * 8;
    ((share.min(1.0) * most as f64).round() as usize).clamp(1.min(most), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_at_whole_characters() {
        assert_eq!([5, 4, 1, 0].map(|width| fitting("abcde", width)), ["abcde", "abc…", "…", ""]);
        assert_eq!([6, 5, 4].map(|width| fitting("漢字漢", width)), ["漢字漢", "漢字…", "漢…"]);
        assert!(fitting(&"x".repeat(1 << 20), 9).ends_with('…'));
    }

    #[test]
    fn bars_are_as_long_as_their_share_and_never_longer() {
        let lengths = [0.0, -1.0, f64::NAN, 1e-9, 0.5, 1.0, 7.0, f64::INFINITY]
            .map(|share| eighths(share, 4));
        assert_eq!(lengths, [0, 0, 0, 1, 16, 32, 32, 32]);
        assert_eq!(eighths(1.0, 0), 0);
    }

    #[test]
    fn nothing_is_put_outside() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 2));
        let mut canvas = Canvas { buffer: &mut buffer, theme: Theme { colours: false } };
        for (x, y) in [(0, 2), (4, 0), (3, 1), (9, 9), (u16::MAX, u16::MAX)] {
            canvas.left(x, y, 9, "abc", Style::new());
            canvas.right(x, y, 2, "漢漢", Style::new());
            canvas.bar(x, y, 9, 1.0, Style::new());
        }
        canvas.title(Rect::new(0, 0, 4, 1), "Title", &[("note".into(), Style::new())], true);
        canvas.column(Rect::new(2, 0, 1, 2), 0.7, true, Style::new());
    }
}
