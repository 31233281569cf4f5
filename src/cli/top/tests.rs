//! The screen as somebody sees it.

use super::history::History;
use super::layout::Panel;
use super::sample::*;
use super::state::{Sort, State};
use super::theme::Theme;
use super::view::View;
use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Rect;
use sochdb_telemetry::Histogram;

fn spread(counts: &[u64]) -> Option<Histogram> {
    let bounds = vec![1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2];
    let mut total = 0;
    let sum_up = |count| {
        total += count;
        total
    };
    let counts =
        (0..=bounds.len()).map(|i| counts.get(i).copied().unwrap_or(0)).map(sum_up).collect();
    Some(Histogram { bounds, counts, sum: 1.0, exemplars: Vec::new() })
}

fn plugin(name: &str, calls: f64) -> Plugin {
    Plugin {
        name: name.into(),
        calls: Some(calls),
        failures_total: Some(0.0),
        failures: Some(0.0),
        fuel: Some(calls * 12_000.0),
        latency: spread(&[0, 0, calls as u64, 4, 1]),
        memory_bytes: Some(calls * 9e5),
        instances: Some(2.0),
        is_quarantined: false,
    }
}

fn table(name: &str, bytes: f64) -> Table {
    let level = |level: &str, share: f64| Level {
        level: level.into(),
        segments: Some(share * 10.0),
        bytes: Some(bytes * share),
    };
    let levels = vec![level("0", 0.1), level("1", 0.9)];
    Table { name: name.into(), segments: Some(10.0), bytes: Some(bytes), levels }
}

fn part(component: &str, name: &str, health: Health) -> Part {
    Part { health, component: component.into(), name: name.into() }
}

fn one() -> Sample {
    let failing = Plugin {
        is_quarantined: true,
        failures_total: Some(17.0),
        failures: Some(0.5),
        latency: spread(&[]),
        ..plugin("lz4", 0.0)
    };
    Sample {
        unix_s: 1_000_000.0,
        elapsed_s: Some(1.0),
        restarted: false,
        version: Some("0.1.0".into()),
        uptime_s: Some(7_620.0),
        health: vec![part("plugin", "lz4", Health::Degraded), part("kernel", "", Health::Healthy)],
        commits: Some(1234.0),
        conflicts: Some(3.0),
        rollbacks: Some(0.0),
        rows_put: Some(45_678.0),
        rows_deleted: Some(0.5),
        latency: spread(&[0, 0, 3, 40, 700, 420, 60, 9, 1, 0, 1]),
        searches: Some(21.0),
        search_latency: spread(&[0, 0, 0, 0, 0, 0, 1, 19, 1]),
        log: Log {
            written_bytes: Some(3.1e6),
            syncs: Some(412.0),
            sync_latency: spread(&[0, 0, 0, 0, 9, 99, 3]),
            replay_bytes: Some(12.3e6),
        },
        disk: Disk {
            reads: Some(12.0),
            read_bytes: Some(98_304.0),
            writes: Some(820.0),
            written_bytes: Some(3.3e6),
            errors: Some(0.0),
        },
        memory: Memory {
            hit_ratio: Some(0.983),
            cache_bytes: Some(64e6),
            memtable_bytes: Some(7.5e6),
        },
        checkpoints: Checkpoints { done: Some(12.0), new: Some(0.0), took_s: None },
        tables: vec![table("events", 34.2e6), table("words", 1.1e6)],
        plugins: vec![plugin("lscs", 88.0), plugin("hnsw", 7.0), failing],
        tenants: vec![Tenant { name: "acme".into(), calls: Some(4.0), ..Tenant::default() }],
        dropped: vec![("batches for otlp".into(), 12.0)],
    }
}

fn history(last: Sample) -> History {
    let mut history = History::default();
    for i in 0..200 {
        let commits = Some(600.0 + 500.0 * f64::sin(f64::from(i) / 9.0));
        let new = Some(if i == 150 { 1.0 } else { 0.0 });
        let checkpoints = Checkpoints { done: Some(12.0), new, took_s: Some(0.031) };
        let latency = spread(&[0, 1, 9, 80, 500, 420, 90, 20, 9]);
        let (unix_s, elapsed_s) = (999_800.0 + f64::from(i), Some(1.0));
        history.push(Sample { commits, checkpoints, latency, unix_s, elapsed_s, ..one() });
    }
    history.push(last);
    history
}

fn state() -> State {
    State::new("127.0.0.1:9464".into(), 1.0)
}

fn screen(state: &State, history: &History, width: u16, height: u16) -> String {
    let theme = Theme { colours: true };
    let view = View { state, history, theme, is_still: false };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it cannot fail");
    terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).expect("it cannot fail");
    terminal.backend().to_string()
}

/// The lines without their quotes and the blanks at their ends.
fn lines(state: &State, history: &History, width: u16, height: u16) -> String {
    let screen = screen(state, history, width, height);
    let line = |line: &str| line.trim_matches('"').trim_end().to_owned() + "\n";
    screen.lines().map(line).collect()
}

fn check(state: &State, history: &History, (width, height): (u16, u16), expected: &Expect) {
    expected.assert_eq(&lines(state, history, width, height));
}

#[test]
fn a_small_terminal_has_what_matters_most() {
    check(
        &state(),
        &history(one()),
        (80, 24),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min       every 1 s
            dropped batches for otlp: 12
            ── Commits ────────────────────────────────────────────────── at most 1,234/s ──
            commits    1,234/s  conflicts      3/s  put       45.7 k/s  deleted      0.5/s
            rollbacks      0/s  searches      21/s  search p99  4.4 ms
            ▆▇▇▇▇▇▇▇▇▇▇▇▆▆▆▆▅▅▅▄▄▄▃▃▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▆▆▆▆▅▅▅▄▄▄█
            ── Commit latency ──────────────────────────────────────────────────────────────
                          p50       p90       p99       max   commits
            now        182 µs    463 µs    989 µs > 10.0 ms     1,234
            minute     195 µs    529 µs    1.9 ms > 10.0 ms    67.8 k
            ── Log, disk and memory ────────────────────────────────────────────────────────
            log       3.1 MB/s  syncs        412/s  sync p99    815 µs  to replay  12.3 MB
            cache hits  98.3 %  cache      64.0 MB  memtables   7.5 MB  checkpoints     12
            reads         12/s  read     98.3 kB/s  writes       820/s  written   3.3 MB/s
            ── Plugins ─────────────────────────────────────── ✗ 1 quarantined ─ by calls ──
                               ▾calls  failed  failing      fuel      p50      p99    memory
            lscs                 88/s       0      0/s   1.1 M/s    36 µs   107 µs   79.2 MB
            hnsw                  7/s       0      0/s  84.0 k/s    46 µs   188 µs    6.3 MB
            ✗ lz4                 0/s      17    0.5/s       0/s        -        -       0 B
            ── Tables ───────────────────────────────────────────── 35.3 MB ─ 1 to 2 of 6 ──
                                                segments     bytes
            events                                    10   34.2 MB █████████████████████████
              level 0                                  1    3.4 MB ██▌
            q end  ? keys  p pause  Tab panel  ↑↓ scroll  s sort  Enter alone  +- interval
        "#]],
    );
}

#[test]
fn a_smaller_one_does_without_the_tables() {
    check(
        &state(),
        &history(one()),
        (60, 20),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4 every 1 s
            dropped batches for otlp: 12
            ── Commits ────────────────────────────── at most 1,234/s ──
            commits    1,234/s  conflicts      3/s  put       45.7 k/s
            deleted      0.5/s  rollbacks      0/s  searches      21/s
            ▄▄▃▃▃▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▆▇▇▇▇▇▇▇▇▇▇▇▆▆▆▆▅▅▅▄▄▄█
            ── Commit latency ──────────────────────────────────────────
                          p50       p90       p99       max   commits
            now        182 µs    463 µs    989 µs > 10.0 ms     1,234
            minute     195 µs    529 µs    1.9 ms > 10.0 ms    67.8 k
            ── Log, disk and memory ────────────────────────────────────
            log       3.1 MB/s  syncs        412/s  sync p99    815 µs
            to replay  12.3 MB  cache hits  98.3 %  cache      64.0 MB
            memtables   7.5 MB  checkpoints     12  reads         12/s
            ── Plugins ─────────────────── ✗ 1 quarantined ─ by calls ──
                             ▾calls  failed      fuel      p99    memory
            lscs               88/s       0   1.1 M/s   107 µs   79.2 MB
            hnsw                7/s       0  84.0 k/s   188 µs    6.3 MB
            ✗ lz4               0/s      17       0/s        -       0 B
            q end  ? keys  p pause  Tab panel  ↑↓ scroll  s sort
        "#]],
    );
}

#[test]
fn a_large_terminal_has_two_columns() {
    check(
        &state(),
        &history(one()),
        (140, 45),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min  v0.1.0                                                           every 1 s
            dropped batches for otlp: 12
            ── Commits ─────────────────────────── at most 1,234/s ──  ── Plugins ──────────────────────────────────────── ✗ 1 quarantined ─ by calls ──
            commits   1,234/s  conflicts     3/s  put      45.7 k/s                        ▾calls  failed  failing      fuel      p50      p99    memory
            deleted     0.5/s  rollbacks     0/s  searches     21/s    lscs                  88/s       0      0/s   1.1 M/s    36 µs   107 µs   79.2 MB
            search p99 4.4 ms                                          hnsw                   7/s       0      0/s  84.0 k/s    46 µs   188 µs    6.3 MB
                                                  ▁▁▁▁              █  ✗ lz4                  0/s      17    0.5/s       0/s        -        -       0 B
                                             ▂▄▅▇██████▇▆▅▃▁        █  ── Tables ──────────────────────────────────────────────────────────── 35.3 MB ──
                                         ▁▃▆████████████████▇▅▂     █                                      segments     bytes
                                       ▃▆██████████████████████▇▅▂  █  events                                    10   34.2 MB ██████████████████████████
                                    ▂▅████████████████████████████▇▄█    level 0                                  1    3.4 MB ██▋
            █▅▂                  ▂▅██████████████████████████████████    level 1                                  9   30.8 MB ███████████████████████▍
            ████▆▄▂          ▂▄▆█████████████████████████████████████  words                                     10    1.1 MB ▉
            ████████▇▆▆▅▅▆▆▇█████████████████████████████████████████    level 0                                  1  110.0 kB ▏
            ── Commit latency ─────────────────── █ now ─ ▒ minute ──    level 1                                  9  990.0 kB ▊
                          p50       p90       p99       max   commits  ── Tenants ──────────────────────────────────────────────────────────────────────
            now        182 µs    463 µs    989 µs > 10.0 ms     1,234                                      calls   refused      fuel    memory   storage
            minute     195 µs    529 µs    1.9 ms > 10.0 ms    67.8 k  acme                                  4/s         -         -         -         -
                           ██
                           ██
                           ██▒▒
                           ██▒▒
                           ██▒▒ ▅▅▒▒
                           ██▒▒ ██▒▒
                           ██▒▒ ██▒▒
                           ██▒▒ ██▒▒
                           ██▒▒ ██▒▒
                           ██▒▒ ██▒▒   ▒▒
              ░░ ▁▁░░ ▅▅▒▒ ██▒▒ ██▒▒ ██▒▒ ▁▁░░ ▁▁░░      ▁▁░░
            20 µs     100 µs    500 µs    2 ms 5 ms 10 ms
            ── Log, disk and memory ─────────────────────────────────
            log      3.1 MB/s  syncs       412/s  sync p99   815 µs
            to replay 12.3 MB  cache hits 98.3 %  cache     64.0 MB
            memtables  7.5 MB  checkpoints    12  reads        12/s
            read    98.3 kB/s  writes      820/s  written  3.3 MB/s
            last took 31.0 ms  last ago     50 s








            q end  ? keys  p pause  Tab panel  ↑↓ scroll  s sort  Enter alone  +- interval
        "#]],
    );
}

#[test]
fn before_the_first_numbers_there_are_dashes() {
    let mut first = History::default();
    check(
        &state(),
        &first,
        (60, 6),
        &expect![[r#"
        sochdb top  127.0.0.1:9464                         every 1 s
        waiting for the first numbers



        q end  ? keys  p pause  Tab panel  ↑↓ scroll  s sort
    "#]],
    );
    first.push(Sample::default());
    check(
        &state(),
        &first,
        (80, 24),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  up -                                       every 1 s
            ── Commits ─────────────────────────────────────────────────────────────────────
            commits          -  conflicts        -  put              -  deleted          -
            rollbacks        -  searches         -  search p99       -






            ── Commit latency ──────────────────────────────────────────────────────────────
                          p50       p90       p99       max   commits
            now             -         -         -         -         -
            minute          -         -         -         -         -
            ── Log, disk and memory ────────────────────────────────────────────────────────
            log              -  syncs            -  sync p99         -  to replay        -
            cache hits       -  cache            -  memtables        -  checkpoints      -
            reads            -  read             -  writes           -  written          -
            last took        -  last ago         -
            ── Plugins ─────────────────────────────────────────────────────────────────────
            no plugin is loaded
            ── Tables ──────────────────────────────────────────────────────────────────────
            no table says how it is kept
            q end  ? keys  p pause  Tab panel  ↑↓ scroll  s sort  Enter alone  +- interval
        "#]],
    );
}

#[test]
fn a_lost_connection_and_a_restart_are_told() {
    let mut lost = history(Sample { restarted: true, ..one() });
    lost.lose("http://127.0.0.1:9464/metrics: refused".into(), 1_000_001.0);
    lost.lose("http://127.0.0.1:9464/metrics: refused".into(), 1_000_013.0);
    check(
        &state(),
        &lost,
        (80, 4),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min       every 1 s
            no numbers for 12 s: http://127.0.0.1:9464/metrics: refused  started anew 0 s a…
            ── Commits ─────────────────────────────────────────────────────────────────────
            commits    1,234/s  conflicts      3/s  put       45.7 k/s  deleted      0.5/s
        "#]],
    );
    lost.push(Sample { unix_s: 1_000_020.0, ..one() });
    check(
        &state(),
        &lost,
        (80, 4),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min       every 1 s
            started anew 20 s ago  dropped batches for otlp: 12
            ── Commits ─────────────────────────────────────────────────────────────────────
            commits    1,234/s  conflicts      3/s  put       45.7 k/s  deleted      0.5/s
        "#]],
    );
}

#[test]
fn help_is_in_the_place_of_the_panels() {
    let help = State { shows_help: true, is_paused: true, ..state() };
    check(
        &help,
        &history(one()),
        (80, 16),
        &expect![[r#"
            sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min  v0.1.0  paused
            dropped batches for otlp: 12
            ── Keys ────────────────────────────────────────────────────────────────────────
            q Esc Ctrl-C  end
            p space       pause, and go on
            Tab → ←       choose a panel; a chosen one is there also when there is little r…
            Enter         the chosen panel alone, or all of them again
            ↑ ↓ j k       scroll the chosen panel, or else the plugins
            PgUp PgDn     the same by ten lines; Home and End go all the way
            s             sort the plugins by calls, failures, fuel, time, memory or name
            + -           a longer or a shorter time between two readings
            ? h           these keys, or what was there before
            ✗             before a plugin: it is quarantined


            Esc back  q end
        "#]],
    );
}

#[test]
fn a_printed_screen_has_everything_and_no_keys() {
    let (state, mut history) = (state(), History::default());
    history.push(one());
    let view =
        View { state: &state, history: &history, theme: Theme { colours: false }, is_still: true };
    expect![[r#"
        sochdb top  127.0.0.1:9464  ▲ degraded: plugin lz4  up 2 h 7 min  v0.1.0
        dropped batches for otlp: 12
        ── Commits ─────────────────────────────────────────────────────────────────────
        commits    1,234/s  conflicts      3/s  put       45.7 k/s  deleted      0.5/s
        rollbacks      0/s  searches      21/s  search p99  4.4 ms
        ── Commit latency ──────────────────────────────────────────────────────────────
                      p50       p90       p99       max   commits
        now        182 µs    463 µs    989 µs > 10.0 ms     1,234
                        ███████
                        ███████
                        ███████
                        ███████
                        ███████ ▅▅▅▅▅▅▅
                        ███████ ███████
                        ███████ ███████
                        ███████ ███████
                        ███████ ███████
                        ███████ ███████
        ▁▁▁▁▁▁▁ ▅▅▅▅▅▅▅ ███████ ███████ ███████ ▁▁▁▁▁▁▁ ▁▁▁▁▁▁▁         ▁▁▁▁▁▁▁
        50 µs   100 µs  200 µs  500 µs  1 ms    2 ms    5 ms    10 ms   > 10 ms
        ── Log, disk and memory ────────────────────────────────────────────────────────
        log       3.1 MB/s  syncs        412/s  sync p99    815 µs  to replay  12.3 MB
        cache hits  98.3 %  cache      64.0 MB  memtables   7.5 MB  checkpoints     12
        reads         12/s  read     98.3 kB/s  writes       820/s  written   3.3 MB/s
        last took        -  last ago         -
        ── Plugins ─────────────────────────────────────── ✗ 1 quarantined ─ by calls ──
                           ▾calls  failed  failing      fuel      p50      p99    memory
        lscs                 88/s       0      0/s   1.1 M/s    36 µs   107 µs   79.2 MB
        hnsw                  7/s       0      0/s  84.0 k/s    46 µs   188 µs    6.3 MB
        ✗ lz4                 0/s      17    0.5/s       0/s        -        -       0 B
        ── Tables ─────────────────────────────────────────────────────────── 35.3 MB ──
                                            segments     bytes
        events                                    10   34.2 MB █████████████████████████
          level 0                                  1    3.4 MB ██▌
          level 1                                  9   30.8 MB ██████████████████████▌
        words                                     10    1.1 MB ▊
          level 0                                  1  110.0 kB ▏
          level 1                                  9  990.0 kB ▊
        ── Tenants ─────────────────────────────────────────────────────────────────────
                                           calls   refused      fuel    memory   storage
        acme                                 4/s         -         -         -         -"#]]
    .assert_eq(&view.text(80));
}

#[test]
fn every_size_is_drawn_without_a_panic() {
    let many = Sample {
        plugins: (0..300).map(|i| plugin(&format!("plugin-{i}"), f64::from(i))).collect(),
        tables: (0..300).map(|i| table(&format!("table/{i}"), f64::from(i) * 1e6)).collect(),
        tenants: (0..300).map(|i| Tenant { name: i.to_string(), ..Tenant::default() }).collect(),
        ..one()
    };
    let histories = [History::default(), history(Sample::default()), history(one()), history(many)];
    let scrolled = [usize::MAX, 299, 0, 1 << 40, 3, 5];
    let states = [
        state(),
        State { shows_help: true, is_paused: true, ..state() },
        State { chosen: Some(Panel::Tables), scrolled, ..state() },
        State { chosen: Some(Panel::Tenants), is_alone: true, scrolled, ..state() },
        State { chosen: Some(Panel::Latency), is_alone: true, sort: Sort::Time, ..state() },
    ];
    for width in (1..=20).chain((21..=130).step_by(9)).chain([250]) {
        for height in (1..=10).chain((11..=50).step_by(6)).chain([80]) {
            for history in &histories {
                for state in &states {
                    screen(state, history, width, height);
                }
            }
        }
    }
}

#[test]
fn numbers_beyond_reason_are_drawn_without_a_panic() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX, f64::MIN_POSITIVE] {
        let level = Level { bytes: Some(number), ..Level::default() };
        let bad = Sample {
            commits: Some(number),
            uptime_s: Some(number),
            log: Log { written_bytes: Some(number), ..one().log },
            latency: Some(Histogram {
                bounds: vec![number],
                counts: vec![u64::MAX; 2],
                ..Histogram::default()
            }),
            memory: Memory { hit_ratio: Some(number), ..Memory::default() },
            tables: vec![Table { bytes: Some(number), levels: vec![level], ..Table::default() }],
            plugins: vec![Plugin { calls: Some(number), ..plugin("a", 1.0) }, plugin("b", 1.0)],
            ..one()
        };
        let odd = Sample { latency: Some(Histogram::default()), ..bad.clone() };
        let short = Histogram { bounds: vec![1.0, 2.0], counts: vec![3], ..Histogram::default() };
        let short = Sample { latency: Some(short), ..bad.clone() };
        for sample in [bad, odd, short] {
            let mut history = history(one());
            history.push(sample);
            screen(&state(), &history, 120, 40);
            screen(&state(), &history, 80, 24);
        }
    }
}

#[test]
fn hundreds_of_plugins_are_scrolled_to_the_last() {
    let plugins = (0..300).map(|i| plugin(&format!("p{i:03}"), 1.0)).collect();
    let history = history(Sample { plugins, ..one() });
    let mut state = State { chosen: Some(Panel::Plugins), is_alone: true, ..state() };
    let area = Rect::new(0, 0, 80, 24);
    let view =
        View { state: &state, history: &history, theme: Theme { colours: true }, is_still: false };
    // A row each for the head, the news, the title, the names of the columns, and the keys.
    assert_eq!(view.scroll_max(area, Panel::Plugins), 300 - (24 - 5));
    state.scrolled[Panel::Plugins as usize] = usize::MAX;
    let screen = lines(&state, &history, 80, 24);
    assert!(screen.contains("p299") && !screen.contains("p280"), "{screen}");
    assert!(screen.contains("282 to 300 of 300"), "{screen}");
}

#[test]
fn a_chosen_panel_is_there_however_small_the_terminal() {
    for panel in Panel::ALL {
        let state = State { chosen: Some(panel), ..state() };
        let screen = lines(&state, &history(one()), 60, 9);
        assert!(screen.contains(&format!("━ {} ━", panel.title())), "{screen}");
    }
}

#[test]
fn nasty_names_break_nothing_and_no_escape_gets_out() {
    let nasty =
        "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\t\u{9b}31m\u{202e}\u{200b}漢字👩‍👩‍👧e\u{301}\u{301}\u{301}";
    let long = "漢".repeat(500);
    let named = |name: &str| Sample {
        version: Some(name.into()),
        health: vec![part(name, name, Health::Failed)],
        tables: vec![Table { name: name.into(), ..table("", 1e6) }],
        plugins: vec![plugin(name, 1.0)],
        tenants: vec![Tenant { name: name.into(), ..Tenant::default() }],
        dropped: vec![(name.into(), 1.0)],
        ..one()
    };
    for name in [nasty, &long, &format!("{long}{nasty}")] {
        let mut history = history(named(name));
        history.lose(name.into(), 1.0);
        let state = State::new(name.into(), 1.0);
        for (width, height) in [(60, 20), (80, 24), (140, 45), (13, 30)] {
            let screen = screen(&state, &history, width, height);
            let is_bad =
                |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            assert!(!screen.contains(is_bad), "{screen:?}");
        }
        let view = View {
            state: &state,
            history: &history,
            theme: Theme { colours: false },
            is_still: true,
        };
        assert!(!view.text(100).contains(|c: char| c != '\n' && c.is_control()));
    }
}

#[test]
fn nothing_is_said_by_colour_alone() {
    let drawn = |colours| {
        let (state, history) = (state(), history(one()));
        let view =
            View { state: &state, history: &history, theme: Theme { colours }, is_still: false };
        let mut terminal = Terminal::new(TestBackend::new(140, 45)).expect("it cannot fail");
        terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).expect("it cannot fail");
        terminal.backend().buffer().clone()
    };
    let (with, without) = (drawn(true), drawn(false));
    let symbols = |buffer: &ratatui::buffer::Buffer| -> Vec<String> {
        buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect()
    };
    assert_eq!(symbols(&with), symbols(&without));
    assert!(without.content().iter().all(|cell| cell.fg == ratatui::style::Color::Reset));
    assert!(with.content().iter().any(|cell| cell.fg != ratatui::style::Color::Reset));
    assert!(with.content().iter().all(|cell| cell.bg == ratatui::style::Color::Reset));
}

#[test]
fn intervals_of_the_command_line_have_bounds() {
    assert_eq!(super::parse_interval("0.5"), Ok(0.5));
    for wrong in ["0", "0.09", "-1", "nan", "inf", "", "1s", "3601"] {
        assert!(super::parse_interval(wrong).is_err(), "{wrong}");
    }
}
