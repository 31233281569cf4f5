//! Payloads that wait, by address: whose turn it is, and what has to go when there is too much.
//!
//! No thread and no clock of its own: what it decides can be tested without a network.
//!
//! Invariants:
//! 1. At most one payload of an address is on its way.
//! 2. Addresses that failed last have at most [`FAILING_MAX`] payloads on their way together.
//! 3. `bytes` is what all payloads hold, those on their way included, and is at most `waiting_bytes_max`.

use super::check::Target;
use super::{OutboxOptions, OutboxStatus, PostError};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

/// Threads that send.
pub(super) const WORKERS_MAX: usize = 4;
/// So many of them may be busy with addresses that failed last.
const FAILING_MAX: usize = WORKERS_MAX - 1;
/// Addresses that are known at a time.
const ADDRESSES_MAX: usize = 64;
/// The longest pause that is ever made without being asked for.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest pause that the other side can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// One payload.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    attempts: u32,
    /// What it holds, of headers and body.
    bytes: usize,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The other side took it.
    Sent,
    /// It never will.
    Refused(String),
    /// It may do so later, not before the time that it asked for.
    Failed(String, Option<Duration>),
}

/// What a worker is to do.
pub(super) enum Turn {
    /// Send this to the address.
    Send(String, Payload),
    /// Nothing before then.
    Wait(Option<Instant>),
}

pub(super) struct Queues {
    options: OutboxOptions,
    by_url: BTreeMap<String, Address>,
    bytes: usize,
    /// Grows with every turn.
    turns: u64,
}

struct Address {
    label: String,
    waiting: VecDeque<Payload>,
    /// What those hold.
    waiting_bytes: usize,
    on_its_way: bool,
    /// Failures in a row.
    failures: u32,
    not_before: Option<Instant>,
    /// When it was last used, in turns.
    turn: u64,
    sent: u64,
    sent_bytes: u64,
    lost: u64,
    why: String,
}

impl Payload {
    fn new(headers: HeaderMap, body: Vec<u8>) -> Payload {
        let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let bytes = body.len() + headers.iter().map(header).sum::<usize>();
        Payload { headers, body, attempts: 0, bytes }
    }
}

impl Address {
    fn pending(&self) -> usize {
        self.waiting.len() + usize::from(self.on_its_way)
    }

    /// The oldest that waits.
    fn take(&mut self) -> Option<Payload> {
        let payload = self.waiting.pop_front()?;
        self.waiting_bytes -= payload.bytes;
        Some(payload)
    }

    fn lose(&mut self, why: &str) {
        self.lost += 1;
        why.clone_into(&mut self.why);
    }
}

impl Queues {
    pub(super) fn new(options: OutboxOptions) -> Queues {
        let (by_url, bytes, turns) = Default::default();
        Queues { options, by_url, bytes, turns }
    }

    /// Takes a payload, and gives up older ones for it if it must.
    pub(super) fn post(
        &mut self,
        target: Target,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(), PostError> {
        let OutboxOptions { payload_bytes_max, waiting_bytes_max, .. } = self.options;
        let payload = Payload::new(headers, body);
        let bytes = payload.bytes;
        if payload_bytes_max < payload.body.len() || waiting_bytes_max < bytes {
            let max = payload_bytes_max.min(waiting_bytes_max);
            return Err(PostError::Limit(format!("{bytes} bytes are more than {max}")));
        }
        self.make_place(&target)?;
        self.make_room(&target.url, bytes)?;
        self.turns += 1;
        let turn = self.turns;
        let Target { url, label } = target;
        let address = self.by_url.entry(url).or_insert_with(|| Address::new(label, turn));
        address.waiting.push_back(payload);
        address.waiting_bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Makes sure that there is a place for the address, if need be that of one with nothing on its way.
    fn make_place(&mut self, target: &Target) -> Result<(), PostError> {
        if self.by_url.contains_key(&target.url) || self.by_url.len() < ADDRESSES_MAX {
            return Ok(());
        }
        let idle = self.by_url.iter().filter(|(_, address)| address.pending() == 0);
        let oldest = idle.min_by_key(|(_, address)| address.turn).map(|(url, _)| url.clone());
        let full =
            || PostError::Limit(format!("payloads wait for {ADDRESSES_MAX} addresses already"));
        self.by_url.remove(&oldest.ok_or_else(full)?);
        Ok(())
    }

    /// Gives up the oldest payloads: of this address if it has too many, of the one that holds most if all hold too
    /// much.
    fn make_room(&mut self, url: &str, bytes: usize) -> Result<(), PostError> {
        let waiting_bytes: usize = self.by_url.values().map(|address| address.waiting_bytes).sum();
        if self.options.waiting_bytes_max < self.bytes - waiting_bytes + bytes {
            return Err(PostError::Limit("too much is on its way".to_owned()));
        }
        let waiting = self.by_url.get(url).map_or(0, |address| address.waiting.len());
        if self.options.waiting_max <= waiting {
            self.lose_oldest(url);
        }
        while self.options.waiting_bytes_max < self.bytes + bytes {
            let most = self.by_url.iter().max_by_key(|(_, address)| address.waiting_bytes);
            let Some((url, _)) = most else { break };
            self.lose_oldest(&url.clone());
        }
        Ok(())
    }

    fn lose_oldest(&mut self, url: &str) {
        let Some(address) = self.by_url.get_mut(url) else { return };
        if let Some(payload) = address.take() {
            self.bytes -= payload.bytes;
            address.lose("too much waited, and newer payloads came");
        }
    }

    /// Whose turn it is: of those who may, who waited longest.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let failing = |address: &&mut Address| address.on_its_way && 0 < address.failures;
        let failing_may = self.by_url.values_mut().filter(failing).count() < FAILING_MAX;
        let mut earliest: Option<Instant> = None;
        let mut next: Option<(&String, &mut Address)> = None;
        for (url, address) in &mut self.by_url {
            if address.on_its_way || address.waiting.is_empty() {
                continue;
            }
            match address.not_before {
                Some(then) if now < then => {
                    earliest = Some(earliest.map_or(then, |earliest| earliest.min(then)));
                }
                _ if 0 < address.failures && !failing_may => {}
                _ if next.as_ref().is_some_and(|(_, next)| next.turn < address.turn) => {}
                _ => next = Some((url, address)),
            }
        }
        let Some((url, address)) = next else { return Turn::Wait(earliest) };
        self.turns += 1;
        (address.turn, address.on_its_way) = (self.turns, true);
        let payload = address.take().expect("it was asked whether something waits");
        Turn::Send(url.clone(), payload)
    }

    /// What became of what [`turn`](Self::turn) gave. `chance` is from 0 to 1.
    pub(super) fn done(
        &mut self,
        url: &str,
        mut payload: Payload,
        outcome: Outcome,
        now: Instant,
        chance: f64,
    ) {
        let bytes = payload.bytes;
        let address = self.by_url.get_mut(url).expect("an address with something on its way stays");
        assert!(address.on_its_way, "only what is on its way is done: {url}");
        address.on_its_way = false;
        payload.attempts += 1;
        let Outcome::Failed(why, retry_after) = outcome else {
            (address.failures, address.not_before) = (0, None);
            match outcome {
                Outcome::Refused(why) => address.lose(&why),
                _ => {
                    (address.sent, address.sent_bytes) =
                        (address.sent + 1, address.sent_bytes + payload.body.len() as u64)
                }
            }
            self.bytes -= bytes;
            return;
        };
        address.failures = address.failures.saturating_add(1);
        let pause = pause(self.options.pause, address.failures, chance);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        address.not_before = Some(now + pause.max(asked));
        if self.options.attempts_max <= payload.attempts {
            address.lose(&format!("given up after {} attempts: {why}", payload.attempts));
        } else if self.options.waiting_max <= address.waiting.len() {
            address.lose(&format!("too much waited, and newer payloads came: {why}"));
        } else {
            address.waiting.push_front(payload);
            address.waiting_bytes += bytes;
            return;
        }
        self.bytes -= bytes;
    }

    /// Loses everything that waits.
    pub(super) fn give_up(&mut self, why: &str) {
        for address in self.by_url.values_mut() {
            while let Some(payload) = address.take() {
                self.bytes -= payload.bytes;
                address.lose(why);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_url.values().all(|address| address.pending() == 0)
    }

    /// Whether what still waits, waits for an address that failed when it was last tried.
    pub(super) fn is_settled(&self) -> bool {
        let has_failed = |address: &Address| 0 < address.failures && !address.on_its_way;
        self.by_url.values().all(|address| address.pending() == 0 || has_failed(address))
    }

    /// Whether somebody waits who is not served.
    pub(super) fn any_waits(&self) -> bool {
        self.by_url.values().any(|address| !address.on_its_way && !address.waiting.is_empty())
    }

    pub(super) fn status(&self, url: &str) -> OutboxStatus {
        let Some(address) = self.by_url.get(url) else { return OutboxStatus::default() };
        let waiting = u32::try_from(address.pending()).unwrap_or(u32::MAX);
        let Address { sent, lost, .. } = *address;
        OutboxStatus { waiting, sent, lost, why: address.why.clone() }
    }

    /// For each address: payloads and bytes sent, payloads lost, payloads that wait.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&str, [u64; 4])> {
        self.by_url.values().map(|address| {
            let Address { sent, sent_bytes, lost, .. } = *address;
            (address.label.as_str(), [sent, sent_bytes, lost, address.pending() as u64])
        })
    }
}

impl Address {
    fn new(label: String, turn: u64) -> Address {
        let (waiting, waiting_bytes, on_its_way, failures, not_before) = Default::default();
        let (sent, sent_bytes, lost, why) = Default::default();
        Address {
            label,
            waiting,
            waiting_bytes,
            on_its_way,
            failures,
            not_before,
            turn,
            sent,
            sent_bytes,
            lost,
            why,
        }
    }
}

/// The pause after so many failures in a row.
fn pause(first: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    let whole = first.saturating_mul(doubled).min(PAUSE_MAX);
    whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn queues(waiting_max: usize, waiting_bytes_max: usize) -> Queues {
        let options = OutboxOptions {
            payload_bytes_max: 100,
            waiting_max,
            waiting_bytes_max,
            attempts_max: 3,
            pause: 100 * MS,
            ..OutboxOptions::default()
        };
        Queues::new(options)
    }

    fn url(host: &str) -> String {
        format!("http://{host}/")
    }

    impl Queues {
        fn put(&mut self, host: &str, body: &str) -> Result<(), PostError> {
            let target = Target::parse(&url(host)).unwrap();
            self.post(target, HeaderMap::new(), body.as_bytes().to_vec())
        }

        /// Whose turn it is, and with what.
        fn take(&mut self, now: Instant) -> Option<(String, Payload)> {
            match self.turn(now) {
                Turn::Send(url, payload) => Some((url, payload)),
                Turn::Wait(_) => None,
            }
        }

        fn bodies(&mut self, now: Instant) -> Vec<String> {
            let mut bodies = Vec::new();
            while let Some((url, payload)) = self.take(now) {
                bodies.push(String::from_utf8(payload.body.clone()).unwrap());
                self.done(&url, payload, Outcome::Sent, now, 0.0);
            }
            bodies
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed("no".to_owned(), None)
    }

    #[test]
    fn addresses_take_turns_and_keep_their_order() {
        let (mut queues, now) = (queues(10, 1000), Instant::now());
        for (host, body) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "5"), ("c", "6")]
        {
            queues.put(host, body).unwrap();
        }
        assert_eq!(queues.bodies(now), ["1", "4", "6", "2", "5", "3"]);
        assert!(queues.is_empty());
        assert_eq!(queues.bytes, 0);
    }

    #[test]
    fn one_payload_of_an_address_is_on_its_way_at_a_time() {
        let (mut queues, now) = (queues(10, 1000), Instant::now());
        queues.put("a", "1").unwrap();
        queues.put("a", "2").unwrap();
        let (url, first) = queues.take(now).unwrap();
        assert!(queues.take(now).is_none());
        assert_eq!(queues.status(&url).waiting, 2);
        queues.done(&url, first, Outcome::Sent, now, 0.0);
        assert_eq!(queues.bodies(now), ["2"]);
        assert_eq!((queues.status(&url).sent, queues.status(&url).waiting), (2, 0));
    }

    #[test]
    fn a_failure_is_repeated_after_a_pause_that_doubles_and_then_given_up() {
        let (mut queues, mut now) = (queues(10, 1000), Instant::now());
        queues.put("a", "1").unwrap();
        queues.put("a", "2").unwrap();
        for (pause, chance) in [(50, 0.0), (200, 1.0), (200, 0.0)] {
            let (url, payload) = queues.take(now).unwrap();
            assert_eq!(payload.body, b"1");
            queues.done(&url, payload, failed(), now, chance);
            assert!(queues.take(now + (pause - 1) * MS).is_none());
            now += pause * MS;
        }
        let status = queues.status(&url("a"));
        assert_eq!((status.lost, status.waiting), (1, 1));
        assert_eq!(status.why, "given up after 3 attempts: no");
        assert_eq!(queues.bodies(now), ["2"]);
        assert_eq!(queues.bytes, 0);
    }

    #[test]
    fn the_pause_that_is_asked_for_is_made_up_to_a_minute() {
        let (mut queues, now) = (queues(10, 1000), Instant::now());
        queues.put("a", "1").unwrap();
        let (url, payload) = queues.take(now).unwrap();
        let asked = Outcome::Failed("later".to_owned(), Some(Duration::MAX));
        queues.done(&url, payload, asked, now, 1.0);
        assert!(queues.take(now + 59_999 * MS).is_none());
        assert!(matches!(queues.turn(now), Turn::Wait(Some(then)) if then == now + 60_000 * MS));
        assert!(queues.take(now + 60_000 * MS).is_some());
    }

    #[test]
    fn no_number_of_failures_makes_a_pause_of_more_than_half_a_minute() {
        for failures in [1, 5, 17, 1000, u32::MAX] {
            assert!(pause(Duration::MAX, failures, 1.0) <= PAUSE_MAX);
            assert!(pause(MS, failures, 0.0) >= MS / 2);
        }
    }

    #[test]
    fn the_oldest_of_an_address_goes_first() {
        let (mut queues, now) = (queues(2, 1000), Instant::now());
        for body in ["1", "2", "3"] {
            queues.put("a", body).unwrap();
        }
        let status = queues.status(&url("a"));
        assert_eq!((status.lost, status.waiting), (1, 2));
        assert!(status.why.contains("too much waited"), "{}", status.why);
        assert_eq!(queues.bodies(now), ["2", "3"]);
    }

    #[test]
    fn what_failed_goes_when_newer_ones_have_its_place() {
        let (mut queues, now) = (queues(1, 1000), Instant::now());
        queues.put("a", "1").unwrap();
        let (url, payload) = queues.take(now).unwrap();
        queues.put("a", "2").unwrap();
        queues.done(&url, payload, failed(), now, 0.0);
        assert_eq!((queues.status(&url).lost, queues.status(&url).waiting), (1, 1));
        assert_eq!(queues.bodies(now + 1000 * MS), ["2"]);
        assert_eq!(queues.bytes, 0);
    }

    #[test]
    fn who_holds_most_bytes_loses_first() {
        let (mut queues, now) = (queues(10, 100), Instant::now());
        queues.put("small", &"s".repeat(20)).unwrap();
        queues.put("large", &"l".repeat(40)).unwrap();
        queues.put("large", &"m".repeat(40)).unwrap();
        queues.put("other", &"o".repeat(30)).unwrap();
        assert_eq!(queues.status(&url("large")).lost, 1);
        assert_eq!(queues.status(&url("small")).lost, 0);
        assert_eq!(queues.bodies(now).len(), 3);
        assert!(matches!(queues.put("a", &"x".repeat(101)), Err(PostError::Limit(_))));
        queues.put("a", &"x".repeat(80)).unwrap();
        let on_its_way = queues.take(now).unwrap();
        let full = queues.put("b", &"y".repeat(30));
        assert!(matches!(full, Err(PostError::Limit(why)) if why.contains("on its way")));
        queues.done(&on_its_way.0, on_its_way.1, Outcome::Sent, now, 0.0);
        assert_eq!(queues.bytes, 0);
    }

    #[test]
    fn a_place_is_kept_for_addresses_that_do_well() {
        let (mut queues, now) = (queues(10, 1000), Instant::now());
        for host in ["a", "b", "c", "d", "e"] {
            queues.put(host, "1").unwrap();
            let (url, payload) = queues.take(now).unwrap();
            queues.done(&url, payload, failed(), now, 0.0);
        }
        let now = now + 1000 * MS;
        let failing: Vec<_> = (0..3).map(|_| queues.take(now).unwrap()).collect();
        assert!(queues.take(now).is_none(), "the last place is not for them");
        queues.put("well", "1").unwrap();
        assert_eq!(queues.take(now).unwrap().0, url("well"));
        for (url, payload) in failing {
            queues.done(&url, payload, Outcome::Refused("no".to_owned()), now, 0.0);
        }
        assert!(queues.take(now).is_some());
    }

    #[test]
    fn the_address_that_was_idle_longest_is_forgotten_for_a_new_one() {
        let (mut queues, now) = (queues(10, 1000), Instant::now());
        for i in 0..ADDRESSES_MAX {
            queues.put(&format!("h{i}"), "1").unwrap();
        }
        let full = queues.put("new", "1");
        assert!(matches!(full, Err(PostError::Limit(why)) if why.contains("64 addresses")));
        queues.bodies(now);
        queues.put("new", "1").unwrap();
        assert_eq!(queues.status(&url("h0")).sent, 0);
        assert_eq!(queues.status(&url("h1")).sent, 1);
        assert_eq!(queues.by_url.len(), ADDRESSES_MAX);
    }

    /// What holds between any two calls.
    fn check(queues: &Queues, on_their_way: &[(String, Payload)]) {
        let waiting =
            |address: &Address| address.waiting.iter().map(|payload| payload.bytes).sum::<usize>();
        let mut bytes: usize = on_their_way.iter().map(|(_, payload)| payload.bytes).sum();
        for (url, address) in &queues.by_url {
            let on_its_way = on_their_way.iter().filter(|(its, _)| its == url).count();
            assert_eq!(on_its_way, usize::from(address.on_its_way), "{url}");
            assert_eq!(address.waiting_bytes, waiting(address), "{url}");
            assert!(address.waiting.len() <= queues.options.waiting_max, "{url}");
            bytes += address.waiting_bytes;
        }
        assert_eq!(queues.bytes, bytes);
        assert!(bytes <= queues.options.waiting_bytes_max, "{bytes}");
        assert!(queues.by_url.len() <= ADDRESSES_MAX);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Post(u8, usize),
        Turn,
        Done(usize, u8),
        Later(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6u8, 0..120usize).prop_map(|(host, bytes)| Step::Post(host, bytes)),
            Just(Step::Turn),
            (any::<usize>(), 0..4u8).prop_map(|(which, how)| Step::Done(which, how)),
            (0..500u64).prop_map(Step::Later),
        ]
    }

    proptest! {
        #[test]
        fn every_payload_waits_or_is_sent_or_is_lost(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let (mut queues, mut now) = (queues(3, 300), Instant::now());
            let (mut on_their_way, mut taken) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Post(host, bytes) => {
                        taken += u64::from(queues.put(&host.to_string(), &"x".repeat(bytes)).is_ok());
                    }
                    Step::Turn => on_their_way.extend(queues.take(now)),
                    Step::Done(..) if on_their_way.is_empty() => {}
                    Step::Done(which, how) => {
                        let (url, payload) = on_their_way.swap_remove(which % on_their_way.len());
                        let outcome = match how {
                            0 => Outcome::Sent,
                            1 => Outcome::Refused("no".to_owned()),
                            _ => failed(),
                        };
                        queues.done(&url, payload, outcome, now, 0.5);
                    }
                    Step::Later(ms) => now += Duration::from_millis(ms),
                }
                check(&queues, &on_their_way);
            }
            let known = queues.numbers().map(|(_, [sent, _, lost, waiting])| sent + lost + waiting);
            prop_assert_eq!(known.sum::<u64>(), taken);
        }
    }
}
