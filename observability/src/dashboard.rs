//! A Grafana dashboard of metrics, made of what they are.
//!
//! | kind      | panel                                                                             |
//! |-----------|-----------------------------------------------------------------------------------|
//! | counter   | lines: how fast it grows, each second                                             |
//! | gauge     | lines: its value; of a beginning, how long ago it was                             |
//! | histogram | lines: the quantiles 0.5, 0.9 and 0.99; beside them a heatmap of all observations |
//!
//! One row of panels for each part of the database; a family that belongs to none is in the last one. Above them are
//! a choice of the data source, and filters: job, instance, and labels that many families share. Panels have the
//! numbers of their families' names, so that links to them stay right when other families come and go.
//!
//! The same families give the same text. Source: Grafana's JSON model of dashboards, schema version 39.

use serde_json::{Value, json};
use sochdb_telemetry::{Family, MetricKind};
use std::collections::HashSet;

const SCHEMA_VERSION: u32 = 39;
/// What Grafana's grid is wide.
const GRID_WIDTH: u64 = 24;
const PANEL_HEIGHT: u64 = 8;
/// Panels of lines are three in a line, those of histograms two.
const NARROW: u64 = 8;
const WIDE: u64 = 12;
/// Grafana takes no longer one.
const UID_CHARS_MAX: usize = 40;
const INTERVAL: &str = "[$__rate_interval]";
/// Labels that have a filter, where families have them.
const FILTERS: [&str; 3] = ["plugin", "tenant", "table"];
/// How a gauge ends that says when something began; what is shown is how long ago.
const MOMENT: &str = "start_time_seconds";
const QUANTILES: [(&str, &str); 3] = [("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")];

/// Rows, and how the names begin that belong there; the longest beginning decides.
const ROWS: [(&str, &[&str]); 10] = [
    ("Health and opening", &["health", "boot", "build_info", "start_time"]),
    ("Commits and transactions", &["commit", "conflicts", "rollbacks", "rows", "transaction"]),
    ("Log and disk", &["log", "disk", "checkpoint", "pages", "codec", "backup"]),
    ("Cache and memory", &["cache", "memtable", "memory"]),
    ("Tables and levels", &["table", "level", "segments"]),
    ("Plugins", &["plugin"]),
    ("Tenants", &["tenant"]),
    ("Claims", &["claims"]),
    ("Indexes", &["index", "vector", "search"]),
    ("Telemetry", &["telemetry", "spans", "log_lines", "outbox", "observer"]),
];
const OTHER: &str = "Other";
const PREFIX: &str = "sochdb_";

/// A dashboard of `families`, as the JSON that Grafana imports. Each is in it once.
///
/// ```
/// let telemetry = sochdb_observability::Telemetry::default();
/// let json = sochdb_observability::dashboard("SochDB", &telemetry.families());
/// assert!(json.contains("rate(sochdb_spans_recorded_total{job=~\\\"$job\\\""));
/// ```
pub fn dashboard(title: &str, families: &[Family]) -> String {
    let mut families = families.to_vec();
    families.sort_by_key(|family| family.name);
    families.dedup_by_key(|family| family.name);
    let mut grid = Grid::default();
    for (i, row) in ROWS.iter().map(|(row, _)| *row).chain([OTHER]).enumerate() {
        let of_row: Vec<_> = families.iter().filter(|family| row_of(family.name) == i).collect();
        if !of_row.is_empty() {
            grid.row(row);
            of_row.iter().for_each(|family| grid.family(family));
        }
    }
    let dashboard = json!({
        "id": null,
        "uid": uid(title),
        "title": title,
        "description": "Made of the metrics that this version of SochDB has.",
        "tags": ["sochdb", "database"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": { "from": "now-1h", "to": "now" },
        "refresh": "10s",
        "annotations": { "list": [] },
        "links": [],
        "templating": { "list": variables(&families) },
        "panels": grid.panels,
    });
    let text = serde_json::to_string_pretty(&dashboard);
    text.expect("its keys are text") + "\n"
}

/// The number of the row where the metric `name` belongs.
fn row_of(name: &str) -> usize {
    let Some(name) = name.strip_prefix(PREFIX) else { return ROWS.len() };
    let begins = |begin: &&&str| {
        let rest = name.strip_prefix(**begin);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('_') || rest.starts_with("s_") || rest == "s"
        })
    };
    let longest =
        |begins_with: &[&str]| begins_with.iter().filter(begins).map(|begin| begin.len()).max();
    let known = ROWS.iter().enumerate().filter_map(|(i, (_, all))| Some((longest(all)?, i)));
    known.max().map_or(ROWS.len(), |(_, i)| i)
}

/// Panels, one behind the other.
#[derive(Default)]
struct Grid {
    panels: Vec<Value>,
    ids: HashSet<u32>,
    /// Where the next panel goes, if it is narrow enough.
    x: u64,
    y: u64,
}

impl Grid {
    fn row(&mut self, title: &str) {
        self.end_line();
        let at = json!({ "h": 1, "w": GRID_WIDTH, "x": 0, "y": self.y });
        let id = self.id(title);
        let row = json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": at, "panels": [],
        });
        self.panels.push(row);
        self.y += 1;
    }

    fn family(&mut self, family: &Family) {
        match family.kind {
            MetricKind::Counter => {
                let growth = format!("rate({}{INTERVAL})", series(family, ""));
                let unit = rate_unit(family);
                self.lines(family, &[(growth, legend(family, ""))], unit);
            }
            MetricKind::Gauge => {
                let is_moment = family.name.ends_with(MOMENT);
                let since = if is_moment { "time() - " } else { "" };
                let now = (format!("{since}{}", series(family, "")), legend(family, ""));
                self.lines(family, &[now], unit(family));
            }
            MetricKind::Histogram => self.histogram(family),
        }
    }

    fn histogram(&mut self, family: &Family) {
        self.end_line();
        let labels: String = family.labels.iter().map(|label| format!(", {label}")).collect();
        let each = series(family, "_bucket");
        let quantile = |(q, name): &(&str, &str)| {
            let buckets = format!("sum by (le, instance{labels}) (rate({each}{INTERVAL}))");
            (format!("histogram_quantile({q}, {buckets})"), legend(family, name))
        };
        let lines = QUANTILES.iter().map(quantile).collect::<Vec<_>>();
        self.lines(family, &lines, unit(family));
        let all = format!("sum by (le) (increase({each}{INTERVAL}))");
        let mut target = target(0, &all, "{{le}}");
        target["format"] = json!("heatmap");
        let options = json!({
            "calculate": false,
            "cellGap": 1,
            "color": { "mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "steps": 64 },
            "yAxis": { "unit": unit(family), "axisPlacement": "left" },
            "tooltip": { "mode": "single", "yHistogram": true },
            "legend": { "show": true },
        });
        let title = format!("{}: all", title_of(family.name));
        let panel =
            json!({ "type": "heatmap", "title": title, "targets": [target], "options": options });
        self.panel(&format!("{} heatmap", family.name), family, WIDE, panel);
    }

    fn lines(&mut self, family: &Family, lines: &[(String, String)], unit: &str) {
        let least = (family.kind != MetricKind::Gauge).then_some(0);
        let targets = lines.iter().enumerate().map(|(i, (expr, legend))| target(i, expr, legend));
        let custom = json!({ "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never" });
        let panel = json!({
            "type": "timeseries",
            "title": title_of(family.name),
            "targets": targets.collect::<Vec<_>>(),
            "fieldConfig": {
                "defaults": { "unit": unit, "min": least, "custom": custom, "mappings": mappings(family.name) },
                "overrides": [],
            },
            "options": {
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
        });
        let width = if family.kind == MetricKind::Histogram { WIDE } else { NARROW };
        self.panel(family.name, family, width, panel);
    }

    /// Puts `panel` into the next free place.
    fn panel(&mut self, key: &str, family: &Family, width: u64, mut panel: Value) {
        if GRID_WIDTH < self.x + width {
            self.end_line();
        }
        panel["id"] = json!(self.id(key));
        panel["description"] = json!(family.help);
        panel["datasource"] = datasource();
        panel["gridPos"] = json!({ "h": PANEL_HEIGHT, "w": width, "x": self.x, "y": self.y });
        self.panels.push(panel);
        self.x += width;
    }

    fn end_line(&mut self) {
        if 0 < self.x {
            (self.x, self.y) = (0, self.y + PANEL_HEIGHT);
        }
    }

    /// A number of its own for what is called `key`: FNV-1a, and the next one that is free.
    fn id(&mut self, key: &str) -> u32 {
        let hash = key.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        // Positive in whatever 32 bits a reader keeps it.
        let free = (0..).map(|step| (hash >> 1).wrapping_add(step) & 0x7fff_ffff);
        free.filter(|id| *id != 0)
            .find(|id| self.ids.insert(*id))
            .expect("there are fewer panels than numbers")
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn target(index: usize, expr: &str, legend: &str) -> Value {
    let letter = char::from(b'A' + index as u8).to_string();
    json!({
        "refId": letter, "datasource": datasource(), "editorMode": "code", "range": true,
        "expr": expr, "legendFormat": legend,
    })
}

/// The family's series that the filters let through; `suffix` is what Prometheus adds for a histogram's parts.
fn series(family: &Family, suffix: &str) -> String {
    let filters = ["job", "instance"].into_iter().chain(filters_of(family));
    let matchers: Vec<_> = filters.map(|label| format!("{label}=~\"${label}\"")).collect();
    format!("{}{suffix}{{{}}}", family.name, matchers.join(", "))
}

fn filters_of(family: &Family) -> impl Iterator<Item = &'static str> {
    FILTERS.into_iter().filter(|label| family.labels.contains(label))
}

fn legend(family: &Family, what: &str) -> String {
    let labels = family.labels.iter().chain(&["instance"]).map(|label| format!("{{{{{label}}}}}"));
    let words: Vec<_> =
        [what.to_owned()].into_iter().filter(|what| !what.is_empty()).chain(labels).collect();
    words.join(" ")
}

/// Grafana's name of the unit.
fn unit(family: &Family) -> &'static str {
    match family.unit() {
        "bytes" => "bytes",
        "seconds" => "s",
        _ => "short",
    }
}

/// The same, each second.
fn rate_unit(family: &Family) -> &'static str {
    match family.unit() {
        "bytes" => "Bps",
        "seconds" => "s",
        _ => "ops",
    }
}

/// Words for values, where they are states.
fn mappings(name: &str) -> Value {
    let words = match name {
        "sochdb_health" => &["healthy", "starting", "degraded", "failed"][..],
        _ => return json!([]),
    };
    let options: serde_json::Map<_, _> = words
        .iter()
        .enumerate()
        .map(|(i, word)| (i.to_string(), json!({ "index": i, "text": word })))
        .collect();
    json!([{ "type": "value", "options": options }])
}

/// `sochdb_commit_duration_seconds` as `Commit duration`.
fn title_of(name: &str) -> String {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let name = match name.strip_suffix(MOMENT) {
        Some(moment) => format!("{moment}since_start"),
        None => name.strip_suffix("_total").unwrap_or(name).to_owned(),
    };
    let name = name.strip_suffix("_seconds").unwrap_or(&name).replace('_', " ");
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// What can be chosen above the panels.
fn variables(families: &[Family]) -> Vec<Value> {
    let mut variables = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "refresh": 1, "hide": 0, "includeAll": false, "multi": false, "options": [], "current": {},
    })];
    // One that every database has, if it is there.
    let first =
        families.iter().find(|family| family.name == "sochdb_build_info").or(families.first());
    let Some(first) = first else { return variables };
    variables.push(filter("job", &series_name(first)));
    variables.push(filter("instance", &format!("{}{{job=~\"$job\"}}", series_name(first))));
    for label in FILTERS {
        if let Some(family) = families.iter().find(|family| family.labels.contains(&label)) {
            let of = format!("{}{{job=~\"$job\", instance=~\"$instance\"}}", series_name(family));
            variables.push(filter(label, &of));
        }
    }
    variables
}

/// The name of a series that the family has.
fn series_name(family: &Family) -> String {
    let suffix = if family.kind == MetricKind::Histogram { "_count" } else { "" };
    format!("{}{suffix}", family.name)
}

/// A choice among the values that `label` has in the series `of`.
fn filter(label: &str, of: &str) -> Value {
    let query = format!("label_values({of}, {label})");
    json!({
        "name": label, "label": label, "type": "query", "datasource": datasource(),
        "definition": query, "query": { "query": query, "refId": label },
        "refresh": 2, "sort": 1, "hide": 0, "includeAll": true, "multi": true, "allValue": ".*",
        "options": [], "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
    })
}

/// Letters and digits of the title.
fn uid(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let uid: String = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    match uid.chars().take(UID_CHARS_MAX).collect::<String>() {
        uid if uid.is_empty() => "sochdb".to_owned(),
        uid => uid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Telemetry;
    use expect_test::expect;
    use sochdb_kernel::KernelStats;

    const fn family(
        name: &'static str,
        kind: MetricKind,
        labels: &'static [&'static str],
    ) -> Family {
        Family { name, kind, help: "What it is.", labels }
    }

    const SOME: [Family; 12] = {
        use MetricKind::*;
        [
            family("sochdb_commit_duration_seconds", Histogram, &["outcome"]),
            family("sochdb_disk_operation_duration_seconds", Histogram, &["file", "operation"]),
            family("sochdb_disk_bytes_total", Counter, &["file", "operation"]),
            family("sochdb_plugin_call_duration_seconds", Histogram, &["plugin"]),
            family("sochdb_plugin_calls_total", Counter, &["plugin"]),
            family("sochdb_tenant_memory_bytes", Gauge, &["tenant"]),
            family("sochdb_level_bytes", Gauge, &["table", "level"]),
            family("sochdb_boot_recover_seconds", Gauge, &[]),
            family("sochdb_claims_ready", Gauge, &[]),
            family("sochdb_index_search_seconds_total", Counter, &["table"]),
            family("sochdb_what_nobody_knows", Gauge, &[]),
            family("elsewhere_total", Counter, &[]),
        ]
    };

    fn all() -> Vec<Family> {
        let own = Telemetry::default().families();
        [KernelStats::FAMILIES, &own, &SOME].concat()
    }

    fn parsed(families: &[Family]) -> Value {
        serde_json::from_str(&dashboard("SochDB", families)).unwrap()
    }

    fn panels(dashboard: &Value) -> &[Value] {
        dashboard["panels"].as_array().unwrap()
    }

    fn exprs(panel: &Value) -> Vec<&str> {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.iter().map(|target| target["expr"].as_str().unwrap()).collect()
    }

    fn row_title(name: &str) -> &'static str {
        ROWS.get(row_of(name)).map_or(OTHER, |(row, _)| row)
    }

    #[test]
    fn every_family_is_in_a_panel_with_its_help() {
        let dashboard = parsed(&all());
        for family in all() {
            let begin = if family.kind == MetricKind::Histogram { "_bucket{" } else { "{" };
            let wanted = format!("{}{begin}", family.name);
            let shown = panels(&dashboard)
                .iter()
                .filter(|panel| exprs(panel).iter().any(|expr| expr.contains(&wanted)));
            let shown: Vec<_> = shown.collect();
            let expected = if family.kind == MetricKind::Histogram { 2 } else { 1 };
            assert_eq!(shown.len(), expected, "{}", family.name);
            assert!(shown.iter().all(|panel| panel["description"] == family.help));
        }
    }

    #[test]
    fn no_two_panels_overlap_and_none_leaves_the_grid() {
        let dashboard = parsed(&all());
        let mut taken = HashSet::new();
        for panel in panels(&dashboard) {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(0 < w && 0 < h && x + w <= GRID_WIDTH);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{cell:?} is taken twice: {}", panel["title"]);
            }
        }
        let rows = panels(&dashboard).iter().filter(|panel| panel["type"] == "row");
        assert_eq!(rows.count(), ROWS.len() + 1);
    }

    #[test]
    fn ids_are_unique_and_do_not_depend_on_other_families() {
        let ids = |families: &[Family]| -> Vec<(String, u64)> {
            let dashboard = parsed(families);
            let id = |panel: &Value| {
                (panel["title"].as_str().unwrap().to_owned(), panel["id"].as_u64().unwrap())
            };
            panels(&dashboard).iter().map(id).collect()
        };
        let (of_all, of_some) = (ids(&all()), ids(&SOME));
        let unique: HashSet<_> = of_all.iter().map(|(_, id)| *id).collect();
        assert_eq!(unique.len(), of_all.len());
        assert!(unique.iter().all(|id| 0 < *id && *id < 1 << 31));
        assert!(of_some.iter().all(|panel| of_all.contains(panel)));
    }

    #[test]
    fn equal_names_still_get_ids_of_their_own() {
        let mut grid = Grid::default();
        let ids: HashSet<_> = (0..100).map(|_| grid.id("the same")).collect();
        assert_eq!((ids.len(), ids.contains(&0)), (100, false));
    }

    /// The names before `=` in each `{..}`, and those in each `by (..)`.
    fn labels_in(expr: &str) -> Vec<&str> {
        let matchers =
            expr.split('{').skip(1).flat_map(|rest| rest.split('}').next().unwrap().split(", "));
        let grouped = expr
            .split(" by (")
            .skip(1)
            .flat_map(|rest| rest.split(')').next().unwrap().split(", "));
        matchers.map(|matcher| matcher.split("=~").next().unwrap()).chain(grouped).collect()
    }

    #[test]
    fn expressions_are_balanced_and_name_only_labels_that_exist() {
        let dashboard = parsed(&all());
        for panel in panels(&dashboard) {
            for expr in exprs(panel) {
                let mut open = Vec::new();
                for c in expr.chars() {
                    match c {
                        '(' | '{' | '[' => open.push(c),
                        ')' => assert_eq!(open.pop(), Some('('), "{expr}"),
                        '}' => assert_eq!(open.pop(), Some('{'), "{expr}"),
                        ']' => assert_eq!(open.pop(), Some('['), "{expr}"),
                        _ => {}
                    }
                }
                assert!(open.is_empty() && expr.matches('"').count() % 2 == 0, "{expr}");
                let name = expr.split('{').next().unwrap().rsplit(['(', ' ']).next().unwrap();
                let name = name.strip_suffix("_bucket").unwrap_or(name);
                let family =
                    all().into_iter().find(|family| family.name == name).expect("it is a family");
                for label in labels_in(expr) {
                    assert!(
                        ["job", "instance", "le"].contains(&label)
                            || family.labels.contains(&label),
                        "{expr}"
                    );
                }
            }
        }
    }

    #[test]
    fn variables_are_those_that_panels_use() {
        let names = |families: &[Family]| {
            let dashboard = parsed(families);
            let list = dashboard["templating"]["list"].as_array().unwrap().clone();
            list.iter()
                .map(|variable| variable["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&all()), ["datasource", "job", "instance", "plugin", "tenant", "table"]);
        assert_eq!(names(KernelStats::FAMILIES), ["datasource", "job", "instance"]);
        assert_eq!(names(&[]), ["datasource"]);
        let text = dashboard("SochDB", &all());
        let known = ["${datasource}", "$__rate_interval", "$__all"].map(str::to_owned).into_iter();
        let known: Vec<_> =
            known.chain(names(&all()).into_iter().map(|name| format!("${name}"))).collect();
        for (at, _) in text.match_indices('$') {
            assert!(
                known.iter().any(|name| text[at..].starts_with(name)),
                "{}",
                &text[at..at + 20]
            );
        }
    }

    #[test]
    fn the_same_families_give_the_same_text() {
        let mut backwards = all();
        backwards.reverse();
        let text = dashboard("SochDB", &all());
        assert!(text == dashboard("SochDB", &backwards));
        assert!(text == dashboard("SochDB", &[all(), all()].concat()));
        assert!(text.ends_with("}\n") && text.contains("\n  \"schemaVersion\": 39,\n"));
    }

    #[test]
    fn families_are_in_the_rows_where_they_belong() {
        for (name, row) in [
            ("sochdb_log_bytes", "Log and disk"),
            ("sochdb_log_lines_total", "Telemetry"),
            ("sochdb_commits_total", "Commits and transactions"),
            ("sochdb_commit_duration_seconds", "Commits and transactions"),
            ("sochdb_tables", "Tables and levels"),
            ("sochdb_table_bytes", "Tables and levels"),
            ("sochdb_plugins", "Plugins"),
            ("sochdb_index_entries", "Indexes"),
            ("sochdb_health", "Health and opening"),
            ("sochdb_search_duration_seconds", "Indexes"),
            ("sochdb_start_time_seconds", "Health and opening"),
            ("sochdb_indexing", "Other"),
            ("sochdb_", "Other"),
            ("commits_total", "Other"),
            ("", "Other"),
        ] {
            assert_eq!(row_title(name), row, "{name}");
        }
    }

    #[test]
    fn titles_become_names_that_an_address_can_have() {
        let names = ["SochDB: all of it", "Übersicht", "", "€", &"x".repeat(100)].map(uid);
        assert_eq!(names, ["sochdb-all-of-it", "bersicht", "sochdb", "sochdb", &"x".repeat(40)]);
        let odd = "quotes \" and \\ and \n";
        let dashboard: Value = serde_json::from_str(&dashboard(odd, &SOME)).unwrap();
        assert_eq!(dashboard["title"], odd);
    }

    #[test]
    fn each_kind_has_its_panels() {
        let mut families = SOME.to_vec();
        families.push(family("sochdb_health", MetricKind::Gauge, &["component"]));
        families.push(family("sochdb_start_time_seconds", MetricKind::Gauge, &[]));
        let mut said = String::new();
        for panel in panels(&parsed(&families)) {
            let at = &panel["gridPos"];
            let unit = match &panel["fieldConfig"]["defaults"]["unit"] {
                Value::Null => &panel["options"]["yAxis"]["unit"],
                unit => unit,
            };
            let words =
                [&panel["type"], &panel["title"], unit].map(|word| word.as_str().unwrap_or("-"));
            said += &format!("{},{} {}\n", at["x"], at["y"], words.join(" | "));
            for target in panel["targets"].as_array().into_iter().flatten() {
                said += &format!(
                    "    {}\n    {}\n",
                    target["expr"].as_str().unwrap(),
                    target["legendFormat"]
                );
            }
        }
        expect![[r#"
            0,0 row | Health and opening | -
            0,1 timeseries | Boot recover | s
                sochdb_boot_recover_seconds{job=~"$job", instance=~"$instance"}
                "{{instance}}"
            8,1 timeseries | Health | short
                sochdb_health{job=~"$job", instance=~"$instance"}
                "{{component}} {{instance}}"
            16,1 timeseries | Since start | s
                time() - sochdb_start_time_seconds{job=~"$job", instance=~"$instance"}
                "{{instance}}"
            0,9 row | Commits and transactions | -
            0,10 timeseries | Commit duration | s
                histogram_quantile(0.5, sum by (le, instance, outcome) (rate(sochdb_commit_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p50 {{outcome}} {{instance}}"
                histogram_quantile(0.9, sum by (le, instance, outcome) (rate(sochdb_commit_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p90 {{outcome}} {{instance}}"
                histogram_quantile(0.99, sum by (le, instance, outcome) (rate(sochdb_commit_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p99 {{outcome}} {{instance}}"
            12,10 heatmap | Commit duration: all | s
                sum by (le) (increase(sochdb_commit_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval]))
                "{{le}}"
            0,18 row | Log and disk | -
            0,19 timeseries | Disk bytes | Bps
                rate(sochdb_disk_bytes_total{job=~"$job", instance=~"$instance"}[$__rate_interval])
                "{{file}} {{operation}} {{instance}}"
            0,27 timeseries | Disk operation duration | s
                histogram_quantile(0.5, sum by (le, instance, file, operation) (rate(sochdb_disk_operation_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p50 {{file}} {{operation}} {{instance}}"
                histogram_quantile(0.9, sum by (le, instance, file, operation) (rate(sochdb_disk_operation_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p90 {{file}} {{operation}} {{instance}}"
                histogram_quantile(0.99, sum by (le, instance, file, operation) (rate(sochdb_disk_operation_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval])))
                "p99 {{file}} {{operation}} {{instance}}"
            12,27 heatmap | Disk operation duration: all | s
                sum by (le) (increase(sochdb_disk_operation_duration_seconds_bucket{job=~"$job", instance=~"$instance"}[$__rate_interval]))
                "{{le}}"
            0,35 row | Tables and levels | -
            0,36 timeseries | Level bytes | bytes
                sochdb_level_bytes{job=~"$job", instance=~"$instance", table=~"$table"}
                "{{table}} {{level}} {{instance}}"
            0,44 row | Plugins | -
            0,45 timeseries | Plugin call duration | s
                histogram_quantile(0.5, sum by (le, instance, plugin) (rate(sochdb_plugin_call_duration_seconds_bucket{job=~"$job", instance=~"$instance", plugin=~"$plugin"}[$__rate_interval])))
                "p50 {{plugin}} {{instance}}"
                histogram_quantile(0.9, sum by (le, instance, plugin) (rate(sochdb_plugin_call_duration_seconds_bucket{job=~"$job", instance=~"$instance", plugin=~"$plugin"}[$__rate_interval])))
                "p90 {{plugin}} {{instance}}"
                histogram_quantile(0.99, sum by (le, instance, plugin) (rate(sochdb_plugin_call_duration_seconds_bucket{job=~"$job", instance=~"$instance", plugin=~"$plugin"}[$__rate_interval])))
                "p99 {{plugin}} {{instance}}"
            12,45 heatmap | Plugin call duration: all | s
                sum by (le) (increase(sochdb_plugin_call_duration_seconds_bucket{job=~"$job", instance=~"$instance", plugin=~"$plugin"}[$__rate_interval]))
                "{{le}}"
            0,53 timeseries | Plugin calls | ops
                rate(sochdb_plugin_calls_total{job=~"$job", instance=~"$instance", plugin=~"$plugin"}[$__rate_interval])
                "{{plugin}} {{instance}}"
            0,61 row | Tenants | -
            0,62 timeseries | Tenant memory bytes | bytes
                sochdb_tenant_memory_bytes{job=~"$job", instance=~"$instance", tenant=~"$tenant"}
                "{{tenant}} {{instance}}"
            0,70 row | Claims | -
            0,71 timeseries | Claims ready | short
                sochdb_claims_ready{job=~"$job", instance=~"$instance"}
                "{{instance}}"
            0,79 row | Indexes | -
            0,80 timeseries | Index search | s
                rate(sochdb_index_search_seconds_total{job=~"$job", instance=~"$instance", table=~"$table"}[$__rate_interval])
                "{{table}} {{instance}}"
            0,88 row | Other | -
            0,89 timeseries | Elsewhere | ops
                rate(elsewhere_total{job=~"$job", instance=~"$instance"}[$__rate_interval])
                "{{instance}}"
            8,89 timeseries | What nobody knows | short
                sochdb_what_nobody_knows{job=~"$job", instance=~"$instance"}
                "{{instance}}"
        "#]].assert_eq(&said);
    }
}
