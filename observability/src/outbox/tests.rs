//! The outbox against servers of every kind, on this machine.

use super::{Outbox, OutboxOptions, OutboxStatus, PostError};
use crate::Registry;
use parking_lot::Mutex;
use sochdb_telemetry::MetricValue;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all.
const LONG: Duration = Duration::from_secs(30);

/// A request as it came: the lines of its head, and its body.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    head: Vec<String>,
    body: Vec<u8>,
    at: Instant,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.iter().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers requests until the test ends.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    /// `answer` writes the answer to the request of that number.
    fn start(answer: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (received, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let all = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, answer, mut stream) = (all.clone(), answer.clone(), stream.unwrap());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = receive(&mut reader) {
                        let mut all = all.lock();
                        all.push(request);
                        let number = all.len() - 1;
                        drop(all);
                        answer(number, &mut stream);
                    }
                });
            }
        });
        Server { address, received }
    }

    fn answering(answers: &'static [&'static str]) -> Server {
        Server::start(move |number, stream| {
            let answer = answers.get(number).or(answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    fn bodies(&self) -> Vec<String> {
        let text = |received: &Received| String::from_utf8_lossy(&received.body).into_owned();
        self.received.lock().iter().map(text).collect()
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let mut received = Received { head, body: Vec::new(), at: Instant::now() };
    let length = received.header("content-length").expect("a length").parse().unwrap();
    received.body.resize(length, 0);
    reader.read_exact(&mut received.body).ok()?;
    Some(received)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn quick() -> OutboxOptions {
    let (timeout, pause) = (Duration::from_secs(5), Duration::from_millis(1));
    OutboxOptions { timeout, pause, attempts_max: 3, ..OutboxOptions::default() }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What became of one payload.
fn post_one(server: &Server, options: OutboxOptions) -> OutboxStatus {
    let (outbox, url) = (Outbox::new(options), server.url("/x"));
    outbox.post(&url, &[], b"one".to_vec()).unwrap();
    assert!(outbox.flush(LONG), "{:?}", outbox.status(&url));
    outbox.status(&url)
}

#[test]
fn a_payload_arrives_as_it_was_posted() {
    let server = Server::answering(&[OK]);
    let (outbox, url) = (Outbox::default(), server.url("/v1/metrics?a=b"));
    let headers = [header("Content-Type", "application/x-protobuf"), header("x-scope", "7")];
    outbox.post(&url, &headers, vec![0, 255, 13, 10]).unwrap();
    assert!(outbox.flush(LONG));
    let received = &server.received()[0];
    assert_eq!(received.head[0], "POST /v1/metrics?a=b HTTP/1.1");
    assert_eq!(received.body, [0, 255, 13, 10]);
    let of = |name| received.header(name).unwrap_or_default();
    assert_eq!((of("content-type"), of("x-scope")), ("application/x-protobuf", "7"));
    assert_eq!(of("host"), server.address.to_string());
    assert_eq!(of("user-agent"), concat!("sochdb/", env!("CARGO_PKG_VERSION")));
    assert_eq!((received.header("cookie"), received.header("expect")), (None, None));
    let sent = OutboxStatus { sent: 1, ..OutboxStatus::default() };
    assert_eq!(outbox.status(&url), sent);
    assert_eq!(outbox.status("http://127.0.0.1:1/"), OutboxStatus::default());
}

#[test]
fn payloads_of_an_address_arrive_in_order_and_once() {
    let server = Server::answering(&[OK]);
    let outbox = Outbox::default();
    for i in 0..50 {
        outbox.post(&server.url("/"), &[], i.to_string().into_bytes()).unwrap();
    }
    assert!(outbox.flush(LONG));
    assert_eq!(server.bodies(), (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_empty_payload_and_one_of_the_largest_size_arrive() {
    let server = Server::answering(&[OK]);
    let outbox = Outbox::default();
    let large: Vec<u8> = (0..4 << 20).map(|i| (i % 251) as u8).collect();
    outbox.post(&server.url("/"), &[], Vec::new()).unwrap();
    outbox.post(&server.url("/"), &[], large.clone()).unwrap();
    assert!(outbox.flush(LONG));
    let received = server.received();
    assert!(received[0].body.is_empty() && received[1].body == large);
    let more = outbox.post(&server.url("/"), &[], vec![0; (4 << 20) + 1]);
    assert!(matches!(more, Err(PostError::Limit(_))));
}

#[test]
fn an_address_that_is_busy_is_asked_again() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(&[BUSY, BUSY, OK]);
    let status = post_one(&server, quick());
    assert_eq!(status, OutboxStatus { sent: 1, ..OutboxStatus::default() });
    assert_eq!(server.bodies(), ["one", "one", "one"]);
}

#[test]
fn an_address_that_stays_busy_loses_the_payload_after_the_last_attempt() {
    let server = Server::answering(&["HTTP/1.1 429 Slow\r\nContent-Length: 4\r\n\r\nlate"]);
    let status = post_one(&server, quick());
    assert_eq!((status.sent, status.lost, server.bodies().len()), (0, 1, 3));
    assert_eq!(status.why, "given up after 3 attempts: it answered 429: late");
}

#[test]
fn retry_after_is_waited_for() {
    let busy = "HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let server = Server::answering(Vec::leak(vec![busy, OK]));
    assert_eq!(post_one(&server, quick()).sent, 1);
    let received = server.received();
    assert!(received[0].at + Duration::from_millis(990) <= received[1].at);
}

#[test]
fn a_refusal_loses_the_payload_and_its_reason_is_shown_cleaned() {
    const NO: &str = "HTTP/1.1 400 Bad\r\nContent-Length: 20\r\n\r\nno \x1b[31mred\r\nletters";
    let server = Server::answering(&[NO, OK]);
    let status = post_one(&server, quick());
    assert_eq!((status.sent, status.lost, server.bodies().len()), (0, 1, 1));
    assert_eq!(status.why, "it answered 400: no  [31mred  letters");
}

#[test]
fn a_redirection_is_not_followed() {
    let other = Server::answering(&[OK]);
    for code in [301, 302, 303, 307, 308] {
        let location = other.url("/");
        let server = Server::start(move |_, stream| {
            let head = format!("HTTP/1.1 {code} There\r\nLocation: {location}\r\n");
            let _ = stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes());
        });
        let status = post_one(&server, quick());
        assert_eq!(status.why, format!("it answered {code}"));
        assert_eq!((status.lost, server.bodies().len()), (1, 1));
    }
    assert!(other.bodies().is_empty());
}

#[test]
fn of_an_endless_answer_only_the_beginning_is_read() {
    for status in ["200 OK", "500 Long"] {
        let server = Server::start(move |_, stream| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 99999999999\r\n\r\n");
            let mut alive = stream.write_all(head.as_bytes());
            while alive.is_ok() {
                alive = stream.write_all(&[b'x'; 8192]);
            }
        });
        let became = post_one(&server, OutboxOptions { timeout: LONG, ..quick() });
        assert_eq!(became.sent + became.lost, 1);
        assert!(became.why.len() < 300, "{}", became.why);
    }
}

#[test]
fn an_answer_that_ends_too_early_was_an_answer() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    assert_eq!(post_one(&server, quick()).sent, 1);
}

#[test]
fn what_is_no_answer_is_asked_for_again_and_given_up() {
    for answer in
        ["", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nbroken\r\n\r\n", "HTTP/1.1 99 ?\r\n\r\n"]
    {
        let server = Server::start(move |_, stream| {
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
        let status = post_one(&server, quick());
        assert_eq!((status.sent, status.lost), (0, 1), "{answer:?}: {}", status.why);
    }
}

#[test]
fn who_never_answers_is_given_up_and_delays_no_other() {
    let silent = Server::start(|_, _| {});
    let well = Server::answering(&[OK]);
    let options = OutboxOptions { timeout: Duration::from_secs(3600), ..quick() };
    let outbox = Outbox::new(options);
    for i in 0..3 {
        outbox.post(&silent.url(&format!("/{i}")), &[], b"x".to_vec()).unwrap();
    }
    for i in 0..20 {
        outbox.post(&well.url("/"), &[], i.to_string().into_bytes()).unwrap();
    }
    let began = Instant::now();
    while outbox.status(&well.url("/")).sent < 20 {
        assert!(began.elapsed() < LONG, "{:?}", outbox.status(&well.url("/")));
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!outbox.flush(Duration::from_millis(10)));
    let began = Instant::now();
    drop(outbox);
    assert!(began.elapsed() < LONG, "the end does not wait for the silent ones");
}

#[test]
fn an_attempt_ends_at_its_timeout() {
    let silent = Server::start(|_, _| {});
    let options = OutboxOptions { timeout: Duration::from_millis(50), attempts_max: 2, ..quick() };
    let status = post_one(&silent, options);
    assert_eq!(status.why, "given up after 2 attempts: it did not answer in time");
    assert_eq!(silent.bodies().len(), 2);
}

#[test]
fn where_nobody_listens_the_payload_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outbox = Outbox::new(quick());
    outbox.post(&url, &[], b"one".to_vec()).unwrap();
    assert!(outbox.flush(LONG));
    let status = outbox.status(&url);
    assert_eq!((status.lost, status.waiting), (1, 0));
    assert!(status.why.starts_with("given up after 3 attempts: "), "{}", status.why);
}

#[test]
fn who_ends_does_not_wait_for_an_address_that_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    // The pause before the second attempt is longer than the test.
    let outbox = Outbox::new(OutboxOptions { pause: LONG, ..quick() });
    for payload in ["one", "two"] {
        outbox.post(&url, &[], payload.into()).unwrap();
    }
    assert!(!outbox.settle(LONG), "nothing was taken");
    assert_eq!(outbox.status(&url).waiting, 2);
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let outbox = Outbox::default();
    let post = |url: &str, headers: &[(String, String)]| outbox.post(url, headers, Vec::new());
    for url in ["https://127.0.0.1/", "http://", "ftp://127.0.0.1/", "http://a@127.0.0.1/"] {
        assert!(matches!(post(url, &[]), Err(PostError::Invalid(_))), "{url}");
        assert!(Outbox::check(url).is_err());
    }
    for bad in [header("x-a", "1\r\nx-b: 2"), header("host", "other"), header("a b", "")] {
        let refused = post("http://127.0.0.1:1/", &[bad]);
        assert!(matches!(refused, Err(PostError::Invalid(_))));
    }
    assert_eq!(Outbox::check("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/"));
    assert_eq!(outbox.0.state.lock().alive, 0, "no thread has begun");
}

#[test]
fn a_full_queue_gives_up_its_oldest() {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let server = Server::start({
        let gate = gate.clone();
        move |_, stream| {
            drop(gate.lock());
            let _ = stream.write_all(OK.as_bytes());
        }
    });
    let options = OutboxOptions { waiting_max: 3, timeout: LONG, ..quick() };
    let (outbox, url) = (Outbox::new(options), server.url("/"));
    outbox.post(&url, &[], b"0".to_vec()).unwrap();
    while server.bodies().is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    for i in 1..10 {
        outbox.post(&url, &[], i.to_string().into_bytes()).unwrap();
    }
    let status = outbox.status(&url);
    assert_eq!((status.waiting, status.lost), (4, 6));
    drop(closed);
    assert!(outbox.flush(LONG));
    assert_eq!(server.bodies(), ["0", "7", "8", "9"]);
}

#[test]
fn what_is_sent_and_lost_is_shown() {
    let server = Server::answering(&[OK, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", OK]);
    let (outbox, registry) = (Outbox::new(quick()), Registry::default());
    outbox.register(&registry);
    assert!(registry.collect().is_empty());
    for query in ["/a?token=x", "/a?token=y", "/a"] {
        outbox.post(&server.url(query), &[], b"12345".to_vec()).unwrap();
        assert!(outbox.flush(LONG));
    }
    let shown: Vec<_> = registry
        .collect()
        .into_iter()
        .map(|metric| {
            assert_eq!(metric.labels, [header("address", &server.url("/a"))]);
            let (MetricValue::Counter(value) | MetricValue::Gauge(value)) = metric.value else {
                panic!("no histogram here");
            };
            (metric.name, value as u64)
        })
        .collect();
    let expected = [("lost_total", 1), ("sent_bytes_total", 10), ("sent_total", 2), ("waiting", 0)];
    assert_eq!(shown, expected.map(|(name, value)| (format!("sochdb_outbox_{name}"), value)));
    assert_eq!(registry.families().len(), 4);
    drop(outbox);
    assert!(registry.collect().is_empty());
}
