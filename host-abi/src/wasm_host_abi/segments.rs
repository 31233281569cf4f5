//! `segments`: the rows and segments that storage engines and indexes work with, as handles.
//!
//! | handle           | lives                                | what is behind it                            |
//! |------------------|--------------------------------------|----------------------------------------------|
//! | `run`, `sink`    | for one flush                        | the kernel's run and sink, owned by the call |
//! | `segment-writer` | for one flush                        | a segment that is no segment before its seal |
//! | `segment`        | until the guest, or the kernel, goes | a weak reference to the kernel's segment     |
//!
//! A number that was once given out never means another thing, so a guest that keeps a handle too long
//! gets an error and not somebody else's rows. References to segments are weak, because a segment's pages
//! are freed when its last reader goes: a guest that forgets to close must not hold them.

use super::base_bindings::sochdb::plugin::segments as contract;
use super::base_bindings::sochdb::plugin::types::Batch;
use super::flat;
use super::handles::Handles;
use super::{GuestError, GuestState, Host, audited, charge};
use crate::limits::{SEGMENT_CHUNK_BYTES_MAX, clamp_rows};
use sochdb_kernel::plugin::{RunCursor, RunRow, SegmentRead, SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::{Arc, Weak};
use wasmtime::component::{Access, Resource};
use wasmtime::{Result, format_err};

/// A segment, as long as the kernel has it.
struct Held {
    id: u64,
    bytes: u64,
    segment: Weak<dyn SegmentRead>,
}

/// A store's handles.
#[derive(Default)]
pub(crate) struct Segments {
    runs: Handles<Box<dyn RunCursor>>,
    sinks: Handles<Arc<dyn SegmentSink>>,
    writers: Handles<Box<dyn SegmentWrite>>,
    segments: Handles<Held>,
    /// What was sealed in the present call.
    sealed: Vec<u64>,
}

impl Segments {
    /// Handles for one flush.
    pub(crate) fn begin_flush(
        &mut self,
        run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> Result<(Resource<contract::Run>, Resource<contract::Sink>)> {
        let (run, sink) = (self.runs.insert(run)?, self.sinks.insert(sink)?);
        Ok((Resource::new_borrow(run), Resource::new_borrow(sink)))
    }

    /// A handle for one merge.
    pub(crate) fn begin_merge(
        &mut self,
        sink: Arc<dyn SegmentSink>,
    ) -> Result<Resource<contract::Sink>> {
        self.sinks.insert(sink).map(Resource::new_borrow)
    }

    /// Closes what the flush may still hold. A segment that was not sealed leaves nothing behind. Returns the
    /// numbers of those that were.
    pub(crate) fn end_flush(&mut self) -> Vec<u64> {
        self.runs.clear();
        self.sinks.clear();
        self.writers.clear();
        std::mem::take(&mut self.sealed)
    }

    /// A handle of `segment` that does not keep it.
    pub(crate) fn lend(
        &mut self,
        segment: &Arc<dyn SegmentRead>,
    ) -> Result<Resource<contract::Segment>> {
        let (id, bytes) = (segment.id().0, segment.raw_bytes());
        let held = Held { id, bytes, segment: Arc::downgrade(segment) };
        self.segments.insert(held).map(Resource::new_own)
    }
}

impl contract::Host for &mut GuestState {}
impl contract::HostRun for &mut GuestState {}
impl contract::HostSink for &mut GuestState {}
impl contract::HostSegmentWriter for &mut GuestState {}
impl contract::HostSegment for &mut GuestState {}

impl<T> contract::HostRunWithStore<T> for Host {
    fn next(
        host: Access<'_, T, Self>,
        run: Resource<contract::Run>,
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<std::result::Result<Batch, GuestError>> {
        audited(host, "segments.run.next", |host| {
            charge(host, 0)?;
            let (rows_max, bytes_max) = clamp_rows(max_rows, max_bytes);
            let state = host.get();
            let rows = state.segments.runs.get(run.rep())?.next_batch(rows_max, bytes_max);
            let batch = match state.answer(rows.map(|rows| flatten(&rows))) {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error)),
            };
            host.get().audit.carried_rows(batch.states.len());
            charge(host, batch.keys.len() + batch.values.len() + 9 * batch.states.len())?;
            Ok(Ok(batch))
        })
    }

    fn drop(host: Access<'_, T, Self>, run: Resource<contract::Run>) -> Result<()> {
        audited(host, "segments.run.drop", |host| {
            charge(host, 0)?;
            host.get().segments.runs.remove(run.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostSinkWithStore<T> for Host {
    fn create(
        host: Access<'_, T, Self>,
        sink: Resource<contract::Sink>,
    ) -> Result<std::result::Result<Resource<contract::SegmentWriter>, GuestError>> {
        audited(host, "segments.sink.create", |host| {
            charge(host, 0)?;
            let state = host.get();
            let writer = state.segments.sinks.get(sink.rep())?.create();
            match state.answer(writer) {
                Ok(writer) => state
                    .segments
                    .writers
                    .insert(writer)
                    .map(|writer| Ok(Resource::new_own(writer))),
                Err(error) => Ok(Err(error)),
            }
        })
    }

    fn drop(host: Access<'_, T, Self>, sink: Resource<contract::Sink>) -> Result<()> {
        audited(host, "segments.sink.drop", |host| {
            charge(host, 0)?;
            host.get().segments.sinks.remove(sink.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostSegmentWriterWithStore<T> for Host {
    fn append(
        host: Access<'_, T, Self>,
        writer: Resource<contract::SegmentWriter>,
        bytes: Vec<u8>,
    ) -> Result<std::result::Result<u64, GuestError>> {
        audited(host, "segments.segment-writer.append", |host| {
            charge(host, bytes.len())?;
            let state = host.get();
            let writer = state.segments.writers.get(writer.rep())?;
            let offset = check_chunk(bytes.len()).and_then(|()| writer.append(&bytes));
            Ok(state.answer(offset))
        })
    }

    fn seal(
        host: Access<'_, T, Self>,
        writer: Resource<contract::SegmentWriter>,
    ) -> Result<std::result::Result<u64, GuestError>> {
        audited(host, "segments.segment-writer.seal", |host| {
            charge(host, 0)?;
            let state = host.get();
            let Some(writer) = state.segments.writers.remove(writer.rep()) else {
                return Err(format_err!("it used a handle after its end"));
            };
            let sealed = writer.seal().map(|id| id.0).inspect(|id| {
                state.audit.about(*id);
                state.segments.sealed.push(*id);
            });
            Ok(state.answer(sealed))
        })
    }

    fn drop(host: Access<'_, T, Self>, writer: Resource<contract::SegmentWriter>) -> Result<()> {
        audited(host, "segments.segment-writer.drop", |host| {
            charge(host, 0)?;
            host.get().segments.writers.remove(writer.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostSegmentWithStore<T> for Host {
    fn info(
        host: Access<'_, T, Self>,
        segment: Resource<contract::Segment>,
    ) -> Result<contract::SegmentInfo> {
        audited(host, "segments.segment.info", |host| {
            charge(host, 0)?;
            let held = host.get().segments.segments.get(segment.rep())?;
            Ok(contract::SegmentInfo { id: held.id, bytes: held.bytes })
        })
    }

    fn read(
        host: Access<'_, T, Self>,
        segment: Resource<contract::Segment>,
        offset: u64,
        len: u32,
    ) -> Result<std::result::Result<Vec<u8>, GuestError>> {
        audited(host, "segments.segment.read", |host| {
            charge(host, (len as usize).min(SEGMENT_CHUNK_BYTES_MAX))?;
            let state = host.get();
            let held = state.segments.segments.get(segment.rep())?;
            state.audit.about(held.id);
            let bytes = match held.segment.upgrade() {
                Some(segment) => check_chunk(len as usize)
                    .and_then(|()| segment.read_at(offset, len as usize))
                    .map(|bytes| bytes.to_vec()),
                None => Err(KernelError::NotFound { kind: "segment", name: held.id.to_string() }),
            };
            Ok(state.answer(bytes))
        })
    }

    fn drop(host: Access<'_, T, Self>, segment: Resource<contract::Segment>) -> Result<()> {
        audited(host, "segments.segment.drop", |host| {
            charge(host, 0)?;
            host.get().segments.segments.remove(segment.rep());
            Ok(())
        })
    }
}

fn check_chunk(bytes: usize) -> KernelResult<()> {
    if bytes <= SEGMENT_CHUNK_BYTES_MAX {
        return Ok(());
    }
    Err(KernelError::Limit {
        what: "the bytes of one read or append",
        got: bytes as u64,
        bound: SEGMENT_CHUNK_BYTES_MAX as u64,
    })
}

/// Where the bytes so far end, as the contract counts.
pub(crate) fn end(bytes: &[u8]) -> KernelResult<u32> {
    u32::try_from(bytes.len()).map_err(|_| KernelError::Limit {
        what: "the bytes of one batch",
        got: bytes.len() as u64,
        bound: u64::from(u32::MAX),
    })
}

fn flatten(rows: &[RunRow]) -> Batch {
    let mut batch = flat::Builder::default();
    rows.iter().for_each(|RunRow { key, value }| batch.push(key, value.as_deref()));
    batch.finish()
}
