//! The world outside of a graph, as the host gives it.

use sochdb_graph::{Blob, Error as GraphError, Result as GraphResult, Sink, Space, Target};
use sochdb_guest::{Entries, Error, Query, Segment, SegmentWriter};
use std::borrow::Borrow;

/// The entries that a graph is built of.
pub(crate) struct EntriesSpace<'a>(pub &'a Entries<'a>);

impl Space for EntriesSpace<'_> {
    fn len(&self) -> u32 {
        self.0.count()
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> GraphResult<()> {
        put(out, self.0.between(number, others))
    }
}

/// What is looked for.
pub(crate) struct QueryTarget<'a>(pub &'a Query<'a>);

impl Target for QueryTarget<'_> {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> GraphResult<()> {
        put(out, self.0.distances(numbers))
    }
}

/// Adds what the host answered to `out`, without copying where nothing is in it.
fn put(out: &mut Vec<f32>, answer: Result<Vec<f32>, Error>) -> GraphResult<()> {
    let mut distances = answer.map_err(GraphError::failed)?;
    if out.is_empty() {
        *out = distances;
    } else {
        out.append(&mut distances);
    }
    Ok(())
}

/// The segment that a graph is written to.
pub(crate) struct SegmentSink(pub SegmentWriter);

impl Sink for SegmentSink {
    fn append(&mut self, bytes: &[u8]) -> GraphResult<()> {
        self.0.append(bytes).map(drop).map_err(GraphError::failed)
    }
}

/// The segment that a graph was written to.
pub struct SegmentBytes<S>(pub S);

impl<S: Borrow<Segment>> Blob for SegmentBytes<S> {
    fn len(&self) -> u64 {
        self.0.borrow().info().bytes
    }

    fn read(&self, offset: u64, len: u32) -> GraphResult<Vec<u8>> {
        self.0.borrow().read(offset, len as usize).map_err(GraphError::failed)
    }
}

/// A graph's error as the host gets it; the host's own come back as they were.
pub(crate) fn error(error: GraphError) -> Error {
    match error {
        GraphError::Failed(outside) => match outside.downcast::<Error>() {
            Ok(host) => *host,
            Err(other) => Error::internal(other.to_string()),
        },
        GraphError::Corrupt { .. } => Error::corrupt(error.to_string()),
        _ => Error::invalid(error.to_string()),
    }
}
