"""The contract's generated names: the component's own where there are any, otherwise those of `_shapes`.

The only place that knows which of the two it is. Everything else says `rows.ScanOptions` and works with both.
"""

try:
    import wit_world as _generated
except ImportError:
    _generated = None

if _generated is None:
    from sochdb_guest import _shapes
    from sochdb_guest._shapes import (
        Err,
        codecs,
        config,
        plugins,
        rows,
        search,
        telemetry,
        types,
    )
else:
    from componentize_py_types import Err
    from wit_world.imports import codecs, config, plugins, rows, search, telemetry, types

__all__ = ["Err", "codecs", "config", "exports", "plugins", "rows", "search", "telemetry", "types"]


def exports(interface: str):
    """What the contract says about an interface that plugins export; each world has its own alone."""
    if _generated is None:
        return getattr(_shapes, interface)
    import importlib

    return importlib.import_module(f"wit_world.exports.{interface}")
