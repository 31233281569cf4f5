//! `serve-metrics`: metrics and health over HTTP while the database is open here.

use super::args::ServeMetrics;
use super::cancel::ENDING;
use super::failure::{Exit, Failure, Outcome};
use super::{Access, Session, telemetry};
use serde_json::json;
use signal_hook::iterator::Signals;
use sochdb::observability::dashboard;
use sochdb::{Database, Environment};

/// Serves until it is interrupted.
pub fn serve_metrics(session: &mut Session, args: &ServeMetrics) -> Outcome {
    if args.dashboard {
        return session.screen.bytes(every_metric()?.as_bytes());
    }
    // Before the database is opened: whoever interrupts that wants it closed well, too.
    let mut interrupts = Signals::new(ENDING).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot be told to end by a signal: {error}"))
    })?;
    let builder = session.common.builder(Access::Write)?.serve_metrics(args.listen);
    let db = session.common.open_with(builder)?;
    let address = db.metrics_address().expect("the builder was told to serve");
    if session.screen.json {
        session.screen.object(&json!({ "address": address.to_string() }))?;
    } else {
        let directory = session.common.directory.display();
        session.screen.line(format!(
            "metrics of {directory} at http://{address}/metrics, health at /health, /livez and /readyz; Ctrl-C ends it"
        ))?;
    }
    session.screen.flush()?;
    interrupts.forever().next();
    Ok(db.close()?)
}

/// A dashboard of every metric that there is, made of a database that has none of its own.
pub fn every_metric() -> Outcome<String> {
    let directory = tempfile::tempdir().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot make a temporary directory: {error}"))
    })?;
    let db = Database::builder()
        .telemetry(telemetry().clone())
        .background(true)
        .open_in(Environment::disk(directory.path()))?;
    db.plugin_host()?;
    let page = dashboard("SochDB", &db.telemetry().families());
    db.close()?;
    Ok(page)
}
