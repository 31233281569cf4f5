use super::*;
use arrow_array::types::Float32Type;
use arrow_array::{
    BinaryViewArray, Date32Array, Date64Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float16Array, Int8Array, LargeListArray, LargeStringArray, ListArray,
    NullArray, StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::Field;
use half::f16;
use std::sync::Arc;

fn column(kind: ColumnType) -> Column {
    Column { name: "c".to_owned(), kind, nullable: true, default: None }
}

/// Row 0 of an array in the column that its type becomes.
fn first(array: impl Array + 'static) -> Result<Value, String> {
    let array: ArrayRef = Arc::new(array);
    let kind = match kind_of(array.data_type()).expect("a type that has a place") {
        Kind::Plain(kind) => kind,
        Kind::List => ColumnType::Vector(first_length(&array).expect("a list")),
    };
    Cell::of(&array, 0)?.into_value(&column(kind))
}

fn lists() -> Vec<Option<Vec<Option<f32>>>> {
    vec![Some(vec![Some(0.5), Some(1.0)]), None]
}

#[test]
fn every_type_that_has_a_place_gets_there() {
    assert_eq!(first(Int8Array::from(vec![-3])), Ok(Value::Int64(-3)));
    assert_eq!(first(UInt32Array::from(vec![u32::MAX])), Ok(Value::Int64(4_294_967_295)));
    let half = Float16Array::from(vec![f16::from_f32(0.5)]);
    assert_eq!(first(half), Ok(Value::Float64(0.5)));
    assert_eq!(first(LargeStringArray::from(vec!["ä"])), Ok(Value::String("ä".into())));
    assert_eq!(first(StringViewArray::from(vec!["ä"])), Ok(Value::String("ä".into())));
    assert_eq!(first(BinaryViewArray::from(vec![&b"\xff"[..]])), Ok(Value::Bytes(vec![255])));
    let fixed = FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).unwrap();
    assert_eq!(first(fixed), Ok(Value::Bytes(vec![1, 2])));
    assert_eq!(first(Date32Array::from(vec![-1])), Ok(Value::Timestamp(-86_400_000_000)));
    assert_eq!(first(Date64Array::from(vec![5])), Ok(Value::Timestamp(5_000)));
    assert_eq!(first(TimestampSecondArray::from(vec![2])), Ok(Value::Timestamp(2_000_000)));
    assert_eq!(first(TimestampMillisecondArray::from(vec![2])), Ok(Value::Timestamp(2_000)));
    assert_eq!(first(TimestampNanosecondArray::from(vec![2_000])), Ok(Value::Timestamp(2)));
    assert_eq!(first(NullArray::new(1)), Ok(Value::Null));
    let vector = Ok(Value::Vector(vec![0.5, 1.0]));
    assert_eq!(
        first(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists(), 2)),
        vector
    );
    assert_eq!(first(ListArray::from_iter_primitive::<Float32Type, _, _>(lists())), vector);
    assert_eq!(
        first(LargeListArray::from_iter_primitive::<Float64Type, _, _>(vec![Some(vec![
            Some(0.5),
            Some(1.0)
        ])])),
        vector
    );
}

#[test]
fn what_would_lose_something_is_a_bad_row() {
    let large = first(UInt64Array::from(vec![u64::MAX])).unwrap_err();
    assert_eq!(large, "18446744073709551615 is more than int64 holds");
    let fine = first(TimestampNanosecondArray::from(vec![2_001])).unwrap_err();
    assert_eq!(fine, "2001 ns is finer than microseconds");
    assert!(
        first(TimestampSecondArray::from(vec![i64::MAX])).unwrap_err().contains("too far away")
    );
    let holes = vec![Some(vec![Some(0.5), None])];
    let holes = ListArray::from_iter_primitive::<Float32Type, _, _>(holes);
    let array: ArrayRef = Arc::new(holes);
    assert_eq!(Cell::of(&array, 0).unwrap_err(), "a number of the list is null");
    let into = |cell: Cell<'_>, kind| cell.into_value(&column(kind));
    assert!(into(Cell::Int((1 << 53) + 1), ColumnType::Float64).is_err());
    assert_eq!(
        into(Cell::Int(1 << 53), ColumnType::Float64),
        Ok(Value::Float64(9_007_199_254_740_992.0))
    );
    assert_eq!(into(Cell::Text("7"), ColumnType::Int64), Ok(Value::Int64(7)));
    assert_eq!(
        into(Cell::Vector(vec![1.0]), ColumnType::Vector(2)).unwrap_err(),
        "expected vector(2), found a list of 1"
    );
    let strict = Column { nullable: false, ..column(ColumnType::Int64) };
    assert!(Cell::Null.into_value(&strict).unwrap_err().contains("allows no null"));
}

#[test]
fn types_without_a_place_are_known_before_any_row() {
    let item = |kind| Arc::new(Field::new("item", kind, true));
    for kind in [
        DataType::Decimal128(10, 2),
        DataType::Time32(TimeUnit::Second),
        DataType::Duration(TimeUnit::Second),
        DataType::List(item(DataType::Int32)),
        DataType::FixedSizeList(item(DataType::Float32), 0),
        DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into()),
    ] {
        assert_eq!(kind_of(&kind), None, "{kind}");
    }
    let words: DictionaryArray<Int8Type> = ["a", "b", "a"].into_iter().collect();
    assert_eq!(kind_of(words.data_type()), Some(Kind::Plain(ColumnType::String)));
    let plain = super::super::plain(&(Arc::new(words) as ArrayRef)).unwrap();
    let cells: Vec<_> = (0..3).map(|row| Cell::of(&plain, row).unwrap()).collect();
    assert_eq!(cells, [Cell::Text("a"), Cell::Text("b"), Cell::Text("a")]);
}
