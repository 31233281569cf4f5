"""Rows of tables, in the transaction that a call is part of.

What is read includes the caller's own writes; what is written is committed, or not, with the rest. Which tables, the
manifest's `can_read_table` and `can_write_table` say; another one is `DENIED`, whether it exists or not.

    people = tx.open("people")
    ada = people.row(1)                                  # {"id": 1, "name": "Ada"}
    people.put_row({**ada, "name": "Ada Lovelace"})
    for row in people.rows(where=[where("name", "starts with", "A")]):
        ...

A typed table has rows, which are dictionaries by column; every table has keys and values, which are bytes. All
handles end with the call.
"""

import json as _json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from sochdb_guest._contract import plugins, rows, types
from sochdb_guest.errors import Error, asked
from sochdb_guest.row import Row, Schema, value_to_contract
from sochdb_guest.search import Index

# Rows and bytes that are asked of a scan at once: the first time, and later.
_FIRST_ROWS = 128
_LATER_ROWS = 2048
_BATCH_BYTES = 256 << 10
#: Keys that are read at once.
_KEYS_MAX = 8192

_COMPARISONS = {
    "=": 0,
    "!=": 1,
    "<": 2,
    "<=": 3,
    ">": 4,
    ">=": 5,
    "starts with": 6,
    "is null": 7,
    "is not null": 8,
    "in": 9,
}


@dataclass(frozen=True)
class Condition:
    """A condition on one column; see `where`."""

    column: str
    comparison: str
    values: tuple[Any, ...]

    def to_contract(self, schema: Schema) -> types.Condition:
        """The condition as the host takes it."""
        column = schema.column(self.column)
        values = [value_to_contract(column, value) for value in self.values]
        return types.Condition(self.column, _COMPARISONS[self.comparison], values)


def where(column: str, comparison: str, value: Any = None) -> Condition:
    """A condition on a column: `where("age", ">=", 18)`, `where("town", "in", ["Ulm", "Bonn"])`.

    The comparisons are `=`, `!=`, `<`, `<=`, `>`, `>=`, `starts with`, `is null`, `is not null` and `in`.
    """
    if comparison not in _COMPARISONS:
        known = ", ".join(f"'{name}'" for name in _COMPARISONS)
        raise Error.invalid(f"'{comparison}' is no comparison; there are {known}")
    if comparison == "in":
        return Condition(column, comparison, tuple(value))
    return Condition(column, comparison, () if comparison.startswith("is ") else (value,))


class Table:
    """A table, in the transaction it was opened in."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._schema: Any = False

    @property
    def name(self) -> str:
        """Its name."""
        return self._handle.name()

    @property
    def schema(self) -> Optional[Schema]:
        """Its columns, if it is typed."""
        if self._schema is False:
            schema = asked(self._handle.schema)
            self._schema = None if schema is None else Schema.of_contract(schema)
        return self._schema

    # Rows of typed tables.

    def row(self, *key: Any) -> Optional[Row]:
        """The row with these values of the key columns, if there is one."""
        schema = self._typed()
        found = self.get(self._whole_key(key))
        return None if found is None else schema.decode(self._whole_key(key), found)

    def put_row(self, row: Mapping[str, Any]) -> None:
        """Writes a row; what it does not mention is the column's default, or null."""
        schema = self._typed()
        self.put(schema.encode_key(row), schema.encode_row(row))

    def delete_row(self, *key: Any) -> None:
        """Removes the row with these values of the key columns, if it is there."""
        self.delete(self._whole_key(key))

    def rows(
        self,
        *,
        prefix: Sequence[Any] = (),
        start: Sequence[Any] = (),
        end: Sequence[Any] = (),
        where: Sequence[Condition] = (),
        columns: Sequence[str] = (),
        limit: Optional[int] = None,
        reverse: bool = False,
    ) -> Iterator[Row]:
        """The rows in key order, one after the other.

        `prefix` are values of the first key columns; `start`, which is included, and `end`, which is not, are
        too. With `columns` a row has only these.
        """
        schema = self._typed()
        key = schema.encode_key_values
        range_ = (
            _prefix_range(key(prefix)) if prefix else _range(key(start) if start else None, key(end) if end else None)
        )
        for key_bytes, value in self._scan(range_, columns, where, limit, reverse):
            if columns:
                yield schema.decode_columns(columns, value)
            else:
                yield schema.decode(key_bytes, value)

    # Keys and values of every table.

    def get(self, key: bytes) -> Optional[bytes]:
        """The value of `key`, if there is one."""
        return asked(self._handle.soch_read, key)

    def get_many(self, keys: Sequence[bytes]) -> list[Optional[bytes]]:
        """The values of `keys`, in their order: at most 8192, and 1 MiB of values."""
        found = asked(self._handle.soch_read_many, _keys(keys))
        starts = [0, *found.value_ends]
        return [
            found.values[starts[index] : starts[index + 1]] if state == 2 else None
            for index, state in enumerate(found.states)
        ]

    def put(self, key: bytes, value: bytes) -> None:
        """Sets the value of `key`."""
        asked(self._handle.soch_write, key, value)

    def put_many(self, changes: Mapping[bytes, Optional[bytes]]) -> None:
        """Sets the values of many keys, and removes those whose value is `None`."""
        states, key_ends, value_ends = bytearray(), [], []
        keys, values = bytearray(), bytearray()
        for key in sorted(changes):
            value = changes[key]
            keys += key
            values += b"" if value is None else value
            key_ends.append(len(keys))
            value_ends.append(len(values))
            states.append(1 if value is None else 2)
        batch = types.Batch(bytes(keys), key_ends, bytes(values), value_ends, bytes(states))
        asked(self._handle.soch_write_many, batch)

    def delete(self, key: bytes) -> None:
        """Removes `key`, if it is there."""
        asked(self._handle.soch_delete, key)

    def scan(
        self,
        *,
        prefix: bytes = b"",
        start: Optional[bytes] = None,
        end: Optional[bytes] = None,
        limit: Optional[int] = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in key order, one after the other; `start` is included, `end` is not."""
        range_ = _prefix_range(prefix) if prefix else _range(start, end)
        return self._scan(range_, (), (), limit, reverse)

    def index(self, name: str) -> Index:
        """An index of this table."""
        return Index(self._handle, self.schema, name)

    def _scan(
        self,
        range_: types.KeyRange,
        columns: Sequence[str],
        conditions: Sequence[Condition],
        limit: Optional[int],
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        conditions = [condition.to_contract(self._typed()) for condition in conditions]
        options = rows.ScanOptions(list(columns), conditions, limit, reverse)
        scan = asked(self._handle.soch_scan, range_, options)
        rows_max = _FIRST_ROWS
        while True:
            batch = asked(scan.next, rows_max, _BATCH_BYTES)
            if not batch.states:
                return
            key_at, value_at = 0, 0
            for key_end, value_end in zip(batch.key_ends, batch.value_ends):
                yield batch.keys[key_at:key_end], batch.values[value_at:value_end]
                key_at, value_at = key_end, value_end
            rows_max = _LATER_ROWS

    def _typed(self) -> Schema:
        if self.schema is None:
            raise Error.invalid(f"table '{self.name}' is untyped: it has keys and values, no rows of columns")
        return self.schema

    def _whole_key(self, key: Sequence[Any]) -> bytes:
        schema = self._typed()
        if len(key) != len(schema.key):
            names = ", ".join(schema.key)
            raise Error.invalid(f"{len(key)} values for the key of table '{self.name}', which is {names}")
        return schema.encode_key_values(key)


class Transaction:
    """The transaction that a call is part of."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused."""
        return self._handle.is_read_only()

    def open(self, table: str) -> Table:
        """Opens a table: `DENIED` outside the grant, whether there is such a table or not; `NOT_FOUND`."""
        return Table(asked(self._handle.open_table, table))

    def call(self, plugin: str, procedure: str, args: Any = None) -> Any:
        """Calls a procedure of another plugin in this transaction; arguments and answer are JSON.

        What it wrote is undone when it fails.
        """
        text = asked(plugins.call_plugin, self._handle, plugin, procedure, _json.dumps(args))
        return _json.loads(text)


def _keys(keys: Sequence[bytes]) -> types.Keys:
    if _KEYS_MAX < len(keys):
        raise Error.limit(f"{len(keys)} keys are read at once; the most is {_KEYS_MAX}")
    ends, end = [], 0
    for key in keys:
        end += len(key)
        ends.append(end)
    return types.Keys(b"".join(keys), ends)


def _range(start: Optional[bytes], end: Optional[bytes]) -> types.KeyRange:
    return types.KeyRange(
        None if start is None else types.Bound(start, True),
        None if end is None else types.Bound(end, False),
    )


def _prefix_range(prefix: bytes) -> types.KeyRange:
    """All keys that begin with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    after = stem[:-1] + bytes([stem[-1] + 1]) if stem else None
    return _range(prefix, after)
