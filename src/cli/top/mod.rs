//! `top`: how a database is doing, once a second.
//!
//! ```text
//!   source   all metrics, from a page or a database    sample   what two readings say: rates, spreads
//!   history  the samples of the last minutes           state    what the keys change
//!   view     a screen of all that                      layout   which panels have room, and where
//!   panels   what is in each                           canvas   text and bars into cells
//!   words    numbers and names, short and harmless     theme    colours
//!   live     the terminal: keys in, screens out        json     a sample for a program
//! ```
//!
//! Everything but `source` and `live` is a function of what it is given, so that tests need no terminal, no clock
//! and no database.

mod canvas;
mod history;
mod json;
mod layout;
mod live;
mod panels;
pub mod sample;
pub mod source;
mod state;
mod theme;
mod view;
pub mod words;

#[cfg(test)]
mod tests;

use super::args::Top;
use super::failure::{Exit, Outcome};
use super::{Access, Session};
use history::History;
use sample::{Reading, sample};
use source::{Local, Remote, Source};
use state::{INTERVAL_MAX_S, INTERVAL_MIN_S, State};
use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use theme::Theme;
use view::View;

/// Columns of a printed screen where there is no terminal.
const COLUMNS: u16 = 100;

/// Shows the running program or the database that the command line names.
pub fn top(session: &mut Session, args: &Top) -> Outcome {
    if let Some(address) = &args.connect {
        return show(session, args, Remote::new(address)?);
    }
    // Beside its owner it would be seen as it was when this began.
    let builder = session.common.builder(Access::Read)?.beside_owner(false);
    let db = session.common.open_with(builder).map_err(|failure| match failure.exit {
        Exit::Busy => failure.help("--connect watches a program that serves its metrics"),
        _ => failure,
    })?;
    let name = session.common.directory.display().to_string();
    show(session, args, Local::new(name, move || db.metrics()))
}

/// A program reads objects, somebody at a terminal sees a live screen, and everybody else gets one of text.
fn show(session: &mut Session, args: &Top, source: impl Source) -> Outcome {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if session.screen.json {
        let count = if args.once { Some(1) } else { args.count };
        objects(session, source, args.interval, count)
    } else if args.once || is_dumb || !io::stdout().is_terminal() {
        once(session, source, args.interval)
    } else {
        live::watch(source, args.interval, Theme { colours: console::colors_enabled() })
    }
}

/// One JSON object for each interval. The first reading must succeed; a later one that fails is an object too.
fn objects(
    session: &mut Session,
    mut source: impl Source,
    interval_s: f64,
    count: Option<u64>,
) -> Outcome {
    let (clock, name) = (Clock::default(), source.name());
    let mut earlier = reading(&mut source, &clock)?;
    let mut due = Instant::now();
    for _ in 0..count.unwrap_or(u64::MAX) {
        due += Duration::from_secs_f64(interval_s);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // After a long silence the intervals begin anew, and none is made up for.
        due = due.max(Instant::now());
        match reading(&mut source, &clock) {
            Ok(now) => {
                session.screen.object(&json::object(&name, &sample(Some(&earlier), &now)))?;
                earlier = now;
            }
            Err(failure) => {
                let unix_s = clock.unix_s();
                let error = serde_json::json!({ "name": name, "unix_seconds": unix_s, "error": failure.message });
                session.screen.object(&error)?;
            }
        }
        session.screen.flush()?;
    }
    Ok(())
}

/// One screen as text, after one interval.
fn once(session: &mut Session, mut source: impl Source, interval_s: f64) -> Outcome {
    let clock = Clock::default();
    let earlier = reading(&mut source, &clock)?;
    thread::sleep(Duration::from_secs_f64(interval_s));
    let now = reading(&mut source, &clock)?;
    let (state, mut history) = (State::of(&source, interval_s), History::default());
    history.push(sample(Some(&earlier), &now));
    let view =
        View { state: &state, history: &history, theme: Theme { colours: false }, is_still: true };
    let columns = console::Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| columns);
    session.screen.line(view.text(columns.max(40)))
}

/// Time that only goes on, and the time of day.
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    fn unix_s(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }
}

/// All metrics, and when they were had.
fn reading(source: &mut impl Source, clock: &Clock) -> Outcome<Reading> {
    let metrics = source.sample()?;
    Ok(Reading { metrics, at_s: clock.0.elapsed().as_secs_f64(), unix_s: clock.unix_s() })
}

/// A number of seconds between two readings, of the command line.
///
/// # Errors
/// When it is none, or beyond the bounds.
pub fn parse_interval(text: &str) -> Result<f64, String> {
    let bounds = INTERVAL_MIN_S..=INTERVAL_MAX_S;
    let seconds = text.parse().ok().filter(|seconds| bounds.contains(seconds));
    seconds
        .ok_or_else(|| format!("not a number of seconds from {INTERVAL_MIN_S} to {INTERVAL_MAX_S}"))
}
