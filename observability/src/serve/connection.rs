//! The thread that speaks HTTP with everybody.

use super::helpers::Helpers;
use super::{Answer, END_PATIENCE, Pages, Request, Times, plain};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};

const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Until a connection is accepted again after the system refused one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Server {
    runtime: Runtime,
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    pages: Arc<dyn Pages>,
    helpers: Helpers,
    times: Times,
    /// One for each connection that may be there.
    places: Arc<Semaphore>,
}

impl Server {
    pub(super) fn new(
        listener: std::net::TcpListener,
        pages: Arc<dyn Pages>,
        helpers: Helpers,
        times: Times,
    ) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Server { runtime, listener, shared: Arc::new(Shared { pages, helpers, times, places }) })
    }

    /// Serves until `ends` says so, and then for a moment those whose answer is on its way.
    pub(super) fn serve(self, mut ends: watch::Receiver<bool>) {
        let Server { runtime, listener, shared } = self;
        runtime.block_on(async {
            let connections = ends.clone();
            let accept = accept(listener, &shared, &connections);
            let mut end = pin!(ends.wait_for(|ending| *ending));
            let mut accept = pin!(accept);
            std::future::poll_fn(|context| match end.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => accept.as_mut().poll(context),
            })
            .await;
        });
        // The listener is gone. Connections end by themselves, or with the runtime.
        let all = u32::try_from(CONNECTIONS_MAX).expect("a small number");
        runtime.block_on(async {
            let _ = timeout(END_PATIENCE / 2, shared.places.acquire_many(all)).await;
        });
        drop(runtime);
    }
}

/// Accepts connections, never more than there are places for.
async fn accept(listener: TcpListener, shared: &Arc<Shared>, ends: &watch::Receiver<bool>) {
    loop {
        let Ok(place) = shared.places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (shared, ends) = (shared.clone(), ends.clone());
        tokio::spawn(async move {
            converse(stream, &shared, ends).await;
            drop(place);
        });
    }
}

/// All requests of one connection.
async fn converse(stream: TcpStream, shared: &Arc<Shared>, mut ends: watch::Receiver<bool>) {
    let patient = Patient { stream, patience: shared.times.write, waits: None };
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(shared.respond(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.times.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(patient), service);
    let (mut connection, mut end) = (pin!(connection), pin!(ends.wait_for(|ending| *ending)));
    let mut ending = false;
    // What goes wrong with a connection is known to the other side, and ends this connection only.
    let _ = std::future::poll_fn(|context| {
        if !ending && end.as_mut().poll(context).is_ready() {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await;
}

impl Shared {
    async fn respond(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let (answer, more) = if [Method::GET, Method::HEAD].contains(request.method()) {
            self.page(request).await
        } else {
            (plain(405, "only GET and HEAD"), Some((ALLOW, "GET, HEAD")))
        };
        let mut response = response(answer);
        let headers = response.headers_mut();
        headers.extend(more.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.places.available_permits() == 0 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn page(
        &self,
        request: hyper::Request<Incoming>,
    ) -> (Answer, Option<(HeaderName, &'static str)>) {
        let accept = request.headers().get_all(ACCEPT).iter();
        let accept: Vec<_> = accept.filter_map(|value| value.to_str().ok()).collect();
        let (path, accept) = (request.uri().path().to_owned(), accept.join(", "));
        let request = Request { path, accept };
        let quick = std::panic::AssertUnwindSafe(|| self.pages.is_quick(&request.path));
        if std::panic::catch_unwind(quick).unwrap_or(false) {
            return (super::answer(&*self.pages, &request), None);
        }
        let busy = || (plain(503, "too many pages are being made"), Some((RETRY_AFTER, "1")));
        let Some(comes) = self.helpers.ask(request) else { return busy() };
        match timeout(self.times.page, comes).await {
            Ok(Ok(answer)) => (answer, None),
            Ok(Err(_)) => (plain(500, "nobody is left who could make this page"), None),
            Err(_) => (plain(504, "this page took too long"), None),
        }
    }
}

/// The answer as HTTP; an error when it cannot be.
fn response(answer: Answer) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(answer.status).ok().filter(|status| 200 <= status.as_u16());
    let content_type = HeaderValue::from_str(&answer.content_type).ok();
    let Some((status, content_type)) = status.zip(content_type) else {
        return response(plain(500, "this page has a status or a type that HTTP does not know"));
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// A connection that is given up when the other side takes nothing for a while.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Until when, while something is to be written and is not taken.
    waits: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        waits.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, written)
    }
}
