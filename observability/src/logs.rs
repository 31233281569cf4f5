//! Log lines that wait for observers: the newest, up to a bound.

use crate::clip::{self, TEXT_BYTES_MAX};
use crossbeam_queue::ArrayQueue;
use sochdb_telemetry::LogLine;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fields kept of one line.
pub(crate) const FIELDS_MAX: usize = 32;
/// Bytes kept of all texts of one line; each alone has at most [`TEXT_BYTES_MAX`].
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;
/// The name of the field that says how many others there was no room for.
pub(crate) const LEFT_OUT: &str = "fields_left_out";

/// Somebody who gathers log lines itself, and bounds them.
pub trait LogSource: Send + Sync {
    /// The lines since this was last asked.
    fn drain(&self) -> Vec<LogLine>;
}

/// Log lines that wait for observers. Of too many the oldest go, and are counted.
pub struct LogQueue {
    lines: ArrayQueue<LogLine>,
    taken: AtomicU64,
    dropped: AtomicU64,
}

impl LogQueue {
    /// At most `lines_max` lines wait.
    pub fn new(lines_max: usize) -> LogQueue {
        let (taken, dropped) = Default::default();
        LogQueue { lines: ArrayQueue::new(lines_max.max(1)), taken, dropped }
    }

    /// Adds a line. Waits for nobody. Of a message or value over 4 KiB only the beginning is kept, and of a line at
    /// most 32 fields and 16 KiB; what is missing then is said by an ellipsis, or by the field `fields_left_out`.
    pub fn push(&self, mut line: LogLine) {
        bound(&mut line);
        self.taken.fetch_add(1, Ordering::Relaxed);
        if self.lines.force_push(line).is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The lines since this was last asked, oldest first.
    pub(crate) fn drain(&self) -> Vec<LogLine> {
        (0..self.lines.len()).map_while(|_| self.lines.pop()).collect()
    }

    /// How many were added, and how many of those gone before an observer could get them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.taken), read(&self.dropped))
    }
}

/// Cuts what is too long.
fn bound(line: &mut LogLine) {
    clip::shorten(&mut line.message, TEXT_BYTES_MAX);
    clip::shorten(&mut line.target, TEXT_BYTES_MAX);
    let mut room = LINE_BYTES_MAX - line.message.len() - line.target.len();
    let mut kept = 0;
    for (name, value) in line.fields.iter_mut().take(FIELDS_MAX) {
        clip::shorten(name, TEXT_BYTES_MAX);
        clip::shorten(value, TEXT_BYTES_MAX);
        let Some(left) = room.checked_sub(name.len() + value.len()) else { break };
        (room, kept) = (left, kept + 1);
    }
    let left_out = line.fields.len() - kept;
    if 0 < left_out {
        line.fields.truncate(kept);
        line.fields.shrink_to_fit();
        line.fields.push((LEFT_OUT.to_owned(), left_out.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sochdb_telemetry::LogLevel;

    fn line(message: &str, fields: Vec<(String, String)>) -> LogLine {
        let (target, message) = ("sochdb".to_owned(), message.to_owned());
        LogLine { unix_us: 0, level: LogLevel::Info, target, message, fields, span: None }
    }

    fn messages(queue: &LogQueue) -> Vec<String> {
        queue.drain().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn of_too_many_lines_the_oldest_go() {
        let queue = LogQueue::new(3);
        ["a", "b", "c", "d", "e"].iter().for_each(|message| queue.push(line(message, vec![])));
        assert_eq!(
            (queue.counts(), messages(&queue)),
            ((5, 2), vec!["c".into(), "d".into(), "e".into()])
        );
        queue.push(line("f", vec![]));
        assert_eq!((queue.counts(), messages(&queue)), ((6, 2), vec!["f".to_owned()]));
    }

    #[test]
    fn a_queue_without_room_has_room_for_one() {
        let queue = LogQueue::new(0);
        ["a", "b"].iter().for_each(|message| queue.push(line(message, vec![])));
        assert_eq!((queue.counts(), messages(&queue)), ((2, 1), vec!["b".to_owned()]));
    }

    #[test]
    fn a_line_that_fits_is_kept_as_it_is() {
        let queue = LogQueue::new(1);
        let fields = (0..FIELDS_MAX).map(|i| (i.to_string(), "v".repeat(300))).collect();
        let said = line(&"m".repeat(TEXT_BYTES_MAX), fields);
        queue.push(said.clone());
        assert_eq!(queue.drain(), [said]);
    }

    proptest! {
        #[test]
        fn no_line_is_larger_than_allowed(
            sizes in prop::collection::vec((0usize..200, 0usize..9000), 0..40),
            message in 0usize..100_000,
        ) {
            let fields: Vec<_> = sizes.iter().map(|(name, value)| ("n".repeat(*name), "v".repeat(*value))).collect();
            let mut cut = line(&"m".repeat(message), fields.clone());
            bound(&mut cut);
            let texts = cut.fields.iter().flat_map(|(name, value)| [name, value]).chain([&cut.message, &cut.target]);
            let all: usize = texts.clone().map(String::len).sum();
            prop_assert!(texts.clone().all(|text| text.len() <= TEXT_BYTES_MAX));
            prop_assert!(all <= LINE_BYTES_MAX + 2 * LEFT_OUT.len() && cut.fields.len() <= FIELDS_MAX + 1);
            let left_out = match cut.fields.last() {
                Some((name, count)) if name == LEFT_OUT => count.parse::<usize>().unwrap() - 1,
                _ => 0,
            };
            prop_assert_eq!(cut.fields.len() + left_out, fields.len());
        }
    }
}
