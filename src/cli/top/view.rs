//! The screen, from what is known and how it is looked at. Nothing here waits, asks or remembers.
//!
//! | row            | what is there                                                                   |
//! |----------------|---------------------------------------------------------------------------------|
//! | the first      | what is watched, how it is, since when, which version                           |
//! | the second     | only when there is something to tell: no numbers, a restart, drops, disk errors |
//! | between        | panels, as `layout` places them; or the keys, while they are asked for          |
//! | the last       | the most useful keys                                                            |

use super::canvas::{Canvas, columns, fitting};
use super::history::History;
use super::layout::{Panel, Rows, arrange};
use super::panels;
use super::sample::{Health, Sample};
use super::state::State;
use super::theme::Theme;
use super::words::{age, count};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// For how long a restart is told.
const RESTART_TOLD_S: f64 = 60.0;
/// Rows of a screen that is only printed.
const ROWS_MAX: u16 = 1000;

const KEYS: [(&str, &str); 10] = [
    ("q Esc Ctrl-C", "end"),
    ("p space", "pause, and go on"),
    ("Tab → ←", "choose a panel; a chosen one is there also when there is little room"),
    ("Enter", "the chosen panel alone, or all of them again"),
    ("↑ ↓ j k", "scroll the chosen panel, or else the plugins"),
    ("PgUp PgDn", "the same by ten lines; Home and End go all the way"),
    ("s", "sort the plugins by calls, failures, fuel, time, memory or name"),
    ("+ -", "a longer or a shorter time between two readings"),
    ("? h", "these keys, or what was there before"),
    ("✗", "before a plugin: it is quarantined"),
];

/// The parts of a screen.
struct Parts {
    head: Rect,
    news: Rect,
    body: Rect,
    foot: Rect,
}

/// What a screen is drawn from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub state: &'a State,
    pub history: &'a History,
    pub theme: Theme,
    /// It is printed once, so no keys are shown and nothing that needs time.
    pub is_still: bool,
}

impl View<'_> {
    /// Draws it.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let parts = self.parts(area);
        let mut canvas = Canvas { buffer, theme: self.theme };
        self.head(&mut canvas, parts.head);
        self.news(&mut canvas, parts.news);
        self.foot(&mut canvas, parts.foot);
        if self.state.shows_help {
            return help(&mut canvas, parts.body);
        }
        let Some(sample) = &self.history.latest else {
            let text = "waiting for the first numbers";
            canvas.left(parts.body.x, parts.body.y, parts.body.width, text, self.theme.quiet());
            return;
        };
        for (panel, area) in self.placed(parts.body) {
            panels::draw(self, sample, &mut canvas, panel, area);
        }
    }

    /// A screen as text, so high that everything has room, without colours.
    pub fn text(&self, width: u16) -> String {
        let rows = |panel| self.rows(panel, width).map_or(0, |rows| rows.most);
        let rows = Panel::ALL.into_iter().map(rows).fold(2_u16, u16::saturating_add);
        let area = Rect::new(0, 0, width.max(1), rows.min(ROWS_MAX));
        let mut buffer = Buffer::empty(area);
        self.draw(area, &mut buffer);
        let line = |y| -> String {
            let mut wide = 0;
            let symbol = |x| {
                // The cells behind a wide character are not seen.
                let is_behind = 0 < wide;
                let symbol = buffer[(x, y)].symbol();
                wide = if is_behind { wide - 1 } else { columns(symbol).saturating_sub(1) };
                if is_behind { "" } else { symbol }
            };
            (0..area.width).map(symbol).collect()
        };
        let lines: Vec<_> = (0..area.height).map(line).collect();
        let lines = lines.iter().map(|line| line.trim_end());
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// How far `panel` can be scrolled on a screen of this size.
    pub fn scroll_max(&self, area: Rect, panel: Panel) -> usize {
        let placed = self.placed(self.parts(area).body);
        let height =
            placed.iter().find(|(known, _)| *known == panel).map_or(0, |(_, area)| area.height);
        self.lines(panel).saturating_sub(panels::lines_shown(height))
    }

    /// Whether `panel` has anything to show.
    pub fn is_there(&self, panel: Panel) -> bool {
        self.rows(panel, 80).is_some()
    }

    fn parts(&self, area: Rect) -> Parts {
        let (mut top, mut left) = (area.y, area.height);
        let mut take = |wanted: bool| {
            let height = u16::from(wanted).min(left);
            let part = Rect { y: top, height, ..area };
            (top, left) = (top + height, left - height);
            part
        };
        let head = take(true);
        let news = take(2 < area.height && !self.is_quiet());
        let foot = u16::from(!self.is_still && 4 < area.height);
        let body = Rect { y: top, height: left - foot, ..area };
        Parts { head, news, body, foot: Rect { y: body.bottom(), height: foot, ..area } }
    }

    fn placed(&self, body: Rect) -> Vec<(Panel, Rect)> {
        match self.state.chosen.filter(|panel| self.state.is_alone && self.is_there(*panel)) {
            Some(panel) if !body.is_empty() => vec![(panel, body)],
            _ => arrange(body, self.state.chosen, |panel, width| self.rows(panel, width)),
        }
    }

    fn rows(&self, panel: Panel, width: u16) -> Option<Rows> {
        panels::rows(self, self.history.latest.as_ref()?, panel, width)
    }

    /// How many lines a panel has that scrolls.
    fn lines(&self, panel: Panel) -> usize {
        self.history.latest.as_ref().map_or(0, |sample| panels::lines(sample, panel))
    }

    fn head(&self, canvas: &mut Canvas<'_>, area: Rect) {
        if area.is_empty() {
            return;
        }
        let (state, theme) = (self.state, self.theme);
        let name = fitting(&state.name, (area.width / 3).max(12));
        let mut pieces = vec![("sochdb top".to_owned(), theme.strong()), (name, Style::new())];
        if let Some(sample) = &self.history.latest {
            pieces.extend(health(sample, theme));
            pieces.extend(state.note.map(|note| (note.to_owned(), theme.quiet())));
            pieces.push((format!("up {}", age(sample.uptime_s)), Style::new()));
            let version =
                sample.version.as_ref().map(|version| format!("v{}", fitting(version, 20)));
            pieces.extend(version.map(|version| (version, theme.quiet())));
        }
        let mut end = area.width;
        if !self.is_still {
            let (text, style) = match state.is_paused {
                true => ("paused".to_owned(), theme.warning()),
                false => (format!("every {} s", state.interval_s), theme.quiet()),
            };
            // What is watched, and how it is, comes first.
            if columns(&text) + 40 < area.width {
                let (x, y) = (area.x, area.y);
                end = canvas.right(x, y, area.width, &text, style).saturating_sub(1);
            }
        }
        row(canvas, Rect { width: end, ..area }, 2, &pieces);
    }

    fn is_quiet(&self) -> bool {
        self.tidings().is_empty()
    }

    fn news(&self, canvas: &mut Canvas<'_>, area: Rect) {
        row(canvas, area, 2, &self.tidings());
    }

    /// What is out of the ordinary, the most important first.
    fn tidings(&self) -> Vec<(String, Style)> {
        let (history, theme) = (self.history, self.theme);
        let mut all = Vec::new();
        if let Some(lost) = &history.lost {
            let text = match age(Some(lost.to_unix_s - lost.from_unix_s)).as_str() {
                "0 s" => format!("no numbers: {}", lost.why),
                age => format!("no numbers for {age}: {}", lost.why),
            };
            all.push((text, theme.bad()));
        }
        let Some(sample) = &history.latest else { return all };
        let ago = history.restarted_unix_s.map(|unix_s| sample.unix_s - unix_s);
        if let Some(ago) = ago.filter(|ago| *ago < RESTART_TOLD_S) {
            all.push((format!("started anew {} ago", age(Some(ago))), theme.warning()));
        }
        if let Some(errors) = sample.disk.errors.filter(|errors| 0.0 < *errors) {
            all.push((format!("disk errors: {}", count(Some(errors))), theme.bad()));
        }
        let dropped = sample.dropped.iter();
        let dropped = dropped.map(|(what, lost)| format!("dropped {what}: {}", count(Some(*lost))));
        all.extend(dropped.map(|text| (text, theme.warning())));
        all
    }

    fn foot(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let (quiet, plain) = (self.theme.quiet(), Style::new());
        let keys = match (self.state.shows_help, self.state.is_alone) {
            (true, _) => vec![("Esc", "back"), ("q", "end")],
            (false, true) => {
                vec![
                    ("Esc", "all panels"),
                    ("Tab", "next"),
                    ("↑↓", "scroll"),
                    ("q", "end"),
                    ("?", "keys"),
                ]
            }
            (false, false) => vec![
                ("q", "end"),
                ("?", "keys"),
                ("p", "pause"),
                ("Tab", "panel"),
                ("↑↓", "scroll"),
                ("s", "sort"),
                ("Enter", "alone"),
                ("+-", "interval"),
            ],
        };
        let (mut x, end) = (area.x, area.right());
        for (key, word) in keys {
            let width = columns(key) + 1 + columns(word);
            if area.is_empty() || end < x + width {
                return;
            }
            x += canvas.left(x, area.y, end - x, key, plain) + 1;
            x += canvas.left(x, area.y, end - x, word, quiet) + 2;
        }
    }
}

/// The worst there is, in a word, and what is not well.
fn health(sample: &Sample, theme: Theme) -> Option<(String, Style)> {
    let worst = sample.health.first()?;
    let (sign, style) = match worst.health {
        Health::Healthy => ("●", theme.good()),
        Health::Starting => ("◐", theme.warning()),
        Health::Degraded => ("▲", theme.warning()),
        Health::Failed => ("✗", theme.bad()),
    };
    let word = worst.health.word();
    if worst.health == Health::Healthy {
        return Some((format!("{sign} {word}"), style));
    }
    let others = sample.health.iter().skip(1).filter(|part| part.health != Health::Healthy).count();
    let part = fitting(format!("{} {}", worst.component, worst.name).trim(), 24);
    let more = if others == 0 { String::new() } else { format!(" and {others} more") };
    Some((format!("{sign} {word}: {part}{more}"), style))
}

/// Fewer columns tell nothing of a text that was cut.
const CUT_COLUMNS: u16 = 12;

/// Pieces side by side; one that has not enough room is cut or left out, and so are those after it.
fn row(canvas: &mut Canvas<'_>, area: Rect, gap: u16, pieces: &[(String, Style)]) {
    let (mut x, end) = (area.x, area.right());
    for (text, style) in pieces {
        let room = end.saturating_sub(x);
        let is_cut = room < columns(&fitting(text, u16::MAX));
        if area.is_empty() || room == 0 || (is_cut && room < CUT_COLUMNS && area.x < x) {
            return;
        }
        x = x.saturating_add(canvas.left(x, area.y, room, text, *style) + gap);
    }
}

fn help(canvas: &mut Canvas<'_>, area: Rect) {
    if area.is_empty() {
        return;
    }
    canvas.title(area, "Keys", &[], false);
    let (strong, plain) = (canvas.theme.strong(), Style::new());
    for ((keys, meaning), y) in KEYS.iter().zip(area.y + 1..area.bottom()) {
        canvas.left(area.x, y, area.width.min(14), keys, strong);
        canvas.left(area.x + 14, y, area.width.saturating_sub(14), meaning, plain);
    }
}
