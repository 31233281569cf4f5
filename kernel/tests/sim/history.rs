//! Random concurrent histories, judged from outside by two checkers that share no code.
//!
//! Clients append unique numbers to lists and read lists. From what they saw follows which transaction
//! came before which (Adya's graph):
//!
//! ```text
//!   ww   wrote the number just before mine          rw   wrote the number after the last I read
//!   wr   wrote the last number I read               rt   had ended before I began
//! ```
//!
//! | level          | forbidden cycles                                                            |
//! |----------------|-----------------------------------------------------------------------------|
//! | read committed | of ww and wr                                                                |
//! | snapshot       | of ww, wr, rt and rw in which no two rw follow each other                   |
//! | serializable   | any                                                                         |
//!
//! Our finder is below; the other judge is the crate `adya`. Both must find the planted bugs: write skew
//! in histories of snapshot isolation judged as serializable, and lost updates in histories of a level
//! that does not check for conflicts.
//!
//! Source: Adya 1999; Kingsbury and Alvaro 2020 (Elle); Cerone and Gotsman 2018 for the cycles of SI.

use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use crate::workload;
use crate::{either, parallel, replay, seed, size};
use fastrand::Rng;
use serde_json::json;
use sochdb_kernel::{
    IsolationLevel, Kernel, KernelResult, TableOptions, Transaction, TransactionOptions,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const CLIENTS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    Append(u32, u32),
    Read(u32, Vec<u32>),
}

/// One transaction as its client saw it. `began` and `ended` are moments of one clock for all.
#[derive(Clone, Debug)]
struct Record {
    client: usize,
    began: u64,
    ended: u64,
    committed: bool,
    accesses: Vec<Access>,
}

/// What a checker found: the anomaly's name and the records in it.
#[derive(Debug)]
struct Anomaly {
    name: &'static str,
    records: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judge {
    SnapshotIsolation,
    Serializable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Depends,
    AntiDepends,
}

/// Our own judge.
fn judge(records: &[Record], level: Judge) -> Result<(), Anomaly> {
    let anomaly = |name, records| Err(Anomaly { name, records });
    let mut writer: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut longest: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut last_append: BTreeMap<(usize, u32), u32> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        for access in &record.accesses {
            match access {
                Access::Append(key, number) => {
                    writer.insert((*key, *number), index);
                    last_append.insert((index, *key), *number);
                }
                Access::Read(key, list) if record.committed => {
                    let known = longest.entry(*key).or_default();
                    if known.len() < list.len() {
                        known.clone_from(list);
                    }
                }
                Access::Read(..) => {}
            }
        }
    }
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.committed) {
        let mut own: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for access in &record.accesses {
            match access {
                Access::Append(key, number) => {
                    own.entry(*key).or_default().push(*number);
                    if !longest.get(key).is_some_and(|list| list.contains(number)) {
                        return anomaly("lost append", vec![index]);
                    }
                }
                Access::Read(key, list) => {
                    if !longest[key].starts_with(list) {
                        return anomaly("incompatible order", vec![index]);
                    }
                    if !own.get(key).is_none_or(|own| list.ends_with(own)) {
                        return anomaly("does not read its own writes", vec![index]);
                    }
                    for number in list {
                        match writer.get(&(*key, *number)) {
                            None => return anomaly("read what nobody wrote", vec![index]),
                            Some(&from) if !records[from].committed => {
                                return anomaly("G1a, aborted read", vec![from, index]);
                            }
                            Some(_) => {}
                        }
                    }
                    if let Some(last) = list.last() {
                        let from = writer[&(*key, *last)];
                        if from != index && last_append[&(from, *key)] != *last {
                            return anomaly("G1b, intermediate read", vec![from, index]);
                        }
                    }
                }
            }
        }
    }
    let edges = edges(records, &writer, &longest);
    match find_cycle(records.len(), &edges, level) {
        None => Ok(()),
        Some(cycle) => anomaly("cycle", cycle),
    }
}

/// Edges between records; nodes behind the last record are moments in time.
fn edges(
    records: &[Record],
    writer: &BTreeMap<(u32, u32), usize>,
    longest: &BTreeMap<u32, Vec<u32>>,
) -> Vec<(usize, usize, Edge)> {
    let mut edges = BTreeSet::new();
    for (key, list) in longest {
        for pair in list.windows(2) {
            edges.insert((writer[&(*key, pair[0])], writer[&(*key, pair[1])], 0));
        }
    }
    for (index, record) in records.iter().enumerate().filter(|(_, record)| record.committed) {
        for access in &record.accesses {
            let Access::Read(key, list) = access else { continue };
            if let Some(last) = list.last() {
                edges.insert((writer[&(*key, *last)], index, 0));
            }
            if let Some(next) = longest[key].get(list.len()) {
                edges.insert((index, writer[&(*key, *next)], 1));
            }
        }
    }
    // Real time: a chain of moments; who ended leads into it, who begins later leads out of it.
    let committed = || records.iter().enumerate().filter(|(_, record)| record.committed);
    let mut ends: Vec<_> = committed().map(|(index, record)| (record.ended, index)).collect();
    ends.sort_unstable();
    for (moment, (_, index)) in ends.iter().enumerate() {
        edges.insert((*index, records.len() + moment, 0));
        if 0 < moment {
            edges.insert((records.len() + moment - 1, records.len() + moment, 0));
        }
    }
    for (index, record) in committed() {
        let before = ends.partition_point(|(ended, _)| *ended < record.began);
        if 0 < before {
            edges.insert((records.len() + before - 1, index, 0));
        }
    }
    let kind = |anti| if anti == 1 { Edge::AntiDepends } else { Edge::Depends };
    edges.into_iter().filter(|(a, b, _)| a != b).map(|(a, b, anti)| (a, b, kind(anti))).collect()
}

/// A forbidden cycle, if there is one: the records on it in order.
///
/// For snapshot isolation every node is there twice: `2 v` reached by a dependency and `2 v + 1` reached
/// by an anti-dependency, from which no further anti-dependency leads on.
fn find_cycle(records: usize, edges: &[(usize, usize, Edge)], level: Judge) -> Option<Vec<usize>> {
    let nodes = 2 * edges.iter().map(|(a, b, _)| a.max(b) + 1).max().unwrap_or(0);
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for &(a, b, edge) in edges {
        match (edge, level) {
            (Edge::Depends, _) | (Edge::AntiDepends, Judge::Serializable) => {
                next[2 * a].push(2 * b);
                next[2 * a + 1].push(2 * b);
            }
            (Edge::AntiDepends, Judge::SnapshotIsolation) => next[2 * a].push(2 * b + 1),
        }
    }
    // Whoever is not on or behind a cycle goes when nobody leads to it any more (Kahn).
    let mut into = vec![0u32; nodes];
    next.iter().flatten().for_each(|&to| into[to] += 1);
    let mut free: Vec<usize> = (0..nodes).filter(|&node| into[node] == 0).collect();
    while let Some(node) = free.pop() {
        for &to in &next[node] {
            into[to] -= 1;
            if into[to] == 0 {
                free.push(to);
            }
        }
    }
    let mut start = (0..nodes).filter(|&node| 0 < into[node]);
    let cycle = start.find_map(|node| shortest_way_back(node, &next))?;
    Some(cycle.into_iter().map(|node| node / 2).filter(|&node| node < records).collect())
}

fn shortest_way_back(start: usize, next: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for &to in &next[node] {
            if to == start {
                let mut way = vec![node];
                while way[way.len() - 1] != start {
                    way.push(from[&way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            if !from.contains_key(&to) && from.len() < 20_000 {
                from.insert(to, node);
                queue.push_back(to);
            }
        }
    }
    None
}

/// The second opinion.
fn adya_says(records: &[Record], model: &str) -> (adya::Valid, Vec<String>) {
    let mut events: Vec<(u64, serde_json::Value)> = Vec::new();
    for record in records {
        let asked = record.accesses.iter().map(|access| match access {
            Access::Append(key, number) => json!(["append", key, number]),
            Access::Read(key, _) => json!(["r", key, null]),
        });
        let answered = record.accesses.iter().map(|access| match access {
            Access::Append(key, number) => json!(["append", key, number]),
            Access::Read(key, list) => json!(["r", key, list]),
        });
        let (asked, answered): (Vec<_>, Vec<_>) = (asked.collect(), answered.collect());
        let end = if record.committed { "ok" } else { "fail" };
        let process = record.client;
        events.push((record.began, json!({"type": "invoke", "process": process, "value": asked})));
        let value = if record.committed { answered } else { asked };
        events.push((record.ended, json!({"type": end, "process": process, "value": value})));
    }
    events.sort_by_key(|(moment, _)| *moment);
    let events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
    let history = adya::History::from_json(&json!(events).to_string()).expect("a history");
    let options = adya::Opts { models: vec![model.to_owned()], ..adya::Opts::default() };
    let report = adya::check(&history, adya::Workload::ListAppend, &options);
    (report.valid, report.anomaly_types.iter().map(ToString::to_string).collect())
}

fn decode(bytes: Option<sochdb_kernel::Slice>) -> Vec<u32> {
    let bytes = bytes.as_deref().unwrap_or_default().to_vec();
    bytes.chunks_exact(4).map(|four| u32::from_be_bytes(four.try_into().unwrap())).collect()
}

fn read(tx: &Transaction, key: u32) -> KernelResult<Vec<u32>> {
    Ok(decode(tx.get("lists", &key.to_be_bytes())?))
}

fn append(tx: &mut Transaction, key: u32, number: u32) -> KernelResult<()> {
    let mut bytes = tx.get("lists", &key.to_be_bytes())?.as_deref().unwrap_or_default().to_vec();
    bytes.extend(number.to_be_bytes());
    tx.put("lists", &key.to_be_bytes(), &bytes)
}

/// Which list to use: a few at a time, others later, so that lists stay short and meetings frequent.
fn pick(rng: &mut Rng, number: u32) -> u32 {
    number / 100 * 4 + rng.u32(0..5)
}

fn access(tx: &mut Transaction, rng: &mut Rng, number: &AtomicU32) -> KernelResult<Access> {
    let key = pick(rng, number.load(Ordering::Relaxed));
    if rng.bool() {
        return Ok(Access::Read(key, read(tx, key)?));
    }
    let number = number.fetch_add(1, Ordering::Relaxed);
    append(tx, key, number)?;
    Ok(Access::Append(key, number))
}

fn prepare(kernel: &Kernel) {
    let mut tx = kernel.begin().unwrap();
    tx.create_table("lists", TableOptions::default()).unwrap();
    tx.commit().unwrap();
}

/// The last word: every list as it is in the end, in one transaction.
fn final_read(kernel: &Kernel, records: &mut Vec<Record>, moment: u64) {
    let tx = kernel.begin_read().unwrap();
    let rows = tx.scan("lists", ..).unwrap().map(|row| row.unwrap());
    let key = |key: Vec<u8>| u32::from_be_bytes(key.try_into().unwrap());
    let accesses = rows.map(|(k, list)| Access::Read(key(k), decode(Some(list)))).collect();
    records.push(Record {
        client: CLIENTS,
        began: moment,
        ended: moment + 1,
        committed: true,
        accesses,
    });
}

/// Clients interleaved by the seed in one thread, with power cuts between.
fn interleaved(seed: u64, isolation: IsolationLevel, txns: usize) -> Vec<Record> {
    let mut rng = Rng::with_seed(seed);
    let mut vfs = SimVfs::new(Disk::default(), seed);
    let mut kernel = workload::open(&vfs).unwrap();
    prepare(&kernel);
    let mut records = Vec::new();
    let mut open: Vec<Option<(Transaction, Record)>> = (0..CLIENTS).map(|_| None).collect();
    let (number, mut moment, mut life) = (AtomicU32::new(0), 0, 0);
    while records.len() < txns {
        moment += 1;
        if rng.u16(0..2000) == 0 {
            life += 1;
            let cut = open.iter_mut().filter_map(Option::take).map(|(_, record)| record);
            records.extend(cut.map(|record| Record { ended: moment, ..record }));
            drop(kernel);
            vfs = SimVfs::new(vfs.disk().crash_randomly(&mut rng), seed);
            kernel = workload::open(&vfs).unwrap();
            continue;
        }
        let client = rng.usize(0..CLIENTS);
        let Some((mut tx, mut record)) = open[client].take() else {
            let options = TransactionOptions { isolation, ..Default::default() };
            let tx = kernel.begin_with(options).unwrap();
            let client_now = client + life * (CLIENTS + 1);
            let accesses = Vec::new();
            let record =
                Record { client: client_now, began: moment, ended: 0, committed: false, accesses };
            open[client] = Some((tx, record));
            continue;
        };
        if record.accesses.len() < 5 && rng.u8(0..3) != 0 {
            match access(&mut tx, &mut rng, &number) {
                Ok(access) => {
                    record.accesses.push(access);
                    open[client] = Some((tx, record));
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    records.push(Record { ended: moment, ..record });
                }
            }
            continue;
        }
        let committed = match tx.commit() {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                false
            }
        };
        records.push(Record { ended: moment, committed, ..record });
    }
    let cut = open.into_iter().flatten().map(|(_, record)| record);
    records.extend(cut.map(|record| Record { ended: moment + 1, ..record }));
    final_read(&kernel, &mut records, moment + 2);
    records
}

/// Clients as real threads.
fn threaded(seed: u64, isolation: IsolationLevel, txns: usize) -> Vec<Record> {
    let kernel = workload::open(&SimVfs::new(Disk::default(), seed)).unwrap();
    prepare(&kernel);
    let (number, moment) = (AtomicU32::new(0), AtomicU64::new(0));
    let records = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (kernel, number, moment, records) = (&kernel, &number, &moment, &records);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed ^ client as u64);
                for _ in 0..txns / CLIENTS {
                    let began = moment.fetch_add(1, Ordering::SeqCst);
                    let options = TransactionOptions { isolation, ..Default::default() };
                    let mut tx = kernel.begin_with(options).unwrap();
                    let mut accesses = Vec::new();
                    let mut failed = None;
                    for _ in 0..rng.usize(1..6) {
                        match access(&mut tx, &mut rng, number) {
                            Ok(access) => accesses.push(access),
                            Err(error) => failed = Some(error),
                        }
                        std::thread::yield_now();
                    }
                    let ended = failed.map_or_else(|| tx.commit().map(drop), Err);
                    if let Err(error) = &ended {
                        assert!(error.is_retryable(), "{error}");
                    }
                    let (committed, ended) = (ended.is_ok(), moment.fetch_add(1, Ordering::SeqCst));
                    records.lock().unwrap().push(Record {
                        client,
                        began,
                        ended,
                        committed,
                        accesses,
                    });
                }
            });
        }
    });
    let mut records = records.into_inner().unwrap();
    final_read(&kernel, &mut records, moment.load(Ordering::SeqCst));
    records
}

#[test]
fn history_has_no_forbidden_cycle() {
    let seed = seed();
    let levels = [
        (IsolationLevel::SnapshotIsolation, Judge::SnapshotIsolation, "strong-snapshot-isolation"),
        (IsolationLevel::Serializable, Judge::Serializable, "strict-serializable"),
    ];
    let tallies = parallel(size(170, 500), |run| {
        let (mut histories, mut txns, mut conflicts) = (0, 0, 0);
        for (isolation, level, model) in levels {
            for (kind, history) in [("interleaved", true), ("threaded", false)] {
                let count = either(1500, 10_000) as usize;
                let make = if history { interleaved } else { threaded };
                let records = make(seed + run, isolation, count);
                histories += 1;
                txns += records.len();
                conflicts += records.iter().filter(|record| !record.committed).count();
                let again = replay("history", seed + run);
                if let Err(Anomaly { name, records: cycle }) = judge(&records, level) {
                    let shown: Vec<_> = cycle.iter().map(|&index| &records[index]).collect();
                    panic!("{kind} {isolation:?}: {name}: {shown:#?}\n{again}");
                }
                let (valid, anomalies) = adya_says(&records, model);
                assert_eq!(
                    valid,
                    adya::Valid::True,
                    "{kind} {isolation:?}: {anomalies:?}\n{again}"
                );
            }
        }
        (histories, txns, conflicts)
    });
    let (mut histories, mut txns, mut conflicts) = (0, 0, 0);
    for (some_histories, some_txns, some_conflicts) in tallies {
        histories += some_histories;
        txns += some_txns;
        conflicts += some_conflicts;
    }
    println!(
        "histories: {txns} transactions ({conflicts} refused or cut) in {histories} histories of {CLIENTS} \
         clients, no forbidden cycle by our finder or by adya; seed {seed}"
    );
}

#[test]
fn history_judges_find_the_planted_bugs() {
    let seed = seed();
    let runs = size(4, 40);
    let (mut skews, mut skews_adya, mut lost, mut lost_adya) = (0, 0, 0, 0);
    for run in 0..runs {
        let records = interleaved(seed + run, IsolationLevel::SnapshotIsolation, 600);
        skews += u64::from(judge(&records, Judge::Serializable).is_err());
        skews_adya += u64::from(adya_says(&records, "serializable").0 == adya::Valid::False);
        // A level without the check that the first committer wins is the kernel with that check off.
        let records = interleaved(seed + run, IsolationLevel::ReadCommitted, 600);
        lost += u64::from(judge(&records, Judge::SnapshotIsolation).is_err());
        lost_adya += u64::from(adya_says(&records, "snapshot-isolation").0 == adya::Valid::False);
    }
    assert_eq!(
        (skews, skews_adya),
        (runs, runs),
        "write skew in every history of snapshot isolation"
    );
    assert_eq!((lost, lost_adya), (runs, runs), "lost updates wherever conflicts are not checked");
    println!(
        "histories: both judges found the planted bug in {} of {} histories; seed {seed}",
        2 * runs,
        2 * runs
    );
}

/// The finder itself, on histories small enough to see.
#[test]
fn history_finder_knows_skew_from_lost_update() {
    let record = |client, began, ended, accesses: &[Access]| Record {
        client,
        began,
        ended,
        committed: true,
        accesses: accesses.to_vec(),
    };
    use Access::{Append, Read};
    let last = record(9, 100, 101, &[Read(1, vec![1]), Read(2, vec![2])]);
    let skew = [
        record(0, 0, 10, &[Read(1, vec![]), Read(2, vec![]), Append(1, 1)]),
        record(1, 1, 11, &[Read(1, vec![]), Read(2, vec![]), Append(2, 2)]),
        last.clone(),
    ];
    assert!(judge(&skew, Judge::SnapshotIsolation).is_ok());
    assert_eq!(judge(&skew, Judge::Serializable).unwrap_err().records.len(), 2);
    let read_skew = [
        record(0, 0, 10, &[Append(1, 1), Append(2, 2)]),
        record(1, 1, 11, &[Read(1, vec![]), Read(2, vec![2])]),
        last.clone(),
    ];
    assert_eq!(judge(&read_skew, Judge::SnapshotIsolation).unwrap_err().name, "cycle");
    let stale = [
        record(0, 0, 1, &[Append(1, 1), Append(2, 2)]),
        record(1, 5, 11, &[Read(1, vec![])]),
        last.clone(),
    ];
    assert_eq!(judge(&stale, Judge::SnapshotIsolation).unwrap_err().name, "cycle");
    let lost = [record(0, 0, 1, &[Append(1, 1), Append(2, 2), Append(2, 3)]), last];
    assert_eq!(judge(&lost, Judge::SnapshotIsolation).unwrap_err().name, "lost append");
}
