//! Where the numbers come from: the metrics page of a running program, or a database of this one.
//!
//! The page is text in Prometheus' format 0.0.4, read by `prometheus_parse`. That reads label values literally and
//! ends them at commas, equals signs and braces, which names of tables may contain. So what could confuse it inside
//! of quotes is first written as `%` and two hexadecimal digits, and read back afterwards.

use crate::cli::failure::{Exit, Failure, Outcome};
use prometheus_parse::{Scrape, Value};
use sochdb_telemetry::{Histogram, Metric, MetricValue};
use std::collections::HashMap;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// How long a page may take. The keys work meanwhile; only the end of the program waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A page of some ten thousand tables; more than anybody could watch.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// Somebody who can be asked for all metrics, again and again.
pub trait Source: Send {
    /// Every metric's present value.
    ///
    /// # Errors
    /// When they cannot be had now; the next time may be better.
    fn sample(&mut self) -> Outcome<Vec<Metric>>;

    /// What is watched, for the head of the screen.
    fn name(&self) -> String;

    /// How it is watched, in a word, where that explains what is seen.
    fn note(&self) -> Option<&'static str> {
        None
    }
}

/// A database that is open in this process.
pub struct Local<F> {
    name: String,
    metrics: F,
}

impl<F: FnMut() -> Vec<Metric> + Send> Local<F> {
    /// What `metrics` returns, under this name.
    pub fn new(name: impl Into<String>, metrics: F) -> Local<F> {
        Local { name: name.into(), metrics }
    }
}

impl<F: FnMut() -> Vec<Metric> + Send> Source for Local<F> {
    fn sample(&mut self) -> Outcome<Vec<Metric>> {
        Ok((self.metrics)())
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    /// `top` opens it to be read, when no program has it open.
    fn note(&self) -> Option<&'static str> {
        Some("read-only")
    }
}

/// The metrics page of a running program.
pub struct Remote {
    agent: Agent,
    url: String,
    name: String,
}

impl Remote {
    /// The page at `address`: `HOST:PORT`, or a URL that begins with `http://`. The path is `/metrics` unless said
    /// otherwise.
    ///
    /// # Errors
    /// `Invalid` when that is no such address. Nothing is connected yet.
    pub fn new(address: &str) -> Outcome<Remote> {
        let (url, name) = url(address).ok_or_else(|| {
            Failure::invalid(format!("'{}' is no address", address.escape_debug()))
                .help("such as --connect 127.0.0.1:9464 or --connect http://127.0.0.1:9464/metrics")
        })?;
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // What is watched is near; and a connection kept for later would be a dead one after a restart.
            .proxy(None)
            .max_idle_connections(0)
            .max_redirects(0)
            .build();
        Ok(Remote { agent: config.new_agent(), url, name })
    }

    fn page(&self) -> Result<String, ureq::Error> {
        let request = self.agent.get(&self.url).header("accept", "text/plain;version=0.0.4");
        request.call()?.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string()
    }
}

impl Source for Remote {
    fn sample(&mut self) -> Outcome<Vec<Metric>> {
        let page = self.page().map_err(|error| {
            Failure::new(Exit::Failed, format!("{}: {error}", self.url)).help(
                "a program that serves its metrics must be there: `sochdb serve-metrics` does",
            )
        })?;
        let metrics = parse(&page);
        if metrics.iter().any(|metric| metric.name.starts_with("sochdb_")) {
            return Ok(metrics);
        }
        let message = format!("{}: no metric of SochDB is on this page", self.url);
        Err(Failure::new(Exit::Failed, message))
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// The URL of the page, and the part of it that people know the program by.
fn url(address: &str) -> Option<(String, String)> {
    let rest = match address.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return None,
        None => address,
    };
    let uri: Uri = format!("http://{rest}").parse().ok()?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    if authority.as_str().ends_with(':') || authority.as_str().contains('@') {
        return None;
    }
    let path = match uri.path_and_query().map(|path| path.as_str()) {
        None | Some("/") => "/metrics",
        Some(path) => path,
    };
    Some((format!("http://{authority}{path}"), authority.to_string()))
}

/// The series of a page in the text format 0.0.4. Lines that make no sense are no series.
pub fn parse(page: &str) -> Vec<Metric> {
    let lines = page.lines().map(|line| Ok(sheltered(line)));
    // Only a line that cannot be read ends this early, and these are in memory.
    let Ok(Scrape { docs, samples }) = Scrape::parse(lines) else { return Vec::new() };
    let (mut metrics, mut singles) = (Vec::new(), HashMap::new());
    for sample in samples {
        let labels = sample.labels.iter();
        let labels = labels.map(|(name, value)| (name.trim().to_owned(), unsheltered(value)));
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        let value = match sample.value {
            Value::Counter(value) => MetricValue::Counter(value),
            Value::Gauge(value) => MetricValue::Gauge(value),
            Value::Histogram(buckets) => MetricValue::Histogram(histogram(
                buckets.iter().map(|bucket| (bucket.less_than, bucket.count)).collect(),
            )),
            // Sums and counts of histograms are here, for they have no type of their own.
            Value::Untyped(value) => {
                singles.insert((sample.metric, labels), value);
                continue;
            }
            Value::Summary(_) => continue,
        };
        if matches!(value, MetricValue::Counter(value) | MetricValue::Gauge(value) if !value.is_finite())
        {
            continue;
        }
        let help = docs.get(&sample.metric).cloned().unwrap_or_default();
        metrics.push(Metric { name: sample.metric, help, labels, value });
    }
    for Metric { name, labels, value, .. } in &mut metrics {
        if let MetricValue::Histogram(histogram) = value {
            let sum = singles.get(&(format!("{name}_sum"), labels.clone()));
            histogram.sum = sum.copied().filter(|sum| sum.is_finite()).unwrap_or_default();
        }
    }
    metrics.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    metrics
}

/// A histogram from pairs of bound and count, whatever their order.
fn histogram(mut buckets: Vec<(f64, f64)>) -> Histogram {
    buckets.retain(|(bound, count)| !bound.is_nan() && 0.0 <= *count);
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|a, b| a.0 == b.0);
    let (mut histogram, mut most) = (Histogram::default(), 0);
    for (bound, count) in buckets {
        most = (count as u64).max(most);
        if bound.is_finite() {
            histogram.bounds.push(bound);
            histogram.counts.push(most);
        }
    }
    histogram.counts.push(most);
    histogram
}

/// A line whose quoted values hold nothing that ends a value.
fn sheltered(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let (mut text, mut quoted, mut chars) =
        (String::with_capacity(line.len()), false, line.chars());
    while let Some(c) = chars.next() {
        let meant = match (quoted, c) {
            (_, '"') => {
                quoted = !quoted;
                text.push('"');
                continue;
            }
            (true, '\\') => match chars.next() {
                Some('n') => '\n',
                Some(escaped) => escaped,
                None => '\\',
            },
            (_, c) => c,
        };
        match quoted && matches!(meant, '%' | ',' | '=' | '{' | '}' | '"' | '\\' | '\n') {
            true => text.push_str(&format!("%{:02x}", u32::from(meant))),
            false => text.push(meant),
        }
    }
    text
}

/// What [`sheltered`] made of a value, as it was.
fn unsheltered(value: &str) -> String {
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => text.extend([char::from(code)].into_iter().chain(part[2..].chars())),
            None => text.extend(['%'].into_iter().chain(part.chars())),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    const PAGE: &str = "# HELP sochdb_commits_total Transactions committed.\n\
        # TYPE sochdb_commits_total counter\n\
        sochdb_commits_total 12\n\
        # TYPE sochdb_table_bytes gauge\n\
        sochdb_table_bytes{table=\"a,b={c}\"} 1\n\
        sochdb_table_bytes{table=\"a,b={d}\"} 2\n\
        sochdb_table_bytes{table=\"q\\\"\\\\n\\n%41\"} 3\n\
        sochdb_table_bytes{table=\"\"} NaN\n\
        # TYPE sochdb_commit_duration_seconds histogram\n\
        sochdb_commit_duration_seconds_bucket{outcome=\"committed\",le=\"0.1\"} 7\n\
        sochdb_commit_duration_seconds_bucket{outcome=\"committed\",le=\"0.01\"} 5\n\
        sochdb_commit_duration_seconds_bucket{outcome=\"committed\",le=\"+Inf\"} 8\n\
        sochdb_commit_duration_seconds_sum{outcome=\"committed\"} 1.5\n\
        sochdb_commit_duration_seconds_count{outcome=\"committed\"} 8\n\
        nonsense {{{ \n";

    #[test]
    fn a_page_is_read_with_histograms_and_awkward_labels() {
        let metrics = parse(PAGE);
        let labels =
            |metric: &Metric| metric.labels.iter().map(|(_, v)| v.clone()).collect::<String>();
        let shown: Vec<_> = metrics.iter().map(|m| (m.name.as_str(), labels(m))).collect();
        assert_eq!(
            shown,
            [
                ("sochdb_commit_duration_seconds", "committed".to_owned()),
                ("sochdb_commits_total", String::new()),
                ("sochdb_table_bytes", "a,b={c}".to_owned()),
                ("sochdb_table_bytes", "a,b={d}".to_owned()),
                ("sochdb_table_bytes", "q\"\\n\n%41".to_owned()),
            ]
        );
        let spread = Histogram {
            bounds: vec![0.01, 0.1],
            counts: vec![5, 7, 8],
            sum: 1.5,
            exemplars: Vec::new(),
        };
        assert_eq!(metrics[0].value, MetricValue::Histogram(spread));
        assert_eq!(metrics[1].value, MetricValue::Counter(12.0));
        assert_eq!(metrics[1].help, "Transactions committed.");
    }

    #[test]
    fn pages_cut_or_changed_anywhere_are_read_without_panic() {
        for end in 0..PAGE.len() {
            parse(&PAGE[..end]);
            let mut bytes = PAGE.as_bytes().to_vec();
            bytes[end] ^= 0x15;
            parse(&String::from_utf8_lossy(&bytes));
        }
        parse(
            "sochdb_a{b=\"\\\"} 1\nsochdb_a{b=\"%\"} 1\n# TYPE a histogram\na_bucket{le=\"x\"} 1e400",
        );
    }

    #[test]
    fn counts_that_fall_and_bounds_twice_are_put_in_order() {
        let inf = f64::INFINITY;
        let made = histogram(vec![
            (inf, 2.0),
            (2.0, 1.0),
            (1.0, 3.0),
            (1.0, 4.0),
            (f64::NAN, 9.0),
            (3.0, -1.0),
        ]);
        assert_eq!((made.bounds, made.counts), (vec![1.0, 2.0], vec![3, 3, 3]));
    }

    #[test]
    fn addresses_are_hosts_with_ports_or_urls_over_http() {
        let of = |address| url(address).map(|(url, name)| format!("{name} {url}"));
        let page = |text: &str| Some(text.to_owned());
        assert_eq!(of("127.0.0.1:9464"), page("127.0.0.1:9464 http://127.0.0.1:9464/metrics"));
        assert_eq!(of("http://db:1/"), page("db:1 http://db:1/metrics"));
        assert_eq!(of("http://db/x?y=1"), page("db http://db/x?y=1"));
        assert_eq!(of("[::1]:9464"), page("[::1]:9464 http://[::1]:9464/metrics"));
        for wrong in ["", "https://db", "http://", "a b", "db:", ":9464", "user@db", "ftp://db"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        let refused = Remote::new("https://db").err().map(|failure| failure.exit as u8);
        assert_eq!(refused, Some(Exit::Invalid as u8));
    }

    /// Answers one request with `answer`, and returns where.
    fn answering(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 1024];
            let _ = stream.read(&mut request)?;
            stream.write_all(answer.as_bytes())
        });
        address
    }

    #[test]
    fn a_page_is_fetched_and_a_lost_connection_or_another_page_is_a_failure() {
        let answer = |status: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let sample = |address: &str| Remote::new(address).and_then(|mut remote| remote.sample());
        assert_eq!(sample(&answering(answer("200 OK", PAGE))).map(|all| all.len()).ok(), Some(5));
        let other = sample(&answering(answer("200 OK", "<html>"))).expect_err("no such metric");
        assert!(other.message.contains("no metric of SochDB"), "{}", other.message);
        let refused = sample(&answering(answer("503 Busy", PAGE))).expect_err("it said no");
        assert!(refused.message.contains("503"), "{}", refused.message);
        assert!(sample("127.0.0.1:1").is_err_and(|failure| failure.help.is_some()));
    }
}
