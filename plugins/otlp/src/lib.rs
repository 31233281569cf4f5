//! The OTLP observer as a plugin: glue between the contract and the rooms below.
//!
//! ```text
//!   batch ──▶ encode: messages ──▶ payload: bytes, in parts that fit ──▶ the host's outbox
//!                                                        settings: where to, with which headers
//! ```

#![forbid(unsafe_code)]

mod encode;
mod json;
mod messages;
mod payload;
mod settings;
#[cfg(test)]
mod tests;

use encode::{Times, nanos};
use messages::{ExportLogs, ExportMetrics, ExportTraces};
use payload::{PAYLOAD_BYTES_MAX, Protocol, Request};
use settings::Settings;
use sochdb_guest::outbox::Address;
use sochdb_guest::telemetry::{self, Level};
use sochdb_guest::{Batch, Error, ErrorCode, Observer, Result, test_batch};

/// Payloads that did not get there, by `signal` and `why`: `size` is too large alone, `limit` was not taken by
/// the outbox, `lost` was given up by it.
const DROPPED_PAYLOADS: &str = "otlp_dropped_payloads_total";
/// Metrics that OTLP has no way to say.
const SKIPPED_METRICS: &str = "otlp_skipped_metrics_total";

/// The plugin: what is sent, and where to.
pub struct Otlp {
    settings: Settings,
    metrics: Option<Signal>,
    traces: Option<Signal>,
    logs: Option<Signal>,
}

/// Where one signal goes.
struct Signal {
    url: String,
    /// Opened when there is something to send: until the address is granted, batches are refused and say so.
    address: Option<Address>,
    /// Payloads that the outbox has given up so far.
    lost: u64,
}

impl Otlp {
    fn new(settings: Settings) -> Self {
        let signal = |is_sent: bool, path| {
            let url = format!("{}{path}", settings.endpoint);
            is_sent.then_some(Signal { url, address: None, lost: 0 })
        };
        let metrics = signal(settings.metrics, ExportMetrics::PATH);
        let traces = signal(settings.traces, ExportTraces::PATH);
        let logs = signal(settings.logs, ExportLogs::PATH);
        Otlp { settings, metrics, traces, logs }
    }
}

impl Observer for Otlp {
    fn init() -> Result<Self> {
        Ok(Otlp::new(Settings::read()?))
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        let Otlp { settings, metrics, traces, logs } = self;
        let times = Times { since: nanos(batch.since_unix_us), now: nanos(batch.unix_us) };
        let resource = encode::resource(batch.resource, &settings.resource);
        // Each signal is tried, whatever becomes of the others.
        let mut sent = Ok(());
        if let Some(signal) = metrics {
            let (request, skipped) = encode::metrics(batch.metrics, times, &resource);
            sent = sent.and(signal.post("metrics", request, settings));
            count(SKIPPED_METRICS, &[], skipped);
        }
        if let Some(signal) = traces {
            let request = encode::traces(batch.spans, &resource);
            sent = sent.and(signal.post("traces", request, settings));
        }
        if let Some(signal) = logs {
            let request = encode::logs(batch.logs, times, &resource);
            sent = sent.and(signal.post("logs", request, settings));
        }
        sent
    }

    fn self_test(&mut self) -> Result<()> {
        let batch = test_batch();
        let times = Times { since: nanos(batch.since_unix_us), now: nanos(batch.unix_us) };
        let resource = encode::resource(batch.resource, &self.settings.resource);
        let protocol = self.settings.protocol;
        check(encode::metrics(batch.metrics, times, &resource).0, protocol)?;
        check(encode::traces(batch.spans, &resource), protocol)?;
        check(encode::logs(batch.logs, times, &resource), protocol)
    }
}

impl Signal {
    /// The address, opened. The host's error names the address and where it must be granted.
    fn open(&mut self) -> Result<&Address> {
        if self.address.is_none() {
            let address = Address::open(&self.url)?;
            self.lost = address.status().lost;
            self.address = Some(address);
        }
        Ok(self.address.as_ref().expect("opened above"))
    }

    /// Gives `request`, if there is one, to the outbox. What the outbox cannot take is counted, and no error.
    fn post<R: Request>(
        &mut self,
        name: &str,
        request: Option<R>,
        settings: &Settings,
    ) -> Result<()> {
        self.report_lost(name);
        let Some(request) = request else { return Ok(()) };
        let address = self.open()?;
        let content_type = ("content-type", settings.protocol.content_type());
        let headers = settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = [content_type].into_iter().chain(headers).collect();
        let mut refused = 0;
        let post = |body: &[u8]| match address.post(&headers, body) {
            Err(error) if error.code == ErrorCode::Limit => {
                refused += 1;
                Ok(())
            }
            posted => posted,
        };
        let posted = payload::each(request, settings.protocol, PAYLOAD_BYTES_MAX, post);
        count(DROPPED_PAYLOADS, &[("signal", name), ("why", "limit")], refused);
        count(DROPPED_PAYLOADS, &[("signal", name), ("why", "size")], posted?);
        Ok(())
    }

    /// Says what the outbox has given up since it was last asked.
    fn report_lost(&mut self, name: &str) {
        let Some(address) = &self.address else { return };
        let status = address.status();
        let lost = status.lost.saturating_sub(self.lost);
        self.lost = status.lost;
        if 0 < lost {
            count(DROPPED_PAYLOADS, &[("signal", name), ("why", "lost")], lost);
            let why = status.why;
            telemetry::log(
                Level::Warn,
                &format!("{lost} payloads of {name} did not get there: {why}"),
            );
        }
    }
}

/// Counts if there is something to count. A count that the host does not take is lost: nothing depends on it.
fn count(name: &str, labels: &[(&str, &str)], count: u64) {
    if 0 < count {
        let _: Result<()> = telemetry::count(name, labels, count as f64);
    }
}

/// Whether what `request` is encoded to says the same.
fn check<R: Request + PartialEq>(request: Option<R>, protocol: Protocol) -> Result<()> {
    let request =
        request.ok_or_else(|| Error::internal("the self-test's batch makes no request"))?;
    let bytes = protocol.encode(&request, PAYLOAD_BYTES_MAX).unwrap_or_default();
    let is_same = match protocol {
        Protocol::Protobuf => R::decode(bytes.as_slice()).is_ok_and(|decoded| decoded == request),
        Protocol::Json => {
            serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|decoded| {
                serde_json::to_value(&request).is_ok_and(|value| decoded == value)
            })
        }
    };
    let path = R::PATH;
    let broken = || {
        Error::internal(format!("the self-test's payload for {path} does not say what it should"))
    };
    is_same.then_some(()).ok_or_else(broken)
}

sochdb_guest::export!(observer: Otlp);
