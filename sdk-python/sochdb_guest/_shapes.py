"""The contract's shapes for tests outside of a component, which `testing` gives a life.

They are what componentize-py generates from `wit/`, name by name; `tests/test_contract.py` compares the two. What
the functions do is said by the database under test, which puts itself into `world`.
"""

from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any, Optional

#: The database that is asked now; `testing.Database` sets it.
world: Any = None


@dataclass(frozen=True)
class Err(Exception):
    value: Any


@dataclass
class Error:
    code: int
    retryable: bool
    text: str


@dataclass
class Label:
    name: str
    value: str


class LogLevel(Enum):
    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


@dataclass
class Batch:
    keys: bytes
    key_ends: list[int]
    values: bytes
    value_ends: list[int]
    states: bytes


@dataclass
class Keys:
    bytes: bytes
    ends: list[int]


@dataclass
class Found:
    states: bytes
    values: bytes
    value_ends: list[int]


@dataclass
class Bound:
    key: bytes
    inclusive: bool


@dataclass
class KeyRange:
    start: Optional[Bound]
    end: Optional[Bound]


@dataclass
class Value_Null:
    pass


@dataclass
class Value_Boolean:
    value: bool


@dataclass
class Value_Int64:
    value: int


@dataclass
class Value_Float64:
    value: float


@dataclass
class Value_Text:
    value: str


@dataclass
class Value_Bytes:
    value: bytes


@dataclass
class Value_Timestamp:
    value: int


@dataclass
class Value_Vector:
    value: list[float]


@dataclass
class Column:
    name: str
    kind: int
    dim: int
    nullable: bool
    default: Any


@dataclass
class Schema:
    columns: list[Column]
    key: list[int]


@dataclass
class Condition:
    column: str
    op: int
    values: list[Any]


types = SimpleNamespace(
    Error=Error,
    Label=Label,
    LogLevel=LogLevel,
    Batch=Batch,
    Keys=Keys,
    Found=Found,
    Bound=Bound,
    KeyRange=KeyRange,
    Value_Null=Value_Null,
    Value_Boolean=Value_Boolean,
    Value_Int64=Value_Int64,
    Value_Float64=Value_Float64,
    Value_Text=Value_Text,
    Value_Bytes=Value_Bytes,
    Value_Timestamp=Value_Timestamp,
    Value_Vector=Value_Vector,
    Column=Column,
    Schema=Schema,
    Condition=Condition,
)


@dataclass
class ScanOptions:
    columns: list[str]
    filter: list[Condition]
    limit: Optional[int]
    reverse: bool


rows = SimpleNamespace(ScanOptions=ScanOptions)


@dataclass
class ConfigValue_Boolean:
    value: bool


@dataclass
class ConfigValue_Integer:
    value: int


@dataclass
class ConfigValue_Float:
    value: float


@dataclass
class ConfigValue_Text:
    value: str


config = SimpleNamespace(
    ConfigValue_Boolean=ConfigValue_Boolean,
    ConfigValue_Integer=ConfigValue_Integer,
    ConfigValue_Float=ConfigValue_Float,
    ConfigValue_Text=ConfigValue_Text,
    get_config=lambda key: world.get_config(key),
)


class MetricKind(Enum):
    COUNTER = 0
    GAUGE = 1


telemetry = SimpleNamespace(
    MetricKind=MetricKind,
    log_message=lambda level, message: world.log_message(level, message),
    emit_metric=lambda kind, name, labels, value: world.emit_metric(kind, name, labels, value),
)


@dataclass
class Neighbours:
    keys: Keys
    distances: list[float]


@dataclass
class ValueBound:
    value: Any
    inclusive: bool


class Index:
    """An index, as the database under test has it."""

    @classmethod
    def open(cls, table: Any, name: str) -> Any:
        return world.open_index(table, name)


search = SimpleNamespace(Neighbours=Neighbours, ValueBound=ValueBound, Index=Index)


class Codec:
    """A codec, as the database under test has it."""

    @classmethod
    def open(cls, name: str) -> Any:
        return world.open_codec(name)


codecs = SimpleNamespace(Codec=Codec)
plugins = SimpleNamespace(
    call_plugin=lambda tx, plugin, procedure, args: world.call_plugin(tx, plugin, procedure, args)
)


class ChangeKind(Enum):
    INSERT = 0
    UPDATE = 1
    DELETE = 2


@dataclass
class Change:
    kind: ChangeKind
    key: bytes
    old: Optional[bytes]
    new: Optional[bytes]


@dataclass
class Decision_Continue:
    pass


@dataclass
class Decision_Replace:
    value: bytes


@dataclass
class Decision_Skip:
    pass


@dataclass
class Decision_Abort:
    value: str


hooks = SimpleNamespace(
    ChangeKind=ChangeKind,
    Change=Change,
    Decision_Continue=Decision_Continue,
    Decision_Replace=Decision_Replace,
    Decision_Skip=Decision_Skip,
    Decision_Abort=Decision_Abort,
)


@dataclass
class ProcedureInfo:
    name: str
    description: str
    args_schema: str
    result_schema: str
    read_only: bool


procedure = SimpleNamespace(ProcedureInfo=ProcedureInfo)
