//! What the keys change, and which key does what.

use super::layout::Panel;
use super::sample::{Plugin, quantile};
use super::source::Source;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The least seconds between two readings.
pub const INTERVAL_MIN_S: f64 = 0.1;
/// The most; a screen that moves more rarely is none.
pub const INTERVAL_MAX_S: f64 = 3600.0;
/// What `+` and `-` choose from, in seconds.
const INTERVALS_S: [f64; 9] = [INTERVAL_MIN_S, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// How the screen is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What is watched.
    pub name: String,
    /// How it is watched, where that matters.
    pub note: Option<&'static str>,
    pub interval_s: f64,
    pub is_paused: bool,
    pub shows_help: bool,
    pub sort: Sort,
    pub chosen: Option<Panel>,
    /// The chosen panel has the whole screen.
    pub is_alone: bool,
    /// The first line of each panel that scrolls.
    pub scrolled: [usize; Panel::ALL.len()],
}

/// What the plugins are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Calls,
    Failures,
    Fuel,
    Time,
    Memory,
    Name,
}

impl Sort {
    const ALL: [Sort; 6] =
        [Sort::Calls, Sort::Failures, Sort::Fuel, Sort::Time, Sort::Memory, Sort::Name];

    pub fn word(self) -> &'static str {
        ["calls", "failures", "fuel", "time", "memory", "name"][self as usize]
    }

    /// The plugins, those with most first.
    pub fn sorted(self, plugins: &[Plugin]) -> Vec<&Plugin> {
        let by = |plugin: &Plugin| match self {
            Sort::Calls => plugin.calls,
            Sort::Failures => plugin.failures_total,
            Sort::Fuel => plugin.fuel,
            Sort::Time => quantile(&plugin.latency, 0.99),
            Sort::Memory => plugin.memory_bytes,
            Sort::Name => None,
        };
        let mut sorted: Vec<_> = plugins.iter().collect();
        sorted.sort_by(|a, b| {
            let most = |plugin| by(plugin).filter(|n| n.is_finite()).unwrap_or(f64::NEG_INFINITY);
            most(b).total_cmp(&most(a)).then_with(|| a.name.cmp(&b.name))
        });
        sorted
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Quit,
    Pause,
    Help,
    Sort,
    /// Choose the panel so many further on, or before.
    Choose(isize),
    /// The chosen panel alone, or all of them again.
    Alone,
    /// So many lines down, or up.
    Scroll(isize),
    /// A longer or shorter interval.
    Interval(isize),
}

/// How far a page is scrolled.
const PAGE_LINES: isize = 10;
/// Further than any list is long.
const END: isize = 1 << 40;

impl State {
    pub fn new(name: String, interval_s: f64) -> State {
        State {
            name,
            note: None,
            interval_s,
            is_paused: false,
            shows_help: false,
            sort: Sort::Calls,
            chosen: None,
            is_alone: false,
            scrolled: [0; Panel::ALL.len()],
        }
    }

    /// The state in which `source` begins to be watched.
    pub fn of(source: &impl Source, interval_s: f64) -> State {
        State { note: source.note(), ..State::new(source.name(), interval_s) }
    }

    /// What `key` asks for now.
    pub fn action(&self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'C')).then_some(Action::Quit);
        }
        Some(match key.code {
            KeyCode::Char('q' | 'Q') => Action::Quit,
            KeyCode::Esc if self.shows_help => Action::Help,
            KeyCode::Esc if self.is_alone => Action::Alone,
            KeyCode::Esc => Action::Quit,
            KeyCode::Char('?' | 'h') => Action::Help,
            // Nothing else is seen to happen behind the help.
            _ if self.shows_help => return None,
            KeyCode::Char('p' | ' ') => Action::Pause,
            KeyCode::Char('s') => Action::Sort,
            KeyCode::Tab | KeyCode::Right => Action::Choose(1),
            KeyCode::BackTab | KeyCode::Left => Action::Choose(-1),
            KeyCode::Enter => Action::Alone,
            KeyCode::Down | KeyCode::Char('j') => Action::Scroll(1),
            KeyCode::Up | KeyCode::Char('k') => Action::Scroll(-1),
            KeyCode::PageDown => Action::Scroll(PAGE_LINES),
            KeyCode::PageUp => Action::Scroll(-PAGE_LINES),
            KeyCode::Home => Action::Scroll(-END),
            KeyCode::End => Action::Scroll(END),
            KeyCode::Char('+' | '=') => Action::Interval(1),
            KeyCode::Char('-') => Action::Interval(-1),
            _ => return None,
        })
    }

    /// Does what was asked for; [`Action::Quit`] is for whoever has the screen. `scroll_max` is how far a panel can
    /// be scrolled now, and `is_there` whether it has anything to show.
    pub fn apply(
        &mut self,
        action: Action,
        scroll_max: impl Fn(Panel) -> usize,
        is_there: impl Fn(Panel) -> bool,
    ) {
        match action {
            Action::Quit => {}
            Action::Pause => self.is_paused = !self.is_paused,
            Action::Help => self.shows_help = !self.shows_help,
            Action::Sort => {
                let next = (self.sort as usize + 1) % Sort::ALL.len();
                self.sort = Sort::ALL[next];
            }
            Action::Choose(by) => self.choose(by, is_there),
            Action::Alone => {
                self.chosen = self.chosen.or(Some(Panel::Plugins));
                self.is_alone = !self.is_alone;
            }
            Action::Scroll(by) => {
                let panel = self.scrolling();
                let line = &mut self.scrolled[panel as usize];
                let most = scroll_max(panel);
                *line = (*line).min(most).saturating_add_signed(by).min(most);
            }
            Action::Interval(by) => self.interval_s = interval(self.interval_s, by),
        }
    }

    /// The panel that is scrolled.
    pub fn scrolling(&self) -> Panel {
        self.chosen.unwrap_or(Panel::Plugins)
    }

    /// Around the panels, and once in a round none is chosen.
    fn choose(&mut self, by: isize, is_there: impl Fn(Panel) -> bool) {
        let there = Panel::ALL.into_iter().filter(|panel| is_there(*panel)).map(Some);
        let mut choices: Vec<_> = there.collect();
        if !self.is_alone || choices.is_empty() {
            choices.insert(0, None);
        }
        let at = choices.iter().position(|choice| *choice == self.chosen).unwrap_or_default();
        let next = (at as isize + by).rem_euclid(choices.len() as isize);
        self.chosen = choices[next as usize];
    }
}

fn interval(now_s: f64, by: isize) -> f64 {
    let mut steps = INTERVALS_S.into_iter();
    let next = if 0 < by {
        steps.find(|step| now_s < *step)
    } else {
        steps.rev().find(|step| *step < now_s)
    };
    next.unwrap_or(now_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(state: &State, code: KeyCode) -> Option<Action> {
        state.action(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn state() -> State {
        State::new("db".into(), 1.0)
    }

    fn after(mut state: State, keys: &[KeyCode]) -> State {
        for key in keys {
            let action = pressed(&state, *key).expect("it is a key of ours");
            state.apply(action, |_| 7, |panel| panel != Panel::Tenants);
        }
        state
    }

    #[test]
    fn three_keys_quit_and_help_and_a_single_panel_are_left_first() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(state().action(control_c), Some(Action::Quit));
        assert_eq!(pressed(&state(), KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(pressed(&state(), KeyCode::Esc), Some(Action::Quit));
        let help = after(state(), &[KeyCode::Char('?')]);
        assert!(help.shows_help);
        assert_eq!(pressed(&help, KeyCode::Esc), Some(Action::Help));
        assert_eq!(pressed(&help, KeyCode::Char('s')), None);
        assert_eq!(pressed(&help, KeyCode::Char('q')), Some(Action::Quit));
        let alone = after(state(), &[KeyCode::Enter]);
        assert_eq!((alone.is_alone, alone.chosen), (true, Some(Panel::Plugins)));
        assert_eq!(pressed(&alone, KeyCode::Esc), Some(Action::Alone));
    }

    #[test]
    fn keys_that_mean_nothing_do_nothing() {
        for code in [KeyCode::Char('x'), KeyCode::F(1), KeyCode::Null, KeyCode::Delete] {
            assert_eq!(pressed(&state(), code), None);
        }
        let control_p = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::CONTROL);
        assert_eq!(state().action(control_p), None);
        let released =
            KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::from(KeyCode::Char('q')) };
        assert_eq!(state().action(released), None);
    }

    #[test]
    fn tab_goes_round_the_panels_that_are_there() {
        let chosen = |tabs: usize| after(state(), &vec![KeyCode::Tab; tabs]).chosen;
        assert_eq!(
            [0, 1, 5, 6].map(chosen),
            [None, Some(Panel::Commits), Some(Panel::Tables), None]
        );
        assert_eq!(after(state(), &[KeyCode::BackTab]).chosen, Some(Panel::Tables));
        let alone = after(state(), &[KeyCode::Enter, KeyCode::Tab, KeyCode::Tab]);
        assert_eq!(alone.chosen, Some(Panel::Commits), "one of them has the screen");
    }

    #[test]
    fn scrolling_ends_at_both_ends() {
        let line = |keys: &[KeyCode]| after(state(), keys).scrolled[Panel::Plugins as usize];
        assert_eq!(line(&[KeyCode::Down, KeyCode::Down, KeyCode::Up]), 1);
        assert_eq!(line(&[KeyCode::PageDown]), 7);
        assert_eq!(line(&[KeyCode::End, KeyCode::Up]), 6);
        assert_eq!(line(&[KeyCode::End, KeyCode::Home, KeyCode::Up]), 0);
    }

    #[test]
    fn intervals_go_by_steps_and_stay_within_bounds() {
        assert_eq!(after(state(), &[KeyCode::Char('+')]).interval_s, 2.0);
        assert_eq!(after(state(), &[KeyCode::Char('-'); 9]).interval_s, INTERVAL_MIN_S);
        assert_eq!(after(state(), &[KeyCode::Char('+'); 9]).interval_s, 60.0);
        assert_eq!([interval(0.7, 1), interval(0.7, -1), interval(100.0, 1)], [1.0, 0.5, 100.0]);
    }

    #[test]
    fn plugins_are_sorted_by_what_is_asked_for_and_the_unknown_last() {
        let plugin = |name: &str, calls, memory_bytes| Plugin {
            name: name.into(),
            calls,
            memory_bytes,
            ..Plugin::default()
        };
        let plugins = [
            plugin("b", Some(1.0), None),
            plugin("a", Some(1.0), Some(1.0)),
            plugin("c", Some(9.0), Some(f64::NAN)),
        ];
        let names =
            |sort: Sort| -> String { sort.sorted(&plugins).iter().map(|p| &*p.name).collect() };
        assert_eq!(names(Sort::Calls), "cab");
        assert_eq!(names(Sort::Name), "abc");
        let all: Vec<_> =
            (0..7).map(|s| after(state(), &vec![KeyCode::Char('s'); s]).sort.word()).collect();
        assert_eq!(all, ["calls", "failures", "fuel", "time", "memory", "name", "calls"]);
    }
}
