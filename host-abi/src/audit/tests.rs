use super::file::Sink;
use super::*;
use crate::limits::audit::{ENTRIES_MAX, FILE_BYTES_MAX, OBJECT_BYTES_MAX};
use std::fs;
use std::io::Write;

fn who(tenant: Option<&str>) -> Arc<Who> {
    Arc::new(Who { plugin: "guest".to_owned(), tenant: tenant.map(str::to_owned) })
}

fn entries(log: &Arc<AuditLog>) -> Entries {
    Entries::new(log.clone(), who(Some("acme")))
}

/// An import of `function` that ends with `outcome`.
fn import(entries: &mut Entries, function: &'static str, outcome: Outcome) {
    entries.begin(function);
    entries.charged(201, 1);
    entries.end(outcome);
}

fn functions(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.function.as_str()).collect()
}

#[test]
fn an_import_is_recorded_with_what_it_carried_and_came_to() {
    let log = Arc::new(AuditLog::default());
    let mut entries = entries(&log);
    entries.begin("rows.table.soch-read");
    entries.charged(210, 10);
    entries.about("orders");
    entries.carried_rows(3);
    entries.charged(300, 100);
    entries.end(Outcome::Ok);
    entries.about("somebody else's business");
    assert!(log.recent(&AuditFilter::default(), 10).is_empty(), "its call has not ended");
    entries.end_call(Outcome::Ok, None);
    let records = log.recent(&AuditFilter::default(), 10);
    let AuditRecord { unix_us, nanos, .. } = records[0];
    let expected = AuditRecord {
        unix_us,
        kind: AuditKind::Import,
        plugin: "guest".to_owned(),
        tenant: Some("acme".to_owned()),
        function: "rows.table.soch-read".to_owned(),
        object: Some("orders".to_owned()),
        outcome: Outcome::Ok,
        rows: 3,
        bytes: 110,
        fuel: 510,
        nanos,
    };
    assert_eq!(records, [expected]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(micros(now).abs_diff(unix_us) < 1_000_000, "{unix_us}");
}

#[test]
fn an_import_that_ended_the_guest_has_the_outcome_of_its_call() {
    let log = Arc::new(AuditLog::default());
    let mut entries = entries(&log);
    entries.begin("rows.scan.next");
    entries.end_call(Outcome::Exhausted, None);
    assert_eq!(log.recent(&AuditFilter::default(), 10)[0].outcome, Outcome::Exhausted);
}

#[test]
fn both_rings_are_bounded_and_traffic_does_not_push_denials_out() {
    let log = Arc::new(AuditLog::new(100));
    let mut entries = entries(&log);
    import(&mut entries, "denied", Outcome::Denied);
    for _ in 0..1000 {
        import(&mut entries, "ok", Outcome::Ok);
    }
    entries.end_call(Outcome::Ok, None);
    assert_eq!(log.recent(&AuditFilter::default(), usize::MAX).len(), 100);
    assert_eq!(functions(&log.denials()), ["denied"]);
    for _ in 0..DENIALS_MAX + 5 {
        import(&mut entries, "denied again", Outcome::Denied);
    }
    entries.end_call(Outcome::Ok, None);
    assert_eq!(log.denials().len(), DENIALS_MAX);
    let stats = log.stats();
    let all = 1001 + DENIALS_MAX as u64 + 5;
    assert_eq!((stats.recorded, stats.forgotten), (all, all - 100));
    assert_eq!((stats.denied, stats.denials_forgotten), (DENIALS_MAX as u64 + 6, 6));
}

#[test]
fn whose_a_record_is_and_how_long_it_took_stays_with_it_while_older_ones_go() {
    let log = Arc::new(AuditLog::new(7));
    let mut stores: Vec<_> =
        ["a", "b", "c"].map(|name| Entries::new(log.clone(), who(Some(name)))).into();
    let mut expected = Vec::new();
    for (round, records) in [3, 1, 0, 5, 2, 9, 1, 1, 4].into_iter().enumerate() {
        let (at, tenant) = (round % 3, ["a", "b", "c"][round % 3]);
        for n in 0..records {
            let function = ["zero", "one", "two", "three"][n % 4];
            import(&mut stores[at], function, Outcome::Ok);
            expected.push((tenant.to_owned(), function.to_owned()));
        }
        stores[at].end_call(Outcome::Ok, None);
        let kept = log.recent(&AuditFilter::default(), usize::MAX);
        let said: Vec<_> = kept
            .iter()
            .map(|record| (record.tenant.clone().unwrap(), record.function.clone()))
            .collect();
        assert_eq!(said, expected[expected.len().saturating_sub(7)..], "round {round}");
        assert!(kept.is_sorted_by_key(|record| record.unix_us), "round {round}");
    }
    let stats = log.stats();
    assert_eq!((stats.recorded, stats.forgotten), (26, 19));
    let slow = Duration::from_millis(3);
    stores[0].begin("slow");
    std::thread::sleep(slow);
    stores[0].end(Outcome::Ok);
    stores[0].end_call(Outcome::Ok, None);
    let nanos = log.recent(&AuditFilter::default(), 1)[0].nanos;
    assert!(slow <= Duration::from_nanos(nanos + 1000), "{nanos}");
}

#[test]
fn a_flood_of_imports_does_not_wait_for_the_end_of_its_call() {
    let log = Arc::new(AuditLog::default());
    let mut entries = entries(&log);
    for _ in 0..10 * ENTRIES_MAX + 1 {
        import(&mut entries, "flood", Outcome::Ok);
    }
    assert_eq!(log.stats().recorded, 10 * ENTRIES_MAX as u64);
}

#[test]
fn a_filter_leaves_out_what_does_not_fit_it() {
    let log = Arc::new(AuditLog::default());
    let mut entries = entries(&log);
    import(&mut entries, "rows.table.soch-read", Outcome::Ok);
    import(&mut entries, "rows.table.soch-write", Outcome::Denied);
    import(&mut entries, "rowsome", Outcome::Ok);
    let time = (Ticks::now(), Ticks::now());
    let call = Entry::call("flush", Object::name("orders"), Outcome::Ok, 5, time);
    entries.end_call(Outcome::Ok, Some(call));
    let find = |filter: AuditFilter| {
        functions(&log.recent(&filter, 10)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let none = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(find(none()).len(), 4);
    assert_eq!(
        find(AuditFilter { function: some("rows"), ..none() }),
        ["rows.table.soch-read", "rows.table.soch-write"]
    );
    assert_eq!(
        find(AuditFilter { outcome: Some(Outcome::Denied), ..none() }),
        ["rows.table.soch-write"]
    );
    assert_eq!(find(AuditFilter { kind: Some(AuditKind::Call), ..none() }), ["flush"]);
    assert_eq!(find(AuditFilter { plugin: some("other"), ..none() }), [""; 0]);
    assert_eq!(find(AuditFilter { tenant: some("acme"), ..none() }).len(), 4);
    assert_eq!(find(AuditFilter { tenant: some("bolt"), ..none() }).len(), 0);
    assert_eq!(functions(&log.recent(&none(), 1)), ["flush"], "the newest");
}

#[test]
fn names_of_objects_are_bounded() {
    for (name, kept) in [
        ("", 0),
        ("orders", 6),
        (&*"x".repeat(22), 22),
        (&*"x".repeat(23), 23),
        (&*"ü".repeat(1000), OBJECT_BYTES_MAX),
    ] {
        let shown = Object::name(name).shown().unwrap();
        assert_eq!(shown, name[..kept]);
        let shared = Object::from(&Arc::<str>::from(name));
        assert_eq!(shared.shown().unwrap(), shown);
    }
    assert_eq!(Object::from(7).shown().as_deref(), Some("7"));
    assert_eq!(Object::default().shown(), None);
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::default());
    log.write_to(&path).unwrap();
    assert!(log.write_to(&folder.path().join("other")).is_err(), "one is enough");
    let mut entries = entries(&log);
    import(&mut entries, "one", Outcome::Ok);
    import(&mut entries, "two", Outcome::Denied);
    import(&mut entries, "three", Outcome::Limit);
    entries.end_call(Outcome::Ok, None);
    log.flush().unwrap();
    let mut file = read_file(&path).unwrap();
    let mut records = log.recent(&AuditFilter::default(), 9);
    // Within a microsecond the order of two files is not known.
    for records in [&mut file.records, &mut records] {
        records.sort_by_key(|record| record.function.clone());
    }
    assert_eq!((file.records, file.lines_skipped), (records, 0));
    assert_eq!((log.stats().written, log.stats().failed), (3, 0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    }
    assert!(read_file(&folder.path().join("none")).is_err());
}

#[test]
fn a_line_of_the_file_is_what_people_read() {
    let record = AuditRecord {
        unix_us: 1,
        kind: AuditKind::Import,
        plugin: "guest".to_owned(),
        tenant: None,
        function: "rows.table.soch-read".to_owned(),
        object: Some("orders".to_owned()),
        outcome: Outcome::NotFound,
        rows: 0,
        bytes: 5,
        fuel: 205,
        nanos: 7,
    };
    let expected = r#"{"unix_us":1,"kind":"import","plugin":"guest","function":"rows.table.soch-read","object":"orders","outcome":"not-found","rows":0,"bytes":5,"fuel":205,"nanos":7}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), expected);
}

#[test]
fn a_line_that_a_crash_has_cut_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let write = |function| {
        let log = Arc::new(AuditLog::default());
        log.write_to(&path).unwrap();
        let mut entries = entries(&log);
        import(&mut entries, function, Outcome::Ok);
        entries.end_call(Outcome::Ok, None);
        // The log ends with its file written.
    };
    write("before");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(br#"{"unix_us":12,"ki"#).unwrap();
    write("after");
    let file = read_file(&path).unwrap();
    assert_eq!((functions(&file.records), file.lines_skipped), (vec!["before", "after"], 1));
}

#[test]
fn files_rotate_within_their_bound_and_keep_the_denials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::new(10));
    log.write_to(&path).unwrap();
    let mut entries = entries(&log);
    import(&mut entries, "denied", Outcome::Denied);
    let long = "x".repeat(OBJECT_BYTES_MAX);
    for round in 0..400 {
        for _ in 0..ENTRIES_MAX {
            entries.begin("ok");
            entries.about(long.as_str());
            entries.end(Outcome::Ok);
        }
        if round % 16 == 0 {
            log.flush().unwrap();
        }
    }
    entries.end_call(Outcome::Ok, None);
    log.flush().unwrap();
    let sizes: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "the newest, an older one, and denials");
    assert!(sizes.iter().all(|size| *size <= FILE_BYTES_MAX), "{sizes:?}");
    assert!(FILE_BYTES_MAX < sizes.iter().sum::<u64>(), "{sizes:?}");
    let file = read_file(&path).unwrap();
    assert_eq!((file.records[0].function.as_str(), file.lines_skipped), ("denied", 0));
}

#[test]
fn a_file_that_cannot_be_written_is_counted_and_fails_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("below");
    fs::create_dir(&below).unwrap();
    let path = below.join("audit.jsonl");
    // Where the older file belongs is a folder, so rotating fails.
    fs::create_dir(below.join("audit.jsonl.1")).unwrap();
    fs::write(&path, vec![b'\n'; FILE_BYTES_MAX as usize]).unwrap();
    let log = Arc::new(AuditLog::default());
    log.write_to(&path).unwrap();
    let mut entries = entries(&log);
    import(&mut entries, "lost", Outcome::Ok);
    import(&mut entries, "denied", Outcome::Denied);
    entries.end_call(Outcome::Ok, None);
    let error = log.flush().unwrap_err();
    assert!(error.to_string().contains("audit.jsonl"), "{error}");
    assert_eq!((log.stats().written, log.stats().failed), (1, 1), "the denials have their own");
    fs::remove_dir(below.join("audit.jsonl.1")).unwrap();
    import(&mut entries, "kept", Outcome::Ok);
    entries.end_call(Outcome::Ok, None);
    log.flush().unwrap();
    assert_eq!((log.stats().written, log.stats().failed), (2, 1), "it was tried again");
    assert!(Sink::open(&folder.path().join("no/such/folder")).is_err());
}

#[test]
fn no_denial_is_left_out_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::default());
    log.write_to(&path).unwrap();
    let count: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let log = &log;
                scope.spawn(move || {
                    let mut entries = entries(log);
                    (0..5000).for_each(|_| import(&mut entries, "denied", Outcome::Denied));
                    entries.end_call(Outcome::Ok, None);
                    5000
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    log.flush().unwrap();
    assert_eq!(read_file(&path).unwrap().records.len(), count);
}

/// `cargo test -p sochdb-host-abi --lib speed -- --ignored --nocapture` prints what an import costs here.
#[test]
#[ignore = "it measures, and a busy machine would fail it"]
fn speed() {
    let log = Arc::new(AuditLog::default());
    let mut entries = entries(&log);
    let count = 10_000_000;
    for name in ["without", "with a short name", "with a long one"] {
        let object = if name.contains("long") { "x".repeat(64) } else { "orders".to_owned() };
        let began = Ticks::now();
        for _ in 0..count {
            entries.begin("rows.table.soch-read");
            if name != "without" {
                entries.about(object.as_str());
            }
            entries.charged(200, 10);
            entries.end(Outcome::Ok);
        }
        println!("{name}: {:.1} ns", Ticks::now().nanos_since(began) as f64 / f64::from(count));
    }
}
