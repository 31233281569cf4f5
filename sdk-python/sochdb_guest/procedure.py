"""Procedures: what programs and other plugins call by name, with JSON, in a transaction.

    class Accounts(Procedures):
        @procedure(args={"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]})
        def balance(self, tx, args):
            "What an account has."
            account = tx.open("accounts").row(args["id"])
            if account is None:
                raise Error.not_found(f"there is no account {args['id']}")
            return account["balance"]

Arguments are compared with their schema before the function is called. What it raises undoes what it wrote.
"""

import json as _json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from sochdb_guest.check import check
from sochdb_guest.errors import Error
from sochdb_guest.plugin import Plugin
from sochdb_guest.rows import Transaction


@dataclass(frozen=True)
class ProcedureInfo:
    """One procedure, as it is listed for people and programs."""

    name: str
    description: str
    args: Any
    result: Any
    read_only: bool


def procedure(
    *,
    args: Any = True,
    result: Any = True,
    read_only: bool = False,
    name: Optional[str] = None,
    description: Optional[str] = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a procedure of a method that takes a transaction and its arguments.

    `args` and `result` are JSON Schemas; `True` allows everything. One that is `read_only` cannot write. Its name
    is the method's with `-` for `_`, its description the first line of the method's own.
    """

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        first_line = (function.__doc__ or "").strip().partition("\n")[0]
        function._procedure = ProcedureInfo(
            name or function.__name__.replace("_", "-"),
            first_line if description is None else description,
            args,
            result,
            read_only,
        )
        return function

    return made


class Procedures(Plugin):
    """A plugin whose methods with `@procedure` are called by name."""

    @classmethod
    def _found(cls) -> dict[str, str]:
        """The methods that are procedures, by their procedure's name."""
        found: dict[str, str] = {}
        for attribute in dir(cls):
            info = getattr(getattr(cls, attribute), "_procedure", None)
            if info is not None:
                if info.name in found:
                    raise Error.invalid(f"there are two procedures '{info.name}'")
                found[info.name] = attribute
        return found

    def describe(self) -> list[ProcedureInfo]:
        """Every procedure of this plugin."""
        return [getattr(self, attribute)._procedure for attribute in self._found().values()]

    def call(self, tx: Transaction, name: str, args: str) -> str:
        """Runs the procedure `name`; `args` and the answer are JSON."""
        attribute = self._found().get(name)
        if attribute is None:
            raise Error.not_found(f"there is no procedure '{name}'; there are {', '.join(self._found())}")
        method = getattr(self, attribute)
        try:
            given = _json.loads(args)
        except ValueError as error:
            raise Error.invalid(f"the arguments are no JSON: {error}") from None
        except RecursionError:
            raise Error.invalid("the arguments are nested too deeply") from None
        wrong = check(given, method._procedure.args)
        if wrong is not None:
            raise Error.invalid(f"{name}: {wrong}")
        return _json.dumps(
            method(tx, given), ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_as_json
        )


def _as_json(value: Any) -> Any:
    """Bytes as the `sochdb` command writes them."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")
