//! A whole life of a database from one seed: many clients with open transactions at once, a clock that
//! moves when told, checkpoints, errors of the disk, and power cuts in the middle of any call.
//!
//! One thread runs everything; a generator picks whose step is next. Beside the database runs an exact
//! model: the list of states after each commit. It predicts every answer:
//!
//! | level          | reads see                                | a commit is refused                      |
//! |----------------|------------------------------------------|------------------------------------------|
//! | read committed | the newest state and one's own writes    | never                                    |
//! | snapshot       | the state at begin and one's own writes  | if and only if a written row was changed |
//! | serializable   | the same                                 | then, or because of what was read        |
//!
//! A serializable commit that is taken must read, at its place in the order of commits, exactly what it
//! read: each of its reads is repeated on the newest state. After a power cut the database holds the
//! states' list up to some commit, at least up to the last one that promised durability; a commit whose
//! call failed may be there if nothing came after it.

use crate::extensions;
use crate::model::rows_in;
use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use crate::workload::{self, State};
use crate::{replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{
    Durability, Environment, ErrorKind, IsolationLevel, Kernel, KernelError, KeyRange, Savepoint,
    Transaction, TransactionOptions,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

const CLIENTS: usize = 6;
const TABLES: [&str; 2] = ["left", "right"];

type Row = (String, Vec<u8>);
type Overlay = BTreeMap<Row, Option<Arc<[u8]>>>;

/// Something a serializable transaction saw that was not its own.
enum Seen {
    Row(Row, Option<Arc<[u8]>>),
    Range(String, KeyRange, Vec<(Vec<u8>, Arc<[u8]>)>, Overlay),
}

struct Client {
    tx: Transaction,
    level: IsolationLevel,
    durable: bool,
    number: u64,
    /// How many commits there were at begin.
    base: usize,
    overlay: Overlay,
    /// Rows written once, also those a savepoint took back: they may cause a conflict.
    touched: Overlay,
    savepoints: Vec<(Savepoint, Overlay)>,
    seen: Vec<Seen>,
}

/// One commit in the model: the state after it, the rows it changed, and whether it promised to stay.
struct Commit {
    state: Rc<State>,
    changed: Vec<Row>,
    durable: bool,
}

/// How often things happened, for the closing line.
#[derive(Default)]
struct Tally {
    steps: u64,
    commits: u64,
    conflicts: u64,
    needless: u64,
    crashes: u64,
    restarts: u64,
    errors: u64,
}

struct World {
    rng: Rng,
    seed: u64,
    vfs: SimVfs,
    clock: Arc<sochdb_sim::ManualClock>,
    kernel: Option<Kernel>,
    commits: Vec<Commit>,
    /// Commits whose call failed, in order, since the last one that was taken.
    limbo: Vec<Overlay>,
    clients: Vec<Option<Client>>,
    next_number: u64,
    faulty: bool,
}

fn key(rng: &mut Rng) -> Vec<u8> {
    format!("k{:02}", rng.u8(0..24)).into_bytes()
}

fn over<'a>(state: &'a State, overlay: &'a Overlay, row: &Row) -> Option<&'a Arc<[u8]>> {
    overlay.get(row).map_or_else(|| state[&row.0].get(&row.1), Option::as_ref)
}

fn overlaid(state: &State, overlay: &Overlay) -> State {
    let mut state = state.clone();
    for ((table, key), value) in overlay {
        let rows = state.get_mut(table).expect("no table comes or goes");
        match value {
            Some(value) => drop(rows.insert(key.clone(), value.clone())),
            None => drop(rows.remove(key)),
        }
    }
    state
}

/// Rows of the range that are not hidden by one's own writes.
fn foreign(
    state: &State,
    table: &str,
    range: &KeyRange,
    own: &Overlay,
) -> Vec<(Vec<u8>, Arc<[u8]>)> {
    let rows = rows_in(&state[table], range);
    let foreign = rows.filter(|(key, _)| !own.contains_key(&(table.to_owned(), (*key).clone())));
    foreign.map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl World {
    fn new(seed: u64) -> World {
        let vfs = SimVfs::new(Disk::default(), seed);
        let mut world = World {
            rng: Rng::with_seed(seed),
            seed,
            vfs,
            clock: Arc::new(sochdb_sim::ManualClock::default()),
            kernel: None,
            commits: Vec::new(),
            limbo: Vec::new(),
            clients: (0..CLIENTS).map(|_| None).collect(),
            next_number: 0,
            faulty: false,
        };
        let kernel = world.open().expect("a healthy disk opens");
        let mut tx = kernel.begin().expect("healthy");
        for table in TABLES.iter().chain([&workload::MARKS]) {
            tx.create_table(table, extensions::options_of(table)).expect("healthy");
        }
        tx.commit().expect("healthy");
        let state =
            TABLES.iter().chain([&workload::MARKS]).map(|t| ((*t).to_owned(), BTreeMap::new()));
        let state = Rc::new(state.collect());
        world.commits.push(Commit { state, changed: Vec::new(), durable: true });
        world.kernel = Some(kernel);
        world
    }

    fn open(&mut self) -> Result<Kernel, KernelError> {
        let mut env = Environment::with_vfs(Arc::new(self.vfs.clone()));
        env.clock = self.clock.clone();
        env.seed = self.seed;
        let mut options = workload::small_options();
        options.memtable_bytes_max = 16 << 10;
        let kernel = Kernel::open(env, options)?;
        extensions::register(&kernel);
        Ok(kernel)
    }

    fn newest(&self) -> Rc<State> {
        self.commits.last().expect("the first one stays").state.clone()
    }

    /// The database is opened from what the disk holds, and must hold a state the model allows.
    fn reopen(&mut self, disk: Disk, exactly: bool) {
        self.clients.iter_mut().for_each(|client| *client = None);
        self.kernel = None;
        self.vfs = SimVfs::new(disk, self.rng.u64(..));
        self.faulty = false;
        let kernel = self.open().unwrap_or_else(|error| panic!("does not open: {error}"));
        let found =
            workload::contents(&kernel).unwrap_or_else(|error| panic!("does not read: {error}"));
        workload::check(&kernel).unwrap_or_else(|problem| panic!("{problem}"));
        let marks = &found[workload::MARKS];
        let least = self.commits.iter().rposition(|commit| commit.durable).expect("the first one");
        let holds = |commit: &Commit| {
            commit.state[workload::MARKS].keys().all(|mark| marks.contains_key(mark))
        };
        let count = self.commits.iter().take_while(|commit| holds(commit)).count();
        assert!(
            least < count,
            "holds {} of {} commits, {} were durable",
            count,
            self.commits.len(),
            least + 1
        );
        let mut expected = self.commits[count - 1].state.clone();
        if count == self.commits.len() {
            for overlay in std::mem::take(&mut self.limbo) {
                let mark =
                    overlay.keys().find(|(table, _)| table == workload::MARKS).expect("has one");
                if marks.contains_key(&mark.1) {
                    expected = Rc::new(overlaid(&expected, &overlay));
                }
            }
        }
        assert!(!exactly || count == self.commits.len(), "a closed database holds everything");
        if let Some(difference) = workload::difference(&found, &expected) {
            panic!("with {count} of {} commits: {difference}", self.commits.len());
        }
        self.limbo.clear();
        self.commits.truncate(count);
        self.commits.push(Commit { state: expected, changed: Vec::new(), durable: true });
        self.kernel = Some(kernel);
    }

    /// An error that is not a conflict: only a failing disk may cause it, and it says so.
    fn blame_the_disk(&self, error: &KernelError) {
        assert!(self.faulty, "without any fault: {error}");
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Closed), "{kind:?}: {error}");
    }

    fn begin(&mut self, client: usize, tally: &mut Tally) {
        let level = match self.rng.u8(0..4) {
            0 => IsolationLevel::ReadCommitted,
            1 => IsolationLevel::SnapshotIsolation,
            2 => IsolationLevel::RepeatableRead,
            _ => IsolationLevel::Serializable,
        };
        let durability = match self.rng.u8(0..4) {
            0 => Some(Durability::None),
            1 => Some(Durability::FsyncDelayed(10_000)),
            2 => Some(Durability::Fsync),
            _ => None,
        };
        let durable = matches!(durability, None | Some(Durability::Fsync));
        let options = TransactionOptions { isolation: level, durability, ..Default::default() };
        let Some(kernel) = &self.kernel else { return };
        match kernel.begin_with(options) {
            Err(error) => {
                self.blame_the_disk(&error);
                tally.errors += 1;
            }
            Ok(tx) => {
                self.next_number += 1;
                self.clients[client] = Some(Client {
                    tx,
                    level,
                    durable,
                    number: self.next_number,
                    base: self.commits.len(),
                    overlay: Overlay::new(),
                    touched: Overlay::new(),
                    savepoints: Vec::new(),
                    seen: Vec::new(),
                });
            }
        }
    }

    fn visible(&self, client: &Client) -> Rc<State> {
        match client.level {
            IsolationLevel::ReadCommitted => self.newest(),
            _ => self.commits[client.base - 1].state.clone(),
        }
    }

    /// One read; `Err` is the disk's.
    fn read(&mut self, client: &mut Client) -> Result<(), KernelError> {
        let table = TABLES[self.rng.usize(0..2)];
        let base = self.visible(client);
        if self.rng.bool() {
            let row = (table.to_owned(), key(&mut self.rng));
            let got = client.tx.get(table, &row.1)?;
            let wanted = over(&base, &client.overlay, &row);
            assert_eq!(
                got.as_deref(),
                wanted.map(|value| &**value),
                "{:?} get {row:?}",
                client.level
            );
            if !client.overlay.contains_key(&row) {
                client.seen.push(Seen::Row(row, wanted.cloned()));
            }
            return Ok(());
        }
        let range = crate::model::range(&mut self.rng, key);
        let reverse = self.rng.bool();
        let scan = match reverse {
            false => client.tx.scan(table, range.clone())?,
            true => client.tx.scan_reverse(table, range.clone())?,
        };
        let state = overlaid(&base, &client.overlay);
        let mut wanted: Vec<_> = rows_in(&state[table], &range).collect();
        if reverse {
            wanted.reverse();
        }
        let mut wanted = wanted.into_iter();
        for row in scan {
            let (key, value) = row?;
            let next = wanted.next().map(|(key, value)| (&**key, &**value));
            assert_eq!(Some((&*key, &*value)), next, "{:?} scan {table} {range:?}", client.level);
        }
        assert_eq!(wanted.next(), None, "{:?} scan {table} {range:?} ended early", client.level);
        let own = client.overlay.clone();
        client.seen.push(Seen::Range(
            table.to_owned(),
            range.clone(),
            foreign(&base, table, &range, &own),
            own,
        ));
        Ok(())
    }

    fn write(&mut self, client: &mut Client) -> Result<(), KernelError> {
        let row = (TABLES[self.rng.usize(0..2)].to_owned(), key(&mut self.rng));
        let value = if self.rng.u8(0..4) == 0 {
            client.touched.insert(row.clone(), None);
            client.tx.delete(&row.0, &row.1)?;
            None
        } else {
            let len = if self.rng.u8(0..30) == 0 { 5000 } else { self.rng.usize(0..120) };
            let value = workload::bytes(&mut self.rng, len);
            client.touched.insert(row.clone(), None);
            client.tx.put(&row.0, &row.1, &value)?;
            Some(value)
        };
        client.overlay.insert(row, value);
        Ok(())
    }

    fn savepoint(&mut self, client: &mut Client) -> Result<(), KernelError> {
        if client.savepoints.is_empty() || self.rng.bool() {
            let savepoint = client.tx.savepoint();
            client.savepoints.push((savepoint, client.overlay.clone()));
            return Ok(());
        }
        client.savepoints.truncate(self.rng.usize(1..=client.savepoints.len()));
        let (savepoint, overlay) = client.savepoints.pop().expect("at least one");
        client.tx.rollback_to(savepoint)?;
        client.overlay = overlay;
        Ok(())
    }

    /// Whether somebody committed one of `rows` since `client` began.
    fn changed_since<'a>(&self, client: &Client, mut rows: impl Iterator<Item = &'a Row>) -> bool {
        rows.any(|row| {
            self.commits[client.base..].iter().any(|commit| commit.changed.contains(row))
        })
    }

    /// Whether everything `client` saw is still so in the newest state.
    fn sees_the_same(&self, client: &Client) -> bool {
        let newest = self.newest();
        client.seen.iter().all(|seen| match seen {
            Seen::Row(row, value) => newest[&row.0].get(&row.1) == value.as_ref(),
            Seen::Range(table, range, rows, own) => foreign(&newest, table, range, own) == *rows,
        })
    }

    /// A conflict at a write or a commit: was there a reason?
    fn judge_conflict(&self, client: &Client, tally: &mut Tally) {
        tally.conflicts += 1;
        assert_ne!(client.level, IsolationLevel::ReadCommitted, "read committed never conflicts");
        if self.changed_since(client, client.touched.keys()) {
            return;
        }
        assert_eq!(client.level, IsolationLevel::Serializable, "a conflict without a common row");
        // Something read was changed and changed back, or lies near: allowed, and counted.
        assert_ne!(client.base, self.commits.len(), "a conflict although nobody committed since");
        tally.needless += u64::from(self.sees_the_same(client));
    }

    fn commit(&mut self, mut client: Client, tally: &mut Tally) {
        let read_only = client.overlay.is_empty() && self.rng.bool();
        if !read_only {
            let mark = (workload::MARKS.to_owned(), client.number.to_be_bytes().to_vec());
            let value: Arc<[u8]> = client.number.to_be_bytes().as_slice().into();
            match client.tx.put(workload::MARKS, &mark.1, &value) {
                Ok(()) => drop(client.overlay.insert(mark, Some(value))),
                Err(error) => return self.failed(client, &error, tally),
            }
        }
        // A deletion of a row that never was may count as a write or not.
        let base = self.commits[client.base - 1].state.clone();
        let definite = |(row, value): &(&Row, &Option<Arc<[u8]>>)| {
            value.is_some() || base[&row.0].contains_key(&row.1)
        };
        let definite: Vec<_> =
            client.overlay.iter().filter(definite).map(|(row, _)| row.clone()).collect();
        let must_fail = client.level != IsolationLevel::ReadCommitted
            && self.changed_since(&client, definite.iter());
        let serializable = client.level == IsolationLevel::Serializable;
        let same = !serializable || read_only || self.sees_the_same(&client);
        // The transaction is taken out, so that the model can outlive it.
        let Client { tx, level, durable, base, overlay, touched, seen, number, .. } = client;
        match tx.commit() {
            Ok(_) => {
                assert!(!must_fail, "{level:?}: two writers of one row both committed");
                assert!(same, "serializable: what was read had changed before the commit");
                tally.commits += 1;
                if !overlay.is_empty() {
                    let state = Rc::new(overlaid(&self.newest(), &overlay));
                    let changed = overlay.keys().cloned().collect();
                    self.commits.push(Commit { state, changed, durable });
                    self.limbo.clear();
                }
            }
            Err(error) if error.is_retryable() => {
                assert!(!read_only, "a transaction that only read was refused: {error}");
                tally.conflicts += 1;
                assert_ne!(level, IsolationLevel::ReadCommitted, "read committed never conflicts");
                let since = &self.commits[base..];
                let common =
                    touched.keys().any(|row| since.iter().any(|c| c.changed.contains(row)));
                assert!(common || serializable, "a conflict without a common row");
                assert!(common || !since.is_empty(), "a conflict although nobody committed since");
                tally.needless += u64::from(!common && same);
                drop((seen, number));
            }
            Err(error) => {
                self.blame_the_disk(&error);
                tally.errors += 1;
                if !overlay.is_empty() {
                    self.limbo.push(overlay);
                }
            }
        }
    }

    /// A call before the commit failed: the client gives up.
    fn failed(&mut self, client: Client, error: &KernelError, tally: &mut Tally) {
        if error.is_retryable() {
            self.judge_conflict(&client, tally);
        } else {
            self.blame_the_disk(error);
            tally.errors += 1;
        }
        if self.rng.bool() {
            client.tx.rollback();
        }
    }

    /// One step of one client.
    fn step(&mut self, tally: &mut Tally) {
        tally.steps += 1;
        let index = self.rng.usize(0..CLIENTS);
        let Some(mut client) = self.clients[index].take() else { return self.begin(index, tally) };
        let done = match self.rng.u8(0..24) {
            0..=9 => self.read(&mut client),
            10..=18 => self.write(&mut client),
            19 | 20 => self.savepoint(&mut client),
            21 if self.rng.bool() => return client.tx.rollback(),
            _ => return self.commit(client, tally),
        };
        match done {
            Ok(()) => self.clients[index] = Some(client),
            Err(error) => self.failed(client, &error, tally),
        }
    }

    /// What befalls the whole database.
    fn event(&mut self, tally: &mut Tally) {
        let Some(kernel) = self.kernel.clone() else { return };
        let done = match self.rng.u8(0..20) {
            0..=3 => kernel.checkpoint().map(drop),
            4..=6 => {
                self.clock.advance(self.rng.u64(0..30_000));
                kernel.sync_due()
            }
            7 if !self.faulty => {
                workload::check(&kernel).unwrap_or_else(|problem| panic!("{problem}"));
                Ok(())
            }
            8 => {
                self.faulty = true;
                self.vfs.set_error_rate_ppm(self.rng.u32(1_000..50_000));
                Ok(())
            }
            9 => {
                self.vfs.set_error_rate_ppm(0);
                Ok(())
            }
            10 | 11 => {
                self.faulty = true;
                self.vfs.set_crash_at(Some(self.vfs.calls() + self.rng.u64(1..60)));
                Ok(())
            }
            12 => {
                tally.restarts += 1;
                let closed = self.rng.bool() && kernel.close().is_ok();
                drop(kernel);
                // Whoever drops the database while transactions are open lets them end first.
                self.clients.iter_mut().for_each(|client| *client = None);
                self.kernel = None;
                return self.reopen(self.vfs.disk().restart(), closed);
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.blame_the_disk(&error);
            tally.errors += 1;
        }
    }

    fn live(&mut self, steps: u64, tally: &mut Tally) {
        for _ in 0..steps {
            self.step(tally);
            if self.rng.u8(0..16) == 0 {
                self.event(tally);
            }
            if self.vfs.is_crashed() {
                tally.crashes += 1;
                let disk = self.vfs.disk().crash_randomly(&mut self.rng);
                self.reopen(disk, false);
            }
        }
        tally.crashes += 1;
        let disk = self.vfs.disk().crash_randomly(&mut self.rng);
        self.reopen(disk, false);
    }
}

#[test]
fn simulation_of_many_clients_agrees_with_the_model() {
    let seed = seed();
    let (runs, mut tally) = (size(5000, 1_000_000), Tally::default());
    for run in 0..runs {
        let life = std::panic::AssertUnwindSafe(|| World::new(seed + run).live(400, &mut tally));
        if let Err(panic) = std::panic::catch_unwind(life) {
            println!("{}", replay("simulation", seed + run));
            std::panic::resume_unwind(panic);
        }
    }
    let Tally { steps, commits, conflicts, needless, crashes, restarts, errors } = tally;
    println!(
        "simulation: {runs} seeds, {steps} steps, {commits} commits, {conflicts} conflicts ({needless} \
         needless, serializable only), {crashes} power cuts, {restarts} restarts, {errors} disk errors, \
         none wrong; first seed {seed}"
    );
}
