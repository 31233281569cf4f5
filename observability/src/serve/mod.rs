//! Pages for scrapers and health checks, over HTTP.
//!
//! One thread accepts connections and speaks HTTP/1.1 with all of them; it never waits for a page. Pages that take
//! their time are made by two helper threads, so that a page which hangs leaves the quick ones untouched:
//!
//! ```text
//!   connections ──▶ sochdb-metrics ── quick: /livez, /readyz ──▶ answered at once
//!                         └── others ──▶ queue of 16 ──▶ 2 helpers ──▶ answered when ready
//! ```
//!
//! | what comes                                        | what is answered                              |
//! |---------------------------------------------------|-----------------------------------------------|
//! | GET, HEAD                                         | what [`Pages`] answer                         |
//! | another method                                    | 405                                           |
//! | a request while the queue of the helpers is full  | 503, with `Retry-After`                       |
//! | one whose page takes longer than 30 s             | 504                                           |
//! | one whose page panics, or gives no HTTP           | 500                                           |
//! | bytes that are no request                         | 400 or 431, and the connection is closed      |
//!
//! Bounds: 64 connections, further ones wait to be accepted and those that are there are not kept alive then; 16 KiB
//! of a request's head, which must be there within 5 s, also after an earlier answer; an answer of which nothing is
//! taken for 10 s is given up. A request's body is not read.

mod connection;
mod helpers;
#[cfg(test)]
mod tests;

use connection::Server;
use helpers::Helpers;
use parking_lot::Mutex;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// How long the end of a server waits for its threads.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Such as `/metrics`, without what follows a question mark.
    pub path: String,
    /// The header of that name; empty without one.
    pub accept: String,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// A media type.
    pub content_type: String,
    /// The text.
    pub body: String,
}

/// Who answers.
pub trait Pages: Send + Sync + 'static {
    /// The answer. Asked by a few threads at once. May take its time, unless the page [`is_quick`](Self::is_quick).
    fn answer(&self, request: &Request) -> Answer;

    /// Whether the answer for `path` waits for nothing: no lock that is held for long, no plugin, no disk. It is then
    /// given however busy the other pages are, and by the thread that serves all connections.
    fn is_quick(&self, path: &str) -> bool {
        let _ = path;
        false
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// For the head of a request, and between two requests.
    head: Duration,
    /// For a page.
    page: Duration,
    /// Without anything of an answer being taken.
    write: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let [head, page, write] = [5, 30, 10].map(Duration::from_secs);
        Times { head, page, write }
    }
}

/// Serves pages until it is dropped.
///
/// The end takes at most a second, even when clients hold their connections open; the address is free then. A page
/// that hangs keeps its thread, and with it the pages, until it comes back.
pub struct MetricsServer {
    address: SocketAddr,
    ending: watch::Sender<bool>,
    /// Says that all threads have ended, by ending. Behind a lock so that the server can be shared.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl MetricsServer {
    /// Listens at `address`, such as `127.0.0.1:9464`; port 0 for any that is free.
    ///
    /// # Errors
    /// When the address makes no sense, or cannot be listened at; the error names it.
    pub fn start(address: impl ToSocketAddrs, pages: Arc<dyn Pages>) -> io::Result<MetricsServer> {
        MetricsServer::start_with(address, pages, Times::default())
    }

    fn start_with(
        address: impl ToSocketAddrs,
        pages: Arc<dyn Pages>,
        times: Times,
    ) -> io::Result<MetricsServer> {
        let listener = listen(&address.to_socket_addrs()?.collect::<Vec<_>>())?;
        let address = listener.local_addr()?;
        let (ending, ends) = watch::channel(false);
        let (alive, ended) = mpsc::channel();
        let helpers = Helpers::start(&pages, &alive)?;
        let server = Server::new(listener, pages, helpers, times)?;
        thread::Builder::new().name("sochdb-metrics".to_owned()).spawn(move || {
            // Its address is free then, and everything else goes on.
            if catch_unwind(AssertUnwindSafe(|| server.serve(ends))).is_err() {
                tracing::error!(%address, "pages are not served any more: the server panicked");
            }
            drop(alive);
        })?;
        Ok(MetricsServer { address, ending, ended: Mutex::new(ended) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.ending.send_replace(true);
        // Ends with an error in any case: nobody is left who could send, or it takes too long.
        let _ = self.ended.get_mut().recv_timeout(END_PATIENCE);
    }
}

fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addresses).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|why| {
        let all: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let all = if all.is_empty() { "no address".to_owned() } else { all.join(", ") };
        io::Error::new(why.kind(), format!("cannot listen at {all}: {why}"))
    })
}

/// The answer of `pages`, whatever they do.
fn answer(pages: &dyn Pages, request: &Request) -> Answer {
    let answer = catch_unwind(AssertUnwindSafe(|| pages.answer(request)));
    answer.unwrap_or_else(|_| plain(500, "this page panicked"))
}

fn plain(status: u16, sentence: &str) -> Answer {
    let content_type = "text/plain; charset=utf-8".to_owned();
    Answer { status, content_type, body: format!("{sentence}\n") }
}
