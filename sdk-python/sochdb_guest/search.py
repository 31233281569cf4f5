"""Searches in the indexes of a table, in the transaction that a call is part of.

What is found is what the caller would find, its own writes included. The manifest's `can_vector_search` and
`can_index_search` allow it, for tables that `can_read_table` names. An answer holds keys; `table.get_many(keys)`
reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from sochdb_guest._contract import search, types
from sochdb_guest.errors import asked
from sochdb_guest.row import Column, Schema, value_to_contract


@dataclass(frozen=True)
class Neighbour:
    """A row near a vector."""

    key: bytes
    #: The value of the index's metric, the smaller the nearer.
    distance: float


class Index:
    """An index of a table; `Table.index` opens it."""

    def __init__(self, table: Any, schema: Optional[Schema], name: str) -> None:
        self._handle = asked(search.Index.open, table, name)
        self._schema = schema

    def near(
        self, vector: Sequence[float], k: int = 10, *, effort: int = 0, where: Sequence[Any] = ()
    ) -> list[Neighbour]:
        """The `k` rows nearest to `vector` that fulfil all of `where`, nearest first.

        `effort` buys recall with time; 0 for what the index was made with.
        """
        conditions = [condition.to_contract(self._schema) for condition in where]
        range_ = types.KeyRange(None, None)
        found = asked(self._handle.vector_search, list(vector), k, effort, range_, conditions)
        pairs = zip(_split(found.keys), found.distances)
        return [Neighbour(key, distance) for key, distance in pairs]

    def lookup(
        self,
        column: str,
        *,
        start: Any = None,
        end: Any = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> list[bytes]:
        """The keys of the first `limit` rows whose indexed value, which `column` holds, lies between `start` and
        `end`, both included; from the greatest down if `reverse`."""
        assert self._schema is not None, "only typed tables have ordered indexes"
        kind = self._schema.column(column)
        bounds = [_bound(kind, value) for value in (start, end)]
        return _split(asked(self._handle.index_lookup, *bounds, reverse, limit))


def _bound(column: Column, value: Any) -> Optional[search.ValueBound]:
    return None if value is None else search.ValueBound(value_to_contract(column, value), True)


def _split(keys: types.Keys) -> list[bytes]:
    starts = [0, *keys.ends]
    return [keys.bytes[start:end] for start, end in zip(starts, keys.ends)]
