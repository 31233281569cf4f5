//! The live screen: keys in, screens out, until somebody has seen enough.
//!
//! A thread of its own asks the source, so that keys work while a page is on its way. The terminal is put back as
//! it was however this ends: at the end, at an error and at a panic.

use super::history::History;
use super::layout::Panel;
use super::sample::{Reading, Sample, sample};
use super::source::Source;
use super::state::{Action, State};
use super::theme::Theme;
use super::view::View;
use super::{Clock, reading};
use crate::cli::failure::{Exit, Failure, Outcome};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::layout::{Rect, Size};
use std::io;
use std::panic;
use std::sync::mpsc::{Receiver, TryRecvError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How soon an answer of the source is seen.
const SOON: Duration = Duration::from_millis(40);
/// How soon anything else is, a paused screen included.
const LATE: Duration = Duration::from_millis(500);

/// The terminal, ours until this is dropped.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Screen> {
        // What others panic about in their threads is theirs: the screen is still ours then.
        let (ours, before) = (thread::current().id(), panic::take_hook());
        let screen = ratatui::try_init().map(Screen);
        drop(panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == ours {
                let _ = ratatui::try_restore();
            }
            before(info);
        }));
        if screen.is_err() {
            let _ = ratatui::try_restore();
        }
        screen
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

/// Shows `source` until a key ends it.
pub fn watch(mut source: impl Source, interval_s: f64, theme: Theme) -> Outcome {
    let mut live = Live {
        state: State::of(&source, interval_s),
        history: History::default(),
        earlier: None,
        theme,
    };
    let mut screen = Screen::take().map_err(|error| {
        Failure::io("this terminal", &error).help("--once prints one screen as text")
    })?;
    thread::scope(|scope| {
        let (ask, asked) = sync_channel::<()>(1);
        let (answer, answers) = channel();
        let reader = scope.spawn(move || {
            let clock = Clock::default();
            while asked.recv().is_ok() {
                let answered = (reading(&mut source, &clock), clock.unix_s());
                if answer.send(answered).is_err() {
                    return;
                }
            }
        });
        // Where it ends, whoever asks is gone, and the thread ends too.
        let done = live.run(&mut screen.0, &move || ask.try_send(()).is_ok(), &answers);
        drop(screen);
        // Its panic, if it had one, is the failure in `done`.
        let _ = reader.join();
        done
    })
}

/// What is known and how it is looked at.
struct Live {
    state: State,
    history: History,
    earlier: Option<Reading>,
    theme: Theme,
}

type Answer = (Outcome<Reading>, f64);

impl Live {
    fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        ask: &dyn Fn() -> bool,
        answers: &Receiver<Answer>,
    ) -> Outcome {
        let mut is_asked = ask();
        let mut asked = Instant::now();
        loop {
            terminal.draw(|frame| self.view().draw(frame.area(), frame.buffer_mut()))?;
            let interval = Duration::from_secs_f64(self.state.interval_s);
            let due = interval.saturating_sub(asked.elapsed());
            let wait = match (is_asked, self.state.is_paused) {
                (true, _) => SOON,
                (false, true) => LATE,
                (false, false) => due.min(LATE),
            };
            // Every key that waits, and then one screen for all of them.
            let mut wait = Some(wait);
            while event::poll(wait.take().unwrap_or_default())? {
                if let Event::Key(key) = event::read()?
                    && self.press(key, terminal.size()?)
                {
                    return Ok(());
                }
            }
            match answers.try_recv() {
                Ok(answer) => {
                    is_asked = false;
                    self.take(answer);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::new(Exit::Failed, "the reading of metrics ended"));
                }
            }
            let is_due = interval <= asked.elapsed();
            if !is_asked && is_due && !self.state.is_paused {
                asked = Instant::now();
                is_asked = ask();
            }
        }
    }

    fn view(&self) -> View<'_> {
        let Live { state, history, theme, .. } = self;
        View { state, history, theme: *theme, is_still: false }
    }

    /// Does what a key says; whether that is to end.
    fn press(&mut self, key: KeyEvent, size: Size) -> bool {
        let Some(action) = self.state.action(key) else { return false };
        let area = Rect::from((ratatui::layout::Position::ORIGIN, size));
        let most = Panel::ALL.map(|panel| self.view().scroll_max(area, panel));
        let there = Panel::ALL.map(|panel| self.view().is_there(panel));
        self.state.apply(action, |panel| most[panel as usize], |panel| there[panel as usize]);
        action == Action::Quit
    }

    fn take(&mut self, (reading, unix_s): Answer) {
        match reading {
            Ok(now) => {
                let sample: Sample = sample(self.earlier.as_ref(), &now);
                self.history.push(sample);
                self.earlier = Some(now);
            }
            Err(failure) => self.history.lose(failure.message, unix_s),
        }
    }
}
