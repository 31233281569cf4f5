//! What waits: rows that are marked, but not in segments yet, and what they hide in those. And rows whose value a
//! flush did not get to see.
//!
//! A search looks at each of them. They are gathered when a search first needs them, and kept for the next: one
//! at the same moment takes them as they are, a later one reads only the values of rows that are marked anew.

use crate::column::{IndexedColumn, mark};
use crate::definition::IndexDefinition;
use crate::engine::{IndexEngine, marked_of};
use crate::reader::IndexReader;
use crate::segment::OpenSegment;
use sochdb_kernel::plugin::StorageReader;
use sochdb_kernel::{
    IsolationLevel, KernelError, KernelResult, KeyRange, SegmentId, TableInfo, Timestamp,
    Transaction,
};
use std::sync::Arc;

/// With more than this the next checkpoint is worth having soon.
const ROWS_MAX: usize = 4096;
/// The place of a row that a segment does not have.
const NOWHERE: u32 = u32::MAX;

/// One row that waits.
pub(crate) struct WaitingRow {
    pub key: Vec<u8>,
    /// The mark; `None` for a row that was deleted.
    mark: Option<u64>,
    /// The form of its value, if it has one.
    pub form: Option<Vec<u8>>,
    /// The value as a vector.
    pub vector: Vec<f32>,
    /// Which entry of each segment it hides, or [`NOWHERE`].
    places: Vec<u32>,
}

/// Bits of the entries of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    /// Without any words all entries are there.
    pub words: Vec<u64>,
    /// How many are there.
    pub count: u32,
}

impl Bits {
    pub fn all(entries: u32) -> Bits {
        Bits { words: Vec::new(), count: entries }
    }

    pub fn none(entries: u32) -> Bits {
        Bits { words: vec![0; (entries as usize).div_ceil(64)], count: 0 }
    }

    pub fn set(&mut self, number: u32) {
        let (word, bit) = (&mut self.words[number as usize / 64], 1 << (number % 64));
        self.count += u32::from(*word & bit == 0);
        *word |= bit;
    }

    /// Takes `number`, one of `entries`, away.
    fn clear(&mut self, number: u32, entries: u32) {
        if self.words.is_empty() {
            self.words = vec![u64::MAX; (entries as usize).div_ceil(64)];
            if let Some(last) = self.words.last_mut()
                && !entries.is_multiple_of(64)
            {
                *last = (1 << (entries % 64)) - 1;
            }
        }
        let (word, bit) = (&mut self.words[number as usize / 64], 1 << (number % 64));
        self.count -= u32::from(*word & bit != 0);
        *word &= !bit;
    }

    /// Whether `number` is one of the `entries` that are there.
    pub fn has(&self, number: u32, entries: u32) -> bool {
        let word = self.words.get(number as usize / 64);
        number < entries && word.is_none_or(|word| word & (1 << (number % 64)) != 0)
    }

    /// Those that are in both.
    pub fn and(&self, other: &Bits) -> Bits {
        match (self.words.is_empty(), other.words.is_empty()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => {
                let words: Vec<u64> =
                    self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
                let count = words.iter().map(|word| word.count_ones()).sum();
                Bits { words, count }
            }
        }
    }

    /// The numbers, of `entries`, that are there.
    pub fn numbers(&self, entries: u32) -> Box<dyn Iterator<Item = u32> + '_> {
        if self.words.is_empty() {
            return Box::new(0..entries);
        }
        Box::new(self.words.iter().zip(0u32..).flat_map(|(&word, index)| {
            std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)))
                .take_while(|word| *word != 0)
                .map(move |word| index * 64 + word.trailing_zeros())
        }))
    }
}

/// The rows that wait, as one transaction sees them.
pub(crate) struct Waiting {
    snapshot: Timestamp,
    segments: Vec<SegmentId>,
    /// Growing by their keys.
    pub rows: Vec<Arc<WaitingRow>>,
    /// The entries of each segment that the transaction sees there.
    pub visible: Vec<Bits>,
}

/// What a search works on: the index's segments, and what waits, both as its transaction sees them.
pub(crate) struct View {
    /// The kernel's reader of the segments, which keeps them.
    reader: Option<Arc<dyn StorageReader>>,
    pub waiting: Arc<Waiting>,
}

impl View {
    /// The segments, from the oldest to the newest.
    pub fn segments(&self) -> &[Arc<OpenSegment>] {
        let reader = self.reader.as_deref().and_then(IndexReader::of);
        reader.map_or(&[], |reader| &reader.segments)
    }
}

/// Whether `tx` sees the same for ever, as any other that began at the same moment does.
pub(crate) fn is_fixed(tx: &Transaction) -> bool {
    let options = tx.options();
    options.read_only && options.isolation != IsolationLevel::ReadCommitted
}

impl IndexEngine {
    /// What `tx` sees of `index`, whose table is `info`.
    pub(crate) fn view(
        &self,
        tx: &Transaction,
        index: &IndexDefinition,
        info: &TableInfo,
    ) -> KernelResult<View> {
        // What was gathered at the same moment serves, if no later commit and no own write can be seen.
        let fixed = is_fixed(tx);
        let (mut scan, reader) = tx.scan_layers(&info.name, KeyRange::all())?;
        let segments = match reader.as_deref() {
            None => &[][..],
            Some(reader) => {
                let foreign = || KernelError::Invalid(format!("'{}' is no index", info.name));
                &IndexReader::of(reader).ok_or_else(foreign)?.segments
            }
        };
        self.keep_open(info.id, segments);
        let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id()).collect();
        let old = self.waiting.lock().get(&info.id).cloned();
        if let Some(old) = &old
            && fixed
            && old.snapshot == tx.snapshot()
            && old.segments == ids
        {
            return Ok(View { waiting: old.clone(), reader });
        }
        let table = tx.table(&index.table)?;
        let column = IndexedColumn::new(index, index.schema(&table)?)?;
        let old_rows = old.iter().filter(|old| old.segments == ids).flat_map(|old| &old.rows);
        let mut old_rows = old_rows.peekable();
        let mut at = vec![0; segments.len()];
        let mut rows = Vec::new();
        while let Some((key, value)) = scan.next_row()? {
            let marked = value.as_ref().map(marked_of).transpose()?;
            while old_rows.next_if(|old| old.key < key).is_some() {}
            if let Some(old) = old_rows.next_if(|old| old.key == key && old.mark == marked) {
                rows.push(old.clone());
                continue;
            }
            let mut places = Vec::with_capacity(segments.len());
            for (segment, at) in segments.iter().zip(&mut at) {
                let (place, there) = segment.find(*at, &key)?;
                *at = place;
                places.push(if there { place } else { NOWHERE });
            }
            let mut row = WaitingRow { key, mark: marked, form: None, vector: Vec::new(), places };
            if marked.is_some() {
                row.read(tx, index, &column)?;
            }
            rows.push(Arc::new(row));
        }
        let (mut hidden, mut pending) = (&[][..], &[][..]);
        if let Some(reader) = reader.as_deref().and_then(IndexReader::of) {
            (hidden, pending) = (reader.hidden()?, reader.pending()?);
        }
        let mut late = Vec::new();
        for (key, marked) in pending {
            if rows.binary_search_by(|row: &Arc<WaitingRow>| row.key.cmp(key)).is_err() {
                let places = vec![NOWHERE; segments.len()];
                let (key, mark) = (key.clone(), Some(*marked));
                let mut row = WaitingRow { key, mark, form: None, vector: Vec::new(), places };
                row.read(tx, index, &column)?;
                late.push(Arc::new(row));
            }
        }
        if !late.is_empty() {
            rows.extend(late);
            rows.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let mut visible = Vec::with_capacity(segments.len());
        for (number, (segment, hidden)) in segments.iter().zip(hidden).enumerate() {
            let entries = segment.entry_count();
            let mut bits = Bits::all(entries);
            let hidden = hidden.lists.iter().flat_map(|list| list.iter().copied());
            let places = rows.iter().map(|row| row.places[number]);
            hidden
                .chain(places.filter(|place| *place != NOWHERE))
                .for_each(|place| bits.clear(place, entries));
            visible.push(bits);
        }
        if ROWS_MAX < rows.len() {
            self.want_checkpoint();
        }
        let waiting = Arc::new(Waiting { snapshot: tx.snapshot(), segments: ids, rows, visible });
        if fixed && old.is_none_or(|old| old.snapshot <= tx.snapshot()) {
            self.waiting.lock().insert(info.id, waiting.clone());
        }
        Ok(View { waiting, reader })
    }
}

impl WaitingRow {
    /// Reads the value that the row has in `tx`.
    fn read(
        &mut self,
        tx: &Transaction,
        index: &IndexDefinition,
        column: &IndexedColumn,
    ) -> KernelResult<()> {
        let Some(row) = tx.get(&index.table, &self.key)? else { return Ok(()) };
        let mut form = Vec::new();
        if !column.form(&column.value(&self.key, &row)?, &mut form)? {
            return Ok(());
        }
        if self.mark != Some(mark(Some(&form)))
            && tx.options().isolation != IsolationLevel::ReadCommitted
        {
            tracing::error!(
                table = index.table, index = index.name, key = %self.key.escape_ascii(),
                "a row was written without its mark; drop the index and create it again"
            );
        }
        let (values, _) = form.as_chunks::<4>();
        if matches!(index.kind, crate::IndexKind::Vector { .. }) {
            self.vector = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        }
        self.form = Some(form);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_what_is_set_and_list_it() {
        let mut bits = Bits::all(130);
        bits.clear(0, 130);
        bits.clear(129, 130);
        bits.clear(129, 130);
        assert_eq!(bits.count, 128);
        assert_eq!(bits.numbers(130).collect::<Vec<_>>(), (1..129).collect::<Vec<_>>());
        let mut some = Bits::none(130);
        [0, 1, 64, 129, 129].into_iter().for_each(|number| some.set(number));
        assert_eq!(some.count, 4);
        assert_eq!(bits.and(&some).numbers(130).collect::<Vec<_>>(), [1, 64]);
        assert_eq!(Bits::all(130).and(&some), some);
        assert_eq!(Bits::all(3).numbers(3).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
