//! The threads that send: one attempt at a time each.

use super::queues::{Outcome, Payload, Turn, WORKERS_MAX};
use super::{OutboxOptions, Shared, State};
use parking_lot::MutexGuard;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

/// Bytes of an answer's body that are read, so that the connection can be used again.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an answer's headers.
const ANSWER_HEADER_BYTES_MAX: usize = 16 << 10;
/// Bytes of an answer's body that are shown when it is a refusal.
const SHOWN_BYTES: usize = 200;

/// Speaks plain HTTP, follows nothing, goes through nobody, and remembers no more than a few connections.
pub(super) fn agent(options: &OutboxOptions) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("sochdb/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(options.timeout))
        .max_response_header_size(ANSWER_HEADER_BYTES_MAX)
        .max_idle_connections(WORKERS_MAX)
        .max_idle_connections_per_host(WORKERS_MAX)
        .build()
        .new_agent()
}

impl Shared {
    /// One thread more, if somebody waits whom none of those that are there serves.
    pub(super) fn start_worker_if_needed(self: &Arc<Shared>, state: &mut State) {
        if state.idle == 0 && state.alive < WORKERS_MAX && state.queues.any_waits() {
            // Without it, those that are there serve everybody in turn.
            let _ = self.start_worker(state);
        }
    }

    pub(super) fn start_worker(self: &Arc<Shared>, state: &mut State) -> io::Result<()> {
        let (shared, worker) = (self.clone(), thread::Builder::new());
        let worker = worker.name("sochdb-outbox".to_owned()).spawn(move || shared.work())?;
        state.alive += 1;
        state.workers.push(worker);
        Ok(())
    }

    /// What a worker does, all its life.
    fn work(self: Arc<Shared>) {
        let mut state = self.state.lock();
        while !state.ending {
            match state.queues.turn(Instant::now()) {
                Turn::Send(url, payload) => {
                    self.start_worker_if_needed(&mut state);
                    let outcome = MutexGuard::unlocked(&mut state, || self.attempt(&url, &payload));
                    state.queues.done(&url, payload, outcome, Instant::now(), fastrand::f64());
                    if state.ending {
                        state.queues.give_up("the outbox was closed");
                    }
                    self.changed.notify_all();
                }
                Turn::Wait(until) => {
                    state.idle += 1;
                    match until {
                        Some(until) => drop(self.changed.wait_until(&mut state, until)),
                        None => self.changed.wait(&mut state),
                    }
                    state.idle -= 1;
                }
            }
        }
        state.alive -= 1;
        self.changed.notify_all();
    }

    fn attempt(&self, url: &str, payload: &Payload) -> Outcome {
        let attempt = AssertUnwindSafe(|| send(&self.agent, url, payload));
        catch_unwind(attempt).unwrap_or_else(|_| Outcome::Refused("sending it panicked".to_owned()))
    }
}

/// One attempt.
fn send(agent: &Agent, url: &str, payload: &Payload) -> Outcome {
    let mut request = match Request::post(url).body(&payload.body) {
        Ok(request) => request,
        Err(why) => return Outcome::Refused(format!("the request cannot be made: {why}")),
    };
    *request.headers_mut() = payload.headers.clone();
    let answer = match agent.run(request) {
        Ok(answer) => answer,
        Err(error) => return failure(&error),
    };
    let (head, body) = answer.into_parts();
    let shown = read(body);
    match head.status.as_u16() {
        200..300 => Outcome::Sent,
        status @ (429 | 502..=504) => {
            Outcome::Failed(format!("it answered {status}{shown}"), retry_after(&head.headers))
        }
        status => Outcome::Refused(format!("it answered {status}{shown}")),
    }
}

/// Without an answer: whether it makes sense to try again.
fn failure(error: &ureq::Error) -> Outcome {
    use ureq::Error::{BadUri, BodyExceedsLimit, Http, Timeout};
    match error {
        BadUri(_) | Http(_) | BodyExceedsLimit(_) => Outcome::Refused(error.to_string()),
        Timeout(_) => Outcome::Failed("it did not answer in time".to_owned(), None),
        _ => Outcome::Failed(clean(&error.to_string()), None),
    }
}

/// The pause that the answer asks for in seconds. A date is not understood; the usual pause is made then.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Reads the body of an answer as far as it makes sense, and gives back its beginning, to be shown to people.
fn read(body: Body) -> String {
    let (mut reader, mut chunk) = (body.into_reader().take(ANSWER_BYTES_MAX), [0; 4096]);
    let mut first = Vec::new();
    // What is wrong with it changes nothing: the status has been read.
    while let Ok(read @ 1..) = reader.read(&mut chunk) {
        let missing = SHOWN_BYTES - first.len();
        first.extend_from_slice(&chunk[..read.min(missing)]);
    }
    let shown = clean(&String::from_utf8_lossy(&first));
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

/// On one line, without anything that moves a terminal's cursor.
fn clean(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}
