//! The server against clients of every kind, over plain sockets.

use super::{Answer, MetricsServer, Pages, Request, Times};
use parking_lot::{Condvar, Mutex};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// Pages of every temper.
#[derive(Default)]
struct Site {
    open: Mutex<bool>,
    opened: Condvar,
    hanging: AtomicUsize,
}

impl Site {
    fn opens(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

impl Pages for Site {
    fn answer(&self, request: &Request) -> Answer {
        let (mut status, mut content_type, mut body) = (200, "text/plain", request.path.clone());
        match request.path.as_str() {
            "/hang" => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let mut open = self.open.lock();
                while !*open {
                    self.opened.wait(&mut open);
                }
            }
            "/panic" | "/livez-panic" => panic!("a page that panics on purpose"),
            "/accept" => body.clone_from(&request.accept),
            "/missing" => status = 404,
            "/status" => status = 99,
            "/informs" => status = 103,
            "/type" => content_type = "a\r\nb",
            "/large" => body = "x".repeat(64 << 20),
            _ => {}
        }
        Answer { status, content_type: content_type.to_owned(), body }
    }

    fn is_quick(&self, path: &str) -> bool {
        assert!(path != "/quick-panic", "a question that panics on purpose");
        path.starts_with("/livez")
    }
}

fn start() -> (MetricsServer, Arc<Site>) {
    start_with(Times { head: LONG, page: LONG, write: LONG })
}

fn start_with(times: Times) -> (MetricsServer, Arc<Site>) {
    let site = Arc::new(Site::default());
    let server = MetricsServer::start_with("127.0.0.1:0", site.clone(), times).unwrap();
    (server, site)
}

/// One connection of a client.
struct Client(BufReader<TcpStream>);

/// An answer as it came.
#[derive(Debug, Clone, PartialEq)]
struct Came {
    status: u16,
    head: Vec<String>,
    body: String,
}

impl Came {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.iter().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, LONG).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    fn ask(&mut self, method: &str, path: &str) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n"));
    }

    /// The next answer; `None` at the end of the connection.
    fn answer(&mut self, with_body: bool) -> Option<Came> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let mut came = Came { status, head, body: String::new() };
        let length = came.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if with_body { length } else { 0 }];
        self.0.read_exact(&mut body).unwrap();
        came.body = String::from_utf8(body).unwrap();
        Some(came)
    }

    fn get(&mut self, path: &str) -> Came {
        self.ask("GET", path);
        self.answer(true).expect("an answer")
    }

    /// Waits for the connection's end, however it comes.
    fn ends(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it did not end");
        }
        rest
    }
}

/// Waits for what another thread does.
fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < LONG, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

fn get(server: &MetricsServer, path: &str) -> Came {
    Client::connect(server.address()).get(path)
}

#[test]
fn a_page_is_answered_and_the_connection_is_kept() {
    let (server, _) = start();
    let mut client = Client::connect(server.address());
    for path in ["/metrics", "/livez", "/metrics"] {
        let came = client.get(path);
        assert_eq!((came.status, came.body.as_str()), (200, path));
        assert_eq!(came.header("content-length"), Some(path.len().to_string().as_str()));
        assert_eq!(came.header("content-type"), Some("text/plain"));
        assert_eq!(came.header("cache-control"), Some("no-store"));
    }
    assert_eq!(client.get("/missing").status, 404);
}

#[test]
fn pages_see_the_path_without_a_query_and_what_is_accepted() {
    let (server, _) = start();
    assert_eq!(get(&server, "/metrics?name=x").body, "/metrics");
    assert_eq!(get(&server, "/accept").body, "");
    let mut client = Client::connect(server.address());
    client.send("GET /accept HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\nAccept: c/d;q=0.5\r\n\r\n");
    assert_eq!(client.answer(true).unwrap().body, "a/b, c/d;q=0.5");
}

#[test]
fn head_is_answered_without_a_body() {
    let (server, _) = start();
    let mut client = Client::connect(server.address());
    client.ask("HEAD", "/metrics");
    let came = client.answer(false).unwrap();
    assert_eq!((came.status, came.header("content-length")), (200, Some("8")));
    assert_eq!(client.get("/next").body, "/next", "nothing was left of a body");
}

#[test]
fn other_methods_are_refused_and_bodies_are_not_read() {
    let (server, _) = start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
        let mut client = Client::connect(server.address());
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\nabc"));
        let came = client.answer(true).unwrap();
        assert_eq!((came.status, came.header("allow")), (405, Some("GET, HEAD")), "{method}");
        client.ends();
    }
    let mut client = Client::connect(server.address());
    client.send("GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nabc");
    assert_eq!(client.answer(true).unwrap().body, "/x");
    client.ends();
    assert_eq!(get(&server, "/metrics").status, 200);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let (server, _) = start();
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(5000).collect();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    let all: [&[u8]; 7] = [
        &noise,
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in all {
        let mut client = Client::connect(server.address());
        // It may be closed before everything is written.
        let _ = client.0.get_mut().write_all(bytes);
        let _ = client.0.get_mut().shutdown(std::net::Shutdown::Write);
        let said = client.ends();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 4"), "{said:?}");
    }
    assert_eq!(get(&server, "/metrics").status, 200);
}

#[test]
fn slow_senders_are_cut_off_and_delay_nobody() {
    let (server, _) = start_with(Times { head: 10 * SHORT, ..Times::default() });
    let mut slow: Vec<_> = (0..30).map(|_| Client::connect(server.address())).collect();
    slow.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nA: "));
    assert_eq!(get(&server, "/metrics").status, 200);
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/metrics").status, 200);
    slow.push(idle);
    slow.push(Client::connect(server.address()));
    slow.into_iter().for_each(|client| drop(client.ends()));
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let (server, _) = start_with(Times { write: SHORT, ..Times::default() });
    let mut client = Client::connect(server.address());
    client.ask("GET", "/large");
    let began = Instant::now();
    while client.0.get_mut().write_all(b"x").is_ok() {
        assert!(began.elapsed() < LONG, "it is still there");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(client.ends().len() < 64 << 20, "the rest was not kept for it");
    assert_eq!(get(&server, "/metrics").status, 200);
}

#[test]
fn two_hundred_connections_at_once_are_all_answered() {
    let (server, _) = start();
    let address = server.address();
    let clients = (0..200).map(|i| {
        thread::spawn(move || {
            let path = if i % 2 == 0 { "/livez" } else { "/metrics" };
            let came = Client::connect(address).get(path);
            assert!(came.status == 200 || (came.status == 503 && path == "/metrics"), "{came:?}");
        })
    });
    let clients: Vec<_> = clients.collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn connections_are_not_kept_when_all_places_are_taken() {
    let (server, _) = start();
    let mut kept = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/livez").status, 200);
        kept.push(client);
    }
    let closed = kept.split_off(100);
    closed.into_iter().for_each(|client| drop(client.ends()));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, _) = start();
    let mut client = Client::connect(server.address());
    let paths: Vec<_> = (0..20).map(|i| format!("/{i}")).collect();
    let all = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.send(all.collect::<String>());
    for path in paths {
        assert_eq!(client.answer(true).unwrap().body, path);
    }
}

#[test]
fn pages_that_hang_leave_the_quick_ones_untouched() {
    let (server, site) = start();
    let mut hanging: Vec<_> = (0..18).map(|_| Client::connect(server.address())).collect();
    for (i, client) in hanging.iter_mut().enumerate() {
        client.ask("GET", "/hang");
        // Two are being made before others begin to wait.
        until(|| (i + 1).min(2) <= site.hanging.load(Ordering::SeqCst));
    }
    let began = Instant::now();
    let refused = loop {
        let mut client = Client::connect(server.address());
        client.ask("GET", "/hang");
        client.0.get_ref().set_read_timeout(Some(SHORT)).unwrap();
        if let Some(came) = client.answer(true) {
            break came;
        }
        hanging.push(client);
        assert!(began.elapsed() < LONG && hanging.len() < 30, "the queue has a bound");
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(get(&server, "/livez").status, 200);
    site.opens();
    let answers = hanging.into_iter().filter_map(|mut client| {
        client.0.get_ref().set_read_timeout(Some(LONG)).unwrap();
        client.answer(true)
    });
    assert_eq!(answers.filter(|came| came.status == 200).count(), 18);
    assert_eq!(get(&server, "/metrics").status, 200);
}

#[test]
fn a_page_that_takes_too_long_is_given_up() {
    let (server, site) = start_with(Times { page: SHORT, ..Times::default() });
    for _ in 0..3 {
        assert_eq!(get(&server, "/hang").status, 504);
    }
    assert_eq!(get(&server, "/livez").status, 200);
    site.opens();
    until(|| get(&server, "/metrics").status == 200);
    assert!(site.hanging.load(Ordering::SeqCst) <= 2, "nobody wanted the third any more");
}

#[test]
fn a_page_that_panics_or_is_no_http_is_an_error_of_its_own() {
    let (server, _) = start();
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        for path in ["/panic", "/livez-panic", "/status", "/informs", "/type"] {
            assert_eq!(client.get(path).status, 500, "{path}");
        }
        assert_eq!(client.get("/quick-panic").status, 200, "it is made by a helper then");
    }
}

#[test]
fn a_port_in_use_gives_an_error_that_names_it() {
    let (server, site) = start();
    let Err(error) = MetricsServer::start(server.address(), site) else { panic!("it is in use") };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
    assert!(MetricsServer::start("no port", Arc::new(Site::default())).is_err());
}

#[test]
fn the_end_frees_the_port_although_clients_hold_on() {
    let (server, site) = start();
    let address = server.address();
    let mut idle = Client::connect(address);
    idle.get("/metrics");
    let mut half = Client::connect(address);
    half.send("GET / HT");
    let mut hangs = Client::connect(address);
    hangs.ask("GET", "/hang");
    until(|| site.hanging.load(Ordering::SeqCst) == 1);
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < LONG, "clients do not keep it from ending");
    drop(TcpListener::bind(address).expect("the port is free"));
    [idle, half, hangs].into_iter().for_each(|client| drop(client.ends()));
    site.opens();
    until(|| Arc::strong_count(&site) == 1);
}

#[test]
fn the_end_lets_go_of_the_pages() {
    let (server, site) = start();
    get(&server, "/metrics");
    drop(server);
    until(|| Arc::strong_count(&site) == 1);
}
