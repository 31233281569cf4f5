//! Observers that send something to addresses: only to those that manifest and operator name, and never in the
//! host's way.

use crate::guest::{Bench, Observer};
use sochdb_host_abi::audit::{AuditFilter, Outcome};
use sochdb_host_abi::{HostOptions, PluginHost, Policy};
use sochdb_kernel::plugin::{ObservabilityExtension, PluginManager, TelemetryBatch};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_test_guests::{MOODY, manifest};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// How long something is waited for that comes at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who takes payloads and keeps them.
struct Collector {
    address: SocketAddr,
    got: mpsc::Receiver<String>,
}

impl Collector {
    fn new() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (send, got)) = (listener.local_addr().unwrap(), mpsc::channel());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                connection.set_read_timeout(Some(PATIENCE)).unwrap();
                let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
                // A request is whole when its body is as long as it says.
                let is_whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).to_lowercase();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                    let len = head.split("content-length: ").nth(1).unwrap_or("0");
                    let len = len.lines().next().unwrap_or("0");
                    len.parse::<usize>().unwrap() <= body.len()
                };
                while !is_whole(&request) {
                    match connection.read(&mut bytes) {
                        Ok(0) | Err(_) => break,
                        Ok(len) => request.extend_from_slice(&bytes[..len]),
                    }
                }
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = connection.write_all(answer.as_bytes());
                if send.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                    return;
                }
            }
        });
        Collector { address, got }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

struct Poster {
    host: PluginHost,
    observer: Arc<dyn ObservabilityExtension>,
    _folder: TempDir,
}

/// An observer that posts to `address`; its manifest asks for `wanted`, the policy allows `allowed`.
fn poster(address: &str, wanted: &str, allowed: &str) -> KernelResult<Poster> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("moody.wasm"), MOODY).unwrap();
    let more = format!(
        "[capabilities]\naddresses = {wanted}\n\
         [resources]\nmax_instances = 1\n\
         [config_schema]\nmood = {{ type = \"text\" }}\naddress = {{ type = \"text\" }}\n\
         [config]\nmood = \"post\"\naddress = {address:?}\n"
    );
    let path = folder.path().join("moody.toml");
    fs::write(&path, manifest("moody", "observer", &more)).unwrap();
    let policy = match allowed {
        "" => Policy::default(),
        allowed => Policy::parse("policy.toml", &format!("[allow]\naddresses = {allowed}\n"))?,
    };
    let (host, plugins) = (
        PluginHost::with(HostOptions { policy, ..HostOptions::default() })?,
        PluginManager::default(),
    );
    host.load_manifest(&path, &plugins)?;
    Ok(Poster { host, observer: plugins.observers().remove(0), _folder: folder })
}

#[test]
fn a_payload_reaches_the_address_that_both_name() {
    let collector = Collector::new();
    let all = format!("[{:?}]", collector.url("/"));
    let poster = poster(&collector.url("/v1/in"), &all, &all).unwrap();
    for number in 1..=3 {
        poster.observer.ingest(&TelemetryBatch::default()).unwrap();
        let got = collector.got.recv_timeout(PATIENCE).unwrap();
        assert!(got.starts_with("POST /v1/in HTTP/1.1\r\n"), "{got}");
        assert!(got.to_lowercase().contains("content-type: text/plain\r\n"), "{got}");
        assert!(got.ends_with(&format!("\r\n\r\n{number}")), "{got}");
    }
    assert!(poster.host.outbox().flush(PATIENCE));
    let status = poster.host.outbox().status(&collector.url("/v1/in"));
    assert_eq!((status.sent, status.lost, status.waiting), (3, 0, 0), "{}", status.why);
}

#[test]
fn an_address_outside_the_grant_is_denied_and_nothing_is_sent() {
    let (collector, other) = (Collector::new(), Collector::new());
    let list = |url: String| format!("[{url:?}]");
    let (ours, theirs) = (list(collector.url("/")), list(other.url("/")));
    let deep = list(collector.url("/v1/other"));
    for (wanted, allowed) in [
        (ours.as_str(), ""),
        ("[]", ours.as_str()),
        (&ours, &theirs),
        (&theirs, &ours),
        (&deep, &ours),
        (&ours, &deep),
    ] {
        let poster = poster(&collector.url("/v1/in"), wanted, allowed).unwrap();
        let error = poster.observer.ingest(&TelemetryBatch::default()).unwrap_err();
        let KernelError::Plugin { fault: PluginFault::Refused, message, .. } = &error else {
            panic!("{error}")
        };
        assert!(message.contains("/v1/in' was not granted"), "{message}");
        let denied = AuditFilter { outcome: Some(Outcome::Denied), ..AuditFilter::default() };
        let denied = poster.host.audit().recent(&denied, 10);
        let what: Vec<_> = denied.iter().map(|record| record.function.as_str()).collect();
        assert!(what.contains(&"outbox.address.open"), "{what:?}");
        assert!(poster.host.outbox().flush(PATIENCE));
    }
    assert!(collector.got.try_recv().is_err() && other.got.try_recv().is_err());
}

#[test]
fn what_is_no_address_is_refused_where_it_is_written() {
    for bad in ["https://127.0.0.1/", "http://user@127.0.0.1/", "ftp://127.0.0.1/", "127.0.0.1"] {
        let list = format!("[{bad:?}]");
        let error = poster("http://127.0.0.1/", &list, "").err().expect("it is wrong");
        assert!(error.to_string().contains("is no address"), "{error}");
        let error = poster("http://127.0.0.1/", "[]", &list).err().expect("it is wrong");
        assert!(error.to_string().contains("is no address"), "{error}");
        let poster = poster(bad, "[\"http://127.0.0.1/\"]", "[\"http://127.0.0.1/\"]").unwrap();
        let error = poster.observer.ingest(&TelemetryBatch::default()).unwrap_err();
        assert!(error.to_string().contains("is no address"), "{error}");
    }
}

/// Imports of the outbox, and a function that opens the address at 1600, `http://127.0.0.1:9/`.
const OUTBOX: &str = r#"
    (import "sochdb:plugin/outbox@0.1.0" "[static]address.open" (func $open (param i32 i32 i32)))
    (import "sochdb:plugin/outbox@0.1.0" "[method]address.post"
        (func $post (param i32 i32 i32 i32 i32 i32)))"#;
const OPENED: &str = r#"
    (data (i32.const 1600) "http://127.0.0.1:9/")
    (func $opened (result i32)
        (call $open (i32.const 1600) (i32.const 19) (i32.const 1700))
        (if (i32.load8_u (i32.const 1700)) (then unreachable))
        (i32.load (i32.const 1704)))"#;
const GRANTED: &str = "[capabilities]\naddresses = [\"http://127.0.0.1:9/\"]";

fn hostile(ingest: &str, items: &str) -> (Bench, Arc<dyn ObservabilityExtension>) {
    let items = format!("{OPENED} {items}");
    let guest = Observer { imports: OUTBOX, items: &items, ingest, ..Observer::default() };
    let policy = Policy::parse("p", "[allow]\naddresses = [\"http://127.0.0.1:9/\"]").unwrap();
    let bench = Bench::with(HostOptions { policy, ..HostOptions::default() });
    let observer = bench.load_observer(&guest.build(), GRANTED).unwrap();
    (bench, observer)
}

#[test]
fn a_header_that_would_begin_another_request_is_refused() {
    for (name, value) in [
        ("x", "a\\0d\\0aHost: evil"),
        ("x\\0d\\0ay", "a"),
        ("host", "evil"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("", "a"),
        ("x y", "a"),
    ] {
        let len = |text: &str| text.replace("\\0d", "!").replace("\\0a", "!").len();
        let items = format!(
            "(data (i32.const 1800) \"{name}\") (data (i32.const 1900) \"{value}\")
             (func $headers (i32.store (i32.const 2000) (i32.const 1800))
                 (i32.store (i32.const 2004) (i32.const {}))
                 (i32.store (i32.const 2008) (i32.const 1900))
                 (i32.store (i32.const 2012) (i32.const {})))",
            len(name),
            len(value)
        );
        // Error 3 is `invalid`; anything else traps.
        let ingest = "(call $headers)
            (call $post (call $opened) (i32.const 2000) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 1700))
            (if (i32.eqz (i32.load8_u (i32.const 1700))) (then unreachable))
            (if (i32.ne (i32.load8_u (i32.const 1704)) (i32.const 3)) (then unreachable))
            (call $ok)";
        let (bench, observer) = hostile(ingest, &items);
        observer.ingest(&TelemetryBatch::default()).unwrap_or_else(|error| {
            panic!("{name:?}: {value:?}: {error}");
        });
        let status = bench.host.outbox().status("http://127.0.0.1:9/");
        assert_eq!((status.waiting, status.sent, status.lost), (0, 0, 0));
    }
}

#[test]
fn a_flood_of_payloads_ends_with_the_fuel_and_leaves_no_more_than_the_outbox_holds() {
    let ingest = "(local $to i32) (local.set $to (call $opened))
        (drop (memory.grow (i32.const 20)))
        (loop (call $post (local.get $to) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 1000000) (i32.const 1700)) (br 0))
        unreachable";
    let (bench, observer) = hostile(ingest, "");
    let error = observer.ingest(&TelemetryBatch::default()).unwrap_err();
    let KernelError::Plugin { fault: PluginFault::Exhausted, .. } = &error else {
        panic!("{error}")
    };
    let status = bench.host.outbox().status("http://127.0.0.1:9/");
    assert!(status.waiting <= 64, "{status:?}");
}

#[test]
fn a_payload_that_is_too_large_is_answered_with_a_limit() {
    let ingest = "(drop (memory.grow (i32.const 100)))
        (call $post (call $opened) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 5000000) (i32.const 1700))
        (if (i32.eqz (i32.load8_u (i32.const 1700))) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 1704)) (i32.const 4)) (then unreachable))
        (call $ok)";
    let (_bench, observer) = hostile(ingest, "");
    observer.ingest(&TelemetryBatch::default()).unwrap();
}
