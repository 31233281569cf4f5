"""Typed rows: a row is a dictionary of its columns; here are their types, bytes and JSON forms.

| column      | in Python              | JSON                                       |
|-------------|------------------------|--------------------------------------------|
| null        | `None`                 | `null`, or the column is left out          |
| `bool`      | `bool`                 | `true`, `false`                            |
| `int64`     | `int`                  | a whole number                             |
| `float64`   | `float`                | a number, or `"NaN"`, `"inf"`, `"-inf"`    |
| `string`    | `str`                  | a string                                   |
| `bytes`     | `bytes`                | a string of hexadecimal digits             |
| `timestamp` | `Timestamp`, an `int`  | an RFC 3339 string, or microseconds        |
| `vector(n)` | a list of `n` `float`s | an array of `n` numbers                    |

The bytes are those of the database, table by table in its crate `sochdb-encoding`: a row's value has a version, a
count of columns, bits for nulls, a slot for each column, and then the data of strings, bytes and vectors; its key
has a tag and bytes for each key column, whose order is that of the values. The JSON forms are those of the `sochdb`
command.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import IntEnum
from typing import Any, Optional, Union

from sochdb_guest._contract import types
from sochdb_guest.errors import Error

#: A row of a typed table, by the names of its columns.
Row = dict[str, Any]

_VERSION = 1
_SIGN = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Timestamp(int):
    """A moment, in microseconds since 1970-01-01T00:00:00Z."""

    @classmethod
    def of(cls, moment: datetime) -> "Timestamp":
        """The moment of a `datetime` that has a time zone."""
        if moment.tzinfo is None:
            raise Error.invalid(f"{moment} has no time zone, so it is no moment; give it one, such as UTC")
        return cls((moment - _EPOCH) // timedelta(microseconds=1))

    @classmethod
    def parse(cls, text: str) -> "Timestamp":
        """The moment that RFC 3339 writes so, such as `2026-01-31T12:00:00Z`."""
        try:
            return cls.of(datetime.fromisoformat(text.replace("Z", "+00:00")))
        except ValueError:
            raise Error.invalid(f"'{text}' is no moment such as 2026-01-31T12:00:00Z") from None

    def datetime(self) -> datetime:
        """The same moment in UTC. `OverflowError` outside the years 1 to 9999."""
        return _EPOCH + timedelta(microseconds=int(self))

    def to_json(self) -> Union[str, int]:
        """RFC 3339, or the microseconds where Python has no date for them."""
        try:
            text = self.datetime().strftime("%Y-%m-%dT%H:%M:%S.%f")
        except OverflowError:
            return int(self)
        # Years before 1000 have four digits here as everywhere.
        return text.rjust(26, "0").rstrip("0").rstrip(".") + "Z"


class Kind(IntEnum):
    """What a column holds. The numbers are those of the contract and of the bytes on disk."""

    BOOL = 1
    INT64 = 2
    FLOAT64 = 3
    STRING = 4
    BYTES = 5
    TIMESTAMP = 6
    VECTOR = 7


_SLOTS = {Kind.BOOL: 1, Kind.INT64: 8, Kind.FLOAT64: 8, Kind.TIMESTAMP: 8}


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    #: Dimensions of a vector, otherwise 0.
    dim: int = 0
    nullable: bool = False
    #: What a null becomes when the column is not nullable, and what rows written before it was added hold.
    default: Any = None

    @classmethod
    def parse(cls, text: str) -> "Column":
        """The column that the `sochdb` command writes so: `age:int64`, `face:vector(3)`, `name:string?`."""
        name, _, kind = text.rpartition(":")
        kind, nullable = kind.removesuffix("?"), kind.endswith("?")
        dim = 0
        if kind.startswith("vector(") and kind.endswith(")") and kind[7:-1].isdigit():
            kind, dim = "vector", int(kind[7:-1])
        if not name or kind.upper() not in Kind.__members__ or (kind == "vector") != (dim > 0):
            raise Error.invalid(f"'{text}' is no column such as name:string, age:int64? or face:vector(3)")
        return cls(name, Kind[kind.upper()], dim, nullable)

    @property
    def type_name(self) -> str:
        """Its type as people write it."""
        return f"vector({self.dim})" if self.kind is Kind.VECTOR else self.kind.name.lower()

    def accept(self, value: Any) -> Any:
        """The value to store for `value`: itself, or the default of a column that may not be null."""
        if value is None and not self.nullable:
            value = self.default
        if value is None:
            if self.nullable:
                return None
            raise Error.invalid(f"column '{self.name}' allows no null")
        accepted = _accepted(self, value)
        if accepted is None:
            found = type(value).__name__
            is_int = isinstance(value, int) and not isinstance(value, bool)
            if is_int and self.kind in (Kind.INT64, Kind.TIMESTAMP):
                found = f"{value}, which is out of its range"
            elif isinstance(value, Sequence) and self.kind is Kind.VECTOR:
                found = f"{len(value)} values, or others than numbers"
            raise Error.invalid(f"column '{self.name}' holds {self.type_name}, it was given {found}")
        return accepted

    def absent(self) -> Any:
        """What a row holds that does not mention the column."""
        if self.default is None and not self.nullable:
            raise Error.invalid(f"column '{self.name}' is missing, and it allows no null")
        return self.default

    def to_json(self, value: Any) -> Any:
        """A value of this column as JSON."""
        if value is None or self.kind in (Kind.BOOL, Kind.INT64, Kind.STRING):
            return value
        if self.kind is Kind.FLOAT64:
            return value if math.isfinite(value) else _word(value)
        if self.kind is Kind.BYTES:
            return bytes(value).hex()
        if self.kind is Kind.TIMESTAMP:
            return Timestamp(value).to_json()
        return [_short_f32(number) if math.isfinite(number) else None for number in value]

    def from_json(self, json: Any) -> Any:
        """The value of this column that JSON has so."""
        wrong = Error.invalid(f"column '{self.name}': expected {self.type_name}, found {_shown(json)}")
        if json is None:
            return self.accept(None)
        is_number = isinstance(json, (int, float)) and not isinstance(json, bool)
        if self.kind is Kind.FLOAT64 and json in ("NaN", "inf", "-inf"):
            return float(json)
        if self.kind is Kind.FLOAT64 and not is_number:
            raise wrong
        if self.kind is Kind.BYTES:
            try:
                return bytes.fromhex(json)
            except (TypeError, ValueError):
                raise wrong from None
        if self.kind is Kind.TIMESTAMP and isinstance(json, str):
            return Timestamp.parse(json)
        try:
            return self.accept(json)
        except Error:
            raise wrong from None


def _accepted(column: Column, value: Any) -> Any:
    """The value as it is kept, or `None` when it is none of the column's."""
    kind = column.kind
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if kind is Kind.BOOL:
        return value if isinstance(value, bool) else None
    if kind is Kind.INT64:
        return int(value) if is_int and -_SIGN <= value < _SIGN else None
    if kind is Kind.TIMESTAMP:
        if isinstance(value, datetime):
            return Timestamp.of(value)
        return Timestamp(value) if is_int and -_SIGN <= value < _SIGN else None
    if kind is Kind.FLOAT64:
        return float(value) if is_int or isinstance(value, float) else None
    if kind is Kind.STRING:
        return value if isinstance(value, str) else None
    if kind is Kind.BYTES:
        return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return None
    numbers = list(value)
    if len(numbers) != column.dim or not all(type(number) in (int, float) for number in numbers):
        return None
    # What is kept has 32 bits; whoever reads the row sees those.
    try:
        return list(struct.unpack(f"<{column.dim}f", struct.pack(f"<{column.dim}f", *numbers)))
    except OverflowError:
        return None


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _shown(json: Any) -> str:
    text = repr(json)
    return text if len(text) <= 40 else text[:40] + "…"


def _short_f32(number: float) -> float:
    """The number with the fewest digits that is the same in 32 bits: 0.1 instead of 0.10000000149011612."""
    for digits in range(1, 10):
        short = float(f"{number:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == number:
                return short
        except OverflowError:
            continue
    return number


@dataclass(frozen=True)
class Schema:
    """The columns of a table, and which of them make its key."""

    columns: tuple[Column, ...]
    #: Names of the key columns, in key order.
    key: tuple[str, ...]
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False)
    _stored: tuple[Column, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {column.name: column for column in self.columns}
        stored = tuple(column for column in self.columns if column.name not in self.key)
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_stored", stored)
        for name in self.key:
            column = self.column(name)
            if column.nullable or column.kind is Kind.VECTOR:
                raise Error.invalid(f"column '{name}' is in the key: no vector, and not nullable")
        if not self.key or len(by_name) != len(self.columns):
            raise Error.invalid("a table has a key, and each column once")

    @classmethod
    def of(cls, *columns: str, key: Union[str, Sequence[str]]) -> "Schema":
        """A schema as the `sochdb` command writes it: `Schema.of("id:int64", "name:string?", key="id")`."""
        key = (key,) if isinstance(key, str) else tuple(key)
        return cls(tuple(Column.parse(column) for column in columns), key)

    @classmethod
    def of_contract(cls, schema: Any) -> "Schema":
        """The schema as the host tells it."""
        columns = tuple(
            Column(
                column.name,
                Kind(column.kind),
                column.dim,
                column.nullable,
                None if column.default is None else value_of_contract(column.default),
            )
            for column in schema.columns
        )
        return cls(columns, tuple(columns[position].name for position in schema.key))

    def column(self, name: str) -> Column:
        """The column `name`."""
        found = self._by_name.get(name)
        if found is None:
            names = ", ".join(self._by_name)
            raise Error.invalid(f"there is no column '{name}'; there are {names}")
        return found

    def whole(self, row: Mapping[str, Any]) -> Row:
        """The row with all its columns: what it does not mention is the column's default, or null."""
        for name in row:
            self.column(name)
        return {
            column.name: column.accept(row[column.name]) if column.name in row else column.absent()
            for column in self.columns
        }

    def encode_key(self, row: Mapping[str, Any]) -> bytes:
        """The bytes of the row's key."""
        missing = [name for name in self.key if name not in row and self.column(name).default is None]
        if missing:
            raise Error.invalid(f"column '{missing[0]}' is missing, and it is in the key")
        return self.encode_key_values([row.get(name) for name in self.key])

    def encode_key_values(self, values: Sequence[Any]) -> bytes:
        """The beginning of a key from the values of its first columns, all of them or fewer."""
        if len(self.key) < len(values):
            raise Error.invalid(f"{len(values)} values for a key of {len(self.key)} columns")
        pairs = zip(self.key, values)
        return b"".join(_encode_key(self.column(name), value) for name, value in pairs)

    def encode_row(self, row: Mapping[str, Any]) -> bytes:
        """The bytes of the row's value: the columns that are not in its key."""
        row = self.whole(row)
        count = len(self._stored)
        nulls, slots, data = bytearray((count + 7) // 8), bytearray(), bytearray()
        for index, column in enumerate(self._stored):
            value = row[column.name]
            if value is None:
                nulls[index // 8] |= 1 << index % 8
            width = _SLOTS.get(column.kind)
            if width is None:
                data += b"" if value is None else _own_bytes(column, value)
                slots += struct.pack("<I", len(data))
            else:
                slots += bytes(width) if value is None else _own_bytes(column, value)
        return bytes(struct.pack("<BH", _VERSION, count) + nulls + slots + data)

    def key_values(self, key: bytes) -> list[Any]:
        """The values of the key columns, in key order."""
        values, rest = [], memoryview(key)
        for name in self.key:
            value, rest = _take_key(self.column(name), rest)
            values.append(value)
        if rest:
            raise Error.corrupt("a row's key has more bytes than its columns")
        return values

    def decode(self, key: bytes, value: bytes) -> Row:
        """The whole row from its key and its value."""
        found = dict(zip(self.key, self.key_values(key)))
        found.update(self._decode_value(value))
        return {column.name: found[column.name] for column in self.columns}

    def _decode_value(self, value: bytes) -> Row:
        if len(value) < 3 or value[0] != _VERSION:
            raise Error.corrupt("a row's value does not begin with its version")
        (written,) = struct.unpack_from("<H", value, 1)
        if len(self._stored) < written:
            raise Error.corrupt(f"a row has {written} columns, its table {len(self._stored)}")
        slot_at = 3 + (written + 7) // 8
        data_at = slot_at + sum(_SLOTS.get(column.kind, 4) for column in self._stored[:written])
        row: Row = {}
        at, start = slot_at, 0
        wrong = Error.corrupt("a row's value is not what its columns are written as")
        try:
            if written % 8 and value[slot_at - 1] >> written % 8:
                raise wrong
            for index, column in enumerate(self._stored):
                if written <= index:
                    if column.default is None and not column.nullable:
                        raise wrong
                    row[column.name] = column.default
                    continue
                is_null = value[3 + index // 8] >> index % 8 & 1 == 1
                width = _SLOTS.get(column.kind)
                if width is None:
                    (end,) = struct.unpack_from("<I", value, at)
                    if end < start:
                        raise wrong
                    own, start = value[data_at + start : data_at + end], end
                    at += 4
                else:
                    own = value[at : at + width]
                    at += width
                if is_null and (any(own) or (width is None and own) or not column.nullable):
                    raise wrong
                row[column.name] = None if is_null else _of_own_bytes(column, own)
        except (struct.error, IndexError, UnicodeDecodeError):
            raise wrong from None
        if data_at + start != len(value):
            raise Error.corrupt("a row's value has other bytes than its columns")
        return row

    def decode_columns(self, columns: Sequence[str], value: bytes) -> Row:
        """The columns of a scan that asked for these alone."""
        chosen = tuple(self.column(name) for name in columns)
        only = Schema.__new__(Schema)
        object.__setattr__(only, "_stored", chosen)
        return only._decode_value(value)

    def to_json(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as JSON has it."""
        return {name: self.column(name).to_json(value) for name, value in row.items()}

    def from_json(self, json: Any) -> Row:
        """The row that a JSON object has."""
        if not isinstance(json, dict):
            raise Error.invalid(f"a row is a JSON object, not {_shown(json)}")
        row = {name: self.column(name).from_json(value) for name, value in json.items()}
        return self.whole(row)


def value_of_contract(value: Any) -> Any:
    """A value as the host tells it."""
    if isinstance(value, types.Value_Null):
        return None
    if isinstance(value, types.Value_Timestamp):
        return Timestamp(value.value)
    return value.value


def value_to_contract(column: Column, value: Any) -> Any:
    """A value of a column as the host takes it."""
    value = column.accept(value)
    if value is None:
        return types.Value_Null()
    variant = {
        Kind.BOOL: types.Value_Boolean,
        Kind.INT64: types.Value_Int64,
        Kind.FLOAT64: types.Value_Float64,
        Kind.STRING: types.Value_Text,
        Kind.BYTES: types.Value_Bytes,
        Kind.TIMESTAMP: types.Value_Timestamp,
        Kind.VECTOR: types.Value_Vector,
    }[column.kind]
    return variant(int(value) if column.kind is Kind.TIMESTAMP else value)


def _own_bytes(column: Column, value: Any) -> bytes:
    """A slot's content, or a piece of the data."""
    kind = column.kind
    if kind is Kind.BOOL:
        return b"\1" if value else b"\0"
    if kind in (Kind.INT64, Kind.TIMESTAMP):
        return struct.pack("<q", value)
    if kind is Kind.FLOAT64:
        return struct.pack("<d", value)
    if kind is Kind.STRING:
        return value.encode()
    return value if kind is Kind.BYTES else struct.pack(f"<{column.dim}f", *value)


def _of_own_bytes(column: Column, own: bytes) -> Any:
    kind = column.kind
    if kind is Kind.BOOL and own in (b"\0", b"\1"):
        return own == b"\1"
    if kind is Kind.INT64:
        return struct.unpack("<q", own)[0]
    if kind is Kind.TIMESTAMP:
        return Timestamp(struct.unpack("<q", own)[0])
    if kind is Kind.FLOAT64:
        return struct.unpack("<d", own)[0]
    if kind is Kind.STRING:
        return own.decode()
    if kind is Kind.BYTES:
        return bytes(own)
    if kind is Kind.VECTOR:
        return list(struct.unpack(f"<{column.dim}f", own))
    raise Error.corrupt(f"column '{column.name}' is neither true nor false")


def _encode_key(column: Column, value: Any) -> bytes:
    value = column.accept(value)
    tag = bytes([column.kind])
    if column.kind is Kind.BOOL:
        return tag + _own_bytes(column, value)
    if column.kind in (Kind.INT64, Kind.TIMESTAMP):
        return tag + struct.pack(">Q", (value & (1 << 64) - 1) ^ _SIGN)
    if column.kind is Kind.FLOAT64:
        if math.isnan(value):
            raise Error.invalid(f"column '{column.name}' is in the key: it cannot be NaN")
        # Adding 0.0 turns -0.0 into 0.0 and leaves every other number as it is.
        (bits,) = struct.unpack("<Q", struct.pack("<d", value + 0.0))
        return tag + struct.pack(">Q", bits ^ ((1 << 64) - 1 if bits & _SIGN else _SIGN))
    return tag + _own_bytes(column, value).replace(b"\0", b"\0\xff") + b"\0\0"


def _take_key(column: Column, rest: memoryview) -> tuple[Any, memoryview]:
    wrong = Error.corrupt(f"key column '{column.name}' is not what it is written as")
    if not rest or rest[0] != column.kind:
        raise wrong
    rest = rest[1:]
    if column.kind in (Kind.STRING, Kind.BYTES):
        own, rest = _take_escaped(rest, wrong)
    else:
        width = _SLOTS[column.kind]
        own, rest = bytes(rest[:width]), rest[width:]
        if len(own) != width:
            raise wrong
    if column.kind in (Kind.INT64, Kind.TIMESTAMP):
        own = struct.pack("<Q", struct.unpack(">Q", own)[0] ^ _SIGN)
    elif column.kind is Kind.FLOAT64:
        (ordered,) = struct.unpack(">Q", own)
        own = struct.pack("<Q", ordered ^ (_SIGN if ordered & _SIGN else (1 << 64) - 1))
    try:
        return _of_own_bytes(column, own), rest
    except UnicodeDecodeError:
        raise wrong from None


def _take_escaped(rest: memoryview, wrong: Error) -> tuple[bytes, memoryview]:
    out, bytes_ = bytearray(), bytes(rest)
    at = 0
    while True:
        zero = bytes_.find(b"\0", at)
        if zero < 0 or zero + 1 == len(bytes_):
            raise wrong
        out += bytes_[at:zero]
        if bytes_[zero + 1] == 0:
            return bytes(out), rest[zero + 2 :]
        if bytes_[zero + 1] != 0xFF:
            raise wrong
        out.append(0)
        at = zero + 2


def to_contract(schema: Optional[Schema]) -> Any:
    """The schema as the host tells it; for tests."""
    if schema is None:
        return None
    columns = [
        types.Column(
            column.name,
            int(column.kind),
            column.dim,
            column.nullable,
            None if column.default is None else value_to_contract(column, column.default),
        )
        for column in schema.columns
    ]
    names = [column.name for column in schema.columns]
    return types.Schema(columns, [names.index(name) for name in schema.key])
