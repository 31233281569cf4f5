"""The plugin's settings: what `[config]` in its manifest says, typed by `[config_schema]`.

    level = config.get("level")
    settings = config.read(Settings)  # a dataclass whose fields are the keys

A key that the schema declares always has a value, its default if nothing else.
"""

import dataclasses
from typing import Any, TypeVar, Union, get_type_hints

from sochdb_guest._contract import config
from sochdb_guest.errors import Error, asked

#: What a setting can be.
Setting = Union[bool, int, float, str]
T = TypeVar("T")

_NAMES = {bool: "boolean", int: "integer", float: "float", str: "text"}


def get(key: str) -> Setting:
    """The setting `key`. Raises an `Error` with `NOT_FOUND` when the schema has no such key."""
    return asked(config.get_config, key).value


def read(settings: type[T]) -> T:
    """Every field of the dataclass `settings`, from the setting of the same name.

    A field is `bool`, `int`, `float` or `str`; a setting of another type is `INVALID`.
    """
    values: dict[str, Any] = {}
    hints = get_type_hints(settings)
    for field in dataclasses.fields(settings):
        wanted, value = hints[field.name], get(field.name)
        if wanted not in _NAMES:
            raise Error.invalid(f"the field '{field.name}' is neither bool, int, float nor str")
        if type(value) is not wanted:
            found = _NAMES[type(value)]
            raise Error.invalid(f"the setting '{field.name}' is declared as {found}, not as {_NAMES[wanted]}")
        values[field.name] = value
    return settings(**values)
