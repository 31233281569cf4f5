//! YCSB's mixes A, B, C and F: two threads read and update single rows, some far more often than others.
//! Every operation is a transaction of its own; those of F that write read first.

use super::{Bench, Found};
use crate::Result;
use crate::data::{self, Zipfian};
use crate::engine::{Engine, Row};
use crate::meter::{Meter, in_threads};
use fastrand::Rng;

const THREADS: u64 = 2;

enum Operation {
    Read(Vec<u8>),
    Update([Row; 1]),
    Modify(Vec<u8>),
}

/// What those operations do that do not read only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Update,
    Modify,
}

/// A mix: which share of its operations writes, and how.
type Mix = (f64, Write);
const A: Mix = (0.5, Write::Update);
const B: Mix = (0.05, Write::Update);
const C: Mix = (0.0, Write::Update);
const F: Mix = (0.5, Write::Modify);

/// Operations a second, and the processor time of one in microseconds.
type Spent = (f64, f64);

/// Runs the mixes.
pub fn mixes(bench: &Bench<'_>) -> Result<Found> {
    let zipfian = Zipfian::new(bench.settings.rows);
    let operations = bench.settings.operations;
    let engine = bench.open(&bench.path, false)?;
    let mut found = Vec::new();
    for (which, rate, cpu_us) in [
        (C, "ycsb_c", "ycsb_c_cpu_us"),
        (B, "ycsb_b", "ycsb_b_cpu_us"),
        (A, "ycsb_a", "ycsb_a_cpu_us"),
        (F, "ycsb_f", "ycsb_f_cpu_us"),
    ] {
        let spent = mix(bench, &*engine, &zipfian, operations, which)?;
        found.extend([(rate, spent.0), (cpu_us, spent.1)]);
    }
    engine.close()?;
    Ok(found)
}

/// Runs mix A with synced commits.
pub fn synced(bench: &Bench<'_>, engine: &dyn Engine) -> Result<Spent> {
    mix(bench, engine, &Zipfian::new(bench.settings.rows), bench.settings.commits * 2, A)
}

fn mix(
    bench: &Bench<'_>,
    engine: &dyn Engine,
    zipfian: &Zipfian,
    operations: u64,
    (writes, write): Mix,
) -> Result<Spent> {
    let values = bench.values();
    let draw = |thread: u64| {
        let mut rng = Rng::with_seed(bench.seed * THREADS + thread);
        let mut operation = |index: u64| {
            let (number, is_write) = (zipfian.draw(&mut rng), rng.f64() < writes);
            match (is_write, write) {
                (false, _) => Operation::Read(data::key(number)),
                (true, Write::Update) => Operation::Update([values.row(number, index + 10)]),
                (true, Write::Modify) => Operation::Modify(data::key(number)),
            }
        };
        (0..operations.div_ceil(THREADS)).map(&mut operation).collect::<Vec<_>>()
    };
    let shares: Vec<_> = (0..THREADS).map(draw).collect();
    let count: usize = shares.iter().map(Vec::len).sum();
    let read = |key: &[u8]| {
        engine.read(&mut |reader| {
            let seen = &mut |value: &[u8]| assert_eq!(value.len(), values.bytes);
            match reader.get(key, seen)? {
                true => Ok(()),
                false => Err(format!("{} is missing", key.escape_ascii()).into()),
            }
        })
    };
    let meter = Meter::start();
    in_threads(shares, |operations| {
        operations.iter().try_for_each(|operation| match operation {
            Operation::Update(row) => engine.put(row),
            Operation::Modify(key) => engine.modify(key, &changed),
            Operation::Read(key) => read(key),
        })
    })?;
    let (seconds, cpu_us) = (meter.seconds(), meter.cpu_us());
    Ok((count as f64 / seconds, cpu_us / count as f64))
}

/// The value with one of its letters changed.
fn changed(value: Option<&[u8]>) -> Vec<u8> {
    let mut value = value.expect("every row that is asked for was loaded").to_vec();
    // Of a JSON object this is a letter of its last text.
    let at = value.len() - 4;
    value[at] = if value[at] == b'a' { b'b' } else { b'a' };
    value
}
