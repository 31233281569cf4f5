"""Triggers: a plugin that is asked before rows change, and told after.

    class Adults(Hooks):
        def before_insert(self, change):
            row = change.new_row
            if row["age"] < 18:
                return Abort(f"{row['name']} is too young")
            return Continue({**row, "name": row["name"].strip()})

The manifest's `[hooks]` says of which tables and changes. What a function answers:

| answer           | what becomes of the change                                                    |
|------------------|-------------------------------------------------------------------------------|
| `None`           | it happens                                                                    |
| `Continue()`     | the same                                                                      |
| `Continue(row)`  | it happens with this row; not for a delete                                    |
| `Skip()`         | it does not happen; its transaction goes on                                   |
| `Abort(reason)`  | it does not happen, and its writer is told why                                |
| `Batch([...])`   | of `before_batch`: one of these for each change, in their order               |
"""

import json as _json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional, Union

from sochdb_guest.errors import Error
from sochdb_guest.plugin import Plugin
from sochdb_guest.rows import Table, Transaction


@dataclass(frozen=True)
class Change:
    """A change of one row."""

    #: `insert`, `update` or `delete`.
    kind: str
    key: bytes
    #: The value before, as bytes; `None` for an insert.
    old: Optional[bytes]
    #: The value after, as bytes; `None` for a delete.
    new: Optional[bytes]
    #: The table it is about.
    table: Table
    #: The transaction it is part of: the hook reads and writes other tables there.
    tx: Transaction

    @cached_property
    def old_row(self) -> Any:
        """The row before, `None` for an insert: of a typed table by column, otherwise what its JSON says."""
        return self._row(self.old)

    @cached_property
    def new_row(self) -> Any:
        """The row after, `None` for a delete: of a typed table by column, otherwise what its JSON says."""
        return self._row(self.new)

    def _row(self, value: Optional[bytes]) -> Any:
        if value is None:
            return None
        schema = self.table.schema
        if schema is not None:
            return schema.decode(self.key, value)
        try:
            return _json.loads(value)
        except ValueError:
            raise Error.invalid(f"a value of the untyped table '{self.table.name}' is no JSON") from None

    def encode(self, row: Any) -> bytes:
        """The value that `row` has in place of the change's new one."""
        if isinstance(row, bytes):
            return row
        schema = self.table.schema
        if schema is None:
            text = _json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            return text.encode()
        if schema.encode_key(row) != self.key:
            names = ", ".join(schema.key)
            raise Error.invalid(f"a hook cannot change a row's key, which is {names}")
        return schema.encode_row(row)


@dataclass(frozen=True)
class Continue:
    """The change happens; with `row` instead of its own, if there is one."""

    #: A dictionary by column, for untyped tables anything that JSON has, or the value's bytes.
    row: Any = None


@dataclass(frozen=True)
class Skip:
    """The change does not happen; its transaction goes on."""


@dataclass(frozen=True)
class Abort:
    """The change does not happen, and its writer is told why."""

    reason: str


#: What becomes of one change.
Result = Union[Continue, Skip, Abort, None]


class Batch:
    """What becomes of each of several changes, in their order."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = list(results)


class Hooks(Plugin):
    """Triggers of tables; those that are not defined let everything happen."""

    def before_insert(self, change: Change) -> Result:
        """Decides about a row that somebody is about to insert."""

    def before_update(self, change: Change) -> Result:
        """Decides about a row that is about to get another value."""

    def before_delete(self, change: Change) -> Result:
        """Decides about a row that is about to go."""

    def before_batch(self, changes: list[Change]) -> Union[Batch, Result]:
        """Decides about changes of one table that somebody makes at once. A single answer is one for all of them.
        By default they are asked about one after the other."""
        asked = {
            "insert": self.before_insert,
            "update": self.before_update,
            "delete": self.before_delete,
        }
        return Batch([asked[change.kind](change) for change in changes])

    def after_insert(self, change: Change) -> None:
        """Learns of a row that was inserted, in a transaction that only reads and sees it."""

    def after_update(self, change: Change) -> None:
        """Learns of a row that got another value."""

    def after_delete(self, change: Change) -> None:
        """Learns of a row that is gone."""

    def after_batch(self, changes: list[Change]) -> None:
        """Learns of changes that were committed, in their order. By default they are told one by one."""
        told = {
            "insert": self.after_insert,
            "update": self.after_update,
            "delete": self.after_delete,
        }
        for change in changes:
            told[change.kind](change)
