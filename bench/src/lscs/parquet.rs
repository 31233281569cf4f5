//! Parquet through arrow-rs: one file, written once, with zstd and otherwise the writer's own settings.
//!
//! It is no database: nothing can be changed, and nothing is safe before the file is whole. What a careful reader
//! gets out of it is used: column projection, pages skipped by the statistics of the column and offset indexes,
//! and a row filter that decodes the other columns only where it holds. The metadata is read once, as a database
//! would.

use super::columns::{Events, Get};
use super::events::{AT, CUSTOMER, Event, Filter, NAMES, PRICE, Sums};
use crate::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    RowFilter, RowSelection, RowSelector,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterProperties;
use sochdb_encoding::row::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One file of events.
pub struct Parquet {
    file: PathBuf,
    metadata: OnceLock<ArrowReaderMetadata>,
}

impl Parquet {
    /// The file in the directory `path`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(path: &Path) -> Result<Parquet> {
        std::fs::create_dir_all(path)?;
        Ok(Parquet { file: path.join("events.parquet"), metadata: OnceLock::new() })
    }

    fn metadata(&self) -> Result<&ArrowReaderMetadata> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = ArrowReaderMetadata::load(&File::open(&self.file)?, options)?;
        Ok(self.metadata.get_or_init(|| metadata))
    }

    /// Shows `seen` the columns `positions` of all events, or of those for which `filter` holds.
    fn scan(
        &self,
        file: &File,
        positions: &[usize],
        filter: Option<Filter>,
        seen: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let metadata = self.metadata()?;
        let of = |positions: &[usize]| {
            let columns = metadata.parquet_schema();
            ProjectionMask::leaves(columns, positions.iter().copied())
        };
        let file = file.try_clone()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let mut builder = builder.with_projection(of(positions));
        if let Some(filter) = filter {
            let holds = move |batch: RecordBatch| holding(&filter, batch.column(0));
            let predicate = ArrowPredicateFn::new(of(&[filter.column]), holds);
            builder = builder
                .with_row_selection(self.pages(&filter)?)
                .with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
        }
        for batch in builder.build()? {
            seen(&batch?)?;
        }
        Ok(())
    }

    /// The rows of the pages in which `filter` may hold.
    fn pages(&self, filter: &Filter) -> Result<RowSelection> {
        let metadata = self.metadata()?.metadata();
        let mut selectors = Vec::new();
        for (group, info) in metadata.row_groups().iter().enumerate() {
            let index = metadata.page_index_for_row_group(group);
            let statistics = match index.column_index(filter.column) {
                Some(ColumnIndexMetaData::INT64(statistics)) => statistics,
                _ => return Err("the column has no statistics of pages".into()),
            };
            let pages = index.page_locations(filter.column).ok_or("the file has no page index")?;
            for (page, place) in pages.iter().enumerate() {
                let next = pages.get(page + 1).map_or(info.num_rows(), |next| next.first_row_index);
                let rows = (next - place.first_row_index) as usize;
                let least = statistics.min_value(page).copied().unwrap_or(i64::MIN);
                let most = statistics.max_value(page).copied().unwrap_or(i64::MAX);
                selectors.push(match filter.from <= most && least < filter.to {
                    true => RowSelector::select(rows),
                    false => RowSelector::skip(rows),
                });
            }
        }
        Ok(selectors.into())
    }
}

/// For each row of a column of integers whether `filter` holds.
fn holding(filter: &Filter, column: &ArrayRef) -> std::result::Result<BooleanArray, ArrowError> {
    let numbers = match filter.column {
        AT => column.as_primitive::<TimestampMicrosecondType>().values(),
        _ => column.as_primitive::<Int64Type>().values(),
    };
    Ok(numbers.iter().map(|number| Some(filter.holds(*number))).collect())
}

impl Events for Parquet {
    fn load(&self, batches: &[Vec<Event>]) -> Result<()> {
        let schema = Arc::new(schema());
        let compression = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(&self.file)?;
        let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
        for batch in batches {
            writer.write(&RecordBatch::try_new(schema.clone(), arrays(batch))?)?;
        }
        writer.into_inner()?.sync_all()?;
        Ok(())
    }

    fn read(&self, f: &mut dyn FnMut(&mut Get<'_>) -> Result<()>) -> Result<()> {
        let (file, all) = (File::open(&self.file)?, Vec::from_iter(0..NAMES.len()));
        f(&mut |id| {
            let filter = Filter { column: 0, from: id, to: id + 1 };
            let mut row = Vec::new();
            self.scan(&file, &all, Some(filter), &mut |batch| {
                if 0 < batch.num_rows() {
                    row = values(batch);
                }
                Ok(())
            })?;
            Ok(row)
        })
    }

    fn sums(&self, filter: Option<Filter>) -> Result<Sums> {
        let mut sums = Sums::default();
        let positions: &[usize] = if filter.is_some() { &[PRICE] } else { &[CUSTOMER, PRICE] };
        self.scan(&File::open(&self.file)?, positions, filter, &mut |batch| {
            sums.rows += batch.num_rows() as u64;
            let prices = batch.column(batch.num_columns() - 1);
            sums.prices += prices.as_primitive::<Float64Type>().values().iter().sum::<f64>();
            if filter.is_none() {
                let customers = batch.column(0).as_primitive::<Int64Type>();
                sums.customers += customers.values().iter().sum::<i64>();
            }
            Ok(())
        })?;
        Ok(sums)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn schema() -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let (int, float, text) = (DataType::Int64, DataType::Float64, DataType::Utf8);
    let kinds = [
        int.clone(),
        time,
        int.clone(),
        int,
        float.clone(),
        float,
        text.clone(),
        text.clone(),
        text,
        DataType::Boolean,
    ];
    let field = |(name, kind): (&str, DataType)| Field::new(name, kind, name == "paid");
    Schema::new(NAMES.into_iter().zip(kinds).map(field).collect::<Vec<_>>())
}

fn arrays(events: &[Event]) -> Vec<ArrayRef> {
    let ints = |of: fn(&Event) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(events.iter().map(of)))
    };
    let floats = |of: fn(&Event) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(events.iter().map(of)))
    };
    let texts = |of: fn(&Event) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(events.iter().map(of)))
    };
    vec![
        ints(|event| event.id),
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|e| e.at))),
        ints(|event| event.customer),
        ints(|event| event.status),
        floats(|event| event.price),
        floats(|event| event.score),
        texts(|event| &event.country),
        texts(|event| &event.note),
        texts(|event| &event.url),
        Arc::new(events.iter().map(|event| event.paid).collect::<BooleanArray>()),
    ]
}

/// The first row of a batch of all columns.
fn values(batch: &RecordBatch) -> Vec<Value> {
    let value = |column: &ArrayRef| match column.data_type() {
        _ if column.is_null(0) => Value::Null,
        DataType::Timestamp(..) => {
            Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(0))
        }
        DataType::Float64 => Value::Float64(column.as_primitive::<Float64Type>().value(0)),
        DataType::Boolean => Value::Bool(column.as_boolean().value(0)),
        DataType::Utf8 => Value::String(column.as_string::<i32>().value(0).to_owned()),
        _ => Value::Int64(column.as_primitive::<Int64Type>().value(0)),
    };
    batch.columns().iter().map(value).collect()
}
