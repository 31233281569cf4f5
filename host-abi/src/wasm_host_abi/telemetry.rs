//! `telemetry`: log lines and metrics of the guest, bounded per call and per plugin.

use super::base_bindings::sochdb::plugin::telemetry as contract;
use super::base_bindings::sochdb::plugin::types::{Label, LogLevel};
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge};
use crate::limits::volume;
use crate::plugin_telemetry::MetricKind;
use wasmtime::component::Access;

/// How much the present call has said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    log_lines: u32,
    metrics: u32,
}

impl contract::Host for &mut GuestState {}

impl<T> contract::HostWithStore<T> for Host {
    fn log_message(
        host: Access<'_, T, Self>,
        level: LogLevel,
        message: String,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        audited(host, "telemetry.log-message", |host| {
            charge(host, message.len())?;
            let state = host.get();
            if let Err(error) = check_length(message.len()) {
                return Ok(Err(error));
            }
            if let Err(error) =
                count(&mut state.said.log_lines, volume::LOG_LINES_PER_CALL_MAX, "log lines")
            {
                return Ok(Err(error));
            }
            let plugin = &state.plugin;
            plugin.telemetry.log(&plugin.manifest.name, level.into(), &message);
            Ok(Ok(()))
        })
    }

    fn emit_metric(
        host: Access<'_, T, Self>,
        kind: contract::MetricKind,
        name: String,
        labels: Vec<Label>,
        value: f64,
    ) -> wasmtime::Result<Result<(), GuestError>> {
        audited(host, "telemetry.emit-metric", |host| {
            let label_bytes = labels.iter().map(|label| label.name.len() + label.value.len());
            charge(host, name.len() + label_bytes.sum::<usize>())?;
            let state = host.get();
            state.audit.about(name.as_str());
            if let Err(error) =
                count(&mut state.said.metrics, volume::METRICS_PER_CALL_MAX, "metrics")
            {
                return Ok(Err(error));
            }
            let kind = match kind {
                contract::MetricKind::Counter => MetricKind::Counter,
                contract::MetricKind::Gauge => MetricKind::Gauge,
            };
            let labels = labels.into_iter().map(|label| (label.name, label.value)).collect();
            Ok(state.plugin.telemetry.emit(kind, name, labels, value).map_err(Into::into))
        })
    }
}

fn check_length(bytes: usize) -> Result<(), GuestError> {
    let bound = volume::LOG_LINE_BYTES_MAX;
    if bytes <= bound {
        return Ok(());
    }
    Err(GuestError::answer(
        code::LIMIT,
        format!("a log line has at most {bound} bytes, not {bytes}"),
    ))
}

fn count(so_far: &mut u32, bound: u32, what: &str) -> Result<(), GuestError> {
    if *so_far == bound {
        return Err(GuestError::answer(
            code::LIMIT,
            format!("one call has at most {bound} {what}"),
        ));
    }
    *so_far += 1;
    Ok(())
}
