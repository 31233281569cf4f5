//! A database with several kinds of tables, a model beside it, and a hand that damages files.

use crate::engine::{Engine, Shrink};
use fastrand::Rng;
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{Environment, Kernel, KernelResult, Options, TableOptions, Timestamp};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of one table.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// The rows of all tables, by name.
pub type Model = BTreeMap<String, Rows>;

/// The tables that [`fill`] writes to.
pub const TABLES: [&str; 4] = ["plain", "squeezed", "columns", "few"];

/// Opens the database in `vfs`, with the test's engine and codec.
pub fn open(vfs: &MemoryVfs, options: Options) -> KernelResult<Kernel> {
    let options = Options { wal_segment_bytes: 16 << 10, ..options };
    let kernel = Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), options)?;
    register(kernel.plugins());
    Ok(kernel)
}

/// Registers the test's engine and codec.
pub fn register(plugins: &PluginManager) {
    plugins.register_storage(Arc::new(Engine { name: "engine", refuses: false }));
    plugins.register_storage(Arc::new(Engine { name: "stubborn", refuses: false }));
    plugins.register_compression(Arc::new(Shrink));
}

/// Makes the tables: two in trees (one compressed), one in segments, one that stays small.
pub fn create(kernel: &Kernel) -> Model {
    for name in TABLES {
        let is = |other| (name == other).then(|| name.to_owned());
        let storage = is("columns").map(|_| "engine".to_owned());
        let codec = is("squeezed").or(is("columns")).map(|_| "shrink".to_owned());
        let options = TableOptions { storage, codec, ..TableOptions::default() };
        kernel.create_table(name, options).unwrap();
    }
    TABLES.map(|name| (name.to_owned(), Rows::new())).into()
}

/// Runs `count` transactions of a few puts and deletes, large values among them. Returns what each wrote.
pub fn fill(
    kernel: &Kernel,
    model: &mut Model,
    rng: &mut Rng,
    count: usize,
) -> Vec<(Timestamp, Vec<Write>)> {
    let mut history = Vec::new();
    for _ in 0..count {
        let writes: Vec<_> = (0..rng.usize(1..8)).map(|_| write(rng)).collect();
        let mut tx = kernel.begin().unwrap();
        for (table, key, value) in &writes {
            match value {
                Some(value) => tx.put(table, key, value).unwrap(),
                None => tx.delete(table, key).unwrap(),
            }
        }
        history.push((tx.commit().unwrap(), writes.clone()));
        for (table, key, value) in writes {
            let rows = model.get_mut(table).expect("the table was made");
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
    }
    history
}

/// One write: table, key, and the value or `None` for a deletion.
pub type Write = (&'static str, Vec<u8>, Option<Vec<u8>>);

fn write(rng: &mut Rng) -> Write {
    let table = TABLES[rng.usize(..3) + usize::from(rng.u8(..20) == 0)];
    let keys = if table == "few" { 3 } else { 400 };
    let key = format!("key{:04}{}", rng.u32(..keys), "-".repeat(rng.usize(..2) * 20));
    let len = match rng.u8(..20) {
        0 => rng.usize(2000..9000),
        1..8 => rng.usize(100..900),
        _ => rng.usize(..40),
    };
    let byte = rng.u8(..);
    let mut value = vec![byte; len];
    // Half of each value does not compress.
    value.iter_mut().step_by(2).for_each(|other| *other = byte ^ rng.u8(..2));
    (table, key.into_bytes(), (rng.u8(..6) != 0).then_some(value))
}

/// Every row of the database.
pub fn read(kernel: &Kernel) -> Model {
    let tx = kernel.begin_read().unwrap();
    let rows = |name: &str| {
        let rows = tx.scan(name, ..).unwrap().map(|row| row.unwrap());
        rows.map(|(key, value)| (key, value.to_vec())).collect()
    };
    tx.tables().unwrap().into_iter().map(|info| (info.name.clone(), rows(&info.name))).collect()
}

/// The bytes of a file.
pub fn bytes(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    let file = vfs.open(name, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Writes into a file, past everybody.
pub fn overwrite(vfs: &MemoryVfs, name: &str, at: u64, bytes: &[u8]) {
    vfs.open(name, OpenMode::Write).unwrap().write_at(at, bytes).unwrap();
}
