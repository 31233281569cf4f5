//! A model of a table under load: what the plan makes of it, and what that costs.

use super::*;
use crate::options::Options;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A key is a number; a row has so many bytes.
const ROW_BYTES: u64 = 100;
/// Rows of a segment of the size asked for.
const PIECE_ROWS: u64 = 80;

/// A segment as its sorted keys and whether each is deleted, oldest first in a list.
#[derive(Debug, Clone)]
struct Piece {
    rows: Vec<(u64, bool)>,
    properties: Properties,
}

impl Piece {
    fn new(rows: Vec<(u64, bool)>) -> Piece {
        let key = |row: &(u64, bool)| row.0.to_be_bytes().to_vec();
        let properties = Properties {
            rows: rows.len() as u64,
            deleted: rows.iter().filter(|row| row.1).count() as u64,
            raw_bytes: 0,
            bytes: rows.len() as u64 * ROW_BYTES,
            min_key: key(&rows[0]),
            max_key: key(&rows[rows.len() - 1]),
        };
        Piece { rows, properties }
    }

    fn cut(rows: Vec<(u64, bool)>) -> impl Iterator<Item = Piece> {
        let pieces: Vec<_> =
            rows.chunks(PIECE_ROWS as usize).map(|rows| Piece::new(rows.to_vec())).collect();
        pieces.into_iter()
    }
}

#[derive(Debug, Default)]
struct Model {
    pieces: Vec<Piece>,
    flushed: u64,
    written: u64,
    runs_most: usize,
    slices: usize,
}

impl Model {
    fn options() -> Options {
        Options::new(None, &BTreeMap::new()).unwrap().with_segment_bytes(PIECE_ROWS * ROW_BYTES)
    }

    fn properties(&self) -> Vec<&Properties> {
        self.pieces.iter().map(|piece| &piece.properties).collect()
    }

    fn flush(&mut self, rows: BTreeMap<u64, bool>) {
        self.flushed += rows.len() as u64;
        self.written += rows.len() as u64;
        self.pieces.extend(Piece::cut(rows.into_iter().collect()));
    }

    /// One slice; whether there was one, and whether another is urgent.
    fn slice(&mut self) -> Option<bool> {
        let plan = plan(&self.properties(), &Model::options())?;
        let share = |a: usize, b: usize| {
            let (a, b) = (&self.pieces[a].properties, &self.pieces[b].properties);
            Ok::<_, ()>(a.min_key <= b.max_key && b.min_key <= a.max_key)
        };
        let drop_deleted = plan.check(self.pieces.len(), share).unwrap();
        let drop_deleted = drop_deleted.unwrap_or_else(|| panic!("{plan:?} cannot be done"));
        let mut merged = Vec::new();
        if plan.is_move() {
            merged.push(self.pieces[plan.inputs[0]].clone());
        } else {
            let mut rows = BTreeMap::new();
            plan.inputs
                .iter()
                .for_each(|input| rows.extend(self.pieces[*input].rows.iter().copied()));
            rows.retain(|_, deleted| !(drop_deleted && *deleted));
            self.written += rows.len() as u64;
            merged.extend(Piece::cut(rows.into_iter().collect()));
        }
        for input in plan.inputs.iter().rev() {
            self.pieces.remove(*input);
        }
        self.pieces.splice(plan.at..plan.at, merged);
        self.slices += 1;
        Some(plan.urgent)
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.slice().is_none() {
                return;
            }
        }
        panic!("the plan does not settle: {:?}", runs(&self.properties()));
    }

    /// What a checkpoint does: one slice, and more while it is urgent.
    fn checkpoint(&mut self) {
        while self.slice() == Some(true) {}
        self.runs_most = self.runs_most.max(runs(&self.properties()).len());
    }

    fn newest(&self) -> BTreeMap<u64, bool> {
        let rows = self.pieces.iter().flat_map(|piece| piece.rows.iter().copied());
        rows.collect::<BTreeMap<_, _>>().into_iter().filter(|row| !row.1).collect()
    }
}

/// A name; each which row is deleted; the key of a row; tenths of how often a row may be written.
type Load = (&'static str, u64, fn(u64) -> u64, u64);

/// Numbers that look random and are the same each time.
fn mix(seed: u64) -> u64 {
    let hash = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

/// `flushes` times `rows` rows whose keys `key` chooses; each `deletes`th one is deleted.
fn load(flushes: u64, rows: u64, deletes: u64, settle: bool, key: impl Fn(u64) -> u64) -> Model {
    let (mut model, mut expected) = (Model::default(), BTreeMap::new());
    for flush in 0..flushes {
        let row = |index: u64| {
            let number = flush * rows + index;
            (key(number), deletes != 0 && mix(number + 7).is_multiple_of(deletes))
        };
        let run: BTreeMap<_, _> = (0..rows).map(row).collect();
        expected.extend(run.clone());
        model.flush(run);
        if settle {
            model.settle()
        } else {
            model.checkpoint()
        }
        if flush % 16 == 0 {
            expected.retain(|_, deleted| !*deleted);
            assert_eq!(model.newest(), expected, "after flush {flush}");
        }
    }
    let most = LEVELS_MAX + YOUNG_RUNS_URGENT;
    assert!(model.runs_most <= most, "{} runs", model.runs_most);
    model.settle();
    expected.retain(|_, deleted| !*deleted);
    assert_eq!(model.newest(), expected);
    model
}

#[test]
fn loads_settle_with_few_levels_and_rows_are_rewritten_a_few_times() {
    let skewed =
        |n: u64| if mix(n).is_multiple_of(10) { mix(n + 1) % 100_000 } else { mix(n + 1) % 2_000 };
    let loads: [Load; 5] = [
        ("sequential", 0, |n| n, 11),
        ("uniform", 0, |n| mix(n) % 100_000, 140),
        ("skewed", 0, skewed, 120),
        ("a fourth deleted", 4, |n| mix(n) % 100_000, 130),
        ("a window that moves", 0, |n| n / 2 + mix(n) % 3_000, 60),
    ];
    let mut report = String::new();
    for (name, deletes, key, amplification_max) in loads {
        for rows in [100, 400] {
            for settle in [true, false] {
                let model = load(300, rows, deletes, settle, key);
                let runs = runs(&model.properties()).len();
                let tenths = model.written * 10 / model.flushed;
                let line = format!(
                    "{name}, flushes of {rows}, {}: {}.{} times written, {runs} runs, {} at most, {} slices, {} segments",
                    if settle { "settled each time" } else { "a slice each time" },
                    tenths / 10,
                    tenths % 10,
                    model.runs_most,
                    model.slices,
                    model.pieces.len(),
                );
                writeln!(report, "{line}").unwrap();
                assert!(tenths <= amplification_max, "{line}");
                assert!(runs <= LEVELS_MAX + YOUNG_RUNS, "{line}");
            }
        }
    }
    println!("{report}");
}

#[test]
fn a_load_in_key_order_is_one_run_and_small_segments_are_gathered() {
    let model = load(500, 7, 0, true, |n| n);
    assert_eq!(runs(&model.properties()).len(), 1);
    assert!(model.pieces.len() < 500 * 7 / 40, "{} segments", model.pieces.len());
}

#[test]
fn a_segment_that_overlaps_nothing_moves_to_its_place_without_being_read() {
    let mut model = Model::default();
    for flush in (0..40u64).rev() {
        model.flush((flush * 1_000..flush * 1_000 + 100).map(|key| (key, false)).collect());
        model.settle();
    }
    assert!(runs(&model.properties()).len() <= YOUNG_RUNS);
    assert!(model.written <= model.flushed * 2, "{} of {}", model.written, model.flushed);
}

#[test]
fn nothing_is_planned_for_a_table_that_is_well() {
    assert_eq!(plan(&[] as &[Properties], &Model::options()), None);
    let mut model = Model::default();
    for _ in 0..YOUNG_RUNS - 1 {
        model.flush((0..10).map(|key| (key, false)).collect());
        assert_eq!(plan(&model.properties(), &Model::options()), None);
    }
    model.flush((0..10).map(|key| (key, false)).collect());
    let plan = plan(&model.properties(), &Model::options());
    assert_eq!(plan, Some(Compaction { inputs: vec![0, 1, 2, 3], at: 0, urgent: false }));
}
