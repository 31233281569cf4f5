//! Steps on typed rows: events go in, rows and sums come out.
//!
//! Row stores keep events in the canonical row encoding, which lets them read one column without decoding its
//! neighbours. Encoding is part of loading, decoding part of reading.

use super::contender::{Contender, Data};
use super::events::{self, CUSTOMER, Event, Filter, Language, PRICE, Sums};
use super::rows::{BATCH_ROWS, spend, time_each};
use super::{Bench, Found};
use crate::Result;
use crate::engine::{Row, Store};
use crate::meter::{dir_bytes, quantile};
use fastrand::Rng;
use sochdb_encoding::row::{Schema, Value};

/// Shows the whole row of an id.
pub type Get<'a> = dyn FnMut(i64) -> Result<Vec<Value>> + 'a;

/// A store of events.
pub trait Events {
    /// Writes all events, a transaction for each batch, and settles.
    fn load(&self, batches: &[Vec<Event>]) -> Result<()>;
    /// Runs `f` on one snapshot.
    fn read(&self, f: &mut dyn FnMut(&mut Get<'_>) -> Result<()>) -> Result<()>;
    /// The sums over all events: of customers and prices, or, with a filter, of the prices where it holds.
    fn sums(&self, filter: Option<Filter>) -> Result<Sums>;
    /// Closes the store.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Events as rows of a store of keys and values.
pub struct Encoded<S: ?Sized> {
    schema: Schema,
    /// The store.
    pub store: Box<S>,
}

impl<S: Store + ?Sized> Encoded<S> {
    /// Events in `store`.
    pub fn new(store: Box<S>) -> Encoded<S> {
        Encoded { schema: events::schema(), store }
    }

    /// The key of the event `id`.
    fn key(&self, id: i64) -> Result<Vec<u8>> {
        Ok(self.schema.encode_key_values(&[Value::Int64(id)])?)
    }
}

impl<S: Store + ?Sized> Events for Encoded<S> {
    fn load(&self, batches: &[Vec<Event>]) -> Result<()> {
        let encode = |event: &Event| -> Result<Row> {
            let values = event.values();
            Ok((self.schema.encode_key(&values)?, self.schema.encode_row(&values)?))
        };
        for batch in batches {
            self.store.put(&batch.iter().map(encode).collect::<Result<Vec<_>>>()?)?;
        }
        self.store.settle()
    }

    fn read(&self, f: &mut dyn FnMut(&mut Get<'_>) -> Result<()>) -> Result<()> {
        self.store.read(&mut |reader| {
            f(&mut |id| {
                let key = self.key(id)?;
                let mut decoded = Ok(Vec::new());
                reader.get(&key, &mut |value| decoded = self.schema.decode(&key, value))?;
                Ok(decoded?)
            })
        })
    }

    fn sums(&self, filter: Option<Filter>) -> Result<Sums> {
        let (mut sums, mut failed) = (Sums::default(), None);
        let schema = &self.schema;
        let number = |value: &[u8], position| match schema.column(value, position)? {
            Value::Int64(number) | Value::Timestamp(number) => Ok(number),
            other => Err(sochdb_encoding::EncodingError::invalid(format!("{other:?}"))),
        };
        let mut add = |value: &[u8]| -> sochdb_encoding::EncodingResult<()> {
            match filter {
                Some(filter) if !filter.holds(number(value, filter.column)?) => return Ok(()),
                Some(_) => {}
                None => sums.customers += number(value, CUSTOMER)?,
            }
            sums.rows += 1;
            if let Value::Float64(price) = schema.column(value, PRICE)? {
                sums.prices += price;
            }
            Ok(())
        };
        self.store.read(&mut |reader| {
            reader.scan(&[], usize::MAX, &mut |_, value| {
                if let Err(error) = add(value) {
                    failed = Some(error);
                }
            })
        })?;
        failed.map_or(Ok(sums), |error| Err(error.into()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close()
    }
}

fn open(bench: &Bench<'_>) -> Result<Box<dyn Events>> {
    Ok(match bench.job.contender {
        Contender::Lscs | Contender::Native => match bench.open_ours(Data::Events)? {
            Some(ours) => Box::new(super::ours::Columns(Encoded::new(Box::new(ours)))),
            None => return Err("it is a database of ours".into()),
        },
        #[cfg(feature = "parquet")]
        Contender::Parquet => Box::new(super::parquet::Parquet::open(&bench.path(Data::Events))?),
        _ => Box::new(Encoded::new(bench.open_rows(Data::Events)?)),
    })
}

/// Point reads of Parquet: each takes some milliseconds.
#[cfg(feature = "parquet")]
const PARQUET_GETS_MAX: u64 = 500;

/// Loads all events in the order of their keys.
pub fn load(bench: &Bench<'_>) -> Result<Found> {
    let rows = bench.job.settings.rows;
    let language = Language::new();
    let all: Vec<Event> = (0..rows).map(|number| language.event(number)).collect();
    let bytes = all.iter().map(Event::bytes).sum::<usize>() as f64;
    let batches: Vec<Vec<Event>> = all.chunks(BATCH_ROWS).map(<[Event]>::to_vec).collect();
    drop(all);
    let store = open(bench)?;
    let spent = spend(|| store.load(&batches))?;
    drop(batches);
    store.close()?;
    let rows = rows as f64;
    let mut found = vec![
        ("columns_load_rate", rows / spent.seconds),
        ("columns_load_cpu_us", spent.cpu_us / rows),
        ("columns_space", dir_bytes(&bench.path(Data::Events))? / bytes),
    ];
    found.extend(spent.written.map(|written| ("columns_written", written / bytes)));
    Ok(found)
}

/// Point reads of whole events: once to warm up, once to measure.
pub fn gets(bench: &Bench<'_>) -> Result<Found> {
    let settings = &bench.job.settings;
    let mut rng = Rng::with_seed(bench.job.seed);
    let gets = match bench.job.contender {
        #[cfg(feature = "parquet")]
        Contender::Parquet => settings.gets.min(PARQUET_GETS_MAX),
        _ => settings.gets,
    };
    let ids: Vec<i64> = (0..gets).map(|_| rng.i64(0..settings.rows as i64)).collect();
    let (store, language) = (open(bench)?, Language::new());
    let (mut times, mut cpu_us) = (Vec::new(), 0.0);
    store.read(&mut |get| {
        for &id in ids.iter().take(100) {
            if get(id)? != language.event(id as u64).values() {
                return Err(format!("event {id} is missing or wrong").into());
            }
        }
        for _ in ["warm up", "measure"] {
            (times, cpu_us) = time_each(&ids, |&id| match get(id)?.first() {
                Some(Value::Int64(found)) if *found == id => Ok(()),
                other => Err(format!("event {id} begins with {other:?}").into()),
            })?;
        }
        Ok(())
    })?;
    store.close()?;
    let (median, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    let cpu = ("columns_get_cpu_us", cpu_us);
    Ok(vec![("columns_get_us", median), ("columns_get_p99_us", p99), cpu])
}

/// Adds up two columns of all events.
pub fn sum(bench: &Bench<'_>) -> Result<Found> {
    answer(bench, None, ["columns_sum_ms", "columns_sum_cpu_ms"])
}

/// Adds up one column of the events of some hours.
pub fn clustered(bench: &Bench<'_>) -> Result<Found> {
    let filter = Filter::clustered(bench.job.settings.rows);
    answer(bench, Some(filter), ["columns_clustered_ms", "columns_clustered_cpu_ms"])
}

/// Adds up one column of the events of some customers.
pub fn random(bench: &Bench<'_>) -> Result<Found> {
    answer(bench, Some(Filter::random()), ["columns_random_ms", "columns_random_cpu_ms"])
}

/// Asks once to warm up, [`TIMES`] times to measure.
fn answer(
    bench: &Bench<'_>,
    filter: Option<Filter>,
    [wall, cpu]: [&'static str; 2],
) -> Result<Found> {
    let expected = Sums::expected(bench.job.settings.rows, filter);
    let store = open(bench)?;
    store.sums(filter)?.check(&expected)?;
    let mut times = Vec::new();
    let all = spend(|| {
        for _ in 0..TIMES {
            let once = spend(|| store.sums(filter)?.check(&expected))?;
            times.push(once.seconds * 1e3);
        }
        Ok(())
    })?;
    store.close()?;
    Ok(vec![(wall, quantile(&mut times, 0.5)), (cpu, all.cpu_us / 1e3 / TIMES as f64)])
}

/// How often a question is asked in a round.
const TIMES: usize = 5;
