//! What is answered over HTTP: metrics for scrapers, probes for orchestrators, and a page that lists them.
//!
//! | path       | what it answers                                                                  |
//! |------------|----------------------------------------------------------------------------------|
//! | `/metrics` | the metrics, as the `prometheus` plugin writes them, in the format asked for     |
//! | `/livez`   | 200 unless the database has failed and must be opened anew                       |
//! | `/readyz`  | 200 once it serves; 503 while it is opened, with how far it is                   |
//! | `/health`  | how the kernel, each plugin, tenant and observer is, as JSON; 503 unless ready   |
//! | `/`        | these, as links                                                                  |

use super::Observers;
use sochdb_observability::{Answer, Pages, Request, Telemetry, probe};
use sochdb_telemetry::ComponentHealth;
use std::fmt::Write;
use std::sync::{OnceLock, Weak};

const INDEX: &str = "<!doctype html>\n<html lang=\"en\"><title>SochDB</title>\n<h1>SochDB</h1>\n<ul>\n\
    <li><a href=\"/metrics\">metrics</a>\n<li><a href=\"/health\">health of each part</a>\n\
    <li><a href=\"/livez\">live?</a>\n<li><a href=\"/readyz\">ready?</a>\n</ul></html>\n";

/// The pages of one database, from before it is opened.
pub(crate) struct DatabasePages {
    telemetry: Telemetry,
    observers: OnceLock<Weak<Observers>>,
}

impl DatabasePages {
    pub(crate) fn new(telemetry: Telemetry) -> DatabasePages {
        DatabasePages { telemetry, observers: OnceLock::new() }
    }

    /// The database is open.
    pub(crate) fn attach(&self, observers: Weak<Observers>) {
        let _ = self.observers.set(observers);
    }

    fn metrics(&self, accept: &str) -> Answer {
        let Some(observers) = self.observers.get().and_then(Weak::upgrade) else {
            return text(503, "the database is not open\n".to_owned());
        };
        match observers.render(accept) {
            Ok(page) => Answer { status: 200, content_type: page.content_type, body: page.body },
            Err(error) => text(500, format!("{error}\n")),
        }
    }

    fn health(&self) -> Answer {
        let health = self.telemetry.health();
        let probe = probe(&health);
        let parts: Vec<_> = health
            .iter()
            .map(|ComponentHealth { component, name, state, why }| {
                serde_json::json!({
                    "component": component, "name": name, "state": state.word(), "why": why,
                })
            })
            .collect();
        let body = serde_json::json!({ "live": probe.live, "ready": probe.ready, "parts": parts });
        let content_type = "application/json".to_owned();
        let status = if probe.ready { 200 } else { 503 };
        Answer { status, content_type, body: format!("{body:#}\n") }
    }

    fn probe(&self, is_good: impl Fn(sochdb_observability::Probe) -> bool) -> Answer {
        let health = self.telemetry.health();
        if is_good(probe(&health)) {
            return text(200, "ok\n".to_owned());
        }
        let mut why = String::new();
        for part in health.iter().filter(|part| part.component == "kernel") {
            let _ = writeln!(why, "{}: {}", part.state.word(), part.why);
        }
        text(503, why)
    }
}

fn text(status: u16, body: String) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8".to_owned(), body }
}

impl Pages for DatabasePages {
    fn is_quick(&self, path: &str) -> bool {
        path != "/metrics"
    }

    fn answer(&self, request: &Request) -> Answer {
        match &*request.path {
            "/" => Answer {
                status: 200,
                content_type: "text/html; charset=utf-8".to_owned(),
                body: INDEX.to_owned(),
            },
            "/metrics" => self.metrics(&request.accept),
            "/livez" => self.probe(|probe| probe.live),
            "/readyz" => self.probe(|probe| probe.ready),
            "/health" => self.health(),
            path => text(404, format!("there is no page {path:?}; / lists those there are\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::{BootState, BootStateMachine, RecoveryMode};
    use crate::telemetry::KernelState;
    use std::sync::Arc;

    fn get(pages: &DatabasePages, path: &str) -> (u16, String) {
        let answer = pages.answer(&Request { path: path.into(), accept: String::new() });
        (answer.status, answer.body)
    }

    #[test]
    fn a_database_that_is_opened_is_live_and_not_ready_and_one_that_failed_is_neither() {
        let telemetry = Telemetry::default();
        let pages = DatabasePages::new(telemetry.clone());
        assert_eq!(get(&pages, "/readyz").0, 503, "nothing is known yet");
        let machine = BootStateMachine::new(RecoveryMode::Strict);
        let state = Arc::new(KernelState::new(machine.watch()));
        telemetry.watch(&state);
        machine.enter(BootState::Migrate, 1);
        machine.enter(BootState::Recover, 2);
        assert_eq!(get(&pages, "/livez"), (200, "ok\n".into()));
        let (status, why) = get(&pages, "/readyz");
        assert_eq!((status, &*why), (503, "starting: opening: Recover, 0 % of it\n"));
        let (status, health) = get(&pages, "/health");
        assert_eq!(status, 503);
        assert!(health.contains("\"state\": \"starting\""), "{health}");
        assert_eq!(get(&pages, "/metrics").0, 503);
        assert_eq!(get(&pages, "/").0, 200);
        assert_eq!(get(&pages, "/other").0, 404);
        machine.fail("the disk is gone".to_owned(), true, 3);
        assert_eq!(get(&pages, "/livez"), (503, "failed: the disk is gone\n".into()));
        assert_eq!(get(&pages, "/readyz").0, 503);
    }
}
