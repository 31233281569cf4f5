//! Requests as payloads: in the encoding that was chosen, and each small enough to be sent.
//!
//! A request that is too large is halved until its parts fit: by its metrics, spans or log records, and a metric by
//! its points. What is too large alone cannot be sent, and is counted.

use crate::messages::{ExportLogs, ExportMetrics, ExportTraces, Histogram, Metric, Sum};
use prost::Message;
use serde::Serialize;
use std::io;

/// What the host's outbox takes.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// How requests are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
}

impl Protocol {
    /// The value of HTTP's header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Protocol::Protobuf => "application/x-protobuf",
            Protocol::Json => "application/json",
        }
    }

    /// `request` in at most `bytes_max` bytes, if it fits.
    pub fn encode(self, request: &impl Request, bytes_max: usize) -> Option<Vec<u8>> {
        match self {
            Protocol::Protobuf => {
                (request.encoded_len() <= bytes_max).then(|| request.encode_to_vec())
            }
            Protocol::Json => {
                let mut bounded = Bounded { bytes: Vec::new(), bytes_max };
                serde_json::to_writer(&mut bounded, request).ok()?;
                Some(bounded.bytes)
            }
        }
    }
}

/// One of the three requests.
pub trait Request: Message + Serialize + Default {
    /// Where it is posted to, behind the endpoint.
    const PATH: &'static str;

    /// Moves its second half into a request of the same resource; none when it cannot be halved.
    fn halve(&mut self) -> Option<Self>;
}

impl Request for ExportMetrics {
    const PATH: &'static str = "/v1/metrics";

    fn halve(&mut self) -> Option<Self> {
        let resource = self.resource_metrics.first_mut()?;
        let scope = resource.scope_metrics.first_mut()?;
        let other = match half(&mut scope.metrics) {
            Some(other) => other,
            None => vec![half_of_metric(scope.metrics.first_mut()?)?],
        };
        Some(ExportMetrics::new(resource.resource.clone(), scope.scope.clone(), other))
    }
}

impl Request for ExportTraces {
    const PATH: &'static str = "/v1/traces";

    fn halve(&mut self) -> Option<Self> {
        let resource = self.resource_spans.first_mut()?;
        let scope = resource.scope_spans.first_mut()?;
        let other = half(&mut scope.spans)?;
        Some(ExportTraces::new(resource.resource.clone(), scope.scope.clone(), other))
    }
}

impl Request for ExportLogs {
    const PATH: &'static str = "/v1/logs";

    fn halve(&mut self) -> Option<Self> {
        let resource = self.resource_logs.first_mut()?;
        let scope = resource.scope_logs.first_mut()?;
        let other = half(&mut scope.log_records)?;
        Some(ExportLogs::new(resource.resource.clone(), scope.scope.clone(), other))
    }
}

/// Hands `send` each payload of `request`, in order. How many parts were too large alone is the answer.
///
/// # Errors
/// The first of `send`; nothing is sent after it.
pub fn each<R: Request, E>(
    request: R,
    protocol: Protocol,
    bytes_max: usize,
    mut send: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let (mut waiting, mut too_large) = (vec![request], 0);
    while let Some(mut request) = waiting.pop() {
        if let Some(bytes) = protocol.encode(&request, bytes_max) {
            send(&bytes)?;
        } else if let Some(other) = request.halve() {
            waiting.extend([other, request]);
        } else {
            too_large += 1;
        }
    }
    Ok(too_large)
}

fn half<T>(items: &mut Vec<T>) -> Option<Vec<T>> {
    (1 < items.len()).then(|| items.split_off(items.len() / 2))
}

fn half_of_metric(metric: &mut Metric) -> Option<Metric> {
    let mut other = Metric {
        name: metric.name.clone(),
        description: metric.description.clone(),
        unit: metric.unit.clone(),
        ..Metric::default()
    };
    if let Some(gauge) = &mut metric.gauge {
        other.gauge.get_or_insert_default().data_points = half(&mut gauge.data_points)?;
    }
    if let Some(sum) = &mut metric.sum {
        other.sum = Some(Sum { data_points: half(&mut sum.data_points)?, ..*sum });
    }
    if let Some(histogram) = &mut metric.histogram {
        let data_points = half(&mut histogram.data_points)?;
        other.histogram = Some(Histogram { data_points, ..*histogram });
    }
    Some(other)
}

/// Bytes that refuse to be more than so many.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes_max - self.bytes.len() < bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
