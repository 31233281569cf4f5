//! What is in each panel. The first row of each is its title.

use super::canvas::{Canvas, columns};
use super::layout::{Panel, Rows};
use super::sample::{Level, Plugin, Sample, Table, Tenant, quantile};
use super::state::Sort;
use super::view::View;
use super::words::{UNKNOWN, age, bytes, bytes_rate, count, rate, seconds, share};
use ratatui::layout::Rect;
use ratatui::style::Style;
use sochdb_telemetry::Histogram;

/// Columns of one number with its name, the gap behind it included.
pub const FACT_COLUMNS: u16 = 19;
/// The title, and the names of the columns.
const LIST_HEAD: u16 = 2;
/// Columns of one quantile.
const QUANTILE_COLUMNS: u16 = 10;
/// The title, the names of the quantiles, now, and the last minute.
const QUANTILE_ROWS: u16 = 4;
/// Columns that every name has, however narrow the screen.
const NAME_COLUMNS: u16 = 12;

/// How many rows a panel wants, if it has anything to show.
pub fn rows(view: &View<'_>, sample: &Sample, panel: Panel, width: u16) -> Option<Rows> {
    let list = |needed: u16, lines: usize| {
        let most = u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(LIST_HEAD);
        Rows { needed: needed.min(most), liked: most.min(12), most }
    };
    let facts = |facts: usize| {
        let across = usize::from((width / FACT_COLUMNS).max(1));
        facts.div_ceil(across) as u16 + 1
    };
    let rows = match panel {
        Panel::Commits if view.is_still => {
            let all = facts(commit_facts(sample).len());
            Rows { needed: 2, liked: all, most: all }
        }
        Panel::Commits => Rows { needed: 3, liked: 5, most: 12 },
        Panel::Latency => {
            let is_empty = view.history.minute().is_none_or(|minute| minute.count() == 0);
            let needed = if view.is_still { QUANTILE_ROWS - 1 } else { QUANTILE_ROWS };
            // Without a commit in the last minute there is nothing to draw.
            let chart = |rows| if is_empty { needed } else { needed + rows };
            Rows { needed, liked: chart(5), most: chart(12) }
        }
        Panel::Disk => {
            let all = facts(disk_facts(view, sample).len());
            Rows { needed: all.min(4), liked: all, most: all }
        }
        Panel::Plugins | Panel::Tables => match lines(sample, panel) {
            0 => Rows { needed: 2, liked: 2, most: 2 },
            lines => list(if panel == Panel::Plugins { 5 } else { 4 }, lines),
        },
        Panel::Tenants => match lines(sample, panel) {
            0 => return None,
            lines => list(3, lines),
        },
    };
    Some(rows)
}

/// How many lines a panel has that scrolls.
pub fn lines(sample: &Sample, panel: Panel) -> usize {
    match panel {
        Panel::Plugins => sample.plugins.len(),
        Panel::Tables => sample.tables.iter().map(|table| 1 + table.levels.len()).sum(),
        Panel::Tenants => sample.tenants.len(),
        Panel::Commits | Panel::Latency | Panel::Disk => 0,
    }
}

/// How many of them are seen in a panel so high.
pub fn lines_shown(height: u16) -> usize {
    usize::from(height.saturating_sub(LIST_HEAD))
}

/// Draws one panel.
pub fn draw(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, panel: Panel, area: Rect) {
    if area.is_empty() {
        return;
    }
    match panel {
        Panel::Commits => commits(view, sample, canvas, area),
        Panel::Latency => latency(view, sample, canvas, area),
        Panel::Disk => {
            title(view, canvas, panel, area, Vec::new());
            facts(canvas, below(area, 1), &disk_facts(view, sample));
        }
        Panel::Plugins => plugins(view, sample, canvas, area),
        Panel::Tables => tables(view, sample, canvas, area),
        Panel::Tenants => tenants(view, sample, canvas, area),
    }
}

fn title(
    view: &View<'_>,
    canvas: &mut Canvas<'_>,
    panel: Panel,
    area: Rect,
    notes: Vec<(String, Style)>,
) {
    canvas.title(area, panel.title(), &notes, view.state.chosen == Some(panel));
}

fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}

/// A number, its name before it.
type Fact = (&'static str, String, bool);

/// Numbers with their names in columns, as many as have room.
fn facts(canvas: &mut Canvas<'_>, area: Rect, facts: &[Fact]) {
    let across = (area.width / FACT_COLUMNS).max(1);
    let cell = area.width / across;
    for (i, (name, value, is_bad)) in facts.iter().enumerate() {
        let (column, row) = (i as u16 % across, i as u16 / across);
        if area.height <= row {
            return;
        }
        // Two columns stay free between one number and the next name.
        let (x, y, width) = (area.x + column * cell, area.y + row, cell.saturating_sub(2));
        let style = if *is_bad { canvas.theme.bad() } else { canvas.theme.strong() };
        let room = canvas.right(x, y, width, value, style);
        let quiet = canvas.theme.quiet();
        canvas.left(x, y, room.saturating_sub(1), name, quiet);
    }
}

fn commit_facts(sample: &Sample) -> Vec<Fact> {
    let fact = |name, value| (name, rate(value), false);
    vec![
        fact("commits", sample.commits),
        fact("conflicts", sample.conflicts),
        fact("put", sample.rows_put),
        fact("deleted", sample.rows_deleted),
        fact("rollbacks", sample.rollbacks),
        fact("searches", sample.searches),
        ("search p99", seconds(quantile(&sample.search_latency, 0.99)), false),
    ]
}

fn commits(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, area: Rect) {
    let all = commit_facts(sample);
    let across = usize::from((area.width / FACT_COLUMNS).max(1));
    let rows = all.len().div_ceil(across) as u16;
    // The line of the last minutes comes before the less important numbers.
    let rows = if view.is_still { rows } else { rows.min(area.height.saturating_sub(2)).max(1) };
    let line = if view.is_still { Rect::ZERO } else { below(area, 1 + rows) };
    let rates: Vec<_> = view.history.commits.iter().rev().take(usize::from(area.width)).collect();
    let most = rates.iter().filter_map(|rate| **rate).fold(0.0, f64::max);
    let mut notes = Vec::new();
    if 0.0 < most && !line.is_empty() {
        notes.push((format!("at most {}", rate(Some(most))), canvas.theme.quiet()));
    }
    title(view, canvas, Panel::Commits, area, notes);
    let numbers = Rect { height: rows.min(area.height - 1), ..below(area, 1) };
    facts(canvas, numbers, &all);
    if line.is_empty() || most <= 0.0 {
        return;
    }
    let style = canvas.theme.bar();
    for (back, rate) in (0..line.width).zip(rates) {
        let column = Rect { x: line.right() - 1 - back, width: 1, ..line };
        canvas.column(column, rate.unwrap_or_default() / most, false, style);
    }
}

fn latency(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, area: Rect) {
    let (bar, shadow, quiet) = (canvas.theme.bar(), canvas.theme.shadow(), canvas.theme.quiet());
    let mut spreads = vec![("now", sample.latency.clone())];
    if !view.is_still {
        spreads.push(("minute", view.history.minute()));
    }
    let legend = [("█ now".to_owned(), bar), ("▒ minute".to_owned(), shadow)];
    let chart_area = below(area, LIST_HEAD + spreads.len() as u16);
    let notes = if chart_area.is_empty() || view.is_still { Vec::new() } else { legend.to_vec() };
    title(view, canvas, Panel::Latency, area, notes);
    let names = ["p50", "p90", "p99", "max", "commits"].map(str::to_owned);
    let table = spreads.iter().map(|(name, spread)| (*name, quantiles(spread)));
    let table = [("", names)].into_iter().chain(table);
    for ((name, cells), y) in table.zip(area.y + 1..area.bottom()) {
        canvas.left(area.x, y, area.width.min(7), name, quiet);
        let style = if name.is_empty() { quiet } else { canvas.theme.strong() };
        for (i, cell) in (0..).zip(&cells) {
            let (x, end) = (area.x + 7 + i * QUANTILE_COLUMNS, area.right());
            if end < x + QUANTILE_COLUMNS {
                break;
            }
            canvas.right(x, y, QUANTILE_COLUMNS, cell, style);
        }
    }
    let spreads: Vec<_> =
        spreads.into_iter().map(|(_, spread)| spread.unwrap_or_default()).collect();
    chart(canvas, chart_area, &spreads);
}

/// The quantiles of a spread, the bound of its last bucket, and how many observations it has.
fn quantiles(spread: &Option<Histogram>) -> [String; 5] {
    let greatest = spread.as_ref().and_then(|spread| {
        let last = (spread.count() != 0).then(|| bucket_of(spread, spread.count()))?;
        Some(match spread.bounds.get(last) {
            Some(bound) => format!("≤ {}", seconds(Some(*bound))),
            None => format!("> {}", seconds(spread.bounds.last().copied())),
        })
    });
    [
        seconds(quantile(spread, 0.5)),
        seconds(quantile(spread, 0.9)),
        seconds(quantile(spread, 0.99)),
        greatest.unwrap_or_else(|| UNKNOWN.to_owned()),
        count(spread.as_ref().map(|spread| spread.count() as f64)),
    ]
}

/// The first bucket that has `rank` observations at or below it.
fn bucket_of(spread: &Histogram, rank: u64) -> usize {
    spread.counts.iter().position(|count| rank <= *count).unwrap_or_default()
}

/// For each bucket that has anything, or for a few buckets together, a bar for each spread: its share of the
/// observations. Below them the buckets' bounds, where there is more than one row.
fn chart(canvas: &mut Canvas<'_>, area: Rect, spreads: &[Histogram]) {
    let Some(Buckets { first, last, bounds }) = Buckets::used(spreads) else { return };
    let room = usize::from(area.width / 3).max(1);
    let together = (last - first + 1).div_ceil(room);
    let groups: Vec<usize> = (first..=last).step_by(together).collect();
    let shares = spreads.iter().map(|spread| {
        let share = |from: &usize| share_of(spread, bounds, *from, from + together - 1);
        groups.iter().map(share).collect::<Vec<_>>()
    });
    let shares: Vec<_> = shares.collect();
    let most = shares.iter().flatten().copied().fold(0.0, f64::max);
    let cell = (area.width / groups.len() as u16).clamp(1, 9);
    let wide = cell.saturating_sub(1).div_ceil(spreads.len() as u16).max(1);
    let bars = Rect { height: area.height.saturating_sub(1).max(area.height.min(1)), ..area };
    let looks = [(false, canvas.theme.bar()), (true, canvas.theme.shadow())];
    let mut free = area.x;
    for (i, (from, at)) in groups.iter().zip((area.x..).step_by(usize::from(cell))).enumerate() {
        let mut x = at;
        for (shares, (is_hatched, style)) in shares.iter().zip(looks) {
            let width = wide.min((at + cell).saturating_sub(x + 1).max(u16::from(x == at)));
            canvas.column(Rect { x, width, ..bars }, shares[i] / most, is_hatched, style);
            x += width;
        }
        // The bound that all of this group are at or below.
        let label = match bounds.get(from + together - 1) {
            Some(bound) => seconds(Some(*bound)).replace(".0 ", " "),
            None => format!("> {}", seconds(bounds.last().copied()).replace(".0 ", " ")),
        };
        let width = columns(&label);
        if bars.height < area.height && free <= at && at + width <= area.right() {
            let quiet = canvas.theme.quiet();
            canvas.left(at, bars.bottom(), width, &label, quiet);
            free = at + width + 1;
        }
    }
}

/// The buckets between the first and the last that have anything.
struct Buckets<'a> {
    first: usize,
    last: usize,
    bounds: &'a [f64],
}

impl Buckets<'_> {
    fn used(spreads: &[Histogram]) -> Option<Buckets<'_>> {
        let bounds = &spreads.iter().find(|spread| 0 < spread.count())?.bounds;
        let comparable =
            spreads.iter().filter(|spread| 0 < spread.count() && &spread.bounds == bounds);
        let used =
            comparable.map(|spread| (bucket_of(spread, 1), bucket_of(spread, spread.count())));
        let (first, last) = used.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(Buckets { first, last, bounds })
    }
}

/// Which share of all observations is in the buckets `from` to `to`; none if the buckets are others.
fn share_of(spread: &Histogram, bounds: &[f64], from: usize, to: usize) -> f64 {
    if spread.bounds != bounds || spread.count() == 0 {
        return 0.0;
    }
    let up_to = |bucket: usize| spread.counts.get(bucket).copied().unwrap_or(spread.count());
    let before = from.checked_sub(1).map_or(0, up_to);
    up_to(to).saturating_sub(before) as f64 / spread.count() as f64
}

fn disk_facts(view: &View<'_>, sample: &Sample) -> Vec<Fact> {
    let Sample { log, disk, memory, checkpoints, .. } = sample;
    let (last, seen) = (view.history.checkpoint, sample.unix_s);
    let fact = |name, value| (name, value, false);
    let mut facts = vec![
        fact("log", bytes_rate(log.written_bytes)),
        fact("syncs", rate(log.syncs)),
        fact("sync p99", seconds(quantile(&log.sync_latency, 0.99))),
        fact("to replay", bytes(log.replay_bytes)),
        fact("cache hits", share(memory.hit_ratio)),
        fact("cache", bytes(memory.cache_bytes)),
        fact("memtables", bytes(memory.memtable_bytes)),
        fact("checkpoints", count(checkpoints.done)),
        fact("reads", rate(disk.reads)),
        fact("read", bytes_rate(disk.read_bytes)),
        fact("writes", rate(disk.writes)),
        fact("written", bytes_rate(disk.written_bytes)),
        fact("last took", seconds(last.and_then(|last| last.took_s))),
        fact("last ago", age(last.map(|last| seen - last.unix_s))),
    ];
    if let Some(errors) = disk.errors.filter(|errors| 0.0 < *errors) {
        facts.insert(0, ("disk errors", count(Some(errors)), true));
    }
    facts
}

/// A column of a list: its name, its width, and its importance (the least goes last).
struct Column {
    name: &'static str,
    width: u16,
    importance: u8,
}

const fn column(name: &'static str, width: u16, importance: u8) -> Column {
    Column { name, width, importance }
}

/// A list of things by name, as much of it as has room.
struct List<'a> {
    panel: Panel,
    columns: &'a [Column],
    /// The column that it is sorted by.
    sorted: Option<usize>,
    notes: Vec<(String, Style)>,
    lines: usize,
    /// Columns at the right that stay free below the title.
    free: u16,
}

impl List<'_> {
    /// Draws it. `line` gives the name of a line with its style, and a cell for each column.
    fn draw<'l>(
        self,
        view: &View<'_>,
        canvas: &mut Canvas<'_>,
        area: Rect,
        line: impl Fn(usize) -> (&'l str, Style, Vec<String>),
    ) {
        let shown = lines_shown(area.height).min(self.lines);
        let first = view.state.scrolled[self.panel as usize].min(self.lines - shown);
        let mut notes = self.notes;
        if shown < self.lines && 0 < shown {
            let text = format!("{} to {} of {}", first + 1, first + shown, self.lines);
            notes.push((text, canvas.theme.quiet()));
        }
        title(view, canvas, self.panel, area, notes);
        let room = area.width.saturating_sub(self.free);
        let fitting = fitting_columns(self.columns, room);
        let used: u16 = fitting.iter().map(|i| self.columns[*i].width).sum();
        let name_columns = room - used;
        let quiet = canvas.theme.quiet();
        let mut x = area.x + name_columns;
        for &i in fitting.iter().filter(|_| 1 < area.height) {
            let Column { name, width, .. } = self.columns[i];
            let (name, style) = match self.sorted == Some(i) {
                true => (format!("▾{name}"), canvas.theme.strong()),
                false => (name.to_owned(), quiet),
            };
            canvas.right(x, area.y + 1, width, &name, style);
            x += width;
        }
        for (i, y) in (first..first + shown).zip(area.y + LIST_HEAD..area.bottom()) {
            let (name, style, cells) = line(i);
            canvas.left(area.x, y, name_columns.saturating_sub(1), name, style);
            let mut x = area.x + name_columns;
            for &i in &fitting {
                canvas.right(x, y, self.columns[i].width, &cells[i], style);
                x += self.columns[i].width;
            }
        }
    }
}

/// The most important columns that have room beside the names, from left to right.
fn fitting_columns(columns: &[Column], width: u16) -> Vec<usize> {
    let mut order: Vec<_> = (0..columns.len()).collect();
    order.sort_by_key(|i| columns[*i].importance);
    let mut left = width.saturating_sub(NAME_COLUMNS);
    let mut has_room = |i: &usize| {
        let rest = left.checked_sub(columns[*i].width);
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let mut fitting: Vec<_> = order.into_iter().take_while(|i| has_room(i)).collect();
    fitting.sort_unstable();
    fitting
}

const PLUGIN_COLUMNS: [Column; 8] = [
    column("calls", 10, 0),
    column("failed", 8, 1),
    column("failing", 9, 6),
    column("fuel", 10, 3),
    column("p50", 9, 5),
    column("p99", 9, 2),
    column("memory", 10, 4),
    column("instances", 10, 7),
];

fn plugins(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, area: Rect) {
    let plugins = view.state.sort.sorted(&sample.plugins);
    if plugins.is_empty() {
        return nothing(view, canvas, Panel::Plugins, area, "no plugin is loaded");
    }
    let quarantined = plugins.iter().filter(|plugin| plugin.is_quarantined).count();
    let mut notes = vec![(format!("by {}", view.state.sort.word()), canvas.theme.quiet())];
    if 0 < quarantined {
        notes.insert(0, (format!("✗ {quarantined} quarantined"), canvas.theme.bad()));
    }
    let sorted = match view.state.sort {
        Sort::Calls => Some(0),
        Sort::Failures => Some(1),
        Sort::Fuel => Some(3),
        Sort::Time => Some(5),
        Sort::Memory => Some(6),
        Sort::Name => None,
    };
    // A quarantined one is known by its sign also where there are no colours.
    let names = plugins.iter().map(|plugin| match plugin.is_quarantined {
        true => format!("✗ {}", plugin.name),
        false => plugin.name.clone(),
    });
    let names: Vec<_> = names.collect();
    let theme = canvas.theme;
    let list = List {
        panel: Panel::Plugins,
        columns: &PLUGIN_COLUMNS,
        sorted,
        notes,
        lines: plugins.len(),
        free: 0,
    };
    list.draw(view, canvas, area, |i| {
        let Plugin { latency, .. } = plugins[i];
        let failing = plugins[i].failures.is_some_and(|failures| 0.0 < failures);
        let style = match (plugins[i].is_quarantined, failing) {
            (true, _) => theme.bad(),
            (false, true) => theme.warning(),
            (false, false) => Style::new(),
        };
        let cells = vec![
            rate(plugins[i].calls),
            count(plugins[i].failures_total),
            rate(plugins[i].failures),
            rate(plugins[i].fuel),
            seconds(quantile(latency, 0.5)),
            seconds(quantile(latency, 0.99)),
            bytes(plugins[i].memory_bytes),
            count(plugins[i].instances),
        ];
        (&names[i], style, cells)
    });
}

const TENANT_COLUMNS: [Column; 5] = [
    column("calls", 10, 0),
    column("refused", 10, 1),
    column("fuel", 10, 3),
    column("memory", 10, 2),
    column("storage", 10, 4),
];

fn tenants(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, area: Rect) {
    let lines = sample.tenants.len();
    let notes = Vec::new();
    let theme = canvas.theme;
    let list = List {
        panel: Panel::Tenants,
        columns: &TENANT_COLUMNS,
        sorted: None,
        notes,
        lines,
        free: 0,
    };
    list.draw(view, canvas, area, |i| {
        let Tenant { name, calls, refused, fuel, memory_bytes, storage_bytes } = &sample.tenants[i];
        let is_refused = refused.is_some_and(|refused| 0.0 < refused);
        let style = if is_refused { theme.warning() } else { Style::new() };
        let cells = vec![
            rate(*calls),
            rate(*refused),
            rate(*fuel),
            bytes(*memory_bytes),
            bytes(*storage_bytes),
        ];
        (name, style, cells)
    });
}

const TABLE_COLUMNS: [Column; 2] = [column("segments", 10, 1), column("bytes", 10, 0)];

/// A line of the tables: a table, or a level of the one above.
enum Line<'a> {
    Table(&'a Table),
    Level(&'a Level),
}

fn tables(view: &View<'_>, sample: &Sample, canvas: &mut Canvas<'_>, area: Rect) {
    let lines = sample.tables.iter().flat_map(|table| {
        [Line::Table(table)].into_iter().chain(table.levels.iter().map(Line::Level))
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return nothing(view, canvas, Panel::Tables, area, "no table says how it is kept");
    }
    let all = sample.tables.iter().filter_map(|table| table.bytes).sum::<f64>();
    let mut notes = Vec::new();
    if sample.tables.iter().any(|table| table.bytes.is_some()) {
        notes.push((bytes(Some(all)), canvas.theme.quiet()));
    }
    // One scale for all, so that they can be compared.
    let sizes = sample.tables.iter().flat_map(|table| {
        [table.bytes].into_iter().chain(table.levels.iter().map(|level| level.bytes))
    });
    let most = sizes.flatten().fold(0.0, f64::max);
    let bars = (area.width / 3).min(48);
    let shown = lines_shown(area.height).min(lines.len());
    let first = view.state.scrolled[Panel::Tables as usize].min(lines.len() - shown);
    let names = lines.iter().map(|line| match line {
        Line::Table(table) => table.name.clone(),
        Line::Level(level) => format!("  level {}", level.level),
    });
    let names: Vec<_> = names.collect();
    let (strong, bar, shadow) = (canvas.theme.strong(), canvas.theme.bar(), canvas.theme.shadow());
    let list = List {
        panel: Panel::Tables,
        columns: &TABLE_COLUMNS,
        sorted: None,
        notes,
        lines: lines.len(),
        free: bars,
    };
    list.draw(view, canvas, area, |i| {
        let (style, segments, size) = match &lines[i] {
            Line::Table(table) => (strong, table.segments, table.bytes),
            Line::Level(level) => (Style::new(), level.segments, level.bytes),
        };
        (&names[i], style, vec![count(segments), bytes(size)])
    });
    for (line, y) in lines[first..first + shown].iter().zip(area.y + LIST_HEAD..area.bottom()) {
        let (size, style) = match line {
            Line::Table(table) => (table.bytes, shadow),
            Line::Level(level) => (level.bytes, bar),
        };
        let x = area.right() - bars + 1;
        canvas.bar(x, y, bars.saturating_sub(1), size.unwrap_or_default() / most, style);
    }
}

fn nothing(view: &View<'_>, canvas: &mut Canvas<'_>, panel: Panel, area: Rect, words: &str) {
    title(view, canvas, panel, area, Vec::new());
    let area = below(area, 1);
    let quiet = canvas.theme.quiet();
    canvas.left(area.x, area.y, if area.is_empty() { 0 } else { area.width }, words, quiet);
}
