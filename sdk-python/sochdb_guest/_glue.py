"""Calls of the contract turned into calls of the author's class.

An `Error` is answered as it is. Any other exception is a mistake of the plugin: its traceback goes to the database's
log, its last line and place into an error that says `internal`. Memory that ran out ends the instance.
"""

import json as _json
import traceback
from collections.abc import Callable
from typing import Any, Optional

from sochdb_guest import telemetry
from sochdb_guest._contract import Err, exports
from sochdb_guest.errors import Error, as_answer
from sochdb_guest.hooks import Abort, Batch, Change, Continue, Hooks, Result, Skip
from sochdb_guest.plugin import Plugin
from sochdb_guest.procedure import Procedures
from sochdb_guest.rows import Table, Transaction

#: The bases that an author's class may have, by kind.
KINDS: dict[str, type[Plugin]] = {"hooks": Hooks, "procedure": Procedures}


def plugin_of(module: Any, kind: str) -> type[Plugin]:
    """The author's class: the one in the module that is a plugin of this kind."""
    base = KINDS[kind]
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    # A class that others in the module are made of is not the plugin itself.
    found = [each for each in found if not any(each in other.__mro__[1:] for other in found)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(each.__name__ for each in found) or "none"
    raise TypeError(
        f"a plugin of kind {kind} is one class made of sochdb_guest.{base.__name__}; "
        f"the module '{module.__name__}' has {names}"
    )


def glue(plugin: type[Plugin]) -> tuple[type, type]:
    """What a component of this plugin exports: its life, and its kind."""
    world = _Instance(plugin)
    lifecycle = type("Lifecycle", (_Lifecycle,), {"_instance": world})
    kind = _HooksGlue if issubclass(plugin, Hooks) else _ProcedureGlue
    return lifecycle, type(kind.__name__, (kind,), {"_instance": world})


class _Instance:
    """The one value of the author's class in this instance."""

    def __init__(self, plugin: type[Plugin]) -> None:
        self._class = plugin
        self._value: Optional[Plugin] = None

    def start(self) -> None:
        self._value = self._class()

    def run(self, work: Callable[[Any], Any]) -> Any:
        """What `work` answers of the author's value; whatever it raises is answered as an error."""
        try:
            if self._value is None:
                raise Error.internal("the instance was not made")
            return work(self._value)
        except MemoryError:
            raise
        except Error as error:
            answer = as_answer(error)
        except Err as error:
            answer = error
        except BaseException as error:
            answer = as_answer(_mistake(error))
        raise answer


def _mistake(error: BaseException) -> Error:
    """A mistake of the plugin, with its place."""
    said = "".join(traceback.format_exception(error))
    for line in said.rstrip().splitlines():
        telemetry.error(line)
    what = "".join(traceback.format_exception_only(error)).strip()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if "sochdb_guest" not in frame.filename] or frames
    place = f" ({own[-1].filename.rpartition('/')[2]}, line {own[-1].lineno}, in {own[-1].name})" if own else ""
    return Error.internal(what + place)


class _Lifecycle:
    _instance: _Instance

    def init(self) -> None:
        self._instance._value = Plugin()
        self._instance.run(lambda _: self._instance.start())

    def self_test(self) -> None:
        self._instance.run(lambda plugin: plugin.self_test())

    def export_state(self) -> bytes:
        return self._instance.run(lambda plugin: plugin.export_state())

    def import_state(self, state: bytes, version: str) -> None:
        self._instance.run(lambda plugin: plugin.import_state(state, version))

    def shutdown(self) -> None:
        self._instance.run(lambda plugin: plugin.shutdown())


class _HooksGlue:
    _instance: _Instance

    def before(self, tx: Any, table: Any, changes: list) -> list:
        def work(plugin: Hooks) -> list:
            seen = _changes(tx, table, changes)
            return _decisions(plugin.before_batch(seen), seen)

        return self._instance.run(work)

    def after(self, tx: Any, table: Any, changes: list) -> None:
        self._instance.run(lambda plugin: plugin.after_batch(_changes(tx, table, changes)))


def _changes(tx: Any, table: Any, changes: list) -> list[Change]:
    tx, table = Transaction(tx), Table(table)
    return [Change(change.kind.name.lower(), change.key, change.old, change.new, table, tx) for change in changes]


def _decisions(result: Any, changes: list[Change]) -> list:
    results = result.results if isinstance(result, Batch) else [result] * len(changes)
    if len(results) != len(changes):
        raise Error.internal(f"before_batch answered {len(results)} results about {len(changes)} changes")
    return [_decision(result, change) for result, change in zip(results, changes)]


def _decision(result: Result, change: Change) -> Any:
    hooks = exports("hooks")
    if result is None or result == Continue():
        return hooks.Decision_Continue()
    if isinstance(result, Continue):
        if change.new is None:
            raise Error.internal("a delete cannot continue with another row")
        return hooks.Decision_Replace(change.encode(result.row))
    if isinstance(result, Skip):
        return hooks.Decision_Skip()
    if isinstance(result, Abort):
        return hooks.Decision_Abort(str(result.reason))
    raise Error.internal(
        f"a hook answered {type(result).__name__}; there are None, Continue, Skip, Abort, and Batch of before_batch"
    )


class _ProcedureGlue:
    _instance: _Instance

    def describe(self) -> list:
        info = exports("procedure").ProcedureInfo
        return self._instance.run(
            lambda plugin: [
                info(
                    each.name,
                    each.description,
                    _json.dumps(each.args),
                    _json.dumps(each.result),
                    each.read_only,
                )
                for each in plugin.describe()
            ]
        )

    def call(self, tx: Any, name: str, args: str) -> str:
        return self._instance.run(lambda plugin: plugin.call(Transaction(tx), name, args))
