//! Which columns a type has: found out by deserializing it from nothing.
//!
//! Serde tells a deserializer what each field asks for before the field sees a value. So the type is deserialized
//! once for each of its fields, with that field alone; what the field asked for is noted, and it does not matter
//! that the attempt fails afterwards: the other fields are missing, and a zero may be none of the values it takes.
//!
//! | a field that asks for                | is a column of type                                |
//! |--------------------------------------|----------------------------------------------------|
//! | `bool`                               | bool                                               |
//! | an integer of at most 64 bits        | int64; a larger `u64` is refused when it is written |
//! | `f64`, `f32`                         | float64                                            |
//! | `String`, `char`, an enum of words   | string                                             |
//! | `Vec<u8>`, `[u8; N]`, `serde_bytes`  | bytes                                              |
//! | [`Moment`](super::Moment)            | timestamp                                          |
//! | [`Vector<N>`](super::Vector), `[f32; N]` | vector(N)                                      |
//! | `Vec<f32>`                           | vector, whose dimension somebody else says         |
//! | `Option` of these                    | the same, nullable                                 |
//! | a newtype of these                   | the same                                           |

use super::error::RowError;
use super::special::MOMENT;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use sochdb_kernel::ColumnType;
use std::cell::{Cell, RefCell};

/// A field of a type, by the name that serde gives it.
#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it is an `Option`.
    pub(crate) nullable: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Column(ColumnType),
    /// A vector of any dimension.
    Floats,
}

type FieldNames = &'static [&'static str];

/// The fields of `T`, in the order in which it has them.
pub(crate) fn fields<T: DeserializeOwned>() -> Result<Vec<Field>, RowError> {
    let names = Cell::new(None::<FieldNames>);
    let not_a_struct = match T::deserialize(Root { names: &names, field: None }) {
        Ok(_) => RowError::new("a row is a struct with named fields, and this has none"),
        Err(error) => error,
    };
    let mut fields = Vec::new();
    for &name in names.get().ok_or(not_a_struct)? {
        let asked = RefCell::new(Asked::default());
        let root = Root { names: &names, field: Some((name, &asked)) };
        let twice = T::deserialize(root).err().and_then(|error| error.duplicate);
        if twice.is_some_and(|canonical| canonical != name) {
            continue; // Another name of a field that is there.
        }
        let Asked { kind, nullable } = asked.into_inner();
        let kind = kind.column().map_err(|what| unfit(name, &what))?;
        fields.push(Field { name, kind, nullable });
    }
    Ok(fields)
}

fn unfit(name: &str, what: &str) -> RowError {
    RowError::new(format!(
        "field '{name}' holds {what}, which no column takes; there are bool, integers, floats, strings, bytes, \
         Moment, Vector<DIM>, and Option of these"
    ))
}

/// What one field has asked for so far.
#[derive(Default)]
struct Asked {
    kind: What,
    nullable: bool,
}

#[derive(Default)]
enum What {
    #[default]
    Nothing,
    Column(ColumnType),
    /// A `u8`: alone an integer, in a list one of many bytes.
    Byte,
    /// An `f32`: alone a number, in a list a part of a vector.
    Single,
    Floats,
    Unfit(String),
}

impl What {
    fn column(self) -> Result<Kind, String> {
        match self {
            What::Column(kind) => Ok(Kind::Column(kind)),
            What::Byte => Ok(Kind::Column(ColumnType::Int64)),
            What::Single => Ok(Kind::Column(ColumnType::Float64)),
            What::Floats => Ok(Kind::Floats),
            What::Unfit(what) => Err(what),
            What::Nothing => Err("nothing that could be seen".to_owned()),
        }
    }
}

/// A row of the type that is looked at, with at most one field.
struct Root<'a> {
    names: &'a Cell<Option<FieldNames>>,
    field: Option<(&'static str, &'a RefCell<Asked>)>,
}

impl<'de> Deserializer<'de> for Root<'_> {
    type Error = RowError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RowError> {
        Err(RowError::new("a row is a struct with named fields, without `#[serde(flatten)]`"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: FieldNames,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.names.set(Some(fields));
        match self.field {
            // Twice: a name that is an alias is told apart by the complaint about the second.
            Some((name, asked)) => visitor.visit_map(Twice { name, asked, left: 2 }),
            None => Err(RowError::new("the names were all that was asked for")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Twice<'a> {
    name: &'static str,
    asked: &'a RefCell<Asked>,
    left: usize,
}

impl<'de> MapAccess<'de> for Twice<'_> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, RowError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(StrDeserializer::new(self.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, RowError> {
        seed.deserialize(Asker { asked: self.asked })
    }
}

/// Notes what it is asked for, and answers with a zero.
struct Asker<'a> {
    asked: &'a RefCell<Asked>,
}

impl Asker<'_> {
    fn note(&self, what: What) {
        self.asked.borrow_mut().kind = what;
    }

    fn refuse<T>(&self, what: impl Into<String>) -> Result<T, RowError> {
        self.note(What::Unfit(what.into()));
        Err(RowError::new("it is known by now"))
    }

    /// A list of `len` parts, or of any number.
    fn list<'de, V: Visitor<'de>>(
        self,
        len: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        let part = RefCell::new(Asked::default());
        let value = visitor.visit_seq(Parts { part: &part, left: len.unwrap_or(1) });
        let Asked { kind, nullable } = part.into_inner();
        self.note(match (kind, len) {
            _ if nullable => What::Unfit("a list of options".to_owned()),
            (What::Byte, _) => What::Column(ColumnType::Bytes),
            (What::Single, None) => What::Floats,
            (What::Single, Some(dim)) => {
                What::Column(ColumnType::Vector(u32::try_from(dim).unwrap_or(u32::MAX)))
            }
            _ => What::Unfit("a list of something else than u8 or f32".to_owned()),
        });
        value
    }
}

/// What asks for one kind of value, what is noted of it, and the zero it gets.
macro_rules! ask {
    ($($method:ident $what:expr => $visit:ident($zero:expr);)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
            self.note($what);
            visitor.$visit($zero)
        })+
    };
}

macro_rules! refuse {
    ($($method:ident $what:expr;)+) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, RowError> {
            self.refuse($what)
        })+
    };
}

impl<'de> Deserializer<'de> for Asker<'_> {
    type Error = RowError;

    ask! {
        deserialize_bool What::Column(ColumnType::Bool) => visit_bool(false);
        deserialize_i8 What::Column(ColumnType::Int64) => visit_i8(0);
        deserialize_i16 What::Column(ColumnType::Int64) => visit_i16(0);
        deserialize_i32 What::Column(ColumnType::Int64) => visit_i32(0);
        deserialize_i64 What::Column(ColumnType::Int64) => visit_i64(0);
        deserialize_u8 What::Byte => visit_u8(0);
        deserialize_u16 What::Column(ColumnType::Int64) => visit_u16(0);
        deserialize_u32 What::Column(ColumnType::Int64) => visit_u32(0);
        deserialize_u64 What::Column(ColumnType::Int64) => visit_u64(0);
        deserialize_f32 What::Single => visit_f32(0.0);
        deserialize_f64 What::Column(ColumnType::Float64) => visit_f64(0.0);
        deserialize_char What::Column(ColumnType::String) => visit_char('0');
        deserialize_str What::Column(ColumnType::String) => visit_str("");
        deserialize_string What::Column(ColumnType::String) => visit_str("");
        deserialize_bytes What::Column(ColumnType::Bytes) => visit_bytes(&[]);
        deserialize_byte_buf What::Column(ColumnType::Bytes) => visit_bytes(&[]);
    }

    refuse! {
        deserialize_i128 "an integer of 128 bits";
        deserialize_u128 "an integer of 128 bits";
        deserialize_unit "nothing";
        deserialize_map "a map";
        deserialize_any "a value of any type";
        deserialize_identifier "a name";
        deserialize_ignored_any "a value that is ignored";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.asked.borrow_mut().nullable = true;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        let asked = self.asked;
        let value = visitor.visit_newtype_struct(self);
        if name == MOMENT {
            asked.borrow_mut().kind = What::Column(ColumnType::Timestamp);
        }
        value
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RowError> {
        self.list(None, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.list(Some(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.list(Some(len), visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, RowError> {
        self.refuse(format!("the struct {name}, which has no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: FieldNames,
        _: V,
    ) -> Result<V::Value, RowError> {
        self.refuse(format!("the struct {name}"))
    }

    /// An enum is a word: its first variant shows whether there is more to it, and writing tells of the others.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: FieldNames,
        visitor: V,
    ) -> Result<V::Value, RowError> {
        self.note(What::Column(ColumnType::String));
        let first = variants.first().copied().unwrap_or_default();
        match visitor.visit_enum(StrDeserializer::<RowError>::new(first)) {
            Ok(value) => Ok(value),
            Err(_) => self.refuse(format!("the enum {name}, whose variants have values")),
        }
    }
}

struct Parts<'a> {
    part: &'a RefCell<Asked>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = RowError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, RowError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Asker { asked: self.part }).map(Some)
    }
}
