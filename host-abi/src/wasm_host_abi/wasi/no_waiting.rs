//! `wasi:io` for guests that cannot wait.
//!
//! A guest that waits would hold a thread of the host where neither fuel nor epoch reaches it, and the
//! usual implementation brings an asynchronous runtime along. Here a stream operation is done at once, on
//! the thread that calls: our streams (an empty input, two outputs, files of granted directories) are
//! always ready, and so are the pollables made of them. Waiting for anything else is a trap. What streams
//! carry is [paid for](super::work).

use super::work::Work;
use bytes::Bytes;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as AsyncHost, HostInputStream as AsyncInput, HostOutputStream as AsyncOutput,
};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Pollable, StreamError, StreamResult, subscribe,
};

/// 64 KiB. What one operation of a stream carries; a guest that has more says it again.
const STREAM_BYTES_MAX: u64 = 64 << 10;

/// The resources of a store.
pub(super) struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Implements polls and streams on the resources of a store.
pub(super) struct NoWaiting<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) work: &'a mut Work,
}

/// What the pollable of a stream is made of.
struct AlwaysReady;

#[wasmtime_wasi::async_trait]
impl Pollable for AlwaysReady {
    async fn ready(&mut self) {}
}

impl HasData for NoWaiting<'static> {
    type Data<'a> = NoWaiting<'a>;
}

fn no_waiting() -> wasmtime::Error {
    wasmtime::Error::msg("a plugin cannot wait: it would hold a thread of the host")
}

/// What `future` answers if it need not wait.
///
/// # Errors
/// A trap when it would have to.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> wasmtime::Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(no_waiting()),
    }
}

impl NoWaiting<'_> {
    fn charge(&mut self, bytes: u64) -> StreamResult<()> {
        self.work.charge(bytes, 0).map_err(|trap| StreamError::Trap(trap.into()))
    }

    fn always_ready(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        self.work.charge(0, 0)?;
        let ready = self.table.push(AlwaysReady)?;
        let pollable = subscribe(self.table, ready)?;
        self.work.made_ready(pollable.rep());
        Ok(pollable)
    }

    fn read_now(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.charge(0)?;
        let len = len.min(STREAM_BYTES_MAX);
        let read = at_once(AsyncInput::blocking_read(self.table, stream, len));
        let bytes = read.map_err(StreamError::Trap)??;
        self.charge(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn write_now(&mut self, stream: Resource<DynOutputStream>, bytes: Bytes) -> StreamResult<()> {
        self.charge(bytes.len() as u64)?;
        let written = self.table.get_mut(&stream)?.blocking_write_and_flush(bytes);
        at_once(written).map_err(StreamError::Trap)?
    }

    fn splice_now(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let room = self.table.get_mut(&to)?.check_write()? as u64;
        let bytes = self.read_now(from, len.min(room))?;
        let count = bytes.len() as u64;
        self.write_now(to, bytes.into())?;
        Ok(count)
    }
}

/// The zeroes that one operation writes.
fn zeroes(len: u64) -> StreamResult<Bytes> {
    if STREAM_BYTES_MAX < len {
        return Err(StreamError::trap("more zeroes than a stream may be given at once"));
    }
    Ok(vec![0; len as usize].into())
}

impl poll::Host for NoWaiting<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.work.charge(pollables.len() as u64, 0)?;
        let ready = pollables.iter().enumerate();
        let ready = ready.filter(|(_, pollable)| self.work.is_always_ready(pollable.rep()));
        let ready: Vec<_> = ready.map(|(index, _)| index as u32).collect();
        if ready.is_empty() { Err(no_waiting()) } else { Ok(ready) }
    }
}

impl poll::HostPollable for NoWaiting<'_> {
    fn ready(&mut self, _: Resource<DynPollable>) -> wasmtime::Result<bool> {
        // Streams always are, and a guest must not spin until a clock is.
        self.work.charge(0, 0)?;
        Ok(true)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.work.charge(0, 0)?;
        if self.work.is_always_ready(pollable.rep()) { Ok(()) } else { Err(no_waiting()) }
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.work.dropped_pollable(pollable.rep());
        poll::HostPollable::drop(self.table, pollable)
    }
}

impl streams::Host for NoWaiting<'_> {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        Ok(AsyncHost::convert_stream_error(self.table, error)?.into())
    }
}

impl streams::HostInputStream for NoWaiting<'_> {
    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.work.closed(stream.rep());
        at_once(AsyncInput::drop(self.table, stream))?
    }

    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.read_now(stream, len)
    }

    fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        self.read_now(stream, len)
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        self.read_now(stream, len).map(|bytes| bytes.len() as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        self.read_now(stream, len).map(|bytes| bytes.len() as u64)
    }

    fn subscribe(
        &mut self,
        _: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.always_ready()
    }
}

impl streams::HostOutputStream for NoWaiting<'_> {
    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.work.closed(stream.rep());
        at_once(AsyncOutput::drop(self.table, stream))?
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        self.charge(0)?;
        let room = AsyncOutput::check_write(self.table, stream)?;
        Ok(room.min(STREAM_BYTES_MAX))
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.write_now(stream, bytes.into())
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.write_now(stream, bytes.into())
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.write_now(stream, zeroes(len)?)
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        self.write_now(stream, zeroes(len)?)
    }

    fn subscribe(
        &mut self,
        _: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.always_ready()
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.charge(0)?;
        AsyncOutput::flush(self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.charge(0)?;
        AsyncOutput::flush(self.table, stream)
    }

    fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.splice_now(to, from, len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.splice_now(to, from, len)
    }
}
