"""Plugins of SochDB in Python.

A plugin is one class in one module. This is a whole one:

    from sochdb_guest import Abort, Hooks

    class NotEmpty(Hooks):
        def before_insert(self, change):
            if not change.new_row["name"].strip():
                return Abort("the name is empty")

`Hooks` has the triggers, `Procedures` and `procedure` what is called by name; `config` reads the manifest's settings,
`telemetry` writes log lines and metrics, `rows` and `row` say what tables and rows are, `testing` runs a plugin
without a database. `python -m sochdb_guest build` makes a component of the module.
"""

from sochdb_guest import config, telemetry
from sochdb_guest.codecs import Codec
from sochdb_guest.errors import Error, ErrorCode
from sochdb_guest.hooks import Abort, Batch, Change, Continue, Hooks, Skip
from sochdb_guest.plugin import Plugin
from sochdb_guest.procedure import ProcedureInfo, Procedures, procedure
from sochdb_guest.row import Column, Kind, Row, Schema, Timestamp
from sochdb_guest.rows import Condition, Table, Transaction, where
from sochdb_guest.search import Index, Neighbour

__version__ = "0.1.0"

__all__ = [
    "Abort",
    "Batch",
    "Change",
    "Codec",
    "Column",
    "Condition",
    "Continue",
    "Error",
    "ErrorCode",
    "Hooks",
    "Index",
    "Kind",
    "Neighbour",
    "Plugin",
    "ProcedureInfo",
    "Procedures",
    "Row",
    "Schema",
    "Skip",
    "Table",
    "Timestamp",
    "Transaction",
    "config",
    "procedure",
    "telemetry",
    "where",
]
