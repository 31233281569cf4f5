"""A database for tests: runs a plugin under `python -m unittest`, with a debugger if need be.

    class AdultsTest(unittest.TestCase):
        def test_children_are_refused(self):
            db = testing.Database()
            db.table("people", Schema.of("id:int64", "name:string", "age:int64", key="id"))
            db.hooks(Adults, "people")
            with self.assertRaises(testing.Aborted):
                db.put("people", {"id": 1, "name": "Tim", "age": 8})

Rows are in memory; transactions roll back, hooks are asked and told as the database asks and tells them, denials are
denied. Fuel, memory and time are not counted: `sochdb plugin test` runs the component in the real host.
"""

import json as _json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

from sochdb_guest import _shapes
from sochdb_guest._contract import Err, config, types
from sochdb_guest._contract import search as _search
from sochdb_guest._glue import glue
from sochdb_guest.errors import Error, ErrorCode
from sochdb_guest.hooks import Hooks
from sochdb_guest.procedure import Procedures
from sochdb_guest.row import Kind, Row, Schema, to_contract, value_of_contract

_LOG_LINES_PER_CALL_MAX = 100
_LOG_LINE_BYTES_MAX = 4 << 10

#: What is written: the new value of a key, or `None` where the key goes.
_Change = tuple[bytes, Optional[bytes]]


class Aborted(Exception):
    """A hook did not let a change happen."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Database:
    """Tables, plugins, and what the plugins said."""

    def __init__(self, settings: Optional[Mapping[str, Any]] = None) -> None:
        self._settings = dict(settings or {})
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._schemas: dict[str, Optional[Schema]] = {}
        self._indexes: dict[tuple[str, str], tuple[str, str]] = {}
        self._hooks: list[tuple[str, frozenset[str], Any]] = []
        self._procedures: dict[str, Any] = {}
        self._denied: set[tuple[str, str]] = set()
        self._at_work: list[Any] = []
        #: Log lines of the plugins, each with its level.
        self.logs: list[tuple[str, str]] = []
        #: Metrics of the plugins, by name and labels: `("orders_total", (("table", "orders"),))`.
        self.metrics: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        _shapes.world = self

    # What there is.

    def setting(self, key: str, value: Union[bool, int, float, str]) -> None:
        """A setting of the plugin, as its manifest's `[config]` has it."""
        self._settings[key] = value

    def table(self, name: str, schema: Optional[Schema] = None) -> None:
        """A table, typed if it has a schema."""
        self._tables[name] = {}
        self._schemas[name] = schema

    def index(self, table: str, name: str, column: str, metric: str = "l2") -> None:
        """An index of a column: of vectors, by `l2`, `cosine` or `dot`, or an ordered one."""
        self._indexes[table, name] = (column, metric)

    def hooks(self, plugin: type[Hooks], *tables: str) -> None:
        """Makes an instance of a plugin, and asks it about every change of these tables."""
        self._hooks.append((plugin.__name__, frozenset(tables), self._start(plugin)))

    def procedures(self, plugin: type[Procedures], name: str) -> None:
        """Makes an instance of a plugin, which is called `name`."""
        instance = self._start(plugin)
        described = self._run(lambda: instance.describe())
        for info in described:
            _json.loads(info.args_schema), _json.loads(info.result_schema)
        self._procedures[name] = instance, {info.name: info for info in described}

    def deny_read(self, table: str) -> None:
        """Plugins may no longer read the table."""
        self._denied.add(("read", table))

    def deny_write(self, table: str) -> None:
        """Plugins may no longer write the table."""
        self._denied.add(("write", table))

    # What a program does.

    def put(self, table: str, row: Union[bytes, Mapping[str, Any]], value: Optional[bytes] = None) -> bool:
        """Writes a row, or a key and a value; answers whether it happened."""
        return self.write(table, [(row, value)] if isinstance(row, bytes) else [row]) == 1

    def delete(self, table: str, *key: Any) -> bool:
        """Removes a row by the values of its key columns, or by the bytes of its key."""
        return self.write(table, [(self._key(table, key), None)]) == 1

    def write(self, table: str, changes: Iterable[Any]) -> int:
        """Makes changes at once, in one transaction: rows, and pairs of a key and a value or `None`. Answers how
        many happened."""
        schema = self._schema(table)
        pairs: list[_Change] = []
        for change in changes:
            if isinstance(change, tuple):
                pairs.append(change)
            else:
                assert schema is not None, f"table '{table}' is untyped: write a key and a value"
                pairs.append((schema.encode_key(change), schema.encode_row(change)))
        _shapes.world = self
        transaction = _Transaction(self, writes=True)
        with transaction:
            return self._run(lambda: transaction.write(table, pairs))

    def get(self, table: str, *key: Any) -> Any:
        """A row, or the value of a key's bytes; `None` when there is none."""
        key_bytes = self._key(table, key)
        value, schema = self._tables[table].get(key_bytes), self._schema(table)
        return value if value is None or schema is None else schema.decode(key_bytes, value)

    def rows(self, table: str) -> list[Any]:
        """All rows in key order; of an untyped table pairs of key and value."""
        schema = self._schema(table)
        pairs = sorted(self._tables[table].items())
        return pairs if schema is None else [schema.decode(key, value) for key, value in pairs]

    def call(self, plugin: str, procedure: str, args: Any = None) -> Any:
        """Calls a procedure in a transaction of its own. Raises its `Error`, and then nothing was written."""
        _shapes.world = self
        _, infos = self._procedures[plugin]
        writes = procedure not in infos or not infos[procedure].read_only
        transaction = _Transaction(self, writes)
        with transaction:
            return _json.loads(self._call(transaction, plugin, procedure, _json.dumps(args)))

    # What the glue asks: the contract's imports.

    def get_config(self, key: str) -> Any:
        if key not in self._settings:
            raise _refused(ErrorCode.NOT_FOUND, f"the schema has no setting '{key}'")
        value = self._settings[key]
        variant = {
            bool: config.ConfigValue_Boolean,
            int: config.ConfigValue_Integer,
            float: config.ConfigValue_Float,
            str: config.ConfigValue_Text,
        }
        return variant[type(value)](value)

    def log_message(self, level: Any, message: str) -> None:
        if _LOG_LINE_BYTES_MAX < len(message.encode()) or _LOG_LINES_PER_CALL_MAX <= self._said:
            raise _refused(ErrorCode.LIMIT, "the call has logged too much")
        self._said += 1
        self.logs.append((level.name.lower(), message))

    def emit_metric(self, kind: Any, name: str, labels: list, value: float) -> None:
        if not math.isfinite(value) or (kind.name == "COUNTER" and value < 0):
            raise _refused(ErrorCode.INVALID, f"{value} is no value of the metric '{name}'")
        series = name, tuple((label.name, label.value) for label in labels)
        before = self.metrics.get(series, 0.0) if kind.name == "COUNTER" else 0.0
        self.metrics[series] = before + value

    def open_index(self, table: "_Table", name: str) -> "_Index":
        table.check("read")
        if (table.name(), name) not in self._indexes:
            raise _refused(ErrorCode.NOT_FOUND, f"table '{table.name()}' has no index '{name}'")
        return _Index(table, *self._indexes[table.name(), name])

    def open_codec(self, name: str) -> "_Codec":
        if name != "identity":
            raise _refused(ErrorCode.NOT_FOUND, f"there is no codec '{name}' but 'identity'")
        return _Codec()

    def call_plugin(self, tx: "_Transaction", plugin: str, procedure: str, args: str) -> str:
        if plugin not in self._procedures:
            raise _refused(ErrorCode.DENIED, f"calling the plugin '{plugin}' was not granted")
        saved = {name: dict(rows) for name, rows in self._tables.items()}
        try:
            return self._call(tx, plugin, procedure, args)
        except Error as error:
            self._tables = saved
            raise _refused(error.code, error.text) from None

    # Inside.

    _said = 0

    def _start(self, plugin: Any) -> Any:
        lifecycle, exports = glue(plugin)
        instance, life = exports(), lifecycle()
        self._run(life.init)
        self._run(life.self_test)
        return instance

    def _run(self, work: Any) -> Any:
        """What a plugin answers; its errors are raised as `Error`."""
        self._said = 0
        try:
            return work()
        except Err as refused:
            error = refused.value
        raise Error(ErrorCode(error.code), error.text, retryable=error.retryable)

    def _call(self, tx: "_Transaction", plugin: str, procedure: str, args: str) -> str:
        instance, _ = self._procedures[plugin]
        if instance in self._at_work:
            raise Error.invalid(f"the plugin '{plugin}' is already at work in this chain of calls")
        self._at_work.append(instance)
        try:
            return self._run(lambda: instance.call(tx, procedure, args))
        finally:
            self._at_work.pop()

    def _schema(self, table: str) -> Optional[Schema]:
        if table not in self._tables:
            raise Error.not_found(f"there is no table '{table}'")
        return self._schemas[table]

    def _key(self, table: str, key: Sequence[Any]) -> bytes:
        schema = self._schema(table)
        return key[0] if schema is None else schema.encode_key_values(key)


class _Transaction:
    """A transaction: what it wrote goes when it fails, and is told when it does not."""

    def __init__(self, db: Database, writes: bool) -> None:
        self._db = db
        self._writes = writes
        self._saved: dict[str, dict[bytes, bytes]] = {}
        self._told: list[tuple[str, list]] = []

    def __enter__(self) -> "_Transaction":
        self._saved = {name: dict(rows) for name, rows in self._db._tables.items()}
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self._db._tables = self._saved
            return
        told, self._told, self._writes = self._told, [], False
        for table, changes in told:
            for name, tables, hooks in self._db._hooks:
                if table in tables:
                    try:
                        self._db._run(lambda: hooks.after(self, _Table(self, table, True), changes))
                    except Error as error:
                        self._db.logs.append(("error", f"{name}: after: {error.text}"))

    def open_table(self, name: str) -> "_Table":
        kinds = [kind for kind in ("read", "write") if (kind, name) not in self._db._denied]
        if not kinds:
            raise _refused(ErrorCode.DENIED, f"the table '{name}' was not granted")
        if name not in self._db._tables:
            raise _refused(ErrorCode.NOT_FOUND, f"there is no table '{name}'")
        return _Table(self, name)

    def is_read_only(self) -> bool:
        return not self._writes

    def write(self, table: str, pairs: list[_Change]) -> int:
        rows, schema = self._db._tables[table], self._db._schemas[table]
        kinds = _shapes.ChangeKind
        changes = []
        for key, value in pairs:
            old = rows.get(key)
            if old is None and value is None:
                continue
            kind = kinds.DELETE if value is None else kinds.INSERT if old is None else kinds.UPDATE
            changes.append(_shapes.Change(kind, key, old, value))
        for _, tables, hooks in self._db._hooks:
            if table in tables and hooks not in self._db._at_work and changes:
                changes = self._ask(hooks, table, changes)
        for change in changes:
            if change.new is None:
                del rows[change.key]
            else:
                if schema is not None:
                    schema.decode(change.key, change.new)
                rows[change.key] = change.new
        if changes:
            self._told.append((table, changes))
        return len(changes)

    def _ask(self, hooks: Any, table: str, changes: list) -> list:
        self._db._at_work.append(hooks)
        try:
            decisions = hooks.before(self, _Table(self, table, True), changes)
        finally:
            self._db._at_work.pop()
        happen = []
        for decision, change in zip(decisions, changes, strict=True):
            if isinstance(decision, _shapes.Decision_Abort):
                raise Aborted(decision.value)
            if isinstance(decision, _shapes.Decision_Replace):
                change = _shapes.Change(change.kind, change.key, change.old, decision.value)
            if not isinstance(decision, _shapes.Decision_Skip):
                happen.append(change)
        return happen


class _Table:
    """A table as a plugin has it."""

    def __init__(self, tx: _Transaction, name: str, lent: bool = False) -> None:
        self._tx = tx
        self._name = name
        self._lent = lent

    def check(self, kind: str) -> None:
        if (kind, self._name) in self._tx._db._denied:
            doing = "reading" if kind == "read" else "writing"
            raise _refused(ErrorCode.DENIED, f"{doing} the table '{self._name}' was not granted")
        if kind == "write" and self._tx.is_read_only():
            raise _refused(ErrorCode.DENIED, "this call only reads")

    def all_rows(self) -> dict[bytes, bytes]:
        self.check("read")
        return self._tx._db._tables[self._name]

    def typed(self) -> Schema:
        schema = self._tx._db._schemas[self._name]
        if schema is None:
            raise _refused(ErrorCode.INVALID, f"table '{self._name}' has no columns")
        return schema

    def name(self) -> str:
        return self._name

    def schema(self) -> Any:
        return to_contract(self._tx._db._schemas[self._name])

    def soch_read(self, key: bytes) -> Optional[bytes]:
        return self.all_rows().get(key)

    def soch_read_many(self, keys: Any) -> Any:
        starts = [0, *keys.ends]
        found = [self.soch_read(keys.bytes[start:end]) for start, end in zip(starts, keys.ends)]
        ends, end = [], 0
        for value in found:
            end += len(value or b"")
            ends.append(end)
        states = bytes(0 if value is None else 2 for value in found)
        return types.Found(states, b"".join(value or b"" for value in found), ends)

    def soch_scan(self, range_: Any, options: Any) -> "_Scan":
        rows = [pair for pair in sorted(self.all_rows().items()) if _in_range(pair[0], range_)]
        if options.filter or options.columns:
            schema = self.typed()
            for condition in options.filter:
                schema.column(condition.column)
            decoded = [(key, schema.decode(key, value), value) for key, value in rows]
            decoded = [each for each in decoded if _fulfils(each[1], options.filter)]
            rows = [(key, _projected(schema, options.columns, row, value)) for key, row, value in decoded]
        if options.reverse:
            rows.reverse()
        return _Scan(rows[: options.limit])

    def soch_write(self, key: bytes, value: bytes) -> None:
        self._write([(key, value)])

    def soch_write_many(self, rows: Any) -> None:
        pairs, key_at, value_at = [], 0, 0
        for state, key_end, value_end in zip(rows.states, rows.key_ends, rows.value_ends):
            value = rows.values[value_at:value_end] if state == 2 else None
            pairs.append((rows.keys[key_at:key_end], value))
            key_at, value_at = key_end, value_end
        self._write(pairs)

    def soch_delete(self, key: bytes) -> None:
        self._write([(key, None)])

    def _write(self, pairs: list[_Change]) -> None:
        self.check("write")
        try:
            self._tx.write(self._name, pairs)
        except Error as error:
            raise _refused(error.code, error.text) from None
        except Aborted as aborted:
            raise _refused(ErrorCode.INVALID, aborted.reason) from None


class _Scan:
    def __init__(self, rows: list[tuple[bytes, bytes]]) -> None:
        self._rows = rows

    def next(self, max_rows: int, max_bytes: int) -> Any:
        taken, bytes_ = [], 0
        while self._rows and len(taken) < max_rows and bytes_ < max_bytes:
            taken.append(self._rows.pop(0))
            bytes_ += len(taken[-1][0]) + len(taken[-1][1])
        key_ends, value_ends = _ends(key for key, _ in taken), _ends(value for _, value in taken)
        keys, values = b"".join(key for key, _ in taken), b"".join(value for _, value in taken)
        return types.Batch(keys, key_ends, values, value_ends, bytes([2]) * len(taken))


class _Index:
    """An index that looks at every row."""

    def __init__(self, table: _Table, column: str, metric: str) -> None:
        self._table = table
        self._column = column
        self._metric = metric

    def _rows(self) -> list[tuple[bytes, Row]]:
        schema = self._table.typed()
        rows = [(key, schema.decode(key, value)) for key, value in sorted(self._table.all_rows().items())]
        return [(key, row) for key, row in rows if row[self._column] is not None]

    def vector_search(self, query: list, k: int, _effort: int, range_: Any, filter_: list) -> Any:
        if self._table.typed().column(self._column).kind is not Kind.VECTOR:
            raise _refused(ErrorCode.INVALID, "this is no index of vectors")
        near = [
            (_distance(self._metric, query, row[self._column]), key)
            for key, row in self._rows()
            if _in_range(key, range_) and _fulfils(row, filter_)
        ]
        near = sorted(near)[:k]
        keys = [key for _, key in near]
        return _search.Neighbours(types.Keys(b"".join(keys), _ends(keys)), [far for far, _ in near])

    def index_lookup(self, start: Any, end: Any, reverse: bool, limit: int) -> Any:
        found = [(row[self._column], key) for key, row in self._rows()]
        for bound, is_start in ((start, True), (end, False)):
            if bound is not None:
                at = value_of_contract(bound.value)
                found = [
                    each
                    for each in found
                    if (at < each[0] if is_start else each[0] < at) or (bound.inclusive and each[0] == at)
                ]
        keys = [key for _, key in sorted(found, reverse=reverse)][:limit]
        return types.Keys(b"".join(keys), _ends(keys))


class _Codec:
    """The codec `identity`, which answers what it is given."""

    def compress(self, data: bytes) -> bytes:
        return data

    def decompress(self, data: bytes, raw_bytes: int) -> bytes:
        if len(data) != raw_bytes:
            raise _refused(ErrorCode.CORRUPT, f"{len(data)} bytes, not {raw_bytes}")
        return data


def _refused(code: ErrorCode, text: str) -> Err:
    return Err(types.Error(int(code), False, text))


def _ends(pieces: Iterable[bytes]) -> list[int]:
    ends, end = [], 0
    for piece in pieces:
        end += len(piece)
        ends.append(end)
    return ends


def _in_range(key: bytes, range_: Any) -> bool:
    start, end = range_.start, range_.end
    after = start is None or start.key < key or (start.inclusive and start.key == key)
    return after and (end is None or key < end.key or (end.inclusive and end.key == key))


def _fulfils(row: Row, conditions: list) -> bool:
    return all(_holds(row[each.column], each.op, each.values) for each in conditions)


def _holds(value: Any, op: int, values: list) -> bool:
    if value is None or op in (7, 8):
        return (value is None) == (op == 7) and op in (7, 8)
    others = [value_of_contract(each) for each in values]
    if op == 9:
        return value in others
    tests = (
        lambda other: value == other,
        lambda other: value != other,
        lambda other: value < other,
        lambda other: value <= other,
        lambda other: value > other,
        lambda other: value >= other,
        lambda other: value.startswith(other),
    )
    return tests[op](others[0])


def _projected(schema: Schema, columns: list[str], row: Row, value: bytes) -> bytes:
    if not columns:
        return value
    only = Schema.__new__(Schema)
    chosen = tuple(schema.column(name) for name in columns)
    for name, held in (("columns", chosen), ("key", ()), ("_stored", chosen)):
        object.__setattr__(only, name, held)
    object.__setattr__(only, "_by_name", {column.name: column for column in chosen})
    return only.encode_row({name: row[name] for name in columns})


def _distance(metric: str, one: Sequence[float], other: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    if metric == "l2":
        return sum((a - b) ** 2 for a, b in zip(one, other))
    if metric == "dot":
        return -dot
    lengths = math.hypot(*one) * math.hypot(*other)
    return 1 - (dot / lengths if lengths else 0.0)
