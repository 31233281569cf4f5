"""Whether JSON is what a JSON Schema allows, as far as schemas of procedures go.

The words it knows are `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`, `minItems`,
`maxItems`, `minLength`, `maxLength`, `minimum`, `maximum`, `exclusiveMinimum` and `exclusiveMaximum`. It looks past
all others: what they would refuse, the procedure refuses.
"""

from typing import Any, Optional

_TYPES = {
    "null": lambda json: json is None,
    "boolean": lambda json: isinstance(json, bool),
    "integer": lambda json: _is_number(json) and (isinstance(json, int) or json.is_integer()),
    "number": lambda json: _is_number(json),
    "string": lambda json: isinstance(json, str),
    "array": lambda json: isinstance(json, list),
    "object": lambda json: isinstance(json, dict),
}


def check(json: Any, schema: Any, at: str = "the argument") -> Optional[str]:
    """What is wrong with `json`, or `None`. `at` is how it is called."""
    if schema is True:
        return None
    if schema is False:
        return f"{at} is not allowed"
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_TYPES[kind](json) for kind in kinds):
            return f"{at} is no {' or '.join(kinds)}"
    if "enum" in schema and not any(_same(json, each) for each in schema["enum"]):
        return f"{at} is none of {schema['enum']}"
    if "const" in schema and not _same(json, schema["const"]):
        return f"{at} is not {schema['const']!r}"
    if isinstance(json, dict):
        return _check_object(json, schema, at)
    if isinstance(json, list):
        return _check_size(len(json), schema, at, "Items", "elements") or _check_items(json, schema, at)
    if isinstance(json, str):
        return _check_size(len(json), schema, at, "Length", "characters")
    return _check_number(json, schema, at) if _is_number(json) else None


def _check_object(json: dict, schema: Any, at: str) -> Optional[str]:
    for name in schema.get("required", ()):
        if name not in json:
            return f"{at} lacks '{name}'"
    properties = schema.get("properties", {})
    for name, value in json.items():
        inner = properties.get(name, schema.get("additionalProperties", True))
        if inner is False:
            known = ", ".join(f"'{each}'" for each in properties)
            return f"{at} has no '{name}'; there are {known}" if known else f"{at} has no '{name}'"
        wrong = check(value, inner, f"'{name}'" if at == "the argument" else f"{at}.'{name}'")
        if wrong is not None:
            return wrong
    return None


def _check_items(json: list, schema: Any, at: str) -> Optional[str]:
    inner = schema.get("items", True)
    checked = (check(item, inner, f"{at}[{index}]") for index, item in enumerate(json))
    return next((wrong for wrong in checked if wrong is not None), None)


def _check_size(size: int, schema: Any, at: str, word: str, what: str) -> Optional[str]:
    least, most = schema.get(f"min{word}", 0), schema.get(f"max{word}", size)
    if least <= size <= most:
        return None
    bound = f"at least {least}" if size < least else f"at most {most}"
    return f"{at} has {size} {what}; {bound} are allowed"


def _check_number(json: Any, schema: Any, at: str) -> Optional[str]:
    refused = {
        "minimum": ("at least", lambda bound: json < bound),
        "maximum": ("at most", lambda bound: bound < json),
        "exclusiveMinimum": ("more than", lambda bound: json <= bound),
        "exclusiveMaximum": ("less than", lambda bound: bound <= json),
    }
    for word, (said, is_refused) in refused.items():
        if word in schema and is_refused(schema[word]):
            return f"{at} is {json}; it must be {said} {schema[word]}"
    return None


def _is_number(json: Any) -> bool:
    return isinstance(json, (int, float)) and not isinstance(json, bool)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; in Python `1 == True`."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
