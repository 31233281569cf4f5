//! The history against reopening, too many records, records too long, and rows of somebody else.

use super::*;
use expect_test::expect;
use proptest::prelude::*;
use sochdb_kernel::{Environment, ErrorKind, Options};

fn open(world: &Environment) -> Kernel {
    Kernel::open(world.clone(), Options::default()).unwrap()
}

fn record(id: u64) -> Record {
    let blake3 = blake3::hash(b"lz4").to_string();
    let version = |version: &str| VersionId { version: version.to_owned(), blake3: blake3.clone() };
    let step = Step { state: State::Preparing, unix_ms: 2, took_us: 3, note: "read".to_owned() };
    Record {
        id,
        plugin: if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        kind: "compression".to_owned(),
        from: None,
        to: Some(version("1.0.0")),
        asked_by: "folder".to_owned(),
        began_unix_ms: 1,
        steps: vec![step],
        outcome: Outcome::Added,
        reason: String::new(),
    }
}

fn ids(history: &History, plugin: Option<&str>) -> Vec<u64> {
    history.list(plugin).iter().map(|record| record.id).collect()
}

fn rows(kernel: &Kernel) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = kernel.begin_read().unwrap().scan(HISTORY_TABLE, ..).unwrap();
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

/// Puts rows there as nobody of ours does.
fn put(kernel: &Kernel, key: &[u8], value: &[u8]) {
    kernel.run(|tx| tx.put(HISTORY_TABLE, key, value)).unwrap();
}

#[test]
fn memory_keeps_the_newest_and_lists_them_newest_first() {
    let history = History::new();
    assert_eq!([history.next_id(), history.next_id()], [1, 2]);
    (1..=300).for_each(|id| history.note(&record(id)));
    assert_eq!(ids(&history, None), (45..=300).rev().collect::<Vec<_>>());
    let even: Vec<u64> = (45..=300).rev().filter(|id| id % 2 == 0).collect();
    assert_eq!(ids(&history, Some("even")), even);
    assert!(ids(&history, Some("eve")).is_empty());
    assert_eq!(history.next_id(), 301);
    // The same number again is the same record, later.
    let later = Record { reason: "later".to_owned(), ..record(299) };
    history.note(&later);
    assert_eq!(history.list(None)[1], later);
    assert_eq!(history.list(None).len(), 256);
}

#[test]
fn what_was_saved_is_there_after_reopening() {
    let world = sochdb_sim::memory();
    let (kernel, history) = (open(&world), History::new());
    history.load(&kernel).unwrap();
    for id in 1..=3 {
        history.save(&kernel, &record(id)).unwrap();
    }
    let replaced = Record { outcome: Outcome::RolledBack, ..record(2) };
    history.save(&kernel, &replaced).unwrap();
    kernel.close().unwrap();

    let (kernel, history) = (open(&world), History::new());
    let in_memory = Record { outcome: Outcome::Serving, ..record(3) };
    history.note(&in_memory);
    history.load(&kernel).unwrap();
    assert_eq!(history.list(None), [in_memory, replaced, record(1)]);
    assert_eq!(history.next_id(), 4);
}

#[test]
fn records_saved_at_once_are_all_there() {
    let (kernel, history) = (open(&sochdb_sim::memory()), History::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let record = record(history.next_id());
                    history.note(&record);
                    history.save(&kernel, &record).unwrap();
                }
            });
        }
    });
    let read = History::new();
    read.load(&kernel).unwrap();
    assert_eq!(ids(&read, None), (1..=40).rev().collect::<Vec<_>>());
    assert_eq!(read.list(None), history.list(None));
}

#[test]
fn a_row_has_these_bytes() {
    let kernel = open(&sochdb_sim::memory());
    let mut record = record(0x0102);
    record.from = Some(VersionId { version: "0.9.0".to_owned(), blake3: "00".repeat(32) });
    History::new().save(&kernel, &record).unwrap();
    let [(key, value)] = &rows(&kernel)[..] else { panic!("one row") };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = std::str::from_utf8(&value[4..]).unwrap();
    let found = format!("{}\n{}\n{}\n", hex(key), hex(&value[..4]), text.replace(",\"", ",\n\""));
    expect![[r#"
        0000000000000102
        01000000
        {"id":258,
        "plugin":"even",
        "kind":"compression",
        "from":{"version":"0.9.0",
        "blake3":"0000000000000000000000000000000000000000000000000000000000000000"},
        "to":{"version":"1.0.0",
        "blake3":"444709fab7b7f5177d4aaa66ed0181c2aa3735ce9676f06e4209ef26a6c08031"},
        "asked_by":"folder",
        "began_unix_ms":1,
        "steps":[{"state":"preparing",
        "unix_ms":2,
        "took_us":3,
        "note":"read"}],
        "outcome":"added",
        "reason":""}
    "#]]
    .assert_eq(&found);
}

/// A row as it was written once, and always will be read.
const FIXTURE: &[u8] = b"\x01\0\0\0{\"id\":7,\"plugin\":\"lz4\",\"kind\":\"compression\",\
    \"from\":{\"version\":\"1.0.0\",\"blake3\":\"ab\"},\"to\":null,\"asked_by\":\"operator\",\
    \"began_unix_ms\":1795000000000,\"steps\":[{\"state\":\"rolled_back\",\"unix_ms\":1795000000001,\
    \"took_us\":12,\"note\":\"\"}],\"outcome\":\"rolled_back\",\"reason\":\"it traps\"}";

#[test]
fn a_row_of_before_is_read() {
    let read = decode(7, FIXTURE).unwrap();
    assert_eq!(
        (read.plugin.as_str(), read.to.as_ref(), read.reason.as_str()),
        ("lz4", None, "it traps")
    );
    assert_eq!(read.steps[0].state, State::RolledBack);
    assert_eq!(encode(&read).unwrap(), FIXTURE);
}

#[test]
fn the_oldest_rows_go() {
    let (kernel, history) = (open(&sochdb_sim::memory()), History::new());
    history.save(&kernel, &record(1)).unwrap();
    // As if somebody had filled the table.
    kernel
        .run(|tx| {
            (2..=1100u64)
                .try_for_each(|id| tx.put(HISTORY_TABLE, &id.to_be_bytes(), &encode(&record(id))?))
        })
        .unwrap();
    history.save(&kernel, &record(1101)).unwrap();
    assert_eq!(rows(&kernel).len(), 1101 - REMOVED_MAX, "a part at a time");
    history.save(&kernel, &record(1102)).unwrap();
    history.save(&kernel, &record(1103)).unwrap();
    let keys: Vec<_> =
        rows(&kernel).into_iter().map(|(key, _)| decode_key(&key).unwrap()).collect();
    assert_eq!(keys, (104..=1103).collect::<Vec<_>>());
    let history = History::new();
    history.load(&kernel).unwrap();
    assert_eq!(ids(&history, None), (848..=1103).rev().collect::<Vec<_>>());
}

#[test]
fn a_record_too_long_loses_its_notes_and_then_its_reason() {
    let long = |bytes: usize| "n".repeat(bytes);
    let stored = |record: &Record| {
        let row = encode(record).unwrap();
        assert!(row.len() <= AT_RECORD + RECORD_BYTES_MAX);
        decode(record.id, &row).unwrap()
    };
    let mut record = record(1);
    record.steps[0].note = long(60_000);
    record.reason = long(1000);
    assert_eq!(stored(&record), record);
    record.steps[0].note = long(70_000);
    let mut expected = record.clone();
    expected.steps[0].note.clear();
    assert_eq!(stored(&record), expected);
    record.reason = long(70_000);
    expected.reason.clear();
    assert_eq!(stored(&record), expected);
    record.plugin = long(70_000);
    assert_eq!(encode(&record).unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn a_record_without_a_number_is_not_saved() {
    let (kernel, history) = (open(&sochdb_sim::memory()), History::new());
    for id in [0, ID_MAX + 1, u64::MAX] {
        let error = history.save(&kernel, &record(id)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{id}: {error}");
    }
    assert!(kernel.begin_read().unwrap().table(HISTORY_TABLE).is_err());
}

#[test]
fn rows_that_cannot_be_read_are_reported_and_hide_no_others() {
    let good = encode(&record(9)).unwrap();
    let edited = |from: &str, to: &str| {
        let text = std::str::from_utf8(&good[4..]).unwrap();
        assert!(text.contains(from), "{text}");
        [&good[..4], text.replacen(from, to, 1).as_bytes()].concat()
    };
    let id = |id: u64| id.to_be_bytes().to_vec();
    let cases: [(Vec<u8>, Vec<u8>, &str); 12] = [
        (vec![1, 2, 3], good.clone(), "3 bytes, 010203"),
        (vec![7; 1000], good.clone(), "1000 bytes"),
        (id(0), good.clone(), "8 bytes, 0000000000000000"),
        (id(u64::MAX), good.clone(), "8 bytes, ffffffffffffffff"),
        (id(8), good.clone(), "record 9"),
        (id(9), vec![1, 0, 0], "3 bytes"),
        (id(9), [&[2, 0, 0, 0], &good[4..]].concat(), "version 2"),
        (id(9), good[..good.len() - 1].to_vec(), "EOF"),
        (id(9), [&good[..4], &b"{".repeat(70_000)[..]].concat(), "70000 bytes"),
        (id(9), edited("\"reason\"", "\"raeson\""), "unknown field `raeson`"),
        (id(9), edited("preparing", "pondering"), "unknown variant `pondering`"),
        (id(9), [&good[..4], &b"[".repeat(60_000)[..]].concat(), "invalid"),
    ];
    for (key, value, expected) in cases {
        let (kernel, history) = (open(&sochdb_sim::memory()), History::new());
        history.save(&kernel, &record(1)).unwrap();
        history.save(&kernel, &record(12)).unwrap();
        put(&kernel, &key, &value);
        let error = history.load(&kernel).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(HISTORY_TABLE), "{error}");
        assert_eq!(ids(&history, None), [12, 1]);
        assert_eq!(history.next_id(), 13);
        // And the history goes on.
        history.save(&kernel, &record(13)).unwrap();
    }
}

#[test]
fn the_number_of_an_unreadable_row_is_not_given_away_again() {
    let (kernel, history) = (open(&sochdb_sim::memory()), History::new());
    history.save(&kernel, &record(1)).unwrap();
    put(&kernel, &20u64.to_be_bytes(), b"");
    assert!(history.load(&kernel).is_err());
    assert_eq!(history.next_id(), 21);
}

#[test]
fn a_read_only_database_is_read_and_refuses_to_be_written() {
    let world = sochdb_sim::memory();
    let kernel = open(&world);
    History::new().save(&kernel, &record(1)).unwrap();
    kernel.close().unwrap();
    let options = Options { read_only: true, ..Options::default() };
    let (kernel, history) = (Kernel::open(world, options).unwrap(), History::new());
    history.load(&kernel).unwrap();
    assert_eq!(ids(&history, None), [1]);
    assert!(history.save(&kernel, &record(2)).is_err());
    history.note(&record(2));
    assert_eq!(ids(&history, None), [2, 1]);
}

fn any_record() -> impl Strategy<Value = Record> {
    let version = || {
        prop::option::of(("\\PC{0,9}", "[0-9a-f]{64}"))
            .prop_map(|id| id.map(|(version, blake3)| VersionId { version, blake3 }))
    };
    let step = (prop::sample::select(&State::ALL), any::<u64>(), any::<u64>(), "\\PC{0,40}")
        .prop_map(|(state, unix_ms, took_us, note)| Step { state, unix_ms, took_us, note });
    let outcome = prop::sample::select(
        &[
            Outcome::UnderWay,
            Outcome::Serving,
            Outcome::RolledBack,
            Outcome::Added,
            Outcome::Removed,
            Outcome::Disabled,
            Outcome::Enabled,
        ][..],
    );
    let texts = ("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}", any::<String>());
    (
        1..=ID_MAX,
        texts,
        version(),
        version(),
        any::<u64>(),
        prop::collection::vec(step, 0..8),
        outcome,
    )
        .prop_map(
            |(id, (plugin, kind, asked_by, reason), from, to, began_unix_ms, steps, outcome)| {
                Record {
                    id,
                    plugin,
                    kind,
                    from,
                    to,
                    asked_by,
                    began_unix_ms,
                    steps,
                    outcome,
                    reason,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_decodes_to_itself(record in any_record()) {
        prop_assert_eq!(decode(record.id, &encode(&record).unwrap()).unwrap(), record);
    }

    #[test]
    fn arbitrary_bytes_never_panic(id: u64, row in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode(id, &row), decode_key(&row));
        let _ = decode(id, &[&VERSION.to_le_bytes()[..], &row].concat());
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_record(at in 0..FIXTURE.len(), byte: u8) {
        let mut row = FIXTURE.to_vec();
        row[at] = byte;
        if let Ok(read) = decode(7, &row) {
            // What is read can be written again and means the same.
            prop_assert_eq!(decode(7, &encode(&read).unwrap()).unwrap(), read);
        }
    }

    #[test]
    fn texts_are_cut_at_characters(texts in prop::collection::vec(any::<String>(), 0..20), bound in 0usize..40) {
        let mut text = String::new();
        texts.iter().for_each(|more| append(&mut text, more, bound));
        prop_assert!(text.len() <= bound + " ...".len());
        let whole = texts.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("; ");
        if whole.len() <= bound {
            prop_assert_eq!(text, whole);
        } else {
            let kept = text.strip_suffix(" ...").expect("its end says that it was cut");
            prop_assert!(whole.starts_with(kept), "{kept} of {whole}");
        }
    }
}
